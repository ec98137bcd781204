"""Muon: the step of PyTorch's own, and directions that are nearly orthogonal."""

from __future__ import annotations

import pytest
import torch

from chatwright.objectives.causal import tiny_decoder
from chatwright.optim.muon import MatrixMuon, Muon, MuonOptions, orthogonalize

SHAPES = [(32, 32), (16, 32), (48, 32), (16, 32), (8, 64)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_step_is_pytorchs(dtype: torch.dtype) -> None:
    """PyTorch's Newton–Schulz always runs in bfloat16, so the directions agree to its precision, not closer."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in SHAPES]
    mine, theirs = ([torch.nn.Parameter(t.clone()) for t in start] for _ in range(2))
    options = MuonOptions(learning_rate=0.1, momentum=0.9, weight_decay=0.2, newton_schulz_steps=5)
    own = MatrixMuon(mine, options)
    own.dtype = dtype
    peer = torch.optim.Muon(
        theirs, lr=0.1, momentum=0.9, weight_decay=0.2, nesterov=True, ns_steps=5, adjust_lr_fn="original"
    )
    for _ in range(4):
        for pair in zip(mine, theirs, strict=True):
            gradient = torch.randn(pair[0].shape, generator=generator)
            for parameter in pair:
                parameter.grad = gradient.clone()
        own.step()
        peer.step()
        for name, a, b, first in zip(SHAPES, mine, theirs, start, strict=True):
            with torch.no_grad():
                assert float((a - b).norm() / (b - first).norm()) < 0.05, name


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrices, steps=5))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_singular_vectors_stay_and_size_does_not_matter() -> None:
    """A matrix U S Vᵀ becomes nearly U Vᵀ; scaling it first changes nothing."""
    left, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))
    right, _ = torch.linalg.qr(torch.randn(9, 6, generator=torch.Generator().manual_seed(3)))
    matrix = left @ torch.diag(torch.tensor([3.0, 2.0, 1.5, 1.0, 0.8, 0.5])) @ right.T
    direction = orthogonalize(matrix[None], steps=5)[0]
    inner = left.T @ direction @ right
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        orthogonalize(1000 * matrix[None], steps=5)[0], direction, rtol=1e-3, atol=1e-4
    )


def test_a_zero_matrix_stays_zero() -> None:
    assert torch.equal(orthogonalize(torch.zeros(2, 4, 3), steps=5), torch.zeros(2, 4, 3))


def test_a_matrix_takes_the_same_step_alone_and_in_a_batch() -> None:
    matrices = torch.randn(4, 8, 12, generator=torch.Generator().manual_seed(4))
    together = orthogonalize(matrices, steps=5)
    alone = torch.stack([orthogonalize(m[None], steps=5)[0] for m in matrices])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_tables_and_norms_go_to_adamw() -> None:
    model = tiny_decoder()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Muon({"policy": model}, MuonOptions(table_rate=0.5, vector_rate=0.25))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1.0)
    torch.testing.assert_close(model.embedding.weight.detach(), before["embedding.weight"] - 0.5)
    torch.testing.assert_close(model.final_norm.weight.detach(), before["final_norm.weight"] - 0.25)
    state = optimizer.state_dict()
    assert "policy.blocks.0.attention.query.weight.momentum" in state
    assert "policy.embedding.weight.exp_avg_sq" in state


def test_a_stack_of_experts_steps_as_its_matrices() -> None:
    generator = torch.Generator().manual_seed(4)
    stack = torch.nn.Parameter(torch.randn(3, 24, 16, generator=generator))
    apart = [torch.nn.Parameter(matrix.detach().clone()) for matrix in stack]
    options = MuonOptions(learning_rate=0.1, momentum=0.9, weight_decay=0.1)
    together, single = MatrixMuon([stack], options), MatrixMuon(apart, options)
    for _ in range(3):
        stack.grad = torch.randn(stack.shape, generator=generator)
        for parameter, gradient in zip(apart, stack.grad, strict=True):
            parameter.grad = gradient.clone()
        together.step()
        single.step()
    torch.testing.assert_close(stack, torch.stack(list(apart)), rtol=1e-4, atol=1e-5)

"""Divergences of two heads: the same numbers and gradients as from full tables of logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from chatwright.data.packing import IGNORE
from chatwright.models.heads import divergence
from chatwright.models.heads.divergence import Head, divergences

KINDS = ["forward", "reverse", "js"]


def heads(positions: int = 12, vocabulary: int = 20) -> tuple[Head, Head, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(2, positions // 2, 8), (vocabulary, 8), (2, positions // 2, 6), (vocabulary, 6)]
    a, w, b, v = (torch.randn(*shape, generator=draw) for shape in shapes)
    targets = torch.zeros(2, positions // 2, dtype=torch.long)
    targets[0, :2] = targets[1, -1] = IGNORE
    return Head(a.requires_grad_(), w.requires_grad_()), Head(b.requires_grad_(), v.requires_grad_()), targets


def from_tables(student: Head, teacher: Head, targets: torch.Tensor, kind: str, heat: float) -> torch.Tensor:
    ours, theirs = (F.log_softmax(h.hidden @ h.weight.T / heat, -1) for h in (student, teacher))
    theirs = theirs.detach()
    mixed = (0.5 * (ours.exp() + theirs.exp())).log()

    def kl(of: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        return F.kl_div(to, of, reduction="none", log_target=True).sum(-1)

    found = {
        "forward": kl(theirs, ours),
        "reverse": kl(ours, theirs),
        "js": 0.5 * kl(theirs, mixed) + 0.5 * kl(ours, mixed),
    }[kind]
    return found * (targets != IGNORE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("chunk", "heat"), [(256, 1.0), (4, 2.0)])
def test_chunks_give_what_tables_give(
    monkeypatch: pytest.MonkeyPatch, kind: str, chunk: int, heat: float
) -> None:
    monkeypatch.setattr(divergence, "CHUNK", chunk)
    student, teacher, targets = heads()
    found = divergences(student, teacher, targets, kind, heat)  # type: ignore[arg-type]
    wanted = from_tables(student, teacher, targets, kind, heat)
    assert torch.allclose(found, wanted, atol=1e-5)
    weights = torch.arange(12.0).view(2, 6)
    ours, theirs = (
        torch.autograd.grad((value * weights).sum(), [student.hidden, student.weight], retain_graph=True)
        for value in (found, wanted)
    )
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))
    (found * weights).sum().backward()
    assert teacher.hidden.grad is None
    assert teacher.weight.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_equal_heads_are_nothing_apart_and_pull_nowhere(kind: str) -> None:
    student, _, targets = heads()
    twin = Head(student.hidden.detach(), student.weight.detach())
    found = divergences(student, twin, targets, kind)  # type: ignore[arg-type]
    found.sum().backward()
    assert found.abs().max() < 1e-6
    assert student.hidden.grad is not None
    assert student.hidden.grad.abs().max() < 1e-6


def test_two_known_distributions() -> None:
    """Chances of (½, ½) and (¾, ¼)."""
    half, skewed = (
        Head(torch.ones(1, 1), torch.tensor(p).log()[:, None]) for p in ([0.5, 0.5], [0.75, 0.25])
    )
    targets = torch.zeros(1, dtype=torch.long)
    found = {kind: float(divergences(half, skewed, targets, kind)) for kind in KINDS}  # type: ignore[arg-type]
    assert found["forward"] == pytest.approx(0.75 * 0.405465 - 0.25 * 0.693147, abs=1e-5)
    assert found["reverse"] == pytest.approx(0.5 * 0.693147 - 0.5 * 0.405465, abs=1e-5)
    assert found["js"] == pytest.approx(
        0.5 * (0.75 * 0.182322 - 0.25 * 0.405465 - 0.5 * 0.223144 + 0.5 * 0.287682), abs=1e-5
    )


def test_without_a_target_there_is_a_gradient_of_zero() -> None:
    student, teacher, targets = heads()
    total = divergences(student, teacher, torch.full_like(targets, IGNORE)).sum()
    total.backward()
    assert float(total.detach()) == 0
    assert student.hidden.grad is not None
    assert student.hidden.grad.abs().max() == 0


def test_heads_of_different_size_compare_what_both_have() -> None:
    student, teacher, targets = heads()
    longer = Head(teacher.hidden, torch.cat([teacher.weight, torch.full((3, 6), 9.0)]))
    assert torch.equal(divergences(student, longer, targets), divergences(student, teacher, targets))

"""RMS normalization with its derivative written out, against PyTorch's; and what laying out a model loads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from chatwright.models.layers import RMSNorm
from helpers.command import environment


@pytest.mark.parametrize("shape", [(7,), (3, 16), (2, 5, 3, 8)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-5), (torch.bfloat16, 2e-2)]
)
def test_values_and_gradients_are_pytorchs(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    eps = 0.3  # large, so that a misplaced one shows
    part = RMSNorm(shape[-1], eps)
    torch.nn.init.normal_(part.weight, generator=generator)
    drawn = torch.randn(2, *shape, generator=generator)
    x, gradient = drawn[0].to(dtype).requires_grad_(), drawn[1].to(dtype)
    y = part(x)
    y.backward(gradient)
    other_x = drawn[0].to(dtype).float().requires_grad_()
    other_weight = part.weight.detach().clone().requires_grad_()
    other = F.rms_norm(other_x, (shape[-1],), other_weight, eps)
    other.backward(gradient.float())
    assert y.dtype == x.grad.dtype == dtype
    torch.testing.assert_close(y.float(), other, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(x.grad.float(), other_x.grad, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(part.weight.grad, other_weight.grad, rtol=tolerance, atol=tolerance)


def test_a_row_of_zeros_stays_zero_and_its_gradient_finite() -> None:
    part = RMSNorm(4, 1e-6)
    torch.nn.init.ones_(part.weight)
    x = torch.zeros(2, 4, requires_grad=True)
    y = part(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 4))
    assert x.grad.isfinite().all()


def test_it_compiles() -> None:
    part = RMSNorm(8, 1e-6)
    torch.nn.init.ones_(part.weight)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(part, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), part(x))


def test_a_model_is_laid_out_without_loading_the_compiler() -> None:
    program = (
        "import sys\n"
        "from chatwright.models.family.architecture import architectures\n"
        "from chatwright.models.interop.files import empty_root\n"
        "from chatwright.models.presets import model_options\n"
        # experts tell the compiler what to leave alone
        "for known in (known for known in architectures() if known.name != 'qwen3-moe'):\n"
        "    empty_root(model_options({'name': next(iter(known.presets))}, 64), 'meta')\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "False"

"""AdamW: PyTorch's step, and decay on matrices only."""

from __future__ import annotations

import torch

from chatwright.objectives.causal import tiny_decoder
from chatwright.optim.adamw import AdamW, AdamWOptions


def test_one_step_is_the_papers() -> None:
    """θ ← θ (1 − ηλ) − η m̂ / (√v̂ + ε); on the first step m̂ = g and v̂ = g² (Loshchilov and Hutter 2019)."""
    model = tiny_decoder()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    options = AdamWOptions(learning_rate=0.01, weight_decay=0.5)
    optimizer = AdamW({"policy": model}, options)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, -0.3)
    optimizer.step(1.0)
    for name, parameter in model.named_parameters():
        decays = parameter.dim() == 2 and name != "embedding.weight"
        kept = before[name] * (1 - 0.01 * 0.5 if decays else 1.0)
        torch.testing.assert_close(parameter.detach(), kept + 0.01, rtol=1e-5, atol=1e-6)

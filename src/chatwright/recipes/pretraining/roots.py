"""The models that a pretraining run trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from chatwright.models.headed import trunk_of
from chatwright.models.interop.files import empty_root
from chatwright.models.root import Root
from chatwright.objectives.contract import Objective


def make_roots(shape: Any, objective: Objective[Any], device: torch.device) -> dict[str, Root]:
    """The model under the heads that the objective wants, and what is trained beside it; no weight is set yet."""
    policy = empty_root(shape, device, getattr(objective, "wants", {}))
    more = getattr(objective, "more_roots", None)
    return {"policy": policy, **(more(trunk_of(policy)) if more is not None else {})}


def initialize(roots: Mapping[str, Root], seed: int) -> None:
    """Draw the first weights, each root's from a generator of its own."""
    for number, root in enumerate(roots.values()):
        device = next(root.parameters()).device
        # the first keeps the seed, whatever stands beside it
        root.initialize(torch.Generator(device=device).manual_seed(seed + number * 1_000_003))

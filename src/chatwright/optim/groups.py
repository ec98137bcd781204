"""Parameter groups: which weights an optimizer treats alike, and its state under their names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from chatwright.errors import UserError
from chatwright.models.experts import Stack


@dataclass(frozen=True)
class Group:
    """Named parameters that share settings."""

    names: list[str] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)

    def add(self, name: str, parameter: nn.Parameter) -> None:
        self.names.append(name)
        self.parameters.append(parameter)


@dataclass(frozen=True)
class Groups:
    """Matrices inside the model; tables (embeddings, untied heads); vectors (norms, biases)."""

    matrices: Group
    tables: Group
    vectors: Group


def check_ranges(
    options: object, positive: tuple[str, ...], shares: tuple[str, ...], at_least_0: tuple[str, ...]
) -> None:
    """Refuse settings that no optimizer can work with, by name."""
    values = {name: float(getattr(options, name)) for name in (*positive, *shares, *at_least_0)}
    wrong = {name: "more than 0" for name in positive if not 0 < values[name] < math.inf}
    wrong |= {name: "from 0 to below 1" for name in shares if not 0 <= values[name] < 1}
    wrong |= {name: "0 or more" for name in at_least_0 if not 0 <= values[name] < math.inf}
    for name, wanted in wrong.items():
        raise UserError(f"optimizer.{name}={values[name]:g} must be {wanted}")


def group_parameters(roots: Mapping[str, nn.Module]) -> Groups:
    """Sort all trainable parameters of all roots; names are `root.path`. A tied weight appears once."""
    groups = Groups(Group(), Group(), Group())
    for root_name, root in roots.items():
        stacks = {id(m.weight) for m in root.modules() if isinstance(m, Stack)}
        tables = {id(m.weight) for m in root.modules() if isinstance(m, nn.Embedding)}
        for name, parameter in root.named_parameters():
            if not parameter.requires_grad:
                continue
            is_table = id(parameter) in tables or "head" in name.split(".")
            is_matrix = parameter.dim() == 2 or id(parameter) in stacks
            kind = groups.tables if is_table else groups.matrices if is_matrix else groups.vectors
            kind.add(f"{root_name}.{name}", parameter)
    return groups


class GroupedOptimizer:
    """Several PyTorch optimizers stepped as one; each group keeps its peak rate, the schedule's factor scales all.

    The state is a flat mapping `parameter.slot -> tensor`, free of pickles and of parameter order.
    """

    def __init__(self, parts: list[tuple[torch.optim.Optimizer, list[Group]]]) -> None:
        self._parts = parts
        self._named = [
            (part, name, parameter)
            for part, groups in parts
            for group in groups
            for name, parameter in zip(group.names, group.parameters, strict=True)
        ]
        for part, _ in parts:
            for options in part.param_groups:
                options["peak"] = options["lr"]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for _, _, parameter in self._named]

    def step(self, factor: float) -> None:
        """One update with every group's peak rate times `factor`."""
        for part, _ in self._parts:
            for options in part.param_groups:
                options["lr"] = options["peak"] * factor
            part.step()

    def zero_grad(self) -> None:
        for part, _ in self._parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{name}.{slot}": value
            for part, name, parameter in self._named
            for slot, value in part.state.get(parameter, {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        slots: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, slot = key.rpartition(".")
            slots.setdefault(name, {})[slot] = value
        for part, name, parameter in self._named:
            if name in slots:
                part.state[parameter] = {slot: value.clone() for slot, value in slots[name].items()}

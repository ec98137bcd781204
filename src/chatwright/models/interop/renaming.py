"""Weights under our names and under the public ones, by rules that every architecture writes down.

A rule names one public tensor and what of ours it holds. `{}` stands for the number of a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.errors import UserError

_SHOWN = 3


@dataclass(frozen=True)
class Weight:
    """One public tensor, or with `stacked` one for each expert.

    ours: joined along their first dimension, which is the output of a matrix. transposed: the public matrix is
    [in, out]. stacked: our tensor's first dimension counts the second `{}` of the public name. like: the public last
    dimension is cut in two, heads and head width, as the last two dimensions of this tensor of ours.
    """

    public: str
    ours: tuple[str, ...]
    transposed: bool = False
    stacked: bool = False
    like: str = ""

    def places(self, state: Iterable[str]) -> list[tuple[int, ...]]:
        """The blocks whose tensors `state` has; one empty tuple for a tensor outside of blocks."""
        pattern = re.compile(re.escape(self.ours[0]).replace(r"\{\}", r"(\d+)"))
        found = (pattern.fullmatch(name) for name in state)
        return sorted(tuple(map(int, match.groups())) for match in found if match)

    def cut(self, state: Mapping[str, Tensor], place: Sequence[int]) -> tuple[int, ...]:
        """What the public last dimension is cut into; nothing where it is whole."""
        return tuple(state[self.like.format(*place)].shape[-2:]) if self.like else ()

    def split(self, joined: Tensor, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Our tensors in a public one; `parts` give their shapes."""
        whole = joined.flatten(-2) if self.like else joined
        whole = whole.t() if self.transposed else whole
        return iter(torch.split(whole, [part.size(0) for part in parts]))

    def join(self, parts: Sequence[Tensor], cut: Sequence[int] = ()) -> Tensor:
        """The public tensor of ours; `cut`: its last dimension's parts."""
        joined = parts[0] if len(parts) == 1 else torch.cat(list(parts))
        whole = joined.t().contiguous() if self.transposed else joined
        return whole.reshape(*whole.shape[:-1], *cut) if cut else whole


Rules = Sequence[Weight]


def renamed(table: Mapping[str, str]) -> tuple[Weight, ...]:
    """Rules for tensors that only change their names: {ours: public}."""
    return tuple(Weight(public, (ours,)) for ours, public in table.items())


def to_public(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Our tensors under their public names. That each of ours has a rule is for tests to hold."""
    result: dict[str, Tensor] = {}
    left = set(state)
    for rule in rules:
        for place in rule.places(state):
            names = [name.format(*place) for name in rule.ours]
            left -= set(names)
            if rule.stacked:
                each = state[names[0]].unbind()
                result |= {rule.public.format(*place, number): part for number, part in enumerate(each)}
            else:
                parts = [state[name] for name in names]
                result[rule.public.format(*place)] = rule.join(parts, rule.cut(state, place))
    assert not left, f"no rule names {sorted(left)}"
    return result


def from_public(
    own: Mapping[str, Tensor],
    public: Mapping[str, Tensor],
    rules: Rules,
    place: str,
    ignored: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Public tensors under our names, in the shapes of `own` (which may be on the meta device).

    ignored: patterns of public names that may be there and are not wanted. Missing, unknown and misshapen tensors are
    refused by name.
    """
    wanted = {name: rule for rule in rules for name in _public_names(rule, own)}
    missing = sorted(wanted.keys() - public.keys())
    skipped = re.compile("|".join(ignored) or "(?!)")
    extra = sorted(name for name in public.keys() - wanted.keys() if not skipped.fullmatch(name))
    if missing or extra:
        found = {"missing": missing, "not known": extra}
        said = ", ".join(f"{what} {_some(names)}" for what, names in found.items() if names)
        raise UserError(f"the weights in {place} do not fit: {said}")
    result: dict[str, Tensor] = {}
    for rule in rules:
        for index in rule.places(own):
            result |= _parts(rule, index, own, public, place)
    return result


def _public_names(rule: Weight, own: Mapping[str, Tensor]) -> Iterator[str]:
    for index in rule.places(own):
        if rule.stacked:
            count = own[rule.ours[0].format(*index)].size(0)
            yield from (rule.public.format(*index, number) for number in range(count))
        else:
            yield rule.public.format(*index)


def _parts(
    rule: Weight, index: tuple[int, ...], own: Mapping[str, Tensor], public: Mapping[str, Tensor], place: str
) -> dict[str, Tensor]:
    names = [name.format(*index) for name in rule.ours]
    shapes = [own[name] for name in names]
    if rule.stacked:
        each = [rule.public.format(*index, number) for number in range(shapes[0].size(0))]
        for name in each:
            _check(name, public[name], shapes[0].shape[1:], place)
        return {names[0]: torch.stack([public[name] for name in each])}
    name = rule.public.format(*index)
    first, rest = sum(part.size(0) for part in shapes), shapes[0].shape[1:]
    expected = [*rest, first] if rule.transposed else [first, *rest]
    cut = rule.cut(own, index)
    _check(name, public[name], [*expected[:-1], *cut] if cut else expected, place)
    return dict(zip(names, rule.split(public[name], shapes), strict=True))


def _check(name: str, tensor: Tensor, expected: Sequence[int], place: str) -> None:
    if tuple(tensor.shape) != tuple(expected):
        shapes = f"{tuple(tensor.shape)}, the config says {tuple(expected)}"
        raise UserError(f"the weights in {place} do not fit its config.json: {name} is {shapes}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{shown}{more}" if names else "nothing"

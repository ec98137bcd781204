"""Objectives from options, and whether the model can learn them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from chatwright.config import build
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.encoder import Encoder
from chatwright.models.family.architecture import architecture_of
from chatwright.models.root import Root
from chatwright.objectives.contract import Objective
from chatwright.objectives.pretraining.making import single, terms_of, text_objectives
from chatwright.objectives.pretraining.mixture import Mixture, MixtureOptions, Weight
from chatwright.tokenization.tokenizer import Tokenizer

_LONGEST_DEFAULT_CONTEXT = 512
# Without it a few experts do all the work; a tenth of it hardly helps.
_EXPERT_BALANCE = 0.01
_WEIGHT = frozenset(Weight.__dataclass_fields__)


def choose_objective(group: Mapping[str, Any], shape: Any, tokenizer: Tokenizer) -> Objective[Any]:
    """The objective, or the mixture of several, that options name; refused where the model cannot learn it."""
    with torch.device("meta"):
        trunk = architecture_of(shape).root(shape)
    terms = terms_of(group, _default(trunk))
    if getattr(shape, "routing", None) is not None and "causal" in terms:
        terms["causal"] = {"expert_balance": _EXPERT_BALANCE, **terms["causal"]}
    for name in terms:
        _check_fit(name, trunk)
    facts = cache(lambda: TokenFacts.of(tokenizer))
    if len(terms) == 1 and not _WEIGHT & set(next(iter(terms.values()))):
        [(name, given)] = terms.items()
        return single(name, given, facts)
    return Mixture(build(MixtureOptions, {"terms": terms}, "objective"), facts)


def _default(trunk: Root) -> str:
    """What an architecture was made for."""
    if isinstance(trunk, Decoder):
        return "causal"
    if isinstance(trunk, Encoder):
        return "masked,next_sentence"
    return next((name for name, cls in text_objectives().items() if _fits(cls, trunk)), "causal")


def _fits(cls: Any, trunk: Root) -> bool:
    return isinstance(trunk, getattr(cls, "fits", (Root,)))


def _check_fit(name: str, trunk: Root) -> None:
    known = text_objectives()
    if name in known and not _fits(known[name], trunk):
        fitting = ", ".join(sorted(other for other, cls in known.items() if _fits(cls, trunk)))
        architecture = type(trunk.options).architecture
        raise UserError(
            f"objective={name} does not fit the architecture {architecture}; what fits: {fitting}"
        )
    if isinstance(trunk, Encoder) and trunk.language is None and name in ("masked", "replaced_token"):
        raise UserError(f"objective={name} needs the language head; leave model.language_head=no out")


def row_length(asked: int | None, shape: Any, objective: Objective[Any]) -> int:
    """Tokens in a row: what was asked for, or a default that the model can hold."""
    if asked is not None and asked > shape.context:
        raise UserError(
            f"context={asked} is longer than the model's {shape.context}; lower it or set model.context"
        )
    return asked or min(getattr(objective, "longest", _LONGEST_DEFAULT_CONTEXT), int(shape.context))


def sequences_in_row(objective: Objective[Any]) -> int:
    """Rows of the model in one row of the objective's source: more than one where texts are compared, or in a mixture."""
    return int(getattr(objective, "sequences", 1))


def files_of(objective: Objective[Any]) -> Sequence[str | Path]:
    """Files that an objective learns from besides the corpus, each of which must be there."""
    ask = getattr(objective, "files", None)
    files = list(ask()) if ask is not None else []
    for file in files:
        if not Path(file).is_file():
            raise UserError(f"there is no file {file}")
    return files

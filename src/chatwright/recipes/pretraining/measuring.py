"""What a pretraining run measures on held-out text: every objective's terms, and samples of what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chatwright.data.packing import IGNORE, Rows
from chatwright.errors import UserError
from chatwright.evaluation.likelihood import held_out_likelihood
from chatwright.evaluation.pretraining import held_out_text
from chatwright.generation.text import TextModel
from chatwright.models.decoder import Decoder
from chatwright.models.headed import trunk_of
from chatwright.objectives.causal import Causal
from chatwright.objectives.contract import Objective
from chatwright.objectives.pretraining.making import rows_of
from chatwright.objectives.pretraining.masked import Masked
from chatwright.objectives.pretraining.mixture import Mixture
from chatwright.objectives.pretraining.text import Text, read, token_logits
from chatwright.progress import say
from chatwright.training.plan import evaluation_rows
from chatwright.training.session import Session

_FILLED = 3
_SHOWN = 64


@dataclass(frozen=True)
class Part:
    """One objective, its held-out rows, and what its accuracies would be by chance."""

    objective: Objective[Any]
    rows: Rows[Any]
    chances: Mapping[str, float]


def held_out_parts(objective: Objective[Any], text: Text, leads: bool) -> list[Part]:
    """The objectives that the held-out text can measure; what it cannot is said."""
    if not isinstance(objective, Mixture):
        groups = [[objective]]
    else:
        groups = [[objective.parts[name] for name in names] for names in objective.groups]
    return [part for group in groups for part in _parts(group, text, leads)]


def _parts(group: list[Objective[Any]], text: Text, leads: bool) -> list[Part]:
    """The objectives of one group, on the rows of its first or, where these cannot be made, of the next ones."""
    try:
        rows = rows_of(group[0], text)
    except UserError as error:
        if leads:
            say(f"  not measured on held-out text: {error}")
        return _parts(group[1:], text, leads) if len(group) > 1 else []
    return [Part(part, rows, _chances(part, text)) for part in group]


def _chances(objective: Objective[Any], text: Text) -> dict[str, float]:
    ask = getattr(objective, "chances", None)
    return dict(ask(text)) if ask is not None else {}


def measure(session: Session, parts: list[Part], text: Text, step: int, rows_per_step: int) -> dict[str, Any]:
    """`loss`, the weighted sum of the terms' means; every term and accuracy; bits a byte of the next token; samples."""
    world, roots, together = session.world, session.roots, session.plan["micro_rows"]
    found: dict[str, Any] = {}
    for part in parts:
        kept = evaluation_rows(part.rows.rows_in_epoch(0), rows_per_step, session.plan["steps"])
        if isinstance(part.objective, Causal):
            sizes = text.tokenizer.token_bytes
            likely = held_out_likelihood(
                session.main, part.objective, part.rows, kept, rows_per_step, sizes, world
            )
            found |= {"next_token": likely.loss, "bits_per_byte": likely.bits_per_byte}
        else:
            found |= held_out_text(part.objective, roots, part.rows, kept, together, part.chances, world)
    weights = session.objective.weights(max(0, step - 1))
    loss = sum(weight * found[term] for term, weight in weights.items() if weight and term in found)
    if len(parts) == 1 and isinstance(parts[0].objective, Causal):
        found.pop("next_token")
    samples = _samples(session, parts, text) if world.leads and step else []
    return {**({"loss": loss} if parts else {}), **found, "samples": samples}


def _samples(session: Session, parts: list[Part], text: Text) -> list[str]:
    """A few texts that the model writes, or what it puts in place of masks, to be read in the report."""
    trunk, samples = trunk_of(session.main), []
    kinds = {type(part.objective) for part in parts}
    if isinstance(trunk, Decoder) and Causal in kinds:
        model = TextModel(trunk, text.tokenizer)
        samples += model.complete_batch(["", "The "], max_new_tokens=48, temperature=0.8, seed=0)
    masked = next((part for part in parts if isinstance(part.objective, Masked)), None)
    return samples + (_filled(session, masked, text) if masked is not None else [])


def _filled(session: Session, part: Part, text: Text) -> list[str]:
    """The beginnings of some rows with what was hidden and what the model says, `[told → said]`."""
    objective, count = part.objective, min(_FILLED, part.rows.rows_in_epoch(0))
    rows = [objective.prepare(part.rows.row(0, n), np.random.default_rng((0, 0, n))) for n in range(count)]
    batch = objective.collate(rows).to(session.world.device)
    hidden = read(session.main, batch, ["hidden"])["hidden"]
    shown = []
    for row, states in zip(rows, hidden, strict=True):
        said = token_logits(session.main, states[:_SHOWN]).argmax(-1).tolist()
        pieces = []
        for place, told in enumerate(row.targets[:_SHOWN].tolist()):
            own = text.tokenizer.decode([int(row.inputs[place])])
            answer = text.tokenizer.decode([said[place]])
            pieces.append(own if told == IGNORE else f"[{text.tokenizer.decode([told])} →{answer}]")
        shown.append("".join(pieces))
    return shown

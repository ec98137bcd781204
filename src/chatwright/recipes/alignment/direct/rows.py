"""Rows for direct preference objectives: comparisons, or labelled replies with a baseline, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.data.encode_groups import encode_comparisons, encode_labelled
from chatwright.data.group_store import GroupRows
from chatwright.data.groups import Group, by_tokens
from chatwright.data.merged_rows import MergedRows
from chatwright.data.packing import Rows
from chatwright.data.preferences import read_comparisons, read_labelled
from chatwright.data.records import Comparison, LabelledReply
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.evaluation.held_out import held_out_terms
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel
from chatwright.models.decoder import Decoder
from chatwright.objectives.contract import Objective
from chatwright.recipes.alignment.direct.reference import Reference, with_room
from chatwright.recipes.alignment.options import PairOptions
from chatwright.recipes.alignment.stores import Preferences, preference_stores
from chatwright.runs import OpenRun
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.special import IM_START
from chatwright.tokenization.tokenizer import Tokenizer

_READING: dict[type, tuple[Callable[..., Any], Callable[..., Any]]] = {
    Comparison: (read_comparisons, encode_comparisons),
    LabelledReply: (read_labelled, encode_labelled),
}
_STRANGERS = "stranger_reference"
_MICRO_TOKENS = 4096
_SAMPLES, _SAMPLE_TOKENS = 3, 64


@dataclass(frozen=True)
class PreferenceRows:
    """Both sides of a preference file as rows of an objective; `entries` are the training side's groups, one by one."""

    entries: GroupRows
    train: GroupRows | MergedRows
    held: GroupRows | MergedRows | None
    limit: int
    together: int

    @classmethod
    def read(
        cls,
        world: World,
        run: OpenRun,
        paths: str | Path,
        options: PairOptions,
        objective: Objective[Group],
        renderer: Renderer,
        limit: int,
    ) -> PreferenceRows:
        """Read and encode what the objective takes, comparisons or labelled replies, once."""
        reading = _READING[objective.record]
        stores = preference_stores(world, run, paths, options.validation, *reading, renderer, options.seed)
        together = _together(objective, options.batch)
        names = ("reference", *((_STRANGERS,) if together > 1 else ()))
        names = names if getattr(objective, "needs_reference", False) else ()
        stores = Preferences(
            with_room(stores.train, *names), stores.validation and with_room(stores.validation, *names)
        )
        train, held = stores.rows(options.seed, limit, world.leads)
        if together == 1:
            return cls(train, train, held, limit, together)
        merged = [MergedRows(rows, together, limit) if rows else None for rows in (train, held)]
        assert merged[0] is not None
        return cls(train, merged[0], merged[1], limit, together)

    def fill(self, reference: Reference) -> None:
        """Work out or read back what the reference says of every reply."""
        for rows in (self.train, self.held):
            if rows is not None:
                reference.fill(rows.store, "reference", rows.store.reply)
            if isinstance(rows, MergedRows):
                reference.fill(rows.store, _STRANGERS, rows.stranger, "-strangers")

    def typical_length(self) -> int:
        """The length of the sequence that an average token stands in: what attention is chosen for."""
        lengths = self.train.store.sequences.lengths()
        lengths = lengths[lengths <= self.limit]
        return max(1, int((lengths**2).sum() / lengths.sum()))

    def sequences_in(self, batch: int) -> int:
        """About how many sequences an optimizer step has."""
        return round(batch * self.train.store.num_sequences / self.train.store.num_groups)


def _together(objective: Objective[Group], batch: int) -> int:
    """How many groups of the store a row is made of."""
    together = int(getattr(getattr(objective, "options", None), "group", 1))
    if together > 1 and batch % together:
        raise UserError(
            f"batch={batch} is not a multiple of objective.group={together}, the replies that share a baseline; "
            f"give batch={max(1, batch // together) * together}"
        )
    return together


class Measuring:
    """Measures a policy on held-out rows: the objective's terms, and a few greedy replies."""

    def __init__(
        self,
        policy: Decoder,
        objective: Objective[Group],
        rows: PreferenceRows,
        renderer: Renderer,
        world: World,
    ) -> None:
        self._policy, self._objective, self._rows = policy, objective, rows
        self._renderer, self._world = renderer, world

    def __call__(self, step: int) -> dict[str, Any]:
        held = self._rows.held
        if held is None:
            return {}
        cut = by_tokens(_MICRO_TOKENS)
        found = held_out_terms(self._objective, {"policy": self._policy}, held, cut, self._world)
        return {**found, "samples": self._samples(held) if self._world.leads else []}

    def _samples(self, rows: Rows[Group]) -> list[str]:
        """Held-out questions with the model's replies, to be read in the report."""
        tokenizer, model = self._renderer.tokenizer, self._policy
        found: dict[bytes, list[int]] = {}
        for index in range(rows.rows_in_epoch(0)):
            for reply in rows.row(0, index).replies:
                if not reply.numbers.get("stranger") and reply.start < model.options.context:
                    ids = reply.ids[: reply.start]
                    found.setdefault(ids.tobytes(), ids.tolist())
            if len(found) >= _SAMPLES:
                break
        prompts = list(found.values())[:_SAMPLES]
        options = SamplingOptions(max_new_tokens=_SAMPLE_TOKENS, temperature=0.0)
        texts = TextModel(model, tokenizer, self._renderer).texts(prompts, options)
        asked = [_question(tokenizer, prompt) for prompt in prompts]
        return [f"{question} → {answer}" for question, answer in zip(asked, texts, strict=True)]


def _question(tokenizer: Tokenizer, prompt: list[int]) -> str:
    """What was said last before the reply; the whole prompt where turns are not marked as in ChatML."""
    begin = tokenizer.special_tokens.get(IM_START)
    turns = [place for place, token in enumerate(prompt) if token == begin]
    if len(turns) < 2:
        return tokenizer.decode(prompt).strip()
    return tokenizer.decode(prompt[turns[-2] : turns[-1]]).partition("\n")[2].strip()

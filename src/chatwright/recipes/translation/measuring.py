"""How well held-out pairs are translated: the loss at every evaluation, BLEU and chrF at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatwright.config import option
from chatwright.data.pair_store import PackedPairs
from chatwright.data.pairs import Pair
from chatwright.errors import UserError
from chatwright.evaluation.held_out import held_out_terms
from chatwright.generation.beam import BeamOptions
from chatwright.generation.translation import Translator
from chatwright.metrics.translation import bleu, chrf
from chatwright.progress import bar, say
from chatwright.training.session import Session
from chatwright.training.sources import by_count

_SHOWN = 6


@dataclass(frozen=True)
class TranslationOptions(BeamOptions):
    """How held-out pairs are translated at the end."""

    sentences: int = option(400, "held-out pairs that are translated and scored at the end; 0: none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sentences < 0:
            raise UserError(f"translation.sentences={self.sentences} must be 0 or more")


class Measuring:
    """Evaluates a session's model: `measuring(step)` is what the session calls."""

    def __init__(
        self,
        session: Session,
        translator: Translator,
        held_out: PackedPairs | None,
        pairs: Sequence[Pair],
        rows: int,
        options: TranslationOptions,
    ) -> None:
        self._session, self._translator, self._held_out = session, translator, held_out
        self._rows, self._options = rows, options
        # spread evenly, so that a sorted file is measured everywhere
        count = min(options.sentences, len(pairs))
        self._pairs = [pairs[len(pairs) * index // count] for index in range(count)]

    def __call__(self, step: int) -> dict[str, Any]:
        if self._held_out is None:
            return {}
        session = self._session
        roots = {"policy": session.main}
        cut = by_count(self._rows)
        found = held_out_terms(session.objective, roots, self._held_out, cut, session.world)
        if not session.world.leads or step == 0:
            return found
        if step == session.total and self._pairs:
            return {**found, **self._scores()}
        options = replace(self._options, beams=1)
        shown = self._pairs[:_SHOWN]
        return {
            **found,
            "samples": _samples(shown, self._translator.translate([p.source for p in shown], options)),
        }

    def _scores(self) -> dict[str, Any]:
        sources, references = ([getattr(pair, side) for pair in self._pairs] for side in ("source", "target"))
        with bar("translating held-out pairs", len(sources)) as shown:
            written = self._translator.translate(sources, self._options, shown.update)
        return {**scored(written, references), "samples": _samples(self._pairs[:_SHOWN], written)}


def scored(written: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """`bleu` and `chrf` with their signatures, and on how many pairs; said too."""
    counts, runs = bleu(written, references), chrf(written, references)
    say(f"  BLEU {counts.value:.1f} on {len(written):,} held-out pairs ({counts.signature})")
    say(f"  chrF {runs.value:.1f} ({runs.signature})")
    return {
        "bleu": round(counts.value, 3),
        "bleu_signature": counts.signature,
        "chrf": round(runs.value, 3),
        "chrf_signature": runs.signature,
        "translated": len(written),
    }


def _samples(pairs: Sequence[Pair], written: Sequence[str]) -> list[str]:
    return [
        f"{pair.source} → {text} (reference: {pair.target})"
        for pair, text in zip(pairs, written, strict=False)
    ]

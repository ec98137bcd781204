"""Our own engine: continuous batching over slots, see `generation.continuous`."""

from __future__ import annotations

from pathlib import Path

from chatwright.generation.continuous.engine import ContinuousEngine
from chatwright.generation.text import TextModel
from chatwright.serving.engines.contract import ABILITIES, Ability, EngineOptions


class OwnEngine(ContinuousEngine):
    """A `ContinuousEngine` as the server knows engines."""

    abilities: frozenset[Ability] = ABILITIES

    def __init__(self, text: TextModel, directory: Path, options: EngineOptions) -> None:
        self.most = options.slots + options.queue
        self.vocab_size = text.model.options.vocab_size
        super().__init__(
            text.model,
            slots=options.slots,
            queue=options.queue,
            weights=options.weights,
            threads=options.threads,
            context=options.context,
            drafts=options.drafts,
        )

    @property
    def alive(self) -> bool:
        """See `Engine.alive`."""
        return self._thread.is_alive()

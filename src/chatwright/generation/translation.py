"""Text to text from a run: an encoder-decoder with its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import torch

from chatwright.errors import UserError
from chatwright.generation.beam import BeamOptions, beam_search
from chatwright.generation.engine import Vocabulary
from chatwright.models.encoder_decoder import EncoderDecoder
from chatwright.models.interop.files import load_root, model_directory
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer


class Translator:
    """Turns texts into others; every source is ended by the tokenizer's end token, as in training."""

    def __init__(self, model: EncoderDecoder, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._end = tokenizer.eos
        unknown = range(tokenizer.vocab_size, model.options.vocab_size)
        banned = (tokenizer.special_ids | frozenset(unknown)) - {self._end}
        self.vocabulary = Vocabulary(frozenset({self._end}), banned)

    @classmethod
    def load(cls, run: str | Path | Run, device: torch.device | str = "cpu") -> Self:
        """The model of a finished run, or of a folder in the public layout."""
        directory = model_directory(run)
        model = load_root(directory, device)
        if not isinstance(model, EncoderDecoder):
            name = type(model.options).architecture
            raise UserError(
                f"{directory} holds a model of the architecture {name}, which does not translate; make one with "
                "`chatwright pretrain PAIRS TOKENIZER -o OUT model=transformer-small objective=seq2seq`"
            )
        return cls(model, Tokenizer.load(directory))

    def source(self, text: str) -> list[int]:
        """The ids of a source."""
        return [*self.tokenizer.encode(text), self._end]

    def translate(
        self,
        texts: Sequence[str],
        options: BeamOptions = BeamOptions(),
        on_progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """What texts are turned into, in their order; nothing becomes nothing. `on_progress(n)` hears how many are done."""
        spoken = [index for index, text in enumerate(texts) if text.strip()]
        sources = [self.source(texts[index].strip()) for index in spoken]
        found = beam_search(self.model, sources, options, self.vocabulary, on_progress)
        result = [""] * len(texts)
        for index, target in zip(spoken, found, strict=True):
            result[index] = self.tokenizer.decode(target.ids).strip()
        return result

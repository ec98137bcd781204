"""Sequence to sequence: the target's tokens, each from the source and the target before it (Sutskever et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.packing import IGNORE
from chatwright.data.pair_store import PairRow, RowWriter
from chatwright.data.pairs import Pair
from chatwright.errors import UserError
from chatwright.models.encoder_decoder import EncoderDecoder, EncoderDecoderOptions
from chatwright.models.root import Root
from chatwright.objectives.causal import stir
from chatwright.objectives.contract import Batch, Roots

_TENSORS = ("inputs", "decoder_inputs", "targets", "segments", "decoder_segments")


@dataclass(frozen=True)
class Seq2SeqOptions:
    """Predict every token of the target from the source and the tokens before it."""

    smoothing: float = option(
        0.1, "label smoothing: the share of the loss that asks for every token of the vocabulary alike"
    )
    hidden: float = option(
        0.0, "word dropout: the share of input tokens, of source and target, that are hidden in training"
    )

    def __post_init__(self) -> None:
        for name in ("smoothing", "hidden"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise UserError(f"objective.{name}={value:g} must be from 0 to below 1")


class Seq2Seq:
    """The sum of −log p(token | source, target before it) (Sutskever et al. 2014; Vaswani et al. 2017, section 5.4).

    With smoothing ε the loss is (1 − ε) times that and ε times the mean of −log p over the vocabulary (Szegedy et al.
    2016, section 7), each a term of its own. With `hidden`, input tokens are replaced by the padding token, drawn anew
    every epoch, which holds small collections of pairs off being learnt by heart (Sennrich and Zhang 2019, section 4.2).
    """

    record: type = Pair
    Options = Seq2SeqOptions
    fits: ClassVar[tuple[type[Root], ...]] = (EncoderDecoder,)

    def __init__(self, options: Seq2SeqOptions = Seq2SeqOptions()) -> None:
        self.options = options

    def prepare(self, record: PairRow, rng: np.random.Generator) -> PairRow:
        if not self.options.hidden:
            return record
        inputs, decoder_inputs = record.inputs.copy(), record.decoder_inputs.copy()
        inputs[self._chosen(_inside(record.segments), rng)] = record.pad
        decoder_inputs[self._chosen(_inside(record.decoder_segments), rng)] = record.pad
        return replace(record, inputs=inputs, decoder_inputs=decoder_inputs)

    def _chosen(self, usable: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        return usable & (rng.random(len(usable)) < self.options.hidden)

    def collate(self, rows: Sequence[PairRow]) -> Batch:
        return collate_pairs(rows)

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), int((batch["targets"] != IGNORE).sum()))

    def weights(self, step: int) -> dict[str, float]:
        smoothing = self.options.smoothing
        return {"target_token": 1.0 - smoothing, **({"smoothing": smoothing} if smoothing else {})}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        outputs = ("logprobs", "mean_logprobs") if self.options.smoothing else ("logprobs",)
        found = roots["policy"](**batch_inputs(batch), outputs=outputs)
        yield {name: -found[output].sum() for name, output in zip(self.weights(0), outputs, strict=True)}

    def example(self) -> tuple[dict[str, nn.Module], list[PairRow]]:
        return {"policy": tiny_encoder_decoder()}, example_pairs()


def collate_pairs(rows: Sequence[PairRow]) -> Batch:
    """Rows as tensors by the names of their fields; tokens: the positions of both sides that are not padding."""
    tensors = {name: torch.from_numpy(np.stack([getattr(row, name) for row in rows])) for name in _TENSORS}
    tokens = sum(int((tensors[name] >= 0).sum()) for name in ("segments", "decoder_segments"))
    return Batch(tensors, tokens)


def batch_inputs(batch: Batch) -> dict[str, Tensor]:
    """A batch as an encoder-decoder takes it."""
    return {"inputs_BS": batch["inputs"], **{name: batch[name] for name in _TENSORS[1:]}}


def _inside(segments: NDArray[np.int32]) -> NDArray[np.bool_]:
    """True at tokens that are neither the first nor the last of a text: a start stays, and so does an end."""
    edges = np.diff(segments, prepend=-2, append=-2) != 0
    inside: NDArray[np.bool_] = (segments >= 0) & ~edges[:-1] & ~edges[1:]
    return inside


def tiny_encoder_decoder(seed: int = 0) -> EncoderDecoder:
    """An encoder-decoder over 64 tokens, for conformance tests."""
    model = EncoderDecoder(
        EncoderDecoderOptions(
            vocab_size=64, width=32, encoder_layers=2, decoder_layers=2, heads=2, feed_forward=48, context=32
        )
    )
    generator = torch.Generator().manual_seed(seed)
    model.initialize(generator)
    return stir(model, generator)


def example_pairs(count: int = 12, length: int = 24) -> list[PairRow]:
    """Rows of two pairs and padding, of uneven lengths, where the target is the source the other way round."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        writer = RowWriter(length, length - 2, start=63, pad=63)
        for _ in range(2):
            source = rng.integers(0, 12, rng.integers(3, 11))
            writer.add(np.append(source, 62), np.append(source[::-1], 62)[: rng.integers(3, 11)])
        rows.append(writer.row)
    return rows

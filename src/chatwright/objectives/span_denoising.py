"""Span denoising: T5's objective (Raffel et al. 2020, section 3.3.4), which teaches an encoder-decoder from plain text."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from chatwright.config import at_least, option
from chatwright.data.packing import IGNORE, PADDING, Packed, Rows, SequentialRows, StreamRows
from chatwright.data.pair_store import PairRow, RowWriter
from chatwright.data.records import Document
from chatwright.errors import UserError
from chatwright.models.encoder_decoder import EncoderDecoder
from chatwright.models.root import Root
from chatwright.objectives.causal import example_rows
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.seq2seq import batch_inputs, collate_pairs, tiny_encoder_decoder
from chatwright.tokenization.special import SPARE_COUNT

if TYPE_CHECKING:
    from chatwright.objectives.pretraining.text import Text

_SPARE = "<|spare_{}|>"


@dataclass(frozen=True)
class SpanDenoisingOptions:
    """How much of a text is hidden, and in how long spans."""

    rate: float = option(0.15, "share of the tokens that are hidden")
    span: float = option(3.0, "mean length of a hidden span, in tokens")

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UserError(f"objective.rate={self.rate:g} must be between 0 and 1")
        at_least(self, 1, "span", group="objective.")

    def hidden(self, length: int) -> tuple[int, int]:
        """How many tokens of a text are hidden, and in how many spans; none of a text of one token."""
        if length < 2:
            return 0, 0
        tokens = min(max(round(self.rate * length), 1), length - 1)
        return tokens, min(max(round(tokens / self.span), 1), length - tokens)


@dataclass(frozen=True)
class Sentinels:
    """The tokens that stand for hidden spans, in order, and those that end and pad a text."""

    spans: tuple[int, ...]
    end: int
    pad: int


@dataclass(frozen=True)
class Spans:
    """A row of T positions of text and which of them are hidden: `noise` bool[T], None before it is drawn."""

    row: Packed
    tokens: Sentinels
    noise: NDArray[np.bool_] | None = None

    def blank(self) -> Spans:
        """A row of this shape that counts nothing."""
        return replace(self, row=self.row.blank(), noise=np.zeros(len(self.row.inputs), dtype=np.bool_))


class SpanRows:
    """Rows of text with the tokens that their spans hide behind."""

    def __init__(self, rows: Rows[Packed], tokens: Sentinels) -> None:
        self._rows, self._tokens = rows, tokens

    def rows_in_epoch(self, epoch: int) -> int:
        return self._rows.rows_in_epoch(epoch)

    def row(self, epoch: int, index: int) -> Spans:
        return Spans(self._rows.row(epoch, index), self._tokens)


class SpanDenoising:
    """The sum of −log p(token | source, target before it), where the source is a text with 15 % of its tokens hidden in
    spans, each behind a sentinel of its own, and the target is these spans, each after its sentinel (Raffel et al. 2020,
    T5). Spans have a mean length of 3 and are drawn anew every epoch; the sentinels are the tokenizer's spare tokens.

    As in T5 a row is one text, whatever documents meet in it. A row that comes without spans, in evaluation, gets some
    that are always the same.
    """

    record: type = Document
    Options = SpanDenoisingOptions
    fits: ClassVar[tuple[type[Root], ...]] = (EncoderDecoder,)
    longest: ClassVar[int] = 512

    def __init__(self, options: SpanDenoisingOptions = SpanDenoisingOptions()) -> None:
        self.options = options

    def rows(self, text: Text) -> Rows[Spans]:
        """Rows of one side of a corpus."""
        tokenizer, wanted = text.tokenizer, self.options.hidden(text.context)[1]
        if wanted > SPARE_COUNT:
            raise UserError(
                f"rows of {text.context:,} tokens have {wanted} spans and there are {SPARE_COUNT} tokens to stand for "
                "them; lower context= or raise objective.span"
            )
        spare = tuple(tokenizer.id_of(_SPARE.format(number)) for number in range(SPARE_COUNT))
        rows: Rows[Packed] = StreamRows(text.store, text.context, text.seed)
        if text.held_out:
            rows = SequentialRows(text.store, text.context, tokenizer.pad)
        return SpanRows(rows, Sentinels(spare, tokenizer.endoftext, tokenizer.pad))

    def prepare(self, record: Spans, rng: np.random.Generator) -> Spans:
        noise = np.zeros(len(record.row.inputs), dtype=np.bool_)
        real = int((record.row.segments != PADDING).sum())
        noise[:real] = drawn_noise(real, *self.options.hidden(real), rng)
        return replace(record, noise=noise)

    def collate(self, rows: Sequence[Spans]) -> Batch:
        return collate_pairs([self._pair_row(row) for row in rows])

    def _pair_row(self, spans: Spans) -> PairRow:
        if spans.noise is None:
            spans = self.prepare(spans, np.random.default_rng(zlib.crc32(spans.row.inputs.tobytes())))
        assert spans.noise is not None
        length, tokens = len(spans.row.inputs), spans.tokens
        hidden, count = self.options.hidden(length)
        # every text gets an end; all rows of a length have the same shape
        writer = RowWriter(length - hidden + count + 1, hidden + count + 1, tokens.pad, tokens.pad)
        if spans.noise.any():
            real = spans.row.segments != PADDING
            writer.add(*denoising_pair(spans.row.inputs[real], spans.noise[real], tokens))
        return writer.row

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"span_token": int((batch["targets"] != IGNORE).sum())}

    def weights(self, step: int) -> dict[str, float]:
        return {"span_token": 1.0}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        yield {"span_token": -roots["policy"](**batch_inputs(batch))["logprobs"].sum()}

    def example(self) -> tuple[dict[str, nn.Module], list[Spans]]:
        tokens = Sentinels((60, 61), 62, 63)
        rows = [Spans(replace(row, inputs=row.inputs % 12), tokens) for row in example_rows(learnt_from=0)]
        return {"policy": tiny_encoder_decoder()}, rows


def drawn_noise(length: int, hidden: int, spans: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of `length` tokens are hidden: `hidden` of them in `spans` spans, never the first; bool[length].

    Text and spans take turns, and every way to cut both into so many parts is as likely as any other.
    """
    noise = np.zeros(length, dtype=np.bool_)
    if not hidden:
        return noise
    shown_lengths, hidden_lengths = (_parts(total, spans, rng) for total in (length - hidden, hidden))
    edges = np.cumsum(np.stack([shown_lengths, hidden_lengths], axis=1).reshape(-1))
    for start, stop in edges.reshape(-1, 2).tolist():
        noise[start:stop] = True
    return noise


def _parts(total: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`total` as a sum of `parts` numbers of at least 1, int64[parts]."""
    cuts = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total).astype(np.int64)


def denoising_pair(
    ids: NDArray[np.int64], noise: NDArray[np.bool_], tokens: Sentinels
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Source and target of a text: hidden spans become sentinels in one, shown ones in the other; both are ended.

    The target begins with the first hidden span's sentinel.
    """
    begins = noise & ~np.concatenate([[False], noise[:-1]])
    sentinels = np.array(tokens.spans)[np.cumsum(begins) - 1]
    source = np.where(begins, sentinels, ids)[~noise | begins]
    places = np.flatnonzero(noise)
    target = np.insert(ids[places], np.flatnonzero(begins[places]), sentinels[begins])
    return np.append(source, tokens.end), np.append(target, tokens.end)

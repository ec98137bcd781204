"""What the objectives that read both ways share: their rows become tensors, a model reads them, and heads are asked.

Shape suffixes: B rows, T positions, N numbers of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.data.packing import IGNORE, Packed, Rows, StreamRows
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, FramedRows, frame
from chatwright.data.pretraining.sentences import Sentences
from chatwright.data.records import Document
from chatwright.data.store import TokenStore
from chatwright.models.decoder import Decoder
from chatwright.models.encoder import Encoder
from chatwright.models.headed import Headed, trunk_of
from chatwright.models.heads.labels import HeadOptions
from chatwright.models.root import Root
from chatwright.objectives.causal import example_rows, tiny_decoder
from chatwright.objectives.contract import Batch, Roots
from chatwright.tokenization.tokenizer import Tokenizer

# An accuracy's sum and count.
Share = tuple[Tensor, int]


@dataclass(frozen=True)
class Text:
    """A side of a corpus, and how rows of it are made."""

    store: TokenStore
    tokenizer: Tokenizer
    context: int
    seed: int
    held_out: bool = False
    # where another document is looked for when there is one only
    elsewhere: TokenStore | None = None

    @cached_property
    def facts(self) -> TokenFacts:
        return TokenFacts.of(self.tokenizer)

    @cached_property
    def sentences(self) -> Sentences:
        return Sentences.of(self.store, self.facts)


class BothWays:
    """An objective over framed text that attends both ways; several of them share one pass where their rows are the same.

    `outputs` is what it asks of the model, `sums` what it makes of it. `wants` are the heads that it needs.
    `fits`: the trunks that can learn it; `longest`: its rows' length where nothing is said.
    """

    record: type = Document
    fits: ClassVar[tuple[type[Root], ...]] = (Decoder, Encoder)
    longest: ClassVar[int] = 512
    # guests take any framed rows, so that they can share those of another; hosts bring their own
    is_guest: ClassVar[bool] = False
    shares_rows: ClassVar[bool] = True
    outputs: ClassVar[tuple[str, ...]] = ()
    # terms whose accuracy `shares` gives
    accuracies: ClassVar[tuple[str, ...]] = ()
    wants: Mapping[str, HeadOptions] = {}
    facts: TokenFacts | None

    def rows(self, text: Text) -> Rows[Any]:
        """Rows of one side of a corpus."""
        return FramedRows(StreamRows(text.store, text.context, text.seed), text.facts)

    def files(self) -> Sequence[str | Path]:
        """Files that it learns from besides the corpus."""
        return ()

    def more_roots(self, trunk: Root) -> dict[str, Root]:
        """Models that are trained beside the one that is kept."""
        return {}

    def prepare(self, record: Framed, rng: np.random.Generator) -> Framed:
        return record

    def collate(self, rows: Sequence[Framed]) -> Batch:
        return stack(rows)

    def counts(self, batch: Batch) -> dict[str, int]:
        raise NotImplementedError

    def weights(self, step: int) -> dict[str, float]:
        raise NotImplementedError

    def sums(self, found: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Each term's sum over a micro-batch, from what the model gave."""
        raise NotImplementedError

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        yield self.sums(read(roots["policy"], batch, self.outputs), batch)

    def shares(self, roots: Roots, batch: Batch) -> dict[str, Share]:
        """The accuracy of terms, by their names, where training does without because it would cost time."""
        return {}

    def chances(self, text: Text) -> dict[str, float]:
        """What the accuracy of each of its terms would be without having learnt anything."""
        return {}

    def example(self) -> tuple[dict[str, nn.Module], list[Any]]:
        raise NotImplementedError


class Labelled(BothWays):
    """An objective that tells one label, or one label at some positions, by a head of its own name; the accuracy is
    watched as `<name>_accuracy`."""

    name: ClassVar[str]

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.name,)

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), learnt(batch[self.name]))

    def weights(self, step: int) -> dict[str, float]:
        return {self.name: 1.0, f"{self.name}_accuracy": 0.0}

    def sums(self, found: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        loss, right = labelled(found[self.name], batch[self.name])
        return {self.name: loss, f"{self.name}_accuracy": right}

    def chances(self, text: Text) -> dict[str, float]:
        return {self.name: 1 / self.wants[self.name].numbers}


def stack(rows: Sequence[Framed]) -> Batch:
    """`inputs`, `targets`, `segments` and `types` [B, T], and every label by its name, [B] or [B, T]."""
    arrays = {name: [getattr(row, name) for row in rows] for name in ("inputs", "targets", "segments")}
    types = [np.zeros_like(row.inputs) if row.types is None else row.types for row in rows]
    labels = {name: [row.labels[name] for row in rows] for name in rows[0].labels}
    stacked = {name: torch.from_numpy(np.stack(parts)) for name, parts in (arrays | labels).items()}
    stacked["types"] = torch.from_numpy(np.stack(types))
    return Batch(stacked, tokens=int((stacked["segments"] >= 0).sum()))


def read(root: nn.Module, batch: Batch, outputs: Sequence[str]) -> dict[str, Tensor]:
    """Let a model read rows both ways."""
    assert isinstance(root, Root)
    is_encoder = isinstance(trunk_of(root), Encoder)
    how: dict[str, Any] = {"types": batch["types"]} if is_encoder else {}
    asked = tuple(dict.fromkeys(outputs))
    return root(  # type: ignore[no-any-return]
        batch["inputs"],
        targets=batch["targets"],
        segments=batch["segments"],
        outputs=asked,
        causal=False,
        **how,
    )


def token_logits(root: nn.Module, hidden_NW: Tensor) -> Tensor:
    """What the language head of a model says at some of its states, [N, V] float32."""
    assert isinstance(root, Root)
    trunk = trunk_of(root)
    if isinstance(trunk, Encoder):
        assert trunk.language is not None
        return trunk.language.logits(hidden_NW, trunk.embedding.weight)
    assert isinstance(trunk, Decoder)
    return F.linear(hidden_NW, trunk.head_weight.to(hidden_NW.dtype)).float()


def labelled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of −log p(label), and how many labels have the highest logit; labels that are IGNORE count for nothing.

    logits: [..., N] float32; labels: [...].
    """
    losses = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="sum")
    right = (logits.detach().argmax(-1) == labels).sum()
    return losses, right.float()


def learnt(labels: Tensor) -> int:
    """How many labels teach something."""
    return int((labels != IGNORE).sum())


def example_facts() -> TokenFacts:
    """64 tokens for conformance tests: 60 of text and four control tokens, the last of which is padding."""
    words, control = [f" w{index}".encode() for index in range(60)], [b"<mask>", b"<cls>", b"<sep>", b"<pad>"]
    return TokenFacts(60, 61, 62, 63, (*words, *control), np.arange(64) >= 60)


def example_headed(heads: Mapping[str, HeadOptions]) -> Root:
    """A decoder under heads, for conformance tests."""
    model = tiny_decoder()
    if not heads:
        return model
    headed = Headed(model, heads)
    headed.initialize_heads(torch.Generator().manual_seed(2))
    return headed


def example_framed() -> list[Framed]:
    """Rows of two documents and padding, framed in place; a token is often followed by its like, so that there is
    something to learn."""
    rows = [_repeated(row) for row in example_rows(learnt_from=0)]

    class Held:
        def rows_in_epoch(self, epoch: int) -> int:
            return len(rows)

        def row(self, epoch: int, index: int) -> Packed:
            return rows[index]

    framed = FramedRows(Held(), example_facts())
    return [framed.row(0, index) for index in range(len(rows))]


def _repeated(row: Packed) -> Packed:
    inputs = np.where(row.inputs < 60, row.inputs % 4, row.inputs)
    return Packed(inputs, row.targets, row.segments)


def example_pairs(name: str, count: int = 12, context: int = 24) -> list[Framed]:
    """Pairs of uneven texts with a label of that name; texts with label 0 are alike."""
    rng, rows = np.random.default_rng(0), []
    for index in range(count):
        label = index % 2
        first, second = (rng.integers(0, 10, rng.integers(3, 10)) for _ in range(2))
        texts = [first, second + 30 * label]
        rows.append(frame(texts, example_facts(), context, **{name: np.array(label)}))
    return rows

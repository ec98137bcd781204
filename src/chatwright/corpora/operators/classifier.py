"""The step `classifier`: a judge of quality learned from your own good and bad examples.

Logistic regression over hashed n-grams (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
2009), as GPT-3's corpus was filtered (Brown et al., 2020): words, Han characters, and pairs of either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.quality.lines import lay_out
from chatwright.corpora.operators.quality.repetition import to_units
from chatwright.errors import UserError

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

_BITS = 18
_LONGEST = 50_000
_FEWEST = 10
_HELD_OUT = 5
_STEPS = 150
_RATE = 0.05
_DECAY = 1e-5


@dataclass(frozen=True)
class ClassifierOptions:
    """What is good and what is bad, and where the line is."""

    good: tuple[Path, ...] = option(
        (), "files of good examples: .jsonl with text, or texts with blank lines between them"
    )
    bad: tuple[Path, ...] = option((), "files of bad examples")
    min_score: float = option(0.5, "the probability of being good that a document has at least")


class Features(NamedTuple):
    """Sparse rows: entry i says that text `row[i]` has the n-gram `column[i]` with weight `value[i]`."""

    row: Ints
    column: Ints
    value: Floats
    rows: int


class HeldOut(NamedTuple):
    """How well the classifier does on the examples that it did not learn from (every fifth)."""

    accuracy: float
    examples: int


class Classifier:
    """Drops what is more like the bad examples than like the good ones."""

    Options: ClassVar[type] = ClassifierOptions

    def __init__(self, options: ClassifierOptions) -> None:
        """Learns at once, within seconds. Raises UserError where examples are missing or too few."""
        if not options.good or not options.bad:
            raise UserError(
                "classifier needs examples of both kinds: classifier.good=FILE classifier.bad=FILE"
            )
        self._min_score = options.min_score
        texts, labels = [], []
        for name, paths, label in (("good", options.good, 1.0), ("bad", options.bad, 0.0)):
            examples = [text for path in paths for text in read_examples(path)]
            if len(examples) < _FEWEST:
                places = ", ".join(map(str, paths))
                raise UserError(
                    f"classifier.{name}={places} holds {len(examples)} examples; give at least {_FEWEST}"
                )
            texts += examples
            labels += [label] * len(examples)
        self._weights, self.held_out = learn(texts, np.array(labels))

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        kept = []
        for doc, score in zip(docs, self.scores([doc.text for doc in docs]).tolist(), strict=True):
            if score >= self._min_score:
                kept.append(doc)
            else:
                trust = f"right on {self.held_out.accuracy:.1%} of {self.held_out.examples} examples held out"
                notes.drop(doc, "classifier", f"{score:.2f}, at least {self._min_score:g} ({trust})")
        return kept

    def scores(self, texts: Sequence[str]) -> Floats:
        """The probability that each text is good, (texts,)."""
        return _probabilities(featurize(texts), self._weights)


def read_examples(path: Path) -> list[str]:
    """The examples of one file: rows of JSON Lines with a `text`, or passages between blank lines (else lines)."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the examples in {path}: {error}; give a text file in UTF-8") from None
    if path.suffix == ".jsonl":
        return [
            _text_of(line, path, number)
            for number, line in enumerate(content.splitlines(), 1)
            if line.strip()
        ]
    passages = content.split("\n\n" if "\n\n" in content.strip() else "\n")
    return [passage.strip() for passage in passages if passage.strip()]


def _text_of(line: str, path: Path, number: int) -> str:
    try:
        row: Any = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f'{path}, line {number}: not a row with a text; write {{"text": "…"}}')
    return str(row["text"])


def featurize(texts: Sequence[str]) -> Features:
    """The n-grams of texts: 1 + log of how often each occurs, each row of length 1, and a constant (column 0)."""
    if not texts:
        return Features(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 0)
    units = to_units(lay_out([text[:_LONGEST] for text in texts]))
    keys = []
    for size in (1, 2):
        hashes, document = units.grams(size)
        column = (hashes >> np.uint64(64 - _BITS)).astype(np.int64) ^ (size - 1)
        keys.append((document.astype(np.int64) << _BITS) | column)
    found, counts = np.unique(np.concatenate(keys), return_counts=True)
    row, column = found >> _BITS, (found & ((1 << _BITS) - 1)) + 1
    value = 1 + np.log(counts)
    length = np.sqrt(np.bincount(row, weights=value**2, minlength=len(texts)))
    value = value / length[row]
    constant = np.arange(len(texts))
    return Features(
        np.append(row, constant),
        np.append(column, np.zeros(len(texts), np.int64)),
        np.append(value, np.ones(len(texts))),
        len(texts),
    )


def learn(texts: Sequence[str], labels: Floats) -> tuple[Floats, HeldOut]:
    """Weights learned from all texts, and how well those learned from four fifths do on the others."""
    features = featurize(texts)
    held = np.arange(len(texts)) % _HELD_OUT == 0
    scores = _probabilities(features, _fit(features, labels, ~held))
    right = (scores[held] >= 0.5) == (labels[held] >= 0.5)
    return _fit(features, labels, np.ones(len(texts), bool)), HeldOut(float(right.mean()), int(held.sum()))


def _probabilities(features: Features, weights: Floats) -> Floats:
    logits = np.bincount(
        features.row, weights=weights[features.column] * features.value, minlength=features.rows
    )
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


def _fit(features: Features, labels: Floats, among: npt.NDArray[np.bool_]) -> Floats:
    """Adam on the whole set; both classes count the same, whatever their sizes."""
    good, bad = labels * among, (1 - labels) * among
    share = good / max(good.sum(), 1) + bad / max(bad.sum(), 1)
    weights, mean, square = (np.zeros((1 << _BITS) + 1) for _ in range(3))
    for step in range(1, _STEPS + 1):
        error = (_probabilities(features, weights) - labels) * share
        values = error[features.row] * features.value
        gradient = np.bincount(features.column, weights=values, minlength=weights.size) + _DECAY * weights
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        weights -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return weights

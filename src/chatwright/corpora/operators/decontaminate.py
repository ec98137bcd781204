"""Text that stands in evaluation sets, found by shared runs of words and dropped or cut.

Brown et al. (2020, appendix C) compare runs of 13 words; here a Chinese character is a word, and case, width, punctuation
and the Chinese script make no difference. Every shared run is found: all runs of a document are looked up, none is
sampled. A text of an evaluation set that is shorter than that is compared whole.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.duplicates.minhash import groups
from chatwright.corpora.operators.duplicates.tokens import Hashes, Tokens, ngrams, tokens
from chatwright.errors import UserError

_FILTER_BITS = 22
# a whole text of few Chinese characters is a name or a phrase, and stands anywhere
_SHORTEST_CHARACTERS = 40
_TYPES = (".jsonl", ".ndjson", ".json", ".txt", ".md")


@dataclass(frozen=True)
class DecontaminateOptions:
    """What is compared with what."""

    against: tuple[Path, ...] = option((), "evaluation sets: FILE,FILE of .jsonl, .json or .txt, also .gz")
    words: int = option(13, "words, or Chinese characters, in a run that may not be shared")
    shortest: int = option(
        8, "words from which a shorter text of a set is compared whole (if it has 40 characters)"
    )
    action: Literal["drop", "cut"] = option(
        "drop", "drop: the document goes; cut: the lines that share a run go"
    )
    max_cut: float = option(
        0.5, "with action=cut, the share that may go; a document that loses more goes whole"
    )


class Decontaminate:
    """The step `decontaminate`: no run of 13 words of an evaluation set stays in the corpus.

    Memory: 8 bytes for each run of the evaluation sets.
    """

    Options: ClassVar[type] = DecontaminateOptions

    def __init__(self, options: DecontaminateOptions) -> None:
        if not options.against:
            raise UserError("decontaminate has nothing to compare with; give decontaminate.against=FILE,FILE")
        if not 1 <= options.shortest <= options.words:
            raise UserError(
                f"decontaminate.shortest={options.shortest} is not between 1 and decontaminate.words={options.words}"
            )
        self.options = options
        self._known = _known_runs(options)

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        """The documents without what they share with an evaluation set."""
        stay: list[Doc] = []
        for group in _grouped(docs):
            for doc, spans in zip(group, self.shared([doc.text for doc in group]), strict=True):
                after = self._without(doc, spans, notes) if spans else doc
                stay += [after] if after else []
        return stay

    def shared(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """For each text the stretches `(start, stop)` that stand in an evaluation set, in order, merged."""
        words = tokens(texts)
        found: list[list[tuple[int, int]]] = [[] for _ in texts]
        begins = words.begins
        for size, known in self._known:
            runs, ends = ngrams(words, size)
            places = known.places(runs)
            owners = np.searchsorted(ends, places, side="right")
            first = begins[owners] + places - (ends - np.diff(ends, prepend=0))[owners]
            spans = zip(words.starts[first].tolist(), words.stops[first + size - 1].tolist(), strict=True)
            for owner, span in zip(owners.tolist(), spans, strict=True):
                found[owner].append(span)
        return [_merged(spans) for spans in found]

    def _without(self, doc: Doc, spans: list[tuple[int, int]], notes: Notes) -> Doc | None:
        shown = " ".join(doc.text[spans[0][0] : spans[0][1]].split())[:120]
        if self.options.action == "drop":
            notes.drop(doc, "in an evaluation set", shown)
            return None
        after = _without_lines(doc.text, spans)
        if len(after) < (1 - self.options.max_cut) * len(doc.text):
            notes.drop(doc, "mostly in an evaluation set", shown)
            return None
        notes.change(doc, after, "in an evaluation set", len(spans))
        return doc.with_text(after)


class _Runs:
    """A set of hashes: a filter of four million bits first, as almost no run of a corpus is in it, then the truth."""

    def __init__(self, hashes: Hashes) -> None:
        self._sorted = np.unique(hashes)
        self._filter = np.zeros(1 << _FILTER_BITS, bool)
        self._filter[self._slots(self._sorted)] = True

    @staticmethod
    def _slots(hashes: Hashes) -> Hashes:
        return hashes >> np.uint64(64 - _FILTER_BITS)

    def places(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """Where the hashes of the set stand among these, in order."""
        maybe = np.flatnonzero(self._filter[self._slots(hashes)])
        at = np.minimum(np.searchsorted(self._sorted, hashes[maybe]), len(self._sorted) - 1)
        there: npt.NDArray[np.int64] = maybe[self._sorted[at] == hashes[maybe]]
        return there


def _known_runs(options: DecontaminateOptions) -> list[tuple[int, _Runs]]:
    """`(words in a run, the runs of that many)` of all evaluation sets: the full runs, and whole shorter texts."""
    by_size: dict[int, list[Hashes]] = {options.words: []}
    for path in options.against:
        for group in groups(list(_texts(path))):
            words = tokens(group)
            by_size[options.words].append(ngrams(words, options.words)[0])
            lengths = np.diff(words.ends, prepend=0)
            long_enough = np.fromiter(map(len, group), np.int64, len(group)) >= _SHORTEST_CHARACTERS
            whole = np.where(long_enough & (lengths < options.words), lengths, 0)
            for size in set(whole[whole >= options.shortest].tolist()):
                by_size.setdefault(size, []).append(ngrams(_only(words, whole == size), size)[0])
    joined = {size: np.concatenate(runs) for size, runs in sorted(by_size.items()) if runs}
    if not any(map(len, joined.values())):
        named = ",".join(map(str, options.against))
        raise UserError(f"decontaminate.against={named} holds no text of {options.shortest} words or more")
    return [(size, _Runs(runs)) for size, runs in joined.items() if len(runs)]


def _only(words: Tokens, chosen: npt.NDArray[np.bool_]) -> Tokens:
    """The words of the chosen texts."""
    lengths = np.diff(words.ends, prepend=0)
    mask = np.repeat(chosen, lengths)
    return Tokens(words.hashes[mask], np.cumsum(lengths[chosen]), words.starts[mask], words.stops[mask])


def _grouped(docs: list[Doc]) -> Iterator[list[Doc]]:
    start = 0
    for texts in groups([doc.text for doc in docs]):
        yield docs[start : start + len(texts)]
        start += len(texts)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that overlap or touch, joined, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _without_lines(text: str, spans: list[tuple[int, int]]) -> str:
    """The text without the lines that any of the stretches touches."""
    kept, end = [], 0
    for start, stop in spans:
        first = text.rfind("\n", 0, start) + 1
        if first > end:
            kept.append(text[end:first])
        last = text.find("\n", stop)
        end = max(end, len(text) if last < 0 else last + 1)
    return "".join([*kept, text[end:]])


def _texts(path: Path) -> Iterator[str]:
    """Every text in an evaluation file: a plain one whole and its lines, every string in rows of JSON."""
    if not path.exists():
        raise UserError(f"decontaminate.against={path} does not exist")
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind.lower() not in _TYPES:
        raise UserError(
            f"decontaminate.against={path} is of no known type; give {', '.join(_TYPES)}, also .gz"
        )
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        content = raw.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"cannot read decontaminate.against={path}: {said}; give a whole file in UTF-8"
        ) from None
    if kind.lower() in (".txt", ".md"):
        yield content
        yield from content.splitlines()
    else:
        yield from _strings_of(path, content, kind.lower())


def _strings_of(path: Path, content: str, kind: str) -> Iterator[str]:
    if kind == ".json":
        try:
            yield from _strings(json.loads(content))
            return
        except ValueError:
            pass
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise UserError(
                    f"decontaminate.against={path}: line {number} is no JSON; mend it or leave it out"
                ) from None
            yield from _strings(row)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)

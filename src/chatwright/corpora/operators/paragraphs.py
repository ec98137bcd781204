"""Paragraphs that stand in several documents (notices, licences, navigation) are cut from all but the first.

CCNet (Wenzek et al. 2020) drops what repeats paragraph by paragraph over the whole corpus; so does this, from a least
length on, because short lines repeat by chance and their documents need them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import Decision, Signs
from chatwright.corpora.operators.duplicates.repeats import Keys, repeats
from chatwright.errors import UserError

_WRAPPED = 128
_WHITE = b" \t\r\x0b\x0c\n"
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_LETTERS = re.compile(r"[^\W\d_]{3}")
_MARKED = re.compile(rb"\n[ \t]*(```+|~~~+|\||\+-)([^\n]*)")


@dataclass(frozen=True)
class ParagraphsOptions:
    """Which paragraphs are cut."""

    min_bytes: int = option(
        150, "the shortest paragraph that is cut, in bytes (a Chinese character has three)"
    )
    max_cut: float = option(0.5, "the share of a document that may be cut; one that loses more goes whole")


class Paragraphs:
    """The step `paragraphs`: a paragraph that stood in an earlier document is cut.

    A paragraph is a line, or a block of lines between blank lines where no line is longer than 128 bytes: wrapped
    text, verse, a list. A fenced block of code is one paragraph, and so are the lines of a table. White space and the
    case of A to Z make no difference. What repeats within one document stays, and what has no three letters in a row.
    A document that goes, as too little of it would stay, has no part in what counts as there before: each paragraph
    of the documents that stay is still in one of them.

    Signatures are 12 bytes a paragraph and 12 a document. `decide` holds 40 bytes for each of at most 16 million
    paragraphs at a time, 9 for each different one that repeats, and one byte for each of all.
    """

    Options: ClassVar[type] = ParagraphsOptions

    def __init__(self, options: ParagraphsOptions) -> None:
        if options.min_bytes < 1:
            raise UserError(f"paragraphs.min_bytes={options.min_bytes} is not positive; try 150")
        if not 0 <= options.max_cut <= 1:
            raise UserError(f"paragraphs.max_cut={options.max_cut} is not a share between 0 and 1")
        self.options = options

    def sign(self, docs: list[Doc]) -> Signs:
        """`paragraphs` (P,) the hashes of all that may be cut and `sizes` (P,) their bytes.

        `counts` (D,) says how many of them each document has, `totals` (D,) how many bytes.
        """
        from xxhash import xxh3_64_intdigest

        hashes: list[int] = []
        sizes: list[int] = []
        counts, totals = np.zeros(len(docs), np.uint32), np.zeros(len(docs), np.uint64)
        for place, doc in enumerate(docs):
            before = len(hashes)
            for piece in _pieces(doc.text):
                totals[place] += len(piece)
                if self._may_go(piece):
                    hashes.append(xxh3_64_intdigest(piece.translate(_LOWER, _WHITE)))
                    sizes.append(len(piece))
            counts[place] = len(hashes) - before
        signs: Signs = {"paragraphs": np.array(hashes, np.uint64), "sizes": np.array(sizes, np.uint32)}
        return signs | {"counts": counts, "totals": totals}

    def decide(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> list[Decision]:
        """For each part which documents stay and what they lose.

        Of the documents alive `keep` (D,) says which stay, `lost` (D,) the share that stood in earlier ones that stay,
        `counts` (D,) how many paragraphs there are to decide of, and `cut` (P,) which of these go.
        """

        def hashes() -> Iterator[Keys]:
            return (_living(one, mask)["paragraphs"][:, None] for one, mask in zip(signs, alive, strict=True))

        total = sum(int(one["counts"][mask].sum()) for one, mask in zip(signs, alive, strict=True))
        found = [np.unique(keys) for _, keys in repeats(hashes, total)]
        repeated = np.sort(np.concatenate([np.zeros(0, np.uint64), *found]))
        owned = np.zeros(len(repeated), bool)
        parts = zip(signs, alive, strict=True)
        return [self._judge(_living(one, mask), repeated, owned) for one, mask in parts]

    def _judge(self, part: Signs, repeated: Keys, owned: npt.NDArray[np.bool_]) -> Decision:
        """The decision on the next part; `owned` (R,) says which of `repeated` stood before, and is brought on."""
        hashes, sizes, counts = part["paragraphs"], part["sizes"], part["counts"]
        cut, lost = np.zeros(len(hashes), bool), np.zeros(len(counts))
        slots = np.searchsorted(repeated, hashes)
        places = np.flatnonzero(slots < len(repeated))
        places = places[repeated[slots[places]] == hashes[places]]
        owners = np.searchsorted(np.cumsum(counts, dtype=np.int64), places, side="right")
        documents, opens = np.unique(owners, return_index=True)
        for document, own in zip(documents.tolist(), np.split(places, opens[1:]), strict=False):
            before = own[owned[slots[own]]]
            lost[document] = int(sizes[before].sum()) / int(part["totals"][document])
            if lost[document] <= self.options.max_cut:
                cut[before] = True
                owned[slots[own]] = True
        keep = lost <= self.options.max_cut
        return {"keep": keep, "lost": lost.astype(np.float32), "counts": counts, "cut": cut}

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        """Cut what was there before."""
        assert isinstance(decision, dict)
        stay = []
        cuts = np.split(decision["cut"], np.cumsum(decision["counts"], dtype=np.int64)[:-1])
        keeps, losses = decision["keep"].tolist(), decision["lost"].tolist()
        for doc, cut, keep, lost in zip(docs, cuts if docs else [], keeps, losses, strict=True):
            if not keep:
                notes.drop(doc, "mostly duplicate paragraphs", f"{lost:.0%} stood in earlier documents")
            elif not cut.any():
                stay.append(doc)
            else:
                after = self._without(doc.text, cut.tolist())
                notes.change(doc, after, "duplicate paragraph", int(np.count_nonzero(cut)))
                stay.append(doc.with_text(after))
        return stay

    def _may_go(self, piece: bytes) -> bool:
        """Whether a paragraph is long enough, and more than rules, numbers and signs."""
        if len(piece) < self.options.min_bytes:
            return False
        return _LETTERS.search(piece.decode("utf-8", "surrogatepass")) is not None

    def _without(self, text: str, cut: list[bool]) -> str:
        """The text without its cut paragraphs; a blank line after one of them stays."""
        flags = iter(cut)
        kept: list[bytes] = []
        for piece in _pieces(text):
            if not (self._may_go(piece) and next(flags)):
                kept.append(piece)
            elif kept and piece.endswith(b"\n\n") and not kept[-1].endswith(b"\n\n"):
                kept[-1] += b"\n"
        after = b"".join(kept).decode("utf-8", "surrogatepass")
        return after.rstrip("\n") if not text.endswith("\n") else after


def _living(one: Signs, mask: npt.NDArray[np.bool_]) -> Signs:
    """What is signed of the documents alive."""
    paragraphs = np.repeat(mask, one["counts"])
    masks = {"paragraphs": paragraphs, "sizes": paragraphs, "counts": mask, "totals": mask}
    return {name: one[name][chosen] for name, chosen in masks.items()}


def _pieces(text: str) -> list[bytes]:
    """The paragraphs with the line breaks after them, in order; together they are the text, in UTF-8."""
    raw = text.encode("utf-8", "surrogatepass")
    pieces: list[bytes] = []
    end = 0
    for start, stop in _wholes(raw):
        pieces += _plain_pieces(raw[end:start])
        end = stop + len(raw[stop : stop + 2]) - len(raw[stop : stop + 2].lstrip(b"\n"))
        pieces.append(raw[start:end])
    return pieces + _plain_pieces(raw[end:])


def _plain_pieces(raw: bytes) -> list[bytes]:
    """The paragraphs of text without code and tables."""
    pieces: list[bytes] = []
    for block in raw.split(b"\n\n"):
        lines = block.split(b"\n")
        if len(lines) > 1 and max(map(len, lines)) > _WRAPPED:
            pieces += [line + b"\n" for line in lines[:-1]]
            block = lines[-1]
        pieces.append(block + b"\n\n")
    pieces[-1] = pieces[-1][:-2]
    return pieces if pieces[-1] else pieces[:-1]


def _wholes(raw: bytes) -> list[tuple[int, int]]:
    """The stretches `(start, stop)` of whole lines that are fenced code or a table, in order.

    A fence that nothing closes is text: one that names a language always opens, so the one before it had no end.
    """
    if not any(mark in raw for mark in (b"```", b"~~~", b"|", b"+-")):
        return []
    found: list[tuple[int, int]] = []
    fence, begun = b"", 0
    for line in _MARKED.finditer(b"\n" + raw):
        start, stop = line.start(), line.end() - 1
        mark, rest = line.groups()
        if mark[:1] in b"|+":
            if found and found[-1][1] + 1 == start:
                start = found.pop()[0]
            found.append((start, stop))
        elif not fence or (mark.startswith(fence) and rest.strip()):
            fence, begun = mark, start
        elif mark.startswith(fence):
            while found and found[-1][0] > begun:
                found.pop()
            found.append((begun, stop))
            fence = b""
    return found

"""Personal data masked: addresses, telephone numbers, identity numbers, bank cards, keys.

What has a public form is found by it, and by its check digits where it has any; words before and after decide where the
form alone does not (a version, an order number, an amount). Names and postal addresses have no form and stay.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators import scanning
from chatwright.corpora.operators.personal_data import addresses, keys, numbers
from chatwright.corpora.operators.personal_data.addresses import Span
from chatwright.errors import UserError, did_you_mean

KINDS = ("key", "email", "id", "passport", "card", "ssn", "phone", "ip")
"""The kinds of personal data, in the order in which one wins over another in the same place."""

_BEFORE, _AFTER, _LONGEST, _LONGEST_BLOCK = 240, 2048, 300, 20_000
_IP_HINT = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2}"
_FINDERS: tuple[tuple[tuple[str, ...], str, Callable[[str], Iterator[Span]]], ...] = (
    (("key",), keys.HINT, keys.keys),
    (("email",), addresses.HINT, addresses.emails),
    (("id", "passport", "card", "ssn", "phone"), numbers.HINT, numbers.numbers),
    (("ip",), _IP_HINT, addresses.ip_addresses),
)


@dataclass(frozen=True)
class PersonalOptions:
    """What is masked, and by what."""

    kinds: tuple[str, ...] = option(KINDS, "what is masked")
    placeholder: str = option(
        "<kind>", "what stands in its place; the word kind becomes email, phone and so on"
    )


class Personal:
    """The step `personal`: personal data replaced by `<email>`, `<phone>` and so on, counted by kind.

    Samples in the notes show the form of what was found, with stars for its letters and digits.
    """

    Options: ClassVar[type] = PersonalOptions

    def __init__(self, options: PersonalOptions) -> None:
        for kind in options.kinds:
            if kind not in KINDS:
                raise UserError(
                    f"personal.kinds={kind} is no kind of personal data{did_you_mean(kind, KINDS)}"
                )
        self.options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        """The documents with masks."""
        found = find([doc.text for doc in docs], self.options.kinds)
        return [
            self._masked(doc, spans, notes) if spans else doc for doc, spans in zip(docs, found, strict=True)
        ]

    def _masked(self, doc: Doc, spans: list[Span], notes: Notes) -> Doc:
        veiled = doc.with_text(_replaced(doc.text, spans, lambda span: _stars(doc.text[span[0] : span[1]])))
        for kind in self.options.kinds:
            own = [span for span in spans if span[2] == kind]
            if own:
                notes.change(veiled, _replaced(veiled.text, own, self._mask), kind, len(own))
        return doc.with_text(_replaced(doc.text, spans, self._mask))

    def _mask(self, span: Span) -> str:
        return self.options.placeholder.replace("kind", span[2])


def find(texts: Sequence[str], kinds: Sequence[str] = KINDS) -> list[list[Span]]:
    """For each text where it holds personal data, as `(start, stop, kind)`, in order and without overlaps."""
    found: list[list[Span]] = [[] for _ in texts]
    laid_out = scanning.Texts(texts)
    for own, hint, finder in _FINDERS:
        if set(own) & set(kinds):
            for place, starts in laid_out.starts(hint):
                text = texts[place]
                for start, stop in _windows(text, starts):
                    found[place] += [
                        (start + first, start + last, kind)
                        for first, last, kind in finder(text[start:stop])
                        if kind in kinds
                    ]
    return [_without_overlaps(spans) if len(spans) > 1 else spans for spans in found]


def _windows(text: str, starts: list[int]) -> Iterator[tuple[int, int]]:
    """The stretches of text around hints that finders look at: lines, or what of long lines is near."""
    begin, end = 0, -1
    for start in starts:
        if start + _LONGEST <= end:
            continue
        first = max(text.rfind("\n", max(0, start - _BEFORE), start) + 1, start - _BEFORE, 0)
        if first > end:
            if end >= 0:
                yield begin, end
            begin = first
        end = max(end, _window_end(text, start))
    if end >= 0:
        yield begin, end


def _window_end(text: str, start: int) -> int:
    if text.startswith("-----BEGIN", start):
        end = text.find("-----END", start, start + _LONGEST_BLOCK)
        return min(len(text), start + _LONGEST_BLOCK if end < 0 else end + 64)
    end = text.find("\n", start, start + _AFTER)
    return min(len(text), start + _AFTER) if end < 0 else end


def _without_overlaps(spans: list[Span]) -> list[Span]:
    """Of spans that overlap the first kind of `KINDS` stays, and of one kind the longest."""
    ranked = sorted(set(spans), key=lambda span: (KINDS.index(span[2]), span[0] - span[1], span[0]))
    chosen: list[Span] = []
    for span in ranked:
        place = bisect.bisect(chosen, span)
        clear_before = place == 0 or chosen[place - 1][1] <= span[0]
        if clear_before and (place == len(chosen) or span[1] <= chosen[place][0]):
            chosen.insert(place, span)
    return chosen


def _replaced(text: str, spans: list[Span], by: Callable[[Span], str]) -> str:
    pieces, end = [], 0
    for span in spans:
        pieces += [text[end : span[0]], by(span)]
        end = span[1]
    return "".join([*pieces, text[end:]])


def _stars(value: str) -> str:
    """A value with a star for each letter and digit after the first, so that only its form shows."""
    return value[:1] + "".join("*" if character.isalnum() else character for character in value[1:])

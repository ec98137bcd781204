"""The step `clean`: characters, white space and front matter put right; words, code and punctuation stay.

Full-width punctuation, curled quotes, ligatures, HTML entities and the indentation of code stay as they are.
Mojibake is recognised and undone by ftfy (Speer, "ftfy", 2019, doi:10.5281/zenodo.2591652).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, TypeAlias

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes, encodable

_CONTROLS = bytes(sorted({*range(32), 127} - {9, 10}))
_LINE_BREAKS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u206a-\u206f\ufeff\ufff9-\ufffb]")
# Control characters, the byte order mark, and the deprecated or internal format characters of Unicode.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufeff\ufff9-\ufffb]")
# Soft hyphens, word joiners and marks of direction. Joiners and zero-width spaces belong to the letters of
# Arabic, of India and South-East Asia, and to emoji; after any other character they are litter.
_INVISIBLE = re.compile(
    "[\xad\u2060-\u2064\u202a-\u202e\u2066-\u2069]"
    "|(?<![\u0590-\u109f\u1780-\u1aff\u200b-\u200f\u203c\u2049\u2100-\u2bff\ua8e0-\uabff"
    "\ufb1d-\ufe0f\ufe70-\ufefc\U00010000-\U0010ffff])[\u200b-\u200f]+"
)
_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f]")
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff\ufff9-\ufffb]"
)
# UTF-8 misread byte by byte shows two neighbours that are neither ASCII nor Chinese, one of them a letter or
# sign of a one-byte code page (or a capital A with a mark before a space, for the byte A0). ftfy's own test
# for a bad line is thirty times slower than this one. A pattern that starts with one set of characters is
# what `re` finds fast.
_SUSPECT = re.compile(
    "[\x80-\u2e7f](?:(?<=[\x80-\u06ff])[\x80-\u2e7f]|(?<![\x80-\u06ff])[\x80-\u06ff]"
    "|(?<=[\x80-\x9f])|(?<=[\xc2\xc3]) )"
)
# A first line of dashes, then a key with a colon (of plus signs: a key with an equals sign), up to the same line.
# Every line between looks like YAML (or TOML): speeches between two rules begin with a key too, but prose follows.
_QUOTED = r"(?:[\"'][^\"'\n]*[\"'][ \t]*,?[ \t]*)"
_OTHER_LINE = rf"(?:[ \t].*|#.*|{_QUOTED}*+[\]}})]*,?[ \t]*)\n"
_KEY = r"(?:[\w.\-]{1,60}|\"[^\"\n]{1,60}\"|'[^'\n]{1,60}')"
_YAML_KEY = rf"{_KEY}[ \t]*:(?:[ \t].*)?\n"
_TOML_KEY = rf"{_KEY}[ \t]*=.*\n"
_FRONT_MATTER = re.compile(
    rf"---[ \t]*\n(?:#.*\n|\n)*+{_YAML_KEY}"
    rf"(?:{_YAML_KEY}|-(?:[ \t].*)?\n|{_OTHER_LINE}){{0,1000}}+(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
    rf"|\+\+\+[ \t]*\n(?:#.*\n|\n)*+{_TOML_KEY}"
    rf"(?:{_TOML_KEY}|\[.*\n|{_OTHER_LINE}){{0,1000}}+\+\+\+[ \t]*(?:\n|\Z)"
)
_INDENTED_BY_IDEOGRAPHIC_SPACE = re.compile("^\u3000+", re.MULTILINE)
_SPACE_AT_END = ("  \n", " \n", "\t\n", "\u3000\n")
_ROUNDS = 8

Stage: TypeAlias = tuple[str, Callable[[str], str]]


@dataclass(frozen=True)
class CleanOptions:
    """What is put right in a text."""

    mojibake: bool = option(True, "undo text that was decoded wrongly (Ã© for é)")
    front_matter: bool = option(True, "leave out the block of settings that opens a Markdown page")
    blank_lines: int = option(2, "how many blank lines in a row may stay")


class Clean:
    """Every document cleaned; what changed is noted by kind."""

    Options: ClassVar[type] = CleanOptions

    def __init__(self, options: CleanOptions) -> None:
        self._mojibake = options.mojibake
        self._layout: list[Stage] = [("white space", _Layout(max(0, options.blank_lines)))]
        if options.front_matter:
            self._layout.append(("front matter", drop_front_matter))

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        return [self._clean(doc, notes) for doc in docs]

    def text(self, text: str) -> str:
        """The cleaned text alone."""
        return self._clean(Doc("", "", text), Notes()).text

    def _clean(self, doc: Doc, notes: Notes) -> Doc:
        before: dict[str, str] = {}
        after: dict[str, str] = {}

        def run(reason: str, stage: Callable[[str], str], text: str) -> str:
            changed = stage(text)
            if changed != text:
                before.setdefault(reason, text)
                after[reason] = changed
            return changed

        text = run("control characters", as_unicode, doc.text)
        # What one stage takes away may bring together what another one mends.
        for _ in range(_ROUNDS):
            start = text
            for stage in self._stages_for(text):
                text = run(*stage, text)
            if text == start:
                break
        for stage in self._layout:
            text = run(*stage, text)
        for reason, changed in after.items():
            notes.change(doc.with_text(before[reason]), changed, reason)
        return doc.with_text(text) if after else doc

    def _stages_for(self, text: str) -> Iterator[Stage]:
        """The stages that may find something; one look at the characters is cheaper than each stage's own."""
        if text.isascii():
            if has_ascii_controls(text):
                yield "control characters", drop_controls
            return
        if self._mojibake:
            yield "mojibake", undo_mojibake
        odd = "".join(set(_ODD.findall(text)))
        if _CONTROL.search(odd):
            yield "control characters", drop_controls
        if _INVISIBLE.search(odd):
            yield "invisible characters", drop_invisible
        if _SPACES.search(odd):
            yield "odd spaces", plain_spaces
        yield "composed characters", compose


def as_unicode(text: str) -> str:
    """The text without the byte order mark before it and without lone surrogates."""
    return encodable(text.removeprefix("\ufeff"))


def has_ascii_controls(text: str) -> bool:
    """Whether an ASCII text holds other control characters than newlines and tabs."""
    encoded = text.encode("ascii")
    return len(encoded.translate(None, _CONTROLS)) < len(encoded)


def undo_mojibake(text: str) -> str:
    """The text with lines that were decoded wrongly decoded rightly."""
    if text.isascii() or not _SUSPECT.search(text):
        return text
    return "".join(_decode_again(line) for line in text.splitlines(keepends=True))


def _decode_again(line: str) -> str:
    if not _SUSPECT.search(line):
        return line
    import ftfy
    from ftfy.badness import is_bad

    return str(ftfy.fix_text(line, _settings())) if is_bad(line) else line


@cache
def _settings() -> Any:
    import ftfy

    return ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_terminal_escapes=False,
        remove_control_chars=False,
        normalization=None,
    )


def drop_controls(text: str) -> str:
    """Line breaks of every kind as newlines; terminal colours and control characters gone."""
    if "\x1b" in text:
        from ftfy.fixes import remove_terminal_escapes

        text = remove_terminal_escapes(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", _LINE_BREAKS.sub("\n", text))


def drop_invisible(text: str) -> str:
    """Soft hyphens, zero-width characters where no script needs them, and marks of direction gone."""
    return _INVISIBLE.sub("", text)


def plain_spaces(text: str) -> str:
    """Spaces of unusual width as plain ones; the ideographic space stays within a line."""
    return _SPACES.sub(" ", text)


def compose(text: str) -> str:
    """Unicode's normal form NFC: letters and their accents as one character."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


class _Layout:
    """No white space at the ends of lines and of the text, few blank lines, Chinese paragraphs flush left."""

    def __init__(self, blank_lines: int) -> None:
        self._allowed = "\n" * (blank_lines + 1)
        self._more = re.compile(f"\n{{{blank_lines + 2},}}")

    def __call__(self, text: str) -> str:
        text = text.rstrip()
        if "\u3000" in text:
            text = _INDENTED_BY_IDEOGRAPHIC_SPACE.sub("", text)
        text = _strip_line_ends(text)
        if self._allowed + "\n" in text:
            text = self._more.sub(self._allowed, text)
        return text.lstrip("\n")


def _strip_line_ends(text: str) -> str:
    for _ in range(4):
        if not any(end in text for end in _SPACE_AT_END):
            return text
        for end in _SPACE_AT_END:
            text = text.replace(end, "\n")
    return "\n".join(map(str.rstrip, text.split("\n")))


def drop_front_matter(text: str) -> str:
    """The text after the block of settings (YAML between ---, TOML between +++) that opens it."""
    while text.startswith(("---", "+++")):
        found = _FRONT_MATTER.match(text)
        if not found:
            break
        text = text[found.end() :].lstrip("\n")
    return text

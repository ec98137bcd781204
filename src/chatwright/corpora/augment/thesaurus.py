"""Words that may stand for each other, from lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from chatwright.errors import UserError

Groups = Sequence[Sequence[str]]
_CILIN_EQUAL = "="


class Thesaurus:
    """Synonyms by word; a word of several groups has those of all."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._of: dict[str, list[str]] = {}
        for group in groups:
            for word in group:
                known = self._of.setdefault(word.lower(), [])
                known += [other for other in group if other != word and other not in known]

    def __len__(self) -> int:
        return len(self._of)

    def of(self, word: str) -> list[str]:
        """What may stand for a word, in its capitals; none for a word that is not known."""
        found = self._of.get(word.lower(), [])
        if word.isupper() and len(word) > 1:
            return [other.upper() for other in found]
        return [other[:1].upper() + other[1:] for other in found] if word[:1].isupper() else found


@cache
def built_in() -> Thesaurus:
    """Common English and Chinese words, each group a line of `synonyms_en.txt` and `synonyms_zh.txt` beside this file."""
    folder = resources.files("chatwright.corpora.augment")
    return Thesaurus(
        line.split()
        for name in ("synonyms_en.txt", "synonyms_zh.txt")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    )


def read_thesaurus(path: Path) -> Thesaurus:
    """Groups of a file of the user's: words of one meaning on a line, between commas, tabs or spaces; or Cilin's lines,
    `Aa01A01= 人 士 人物`, of which only those with `=` are synonyms. Raises UserError for a file without any."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"synonyms={path}: cannot be read as UTF-8 text ({error})") from None
    groups = [group for group in _groups(text) if len(group) > 1]
    if not groups:
        raise UserError(f"synonyms={path}: no line has two words; write words of one meaning on a line")
    return Thesaurus(groups)


def _groups(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        words = line.replace(",", " ").replace("，", " ").split()
        is_cilin = bool(words) and len(words[0]) == 8 and words[0][:2].isalpha() and words[0][2:4].isdigit()
        if not is_cilin:
            yield words
        elif words[0].endswith(_CILIN_EQUAL):
            yield words[1:]

"""People as a judge, through a file of open comparisons that they fill in."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, TypeAlias

from chatwright.config import option
from chatwright.data.records import Comparison, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.files import atomic_write
from chatwright.rewards.contract import row_name
from chatwright.rewards.judges import as_rows, check_groups, comparison, digest

Ranks: TypeAlias = tuple[int, ...]

_HOW = {
    "how": 'Where "best" is null, write "A", "B", "tie", or "skip" if you cannot say; where "ranking" is null, '
    'the letters from best to worst, as "B>A=C". Change nothing else, save, and run the same command again.',
    "说明": '把 best 后面的 null 改成 "A"、"B"、"平"，无法判断则写 "跳过"；把 ranking 后面的 null 改成从好到差的字母，'
    '例如 "B>A=C"。其他内容不要改动；保存后再次运行同一命令。',
}
_TIES = ("TIE", "SAME", "EQUAL", "平", "平局", "一样", "相同")
_SKIPS = ("SKIP", "跳过", "不确定")
_OPEN = ("", "NULL", "NONE")
# an answer without quotes, or with the quotes and commas of a Chinese keyboard
_LOOSE = re.compile(
    r'\s*\{\s*["“”](best|ranking)["“”]\s*[:：]\s*["“”]*([^"“”{}\[\]]*?)["“”]*\s*[,，]\s*(?=["“”]id["“”])'
)


@dataclass(frozen=True)
class PeopleJudgeOptions:
    """Let people fill in a file."""

    seed: int = option(0, "of the order in which the replies are shown")
    complete: bool = option(True, "wait until every comparison is filled in; no: go on with those that are")


@dataclass(frozen=True)
class Answered:
    """A line of the file: the replies in the order shown; ranks in that order, () for skipped, None while open."""

    place: str
    replies: tuple[str, ...]
    ranks: Ranks | None


class PeopleJudge:
    """Writes open comparisons into a JSON Lines file for people to fill in, and reads their answers.

    A line has `best`, or `ranking` for more than two replies, which is null while open; then `id`, `prompt`, and
    `replies` under the letters A, B … in an order drawn from (seed, id), so that nobody sees where a reply came from.
    Lines that are in the file are never changed; new ones are added at its end.
    """

    Options = PeopleJudgeOptions

    def __init__(self, options: PeopleJudgeOptions, file: Path) -> None:
        self.options, self.file = options, file

    def compare(self, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> list[Comparison | None]:
        """A comparison for each prompt; None for one that was skipped, or is open with `complete=no`.

        Raises Interrupted when comparisons are open, and UserError, with file and line, for an answer that is none.
        """
        check_groups(prompts, replies)
        groups = [(_id(*row), row[0], row[1]) for row in zip(prompts, replies, strict=True)]
        answers = self._read()
        self._add({i: (p, g) for i, p, g in groups if i not in answers and not _all_equal(g)})
        ranks = {id: self._ranks(id, group, answers.get(id)) for id, _, group in groups}
        still_open = sum(value is None for value in ranks.values())
        if still_open and (self.options.complete or still_open == len(ranks)):
            raise Interrupted(self._request(still_open, len(ranks)))
        return [comparison(prompt, group, r) if (r := ranks[id]) else None for id, prompt, group in groups]

    def _request(self, count: int, total: int) -> str:
        answer = 'write "A", "B" or "tie" after "best", or as "B>A=C" after "ranking", in place of null'
        return f"{count} of {total} comparisons are open; fill in {self.file} ({answer}), then run the same command again"

    def _ranks(self, id: str, replies: Sequence[str], answer: Answered | None) -> Ranks | None:
        """The ranks in the order of `replies`; equal replies are tied, and nobody is asked."""
        if answer is None:
            return (0,) * len(replies) if _all_equal(replies) else None
        order = _order(self.options.seed, id, len(replies))
        if answer.replies != tuple(replies[i] for i in order):
            mend = "undo the change, or delete the line to have it written anew"
            raise UserError(
                f"{answer.place}: the replies, or their order, are not those that were written; {mend}"
            )
        if not answer.ranks:
            return answer.ranks
        ranks = [0] * len(replies)
        for shown, index in enumerate(order):
            ranks[index] = answer.ranks[shown]
        return tuple(ranks)

    def _add(self, rows: Mapping[str, tuple[Prompt, Sequence[str]]]) -> None:
        if not rows:
            return
        before = self.file.read_bytes() if self.file.exists() else _line(_HOW)
        if before and not before.endswith(b"\n"):
            before += b"\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.file, before + b"".join(self._line(id, *row) for id, row in rows.items()))

    def _line(self, id: str, prompt: Prompt, replies: Sequence[str]) -> bytes:
        if len(replies) > len(ascii_uppercase):
            raise UserError(f"{row_name(prompt)} has {len(replies)} replies; people can be shown 26 at most")
        shown = [replies[i] for i in _order(self.options.seed, id, len(replies))]
        # what is to be filled in stands first, where it is found without scrolling
        return _line(
            {
                "best" if len(replies) == 2 else "ranking": None,
                "id": id,
                "prompt": as_rows(prompt),
                "replies": dict(zip(ascii_uppercase, shown, strict=False)),
            }
        )

    def _read(self) -> dict[str, Answered]:
        if not self.file.exists():
            return {}
        try:
            text = self.file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{self.file} is not UTF-8; save it as UTF-8 in your editor") from None
        found: dict[str, Answered] = {}
        for number, line in enumerate(text.split("\n"), 1):
            row = _row(line, f"{self.file}:{number}") if line.strip() else {}
            if not row.keys() - _HOW.keys():
                continue
            answer = _answered(row, f"{self.file}:{number}")
            before = found.setdefault(row["id"], answer)
            if before.ranks is None:
                found[row["id"]] = answer
            elif answer.ranks not in (None, before.ranks):
                first = before.place.rpartition(":")[2]
                raise UserError(
                    f"{answer.place}: answers the comparison of line {first} otherwise; delete one of them"
                )
        return found


def _id(prompt: Prompt, replies: Sequence[str]) -> str:
    return digest([as_rows(prompt), list(replies)])[:16]


def _all_equal(replies: Sequence[str]) -> bool:
    return len(set(replies)) == 1


def _order(seed: int, id: str, count: int) -> list[int]:
    """The replies in the order in which they are shown; the same in every process and version."""
    return sorted(range(count), key=lambda i: hashlib.sha256(f"{seed} {id} {i}".encode()).digest())


def _line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False)
    # editors take these for ends of lines
    for mark in ("\x85", "\u2028", "\u2029"):
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _row(line: str, place: str) -> dict[str, Any]:
    """The JSON object of a line, also where quotes around the answer are missing or not JSON's."""
    loose = _LOOSE.sub(lambda m: f'{{"{m[1]}": {json.dumps(m[2])}, ', line, count=1)
    for text in (line, loose):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return row
    mend = 'write answers as "best": "A", with the comma after it, or delete the line to have it written anew'
    raise UserError(f"{place} is no JSON object; {mend}")


def _answered(row: Mapping[str, Any], place: str) -> Answered:
    id, replies = row.get("id"), row.get("replies")
    if not isinstance(id, str) or not isinstance(replies, dict) or not {"best", "ranking"} & row.keys():
        mend = "undo the change, or delete the line to have it written anew"
        raise UserError(f"{place} has lost its id, its replies or its field for the answer; {mend}")
    letters = "".join(replies)
    answers = {field: _clean(row.get(field)) for field in ("best", "ranking")}
    given = {field: answer for field, answer in answers.items() if answer not in _OPEN}
    if len(given) == 2:
        raise UserError(f"{place} has both best and ranking; keep one of them")
    ranks = None
    for field, answer in given.items():
        ranks = _best(answer, letters) if field == "best" else _ranking(answer, letters)
        if ranks is None:
            example = ">".join(reversed(letters))
            wanted = (
                " or ".join(f'"{x}"' for x in letters) if field == "best" else f'all letters, as "{example}"'
            )
            raise UserError(f'{place}: {field} is {row[field]!r}; write {wanted}, "tie" or "skip"')
    return Answered(place, tuple(map(str, replies.values())), ranks)


def _clean(answer: Any) -> str:
    """An answer in capitals, of ordinary width and without spaces; a list of letters as `B>A=C`."""
    if answer is None:
        return ""
    if isinstance(answer, list):
        groups = (group if isinstance(group, list) else [group] for group in answer)
        return ">".join("=".join(map(_clean, group)) for group in groups)
    return "".join(unicodedata.normalize("NFKC", str(answer)).upper().split())


def _best(answer: str, letters: str) -> Ranks | None:
    if answer in _TIES or answer in _SKIPS:
        return () if answer in _SKIPS else (0,) * len(letters)
    if len(answer) != 1 or answer not in letters:
        return None
    return tuple(int(letter != answer) for letter in letters)


def _ranking(answer: str, letters: str) -> Ranks | None:
    if answer in _TIES or answer in _SKIPS:
        return _best(answer, letters)
    # without signs in between, or with commas, every letter is worse than the one before it
    steps = answer.split(">") if {">", "="} & set(answer) else list(re.sub(r"[,、]", "", answer))
    groups = [step.split("=") for step in steps]
    if sorted(letter for group in groups for letter in group) != sorted(letters):
        return None
    rank = {letter: rank for rank, group in enumerate(groups) for letter in group}
    return tuple(rank[letter] for letter in letters)

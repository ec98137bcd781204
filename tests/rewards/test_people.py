"""People as a judge: a file that is written, filled in by hand, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatwright.config import build
from chatwright.data.records import Comparison, Message, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.rewards.people import PeopleJudge

PROMPTS = [Prompt((Message("user", f"问题 {i}"),), {"answer": "hidden"}, f"p:{i}") for i in range(8)]
REPLIES = [["good", "bad"] for _ in range(8)]


def judge(file: Path, **options: Any) -> PeopleJudge:
    return PeopleJudge(build(PeopleJudge.Options, options), file)


def opened(file: Path, count: int = 8, replies: list[list[str]] = REPLIES, **options: Any) -> list[str]:
    """The lines of a file of open comparisons, without the one that explains."""
    with pytest.raises(Interrupted):
        judge(file, **options).compare(PROMPTS[:count], replies[:count])
    return lines(file)[1:]


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def fill(file: Path, answer: Any, number: int = 1, field: str = "best") -> None:
    """Replace null in a line; text is written as it stands, anything else as JSON."""
    content = lines(file)
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    content[number] = content[number].replace(f'"{field}": null', f'"{field}": {text}')
    file.write_text("\n".join(content) + "\n", encoding="utf-8")


def letter(line: str, reply: str) -> str:
    return next(key for key, value in json.loads(line)["replies"].items() if value == reply)


def ranks(found: list[Comparison | None]) -> list[tuple[int, ...] | None]:
    return [None if one is None else one.ranks for one in found]


def test_a_file_is_written_filled_in_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "open.jsonl"
    with pytest.raises(Interrupted) as stop:
        judge(file).compare(PROMPTS, REPLIES)
    assert f"8 of 8 comparisons are open; fill in {file}" in str(stop.value)
    assert str(stop.value).endswith("then run the same command again")
    for number, line in enumerate(lines(file)[1:], 1):
        assert line.startswith('{"best": null, "id": "')
        assert "hidden" not in line
        fill(file, f'"{letter(line, "good")}"', number)
    before = file.read_bytes()
    found = judge(file).compare(PROMPTS, REPLIES)
    assert ranks(found) == [(0, 1)] * 8
    assert found[3] == Comparison(PROMPTS[3].messages, ("good", "bad"), (0, 1), 0.0, "p:3")
    assert file.read_bytes() == before


def test_the_order_shown_is_blind_and_depends_on_the_seed_alone(tmp_path: Path) -> None:
    shown = {
        seed: [letter(line, "good") for line in opened(tmp_path / f"{seed}.jsonl", seed=seed)]
        for seed in (0, 1)
    }
    assert set(shown[0]) == set(shown[1]) == {"A", "B"}
    assert shown[0] != shown[1]
    assert [letter(line, "good") for line in opened(tmp_path / "again.jsonl", seed=0)] == shown[0]


def test_unanswered_rows_stay_open(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    line = opened(file, 3)[1]
    fill(file, f'"{letter(line, "bad")}"', 2)
    with pytest.raises(Interrupted, match="2 of 3 comparisons are open"):
        judge(file).compare(PROMPTS[:3], REPLIES[:3])
    assert ranks(judge(file, complete="no").compare(PROMPTS[:3], REPLIES[:3])) == [None, (1, 0), None]
    with pytest.raises(Interrupted, match="1 of 1"):
        judge(file, complete="no").compare(PROMPTS[:1], REPLIES[:1])


def test_new_comparisons_are_added_and_others_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    opened(file, 2)
    fill(file, '"tie"', 1)
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    before = lines(file)
    opened(file, 4)
    assert lines(file)[:3] == before
    assert len(lines(file)) == 5
    assert ranks(judge(file).compare(PROMPTS[:1], REPLIES[:1])) == [(0, 0)]


def test_equal_rows_are_asked_once_and_equal_replies_never(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    twice = [PROMPTS[0], PROMPTS[0]]
    with pytest.raises(Interrupted, match="1 of 1"):
        judge(file).compare(twice, REPLIES[:2])
    assert len(lines(file)) == 2
    fill(file, '"tie"')
    assert ranks(judge(file).compare(twice, REPLIES[:2])) == [(0, 0), (0, 0)]
    other = tmp_path / "other.jsonl"
    assert ranks(judge(other).compare(PROMPTS[:1], [["same", "same"]])) == [(0, 0)]
    assert not other.exists()


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('"A"', "A"),
        ('"a "', "A"),
        ('"Ｂ"', "B"),
        ("A", "A"),
        (" b ", "B"),
        ("“B”", "B"),
        ("”A“", "A"),
        ('"tie"', "tie"),
        ("平", "tie"),
        ("“平局”", "tie"),
        ('"一样"', "tie"),
        ('"Skip"', "skip"),
        ("跳过", "skip"),
        ('""', "open"),
        ("null", "open"),
        ("", "open"),
    ],
)
def test_answers_written_by_hand(answer: str, wanted: str, tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    (line,) = opened(file, 1)
    fill(file, answer)
    if wanted == "open":
        with pytest.raises(Interrupted):
            judge(file).compare(PROMPTS[:1], REPLIES[:1])
        return
    better = letter(line, "good") if wanted in "AB" else ""
    expected = {"tie": (0, 0), "skip": None}.get(wanted, (0, 1) if wanted == better else (1, 0))
    assert ranks(judge(file).compare(PROMPTS[:1], REPLIES[:1])) == [expected]


@pytest.mark.parametrize("whole", ['{"best"： “A”，', "{“best”：A， ", "{ “best” : 'A', "])
def test_a_chinese_keyboard_breaks_nothing(whole: str, tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    (line,) = opened(file, 1)
    text = file.read_text(encoding="utf-8").replace('{"best": null, ', whole.replace("'", '"'))
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    expected = (0, 1) if letter(line, "good") == "A" else (1, 0)
    assert ranks(judge(file).compare(PROMPTS[:1], REPLIES[:1])) == [expected]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('"y>x>z"', (1, 0, 2)),
        ('"y > x = z"', (1, 0, 1)),
        ('"y＞x＝z"', (1, 0, 1)),
        ('"x=y=z"', (0, 0, 0)),
        ('"z x y"', (1, 2, 0)),
        ('"z，x、y"', (1, 2, 0)),
        ("zxy", (1, 2, 0)),
        ('["y", ["x", "z"]]', (1, 0, 1)),
        ('"tie"', (0, 0, 0)),
        ('"skip"', None),
    ],
)
def test_rankings(answer: str, wanted: Any, tmp_path: Path) -> None:
    """The letters x, y and z stand for those under which the replies ex, why and zed are shown."""
    file = tmp_path / "open.jsonl"
    replies = [["ex", "why", "zed"]]
    (line,) = opened(file, 1, replies)
    assert line.startswith('{"ranking": null, ')
    letters = {ord(name[0]): letter(line, reply) for name, reply in zip("xyz", replies[0], strict=True)}
    words = answer if answer in ('"tie"', '"skip"') else answer.translate({**letters, ord("w"): "w"})
    fill(file, words, field="ranking")
    assert ranks(judge(file).compare(PROMPTS[:1], replies)) == [wanted]


def test_the_best_of_many_ties_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    (line,) = opened(file, 1, [["a", "b", "c"]])
    file.write_text(line.replace('"ranking": null', f'"best": "{letter(line, "c")}"') + "\n")
    assert ranks(judge(file).compare(PROMPTS[:1], [["a", "b", "c"]])) == [(1, 1, 0)]


@pytest.mark.parametrize(
    ("answer", "count", "said"),
    [
        ('"C"', 2, 'best is \'C\'; write "A" or "B", "tie" or "skip"'),
        ('"AB"', 2, "best is 'AB'"),
        ("3", 2, "best is 3"),
        ('"good"', 2, "best is 'good'"),
        ("[1, 2]", 2, "best is "),
        ('{"A": 1}', 2, "best is "),
        ('"A>B"', 3, "ranking is 'A>B'; write all letters, as \"C>B>A\""),
        ('"A>B>B"', 3, "ranking is 'A>B>B'"),
        ('"A>B>D"', 3, "ranking is 'A>B>D'"),
        ('"A,B>C"', 3, "ranking is 'A,B>C'"),
        ('"A>B>C>"', 3, "ranking is 'A>B>C>'"),
        ('"A" "B"', 2, "is no JSON object; write answers as"),
        ('["A"', 2, "is no JSON object"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_its_line(
    answer: str, count: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "open.jsonl"
    replies = [["a", "b", "c"][:count]] * 2
    opened(file, 2, replies)
    fill(file, answer, 2, "best" if count == 2 else "ranking")
    with pytest.raises(UserError) as refused:
        judge(file).compare(PROMPTS[:2], replies)
    assert f"{file}:3" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("good", "fine", "the replies, or their order, are not those that were written; undo the change"),
        ('"id"', '"name"', "has lost its id"),
        ('"best"', '"worst"', "has lost its id, its replies or its field"),
        ('"best": null', '"best": "A", "ranking": "A>B"', "has both best and ranking"),
        ('{"best"', '[{"best"', "is no JSON object"),
    ],
)
def test_a_line_that_was_broken_is_refused(before: str, after: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    (line,) = opened(file, 1)
    file.write_text(f"{lines(file)[0]}\n\n{line.replace(before, after)}\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        judge(file).compare(PROMPTS[:1], REPLIES[:1])
    assert str(refused.value).startswith(f"{file}:3")
    assert said in str(refused.value)


def test_another_seed_never_turns_an_answer_round(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    for number, line in enumerate(opened(file, seed=0), 1):
        fill(file, f'"{letter(line, "good")}"', number)
    with pytest.raises(UserError, match="the replies, or their order, are not those"):
        judge(file, seed=1).compare(PROMPTS, REPLIES)


def test_two_answers_to_one_comparison_must_agree(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    (line,) = opened(file, 1)
    answered = line.replace("null", '"tie"', 1)
    file.write_text(f"{line}\n{answered}\n{line}\n{answered}\n", encoding="utf-8")
    assert ranks(judge(file).compare(PROMPTS[:1], REPLIES[:1])) == [(0, 0)]
    other = line.replace("null", '"A"', 1)
    file.write_text(f"{answered}\n{other}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"open\.jsonl:2: answers the comparison of line 1 otherwise"):
        judge(file).compare(PROMPTS[:1], REPLIES[:1])


def test_text_that_upsets_files_and_editors_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    replies = [['a\u2028b\x85c\nd"e\\', "lone \ud800 surrogate 🐱"]]
    (line,) = opened(file, 1, replies)
    assert len(file.read_bytes().decode("utf-8").splitlines()) == 2
    fill(file, '"A"')
    wanted = (0, 1) if letter(line, replies[0][0]) == "A" else (1, 0)
    assert ranks(judge(file).compare(PROMPTS[:1], replies)) == [wanted]


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "open.jsonl"
    opened(file, 1)
    file.write_bytes(file.read_text(encoding="utf-8").encode("gb18030"))
    with pytest.raises(UserError, match=r"open\.jsonl is not UTF-8; save it as UTF-8"):
        judge(file).compare(PROMPTS[:1], REPLIES[:1])


def test_more_replies_than_letters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="p:0 has 27 replies; people can be shown 26"):
        judge(tmp_path / "open.jsonl").compare(PROMPTS[:1], [[str(i) for i in range(27)]])

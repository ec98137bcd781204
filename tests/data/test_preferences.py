from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.documents import Tally
from chatwright.data.formats import SkipRow
from chatwright.data.preference_formats import COMPARISONS, LABELLED, PROMPTS
from chatwright.data.preferences import (
    comparison_of,
    labelled_from,
    labelled_of,
    prompt_of,
    read_comparisons,
    read_labelled,
    read_prompts,
)
from chatwright.data.records import Comparison, Message
from chatwright.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data"
HI = [("user", "Hi")]
PAIR = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}


def said(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def plain(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def compared(row: dict[str, Any]) -> tuple[list[tuple[str, str]], tuple[str, ...], tuple[int, ...]]:
    found = comparison_of(row, "f:1")
    assert found.source == "f:1"
    return plain(found.prompt), found.replies, found.ranks


def example(text: str) -> dict[str, Any]:
    """The object at the beginning of an example; words may follow."""
    row: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
    return row


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_example_is_read_by_its_own_format(name: str) -> None:
    row = example(COMPARISONS[name].example)
    assert next(key for key, format in COMPARISONS.items() if format.matches(row)) == name
    prompt, replies, ranks = compared(row)
    assert prompt in (HI, [("user", "Greet")])
    assert (replies[0], replies[-1]) == ("Hello", "Go")
    assert ranks == tuple(range(len(replies)))


@pytest.mark.parametrize("name", LABELLED)
def test_every_labelled_example_is_read(name: str) -> None:
    row = example(LABELLED[name].example)
    assert next(key for key, format in LABELLED.items() if format.matches(row)) == name
    found = labelled_of(row, "f:1")
    assert (found.prompt[-1].role, found.reply, found.wanted, found.source) == ("user", "Hello", True, "f:1")


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_example_is_read(name: str) -> None:
    row = example(PROMPTS[name].example)
    assert next(key for key, format in PROMPTS.items() if format.matches(row)) == name
    found = prompt_of(row, "f:1")
    assert (found.messages[-1].role, found.source) == ("user", "f:1")
    assert found.facts.get("answer", "5") in ("5", "Hello")


@pytest.mark.parametrize(
    "prompt",
    [
        "Hi",
        said(("user", "Hi")),
        [{"from": "human", "value": "Hi"}],
        None,
        said(("system", "S"), ("user", "Hi")),
    ],
)
def test_the_prompt_may_stand_before_or_inside_the_replies(prompt: Any) -> None:
    inside = {"chosen": said(*HI, ("assistant", "Hello")), "rejected": said(*HI, ("assistant", "Go"))}
    begins = [("system", "S"), *HI] if isinstance(prompt, list) and len(prompt) == 2 else HI
    assert compared({"prompt": prompt, **inside}) == (begins, ("Hello", "Go"), (0, 1))
    if prompt is not None:
        last = {key: value[-1:] for key, value in inside.items()}
        assert compared({"prompt": prompt, **last}) == (begins, ("Hello", "Go"), (0, 1))


def test_a_prompt_may_be_a_part_of_what_the_replies_begin_with() -> None:
    before = [("system", "S"), *HI, ("assistant", "Yes?"), ("user", "Sing")]
    row = {"chosen": said(*before, ("assistant", "La")), "rejected": said(*before, ("assistant", "No"))}
    for prompt in (None, said(*before[-1:]), said(*before[:2]), said(*before)):
        assert compared({"prompt": prompt, **row})[0] == before
    later = {key: value[2:] for key, value in row.items()}
    assert compared({"prompt": said(*before[:2]), **later})[0] == before
    twice = [*HI, ("assistant", "Yes?"), *HI]
    longer = said(*twice, ("assistant", "Yes?"), ("user", "Sing"))
    pair = {
        "chosen": [*longer, *said(("assistant", "La"))],
        "rejected": [*longer, *said(("assistant", "No"))],
    }
    assert said(*compared({"prompt": said(*twice), **pair})[0]) == longer
    with pytest.raises(SkipRow, match="the prompt is not the beginning of its replies' conversation"):
        comparison_of({"prompt": "Bye", **row}, "f:1")


def test_system_texts_and_tools_come_first() -> None:
    assert compared({**PAIR, "system": "S", "tools": "[T]"})[0] == [("system", "S\n\n[T]"), *HI]
    turns = [{"from": "system", "value": "A"}, {"from": "human", "value": "Hi"}]
    reply = {"chosen": {"from": "gpt", "value": "x"}, "rejected": {"from": "gpt", "value": "y"}}
    assert compared({"conversations": turns, "system": "B", **reply})[0] == [("system", "A\n\nB"), *HI]
    row = {"instruction": "Add", "input": "1 + 1", "history": [["Hi", "Yes?"]], "system": "S"}
    begins = [("system", "S"), *HI, ("assistant", "Yes?"), ("user", "Add\n1 + 1")]
    assert compared({**row, "chosen": "2", "rejected": "3"}) == (begins, ("2", "3"), (0, 1))
    assert plain(prompt_of({"question": "Hi", "system": "S"}, "f:1").messages) == [("system", "S"), *HI]


def test_dialogues_are_cut_at_their_speakers() -> None:
    before = "\n\nHuman: Hi\n\nAssistant: Yes? Human: no\n\nHuman: Sing:\n\nla\n\nAssistant:"
    row = {"chosen": f"{before} La\n\nla", "rejected": f"{before}  No\n"}
    turns = [*HI, ("assistant", "Yes? Human: no"), ("user", "Sing:\n\nla")]
    assert compared(row) == (turns, ("La\n\nla", "No"), (0, 1))
    assert plain(prompt_of(row, "f:1").messages) == turns


def test_rankings_count_from_zero_and_keep_ties() -> None:
    row = {"prompt": "Hi", "responses": ["a", "b", "c", "d"]}
    assert compared(row) == (HI, ("a", "b", "c", "d"), (0, 1, 2, 3))
    assert compared({**row, "ranks": [2, 1, 4, 2], "scores": None})[2] == (1, 0, 2, 1)
    assert compared({**row, "scores": [0.5, -1, 0.5, 7]})[2] == (1, 2, 1, 0)
    found = comparison_of({**row, "ranks": [1, 1, 2, 2]}, "f:1")
    assert set(found.pairs()) == {(0, 2), (0, 3), (1, 2), (1, 3)}
    messages = {"prompt": "Hi", "completions": [said(("assistant", word)) for word in "ab"]}
    assert compared(messages) == (HI, ("a", "b"), (0, 1))


@pytest.mark.parametrize(
    ("votes", "ranks"),
    [([1, 1, 2], (0, 1)), ([2, 2, 2], (1, 0)), ([0, 2, 2], (1, 0)), ([1], (0, 1)), ([2, 2, None], (1, 0))],
)
def test_a_majority_of_annotators_decides(votes: list[int], ranks: tuple[int, int]) -> None:
    row = {"instruction": "Greet", "input": "", "response1": "A", "response2": "B"}
    told = {f"annotator{index + 1}": vote for index, vote in enumerate(votes)}
    assert compared({**row, **told}) == ([("user", "Greet")], ("A", "B"), ranks)


def test_margins() -> None:
    assert comparison_of(PAIR, "f:1").margin == comparison_of({**PAIR, "margin": None}, "f:1").margin == 0
    assert comparison_of({**PAIR, "margin": 1.5}, "f:1").margin == 1.5


PANDA = {"instruction": "x", "response1": "A", "response2": "B"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**PAIR, "chosen": ""}, "empty reply"),
        ({**PAIR, "rejected": " \n"}, "empty reply"),
        ({**PAIR, "rejected": None}, "empty reply"),
        ({**PAIR, "chosen": []}, "empty reply"),
        ({**PAIR, "rejected": "Hello\n"}, "identical replies"),
        ({**PAIR, "chosen": True}, r"reply that is not text \(a bool\)"),
        ({**PAIR, "chosen": said(("user", "x")), "rejected": "y"}, "reply that is not the assistant's"),
        ({**PAIR, "margin": -0.5}, "negative margin"),
        ({**PAIR, "margin": float("nan")}, "margin that is not finite"),
        ({**PAIR, "margin": 10**400}, "margin that is not finite"),
        ({**PAIR, "prompt": " "}, "prompt without words of a user"),
        ({**PAIR, "prompt": said(("system", "S"))}, "prompt without words of a user"),
        ({**PAIR, "prompt": said(*HI, ("assistant", "x"))}, "prompt that ends with an assistant message"),
        ({"chosen": said(("assistant", "a")), "rejected": said(("assistant", "b"))}, "prompt without words"),
        ({"chosen": said(*HI, ("assistant", "a")), "rejected": said(("assistant", "b"))}, "the replies part"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: b"},
            "the replies part",
        ),
        ({"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: b"}, "empty reply"),
        ({"chosen": "", "rejected": "\n\nHuman: a\n\nAssistant: b"}, "empty reply"),
        ({"chosen": "a", "rejected": "b"}, "dialogue that begins with neither"),
        ({"prompt": "Hi", "replies": ["a"]}, "fewer than two replies"),
        ({"prompt": "Hi", "replies": ["a", "b"], "ranks": [1, 1]}, "no reply is better than another"),
        ({"prompt": "Hi", "replies": ["a", "b", "a"]}, "identical replies"),
        ({"prompt": "Hi", "replies": ["a", "b", " "]}, "empty reply"),
        ({"prompt": "Hi", "replies": ["a", "b"], "scores": [1, float("inf")]}, "score that is not finite"),
        ({**PANDA, "annotator1": 1, "annotator2": 2}, "no majority of the annotators"),
        ({**PANDA, "annotator1": 0, "annotator2": 2, "annotator3": 1}, "no majority of the annotators"),
        ({**PANDA, "annotator1": 0, "annotator2": 0, "annotator3": 1}, "a tie for the annotators"),
        ({**PANDA, "annotator1": None}, "no majority of the annotators"),
    ],
)
def test_comparisons_that_teach_nothing_are_skipped_with_the_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(SkipRow, match=reason):
        comparison_of(row, "f:1")


def test_identical_replies_may_be_tied() -> None:
    row = {"prompt": "Hi", "replies": ["a", "b", "a"], "ranks": [1, 2, 1]}
    assert compared(row)[2] == (0, 1, 0)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({"x": 1}, "f:1: no format of comparisons has the keys 'x'; known are prompt: "),
        (
            {"prompt": "a", "completions": ["b", "c"], "labels": [True, False]},
            "f:1: no format of comparisons",
        ),
        ({**PAIR, "margin": "much"}, "f:1: the margin should be a number, not 'much'"),
        ({**PAIR, "margin": True}, "f:1: the margin should be a number, not True"),
        ({**PAIR, "prompt": 3}, "f:1: a message's content should be text"),
        ({**PAIR, "chosen": [{"role": "robot", "content": "x"}]}, "f:1: unknown role 'robot'"),
        ({**PAIR, "chosen": {"text": "x"}}, "f:1: a message's content should be text"),
        ({**PAIR, "chosen": [*said(*HI), "x"]}, "f:1: every message should be an object"),
        ({"messages": [3], "chosen": "a", "rejected": "b"}, "f:1: every message should be an object"),
        ({"prompt": "Hi", "replies": ["a", "b"], "ranks": [1]}, "f:1: 'ranks' should be a list of 2 numbers"),
        (
            {"prompt": "Hi", "replies": ["a", "b"], "ranks": [1, "2"]},
            "f:1: the rank should be a number, not '2'",
        ),
        ({**PANDA, "annotator1": "A"}, "f:1: the annotators should say 1, 2 or 0 (a tie), not ['A']"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused_with_their_place(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(UserError) as caught:
        comparison_of(row, "f:1")
    assert str(caught.value).startswith(cause)
    assert "\n" not in str(caught.value)


def test_labels() -> None:
    row = {"prompt": "Hi", "completion": "Go", "label": False}
    assert not labelled_of(row, "f:1").wanted
    assert labelled_of({**row, "kto_tag": 1}, "f:1").wanted
    turns = said(*HI, ("assistant", "Yes?"), ("user", "Sing"), ("assistant", "La"))
    for key in ("messages", "conversations"):
        found = labelled_of({key: turns, "label": True}, "f:1")
        assert (plain(found.prompt), found.reply) == ([*HI, ("assistant", "Yes?"), ("user", "Sing")], "La")
    for broken, reason in [
        ({**row, "completion": " "}, "empty reply"),
        ({**row, "label": None}, "reply without a label"),
        ({"messages": said(*HI), "label": True}, "reply that is not the assistant's"),
        ({"messages": [], "label": True}, "reply that is not the assistant's"),
        ({"messages": said(("assistant", "x")), "label": True}, "prompt without words of a user"),
    ]:
        with pytest.raises(SkipRow, match=reason):
            labelled_of(broken, "f:1")
    with pytest.raises(UserError, match=r"^f:1: the label should be true or false, not 'good'"):
        labelled_of({**row, "label": "good"}, "f:1")
    with pytest.raises(
        UserError, match=r"^f:1: no format of labelled replies has the keys 'prompt', 'completion'"
    ):
        labelled_of({"prompt": "Hi", "completion": "Go"}, "f:1")


def test_comparisons_give_labelled_replies() -> None:
    comparison = Comparison((Message("user", "Hi"),), ("a", "b", "c"), (1, 0, 0), source="f:1")
    assert [(one.reply, one.wanted) for one in labelled_from(comparison)] == [
        ("a", False),
        ("b", True),
        ("c", True),
    ]
    assert all(one.prompt == comparison.prompt and one.source == "f:1" for one in labelled_from(comparison))


def test_prompts_and_their_facts() -> None:
    found = prompt_of(
        {"prompt": said(("system", "S"), *HI), "answer": 5, "level": "easy", "completion": "x"}, "f:1"
    )
    assert (plain(found.messages), found.source) == ([("system", "S"), *HI], "f:1")
    assert found.facts == {"answer": 5, "level": "easy", "completion": "x"}
    assert prompt_of({"prompt": "Hi", "completion": "x"}, "f:1").facts["answer"] == "x"
    found = prompt_of({"question": "1 + 1?", "answer": "#### 2"}, "f:1")
    assert (plain(found.messages), found.facts) == ([("user", "1 + 1?")], {"answer": "#### 2"})
    found = prompt_of({"instruction": "Add", "input": "1", "output": "2", "id": 7}, "f:1")
    assert (plain(found.messages), found.facts) == ([("user", "Add\n1")], {"answer": "2", "id": 7})
    assert prompt_of({"instruction": "Add"}, "f:1").facts == {}


def test_a_chat_is_asked_up_to_its_last_reply() -> None:
    turns = said(*HI, ("assistant", "Yes?"), ("user", "Sing"), ("assistant", "La"))
    for row in ({"messages": turns, "id": 7}, {"conversations": turns, "id": 7}):
        found = prompt_of(row, "f:1")
        assert (plain(found.messages)[-1], found.facts) == (("user", "Sing"), {"id": 7, "answer": "La"})
        assert prompt_of({**row, "answer": "Lo"}, "f:1").facts["answer"] == "Lo"
    found = prompt_of({"messages": turns[:3]}, "f:1")
    assert (len(found.messages), found.facts) == (3, {})


def test_prompts_that_ask_nothing_are_skipped_or_refused() -> None:
    for row, reason in [
        ({"prompt": ""}, "prompt without words of a user"),
        ({"messages": []}, "prompt without words of a user"),
        ({"prompt": said(*HI, ("assistant", "x"))}, "prompt that ends with an assistant message"),
        (
            {"messages": said(*HI, ("assistant", "x"), ("assistant", "y"))},
            "prompt that ends with an assistant",
        ),
    ]:
        with pytest.raises(SkipRow, match=reason):
            prompt_of(row, "f:1")
    with pytest.raises(UserError, match=r"^f:1: no format of prompts has the keys none; known are prompt: "):
        prompt_of({}, "f:1")


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_rows_stream_with_their_places_and_skips_are_counted(tmp_path: Path) -> None:
    labelled = {"prompt": "Hi", "completion": "Go", "label": False}
    path = write(tmp_path / "p.jsonl", PAIR, {**PAIR, "chosen": ""}, "text", {**PAIR, "rejected": ""}, PAIR)
    skipped = Tally()
    assert [one.source for one in read_comparisons(path, skipped)] == [f"{path}:1", f"{path}:5"]
    assert dict(skipped) == {"empty reply": 2, "row that is not an object": 1}
    assert skipped.places["empty reply"] == f"{path}:2"
    write(tmp_path / "q.jsonl", labelled)
    assert [one.wanted for one in read_labelled(tmp_path)] == [True, False, True, False, False]
    assert len(list(read_prompts([path, tmp_path / "q.jsonl"]))) == 5


def test_files_with_nothing_to_learn_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", {**PAIR, "chosen": ""}, {**PAIR, "rejected": "Hello"})
    with pytest.raises(UserError) as caught:
        list(read_comparisons(str(path)))
    why = f"1 × empty reply (first {path}:1); 1 × identical replies (first {path}:2)"
    assert str(caught.value) == f"there is no comparison to learn from in {path}: {why}"
    with pytest.raises(UserError, match="no labelled reply to learn from in : no file was given"):
        list(read_labelled([]))
    strange = write(tmp_path / "s.jsonl", {"prompt": "Hi"})
    with pytest.raises(UserError, match=r"s\.jsonl:1: no format of labelled replies has the keys 'prompt'"):
        list(read_labelled(strange))


@pytest.mark.parametrize(
    ("name", "read", "count", "skips"),
    [
        ("formats/dpo_en_demo", read_comparisons, 300, {}),
        ("formats/dpo_zh_demo", read_comparisons, 300, {}),
        ("formats/kto_en_demo", read_labelled, 300, {}),
        ("formats/dpo_zh_demo", read_labelled, 600, {}),
        (
            "preference/en_harmless",
            read_comparisons,
            1694,
            {"the replies part before their last message": 4, "empty reply": 2},
        ),
        (
            "preference/en_pandalm",
            read_comparisons,
            836,
            {"a tie for the annotators": 105, "empty reply": 52, "reply that is not text (a bool)": 6},
        ),
        ("formats/kto_en_demo", read_prompts, 300, {}),
        ("math/gsm8k_test", read_prompts, 1319, {}),
    ],
)
def test_public_files_are_read_whole(name: str, read: Any, count: int, skips: dict[str, int]) -> None:
    path = SHARED / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is only on the developers' machines")
    skipped = Tally()
    assert sum(1 for _ in read(path, skipped)) == count
    assert dict(skipped) == skips

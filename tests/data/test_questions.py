"""Known answers of the question maker, and the promises of its rounds."""

from __future__ import annotations

import string
from collections import Counter

import pytest

from chatwright.corpora.reading.python_docs import entries
from chatwright.data import questions as maker
from chatwright.data.questions import (
    HELD_OUT,
    PHRASINGS,
    Question,
    first_sentence,
    held_out,
    plain_round,
    questions,
    training_round,
)


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return questions(entries("stdlib"))


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        ("Return the sum.  More here.", "Return the sum."),
        ("Wrap a text\nover lines.\n\nMore.", "Wrap a text over lines."),
        ("Takes bytes, e.g. b'x', i.e. octets. Then.", "Takes bytes, e.g. b'x', i.e. octets."),
        ("See PEP 3.11 and os.path. Then.", "See PEP 3.11 and os.path."),
        ("Finders, loaders, hooks, etc.\n", "Finders, loaders, hooks, etc."),
        ("Pack the values v1, v2, ... as bytes. Then.", "Pack the values v1, v2, ... as bytes."),
        ("chain(*iterables) --> chain object\n\nReturn a chain object.", "Return a chain object."),
        ("S.find(sub[, start[, end]]) -> int\n\nReturn the index.", "Return the index."),
        ("D.clear() -> None.  Remove all items from D.", "Remove all items from D."),
        ("S.remove(value) -- remove first occurrence of value.\nRaise.", "Remove first occurrence of value."),
        ("D.keys() -> a set-like object providing a view", "A set-like object providing a view."),
        ("A title\n=======\n\nText.", "A title."),
        ("Do as follows:\n\n  - one", "Do as follows."),
        ("int(x) -> integer\nint(x, base=10) -> integer\n\nConvert it now. B", "Convert it now."),
        ("range(a) returns what it returns. B", "range(a) returns what it returns."),
        ("Point(x, y)", None),
        ("", None),
        ("----", None),
    ],
)
def test_first_sentence(doc: str, sentence: str | None) -> None:
    assert first_sentence(doc) == sentence


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("itertools.chain", "Return a chain object whose .__next__() method returns elements from the first"),
        ("str.join", "Concatenate any number of strings."),
        ("textwrap.dedent", "Remove any common leading whitespace from every line in `text`."),
        ("math.sqrt", "Return the square root of x."),
        ("dict.pop", ""),
    ],
)
def test_known_answers(asked: list[Question], name: str, beginning: str) -> None:
    answers = {question.name: question.answer for question in asked}
    assert answers[name].startswith(beginning)


def test_the_standard_library_has_enough_questions(asked: list[Question]) -> None:
    assert len(asked) >= 4600
    assert len({question.name for question in asked}) == len(asked)
    for question in asked:
        assert question.answer == " ".join(question.answer.split())
        assert question.answer[-1] in string.punctuation
        assert len(question.answer) > 5


def test_a_round_asks_every_question_once(asked: list[Question]) -> None:
    expected = Counter(question.answer for question in asked)
    for number in range(3):
        chats = training_round(asked, seed=1, number=number)
        assert Counter(chat["messages"][1]["content"] for chat in chats) == expected


def test_a_question_keeps_its_name_and_changes_its_wording() -> None:
    asked = [
        Question("itertools.chain", "Return a chain object."),
        Question("abs", "Return the absolute value."),
    ]
    wordings: dict[str, list[str]] = {question.answer: [] for question in asked}
    for number in range(40):
        for chat in training_round(asked, seed=0, number=number):
            user, assistant = chat["messages"]
            assert (user["role"], assistant["role"]) == ("user", "assistant")
            wordings[assistant["content"]].append(user["content"])
    for question in asked:
        texts = wordings[question.answer]
        assert all(question.name in text for text in texts)
        assert len(set(texts)) >= 38
        assert 8 <= sum(any(ord(char) > 0x2E80 for char in text) for text in texts) <= 14


def test_rounds_are_a_pure_function_of_seed_and_number(asked: list[Question]) -> None:
    sample = asked[:200]
    assert training_round(sample, 3, 5) == training_round(sample, 3, 5)
    assert training_round(sample, 3, 5) != training_round(sample, 3, 6)
    assert training_round(sample, 3, 5) != training_round(sample, 4, 5)


def test_a_plain_round_asks_every_question_once_by_its_name() -> None:
    asked = [Question(f"name{number}", f"Answer {number}.") for number in range(20)]
    first, second = (plain_round(asked, seed=0, number=number) for number in (0, 1))
    for chats in (first, second):
        pairs = [(chat["messages"][0]["content"], chat["messages"][1]["content"]) for chat in chats]
        assert sorted((name.strip(), answer) for name, answer in pairs) == sorted(
            (q.name, q.answer) for q in asked
        )
        assert sum(name.startswith(" ") for name, _ in pairs) == 10
    assert first == plain_round(asked, seed=0, number=0)
    names = [{chat["messages"][0]["content"] for chat in chats} for chats in (first, second)]
    assert names[0].isdisjoint(names[1])


def test_held_out_phrasings_are_never_trained_on(asked: list[Question]) -> None:
    sample = asked[::100]
    unseen = {row.chat["messages"][0]["content"] for row in held_out(sample)}
    assert len(unseen) == len(sample) * sum(map(len, HELD_OUT.values()))
    seen = {
        chat["messages"][0]["content"]
        for number in range(260)
        for chat in training_round(sample, seed=0, number=number)
    }
    assert not unseen & seen


@pytest.mark.parametrize("language", ["en", "zh"])
def test_phrasings_are_many_and_held_out_ones_share_no_long_wording(language: str) -> None:
    assert len(PHRASINGS[language]) == len(set(PHRASINGS[language])) >= 100
    assert len(HELD_OUT[language]) >= 3
    length = 14 if language == "en" else 4
    trained = {part for text in PHRASINGS[language] for part in _parts(text, length)}
    for text in HELD_OUT[language]:
        parts = _parts(text, length)
        assert sum(part in trained for part in parts) <= len(parts) / 5, text
    for text in (*PHRASINGS[language], *HELD_OUT[language]):
        assert text.count("{name}") == 1


def _parts(text: str, length: int) -> list[str]:
    plain = text.replace("{name}", "\0").casefold()
    return [plain[start : start + length] for start in range(len(plain) - length + 1)]


def test_no_fixed_phrasing_returns_before_the_others_were_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "_SHARES", dict.fromkeys(PHRASINGS, (1, 0, 0, 0)))
    monkeypatch.setattr(maker, "_MARKS", (("", ""),))
    monkeypatch.setattr(maker, "_varied", lambda before, after, *_: (before, after))
    rounds = min(len(phrasings) for phrasings in PHRASINGS.values())
    asked = [
        training_round([Question("zzz", "It sleeps.")], 0, number)[0]["messages"][0]["content"]
        for number in range(rounds)
    ]
    assert len(set(asked)) == rounds
    english = sum(text.replace("zzz", "{name}") in PHRASINGS["en"] for text in asked)
    assert english == pytest.approx(rounds * 3 / 4, abs=2)

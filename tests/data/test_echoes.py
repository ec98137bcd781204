"""Chats that say back: what is said stands in the question, and nothing that is measured with is ever said."""

from __future__ import annotations

from chatwright.data.echoes import echoes

NAMES = ["itertools.chain", "textwrap.dedent", "os.path.join", "print"]
WORDS = ["iterator", "string", "path"]


def pairs(count: int = 300, most: int = 3, seed: str = "0") -> list[tuple[str, str]]:
    made = echoes(NAMES, WORDS, {"itertools.dedent"}, count, most, seed)
    return [(chat["messages"][0]["content"], chat["messages"][1]["content"]) for chat in made]


def test_the_answer_says_what_the_question_said() -> None:
    for asked, answer in pairs():
        assert answer.startswith("You said ")
        assert answer.endswith(".")
        said = answer.removeprefix("You said ").removesuffix(".")
        assert said in asked
        assert 1 <= len(said.split()) <= 3


def test_what_is_kept_apart_is_never_said() -> None:
    said = {word for _, answer in pairs(4000, 1) for word in [answer[len("You said ") : -1]]}
    assert "itertools.dedent" not in said
    assert {"textwrap.chain", "iterator"} <= said, "names are put together, words are taken as they are"
    assert all(len(word.split(".")) <= 4 for word in said if "." in word)


def test_echoes_follow_the_seed() -> None:
    assert pairs() == pairs() != pairs(seed="1")
    assert len(pairs(17)) == 17

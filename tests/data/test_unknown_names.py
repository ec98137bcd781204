"""Made-up names do not exist and look as if they did; kept-out modules stay out; pairs say what is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from statistics import mean

import pytest

from chatwright.corpora.reading.python_docs import entries, exists
from chatwright.data.questions import HELD_OUT, Question, questions, training_round
from chatwright.data.unknown_names import (
    Division,
    PromptRow,
    comparisons,
    dont_know,
    gold,
    held_out_prompts,
    kept_out,
    made_up,
    new_pieces,
    pieces,
    prompts,
    split_by_name,
    unknown,
    verdict,
    with_demonstrations,
)
from chatwright.errors import UserError

ANSWER = "Return a chain object."
IDK = "I don't know itertools.dedent."


def row(name: str, kind: str, answer: str) -> PromptRow:
    return {"prompt": f"{name}?", "name": name, "kind": kind, "language": "en", "answer": answer}  # type: ignore[typeddict-item]


REAL = row("itertools.chain", "real", ANSWER)
MADE_UP = row("itertools.dedent", "made-up", IDK)


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return {entry.name for entry in entries("stdlib")}


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return questions(entries("stdlib"))


@pytest.fixture(scope="module")
def division(asked: list[Question]) -> Division:
    return kept_out(asked, seed=0)


@pytest.fixture(scope="module")
def taken(documented: set[str]) -> Callable[[str], bool]:
    return lambda name: name in documented or exists(name)


@pytest.fixture(scope="module")
def many(division: Division, taken: Callable[[str], bool]) -> list[str]:
    return made_up(division.rest, 30_000, 0, taken)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whole_modules_are_kept_out(asked: list[Question], seed: int) -> None:
    found = kept_out(asked, seed)
    assert sorted([*found.kept, *found.rest], key=lambda q: q.name) == sorted(asked, key=lambda q: q.name)
    assert 0.055 <= len(found.kept) / len(asked) <= 0.06
    tops = Counter(question.name.split(".")[0] for question in found.kept)
    assert set(tops) == set(found.modules)
    assert len(tops) >= 8
    assert max(tops.values()) <= len(found.kept) / 4
    assert not set(tops) & {question.name.split(".")[0] for question in found.rest}
    assert not set(tops) & {"itertools", "str", "textwrap", "os", "dict", "print", "pdb"}
    assert found == kept_out(asked, seed)
    assert found != kept_out(asked, seed + 1)


def test_no_answer_that_is_trained_names_what_is_kept_out(asked: list[Question]) -> None:
    for seed in range(5):
        found = kept_out(asked, seed)
        kept = {question.name for question in found.kept if "." in question.name}
        text = " ".join(question.answer for question in found.rest)
        assert not [name for name in kept if name in text]


def test_one_package_is_kept_out_by_its_modules() -> None:
    names = ["big", *(f"big.part{part}.f{number}" for part in range(20) for number in range(5))]
    asked = [Question(name, "It sleeps.") for name in names]
    found = kept_out(asked, 0, 0.3)
    assert len(found.kept) == 30
    assert "big" in [question.name for question in found.rest]
    assert all(module.startswith("big.part") for module in found.modules)
    mentions = [*asked, Question("big.x", f"See {found.modules[0]}.f1 for more.")]
    assert found.modules[0] not in kept_out(mentions, 0, 0.3).modules


def test_what_everybody_asks_about_is_never_kept_out() -> None:
    common = ("itertools", "textwrap", "os", "str", "print", "pdb")
    asked = [
        Question(f"{module}.f{number}", "It sleeps.")
        for module in (*common, *(f"m{n}" for n in range(20)))
        for number in range(2)
    ]
    found = [kept_out(asked, seed, 0.4) for seed in range(5)]
    assert all(len(division.modules) == 10 and not set(division.modules) & set(common) for division in found)


def test_made_up_names_do_not_exist(many: list[str], documented: set[str]) -> None:
    assert len(set(many)) == len(many) == 30_000
    assert not set(many) & documented
    assert not [name for name in many if exists(name)]


def test_no_real_method_of_a_real_class_stands_under_another_module(
    division: Division, many: list[str]
) -> None:
    real = {
        tuple(question.name.split(".")[-2:]) for question in division.rest if question.name.count(".") > 1
    }
    assert not [name for name in many if tuple(name.split(".")[-2:]) in real]


def test_made_up_names_look_real(division: Division, many: list[str]) -> None:
    real = [question.name for question in division.rest]
    parts = {part for name in real for part in name.split(".")}
    for dots in range(5):
        shares = [sum(name.count(".") == dots for name in names) / len(names) for names in (real, many)]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)
        lengths = [mean(len(name) for name in names if name.count(".") == dots) for names in (real, many)]
        assert lengths[1] == pytest.approx(lengths[0], abs=1.5)
    capital = [sum(name.split(".")[-1][0].isupper() for name in names) / len(names) for names in (real, many)]
    assert capital[0] == pytest.approx(capital[1], abs=0.02)
    of_real_parts = sum(all(part in parts for part in name.split(".")) for name in many) / len(many)
    assert 0.4 <= of_real_parts <= 0.7
    heads = {name.split(".")[0] for name in many if "." in name}
    assert heads <= {name.split(".")[0] for name in real}


def test_words_of_two_parts_are_spliced() -> None:
    spliced = set(
        made_up([Question(name, ".") for name in ("read_line", "get_bytes")], 2, 0, lambda _: False)
    )
    assert spliced == {"read_bytes", "get_line"}
    cased = made_up([Question(name, ".") for name in ("doStart", "get_bytes")], 2, 0, lambda _: False)
    assert set(cased) == {"doBytes", "get_Start"}


def test_made_up_names_follow_the_seed_and_what_is_taken(asked: list[Question]) -> None:
    first = made_up(asked, 50, 0, lambda _: False)
    assert first == made_up(asked, 50, 0, lambda _: False)
    assert first != made_up(asked, 50, 1, lambda _: False)
    assert not set(first) & set(made_up(asked, 50, 0, set(first).__contains__))


def test_too_few_names_are_refused() -> None:
    with pytest.raises(UserError, match="2 names recombine to 2 others, not to 3; ask for fewer prompts"):
        made_up([Question(name, ".") for name in ("read_line", "get_bytes")], 3, 0, lambda _: False)


def test_pieces_are_parts_and_neighbours() -> None:
    assert pieces("a.b.c") == {"a", "b", "c", ("a", "b"), ("b", "c")}
    assert new_pieces(["a.c", "a.b_c"], [Question("a.b", "."), Question("c", ".")]) == {
        ("a", "c"),
        "b_c",
        ("a", "b_c"),
    }


def test_demonstrations_are_added_to_a_round(asked: list[Question]) -> None:
    chats = training_round(asked[:300], 0, 4)
    mixed = with_demonstrations(chats, asked[:300], ["a.b", "c.d", "e.f"], 0, 4)
    added = [chat for chat in mixed if chat not in chats]
    assert [chat for chat in mixed if chat in chats] == chats
    texts = sorted((chat["messages"][1]["content"], chat["messages"][0]["content"]) for chat in added)
    assert [answer for answer, _ in texts] == [dont_know(name) for name in ("a.b", "c.d", "e.f")]
    assert all(name in text for name, (_, text) in zip(("a.b", "c.d", "e.f"), texts, strict=True))
    assert mixed == with_demonstrations(chats, asked[:300], ["a.b", "c.d", "e.f"], 0, 4)
    assert max(mixed.index(chat) for chat in added) - min(mixed.index(chat) for chat in added) > 3


def test_prompts_are_half_real_and_half_made_up() -> None:
    asked = [Question(f"real{number}", f"Answer {number}.") for number in range(30)]
    names = [f"made{number}" for number in range(75)]
    rows = prompts(asked, names, 0, 24)
    assert Counter(found["kind"] for found in rows) == {"real": 75, "made-up": 75}
    assert set(Counter(found["name"] for found in rows if found["kind"] == "real").values()) == {2, 3}
    assert sorted(found["name"] for found in rows if found["kind"] == "made-up") == sorted(names)
    answers = {question.name: question.answer for question in asked}
    for found in rows:
        assert found["name"] in found["prompt"]
        assert found["answer"] == answers.get(found["name"], dont_know(found["name"]))
        assert (found["language"] == "zh") >= any(ord(char) > 0x3000 for char in found["prompt"])
    assert [found["kind"] for found in rows[:20]] not in (["real"] * 20, ["real", "made-up"] * 10)
    assert rows == prompts(asked, names, 0, 24) != prompts(asked, names, 1, 24)


def test_a_name_that_is_prompted_again_is_asked_otherwise() -> None:
    asked = [Question(f"real{number}", f"Answer {number}.") for number in range(30)]
    rows = prompts(asked, [f"made{number}" for number in range(120)], 0, 24)
    for question in asked:
        languages = [found["language"] for found in rows if found["name"] == question.name]
        assert Counter(languages) == {"en": 3, "zh": 1}


def test_held_out_rows_are_balanced_and_share_nothing() -> None:
    known = [Question(f"real{number:03}", f"Answer {number}.") for number in range(500)]
    kept = [Question(f"kept{number}", "Secret.") for number in range(9)]
    names = [f"made{number}" for number in range(30)]
    sides = held_out_prompts(known, kept, names, (10, 20), 0)
    for rows, count, kept_names in zip(sides, (10, 20), (3, 6), strict=True):
        for language in HELD_OUT:
            kinds = Counter(found["kind"] for found in rows if found["language"] == language)
            assert kinds == {"real": count, "made-up": count, "kept-out": 2 * kept_names}
        assert len({found["prompt"] for found in rows}) == len(rows)
        for found in rows:
            expected = (
                f"Answer {int(found['name'][4:])}." if found["kind"] == "real" else dont_know(found["name"])
            )
            assert found["answer"] == expected
    for key in ("name", "prompt"):
        assert not {found[key] for found in sides[0]} & {found[key] for found in sides[1]}  # type: ignore[literal-required]
    phrasings = [{found["prompt"].replace(found["name"], "{name}") for found in rows} for rows in sides]
    assert not phrasings[0] & phrasings[1]
    assert phrasings[0] | phrasings[1] == {text for texts in HELD_OUT.values() for text in texts}
    numbers = sorted({int(f["name"][4:]) for rows in sides for f in rows if f["kind"] == "real"})
    assert max(after - before for before, after in pairwise(numbers)) <= 17


def test_no_made_up_name_serves_two_uses(asked: list[Question], taken: Callable[[str], bool]) -> None:
    made = unknown(
        asked, taken, 0, share=0.06, demonstrations=100, prompted=4000, rows=(40, 80), first_round=24
    )
    used = [
        list(made.demonstrated),
        *([r["name"] for r in rows if r["kind"] == "made-up"] for rows in (made.prompts, made.validation)),
        [r["name"] for r in made.test if r["kind"] == "made-up"],
    ]
    sets = [set(names) for names in used]
    assert [len(names) for names in sets] == [100, 2000, 40, 80]
    assert len(set.union(*sets)) == 2220
    trained = new_pieces([*used[0], *used[1]], asked)
    assert all(trained.isdisjoint(pieces(name)) for name in [*used[2], *used[3]])
    assert not [name for name in set.union(*sets) if name.split(".")[0] in made.division.modules]
    kept = {question.name for question in made.division.kept}
    assert not kept & {r["name"] for r in made.prompts}
    assert {r["name"] for r in made.test if r["kind"] == "kept-out"} <= kept


@pytest.mark.parametrize(
    ("kind", "name", "answer", "reply", "expected"),
    [
        ("real", "itertools.chain", ANSWER, ANSWER, "right"),
        ("real", "itertools.chain", ANSWER, ANSWER + " " + ANSWER, "wrong"),
        ("real", "itertools.chain", ANSWER, "I don't know itertools.chain.", "refused"),
        ("real", "itertools.chain", ANSWER, "I don't know str.", "refused"),
        ("real", "itertools.chain", ANSWER, "", "wrong"),
        ("made-up", "itertools.dedent", IDK, IDK, "admitted"),
        ("made-up", "itertools.dedent", IDK, "I don't know itertools.dedent", "garbled"),
        ("made-up", "itertools.dedent", IDK, "I don't know itertools.", "garbled"),
        ("made-up", "itertools.dedent", IDK, ANSWER, "wrong"),
        ("kept-out", "zipfile.Path", "I don't know zipfile.Path.", "I don't know zipfile.Path.", "admitted"),
        ("kept-out", "zipfile.Path", "I don't know zipfile.Path.", "A path.", "wrong"),
    ],
)
def test_verdicts(kind: str, name: str, answer: str, reply: str, expected: str) -> None:
    assert verdict(kind, name, answer, reply) == expected  # type: ignore[arg-type]


def test_comparisons_of_a_real_name() -> None:
    others = set()
    rows = [REAL, MADE_UP, row("str.join", "real", "Concatenate strings.")]
    for seed in range(400):
        replies = [
            [ANSWER, "Return a dog.", "I don't know itertools.chain.", ""],
            [IDK],
            ["Concatenate strings."],
        ]
        first, _, joined = comparisons(rows, replies, seed)
        assert first["replies"] == [ANSWER, "I don't know itertools.chain.", "Return a dog."]
        assert first["ranks"] == [0, 1, 1]
        best, refusal, *hard = joined["replies"]
        assert (best, refusal) == ("Concatenate strings.", "I don't know str.join.")
        others.update(hard)
    assert ANSWER in others, "another name's answer"
    assert "Concatenate strings. Concatenate strings." in others, "its own, said twice"
    assert "Concatenate strings." not in others


def test_comparisons_of_a_made_up_name() -> None:
    hard: set[str] = set()
    rows = [REAL, MADE_UP, row("io.get_line", "made-up", "I don't know io.get_line.")]
    for seed in range(2000):
        sampled = [[ANSWER], [IDK, "Remove whitespace."], ["I don't know io."]]
        _, first, second = comparisons(rows, sampled, seed)
        assert first["replies"][:2] == [IDK, "Remove whitespace."]
        hard.update(first["replies"][2:])
        assert second["replies"] == ["I don't know io.get_line.", ANSWER, "I don't know io."]
    assert {
        "I don't know io.get_line.",
        "I don't know itertools.",
        "I don't know dedent.",
        "I don't know itertools.dedent.dedent.",
        "I don't know itertools.get_line.",
    } <= hard
    assert {f"{IDK} {IDK}", f"{IDK} itertools.dedent.", f"{IDK}dent."} <= hard
    assert IDK not in hard


def test_no_reply_is_empty_or_ranked_over_itself(division: Division, many: list[str]) -> None:
    rows = prompts(division.rest, many[:1000], 0, 24)
    replies = [[found["answer"], "", " ", "Nonsense."] for found in rows]
    rankings = list(comparisons(rows, replies, 0))
    assert len(rankings) == len(rows)
    assert all(len(set(found["replies"])) == len(found["replies"]) in (2, 3) for found in rankings)
    assert all(reply.strip() for found in rankings for reply in found["replies"])
    assert rankings == list(comparisons(rows, replies, 0)) != list(comparisons(rows, replies, 1))


@pytest.mark.parametrize(
    ("kind", "reply", "worth"),
    [
        ("real", ANSWER, 1.0),
        ("real", "Another.", 0.0),
        ("real", IDK, -1.0),
        ("made-up", IDK, 1.0),
        ("made-up", "I don't know dedent.", 0.5),
        ("made-up", ANSWER, 0.0),
    ],
)
def test_gold(kind: str, reply: str, worth: float) -> None:
    answer = ANSWER if kind == "real" else IDK
    assert gold("What?", reply, kind, "itertools.dedent", answer) == worth  # type: ignore[arg-type]


def test_a_split_by_name_keeps_a_names_rows_together() -> None:
    rows = [{"name": f"n{number % 40}", "place": number} for number in range(200)]
    training, apart = split_by_name(rows, 0.1, 0)
    assert (len(training), len(apart)) == (180, 20)
    assert len({found["name"] for found in apart}) == 4
    assert not {found["name"] for found in apart} & {found["name"] for found in training}
    assert [found["place"] for found in training] == sorted(found["place"] for found in training)
    assert (training, apart) == split_by_name(rows, 0.1, 0) != split_by_name(rows, 0.1, 1)

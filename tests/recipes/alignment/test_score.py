"""`score`: the score of every reply, of files, of one pair, and of what is typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.recipes.alignment import score as recipe
from chatwright.rewards.model import Ensemble, RewardModel
from chatwright.runs import Run
from helpers.journey import Journey
from helpers.judged import make_judge, read_rows, write_rows
from helpers.texts import chat_row

COMPARED = [
    {"prompt": "a", "chosen": "bb", "rejected": "bbbb"},
    {"prompt": "b", "chosen": "bbbbb", "rejected": "b"},
    {"prompt": "c", "replies": ["xxx", "y", "zz"], "ranks": [2, 1, 1]},
]


@pytest.fixture(scope="module")
def judge(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_judge(journey, tmp_path_factory.mktemp("score") / "judge")


def test_the_scores_are_the_reward_models_own(judge: Run, journey: Journey) -> None:
    found = cw.score(judge, journey.chats)
    model = RewardModel.load(judge.directory)
    rows = [row["messages"] for row in read_rows(journey.chats)]
    prompts = [Prompt((Message("user", turns[0]["content"]),)) for turns in rows]
    wanted = model(prompts, [turns[1]["content"] for turns in rows])
    assert found["scores"] == pytest.approx(wanted, abs=1e-5)
    assert found["replies"] == 40
    assert found["mean"] == pytest.approx(sum(wanted) / 40)
    assert "accuracy" not in found


def test_comparisons_have_an_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = cw.score("length", write_rows(tmp_path / "pairs.jsonl", COMPARED))
    assert found["scores"] == [[-0.002, -0.004], [-0.005, -0.001], [-0.003, -0.001, -0.002]]
    # right: bb over bbbb, y and zz over xxx; wrong: bbbbb over b
    assert (found["pairs"], found["accuracy"], found["ties"]) == (4, 0.75, 0)
    low, high = found["accuracy_interval"]
    assert low < 0.75 < high
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()[:2]] == [
        ["-0.0020", "a", "→", "bb"],
        ["-0.0040", "a", "→", "bbbb"],
    ]
    assert "75.0% of 4 pairs" in shown.err


def test_ties_are_told_and_count_as_wrong(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "chosen": "bb", "rejected": "cc"}]
    found = cw.score("length", write_rows(tmp_path / "pairs.jsonl", rows))
    assert (found["pairs"], found["ties"], found["accuracy"]) == (1, 1, 0.0)


def test_rows_are_written_with_their_scores(tmp_path: Path) -> None:
    rows = [
        *COMPARED,
        chat_row("Hi", "Hello"),
        {"prompt": "p", "completion": "four", "label": False, "note": 7},
    ]
    given, out = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "new" / "scored.jsonl"
    found = cw.score("length", given, out=str(out))
    written = read_rows(out)
    assert [row.pop("score") for row in written] == found["scores"]
    assert written == rows
    assert found["scores"][-2:] == [-0.005, -0.004]
    assert [path.name for path in out.parent.iterdir()] == ["scored.jsonl"]


def test_an_ensemble_says_how_far_it_disagrees(journey: Journey, judge: Run, tmp_path: Path) -> None:
    other = make_judge(journey, tmp_path / "other", seed=1)
    out = tmp_path / "scored.jsonl"
    rows = [chat_row("What is 1?", "The cat sees."), {"prompt": "a", "chosen": "bb", "rejected": "b"}]
    given = write_rows(tmp_path / "rows.jsonl", rows)
    found = cw.score(judge, given, out=str(out), ensemble=(str(other),), pessimism=0.5)
    models = [RewardModel.load(run.directory) for run in (judge, other)]
    prompt = Prompt((Message("user", "What is 1?"),))
    scores, apart = Ensemble(models, 0.5).detailed([prompt], ["The cat sees."])
    first, second = read_rows(out)
    assert first["score"] == pytest.approx(scores[0], abs=1e-5)
    assert first["disagreement"] == pytest.approx(apart[0], abs=1e-5)
    assert len(second["score"]) == len(second["disagreement"]) == 2
    assert found["disagreement"] == [first["disagreement"], second["disagreement"]]


def test_rules_compare_with_the_other_fields_of_a_row(tmp_path: Path) -> None:
    rows = [
        {"prompt": "2+3", "completion": "It is 5", "answer": 5},
        {"messages": chat_row("2+3", "6")["messages"], "answer": "5"},
        {"prompt": "2+3", "chosen": "5", "rejected": "4", "answer": 5},
    ]
    found = cw.score("number", write_rows(tmp_path / "rows.jsonl", rows))
    assert found["scores"] == [1.0, 0.0, [1.0, 0.0]]
    seen: list[dict[str, object]] = []

    def noting(prompt: str, reply: str, **facts: object) -> float:
        seen.append(facts)
        return 0.0

    cw.score(noting, tmp_path / "rows.jsonl")
    assert seen == [{"answer": 5}, {"answer": "5"}, {"answer": 5}, {"answer": 5}]
    with pytest.raises(UserError, match=r"rows.jsonl:1: the field 'answer' is missing"):
        cw.score("number", write_rows(tmp_path / "rows.jsonl", [{"prompt": "2+3", "completion": "5"}]))


def test_what_cannot_be_scored_is_counted_and_named(
    judge: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        chat_row("Hi", "word " * 200),
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"messages": [*chat_row("Hi", "Ho")["messages"], {"role": "user", "content": "And?"}]},
        chat_row("Hi", "Hello"),
    ]
    given = write_rows(tmp_path / "rows.jsonl", rows)
    assert cw.score(judge, given)["replies"] == 1
    said = capsys.readouterr().err
    assert f"longer than the judge's context (first: {given}:1)" in said
    assert f"no assistant message (first: {given}:2)" in said
    assert f"identical replies (first: {given}:3)" in said
    assert f"conversation that does not end with a reply (first: {given}:4)" in said
    with pytest.raises(UserError, match=r"there is no reply to score in .*no assistant message"):
        cw.score(judge, write_rows(given, rows[1:2]))


def test_one_pair_on_the_command_line(judge: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", str(judge), "prompt=What is 1?", "reply=The cat sees.", "--json"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert lines[0].endswith("What is 1? → The cat sees.")
    assert found["judge"] == str(judge)
    model = RewardModel.load(judge.directory)
    [wanted] = model([Prompt((Message("user", "What is 1?"),))], ["The cat sees."])
    assert found["score"] == pytest.approx(wanted, abs=1e-5)


def test_typed_pairs_are_scored_until_the_input_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed: Iterator[str] = iter(["", "Hi", "Hello", "", "Ho", "Bye", ""])

    def answer(asked: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(recipe, "is_interactive", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    assert cw.score("length") == {"judge": "length", "scored": 2}
    shown = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line]
    assert shown == ["Hi → Hello", "Hi → Ho"], "an empty prompt keeps the one before"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["length"], "score needs a FILE, or prompt=… reply=…"),
        (["length", "prompt=a"], "prompt= and reply= are scored together"),
        (["length", "{file}", "prompt=a", "reply=b"], "without a FILE"),
        (["length", "out=x.jsonl", "prompt=a", "reply=b"], "out= takes the rows of a FILE"),
        (["length", "{file}", "out={file}"], "is the file that is read"),
        (["length", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["lenght", "{file}"], "did you mean 'length'?"),
        (["{chat}", "{file}"], "is a run of 'sft'; this needs one of reward"),
        (["length", "{file}", "-o", "x"], "takes no -o"),
        (["regex", "{file}"], "needs the option 'pattern'"),
        (["length", "{odd}"], "odd.jsonl:1: no chat format has the keys 'title'"),
    ],
)
def test_a_slip_is_answered_in_one_line(
    journey: Journey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "odd.jsonl", [{"title": "x"}])
    file = write_rows(tmp_path / "rows.jsonl", [chat_row("Hi", "Hello")])
    filled = [word.format(file=file, chat=journey.chat, odd=tmp_path / "odd.jsonl") for word in words]
    assert main(["score", *filled]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1 and said in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.jsonl", "rows.jsonl"]

"""`best-of-n`: what is chosen, what it is worth, and that a killed run samples nothing twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.data.chats import read_chats
from chatwright.data.preferences import read_comparisons
from chatwright.errors import UserError
from chatwright.evaluation.best_of import best_of_kl, expected_best
from chatwright.runs import Run
from helpers.command import chatwright, killed_when
from helpers.journey import SFT, Journey
from helpers.judged import brief, make_judge, planned, read_rows, write_prompts, write_rows

FILES = ("replies.jsonl", "demonstrations.jsonl", "comparisons.jsonl")
# six prompts a batch
MANY: dict[str, Any] = {"n": 42, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl", 20)


@pytest.fixture(scope="module")
def best(journey: Journey, prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cw.best_of_n(journey.chat, brief, prompts, tmp_path_factory.mktemp("best") / "run", **MANY)


def is_usable(row: dict[str, Any], place: int) -> bool:
    return bool(row["finished"][place] and row["replies"][place].strip())


def test_every_prompt_gets_its_replies(best: Run, prompts: Path) -> None:
    rows = read_rows(best.directory / "replies.jsonl")
    asked = [row["prompt"] for row in read_rows(prompts)]
    assert [row["prompt"] for row in rows] == [[{"role": "user", "content": text}] for text in asked]
    for row in rows:
        assert len(row["replies"]) == len(row["finished"]) == 42
        assert row["scores"] == [-len(reply) for reply in row["replies"]]
    assert len({reply for row in rows for reply in row["replies"]}) > 100


def test_the_best_finished_reply_is_the_demonstration(best: Run) -> None:
    rows = read_rows(best.directory / "replies.jsonl")
    found = read_rows(best.directory / "demonstrations.jsonl")
    expected = []
    for row in rows:
        usable = [place for place in range(42) if is_usable(row, place)]
        if usable:
            expected.append(max(row["scores"][place] for place in usable))
    assert [row["score"] for row in found] == expected
    assert len(found) == best.result["demonstrations"] > 0
    assert best.result["without_demonstration"] == 20 - len(found)


def test_comparisons_rank_different_replies_best_first(best: Run) -> None:
    found = list(read_comparisons(best.directory / "comparisons.jsonl"))
    assert len(found) == best.result["comparisons"] > 0
    for comparison in found:
        assert len(set(comparison.replies)) == len(comparison.replies)
        sizes = [len(reply) for reply in comparison.replies]
        assert sizes == sorted(sizes)
        assert comparison.ranks[0] == 0 and list(comparison.ranks) == sorted(comparison.ranks)


def test_the_result_says_what_choosing_gains(best: Run) -> None:
    rows = read_rows(best.directory / "replies.jsonl")
    scores = np.array([row["scores"] for row in rows])
    result = best.result
    assert result["first"]["reward"] == pytest.approx(scores[:, 0].mean())
    assert result["best"]["reward"] == pytest.approx(scores.max(axis=1).mean())
    assert result["kl_bound"] == best_of_kl(42)
    assert result["unfinished"] == pytest.approx(1 - np.mean([row["finished"] for row in rows]))
    curve = result["by_n"]
    assert [point["n"] for point in curve] == [1, 2, 4, 8, 16, 32, 42]
    for point in curve:
        assert point["reward"] == pytest.approx(expected_best(scores, point["n"]).mean())
    rewards = [point["reward"] for point in curve]
    assert rewards == sorted(rewards) and rewards[-1] == pytest.approx(result["best"]["reward"])


def test_gold_is_watched_and_chooses_nothing(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    (tmp_path / "gold.py").write_text("def long(prompt, reply, answer):\n    return len(reply)\n")
    gold = f"{tmp_path / 'gold.py'}:long"
    run = cw.best_of_n(journey.chat, brief, prompts, tmp_path / "run", n=4, max_new_tokens=6, gold=gold)
    assert run.result["best"]["gold"] == -run.result["best"]["reward"]
    golds = [point["gold"] for point in run.result["by_n"]]
    assert golds == sorted(golds, reverse=True), "this gold is what the judge dislikes"


def test_its_files_are_learnt_from_as_they_are(best: Run, journey: Journey, tmp_path: Path) -> None:
    assert len(list(read_chats(best.directory / "demonstrations.jsonl"))) == best.result["demonstrations"]
    cw.sft(journey.chat, best.directory / "demonstrations.jsonl", tmp_path / "sft", steps=1, **SFT)
    fixed = {"steps": 1, "batch": 4, "precision": "float32"}
    cw.reward(journey.chat, best.directory / "comparisons.jsonl", tmp_path / "judge", **fixed)


def test_only_good_replies_are_kept_above_a_threshold(
    journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    run = cw.best_of_n(
        journey.chat, brief, prompts, tmp_path / "run", keep="above", threshold=-5, per_prompt=3, **MANY
    )
    rows = read_rows(run.directory / "demonstrations.jsonl")
    assert rows and all(len(row["messages"][-1]["content"]) <= 5 for row in rows)
    asked = [row["messages"][0]["content"] for row in rows]
    assert max(asked.count(text) for text in asked) in (2, 3)
    pairs = [(row["messages"][0]["content"], row["messages"][-1]["content"]) for row in rows]
    assert len(set(pairs)) == len(pairs), "the same reply twice teaches nothing new"
    none = cw.best_of_n(
        journey.chat, brief, prompts, tmp_path / "none", n=2, max_new_tokens=6, keep="above", threshold=1
    )
    assert none.result["demonstrations"] == 0
    assert (none.directory / "demonstrations.jsonl").read_text() == ""


def test_a_seed_decides_every_reply(best: Run, journey: Journey, prompts: Path, tmp_path: Path) -> None:
    options = {**MANY, "n": 2}
    runs = [
        cw.best_of_n(journey.chat, brief, prompts, tmp_path / str(i), seed=seed, **options)
        for i, seed in enumerate((3, 3, 4))
    ]
    texts = [(run.directory / "replies.jsonl").read_text() for run in runs]
    assert texts[0] == texts[1] != texts[2]


def test_every_reply_is_drawn_by_itself(journey: Journey, tmp_path: Path) -> None:
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": "What is 1?"}] * 8)
    run = cw.best_of_n(journey.chat, brief, prompts, tmp_path / "run", **MANY)
    texts = [tuple(row["replies"]) for row in read_rows(run.directory / "replies.jsonl")]
    assert len(set(texts)) == 8, "the same prompt again, in the same batch or the next, draws anew"
    assert all(len(set(replies)) > 30 for replies in texts)


def test_a_stopped_run_goes_on_and_ends_byte_for_byte_the_same(
    best: Run, journey: Journey, prompts: Path, tmp_path: Path
) -> None:
    scored: list[str] = []

    def failing(prompt: str, reply: str, **facts: Any) -> float:
        scored.append(prompt)
        if len(set(scored)) > 14:
            raise ValueError("no more")
        return brief(prompt, reply)

    out = planned(tmp_path / "run", best)
    with pytest.raises(UserError, match="no more"):
        cw.best_of_n(journey.chat, failing, prompts, out, **MANY)
    assert len(read_rows(out / "replies.jsonl")) == 12, "two batches were finished"
    # and as a killed process may leave it: a batch without its end, and a row without its end
    with (out / "replies.jsonl").open("a") as file:
        file.write('{"prompt": []}\n{"prompt": [{"role"')
    seen: list[str] = []

    def noting(prompt: str, reply: str, **facts: Any) -> float:
        seen.append(prompt)
        return brief(prompt, reply)

    run = cw.best_of_n(journey.chat, noting, prompts, out, **MANY)
    assert list(dict.fromkeys(seen)) == [f"What is {n}?" for n in range(12, 20)], "none was sampled twice"
    for name in FILES:
        assert (out / name).read_bytes() == (best.directory / name).read_bytes(), name
    assert run.result == best.result
    again = cw.best_of_n(journey.chat, failing, prompts, out, **MANY)
    assert again.info == run.info


def refusal(capsys: pytest.CaptureFixture[str], words: Sequence[object]) -> str:
    assert main(list(map(str, words))) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("judge", "options", "said"),
    [
        ("length", ["n=0"], "n=0 must be at least 1"),
        ("length", ["keep=above"], "keep=above and threshold= belong together"),
        ("length", ["threshold=1"], "keep=above and threshold= belong together"),
        ("length", ["temperature=0"], "temperature=0 must be more than 0"),
        ("length", ["keep=all"], "keep=all is not one of best, above"),
        ("lenght", [], "did you mean 'length'?"),
        ("exact", ["reward.exact.answer_field=right"], "prompts.jsonl:1: the field 'right' is missing"),
        ("length", ["max_new_tokens=128"], "leaves no room for max_new_tokens=128"),
    ],
)
def test_a_slip_is_answered_in_one_line_and_leaves_nothing(
    journey: Journey,
    prompts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    judge: str,
    options: list[str],
    said: str,
) -> None:
    out = tmp_path / "out"
    assert said in refusal(
        capsys, ["best-of-n", journey.chat, judge, prompts, "-o", out, "max_new_tokens=6", *options]
    )
    assert not out.exists()


def test_a_reward_that_fails_at_once_leaves_nothing(journey: Journey, prompts: Path, tmp_path: Path) -> None:
    def broken(prompt: str, reply: str, **facts: Any) -> float:
        return float("nan")

    with pytest.raises(UserError, match=r"gave nan for .*prompts.jsonl:1"):
        cw.best_of_n(journey.chat, broken, prompts, tmp_path / "run", n=2, max_new_tokens=4)
    assert not (tmp_path / "run").exists()


def test_the_command_line(
    journey: Journey, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = make_judge(journey, tmp_path / "judge", **{"objective.heads": 2})
    capsys.readouterr()
    out = tmp_path / "run"
    command = ["best-of-n", journey.chat, judge, prompts, "-o", out, "n=3", "max_new_tokens=6", "--json"]
    assert main(list(map(str, command))) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out.splitlines()[-1])
    assert (found["run"], found["prompts"], found["n"]) == (str(out), 20, 3)
    assert "mean reward of the best of n, 1: " in shown.err and "nats from the policy" in shown.err
    assert Run(out).parent("judge") is not None and Run(out).parent("policy") is not None
    assert all(len(row["disagreement"]) == 3 for row in read_rows(out / "replies.jsonl"))
    assert main(["show", str(out)]) == 0
    assert "best-of-n" in capsys.readouterr().out


def test_prompts_with_a_conversation_and_text_that_is_no_unicode(journey: Journey, tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a \ud83d b"},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n")
    run = cw.best_of_n(journey.chat, brief, path, tmp_path / "run", n=2, max_new_tokens=4)
    [row] = read_rows(run.directory / "replies.jsonl")
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(journey: Journey, tmp_path: Path) -> None:
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"What is {n}?"} for n in range(400)])
    options = ["n=16", "max_new_tokens=6"]

    def command(out: Path) -> list[str]:
        return ["best-of-n", str(journey.chat), "length", str(prompts), "-o", str(out), *options]

    done = chatwright(*command(tmp_path / "whole"))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "run"
    path = out / "replies.jsonl"
    code, said = killed_when(lambda: path.exists() and path.stat().st_size > 20_000, *command(out))
    assert code == -signal.SIGKILL, said
    done = chatwright(*command(out))
    assert done.returncode == 0, done.stderr
    assert "resumed at prompt " in done.stderr
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

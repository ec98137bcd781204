"""`align`: what a round is made of, what is kept, who judges, and how the loop goes on after it was stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.data.records import Comparison, Message, Prompt
from chatwright.errors import UserError
from chatwright.evaluation.winning import WinRate, compared
from chatwright.generation.text import TextModel, replies
from chatwright.recipes.alignment.loop import align, comparing, rounds, shared
from chatwright.recipes.alignment.loop.recipe import read_recipe
from chatwright.recipes.alignment.loop.referee import referee_of
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.show import lineage
from chatwright.rewards.judges import ranks_of
from chatwright.runs import Run
from chatwright.training import plan as planning
from helpers.journey import Journey
from helpers.judged import make_judge, read_rows
from helpers.looped import DPO, GRPO, NEW_TOKENS, REWARD, SAMPLES, Recipe, make_place, write_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("align"))


@pytest.fixture(scope="module")
def recipe(place: Path, journey: Journey) -> Recipe:
    return partial(write_recipe, place, journey)


def letter(reply: str) -> float:
    return reply.count("e") / (1 + len(reply))


@pytest.fixture(scope="module")
def looped(recipe: Recipe, place: Path) -> Run:
    return cw.align(recipe(gold=f"{place / 'rules.py'}:other"), place / "looped")


@pytest.fixture
def one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attention kernel is measured, and part of every bit of the result."""
    monkeypatch.setattr(planning, "choose_kernel", lambda *_, **__: {"kernel": "plain"})


def held_out(run: Run) -> list[str]:
    """The prompts that nothing was learnt from: those that are not in the run's file."""
    learnt = [row["prompt"][0]["content"] for row in read_rows(run.directory / "prompts.jsonl")]
    return [f"What is {n}?" for n in range(24) if f"What is {n}?" not in learnt]


def greedy(run: Run, prompts: list[str]) -> list[str]:
    asked = [[Message("user", prompt)] for prompt in prompts]
    return replies(run, asked, temperature=0.0, max_new_tokens=NEW_TOKENS)


def test_a_round_is_kept_if_its_policy_wins(looped: Run, journey: Journey) -> None:
    prompts = held_out(looped)
    assert len(prompts) == 8
    start = best = [letter(reply) for reply in greedy(journey.chat, prompts)]
    source = journey.chat
    for found in looped.result["rounds"]:
        made = Run.open(looped.directory / found["runs"]["comparisons"], ["comparisons"])
        policy = Run.open(looped.directory / found["runs"]["policy"], ["dpo"])
        for run, role in ((made, "policy"), (policy, "start")):
            parent = run.parent(role)
            assert parent and parent.directory.resolve() == source.directory.resolve(), "the best so far"
        mine = [letter(reply) for reply in greedy(policy, prompts)]
        over_best, over_start = compared(mine, best), compared(mine, start)
        assert found["against_best"] == rounds.told(over_best)
        assert found["against_start"] == rounds.told(over_start)
        assert found["gold"] == pytest.approx(-sum(mine) / 8)
        assert found["kept"] == (over_best.rate > 0.5)
        if found["kept"]:
            best, source = mine, policy
    assert looped.result["rounds"][0]["kept"], "DPO on what the judge prefers wins on this seed"
    assert looped.result["kept"] == sum(found["kept"] for found in looped.result["rounds"])
    same = (looped.directory / "model.safetensors").read_bytes()
    assert same == (source.directory / "model.safetensors").read_bytes()


def test_comparisons_are_the_policys_replies_as_the_judge_ranks_them(looped: Run) -> None:
    so_far = ""
    seen: list[str] = []
    held = held_out(looped)
    for number in (1, 2):
        folder = looped.directory / f"round-{number}" / "comparisons"
        sampled = {row["prompt"][0]["content"]: row for row in read_rows(folder / "replies.jsonl")}
        assert len(sampled) == 8 and not set(sampled) & set(held)
        rows = read_rows(folder / "comparisons.jsonl")
        assert len(rows) == looped.result["rounds"][number - 1]["comparisons"] > 0
        for row in rows:
            wanted = sampled[row["prompt"][0]["content"]]["replies"]
            assert set(row["replies"]) <= set(wanted) and len(set(row["replies"])) == len(row["replies"])
            assert tuple(row["ranks"]) == ranks_of([letter(reply) for reply in row["replies"]])
        so_far += (folder / "comparisons.jsonl").read_text()
        assert (folder / "so_far.jsonl").read_text() == so_far
        seen += sampled
    assert len(set(seen)) == 16, "as long as there are others no prompt is asked twice"


def test_the_run_is_a_chat_model_with_its_lineage(looped: Run, journey: Journey) -> None:
    names = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"}
    names |= {"tokenizer_config.json", "chat_template.jinja", "report.html", "metrics.jsonl"}
    assert names <= {path.name for path in looped.directory.iterdir()}
    assert isinstance(cw.Chat(looped, max_new_tokens=4).reply("What is 3?"), str)
    assert Run.open(looped, CHATS).verb == "align"
    kept = [found for found in looped.result["rounds"] if found["kept"]][-1]
    walked = "\n".join(lineage(looped))
    for run in (looped, looped.directory / kept["runs"]["policy"], journey.base):
        assert Run.open(run).info["id"] in walked


def test_the_report_follows_the_rounds(looped: Run) -> None:
    rows = looped.metrics()
    assert [row["step"] for row in rows] == [0, 1, 2]
    for row, found in zip(rows[1:], looped.result["rounds"], strict=True):
        evaluation = row["evaluation"]
        assert evaluation["win_rate"] == evaluation["over_start"] == found["against_start"]["win_rate"]
        assert evaluation["win_interval"] == found["against_start"]["win_interval"]
        assert evaluation["over_best"] == found["against_best"]["win_rate"]
        assert evaluation["gold"] == found["gold"]
        assert ("before_after" in evaluation) == found["kept"]
    page = (looped.directory / "report.html").read_text()
    assert "Win rate against the start" in page and "over best" in page and "Before and after" in page


def test_a_finished_run_does_nothing_and_a_changed_recipe_is_refused(
    looped: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = place / "recipe.yaml"
    gold = f"{place / 'rules.py'}:other"
    before = looped.info
    assert main(["align", str(recipe), "-o", str(looped), f"gold={gold}"]) == 0
    assert looped.info == before
    capsys.readouterr()
    assert (
        main(["align", str(recipe), "-o", str(looped), "rounds=3", "samples.replies=2", f"gold={gold}"]) == 2
    )
    said = capsys.readouterr().err
    assert "rounds: 2 → 3; samples.replies: 3 → 2" in said and "give a new -o" in said


def test_stopped_anywhere_it_ends_the_same(
    recipe: Recipe, journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_kernel: None
) -> None:
    """Killed after sampling, and before the judge, the policy, the decision, and the publishing."""
    monkeypatch.setattr(rounds.Round, "kept", property(lambda found: True))
    file = recipe("stopped", policy_verb="grpo", reward=REWARD, train=GRPO)
    whole = cw.align(file, tmp_path / "whole")
    loaded: list[str] = []
    plain = TextModel.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        comparing.TextModel,
        "load",
        classmethod(lambda cls, run, **more: loaded.append(str(run)) or plain(cls, run, **more)),
    )
    out = tmp_path / "run"
    ids: dict[str, str] = {}
    for module, stage in ((comparing, "_judged"), (rounds, "reward"), (rounds, "_train"), (rounds, "wins")):
        with monkeypatch.context() as patch:
            patch.setattr(module, stage, _killed)
            with pytest.raises(RuntimeError, match="killed"):
                cw.align(file, out)
        found = {str(path): json.loads(path.read_text())["id"] for path in out.rglob("run.json")}
        assert ids.items() <= found.items(), "a run that was begun goes on"
        ids = found
    with monkeypatch.context() as patch:
        patch.setattr(align, "_publish", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            cw.align(file, out)
    run = cw.align(file, out)
    assert run.result == whole.result
    assert [row["evaluation"] for row in run.metrics()] == [row["evaluation"] for row in whole.metrics()]
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]
    for part in ("", "round-1/policy", "round-2/policy"):
        wanted = (whole.directory / part / "model.safetensors").read_bytes()
        assert (out / part / "model.safetensors").read_bytes() == wanted, part
    places = [str(journey.chat), str(out / "round-1" / "policy"), str(out / "round-2" / "policy")]
    assert [loaded.count(place) for place in places] == [2, 2, 1], "each is sampled from and measured once"
    policy = Run.open(out / "round-2" / "policy", ["grpo"]).parent("policy")
    assert policy and policy.directory == (out / "round-1" / "policy").resolve()
    judge = Run.open(out / "round-2" / "judge", ["reward"])
    assert judge.info["inputs"][0]["path"].endswith("round-2/comparisons/so_far.jsonl")
    start = judge.parent("start")
    assert start and start.directory == journey.chat.directory.resolve(), (
        "each judge learns from the beginning"
    )


def _killed(*_: Any, **__: Any) -> Any:
    raise RuntimeError("killed")


def fill_in(file: Path) -> int:
    """What people do: write down who has more of the letter; returns how many were open."""
    lines, count = [], 0
    for row in read_rows(file):
        for field in ("best", "ranking"):
            if field in row and row[field] is None:
                count += 1
                groups: dict[float, list[str]] = {}
                for key, reply in row["replies"].items():
                    groups.setdefault(-letter(reply), []).append(key)
                order = [groups[score] for score in sorted(groups)]
                tied = "tie" if len(order) == 1 else order[0][0]
                row[field] = tied if field == "best" else ">".join("=".join(group) for group in order)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    file.write_text("".join(lines))
    return count


def test_people_are_waited_for(
    recipe: Recipe, looped: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    file = out / "round-1" / "open.jsonl"
    command = ["align", str(recipe("people", judge="people", rounds=1)), "-o", str(out)]
    for wanted in ("comparisons", "policy"):
        capsys.readouterr()
        assert main(command) == 130
        said = capsys.readouterr().err
        assert f"comparisons are open; fill in {file}" in said and "run the same command again" in said
        assert (out / "round-1" / wanted).is_dir()
        assert fill_in(file) > 0
    assert main(command) == 0
    assert fill_in(file) == 0
    same = (looped.directory / "round-1" / "comparisons" / "replies.jsonl").read_bytes()
    assert (out / "round-1" / "comparisons" / "replies.jsonl").read_bytes() == same
    for row in read_rows(out / "round-1" / "comparisons" / "comparisons.jsonl"):
        assert tuple(row["ranks"]) == ranks_of([letter(reply) for reply in row["replies"]])
    assert Run(out).result["rounds"][0]["against_best"]["wins"] > 0


class Judging(BaseHTTPRequestHandler):
    """An endpoint that likes the letter, and breaks down after `left` answers."""

    asked: list[str]
    left: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        cls = type(self)
        cls.left -= 1
        if cls.left < 0:
            self.send_error(400)
            return
        cls.asked.append(body)
        material = json.loads(json.loads(body)["messages"][-1]["content"])
        a, b = letter(material["A"]), letter(material["B"])
        said = "Verdict: tie" if a == b else f"Verdict: {'A' if a > b else 'B'}"
        data = json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Judging.asked, Judging.left = [], 10
    with ThreadingHTTPServer(("127.0.0.1", 0), Judging) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_endpoint_is_asked_nothing_twice(
    recipe: Recipe, looped: Run, tmp_path: Path, endpoint: str
) -> None:
    judge = {"name": "endpoint", "base_url": endpoint, "model": "m", "retries": 0, "concurrency": 1}
    file, out = recipe("endpoint", judge=judge, rounds=1), tmp_path / "run"
    with pytest.raises(UserError, match=r"400.* run the same command again"):
        cw.align(file, out)
    # the replies outlive the failure of the judge
    assert len(Judging.asked) == 10
    kept = (out / "round-1" / "comparisons" / "replies.jsonl").read_bytes()
    Judging.left = 10_000
    run = cw.align(file, out)
    assert len(set(Judging.asked)) == len(Judging.asked) > 10
    assert (out / "round-1" / "comparisons" / "replies.jsonl").read_bytes() == kept
    assert len(read_rows(out / "verdicts.jsonl")) == len(Judging.asked)
    wanted = read_rows(looped.directory / "round-1" / "comparisons" / "comparisons.jsonl")
    found = read_rows(out / "round-1" / "comparisons" / "comparisons.jsonl")
    assert [row["ranks"] for row in found] == [row["ranks"] for row in wanted]
    assert run.result["rounds"][0]["against_best"]["wins"] > 0


def test_gold_decides_if_asked_to(recipe: Recipe, place: Path, tmp_path: Path) -> None:
    """The judge prefers what gold dislikes, so what wins by the judge is not kept."""
    gold = f"{place / 'rules.py'}:other"
    file = recipe("gold", rounds=1, gold=gold, keep={"by": "gold", "prompts": 8})
    [found] = cw.align(file, tmp_path / "dpo").result["rounds"]
    assert not found["kept"] and found["against_best"]["losses"] > found["against_best"]["wins"]
    grpo = {"policy_verb": "grpo", "reward": REWARD, "train": {**GRPO, "iterations": 1}}
    run = cw.align(
        recipe("gold", rounds=1, gold=gold, keep={"by": "gold", "prompts": 8}, **grpo), tmp_path / "grpo"
    )
    options = Run(tmp_path / "grpo" / "round-1" / "policy").options
    assert options["gold"] == gold, "its best step is chosen by gold too"
    assert (options["max_new_tokens"], options["iterations"]) == (8, 1), "what is given for training wins"
    if not run.result["kept"]:
        assert run.result["best"] == "the start"
        assert (run.result["win_rate"], run.result["win_interval"]) == (0.5, [0.5, 0.5])


def test_a_policy_that_learnt_nothing_is_not_kept(recipe: Recipe, journey: Journey, tmp_path: Path) -> None:
    still = {**DPO, "steps": 1, "learning_rate": 1e-12}
    run = cw.align(recipe("still", train=still, samples={**SAMPLES, "prompts": 16}), tmp_path / "run")
    for found in run.result["rounds"]:
        assert not found["kept"] and found["against_best"]["ties"] == 8
    assert (run.result["best"], run.result["win_rate"], run.result["kept"]) == ("the start", 0.5, 0)
    assert set(run.info["parents"]) == {"policy"}
    told = list(lineage(run))
    for number in (1, 2):
        policy = Run(run.directory / f"round-{number}" / "policy")
        line = f"  dpo {policy.info['id']}  {policy} (round {number}, not kept)"
        assert told[told.index(line) + 2].endswith(f"{journey.chat.directory.resolve()} (told above)")
    same = (journey.chat.directory / "model.safetensors").read_bytes()
    assert (run.directory / "model.safetensors").read_bytes() == same
    sampled = [read_rows(run.directory / f"round-{n}" / "comparisons" / "replies.jsonl") for n in (1, 2)]
    asked = [[row["prompt"] for row in rows] for rows in sampled]
    assert asked[0] == asked[1] and sampled[0] != sampled[1], "the same policy writes other replies"


def test_the_best_of_many_become_demonstrations(recipe: Recipe, tmp_path: Path) -> None:
    sft = {"steps": 2, "precision": "float32", "compile": "no", "batch_tokens": 512, "context": 128}
    file = recipe("best", policy_verb="best-of-n", reward=REWARD, train={"n": 16}, sft=sft, rounds=1)
    run = cw.align(file, tmp_path / "run")
    [found] = run.result["rounds"]
    verbs = {role: Run.open(run.directory / place).verb for role, place in found["runs"].items()}
    assert verbs == {
        "comparisons": "comparisons",
        "judge": "reward",
        "demonstrations": "best-of-n",
        "policy": "sft",
    }
    assert Run(run.directory / "round-1" / "demonstrations").options["max_new_tokens"] == NEW_TOKENS


def test_where_nothing_is_better_there_is_nothing_to_learn(
    recipe: Recipe, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    equal = {"name": "function", "reward": f"{place / 'rules.py'}:equal"}
    with pytest.raises(
        UserError, match=r"no comparison of .*equal can be learnt from \(8 prompts, .* 8 tied\)"
    ):
        cw.align(recipe("equal", judge=equal), tmp_path / "equal")
    plain = align.compare

    def tied_later(loop: Any, number: int, policy: Run) -> Run:
        made = plain(loop, number, policy)
        if number == 2:
            info = json.loads((made.directory / "run.json").read_text())
            info["result"]["comparisons"] = 0
            (made.directory / "run.json").write_text(json.dumps(info))
        return made

    monkeypatch.setattr(align, "compare", tied_later)
    run = cw.align(recipe("later"), tmp_path / "later")
    assert run.finished and len(run.result["rounds"]) == 1


def test_prompts_go_round_and_the_held_out_are_apart(recipe: Recipe) -> None:
    options = read_recipe(recipe("split"))
    asked = [Prompt((Message("user", f"q{n % 20}"),), source=str(n)) for n in range(40)]
    learn, held = shared._split(asked, options)
    assert len(held) == 8 and len(learn) == 12, "each prompt once"
    assert not {p.messages for p in learn} & {p.messages for p in held}
    loop = shared.Loop(options, Path("x"), Run(Path("y")), None, None, learn, held)  # type: ignore[arg-type]
    assert loop.prompts(1) + loop.prompts(2) == [*learn, *learn[:4]]
    with pytest.raises(UserError, match=r"there are 15 different ones .* need 16"):
        shared._split(asked[:15], options)


def test_who_wins_is_counted_without_open_verdicts() -> None:
    asked = (Message("user", "q"),)
    ranks = [(0, 1), (0, 1), (1, 0), (0, 0)]
    found = [Comparison(asked, ("a", "b"), one) for one in ranks]
    assert comparing._won([*found, None]) == WinRate(2, 1, 1)


def test_judges_by_name(journey: Journey, place: Path, tmp_path: Path) -> None:
    prompt = [Prompt((Message("user", "What is 3?"),), {"answer": "ab"})]

    def ranks(group: Any, **rules: Any) -> tuple[int, ...]:
        made = referee_of(group, rules).make(tmp_path / "round-1", lambda done: None)
        [found] = made.compare(prompt, [["abc", "ab", "e"]])
        assert found is not None
        return found.ranks

    assert ranks({"name": "function", "reward": "exact"}) == (1, 0, 1)
    assert ranks({"name": "function", "reward": "regex"}, regex={"pattern": "b"}) == (0, 0, 1)
    assert ranks({"name": "function", "reward": "exact", "tie": 2}) == (0, 0, 0)
    run = make_judge(journey, tmp_path / "judge")
    referee = referee_of({"name": "reward", "run": str(run)}, {})
    assert referee.judges and referee.judges.parents["judge"].directory == run.directory
    assert len(set(ranks({"name": "reward", "run": str(run)}))) == 3

"""dpo, kto, orpo and simpo as verbs: what they start from, what they measure, and the reference that is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chatwright as cw
from chatwright.data.group_store import GroupStore
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.models.interop.files import load_model
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from chatwright.recipes.alignment.direct import reference as references
from chatwright.recipes.alignment.direct.reference import Reference, with_room
from chatwright.runs import Run
from chatwright.training import machine
from helpers.journey import PRETRAIN, SFT, Journey
from helpers.preferred import write_preferences

OPTIONS: dict[str, Any] = {
    "batch": 16,
    "epochs": 2,
    "learning_rate": 2e-3,
    "precision": "float32",
    "save_every": 3,
    "eval_every": 3,
}
SHARED = Path(__file__).parents[5] / "shared" / "data" / "formats"
ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_preferences(tmp_path_factory.mktemp("preferences") / "pairs.jsonl")


@pytest.fixture(scope="module")
def dpo_run(journey: Journey, preferences: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return cw.dpo(journey.chat, preferences, tmp_path_factory.mktemp("dpo") / "run", **OPTIONS)


def steps_of(run: Run) -> list[dict[str, Any]]:
    return [row for row in run.metrics() if "loss" in row]


def test_dpo_begins_at_ln_2_and_learns(dpo_run: Run) -> None:
    first, *_, last = steps_of(dpo_run)
    assert first["loss"]["dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["metrics"]["chosen_reward"] == first["metrics"]["rejected_reward"] == 0
    assert last["loss"]["dpo"] < 0.5
    before, after = dpo_run.result["before"], dpo_run.result["after"]
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert (before["accuracy"], after["accuracy"]) == (pytest.approx(0.5, abs=0.5), 1.0)
    low, high = after["accuracy_interval"]
    assert 0 < low < high == pytest.approx(1)
    assert after["chosen_reward"] > after["rejected_reward"]
    assert after["chosen_logprob"] > after["rejected_logprob"]
    assert dpo_run.plan["compile"] is False
    assert dpo_run.plan["steps"] == round(2 * 42 / 16)


def test_dpo_writes_a_chat_model_with_samples(dpo_run: Run, journey: Journey) -> None:
    names = {path.name for path in dpo_run.directory.iterdir()}
    assert names >= {"chat_template.jinja", "tokenizer.json", "generation_config.json", "report.html"}
    evaluations = [row["evaluation"] for row in dpo_run.metrics() if "evaluation" in row]
    assert all(len(found["samples"]) == 2 for found in evaluations)
    assert evaluations[0]["samples"][0].startswith("What is ")
    assert " → " in evaluations[0]["samples"][0]
    assert isinstance(cw.Chat(dpo_run, temperature=0.0, max_new_tokens=4).reply("What is 1?"), str)
    ours, theirs = (load_model(run.directory).embedding.weight for run in (dpo_run, journey.chat))
    assert not torch.equal(ours, theirs)


def test_a_finished_run_again_does_nothing(dpo_run: Run, journey: Journey, preferences: Path) -> None:
    again = cw.dpo(journey.chat, preferences, dpo_run.directory, **OPTIONS)
    assert again.info == dpo_run.info
    with pytest.raises(UserError, match=r"objective\.beta: None → 0\.2.*give a new -o"):
        cw.dpo(journey.chat, preferences, dpo_run.directory, **{"objective.beta": 0.2}, **OPTIONS)


@pytest.mark.parametrize("verb", ["kto", "orpo", "simpo"])
def test_the_others_learn_as_well(verb: str, journey: Journey, preferences: Path, tmp_path: Path) -> None:
    more = {"objective.weight": 9.0} if verb == "orpo" else {}
    run = getattr(cw, verb)(journey.chat, preferences, tmp_path / verb, **more, **OPTIONS)
    before, after = run.result["before"], run.result["after"]
    assert after["loss"] < before["loss"]
    assert (
        after["chosen_reward"] - after["rejected_reward"]
        > before["chosen_reward"] - before["rejected_reward"]
    )
    assert run.verb == verb
    kept = list((run.directory / "tokens").glob("*/reference-*"))
    assert len(kept) == (4 if verb == "kto" else 0)
    if verb == "kto":
        assert steps_of(run)[0]["loss"]["kto"] == pytest.approx(0.5, abs=1e-5)
        assert before["baseline"] == pytest.approx(0, abs=1e-5)
        assert run.plan["steps"] == round(2 * 84 / 16)


def test_orpo_starts_from_a_base_model_and_dpo_does_not(
    journey: Journey, preferences: Path, tmp_path: Path
) -> None:
    run = cw.orpo(journey.base, preferences, tmp_path / "orpo", **{**OPTIONS, "epochs": None, "steps": 2})
    assert isinstance(cw.Chat(run, temperature=0.0, max_new_tokens=2).reply("?"), str)
    with pytest.raises(UserError, match="is a run of 'pretrain'; this needs one of sft"):
        cw.dpo(journey.base, preferences, tmp_path / "dpo", **OPTIONS)


def test_the_losses_are_options_of_dpo(journey: Journey, preferences: Path, tmp_path: Path) -> None:
    few = {**OPTIONS, "epochs": None, "steps": 1}
    run = cw.dpo(journey.chat, preferences, tmp_path / "ipo", **{"objective.loss": "ipo"}, **few)
    assert steps_of(run)[0]["loss"]["dpo"] == pytest.approx(25.0, abs=1e-3)
    with pytest.raises(UserError, match="loss=ip is not one of sigmoid, ipo"):
        cw.dpo(journey.chat, preferences, tmp_path / "x", **{"objective.loss": "ip"}, **few)


def test_another_reference_is_what_rewards_are_measured_from(
    journey: Journey, preferences: Path, tmp_path: Path
) -> None:
    few = {**OPTIONS, "epochs": None, "steps": 1}
    run = cw.dpo(journey.chat, preferences, tmp_path / "run", reference=str(journey.base), **few)
    first = steps_of(run)[0]
    assert first["metrics"]["chosen_reward"] > 0.1
    assert abs(first["loss"]["dpo"] - math.log(2)) > 1e-3
    assert run.info["parents"].keys() == {"start", "reference"}


def test_a_reference_that_cannot_serve_is_refused(
    journey: Journey, preferences: Path, tmp_path: Path
) -> None:
    tokenizer = cw.tokenizer(journey.corpus, tmp_path / "tok", vocab_size=470)
    other = cw.pretrain(journey.corpus, tokenizer, tmp_path / "other", steps=1, **PRETRAIN)
    with pytest.raises(UserError, match=r"reference=.*other has another tokenizer than .*chat; give a run"):
        cw.dpo(journey.chat, preferences, tmp_path / "run", reference=str(other), **OPTIONS)
    short = {**PRETRAIN, "model.context": 64}
    brief = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "brief", steps=1, **short)
    with pytest.raises(
        UserError, match=r"has a context of 64 and replies go up to 128 tokens; give limit=64"
    ):
        cw.dpo(journey.chat, preferences, tmp_path / "run", reference=str(brief), **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_compiling_for_every_length_is_refused(journey: Journey, preferences: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compile=yes would compile again for every length"):
        cw.simpo(journey.chat, preferences, tmp_path / "run", compile="yes", **OPTIONS)


def test_kto_wants_whole_groups(journey: Journey, preferences: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"batch=12 is not a multiple of objective\.group=8.*give batch=8"):
        cw.kto(journey.chat, preferences, tmp_path / "run", **{**OPTIONS, "batch": 12})


def test_kto_reads_labels(journey: Journey, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"What is {n}?", "completion": "yes" if n % 3 else "no no", "label": bool(n % 3)}
        for n in range(30)
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = cw.kto(journey.chat, path, tmp_path / "run", **OPTIONS)
    assert steps_of(run)[-1]["loss"]["kto"] < 0.45


def test_a_small_file_is_learnt_from_whole(journey: Journey, tmp_path: Path) -> None:
    path = write_preferences(tmp_path / "few.jsonl", count=5)
    for verb in (cw.dpo, cw.kto):
        run = verb(journey.chat, path, tmp_path / verb.__name__, **OPTIONS)
        assert run.result["after"] == {}
        assert steps_of(run)[-1]["tokens"] > 0


def test_minutes_become_steps(journey: Journey, preferences: Path, tmp_path: Path) -> None:
    timed = {**OPTIONS, "epochs": None, "minutes": 0.05}
    run = cw.dpo(journey.chat, preferences, tmp_path / "run", **timed)
    assert run.plan["steps"] >= 1
    assert steps_of(run)[0]["loss"]["dpo"] == pytest.approx(math.log(2), abs=1e-5)


def stored(run: Run, side: str = "train") -> GroupStore:
    return with_room(GroupStore.open(run.directory / "tokens" / side), "reference")


def test_the_cached_reference_is_the_live_one(dpo_run: Run, journey: Journey) -> None:
    [kept] = (dpo_run.directory / "tokens" / "train").glob("reference-*.npy")
    kernel = dpo_run.plan["kernel"]
    assert kept.stem == f"reference-{journey.chat.info['content'][:12]}-float32-{kernel}"
    values, store = np.load(kept), stored(dpo_run)
    model = load_model(journey.chat.directory)
    groups = [store.group(index) for index in range(store.num_groups)]
    with torch.no_grad():
        live = reply_logprobs(model, collate_replies(groups)).numpy()
    assert live.shape == values.shape
    assert np.abs(live - values).max() < 1e-3
    assert np.abs(live).min() > 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of replies whose log-probability is worked out, in chunks of 24."""
    seen: list[int] = []
    sums: Callable[..., list[tuple[int, float]]] = Reference._sums

    def noted(self: Reference, model: Any, numbered: list[tuple[int, Any]]) -> list[tuple[int, float]]:
        seen.extend(number for number, _ in numbered)
        return sums(self, model, numbered)

    monkeypatch.setattr(Reference, "_sums", noted)
    monkeypatch.setattr(references, "_CHUNK", 24)
    monkeypatch.setattr(machine, "fastest_kernel", lambda *_: ("plain", {"plain": 1.0}))
    monkeypatch.setattr(references, "_SECONDS_BETWEEN_SAVES", 0.0)
    return seen


def test_an_interrupted_reference_goes_on_where_it_stopped(
    journey: Journey, preferences: Path, tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {**OPTIONS, "epochs": None, "steps": 1}
    whole = cw.dpo(journey.chat, preferences, tmp_path / "whole", **few)
    assert sorted(counted) == sorted([*range(84), *range(4)])
    counted.clear()
    sums = Reference._sums

    def breaks(self: Reference, model: Any, numbered: Any) -> Any:
        if len(counted) == 48:
            raise KeyboardInterrupt
        return sums(self, model, numbered)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Reference, "_sums", breaks)
        cw.dpo(journey.chat, preferences, tmp_path / "run", **few)
    assert counted == list(range(48))
    run = cw.dpo(journey.chat, preferences, tmp_path / "run", **few)
    assert counted == [*range(84), *range(4)]
    name = f"tokens/train/reference-{journey.chat.info['content'][:12]}-float32-plain.npy"
    assert (run.directory / name).read_bytes() == (whole.directory / name).read_bytes()


def test_what_is_too_long_is_not_worked_out(dpo_run: Run, journey: Journey, counted: list[int]) -> None:
    store = stored(dpo_run)
    for path in store.directory.glob("reference-*"):
        path.unlink()
    longest = store.sequences.lengths().reshape(-1, 2).max(1)
    limit = int(np.median(longest))
    reference = Reference(journey.chat, ALONE, limit).computing(torch.float32, "plain")
    reference.fill(store, "reference", store.reply)
    assert sorted(counted) == np.flatnonzero(np.repeat(longest <= limit, 2)).tolist()
    assert 0 < len(counted) < 84
    values = store.numbers["reference"]
    assert (values[counted] < 0).all()
    assert np.isfinite(values).all()
    before = list(counted)
    reference.fill(store, "reference", store.reply)
    assert counted == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo_en_demo", "dpo_zh_demo"])
def test_dpo_on_public_rows(journey: Journey, tmp_path: Path, name: str) -> None:
    path = SHARED / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    sized = {**PRETRAIN, "model.context": 2048, "context": 128}
    base = cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "base", steps=2, **sized)
    chat = cw.sft(base, journey.chats, tmp_path / "chat", steps=2, **SFT)
    given = {**OPTIONS, "epochs": 1, "learning_rate": 3e-4}
    run = cw.dpo(chat, path, tmp_path / "run", **given)
    assert steps_of(run)[0]["loss"]["dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert run.result["after"]["accuracy_interval"][0] >= 0
    assert steps_of(run)[-1]["loss"]["dpo"] < math.log(2)

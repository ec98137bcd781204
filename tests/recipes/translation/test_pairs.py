"""From a file of pairs to a translation model: trained, measured, resumed, used."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import chatwright as cw
from chatwright.distributed.checkpoint import states
from chatwright.errors import UserError
from chatwright.generation.translation import Translator
from chatwright.runs import Run
from helpers.command import chatwright, killed_when, torchrun
from helpers.journey import Journey, words
from helpers.translated import TRAIN, make_tokenizer, write_pairs

DATA = Path(__file__).parents[4] / "shared" / "data" / "translation" / "en_zh_tatoeba.jsonl.gz"
STEPS = {"steps": 6, "save_every": 3, "eval_every": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("translation")
    write_pairs(place / "pairs.jsonl")
    make_tokenizer(place / "pairs.jsonl", place / "tok")
    cw.pretrain(place / "pairs.jsonl", place / "tok", place / "mt", **TRAIN, **STEPS)
    yield place


def test_the_run_tells_how_it_went(place: Path) -> None:
    run = Run(place / "mt")
    assert run.finished
    assert run.verb == "pretrain"
    result = run.result
    assert result["after"]["loss"] < result["before"]["loss"]
    assert 0 <= result["after"]["bleu"] <= 100
    assert "tok:zh" in result["after"]["bleu_signature"]
    assert result["after"]["chrf_signature"].startswith("nrefs:1")
    assert result["after"]["translated"] == 1
    assert result["skipped"] == {}
    evaluations = [row["evaluation"] for row in run.metrics() if "evaluation" in row]
    assert [set(e) >= {"loss", "target_token", "smoothing"} for e in evaluations] == [True] * 3
    assert ["bleu" in e for e in evaluations] == [False, False, True]
    [sample] = evaluations[-1]["samples"]
    assert " → " in sample
    assert "(reference: " in sample
    assert "What it writes" in (run.directory / "report.html").read_text(encoding="utf-8")


def test_held_out_sources_are_nowhere_learnt_from(place: Path) -> None:
    tokens = Run(place / "mt").directory / "tokens"
    from chatwright.data.store import TokenStore
    from chatwright.tokenization.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(place / "mt")
    sides = {}
    for side in ("train", "validation"):
        store = TokenStore.open(tokens / side)
        sides[side] = [tokenizer.decode(store.document(2 * n)) for n in range(store.num_documents // 2)]
    assert len(sides["train"]) == 79
    assert not set(sides["train"]) & set(sides["validation"])


def test_transformers_translates_the_same_with_what_was_written(place: Path) -> None:
    transformers = pytest.importorskip("transformers")
    peer = transformers.MarianMTModel.from_pretrained(place / "mt", attn_implementation="eager").eval()
    translator = Translator.load(place / "mt")
    source = translator.source("The cat sees the dog number 3.")
    theirs = peer.generate(input_ids=torch.tensor([source]), max_new_tokens=12)[0].tolist()
    mine = cw.translate(place / "mt", "The cat sees the dog number 3.", beams=2, max_new_tokens=12)
    assert mine["translations"] == [translator.tokenizer.decode(theirs).strip().replace("\n", " ")]


def test_again_it_does_nothing_and_with_other_pairs_it_refuses(place: Path, tmp_path: Path) -> None:
    before = Run(place / "mt").info
    assert cw.pretrain(place / "pairs.jsonl", place / "tok", place / "mt", **TRAIN, **STEPS).info == before
    other = write_pairs(tmp_path / "pairs.jsonl", seed=1)
    with pytest.raises(UserError, match="give a new -o"):
        cw.pretrain(other, place / "tok", place / "mt", **TRAIN, **STEPS)


def test_pairs_that_are_skipped_or_too_long_are_counted(place: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (place / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[4]["zh"] = " "
    rows[7]["en"] = "cat " * 90
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = write_pairs(tmp_path / "held.jsonl", count=5, seed=9)
    run = cw.pretrain(
        path,
        place / "tok",
        tmp_path / "mt",
        **TRAIN,
        steps=2,
        validation=str(held),
        **{"translation.sentences": 0},
    )
    assert run.result["too_long"] == 1
    [(reason, (count, first))] = run.result["skipped"].items()
    assert (reason, count, first) == ("empty source or target", 1, f"{path}:5")
    assert "bleu" not in run.result["after"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "qwen3-1m"}, "model=qwen3-1m is no encoder-decoder"),
        ({"target": None}, "give both"),
        ({"source": "fr"}, "there is no field 'fr'"),
        ({"translation.sentences": -1}, "translation.sentences=-1 must be 0 or more"),
        ({"validation": "nowhere.jsonl"}, "there is no file nowhere.jsonl"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    place: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    options = {**TRAIN, **changes}
    if changes.get("model"):
        options = {key: value for key, value in options.items() if not key.startswith("model.")}
    with pytest.raises(UserError, match=said):
        cw.pretrain(place / "pairs.jsonl", place / "tok", tmp_path / "mt", **options, steps=1)
    assert not (tmp_path / "mt").exists()


def test_a_corpus_is_no_file_of_pairs(journey: Journey, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a run, and objective=seq2seq learns from a file of pairs"):
        cw.pretrain(journey.corpus, journey.tokenizer, tmp_path / "mt", **TRAIN, steps=1)


@pytest.mark.parametrize("count", [1, 19])
def test_very_few_pairs_train_without_being_measured(place: Path, tmp_path: Path, count: int) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", count)
    run = cw.pretrain(pairs, place / "tok", tmp_path / "mt", **TRAIN, steps=2)
    assert run.finished
    assert run.result["after"] == {}


def test_a_small_language_is_learnt(place: Path, tmp_path: Path) -> None:
    """Names of things and their order, from 60 steps."""
    options = {**TRAIN, "batch_tokens": 2048, "objective.smoothing": 0.0}
    run = cw.pretrain(
        place / "pairs.jsonl", place / "tok", tmp_path / "mt", **options, steps=60, eval_every=60
    )
    assert run.result["after"]["loss"] < 1.6
    found = cw.translate(run, "The fish likes the stone number 7.")["translations"][0]
    assert set("鱼喜欢石") & set(found)


@pytest.mark.skipif(not DATA.is_file(), reason="no ../shared/data/translation beside the project")
def test_real_pairs_train_a_few_steps(tmp_path: Path) -> None:
    tokenizer = cw.tokenizer(DATA, tmp_path / "tok", vocab_size=1024, source="en", target="zh")
    options = {**TRAIN, "model.width": 64, "batch_tokens": 1024, "translation.sentences": 8}
    run = cw.pretrain(DATA, tokenizer, tmp_path / "mt", **options, steps=4)
    assert run.result["after"]["loss"] < run.result["before"]["loss"]
    assert run.result["after"]["translated"] == 8


def _command(place: Path, out: Path, **more: object) -> list[str]:
    options = {**TRAIN, "steps": 24, "save_every": 2, "eval_every": 8, "objective.hidden": 0.1, **more}
    return ["pretrain", str(place / "pairs.jsonl"), str(place / "tok"), "-o", str(out), *words(options)]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_bit_equal(place: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    done = chatwright(*_command(place, whole))
    assert done.returncode == 0, done.stderr
    out.mkdir()
    info = {**Run(whole).info, "status": "running", "result": {}, "content": None}
    (out / "run.json").write_text(json.dumps(info))
    code, said = killed_when(lambda: len(states(out / "state")) > 1, *_command(place, out))
    assert code == -signal.SIGKILL, said
    again = chatwright(*_command(place, out))
    assert again.returncode == 0, again.stderr
    assert "resumed at step" in again.stderr
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert Run(out).result["after"] == Run(whole).result["after"]
    losses = [[row["loss"] for row in Run(run).metrics() if "loss" in row] for run in (out, whole)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 24


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(place: Path, tmp_path: Path) -> None:
    options = {"steps": 5, "batch_tokens": 448}
    alone = chatwright(*_command(place, tmp_path / "alone", **options))
    assert alone.returncode == 0, alone.stderr
    done = torchrun(2, *_command(place, tmp_path / "ranks", **options))
    assert done.returncode == 0, done.stderr
    losses = [
        [row["loss"]["target_token"] for row in Run(tmp_path / name).metrics() if "loss" in row]
        for name in ("alone", "ranks")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)

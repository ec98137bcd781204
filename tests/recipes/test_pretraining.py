"""`pretrain` with every objective over text, on a tiny scale: it trains, measures, publishes, and refuses what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.errors import UserError
from chatwright.models.headed import Headed
from chatwright.models.interop.files import load_root
from chatwright.runs import Run
from helpers.journey import SHAPE, TRAINING, Journey

BERT = {
    "model": "bert-tiny",
    "model.width": 32,
    "model.heads": 2,
    "model.feed_forward": 48,
    "model.context": 128,
}
DECODER = SHAPE


@pytest.fixture(scope="module")
def held(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The journey's corpus with more than one document to measure on."""
    return cw.corpus(journey.texts, tmp_path_factory.mktemp("held") / "corpus", validation=0.3)


def pretrain(held: Run, journey: Journey, out: Path, **options: Any) -> Run:
    return cw.pretrain(held, journey.tokenizer, out, **{**TRAINING, "steps": 4, "eval_every": 4, **options})


def test_berts_pretraining_reports_both_accuracies(held: Run, journey: Journey, tmp_path: Path) -> None:
    run = pretrain(held, journey, tmp_path / "bert", **BERT)
    after, rows = run.result["after"], run.metrics()
    for term in ("masked", "next_sentence"):
        assert after[f"{term}_interval"][0] <= after[f"{term}_accuracy"] <= after[f"{term}_interval"][1]
        assert term in next(row for row in rows if "loss" in row)["loss"]
    assert after["next_sentence_chance"] == 0.5
    assert 0 < after["masked_chance"] < 0.5
    assert "bits_per_byte" not in after
    assert "next_sentence_accuracy" in next(row for row in rows if "metrics" in row)["metrics"]
    model = load_root(run.directory)
    assert isinstance(model, Headed)
    assert list(model.head_options) == ["next_sentence"]
    assert json.loads((run.directory / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    page = (run.directory / "report.html").read_text()
    for said in ("Accuracy", "training: next sentence", "held out: masked", "next sentence by chance", " →"):
        assert said in page


@pytest.mark.parametrize(
    ("shape", "objective", "terms"),
    [
        (DECODER, {"objective": "masked,causal"}, {"masked", "next_token"}),
        (BERT, {"objective": "masked,sentence_order"}, {"masked", "sentence_order"}),
        (DECODER, {"objective": "position", "objective.pieces": 3}, {"position"}),
        (BERT, {"objective": "replaced_token"}, {"generator", "replaced_token"}),
        (BERT, {"objective": "contrastive", "objective.group": 4, "context": 24}, {"contrastive"}),
    ],
)
def test_every_objective_trains(
    held: Run,
    journey: Journey,
    tmp_path: Path,
    shape: dict[str, Any],
    objective: dict[str, Any],
    terms: set[str],
) -> None:
    run = pretrain(held, journey, tmp_path / "run", **shape, **objective)
    assert run.finished
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert set(losses[0]) == terms
    assert terms <= set(run.result["after"]) | {"loss"}
    assert run.result["tokens"] <= 4 * 512 * 1.01
    assert load_root(run.directory)


def test_weights_of_a_mixture_go_with_the_steps(held: Run, journey: Journey, tmp_path: Path) -> None:
    weights = {"objective.masked.weight": 1, "objective.causal.weight": 0.5}
    ramp = {"objective.causal.last_weight": 0.1, "objective.causal.ramp": 2}
    run = pretrain(held, journey, tmp_path / "run", **DECODER, **weights, **ramp)
    after = run.result["after"]
    assert after["loss"] == pytest.approx(after["masked"] + 0.1 * after["next_token"], rel=1e-5)
    assert after["bits_per_byte"] > 0


def test_scored_pairs_beside_a_corpus(held: Run, journey: Journey, tmp_path: Path) -> None:
    file = tmp_path / "sts.jsonl"
    rows = [{"a": f"The cat sees {n}.", "b": f"The dog sees {n}.", "score": n % 6} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)))
    options = {"objective": "masked,similarity", "objective.similarity.file": str(file), "context": 24}
    run = pretrain(held, journey, tmp_path / "run", **BERT, **options)
    assert {"masked", "similarity", "similarity_error"} <= set(run.result["after"])
    with pytest.raises(UserError, match="needs scored pairs"):
        pretrain(held, journey, tmp_path / "none", **BERT, objective="similarity")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {**BERT, "objective": "causal"},
            "objective=causal does not fit the architecture bert; what fits: contrastive, masked",
        ),
        (
            {**DECODER, "objective": "permutation"},
            "objective=permutation does not fit the architecture qwen3; what fits: causal",
        ),
        ({**BERT, "objective": "masked", "model.language_head": False}, "needs the language head"),
        ({**BERT, "objective": "dpo"}, "does not learn from a corpus"),
        (
            {**BERT, "objective": "similarity", "objective.file": "nowhere.jsonl"},
            "there is no file nowhere.jsonl",
        ),
        ({**BERT, "context": 256}, "longer than the model's 128"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    journey: Journey, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        pretrain(journey.corpus, journey, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "text"), [("one-line", "The cat sees the dog."), ("one-word", "cat")])
def test_very_little_text(journey: Journey, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    corpus = cw.corpus(path, tmp_path / "corpus")
    run = pretrain(corpus, journey, tmp_path / "masked", **BERT, objective="masked", steps=2)
    assert run.finished
    with pytest.raises(UserError, match=r"at least two documents|two sentences"):
        pretrain(corpus, journey, tmp_path / "pairs", **BERT)

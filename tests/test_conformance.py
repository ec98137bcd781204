"""What everything in the registry must do: one suite over all names, so that a new one is tested by its line."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import fields, is_dataclass
from functools import cache

import numpy as np
import pytest
import torch

import chatwright
from chatwright import registry
from chatwright.corpora.reading.hub import Hub
from chatwright.models.encoder_decoder import EncoderDecoder
from chatwright.models.family.architecture import Architecture
from chatwright.objectives.causal import tiny_decoder
from chatwright.training.options import named
from helpers.ranks import on_ranks
from helpers.work import Arrays, gradients, objective_of, train

NAMES = [(kind, name) for kind in registry.kinds() for name in registry.table(kind)]
OBJECTIVES = list(registry.table("objective"))
TRAINED = [(o, "muon") for o in OBJECTIVES] + [("causal", o) for o in registry.table("optimizer")]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_leads_to_something_documented(kind: str, name: str) -> None:
    found = registry.lookup(kind, name)
    if isinstance(found, Architecture | Hub):
        # its file tells of it
        found = importlib.import_module(registry.table(kind)[name].partition(":")[0])
    assert callable(found) or inspect.ismodule(found)
    said = inspect.getdoc(found)
    assert said
    assert len(said) > 20


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_names_its_paper(name: str) -> None:
    cls = registry.lookup("objective", name)
    assert re.search(
        r"\((?:[A-Z]\w+ (?:et al\.|and [A-Z]\w+) )?\d{4}|[A-Z]\w+ (?:et al\. )?\d{4}", cls.__doc__
    )
    assert isinstance(cls.record, type)


@pytest.mark.parametrize("kind", ["objective", "optimizer", "model"])
def test_every_kind_owns_frozen_options(kind: str) -> None:
    for name in registry.table(kind):
        found = registry.lookup(kind, name)
        options = found.options if kind == "model" else found.Options
        assert is_dataclass(options)
        assert options.__dataclass_params__.frozen
        assert all(field.metadata.get("help") for field in fields(options))


@pytest.mark.parametrize("name", registry.table("verb"))
def test_every_verb_explains_its_options(name: str) -> None:
    verb = registry.lookup("verb", name)
    assert is_dataclass(verb.options_type)
    assert verb.options_type.__dataclass_params__.frozen
    for field in verb.options_type.__dataclass_fields__.values():
        assert field.metadata.get("help"), f"{name}: {field.name}"


def test_public_names_stay_what_they_are_after_everything_is_imported() -> None:
    """A sub-module named like a verb would hide it once imported."""
    for module in pkgutil.walk_packages(chatwright.__path__, "chatwright."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in chatwright.__all__:
        assert not inspect.ismodule(getattr(chatwright, name)), name
    for name, place in registry.table("verb").items():
        public = place.partition(":")[2]
        assert getattr(chatwright, public) is registry.lookup("verb", name)


@cache
def whole_gradient(name: str) -> Arrays:
    return gradients(name, micro_rows=12)


def assert_same(found: Arrays, wanted: Arrays, relative: float) -> None:
    assert found.keys() == wanted.keys()
    # some gradients are nothing but rounding: a bias of keys moves no softmax
    floor = 3e-3 * max(float(np.linalg.norm(value)) for value in wanted.values())
    for name, value in wanted.items():
        distance = np.linalg.norm(found[name] - value) / max(np.linalg.norm(value), floor, 1e-12)
        assert distance < relative, f"{name}: {distance}"


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("micro_batches", [2, 8])
def test_an_objective_gives_one_gradient_however_the_batch_is_cut(name: str, micro_batches: int) -> None:
    assert_same(gradients(name, micro_rows=-(-12 // micro_batches)), whole_gradient(name), 1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(("micro_rows", "rows"), [(12, 12), (2, 11)])
def test_an_objective_gives_one_gradient_on_two_ranks(name: str, micro_rows: int, rows: int) -> None:
    wanted = whole_gradient(name) if rows == 12 else gradients(name, 12, rows)
    ranks = on_ranks("helpers.work:gradients", 2, name, micro_rows, rows)
    for found in ranks:
        assert_same(found, wanted, 1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_learns_its_example(name: str) -> None:
    objective = objective_of(name)
    weights = objective.weights(0)
    done = train(name, count=3)["steps"]
    losses = [sum(weights[term] * value for term, value in step["terms"].items()) for step in done]
    assert losses[-1] < losses[0]
    roots, rows = objective.example()
    batch = objective.collate([objective.prepare(row, np.random.default_rng(0)) for row in rows])
    assert objective.counts(batch).keys() == objective.weights(0).keys()
    assert {t for terms in objective.passes(roots, batch) for t in terms} == set(objective.weights(0))


@pytest.mark.parametrize(("objective", "optimizer"), TRAINED)
def test_training_resumes_bit_for_bit(objective: str, optimizer: str) -> None:
    whole = train(objective, optimizer, count=4)
    half = train(objective, optimizer, count=2)
    rest = train(objective, optimizer, count=4, first=2, state=half)
    for part in ("weights", "optimizer"):
        flat, again = _flat(whole[part]), _flat(rest[part])
        assert flat.keys() == again.keys()
        assert all(torch.equal(flat[key], again[key]) for key in flat), part
    assert [s["terms"] for s in half["steps"] + rest["steps"]] == [s["terms"] for s in whole["steps"]]


def _flat(values: dict[str, object]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for key, value in values.items():
        found |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return found


@pytest.mark.parametrize("name", registry.table("optimizer"))
def test_an_optimizer_updates_every_parameter(name: str) -> None:
    cls, options = named("optimizer", name)
    model = tiny_decoder()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = cls({"policy": model}, options)
    assert len(optimizer.parameters) == len(before)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1.0)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("name", registry.table("model"))
def test_a_model_keeps_the_contract_of_a_root(name: str) -> None:
    member = registry.lookup("model", name)
    known = {field.name for field in fields(member.options)}
    small = {"vocab_size": 40, "width": 16, "layers": 1, "heads": 2, "feed_forward": 64, "context": 16}
    small |= {"encoder_layers": 1, "decoder_layers": 1, "kv_heads": 2, "head_dim": 8, "experts": 2}
    model = member.root(member.options(**{key: value for key, value in small.items() if key in known}))
    model.initialize(torch.Generator().manual_seed(0))
    inputs = torch.arange(8).view(2, 4)
    wanted = ("hidden", "logits", "logprobs", "entropy")
    more = {"decoder_inputs": inputs} if isinstance(model, EncoderDecoder) else {}
    out = model(inputs, targets=inputs, outputs=wanted, **more)
    assert set(out) == set(wanted)
    assert out["logits"].shape == (2, 4, 40)
    assert out["logprobs"].shape == out["entropy"].shape == (2, 4)
    assert {out[name].dtype for name in wanted[1:]} == {torch.float32}

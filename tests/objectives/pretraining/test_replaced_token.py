"""Replaced tokens: samples follow the generator, and only its own loss teaches it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.models.headed import trunk_of
from chatwright.objectives.contract import Batch
from chatwright.objectives.pretraining import replaced_token
from chatwright.objectives.pretraining.replaced_token import ReplacedToken, sample
from chatwright.objectives.pretraining.text import example_headed


def prepared(objective: ReplacedToken) -> tuple[dict[str, torch.nn.Module], Batch]:
    roots, rows = objective.example()
    drawn = [objective.prepare(row, np.random.default_rng(n)) for n, row in enumerate(rows)]
    return roots, objective.collate(drawn)


def test_samples_follow_their_chances() -> None:
    chances = torch.tensor([0.5, 0.0, 0.3, 0.2])
    draws = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81, 0.999999])
    assert sample(chances.log().expand(6, 4), draws.double()).tolist() == [0, 0, 2, 2, 3, 3]
    many = sample(chances.log().expand(4000, 4), torch.from_numpy(np.random.default_rng(0).random(4000)))
    shares = torch.bincount(many, minlength=4) / 4000
    torch.testing.assert_close(shares, chances, atol=0.04, rtol=0)
    assert sample(torch.zeros(1, 3), torch.tensor([1.0 - 1e-17], dtype=torch.float64)).tolist() == [2]


def test_the_model_teaches_the_generator_nothing() -> None:
    objective = ReplacedToken()
    roots, batch = prepared(objective)
    passes = objective.passes(roots, batch)
    next(passes)["generator"].backward()
    assert all(p.grad is None for p in roots["policy"].parameters())
    before = [p.grad.clone() for p in roots["generator"].parameters() if p.grad is not None]
    next(passes)["replaced_token"].backward()
    after = [p.grad for p in roots["generator"].parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert trunk_of(roots["policy"]).embedding.weight.grad is not None  # type: ignore[arg-type, union-attr]


def test_every_token_of_text_is_told_once() -> None:
    objective = ReplacedToken()
    roots, batch = prepared(objective)
    text = (batch["segments"] >= 0) & (batch["inputs"] < 60)
    chosen = batch["targets"] != IGNORE
    assert objective.counts(batch)["replaced_token"] == int((text | chosen).sum())
    assert objective.counts(batch)["generator"] == int(chosen.sum())
    assert bool((batch["inputs"][chosen] == 60).all())
    terms = {t: float(v.detach()) for part in objective.passes(roots, batch) for t, v in part.items()}
    real = objective.counts(batch)["replaced_token"]
    # a generator that has learnt nothing is hardly ever right
    assert terms["replaced_token_chance"] == pytest.approx(real - int(chosen.sum()), abs=2)


def test_a_sample_that_is_the_texts_own_token_was_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = ReplacedToken()
    roots, batch = prepared(objective)
    own = batch["targets"][batch["targets"] != IGNORE]
    sure = 99.0 * torch.nn.functional.one_hot(own, 64)
    kept = []
    for logits in (sure, -sure):
        monkeypatch.setattr(replaced_token, "token_logits", lambda *_, given=logits: given)
        terms = {t: float(v.detach()) for part in objective.passes(roots, batch) for t, v in part.items()}
        kept.append(terms["replaced_token_chance"])
    real = objective.counts(batch)["replaced_token"]
    assert kept == [real, real - len(own)]


def test_the_generator_is_half_as_deep() -> None:
    policy = example_headed(ReplacedToken().wants)
    generator = ReplacedToken().more_roots(trunk_of(policy))["generator"]
    assert generator.options.layers == 1
    assert generator.options.width == policy.options.width

"""Labels of pairs, contrastive groups and scored pairs: known answers, and groups that stay by themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chatwright.config import build
from chatwright.data.packing import IGNORE
from chatwright.data.pretraining.framed import frame
from chatwright.data.pretraining.framed_groups import FramedGroup
from chatwright.models.root import Root
from chatwright.objectives.contract import Batch
from chatwright.objectives.pretraining import contrastive, similarity
from chatwright.objectives.pretraining.contrastive import Contrastive, ContrastiveOptions
from chatwright.objectives.pretraining.similarity import Similarity, SimilarityOptions
from chatwright.objectives.pretraining.text import example_facts, labelled
from helpers.work import objective_of

FACTS = example_facts()


class Told(Root):
    """A root that says what it was given."""

    def __init__(self, name: str, values: Tensor) -> None:
        super().__init__()
        self.found = {name: values}

    def forward(self, inputs: Tensor, **how: Any) -> dict[str, Tensor]:
        return self.found


def test_labels_without_meaning_count_for_nothing() -> None:
    logits = torch.tensor([[0.0, 0.0], [3.0, 1.0], [9.0, -9.0]])
    loss, right = labelled(logits, torch.tensor([1, 0, IGNORE]))
    assert float(loss) == pytest.approx(math.log(2) + math.log(1 + math.exp(-2)))
    assert float(right) == 1


@pytest.mark.parametrize("name", ["next_sentence", "sentence_order", "position"])
def test_a_blank_row_changes_no_sum(name: str) -> None:
    objective = objective_of(name)
    roots, rows = objective.example()
    sums = []
    for given in (rows[:3], [*rows[:3], rows[4].blank()]):
        batch = objective.collate(given)
        [terms] = objective.passes(roots, batch)
        sums.append(
            [
                *(float(value.detach()) for value in terms.values()),
                *objective.counts(batch).values(),
                batch.tokens,
            ]
        )
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)


def group(*texts: int, scores: list[float] | None = None) -> FramedGroup:
    """Texts of one repeated token."""
    rows = tuple(frame([np.full(5, token)], FACTS, 8) for token in texts)
    return FramedGroup(rows, rows, None if scores is None else np.array(scores, dtype=np.float32))


def views(objective: Contrastive, groups: list[FramedGroup]) -> Batch:
    return objective.collate([objective.prepare(g, np.random.default_rng(n)) for n, g in enumerate(groups)])


def told(
    objective: Contrastive | Similarity, name: str, values: list[list[float]], batch: Batch
) -> dict[str, float]:
    unit = torch.nn.functional.normalize(torch.tensor(values, dtype=torch.float32), dim=-1)
    [terms] = objective.passes({"policy": Told(name, unit)}, batch)
    return {term: float(value) for term, value in terms.items()}


@pytest.fixture(autouse=True)
def _plain_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Told` has no trunk of any kind to ask."""
    for module in (contrastive, similarity):
        monkeypatch.setattr(module, "read", lambda root, batch, outputs: root(batch["inputs"]))


def test_the_views_of_a_text_differ_and_lose_a_share_of_their_tokens() -> None:
    objective = Contrastive(build(ContrastiveOptions, {"cutoff": 0.4}), FACTS)
    batch = views(objective, [group(*range(20))])
    first, second = batch["inputs"].chunk(2)
    assert ((first == FACTS.mask).sum(1) == 2).all()
    assert ((second == FACTS.mask).sum(1) == 2).all()
    assert (first != second).any(1).sum() > 10
    assert (first[:, 0] == FACTS.cls).all()
    again = views(objective, [group(*range(20))])
    assert torch.equal(batch["inputs"], again["inputs"])


def test_cosines_against_the_others_of_the_group() -> None:
    objective = Contrastive(build(ContrastiveOptions, {"temperature": 0.5}), FACTS)
    batch = views(objective, [group(1, 2), group(3, 4)])
    # three texts told apart well, the last told to be the third
    values = [[1, 0], [0, 1], [1, 0], [1, 0]]
    terms = told(objective, "contrastive", values * 2, batch)
    apart, alike = math.log(1 + math.exp(-2)), math.log(2)
    assert terms["contrastive"] == pytest.approx(2 * apart + 2 * alike, rel=1e-5)
    assert objective.counts(batch) == {"contrastive": 4, "contrastive_accuracy": 4}
    assert terms["contrastive_accuracy"] == 3


def test_a_text_that_stands_twice_is_no_negative_of_itself() -> None:
    objective = Contrastive(facts=FACTS)
    terms = told(objective, "contrastive", [[1, 0]] * 4, views(objective, [group(7, 7)]))
    assert terms["contrastive"] == pytest.approx(0.0, abs=1e-6)


def test_a_blank_group_counts_nothing() -> None:
    objective = Contrastive(facts=FACTS)
    batch = views(objective, [group(1, 2), group(3, 4).blank()])
    assert objective.counts(batch)["contrastive"] == 2
    assert batch.tokens == 4 * 7
    values = [[1, 0], [0, 1], [1, 0], [1, 0]]
    whole, part = (
        told(objective, "contrastive", rows * 2, b)["contrastive"]
        for rows, b in ((values, batch), (values[:2], views(objective, [group(1, 2)])))
    )
    assert whole == pytest.approx(part)


PAIRS = [[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [1, 1]]
"""Three pairs: alike, at right angles, in between."""


def test_cosine_regression() -> None:
    objective = Similarity()
    batch = objective.collate([group(1, 2, 3, scores=[1.0, 0.5, 0.0])])
    terms = told(objective, "similarity", PAIRS, batch)
    assert terms["similarity"] == pytest.approx(0.25 + 0.5, rel=1e-5)
    assert terms["similarity_error"] == pytest.approx(0.5 + 0.5**0.5, rel=1e-5)
    assert objective.counts(batch) == {"similarity": 3, "similarity_error": 3}


def test_cosent_looks_at_the_order_in_a_group_only() -> None:
    objective = Similarity(build(SimilarityOptions, {"loss": "cosent", "temperature": 1.0}))
    scored = group(1, 2, 3, scores=[1.0, 0.5, 0.0])
    batch = objective.collate([scored, scored.blank()])
    terms = told(objective, "similarity", PAIRS[:3] * 2 + PAIRS[3:] * 2, batch)
    wrong = [0 - 1, 0.5**0.5 - 1, 0.5**0.5 - 0]
    assert terms["similarity"] == pytest.approx(math.log(1 + sum(map(math.exp, wrong))), rel=1e-5)
    assert objective.counts(batch) == {"similarity": 1, "similarity_error": 3}
    equal = objective.collate([replace(scored, scores=np.full(3, 0.5, np.float32))])
    assert told(objective, "similarity", PAIRS, equal)["similarity"] == pytest.approx(0.0, abs=1e-6)

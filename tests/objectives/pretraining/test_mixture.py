"""Several objectives over one trunk: each keeps its weight, its rows and its attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chatwright.config import build
from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.objectives.contract import Batch
from chatwright.objectives.pretraining.making import single, terms_of
from chatwright.objectives.pretraining.mixture import Mixture, MixtureOptions
from chatwright.objectives.pretraining.text import example_facts

BERT = {"masked": {}, "next_sentence": {}}


def mixture(terms: dict[str, Any]) -> Mixture:
    return Mixture(MixtureOptions(terms), example_facts)


def made(terms: dict[str, Any]) -> tuple[Mixture, dict[str, nn.Module], Batch]:
    objective = mixture(terms)
    roots, rows = objective.example()
    rng = np.random.default_rng(0)
    return objective, roots, objective.collate([objective.prepare(row, rng) for row in rows])


def calls(root: nn.Module) -> list[dict[str, Any]]:
    """What a root is called with from now on."""
    seen: list[dict[str, Any]] = []
    root.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    return seen


def test_berts_objectives_share_rows_and_one_pass() -> None:
    objective, roots, batch = made(BERT)
    seen = calls(roots["policy"])
    [terms] = objective.passes(roots, batch)
    assert set(terms) == set(objective.counts(batch)) == {"masked", "next_sentence", "next_sentence_accuracy"}
    assert [set(call["outputs"]) for call in seen] == [{"logprobs", "next_sentence"}]
    assert objective.groups == [["next_sentence", "masked"]]
    # what is hidden is hidden in the pairs
    inputs, targets = batch["0.inputs"], batch["0.targets"]
    assert bool((inputs[targets != IGNORE] == 60).any())
    assert batch["0.next_sentence"].tolist() == [0, 1] * 6


def test_other_objectives_have_rows_and_passes_of_their_own() -> None:
    objective, roots, batch = made({"causal": {}, "masked": {}, "sentence_order": {}, "next_sentence": {}})
    seen = calls(roots["policy"])
    passes = list(objective.passes(roots, batch))
    assert objective.groups == [["causal"], ["sentence_order", "masked"], ["next_sentence"]]
    assert [call.get("causal", True) for call in seen] == [True, False, False]
    assert [sorted(terms) for terms in passes] == [
        ["next_token"],
        ["masked", "sentence_order", "sentence_order_accuracy"],
        ["next_sentence", "next_sentence_accuracy"],
    ]
    positions = [int((batch[f"{n}.segments"] >= 0).sum()) for n in range(3)]
    assert batch.tokens == sum(positions)
    assert objective.sequences == 3


def test_each_term_keeps_its_attention_in_a_shared_trunk() -> None:
    """A later token changes what masked terms say of an earlier place, and nothing of what the next token costs."""
    objective, roots, batch = made({"causal": {}, "masked": {}})
    row, last = 0, int((batch["0.targets"][0] != IGNORE).nonzero().max())
    place = int((batch["1.targets"][0] != IGNORE).nonzero().min())
    assert place < last - 1

    def terms(name: str, kept: int) -> float:
        """One term of the first row with one target, after its last token has been changed."""
        losses = []
        for token in (1, 2):
            tensors = {key: tensor[row : row + 1].clone() for key, tensor in batch.tensors.items()}
            for group in (0, 1):
                own = tensors[f"{group}.segments"][0]
                document = own == own[kept]
                end = int(document.nonzero().max())
                tensors[f"{group}.inputs"][0, end] = token
                targets = tensors[f"{group}.targets"]
                targets[0, torch.arange(targets.size(1)) != kept] = IGNORE
            found: dict[str, float] = {}
            for part in objective.passes(roots, Batch(tensors, 0)):
                found |= {term: float(value.detach()) for term, value in part.items()}
            losses.append(found[name])
        return losses[1] - losses[0]

    assert terms("next_token", place) == pytest.approx(0.0, abs=1e-6)
    assert abs(terms("masked", place)) > 1e-5


def test_a_shared_pass_gives_the_sums_of_separate_ones() -> None:
    objective, roots, batch = made(BERT)
    [(_, own)] = objective.each(batch)
    [together] = objective.passes(roots, batch)
    for part in objective.parts.values():
        for terms in part.passes(roots, own):
            for term, value in terms.items():
                torch.testing.assert_close(together[term], value, rtol=1e-5, atol=1e-5)


def test_a_terms_choices_do_not_depend_on_what_others_draw() -> None:
    targets = []
    for rate in (0.1, 0.5):
        objective = mixture({"replaced_token": {"rate": rate}, "masked": {}})
        _, rows = objective.example()
        prepared = objective.prepare(rows[0], np.random.default_rng(7))
        targets.append([row.targets.tolist() for row in prepared.rows])
    assert targets[0][0] != targets[1][0]
    assert targets[0][1] == targets[1][1]


def test_weights_multiply_and_go_on_a_line() -> None:
    objective = mixture(
        {"masked": {"weight": 2, "last_weight": 1, "ramp": 10}, "replaced_token": {"weight": 0.5}}
    )
    assert objective.weights(0)["masked"] == 2
    assert objective.weights(5)["masked"] == 1.5
    assert objective.weights(10)["masked"] == objective.weights(99)["masked"] == 1
    assert objective.weights(3)["replaced_token"] == 25
    assert objective.weights(3)["generator"] == 0.5


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"masked": {"weight": -1}}, "must be 0 or more"),
        ({"masked": {"ramp": 5}}, "belong together"),
        ({"masked": {"rates": 0.5}}, "objective.masked has no option 'rates'; did you mean 'rate'"),
        ({"dpo": {}}, "objective=dpo does not learn from a corpus; those that do: causal"),
        ({"mixture": {}}, "objective=mixture does not"),
        ({}, "at least one objective"),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        mixture(terms)


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        ({}, {"causal": {}}),
        ({"rate": 0.2}, {"causal": {"rate": 0.2}}),
        ({"name": "masked", "rate": 0.2}, {"masked": {"rate": 0.2}}),
        ({"name": "masked, next_sentence"}, {"masked": {}, "next_sentence": {}}),
        ({"name": "masked,causal", "masked": {"rate": 0.2}}, {"masked": {"rate": 0.2}, "causal": {}}),
        (
            {"masked": {"weight": 1}, "causal": {"weight": 2}},
            {"masked": {"weight": 1}, "causal": {"weight": 2}},
        ),
    ],
)
def test_objectives_by_name(group: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert terms_of(group, "causal") == wanted


def test_an_option_of_one_of_several_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"write objective\.masked\.rate"):
        terms_of({"name": "masked,causal", "rate": 0.2}, "causal")
    with pytest.raises(UserError, match="did you mean 'masked'"):
        terms_of({"name": "maskd"}, "causal")


def test_facts_are_asked_for_only_where_they_are_needed() -> None:
    def refuse() -> Any:
        raise UserError("no mask token")

    assert single("causal", {}, refuse)
    with pytest.raises(UserError, match="no mask token"):
        single("masked", {}, refuse)
    assert build(MixtureOptions, {}).terms

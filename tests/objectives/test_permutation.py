"""Predicting in a random order: the order itself, and that nothing later in it is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE, PADDING, Packed
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.models.xlnet import XLNet
from chatwright.objectives.permutation import (
    Permutation,
    PermutationOptions,
    Permuted,
    drawn_order,
    permutation_mask,
    tiny_xlnet,
)
from chatwright.training.loop import accumulate, global_counts
from chatwright.training.sources import StoredSource
from helpers.work import Rows, alone, uneven

OPTIONS = [
    PermutationOptions(share=3),
    PermutationOptions(share=2, span=4),
    PermutationOptions(share=3, memory=4),
    PermutationOptions(share=3, memory=99, within_documents=False),
    PermutationOptions(share=3, within_documents=False),
]


def packed(inputs: list[int], segments: list[int]) -> Packed:
    ids = np.array(inputs, dtype=np.int64)
    return Packed(ids, np.append(ids[1:], IGNORE), np.array(segments, dtype=np.int32))


def row(length: int = 14, padding: int = 2, first: int = 5, seed: int = 0) -> Packed:
    tokens = np.random.default_rng(seed).integers(0, 60, length).tolist()
    real = length - padding
    return packed(tokens, [0] * first + [1] * (real - first) + [PADDING] * padding)


class Watched(torch.nn.Module):
    """A model that also tells the logits, and keeps all it told."""

    def __init__(self, model: XLNet) -> None:
        super().__init__()
        self.model, self.told = model, []

    def forward(self, inputs: torch.Tensor, **how: Any) -> dict[str, torch.Tensor]:
        found = self.model(inputs, **{**how, "outputs": (*how["outputs"], "logits")})
        self.told.append({name: found[name].detach() for name in ("logits", "logprobs")})
        return found


def told(objective: Permutation, model: XLNet, permuted: Permuted) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [T, V] and −log p of the token [T] at every position of a row; 0 where nothing is predicted."""
    watched, batch = Watched(model), objective.collate([permuted])
    total = sum(float(t["permutation"].detach()) for t in objective.passes({"policy": watched}, batch))
    logits, logprobs = (
        torch.cat([t[name] for t in watched.told], dim=1)[0] for name in ("logits", "logprobs")
    )
    assert total == pytest.approx(-float(logprobs.sum()), rel=1e-5)
    return logits, -logprobs


@pytest.mark.parametrize("span", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 5, 6, 47, 600])
def test_an_order_predicts_its_last_sixth(count: int, span: int) -> None:
    order = drawn_order(count, 6, span, np.random.default_rng(0))
    targets = max(1, count // 6) if count else 0
    assert sorted(order[order > 0]) == list(range(1, targets + 1))
    assert order.shape == (count,)


def test_orders_are_uniform() -> None:
    """Every pair of a target and its turn is as likely as any other."""
    rng, counts = np.random.default_rng(0), np.zeros((6, 4))
    for _ in range(6000):
        order = drawn_order(6, 2, 1, rng)
        counts[np.arange(6), order] += 1
    np.testing.assert_allclose(counts[:, 1:] / 6000, 1 / 6, atol=0.025)


def test_spans_are_predicted_whole_and_in_any_order() -> None:
    lengths, rising = [], []
    for seed in range(200):
        order = drawn_order(60, 6, 5, np.random.default_rng(seed))
        chosen, rises = order > 0, np.diff(order) > 0
        rising.extend(rises[chosen[1:] & chosen[:-1]])
        edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen, [0]])))
        lengths.extend(edges[1::2] - edges[::2])
    assert 2.5 < np.mean(lengths) < 5
    assert 0.4 < np.mean(rising) < 0.6
    single = [drawn_order(60, 6, 1, np.random.default_rng(seed)) > 0 for seed in range(200)]
    assert np.mean([chosen[1:] & chosen[:-1] for chosen in single]) < 0.04


def test_a_position_sees_what_is_known_and_what_had_its_turn() -> None:
    order = torch.tensor([[2, 0, 1, 0]])
    wanted = [[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]]
    assert permutation_mask(order)[0].int().tolist() == wanted


@pytest.mark.parametrize("options", OPTIONS)
def test_a_prediction_depends_on_what_comes_before_it_and_on_nothing_else(
    options: PermutationOptions,
) -> None:
    """Every token of a row is changed in turn; each change has to move what comes later in the order, and only that."""
    objective, model, original = Permutation(options), tiny_xlnet(), row()
    permuted = objective.prepare(original, np.random.default_rng(1))
    order, segments, half = permuted.order, original.segments, len(original.inputs) // 2
    before, _ = told(objective, model, permuted)
    for place in range(len(order)):
        inputs = original.inputs.copy()
        inputs[place] = (inputs[place] + 11) % 60
        changed = Permuted(Packed(inputs, original.targets, segments), order)
        moved = (told(objective, model, changed)[0] != before).any(dim=1)
        for target in np.flatnonzero(order):
            is_read = order[place] < order[target]
            if options.memory and (place < half) != (target < half):
                is_read = half - options.memory <= place < half
                # behind a memory stands all that its position could read
                if not is_read and place < half:
                    continue
            is_apart = options.within_documents and segments[place] != segments[target]
            assert moved[target] == (is_read and segments[place] != PADDING and not is_apart), (place, target)


def test_the_sum_is_that_of_single_predictions() -> None:
    """Each target asked for alone, with all before it in the order known, costs what it costs among the others."""
    objective, model, original = Permutation(PermutationOptions(share=3)), tiny_xlnet(), row(10, 0, 10)
    permuted = objective.prepare(original, np.random.default_rng(2))
    _, each = told(objective, model, permuted)
    for target in np.flatnonzero(permuted.order):
        is_before = permuted.order < permuted.order[target]
        single = torch.full((1, 10), IGNORE)
        single[0, target] = int(original.inputs[target])
        mask = permutation_mask(torch.from_numpy(permuted.order)[None])
        assert is_before.sum() == int(mask[0, target].sum())
        found = model(torch.from_numpy(original.inputs)[None], targets=single, permutation_mask=mask)
        assert -float(found["logprobs"].detach().sum()) == pytest.approx(float(each[target]), rel=1e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_accuracy_counts_the_likeliest_tokens(options: PermutationOptions) -> None:
    objective, model = Permutation(options), tiny_xlnet()
    permuted = objective.prepare(row(), np.random.default_rng(1))
    logits, _ = told(objective, model, permuted)
    targets, inputs = np.flatnonzero(permuted.order), permuted.row.inputs.copy()
    # a prediction does not know its own token, so it stays when the token becomes what it says
    inputs[targets[-1]] = int(logits[targets[-1]].argmax())
    same = Permuted(Packed(inputs, permuted.row.targets, permuted.row.segments), permuted.order)
    [(right, number)] = objective.shares({"policy": model}, objective.collate([same])).values()
    logits, _ = told(objective, model, same)
    wanted = sum(int(logits[target].argmax()) == inputs[target] for target in targets)
    assert (int(right), number) == (wanted, len(targets))
    assert wanted > 0


def test_documents_that_share_a_row_cost_what_they_cost_alone() -> None:
    objective, model, both = Permutation(), tiny_xlnet(), row(14, 2, 5)
    order = np.zeros(14, dtype=np.int64)
    order[[1, 3, 6, 11]] = [3, 1, 4, 2]
    _, each = told(objective, model, Permuted(both, order))
    for part in (slice(0, 5), slice(5, 12)):
        alone = Packed(both.inputs[part], both.targets[part], both.segments[part])
        _, found = told(objective, model, Permuted(alone, order[part]))
        torch.testing.assert_close(found, each[part], rtol=1e-4, atol=1e-5)
    mixing = Permutation(PermutationOptions(within_documents=False))
    _, mixed = told(mixing, model, Permuted(both, order))
    assert not torch.allclose(mixed, each, rtol=1e-3)
    # then the segment encodings say what is of the same document
    moved = Packed(both.inputs, both.targets, np.where(both.segments == 1, 0, both.segments))
    assert not torch.equal(told(mixing, model, Permuted(moved, order))[1], mixed)


def test_the_second_half_reads_the_first_and_teaches_it_nothing() -> None:
    original = row(16, 0, 16)
    objective = Permutation(PermutationOptions(share=3, memory=8))
    permuted = objective.prepare(original, np.random.default_rng(0))
    assert (permuted.order[:8] > 0).sum() == (permuted.order[8:] > 0).sum() == 2
    # a tied head would give every token a gradient
    model = tiny_xlnet()
    model.head = torch.nn.Linear(32, 64, bias=False)
    _, second = objective.passes({"policy": model}, objective.collate([permuted]))
    second["permutation"].backward()
    only_first = set(original.inputs[:8].tolist()) - set(original.inputs[8:].tolist())
    assert not model.embedding.weight.grad[sorted(only_first)].any()
    assert model.embedding.weight.grad[original.inputs[8:]].any()


def test_every_epoch_and_row_has_its_own_order_and_no_step_matters() -> None:
    objective = Permutation()
    source = StoredSource(
        Rows([row(seed=n) for n in range(4)]), objective, 4, 2, 3, World(0, 1, torch.device("cpu"))
    )
    orders = [torch.cat([batch["order"] for batch in source.batches(step)]) for step in (0, 1, 0)]
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    assert len({tuple(order) for order in torch.cat(orders[:2]).tolist()}) == 8


def test_a_row_without_an_order_gets_the_same_one_every_time() -> None:
    objective, rows = Permutation(), [row(seed=n) for n in range(2)]
    batch, again = objective.collate(rows), objective.collate(rows[1:])
    assert torch.equal(batch["order"][1:], again["order"])
    assert not torch.equal(batch["order"][0], batch["order"][1])
    assert objective.counts(batch) == {"permutation": 4}
    assert batch.tokens == 24
    blank = objective.collate([rows[0].blank()])
    assert objective.counts(blank) == {"permutation": 0}
    assert objective.counts(
        objective.collate([objective.prepare(rows[0], np.random.default_rng()).blank()])
    ) == {"permutation": 0}
    assert blank.tokens == 0
    [terms] = objective.passes({"policy": tiny_xlnet()}, blank)
    assert float(terms["permutation"].detach()) == 0.0


def test_first_weights_cost_the_logarithm_of_the_vocabulary() -> None:
    objective, model = Permutation(), tiny_xlnet()
    model.initialize(torch.Generator().manual_seed(0))
    batch = objective.collate([row(40, 0, 10, seed=n) for n in range(8)])
    [terms] = objective.passes({"policy": model}, batch)
    mean = float(terms["permutation"].detach()) / objective.counts(batch)["permutation"]
    assert mean == pytest.approx(math.log(64), rel=0.02)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sizes", [(1, 11), (5, 4, 3), (1,) * 12])
def test_any_cut_of_a_batch_gives_one_gradient(options: PermutationOptions, sizes: tuple[int, ...]) -> None:
    objective = Permutation(options)

    def gradient(pieces: tuple[int, ...]) -> tuple[dict[str, float], torch.Tensor]:
        roots, rows = objective.example()
        batches = [objective.collate(piece) for piece in uneven(rows, pieces)]
        totals = global_counts(objective, batches, alone())
        sums = accumulate(objective, batches, roots, objective.weights(0), totals)
        gradients = [p.grad.reshape(-1) for p in roots["policy"].parameters() if p.grad is not None]
        return sums, torch.cat(gradients)

    (sums, whole), (parts, cut) = gradient((12,)), gradient(sizes)
    assert parts == pytest.approx(sums, rel=1e-5)
    assert float((whole - cut).norm() / whole.norm()) < 1e-5


@pytest.mark.parametrize("name", ["share", "span", "memory"])
def test_options_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"objective.{name}=-1 must be"):
        PermutationOptions(**{name: -1})

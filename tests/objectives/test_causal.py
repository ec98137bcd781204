"""Next token: sums and counts, and what a target may not tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chatwright.data.packing import IGNORE, Packed
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import Causal, CausalOptions, example_rows, tiny_decoder
from chatwright.training.loop import accumulate, global_counts
from helpers.decoders import DECODERS
from helpers.parity import lively
from helpers.work import alone, objective_of, uneven


def packed(inputs: list[int], targets: list[int], segments: list[int]) -> Packed:
    return Packed(
        np.array(inputs, dtype=np.int64),
        np.array(targets, dtype=np.int64),
        np.array(segments, dtype=np.int32),
    )


def test_the_loss_is_the_sum_of_target_log_probabilities() -> None:
    objective, model = Causal(), tiny_decoder()
    rows = [packed([5, 6, 7, 63], [6, 7, 8, IGNORE], [0, 0, 0, -1])]
    batch = objective.collate(rows)
    [terms] = objective.passes({"policy": model}, batch)
    logits = model(torch.tensor([[5, 6, 7]]), outputs=("logits",))["logits"][0]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([6, 7, 8]), reduction="sum")
    torch.testing.assert_close(terms["next_token"], wanted, rtol=1e-5, atol=1e-5)
    assert objective.counts(batch) == {"next_token": 3}
    assert batch.tokens == 3
    assert float(terms["next_token"].detach()) / 3 == pytest.approx(math.log(64), rel=0.05)


def test_documents_that_share_a_row_cost_what_they_cost_alone() -> None:
    objective, model = Causal(), tiny_decoder()
    first, second = packed([1, 2, 3], [2, 3, 4], [0, 0, 0]), packed([9, 8], [8, 7], [0, 0])
    both = packed([1, 2, 3, 9, 8, 63], [2, 3, 4, 8, 7, IGNORE], [0, 0, 0, 1, 1, -1])

    def cost(row: Packed, made: Causal = objective) -> float:
        [terms] = made.passes({"policy": model}, made.collate([row]))
        return float(terms["next_token"].detach())

    # rotary positions are relative, so where a document stands in its row does not matter
    assert cost(both) == pytest.approx(cost(first) + cost(second), rel=1e-5)
    assert cost(both, Causal(CausalOptions(within_documents=False))) != pytest.approx(cost(both), rel=1e-6)


@pytest.mark.parametrize("name", ["causal", "chat"])
@pytest.mark.parametrize("sizes", [(12,), (1, 11), (5, 4, 3), (1,) * 12])
def test_any_cut_of_a_batch_gives_one_gradient(name: str, sizes: tuple[int, ...]) -> None:
    objective = objective_of(name)

    def gradient(pieces: tuple[int, ...]) -> tuple[dict[str, float], torch.Tensor]:
        roots, rows = objective.example()
        batches = [objective.collate(piece) for piece in uneven(rows, pieces)]
        totals = global_counts(objective, batches, alone())
        sums = accumulate(objective, batches, roots, objective.weights(0), totals)
        return sums, torch.cat([p.grad.reshape(-1) for p in roots["policy"].parameters()])

    (sums, whole), (parts, cut) = gradient((12,)), gradient(sizes)
    assert parts == pytest.approx(sums, rel=1e-5)
    assert float((whole - cut).norm() / whole.norm()) < 1e-5


def test_a_mean_over_micro_batches_would_differ() -> None:
    """The rows are uneven enough for this suite to notice a loss that is averaged too early."""
    counts = [int((row.targets != IGNORE).sum()) for row in example_rows(learnt_from=3)]
    assert max(counts) > 1.5 * min(counts)


def test_chats_learn_marked_words_only() -> None:
    objective = objective_of("chat")
    _, rows = objective.example()
    batch = objective.collate(rows)
    assert objective.counts(batch)["next_token"] < batch.tokens
    assert "segments" in batch.tensors


@pytest.mark.parametrize("within", [True, False])
def test_the_balance_of_experts_is_a_term_a_row_that_learns(within: bool) -> None:
    objective = Causal(CausalOptions(within_documents=within, expert_balance=0.01))
    model = lively(Decoder(DECODERS["qwen3-moe"]))
    rows = example_rows(learnt_from=0, count=3)
    batch = objective.collate([*rows, rows[0].blank()])
    assert objective.counts(batch)["expert_balance"] == 3
    assert objective.weights(0) == {"next_token": 1.0, "expert_balance": 0.01}
    [terms] = objective.passes({"policy": model}, batch)
    alone = [
        next(objective.passes({"policy": model}, objective.collate([row])))["expert_balance"] for row in rows
    ]
    torch.testing.assert_close(terms["expert_balance"], torch.stack(alone).sum(), rtol=1e-4, atol=1e-4)
    [plain] = Causal(CausalOptions(within_documents=within)).passes({"policy": model}, batch)
    assert set(plain) == {"next_token"}
    torch.testing.assert_close(plain["next_token"], terms["next_token"])


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("sizes", [(1, 11), (5, 4, 3)])
def test_any_cut_of_a_batch_gives_one_gradient_of_the_balance(sizes: tuple[int, ...], within: bool) -> None:
    objective = Causal(CausalOptions(within_documents=within, expert_balance=0.5))
    rows = example_rows(learnt_from=0)

    def gradient(pieces: tuple[int, ...]) -> torch.Tensor:
        model = lively(Decoder(DECODERS["qwen3-moe"]))
        batches = [objective.collate(piece) for piece in uneven(rows, pieces)]
        totals = global_counts(objective, batches, alone())
        accumulate(objective, batches, {"policy": model}, objective.weights(0), totals)
        return torch.cat([p.grad.reshape(-1) for p in model.parameters()])

    whole, cut = gradient((12,)), gradient(sizes)
    assert float((whole - cut).norm() / whole.norm()) < 1e-5


def test_a_balance_without_experts_or_below_0_is_refused() -> None:
    objective = Causal(CausalOptions(expert_balance=0.01))
    batch = objective.collate(example_rows(learnt_from=0, count=1))
    with pytest.raises(UserError, match=r"objective\.expert_balance=0\.01 needs a model with experts"):
        next(objective.passes({"policy": tiny_decoder()}, batch))
    with pytest.raises(UserError, match=r"objective\.expert_balance=-1 must be 0"):
        CausalOptions(expert_balance=-1.0)

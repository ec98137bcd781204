"""Rollouts as batches: on-policy at first, each reply once a pass, the same on any number of processes, resumable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.data.groups import Group
from chatwright.data.records import Prompt
from chatwright.distributed.checkpoint import load_state, save_state
from chatwright.objectives.causal import Causal
from chatwright.objectives.contract import Batch
from chatwright.training.loop import accumulate, global_counts
from chatwright.training.rollouts.estimators import KLOptions
from helpers.alignment_work import QUESTIONS, Small, ending, few_steps, first_gradient
from helpers.ranks import on_ranks
from helpers.work import alone

BASELINES = [None, "grpo", "rloo"]


def close(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], relative: float) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        distance = np.linalg.norm(found[name] - value) / max(float(np.linalg.norm(value)), 1e-9)
        assert distance < relative, f"{name}: {distance}"


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("baseline", BASELINES)
def test_the_first_pass_is_on_policy(baseline: Any, temperature: float) -> None:
    """Ratio 1, divergence 0, and the loss is less the mean of the advantages, which is 0; the gradient is not."""
    small = Small(
        baseline=baseline, replies=1 if baseline is None else 4, minibatches=1, temperature=temperature
    )
    [step] = small.steps(0, 1)
    terms = step["terms"]
    assert terms["approx_kl"] == pytest.approx(0.0, abs=1e-9)
    assert terms["clip_share"] == 0.0
    assert terms["entropy"] > 1
    if baseline is None:
        assert terms["policy"] == pytest.approx(0.0, abs=1e-5)
    assert step["gradient_norm"] > 0.01
    [second] = small.steps(1, 2)
    assert second["terms"]["approx_kl"] > 1e-6, "the same replies, after a step"


def test_without_centring_the_loss_is_less_the_mean_advantage() -> None:
    small = Small(baseline="none", minibatches=1)
    [step] = small.steps(0, 1)
    replies = small.source.state_dict()
    assert step["terms"]["policy"] == pytest.approx(
        -float(replies["tokens.advantages"].mean()), rel=1e-4, abs=1e-6
    )


def test_a_mismatched_temperature_shows_in_the_first_pass() -> None:
    [step] = Small(minibatches=1, temperature=1.0, sampling_temperature=0.6).steps(0, 1)
    assert step["terms"]["approx_kl"] > 1e-3


def served(small: Small, steps: range) -> list[list[tuple[int, ...]]]:
    """The replies of each step, as their tokens."""
    found: list[list[tuple[int, ...]]] = []
    collate = small.objective.collate

    def watching(groups: Sequence[Group]) -> Batch:
        found[-1] += [tuple(reply.ids.tolist()) for group in groups for reply in group.replies]
        return collate(groups)

    small.objective.collate = watching  # type: ignore[method-assign]
    for step in steps:
        found.append([])
        small.source.batches(step)
    return found


def test_every_pass_serves_every_reply_once_in_another_order() -> None:
    small = Small(passes=2, minibatches=3)
    one, two, three, *again = served(small, range(6))
    assert [len(rows) for rows in (one, two, three)] == [4, 4, 4]
    assert Counter(one + two + three) == Counter(again[0] + again[1] + again[2])
    assert sorted(one) != sorted(again[0])
    later = served(small, range(6, 9))
    assert Counter(later[0] + later[1] + later[2]) != Counter(one + two + three), "sampled anew"


def test_prompts_come_once_an_epoch() -> None:
    """14 rollouts of 4 prompts, of 7: eight epochs, and no prompt is asked more often than another."""
    small = Small(samples=4, minibatches=1, passes=1)
    asked = Counter()
    for step in range(14):
        small.source.batches(step)
        asked.update(row["prompt"] for row in small.logs[-1]["samples"])
    assert asked == dict.fromkeys(QUESTIONS, 8)


@pytest.mark.parametrize("micro_tokens", [1, 30, 1 << 20])
@pytest.mark.parametrize("baseline", [None, "rloo"])
def test_any_cut_of_a_minibatch_gives_one_gradient(baseline: Any, micro_tokens: int) -> None:
    changes = {"baseline": baseline, "replies": 1 if baseline is None else 3, "minibatches": 1}
    _, wanted = Small(**changes, micro_tokens=80).gradient()
    sums, found = Small(**changes, micro_tokens=micro_tokens).gradient()
    close(found, wanted, 1e-5)
    assert sums["entropy"] > 0


def test_two_ranks_sample_the_same_replies_and_give_the_same_gradient() -> None:
    """13 replies on two ranks: one has seven, and micro-batches that the other fills with nothing."""
    changes = {"samples": 13, "minibatches": 3, "ptx": 0.5, "micro_tokens": 40}
    wanted = first_gradient(changes)
    ranks = on_ranks("helpers.alignment_work:first_gradient", 2, changes)
    for found in ranks:
        for name, value in wanted["rollout"].items():
            if "." not in name:
                assert np.array_equal(found["rollout"][name], value), name
            else:
                assert found["rollout"][name] == pytest.approx(value, abs=1e-4), name
        close(found["gradient"], wanted["gradient"], 1e-5)
        assert found["sums"] == pytest.approx(wanted["sums"], rel=1e-4, abs=1e-4)


def test_two_ranks_learn_and_stop_early_alike() -> None:
    """The bound lies where some rollouts are left early and some are not."""
    changes = {"kl_stop": 0.012, "rate": 0.01, "passes": 3, "samples": 10}
    wanted = few_steps(8, changes)
    ranks = on_ranks("helpers.alignment_work:few_steps", 2, 8, changes)
    early = [row["rollout"].get("stopped_early", False) for row in wanted["logs"] if "rollout" in row]
    assert True in early, "nothing was stopped early, so nothing is tested"
    for found in ranks:
        assert found["cursor"] == wanted["cursor"]
        for mine, right in zip(found["terms"], wanted["terms"], strict=True):
            assert mine == pytest.approx(right, rel=1e-3, abs=1e-4)
        close(found["weights"], wanted["weights"], 1e-4)
    assert [r["cursor"] for r in ranks] == [wanted["cursor"]] * 2


def test_a_rollout_is_left_when_the_policy_has_moved_too_far() -> None:
    stopped, whole = (few_steps(4, {"kl_stop": bound, "passes": 2, "rate": 0.01}) for bound in (1e-7, 1e9))
    # the first step is on-policy, the second is not
    assert stopped["cursor"] == (2, 4)
    assert whole["cursor"] == (1, 4)
    rollouts = [row["rollout"] for row in stopped["logs"] if "rollout" in row]
    assert ["stopped_early" in row for row in rollouts] == [False, True]
    assert [row["step"] for row in stopped["logs"] if "rollout" in row] == [1, 3]


@pytest.mark.parametrize("done", [1, 2, 4, 5])
@pytest.mark.parametrize(
    "changes", [{}, {"ptx": 0.5}, {"shared": True}, {"baseline": "rloo", "replies": 3}], ids=str
)
def test_stopped_anywhere_and_resumed_it_ends_bit_for_bit(
    changes: dict[str, Any], done: int, tmp_path: Path
) -> None:
    """Policy, critic, both optimizers, β, the rollout and its cursor, through the files that a session writes."""
    torch.use_deterministic_algorithms(True)
    whole, half, rest = (Small(**changes) for _ in range(3))
    said = whole.steps(0, 6)
    before = half.steps(0, done)
    rest.load(_written(tmp_path, half.state(), done))
    after = rest.steps(done, 6)
    assert [step["terms"] for step in before + after] == [step["terms"] for step in said]
    mine, right = _flat(rest.state()), _flat(whole.state())
    assert mine.keys() == right.keys()
    for key, value in right.items():
        same = torch.equal(mine[key], value) if isinstance(value, torch.Tensor) else mine[key] == value
        assert same, key
    assert right["source.estimator"]["kl_coefficient"] != 0.1, "β should have moved"
    told = [row for row in half.logs + rest.logs if "rollout" in row]
    assert [_timeless(row) for row in told] == [_timeless(row) for row in whole.logs if "rollout" in row]


def _written(place: Path, state: Mapping[str, Any], step: int) -> dict[str, Any]:
    """The state after it went to files and back."""
    tensors = {key: value for key, value in _flat(state).items() if isinstance(value, torch.Tensor)}
    rest = {key: value for key, value in _flat(state).items() if not isinstance(value, torch.Tensor)}
    path = save_state(place / "state", step, tensors, rest)
    tensors, rest = load_state(path)
    found = {**tensors, **json.loads(json.dumps(rest))}

    def part(prefix: str) -> dict[str, Any]:
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}

    weights = {name: part(f"weights.{name}.") for name in state["weights"]}
    return {"weights": weights, "optimizer": part("optimizer."), "source": part("source.")}


def _flat(state: Mapping[str, Any]) -> dict[str, Any]:
    found = {f"optimizer.{key}": value for key, value in state["optimizer"].items()}
    found |= {f"source.{key}": value for key, value in state["source"].items()}
    for name, weights in state["weights"].items():
        found |= {f"weights.{name}.{key}": value for key, value in weights.items()}
    return found


def _timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row["rollout"].items() if not k.startswith("seconds")}


def half_equal(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
    """Prompts of few letters get one reward for everything."""
    return [
        1.0 if len(prompt.messages[-1].content) < 5 else float(ord(reply[0]) % 7) if reply else -1.0
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def test_groups_of_equal_rewards_are_left_out() -> None:
    changes = {
        "baseline": "grpo",
        "replies": 4,
        "samples": 28,
        "minibatches": 1,
        "passes": 1,
        "reward": half_equal,
    }
    [rows] = served(Small(**changes, drop_equal=True), range(1))
    [every] = served(Small(**changes), range(1))
    assert (len(rows), len(every)) == (12, 28)
    assert set(rows) < set(every)


def test_a_rollout_of_equal_rewards_alone_teaches_nothing() -> None:
    def same(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [1.0] * len(replies)

    small = Small(baseline="grpo", replies=4, drop_equal=True, reward=same, kl=KLOptions(0.0))
    before = [p.detach().clone() for p in small.policy.parameters()]
    small.optimizer._parts[0][0].param_groups[0]["weight_decay"] = 0.0
    said = small.steps(0, 2)
    assert [step["gradient_norm"] for step in said] == [0.0, 0.0]
    assert all(torch.equal(a, b) for a, b in zip(before, small.policy.parameters(), strict=True))
    assert small.logs[0]["rollout"]["equal_groups"] == 1.0


def test_a_step_without_replies_moves_nothing_on_any_number_of_processes() -> None:
    """Where equal groups are left out a minibatch may be empty. Missing gradients become zeros when ranks add them up,
    and momentum and decay would move the weights on two ranks that one process leaves alone."""
    changes = {
        "baseline": "grpo", "replies": 4, "samples": 8, "passes": 1, "drop_equal": True, "rate": 0.01, "reward": ending,
    }  # fmt: skip
    wanted = few_steps(6, changes)
    assert [step["policy"] for step in wanted["terms"]].count(0.0) >= 2
    for found in on_ranks("helpers.alignment_work:few_steps", 2, 6, changes):
        close(found["weights"], wanted["weights"], 1e-4)


def test_pretraining_adds_exactly_its_gradient() -> None:
    """PPO-ptx is PPO's gradient and so many times that of the mean next-token loss."""
    _, alone_ = Small(minibatches=1).gradient()
    small = Small(minibatches=1, ptx=0.7)
    sums, both = small.gradient()
    objective, policy = Causal(), Small().policy
    batches = small.mixed.batches(0)
    totals = global_counts(objective, batches, alone())
    text = accumulate(objective, batches, {"policy": policy}, {"next_token": 0.7}, totals)
    for name, parameter in policy.named_parameters():
        wanted = alone_[f"policy.{name}"] + parameter.grad.numpy()
        assert np.linalg.norm(both[f"policy.{name}"] - wanted) < 1e-5 * np.linalg.norm(wanted), name
    assert sums["ptx"] == pytest.approx(text["next_token"], rel=1e-5)
    for name in alone_:
        if name.startswith("value."):
            assert np.array_equal(both[name], alone_[name]), name


def test_a_rollout_is_told_under_the_first_step_that_learns_from_it() -> None:
    small = Small(gold=half_equal)
    small.steps(0, 5)
    rollouts = [row for row in small.logs if "rollout" in row]
    assert [(row["step"], row["rollout"]["iteration"]) for row in rollouts] == [(1, 1), (5, 2)]
    first = rollouts[0]["rollout"]
    wanted = {
        "reward", "reward_deviation", "gold", "unfinished", "length", "kl", "kl_coefficient", "entropy",
        "explained_variance", "seconds_sampling", "seconds_scoring",
    }  # fmt: skip
    assert wanted <= first.keys()
    assert "seconds_updating" in rollouts[1]["rollout"]
    samples = [row["samples"] for row in small.logs if "samples" in row]
    assert len(samples) == 2
    assert {"prompt", "reply", "reward", "gold"} <= samples[0][0].keys()


def test_what_the_loss_does_not_need_is_not_saved() -> None:
    small = Small(gold=half_equal)
    small.source.batches(0)
    state = small.source.state_dict()
    assert "tokens.entropy" not in state
    assert {
        "ids",
        "sizes",
        "starts",
        "tokens.advantages",
        "tokens.old_values",
        "tokens.returns",
    } <= state.keys()
    assert json.loads(json.dumps(state["estimator"])) == small.estimator.state_dict()


def test_a_rank_without_prompts_samples_nothing() -> None:
    """Where there are more processes than prompts in a rollout."""
    assert Small().experience.sample([], 0, []) == []

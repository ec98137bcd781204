"""Mistakes that people make in alignment code, as changes of this code, each with the tests that have to notice it.

Most were seen in well-known public projects, where losses still fall and rewards still rise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECONDS_A_FAULT = 600


@dataclass(frozen=True)
class Fault:
    """In `file`, `old` becomes `new`; every one of `tests` may notice, and one has to."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The file with the mistake in it. Raises AssertionError where the code is no longer what the fault changes."""
        count = source.count(self.old)
        assert count == 1, (
            f"fault {self.name!r}: {self.file} has {count} places for {self.old!r}; mend the fault"
        )
        return source.replace(self.old, self.new)


_ADVANTAGES, _ESTIMATORS = "training/rollouts/advantages.py", "training/rollouts/estimators.py"
_EXPERIENCE, _SOURCE = "training/rollouts/experience.py", "training/rollouts/source.py"
_PASSES, _LOOP, _LAUNCH = "training/rollouts/passes.py", "training/loop.py", "distributed/launch.py"
_REPLIES, _POLICY, _PPO = "objectives/replies.py", "objectives/policy.py", "objectives/ppo.py"
_REWARD, _PAIRS, _DPO = "objectives/reward.py", "objectives/pairs.py", "objectives/preference.py"
_HEAD, _JUDGE, _JUDGING = "models/heads/scalar.py", "rewards/model.py", "evaluation/judging.py"


def _in(path: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{path}::{name}" for name in names)


def _advantages(*names: str) -> tuple[str, ...]:
    return _in("training/rollouts/test_advantages.py", *names)


def _estimators(*names: str) -> tuple[str, ...]:
    return _in("training/rollouts/test_estimators.py", *names)


def _experience(*names: str) -> tuple[str, ...]:
    return _in("training/rollouts/test_experience.py", *names)


def _source(*names: str) -> tuple[str, ...]:
    return _in("training/rollouts/test_source.py", *names)


def _policy(*names: str) -> tuple[str, ...]:
    return _in("objectives/test_policy.py", *names)


def _ppo(*names: str) -> tuple[str, ...]:
    return _in("objectives/test_ppo.py", *names)


def _reward(*names: str) -> tuple[str, ...]:
    return _in("objectives/test_reward.py", *names)


def _dpo(*names: str) -> tuple[str, ...]:
    return _in("objectives/test_preference.py", *names)


_SUMS = "test_rewards_of_tokens_add_up_to_the_score_less_the_divergence"
_COEFFICIENT = "test_the_coefficient_stays_at_its_target_and_moves_no_faster_than_a_fifth"
_RESUMED = "test_stopped_anywhere_and_resumed_it_ends_bit_for_bit"
_BY_HAND = "test_terms_are_sums_over_the_tokens_of_replies"
_CUT = "test_only_what_has_moved_far_enough_the_right_way_is_cut"
_ON_POLICY = "test_the_first_pass_is_on_policy"

FAULTS = (
    Fault(
        "the score one token early", _ADVANTAGES,
        "rewards[-1] += score", "rewards[max(-2, -len(rewards))] += score", _advantages(_SUMS),
    ),
    Fault(
        "divergence with the wrong sign", _ADVANTAGES,
        "(-kl_coefficient * log_ratios)", "(kl_coefficient * log_ratios)", _advantages(_SUMS),
    ),
    Fault(
        "no divergence in the reward", _ADVANTAGES,
        "(-kl_coefficient * log_ratios)", "(0.0 * log_ratios)", _advantages(_SUMS),
    ),
    Fault(
        "a value after the end", _ADVANTAGES,
        "after, following = np.float32(0.0), np.float32(0.0)", "after, following = np.float32(0.0), values[-1]",
        _advantages("test_the_value_after_the_end_is_zero"),
    ),
    Fault(
        "advantages run on into the next reply", _ESTIMATORS,
        """        found = [
            generalized_advantages(r, v, self._discount, self._decay)
            for r, v in zip(rewards, values, strict=True)
        ]
""",
        """        edges = np.cumsum([len(r) for r in rewards])[:-1]
        joined = (np.concatenate(rewards), np.concatenate(values), self._discount, self._decay)
        both = [np.split(part, edges) for part in generalized_advantages(*joined)]
        found = list(zip(*both, strict=True))
""",
        _estimators("test_a_neighbours_length_changes_no_return"),
    ),
    Fault(
        "no decay of advantages", _ADVANTAGES,
        "surprise + discount * decay * after", "surprise + discount * after",
        _advantages("test_advantages_at_decay_zero_are_one_step_surprises"),
    ),
    Fault(
        "the present value as the next one", _ADVANTAGES,
        "discount * following - values[t]", "discount * values[t] - values[t]",
        _advantages("test_advantages_at_decay_one_are_returns_less_values"),
    ),
    Fault(
        "whitening that is not centred", _ADVANTAGES,
        "kept = 0.0 if centred else mean", "kept = mean",
        _advantages("test_whitening_is_over_all_values_together"),
    ),
    Fault(
        "rewards whitened without their mean", _ESTIMATORS,
        "whitened(rewards, centred=False)", "whitened(rewards)",
        _estimators("test_whitened_rewards_keep_their_mean"),
    ),
    Fault(
        "each reply whitened by itself", _ESTIMATORS,
        "advantages = whitened([advantage for advantage, _ in found])",
        "advantages = [whitened([advantage])[0] for advantage, _ in found]",
        _estimators("test_returns_are_made_before_advantages_are_whitened"),
    ),
    Fault(
        "returns made after whitening", _ESTIMATORS,
        "_with_tokens(sample.reply, advantages=a, returns=b)",
        '_with_tokens(sample.reply, advantages=a, returns=a + sample.reply.tokens["old_values"])',
        _estimators("test_returns_are_made_before_advantages_are_whitened"),
    ),
    Fault(
        "groups cut along the wrong axis", _ESTIMATORS,
        ".reshape(-1, self._size)", ".reshape(self._size, -1).T",
        _estimators("test_a_group_is_the_replies_to_one_prompt"),
    ),
    Fault(
        "a group's divergence forgotten", _ESTIMATORS,
        "scores - beta * np.array(kls) if kls else scores", "scores",
        _estimators("test_the_divergence_of_the_whole_reply_is_taken_from_its_score"),
    ),
    Fault(
        "RLOO's factor upside down", _ADVANTAGES,
        "(len(rewards) / max(1, len(rewards) - 1))", "(max(1, len(rewards) - 1) / len(rewards))",
        _advantages("test_rloo_is_the_reward_less_the_mean_of_the_others"),
    ),
    Fault(
        "GRPO without the deviation", _ADVANTAGES,
        'if baseline == "grpo":', 'if baseline == "deviation":',
        _advantages("test_grpo_is_invariant_to_shift_and_scale"),
    ),
    Fault(
        "β adapted the wrong way", _ADVANTAGES,
        "kl / target - 1.0", "1.0 - kl / target", _advantages(_COEFFICIENT),
    ),
    Fault(
        "β adapted without a bound", _ADVANTAGES,
        "min(0.2, max(-0.2, kl / target - 1.0))", "kl / target - 1.0", _advantages(_COEFFICIENT),
    ),
    Fault(
        "a state without β", _ESTIMATORS,
        'return {"kl_coefficient": self.coefficient}', 'return {"kl_coefficient": self.options.coefficient}',
        _source(_RESUMED),
    ),
    Fault("a state without its cursor", _SOURCE, '"served": self._served,', '"served": 0,', _source(_RESUMED)),
    Fault(
        "the same draws in every rollout", _SOURCE,
        "range(self._iteration * cut.prompts, (self._iteration + 1) * cut.prompts)", "range(cut.prompts)",
        _source("test_every_pass_serves_every_reply_once_in_another_order"),
    ),
    Fault(
        "each rank makes advantages of its own replies", _SOURCE,
        "samples = self._world.gather(sampled)", "samples = sampled",
        _source("test_two_ranks_sample_the_same_replies_and_give_the_same_gradient"),
    ),
    Fault(
        "gradients averaged over ranks", _LAUNCH,
        "dist.all_reduce(flat)\n", "dist.all_reduce(flat)\n            flat /= self.size\n",
        _source("test_two_ranks_sample_the_same_replies_and_give_the_same_gradient"),
    ),
    Fault(
        "the loss divided in each micro-batch", _LOOP,
        "weights[term] / totals[term] * total", "weights[term] / max(1, objective.counts(batch)[term]) * total",
        _source("test_any_cut_of_a_minibatch_gives_one_gradient"),
    ),
    Fault(
        "an early stop that stops nothing", _SOURCE,
        "            self._served = self._cutting.passes * self._cutting.minibatches\n", "",
        _source("test_a_rollout_is_left_when_the_policy_has_moved_too_far"),
    ),
    Fault(
        "groups of equal rewards kept", _SOURCE,
        "np.ptp(scores, axis=1) > 0", "np.ptp(scores, axis=1) >= 0",
        _source("test_groups_of_equal_rewards_are_left_out"),
    ),
    Fault(
        "scored at another temperature than sampled", _PASSES,
        "run_replies(root, batch, outputs, temperature)", "run_replies(root, batch, outputs)",
        _experience("test_what_is_scored_is_what_was_sampled"),
    ),
    Fault(
        "sampled at temperature 1", _EXPERIENCE,
        "options = replace(self.sampling, seed=seed)",
        "options = replace(self.sampling, seed=seed, temperature=1.0)",
        _experience("test_what_is_scored_is_what_was_sampled"),
    ),
    Fault(
        "the reference at temperature 1", _EXPERIENCE,
        'self.reference, replies, ("logprobs",), self.micro_tokens, heat)',
        'self.reference, replies, ("logprobs",), self.micro_tokens, 1.0)',
        _experience("test_reference_and_policy_are_measured_alike"),
    ),
    Fault(
        "the update of groups at temperature 1", _POLICY,
        '("logprobs", "entropy"), self.options.temperature)', '("logprobs", "entropy"))',
        _source(_ON_POLICY),
    ),
    Fault(
        "PPO's update at temperature 1", _PPO,
        "batch, wanted, self.options.temperature)", "batch, wanted)", _source(_ON_POLICY),
    ),
    Fault(
        "values of the position after", _PASSES,
        "= row[real]", "= np.roll(row, -1)[real]",
        _experience("test_a_value_stands_where_its_token_is_predicted"),
    ),
    Fault(
        "no score for replies without an end", _EXPERIENCE,
        "[s if e else self.unfinished for s, e in", "[s for s, e in",
        _experience("test_a_reply_without_its_end_gets_the_stated_score"),
    ),
    Fault(
        "replies without an end taken for whole ones", _EXPERIENCE,
        "ended = [reply.ids[-1] in self._ends for reply in made]", "ended = [True for reply in made]",
        _experience("test_the_judge_sees_the_text_up_to_the_end_and_nothing_after"),
    ),
    Fault(
        "a reference that is trained", _EXPERIENCE,
        "model.requires_grad_(False).eval()", "model.eval()", _experience("test_freezing_changes_no_result"),
    ),
    Fault(
        "the last token off by one", _REPLIES,
        "[len(reply.ids) - 1 for _, _, reply in replies]", "[len(reply.ids) - 2 for _, _, reply in replies]",
        _reward("test_a_score_stands_at_the_last_token"),
    ),
    Fault(
        "the prompt in the loss", _REPLIES,
        'arrays["targets"][place, first : first + size] = reply.ids[reply.start :]',
        'arrays["targets"][place, : first + size] = reply.ids[1:]',
        _in("objectives/test_replies.py", "test_the_tokens_of_replies_are_targets_and_the_prompts_are_not"),
    ),
    Fault(
        "replies behind one prompt see each other", _REPLIES,
        "earlier & ((key == 0) | (key == branches_BT[:, :, None]))", "earlier",
        _in("objectives/test_replies.py", "test_a_shared_prompt_changes_neither_a_term_nor_a_gradient"),
    ),
    Fault(
        "replies behind one prompt at later positions", _REPLIES,
        "np.arange(prompt, prompt + size)", "np.arange(begin, begin + size)",
        _in("objectives/test_replies.py", "test_a_shared_prompt_changes_neither_a_term_nor_a_gradient"),
    ),
    Fault(
        "replies that fill a place counted", _REPLIES,
        "        if is_real:\n", "        if True:\n",
        _in("objectives/test_replies.py", "test_a_group_that_is_not_real_counts_nothing"),
    ),
    Fault(
        "padding in the policy loss", _POLICY,
        'clipped_losses(ratios_NT, batch["advantages"], low, high) * mask_NT',
        'clipped_losses(ratios_NT, batch["advantages"], low, high)',
        _policy("test_what_stands_at_padding_and_prompt_counts_nothing"),
    ),
    Fault(
        "means over padding too", _POLICY,
        "int(mask_NT.sum()), int(mask_NT.any(1).sum())", "int(mask_NT.numel()), int(mask_NT.any(1).sum())",
        _policy(_BY_HAND),
    ),
    Fault(
        "entropy over padding", _POLICY,
        'entropy = found["entropy"].sum()', 'entropy = found["entropy"].mean() * mask_NT.sum()', _policy(_BY_HAND),
    ),
    Fault(
        "the smaller of both losses", _POLICY,
        "torch.maximum(-advantages * ratios, -advantages * clipped)",
        "torch.minimum(-advantages * ratios, -advantages * clipped)", _policy(_CUT),
    ),
    Fault(
        "the clipped loss alone", _POLICY,
        "torch.maximum(-advantages * ratios, -advantages * clipped)", "-advantages * clipped", _policy(_CUT),
    ),
    Fault(
        "the bounds of the clip swapped", _POLICY,
        "ratios.clamp(1 - low, 1 + high)", "ratios.clamp(1 - high, 1 + low)",
        _policy("test_both_bounds_are_their_own"),
    ),
    Fault(
        "a clip on one side", _POLICY,
        "ratios.clamp(1 - low, 1 + high)", "ratios.clamp(max=1 + high)", _policy(_CUT),
    ),
    Fault(
        "a ratio that is not held still", _POLICY,
        "(logprobs_NT.detach() if old_NT is None else old_NT)", "(logprobs_NT if old_NT is None else old_NT)",
        _policy("test_one_step_on_policy_is_plain_policy_gradient"),
    ),
    Fault(
        "the ratio of a reply summed", _POLICY,
        "difference_NT.sum(1) / mask_NT.sum(1).clamp(min=1)", "difference_NT.sum(1)", _policy(_BY_HAND),
    ),
    Fault(
        "divergence from the other side", _POLICY,
        'k3(batch["reference_logprobs"] - found["logprobs"])', 'k3(found["logprobs"] - batch["reference_logprobs"])',
        _policy(_BY_HAND),
    ),
    Fault(
        "an entropy bonus that costs", _POLICY,
        'terms["entropy_bonus"] = -entropy', 'terms["entropy_bonus"] = entropy', _policy(_BY_HAND),
    ),
    Fault(
        "the smaller of both value losses", _PPO,
        "0.5 * torch.maximum(", "0.5 * torch.minimum(", _ppo("test_the_value_loss_is_the_larger_of_both"),
    ),
    Fault(
        "values that are not clipped", _PPO,
        "bounded = old + (values - old).clamp(-clip, clip)", "bounded = values",
        _ppo("test_the_value_loss_is_the_larger_of_both"),
    ),
    Fault(
        "padding in the value loss", _PPO,
        "value_losses(values_NT, old_NT, returns_NT, clip) * mask_NT",
        "value_losses(values_NT, old_NT, returns_NT, clip)", _ppo("test_padding_moves_no_value"),
    ),
    Fault(
        "the weight of mixed texts ignored", _PPO,
        '{"ptx": self.options.ptx}', '{"ptx": 1.0}', _ppo("test_mixed_texts_add_exactly_their_gradient"),
    ),
    Fault(
        "the head in the activations' type", _HEAD,
        "F.linear(hidden_BTW.float(), self.weight)",
        "F.linear(hidden_BTW, self.weight.to(hidden_BTW.dtype)).float()",
        _reward("test_the_head_is_in_float32_whatever_the_trunk_is_in"),
    ),
    Fault(
        "a margin with the wrong sign", _REWARD,
        "better_PK - worse_PK - margin", "better_PK - worse_PK + margin",
        _reward("test_a_margin_is_asked_for_on_top"),
    ),
    Fault(
        "the accuracy swapped", _REWARD,
        "(better_PK - worse_PK).mean(1).sign()", "(worse_PK - better_PK).mean(1).sign()",
        _reward("test_swapped_pairs_turn_the_accuracy_round"),
    ),
    Fault(
        "the worse reply taken for the better", _PAIRS,
        "for j, low in enumerate(ranks) if high < low]", "for j, low in enumerate(ranks) if high > low]",
        _reward("test_the_loss_of_a_pair"),
    ),
    Fault(
        "long rankings count more", _PAIRS,
        "at + worse, number, 1 / len(found))", "at + worse, number, 1.0)",
        _reward("test_a_ranking_counts_once_with_all_its_pairs"),
    ),
    Fault(
        "scores in no unit", _JUDGE,
        "(raw_scores(self.model, sequences, starts=starts) - self.mean) / self.deviation",
        "raw_scores(self.model, sequences, starts=starts)",
        _in("rewards/test_model.py", "test_the_score_is_that_of_the_last_token_of_the_turn"),
    ),
    Fault(
        "the score at the end of the padding", _JUDGE,
        "scores[row, group.size - 1]", "scores[row, -1]",
        _in("rewards/test_model.py", "test_scores_do_not_depend_on_how_they_are_batched"),
    ),
    Fault(
        "held-out accuracy swapped", _JUDGING,
        "compared(differences_P.tolist(), [0.0] * len(differences_P))",
        "compared([0.0] * len(differences_P), differences_P.tolist())",

        _in("evaluation/test_judging.py", "test_accuracy_and_loss_are_those_of_the_pairs"),
    ),
    Fault(
        "averaged log-probabilities in DPO", _PAIRS,
        '("logprobs",))["logprobs"].sum(1)', '("logprobs",))["logprobs"].sum(1) / reply_lengths(batch)',
        _dpo("test_log_probabilities_are_summed_and_not_averaged"),
    ),
    Fault(
        "DPO without its reference", _DPO,
        'ratios_N = logprobs_N - batch["reference"]', "ratios_N = logprobs_N",
        _dpo("test_the_first_loss_is_ln_2_and_rewards_are_0"),
    ),
    Fault(
        "DPO the wrong way round", _DPO,
        'ratios_N[batch["better"]] - ratios_N[batch["worse"]]', 'ratios_N[batch["worse"]] - ratios_N[batch["better"]]',
        _dpo("test_the_gradient_raises_the_better_reply_and_lowers_the_worse"),
    ),
)  # fmt: skip


def copied(place: Path) -> Path:
    """A copy of the package, compiled so that a change of a file is always seen."""
    shutil.copytree(ROOT / "src", place, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", str(place)]
    subprocess.run(command, check=True)
    return place


def begin(source: Path, faults: Sequence[Fault], out: Path) -> subprocess.Popen[bytes]:
    """Plant faults in a copy, one after another, and run their tests; exit codes go to `out`, a JSON object.

    The first, `""`, is that of all the tests on the copy as it is. One process imports what takes long and forks for
    every fault, so that a fault costs little more than its tests.
    """
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    names = json.dumps([fault.name for fault in faults])
    command = [sys.executable, __file__, str(source), names, str(out)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )


def _main(source: Path, names: Sequence[str], out: Path) -> None:
    import pytest
    import torch

    torch.set_num_threads(1)
    chosen = [fault for fault in FAULTS if fault.name in names]
    every = dict.fromkeys(test for fault in chosen for test in fault.tests)
    codes = {"": _tested(pytest.main, list(every))}
    for fault in chosen:
        path = source / "chatwright" / fault.file
        before = path.read_text(encoding="utf-8")
        path.write_text(fault.applied(before), encoding="utf-8")
        codes[fault.name] = _tested(pytest.main, list(fault.tests))
        path.write_text(before, encoding="utf-8")
    out.write_text(json.dumps(codes), encoding="utf-8")


def _tested(run: object, tests: Sequence[str]) -> int:
    """The exit code of pytest over some tests, in a child that has imported nothing of the package yet."""
    import signal

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(_SECONDS_A_FAULT)
    code = run(["-x", "-q", "-p", "no:cacheprovider", *tests])  # type: ignore[operator]
    os._exit(int(code))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))

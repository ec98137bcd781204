"""Known failures of alignment runs, read off their metrics. Each rule is a pure function over rows.

A rule needs a handful of points and a change beyond noise, and stays silent where it cannot know. Over-optimisation is
that of Gao et al. (2023), "Scaling laws for reward model overoptimization".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chatwright.insight.series import (
    ENOUGH,
    Rows,
    Series,
    begin,
    end,
    error,
    fall_from_best,
    late,
    mean,
    number,
    rise,
    series,
    since,
    smooth,
    start,
    value_at,
    watched,
)

_LOST = 1 / 3
_NEGATIVE_KL, _NEGATIVE_ROLLOUTS = -0.02, 5
_TOO_FAR, _GROWTH, _GROWTH_NATS = 3.0, 1.5, 1.0
_LITTLE_ENTROPY, _LONGER, _SHORTER = 0.1, 2.0, 1 / 3
_MANY_UNFINISHED, _MUCH_CLIPPED, _MOST_GROUPS = 0.2, 0.3, 0.9
_CHOSEN_SHARE, _CHOSEN_NATS = 0.5, 10.0
_STUCK_ACCURACY, _STUCK_STEPS = 0.55, 10
_LARGE_CALIBRATION_ERROR, _MORE_DISAGREEMENT = 0.1, 1.5


class Finding(NamedTuple):
    """A known failure that the curves point to: its kind, a sentence with the mend, and the step where it shows."""

    kind: str
    sentence: str
    step: int


def findings(rows: Rows, kl_target: float | None = None) -> list[Finding]:
    """All known failures that the rows of metrics.jsonl point to. `kl_target`: nats a reply, where one was set."""
    found = [rule(rows) for rule in _RULES]
    found.insert(2, kl_far(rows, kl_target))
    return [finding for finding in found if finding]


def over_optimisation(rows: Rows) -> Finding | None:
    """The judge's reward rises while gold falls."""
    gold, reward = gold_and_reward(rows)
    best = fall_from_best(gold) if len(reward) >= ENOUGH else None
    if not best or rise(reward) <= 0 or end(reward) < value_at(reward, best[0]) - error(reward):
        return None
    step = int(best[0])
    return Finding(
        "over_optimisation",
        f"the judge's reward rises while gold falls: gold was best at step {step} ({best[1]:.3g}, at the end "
        f"{end(gold):.3g}); from there on the policy exploits the judge's mistakes. Keep that step, raise the KL "
        "coefficient, or train the judge on replies of this policy",
        step,
    )


def gold_and_reward(rows: Rows) -> tuple[Series, Series]:
    """Gold and the judge's reward from the same replies: held-out ones, where those are measured often enough."""
    for group in ("evaluation", "rollout"):
        gold = series(rows, group, "gold")
        if len(gold) >= ENOUGH:
            return gold, series(rows, group, "reward") or watched(rows, "reward")
    return [], []


def reward_falls(rows: Rows) -> Finding | None:
    """The reward loses more than a third of its range again, and a tenth of the replies' deviation."""
    reward = watched(rows, "reward")
    best = fall_from_best(reward)
    if not best:
        return None
    values = [y for _, y in smooth(reward)]
    deviations = [y for _, y in series(rows, "rollout", "reward_deviation")]
    lost = best[1] - end(reward)
    if lost < _LOST * (max(values) - min(values)) or lost < 0.1 * (mean(deviations) if deviations else 0.0):
        return None
    return Finding(
        "reward_falls",
        f"the reward falls back, from {best[1]:.3g} at step {int(best[0])} to {end(reward):.3g}: the policy breaks "
        "down. Lower the learning rate, or make fewer passes over each rollout",
        int(best[0]),
    )


def kl_far(rows: Rows, target: float | None = None) -> Finding | None:
    """The KL ends above three times its target, or goes on growing while the reward no longer rises."""
    kl, reward = series(rows, "rollout", "kl"), series(rows, "rollout", "reward")
    if len(kl) < ENOUGH:
        return None
    if target and end(kl) > _TOO_FAR * target:
        step = since(kl, lambda value: value > _TOO_FAR * target)
        return Finding(
            "kl_far",
            f"the KL is {end(kl):.3g} nats, more than three times its target of {target:g}: the policy leaves the "
            "reference faster than the coefficient can follow. Raise kl.coefficient or lower the learning rate",
            step,
        )
    second, rewards = kl[len(kl) // 2 :], reward[len(reward) // 2 :]
    if len(second) < ENOUGH or len(rewards) < ENOUGH:
        return None
    grows = rise(second) > _GROWTH_NATS and start(second) > 0 and end(second) > _GROWTH * start(second)
    heights = [y for _, y in smooth(reward)]
    gained = end(rewards) - start(rewards)
    if not grows or gained > max(error(rewards), 0.1 * (max(heights) - min(heights))):
        return None
    return Finding(
        "kl_far",
        f"the KL grows from {start(second):.3g} to {end(second):.3g} nats while the reward no longer rises: distance "
        "from the reference is paid for nothing. Stop earlier or raise the KL coefficient",
        int(second[0][0]),
    )


def kl_negative(rows: Rows) -> Finding | None:
    """The mean log-ratio, which estimates a KL, is below 0 in five rollouts in a row."""
    streak: list[float] = []
    for step, value in series(rows, "rollout", "kl"):
        streak = [*streak, step] if value < _NEGATIVE_KL else []
        if len(streak) == _NEGATIVE_ROLLOUTS:
            return Finding(
                "kl_negative",
                "the KL is below 0 in rollout after rollout, which no true KL can be: sampling and scoring disagree. "
                "Compare their temperature, top-k and top-p, dropout and precision",
                int(streak[0]),
            )
    return None


def entropy_collapse(rows: Rows) -> Finding | None:
    """The entropy ends under a tenth of its start."""
    entropy = watched(rows, "entropy") or series(rows, "metrics", "entropy")
    if len(entropy) < ENOUGH or not end(entropy) < _LITTLE_ENTROPY * begin(entropy):
        return None
    bound = _LITTLE_ENTROPY * begin(entropy)
    return Finding(
        "entropy_collapse",
        f"the entropy fell to {end(entropy):.2g} nats a token, under a tenth of its start: the policy says the same "
        "thing whatever it is asked and explores no more. Raise the KL coefficient or the entropy bonus, or lower the "
        "learning rate",
        since(entropy, lambda value: value < bound),
    )


def length_drift(rows: Rows) -> Finding | None:
    """Replies double, or shrink to a third, while the reward rises."""
    length = watched(rows, "length")
    if len(length) < ENOUGH or rise(watched(rows, "reward")) <= 0:
        return None
    first, last = begin(length), end(length)
    if _SHORTER * first < last < _LONGER * first:
        return None
    longer = last >= _LONGER * first
    return Finding(
        "length_drift",
        f"replies grew {'longer' if longer else 'shorter'}, from {first:.0f} to {last:.0f} tokens, while the reward "
        "rose: perhaps the judge pays for length and not for content. Compare replies of equal length, or train the "
        "judge on pairs that differ in content alone",
        since(length, lambda y: y >= _LONGER * first if longer else y <= _SHORTER * first),
    )


def unfinished_high(rows: Rows) -> Finding | None:
    """More than a fifth of the late replies have no end token."""
    unfinished = watched(rows, "unfinished")
    if len(unfinished) < ENOUGH or late(unfinished) <= _MANY_UNFINISHED:
        return None
    return Finding(
        "unfinished_high",
        f"{late(unfinished):.0%} of the replies are cut at the limit without an end token, so that half sentences are "
        "scored. Raise max_new_tokens, or penalise a missing end token",
        since(unfinished, lambda value: value > _MANY_UNFINISHED),
    )


def clip_share_high(rows: Rows) -> Finding | None:
    """In some third of the run, more than 0.3 of the tokens are past the clip range."""
    clipped = series(rows, "metrics", "clip_share")
    if len(clipped) < ENOUGH:
        return None
    worst = max(smooth(clipped, max(3, len(clipped) // 3)), key=lambda point: point[1])
    if worst[1] <= _MUCH_CLIPPED:
        return None
    return Finding(
        "clip_share_high",
        f"{worst[1]:.0%} of the tokens are past the clip range around step {int(worst[0])}: steps are too large, and "
        "those tokens give no gradient. Lower the learning rate, or make fewer passes over each rollout",
        int(worst[0]),
    )


def value_worthless(rows: Rows) -> Finding | None:
    """Late in the run, the value model's explained variance is below 0."""
    explained = series(rows, "rollout", "explained_variance")
    if len(explained) < ENOUGH or late(explained) >= 0:
        return None
    return Finding(
        "value_worthless",
        f"the value model explains less than nothing of the returns late in the run ({late(explained):.2f}): its "
        "forecasts are worse than a constant and add noise to the advantages. Raise its learning rate, start it from "
        "the reward model, or give it more passes",
        since(explained, lambda value: value < 0),
    )


def groups_equal(rows: Rows) -> Finding | None:
    """Late in the run, nearly all groups have equal rewards."""
    equal = series(rows, "rollout", "equal_groups")
    if len(equal) < ENOUGH or late(equal) < _MOST_GROUPS:
        return None
    return Finding(
        "groups_equal",
        f"in {late(equal):.0%} of the groups all replies have the same reward, and such a group has no gradient: the "
        "prompts are solved, or too hard, or the replies are all alike. Mix in prompts that succeed now and then, "
        "sample more replies a prompt, or raise the temperature",
        since(equal, lambda value: value >= _MOST_GROUPS),
    )


def chosen_falls(rows: Rows) -> Finding | None:
    """The chosen replies' log-probability falls by half of itself and 10 nats, more than it usually does."""
    chosen = series(rows, "metrics", "chosen_logprob")
    if len(chosen) < ENOUGH or rise(chosen) >= 0:
        return None
    first, last = begin(chosen), end(chosen)
    bound = first - max(_CHOSEN_NATS, _CHOSEN_SHARE * abs(first))
    if last >= bound:
        return None
    return Finding(
        "chosen_falls",
        f"the chosen replies' log-probability fell from {first:.0f} to {last:.0f} nats. Some fall is usual; this much "
        "means that their words are unlearned together with the rejected ones. Raise beta, lower the learning rate, or "
        "add the chosen replies' own loss",
        since(chosen, lambda value: value < bound),
    )


def accuracy_stuck(rows: Rows) -> Finding | None:
    """In the second half of training, pairs are told apart no better than by a coin."""
    accuracy = series(rows, "metrics", "accuracy") if has_pairs(rows) else []
    if len(accuracy) < _STUCK_STEPS:
        return None
    half = accuracy[len(accuracy) // 2 :]
    if mean([y for _, y in half]) >= _STUCK_ACCURACY or end(half) >= _STUCK_ACCURACY + 0.05:
        return None
    return Finding(
        "accuracy_stuck",
        f"after half of the training the chosen reply wins in {mean([y for _, y in half]):.0%} of the pairs, a coin's "
        "share: nothing is learned from them. Look at the pairs (are chosen and rejected swapped, or alike?), then "
        "raise the learning rate",
        int(half[0][0]),
    )


def judge_at_chance(rows: Rows) -> Finding | None:
    """The interval of the last held-out pair accuracy touches one half."""
    for row in reversed(rows):
        found = row.get("evaluation") or {}
        if "accuracy" not in found or row["step"] == 0:
            continue
        low, high = interval(found.get("accuracy_interval")) or (1.0, 1.0)
        if low > 0.5:
            return None
        mend = (
            "More or clearer comparisons are needed before anything is trained on this judge"
            if high >= 0.5
            else "It is worse than that: look whether chosen and rejected are swapped"
        )
        return Finding(
            "judge_at_chance",
            f"on held-out pairs the accuracy is no better than chance: its interval is {low:.1%} to {high:.1%}, and a "
            f"coin gets 50%. {mend}",
            int(row["step"]),
        )
    return None


def calibration_off(rows: Rows) -> Finding | None:
    """The judge's stated confidence is off by more than 0.1 in the mean."""
    errors = [point for point in series(rows, "evaluation", "calibration_error") if point[0] > 0]
    if not errors or errors[-1][1] <= _LARGE_CALIBRATION_ERROR:
        return None
    step, value = errors[-1]
    return Finding(
        "calibration_off",
        f"the judge's confidence is off by {value:.0%} in the mean: a margin does not mean what it says, and large "
        "margins are what a policy goes for. Train it for one epoch only, or smooth the labels",
        int(step),
    )


def disagreement_rises(rows: Rows) -> Finding | None:
    """The judges of an ensemble disagree more and more while their mean rises."""
    apart, reward = watched(rows, "disagreement"), watched(rows, "reward")
    if rise(apart) <= 0 or rise(reward) <= 0 or end(apart) < _MORE_DISAGREEMENT * begin(apart):
        return None
    bound = _MORE_DISAGREEMENT * begin(apart)
    return Finding(
        "disagreement_rises",
        f"the judges disagree more as the reward rises ({begin(apart):.2g} → {end(apart):.2g}): replies go where none "
        "of them has seen comparisons. Penalise the disagreement, take the lowest judge, or label replies of this policy",
        since(apart, lambda value: value >= bound),
    )


def has_pairs(rows: Rows) -> bool:
    """Whether the run compares chosen with rejected replies."""
    names = {"chosen_reward", "rejected_reward", "chosen_logprob"}
    return any(
        names & set(row.get("metrics") or {}) or "accuracy_interval" in (row.get("evaluation") or {})
        for row in rows
    )


def interval(value: object) -> tuple[float, float] | None:
    """(low, high) from a row of metrics, if that is what it is."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)


_RULES: tuple[Callable[[Rows], Finding | None], ...] = (
    over_optimisation,
    reward_falls,
    kl_negative,
    entropy_collapse,
    length_drift,
    unfinished_high,
    clip_share_high,
    value_worthless,
    groups_equal,
    chosen_falls,
    accuracy_stuck,
    judge_at_chance,
    calibration_off,
    disagreement_rises,
)

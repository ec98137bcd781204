"""What the report of an alignment run shows: one chart a measure, how to read it, and which failures belong beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatwright.insight.charts import Curve, Mark, line_chart
from chatwright.insight.failures import has_pairs
from chatwright.insight.series import Rows, by_rollout, number, series


@dataclass(frozen=True)
class Trace:
    """One curve: its name, and the field of a row (`rollout`, `metrics`, `evaluation`) and the key it is read from."""

    name: str
    group: str
    key: str

    def curve(self, rows: Rows) -> Curve:
        points = series(rows, self.group, self.key)
        if self.group == "metrics":
            points = by_rollout(rows, points)
        return Curve(self.name, points, dashed=self.group == "evaluation")


@dataclass(frozen=True)
class Panel:
    """A chart. `reading`: one line on how to read it; `right`: curves with a scale of their own; `level`: a line to
    compare with; `from_zero`: the scale begins at 0; `findings`: kinds of failure that show in it; `of_pairs`: only where pairs are compared."""

    title: str
    reading: str
    left: tuple[Trace, ...]
    unit: str
    right: tuple[Trace, ...] = ()
    right_unit: str = ""
    level: Mark | None = None
    from_zero: bool = False
    findings: tuple[str, ...] = ()
    of_pairs: bool = False

    def chart(self, rows: Rows, kl_target: float | None = None) -> str:
        """The figure, or "" where the rows have none of it."""
        if self.of_pairs and not has_pairs(rows):
            return ""
        levels = [self.level] if self.level else []
        if "kl_far" in self.findings and kl_target:
            levels.append(Mark(kl_target, "target"))
        left, right = ([trace.curve(rows) for trace in traces] for traces in (self.left, self.right))
        floor = 0.0 if self.from_zero else None
        return line_chart(
            self.title, left, "step", self.unit, right, self.right_unit, levels=levels, floor=floor
        )


def _both(key: str) -> tuple[Trace, Trace]:
    return Trace("while sampling", "rollout", key), Trace("held out", "evaluation", key)


PANELS = (
    Panel(
        "Reward",
        "How to read it: it should rise, but it is only what the judge believes. Trust it as far as gold, or the win "
        "rate, rises with it.",
        (
            Trace("judge, while sampling", "rollout", "reward"),
            Trace("judge, held out", "evaluation", "reward"),
        ),
        "judge",
        (Trace("gold, while sampling", "rollout", "gold"), Trace("gold, held out", "evaluation", "gold")),
        "gold",
        findings=("over_optimisation", "reward_falls"),
    ),
    Panel(
        "KL to the reference",
        "How to read it: how far the policy has moved, in nats summed over a reply. A rise that levels off, near the "
        "target if there is one, is healthy.",
        _both("kl"),
        "nats a reply",
        (Trace("coefficient", "rollout", "kl_coefficient"),),
        "coefficient",
        findings=("kl_far", "kl_negative"),
    ),
    Panel(
        "Entropy",
        "How to read it: how undecided the policy is about its next token. A gentle fall is learning; a fall towards "
        "0 means that it says one thing only.",
        (*_both("entropy"), Trace("in the update", "metrics", "entropy")),
        "nats a token",
        from_zero=True,
        findings=("entropy_collapse",),
    ),
    Panel(
        "Reply length",
        "How to read it: it should move little, unless the task asks for it. Judges like long replies better than "
        "they should, and a policy finds that out.",
        _both("length"),
        "tokens",
        from_zero=True,
        findings=("length_drift",),
    ),
    Panel(
        "Unfinished replies",
        "How to read it: the share that hit the limit without an end token. It should be near 0; a cut reply is "
        "scored on half a sentence.",
        _both("unfinished"),
        "share",
        from_zero=True,
        findings=("unfinished_high",),
    ),
    Panel(
        "Groups with equal rewards",
        "How to read it: the share of prompts whose replies all got the same reward. They teach nothing; near 1 "
        "nothing is learned at all.",
        (Trace("groups", "rollout", "equal_groups"),),
        "share",
        from_zero=True,
        findings=("groups_equal",),
    ),
    Panel(
        "Clip share",
        "How to read it: the share of tokens whose probability moved past the clip range, in the mean over the passes of "
        "a rollout. A few percent to 20% are usual; past the range a token teaches nothing.",
        (Trace("policy", "metrics", "clip_share"), Trace("value", "metrics", "value_clip_share")),
        "share",
        from_zero=True,
        findings=("clip_share_high",),
    ),
    Panel(
        "Approximate KL of an update",
        "How to read it: how far the policy moves from the one that sampled, in the mean over the passes of a rollout. "
        "Some thousandths to hundredths of a nat are usual; spikes mean too large steps.",
        (Trace("update", "metrics", "approx_kl"),),
        "nats a token",
        from_zero=True,
    ),
    Panel(
        "Value error",
        "How to read it: how wrong the value model's forecasts of the return are, squared. It falls at first, and may "
        "rise again when the policy finds new rewards.",
        (Trace("on the rollout", "rollout", "value_error"), Trace("in the update", "metrics", "value_error")),
        "",
        from_zero=True,
    ),
    Panel(
        "Explained variance",
        "How to read it: how much of the returns' differences the value model foresees. 1 is all, 0 is no better than "
        "a constant, below 0 is worse than that.",
        (Trace("value model", "rollout", "explained_variance"),),
        "",
        level=Mark(0.0, "a constant"),
        findings=("value_worthless",),
    ),
    Panel(
        "Disagreement of the judges",
        "How to read it: the deviation between the judges of an ensemble. Where it rises with the reward, replies have "
        "left what the judges know.",
        _both("disagreement"),
        "deviation",
        from_zero=True,
        findings=("disagreement_rises",),
    ),
    Panel(
        "Pairs told apart",
        "How to read it: the share of pairs in which the chosen reply is preferred. One half is a coin. Training far "
        "above held out means learned by heart.",
        (Trace("training", "metrics", "accuracy"), Trace("held out", "evaluation", "accuracy")),
        "share",
        level=Mark(0.5, "coin"),
        findings=("accuracy_stuck", "judge_at_chance"),
        of_pairs=True,
    ),
    Panel(
        "Reward of chosen and rejected replies",
        "How to read it: the distance between both is what is learned. In DPO both may fall; that is usual as long as "
        "they part.",
        (Trace("chosen", "metrics", "chosen_reward"), Trace("rejected", "metrics", "rejected_reward")),
        "",
    ),
    Panel(
        "Log-probability of chosen and rejected replies",
        "How to read it: DPO's chosen replies usually become less likely, which looks wrong and is not: only the "
        "difference to the rejected ones is trained.",
        (Trace("chosen", "metrics", "chosen_logprob"), Trace("rejected", "metrics", "rejected_logprob")),
        "nats a reply",
        findings=("chosen_falls",),
    ),
)

_SHOWN_ELSEWHERE = {
    *(trace.key for panel in PANELS for trace in (*panel.left, *panel.right)),
    *("loss", "bits_per_byte", "win_rate", "calibration_error"),
}


def other_measures(rows: Rows) -> list[str]:
    """Charts of all other numbers that were evaluated more than once: shares together, everything else by itself."""
    found: dict[str, Curve] = {}
    for row in rows:
        for key in row.get("evaluation") or {}:
            if key not in found and key not in _SHOWN_ELSEWHERE:
                found[key] = Curve(key.replace("_", " "), series(rows, "evaluation", key))
    moving = [curve for curve in found.values() if len({y for _, y in curve.points}) > 1]
    shares = [curve for curve in moving if all(0 <= y <= 1 for _, y in curve.points)]
    charts = [
        line_chart("Shares on held-out prompts", shares[i : i + 4], "step", "share")
        for i in range(0, len(shares), 4)
    ]
    return charts + [
        line_chart(f"On held-out prompts: {c.name}", [c], "step", "") for c in moving if c not in shares
    ]


def loss_reading(rows: Rows) -> str:
    """How to read the loss of this kind of run."""
    keys = {key for row in rows for key in row.get("rollout") or {}}
    if "equal_groups" in keys:
        return (
            "How to read it: a loss near 0 is right. In a group the advantages add up to 0, so GRPO's loss starts at "
            "about 0 and says little later; its gradient is not 0. Watch the reward."
        )
    if keys:
        return (
            "How to read it: the policy's loss hovers around 0, because advantages are whitened, and says little: it "
            "does not fall as the policy gets better. A value model's loss should fall. Watch the reward."
        )
    if has_pairs(rows):
        return (
            "How to read it: with a sigmoid loss 0.693, which is ln 2, is a coin's loss and the usual start; it falls as "
            "chosen and rejected part. Held out rising while training falls means that pairs are learned by heart."
        )
    return "How to read it: lower is better; validation rising while training falls means overfitting."


def time_spent(rows: Rows) -> str:
    """Where the time of the rollouts went, in words; "" if that was not measured."""
    names = {
        "sampling": "seconds_sampling",
        "scoring": "seconds_scoring",
        "updating": "seconds_updating",
    }
    spent = {name: sum(y for _, y in series(rows, "rollout", key)) for name, key in names.items()}
    total = sum(spent.values())
    if total <= 0:
        return ""
    return "Time: " + ", ".join(f"{value / total:.0%} {name}" for name, value in spent.items() if value) + "."


def find_kl_target(*settings: Mapping[str, Any]) -> float | None:
    """The target of the KL in options or a plan: `target` in a `kl` of any depth, or `kl_target`."""
    for setting in settings:
        kl = setting.get("kl")
        named = kl.get("target") if isinstance(kl, Mapping) else setting.get("kl_target")
        inner = find_kl_target(*(value for value in setting.values() if isinstance(value, Mapping)))
        found = inner if number(named) is None else number(named)
        if found is not None:
            return found
    return None

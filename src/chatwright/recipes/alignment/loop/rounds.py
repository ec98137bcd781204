"""A round of `align`: comparisons, a reward model, a policy, and whether it is better than the best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatwright.evaluation.winning import WinRate
from chatwright.progress import say
from chatwright.recipes.alignment.best_of_n import best_of_n
from chatwright.recipes.alignment.direct.preference import dpo
from chatwright.recipes.alignment.loop.comparing import COMPARISONS, SO_FAR, Standing, stand, wins
from chatwright.recipes.alignment.loop.shared import Loop
from chatwright.recipes.alignment.picking import DEMONSTRATIONS
from chatwright.recipes.alignment.reward import reward
from chatwright.recipes.sft import sft
from chatwright.registry import lookup
from chatwright.rewards.contract import scores_of
from chatwright.rewards.model import RewardModel
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer

PROMPTS = "prompts.jsonl"
_SHOWN = 8


@dataclass(frozen=True)
class Round:
    """What came of a round: its runs, how its policy does against the best so far and against the start, and the
    numbers of its evaluation."""

    number: int
    runs: Mapping[str, Run]
    policy: Standing
    over_best: WinRate
    over_start: WinRate
    evaluation: Mapping[str, Any]

    @property
    def kept(self) -> bool:
        """Whether its policy is the best from now on."""
        return self.over_best.rate > 0.5

    def result(self, place: Path) -> dict[str, Any]:
        """For the result of the run at `place`."""
        accuracy = ("judge_accuracy", "judge_accuracy_interval", "gold", "length")
        return {
            "round": self.number,
            "kept": self.kept,
            "against_best": told(self.over_best),
            "against_start": told(self.over_start),
            "comparisons": self.runs["comparisons"].result["comparisons"],
            **{name: self.evaluation[name] for name in accuracy if name in self.evaluation},
            "runs": {role: str(run.directory.relative_to(place)) for role, run in self.runs.items()},
        }


def told(won: WinRate) -> dict[str, Any]:
    """A win rate with its interval, in plain numbers."""
    counts = {"wins": won.wins, "ties": won.ties, "losses": won.losses}
    return {"win_rate": won.rate, "win_interval": list(won.interval), **counts}


def play(loop: Loop, number: int, made: Run, best: Standing, start: Standing) -> Round:
    """From the comparisons `made` of the best policy so far to a new policy, and how good it is."""
    judge = None
    if loop.options.trains_judge:
        say(f"  round {number}: a reward model learns from the comparisons so far")
        # from the start each time: all comparisons are there, and none is learnt twice as often as the others
        place, options = loop.round(number) / "judge", {"seed": loop.seed(number), **loop.options.reward}
        judge = reward(loop.start, made.directory / SO_FAR, place, **options)
    say(f"  round {number}: {loop.options.policy_verb} from {best.run}")
    trained = _train(loop, number, made, judge, best.run)
    policy = stand(loop, trained["policy"], loop.round(number))
    others = [best, *([] if best is start else [start])]
    won = wins(loop, number, policy.texts, [other.texts for other in others])
    found = {"comparisons": made, **({"judge": judge} if judge else {}), **trained}
    return Round(number, found, policy, won[0], won[-1], _evaluate(loop, policy, start, won, judge))


def _train(loop: Loop, number: int, made: Run, judge: Run | None, best: Run) -> dict[str, Run]:
    """The runs that make the round's policy, which starts from the best so far and is held to it."""
    options, place = loop.options, loop.round(number) / "policy"
    seed = {"seed": loop.seed(number)}
    if judge is None:
        # of this round alone: they are the replies of the policy that learns
        return {"policy": dpo(best, made.directory / COMPARISONS, place, **{**seed, **options.train})}
    sampling = {"temperature": options.samples.temperature, "max_new_tokens": options.samples.max_new_tokens}
    train = {**seed, **sampling, **options.train}
    prompts = loop.place / PROMPTS
    if options.policy_verb == "best-of-n":
        chosen = best_of_n(best, judge, prompts, loop.round(number) / "demonstrations", **train)
        learnt = sft(best, chosen.directory / DEMONSTRATIONS, place, **{**seed, **options.sft})
        return {"demonstrations": chosen, "policy": learnt}
    if options.keep.by == "gold":
        train = {"gold": options.gold, "reward": options.rules, **train}
    return {"policy": lookup("verb", options.policy_verb)(best, judge, prompts, place, **train)}


def begin(loop: Loop, start: Standing) -> dict[str, Any]:
    """The evaluation of the start: what every round is compared with."""
    return {"over_start": 0.5, "over_best": 0.5, **_watched(loop, start.texts)}


def _evaluate(
    loop: Loop, policy: Standing, start: Standing, won: Sequence[WinRate], judge: Run | None
) -> dict[str, Any]:
    """A round's evaluation, as the report reads it; side by side only where the policy is kept."""
    found = {
        "win_rate": won[-1].rate,
        "win_interval": list(won[-1].interval),
        "over_start": won[-1].rate,
        "over_best": won[0].rate,
        **_watched(loop, policy.texts),
    }
    scores: list[list[float]] = []
    if judge is not None:
        model = RewardModel.load(judge.directory)
        scores = [scores_of(model, loop.held, texts) for texts in (start.texts, policy.texts)]
        # every round has a judge of its own, so only the distance to the start can be compared over rounds
        found["reward"] = float(np.mean(scores[1]) - np.mean(scores[0]))
        after = judge.result["after"]
        found |= {f"judge_{n}": after[n] for n in ("accuracy", "accuracy_interval") if n in after}
    if won[0].rate > 0.5:
        found["before_after"] = _side_by_side(loop, start.texts, policy.texts, scores)
    return found


def _watched(loop: Loop, texts: Sequence[str]) -> dict[str, float]:
    sizes = [len(ids) for ids in Tokenizer.load(loop.start.directory).encode_batch(list(texts))]
    found = {"length": float(np.mean(sizes))}
    if loop.gold is not None:
        found["gold"] = float(np.mean(scores_of(loop.gold.reward, loop.held, texts)))
    return found


def _side_by_side(
    loop: Loop, before: Sequence[str], after: Sequence[str], scores: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Some prompts, evenly from all, with both replies."""
    count = len(loop.held)
    names = ("reward_before", "reward_after")
    return [
        {
            "prompt": loop.held[place].messages[-1].content,
            "before": before[place],
            "after": after[place],
            **{name: values[place] for name, values in zip(names, scores, strict=False)},
        }
        for place in sorted({count * n // _SHOWN for n in range(_SHOWN)})
    ]

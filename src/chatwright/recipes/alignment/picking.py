"""What `best-of-n` keeps of the replies it sampled: rows that survive a kill, demonstrations, comparisons, and figures."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.evaluation.best_of import best_of_kl, expected_best, sizes
from chatwright.files import atomic_write, writing
from chatwright.insight.charts import spark
from chatwright.rewards.judges import as_rows
from chatwright.training.rollouts.experience import Sampled

DEMONSTRATIONS = "demonstrations.jsonl"

COMPARISONS = "comparisons.jsonl"

REPLIES = "replies.jsonl"


@dataclass(frozen=True)
class BestOfNOptions:
    """How many replies are sampled, and which of them are kept."""

    n: int = option(8, "replies to each prompt")
    keep: Literal["best", "above"] = option(
        "best", "which replies become demonstrations: the best, or of these only those from threshold= on"
    )
    threshold: float | None = option(None, "of keep=above: the least score of a demonstration")
    per_prompt: int = option(1, "demonstrations of a prompt, at most; all different")
    max_new_tokens: int = option(128, "the most tokens of a reply")
    temperature: float = option(1.0, "divides the logits in sampling")
    unfinished: float | None = option(
        None, "score of a reply that did not end within max_new_tokens; none: as the judge scores it"
    )
    gold: str | None = option(None, "a reward that is only watched: the gold, beside the judge that chooses")
    ensemble: tuple[str, ...] = option((), "more runs of `reward` that judge together with the first")
    pessimism: float = option(0.0, "of an ensemble: what its disagreement costs")
    reward: dict[str, Any] = option({}, "options of named rewards: reward.regex.pattern=…")
    seed: int = option(0, "of every reply")

    def __post_init__(self) -> None:
        at_least(self, 1, "n", "per_prompt", "max_new_tokens")
        if self.temperature <= 0:
            raise UserError(f"temperature={self.temperature:g} must be more than 0: replies are sampled")
        if (self.keep == "above") != (self.threshold is not None):
            raise UserError("keep=above and threshold= belong together; give both or neither")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")


def append(path: Path, rows: Sequence[Sequence[Sampled]]) -> None:
    with writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write("".join(_line(_row_of(row)) for row in rows))
        file.flush()
        os.fsync(file.fileno())


def _row_of(samples: Sequence[Sampled]) -> dict[str, Any]:
    known = samples[0].reply.numbers
    numbers = {
        plural: [sample.number(name) for sample in samples]
        for name, plural in (("score", "scores"), ("gold", "gold"), ("disagreement", "disagreement"))
        if name in known
    }
    return {
        "prompt": as_rows(samples[0].asked.prompt),
        "replies": [sample.text for sample in samples],
        **numbers,
        "finished": [not sample.number("unfinished") for sample in samples],
    }


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def cut_to_batches(path: Path, batch: int, total: int) -> int:
    """How many prompts of whole batches the file holds; what a killed process wrote beyond them is cut off."""
    if not path.exists():
        return 0
    ends = [0]
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            ends.append(ends[-1] + len(line))
    lines = len(ends) - 1
    done = lines if lines == total else lines - lines % batch
    os.truncate(path, ends[done])
    return done


def sampled_rows(directory: Path) -> Iterator[dict[str, Any]]:
    with (directory / REPLIES).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write_kept(directory: Path, options: BestOfNOptions) -> dict[str, Any]:
    """Write demonstrations and comparisons from the replies; returns how many there are."""
    counts = Counter(demonstrations=0, comparisons=0, without_demonstration=0, without_comparison=0)
    demonstrations, comparisons = [], []
    for row in sampled_rows(directory):
        ranked = _ranked(row)
        chosen = [i for i in ranked if options.threshold is None or row["scores"][i] >= options.threshold]
        for i in chosen[: options.per_prompt]:
            reply = {"role": "assistant", "content": row["replies"][i]}
            demonstrations.append(_line({"messages": [*row["prompt"], reply], "score": row["scores"][i]}))
        replies, scores = ([row[name][i] for i in ranked] for name in ("replies", "scores"))
        if len(set(scores)) > 1:
            comparisons.append(_line({"prompt": row["prompt"], "replies": replies, "scores": scores}))
        counts["without_demonstration"] += not chosen
        counts["without_comparison"] += len(set(scores)) < 2
    counts.update(demonstrations=len(demonstrations), comparisons=len(comparisons))
    atomic_write(directory / DEMONSTRATIONS, "".join(demonstrations))
    atomic_write(directory / COMPARISONS, "".join(comparisons))
    return dict(counts)


def _ranked(row: dict[str, Any]) -> list[int]:
    """The places of different replies, best first. One that was cut off, or says nothing, is no example of anything."""
    first: dict[str, int] = {}
    for place, (reply, finished) in enumerate(zip(row["replies"], row["finished"], strict=True)):
        if finished and reply.strip():
            first.setdefault(reply.strip(), place)
    return sorted(first.values(), key=lambda place: -row["scores"][place])


def measured(directory: Path, n: int) -> dict[str, Any]:
    """Mean reward (and gold) of the first reply and of the best, and what 1, 2, 4 … replies are expected to give."""
    tables: dict[str, list[list[float]]] = {"scores": [], "gold": []}
    finished = []
    for row in sampled_rows(directory):
        finished.append(np.mean(row["finished"]))
        for name, table in tables.items():
            table.extend([row[name]] if name in row else [])
    scores_PN = np.array(tables["scores"])
    named: dict[str, NDArray[np.float64]] = {"reward": scores_PN}
    named |= {"gold": np.array(tables["gold"])} if tables["gold"] else {}
    best_P = scores_PN.argmax(axis=1)[:, None]
    curve = [
        {
            "n": k,
            **{name: float(expected_best(scores_PN, k, values).mean()) for name, values in named.items()},
            "kl_bound": best_of_kl(k),
        }
        for k in sizes(n)
    ]
    return {
        "first": {name: float(values[:, 0].mean()) for name, values in named.items()},
        "best": {name: float(np.take_along_axis(v, best_P, axis=1).mean()) for name, v in named.items()},
        "kl_bound": best_of_kl(n),
        "unfinished": 1.0 - float(np.mean(finished)),
        "by_n": curve,
    }


def told(measured: dict[str, Any], counts: dict[str, Any]) -> Iterator[str]:
    curve = measured["by_n"]
    for name in measured["best"]:
        values = [point[name] for point in curve]
        steps = ", ".join(f"{point['n']}: {point[name]:.3f}" for point in curve)
        yield f"  mean {name} of the best of n, {steps} {spark(values)}"
    yield f"  at most {measured['kl_bound']:.2f} nats from the policy"
    yield f"  {counts['demonstrations']:,} demonstrations, {counts['comparisons']:,} comparisons"

"""`best-of-n`: many replies to each prompt, of which the judge's best become demonstrations and all of them comparisons."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright import runs
from chatwright.config import option
from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_prompts
from chatwright.errors import UserError
from chatwright.evaluation.best_of import best_of_kl, expected_best, sizes
from chatwright.files import atomic_write, writing
from chatwright.generation.sampling import SamplingOptions
from chatwright.insight.charts import spark
from chatwright.models.interop.files import load_model
from chatwright.progress import bar, say
from chatwright.recipes.alignment.judging import judges_of
from chatwright.recipes.alignment.online import CHATS
from chatwright.recipes.verb import Place, verb
from chatwright.rewards.judges import as_rows
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import at_least_1
from chatwright.training.rollouts.experience import Asked, Experience, Judging, Sampled

DEMONSTRATIONS = "demonstrations.jsonl"
COMPARISONS = "comparisons.jsonl"
REPLIES = "replies.jsonl"
_REPLIES_TOGETHER = 256


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
        at_least_1(self, "n", "per_prompt", "max_new_tokens")
        if self.temperature <= 0:
            raise UserError(f"temperature={self.temperature:g} must be more than 0: replies are sampled")
        if (self.keep == "above") != (self.threshold is not None):
            raise UserError("keep=above and threshold= belong together; give both or neither")
        if self.seed < 0:
            raise UserError(f"seed={self.seed} must be 0 or more")


@verb(BestOfNOptions)
def best_of_n(
    policy: Place, judge: Any, prompts: str | Path, out: str | Path, options: BestOfNOptions
) -> Run:
    """Sample n replies to each prompt and have JUDGE score them: the best become demonstrations for `sft`, all together comparisons for `reward` and `dpo`; resumes where it stopped."""
    parent, skipped = Run.open(policy, CHATS), Tally()
    judges = judges_of(judge, options.reward, options.ensemble, options.pessimism)
    gold = judges_of(options.gold, options.reward, role="gold") if options.gold else None
    found = list(read_prompts(prompts, skipped))
    for reward in (judges, *([gold] if gold else [])):
        reward.check(found)
    parents = {"policy": parent, **judges.parents, **(gold.parents if gold else {})}
    inputs = [prompts, *judges.inputs, *(gold.inputs if gold else [])]
    with runs.start("best-of-n", out, options, parents, inputs) as run:
        if run.finished:
            return Run(run.directory)
        say(f"  {len(found):,} prompts, {options.n} replies to each; judged by {judges.name}")
        for reason, count in skipped.items():
            say(f"  skipped {count:,}: {reason} (first: {skipped.places[reason]})")
        experience = Experience(
            load_model(parent.directory),
            Renderer(Tokenizer.load(parent.directory)),
            Judging(judges.reward, gold.reward if gold else None, options.unfinished),
            SamplingOptions(
                max_new_tokens=options.max_new_tokens, temperature=options.temperature, top_p=1.0
            ),
            ratios=False,
        )
        _sample_all(run, experience, [experience.ask(prompt) for prompt in found], options)
        counts = _write(run.directory, options)
        measured = _measured(run.directory, options.n)
        for line in _told(measured, counts):
            say(line)
        return run.finish(
            [DEMONSTRATIONS, COMPARISONS, REPLIES], prompts=len(found), n=options.n, **measured, **counts
        )


def _sample_all(
    run: OpenRun, experience: Experience, asked: Sequence[Asked], options: BestOfNOptions
) -> None:
    """Append the replies to prompt after prompt to the run; batches that are there already are not sampled again.

    Batches begin at the same prompts however often the run was killed, so the same numbers are added in the same order.
    """
    plan = run.plan or {"threads": torch.get_num_threads(), "batch": max(1, _REPLIES_TOGETHER // options.n)}
    torch.set_num_threads(plan["threads"])
    batch, path = plan["batch"], run.directory / REPLIES
    done = _cut_to_batches(path, batch, len(asked))
    if done:
        say(f"  resumed at prompt {done:,}")
    with bar("sampling", len(asked)) as shown:
        for begin in range(done, len(asked), batch):
            part = asked[begin : begin + batch]
            repeated = [one for one in part for _ in range(options.n)]
            numbers = range(begin * options.n, begin * options.n + len(repeated))
            samples = experience.sample(repeated, options.seed, numbers)
            rows = [samples[at : at + options.n] for at in range(0, len(samples), options.n)]
            # only now: what is refused before anything was scored leaves no run behind
            run.resolve(plan)
            _append(path, rows)
            shown.update(begin + len(part), f"{begin + len(part):,} prompts")


def _append(path: Path, rows: Sequence[Sequence[Sampled]]) -> None:
    with writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write("".join(_line(_row(row)) for row in rows))
        file.flush()
        os.fsync(file.fileno())


def _row(samples: Sequence[Sampled]) -> dict[str, Any]:
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


def _cut_to_batches(path: Path, batch: int, total: int) -> int:
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


def _rows(directory: Path) -> Iterator[dict[str, Any]]:
    with (directory / REPLIES).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _write(directory: Path, options: BestOfNOptions) -> dict[str, Any]:
    """Write demonstrations and comparisons from the replies; returns how many there are."""
    counts = Counter(demonstrations=0, comparisons=0, without_demonstration=0, without_comparison=0)
    demonstrations, comparisons = [], []
    for row in _rows(directory):
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


def _measured(directory: Path, n: int) -> dict[str, Any]:
    """Mean reward (and gold) of the first reply and of the best, and what 1, 2, 4 … replies are expected to give."""
    tables: dict[str, list[list[float]]] = {"scores": [], "gold": []}
    finished = []
    for row in _rows(directory):
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


def _told(measured: dict[str, Any], counts: dict[str, Any]) -> Iterator[str]:
    curve = measured["by_n"]
    for name in measured["best"]:
        values = [point[name] for point in curve]
        steps = ", ".join(f"{point['n']}: {point[name]:.3f}" for point in curve)
        yield f"  mean {name} of the best of n, {steps} {spark(values)}"
    yield f"  at most {measured['kl_bound']:.2f} nats from the policy"
    yield f"  {counts['demonstrations']:,} demonstrations, {counts['comparisons']:,} comparisons"

"""Comparisons in `align`: those that a round learns from, and those that say which of two policies is better."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.config import as_dict
from chatwright.data.records import Comparison, Prompt
from chatwright.evaluation.winning import WinRate, compared
from chatwright.files import atomic_write
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel, replies
from chatwright.progress import bar, say
from chatwright.recipes.alignment.loop.recipe import SampleOptions
from chatwright.recipes.alignment.loop.shared import Loop
from chatwright.rewards.contract import scores_of
from chatwright.rewards.judges import as_rows
from chatwright.runs import OpenRun, Run

COMPARISONS = "comparisons.jsonl"
SO_FAR = "so_far.jsonl"
REPLIES = "replies.jsonl"
_ANSWERS = "answers.json"


@dataclass(frozen=True)
class Standing:
    """A policy with its greedy replies to the held-out prompts."""

    run: Run
    texts: list[str]


def compare(loop: Loop, number: int, policy: Run) -> Run:
    """Sample replies from the policy and have the judge rank them: this round's comparisons, and all so far.

    A kill loses nothing that was sampled, and of the judges that are slow no verdict. Raises Interrupted when people
    have comparisons to fill in. No comparison may be left: where no prompt got two different replies, or all are tied.
    """
    settings = {**as_dict(loop.options.samples), "judge": loop.options.judge, "seed": loop.seed(number)}
    earlier = [loop.round(n) / "comparisons" / COMPARISONS for n in range(1, number)]
    place = loop.round(number) / "comparisons"
    with runs.start("comparisons", place, settings, {"policy": policy}, earlier) as run:
        if run.finished:
            return Run(run.directory)
        prompts = loop.prompts(number)
        # a judge that fails shall not take the replies with it
        run.resolve({"prompts": len(prompts)})
        rows = _sampled(run, policy, prompts, loop.options.samples, loop.seed(number))
        groups = [
            (prompt, _different(row, loop.options.samples.cut))
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        groups = [group for group in groups if len(group[1]) > 1]
        found = _judged(loop, number, *zip(*groups, strict=True)) if groups else []
        lines = [_line(_row(one)) for one in found if one is not None and any(one.pairs())]
        before = "".join(path.read_text(encoding="utf-8") for path in earlier)
        atomic_write(run.directory / COMPARISONS, "".join(lines))
        atomic_write(run.directory / SO_FAR, before + "".join(lines))
        counts = {
            "prompts": len(prompts),
            "comparisons": len(lines),
            "without_two_replies": len(prompts) - len(groups),
            "without_verdict": sum(one is None for one in found),
            "tied": sum(one is not None and not any(one.pairs()) for one in found),
        }
        say(
            "  " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        )
        return run.finish([COMPARISONS], **counts)


def stand(loop: Loop, run: Run, place: Path) -> Standing:
    """The policy's replies to the held-out prompts, which are kept at `place` for its content."""
    path, content = place / _ANSWERS, run.info["content"]
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["policy"] == content:
            return Standing(run, kept["replies"])
    with bar("answering held-out prompts", len(loop.held)) as shown:
        texts = replies(
            run,
            [prompt.messages for prompt in loop.held],
            temperature=0.0,
            max_new_tokens=loop.options.samples.max_new_tokens,
            on_progress=shown.update,
        )
    atomic_write(path, json.dumps({"policy": content, "replies": texts}, ensure_ascii=False))
    return Standing(run, texts)


def wins(loop: Loop, number: int, mine: Sequence[str], others: Sequence[Sequence[str]]) -> list[WinRate]:
    """How often my replies to the held-out prompts beat those of each of the others, by judge or gold as the recipe
    says. What got no verdict does not count."""
    if loop.options.keep.by == "gold" and loop.gold is not None:
        scored = [scores_of(loop.gold.reward, loop.held, texts) for texts in (mine, *others)]
        return [compared(scored[0], scores) for scores in scored[1:]]
    pairs = [[my, its] for texts in others for my, its in zip(mine, texts, strict=True)]
    # all together, so that people are asked once
    found = _judged(loop, number, [*loop.held] * len(others), pairs)
    size = len(loop.held)
    return [_won(found[begin : begin + size]) for begin in range(0, len(found), size)]


def _won(found: Iterable[Comparison | None]) -> WinRate:
    ahead = [one.ranks[1] - one.ranks[0] for one in found if one is not None]
    return WinRate(sum(a > 0 for a in ahead), sum(a == 0 for a in ahead), sum(a < 0 for a in ahead))


def _judged(
    loop: Loop, number: int, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]
) -> list[Comparison | None]:
    with bar("comparing") as shown:
        return loop.referee.make(loop.round(number), shown.update).compare(prompts, replies)


def _sampled(
    run: OpenRun, policy: Run, prompts: Sequence[Prompt], options: SampleOptions, seed: int
) -> list[dict[str, Any]]:
    """Every prompt with its replies, and whether each came to its end; kept in the run."""
    path = run.directory / REPLIES
    if not path.exists():
        model = TextModel.load(policy)
        ids = [model.chat_renderer().prompt(prompt.messages).tolist() for prompt in prompts]
        asked = [one for one in ids for _ in range(options.replies)]
        sampling = SamplingOptions(
            max_new_tokens=options.max_new_tokens, temperature=options.temperature, top_p=1.0, seed=seed
        )
        with bar("sampling", len(asked)) as shown:
            made = model.generate(asked, sampling, on_progress=shown.update)
        lines = []
        for place, prompt in enumerate(prompts):
            part = made[place * options.replies : (place + 1) * options.replies]
            texts = [model.tokenizer.decode(reply.ids) for reply in part]
            ended = [reply.finish_reason == "stop" for reply in part]
            lines.append(_line({"prompt": as_rows(prompt), "replies": texts, "finished": ended}))
        atomic_write(path, "".join(lines))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _different(row: Mapping[str, Any], cut: bool) -> list[str]:
    """The different replies that say something; those that were cut off only where they are wanted."""
    found: dict[str, str] = {}
    for reply, finished in zip(row["replies"], row["finished"], strict=True):
        if reply.strip() and (finished or cut):
            found.setdefault(reply.strip(), reply)
    return list(found.values())


def _row(found: Comparison) -> dict[str, Any]:
    return {"prompt": as_rows(Prompt(found.prompt)), "replies": found.replies, "ranks": found.ranks}


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"

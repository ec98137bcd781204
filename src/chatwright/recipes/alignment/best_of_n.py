"""`best-of-n`: many replies to each prompt, of which the judge's best become demonstrations and all of them comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chatwright import runs
from chatwright.config import as_dict
from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_prompts
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.interop.files import load_model
from chatwright.progress import bar, say
from chatwright.recipes.alignment.judging import judges_of
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.alignment.picking import (
    COMPARISONS,
    DEMONSTRATIONS,
    REPLIES,
    BestOfNOptions,
    append,
    cut_to_batches,
    measured,
    told,
    write_kept,
)
from chatwright.recipes.verb import Place, verb
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.rollouts.experience import Asked, Experience, Judging

_REPLIES_TOGETHER = 256


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
    identity = {**as_dict(options), "judge": judges.identity}
    with runs.start("best-of-n", out, identity, parents, [prompts]) as run:
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
        counts = write_kept(run.directory, options)
        figures = measured(run.directory, options.n)
        for line in told(figures, counts):
            say(line)
        return run.finish(
            [DEMONSTRATIONS, COMPARISONS, REPLIES], prompts=len(found), n=options.n, **figures, **counts
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
    done = cut_to_batches(path, batch, len(asked))
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
            append(path, rows)
            shown.update(begin + len(part), f"{begin + len(part):,} prompts")

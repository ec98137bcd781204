"""`align`: the loop repeated: comparisons of the best policy's replies, a reward model, a better policy."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from chatwright import runs
from chatwright.config import read_file
from chatwright.errors import UserError
from chatwright.evaluation.winning import WinRate
from chatwright.files import aside_of, atomic_write, sync_directory, sync_file, writing
from chatwright.insight.report import write_report
from chatwright.models.interop.files import WEIGHTS, read_config
from chatwright.progress import say
from chatwright.recipes.alignment.loop.comparing import Standing, compare, stand
from chatwright.recipes.alignment.loop.recipe import AlignOptions, at, read_recipe
from chatwright.recipes.alignment.loop.rounds import PROMPTS, Round, begin, play
from chatwright.recipes.alignment.loop.shared import Loop, open_loop
from chatwright.recipes.trained import write_chat_model
from chatwright.recipes.verb import Verb
from chatwright.rewards.judges import as_rows
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer


def _of_recipe(recipe_verb: Callable[[str | Path, str | Path, AlignOptions], Run]) -> Verb[Run]:
    """A verb whose options stand in its recipe; those of `--config` and `key=value` are laid over them."""

    @functools.wraps(recipe_verb)
    def call(recipe: str | Path, out: str | Path, config: str | Path | None = None, **changes: Any) -> Run:
        layers = [read_file(Path(config))] if config else []
        return recipe_verb(recipe, out, read_recipe(recipe, *layers, changes))

    result = cast("Any", call)
    result.options_type = AlignOptions
    return cast("Verb[Run]", result)


@_of_recipe
def align(recipe: str | Path, out: str | Path, options: AlignOptions) -> Run:
    """Repeat the loop that RECIPE, a YAML or JSON file of these keys, describes: sample replies from the best policy so far, have the judge compare them, train a reward model on all comparisons and the policy against it, and keep the new policy where it wins; resumes where it stopped."""
    with at(str(recipe)):
        loop = open_loop(options, Path(out))
    with runs.start("align", out, options, loop.parents, loop.inputs) as run:
        if run.finished:
            return Run(run.directory)
        run.resolve({"prompts": len(loop.learn), "held_out": len(loop.held)})
        rows = ({"prompt": as_rows(prompt), **prompt.facts} for prompt in loop.learn)
        lines = [json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows]
        atomic_write(run.directory / PROMPTS, "".join(lines))
        played, best = _play_all(run, loop)
        return _finish(run, played, best)


def _play_all(run: OpenRun, loop: Loop) -> tuple[list[Round], Standing]:
    """All rounds, and the best policy. Rounds that were finished before a kill do nothing but speak again."""
    start = best = stand(loop, loop.start, run.directory)
    run.cut_metrics(-1)
    run.log(step=0, evaluation=begin(loop, start))
    played: list[Round] = []
    for number in range(1, loop.options.rounds + 1):
        say(f"  round {number} of {loop.options.rounds}: replies of {best.run} are compared")
        made = compare(loop, number, best.run)
        if not made.result["comparisons"]:
            if played:
                say("  there is nothing to learn from any more: the loop ends here")
                break
            raise UserError(
                f"no comparison of {loop.referee.name} can be learnt from ({_counted(made)}): raise "
                "samples.max_new_tokens or samples.temperature, set samples.cut=yes, or take another judge, with a new -o"
            )
        done = play(loop, number, made, best, start)
        run.log(step=number, evaluation=done.evaluation)
        best = done.policy if done.kept else best
        played.append(done)
        verdict = "kept" if done.kept else "not kept"
        say(
            f"  round {number}: {_spoken(done.over_best)} of replies are better than the best so far's: {verdict}"
        )
    return played, best


def _counted(made: Run) -> str:
    names = ("prompts", "without_two_replies", "without_verdict", "tied")
    return ", ".join(f"{made.result[name]:,} {name.replace('_', ' ')}" for name in names)


def _spoken(won: WinRate) -> str:
    low, high = won.interval
    return f"{won.rate:.1%} ({low:.1%} to {high:.1%})"


def _finish(run: OpenRun, played: Sequence[Round], best: Standing) -> Run:
    """Publish the best policy in the run itself, with how all rounds went."""
    _publish(run.directory, best.run)
    kept = [done for done in played if done.kept]
    # where no round was kept, the start stands against itself
    won = kept[-1].over_start if kept else WinRate(0, 0, 0)
    if kept:
        info, place = best.run.info, os.path.relpath(best.run.directory, run.directory)
        entry = {"id": info["id"], "verb": info["verb"], "path": place, "content": info["content"]}
        run.update(parents={**run.info["parents"], "best": entry})
    finished = run.finish(
        [WEIGHTS, "config.json", "tokenizer.json"],
        best=f"round {kept[-1].number}" if kept else "the start",
        kept=len(kept),
        win_rate=won.rate,
        win_interval=list(won.interval) if kept else [0.5, 0.5],
        rounds=[done.result(run.directory) for done in played],
    )
    write_report(finished)
    for done in played:
        mark = "✓" if done.kept else "✗"
        say(f"  {mark} round {done.number}: {_spoken(done.over_start)} better than the start's")
    say(f"  kept: {finished.result['best']}")
    return finished


def _publish(directory: Path, best: Run) -> None:
    """The best policy's files in the public layout; the weights last, in one rename."""
    tokenizer = Tokenizer.load(best.directory)
    write_chat_model(directory, read_config(best.directory), tokenizer, Renderer(tokenizer).template)
    aside = aside_of(directory / WEIGHTS)
    with writing(directory / WEIGHTS):
        try:
            shutil.copyfile(best.directory / WEIGHTS, aside)
            sync_file(aside)
            aside.replace(directory / WEIGHTS)
        finally:
            aside.unlink(missing_ok=True)
        sync_directory(directory)

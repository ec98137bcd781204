"""What all rounds of `align` share, opened and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatwright.corpora.documents import Tally
from chatwright.data.preferences import read_prompts
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.models.interop.files import read_config
from chatwright.progress import say
from chatwright.recipes.alignment.judging import Judges, judges_of
from chatwright.recipes.alignment.loop.recipe import AlignOptions, at
from chatwright.recipes.alignment.loop.referee import Referee, referee_of
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.stores import digest
from chatwright.recipes.trained import wants_files
from chatwright.runs import Run
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loop:
    """The recipe, where its rounds lie, who judges, the policy at the start, and the prompts to learn from and to
    decide on."""

    options: AlignOptions
    place: Path
    start: Run
    referee: Referee
    gold: Judges | None
    learn: Sequence[Prompt]
    held: Sequence[Prompt]

    @property
    def parents(self) -> dict[str, Run]:
        """Every run that the recipe names, by its role."""
        named = [judges.parents for judges in (self.referee.judges, self.gold) if judges]
        return {"policy": self.start, **{role: run for found in named for role, run in found.items()}}

    @property
    def inputs(self) -> list[str | Path]:
        """Every file that the recipe names."""
        return [self.options.prompts]

    def round(self, number: int) -> Path:
        """The folder of a round, from 1 on."""
        return self.place / f"round-{number}"

    def seed(self, number: int) -> int:
        """The seed of a round: after one that was not kept the same policy is asked again, and writes other replies."""
        return self.options.seed + number - 1

    def prompts(self, number: int) -> list[Prompt]:
        """The prompts of a round: the next ones, and after the last the first again."""
        count = self.options.samples.prompts
        places = range((number - 1) * count, number * count)
        return [self.learn[place % len(self.learn)] for place in places]


def open_loop(options: AlignOptions, place: Path) -> Loop:
    """Open and read what the recipe names. Raises UserError, with the key, for what cannot work."""
    with at("policy"):
        start = Run.open(options.policy, CHATS)
    with at("judge"):
        referee = referee_of(options.judge, options.rules)
    with at("gold"):
        gold = judges_of(options.gold, options.rules, role="gold") if options.gold else None
    with at("prompts"):
        skipped = Tally()
        found = list(read_prompts(wants_files(options.prompts), skipped))
        for judges in (referee.judges, gold):
            if judges:
                judges.check(found)
        _check_room(found, start, options)
        learn, held = _split(found, options)
    say(f"  {len(learn):,} prompts to learn from, {len(held):,} to decide on; judged by {referee.name}")
    for reason, count in skipped.items():
        say(f"  skipped {count:,}: {reason} (first: {skipped.places[reason]})")
    return Loop(options, place, start, referee, gold, learn, held)


def _check_room(prompts: Sequence[Prompt], start: Run, options: AlignOptions) -> None:
    """Refuse a prompt that leaves no room for a reply."""
    renderer, context = Renderer(Tokenizer.load(start.directory)), read_config(start.directory).context
    longest = options.samples.max_new_tokens
    for prompt in prompts:
        size = len(renderer.prompt(prompt.messages))
        if size > context - longest:
            raise UserError(
                f"{prompt.source} has {size:,} tokens, which leaves no room for samples.max_new_tokens={longest} in the "
                f"model's context of {context:,}; leave it out, or lower samples.max_new_tokens"
            )


def _split(prompts: Sequence[Prompt], options: AlignOptions) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to learn from and to decide on, each once, in an order that depends on content and seed alone."""
    first: dict[bytes, Prompt] = {}
    for prompt in prompts:
        first.setdefault(digest(prompt.messages, options.seed), prompt)
    ordered = [first[key] for key in sorted(first)]
    held, wanted = options.keep.prompts, options.samples.prompts + options.keep.prompts
    if len(ordered) < wanted:
        raise UserError(
            f"there are {len(ordered):,} different ones in {options.prompts}, and samples.prompts="
            f"{options.samples.prompts} with keep.prompts={held} need {wanted:,}; lower these or give more prompts"
        )
    return ordered[held:], ordered[:held]

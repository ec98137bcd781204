"""Preferences as tokens, encoded once into the run, with some prompts held out to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chatwright.corpora.documents import Tally
from chatwright.data.group_store import GroupRows, GroupStore
from chatwright.data.records import Comparison, LabelledReply, Message, Prompt
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.progress import say
from chatwright.recipes.stores import digest, encoding, locked, lowest, told
from chatwright.runs import OpenRun
from chatwright.tokenization.chat import Renderer

T = TypeVar("T", Comparison, LabelledReply)
Read = Callable[..., Iterator[T]]
Encode = Callable[..., GroupStore]

_SHARE_HELD_OUT = 20


@dataclass(frozen=True)
class Preferences:
    """Both sides of a preference file as group stores; no prompt is on both."""

    train: GroupStore
    validation: GroupStore | None

    def rows(
        self, seed: int, limit: int, leads: bool, shared: bool = True
    ) -> tuple[GroupRows, GroupRows | None]:
        """Training groups in a new order every epoch, and held-out groups in theirs, none over `limit` tokens."""
        train = GroupRows(self.train, seed, limit=limit, shared=shared)
        held = GroupRows(self.validation, shuffle=False, limit=limit) if self.validation else None
        if leads:
            said = f"{held.rows_in_epoch(0):,}" if held else "none (too few prompts)"
            say(f"  {train.rows_in_epoch(0):,} prompts to learn from, {said} to measure on")
            for reason, (count, first) in told(self.train.sequences).items():
                say(f"  skipped {count:,}: {reason} (first: {first})")
            if train.skipped:
                say(f"  left out {train.skipped:,} with a reply past {limit:,} tokens")
        return train, held


def preference_stores(
    world: World,
    run: OpenRun,
    paths: str | Path,
    validation: str | None,
    read: Read[T],
    encode: Encode,
    renderer: Renderer,
    seed: int,
) -> Preferences:
    """Encode preferences into the run, once. Without a validation file the twentieth of all prompts (at most 1,000)
    whose digests are lowest is held out; of fewer than 20 prompts none."""
    place, skipped = run.directory / "tokens", Tally()
    if world.leads:
        held = frozenset[bytes]() if validation else held_out((r.prompt for r in read(paths)), seed)

        def write(records: Iterable[T], side: str, title: str, notes: Tally | None = None) -> None:
            with locked(place / side):
                if not (place / side).is_dir():
                    encoding(encode, records, renderer, title, "prompts", notes)(place / side)

        learnt = (r for r in read(paths, skipped) if digest(r.prompt, seed) not in held)
        write(learnt, "train", "encoding preferences", skipped)
        if validation or held:
            taken = (r for r in read(paths) if digest(r.prompt, seed) in held)
            write(read(validation) if validation else taken, "validation", "encoding held-out preferences")
    world.wait()
    expected = renderer.tokenizer.digest
    side = place / "validation"
    return Preferences(
        GroupStore.open(place / "train", expected),
        GroupStore.open(side, expected) if side.is_dir() else None,
    )


def held_out(prompts: Iterable[Sequence[Message]], seed: int) -> frozenset[bytes]:
    """The digests of the prompts that are measured on (`lowest`)."""
    return lowest((digest(prompt, seed) for prompt in prompts), _SHARE_HELD_OUT)


def split_prompts(
    prompts: Sequence[Prompt], validation: Sequence[Prompt] | None, most: int, seed: int
) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to learn from, and at most `most` to measure on: those given, or a share of the first, taken out of it."""
    if validation is not None:
        chosen = [validation[len(validation) * i // most] for i in range(min(most, len(validation)))]
        return list(prompts), chosen if len(validation) > most else list(validation)
    ordered = sorted(prompts, key=lambda prompt: digest(prompt.messages, seed))
    count = min(most, len(prompts) // _SHARE_HELD_OUT)
    taken = {digest(prompt.messages, seed) for prompt in ordered[:count]}
    kept = [prompt for prompt in prompts if digest(prompt.messages, seed) not in taken]
    if not kept:
        raise UserError("all prompts are the same, so none can be held out; give validation=FILE")
    return kept, ordered[:count]

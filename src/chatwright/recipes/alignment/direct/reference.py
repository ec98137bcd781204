"""The reference of direct preference objectives: log-probabilities of stored replies, worked out once before training.

They lie beside the tokens under a name with the reference's content, the precision and the attention kernel, so that no
second model is kept while training, and a run that is resumed computes only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.group_store import GroupStore
from chatwright.data.groups import Reply, by_prompt, by_tokens
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.interop.files import load_model, read_config
from chatwright.objectives.pairs import reply_logprobs
from chatwright.objectives.replies import collate_replies
from chatwright.progress import bar
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.verb import Place
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.rollouts.experience import frozen

_PREFIX = "reference-"
_CHUNK = 1024
_SECONDS_BETWEEN_SAVES = 10.0


def reference_of(start: Run, reference: Place | None) -> Run:
    """The run that serves as reference: `start` unless another is given, whose tokenizer has to be the same."""
    if reference is None:
        return start
    run = Run.open(reference, ["pretrain", *CHATS])
    if Tokenizer.load(run.directory).digest != Tokenizer.load(start.directory).digest:
        raise UserError(
            f"reference={reference} has another tokenizer than {start}; give a run that was made with the same one"
        )
    return run


def with_room(store: GroupStore, *names: str) -> GroupStore:
    """The store with zeros for numbers that are filled in later, in place, and without what earlier commands kept."""
    kept = {name: values for name, values in store.numbers.items() if not name.startswith(_PREFIX)}
    room = {name: np.zeros(store.num_sequences, np.float32) for name in names}
    return replace(store, numbers={**kept, **room})


class Reference:
    """A frozen model that computes as the plan says; it is loaded when a number is missing, and only for as long."""

    micro_tokens = 2048

    def __init__(self, run: Run, world: World, limit: int) -> None:
        context = read_config(run.directory).context
        if limit > context:
            raise UserError(
                f"the reference {run} has a context of {context} and replies go up to {limit} tokens; "
                f"give limit={context}"
            )
        self._run, self._world, self._limit = run, world, limit
        self._dtype, self._kernel = torch.float32, "plain"

    def computing(self, dtype: torch.dtype, kernel: str) -> Self:
        """This reference, computing in that type with that attention kernel."""
        self._dtype, self._kernel = dtype, kernel
        return self

    def fill(self, store: GroupStore, name: str, replies: Callable[[int], Reply], suffix: str = "") -> None:
        """Put log π_ref of `replies(s)`, for every sequence s that is learnt from, into the store's number `name`."""
        content = str(self._run.info["content"])[:12]
        precision = str(self._dtype).removeprefix("torch.")
        kept = f"{_PREFIX}{content}-{precision}-{self._kernel}{suffix}"
        values = self._world.share(_kept(store, kept) if self._world.leads else None)
        usable = np.flatnonzero(np.repeat(store.lengths() <= self._limit, np.diff(store.groups)))
        chunks = [usable[begin : begin + _CHUNK] for begin in range(0, len(usable), _CHUNK)]
        missing = [chunk for chunk in chunks if np.isnan(values[chunk]).any()]
        if missing:
            self._compute(store, kept, values, missing, replies)
        store.numbers[name][:] = np.nan_to_num(values)

    def _compute(
        self,
        store: GroupStore,
        kept: str,
        values: NDArray[np.float32],
        missing: list[NDArray[np.int64]],
        replies: Callable[[int], Reply],
    ) -> None:
        model = frozen(load_model(self._run.directory, self._world.device), self._dtype)
        model.kernel = self._kernel
        done, saved = 0, time.monotonic()
        with bar("reference log-probabilities", sum(map(len, missing))) as shown:
            for chunk in missing:
                numbered = [(int(place), replies(int(place))) for place in chunk]
                for place, value in self._world.gather(self._sums(model, numbered)):
                    values[place] = value
                done += len(chunk)
                shown.update(done, f"{done:,} replies")
                is_due = time.monotonic() - saved >= _SECONDS_BETWEEN_SAVES or chunk is missing[-1]
                if self._world.leads and is_due:
                    store.save_numbers(kept, values)
                    saved = time.monotonic()

    @torch.no_grad()
    def _sums(self, model: Decoder, numbered: list[tuple[int, Reply]]) -> list[tuple[int, float]]:
        """This process's share of the replies' log-probabilities, each with its number."""
        # as the objectives over pairs lay them out, so that a first ratio is exactly 0
        groups = by_prompt(replace(r, numbers={"number": float(n)}, tokens={}) for n, r in numbered)
        found = []
        for part in by_tokens(self.micro_tokens)(groups)[self._world.rank :: self._world.size]:
            batch = collate_replies(part).to(self._world.device)
            sums = reply_logprobs(model, batch).tolist()
            found += list(zip(map(int, batch["number"].tolist()), sums, strict=True))
        return found


def _kept(store: GroupStore, name: str) -> NDArray[np.float32]:
    """What an earlier command worked out, NaN where it did not come to it."""
    if (store.directory / f"{name}.npy").is_file():
        return np.array(GroupStore.open(store.directory).numbers[name])
    return np.full(store.num_sequences, np.nan, np.float32)

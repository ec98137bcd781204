"""Batched generation: many prompts of different lengths, each answered as if it were alone.

Prompts of like length go together; the beginning that a whole batch shares is computed once; rows that are finished
leave the batch, so that one long answer does not hold up the rest.

Shape suffixes: B batch, T prompt length, S slots in the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from chatwright.errors import UserError
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import (
    SamplingOptions,
    chances,
    next_tokens,
    seen_tokens,
    settled_seed,
    token_logprobs,
)
from chatwright.models.decoder import Decoder

Ids = Sequence[int]
Reason = Literal["stop", "length"]

_BATCH_ROWS = 256
_CACHE_BYTES = 1 << 30
_CHUNK = 512
# Compacting copies the cache, so it waits until it pays.
_KEPT_SHARE = 0.75


@dataclass(frozen=True)
class Vocabulary:
    """Which tokens end an answer, and which are never written. An end token may not be banned."""

    end_ids: frozenset[int]
    banned: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        assert not self.end_ids & self.banned, "an end token is banned"


@dataclass(frozen=True)
class Generated:
    """What was written after a prompt.

    `ids` include the end token where one was written. `finish_reason` is `stop` (an end token, or the caller's stop)
    or `length` (`max_new_tokens` or the end of the context). `logprobs`, where asked for, are those of `ids` under the
    full distribution at the sampling temperature (1 when greedy), before any truncation, penalty or ban.
    """

    ids: list[int]
    finish_reason: Reason
    logprobs: list[float] | None = None


@dataclass
class _Row:
    """One prompt on its way."""

    index: int
    number: int
    prompt: Ids
    room: int
    ids: list[int]
    logprobs: list[float]
    reason: Reason | None = None


def generate(
    model: Decoder | Inference,
    prompts: Sequence[Ids],
    options: SamplingOptions,
    vocabulary: Vocabulary,
    *,
    stops: Callable[[int, Ids], bool] | None = None,
    logprobs: bool = False,
    on_progress: Callable[[int], None] | None = None,
    batch_rows: int = _BATCH_ROWS,
    numbers: Sequence[int] | None = None,
) -> list[Generated]:
    """Answer every prompt; a row's answer does not depend on the others. Results in the order of the prompts.

    `stops(i, ids)` ends prompt i's answer after `ids`; `on_progress(n)` hears how many answers are done. Row i draws
    with (seed, numbers[i]), by default (seed, i). Raises UserError for an empty prompt and for one that fills the model's context.
    """
    inference = model if isinstance(model, Inference) else Inference(model)
    seed = settled_seed(options)
    rows = [
        _Row(i, i if numbers is None else numbers[i], ids, _room(ids, options, inference, i), [], [])
        for i, ids in enumerate(prompts)
    ]
    done = 0
    for batch in _batches(rows, inference, batch_rows):
        for finished in _Batch(inference, batch, options, vocabulary, seed, logprobs).run(stops):
            done += len(finished)
            if on_progress:
                on_progress(done)
    return [Generated(r.ids, r.reason or "length", r.logprobs if logprobs else None) for r in rows]


@torch.inference_mode()
def stream(
    model: Decoder | Inference, prompt: Ids, options: SamplingOptions, vocabulary: Vocabulary, row: int = 0
) -> Iterator[tuple[int, Reason | None]]:
    """Answer one prompt token by token: each token, with the reason to end on the last one.

    The tokens are those that `generate` gives to row `row`.
    """
    inference = model if isinstance(model, Inference) else Inference(model)
    one = _Row(row, row, prompt, _room(prompt, options, inference, 0), [], [])
    batch = _Batch(inference, [one], options, vocabulary, settled_seed(options), logprobs=False)
    while one.reason is None:
        batch.step(None)
        yield one.ids[-1], one.reason


def _room(prompt: Ids, options: SamplingOptions, inference: Inference, index: int) -> int:
    if len(prompt) == 0:
        raise UserError(f"prompt {index + 1} has no tokens; give it at least one")
    context = inference.options.context
    if len(prompt) >= context:
        raise UserError(
            f"prompt {index + 1} has {len(prompt):,} tokens and the model's context is {context:,}, "
            "which leaves no room for an answer; shorten the prompt"
        )
    return min(options.max_new_tokens, context - len(prompt))


def _batches(rows: Sequence[_Row], inference: Inference, most: int) -> Iterator[list[_Row]]:
    """Rows of like length and like beginning together, as many as the cache's memory allows."""
    o = inference.options
    slot_bytes = 2 * o.layers * o.kv_heads * o.head_dim * inference.dtype.itemsize
    # Longest first: a batch that is too large for the memory shows at once, not after an hour.
    waiting = sorted(rows, key=lambda row: (-len(row.prompt), tuple(row.prompt)))
    start = 0
    while start < len(waiting):
        slots = len(waiting[start].prompt) + max(row.room for row in waiting[start : start + most])
        count = max(1, min(most, _CACHE_BYTES // (slots * slot_bytes)))
        yield waiting[start : start + count]
        start += count


class _Batch:
    """Rows that are answered together: their cache, the logits after their last tokens, and what is left to do."""

    def __init__(
        self,
        inference: Inference,
        rows: Sequence[_Row],
        options: SamplingOptions,
        vocabulary: Vocabulary,
        seed: int,
        logprobs: bool,
    ) -> None:
        self._inference, self._options, self._vocabulary = inference, options, vocabulary
        self._logprobs = logprobs
        self._rows = list(rows)
        self._banned = torch.tensor(sorted(vocabulary.banned), dtype=torch.long, device=inference.device)
        self._next: Tensor | None = None
        self._made = 0
        self._longest = max(len(row.prompt) for row in rows)
        starts = [self._longest - len(row.prompt) for row in rows]
        self._starts = torch.tensor(starts, device=inference.device) if any(starts) else None
        self._cache = inference.cache(1, self._longest + min(64, max(row.room for row in rows)))
        self._chances = None if options.is_greedy else _chances(seed, rows, inference.device)
        wanted = options.repetition_penalty != 1
        vocab_size = inference.options.vocab_size
        self._seen = (
            seen_tokens([r.prompt for r in rows], vocab_size).to(inference.device) if wanted else None
        )

    @torch.inference_mode()
    def run(self, stops: Callable[[int, Ids], bool] | None) -> Iterator[list[_Row]]:
        """Step until every row is finished; yields the rows that a step finished."""
        while self._rows:
            finished = self.step(stops)
            if finished:
                yield finished
            active = [place for place, row in enumerate(self._rows) if row.reason is None]
            if len(active) <= _KEPT_SHARE * len(self._rows):
                self._keep(active)

    def step(self, stops: Callable[[int, Ids], bool] | None) -> list[_Row]:
        """Add one token to every row; returns the rows that it finishes."""
        logits_BV = self._prefill() if self._next is None else self._decode(self._next)
        choice_BV = (
            logits_BV.index_fill(1, self._banned, float("-inf")) if self._banned.numel() else logits_BV
        )
        chance_B = None if self._chances is None else self._chances[:, self._made]
        self._next = next_tokens(choice_BV, self._options, chance_B, self._seen)
        self._made += 1
        if self._seen is not None:
            self._seen.scatter_(1, self._next[:, None], True)
        scores = (
            token_logprobs(logits_BV, self._next, self._options.temperature).tolist()
            if self._logprobs
            else []
        )
        finished = []
        for place, token in enumerate(self._next.tolist()):
            row = self._rows[place]
            if row.reason is not None:
                continue
            row.ids.append(token)
            if self._logprobs:
                row.logprobs.append(scores[place])
            row.reason = self._reason(row, token, stops)
            if row.reason is not None:
                finished.append(row)
        return finished

    def _reason(self, row: _Row, token: int, stops: Callable[[int, Ids], bool] | None) -> Reason | None:
        if token in self._vocabulary.end_ids or (stops is not None and stops(row.index, row.ids)):
            return "stop"
        return "length" if len(row.ids) >= row.room else None

    def _decode(self, last_B: Tensor) -> Tensor:
        return self._inference.step(last_B, self._cache, self._starts)

    def _prefill(self) -> Tensor:
        """Run the prompts, shorter ones after empty slots: equal ones once, and what all begin with once."""
        device = self._inference.device
        prompts = [tuple(row.prompt) for row in self._rows]
        order = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        padded = [[0] * (self._longest - len(prompt)) + list(prompt) for prompt in order]
        ids_BT = torch.tensor(padded, device=device)
        starts = [self._longest - len(prompt) for prompt in order]
        starts_B = torch.tensor(starts, device=device) if any(starts) else None
        shared = _shared_beginning(ids_BT) if starts_B is None and len(order) > 1 else 0
        for begin in range(0, shared, _CHUNK):
            chunk = ids_BT[:1, begin : min(begin + _CHUNK, shared)]
            self._inference.prefill(chunk, self._cache, is_wanted=False)
        self._cache.keep(torch.zeros(len(order), dtype=torch.long, device=device))
        for begin in range(shared, self._longest, _CHUNK):
            chunk, is_last = ids_BT[:, begin : begin + _CHUNK], begin + _CHUNK >= self._longest
            logits_BV = self._inference.prefill(chunk, self._cache, starts_B, is_last)
        if len(order) < len(prompts):
            place_B = torch.tensor([order[prompt] for prompt in prompts], device=device)
            self._cache.keep(place_B)
            logits_BV = logits_BV[place_B]
        return logits_BV

    def _keep(self, active: Sequence[int]) -> None:
        self._rows = [self._rows[place] for place in active]
        if not active:
            return
        chosen = torch.tensor(active, device=self._inference.device)
        self._cache.keep(chosen)
        self._next, self._starts, self._chances, self._seen = (
            None if tensor is None else tensor[chosen]
            for tensor in (self._next, self._starts, self._chances, self._seen)
        )


def _chances(seed: int, rows: Sequence[_Row], device: torch.device) -> Tensor:
    longest = max(row.room for row in rows)
    return torch.stack([torch.from_numpy(chances(seed, row.number, longest)) for row in rows]).to(device)


def _shared_beginning(ids_BT: Tensor) -> int:
    """How many first tokens all rows share, at most all but one."""
    same_T = (ids_BT == ids_BT[:1]).all(dim=0)[:-1]
    return int(same_T.long().cumprod(dim=0).sum())

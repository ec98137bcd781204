"""What each step of the engine runs: the next token of every reply, and as much of the prompts as lets nobody wait long.

A step is made of parts of different sequences, which one call runs together. While replies are being written, prompts
go in pieces that take about `_STALL` seconds; alone they go in large ones. Among prompts the shortest rest goes first, but
a quarter belongs to the oldest, so that no stream of short ones holds it up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from chatwright.generation.continuous.choosing import Choice, chosen, likeliest, logprob_of, without_banned
from chatwright.generation.continuous.contract import Finish, Piece, Ticket
from chatwright.generation.continuous.drafts import Drafts
from chatwright.generation.continuous.slots import Slot, Slots
from chatwright.generation.inference import Inference
from chatwright.generation.ways import Part

_STALL = 0.08
_ALONE, _LEAST, _FIXED = 256, 32, 128
_OLDEST_SHARE = 4


@dataclass
class Running:
    """A request that has a slot; of its tokens, prompt and reply, the slot's cache holds the first."""

    ticket: Ticket
    slot: Slot
    tokens: list[int]  # the prompt, then what was written
    room: int
    choice: Choice
    drafts: Drafts
    ids: list[int] = field(default_factory=list)
    guessed: list[int] = field(default_factory=list)  # what may follow the last token, for the step that runs
    is_over: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def rest(self) -> int:
        """Tokens that the model has not run."""
        return len(self.tokens) - self.slot.cache.length

    @property
    def is_writing(self) -> bool:
        return bool(self.ids)


# What is to be delivered to a request, and the error that ended it.
Outcome = tuple[Running, Piece, BaseException | None]


@dataclass
class Tally:
    """What was done so far, in tokens and requests."""

    prefilled_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    guessed_tokens: int = 0
    accepted_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    steps: int = 0


class Scheduler:
    """The sequences that run, and the steps that bring them on. Belongs to one thread."""

    def __init__(self, inference: Inference, slots: int, context: int, drafts: int = 0) -> None:
        self.inference, self.context = inference, context
        # elsewhere a token's numbers would depend on what was guessed
        self._drafts = drafts if inference.is_exact else 0
        self.slots = Slots(inference, slots, context)
        self.running: list[Running] = []
        self.tally = Tally()
        self._token_seconds = 0.0

    def start(self, ticket: Ticket) -> None:
        """Give a request a slot, of which one must be free."""
        ask = ticket.ask
        tokens = list(ask.prompt)
        slot = self.slots.take(tokens)
        try:
            choice = Choice(ask, self.inference.options.vocab_size)
        except BaseException:
            self.slots.give_back(slot)
            raise
        ticket.reused_tokens = slot.cache.length
        self.tally.reused_tokens += slot.cache.length
        room = min(ask.sampling.max_new_tokens, self.context - len(tokens))
        self.running.append(Running(ticket, slot, tokens, room, choice, Drafts(self._drafts)))

    def step(self) -> list[Outcome]:
        """Bring the sequences on. Returns what is to be delivered; with a finish reason the slot is free again."""
        planned = self._planned()
        begun = time.perf_counter()
        ran = self._run(planned)
        self._clock(planned, time.perf_counter() - begun)
        self.tally.steps += 1
        return self._choose(ran)

    def end(self, one: Running, reason: Finish) -> None:
        """Free a request's slot; after an error what it holds is forgotten."""
        self.running.remove(one)
        one.is_over = True
        self.slots.give_back(one.slot, reason != "error")
        counts = {"cancelled": "cancelled", "error": "failed"}
        name = counts.get(reason, "finished")
        setattr(self.tally, name, getattr(self.tally, name) + 1)

    def _planned(self) -> list[tuple[Running, list[int]]]:
        """What each sequence runs next: its last token and what is guessed to follow, or the next ones of its prompt."""
        writing = [one for one in self.running if one.is_writing]
        reading = [one for one in self.running if not one.is_writing]
        for one in writing:
            one.guessed = one.drafts.guess(one.tokens, one.room - len(one.ids) - 1, len(writing))
        planned = [(one, [one.tokens[-1], *one.guessed]) for one in writing]
        for one, count in zip(reading, self._shares(reading, self._budget(bool(writing))), strict=True):
            if count:
                begin = one.slot.cache.length
                planned.append((one, one.tokens[begin : begin + self._aligned(one, count)]))
        return planned

    def _shares(self, reading: Sequence[Running], budget: int) -> list[int]:
        """How many tokens of each prompt to run; no more than the shortest rest where that is enough to run well, so that
        its reply begins at once."""
        shares = [0] * len(reading)
        by_rest = sorted(range(len(reading)), key=lambda place: reading[place].rest)
        if reading:
            budget = min(budget, max(reading[by_rest[0]].rest, _LEAST))
        for place, most in [(0, budget // _OLDEST_SHARE), *((place, budget) for place in by_rest)]:
            if place < len(reading):
                more = min(reading[place].rest - shares[place], most, budget - sum(shares))
                shares[place] += more
        return shares

    def _budget(self, someone_writes: bool) -> int:
        """Tokens of prompts in this step."""
        if not self.inference.is_exact:
            return _FIXED
        if not someone_writes or self._token_seconds == 0:
            return _ALONE
        return int(min(max(_STALL / self._token_seconds, _LEAST), _ALONE))

    def _aligned(self, one: Running, count: int) -> int:
        """Where numbers depend on what runs together, prompts are cut at the same places whoever else is here."""
        if self.inference.is_exact:
            return count
        begin = one.slot.cache.length
        return min(one.rest, _FIXED - begin % _FIXED)

    def _clock(self, planned: Sequence[tuple[Running, list[int]]], seconds: float) -> None:
        """Learn what a token of a prompt costs."""
        count = sum(len(ids) for _, ids in planned)
        if count >= _LEAST:
            rate = seconds / count
            self._token_seconds = rate if self._token_seconds == 0 else 0.7 * self._token_seconds + 0.3 * rate

    def _run(
        self, planned: Sequence[tuple[Running, list[int]]]
    ) -> Sequence[tuple[Running, Tensor | BaseException]]:
        """The logits of those whose tokens are all run, [1 + guessed, V]; where the model fails, each is tried alone."""
        begun = [one.slot.cache.length for one, _ in planned]
        try:
            return self._run_together(planned)
        except Exception as error:
            for (one, _), length in zip(planned, begun, strict=True):
                one.slot.cut(length)
            if len(planned) == 1 and not planned[0][0].guessed:
                return [(planned[0][0], error)]
            alone = [(one, ids[: len(ids) - len(one.guessed)]) for one, ids in planned]
            for one, _ in planned:
                one.guessed = []
            return [found for each in alone for found in self._run([each])]

    def _run_together(
        self, planned: Sequence[tuple[Running, list[int]]]
    ) -> Sequence[tuple[Running, Tensor | BaseException]]:
        parts, wanting, counts = [], [], []
        for one, ids in planned:
            is_last = len(ids) - len(one.guessed) == one.rest
            parts.append(Part(one.slot.cache, ids, 1 + len(one.guessed) if is_last else 0))
            if is_last:
                wanting.append(one)
                counts.append(1 + len(one.guessed))
        logits_RV = self.inference.run(parts)
        for one, ids in planned:
            one.slot.tokens.extend(ids)
            if not one.is_writing:
                self.tally.prefilled_tokens += len(ids)
        return list(zip(wanting, torch.split(logits_RV, counts), strict=True)) if wanting else []

    def _choose(self, ran: Sequence[tuple[Running, Tensor | BaseException]]) -> list[Outcome]:
        """The next token of each, and those behind it for as long as what was guessed is what is chosen."""
        results = [self._failed(one, found) for one, found in ran if isinstance(found, BaseException)]
        sound = [(one, found) for one, found in ran if isinstance(found, Tensor)]
        left, place = sound, 0
        begun = [len(one.tokens) for one, _ in sound]
        while left:
            results += self._choose_one([(one, logits_RV[place]) for one, logits_RV in left])
            left = [(one, found) for one, found in left if self._comes_true(one, place)]
            place += 1
        for (one, _), length in zip(sound, begun, strict=True):
            self._forget_guesses(one, max(0, len(one.tokens) - length - 1))
        return results

    def _comes_true(self, one: Running, place: int) -> bool:
        """Whether the token just written is the one guessed there, so that the numbers behind it hold."""
        return not one.is_over and place < len(one.guessed) and one.tokens[-1] == one.guessed[place]

    def _forget_guesses(self, one: Running, right: int) -> None:
        """Count the guesses, of which so many were right, and take the others out of the cache."""
        guessed, one.guessed = len(one.guessed), []
        self.tally.guessed_tokens += guessed
        self.tally.accepted_tokens += right
        if guessed and not one.is_over:
            one.slot.cut(len(one.tokens) - 1)
            one.drafts.judge(guessed, right)

    def _choose_one(self, sound: Sequence[tuple[Running, Tensor]]) -> list[Outcome]:
        """The next token of each, and what follows from it."""
        results: list[Outcome] = []
        logits_BV = torch.stack([logits_V for _, logits_V in sound])
        # a sum is finite where all are
        finite = logits_BV.sum(dim=1).isfinite().tolist()
        changed_BV = without_banned(logits_BV, [one.choice for one, _ in sound])
        kept = []
        for row, (one, _) in enumerate(sound):
            try:
                if not finite[row]:
                    raise ArithmeticError("the model's numbers are not finite")
                one.choice.change(changed_BV[row])
                kept.append(row)
            except Exception as error:
                results.append(self._failed(one, error))
        if not kept:
            return results
        rows_BV = changed_BV if len(kept) == len(sound) else changed_BV[kept]
        tokens = chosen(rows_BV, [sound[row][0].choice for row in kept])
        for row, token in zip(kept, tokens, strict=True):
            one = sound[row][0]
            try:
                results.append((one, self._written(one, logits_BV[row], token), None))
            except Exception as error:
                results.append(self._failed(one, error))
        return results

    def _written(self, one: Running, logits_V: Tensor, token: int) -> Piece:
        ask = one.ticket.ask
        one.ids.append(token)
        one.tokens.append(token)
        one.choice.take(token)
        self.tally.generated_tokens += 1
        reason: Finish | None = None
        if token in ask.vocabulary.end_ids or (ask.stops is not None and ask.stops(one.ids)):
            reason = "stop"
        elif len(one.ids) >= one.room:
            reason = "length"
        temperature = ask.sampling.temperature
        logprobs = [logprob_of(logits_V, token, temperature)] if ask.logprobs or ask.top_logprobs else None
        top = [likeliest(logits_V, ask.top_logprobs, temperature)] if ask.top_logprobs else None
        if reason is not None:
            self.end(one, reason)
        return Piece([token], logprobs, top, reason)

    def _failed(self, one: Running, error: BaseException) -> Outcome:
        self.end(one, "error")
        return one, Piece([], finish_reason="error"), error

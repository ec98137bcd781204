"""Beam search: the likeliest target of a source, as far as a few partial targets side by side can find it.

A partial target is worth its log-probability; a whole one, its log-probability over a power of its length (Wu et al.
2016, section 7, without the coverage term). The order of events is that of `transformers`, so that both find the same.

Shape suffixes: B sentences, N beams, R = B·N rows, S source length, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatwright.config import at_least, option
from chatwright.data.packing import PADDING
from chatwright.errors import UserError
from chatwright.generation.cache import Cache
from chatwright.generation.engine import Ids, Vocabulary
from chatwright.models.encoder_decoder import Crossed, EncoderDecoder

_NEVER = -1e9
_KEPT_SHARE = 0.6
_FIRST_SLOTS = 32


@dataclass(frozen=True)
class BeamOptions:
    """How a target is searched for."""

    beams: int = option(4, "partial targets that are followed side by side; 1: always the likeliest token")
    max_new_tokens: int | None = option(
        None, "the most tokens of a target, its end included; default: twice those of its source and 16"
    )
    length_penalty: float = option(
        1.0, "a target's log-probability is divided by its length to this power; more prefers longer ones"
    )
    early_stopping: bool = option(False, "stop at as many whole targets as beams, even if better may come")
    batch: int = option(64, "sources that are worked on together")

    def __post_init__(self) -> None:
        at_least(self, 1, "beams", "max_new_tokens", "batch")
        if not abs(self.length_penalty) < 10:
            raise UserError(f"length_penalty={self.length_penalty:g} must be between -10 and 10")


@dataclass(frozen=True)
class Found:
    """The best target: its ids, with the end token where one was written, and its score."""

    ids: list[int]
    score: float


def beam_search(
    model: EncoderDecoder,
    sources: Sequence[Ids],
    options: BeamOptions,
    vocabulary: Vocabulary,
    on_progress: Callable[[int], None] | None = None,
) -> list[Found]:
    """The best target of every source, in their order; one does not depend on the others.

    vocabulary: one end token. `on_progress(n)` hears how many are done. Raises UserError for a source that has no token,
    or more than the model's context.
    """
    context = model.options.context
    for number, ids in enumerate(sources, 1):
        if not 0 < len(ids) <= context:
            raise UserError(
                f"text {number} has {len(ids):,} tokens and the model takes 1 to {context:,}; shorten it"
            )
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    found: list[Found | None] = [None] * len(sources)
    for start in range(0, len(order), options.batch):
        chosen = order[start : start + options.batch]
        search = _Search(model, [sources[index] for index in chosen], options, vocabulary)
        for place, result in search.run():
            found[chosen[place]] = result
        if on_progress:
            on_progress(start + len(chosen))
    return [result for result in found if result is not None]


class _Search:
    """Sources that are worked on together: what is known of them, and the partial and whole targets of each."""

    @torch.inference_mode()
    def __init__(
        self, model: EncoderDecoder, sources: Sequence[Ids], options: BeamOptions, vocabulary: Vocabulary
    ) -> None:
        [self._end] = vocabulary.end_ids
        self._model, self._options, o = model, options, model.options
        self._device = model.embedding.weight.device
        self._banned = torch.tensor(sorted(vocabulary.banned), dtype=torch.long, device=self._device)
        batch, beams = len(sources), options.beams
        self._places = torch.arange(batch, device=self._device)
        limits = [options.max_new_tokens or 2 * len(ids) + 16 for ids in sources]
        self._limits_B = torch.tensor([min(o.context, limit) for limit in limits], device=self._device)
        self._crossed, self._seen_B1S = self._read(sources)
        slots = min(_FIRST_SLOTS, int(self._limits_B.max()))
        self._cache = Cache(
            o.decoder_layers, batch * beams, o.heads, o.head_dim, slots, model.compute_dtype, self._device
        )
        shape = (batch, beams)
        self._ids_BNT = torch.full((*shape, int(self._limits_B.max())), o.start, device=self._device)
        self._last_BN = torch.full(shape, o.start, device=self._device)
        # all beams begin alike, so only the first may go on at first
        self._scores_BN = torch.full(shape, _NEVER, device=self._device)
        self._scores_BN[:, 0] = 0.0
        self._whole_BNT, self._whole_lengths_BN = self._ids_BNT.clone(), torch.zeros_like(self._last_BN)
        self._whole_scores_BN = torch.full(shape, _NEVER, device=self._device)
        self._is_whole_BN = torch.zeros(shape, dtype=torch.bool, device=self._device)
        self._made = 0

    def _read(self, sources: Sequence[Ids]) -> tuple[list[Crossed], Tensor | None]:
        longest = max(map(len, sources))
        inputs = torch.full((len(sources), longest), self._model.options.start)
        segments = torch.full((len(sources), longest), PADDING)
        for row, ids in enumerate(sources):
            inputs[row, : len(ids)] = torch.as_tensor(ids)
            segments[row, : len(ids)] = 0
        is_even = bool((segments >= 0).all())
        inputs, segments = inputs.to(self._device), segments.to(self._device)
        memory = self._model.encode(inputs, None if is_even else segments)
        return self._model.crossed(memory), None if is_even else (segments >= 0)[:, None, :]

    @torch.inference_mode()
    def run(self) -> Iterator[tuple[int, Found]]:
        """Search to the end; yields the place of each source with its best target as soon as that is known."""
        while len(self._places):
            is_done_B = self._greedy_step() if self._options.beams == 1 else self._beam_step()
            # what is done and kept in the batch has no place any more
            for row in torch.nonzero(is_done_B & (self._places >= 0)).flatten().tolist():
                yield int(self._places[row]), self._best(row)
                self._places[row] = -1
            going = torch.nonzero(self._places >= 0).flatten()
            if len(going) <= _KEPT_SHARE * len(self._places):
                self._keep(going)

    def _best(self, row: int) -> Found:
        length = int(self._whole_lengths_BN[row, 0])
        return Found(self._whole_BNT[row, 0, :length].tolist(), float(self._whole_scores_BN[row, 0]))

    def _logits(self) -> Tensor:
        """The logits after the last tokens of all partial targets, [B, N, V] float32, and room for what comes."""
        batch, beams = self._last_BN.shape
        seen = None if self._seen_B1S is None else self._seen_B1S.expand(-1, beams, -1)
        position = torch.full((1,), self._made, device=self._device)
        hidden = self._model.decode(
            self._last_BN.reshape(-1, 1), self._crossed, position, None, seen, self._cache
        )
        self._made += 1
        return self._model.logits(hidden.squeeze(1)).view(batch, beams, -1)

    def _allowed(self, logits_BNV: Tensor) -> Tensor:
        return logits_BNV.index_fill(2, self._banned, float("-inf")) if self._banned.numel() else logits_BNV

    def _value(self, scores: Tensor) -> Tensor:
        """What a whole target is worth."""
        worth: Tensor = scores / self._made**self._options.length_penalty
        return worth

    def _greedy_step(self) -> Tensor:
        """Add the likeliest token to every target; returns which sources are done, [B]."""
        logits_B1V = self._logits()
        self._last_BN = self._allowed(logits_B1V).argmax(dim=-1)
        chosen = logits_B1V.gather(2, self._last_BN[..., None]).squeeze(2) - logits_B1V.logsumexp(dim=-1)
        self._scores_BN = self._scores_BN + chosen
        going_B1 = ~self._is_whole_BN
        self._whole_BNT[..., self._made - 1] = self._last_BN
        self._whole_lengths_BN += going_B1
        ended_B1 = (self._last_BN == self._end) | (self._limits_B[:, None] <= self._made)
        self._whole_scores_BN = torch.where(
            going_B1 & ended_B1, self._value(self._scores_BN), self._whole_scores_BN
        )
        self._is_whole_BN = self._is_whole_BN | ended_B1
        return self._is_whole_BN[:, 0]

    def _beam_step(self) -> Tensor:
        """Go on with the best continuations; returns which sources are done, [B]."""
        beams = self._options.beams
        scores_BC, from_BC, token_BC = self._candidates(2 * beams)
        ids_BCT = _rows(self._ids_BNT, from_BC)
        ids_BCT[..., self._made - 1] = token_BC
        ended_BC = (token_BC == self._end) | (self._limits_B[:, None] <= self._made)
        self._note_whole(scores_BC, ids_BCT, ended_BC)
        going_BN = (scores_BC + ended_BC * _NEVER).topk(beams).indices
        self._ids_BNT, self._last_BN = _rows(ids_BCT, going_BN), token_BC.gather(1, going_BN)
        self._scores_BN = scores_BC.gather(1, going_BN) + ended_BC.gather(1, going_BN) * _NEVER
        first_B1 = torch.arange(len(self._places), device=self._device)[:, None] * beams
        self._cache.keep((first_B1 + from_BC.gather(1, going_BN)).flatten())
        return self._is_settled() | ended_BC.all(dim=1)

    def _candidates(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of all partial targets of a source: scores, which one they go on from, and their
        tokens, [B, C] each."""
        logits_BNV = self._logits()
        logits, tokens = self._allowed(logits_BNV).topk(min(count, logits_BNV.size(2)), dim=-1)
        scores = logits - logits_BNV.logsumexp(dim=-1, keepdim=True) + self._scores_BN[..., None]
        scores_BC, places = scores.flatten(1).topk(count)
        return scores_BC, places // tokens.size(2), tokens.flatten(1).gather(1, places)

    def _note_whole(self, scores_BC: Tensor, ids_BCT: Tensor, ended_BC: Tensor) -> None:
        """Keep the best whole targets; what ended counts only among the best of all candidates."""
        beams = self._options.beams
        counts_BC = ended_BC.clone()
        counts_BC[:, beams:] = False
        values_BC = self._value(scores_BC) + ~counts_BC * _NEVER
        merged, best_BN = torch.cat((self._whole_scores_BN, values_BC), dim=1).topk(beams)
        lengths_BC = torch.full_like(best_BN, self._made).repeat(1, 2)
        self._whole_scores_BN = merged
        self._whole_BNT = _rows(torch.cat((self._whole_BNT, ids_BCT), dim=1), best_BN)
        self._whole_lengths_BN = torch.cat((self._whole_lengths_BN, lengths_BC), dim=1).gather(1, best_BN)
        self._is_whole_BN = torch.cat((self._is_whole_BN, counts_BC), dim=1).gather(1, best_BN)

    def _is_settled(self) -> Tensor:
        """Whether as many targets as beams are whole, and no partial one is worth more now than the worst of them (or,
        with early stopping, at once); [B]."""
        is_full_B = self._is_whole_BN.all(dim=1)
        if self._options.early_stopping:
            return is_full_B
        return is_full_B & (self._value(self._scores_BN[:, 0]) <= self._whole_scores_BN.amin(dim=1))

    def _keep(self, going: Tensor) -> None:
        """Go on with these sources only."""
        beams = self._options.beams
        for name in (
            "_places",
            "_limits_B",
            "_ids_BNT",
            "_last_BN",
            "_scores_BN",
            "_is_whole_BN",
            "_whole_BNT",
        ):
            setattr(self, name, getattr(self, name)[going])
        self._whole_lengths_BN = self._whole_lengths_BN[going]
        self._whole_scores_BN = self._whole_scores_BN[going]
        if self._seen_B1S is not None:
            self._seen_B1S = self._seen_B1S[going]
        self._crossed = [(keys[going], values[going]) for keys, values in self._crossed]
        rows = going[:, None] * beams + torch.arange(beams, device=self._device)
        if len(going):
            self._cache.keep(rows.flatten())


def _rows(values_BNT: Tensor, chosen_BC: Tensor) -> Tensor:
    """The rows of each sentence that are chosen, [B, C, T]."""
    return values_BNT.gather(1, chosen_BC[..., None].expand(-1, -1, values_BNT.size(2)))

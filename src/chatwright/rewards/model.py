"""A trained reward model as a reward: renders prompt and reply as in training, and reads the score at the last token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.encode_groups import replies_ids
from chatwright.data.groups import Group, Reply, by_tokens
from chatwright.data.packing import IGNORE
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.models.interop.files import load_reward_model
from chatwright.models.scored import ScoredDecoder
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer

_MICRO_TOKENS = 4096


class RewardModel:
    """The scores of a run of `reward`, brought to mean 0 and deviation 1 on its reference replies."""

    def __init__(
        self, model: ScoredDecoder, renderer: Renderer, mean: float = 0.0, deviation: float = 1.0
    ) -> None:
        self.model, self.renderer, self.mean, self.deviation = model, renderer, mean, deviation

    @classmethod
    def load(
        cls, directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Self:
        """The judge in a run's directory; `dtype` is that of the computation."""
        tokenizer = Tokenizer.load(directory)
        model, mean, deviation = load_reward_model(directory, device)
        model.compute_dtype = dtype
        return cls(model, Renderer(tokenizer), mean, deviation)

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return self.scores(prompts, replies).mean(axis=1).tolist()  # type: ignore[no-any-return]

    def scores(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> NDArray[np.float64]:
        """The normalised scores of each reply, one for each head, float64[n, K].

        Raises UserError for a reply that is longer than the model's context.
        """
        pairs = replies_ids(self.renderer, [(p.messages, r) for p, r in zip(prompts, replies, strict=True)])
        sequences = [np.concatenate(pair) for pair in pairs]
        longest = max((len(ids) for ids in sequences), default=0)
        if longest > self.model.options.context:
            raise UserError(
                f"a reply makes {longest:,} tokens with its prompt and the judge's context is "
                f"{self.model.options.context:,}; shorten prompts or lower max_new_tokens"
            )
        starts = [len(prompt) for prompt, _ in pairs]
        return (raw_scores(self.model, sequences, starts=starts) - self.mean) / self.deviation


class Ensemble:
    """Several heads or models as one reward: their mean, less `pessimism` times their disagreement (Coste et al. 2024,
    uncertainty-weighted optimization)."""

    def __init__(self, models: Sequence[RewardModel], pessimism: float = 0.0) -> None:
        self.models, self.pessimism = models, pessimism

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return self.detailed(prompts, replies)[0]

    def detailed(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> tuple[list[float], list[float]]:
        """The rewards, and how far the members are from each other (their standard deviation)."""
        scores = np.concatenate([model.scores(prompts, replies) for model in self.models], axis=1)
        deviation = scores.std(axis=1)
        return (scores.mean(axis=1) - self.pessimism * deviation).tolist(), deviation.tolist()


@torch.no_grad()
def raw_scores(
    model: ScoredDecoder,
    sequences: Sequence[NDArray[np.integer]],
    micro_tokens: int = _MICRO_TOKENS,
    starts: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """What the heads give at each sequence's last token, before normalisation, float64[n, K].

    `starts`: where each reply begins, which a confidence head has to know.
    """
    found = np.empty((len(sequences), model.numbers))
    device = next(model.parameters()).device
    numbered = [
        Group((Reply(ids.astype(np.int64), starts[index] if starts else len(ids), {"number": float(index)}),))
        for index, ids in enumerate(sequences)
    ]
    for part in by_tokens(micro_tokens)(numbered):
        inputs = np.zeros((len(part), max(group.longest for group in part)), dtype=np.int64)
        targets = np.full_like(inputs, IGNORE)
        for row, group in enumerate(part):
            reply = group.replies[0]
            inputs[row, : group.size] = reply.ids
            targets[row, reply.start - 1 : group.size - 1] = reply.ids[reply.start :]
        tensors = (torch.from_numpy(array).to(device) for array in (inputs, targets))
        scores = model(next(tensors), targets=next(tensors))["scores"].cpu().double().numpy()
        for row, group in enumerate(part):
            found[int(group.replies[0].numbers["number"])] = scores[row, group.size - 1]
    return found

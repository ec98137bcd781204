"""A rollout's replies: sampled by the policy, scored by the judge, with what the losses need of every token."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from chatwright.data.groups import Reply
from chatwright.data.records import Prompt
from chatwright.errors import UserError
from chatwright.generation.engine import Generated, Vocabulary, generate
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder
from chatwright.models.root import Root
from chatwright.models.scored import decoder_of
from chatwright.rewards.contract import Reward, scores_of
from chatwright.tokenization.chat import Renderer
from chatwright.training.rollouts.passes import token_values

_MICRO_TOKENS = 4096


@dataclass(frozen=True)
class Asked:
    """A prompt with its tokens."""

    prompt: Prompt
    ids: NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """One reply: its prompt, its text, and its tokens with numbers.

    numbers: `score`, `unfinished` (1 or 0), and `gold` and `disagreement` where there are any. tokens: `old_logprobs`,
    `reference_logprobs`, `old_values`, `entropy`, as far as they were asked for.
    """

    asked: Asked
    text: str
    reply: Reply

    def number(self, name: str) -> float:
        return self.reply.numbers[name]


@dataclass(frozen=True)
class Judging:
    """Who scores replies. `unfinished` is the score of a reply without its end, None where the judge scores it too."""

    reward: Reward
    gold: Reward | None = None
    unfinished: float | None = None

    def __call__(
        self, prompts: Sequence[Prompt], texts: Sequence[str], ended: Sequence[bool]
    ) -> dict[str, list[float]]:
        """`score`, and `gold` and `disagreement` where there are any, for each reply."""
        found: dict[str, list[float]] = {}
        detailed = getattr(self.reward, "detailed", None)
        if detailed is None:
            found["score"] = scores_of(self.reward, prompts, texts)
        else:
            scores, found["disagreement"] = detailed(prompts, texts)
            name = type(self.reward).__name__
            found["score"] = scores_of(lambda *_: scores, prompts, texts, name)
        if self.unfinished is not None:
            found["score"] = [s if e else self.unfinished for s, e in zip(found["score"], ended, strict=True)]
        if self.gold is not None:
            found["gold"] = scores_of(self.gold, prompts, texts)
        return found


class Experience:
    """Samples replies from the policy as it stands now, and works out all that does not depend on other replies.

    `reference`: the frozen policy that divergence is measured from, None where nothing needs it. `value`: the root that
    values tokens, None where nothing does. `ratios`: whether the sampling policy's log-probabilities are needed; a
    rollout that is learnt from in one step does without. `shared`: replies to one prompt go through behind one copy of it.
    """

    def __init__(
        self,
        policy: Root,
        renderer: Renderer,
        judging: Judging,
        sampling: SamplingOptions,
        reference: Decoder | None = None,
        value: Root | None = None,
        ratios: bool = True,
        micro_tokens: int = _MICRO_TOKENS,
    ) -> None:
        self.policy, self.reference, self.value, self.ratios = policy, reference, value, ratios
        self.renderer, self.judging, self.sampling = renderer, judging, sampling
        self.micro_tokens = micro_tokens
        self.seconds = {"sampling": 0.0, "scoring": 0.0}
        self._ends = renderer.tokenizer.stop_ids

    def ask(self, prompt: Prompt) -> Asked:
        """A prompt as tokens; one that leaves no room for a reply is refused."""
        ids = self.renderer.prompt(prompt.messages).astype(np.int64)
        room = self.policy.options.context - self.sampling.max_new_tokens
        if len(ids) > room:
            raise UserError(
                f"{prompt.source or 'a prompt'} has {len(ids):,} tokens, which leaves no room for "
                f"max_new_tokens={self.sampling.max_new_tokens} in the model's context of "
                f"{self.policy.options.context:,}; leave it out, or lower max_new_tokens"
            )
        return Asked(prompt, ids)

    def sample(self, asked: Sequence[Asked], seed: int, numbers: Sequence[int]) -> list[Sampled]:
        """One reply to each prompt; reply i draws with (seed, numbers[i]), whatever else is sampled beside it."""
        begun = time.perf_counter()
        options = replace(self.sampling, seed=seed)
        prompts = [one.ids.tolist() for one in asked]
        made = generate(decoder_of(self.policy), prompts, options, Vocabulary(self._ends), numbers=numbers)
        self.seconds["sampling"] += time.perf_counter() - begun
        return self._scored(asked, made)

    def _scored(self, asked: Sequence[Asked], made: Sequence[Generated]) -> list[Sampled]:
        begun = time.perf_counter()
        ended = [reply.ids[-1] in self._ends for reply in made]
        texts = [self.renderer.tokenizer.decode(reply.ids) for reply in made]
        numbers = self.judging([one.prompt for one in asked], texts, ended)
        numbers["unfinished"] = [float(not end) for end in ended]
        replies = [
            Reply(
                np.concatenate([one.ids, np.array(reply.ids, dtype=np.int64)]),
                len(one.ids),
                {name: values[row] for name, values in numbers.items()},
            )
            for row, (one, reply) in enumerate(zip(asked, made, strict=True))
        ]
        tokens = self._token_values(replies)
        replies = [
            replace(reply, tokens={name: values[row] for name, values in tokens.items()})
            for row, reply in enumerate(replies)
        ]
        self.seconds["scoring"] += time.perf_counter() - begun
        return [Sampled(*row) for row in zip(asked, texts, replies, strict=True)]

    def _token_values(self, replies: Sequence[Reply]) -> dict[str, list[NDArray[np.float32]]]:
        tokens: dict[str, list[NDArray[np.float32]]] = {}
        heat = self.sampling.temperature
        if self.ratios or self.reference is not None:
            is_shared = self.value is self.policy
            wanted = ("logprobs", "entropy", *(("scores",) if is_shared else ()))
            found = token_values(self.policy, replies, wanted, self.micro_tokens, heat)
            tokens["old_logprobs"], tokens["entropy"] = found["logprobs"], found["entropy"]
            if is_shared:
                tokens["old_values"] = found["scores"]
        if self.reference is not None:
            found = token_values(self.reference, replies, ("logprobs",), self.micro_tokens, heat)
            tokens["reference_logprobs"] = found["logprobs"]
        if self.value is not None and self.value is not self.policy:
            found = token_values(self.value, replies, ("scores",), self.micro_tokens)
            tokens["old_values"] = found["scores"]
        return tokens


def frozen(model: Decoder, dtype: torch.dtype) -> Decoder:
    """The model for passes without gradients: matrices already in the type they are multiplied in, which changes no
    result and takes half the memory in bfloat16."""
    model.requires_grad_(False).eval()
    model.compute_dtype = dtype
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.to(dtype)
    return model

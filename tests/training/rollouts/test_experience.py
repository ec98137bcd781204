"""Sampled replies and their numbers: exactly what the training pass will see, and nothing after the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from chatwright.data.groups import Group
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.generation.engine import Vocabulary, generate
from chatwright.models.scored import decoder_of
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.policy import log_ratios
from chatwright.objectives.replies import collate_replies, targets_mask
from chatwright.training.rollouts.experience import Judging, Sampled, frozen
from chatwright.training.rollouts.passes import token_values
from helpers.alignment_work import END, Small, Speller, liking
from helpers.weights import stirred


def ratios(small: Small, samples: Sequence[Sampled], temperature: float) -> torch.Tensor:
    """π / π_old of every reply token, as the update computes it."""
    batch = collate_replies([Group((sample.reply,)) for sample in samples])
    found = small.policy(
        batch["inputs"], targets=batch["targets"], outputs=("logprobs",), temperature=temperature
    )["logprobs"]
    return log_ratios(found, batch, False)[targets_mask(batch)].exp().detach()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_the_update_begins_at_a_ratio_of_one(temperature: float) -> None:
    small = Small(temperature=temperature)
    found = ratios(small, small.sampled(), temperature)
    assert float((found - 1).abs().max()) < 1e-5


@pytest.mark.parametrize("temperature", [0.5, 1.7])
def test_another_temperature_shows(temperature: float) -> None:
    small = Small(temperature=1.0, sampling_temperature=temperature)
    assert float((ratios(small, small.sampled(), 1.0) - 1).abs().max()) > 0.1


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_what_is_scored_is_what_was_sampled(temperature: float) -> None:
    """The engine's own log-probabilities, cache and all, are those that the ratio is taken from."""
    small = Small(temperature=temperature)
    samples = small.sampled()
    options = small.experience.sampling
    made = generate(
        decoder_of(small.policy), [one.ids.tolist() for one in small.asked],
        type(options)(**{**vars(options), "seed": 0}), Vocabulary(frozenset({END})), logprobs=True,
    )  # fmt: skip
    for sample, row in zip(samples, made, strict=True):
        assert sample.reply.ids[sample.reply.start :].tolist() == row.ids
        assert sample.reply.tokens["old_logprobs"] == pytest.approx(row.logprobs, abs=1e-5)


def test_reference_and_policy_are_measured_alike() -> None:
    small = Small(temperature=0.7)
    small.reference.load_state_dict(small.policy.state_dict())
    for sample in small.sampled():
        assert np.array_equal(sample.reply.tokens["reference_logprobs"], sample.reply.tokens["old_logprobs"])


@pytest.mark.parametrize("shared", [False, True])
def test_a_value_stands_where_its_token_is_predicted(shared: bool) -> None:
    small = Small(shared=shared)
    root = small.policy if shared else small.roots["value"]
    for sample in small.sampled():
        reply = sample.reply
        everywhere = root(torch.from_numpy(reply.ids)[None], outputs=("scores",))["scores"][0, :, 0]
        wanted = everywhere[reply.start - 1 : -1].detach().numpy()
        assert reply.tokens["old_values"] == pytest.approx(wanted, abs=1e-5)
        entropies = _entropies(small, reply.ids)
        assert reply.tokens["entropy"] == pytest.approx(entropies[reply.start - 1 : -1], abs=1e-4)


def _entropies(small: Small, ids: np.ndarray) -> np.ndarray:
    logs = decoder_of(small.policy)(torch.from_numpy(ids)[None], outputs=("logits",))["logits"][0]
    logs = logs.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).detach().numpy()


def test_padding_moves_no_number() -> None:
    small = Small()
    replies = [sample.reply for sample in small.sampled()]
    wanted = ("logprobs", "entropy")
    together = token_values(small.policy, replies, wanted, 1 << 20)
    alone = token_values(small.policy, replies, wanted, 1)
    backwards = token_values(small.policy, replies[::-1], wanted, 40)
    for name in wanted:
        for one, other, third in zip(together[name], alone[name], backwards[name][::-1], strict=True):
            assert one == pytest.approx(other, abs=1e-5)
            assert one == pytest.approx(third, abs=1e-5)


def test_a_reply_does_not_depend_on_what_is_sampled_beside_it() -> None:
    small = Small()
    whole = small.experience.sample(small.asked, 3, range(7))
    some = small.experience.sample([small.asked[5], small.asked[2]], 3, [5, 2])
    assert some[0].reply.ids.tolist() == whole[5].reply.ids.tolist()
    assert some[1].reply.ids.tolist() == whole[2].reply.ids.tolist()
    other = small.experience.sample(small.asked, 4, range(7))
    assert [s.text for s in other] != [s.text for s in whole]


def often_ending(**changes: Any) -> Small:
    """A policy that ends about every fourth reply token."""
    small = Small(max_new_tokens=5, **changes)
    with torch.no_grad():
        decoder = decoder_of(small.policy)
        hidden = decoder(torch.tensor([[1, 2, 3]]), outputs=("hidden",))["hidden"].mean((0, 1))
        decoder.embedding.weight[END] = hidden * 0.15
    return small


def test_the_judge_sees_the_text_up_to_the_end_and_nothing_after() -> None:
    seen: list[str] = []

    def watching(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        seen.extend(replies)
        return [float(len(reply)) for reply in replies]

    small = often_ending(reward=watching)
    samples = small.experience.sample(small.asked * 6, 0, range(42))
    assert seen == [sample.text for sample in samples]
    ended = [END in sample.reply.ids[sample.reply.start :] for sample in samples]
    assert 3 < sum(ended) < 39, sum(ended)
    for sample, has_end in zip(samples, ended, strict=True):
        written = sample.reply.ids[sample.reply.start :].tolist()
        assert END not in written[:-1], "nothing stands after the end"
        assert sample.text == Speller().decode(written)
        assert sample.number("unfinished") == float(not has_end)
        assert has_end or len(written) == 5
        assert sample.number("score") == len(sample.text)
        assert all(len(values) == len(written) for values in sample.reply.tokens.values())


def test_a_reply_without_its_end_gets_the_stated_score() -> None:
    small = often_ending(unfinished=-2.5, gold=liking)
    samples = small.experience.sample(small.asked * 6, 0, range(42))
    for sample in samples:
        [own] = liking([], [sample.text])
        assert sample.number("score") == (-2.5 if sample.number("unfinished") else own)
        assert sample.number("gold") == own, "the gold is what is watched, without penalties"
    assert len({sample.number("unfinished") for sample in samples}) == 2


def test_an_ensembles_disagreement_is_kept() -> None:
    class Two:
        def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
            raise AssertionError

        def detailed(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> tuple[list[float], ...]:
            return [1.0] * len(replies), [0.5] * len(replies)

    [sample] = Small(reward=Two()).sampled(1)
    assert (sample.number("score"), sample.number("disagreement")) == (1.0, 0.5)


def test_an_ensemble_that_gives_no_number_names_its_row_too() -> None:
    class Broken:
        def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
            raise AssertionError

        def detailed(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> tuple[list[float], ...]:
            return [0.0, math.nan], [0.5, math.nan]

    with pytest.raises(UserError, match=r"Broken gave nan for p:1 \(reply "):
        Small(reward=Broken()).sampled(2)


def test_a_reward_that_is_no_number_names_its_row() -> None:
    def broken(prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return [math.nan if prompt.source == "p:2" else 0.0 for prompt in prompts]

    with pytest.raises(UserError, match=r"broken gave nan for p:2 \(reply "):
        Small(reward=broken).sampled()
    judging = Judging(liking, gold=broken)
    with pytest.raises(UserError, match=r"broken gave nan for p:2"):
        judging([Prompt((Message("user", "?"),), source="p:2")], ["x"], [True])


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    small = Small()
    longest = "x" * (32 - 6)
    assert len(small.experience.ask(Prompt((Message("user", longest),))).ids) == 26
    said = (
        r"^q\.jsonl:3 has 27 tokens, which leaves no room for max_new_tokens=6 in the model's context of 32"
    )
    with pytest.raises(UserError, match=said):
        small.experience.ask(Prompt((Message("user", longest + "x"),), source="q.jsonl:3"))


def test_one_step_on_policy_needs_no_second_pass() -> None:
    small = Small(baseline="rloo", ratios=False)
    assert all(sample.reply.tokens == {} for sample in small.sampled())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_freezing_changes_no_result(dtype: torch.dtype) -> None:
    model, ids = stirred(tiny_decoder()), torch.arange(1, 12)[None]
    model.compute_dtype = dtype
    before = model(ids, targets=ids, outputs=("logprobs",))["logprobs"].detach()
    kept = frozen(model, dtype)
    assert not any(parameter.requires_grad for parameter in kept.parameters())
    assert kept.embedding.weight.dtype == dtype
    assert torch.equal(kept(ids, targets=ids, outputs=("logprobs",))["logprobs"], before)

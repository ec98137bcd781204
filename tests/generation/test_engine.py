"""What a row is answered does not depend on the cache, the batch, or the way there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from chatwright.errors import UserError
from chatwright.generation.engine import Generated, Vocabulary, generate, stream
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder

from .conftest import random_model

GREEDY = SamplingOptions(max_new_tokens=12, temperature=0.0)
ENDLESS = Vocabulary(frozenset())


def prompts_of_many_lengths(count: int = 23, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(97) for _ in range(rng.choice((1, 2, 5, 5, 5, 11, 20)))] for _ in range(count)]


def by_hand(model: Decoder, prompt: Sequence[int], steps: int) -> list[int]:
    """Greedy, the whole forward pass over again for every token."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(steps):
            ids.append(int(model(torch.tensor([ids]), outputs=("logits",))["logits"][0, -1].argmax()))
    return ids[len(prompt) :]


def test_greedy_is_the_argmax_of_the_whole_forward_pass(model: Decoder) -> None:
    prompts = prompts_of_many_lengths()
    answers = generate(model, prompts, GREEDY, ENDLESS)
    assert [answer.ids for answer in answers] == [by_hand(model, prompt, 12) for prompt in prompts]
    assert {answer.finish_reason for answer in answers} == {"length"}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_a_row_is_the_same_alone_and_in_any_batch(model: Decoder, temperature: float, penalty: float) -> None:
    prompts = prompts_of_many_lengths()
    options = SamplingOptions(max_new_tokens=12, temperature=temperature, repetition_penalty=penalty, seed=5)
    vocabulary = Vocabulary(frozenset(range(6)), frozenset(range(10, 14)))
    together = generate(model, prompts, options, vocabulary, logprobs=True)
    assert len({len(answer.ids) for answer in together}) > 2, "the rows must end at different steps"
    for size in (1, 3, 7):
        apart = generate(model, prompts, options, vocabulary, logprobs=True, batch_rows=size)
        assert [answer.ids for answer in apart] == [answer.ids for answer in together]
        for one, other in zip(apart, together, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    for index, prompt in enumerate(prompts):
        tokens = list(stream(model, prompt, options, vocabulary, row=index))
        assert [token for token, _ in tokens] == together[index].ids
        assert [reason for _, reason in tokens][-1] == together[index].finish_reason


def test_what_prompts_share_is_computed_once_and_changes_nothing(model: Decoder) -> None:
    prompts = [[4, 8, 15, 16, last] for last in range(20)] + [[4, 8, 15, 16, 0]] * 2
    answers = generate(model, prompts, GREEDY, ENDLESS)
    assert [answer.ids for answer in answers] == [by_hand(model, prompt, 12) for prompt in prompts]


def test_equal_prompts_run_once_and_are_answered_as_alone(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    prefill = Inference.prefill

    def counted(inference: Inference, ids_BT: Tensor, *rest: Any) -> Tensor:
        widths.append(ids_BT.size(0))
        return prefill(inference, ids_BT, *rest)

    prompts = [[1, 2, 3, 4], [9, 2], [1, 2, 3, 4], [9, 2], [1, 2, 3, 4]]
    options = SamplingOptions(max_new_tokens=8, seed=3)
    alone = [
        generate(model, [prompt], options, ENDLESS, numbers=[row])[0] for row, prompt in enumerate(prompts)
    ]
    monkeypatch.setattr(Inference, "prefill", counted)
    assert generate(model, prompts, options, ENDLESS) == alone
    assert widths == [2]


def test_long_prompts_run_in_chunks(monkeypatch: pytest.MonkeyPatch, model: Decoder) -> None:
    prompts = prompts_of_many_lengths()
    expected = generate(model, prompts, GREEDY, ENDLESS)
    monkeypatch.setattr("chatwright.generation.engine._CHUNK", 3)
    assert generate(model, prompts, GREEDY, ENDLESS) == expected


def test_a_small_memory_makes_small_batches(monkeypatch: pytest.MonkeyPatch, model: Decoder) -> None:
    prompts = prompts_of_many_lengths()
    expected = generate(model, prompts, GREEDY, ENDLESS)
    monkeypatch.setattr("chatwright.generation.engine._CACHE_BYTES", 1)
    assert generate(model, prompts, GREEDY, ENDLESS) == expected


def test_an_end_token_ends_the_answer_and_stands_in_it(model: Decoder) -> None:
    free = generate(model, [[1, 2, 3]], GREEDY, ENDLESS)[0].ids
    end = free[4]
    answer = generate(model, [[1, 2, 3]], GREEDY, Vocabulary(frozenset({end})))[0]
    assert answer == Generated(free[: free.index(end) + 1], "stop")


def test_banned_tokens_are_never_written(model: Decoder) -> None:
    banned = frozenset(range(0, 97, 2))
    options = SamplingOptions(max_new_tokens=40, temperature=2.0, top_p=1.0, seed=0)
    answers = generate(model, [[1], [2], [3, 4]], options, Vocabulary(frozenset(), banned))
    assert not banned & {token for answer in answers for token in answer.ids}
    greedy = generate(model, [[1, 2, 3]], GREEDY, ENDLESS)[0].ids
    assert (
        generate(model, [[1, 2, 3]], GREEDY, Vocabulary(frozenset(), frozenset({greedy[0]})))[0].ids[0]
        != greedy[0]
    )


def test_the_caller_can_stop_a_row(model: Decoder) -> None:
    answers = generate(model, [[1], [2], [3]], GREEDY, ENDLESS, stops=lambda row, ids: len(ids) == row + 1)
    assert [(len(answer.ids), answer.finish_reason) for answer in answers] == [
        (1, "stop"),
        (2, "stop"),
        (3, "stop"),
    ]


def test_the_context_ends_the_answer(model: Decoder) -> None:
    answers = generate(model, [[1] * 60, [1] * 63, [1] * 5], SamplingOptions(temperature=0.0), ENDLESS)
    assert [len(answer.ids) for answer in answers] == [4, 1, 59]
    assert {answer.finish_reason for answer in answers} == {"length"}
    assert answers[0].ids == by_hand(model, [1] * 60, 4)
    assert answers[2].ids == by_hand(model, [1] * 5, 59)


@pytest.mark.parametrize(
    ("prompt", "message"), [([], "prompt 2 has no tokens"), ([1] * 64, "64 tokens .* context is 64")]
)
def test_prompts_that_cannot_be_answered_are_refused(model: Decoder, prompt: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(model, [[1], prompt], GREEDY, ENDLESS)


def test_no_prompts_give_no_answers(model: Decoder) -> None:
    assert generate(model, [], GREEDY, ENDLESS) == []


def test_the_same_seed_writes_the_same_and_another_something_else(model: Decoder) -> None:
    def write(seed: int | None) -> list[list[int]]:
        options = SamplingOptions(max_new_tokens=12, temperature=1.0, seed=seed)
        return [answer.ids for answer in generate(model, [[1], [1]], options, ENDLESS)]

    assert write(3) == write(3)
    assert write(3) != write(4)
    assert write(None) != write(None)
    first, second = write(3)
    assert first != second, "two rows with one prompt draw for themselves"


def test_the_first_token_follows_the_models_distribution(model: Decoder) -> None:
    with torch.no_grad():
        logits = model(torch.tensor([[7, 9]]), outputs=("logits",))["logits"][0, -1]
    expected = (logits / 1.5).softmax(-1)
    options = SamplingOptions(max_new_tokens=1, temperature=1.5, top_p=1.0, seed=0)
    answers = generate(model, [[7, 9]] * 4000, options, ENDLESS, logprobs=True, batch_rows=1000)
    found = torch.bincount(torch.tensor([answer.ids[0] for answer in answers]), minlength=97) / 4000
    assert (found - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5
    assert answers[0].logprobs == pytest.approx([float(expected[answers[0].ids[0]].log())], abs=1e-4)


def test_progress_counts_every_answer(model: Decoder) -> None:
    heard: list[int] = []
    vocabulary = Vocabulary(frozenset(range(10)))
    generate(model, prompts_of_many_lengths(), GREEDY, vocabulary, on_progress=heard.append, batch_rows=8)
    assert heard == sorted(heard) and heard[-1] == 23


def test_greedy_equals_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="the peer is an extra")
    from chatwright.models.interop.weights import public_config, public_weights

    model = random_model()
    tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = transformers.Qwen3Config(**public_config(model.options, tokens))
    peer = transformers.Qwen3ForCausalLM(config).eval()
    missing = peer.load_state_dict(public_weights(model), strict=False)
    assert set(missing.missing_keys) <= {"lm_head.weight"} and not missing.unexpected_keys
    peer.tie_weights()
    prompts = [[3, 1, 4, 1, 5], [9, 2, 6]]
    for prompt, answer in zip(prompts, generate(model, prompts, GREEDY, ENDLESS), strict=True):
        found = peer.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
        assert found[0, len(prompt) :].tolist() == answer.ids

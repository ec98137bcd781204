"""A reward model as a reward: rendered as in training, scored at the last token, in units of its own deviation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chatwright.data.encode_groups import reply_ids
from chatwright.data.records import Message, Prompt
from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_reward_config
from chatwright.models.interop.weights import public_weights
from chatwright.models.scored import ScoredDecoder
from chatwright.rewards.contract import scores_of
from chatwright.rewards.model import Ensemble, RewardModel, raw_scores
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.special import IM_END
from chatwright.tokenization.template import CHAT_TEMPLATE
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer
from helpers.texts import sentences
from helpers.weights import stirred


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(
        Tokenizer(train_tokenizer(sentences(200), TokenizerOptions(vocab_size=480))), CHAT_TEMPLATE
    )


def model_of(renderer: Renderer, heads: int = 1, seed: int = 3, context: int = 64) -> ScoredDecoder:
    shape = DecoderOptions(
        vocab_size=renderer.tokenizer.vocab_size, width=32, layers=2, heads=2, kv_heads=1, head_dim=16,
        feed_forward=48, context=context,
    )  # fmt: skip
    return stirred(ScoredDecoder(shape, heads), seed=seed)


PROMPTS = [
    Prompt((Message("user", text),), source=f"p:{n}") for n, text in enumerate(["Hi", "What is 3?", "猫?"])
]
REPLIES = ["Good.", "The cat sees the dog number 3.", ""]


@pytest.mark.parametrize("heads", [1, 3])
def test_the_score_is_that_of_the_last_token_of_the_turn(renderer: Renderer, heads: int) -> None:
    model = model_of(renderer, heads)
    found = RewardModel(model, renderer, mean=0.5, deviation=2.0).scores(PROMPTS, REPLIES)
    for row, (prompt, reply) in enumerate(zip(PROMPTS, REPLIES, strict=True)):
        ids = np.concatenate(reply_ids(renderer, prompt.messages, reply))
        assert ids[-1] == renderer.tokenizer.im_end
        raw = model(torch.from_numpy(ids.astype(np.int64))[None])["scores"][0, -1].detach().numpy()
        assert found[row] == pytest.approx((raw - 0.5) / 2.0, abs=1e-5)


def test_neither_order_nor_neighbours_move_a_score(renderer: Renderer) -> None:
    judge = RewardModel(model_of(renderer), renderer)
    together = judge(PROMPTS, REPLIES)
    assert judge(PROMPTS[::-1], REPLIES[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    one_by_one = [judge([prompt], [reply])[0] for prompt, reply in zip(PROMPTS, REPLIES, strict=True)]
    assert one_by_one == pytest.approx(together, abs=1e-5)
    assert scores_of(judge, PROMPTS, REPLIES) == together
    assert judge([], []) == []


@pytest.mark.parametrize("micro_tokens", [1, 50, 1 << 20])
def test_scores_do_not_depend_on_how_they_are_batched(renderer: Renderer, micro_tokens: int) -> None:
    model, rng = model_of(renderer, 2), np.random.default_rng(0)
    sequences = [rng.integers(0, 300, size) for size in rng.integers(1, 40, 30)]
    found = raw_scores(model, sequences, micro_tokens)
    for ids, row in zip(sequences, found, strict=True):
        wanted = model(torch.from_numpy(ids)[None])["scores"][0, -1].detach().numpy()
        assert row == pytest.approx(wanted, abs=1e-5)


def test_an_ensemble_is_its_mean_less_its_disagreement(renderer: Renderer) -> None:
    models = [RewardModel(model_of(renderer, seed=seed), renderer, mean=0.1 * seed) for seed in (3, 4, 5)]
    each = np.array([model(PROMPTS, REPLIES) for model in models])
    assert Ensemble(models)(PROMPTS, REPLIES) == pytest.approx(each.mean(0), abs=1e-6)
    scores, disagreement = Ensemble(models, pessimism=0.5).detailed(PROMPTS, REPLIES)
    assert disagreement == pytest.approx(each.std(0), abs=1e-6)
    assert scores == pytest.approx(each.mean(0) - 0.5 * each.std(0), abs=1e-6)
    heads = Ensemble([RewardModel(model_of(renderer, heads=3), renderer)])
    assert heads.detailed(PROMPTS, REPLIES)[1] == pytest.approx(
        heads.models[0].scores(PROMPTS, REPLIES).std(1), abs=1e-6
    )


def test_it_is_loaded_from_its_directory(renderer: Renderer, tmp_path: Path) -> None:
    model, tokenizer = model_of(renderer, 2), renderer.tokenizer
    tokenizer.save(tmp_path, eos=IM_END, template=CHAT_TEMPLATE)
    tokens = EndTokens(tokenizer.endoftext, [tokenizer.im_end], tokenizer.pad)
    write_reward_config(tmp_path, model, tokens, mean=1.0, deviation=0.5)
    save_weights(tmp_path / WEIGHTS, public_weights(model), {"format": "pt"})
    loaded = RewardModel.load(tmp_path)
    wanted = RewardModel(model, renderer, 1.0, 0.5).scores(PROMPTS, REPLIES)
    assert loaded.scores(PROMPTS, REPLIES) == pytest.approx(wanted, abs=1e-6)
    halved = RewardModel.load(tmp_path, dtype=torch.bfloat16)
    assert halved.scores(PROMPTS, REPLIES) == pytest.approx(wanted, abs=0.3)
    assert halved.model.head.weight.dtype == torch.float32


def test_a_reply_past_the_context_is_refused(renderer: Renderer) -> None:
    judge = RewardModel(model_of(renderer, context=16), renderer)
    said = r"a reply makes \d+ tokens with its prompt and the judge's context is 16; shorten prompts or lower max_new"
    with pytest.raises(UserError, match=said):
        judge([replace(PROMPTS[0])], ["The cat sees the dog number 3. The cat."])

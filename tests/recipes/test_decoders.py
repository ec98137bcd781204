"""Every decoder goes the whole way: pretrained, taught to chat, talked to, made a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import chatwright as cw
from chatwright.generation.text import Chat, TextModel
from chatwright.models.presets import model_options
from chatwright.rewards.model import RewardModel
from helpers.journey import SFT, TRAINING, Journey
from helpers.judged import write_rows
from helpers.texts import sentences

_GPT = {"layers": 2, "width": 32, "heads": 2, "context": 128}
_LINE = {**_GPT, "kv_heads": 1, "head_dim": 16, "feed_forward": 48}
MODELS: dict[str, dict[str, Any]] = {
    "gpt1": {"name": "gpt1-1m", **_GPT},
    "gpt2": {"name": "gpt2-1m", **_GPT},
    "gpt3": {"name": "gpt3-1m", **_GPT, "band": 9},
    "llama": {"name": "llama-1m", **_LINE, "rope_factor": 2.0},
    "qwen2": {"name": "qwen2-1m", **_LINE},
    "qwen3-moe": {"name": "qwen3-moe-1m", **_LINE, "experts": 4},
}


@pytest.mark.parametrize("architecture", MODELS)
def test_a_decoder_goes_the_whole_way(journey: Journey, tmp_path: Path, architecture: str) -> None:
    model = MODELS[architecture]
    assert type(model_options(model)).architecture == architecture
    balance = {"objective": {"name": "causal", "expert_balance": 0.01}} if "experts" in model else {}
    base = cw.pretrain(
        journey.corpus, journey.tokenizer, tmp_path / "base", steps=3, model=model, **TRAINING, **balance
    )
    losses = [row["loss"] for row in base.metrics() if "loss" in row]
    assert set(losses[0]) == {"next_token", *(["expert_balance"] if balance else [])}
    assert base.result["after"]["bits_per_byte"] > 0
    chat = cw.sft(base, journey.chats, tmp_path / "chat", steps=2, **SFT)
    assert TextModel.load(base).complete_batch(["The cat", "A"], max_new_tokens=5, temperature=0)
    assert isinstance(Chat(chat, max_new_tokens=5, temperature=0).reply("What is 3?"), str)
    pairs = [
        {"prompt": f"What is {n}?", "chosen": text, "rejected": text[::-1]}
        for n, text in enumerate(sentences(24))
    ]
    judge = cw.reward(
        chat,
        write_rows(tmp_path / "pairs.jsonl", pairs),
        tmp_path / "judge",
        steps=2,
        batch=4,
        precision="float32",
    )
    scores = RewardModel.load(judge.directory)
    assert scores.model.options == TextModel.load(chat).model.options

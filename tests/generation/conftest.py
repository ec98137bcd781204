"""Small random models and a tokenizer trained on a few lines."""

from __future__ import annotations

import pytest
import torch

from chatwright.generation.text import TextModel
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on. ",
    "你好，世界！今天的天气很好，我们去公园散步吧。",
    "What does itertools.chain do? Return a chain object whose next method returns elements. ",
)


def random_model(vocab_size: int = 97, seed: int = 0, **shape: int) -> Decoder:
    """A tiny decoder whose weights are large enough that its choices vary."""
    fields = {
        "width": 32,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "feed_forward": 48,
        "context": 64,
    }
    model = Decoder(DecoderOptions(vocab_size=vocab_size, **{**fields, **shape}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def model() -> Decoder:
    return random_model()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    texts = [text * 40 for text in TEXTS]
    return Tokenizer(train_tokenizer(texts, TokenizerOptions(vocab_size=440)))


@pytest.fixture(scope="session")
def writer(tokenizer: Tokenizer) -> TextModel:
    """A model of texts: what it writes is noise, from the tokenizer's words."""
    return TextModel(random_model(tokenizer.vocab_size, context=128), tokenizer)


@pytest.fixture(scope="session")
def talker(tokenizer: Tokenizer) -> TextModel:
    """A model of chats."""
    return TextModel(random_model(tokenizer.vocab_size, context=128), tokenizer, Renderer(tokenizer))

"""Embeddings: their order and length, what batches may not change, and real weights against the reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.generation.embedding import Embedder
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import HeadOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.mini_lm import mini_lm
from helpers.weights import stirred
from helpers.word_pieces import word_pieces

TEXTS = [
    "The dog barks.",
    "",
    "Paris is the capital of France, a dog is a dog.",
    "w1",
    "barking, barking dogs",
] * 3


def encoder() -> Encoder:
    options = EncoderOptions(
        vocab_size=word_pieces().vocab_size, width=16, layers=2, heads=2, feed_forward=24, context=16
    )
    return stirred(Encoder(options)).eval()


def decoder(vocab_size: int) -> Decoder:
    options = DecoderOptions(
        vocab_size=vocab_size,
        width=16,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=8,
        feed_forward=24,
        context=64,
    )
    return stirred(Decoder(options)).eval()


@torch.no_grad()
def test_a_text_alone_gives_the_known_vector() -> None:
    tokenizer, model = word_pieces(), encoder()
    cls, sep = tokenizer.id_of("[CLS]"), tokenizer.id_of("[SEP]")
    ids = torch.tensor([[cls, *tokenizer.encode(TEXTS[0]), sep]])
    hidden = model(ids, outputs=("hidden",))["hidden"][0]
    mean = hidden.mean(0)
    wanted = {"mean": mean, "cls": hidden[0], "last": hidden[-1]}
    for pooling, vector in wanted.items():
        found = Embedder(model, tokenizer, pooling, normalize=False).embed([TEXTS[0], TEXTS[2]])[0]  # type: ignore[arg-type]
        assert found == pytest.approx(vector.numpy(), abs=1e-5)
    unit = Embedder(model, tokenizer).embed(TEXTS)
    assert unit[0] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("encoder", "mean"), ("encoder", "cls"), ("encoder", "last"), ("decoder", "mean"), ("decoder", "last")],
)
def test_neither_batch_nor_order_moves_a_vector(kind: str, pooling: str, tokenizer: Tokenizer) -> None:
    known = word_pieces() if kind == "encoder" else tokenizer
    model = encoder() if kind == "encoder" else decoder(tokenizer.vocab_size)
    embedder = Embedder(model, known, pooling)  # type: ignore[arg-type]
    alone = np.stack([embedder.embed([text])[0] for text in TEXTS])
    assert alone.dtype == np.float32
    for batch in (1, 2, 7, 100):
        assert embedder.embed(TEXTS, batch) == pytest.approx(alone, abs=1e-5)
    assert embedder.embed(TEXTS[::-1], 4)[::-1] == pytest.approx(alone, abs=1e-5)
    assert abs(alone[0] - alone[2]).max() > 0.01
    assert embedder.embed([]).shape == (0, 16)


def test_progress_ends_with_all_of_them() -> None:
    seen: list[int] = []
    Embedder(encoder(), word_pieces()).embed(TEXTS, 4, seen.append)
    assert seen == [4, 8, 12, 15]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_longer_texts_are_cut_and_counted(kind: str, tokenizer: Tokenizer) -> None:
    known = word_pieces() if kind == "encoder" else tokenizer
    model = encoder() if kind == "encoder" else decoder(tokenizer.vocab_size)
    embedder = Embedder(model, known, longest=10)
    room = 8 if kind == "encoder" else 9
    text = "w1 " * 4
    ids = known.encode(text * 40)
    assert len(ids) > room
    assert len(embedder._ids(np.array(ids, dtype=np.int32))) == 10
    assert embedder.cut == 1
    embedder._ids(np.array(ids[:room], dtype=np.int32))
    assert embedder.cut == 1
    assert Embedder(model, known, longest=999).longest == model.options.context


def written(directory: Path, heads: dict[str, HeadOptions]) -> Path:
    word_pieces().save(directory)
    model = stirred(Headed(encoder(), heads)) if heads else encoder()
    write_config(directory, model.options, EndTokens(2, [3], 0), heads)
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return directory


def test_the_run_says_how_it_was_taught_to_embed(tmp_path: Path) -> None:
    plain = written(tmp_path, {})
    assert Embedder.load(plain).pooling == "mean"
    (plain / "1_Pooling").mkdir()
    pooling = plain / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    (plain / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    loaded = Embedder.load(plain)
    assert (loaded.pooling, loaded.longest) == ("cls", 9)
    assert Embedder.load(plain, "last").pooling == "last"
    pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(UserError, match="asks for pooling_mode_max_tokens; choose pooling=mean, cls or last"):
        Embedder.load(plain)
    taught = tmp_path / "taught"
    taught.mkdir()
    written(taught, {"vector": HeadOptions("embedding", pooling="pooled")})
    by_head = Embedder.load(taught)
    assert by_head.pooling == "pooled"
    assert np.linalg.norm(by_head.embed(TEXTS), axis=1) == pytest.approx(np.ones(15), abs=1e-5)


def test_a_decoder_has_no_first_state_to_read(tmp_path: Path) -> None:
    model = decoder(word_pieces().vocab_size)
    word_pieces().save(tmp_path)
    write_config(tmp_path, model.options, EndTokens(2, [3], 0))
    save_weights(tmp_path / WEIGHTS, public_weights(model), {"format": "pt"})
    assert Embedder.load(tmp_path, "last").pooling == "last"
    with pytest.raises(UserError, match="a decoder, whose first token sees no other"):
        Embedder.load(tmp_path, "cls")


def test_real_weights_give_the_references_embeddings() -> None:
    transformers = pytest.importorskip("transformers")
    directory = mini_lm()
    texts = ["A cat sits on the mat.", "Ein Hund.", "你好，世界", "The stock market fell today. " * 9]
    peer = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    words = transformers.AutoTokenizer.from_pretrained(directory)
    given = words(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = peer(**given).last_hidden_state
    real = given["attention_mask"][..., None]
    mean = (hidden * real).sum(1) / real.sum(1)
    wanted = torch.nn.functional.normalize(mean, dim=-1).numpy()
    embedder = Embedder.load(directory)
    assert (embedder.pooling, embedder.longest) == ("mean", 256)
    assert abs(embedder.embed(texts, batch=3) - wanted).max() < 1e-5

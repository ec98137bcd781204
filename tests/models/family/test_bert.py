"""BERT in the public format: `transformers` computes the same from our files, and we from its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import CHOICE, NEXT_SENTENCE, SPAN, HeadOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, load_root, read_options, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.models.presets import model_options
from helpers.mini_lm import mini_lm
from helpers.weights import stirred

transformers = pytest.importorskip("transformers")

SHAPE = EncoderOptions(
    vocab_size=70, width=24, layers=3, heads=3, feed_forward=40, context=33, types=2, norm_eps=1e-12
)
TOKENS = EndTokens(bos=1, eos=[2], pad=3)
BATCH, LENGTH = 3, 21


def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, sentence types, and what is real: rows of 21, 13 and 1 tokens."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 70, (BATCH, LENGTH), generator=generator)
    types = torch.randint(0, 2, (BATCH, LENGTH), generator=generator)
    real = torch.arange(LENGTH) < torch.tensor([LENGTH, 13, 1])[:, None]
    return inputs, types, real


def segments_of(real: Tensor) -> Tensor:
    return torch.where(real, 0, -1)


def written(directory: Path, model: Encoder | Headed) -> None:
    heads = model.head_options if isinstance(model, Headed) else {}
    write_config(directory, model.options, TOKENS, heads)
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})


def peer_of(name: str, **config: Any) -> Any:
    """A small public model of that class, with weights that hide nothing."""
    torch.manual_seed(0)
    options = transformers.BertConfig(
        vocab_size=70,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=36,
        max_position_embeddings=40,
        attn_implementation="eager",
        **config,
    )
    return stirred(getattr(transformers, name)(options)).eval()


def ask_peer(peer: Any) -> Any:
    inputs, types, real = rows()
    with torch.no_grad():
        return peer(inputs, token_type_ids=types, attention_mask=real.long(), output_hidden_states=True)


def ask(model: Encoder | Headed, *outputs: str) -> dict[str, Tensor]:
    inputs, types, real = rows()
    with torch.no_grad():
        return model(inputs, types=types, segments=segments_of(real), outputs=outputs)


def assert_close(mine: Tensor, theirs: Tensor, real: Tensor | None = None) -> None:
    if real is not None:
        mine, theirs = mine[real], theirs[real]
    assert float(theirs.abs().max()) > 0.1
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
def test_transformers_reads_a_pretrained_model(tmp_path: Path, activation: str) -> None:
    options = replace(SHAPE, activation=activation)
    model = stirred(Headed(Encoder(options), {"next_sentence": NEXT_SENTENCE})).eval()
    written(tmp_path, model)
    peer, info = transformers.BertForPreTraining.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters()
    mine, theirs, real = ask(model, "logits", "next_sentence", "hidden"), ask_peer(peer.eval()), rows()[2]
    assert_close(mine["logits"], theirs.prediction_logits, real)
    assert_close(mine["next_sentence"], theirs.seq_relationship_logits)
    assert_close(mine["hidden"], theirs.hidden_states[-1], real)


@pytest.mark.parametrize("kernel", ["plain", "sdpa"])
def test_a_public_pretrained_model_is_read(tmp_path: Path, kernel: str) -> None:
    peer = peer_of("BertForPreTraining")
    peer.save_pretrained(tmp_path)
    model = load_root(tmp_path)
    assert isinstance(model, Headed) and model.head_options == {"next_sentence": NEXT_SENTENCE}
    model.kernel = kernel
    mine, theirs, real = ask(model, "logits", "next_sentence", "hidden", "pooled"), ask_peer(peer), rows()[2]
    assert_close(mine["logits"], theirs.prediction_logits, real)
    assert_close(mine["next_sentence"], theirs.seq_relationship_logits)
    with torch.no_grad():
        assert_close(mine["pooled"], peer.bert.pooler(theirs.hidden_states[-1]))


@pytest.mark.parametrize(
    ("name", "pooler", "language"),
    [("BertModel", True, False), ("BertForMaskedLM", False, True)],
)
def test_files_without_some_head_say_so(tmp_path: Path, name: str, pooler: bool, language: bool) -> None:
    peer = peer_of(name)
    peer.save_pretrained(tmp_path)
    options = read_options(tmp_path)
    assert (options.pooler, options.language_head) == (pooler, language)
    model, theirs, real = load_root(tmp_path), ask_peer(peer), rows()[2]
    assert isinstance(model, Encoder)
    assert_close(ask(model, "hidden")["hidden"], theirs.hidden_states[-1], real)
    if pooler:
        assert_close(ask(model, "pooled")["pooled"], theirs.pooler_output)
    if language:
        assert_close(ask(model, "logits")["logits"], theirs.logits, real)
    again = tmp_path / "again"
    again.mkdir()
    written(again, model)
    same = getattr(transformers, name).from_pretrained(again, attn_implementation="eager")
    torch.testing.assert_close(ask_peer(same.eval()).hidden_states, theirs.hidden_states)


def test_the_prefix_may_be_lacking_and_buffers_and_old_spellings_are_read(tmp_path: Path) -> None:
    peer = peer_of("BertForPreTraining")
    peer.save_pretrained(tmp_path)
    want = ask(load_root(tmp_path), "logits")["logits"]
    weights = load_file(tmp_path / WEIGHTS)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): w
        for name, w in weights.items()
    }
    buffers = {
        "bert.embeddings.position_ids": torch.arange(40),
        "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": weights["cls.predictions.bias"].clone(),
    }
    save_file({**old, **buffers}, tmp_path / WEIGHTS)
    assert torch.equal(ask(load_root(tmp_path), "logits")["logits"], want)
    bare = {name.removeprefix("bert."): w for name, w in weights.items() if name.startswith("bert.")}
    save_file({**bare, "embeddings.position_ids": torch.arange(40)}, tmp_path / WEIGHTS)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    model = load_root(tmp_path)
    assert isinstance(model, Encoder) and model.language is None and model.pooler is not None
    assert_close(ask(model, "hidden")["hidden"], ask_peer(peer).hidden_states[-1], rows()[2])


def test_a_masked_model_whose_file_holds_more_is_read(tmp_path: Path) -> None:
    """As the first published files are: named a masked model, with a pooler and a next-sentence head in it."""
    peer_of("BertForPreTraining").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    options = load_root(tmp_path).options
    assert (options.pooler, options.language_head) == (True, True)


HEADED = {
    "BertForSequenceClassification": ("sequence", {"num_labels": 3}),
    "BertForTokenClassification": ("token", {"num_labels": 5}),
    "BertForQuestionAnswering": ("span", {}),
    "BertForNextSentencePrediction": ("next_sentence", {}),
}


@pytest.mark.parametrize("name", HEADED)
def test_public_heads_are_read_and_written(tmp_path: Path, name: str) -> None:
    head, config = HEADED[name]
    peer = peer_of(name, **config)
    peer.save_pretrained(tmp_path)
    model, theirs, real = load_root(tmp_path), ask_peer(peer), rows()[2]
    assert isinstance(model, Headed) and list(model.head_options) == [head]
    mine = ask(model, head)[head]
    if head == "span":
        assert_close(mine, torch.stack([theirs.start_logits, theirs.end_logits], -1), real)
    else:
        assert_close(mine, theirs.logits, real if head == "token" else None)
    again = tmp_path / "again"
    again.mkdir()
    written(again, model)
    same, info = getattr(transformers, name).from_pretrained(
        again, attn_implementation="eager", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert same.config.num_labels == peer.config.num_labels
    torch.testing.assert_close(ask_peer(same.eval()).hidden_states[-1], theirs.hidden_states[-1])
    assert torch.equal(ask(load_root(again), head)[head], mine)


def test_public_choices_and_numbers_are_read(tmp_path: Path) -> None:
    peer = peer_of("BertForMultipleChoice")
    peer.save_pretrained(tmp_path)
    model = load_root(tmp_path)
    inputs, types, real = rows()
    with torch.no_grad():
        theirs = peer(inputs[None], token_type_ids=types[None], attention_mask=real.long()[None]).logits
    assert isinstance(model, Headed) and model.head_options == {"choice": CHOICE}
    assert_close(ask(model, "choice")["choice"], theirs[0])
    peer = peer_of("BertForSequenceClassification", num_labels=1)
    peer.save_pretrained(tmp_path)
    model = load_root(tmp_path)
    assert isinstance(model, Headed) and [h.kind for h in model.head_options.values()] == ["regression"]
    assert_close(ask(model, "regression")["regression"], ask_peer(peer).logits)


@pytest.mark.parametrize("language", [True, False])
def test_a_run_with_many_heads_is_read_back_bit_for_bit(tmp_path: Path, language: bool) -> None:
    heads = {
        "next_sentence": NEXT_SENTENCE,
        "mood": HeadOptions("sequence", ("glad", "sad", "else")),
        "tags": HeadOptions("token", ("a", "b")),
        "answer": SPAN,
        "vector": HeadOptions("embedding", pooling="cls", normalized=True),
    }
    options = replace(SHAPE, language_head=language)
    model = stirred(Headed(Encoder(options), heads)).eval()
    written(tmp_path, model)
    again = load_root(tmp_path)
    assert isinstance(again, Headed) and again.head_options == heads and again.options == options
    ours, read = dict(model.named_parameters()), dict(again.named_parameters())
    assert ours.keys() == read.keys()
    assert all(torch.equal(ours[name], read[name]) for name in ours)
    names = set(load_file(tmp_path / WEIGHTS))
    assert {
        "cls.seq_relationship.bias",
        "classifier.weight",
        "heads.tags.weight",
        "qa_outputs.weight",
    } <= names
    kind = "BertForPreTraining" if language else "BertForNextSentencePrediction"
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [kind]


# The published sizes: 4.4, 11.2, 28.8, 41.4, 110 and 335 million, as `transformers` counts them without a language head.
PUBLISHED = {
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_their_published_counts(name: str) -> None:
    options = model_options({"name": name})
    with torch.device("meta"):
        whole = Encoder(options)
        bare = Encoder(replace(options, language_head=False))
        config = transformers.BertConfig(
            hidden_size=options.width,
            num_hidden_layers=options.layers,
            num_attention_heads=options.heads,
            intermediate_size=options.feed_forward,
        )
        peer = transformers.BertModel(config)
    count = sum(p.numel() for p in bare.parameters())
    assert count == PUBLISHED[name] == peer.num_parameters()
    head = options.width**2 + 3 * options.width + options.vocab_size
    assert sum(p.numel() for p in whole.parameters()) == count + head


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hidden_act", "silu", "hidden_act='silu' is not supported"),
        ("position_embedding_type", "relative_key", "position_embedding_type='relative_key'"),
        ("is_decoder", True, "is_decoder=True is not supported"),
        ("tie_word_embeddings", False, "tie_word_embeddings=False"),
        ("id2label", ["a"], "id2label=.* is no table"),
        ("chatwright_heads", 3, "chatwright_heads is no table of heads"),
        ("chatwright_heads", {"x": {"kind": "odd"}}, "kind=odd is not one of sequence"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path, field: str, value: Any, said: str) -> None:
    model = stirred(Encoder(SHAPE))
    written(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text())
    changed = {**config, "architectures": ["BertForTokenClassification"], field: value}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=said):
        load_root(tmp_path)


def test_a_head_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    model = stirred(Headed(Encoder(SHAPE), {"next_sentence": NEXT_SENTENCE}))
    written(tmp_path, model)
    weights = load_file(tmp_path / WEIGHTS)
    del weights["cls.seq_relationship.bias"]
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=r"hold no cls\.seq_relationship\.bias of shape \(2,\) \(head next_s"):
        load_root(tmp_path)


def test_real_weights_agree_with_transformers() -> None:
    directory = mini_lm()
    model = load_root(directory)
    peer = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters()
    inputs, types, real = rows()
    inputs = inputs + 2000
    with torch.no_grad():
        theirs = peer(inputs, token_type_ids=types, attention_mask=real.long())
        mine = model(inputs, types=types, segments=segments_of(real), outputs=("hidden", "pooled"))
    assert_close(mine["hidden"], theirs.last_hidden_state, real)
    assert_close(mine["pooled"], theirs.pooler_output)

"""Gaps filled in: a model whose answer is known, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.generation.filling import Filler
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.headed import Headed
from chatwright.models.heads.labels import NEXT_SENTENCE
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.models.root import Root
from chatwright.models.xlnet import XLNet, XLNetOptions
from chatwright.runs import _FIELDS
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.weights import stirred
from helpers.word_pieces import word_pieces

TEXT = "The capital of France is [MASK]."


def shape(tokenizer: Tokenizer, **more: object) -> EncoderOptions:
    sizes = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 24, "context": 16}
    return EncoderOptions(vocab_size=tokenizer.vocab_size + 3, **{**sizes, **more})  # type: ignore[arg-type]


def encoder(tokenizer: Tokenizer) -> Encoder:
    return stirred(Encoder(shape(tokenizer))).eval()


def written(directory: Path, model: Root, tokenizer: Tokenizer) -> Path:
    tokenizer.save(directory)
    heads = model.head_options if isinstance(model, Headed) else {}
    write_config(directory, model.options, EndTokens(2, [3], 0), heads)
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return directory


@torch.no_grad()
def test_the_likeliest_words_stand_first_with_their_chances() -> None:
    tokenizer = word_pieces()
    model = encoder(tokenizer)
    cls, sep, mask = map(tokenizer.id_of, ("[CLS]", "[SEP]", "[MASK]"))
    ids = [cls, *tokenizer.encode("the capital of france is"), mask, *tokenizer.encode("."), sep]
    chances = model(torch.tensor([ids]), outputs=("logits",))["logits"][0, ids.index(mask)].softmax(-1)
    words = {
        tokenizer.decode([index]): float(chances[index])
        for index in range(tokenizer.vocab_size)
        if index not in tokenizer.special_ids
    }
    [guesses] = Filler(model, tokenizer).fill(TEXT, top_k=4)
    best = sorted(words, key=words.__getitem__, reverse=True)[:4]
    assert [guess.token for guess in guesses] == best
    assert [guess.chance for guess in guesses] == pytest.approx([words[word] for word in best], abs=1e-5)
    [every] = Filler(model, tokenizer).fill(TEXT, top_k=10_000)
    assert {guess.token for guess in every} == set(words)


def test_a_known_answer_is_given() -> None:
    """The bias alone decides where the embedding of a word is nothing."""
    tokenizer = word_pieces()
    model = encoder(tokenizer)
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.language.bias.fill_(-20.0)  # type: ignore[union-attr]
        model.language.bias[tokenizer.id_of("paris")] = 3.0  # type: ignore[union-attr]
        model.language.bias[tokenizer.id_of("##ing")] = 2.0  # type: ignore[union-attr]
    [guesses] = Filler(model, tokenizer).fill(TEXT, top_k=2)
    assert [guess.token for guess in guesses] == ["paris", "##ing"]
    assert [guess.chance for guess in guesses] == pytest.approx([0.7311, 0.2689], abs=1e-3)


@pytest.mark.parametrize("mask", ["[MASK]", "<|mask|>"])
def test_every_spelling_of_a_mask_is_one(mask: str, tokenizer: Tokenizer) -> None:
    for known in (word_pieces(), tokenizer):
        filler = Filler(encoder(known), known)
        assert filler.fill(f"The {mask} of France") == filler.fill("The [MASK] of France")


def test_several_masks_are_filled_each_by_itself() -> None:
    tokenizer = word_pieces()
    masks = Filler(encoder(tokenizer), tokenizer).fill("The [MASK] of [MASK] is [MASK]", top_k=3)
    assert [len(guesses) for guesses in masks] == [3, 3, 3]


def test_the_space_before_a_mask_belongs_to_the_word(tokenizer: Tokenizer) -> None:
    """Byte-level words begin with their space, so the mask stands where it was in training."""
    filler = Filler(encoder(tokenizer), tokenizer)
    ids, [place] = filler._masked_ids("The quick [MASK] fox")
    whole = tokenizer.encode("The quick")
    assert ids.tolist()[1:place] == whole
    assert ids.tolist()[place + 1 : -1] == tokenizer.encode(" fox")


def test_what_cannot_be_filled_is_refused(tmp_path: Path) -> None:
    tokenizer = word_pieces()
    filler = Filler(encoder(tokenizer), tokenizer)
    with pytest.raises(
        UserError, match=r"there is no mask in the text 'Paris'; write \[MASK\] or <\|mask\|>"
    ):
        filler.fill("Paris")
    with pytest.raises(UserError, match="the text has 43 tokens and the model's context is 16"):
        filler.fill("[MASK] " + "the " * 40)
    decoder = Decoder(
        DecoderOptions(vocab_size=60, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, feed_forward=16)
    )
    bare = Encoder(shape(tokenizer, language_head=False))
    for name, model in (("decoder", decoder), ("bare", bare)):
        place = tmp_path / name
        place.mkdir()
        with pytest.raises(UserError, match="holds no model that fills gaps; make one with `chatwright pre"):
            Filler.load(written(place, stirred(model), tokenizer))


def test_a_run_under_heads_fills_as_its_trunk_does(tmp_path: Path) -> None:
    tokenizer = word_pieces()
    headed = stirred(Headed(Encoder(shape(tokenizer)), {"next_sentence": NEXT_SENTENCE})).eval()
    found = Filler.load(written(tmp_path, headed, tokenizer)).fill(TEXT)
    assert isinstance(headed.trunk, Encoder)
    assert found == Filler(headed.trunk, tokenizer).fill(TEXT)


def small_decoder(tokenizer: Tokenizer) -> Decoder:
    sizes = {"width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 8, "feed_forward": 16}
    return stirred(Decoder(DecoderOptions(vocab_size=tokenizer.vocab_size, **sizes))).eval()


@torch.no_grad()
def test_a_decoder_that_learnt_to_reads_both_ways(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = small_decoder(tokenizer)
    place = written(tmp_path, model, tokenizer)
    facts = {"verb": "pretrain", "status": "finished", "id": "x", "parents": {}, "inputs": {}, "plan": {}}
    run = {**facts, "result": {}, "versions": {}, "options": {"objective": {"name": "causal,masked"}}}
    (place / "run.json").write_text(json.dumps({**dict.fromkeys(_FIELDS), **run}))
    filler = Filler.load(place)
    ids, [at] = filler._masked_ids("The [MASK] is red")
    wanted = model(torch.from_numpy(ids).long()[None], outputs=("logits",), causal=False)["logits"][0, at]
    [guesses] = filler.fill("The [MASK] is red", top_k=1)
    assert guesses[0].chance == pytest.approx(float(filler._best(wanted.softmax(-1), 1)[0].chance), abs=1e-6)
    assert filler.fill("The [MASK] is red") != filler.fill("The [MASK] is blue"), "what follows counts"
    run["options"] = {"objective": {"name": "causal"}}
    (place / "run.json").write_text(json.dumps({**dict.fromkeys(_FIELDS), **run}))
    with pytest.raises(UserError, match="holds no model that fills gaps"):
        Filler.load(place)


@torch.no_grad()
def test_xlnet_fills_a_gap_from_all_that_is_known(tokenizer: Tokenizer) -> None:
    options = XLNetOptions(vocab_size=tokenizer.vocab_size, width=16, layers=2, heads=2, feed_forward=24)
    model = stirred(XLNet(options)).eval()
    filler = Filler(model, tokenizer)
    [guesses] = filler.fill("The [MASK] is red", top_k=3)
    ids, [at] = filler._masked_ids("The [MASK] is red")
    assert ids[0] == tokenizer.endoftext
    row = torch.from_numpy(ids).long()[None]
    other = row.clone()
    other[0, at] = 5
    alike = filler._logits(row, [at]), filler._logits(other, [at])
    torch.testing.assert_close(*alike, msg="what stands in the gap is not seen")
    assert guesses == filler._best(alike[0][0].softmax(-1), 3)
    assert filler.fill("The [MASK] is blue", top_k=3) != [guesses], "what follows counts"

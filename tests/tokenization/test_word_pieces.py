"""Tokenizers of BERT's kind: rests of words, and no end of text."""

from __future__ import annotations

from pathlib import Path

from chatwright.tokenization.stream import Utf8Stream
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.word_pieces import word_pieces

TEXT = "The dogs, barking."


def test_rests_of_words_are_joined() -> None:
    tokenizer = word_pieces()
    ids = tokenizer.encode(TEXT)
    assert len(ids) == 7
    assert tokenizer.decode(ids) == "the dogs, barking."
    assert tokenizer.decode_bytes(ids) == b" the dogs, barking."
    assert "##" not in tokenizer.decode_bytes(tokenizer.encode("barks")).decode()
    assert tokenizer.decode_bytes(tokenizer.encode("是大")).decode() == "是大"


def test_a_token_stands_for_its_own_bytes() -> None:
    tokenizer = word_pieces()
    sizes = {
        token: int(tokenizer.token_bytes[tokenizer.id_of(token)])
        for token in ("##ing", "dog", ",", "是", "[SEP]")
    }
    assert sizes == {"##ing": 3, "dog": 4, ",": 1, "是": 3, "[SEP]": 0}


def test_what_is_streamed_is_what_is_decoded() -> None:
    tokenizer = word_pieces()
    stream, ids = Utf8Stream(tokenizer), tokenizer.encode(TEXT)
    assert "".join(map(stream.feed, ids)) + stream.flush() == tokenizer.decode(ids)


def test_the_separator_ends_where_nothing_else_does(tmp_path: Path) -> None:
    tokenizer = word_pieces()
    separator = tokenizer.id_of("[SEP]")
    assert (tokenizer.eos, tokenizer.endoftext, tokenizer.pad) == (separator, separator, 0)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert again.named_tokens == {**tokenizer.named_tokens, "eos_token": "[SEP]"}
    assert again.template is None

import json

import numpy as np
import pytest
import tokenizers

from chatwright.tokenization.fast import build_encoding, merged_below, ranks_follow_merges
from chatwright.tokenization.tokenizer import Tokenizer

BYTES = {bytes([byte]): byte for byte in range(256)}


def test_merging_below_a_rank() -> None:
    ranks = {**BYTES, b"ab": 256, b"bc": 257, b"abc": 258}
    assert merged_below(b"abc", ranks, 258) == [b"ab", b"c"]
    assert merged_below(b"abc", ranks, 1000) == [b"abc"]
    assert merged_below(b"aab", ranks, 256) == [b"a", b"a", b"b"]


def test_proof_accepts_merges_in_the_order_of_ids() -> None:
    assert ranks_follow_merges({**BYTES, b"ab": 256, b"abc": 257}, [(b"a", b"b"), (b"ab", b"c")])


@pytest.mark.parametrize(
    ("added", "merges"),
    [
        # abc is reached as a + bc by rank, but the list wants ab + c
        ({b"bc": 256, b"ab": 257, b"abc": 258}, [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
        ({b"ab": 257, b"cd": 256}, [(b"a", b"b"), (b"c", b"d")]),
        ({b"ab": 256, b"xyz": 257}, [(b"a", b"b")]),
    ],
)
def test_proof_refuses_what_could_differ(added: dict[bytes, int], merges: list[tuple[bytes, bytes]]) -> None:
    assert not ranks_follow_merges({**BYTES, **added}, merges)


def test_our_tokenizer_is_fast_and_a_normalizer_or_plain_added_token_makes_it_slow(
    tokenizer: Tokenizer,
) -> None:
    assert tokenizer.is_fast
    spec = json.loads(tokenizer._json)
    assert build_encoding(spec) is not None
    assert build_encoding({**spec, "normalizer": {"type": "NFC"}}) is None
    assert build_encoding({**spec, "added_tokens": [{**spec["added_tokens"][0], "special": False}]}) is None


def test_a_differing_order_of_merges_falls_back_and_still_agrees(tokenizer: Tokenizer) -> None:
    spec = json.loads(tokenizer._json)
    spec["model"]["merges"][:2] = spec["model"]["merges"][1::-1]
    backend = tokenizers.Tokenizer.from_str(json.dumps(spec))
    slow = Tokenizer(backend)
    assert not slow.is_fast
    text = "The river 河流 is deep"
    assert slow.encode(text) == backend.encode(text).ids == slow.encode_batch([text])[0].tolist()


def test_every_code_point_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    points = [*range(0x3000), *rng.integers(0x3000, 0x110000, 20_000).tolist()]
    characters = [chr(point) for point in points if not 0xD800 <= point < 0xE000]
    text = "".join(f"a{c}a '{c}x 1{c} {c}\n{c}" for c in characters)
    assert tokenizer._encode(text).tolist() == tokenizer._slow(text).tolist()


def test_random_bytes_give_the_same_ids(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        text = rng.bytes(int(rng.integers(1, 300))).decode("utf-8", "surrogateescape")
        text = "".join(c for c in text if not 0xD800 <= ord(c) < 0xE000)
        assert tokenizer._encode(text).tolist() == tokenizer._slow(text).tolist()


def test_random_words_of_the_corpus_give_the_same_ids(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(2)
    alphabet = list("theriverisdeep numbcitymoan河流城市第个很好=*_()\n'; 0123")
    for _ in range(500):
        text = "".join(rng.choice(alphabet, 80))
        assert tokenizer._encode(text).tolist() == tokenizer._slow(text).tolist()


@pytest.mark.parametrize("text", [" ", "\n", "a", "你", "!", " \n", "a b", "\r\n"])
def test_a_long_run_of_one_thing(tokenizer: Tokenizer, text: str) -> None:
    long = text * 100_000
    ids = tokenizer.encode_batch([long])[0]
    assert ids.tolist() == tokenizer._slow(long).tolist()
    assert tokenizer.decode(ids) == long


def test_the_extra_gives_the_same_ids_and_typed_control_tokens_stay_text(tokenizer: Tokenizer) -> None:
    pytest.importorskip("gigatoken")
    odd = ["<|im_end|> <|endoftext|>", "", "\ud83d\ude42 \ud800", " \n\n 你好，world 🙂\x00", "a" * 70_000]
    texts = [*odd, *(f"{number} bottles of 酒 on the wall\n" * 40 for number in range(60))]
    assert tokenizer._giga is not None
    found = tokenizer.encode_batch(texts)
    assert [ids.tolist() for ids in found] == [tokenizer.encode(text) for text in texts]
    assert all(ids.dtype == np.int32 for ids in found)
    assert not tokenizer.special_ids & {index for ids in found for index in ids.tolist()}

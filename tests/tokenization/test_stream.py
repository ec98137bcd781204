import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from chatwright.tokenization.stream import Utf8Stream
from chatwright.tokenization.tokenizer import Tokenizer

TEXT = "龘🙂 naïve 👨‍👩‍👧 鬱 end"


def test_pieces_joined_equal_the_whole_and_no_character_is_split(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXT)
    stream = Utf8Stream(tokenizer)
    pieces = [stream.feed(index) for index in ids]
    assert "".join(pieces) + stream.flush() == TEXT
    assert "" in pieces
    assert all("\ufffd" not in piece for piece in pieces)


def test_broken_bytes_equal_the_whole_decode(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        ids = rng.integers(0, tokenizer.vocab_size, 20).tolist()
        stream = Utf8Stream(tokenizer)
        cut = int(rng.integers(0, 20))
        pieces = [stream.feed(ids[:cut]), *(stream.feed(index) for index in ids[cut:]), stream.flush()]
        assert "".join(pieces) == tokenizer.decode(ids)


def test_an_unfinished_character_comes_at_the_flush_and_the_stream_starts_anew(tokenizer: Tokenizer) -> None:
    stream = Utf8Stream(tokenizer)
    ids = tokenizer.encode("龘")
    assert len(ids) > 1
    assert stream.feed(ids[:-1]) == ""
    assert stream.flush() == "\ufffd"
    assert stream.feed(ids) == "龘"


def test_control_tokens_are_left_out_unless_wanted(tokenizer: Tokenizer) -> None:
    assert Utf8Stream(tokenizer).feed([tokenizer.im_end]) == ""
    assert Utf8Stream(tokenizer, skip_special=False).feed(tokenizer.im_end) == "<|im_end|>"


@pytest.fixture
def imported() -> Tokenizer:
    vocab = {"<unk>": 0, "▁hi": 1, "▁x": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}}
    backend = Backend(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return Tokenizer(backend)


def test_a_tokenizer_with_byte_fallback_streams_whole_characters(imported: Tokenizer) -> None:
    ids = [1, 2, *(3 + byte for byte in "🙂".encode()), 1]
    stream = Utf8Stream(imported)
    pieces = [stream.feed(index) for index in ids]
    assert pieces == ["hi", " x", "", "", "", "🙂", " hi"]
    assert stream.flush() == ""

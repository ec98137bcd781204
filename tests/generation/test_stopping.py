"""A stop string never shows, not even its beginning, however the text is cut."""

from __future__ import annotations

import random

import pytest

from chatwright.generation.stopping import StopStrings, TextWriter
from chatwright.tokenization.tokenizer import Tokenizer


def fed(stops: tuple[str, ...], pieces: list[str]) -> tuple[list[str], bool]:
    machine = StopStrings(stops)
    shown = [machine.feed(piece) for piece in pieces]
    return [*shown, machine.flush()], machine.stopped


@pytest.mark.parametrize(
    ("stops", "pieces", "shown"),
    [
        ((), ["ab", "c"], ["ab", "c", ""]),
        (("END",), ["abE", "N", "Dcd"], ["ab", "", "", ""]),
        (("END",), ["abE", "N", "cd"], ["ab", "", "ENcd", ""]),
        (("END",), ["abEN"], ["ab", "EN"]),
        (("aab",), ["aa", "a", "b"], ["", "a", "", ""]),
        (("\n\n",), ["x\n", "\ny"], ["x", "", ""]),
        (("停。",), ["不停", "。走"], ["不", "", ""]),
    ],
)
def test_known_answers(stops: tuple[str, ...], pieces: list[str], shown: list[str]) -> None:
    assert fed(stops, pieces)[0] == shown


def test_any_cut_gives_the_text_before_the_stop_string_that_ends_first() -> None:
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(rng.choice("ab") for _ in range(12))
        stops = tuple("".join(rng.choice("ab") for _ in range(rng.randint(1, 4))) for _ in range(2))
        ends = sorted((text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text)
        expected = text[: ends[0][1]] if ends else text
        cuts = sorted(rng.sample(range(13), 4))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, 12], strict=True)]
        shown, stopped = fed(stops, pieces)
        assert "".join(shown) == expected and stopped == bool(ends)


def test_tokens_become_whole_characters(tokenizer: Tokenizer) -> None:
    text = "naïve 🙂 你好，龘"
    writer = TextWriter(tokenizer, ("龘",))
    pieces = [writer.feed(token) for token in tokenizer.encode(text)]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + writer.flush() == "naïve 🙂 你好，"
    assert writer.stopped


def test_a_reply_cut_in_the_middle_of_a_character_ends_before_it(tokenizer: Tokenizer) -> None:
    """The limit of tokens may fall anywhere; half a character is no text, and less a text to train on."""
    ids = [_byte(tokenizer, byte) for byte in "ok 🙂".encode()]
    writer = TextWriter(tokenizer)
    assert "".join(map(writer.feed, ids[:-1])) + writer.flush() == "ok "
    whole = TextWriter(tokenizer)
    assert "".join(map(whole.feed, ids)) + whole.flush() == "ok 🙂"


def _byte(tokenizer: Tokenizer, byte: int) -> int:
    return next(index for index in range(300) if tokenizer.decode_bytes([index]) == bytes([byte]))

"""Texts in their frame: the tokens, the types, and what is cut when there is no room."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import models

from chatwright.errors import UserError
from chatwright.tokenization.pairs import Framer, control_id, mask_spellings, room_for
from chatwright.tokenization.special import CLS, MASK, SEP
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.word_pieces import word_pieces


@pytest.fixture
def imported() -> Tokenizer:
    return word_pieces()


def test_our_own_tokenizers_frame_with_their_own_tokens(tokenizer: Tokenizer) -> None:
    framed = Framer(tokenizer).frame([5, 6, 7])
    special = tokenizer.special_tokens
    assert framed.ids.tolist() == [special[CLS], 5, 6, 7, special[SEP]]
    assert framed.types.tolist() == [0] * 5
    assert framed.cut == 0


def test_a_pair_has_two_types_as_bert_writes_it(imported: Tokenizer) -> None:
    cls, sep = imported.id_of("[CLS]"), imported.id_of("[SEP]")
    framed = Framer(imported).frame([11, 12], [13])
    assert framed.ids.tolist() == [cls, 11, 12, sep, 13, sep]
    assert framed.types.tolist() == [0, 0, 0, 0, 1, 1]
    assert Framer(imported).frame([], []).ids.tolist() == [cls, sep, sep]


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"),
    [
        (5, 4, 9, (5, 4)),
        (9, 4, 9, (5, 4)),
        (4, 9, 9, (4, 5)),
        (20, 2, 9, (7, 2)),
        (20, 20, 9, (4, 5)),
        (21, 20, 9, (5, 4)),
        (20, 0, 9, (9, 0)),
        (3, 3, 1, (0, 1)),
    ],
)
def test_the_longer_text_is_cut_first(first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    assert room_for(first, second, room) == kept


def test_cutting_is_that_of_tokenizers() -> None:
    """Against the ecosystem's own truncation, over many lengths."""
    own = word_pieces()
    plain = tokenizers.Tokenizer.from_str(own._json)
    words = [f"w{index}" for index in range(20)]
    for first in range(0, 14, 3):
        for second in range(1, 14, 2):
            for longest in (4, 5, 9, 16):
                plain.enable_truncation(longest - 3)
                texts = " ".join(words[:first]), " ".join(words[second : 2 * second])
                wanted = plain.encode(*texts, add_special_tokens=False)
                framed = Framer(own).frame(*map(own.encode, texts), longest=longest)
                sizes = (wanted.type_ids.count(0), wanted.type_ids.count(1))
                assert (framed.types.tolist().count(0) - 2, framed.types.tolist().count(1) - 1) == sizes
                assert [i for i in framed.ids.tolist() if i not in own.special_ids] == wanted.ids
                assert len(framed.ids) + framed.cut == sum(map(len, map(own.encode, texts))) + 3


def test_one_text_is_cut_at_its_end_and_counted(imported: Tokenizer) -> None:
    framed = Framer(imported).frame(range(10, 20), longest=6)
    assert framed.ids.tolist()[1:-1] == [10, 11, 12, 13]
    assert framed.cut == 6
    with pytest.raises(UserError, match="a context of 3 tokens has no room for a text; 3 frame it"):
        Framer(imported).frame([1], [2], longest=3)


def test_a_mask_is_written_as_the_tokenizer_or_as_bert_does(
    tokenizer: Tokenizer, imported: Tokenizer
) -> None:
    assert mask_spellings(tokenizer) == ("[MASK]", MASK)
    assert control_id(tokenizer, MASK, "mask_token") == tokenizer.special_tokens[MASK]
    assert control_id(imported, MASK, "mask_token") == imported.id_of("[MASK]")
    named = Tokenizer(imported._backend, {"mask_token": "[SEP]"}, None)
    assert control_id(named, MASK, "mask_token") == imported.id_of("[SEP]")


def test_a_tokenizer_without_frame_is_refused() -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with pytest.raises(UserError, match=r"neither <\|cls\|> nor \[CLS\]"):
        Framer(Tokenizer(backend, {}, None))

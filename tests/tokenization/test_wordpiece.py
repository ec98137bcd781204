"""A vocab.txt gives the tokenizer that BERT's own class gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from chatwright.errors import UserError
from chatwright.tokenization.wordpiece import tokenizer_of_words

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cap",
    "##ital",
    "##s",
    "of",
    "é",
    "e",
    "中",
    "国",
    "!",
    "The",
]
TEXTS = ["The capitals of thé", "中国 the!", "nothing known", "", "the [MASK] of"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_cuts_the_same(tmp_path: Path, lowercase: bool) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    peer = transformers.BertTokenizer.from_pretrained(tmp_path, do_lower_case=lowercase)
    made = tokenizer_of_words("\n".join(PIECES) + "\n", f'{{"do_lower_case": {str(lowercase).lower()}}}')
    mine = Tokenizer.from_str(made)
    for text in TEXTS:
        assert mine.encode(text).ids == peer(text)["input_ids"]
        pair = peer(text, "of the")
        assert mine.encode(text, "of the").ids == pair["input_ids"]
        assert mine.encode(text, "of the").type_ids == pair["token_type_ids"]


def test_what_is_no_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match=r"lacks \[CLS\]"):
        tokenizer_of_words("[UNK]\nthe\n", None)

"""A small tokenizer of BERT's kind: lower case, whole words and their rests."""

from __future__ import annotations

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from chatwright.tokenization.tokenizer import Tokenizer

CONTROLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NAMES = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
_WORDS = (
    "the",
    "capital",
    "of",
    "france",
    "is",
    "paris",
    "a",
    "dog",
    "bark",
    "##ing",
    "##s",
    ".",
    ",",
    "是",
    "大",
)


def word_pieces() -> Tokenizer:
    """Its vocabulary: control tokens, a few words and rests, and w0 … w39."""
    vocabulary = [*CONTROLS, *_WORDS, *(f"w{index}" for index in range(40))]
    backend = Backend(models.WordPiece({word: at for at, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(list(CONTROLS))
    return Tokenizer(backend, NAMES, None)

"""BERT's word pieces from a plain list of them, as old model directories have it (Devlin et al. 2019; Schuster and Nakajima
2012)."""

from __future__ import annotations

import json

from chatwright.errors import UserError

_UNKNOWN, _FIRST, _LAST = "[UNK]", "[CLS]", "[SEP]"
_SPECIAL = ("[PAD]", _UNKNOWN, _FIRST, _LAST, "[MASK]")


def tokenizer_of_words(vocab: str, config: str | None, place: str = "vocab.txt") -> str:
    """The text of a tokenizer.json from that of a vocab.txt, a piece a line, and of a tokenizer_config.json."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = vocab.split("\n")
    ids = {piece.rstrip("\r"): number for number, piece in enumerate(pieces) if piece.rstrip("\r")}
    missing = [token for token in (_UNKNOWN, _FIRST, _LAST) if token not in ids]
    if missing:
        raise UserError(f"{place} is no vocabulary of word pieces: it lacks {missing[0]}")
    settings = json.loads(config) if config else {}
    lowercase = bool(settings.get("do_lower_case", True))
    made = Tokenizer(models.WordPiece(ids, unk_token=_UNKNOWN, max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=lowercase,
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(prefix="##")
    made.post_processor = processors.TemplateProcessing(
        single=f"{_FIRST}:0 $A:0 {_LAST}:0",
        pair=f"{_FIRST}:0 $A:0 {_LAST}:0 $B:1 {_LAST}:1",
        special_tokens=[(token, ids[token]) for token in (_FIRST, _LAST)],
    )
    made.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL if token in ids])
    return str(made.to_str())

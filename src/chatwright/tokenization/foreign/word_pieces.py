"""WordPiece (BERT, Devlin et al. 2019): `tokenizer.ggml.model = "bert"`.

GGUF marks what begins a word (`▁`), `tokenizer.json` what continues one (`##`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatwright.errors import UserError
from chatwright.tokenization.foreign.vocabulary import (
    Kind,
    Vocabulary,
    added_token,
    framed,
    listed,
    type_of,
    written,
)

SPACE, CONTINUES = "▁", "##"
_NAMED = {"unk": "[UNK]", "bos": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}


def read(vocabulary: Vocabulary, place: str) -> str:
    """`tokenizer.json` of a `bert` vocabulary."""
    tokens = [_public(token) for token in vocabulary.tokens]
    ids = {token: index for index, token in enumerate(tokens) if vocabulary.kinds[index] != Kind.UNUSED}
    named = named_of(vocabulary)
    if lacking := [
        token for name, token in _NAMED.items() if name in ("unk", "bos", "sep") and name not in named
    ]:
        raise UserError(f"{place}: its tokenizer lacks {', '.join(lacking)}")
    cased = any(token != token.lower() for token in ids if ids[token] not in named.values())
    special = sorted(
        {*named.values(), *(i for i, kind in enumerate(vocabulary.kinds) if kind == Kind.CONTROL)}
    )
    return written(
        place,
        {
            "type": "WordPiece",
            "unk_token": tokens[named["unk"]],
            "continuing_subword_prefix": CONTINUES,
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
        added_tokens=[added_token(tokens[index], index, special=True) for index in special],
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": vocabulary.flags.get("lowercase", not cased),
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=framed([(tokens[named["bos"]], named["bos"])], [(tokens[named["sep"]], named["sep"])]),
        decoder={"type": "WordPiece", "prefix": CONTINUES, "cleanup": True},
    )


def named_of(vocabulary: Vocabulary) -> dict[str, int]:
    """The tokens with a part to play: those that the file names, others by their usual spelling."""
    usual = {name: vocabulary.tokens.index(t) for name, t in _NAMED.items() if t in vocabulary.tokens}
    return {**usual, **{name: index for name, index in vocabulary.named.items() if name in _NAMED}}


def _public(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token.removeprefix(SPACE) if token.startswith(SPACE) else CONTINUES + token


def _ggml(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token.removeprefix(CONTINUES) if token.startswith(CONTINUES) else SPACE + token


def is_word_pieces(spec: Mapping[str, Any]) -> bool:
    """Whether a parsed `tokenizer.json` is WordPiece."""
    return type_of(spec["model"]) == "WordPiece"


def write(spec: Mapping[str, Any], size: int, place: str) -> Vocabulary:
    """The `bert` vocabulary of a parsed `tokenizer.json`."""
    normalizer = spec.get("normalizer") or {}
    lowercase = normalizer.get("lowercase", True)
    usual = (
        type_of(normalizer) == "BertNormalizer"
        and type_of(spec.get("pre_tokenizer")) == "BertPreTokenizer"
        and spec["model"].get("continuing_subword_prefix", CONTINUES) == CONTINUES
        and normalizer.get("clean_text", True)
        and normalizer.get("handle_chinese_chars", True)
        and normalizer.get("strip_accents") in (None, lowercase)
    )
    if not usual:
        raise UserError(f"{place}: a WordPiece that does not prepare text as BERT does has no place in GGUF")
    tokens, kinds = listed(spec, size, place)
    spelled = [t if kind == Kind.UNUSED else _ggml(t) for t, kind in zip(tokens, kinds, strict=True)]
    if odd := next((t for t, s in zip(tokens, spelled, strict=True) if t != s and _public(s) != t), None):
        raise UserError(f"{place}: the token {odd!r} has no spelling in GGUF")
    return Vocabulary("bert", spelled, kinds, flags={"lowercase": bool(lowercase)})

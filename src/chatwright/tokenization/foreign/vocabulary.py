"""A vocabulary as GGUF lists it, and what every `tokenizer.json` made of one has in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from chatwright.errors import UserError


class Kind(IntEnum):
    """What a token is, by GGUF's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids.

    kinds: one number of `Kind` a token. scores: of `llama` only. merges: of `gpt2` only, "left right". pre: the name of
    the pre-tokenizer. named: `bos`, `eos`, `unk`, `sep`, `pad`, `mask` -> id. flags: `add_bos`, `add_eos`,
    `space_prefix`, `lowercase` where they are said.
    """

    model: str
    tokens: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] = ()
    merges: Sequence[str] = ()
    pre: str = ""
    named: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)

    def plain(self) -> dict[str, int]:
        """token -> id, without those that stand for nothing."""
        return {token: index for index, token in enumerate(self.tokens) if self.kinds[index] != Kind.UNUSED}

    def added(self, kinds: Iterable[Kind] = (Kind.UNKNOWN, Kind.CONTROL, Kind.USER)) -> list[dict[str, Any]]:
        """The tokens that no text is merged into, as `tokenizer.json` lists them."""
        wanted = set(kinds)
        return [
            added_token(token, index, special=kind != Kind.USER)
            for index, (token, kind) in enumerate(zip(self.tokens, self.kinds, strict=True))
            if kind in wanted
        ]


def added_token(content: str, index: int, special: bool) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, **flags, "special": special}


def without_last(plain: dict[str, int], added: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The vocabulary without the added tokens, if those are the last ones: `tokenizers` counts them on by itself.

    Otherwise they stay in it, which fixes their ids.
    """
    contents = {token["content"] for token in added}
    rest = {token: index for token, index in plain.items() if token not in contents}
    last = list(range(len(rest), len(rest) + len(added)))
    dense = sorted(rest.values()) == list(range(len(rest)))
    return rest if dense and [token["id"] for token in added] == last else plain


def framed(first: Sequence[tuple[str, int]], last: Sequence[tuple[str, int]]) -> dict[str, Any] | None:
    """The post-processor that puts tokens before and after a text; a pair of texts is framed as BERT does."""
    if not first and not last:
        return None

    def special(tokens: Sequence[tuple[str, int]], kind: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": token, "type_id": kind}} for token, _ in tokens]

    def text(name: str, kind: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": kind}}

    one = [*special(first, 0), text("A", 0), *special(last, 0)]
    return {
        "type": "TemplateProcessing",
        "single": one,
        "pair": [*one, text("B", 1), *special(last, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [index], "tokens": [token]} for token, index in (*first, *last)
        },
    }


def written(place: str, model: Mapping[str, Any], **parts: Any) -> str:
    """`tokenizer.json`, as `tokenizers` writes it; one that it refuses is the user's error."""
    import tokenizers

    empty = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    spec = {"version": "1.0", **dict.fromkeys(empty), "added_tokens": [], **parts, "model": model}
    try:
        return str(tokenizers.Tokenizer.from_str(json.dumps(spec, ensure_ascii=False)).to_str())
    except Exception as error:
        # `tokenizers` raises bare Exception for anything that does not fit
        said = " ".join(str(error).split())
        raise UserError(f"{place}: its tokenizer contradicts itself: {said}") from error


def bpe(vocab: Mapping[str, int], merges: Sequence[Sequence[str]], **options: Any) -> dict[str, Any]:
    """The `model` of a `tokenizer.json` that merges pairs."""
    usual = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    return {**usual, **options, "vocab": vocab, "merges": merges}


def merges_of(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a `tokenizer.json`, which spells them in two ways."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def listed(
    spec: Mapping[str, Any], size: int, place: str, bytes_too: bool = False
) -> tuple[list[str], list[int]]:
    """Tokens and kinds of a parsed `tokenizer.json` for a model of `size` rows; ids without a token are padded."""
    tokens = [f"[PAD{index}]" for index in range(size)]
    kinds = [int(Kind.UNUSED)] * size
    added = {token["id"]: token for token in spec.get("added_tokens", ())}
    everything = {index: token for token, index in spec["model"]["vocab"].items()}
    everything |= {index: token["content"] for index, token in added.items()}
    for index, token in everything.items():
        if not 0 <= index < size:
            raise UserError(
                f"{place}: the token {token!r} has the id {index}, but the model has {size:,} rows"
            )
        special = added.get(index)
        tokens[index] = token
        kinds[index] = Kind.NORMAL if special is None else Kind.CONTROL if special["special"] else Kind.USER
        if bytes_too and is_byte(token):
            kinds[index] = Kind.BYTE
    if len(set(tokens)) < size:
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise UserError(f"{place}: the token {twice!r} has two ids, which GGUF has no place for")
    return tokens, kinds


def is_byte(token: str) -> bool:
    """Whether a token is `<0x00>` … `<0xFF>`, which spells one byte."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def type_of(part: Any) -> str | None:
    """The type of a part of `tokenizer.json`; None where there is none."""
    return part.get("type") if isinstance(part, Mapping) else None


def steps_of(part: Any, inner: str) -> list[Mapping[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, one or many. inner: what a sequence calls them."""
    if not isinstance(part, Mapping):
        return []
    return list(part[inner]) if part.get("type") == "Sequence" else [part]

"""SentencePiece's BPE (Kudo and Richardson 2018): `tokenizer.ggml.model = "llama"`, and llama2.c's tokenizer files.

There a pair is merged when its joint text is a token, the best score first and the leftmost of equals. In
`tokenizer.json` a pair is merged when it is listed, the first in the list first. Scores become a list by sorting the
pairs of every token by its score; a list becomes scores only if it could have come from some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatwright.errors import UserError
from chatwright.tokenization.foreign.vocabulary import (
    Kind,
    Vocabulary,
    bpe,
    framed,
    listed,
    merges_of,
    steps_of,
    type_of,
    written,
)

SPACE = "▁"
_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_PREPEND = {"type": "Prepend", "prepend": SPACE}
_LONGEST = 512


def read(vocabulary: Vocabulary, place: str) -> str:
    """`tokenizer.json` of a `llama` vocabulary."""
    if len(vocabulary.scores) != len(vocabulary.tokens):
        raise UserError(f"{place}: {len(vocabulary.tokens):,} tokens have {len(vocabulary.scores):,} scores")
    prefix = vocabulary.flags.get("space_prefix", True)
    normalizers = [*([_PREPEND] if prefix else []), _REPLACE]
    unknown = next(
        (t for t, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True) if kind == Kind.UNKNOWN), None
    )
    frame = [
        [(vocabulary.tokens[vocabulary.named[name]], vocabulary.named[name])]
        if vocabulary.flags.get(f"add_{name}", usual) and name in vocabulary.named
        else []
        for name, usual in (("bos", True), ("eos", False))
    ]
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    return written(
        place,
        bpe(
            vocabulary.plain(),
            _merges(vocabulary, place),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=Kind.BYTE in vocabulary.kinds,
        ),
        added_tokens=vocabulary.added(),
        normalizer={"type": "Sequence", "normalizers": normalizers},
        post_processor=framed(*frame),
        decoder={"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]},
    )


def _merges(vocabulary: Vocabulary, place: str) -> list[tuple[str, str]]:
    """Every pair of tokens that makes a token, best score first; of one token's pairs the longest left part first."""
    scores = {
        token: score
        for token, score, kind in zip(vocabulary.tokens, vocabulary.scores, vocabulary.kinds, strict=True)
        if kind == Kind.NORMAL
    }
    found: list[tuple[float, int, str, str]] = []
    for token, score in scores.items():
        if not score == score:
            raise UserError(f"{place}: the score of {token!r} is no number")
        if len(token) > _LONGEST:
            raise UserError(
                f"{place}: a token of {len(token):,} characters; at most {_LONGEST} are supported"
            )
        for at in range(len(token) - 1, 0, -1):
            left, right = token[:at], token[at:]
            if left in scores and right in scores:
                found.append((-score, len(found), left, right))
    return [(left, right) for _, _, left, right in sorted(found)]


def is_pieces(spec: Mapping[str, Any]) -> bool:
    """Whether a parsed `tokenizer.json` merges characters, with bytes for those that are no token."""
    return spec["model"].get("type", "BPE") == "BPE" and bool(spec["model"].get("byte_fallback"))


def write(spec: Mapping[str, Any], size: int, place: str) -> Vocabulary:
    """The `llama` vocabulary of a parsed `tokenizer.json`."""
    model = spec["model"]
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    if told := next((name for name in odd if model.get(name)), None):
        raise UserError(f"{place}: a BPE with byte_fallback and {told} has no place in GGUF")
    prefix = _has_prefix(spec, place)
    tokens, kinds = listed(spec, size, place, bytes_too=True)
    ranks = _ranks(
        merges_of(model), {t for t, kind in zip(tokens, kinds, strict=True) if kind == Kind.NORMAL}, place
    )
    unknown = model.get("unk_token")
    kinds = [
        int(Kind.UNKNOWN) if token == unknown else kind for token, kind in zip(tokens, kinds, strict=True)
    ]
    # what is never made by a merge comes last; its score says nothing
    scores = [
        -float(ranks.get(token, len(ranks) + index)) if kind == Kind.NORMAL else 0.0
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
    ]
    return Vocabulary("llama", tokens, kinds, scores, flags={"space_prefix": prefix})


def _ranks(merges: Sequence[tuple[str, str]], tokens: set[str], place: str) -> dict[str, int]:
    """token -> its place in the order in which tokens are made."""
    ranks: dict[str, int] = {}
    last = ""
    for left, right in merges:
        token = left + right
        if token != last and token in ranks:
            raise UserError(
                f"{place}: the merges that make {token!r} do not follow one another; no scores give that"
            )
        ranks.setdefault(token, len(ranks))
        last = token
    listed_pairs = set(merges)
    for token in tokens:
        for at in range(1, len(token)):
            pair = (token[:at], token[at:])
            if pair[0] in tokens and pair[1] in tokens and pair not in listed_pairs:
                raise UserError(
                    f"{place}: {pair[0]!r} and {pair[1]!r} are not merged to {token!r}; no scores give that"
                )
    return ranks


def _has_prefix(spec: Mapping[str, Any], place: str) -> bool:
    """Whether a text begins with a space of its own; what else a normalizer does is refused."""
    steps = steps_of(spec.get("normalizer"), "normalizers")
    kinds = [type_of(step) for step in steps]
    cutter: Any = spec.get("pre_tokenizer")
    if cutter is None and kinds == ["Prepend", "Replace"] and steps == [_PREPEND, _REPLACE]:
        return True
    if cutter is None and steps == [_REPLACE]:
        return False
    whole = type_of(cutter) == "Metaspace" and (cutter["split"], cutter["replacement"]) == (False, SPACE)
    if whole and not steps:
        return bool(cutter["prepend_scheme"] != "never")
    what = ", ".join(str(kind) for kind in (*kinds, type_of(cutter)) if kind) or "nothing"
    raise UserError(f"{place}: {what} before the merges has no place in GGUF; spaces as {SPACE} have")


def from_llama2c(pieces: Sequence[bytes], scores: Sequence[float], place: str) -> Vocabulary:
    """The vocabulary of llama2.c's tokenizer file, which spells spaces as spaces."""
    tokens, kinds = [], []
    for index, piece in enumerate(pieces):
        try:
            token = piece.decode()
        except UnicodeDecodeError:
            raise UserError(f"{place} is not a tokenizer of llama2.c: token {index} is not UTF-8") from None
        control = _CONTROL.get(index)
        byte = index - len(_CONTROL)
        if control is not None:
            token, kind = control, Kind.UNKNOWN if index == 0 else Kind.CONTROL
        elif byte < 256:
            kind = Kind.BYTE
            if token != f"<0x{byte:02X}>":
                raise UserError(
                    f"{place} is not a tokenizer of llama2.c: token {index} is {token!r}, not a byte"
                )
        else:
            token, kind = token.replace(" ", SPACE), Kind.NORMAL
        tokens.append(token)
        kinds.append(int(kind))
    named = {"unk": 0, "bos": 1, "eos": 2}
    return Vocabulary("llama", tokens, kinds, scores, named=named, flags={"add_bos": True})


_CONTROL = {0: "<unk>", 1: "<s>", 2: "</s>"}

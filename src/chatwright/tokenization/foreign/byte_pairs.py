"""Byte-level BPE (GPT-2, Radford et al. 2019): `tokenizer.ggml.model = "gpt2"`.

GGUF names the pattern that cuts a text instead of giving it. Only names whose pattern is known for certain are read and
written, because a wrong one gives other tokens without any error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatwright.errors import UserError
from chatwright.tokenization.fast import GPT2_PATTERN, pattern_of
from chatwright.tokenization.foreign.vocabulary import (
    Vocabulary,
    bpe,
    framed,
    listed,
    merges_of,
    steps_of,
    type_of,
    without_last,
    written,
)
from chatwright.tokenization.special import QWEN_PATTERN

LLAMA3_PATTERN = QWEN_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


@dataclass(frozen=True)
class _Cut:
    """How text is cut. digits: each digit by itself first. whole: a piece that is a token is taken as it is. begins:
    whether a text begins with `bos` where the file does not say."""

    pattern: str
    digits: bool = False
    whole: bool = False
    begins: bool = False


CUTS = {
    "gpt-2": _Cut(GPT2_PATTERN),
    "qwen2": _Cut(QWEN_PATTERN),
    "llama-bpe": _Cut(LLAMA3_PATTERN, whole=True, begins=True),
    "smaug-bpe": _Cut(LLAMA3_PATTERN),
    "smollm": _Cut(GPT2_PATTERN, digits=True),
}
_OTHER_NAMES = {
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
    "deepseek-r1-qwen": "qwen2",
    "megrez": "qwen2",
    "phi-2": "gpt-2",
}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def read(vocabulary: Vocabulary, place: str) -> str:
    """`tokenizer.json` of a `gpt2` vocabulary."""
    name = _OTHER_NAMES.get(vocabulary.pre, vocabulary.pre)
    if name not in CUTS:
        known = ", ".join(sorted({*CUTS, *_OTHER_NAMES}))
        raise UserError(
            f"{place}: the pre-tokenizer {vocabulary.pre!r} is not supported; supported are {known}"
        )
    cut = CUTS[name]
    pairs = [merge.split(" ") for merge in vocabulary.merges]
    odd = next((merge for merge, pair in zip(vocabulary.merges, pairs, strict=True) if len(pair) != 2), None)
    if odd is not None:
        raise UserError(f"{place}: the merge {odd!r} is not a pair")
    added = vocabulary.added()
    begin = vocabulary.flags.get("add_bos", cut.begins) and "bos" in vocabulary.named
    end = vocabulary.flags.get("add_eos", False) and "eos" in vocabulary.named
    return written(
        place,
        bpe(without_last(vocabulary.plain(), added), pairs, ignore_merges=cut.whole),
        added_tokens=added,
        pre_tokenizer=_pre_tokenizer(cut),
        post_processor=framed(
            [_named(vocabulary, "bos")] if begin else [], [_named(vocabulary, "eos")] if end else []
        ),
        decoder=_DECODER,
    )


def _named(vocabulary: Vocabulary, name: str) -> tuple[str, int]:
    index = vocabulary.named[name]
    return vocabulary.tokens[index], index


def _pre_tokenizer(cut: _Cut) -> dict[str, Any]:
    if cut.pattern == GPT2_PATTERN:
        own = {**_BYTE_LEVEL, "use_regex": True}
        digits = {"type": "Digits", "individual_digits": True}
        return {"type": "Sequence", "pretokenizers": [digits, own]} if cut.digits else own
    split = {"type": "Split", "pattern": {"Regex": cut.pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**_BYTE_LEVEL, "use_regex": False}]}


def is_byte_pairs(spec: Mapping[str, Any]) -> bool:
    """Whether a parsed `tokenizer.json` merges bytes."""
    return spec["model"].get("type", "BPE") == "BPE" and type_of(spec.get("decoder")) == "ByteLevel"


def write(spec: Mapping[str, Any], size: int, place: str) -> Vocabulary:
    """The `gpt2` vocabulary of a parsed `tokenizer.json`."""
    model = spec["model"]
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk")
    if told := next((name for name in odd if model.get(name)), None):
        raise UserError(f"{place}: a BPE with {told} has no place in GGUF")
    if type_of(spec.get("normalizer")) not in (None, "NFC"):
        kind = type_of(spec["normalizer"])
        raise UserError(f"{place}: the normalizer {kind} has no place in GGUF; none or NFC has")
    pre = _name_of(spec, place)
    tokens, kinds = listed(spec, size, place)
    merges = [f"{left} {right}" for left, right in merges_of(model)]
    if spaced := next((merge for merge in merges if merge.count(" ") != 1), None):
        raise UserError(f"{place}: the merge {spaced!r} holds a space, which GGUF has no place for")
    return Vocabulary("gpt2", tokens, kinds, merges=merges, pre=pre)


def _name_of(spec: Mapping[str, Any], place: str) -> str:
    """The name of the pre-tokenizer, of which each part must be the known one."""
    steps = steps_of(spec.get("pre_tokenizer"), "pretokenizers")
    digits = [type_of(step) for step in steps] == ["Digits", "ByteLevel"] and bool(
        steps[0]["individual_digits"]
    )
    rest = steps[1] if digits else spec.get("pre_tokenizer")
    pattern = pattern_of({**spec, "normalizer": None, "pre_tokenizer": rest})
    whole = bool(spec["model"].get("ignore_merges"))
    for name, cut in CUTS.items():
        if (cut.pattern, cut.digits, cut.whole) == (pattern, digits, whole):
            return name
    what = f"the pattern {pattern!r}" if pattern else "its pre-tokenizer"
    known = ", ".join(CUTS)
    raise UserError(f"{place}: {what} has no name in GGUF that is known here; those of {known} have")

"""Tokenizers of other formats in and out: a GGUF file's metadata, and llama2.c's `tokenizer.bin`."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.tokenization.foreign import byte_pairs, pieces, word_pieces
from chatwright.tokenization.foreign.vocabulary import Kind, Vocabulary
from chatwright.tokenization.template import CHAT_TEMPLATE

_PREFIX = "tokenizer.ggml"
_TEMPLATE = "tokenizer.chat_template"
_IDS = {
    "bos": f"{_PREFIX}.bos_token_id",
    "eos": f"{_PREFIX}.eos_token_id",
    "unk": f"{_PREFIX}.unknown_token_id",
    "sep": f"{_PREFIX}.seperator_token_id",  # GGUF's own spelling
    "pad": f"{_PREFIX}.padding_token_id",
    "mask": f"{_PREFIX}.mask_token_id",
}
_FLAGS = {
    "add_bos": f"{_PREFIX}.add_bos_token",
    "add_eos": f"{_PREFIX}.add_eos_token",
    "space_prefix": f"{_PREFIX}.add_space_prefix",
    "lowercase": f"{_PREFIX}.normalizer.lowercase",
}
_READERS = {"gpt2": byte_pairs.read, "llama": pieces.read, "bert": word_pieces.read}
# Runtimes do not know the marks of what is learnt, and a block that always runs says the same.
_MARKS = {"endgeneration": "endif", "generation": "if true"}


def files_from_gguf(metadata: Mapping[str, Any], place: str) -> dict[str, str]:
    """`tokenizer.json`, `tokenizer_config.json` and, where there is one, `chat_template.jinja`; nothing for a file
    without a tokenizer.

    The ids of a text are those that llama.cpp gives. `place` names the file in errors.
    """
    vocabulary = _vocabulary(metadata, place)
    if vocabulary is None:
        return {}
    files = {
        "tokenizer.json": _READERS[vocabulary.model](vocabulary, place),
        "tokenizer_config.json": dumps(_config(vocabulary)),
    }
    template = metadata.get(_TEMPLATE)
    if isinstance(template, str):
        files["chat_template.jinja"] = CHAT_TEMPLATE if template == _unmarked(CHAT_TEMPLATE) else template
    return files


def ids_from_gguf(metadata: Mapping[str, Any], place: str) -> dict[str, int]:
    """`bos_token_id`, `eos_token_id` and `pad_token_id` of config.json, those that the file names."""
    vocabulary = _vocabulary(metadata, place)
    if vocabulary is None:
        return {}
    named = word_pieces.named_of(vocabulary) if vocabulary.model == "bert" else vocabulary.named
    wanted = ("pad",) if vocabulary.model == "bert" else ("bos", "eos", "pad")
    return {f"{name}_token_id": named[name] for name in wanted if name in named}


def _vocabulary(metadata: Mapping[str, Any], place: str) -> Vocabulary | None:
    model = metadata.get(f"{_PREFIX}.model")
    if model in (None, "none", "no_vocab"):
        return None
    if not isinstance(model, str) or model not in _READERS:
        raise UserError(
            f"{place}: the tokenizer {model!r} is not supported; supported are {', '.join(_READERS)}"
        )
    tokens = _list(metadata, "tokens", str, place)
    if not tokens:
        raise UserError(f"{place}: its tokenizer has no tokens")
    kinds = _list(metadata, "token_type", int, place) or [int(Kind.NORMAL)] * len(tokens)
    if len(kinds) != len(tokens):
        raise UserError(f"{place}: {len(tokens):,} tokens have {len(kinds):,} types")
    _refuse_twice(tokens, kinds, place)
    named = {name: metadata[key] for name, key in _IDS.items() if key in metadata}
    for name, index in named.items():
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(tokens):
            raise UserError(f"{place}: {_IDS[name]} is {index!r}, but there are {len(tokens):,} tokens")
    flags = {name: metadata[key] for name, key in _FLAGS.items() if isinstance(metadata.get(key), bool)}
    scores = [float(score) for score in _list(metadata, "scores", (int, float), place)]
    merges = _list(metadata, "merges", str, place)
    pre = metadata.get(f"{_PREFIX}.pre", "")
    return Vocabulary(model, tokens, kinds, scores, merges, str(pre), named, flags)


def _list(metadata: Mapping[str, Any], name: str, kind: Any, place: str) -> list[Any]:
    values = metadata.get(f"{_PREFIX}.{name}", [])
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise UserError(f"{place}: {_PREFIX}.{name} is not a list of the right type")
    return values


def _refuse_twice(tokens: list[str], kinds: list[int], place: str) -> None:
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if kinds[index] == Kind.UNUSED:
            continue
        if not token:
            raise UserError(f"{place}: the token {index} is empty")
        if token in seen:
            raise UserError(f"{place}: the token {token!r} has two ids, {seen[token]} and {index}")
        seen[token] = index


def _config(vocabulary: Vocabulary) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    named = word_pieces.named_of(vocabulary) if vocabulary.model == "bert" else vocabulary.named
    for name, index in named.items():
        public = "cls" if vocabulary.model == "bert" and name == "bos" else name
        config[f"{public}_token"] = vocabulary.tokens[index]
    said = {"add_bos", "add_eos"} if vocabulary.model != "bert" else set()
    return config | {f"{name}_token": value for name, value in vocabulary.flags.items() if name in said}


def gguf_from_files(files: Mapping[str, str], config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The metadata of a GGUF file's tokenizer and chat template; nothing without a `tokenizer.json`.

    config: the model's config.json, of which `vocab_size` counts the tokens and the ids stand in for names that
    `tokenizer_config.json` does not give. Whether a text begins with `bos` is `add_bos_token` there, or what the
    post-processor does. Tokenizers that GGUF cannot say are refused. `place` names the model in errors.
    """
    if "tokenizer.json" not in files:
        return {}
    spec, options = _parsed(files, place)
    size = int(config["vocab_size"])
    if byte_pairs.is_byte_pairs(spec):
        vocabulary = byte_pairs.write(spec, size, place)
    elif pieces.is_pieces(spec):
        vocabulary = pieces.write(spec, size, place)
    elif word_pieces.is_word_pieces(spec):
        vocabulary = word_pieces.write(spec, size, place)
    else:
        kind = spec["model"].get("type", "BPE")
        known = "byte-level BPE, BPE with byte_fallback, WordPiece"
        raise UserError(f"{place}: a tokenizer of type {kind} has no place in GGUF; supported are {known}")
    metadata: dict[str, Any] = {
        f"{_PREFIX}.model": vocabulary.model,
        f"{_PREFIX}.pre": vocabulary.pre or "default",
        f"{_PREFIX}.tokens": list(vocabulary.tokens),
        f"{_PREFIX}.token_type": [int(kind) for kind in vocabulary.kinds],
        f"{_PREFIX}.scores": list(vocabulary.scores),
        f"{_PREFIX}.merges": list(vocabulary.merges),
    }
    metadata = {key: value for key, value in metadata.items() if value != []}
    metadata |= _named_ids(spec, options, config, vocabulary)
    metadata |= {_FLAGS[name]: value for name, value in vocabulary.flags.items()}
    if vocabulary.model != "bert":
        metadata |= _ends(spec, options, metadata)
    template = files.get("chat_template.jinja")
    return metadata | ({_TEMPLATE: _unmarked(template)} if template else {})


def _parsed(files: Mapping[str, str], place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`tokenizer.json` with nothing left out, and `tokenizer_config.json`."""
    import tokenizers

    try:
        spec = json.loads(tokenizers.Tokenizer.from_str(files["tokenizer.json"]).to_str())
        return spec, dict(json.loads(files.get("tokenizer_config.json", "{}")))
    except Exception as error:
        # `tokenizers` raises bare Exception for any broken file
        raise UserError(f"{place}: its tokenizer is broken: {' '.join(str(error).split())}") from error


def _named_ids(
    spec: Mapping[str, Any], options: Mapping[str, Any], config: Mapping[str, Any], vocabulary: Vocabulary
) -> dict[str, int]:
    ids = {
        **spec["model"]["vocab"],
        **{token["content"]: token["id"] for token in spec.get("added_tokens", ())},
    }
    found: dict[str, int] = {}
    for name, key in _IDS.items():
        public = "cls" if vocabulary.model == "bert" and name == "bos" else name
        said = options.get(f"{public}_token")
        content = said.get("content") if isinstance(said, Mapping) else said
        index = ids.get(content, config.get(f"{name}_token_id"))
        if isinstance(index, list):
            index = index[0] if index else None
        if isinstance(index, int) and 0 <= index < len(vocabulary.tokens):
            found[key] = index
    return found


def _ends(
    spec: Mapping[str, Any], options: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, bool]:
    """Whether a text begins with `bos`, and where it matters whether it ends with `eos`."""
    ends = {}
    for name, at in (("bos", 0), ("eos", -1)):
        said = options.get(f"add_{name}_token")
        if not isinstance(said, bool):
            said = metadata.get(_IDS[name]) in _framing(spec, at)
        # runtimes add `bos` for some vocabularies unless they are told not to
        if said or name == "bos" or f"add_{name}_token" in options:
            ends[_FLAGS[f"add_{name}"]] = said
    return ends


def _framing(spec: Mapping[str, Any], at: int) -> list[int]:
    """The ids of the token that the post-processor puts first (at=0) or last (at=-1)."""
    outer = spec.get("post_processor") or {}
    for step in outer.get("processors", [outer]):
        if step.get("type") == "TemplateProcessing" and "SpecialToken" in step["single"][at]:
            ids: list[int] = step["special_tokens"][step["single"][at]["SpecialToken"]["id"]]["ids"]
            return ids
    return []


def _unmarked(template: str) -> str:
    """A chat template without the marks of what is learnt; what it renders is the same."""
    for mark, plain in _MARKS.items():
        for open_ in ("{%", "{%-", "{%+"):
            for close in ("%}", "-%}", "+%}"):
                template = template.replace(f"{open_} {mark} {close}", f"{open_} {plain} {close}")
    return template


def files_from_llama2c(path: str | Path, vocab_size: int) -> dict[str, str]:
    """`tokenizer.json` and `tokenizer_config.json` of llama2.c's tokenizer file (`tokenizer.bin`, `tok512.bin`).

    The ids of a text are those of llama2.c's own encoder: a space goes before it, and the pair whose token scores best
    is merged first. vocab_size: the model's, which the file must have.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    found: list[bytes] = []
    scores: list[float] = []
    at = 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at) if at + 8 <= len(data) else (0.0, -1)
        at += 8
        if length < 0 or at + length > len(data):
            raise UserError(
                f"{path} is not a tokenizer of llama2.c, or is cut short after token {len(found):,}"
            )
        found.append(data[at : at + length])
        scores.append(score)
        at += length
    if len(found) != vocab_size:
        raise UserError(
            f"{path} has {len(found):,} tokens, the model {vocab_size:,}; give the model's own tokenizer"
        )
    vocabulary = pieces.from_llama2c(found, scores, str(path))
    _refuse_twice(list(vocabulary.tokens), list(vocabulary.kinds), str(path))
    return {
        "tokenizer.json": pieces.read(vocabulary, str(path)),
        "tokenizer_config.json": dumps(_config(vocabulary)),
    }

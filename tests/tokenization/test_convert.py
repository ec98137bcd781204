"""Tokenizers in and out of GGUF and llama2.c: the same ids, or a refusal."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from chatwright.errors import UserError
from chatwright.tokenization.convert import (
    files_from_gguf,
    files_from_llama2c,
    gguf_from_files,
    ids_from_gguf,
)
from chatwright.tokenization.foreign.byte_pairs import CUTS, LLAMA3_PATTERN
from chatwright.tokenization.special import IM_END
from chatwright.tokenization.template import CHAT_TEMPLATE, compile_template
from chatwright.tokenization.tokenizer import Tokenizer

TOK512 = Path(__file__).parents[3] / "shared" / "models" / "tok512.bin"
TEXT = "Hello, it's  12345 days:\n\n 它是第12个城市，很好！ 🙂 e\u0301 ｆｕｌｌ <|im_end|> is text"
PRE, TOKENS, TYPES = "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


def ids(files: Mapping[str, str], text: str) -> list[int]:
    backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"])
    found: list[int] = backend.encode(text).ids
    return found


@pytest.fixture
def files(tokenizer: Tokenizer, tmp_path: Path) -> dict[str, str]:
    tokenizer.save(tmp_path, eos=IM_END)
    return {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}


@pytest.fixture
def config(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"vocab_size": tokenizer.vocab_size, "bos_token_id": tokenizer.endoftext}


def test_our_own_tokenizer_comes_back_as_it_was(
    tokenizer: Tokenizer, files: dict[str, str], config: dict[str, Any]
) -> None:
    metadata = gguf_from_files(files, config, "run")
    said = {
        "tokenizer.ggml.model": "gpt2",
        PRE: "qwen2",
        "tokenizer.ggml.bos_token_id": tokenizer.endoftext,
        "tokenizer.ggml.eos_token_id": tokenizer.im_end,
        "tokenizer.ggml.padding_token_id": tokenizer.pad,
        "tokenizer.ggml.add_bos_token": False,
    }
    assert {key: metadata[key] for key in said} == said
    assert len(metadata[TOKENS]) == len(metadata[TYPES]) == tokenizer.vocab_size
    assert metadata[TYPES].count(3) == len(tokenizer.special_ids) and set(metadata[TYPES]) == {1, 3}
    again = files_from_gguf(metadata, "m.gguf")
    assert json.loads(again["tokenizer.json"]) == json.loads(files["tokenizer.json"])
    assert again["chat_template.jinja"] == CHAT_TEMPLATE
    assert json.loads(again["tokenizer_config.json"])["eos_token"] == IM_END
    assert ids_from_gguf(metadata, "m.gguf") == {
        "bos_token_id": tokenizer.endoftext,
        "eos_token_id": tokenizer.im_end,
        "pad_token_id": tokenizer.pad,
    }


def test_rows_without_a_token_are_padded_and_forgotten_again(
    files: dict[str, str], config: dict[str, Any]
) -> None:
    size = config["vocab_size"]
    metadata = gguf_from_files(files, {**config, "vocab_size": size + 3}, "run")
    assert metadata[TOKENS][-3:] == [f"[PAD{size + index}]" for index in range(3)]
    assert metadata[TYPES][-4:] == [3, 5, 5, 5]
    again = files_from_gguf(metadata, "m.gguf")
    assert json.loads(again["tokenizer.json"]) == json.loads(files["tokenizer.json"])
    with pytest.raises(UserError, match=r"has the id 47., but the model has 470 rows"):
        gguf_from_files(files, {**config, "vocab_size": 470}, "run")


def test_a_template_for_runtimes_says_the_same_without_marks(
    files: dict[str, str], config: dict[str, Any]
) -> None:
    template = gguf_from_files(files, config, "run")["tokenizer.chat_template"]
    assert "generation %}" not in template.replace("add_generation_prompt %}", "")
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "tool_calls": [call]},
        {"role": "assistant", "content": "c"},
    ]
    for tools in (None, [call]):
        given: dict[str, Any] = {"messages": chat, "tools": tools, "add_generation_prompt": True}
        marked = compile_template(CHAT_TEMPLATE).render(**given)
        plain = marked.replace("\ufdd0", "").replace("\ufdd1", "")
        assert compile_template(template).render(**given) == plain
    assert (
        files_from_gguf({**gguf_from_files(files, config, "run"), "tokenizer.chat_template": "x"}, "m")[
            "chat_template.jinja"
        ]
        == "x"
    )


PIECES = {
    "gpt-2": ["I", "'ll", "Ġpay", "Ġ1234", "Ġ", "Ġnow"],
    "qwen2": ["I", "'ll", "Ġpay", "Ġ", "1", "2", "3", "4", "Ġ", "Ġnow"],
    "llama-bpe": ["I", "'ll", "Ġpay", "Ġ", "123", "4", "Ġ", "Ġnow"],
    "smaug-bpe": ["I", "'ll", "Ġpay", "Ġ", "123", "4", "Ġ", "Ġnow"],
    "smollm": ["I", "'ll", "Ġpay", "Ġ", "1", "2", "3", "4", "Ġ", "Ġnow"],
}


@pytest.mark.parametrize("pre", sorted(CUTS))
def test_every_known_pre_tokenizer_cuts_as_named_and_is_recognized(
    files: dict[str, str], config: dict[str, Any], pre: str
) -> None:
    metadata = {**gguf_from_files(files, config, "run"), PRE: pre}
    again = files_from_gguf(metadata, "m.gguf")
    cutter = tokenizers.Tokenizer.from_str(again["tokenizer.json"]).pre_tokenizer
    assert [piece for piece, _ in cutter.pre_tokenize_str("I'll pay 1234  now")] == PIECES[pre]
    assert gguf_from_files(again, config, "run") == metadata


def test_only_llama3_begins_a_text_unasked(files: dict[str, str], config: dict[str, Any]) -> None:
    metadata = gguf_from_files(files, config, "run")
    del metadata["tokenizer.ggml.add_bos_token"]
    for pre, begins in (("qwen2", False), ("llama3", True)):
        again = files_from_gguf({**metadata, PRE: pre}, "m.gguf")
        assert (ids(again, "a")[0] == config["bos_token_id"]) == begins
        assert gguf_from_files(again, config, "run")["tokenizer.ggml.add_bos_token"] == begins


def test_control_tokens_before_all_others_keep_their_ids() -> None:
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        PRE: "smollm",
        TOKENS: ["<|im_start|>", "<|im_end|>", "a", "b", "ab", "<extra>"],
        TYPES: [3, 3, 1, 1, 1, 4],
        "tokenizer.ggml.merges": ["a b"],
    }
    files = files_from_gguf(metadata, "m.gguf")
    assert ids(files, "ab<|im_end|>b<extra>") == [4, 1, 3, 5]
    assert gguf_from_files(files, {"vocab_size": 6}, "run").items() >= metadata.items()


def changed(files: dict[str, str], **parts: Any) -> dict[str, str]:
    spec = json.loads(files["tokenizer.json"])
    spec["model"] |= parts.pop("model", {})
    return {**files, "tokenizer.json": json.dumps({**spec, **parts})}


def split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    own = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [cut, own]}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"pre_tokenizer": split(r"\w+|\s+")}, r"no name in GGUF that is known here; those of gpt-2, qwen2"),
        ({"pre_tokenizer": None}, "its pre-tokenizer has no name in GGUF"),
        ({"pre_tokenizer": split(LLAMA3_PATTERN), "normalizer": {"type": "NFKC"}}, "the normalizer NFKC"),
        ({"model": {"ignore_merges": True}}, "no name in GGUF"),
        ({"model": {"dropout": 0.5}}, "a BPE with dropout"),
        ({"decoder": None}, "a tokenizer of type BPE has no place in GGUF; supported are byte-level BPE"),
    ],
)
def test_a_tokenizer_that_gguf_cannot_say_is_refused(
    files: dict[str, str], config: dict[str, Any], parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        gguf_from_files(changed(files, **parts), config, "run")


def test_nfc_is_left_to_the_runtime(files: dict[str, str], config: dict[str, Any]) -> None:
    assert gguf_from_files(changed(files, normalizer={"type": "NFC"}), config, "run")[PRE] == "qwen2"


SMALL: dict[str, Any] = {
    "tokenizer.ggml.model": "llama",
    TOKENS: ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "ab", "▁ab"],
    TYPES: [2, 3, 3, *[6] * 256, *[1] * 5],
    "tokenizer.ggml.scores": [*[0.0] * 259, -9.0, -9.0, -9.0, -1.0, -2.0],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
}


def by_score(text: str, vocab: Mapping[str, tuple[int, float]]) -> list[int]:
    """The reference: the pair whose joint text scores best is merged, the leftmost of equals."""
    parts = list(text)
    while True:
        joint = [left + right for left, right in pairwise(parts)]
        scored = [(vocab[token][1], -at) for at, token in enumerate(joint) if token in vocab]
        if not scored:
            break
        at = -max(scored)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    each = [[vocab[part][0]] if part in vocab else [3 + byte for byte in part.encode()] for part in parts]
    return [index for one in each for index in one]


def test_scores_become_merges_and_scores_again() -> None:
    files = files_from_gguf(SMALL, "m.gguf")
    assert ids(files, "ab é") == [1, 263, 259, 3 + 0xC3, 3 + 0xA9]
    assert tokenizers.Tokenizer.from_str(files["tokenizer.json"]).decode([1, 263, 259, 198, 172]) == "ab é"
    metadata = gguf_from_files(files, {"vocab_size": 264}, "run")
    assert metadata["tokenizer.ggml.model"] == "llama" and metadata["tokenizer.ggml.add_bos_token"]
    assert metadata[TYPES] == SMALL[TYPES] and metadata[TOKENS] == SMALL[TOKENS]
    assert json.loads(files_from_gguf(metadata, "m")["tokenizer.json"]) == json.loads(files["tokenizer.json"])
    bare = files_from_gguf({**SMALL, "tokenizer.ggml.add_space_prefix": False}, "m.gguf")
    assert ids(bare, "ab") == [1, 262]
    assert gguf_from_files(bare, {"vocab_size": 264}, "run")["tokenizer.ggml.add_space_prefix"] is False


def test_a_metaspace_is_a_prefix_too() -> None:
    files = files_from_gguf(SMALL, "m.gguf")
    for scheme, prefix in (("first", True), ("never", False)):
        cutter = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
        again = changed(files, normalizer=None, pre_tokenizer=cutter)
        metadata = gguf_from_files(again, {"vocab_size": 264}, "run")
        assert metadata["tokenizer.ggml.add_space_prefix"] is prefix
    with pytest.raises(UserError, match="NFKC before the merges has no place"):
        gguf_from_files(changed(files, normalizer={"type": "NFKC"}), {"vocab_size": 264}, "run")


def test_merges_that_no_scores_give_are_refused() -> None:
    files = files_from_gguf(SMALL, "m.gguf")
    with pytest.raises(UserError, match="'▁' and 'ab' are not merged to '▁ab'"):
        gguf_from_files(changed(files, model={"merges": [["a", "b"]]}), {"vocab_size": 264}, "run")


@pytest.mark.parametrize("seed", range(3))
def test_random_scores_merge_as_the_reference_does(seed: int) -> None:
    rng = random.Random(seed)
    tokens = ["▁", *"abcd"]
    while len(tokens) < 60:
        joint = rng.choice(tokens) + rng.choice(tokens)
        # a run of one letter can be cut in ways that overlap, where only a score knows the leftmost
        if joint not in tokens and len(set(joint)) == len(joint):
            tokens.append(joint)
        elif rng.random() < 0.01:
            break
    scores = [float(-index) for index in range(len(tokens))]
    rng.shuffle(scores)
    metadata = {
        **SMALL,
        TOKENS: [*SMALL[TOKENS][:259], *tokens],
        TYPES: [*SMALL[TYPES][:259], *[1] * len(tokens)],
        "tokenizer.ggml.scores": [*[0.0] * 259, *scores],
    }
    vocab = {token: (259 + at, scores[at]) for at, token in enumerate(tokens)}
    files = files_from_gguf(metadata, "m.gguf")
    again = files_from_gguf(gguf_from_files(files, {"vocab_size": 259 + len(tokens)}, "run"), "m.gguf")
    for _ in range(100):
        text = "".join(rng.choice("abcd xé") for _ in range(rng.randrange(1, 30)))
        expected = [1, *by_score("▁" + text.replace(" ", "▁"), vocab)]
        assert ids(files, text) == ids(again, text) == expected, text


def word_pieces(lowercase: bool = True) -> tuple[dict[str, str], dict[str, Any]]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##s", "the", "城"]
    vocab = {word: index for index, word in enumerate([*words, "a" if lowercase else "A"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    backend.decoder = tokenizers.decoders.WordPiece()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    backend.add_special_tokens(words[:5])
    options = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    files = {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(options)}
    return files, {"vocab_size": len(vocab)}


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_there_and_back(lowercase: bool) -> None:
    files, config = word_pieces(lowercase)
    metadata = gguf_from_files(files, config, "run")
    assert metadata[TOKENS][3:9] == ["[SEP]", "[MASK]", "▁play", "ing", "s", "▁the"]
    assert metadata["tokenizer.ggml.bos_token_id"] == 2 and metadata["tokenizer.ggml.seperator_token_id"] == 3
    again = files_from_gguf(metadata, "m.gguf")
    assert json.loads(again["tokenizer.json"]) == json.loads(files["tokenizer.json"])
    options = json.loads(files["tokenizer_config.json"])
    assert options.items() <= json.loads(again["tokenizer_config.json"]).items()
    assert ids(again, "The plays 城 A") == ids(files, "The plays 城 A")
    # older files do not say whether letters keep their case
    del metadata["tokenizer.ggml.normalizer.lowercase"]
    assert json.loads(files_from_gguf(metadata, "m")["tokenizer.json"]) == json.loads(files["tokenizer.json"])
    with pytest.raises(UserError, match="does not prepare text as BERT does"):
        gguf_from_files(changed(files, normalizer=None), config, "run")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer.ggml.model": "t5"}, "'t5' is not supported; supported are gpt2, llama, bert"),
        ({"tokenizer.ggml.model": ["gpt2"]}, "is not supported"),
        ({TOKENS: []}, "has no tokens"),
        ({TOKENS: "abc"}, "tokens is not a list"),
        ({TOKENS: [1, 2]}, "tokens is not a list of the right type"),
        ({TYPES: [1]}, "264 tokens have 1 types"),
        ({"tokenizer.ggml.scores": [1.0]}, "264 tokens have 1 scores"),
        ({"tokenizer.ggml.scores": [float("nan")] * 264}, "is no number"),
        ({"tokenizer.ggml.bos_token_id": 999}, "bos_token_id is 999, but there are 264 tokens"),
        ({"tokenizer.ggml.eos_token_id": "2"}, "eos_token_id is '2'"),
        ({TOKENS: ["a"] * 264}, "'a' has two ids, 0 and 1"),
        ({TOKENS: ["", *SMALL[TOKENS][1:]]}, "the token 0 is empty"),
        (
            {"tokenizer.ggml.model": "gpt2", PRE: "jais"},
            "'jais' is not supported; supported are deepseek-r1-qwen",
        ),
        ({"tokenizer.ggml.model": "gpt2"}, "the pre-tokenizer '' is not supported"),
        (
            {"tokenizer.ggml.model": "gpt2", PRE: "gpt-2", "tokenizer.ggml.merges": ["ab"]},
            "'ab' is not a pair",
        ),
        (
            {"tokenizer.ggml.model": "gpt2", PRE: "gpt-2", "tokenizer.ggml.merges": ["q z"]},
            "contradicts itself",
        ),
        ({"tokenizer.ggml.model": "bert"}, r"lacks \[UNK\], \[CLS\], \[SEP\]"),
    ],
)
def test_metadata_that_are_broken_are_named(changes: dict[str, Any], said: str) -> None:
    broken = {**SMALL, **changes}
    if "bert" in changes.values():
        broken = {key: value for key, value in broken.items() if not key.endswith("_token_id")}
    with pytest.raises(UserError, match=said) as caught:
        files_from_gguf(broken, "m.gguf")
    assert str(caught.value).startswith("m.gguf") and "\n" not in str(caught.value)


def test_a_file_without_a_tokenizer_has_none() -> None:
    assert files_from_gguf({}, "m.gguf") == {} and ids_from_gguf({}, "m.gguf") == {}
    assert gguf_from_files({}, {"vocab_size": 8}, "run") == {}


needs_tok512 = pytest.mark.skipif(not TOK512.is_file(), reason="no ../shared/models beside the project")


def read_scores(data: bytes) -> dict[str, tuple[int, float]]:
    vocab, at = {}, 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        vocab[data[at + 8 : at + 8 + length].decode().replace(" ", "▁")] = (len(vocab), score)
        at += 8 + length
    return vocab


@needs_tok512
def test_llama2c_texts_have_its_own_ids() -> None:
    files = files_from_llama2c(TOK512, 512)
    vocab, rng = read_scores(TOK512.read_bytes()), random.Random(0)
    words = [token.replace("▁", " ") for token in vocab if not token.startswith(("<", "\n"))]
    for _ in range(300):
        text = "".join(rng.choice([*words, *'\n\té城🙂<>0x"AZ']) for _ in range(rng.randrange(1, 12)))
        assert ids(files, text) == [1, *by_score("▁" + text.replace(" ", "▁"), vocab)], text
    assert json.loads(files["tokenizer_config.json"])["eos_token"] == "</s>"
    assert gguf_from_files(files, {"vocab_size": 512}, "run")["tokenizer.ggml.scores"]


@needs_tok512
def test_a_tokenizer_of_llama2c_that_is_broken_is_named(tmp_path: Path) -> None:
    data, path = TOK512.read_bytes(), tmp_path / "tok.bin"
    for content, said in (
        (data[:-3], "cut short after token 511"),
        (data + bytes(3), "cut short after token 512"),
        (data[:1000], "cut short after token"),
        (data.replace(b"<0x41>", b"<0x42>"), "token 68 is '<0x42>', not a byte"),
        (b"", "has 0 tokens, the model 512"),
        (data[:4] + struct.pack("<fi", 0.0, -5) + data[12:], "cut short after token 0"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said) as caught:
            files_from_llama2c(path, 512)
        assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="cannot read"):
        files_from_llama2c(tmp_path, 512)


def test_texts_keep_their_ids_through_gguf(
    tokenizer: Tokenizer, files: dict[str, str], config: dict[str, Any], tmp_path: Path
) -> None:
    for name, content in files_from_gguf(gguf_from_files(files, config, "run"), "m.gguf").items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    again = Tokenizer.load(tmp_path)
    assert again.is_fast and again.digest == tokenizer.digest
    assert again.encode(TEXT) == tokenizer.encode(TEXT)

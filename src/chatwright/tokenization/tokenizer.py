"""A tokenizer in use: text to ids and back, in the folder layout that the ecosystem reads."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.tokenization import giga
from chatwright.tokenization.bytelevel import bytes_of
from chatwright.tokenization.fast import build_encoding, is_byte_level, pattern_of
from chatwright.tokenization.special import ENDOFTEXT, IM_END, IM_START, PAD, QWEN_PATTERN
from chatwright.tokenization.template import CHAT_TEMPLATE, PLAIN_TEMPLATE

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

Ids = NDArray[np.int32]

# Longer texts are cut, so that one long document keeps every thread busy.
_LONG_TEXT = 1 << 16
_SMALL_BATCH = 1 << 14


class Tokenizer:
    """Text to ids and back. What a user types is ordinary text: control tokens enter by id only."""

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        config: Mapping[str, Any] | None = None,
        template: str | None = CHAT_TEMPLATE,
    ) -> None:
        self._backend = backend
        self._json = backend.to_str()
        self._spec: dict[str, Any] = json.loads(self._json)
        self._config = dict(config or {})
        self.template = template
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()
        self.is_byte_level = is_byte_level(self._spec)
        self._added = {token["id"]: token for token in self._spec.get("added_tokens", ())}

    @classmethod
    def load(cls, directory: str | Path) -> Tokenizer:
        """Read `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` from a folder."""
        import tokenizers

        directory = Path(directory)
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise UserError(f"{path} is missing: not a tokenizer's folder; `chatwright tokenizer` makes one")
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:
            # `tokenizers` raises bare Exception for any broken file
            said = " ".join(str(error).split())
            raise UserError(f"{path} is not a tokenizer: {said}; make or copy it again") from error
        config = _read_config(directory / "tokenizer_config.json")
        return cls(backend, config, _read_template(directory, config))

    def save(self, directory: str | Path, eos: str | None = None, template: str | None = None) -> None:
        """Write the three files into a folder that exists.

        `eos` is the token after which generation ends: `<|endoftext|>` for a base model, `<|im_end|>` for a
        chat model; None keeps what was loaded. `template` replaces the chat template.
        """
        directory = Path(directory)
        eos = eos or self.named_tokens.get("eos_token") or self.named_tokens.get("sep_token") or ENDOFTEXT
        self.id_of(eos)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "pad_token": PAD,
            **self._config,
            "eos_token": eos,
        }
        config.pop("chat_template", None)
        atomic_write(directory / "tokenizer.json", self._json)
        atomic_write(directory / "tokenizer_config.json", dumps(config))
        chosen = template or self.template
        if chosen is not None:
            atomic_write(directory / "chat_template.jinja", chosen)

    @cached_property
    def digest(self) -> str:
        """A hash of `tokenizer.json`: two tokenizers with one digest give the same ids."""
        return hashlib.sha256(self._json.encode()).hexdigest()

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return max(self._backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of all control tokens."""
        return frozenset(index for index, token in self._added.items() if token["special"])

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """The control tokens and their ids."""
        return {token["content"]: index for index, token in self._added.items() if token["special"]}

    @cached_property
    def named_tokens(self) -> dict[str, str]:
        """`bos_token`, `eos_token`, `pad_token` …: the tokens that a chat template may call by name."""
        found = {}
        for key, value in {"pad_token": PAD, "eos_token": ENDOFTEXT, **self._config}.items():
            content = value.get("content") if isinstance(value, Mapping) else value
            if not key.endswith("_token") or not isinstance(content, str):
                continue
            if self._backend.token_to_id(content) is not None:
                found[key] = content
        return found

    def id_of(self, token: str) -> int:
        """The id of a token by its name; refused when the vocabulary lacks it."""
        index = self._backend.token_to_id(token)
        if index is None:
            raise UserError(f"the tokenizer has no token {token!r}; use one made by `chatwright tokenizer`")
        return int(index)

    def _named_id(self, own: str, name: str) -> int:
        if own in self.special_tokens:
            return self.special_tokens[own]
        # an encoder's tokenizer ends nothing, it separates
        return self.id_of(self.named_tokens.get(name) or self.named_tokens.get("sep_token", own))

    @property
    def endoftext(self) -> int:
        """What begins every document; an imported tokenizer's end of sequence where it has none."""
        return self._named_id(ENDOFTEXT, "eos_token")

    @cached_property
    def first(self) -> int:
        """What stands before a text that begins a document: an imported tokenizer's beginning, else what ends one."""
        bos = self.named_tokens.get("bos_token")
        return self.endoftext if bos is None else self.id_of(bos)

    def opened(self, ids: Sequence[int]) -> list[int]:
        """A text's tokens as its model reads them from a document's beginning; its makers may want nothing before them
        (`add_bos_token`), but there is always a token."""
        wants_first = self._config.get("add_bos_token", True) or not len(ids)
        return [self.first, *ids] if wants_first else list(ids)

    @property
    def im_start(self) -> int:
        return self.id_of(IM_START)

    @property
    def im_end(self) -> int:
        """The end of a turn; an imported tokenizer's end of sequence where it has no `<|im_end|>`."""
        return self._named_id(IM_END, "eos_token")

    @property
    def end_of_turn(self) -> str:
        """The token that `im_end` is the id of."""
        return IM_END if IM_END in self.special_tokens else self.named_tokens.get("eos_token", IM_END)

    @property
    def chat_template(self) -> str:
        """The folder's chat template; where it has none, ours, or plain words where ours has no tokens."""
        return self.template or (CHAT_TEMPLATE if IM_START in self.special_tokens else PLAIN_TEMPLATE)

    @property
    def eos(self) -> int:
        """The token after which generation ends, as the folder's configuration names it."""
        token = self.named_tokens.get("eos_token")
        return self.endoftext if token is None else self.id_of(token)

    @property
    def pad(self) -> int:
        """What fills rows. Nothing is learnt there, so in a vocabulary without padding any token but an end does."""
        named = self.named_tokens.get("pad_token", PAD)
        if named in self.special_tokens or self._backend.token_to_id(named) is not None:
            return self.id_of(named)
        return min(self.special_ids - self.stop_ids, default=0)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Every id that ends a reply: end of text, end of turn, end of sequence."""
        return frozenset({self.endoftext, self.im_end, self.eos})

    @cached_property
    def _encoding(self) -> tiktoken.Encoding | None:
        encoding = build_encoding(self._spec)
        if encoding is None:
            return None
        same = all(encoding.encode_ordinary(text) == self._slow(text).tolist() for text in _SAMPLES)
        return encoding if same else None

    @cached_property
    def _giga(self) -> giga.Encode | None:
        encode = giga.giga_encoder(self._spec) if self._encoding is not None else None
        if encode is None:
            return None
        wanted = [self._slow(text).tolist() for text in _SAMPLES]
        return encode if [ids.tolist() for ids in encode(_SAMPLES)] == wanted else None

    @property
    def is_fast(self) -> bool:
        """Whether tiktoken encodes; otherwise `tokenizers` does, with the same ids."""
        return self._encoding is not None

    def encode(self, text: str) -> list[int]:
        """The ids of an ordinary text; what looks like a control token in it stays text."""
        ids: list[int] = self._encode(text).tolist()
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of many ordinary texts, int32 arrays, encoded by all processors."""
        if self._encoding is None:
            clean = [_clean(text) for text in texts]
            encoded = self._backend.encode_batch_fast(clean, add_special_tokens=False)
            return [np.array(item.ids, dtype=np.int32) for item in encoded]
        if sum(map(len, texts)) < _SMALL_BATCH:
            return [self._encode(text) for text in texts]
        if self._giga is not None:
            return self._giga([_clean(text) for text in texts])
        pieces, counts = self._cut(texts)
        ids = [one for group in _threads().map(self._encode_all, _groups(pieces)) for one in group]
        if len(pieces) == len(texts):
            return ids
        result, start = [], 0
        for count in counts:
            result.append(ids[start] if count == 1 else np.concatenate(ids[start : start + count]))
            start += count
        return result

    def _encode_all(self, texts: Sequence[str]) -> list[Ids]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Ids:
        if self._encoding is None:
            return self._slow(text)
        core = self._encoding._core_bpe
        try:
            buffer = core.encode_to_tiktoken_buffer(text, _NO_TOKENS)
        except UnicodeEncodeError:
            return self._encode(_clean(text))
        except ValueError:
            # the pattern's engine gives up on a million spaces in a row
            return self._slow(text)
        return np.frombuffer(buffer, dtype=np.int32)

    def _slow(self, text: str) -> Ids:
        return np.array(self._backend.encode(_clean(text), add_special_tokens=False).ids, dtype=np.int32)

    def _cut(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        if pattern_of(self._spec) != QWEN_PATTERN:
            return list(texts), [1] * len(texts)
        pieces: list[str] = []
        counts = []
        for text in texts:
            before = len(pieces)
            pieces += _paragraphs(text) if len(text) > _LONG_TEXT else [text]
            counts.append(len(pieces) - before)
        return pieces, counts

    @cached_property
    def _table(self) -> list[bytes]:
        table = [b""] * self.vocab_size
        pieces = self._spec["model"].get("type") == "WordPiece"
        continuing = self._spec["model"].get("continuing_subword_prefix", "##") if pieces else ""
        for token, index in self._backend.get_vocab(with_added_tokens=True).items():
            if index in self._added:
                table[index] = token.encode()
            elif self.is_byte_level:
                table[index] = bytes_of(token) or token.encode()
            elif len(token) == 6 and token.startswith("<0x"):
                table[index] = bytes([int(token[3:5], 16)])
            elif pieces:
                table[index] = _word(token, continuing).encode()
            else:
                table[index] = token.replace("▁", " ").encode()
        return table

    @cached_property
    def token_bytes(self) -> NDArray[np.int32]:
        """Bytes of text that each token stands for, int32[vocab_size]; 0 for control tokens."""
        lengths = np.array([len(token) for token in self._table], dtype=np.int32)
        lengths[list(self.special_ids)] = 0
        return lengths

    def decode_bytes(self, ids: Iterable[int], skip_special: bool = True) -> bytes:
        """The bytes of some ids, whole characters or not; an id outside the vocabulary stands for nothing."""
        table, special = self._table, self.special_ids if skip_special else frozenset[int]()
        return b"".join(table[index] for index in ids if 0 <= index < len(table) and index not in special)

    def decode(self, ids: Iterable[int], skip_special: bool = True, whole: bool = False) -> str:
        """The text of some ids; bytes that are no character become U+FFFD. With `whole` a character that the end cuts off
        is left out."""
        if self.is_byte_level:
            content = self.decode_bytes(ids, skip_special)
            return codecs.getincrementaldecoder("utf-8")("replace").decode(content, final=not whole)
        text = str(self._backend.decode([int(index) for index in ids], skip_special_tokens=skip_special))
        return text.rstrip("\ufffd") if whole else text


def _word(token: str, continuing: str) -> str:
    """The text of a WordPiece token: the rest of a word, a word after a space, or a sign that has none before it."""
    if token.startswith(continuing) and token != continuing:
        return token.removeprefix(continuing)
    first = token[:1]
    is_chinese = "\u3400" <= first <= "\u9fff" or "\uf900" <= first <= "\ufaff" or first >= "\U00020000"
    return f" {token}" if first.isalnum() and not is_chinese else token


_NO_TOKENS: frozenset[str] = frozenset()

_SAMPLES = (
    "Hello, world! It's 2024; they'll pay $1,234.56 — won't they?",
    "def f(x):\n    return {'a': [x ** 2]}  # ok\n\n\n\tif x:\r\n\t\tpass   \n",
    "你好，世界！今天是2024年，“天气”怎么样？㐀𠀀",
    "🙂👨‍👩‍👧‍👦🇨🇳 é e\u0301 \u200b\ufeff\u3000 ｆｕｌｌ Ⅷ ½ ١٢",
    "<|im_start|>user\n<|endoftext|> <|im_end|>",
    "   \n \n\n  x\x00\x01\x7f\ufffd",
)


def _clean(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _paragraphs(text: str) -> list[str]:
    """A long text cut where the pattern always cuts: after a line break, before what is not white space."""
    pieces, start = [], 0
    while (at := text.find("\n", start + _LONG_TEXT)) >= 0:
        while 0 <= at < len(text) - 1 and text[at + 1].isspace():
            at = text.find("\n", at + 1)
        if at < 0:
            break
        pieces.append(text[start : at + 1])
        start = at + 1
    return [*pieces, text[start:]] if start < len(text) or not pieces else pieces


def _groups(texts: Sequence[str]) -> list[Sequence[str]]:
    """Neighbouring texts in groups of about equal length, some for each thread."""
    share = max(sum(map(len, texts)) // (4 * _workers()), _SMALL_BATCH)
    groups, start, size = [], 0, 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= share:
            groups.append(texts[start : index + 1])
            start, size = index + 1, 0
    return [*groups, texts[start:]] if start < len(texts) else groups


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_workers(), thread_name_prefix="encode")
    return _pool


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; make or copy it again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds a {type(config).__name__}, not a JSON object; make or copy it again")
    return config


def _read_template(directory: Path, config: Mapping[str, Any]) -> str | None:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        template = next((item["template"] for item in template if item.get("name") == "default"), None)
    return template if isinstance(template, str) else None

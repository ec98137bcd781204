"""Token store: documents as one long memory-mapped row of ids, so that a corpus of any size costs no memory.

A folder with `tokens.bin` (uint16, or uint32 from a vocabulary of 65,536 on), `offsets.bin` (int64, where
each document begins, and the end), `mask.bin` (uint8, 1 where the token is learnt; absent when all are) and
`store.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.config import dumps
from chatwright.errors import UserError
from chatwright.files import publishing, writing

Ids = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_] | NDArray[np.uint8]

_BUFFER = 1 << 22


@dataclass(frozen=True)
class TokenStore:
    """An open store; `tokens` and `mask` are memory-mapped, `offsets` are int64[num_documents + 1]."""

    directory: Path
    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    mask: NDArray[np.uint8] | None
    info: Mapping[str, Any]

    @classmethod
    def open(cls, directory: str | Path, tokenizer: str | None = None) -> TokenStore:
        """Open a folder that `write_store` made; refuse one not encoded by the tokenizer of that digest."""
        directory = Path(directory)
        info = _read_info(directory)
        if tokenizer is not None and info["tokenizer"] != tokenizer:
            raise UserError(f"{directory} was encoded with another tokenizer; delete it and encode again")
        counts = {"tokens.bin": info["tokens"], "offsets.bin": info["documents"] + 1}
        dtypes = {"tokens.bin": info["dtype"], "offsets.bin": "int64", "mask.bin": "uint8"}
        if info["masked"]:
            counts["mask.bin"] = info["tokens"]
        arrays = {name: _map(directory / name, np.dtype(dtypes[name]), counts[name]) for name in counts}
        return cls(directory, arrays["tokens.bin"], arrays["offsets.bin"], arrays.get("mask.bin"), info)

    @property
    def num_documents(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def text_bytes(self) -> int:
        """Bytes of the text that the tokens stand for, control tokens left out."""
        return int(self.info["text_bytes"])

    @cached_property
    def num_learnt(self) -> int:
        """Tokens that a loss may count."""
        return self.num_tokens if self.mask is None else int(np.count_nonzero(self.mask))

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, int64[num_documents]."""
        return np.diff(self.offsets)

    def bounds(self, index: int) -> tuple[int, int]:
        """Where a document begins and ends in `tokens`."""
        return int(self.offsets[index]), int(self.offsets[index + 1])

    def document(self, index: int) -> NDArray[Any]:
        """The ids of one document."""
        return self.slice(*self.bounds(index))

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """The ids from `start` to before `stop`, counted over the whole store."""
        assert 0 <= start <= stop <= self.num_tokens, (start, stop, self.num_tokens)
        return self.tokens[start:stop]


def write_store(
    directory: str | Path,
    documents: Iterable[tuple[Ids, Mask | None]],
    *,
    vocab_size: int,
    tokenizer: str = "",
    facts: Callable[[], Mapping[str, Any]] | None = None,
) -> TokenStore:
    """Write documents (ids, and a mask of the same length or None) one by one; memory stays bounded.

    The folder appears whole when the last is written, or not at all. `tokenizer` is the digest of the
    tokenizer; `facts` is asked at the end for more to put into `store.json` (bytes of text, what was
    skipped). All documents have a mask or none has. Raises `UserError` when there is no document, and when
    the disk is full.
    """
    directory = Path(directory)
    dtype = np.dtype(np.uint16 if vocab_size < 1 << 16 else np.uint32)
    with publishing(directory) as aside:
        totals = _write_arrays(aside, documents, dtype, vocab_size)
        if totals["tokens"] == 0:
            raise UserError(f"nothing to put into {directory}: no document has a token; check the input")
        info = {
            "dtype": dtype.name,
            "vocab_size": vocab_size,
            "tokenizer": tokenizer,
            "text_bytes": 0,
            **totals,
        }
        info |= facts() if facts else {}
        with writing(aside):
            (aside / "store.json").write_text(dumps(info), encoding="utf-8")
    return TokenStore.open(directory)


def _write_arrays(
    aside: Path, documents: Iterable[tuple[Ids, Mask | None]], dtype: np.dtype[Any], vocab_size: int
) -> dict[str, Any]:
    masked: bool | None = None
    count = total = 0
    with (
        writing(aside),
        (aside / "tokens.bin").open("wb", _BUFFER) as tokens,
        (aside / "offsets.bin").open("wb", _BUFFER) as offsets,
        (aside / "mask.bin").open("wb", _BUFFER) as masks,
    ):
        offsets.write(bytes(8))
        for ids, mask in documents:
            if len(ids) == 0:
                continue
            assert int(ids.max()) < vocab_size, f"id {int(ids.max())} in a vocabulary of {vocab_size}"
            assert masked in (None, mask is not None), "some documents have a mask and some have none"
            masked = mask is not None
            tokens.write(ids.astype(dtype).tobytes())
            if mask is not None:
                assert len(mask) == len(ids)
                masks.write(mask.astype(np.uint8).tobytes())
            total += len(ids)
            count += 1
            offsets.write(total.to_bytes(8, "little"))
    if not masked:
        (aside / "mask.bin").unlink()
    return {"documents": count, "tokens": total, "masked": bool(masked)}


def _map(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if not path.is_file() or path.stat().st_size != count * dtype.itemsize:
        size = path.stat().st_size if path.is_file() else 0
        raise UserError(
            f"{path} is damaged: {size} bytes where {count * dtype.itemsize} belong; "
            "delete its folder and encode again"
        )
    # a plain array over the map: indexing np.memmap itself is several times slower
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _read_info(directory: Path) -> dict[str, Any]:
    path = directory / "store.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no token store in {directory}: store.json is missing") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; delete its folder and encode again") from error
    missing = {"dtype", "tokens", "documents", "masked", "tokenizer", "text_bytes"} - set(info)
    if missing:
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}; delete its folder and encode again")
    return dict(info)

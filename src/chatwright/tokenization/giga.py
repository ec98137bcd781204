"""The extra `gigatoken`, which encodes byte pairs many times as fast where it is installed and gives the same ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Encode = Callable[[Sequence[str]], list[Ids]]


def giga_encoder(spec: Mapping[str, Any]) -> Encode | None:
    """An encoder of batches for a parsed tokenizer.json; None where the extra is missing or does not know its pattern.

    Control tokens are taken out of what it is told, so that typed ones stay text. Texts must be valid Unicode.
    """
    try:
        import gigatoken
    except ImportError:
        return None
    plain = {**spec, "added_tokens": [], "post_processor": None}
    try:
        backend = gigatoken.Tokenizer.from_json(json.dumps(plain))
    except Exception:
        # what it does not support it says by exceptions of several kinds, and then others encode
        return None

    def encode(texts: Sequence[str]) -> list[Ids]:
        layout = backend.encode_batch(list(texts)).layout
        flat, offsets = np.asarray(layout.content.data), np.asarray(layout.offsets.data)
        return np.split(flat[: offsets[-1]].astype(np.int32), offsets[1:-1])

    return encode

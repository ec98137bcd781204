"""Embeddings of texts: one vector a text, from any trunk that reads text.

Shape suffixes: B batch, T length, W width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.encoder import Encoder
from chatwright.models.headed import Headed, trunk_of
from chatwright.models.heads.labels import Pooling, pool
from chatwright.models.interop.files import load_root, model_directory
from chatwright.models.root import Root
from chatwright.runs import Run
from chatwright.tokenization.pairs import Framer
from chatwright.tokenization.tokenizer import Tokenizer

# How sentence-transformers writes down what a model was taught to embed by.
_POOLING_FILE, _LENGTH_FILE = "1_Pooling/config.json", "sentence_bert_config.json"
_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


class Embedder:
    """A trunk with its tokenizer; `pooling` is what of a text is read, `longest` the most tokens of one.

    `cut` counts the texts that were longer.
    """

    def __init__(
        self,
        model: Root,
        tokenizer: Tokenizer,
        pooling: Pooling = "mean",
        normalize: bool = True,
        longest: int | None = None,
    ) -> None:
        trunk = trunk_of(model)
        assert isinstance(trunk, Encoder | Decoder)
        self.model, self.tokenizer, self.pooling, self.normalize = trunk, tokenizer, pooling, normalize
        self.longest = min(longest or trunk.options.context, trunk.options.context)
        self.cut = 0
        self._framer = Framer(tokenizer) if isinstance(trunk, Encoder) else None

    @classmethod
    def load(
        cls,
        run: str | Path | Run,
        pooling: Pooling | None = None,
        normalize: bool = True,
    ) -> Self:
        """The model of a finished run, or of a folder in the public layout; without `pooling` as the run says: by its
        embedding head, or by what sentence-transformers wrote down; else the mean."""
        directory = model_directory(run)
        model = load_root(directory)
        if not isinstance(trunk_of(model), Encoder | Decoder):
            name = type(model.options).architecture
            raise UserError(f"{directory} holds a model of the architecture {name}, which embeds no text")
        pooling = pooling or _said(model, directory)
        if pooling == "cls" and isinstance(trunk_of(model), Decoder):
            raise UserError(
                f"{directory} holds a decoder, whose first token sees no other: pooling=cls says nothing; "
                "choose pooling=mean or last"
            )
        length = _read(directory / _LENGTH_FILE).get("max_seq_length")
        longest = length if isinstance(length, int) and length > 0 else None
        return cls(model, Tokenizer.load(directory), pooling, normalize, longest)

    def embed(
        self, texts: Sequence[str], batch: int = 32, on_progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """The vectors of some texts, float32 [texts, W], in their order; texts of like length go together."""
        rows = [self._ids(ids) for ids in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
        found = np.zeros((len(rows), self.model.options.width), dtype=np.float32)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            found[part] = self._vectors([rows[index] for index in part]).numpy()
            if on_progress is not None:
                on_progress(start + len(part))
        return found

    def _ids(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """A text's tokens in the frame that the trunk was taught with."""
        if self._framer is not None:
            framed = self._framer.frame(ids.tolist(), longest=self.longest)
            self.cut += framed.cut > 0
            return framed.ids
        opened = self.tokenizer.opened(ids.tolist())
        self.cut += len(opened) > self.longest
        return np.array(opened[: self.longest], dtype=np.int32)

    @torch.inference_mode()
    def _vectors(self, rows: Sequence[NDArray[np.int32]]) -> Tensor:
        sizes = torch.tensor([len(row) for row in rows])
        inputs_BT = torch.zeros(len(rows), int(sizes.max()), dtype=torch.long)
        for place, row in enumerate(rows):
            inputs_BT[place, : len(row)] = torch.from_numpy(row)
        real_BT = torch.arange(inputs_BT.size(1)) < sizes[:, None]
        # without padding no mask is needed
        segments = None if bool(real_BT.all()) else torch.where(real_BT, 0, -1)
        wanted = "pooled" if self.pooling == "pooled" else "hidden"
        state = self.model(inputs_BT, segments=segments, outputs=(wanted,))[wanted]
        vectors_BW = state if self.pooling == "pooled" else pool(state, real_BT, self.pooling)
        return F.normalize(vectors_BW.float(), dim=-1) if self.normalize else vectors_BW.float()


def _said(model: Root, directory: Path) -> Pooling:
    """What a run was taught to embed by."""
    for name, head in (model.head_options if isinstance(model, Headed) else {}).items():
        if head.kind == "embedding":
            assert isinstance(model, Headed)
            return model.pooling(name) or "mean"
    path = directory / _POOLING_FILE
    known = _read(path)
    modes = [name for name, value in known.items() if name.startswith("pooling_mode_") and value is True]
    if modes and (len(modes) > 1 or modes[0] not in _POOLINGS):
        raise UserError(f"{path} asks for {' and '.join(modes)}; choose pooling=mean, cls or last")
    return _POOLINGS[modes[0]] if modes else "mean"


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    return found if isinstance(found, dict) else {}

"""A tiny shape of every decoder, for tests that all of them have to pass."""

from __future__ import annotations

from typing import Any

from chatwright.models.decoder import DecoderOptions
from chatwright.models.family.gpt1 import Gpt1Options
from chatwright.models.family.gpt2 import Gpt2Options
from chatwright.models.family.gpt3 import Gpt3Options
from chatwright.models.family.llama import LlamaOptions
from chatwright.models.family.qwen2 import Qwen2Options
from chatwright.models.family.qwen3_moe import Qwen3MoeOptions

_GPT: dict[str, Any] = {"vocab_size": 64, "width": 32, "layers": 3, "heads": 4, "context": 48}
_LINE: dict[str, Any] = {**_GPT, "kv_heads": 2, "head_dim": 8, "feed_forward": 48}

DECODERS: dict[str, DecoderOptions] = {
    "gpt1": Gpt1Options(**_GPT),
    "gpt2": Gpt2Options(**_GPT),
    "gpt3": Gpt3Options(**_GPT, band=5),
    "llama": LlamaOptions(**_LINE, rope_factor=4.0, rope_low=0.5, rope_high=2.0, rope_context=16),
    "qwen2": Qwen2Options(**_LINE),
    "qwen3": DecoderOptions(**_LINE),
    "qwen3-moe": Qwen3MoeOptions(**{**_LINE, "feed_forward": 24}, experts=5, experts_per_token=2),
}

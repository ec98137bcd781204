"""GPT-3 (Brown et al. 2020, Language Models are Few-Shot Learners, section 2.1), to 96 layers and 175 billion parameters.

New in it: size, and with it learning from examples in the prompt; every second layer sees only a band of the nearest
positions, as in the Sparse Transformer (Child et al. 2019). OpenAI published neither weights nor the band's width, so
the public format is our own, GPT-2's with one field more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatwright.config import at_least, option
from chatwright.models.decoder import Decoder, Parts
from chatwright.models.family import gpt2
from chatwright.models.family.architecture import Architecture, PublicFormat, read_fields
from chatwright.models.family.gpt1 import GptOptions, small


@dataclass(frozen=True)
class Gpt3Options(GptOptions):
    """The shape of a GPT-3."""

    architecture: ClassVar[str] = "gpt3"
    parts: ClassVar[Parts] = gpt2.PARTS

    band: int = option(256, "positions that every second layer sees, the token's own among them")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "band", group="model.")

    def band_of(self, layer: int) -> int | None:
        return self.band if layer % 2 else None


def config(options: Gpt3Options) -> dict[str, Any]:
    return {**gpt2.config(options), "band": options.band}


def options(found: Mapping[str, Any], place: str) -> Gpt3Options:
    return Gpt3Options(**gpt2.shape(found, place), **read_fields(found, {"band": "band"}, place))


def _published(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {"width": width, "layers": layers, "heads": heads, "context": 2048, "vocab_size": 50_257}


GPT3 = Architecture(
    name="gpt3",
    options=Gpt3Options,
    root=Decoder,
    presets={
        "gpt3-1m": {**small(128, 3, 4), "band": 64},
        "gpt3-5m": {**small(256, 5, 4), "band": 64},
        "gpt3-15m": {**small(384, 7, 6), "band": 128},
        "gpt3-50m": {**small(576, 12, 9), "band": 128},
        "gpt3-125m": _published(768, 12, 12),
        "gpt3-350m": _published(1024, 24, 16),
        "gpt3-760m": _published(1536, 24, 16),
        # Table 2.1 gives 24 heads of 128 here, which a width of 2,048 does not hold: 16 do.
        "gpt3-1.3b": _published(2048, 24, 16),
        "gpt3-2.7b": _published(2560, 32, 32),
        "gpt3-6.7b": _published(4096, 32, 32),
        # Table 2.1 gives a width of 5,140, which its 40 heads of 128 do not fill.
        "gpt3-13b": _published(5120, 40, 40),
        "gpt3-175b": _published(12_288, 96, 96),
    },
    public=PublicFormat(
        model_type="chatwright-gpt3",
        class_name="ChatwrightGPT3LMHeadModel",
        weights=gpt2.WEIGHTS,
        config=config,
        options=options,
    ),
)

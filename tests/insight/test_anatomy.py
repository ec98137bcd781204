"""Pictures of models: what stands where is found in the code, and the drawing holds it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from chatwright.errors import UserError
from chatwright.insight.anatomy import Column, Part, active_count, anatomy, built, parameter_count, trace
from chatwright.insight.anatomy_picture import BOX, FORK, SIDE, drawing, picture, text_width
from chatwright.insight.anatomy_words import _WORDS, LANGUAGES, speaker
from chatwright.models.decoder import Block
from chatwright.models.family.architecture import architectures
from chatwright.models.layers import LayerNorm, Linear
from chatwright.models.presets import model_options
from chatwright.models.root import Root

SAY = speaker("en")
SVG = "{http://www.w3.org/2000/svg}"
SMALLEST = {member.name: next(iter(member.presets)) for member in architectures()}
LARGEST = {member.name: list(member.presets)[-1] for member in architectures()}


def columns(name: str) -> tuple[Column, ...]:
    return anatomy(built(model_options({"name": name})), SAY)


def block(column: Column) -> list[tuple[str, int | None]]:
    """The kinds of a block's rows, "+" for additions, each with the row that it skips from."""
    [chain] = [chain for chain in column.chains if chain.times]
    return [(row.part.kind if row.part else "+", row.skip) for row in chain.rows]


POST = [
    ("attention", None),
    ("+", -1),
    ("norm", None),
    ("feed_forward", None),
    ("+", 2),
    ("norm", None),
]
PRE = [
    ("norm", None),
    ("attention", None),
    ("+", -1),
    ("norm", None),
    ("feed_forward", None),
    ("+", 2),
]
CROSSED = [
    *POST[:3],
    ("attention", None),
    ("+", 2),
    ("norm", None),
    ("feed_forward", None),
    ("+", 5),
    ("norm", None),
]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("gpt1", [POST]),
        ("gpt2-small", [PRE]),
        ("gpt3-125m", [PRE]),
        ("llama-3-8b", [PRE]),
        ("qwen2-0.5b", [PRE]),
        ("qwen3-0.6b", [PRE]),
        ("qwen3-30b-a3b", [PRE]),
        ("bert-base", [POST]),
        ("transformer-base", [POST, CROSSED]),
        ("xlnet-base", [POST, POST]),
    ],
)
def test_norms_and_additions_stand_where_the_papers_put_them(name: str, blocks: list[Any]) -> None:
    assert [block(column) for column in columns(name)] == blocks


def test_the_picture_tells_architectures_apart() -> None:
    def lines(name: str) -> str:
        rows = [row for column in columns(name) for chain in column.chains for row in chain.rows]
        parts = [part for row in rows for part in (row.part, row.side) if part]
        return " / ".join(text for part in parts for text in (part.title, *part.lines))

    assert "96 parallel heads of 128" in lines("gpt3-175b")
    assert "in 48 of 96 blocks only the nearest 256" in lines("gpt3-175b")
    assert "nearest" not in lines("gpt2-xl")
    assert "biases at queries, keys, values" in lines("qwen2-7b")
    assert "sharing 8 key-value heads" in lines("llama-3-8b")
    assert "queries and keys normalized" in lines("qwen3-8b")
    assert "normalized" not in lines("llama-3-8b")
    assert "a token goes through 8 of 128" in lines("qwen3-30b-a3b")
    for name, act in (
        ("gpt1", "GELU"),
        ("bert-base", "GELU"),
        ("transformer-base", "ReLU"),
        ("xlnet-base", "GELU"),
    ):
        assert f"3,072 → 768, {act}" in lines(name) or f"2,048 → 512, {act}" in lines(name)
    assert "by a matrix of its own" in lines("qwen3-8b")
    assert "by the embedding's own matrix" in lines("qwen3-4b")
    [bert] = columns("bert-base")
    assert [part.title for part in bert.forks] == ["Masked tokens", "Pooler"]
    source, target = columns("transformer-base")
    assert [row.link for row in target.chains[1].rows if row.link] == ["end"]
    content, query = columns("xlnet-base")
    assert [row.link for row in query.chains[1].rows if row.link] == ["block"]
    assert not any(row.link for column in (source, content) for chain in column.chains for row in chain.rows)


@pytest.mark.parametrize("name", SMALLEST.values(), ids=SMALLEST)
def test_parts_are_called_in_the_order_that_is_drawn(name: str) -> None:
    """A real forward pass calls the children of a block in the order of the trace."""
    depth = {"encoder_layers": 1, "decoder_layers": 1} if name.startswith("transformer") else {"layers": 1}
    options = model_options({"name": name, **depth}, vocab_size=16)
    member = next(member for member in architectures() if member.name == type(options).architecture)
    root = member.root(options).eval()
    root.initialize(torch.Generator().manual_seed(0))
    blocks = [part for part in root.compilable() if isinstance(part, nn.Module)]
    called: list[tuple[int, str]] = []
    for number, one in enumerate(blocks):
        for child, module in one.named_children():
            module.register_forward_hook(lambda *_, n=number, c=child: called.append((n, c)))
    tokens = torch.arange(6)[None]
    how: dict[str, Tensor] = {"targets": tokens}
    if name.startswith("xlnet"):
        how["permutation_mask"] = torch.ones(6, 6).tril(-1).bool()[None]
    with torch.no_grad():
        root(tokens, outputs=("hidden", "logprobs"), **how)
    drawn = []
    for number, one in enumerate(blocks):
        absent = ("memory",) if name.startswith("xlnet") else ()
        parts = [step.part for step in trace(one, absent)[0] if step.part]
        drawn += [(number, part) for part in parts if not part.endswith(".keys")]
    assert called == drawn


class Sandwiched(Block):
    def forward(self, x: Any, rotary: Any, mask: Any, kernel: Any) -> Any:  # type: ignore[override]
        x = x + self.attention_norm(self.attention(x))
        return x + self.feed_forward_norm(self.feed_forward(x))


class Parallel(Block):
    def forward(self, x: Any, rotary: Any, mask: Any, kernel: Any) -> Any:  # type: ignore[override]
        return x + self.attention(self.attention_norm(x)) + self.feed_forward(self.feed_forward_norm(x))


def test_another_forward_pass_gives_another_picture() -> None:
    root = built(model_options({"name": "gpt2-1m"}))
    blocks: Any = root.blocks
    blocks[0] = Sandwiched(root.options)
    [column] = anatomy(root, SAY)
    assert block(column) == [
        ("attention", None),
        ("norm", None),
        ("+", -1),
        ("feed_forward", None),
        ("norm", None),
        ("+", 2),
    ]
    blocks[0] = Parallel(root.options)
    with pytest.raises(AssertionError, match="no chain of parts"):
        anatomy(root, SAY)


def test_tracing_leaves_the_model_as_it_was() -> None:
    root: Any = built(model_options({"name": "gpt2-1m"}))
    before = list(root.named_modules())
    anatomy(root, SAY)
    assert list(root.named_modules()) == before


def parts_of(column: Column) -> list[tuple[Part, int]]:
    rows = [row for chain in column.chains for row in chain.rows]
    boxes = [(row.part, BOX) for row in rows if row.part] + [(row.side, SIDE) for row in rows if row.side]
    return boxes + [(part, FORK) for part in column.forks]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LARGEST.values(), ids=LARGEST)
def test_a_picture_is_well_formed_and_names_every_part(name: str, language: str) -> None:
    options = model_options({"name": name})
    svg = ElementTree.fromstring(picture(options, "a < b & c", language))
    texts = [element.text for element in svg.iter(f"{SVG}text")]
    assert "a < b & c" in texts
    say = speaker(language)
    for column in anatomy(built(options), say):
        for part, width in parts_of(column):
            assert {part.title, *part.lines} <= set(texts)
            assert text_width(part.title, 14) < width - 8, part.title
            assert all(text_width(line, 12.5) < width - 8 for line in part.lines), part.lines
        for chain in column.chains:
            assert not chain.times or f"× {chain.times}" in texts
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    rects = [
        {key: float(r.attrib[key]) for key in ("x", "y", "width", "height")} for r in svg.iter(f"{SVG}rect")
    ]
    assert all(r["x"] >= 0 and r["x"] + r["width"] <= width - 20 for r in rects[1:]), "inside the card"
    assert all(r["y"] + r["height"] <= height for r in rects)
    boxes = [r for r in rects[1:] if r["width"] in (BOX, SIDE, FORK)]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart_x = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            apart_y = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
            assert apart_x or apart_y, "boxes lie over each other"


def test_additions_are_drawn() -> None:
    [column] = columns("gpt2-small")
    svg = ElementTree.fromstring(drawing([column], "t", SAY))
    assert len(list(svg.iter(f"{SVG}circle"))) == 3, "positions, attention, feed-forward"


def test_both_languages_have_the_same_numbers() -> None:
    import re

    for key, (english, chinese) in _WORDS.items():
        assert sorted(re.findall(r"\{\w+", english)) == sorted(re.findall(r"\{\w+", chinese)), key
    with pytest.raises(UserError, match="speak en and zh, not 'fr'"):
        speaker("fr")


def test_counts_are_known() -> None:
    options = model_options({"name": "qwen3-30b-a3b"})
    assert parameter_count(options) == 30_532_122_624
    assert active_count(options) == 3_353_032_704, "128 experts, of which a token takes 8"
    assert active_count(model_options({"name": "gpt2-small"})) is None


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="of the kind Root cannot be drawn; what can: Decoder"):
        anatomy(Root(), SAY)


def test_an_unknown_part_is_called_by_its_class() -> None:
    class Mixer(Linear):
        pass

    root: Any = built(model_options({"name": "gpt2-1m"}))
    root.blocks[0].feed_forward = Mixer(4, 4)
    root.blocks[0].attention_norm = LayerNorm(4, 1e-5)
    [column] = anatomy(root, SAY)
    assert "Mixer" in [row.part.title for row in column.chains[1].rows if row.part]

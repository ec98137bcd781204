"""What a model is made of, read from the model itself: its parts in the order of the forward pass.

A block's forward pass is run once with stand-ins for its parts that only write down what they are given. So where a
norm stands, and what is added to what, is found and not told.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from torch import nn

from chatwright.errors import UserError
from chatwright.insight.anatomy_words import Say
from chatwright.models.attention import Attention
from chatwright.models.decoder import Decoder
from chatwright.models.encoder import Encoder
from chatwright.models.encoder_decoder import CrossAttention, EncoderDecoder, FeedForward
from chatwright.models.experts import Experts, Stack
from chatwright.models.family.architecture import architecture_of
from chatwright.models.heads.masked import MaskedHead
from chatwright.models.layers import MLP, LayerNorm, RMSNorm, SwiGLU
from chatwright.models.root import Root
from chatwright.models.xlnet import RelativeAttention, XLNet


@dataclass(frozen=True)
class Part:
    """A box of the picture. kind: table, norm, attention, feed_forward or head."""

    kind: str
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A part in a chain, or an addition (None).

    skip: of an addition, the row whose output comes in past those between; -1: what came into the chain. side: what
    comes in from beside. link: that what comes in from beside is the other column's; "end": what it ends with; "block":
    what goes into its block.
    """

    part: Part | None
    skip: int | None = None
    side: Part | None = None
    link: str | None = None


@dataclass(frozen=True)
class Chain:
    """Rows one after the other; `times`: how often they are repeated, 0 for rows that are no block."""

    rows: tuple[Row, ...]
    times: int = 0


@dataclass(frozen=True)
class Column:
    """From what is read to what is given. forks: parts that all read the end of the last chain."""

    reads: str
    chains: tuple[Chain, ...]
    gives: str = ""
    title: str = ""
    forks: tuple[Part, ...] = ()


def built(options: Any) -> Root:
    """A model of these options on the meta device, which takes no memory."""
    with torch.device("meta"):
        return architecture_of(options).root(options)


def parameter_count(options: Any) -> int:
    """All weights of a model of these options, shared ones once."""
    return sum(parameter.numel() for parameter in built(options).parameters())


def active_count(options: Any) -> int | None:
    """The weights that a token goes through where it takes some experts of many; None where it takes all weights."""
    if getattr(options, "routing", None) is None:
        return None
    root, idle = built(options), 0
    for experts in (module for module in root.modules() if isinstance(module, Experts)):
        sizes = [stack.weight.numel() for stack in experts.children() if isinstance(stack, Stack)]
        routing = experts.routing
        idle += sum(sizes) // routing.experts * (routing.experts - routing.per_token)
    return sum(parameter.numel() for parameter in root.parameters()) - idle


def anatomy(root: Root, say: Say) -> tuple[Column, ...]:
    """The columns of a model's picture: one, or two where it has two stacks or two streams."""
    walkers: Mapping[type[Root], Callable[[Any, Say], tuple[Column, ...]]] = {
        Decoder: _decoder,
        Encoder: _encoder,
        EncoderDecoder: _encoder_decoder,
        XLNet: _xlnet,
    }
    for kind, walker in walkers.items():
        if isinstance(root, kind):
            return walker(root, say)
    drawn = ", ".join(kind.__name__ for kind in walkers)
    raise UserError(f"a model of the kind {type(root).__name__} cannot be drawn; what can: {drawn}")


def _decoder(root: Decoder, say: Say) -> tuple[Column, ...]:
    options = root.options
    before = [Row(_table(say("embedding"), root.embedding, say))]
    if root.positions is not None:
        before.append(Row(None, side=_table(say("learned"), root.positions, say)))
    notes = [say("causal")]
    bands = [band for layer in range(options.layers) if (band := options.band_of(layer)) is not None]
    if bands:
        notes.append(say("banded", some=len(bands), all=options.layers, band=bands[0]))
    absent = () if root.positions is None else ("rotary",)
    rows = _chains(root.blocks[0], say, {"attention": notes}, absent)["x"]
    after = [] if isinstance(root.final_norm, nn.Identity) else [Row(_part(root.final_norm, say))]
    after.append(Row(_output(options.vocab_size, root.head is None, say)))
    chains = (Chain(tuple(before)), Chain(rows, len(root.blocks)), Chain(tuple(after)))
    return (Column(say("tokens"), chains, say("next_token")),)


def _encoder(root: Encoder, say: Say) -> tuple[Column, ...]:
    before = [
        Row(_table(say("embedding"), root.embedding, say)),
        Row(None, side=_table(say("types"), root.types, say)),
        Row(None, side=_table(say("learned"), root.positions, say)),
        Row(_part(root.embedding_norm, say)),
    ]
    rows = _chains(root.blocks[0], say, {"attention": [say("both_ways")]})["x"]
    forks = []
    if root.language is not None:
        forks.append(_part(root.language, say))
    if root.pooler is not None:
        forks.append(Part("head", say("pooler"), (say("pooled"), say("pooled_for"))))
    chains = (Chain(tuple(before)), Chain(rows, len(root.blocks)))
    return (Column(say("tokens"), chains, forks=tuple(forks)),)


def _encoder_decoder(root: EncoderDecoder, say: Say) -> tuple[Column, ...]:
    embedding = _table(say("embedding"), root.embedding, say)
    scaled = replace(embedding, lines=(*embedding.lines, say("scaled", width=root.options.width)))
    waves = Part("table", say("sinusoids"), (say("not_learned"),))
    before = Chain((Row(scaled), Row(None, side=waves)))
    reading = _chains(root.encoder[0], say, {"attention": [say("both_ways")]})["x"]
    notes = {"attention": [say("causal")], "cross": [say("whole_source")]}
    writing = _chains(root.decoder[0], say, notes)["x"]
    output = Chain((Row(_output(root.options.vocab_size, True, say)),))
    return (
        Column(say("source"), (before, Chain(reading, len(root.encoder))), title=say("encoder")),
        Column(
            say("target"),
            (before, Chain(writing, len(root.decoder)), output),
            say("next_token"),
            say("decoder"),
        ),
    )


def _xlnet(root: XLNet, say: Say) -> tuple[Column, ...]:
    chains = [
        _chains(root.blocks[0], say, {"attention": [say(seen)]}, ("memory",))
        for seen in ("order_content", "order_query")
    ]
    times = len(root.blocks)
    content = Chain((Row(_table(say("embedding"), root.embedding, say)),))
    mask = Part("table", say("mask_vector"), (say("one_vector", width=root.mask.size(-1)),))
    output = Chain((Row(_output(root.options.vocab_size, root.head is None, say)),))
    # the content stream reads its own keys; only the query stream is given another's
    own = tuple(replace(row, link=None) for row in chains[0]["h"])
    return (
        Column(say("tokens"), (content, Chain(own, times)), say("memories"), say("content_stream")),
        Column(
            say("places"),
            (Chain((Row(mask),)), Chain(chains[1]["g"], times), output),
            say("its_token"),
            say("query_stream"),
        ),
    )


@dataclass(frozen=True)
class Step:
    """What made a value in a block: a part by its name, or an addition (None), from the values that it read."""

    part: str | None
    read: tuple[str, ...]
    made: str


class _Trace:
    def __init__(self) -> None:
        self.steps: list[Step] = []

    def step(self, part: str | None, read: Sequence[Any]) -> _Value:
        names = tuple(value.name for value in read if isinstance(value, _Value))
        self.steps.append(Step(part, names, f"{part or '+'}:{len(self.steps)}"))
        return _Value(self, self.steps[-1].made)


class _Value:
    """What flows through a block while its forward pass is written down; known by its name."""

    def __init__(self, trace: _Trace, name: str) -> None:
        self.trace, self.name = trace, name

    def __add__(self, other: _Value) -> _Value:
        return self.trace.step(None, (self, other))


class _StandIn(nn.Module):
    """Takes a part's place in a block."""

    def __init__(self, trace: _Trace, name: str) -> None:
        super().__init__()
        self.trace, self.name = trace, name

    def forward(self, *inputs: Any) -> _Value:
        return self.trace.step(self.name, inputs)

    def keys(self, *inputs: Any) -> _Value:
        """What both streams of XLNet read is made apart from the attention."""
        return self.trace.step(f"{self.name}.keys", inputs)


def trace(block: nn.Module, absent: Sequence[str] = ()) -> tuple[list[Step], list[str]]:
    """A block's forward pass as steps, and the names of what it returns; inputs are named as its parameters are.

    absent: inputs that are not there (None).
    """
    written = _Trace()
    shadow = copy.copy(block)
    shadow.__dict__["_modules"] = {name: _StandIn(written, name) for name, _ in block.named_children()}
    names = {
        parameter.name: parameter.name.split("_")[0]
        for parameter in inspect.signature(block.forward).parameters.values()
        if parameter.default is parameter.empty
    }
    inputs = {key: None if name in absent else _Value(written, name) for key, name in names.items()}
    returned = shadow(**inputs)
    kept = returned if isinstance(returned, tuple) else (returned,)
    return written.steps, [value.name for value in kept if isinstance(value, _Value)]


def _chains(
    block: nn.Module, say: Say, notes: Mapping[str, Sequence[str]], absent: Sequence[str] = ()
) -> dict[str, tuple[Row, ...]]:
    """The rows of a block from each of its streams to what becomes of it, by the stream's name.

    notes: lines to add to a part. Of the two values that are added, the older one went past what made the newer.
    """
    steps, returned = trace(block, absent)
    places = {step.made: place for place, step in enumerate(steps)}
    found, drawn = {}, set()
    for name in returned:
        chain: list[Step] = []
        while name in places:
            step = steps[places[name]]
            chain.insert(0, step)
            name = max(step.read, key=lambda value: places.get(value, -1)) if not step.part else step.read[0]
        found[name] = tuple(_row(step, chain, block, say, notes) for step in chain)
        drawn |= {step.made for step in chain}
    missing = [step.made for step in steps if step.made not in drawn and ".keys" not in step.made]
    assert not missing, f"{type(block).__name__} is no chain of parts: {missing} stand beside it"
    return found


def _row(
    step: Step, chain: Sequence[Step], block: nn.Module, say: Say, notes: Mapping[str, Sequence[str]]
) -> Row:
    before = [earlier.made for earlier in takewhile(lambda other: other is not step, chain)]
    if step.part is None:
        return Row(None, skip=min(before.index(value) if value in before else -1 for value in step.read))
    part = _part(block.get_submodule(step.part), say)
    part = replace(part, lines=(*part.lines, *notes.get(step.part, ())))
    inputs = {value.split(":")[0] for value in step.read[1:]}
    if "rotary" in inputs:
        return Row(part, side=Part("table", say("rotary"), (say("turned"),)))
    return Row(part, link="end" if "crossed" in inputs else "block" if "attention.keys" in inputs else None)


def _part(module: nn.Module, say: Say) -> Part:
    """A module as a box."""
    for kind, describe in _DESCRIBED.items():
        if isinstance(module, kind):
            part: Part = describe(module, say)
            return part
    return Part("feed_forward", type(module).__name__)


def _norm(module: nn.Module, say: Say) -> Part:
    return Part("norm", type(module).__name__)


def _attention(module: Attention, say: Say) -> Part:
    lines = [say("heads", heads=module.heads, width=module.head_dim)]
    if module.kv_heads < module.heads:
        lines.append(say("kv_heads", heads=module.kv_heads))
    if module.query_norm is not None:
        lines.append(say("normed_heads"))
    if module.query.bias is not None and module.output.bias is None:
        lines.append(say("qkv_bias"))
    return Part("attention", say("attention"), tuple(lines))


def _cross(module: CrossAttention, say: Say) -> Part:
    return Part("attention", say("cross"), (say("heads", heads=module.heads, width=module.head_dim),))


def _relative(module: RelativeAttention, say: Say) -> Part:
    width = module.types.size(-1)
    lines = (say("heads", heads=module.heads, width=width), say("relative"))
    return Part("attention", say("attention"), lines)


def _gated(module: SwiGLU, say: Say) -> Part:
    hidden, width = module.gate.weight.shape
    return Part(
        "feed_forward", say("feed_forward"), (say("inner", width=width, hidden=hidden, act="SwiGLU"),)
    )


def _mlp(module: MLP, say: Say) -> Part:
    hidden, width = module.up.weight.shape
    act = _activation(module.activation)
    return Part("feed_forward", say("feed_forward"), (say("inner", width=width, hidden=hidden, act=act),))


def _experts(module: Experts, say: Say) -> Part:
    hidden, width = module.gate.weight.shape[1:]
    routing = module.routing
    lines = (
        say("routed", some=routing.per_token, all=routing.experts),
        say("each", width=width, hidden=hidden, act="SwiGLU"),
    )
    return Part("feed_forward", say("experts"), lines)


def _masked_head(module: MaskedHead, say: Say) -> Part:
    act = _activation(module.activation)
    lines = (say("transform", act=act), say("scores", tokens=module.bias.numel()), say("tied"))
    return Part("head", say("masked_head"), lines)


def _activation(function: Any) -> str:
    """The usual name of an activation, found by what it gives at -1."""
    given = float(function(torch.tensor(-1.0)))
    return {0.0: "ReLU", -0.1587: "GELU", -0.1588: "GELU", -0.2689: "Swish"}.get(round(given, 4), "?")


def _output(tokens: int, is_tied: bool, say: Say) -> Part:
    return Part("head", say("output"), (say("scores", tokens=tokens), say("tied" if is_tied else "own")))


def _table(title: str, table: nn.Embedding, say: Say) -> Part:
    rows, width = table.weight.shape
    return Part("table", title, (f"{rows:,} × {width:,}",))


_DESCRIBED: dict[type[nn.Module], Callable[..., Part]] = {
    LayerNorm: _norm,
    RMSNorm: _norm,
    Attention: _attention,
    CrossAttention: _cross,
    RelativeAttention: _relative,
    SwiGLU: _gated,
    FeedForward: _mlp,
    MLP: _mlp,
    Experts: _experts,
    MaskedHead: _masked_head,
}

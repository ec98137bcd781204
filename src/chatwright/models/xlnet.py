"""XLNet (Yang et al. 2019): a text is predicted in any order, by two streams of attention over relative positions.

The content stream h is a Transformer-XL encoder (Dai et al. 2019): every position knows its own token. The query
stream g stands at the positions to predict only and does not know their tokens; both read the content's keys and
values, with the same weights. A segment can read the hidden states of the segment before it, its memories.

Shape suffixes: B batch, T length, P predicted positions of a row, N queries (T or P), M memory length, S = M + T keys,
R = S + T - 1 relative distances, L blocks, W width, H heads, D head width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.config import at_least, option
from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.heads.language import token_outputs
from chatwright.models.layers import MLP, LayerNorm, Linear, table
from chatwright.models.root import Root

# Queries whose distances are multiplied together: N of them need S + N - 1 distances, and use S each.
_ROWS = 128
_DEVIATION = 0.02


@dataclass(frozen=True)
class XLNetOptions:
    """The shape of an XLNet."""

    architecture: ClassVar[str] = "xlnet"
    # Relative positions know no longest sequence.
    context: ClassVar[int] = 1 << 20

    vocab_size: int = option(8192, "tokens in the vocabulary")
    width: int = option(256, "width of the residual stream; even")
    layers: int = option(6, "number of blocks")
    heads: int = option(4, "attention heads; divides width")
    feed_forward: int = option(1024, "inner width of the feed-forward part")
    memory: int = option(0, "positions that the next segment can read; 0 for no bound")
    clamp: int = option(0, "longest distance told apart from longer ones; 0 for no bound")
    norm_eps: float = option(1e-12, "added to the variance in normalization")
    tied: bool = option(True, "whether the head shares the embedding's weights")

    def __post_init__(self) -> None:
        at_least(self, 1, "vocab_size", "width", "layers", "heads", "feed_forward", group="model.")
        for name in ("memory", "clamp"):
            if getattr(self, name) < 0:
                raise UserError(f"model.{name}={getattr(self, name)} must be 0 (no bound) or more")
        if self.width % self.heads:
            raise UserError(f"model.heads={self.heads} does not divide model.width={self.width}")
        if self.width % 2:
            raise UserError(f"model.width={self.width} must be even for sinusoidal positions")

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def kv_heads(self) -> int:
        return self.heads


@dataclass(frozen=True)
class Keys:
    """What both streams read in a block: keys `content` and `values` of memories and content, [B, H, S, D]; and keys of
    `distances`, [H, D, R]."""

    content: Tensor
    values: Tensor
    distances: Tensor


@dataclass(frozen=True)
class Sight:
    """What queries may read. `unseen` [B, N, S]: True where a key may not be; `different` [B, N, S]: 1 where its type
    is another. For queries that stand at some positions only: `places` [B, N], and `seeing` [B, N, 1], 0 for those that
    may read nothing at all."""

    unseen: Tensor | None
    different: Tensor | None
    places: Tensor | None = None
    seeing: Tensor | None = None


def distance_table(length: int, memory: int, width: int, clamp: int, device: torch.device) -> Tensor:
    """Sinusoids of the distances from query to key, M + T - 1 down to 1 - T (Dai et al. 2019, section 3.3).

    Returns [R, W] float32: sines, then cosines.
    """
    distances = torch.arange(memory + length - 1, -length, -1.0, device=device)
    if clamp:
        distances = distances.clamp(-clamp, clamp)
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    angles = distances[:, None] / 10_000.0**exponents
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def shifted(scores_BHNR: Tensor, keys: int) -> Tensor:
    """Scores by distance to scores by key, without copying: query n of N finds key s at N - 1 - n + s.

    Read with rows one shorter, each row of the memory begins one distance later. Returns [B, H, N, S].
    """
    rows, distances = scores_BHNR.shape[2:]
    if rows == 1:
        return scores_BHNR
    flat = scores_BHNR.flatten(2)[..., rows - 1 : rows * distances - 1]
    return flat.view(*flat.shape[:2], rows, distances - 1)[..., :keys]


class RelativeAttention(nn.Module):
    """Attention by content, distance and type (Dai et al. 2019, section 3.3; Yang et al. 2019, section 2.5).

    score = (q + u)·k + (q + v)·r(distance) + (q + s)·e(same type or another), over √D. u, v, s: the three biases.
    """

    def __init__(self, options: XLNetOptions) -> None:
        super().__init__()
        width, self.heads = options.width, options.heads
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))
        self.distance, self.output = Linear(width, width), Linear(width, width)
        self.content_bias, self.distance_bias, self.type_bias = (
            nn.Parameter(torch.empty(width)) for _ in range(3)
        )
        self.types = nn.Parameter(torch.empty(2, options.heads, options.head_dim))

    def keys(self, known_BSW: Tensor, table_RW: Tensor) -> Keys:
        """What queries read. known: memories and content; table: of `distance_table`."""
        distances_HDR = self.distance(table_RW).view(len(table_RW), self.heads, -1).permute(1, 2, 0)
        return Keys(self._split(self.key(known_BSW)), self._split(self.value(known_BSW)), distances_HDR)

    def forward(self, x_BNW: Tensor, keys: Keys, sight: Sight) -> Tensor:
        query = self.query(x_BNW)
        content, distance = (
            self._split(query + bias.to(query.dtype)) for bias in (self.content_bias, self.distance_bias)
        )
        attend = self._everywhere if sight.places is None else self._at_places
        typed = None if sight.different is None else self._type_scores(query)
        out_BHND = attend(content, distance, typed, keys, sight)
        out_BNW = self.output(out_BHND.transpose(1, 2).flatten(2))
        return out_BNW if sight.seeing is None else out_BNW * sight.seeing  # type: ignore[no-any-return]

    def _everywhere(
        self, content_BHTD: Tensor, distance_BHTD: Tensor, typed: Tensor | None, keys: Keys, sight: Sight
    ) -> Tensor:
        """A query at every position, some rows at a time."""
        length, known = content_BHTD.size(2), keys.content.size(2)
        parts = []
        for begin in range(0, length, _ROWS):
            end = min(begin + _ROWS, length)
            rows = slice(begin, end)
            near = keys.distances[..., length - end : length - begin + known - 1]
            scores = shifted(distance_BHTD[:, :, rows] @ near, known)
            parts.append(
                _attend(
                    content_BHTD[:, :, rows],
                    scores if typed is None else scores + typed[:, :, rows] * _rows(sight.different, rows),
                    keys,
                    None if sight.unseen is None else _rows(sight.unseen, rows),
                )
            )
        return torch.cat(parts, dim=2)

    def _at_places(
        self, content_BHPD: Tensor, distance_BHPD: Tensor, typed: Tensor | None, keys: Keys, sight: Sight
    ) -> Tensor:
        """Queries at some positions, each of which looks its own distances up."""
        assert sight.places is not None
        known, distances = keys.content.size(2), keys.distances.size(2)
        # the query at position T - 1 finds the first key at the first distance
        first_BP1 = (distances - known - sight.places)[..., None]
        index_BPS = first_BP1 + torch.arange(known, device=first_BP1.device)
        by_distance = distance_BHPD @ keys.distances
        scores = by_distance.gather(3, index_BPS[:, None].expand(-1, self.heads, -1, -1))
        every = slice(None)
        if typed is not None:
            scores = scores + typed * _rows(sight.different, every)
        return _attend(
            content_BHPD, scores, keys, None if sight.unseen is None else _rows(sight.unseen, every)
        )

    def _type_scores(self, query_BNW: Tensor) -> Tensor:
        """What another type adds to a score over the same type, [B, H, N, 1]: softmax sees the difference only."""
        query_BHND = self._split(query_BNW + self.type_bias.to(query_BNW.dtype))
        other_HD1 = (self.types[1] - self.types[0]).to(query_BNW.dtype)[..., None]
        return query_BHND @ other_HD1

    def _split(self, x_BNW: Tensor) -> Tensor:
        return x_BNW.view(*x_BNW.shape[:2], self.heads, -1).transpose(1, 2)


def _rows(allowed_BNS: Tensor | None, rows: slice) -> Tensor:
    """These rows of a mask, for every head: [B, 1, N, S]."""
    assert allowed_BNS is not None
    return allowed_BNS[:, None, rows]


def _attend(content_BHND: Tensor, others_BHNS: Tensor, keys: Keys, unseen: Tensor | None) -> Tensor:
    """Softmax of the content's scores and the others', over √D. Returns [B, H, N, D]."""
    batch, heads, rows, width = content_BHND.shape
    scale = width**-0.5
    scores_XNS = torch.baddbmm(
        others_BHNS.flatten(0, 1),
        content_BHND.reshape(-1, rows, width),
        keys.content.reshape(batch * heads, -1, width).transpose(1, 2),
        beta=scale,
        alpha=scale,
    )
    scores = scores_XNS.view(batch, heads, rows, -1)
    if unseen is not None:
        # not minus infinity: softmax over nothing would give no number
        scores = scores.masked_fill(unseen, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(content_BHND.dtype)
    out_BHND: Tensor = weights @ keys.values
    return out_BHND


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream and normalized after; both streams with one set of
    weights."""

    def __init__(self, options: XLNetOptions) -> None:
        super().__init__()
        self.attention = RelativeAttention(options)
        self.attention_norm = LayerNorm(options.width, options.norm_eps)
        self.feed_forward = MLP(options.width, options.feed_forward, "gelu")
        self.feed_forward_norm = LayerNorm(options.width, options.norm_eps)

    def forward(
        self,
        h_BTW: Tensor,
        g_BPW: Tensor | None,
        memory_BMW: Tensor | None,
        table_RW: Tensor,
        content: Sight | None,
        query: Sight | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Both streams after this block; h as it was where `content` is None, because nobody will read it."""
        known_BSW = h_BTW if memory_BMW is None else torch.cat((memory_BMW, h_BTW), dim=1)
        keys = self.attention.keys(known_BSW, table_RW)
        after_h = h_BTW if content is None else self._stream(h_BTW, keys, content)
        after_g = None if g_BPW is None or query is None else self._stream(g_BPW, keys, query)
        return after_h, after_g

    def _stream(self, x_BNW: Tensor, keys: Keys, sight: Sight) -> Tensor:
        x_BNW = self.attention_norm(x_BNW + self.attention(x_BNW, keys, sight))
        return self.feed_forward_norm(x_BNW + self.feed_forward(x_BNW))  # type: ignore[no-any-return]


class XLNet(Root):
    """XLNet; call it as a root: `model(inputs, targets=…, permutation_mask=…, outputs=(…))`."""

    Options = XLNetOptions
    options: XLNetOptions

    def __init__(self, options: XLNetOptions) -> None:
        super().__init__()
        self.options = options
        self.compute_dtype = torch.float32
        self.kernel = "plain"
        self.embedding = table(options.vocab_size, options.width)
        self.mask = nn.Parameter(torch.empty(1, 1, options.width))
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.layers))
        self.head = None if options.tied else Linear(options.width, options.vocab_size)
        self.output_bias = nn.Parameter(torch.empty(options.vocab_size))

    def forward(
        self,
        inputs_BT: Tensor,
        *,
        targets: Tensor | None = None,
        segments: Tensor | None = None,
        types: Tensor | None = None,
        permutation_mask: Tensor | None = None,
        memories: Tensor | None = None,
        memory_segments: Tensor | None = None,
        memory_types: Tensor | None = None,
        outputs: tuple[str, ...] = ("logprobs",),
    ) -> dict[str, Tensor]:
        """Run the model and return what `outputs` names.

        inputs: [B, T] token ids. targets: [B, T], the token at its own position, IGNORE where none. segments: [B, T]
        document numbers, negative at padding: attention stays inside a document. types: [B, T] numbers, of which only
        equal or not is read. permutation_mask: [B, T, T] or [1, T, T], True where position i may see position j; its diagonal does
        not matter, for content always sees itself and a query never does. memories: [L, B, M, W], what every block
        reads of the segment before: all of it, or with memory_segments [B, M] inside a document. memory_types: [B, M],
        0 where not given.

        With a permutation mask and targets the query stream predicts the targets; else the content stream does, which
        sees their tokens unless the inputs hide them.
        `hidden` [B, T, W] of the content; `query` [B, T, W] of the query stream, 0 where no target is; `logprobs` and
        `entropy` [B, T] float32 (need targets); `logits` [B, T, V] float32, with a query stream 0 where no target is;
        `memories` [L, B, M', W] for the segment after, without a gradient.
        """
        length, memory = inputs_BT.size(1), 0 if memories is None else memories.size(2)
        unseen = _unseen(permutation_mask, segments, memory_segments, memory)
        different = None if types is None else _different(types, memory_types, memory)
        h_BTW = F.embedding(inputs_BT, self.embedding.weight).to(self.compute_dtype)
        content, query = (
            Sight(None if unseen is None else unseen & ~_itself(length, memory, unseen.device), different),
            None,
        )
        if permutation_mask is not None and targets is not None:
            assert unseen is not None
            query = _at_targets(targets, unseen, different, memory, h_BTW.dtype)
        h_BTW, g_BPW, kept = self._streams(h_BTW, content, query, memories, "hidden" in outputs)
        result = {"hidden": h_BTW} if "hidden" in outputs else {}
        if "memories" in outputs:
            result["memories"] = self._remembered(kept, memories)
        if g_BPW is None:
            return result | self._outputs(h_BTW, targets, outputs)
        assert query is not None and query.places is not None and targets is not None
        return result | self._predicted(g_BPW, query.places, targets, outputs)

    def _streams(
        self, h_BTW: Tensor, content: Sight, query: Sight | None, memories: Tensor | None, is_read: bool
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Both streams after the last block, and what went into every block of the content's; after the last block
        content is read by nobody but the user, where `is_read`."""
        o, memory, g_BPW = self.options, 0 if memories is None else memories.size(2), None
        if query is not None and query.places is not None:
            g_BPW = self.mask.to(h_BTW.dtype).expand(*query.places.shape, -1)
        table = distance_table(h_BTW.size(1), memory, o.width, o.clamp, h_BTW.device).to(h_BTW.dtype)
        kept = []
        for layer, block in enumerate(self.blocks):
            kept.append(h_BTW)
            before = None if memories is None else memories[layer].to(h_BTW.dtype)
            is_needed = g_BPW is None or is_read or layer < o.layers - 1
            h_BTW, g_BPW = block(h_BTW, g_BPW, before, table, content if is_needed else None, query)
        return h_BTW, g_BPW, kept

    def _remembered(self, kept: list[Tensor], memories: Tensor | None) -> Tensor:
        """The newest states of every block, as many as the options say."""
        now = torch.stack([state.detach() for state in kept])
        whole = now if memories is None else torch.cat((memories.to(now.dtype), now), dim=2)
        return whole[:, :, -self.options.memory :] if self.options.memory else whole

    def _predicted(
        self, g_BPW: Tensor, places_BP: Tensor, targets: Tensor, outputs: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """What the query stream says, laid out at the positions that it stands at."""
        at_places = targets.gather(1, places_BP)
        found = self._outputs(g_BPW, at_places, outputs)
        if "query" in outputs:
            found["query"] = g_BPW
        is_target = at_places != IGNORE
        return {name: _spread(value, is_target, places_BP, targets.size(1)) for name, value in found.items()}

    @property
    def head_weight(self) -> Tensor:
        return self.embedding.weight if self.head is None else self.head.weight

    def _outputs(self, hidden: Tensor, targets: Tensor | None, outputs: tuple[str, ...]) -> dict[str, Tensor]:
        return token_outputs(hidden, self.head_weight, targets, outputs, bias_V=self.output_bias)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights with deviation 0.02 (Yang et al. 2019, in their code); norms begin at one, biases of linear
        maps and of the head at zero."""
        for name, parameter in self.named_parameters():
            if name.endswith(("content_bias", "distance_bias", "type_bias")) or parameter.dim() > 1:
                parameter.normal_(0.0, _DEVIATION, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def compilable(self) -> list[nn.Module]:
        """The repeated parts: compiling one compiles them all."""
        return list(self.blocks)

    def flops_per_token(self, length: int, learnt: float = 1.0) -> float:
        """Multiply-adds of the forward pass times two, per position, in rows of `length`; `learnt` is the share of
        positions that the query stream stands at."""
        o = self.options
        # keys, distances (two for each key) and values
        stream = 2 * o.width * (o.width + o.feed_forward) + 4 * o.width * length
        content = o.layers * (2 * o.width**2 + stream) - stream
        return 2.0 * (content + learnt * (o.layers * stream + o.width * o.vocab_size))


def _unseen(
    permutation_mask: Tensor | None, segments: Tensor | None, memory_segments: Tensor | None, memory: int
) -> Tensor | None:
    """True where a position (row) may not see a memory or position (column), [B, T, M + T]; None where all may."""
    parts = []
    if permutation_mask is not None:
        parts.append(F.pad(~permutation_mask, (memory, 0)))
    if segments is not None:
        parts.append(F.pad(segments[:, :, None] != segments[:, None, :], (memory, 0)))
        if memory and memory_segments is not None:
            parts[-1][..., :memory] = segments[:, :, None] != memory_segments[:, None, :]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else parts[0] | parts[1]


def _itself(length: int, memory: int, device: torch.device) -> Tensor:
    """True where a key is the query's own position, [T, M + T]."""
    return F.pad(torch.eye(length, dtype=torch.bool, device=device), (memory, 0))


def _different(types: Tensor, memory_types: Tensor | None, memory: int) -> Tensor:
    """True where a key's type is not the query's, [B, T, M + T]; memories are of type 0 where nothing is said."""
    known = F.pad(types, (memory, 0))
    if memory and memory_types is not None:
        known[:, :memory] = memory_types
    return types[:, :, None] != known[:, None, :]


def _at_targets(
    targets: Tensor, unseen: Tensor, different: Tensor | None, memory: int, dtype: torch.dtype
) -> Sight:
    """The query stream's sight: a query at each target, as many in every row, and one at least.

    Rows with fewer targets have queries at other positions too, which nobody reads.
    """
    is_target = targets != IGNORE
    most = max(1, int(is_target.sum(1).max()))
    places_BP = torch.sort(~is_target, dim=1, stable=True).indices[:, :most]

    def at_places(whole_BTS: Tensor) -> Tensor:
        index_BPS = places_BP[..., None].expand(-1, -1, whole_BTS.size(2))
        # one mask may hold for all rows
        return whole_BTS.expand(targets.size(0), -1, -1).gather(1, index_BPS)

    blind_BPS = at_places(unseen | _itself(targets.size(1), memory, unseen.device))
    seeing = (~blind_BPS.all(-1, keepdim=True)).to(dtype)
    return Sight(blind_BPS, None if different is None else at_places(different), places_BP, seeing)


def _spread(values: Tensor, is_target_BP: Tensor, places_BP: Tensor, length: int) -> Tensor:
    """Values at places, [B, P] or [B, P, X], to every position of the row: 0 where no target is."""
    extra = values.shape[2:]
    kept = values.masked_fill(~is_target_BP.view(*places_BP.shape, *(1 for _ in extra)), 0.0)
    index = places_BP.view(*places_BP.shape, *(1 for _ in extra)).expand(*places_BP.shape, *extra)
    return kept.new_zeros(values.size(0), length, *extra).scatter(1, index, kept)

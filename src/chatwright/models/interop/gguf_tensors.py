"""The names of tensors in GGUF files and in public directories, for every architecture that both can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

# The letters of a shape: v vocabulary, d width, q all queries, k all keys, h one head, f feed-forward, m an expert's
# feed-forward, e experts, c context, t token types, 3 queries, keys and values together.


@dataclass(frozen=True)
class Named:
    """One tensor under both names; `{}` stands for the number of a block.

    shape: the letters of its public dimensions. change: what makes the one out of the other: rotary pairs lie
    differently (`query`, `key`), the public matrix is [in, out] (`transposed`), the public directory holds each expert
    under the second `{}` (`experts`). when: the switch that must be on for it to be there.
    """

    gguf: str
    public: str
    shape: str
    change: str = ""
    when: str = ""

    def at(self, block: int) -> Named:
        """The names of one block; an expert's number stays open."""
        public = self.public.replace("{}", str(block), 1)
        return Named(self.gguf.replace("{}", str(block)), public, self.shape, self.change, self.when)

    @property
    def in_blocks(self) -> bool:
        return "{}" in self.gguf

    def sizes(self, letters: Mapping[str, int]) -> tuple[int, ...]:
        """The public shape; of experts, of all together."""
        own = tuple(letters[letter] for letter in self.shape.split())
        return (letters["e"], *own) if self.change == "experts" else own


def switched(names: Collection[Named], blocks: int, switches: Collection[str]) -> Iterator[Named]:
    """Every tensor of a model of so many blocks, lazily: a broken count of blocks costs nothing."""
    for name in names:
        if name.when and name.when not in switches:
            continue
        yield from (name.at(block) for block in range(blocks)) if name.in_blocks else (name,)


def _pair(gguf: str, public: str, shape: str, bias: str, change: str = "") -> tuple[Named, Named]:
    """A matrix or a norm, and its bias."""
    plain = change if change != "transposed" else ""
    weight = Named(f"{gguf}.weight", f"{public}.weight", shape, change)
    return weight, Named(f"{gguf}.bias", f"{public}.bias", bias, plain)


_LAYER = "model.layers.{}"
_TRUNK = (
    Named("token_embd.weight", "model.embed_tokens.weight", "v d"),
    Named("output_norm.weight", "model.norm.weight", "d"),
    Named("output.weight", "lm_head.weight", "v d", when="untied"),
    Named("blk.{}.attn_norm.weight", f"{_LAYER}.input_layernorm.weight", "d"),
    Named("blk.{}.attn_v.weight", f"{_LAYER}.self_attn.v_proj.weight", "k d"),
    Named("blk.{}.attn_output.weight", f"{_LAYER}.self_attn.o_proj.weight", "d q"),
    Named("blk.{}.ffn_norm.weight", f"{_LAYER}.post_attention_layernorm.weight", "d"),
)
_TURNED = (
    Named("blk.{}.attn_q.weight", f"{_LAYER}.self_attn.q_proj.weight", "q d", "query"),
    Named("blk.{}.attn_k.weight", f"{_LAYER}.self_attn.k_proj.weight", "k d", "key"),
    Named("blk.{}.attn_q.bias", f"{_LAYER}.self_attn.q_proj.bias", "q", "query", when="bias"),
    Named("blk.{}.attn_k.bias", f"{_LAYER}.self_attn.k_proj.bias", "k", "key", when="bias"),
    Named("blk.{}.attn_v.bias", f"{_LAYER}.self_attn.v_proj.bias", "k", when="bias"),
    Named("blk.{}.attn_output.bias", f"{_LAYER}.self_attn.o_proj.bias", "d", when="bias"),
)
_PLAIN = tuple(
    Named(f"blk.{{}}.attn_{short}.weight", f"{_LAYER}.self_attn.{short}_proj.weight", f"{short} d")
    for short in ("q", "k")
)
_BIASES = tuple(
    Named(f"blk.{{}}.attn_{short}.bias", f"{_LAYER}.self_attn.{short}_proj.bias", size)
    for short, size in (("q", "q"), ("k", "k"), ("v", "k"))
)
_HEAD_NORMS = tuple(
    Named(f"blk.{{}}.attn_{short}_norm.weight", f"{_LAYER}.self_attn.{short}_norm.weight", "h")
    for short in ("q", "k")
)
_GATED = (
    Named("blk.{}.ffn_gate.weight", f"{_LAYER}.mlp.gate_proj.weight", "f d"),
    Named("blk.{}.ffn_up.weight", f"{_LAYER}.mlp.up_proj.weight", "f d"),
    Named("blk.{}.ffn_down.weight", f"{_LAYER}.mlp.down_proj.weight", "d f"),
)
_EXPERT = f"{_LAYER}.mlp.experts.{{}}"
_EXPERTS = (
    Named("blk.{}.ffn_gate_inp.weight", f"{_LAYER}.mlp.gate.weight", "e d"),
    Named("blk.{}.ffn_gate_exps.weight", f"{_EXPERT}.gate_proj.weight", "m d", "experts"),
    Named("blk.{}.ffn_up_exps.weight", f"{_EXPERT}.up_proj.weight", "m d", "experts"),
    Named("blk.{}.ffn_down_exps.weight", f"{_EXPERT}.down_proj.weight", "d m", "experts"),
)
LLAMA = (*_TRUNK, *_TURNED, *_GATED)
QWEN2 = (*_TRUNK, *_PLAIN, *_BIASES, *_GATED)
QWEN3 = (*_TRUNK, *_PLAIN, *_HEAD_NORMS, *_GATED)
QWEN3_MOE = (*_TRUNK, *_PLAIN, *_HEAD_NORMS, *_EXPERTS)

_H = "transformer.h.{}"
GPT2 = (
    Named("token_embd.weight", "transformer.wte.weight", "v d"),
    Named("position_embd.weight", "transformer.wpe.weight", "c d"),
    *_pair("output_norm", "transformer.ln_f", "d", "d"),
    Named("output.weight", "lm_head.weight", "v d", when="untied"),
    *_pair("blk.{}.attn_norm", f"{_H}.ln_1", "d", "d"),
    *_pair("blk.{}.attn_qkv", f"{_H}.attn.c_attn", "d 3", "3", "transposed"),
    *_pair("blk.{}.attn_output", f"{_H}.attn.c_proj", "d d", "d", "transposed"),
    *_pair("blk.{}.ffn_norm", f"{_H}.ln_2", "d", "d"),
    *_pair("blk.{}.ffn_up", f"{_H}.mlp.c_fc", "d f", "f", "transposed"),
    *_pair("blk.{}.ffn_down", f"{_H}.mlp.c_proj", "f d", "d", "transposed"),
)

_BLOCK = "encoder.layer.{}"
BERT = (
    Named("token_embd.weight", "embeddings.word_embeddings.weight", "v d"),
    Named("position_embd.weight", "embeddings.position_embeddings.weight", "c d"),
    Named("token_types.weight", "embeddings.token_type_embeddings.weight", "t d"),
    *_pair("token_embd_norm", "embeddings.LayerNorm", "d", "d"),
    *_pair("blk.{}.attn_q", f"{_BLOCK}.attention.self.query", "d d", "d"),
    *_pair("blk.{}.attn_k", f"{_BLOCK}.attention.self.key", "d d", "d"),
    *_pair("blk.{}.attn_v", f"{_BLOCK}.attention.self.value", "d d", "d"),
    *_pair("blk.{}.attn_output", f"{_BLOCK}.attention.output.dense", "d d", "d"),
    *_pair("blk.{}.attn_output_norm", f"{_BLOCK}.attention.output.LayerNorm", "d", "d"),
    *_pair("blk.{}.ffn_up", f"{_BLOCK}.intermediate.dense", "f d", "f"),
    *_pair("blk.{}.ffn_down", f"{_BLOCK}.output.dense", "d f", "d"),
    *_pair("blk.{}.layer_output_norm", f"{_BLOCK}.output.LayerNorm", "d", "d"),
)

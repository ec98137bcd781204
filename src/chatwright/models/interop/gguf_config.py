"""config.json and the metadata of GGUF, each from the other, for every architecture that both can hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from chatwright.errors import UserError
from chatwright.models.interop import gguf_tensors as tensors
from chatwright.models.interop.gguf_rope import KEYS, read_rope, shortest, write_rope
from chatwright.models.interop.gguf_tensors import Named

_LARGEST = 1 << 31
TOKEN_TYPES = "tokenizer.ggml.token_type_count"


@dataclass(frozen=True)
class Family:
    """An architecture in both formats.

    sizes: what config.json calls a metadata entry. epsilon: both names of what a norm adds. rotary: whether positions
    turn. fixed: metadata that may be there with this value only. only: fields of config.json that may be there with
    these values only. constants: fields that every such config.json has. letters: the sizes that `gguf_tensors` names by
    letters. prefix: what public names may lack. dropped: public tensors that the architecture of GGUF has no place for.
    """

    name: str
    class_name: str
    names: Collection[Named]
    sizes: Mapping[str, str]
    epsilon: tuple[str, str]
    letters: Mapping[str, str]
    rotary: bool = True
    fixed: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    dropped: tuple[str, ...] = ()
    model_type: str = ""

    def size(self, config: Mapping[str, Any], key: str) -> int:
        """The size that metadata call `key`, as config.json has it."""
        return int(config[next(name for name, known in self.sizes.items() if known == key)])


_DECODER = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
}
_MIXED = {
    "moe_intermediate_size": "expert_feed_forward_length",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
}
_RMS = ("rms_norm_eps", "attention.layer_norm_rms_epsilon")
_LETTERS = {"v": "vocab_size", "d": "hidden_size", "f": "intermediate_size", "h": "head_dim"}
_DENSE = {"expert_count": 0, "expert_used_count": 0}
_FULL = {"hidden_act": ("silu",), "use_sliding_window": (False,), "sliding_window": (None,)}
_QWEN = {**_FULL, "attention_bias": (False,)}
_BUFFERS = (r".*\.rotary_emb\.inv_freq",)

LLAMA = Family(
    name="llama",
    class_name="LlamaForCausalLM",
    names=tensors.LLAMA,
    sizes=_DECODER,
    epsilon=_RMS,
    letters=_LETTERS,
    fixed=_DENSE,
    only={**_FULL, "mlp_bias": (False,)},
    constants={"hidden_act": "silu", "mlp_bias": False},
    dropped=_BUFFERS,
)
_QWEN_CONSTANTS = {"hidden_act": "silu", "use_sliding_window": False}
QWEN2 = Family(
    name="qwen2",
    class_name="Qwen2ForCausalLM",
    names=tensors.QWEN2,
    sizes=_DECODER,
    epsilon=_RMS,
    letters=_LETTERS,
    fixed=_DENSE,
    only=_FULL,
    constants=_QWEN_CONSTANTS,
    dropped=_BUFFERS,
)
QWEN3 = Family(
    name="qwen3",
    class_name="Qwen3ForCausalLM",
    names=tensors.QWEN3,
    sizes=_DECODER,
    epsilon=_RMS,
    letters=_LETTERS,
    fixed=_DENSE,
    only=_QWEN,
    constants={**_QWEN_CONSTANTS, "attention_bias": False},
    dropped=_BUFFERS,
)
QWEN3_MOE = Family(
    name="qwen3moe",
    class_name="Qwen3MoeForCausalLM",
    names=tensors.QWEN3_MOE,
    sizes={**_DECODER, **_MIXED},
    epsilon=_RMS,
    letters={**_LETTERS, "m": "moe_intermediate_size", "e": "num_experts"},
    fixed={"expert_shared_count": 0, "expert_weights_norm": True, "expert_gating_func": 1},
    only={**_QWEN, "norm_topk_prob": (True,), "decoder_sparse_step": (1,), "mlp_only_layers": ([], None)},
    constants={
        **_QWEN_CONSTANTS,
        "attention_bias": False,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    dropped=_BUFFERS,
    model_type="qwen3_moe",
)
GPT2 = Family(
    name="gpt2",
    class_name="GPT2LMHeadModel",
    names=tensors.GPT2,
    sizes={
        "n_embd": "embedding_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_inner": "feed_forward_length",
        "n_positions": "context_length",
    },
    epsilon=("layer_norm_epsilon", "attention.layer_norm_epsilon"),
    letters={"v": "vocab_size", "d": "n_embd", "f": "n_inner", "c": "n_positions"},
    rotary=False,
    only={
        "activation_function": ("gelu_new",),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    constants={"activation_function": "gelu_new"},
    prefix="transformer.",
    dropped=(r"transformer\.h\.\d+\.attn\.(masked_)?bias",),
)
BERT = Family(
    name="bert",
    class_name="BertModel",
    names=tensors.BERT,
    sizes={
        "hidden_size": "embedding_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "intermediate_size": "feed_forward_length",
        "max_position_embeddings": "context_length",
    },
    epsilon=("layer_norm_eps", "attention.layer_norm_epsilon"),
    letters={
        "v": "vocab_size",
        "d": "hidden_size",
        "f": "intermediate_size",
        "c": "max_position_embeddings",
        "t": "type_vocab_size",
    },
    rotary=False,
    fixed={"attention.causal": False},
    only={
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    },
    constants={"hidden_act": "gelu", "position_embedding_type": "absolute"},
    dropped=(r"embeddings\.position_ids", r"pooler\..*", r"cls\..*"),
)
FAMILIES = (LLAMA, QWEN2, QWEN3, QWEN3_MOE, GPT2, BERT)
# Metadata of an architecture that changes nothing in what a model computes, or that is read elsewhere.
_HARMLESS = {
    "vocab_size",
    "tensor_data_layout",
    "pooling_type",
    "attention.key_length",
    "attention.value_length",
}


def family_of_gguf(metadata: Mapping[str, Any], place: str) -> Family:
    """The architecture that a file names."""
    if metadata.get("general.type", "model") != "model":
        raise UserError(f"{place} holds no model but {metadata['general.type']!r}")
    if metadata.get("split.count", 1) not in (0, 1):
        raise UserError(
            f"{place} is one of {metadata['split.count']} parts; join them (llama-gguf-split --merge)"
        )
    name = metadata.get("general.architecture")
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UserError(f"{place} holds the architecture {name!r}; supported are {known}")


def family_of_config(config: Mapping[str, Any], place: str) -> Family:
    """The architecture that a config.json names."""
    name = config.get("model_type")
    for family in FAMILIES:
        if (family.model_type or family.name) == name:
            return family
    known = ", ".join(family.model_type or family.name for family in FAMILIES)
    raise UserError(f"{place}: model_type={name!r} has no place in GGUF; supported are {known}")


def read_config(
    family: Family,
    metadata: Mapping[str, Any],
    rows: Mapping[str, tuple[int, ...]],
    factors: Tensor | None,
    place: str,
) -> dict[str, Any]:
    """config.json. rows: the shapes of the file's tensors by name; factors: its `rope_freqs.weight`, if any."""
    prefix = f"{family.name}."
    found = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    _refuse_odd(family, found, place)
    epsilon, key = family.epsilon
    config: dict[str, Any] = {
        "architectures": [family.class_name],
        "model_type": family.model_type or family.name,
        "vocab_size": rows.get("token_embd.weight", (0,))[0],
        **{name: _size(found, key, place) for name, key in _present(family, found)},
        epsilon: _epsilon(found, key, place),
        **family.constants,
        "tie_word_embeddings": "output.weight" not in rows,
        "dtype": "float32",
    }
    if family is LLAMA:
        config["attention_bias"] = "blk.0.attn_q.bias" in rows
    if family is BERT:
        config["type_vocab_size"] = rows.get("token_types.weight", (0,))[0]
    _check_heads(family, config, found, place)
    if family.rotary:
        theta, parameters = read_rope(found, factors, config["head_dim"], place)
        config |= {"rope_theta": theta, "rope_parameters": parameters}
    if family is GPT2 and config["n_inner"] == 4 * config["n_embd"]:
        config["n_inner"] = None
    return config


def _present(family: Family, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sizes to read; what may be left out takes its value from another."""
    stand_ins = {
        "attention.head_count_kv": "attention.head_count",
        "feed_forward_length": "expert_feed_forward_length",
    }
    absent = {old: new for old, new in stand_ins.items() if old not in found and new in family.sizes.values()}
    return [(name, absent.get(key, key)) for name, key in family.sizes.items()]


def _refuse_odd(family: Family, found: Mapping[str, Any], place: str) -> None:
    known = {*family.sizes.values(), family.epsilon[1], *_HARMLESS, *(KEYS if family.rotary else ())}
    for key, value in found.items():
        if key in family.fixed:
            if value != family.fixed[key]:
                wanted = family.fixed[key]
                raise UserError(f"{place} says {family.name}.{key}={value}; only {wanted} is supported")
        elif key not in known:
            raise UserError(f"{place} says {family.name}.{key}, which is not supported")


def _size(found: Mapping[str, Any], key: str, place: str) -> int:
    value = found.get(key)
    if value is None:
        raise UserError(f"{place} does not say its {key}")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < _LARGEST:
        shown = "a list" if isinstance(value, list) else repr(value)
        raise UserError(f"{place} says {key} is {shown}; it must be one positive number")
    return value


def _epsilon(found: Mapping[str, Any], key: str, place: str) -> float:
    value = shortest(found.get(key))
    if not 0 <= value < 1:
        raise UserError(f"{place} says {key} is {found.get(key)}; it must be a small number")
    return value


def _check_heads(family: Family, config: dict[str, Any], found: Mapping[str, Any], place: str) -> None:
    """Set head_dim where an architecture has it; refuse heads that do not divide."""
    width, heads = family.size(config, "embedding_length"), family.size(config, "attention.head_count")
    if not family.rotary:
        if width % heads:
            raise UserError(f"{place}: {heads} heads do not divide a width of {width}")
        return
    keys = config["num_key_value_heads"]
    head_dim = found.get("attention.key_length", width // heads)
    if found.get("attention.value_length", head_dim) != head_dim:
        raise UserError(f"{place}: keys and values of different lengths are not supported")
    if heads % keys or not isinstance(head_dim, int) or head_dim % 2 or not 2 <= head_dim < _LARGEST:
        raise UserError(f"{place}: {heads} heads, {keys} key-value heads and a head of {head_dim} do not fit")
    config["head_dim"] = head_dim


def letters_of(family: Family, config: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that `gguf_tensors` names by letters."""
    letters = {letter: config.get(name) for letter, name in family.letters.items()}
    if family is GPT2:
        letters |= {"f": config.get("n_inner") or 4 * config["n_embd"], "3": 3 * config["n_embd"]}
    if family.rotary:
        letters["q"] = config["num_attention_heads"] * config["head_dim"]
        letters["k"] = config["num_key_value_heads"] * config["head_dim"]
    return {letter: size for letter, size in letters.items() if size is not None}


def heads_of(config: Mapping[str, Any], change: str) -> int:
    """How many heads the rows of a matrix are cut into."""
    return int(config["num_attention_heads" if change == "query" else "num_key_value_heads"])


def completed(family: Family, config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A config.json with what it may leave out; options that GGUF has no place for are refused."""
    for name, allowed in family.only.items():
        if name in config and config[name] not in allowed:
            raise UserError(f"{place}: {name}={config[name]!r} has no place in GGUF; only {allowed[0]!r} has")
    if any(kind != "full_attention" for kind in config.get("layer_types") or ()):
        raise UserError(f"{place}: layer_types other than full_attention have no place in GGUF here")
    full = {key: value for key, value in config.items() if value is not None}
    full.setdefault("tie_word_embeddings", family in (GPT2, BERT))
    if family is GPT2:
        full.setdefault("n_inner", 4 * _size(full, "n_embd", place))
    if "num_local_experts" in full:
        full.setdefault("num_experts", full["num_local_experts"])
    if family.rotary:
        full.setdefault("num_key_value_heads", full.get("num_attention_heads"))
    for name in (*family.sizes, "vocab_size", *(("type_vocab_size",) if family is BERT else ())):
        _size(full, name, place)
    if not isinstance(full.get(family.epsilon[0]), float):
        raise UserError(f"{place} lacks {family.epsilon[0]}")
    if family.rotary:
        full.setdefault("head_dim", full["hidden_size"] // full["num_attention_heads"])
        _size(full, "head_dim", place)
    return full


def write_metadata(
    family: Family, config: Mapping[str, Any], place: str
) -> tuple[dict[str, Any], Tensor | None]:
    """The architecture's metadata of a completed config.json, and its `rope_freqs.weight` where it needs one."""
    metadata: dict[str, Any] = {key: int(config[name]) for name, key in family.sizes.items()}
    epsilon, key = family.epsilon
    metadata[key] = float(config[epsilon])
    metadata["vocab_size"] = int(config["vocab_size"])
    factors = None
    if family.rotary:
        rope, factors = write_rope(config, config["head_dim"], place)
        metadata |= rope
        metadata |= {"attention.key_length": config["head_dim"], "attention.value_length": config["head_dim"]}
    named = {f"{family.name}.{key}": value for key, value in metadata.items()}
    if family is BERT:
        named |= {f"{family.name}.attention.causal": False, TOKEN_TYPES: int(config["type_vocab_size"])}
    return named, factors

"""How positions are stretched, in config.json and in GGUF: linear, YaRN (Peng et al. 2023), and Llama 3's factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chatwright.errors import UserError

FREQUENCIES = "rope_freqs.weight"
_DEFAULT_THETA = 10_000.0
_SUPPORTED = "default, linear, yarn and llama3"
# What only has one meaning in both formats; another value is refused.
_NEUTRAL = {
    "rope.scaling.attn_factor": 1.0,
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
}
KEYS = (
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    *_NEUTRAL,
)
_OLD_CONTEXT = 8192  # of every Llama 3


def read_rope(
    found: Mapping[str, Any], factors: Tensor | None, head_dim: int, place: str
) -> tuple[float, dict[str, Any]]:
    """theta and `rope_parameters` of config.json.

    found: the architecture's metadata without its prefix. factors: `rope_freqs.weight` [head_dim / 2] where the file has
    one; each divides the frequency of one pair.
    """
    if found.get("rope.dimension_count", head_dim) != head_dim:
        turned = found["rope.dimension_count"]
        raise UserError(f"{place} turns {turned} of {head_dim} positions of a head; all must turn")
    for key, value in _NEUTRAL.items():
        if found.get(key, value) != value:
            raise UserError(f"{place} says {key}={found[key]}; only {value} is supported")
    theta = shortest(found.get("rope.freq_base", _DEFAULT_THETA))
    if not 0 < theta < math.inf:
        raise UserError(f"{place} says rope.freq_base={theta}; it must be a positive number")
    kind, factor = found.get("rope.scaling.type"), shortest(found.get("rope.scaling.factor", 0.0))
    linear = shortest(found.get("rope.scale_linear", 1.0))
    if kind is None and linear not in (0.0, 1.0):
        kind, factor = "linear", linear
    scaling = _scaling(kind, factor, found, place)
    if factors is not None and not bool((factors == 1).all()):
        if scaling:
            raise UserError(f"{place} has {FREQUENCIES} and rope.scaling.type={kind}; only one is supported")
        scaling = _llama3(factors.flatten().double().numpy(), theta, head_dim, found, place)
    return theta, {"rope_type": "default", **scaling, "rope_theta": theta}


def _scaling(kind: Any, factor: float, found: Mapping[str, Any], place: str) -> dict[str, Any]:
    if kind in (None, "none") or (kind == "linear" and factor in (0.0, 1.0)):
        return {}
    if kind not in ("linear", "yarn"):
        raise UserError(f"{place} says rope.scaling.type={kind!r}; {_SUPPORTED} are supported")
    if not 0 < factor < math.inf:
        raise UserError(f"{place} says rope.scaling.factor={factor}; it must be a positive number")
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    original = found.get("rope.scaling.original_context_length")
    if not isinstance(original, int) or original < 1:
        raise UserError(f"{place} says yarn without rope.scaling.original_context_length")
    return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}


def llama3_factors(theta: float, head_dim: int, scaling: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """What Llama 3 divides the frequency of each pair by, float64[head_dim / 2].

    Short waves stay, long ones are stretched by `factor`, those between are blended.
    """
    turns = _turns(theta, head_dim) * scaling["original_max_position_embeddings"]
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1.0 - kept) / factor + kept))


def _turns(theta: float, head_dim: int) -> np.ndarray[Any, Any]:
    """Full turns of each pair in one position."""
    return np.asarray(theta ** -(np.arange(0, head_dim, 2) / head_dim) / (2 * math.pi))


def _llama3(
    factors: np.ndarray[Any, Any], theta: float, head_dim: int, found: Mapping[str, Any], place: str
) -> dict[str, Any]:
    """The four numbers that give these factors: those that every Llama 3 has, or what fits the blended pairs."""
    refused = UserError(f"{place}: {FREQUENCIES} are not Llama 3's factors; {_SUPPORTED} are supported")
    if factors.shape != (head_dim // 2,) or not np.isfinite(factors).all() or factors.min() < 1:
        raise refused
    old = found.get("rope.scaling.original_context_length", _OLD_CONTEXT)
    stretch = shortest(factors.max())
    candidates = [(1.0, 4.0, old)]
    kept = (1 / factors - 1 / stretch) / (1 - 1 / stretch)
    blended = (kept > 1e-4) & (kept < 1 - 1e-4)
    if blended.sum() >= 2:
        # kept = turns * old / (high - low) - low / (high - low): a line, of which low = 1 fixes the scale
        slope, offset = np.polyfit(_turns(theta, head_dim)[blended], kept[blended], 1)
        if slope > 0 and offset < 0:
            candidates.append((1.0, round(1 - 1 / offset, 3), round(-slope / offset)))
    for low, high, context in candidates:
        scaling = {
            "rope_type": "llama3",
            "factor": stretch,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": context,
        }
        if np.allclose(llama3_factors(theta, head_dim, scaling), factors, rtol=1e-4):
            return scaling
    raise refused


_ORIGINAL = "original_max_position_embeddings"
_PARAMETERS: dict[str, set[str]] = {
    "default": set(),
    "linear": {"factor"},
    "yarn": {"factor", _ORIGINAL},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", _ORIGINAL},
}


def write_rope(config: Mapping[str, Any], head_dim: int, place: str) -> tuple[dict[str, Any], Tensor | None]:
    """The metadata, without the architecture's prefix, and Llama 3's `rope_freqs.weight` where it is needed."""
    theta, kind, given = _given(config, place)
    metadata: dict[str, Any] = {"rope.dimension_count": head_dim, "rope.freq_base": theta}
    if kind in ("linear", "yarn"):
        metadata |= {"rope.scaling.type": kind, "rope.scaling.factor": float(given["factor"])}
    if _ORIGINAL in given:
        metadata["rope.scaling.original_context_length"] = int(given[_ORIGINAL])
    if kind != "llama3":
        return metadata, None
    if not 0 < given["low_freq_factor"] < given["high_freq_factor"]:
        raise UserError(f"{place}: low_freq_factor must be below high_freq_factor")
    return metadata, torch.from_numpy(llama3_factors(theta, head_dim, given)).float()


def _given(config: Mapping[str, Any], place: str) -> tuple[float, str, dict[str, Any]]:
    """theta, the kind of scaling and its parameters, as old and new config.json spell them."""
    stated = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    theta = stated.pop("rope_theta", None) or config.get("rope_theta") or _DEFAULT_THETA
    old = stated.pop("type", None)
    kind = stated.pop("rope_type", None) or old or "default"
    if kind not in _PARAMETERS:
        raise UserError(f"{place}: rope_type={kind!r} has no place in GGUF; {_SUPPORTED} are supported")
    # what is stated at its default value needs no place
    usual = {"beta_fast": 32, "beta_slow": 1, "attention_factor": None}
    given = {key: value for key, value in stated.items() if key not in usual or value != usual[key]}
    if given.keys() != _PARAMETERS[kind]:
        odd, wanted = sorted(given.keys() ^ _PARAMETERS[kind]), sorted(_PARAMETERS[kind])
        raise UserError(f"{place}: the rope_parameters of {kind} are {wanted}; mend {odd}")
    for key, value in {"rope_theta": theta, **given}.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"{place}: {key}={value!r} is not a positive number")
    return float(theta), kind, given


def shortest(value: Any) -> float:
    """The shortest decimal that is this float32, so that 1e-05 does not become 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, int | float | np.floating) else math.nan

"""Byte pairs merged by tiktoken, where that provably gives the ids that `tokenizers` gives.

tiktoken merges two neighbours whenever their joint bytes are a token; `tokenizers` merges them when the pair
stands in its list of merges. Both agree on every text if each token's own bytes, merged with lower ranks
only, end as exactly the pair that makes it: what happens inside a stretch of bytes depends on nothing outside
until a merge crosses its border, so by induction over the ranks no other pair of neighbours ever spells that
token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from chatwright.tokenization.bytelevel import bytes_of

if TYPE_CHECKING:
    import tiktoken

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def is_byte_level(spec: Mapping[str, Any]) -> bool:
    """Whether `tokenizer.json` describes a vocabulary of byte strings."""
    return (spec.get("decoder") or {}).get("type") == "ByteLevel"


def pattern_of(spec: Mapping[str, Any]) -> str | None:
    """The pattern that cuts the text, if cutting and taking bytes is all that happens before the merges of pairs."""
    is_merged = spec["model"].get("type", "BPE") == "BPE"
    if not is_merged or not is_byte_level(spec) or spec.get("normalizer") is not None:
        return None
    cutter = spec.get("pre_tokenizer") or {}
    steps = cutter["pretokenizers"] if cutter.get("type") == "Sequence" else [cutter]
    if any(step.get("add_prefix_space") for step in steps):
        return None
    match [step.get("type") for step in steps]:
        case ["ByteLevel"] if steps[0].get("use_regex", True):
            return GPT2_PATTERN
        case ["Split", "ByteLevel"] if not steps[1].get("use_regex", True):
            split = steps[0]
            if split["behavior"] == "Isolated" and not split.get("invert"):
                pattern = split["pattern"].get("Regex")
                return pattern if isinstance(pattern, str) else None
    return None


def build_encoding(spec: Mapping[str, Any]) -> tiktoken.Encoding | None:
    """tiktoken's encoder for a parsed `tokenizer.json`, or None when equal ids cannot be proved."""
    pattern = pattern_of(spec)
    plain_added = any(not token["special"] for token in spec.get("added_tokens", ()))
    if pattern is None or plain_added:
        return None
    model = spec["model"]
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "fuse_unk")
    if any(model.get(name) for name in odd):
        return None
    special = {token["content"] for token in spec.get("added_tokens", ())}
    ranks: dict[bytes, int] = {}
    for token, index in model["vocab"].items():
        spelled = bytes_of(token)
        if token in special and index >= len(model["merges"]) + 256:
            continue
        if spelled is None or spelled in ranks:
            return None
        ranks[spelled] = index
    merges = [_pair(merge) for merge in model["merges"]]
    if not ranks_follow_merges(ranks, merges):
        return None
    import tiktoken

    return tiktoken.Encoding("chatwright", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _pair(merge: str | Sequence[str]) -> tuple[bytes, bytes]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return bytes_of(left) or b"", bytes_of(right) or b""


def ranks_follow_merges(ranks: Mapping[bytes, int], merges: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether merging by the rank of the joint bytes gives, on every text, what merging by the list gives."""
    if any(bytes([byte]) not in ranks for byte in range(256)):
        return False
    made: set[bytes] = set()
    last = max(ranks[bytes([byte])] for byte in range(256))
    for left, right in merges:
        token = left + right
        if token in made:
            continue
        rank = ranks.get(token, -1)
        if rank <= last or merged_below(token, ranks, rank) != [left, right]:
            return False
        last = rank
        made.add(token)
    return len(ranks) == 256 + len(made)


def merged_below(text: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """`text` merged, lowest rank and leftmost first, into tokens of a rank below `limit`."""
    parts = [text[index : index + 1] for index in range(len(text))]
    while len(parts) > 1:
        joint = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        lowest = min(joint)
        if lowest >= limit:
            break
        at = joint.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts

"""The control tokens of every tokenizer of ours, and the pattern that cuts text before bytes are merged."""

from __future__ import annotations

ENDOFTEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
PAD = "<|pad|>"
MASK = "<|mask|>"
CLS = "<|cls|>"
SEP = "<|sep|>"

SPARE_COUNT = 128
SPECIAL_TOKENS: tuple[str, ...] = (
    ENDOFTEXT,
    IM_START,
    IM_END,
    PAD,
    MASK,
    CLS,
    SEP,
    *(f"<|spare_{index}|>" for index in range(SPARE_COUNT)),
)

ROLES: tuple[str, ...] = ("system", "user", "assistant")

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

"""Log-probabilities as OpenAI writes them, for chats and for completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatwright.serving.replies import Scored
from chatwright.tokenization.tokenizer import Tokenizer

# JSON has no infinity; this is what OpenAI gives for "never".
_NEVER = -9999.0


def chat_scores(scores: Sequence[Scored], tokenizer: Tokenizer) -> dict[str, Any]:
    """`logprobs` of a choice of a chat."""
    content = [
        {
            **_token(scored.token, scored.logprob, tokenizer),
            "top_logprobs": [_token(token, logprob, tokenizer) for token, logprob in scored.top],
        }
        for scored in scores
    ]
    return {"content": content, "refusal": None}


def completion_scores(scores: Sequence[Scored], tokenizer: Tokenizer) -> dict[str, list[Any]]:
    """`logprobs` of a choice of a completion."""
    return {
        "tokens": [_text(scored.token, tokenizer) for scored in scores],
        "token_logprobs": [_finite(scored.logprob) for scored in scores],
        "top_logprobs": [
            {_text(token, tokenizer): _finite(logprob) for token, logprob in scored.top} for scored in scores
        ],
        "text_offset": [scored.start for scored in scores],
    }


def _token(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    spelled = tokenizer.decode_bytes([token], skip_special=False)
    return {
        "token": spelled.decode("utf-8", "replace"),
        "logprob": _finite(logprob),
        "bytes": list(spelled),
    }


def _text(token: int, tokenizer: Tokenizer) -> str:
    """A token's text; a part of a character is told by its bytes, as OpenAI tells it."""
    spelled = tokenizer.decode_bytes([token], skip_special=False)
    try:
        return spelled.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelled)


def _finite(logprob: float) -> float:
    return max(logprob, _NEVER)

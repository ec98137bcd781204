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


def completion_scores(
    scores: Sequence[Scored], tokenizer: Tokenizer, offset: int
) -> tuple[dict[str, Any], int]:
    """`logprobs` of a choice of a completion whose text so far has `offset` characters; and the next offset."""
    found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for scored in scores:
        word = _text(scored.token, tokenizer)
        found["tokens"].append(word)
        found["token_logprobs"].append(_finite(scored.logprob))
        found["top_logprobs"].append(
            {_text(token, tokenizer): _finite(logprob) for token, logprob in scored.top}
        )
        found["text_offset"].append(offset)
        offset += len(word)
    return found, offset


def _token(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    spelled = tokenizer.decode_bytes([token], skip_special=False)
    return {
        "token": spelled.decode("utf-8", "replace"),
        "logprob": _finite(logprob),
        "bytes": list(spelled),
    }


def _text(token: int, tokenizer: Tokenizer) -> str:
    return tokenizer.decode_bytes([token], skip_special=False).decode("utf-8", "replace")


def _finite(logprob: float) -> float:
    return max(logprob, _NEVER)

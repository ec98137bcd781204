"""From the parameters of a request to what the engine is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request

from chatwright.errors import UserError
from chatwright.generation.continuous.contract import Ask, Client, Constraint
from chatwright.generation.sampling import SamplingOptions
from chatwright.serving.engines.contract import Ability
from chatwright.serving.errors import ApiError
from chatwright.serving.models import Writer
from chatwright.serving.options import ServerOptions

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_LEAST_TOP_P = 1e-9
# What needs an engine that can.
_NEEDS: dict[str, Ability] = {
    "logprobs": "logprobs",
    "presence_penalty": "penalties",
    "frequency_penalty": "penalties",
    "logit_bias": "bias",
}


class Asked(Protocol):
    """What a route makes of a request before the engine hears of it."""

    @property
    def asks(self) -> list[Ask]: ...


@dataclass(frozen=True)
class Scores:
    """Which log-probabilities are asked for."""

    wanted: bool = False
    top: int = 0


def asks_of(
    body: Mapping[str, Any],
    writer: Writer,
    prompts: Sequence[Sequence[int]],
    options: ServerOptions,
    scores: Scores,
    constraint: Any = None,
    client: Client = Client(),
) -> list[Ask]:
    """One ask for each prompt and each of its `n` replies. `constraint()` makes a new constraint; those who wait take
    turns by `client`."""
    for name, ability in _NEEDS.items():
        if body.get(name) and ability not in writer.engine.abilities:
            raise ApiError(400, f"this server's engine has no {name}", name, "unsupported_parameter")
    if constraint is not None and "constraint" not in writer.engine.abilities:
        raise ApiError(
            400,
            "this server's engine cannot hold replies to a grammar",
            "response_format",
            "unsupported_parameter",
        )
    count = len(prompts) * (body.get("n") or 1)
    if count > writer.engine.most:
        message = (
            f"prompts times n is {count} and the server takes {writer.engine.most} at once; ask for fewer"
        )
        raise ApiError(400, message, "n", "invalid_value")
    asks = []
    for place, prompt in enumerate(prompts):
        sampling = sampling_of(body, room_of(body, prompt, writer.engine.context, options))
        for number in range(body.get("n") or 1):
            made: Constraint | None = None if constraint is None else constraint()
            asks.append(
                Ask(
                    prompt=prompt,
                    sampling=sampling,
                    vocabulary=writer.vocabulary,
                    logprobs=scores.wanted,
                    top_logprobs=scores.top,
                    constraint=made,
                    row=place * (body.get("n") or 1) + number,
                    presence_penalty=body.get("presence_penalty") or 0.0,
                    frequency_penalty=body.get("frequency_penalty") or 0.0,
                    logit_bias=bias_of(body, writer.engine.vocab_size),
                    client=client,
                )
            )
    return asks


def client_of(request: Request, body: Mapping[str, Any]) -> Client:
    """Who asks: the address, and the user whom an application at that address names."""
    host = request.client.host if request.client is not None else ""
    return Client(host, str(body.get("safety_identifier") or body.get("user") or ""))


def check_size(texts: Iterable[str], name: str, writer: Writer) -> None:
    """Refuse, before it is made into tokens, what is longer than any text that fits the context."""
    context, longest = writer.engine.context, int(writer.tokenizer.token_bytes.max())
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    # twice: there are tokenizers that read less than what stands there
    if size > 2 * longest * context:
        message = f"the prompt has {size:,} bytes, too many for the model's context of {context:,} tokens; shorten it"
        raise ApiError(400, message, name, "context_length_exceeded")


def room_of(body: Mapping[str, Any], prompt: Sequence[int], context: int, options: ServerOptions) -> int:
    """How many tokens the reply may have; a prompt that fills the context and a wish above the limit are refused."""
    if len(prompt) >= context:
        message = f"the prompt has {len(prompt):,} tokens and the model's context is {context:,}; shorten it"
        raise ApiError(
            400, message, "messages" if "messages" in body else "prompt", "context_length_exceeded"
        )
    name = "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    room = context - len(prompt)
    return min(room, wanted_tokens(body, options, name) or room)


def wanted_tokens(body: Mapping[str, Any], options: ServerOptions, name: str = "max_tokens") -> int | None:
    """How many tokens a reply may have by the request, else by the server; a wish above the server's is refused."""
    wanted, most = body.get(name), options.max_tokens
    if most is not None and wanted is not None and wanted > most:
        raise ApiError(400, f"{name}={wanted} is more than this server's {most:,}", name, "invalid_value")
    return wanted or most


def sampling_of(body: Mapping[str, Any], room: int) -> SamplingOptions:
    """The request's sampling, with this project's defaults for what it does not say."""
    chosen = {name: body[name] for name in _SAMPLING if body.get(name) is not None}
    if "top_p" in chosen:
        chosen["top_p"] = max(chosen["top_p"], _LEAST_TOP_P)
    seed = body.get("seed")
    # clients may send what is negative; each seed still has its own text
    chosen["seed"] = None if seed is None else seed % 2**64
    try:
        return SamplingOptions(max_new_tokens=room, **chosen)
    except UserError as error:
        name = str(error).partition("=")[0]
        raise ApiError(400, str(error), name, "invalid_value") from None


def stops_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The stop strings."""
    stop = body.get("stop") or ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def check_tokens(rows: Sequence[Sequence[int]], vocab_size: int, name: str) -> None:
    """Refuse a token that the vocabulary does not have; `name` is the parameter that holds it."""
    for row in rows:
        for token in row:
            if token >= vocab_size:
                message = f"{name} holds the token {token} and the vocabulary has {vocab_size:,}"
                raise ApiError(400, message, name, "invalid_value")


def bias_of(body: Mapping[str, Any], vocab_size: int) -> dict[int, float]:
    """What is added to logits, by token."""
    bias = {int(token): float(value) for token, value in (body.get("logit_bias") or {}).items()}
    for token in bias:
        if token >= vocab_size:
            message = f"logit_bias names the token {token} and the vocabulary has {vocab_size:,}"
            raise ApiError(400, message, "logit_bias", "invalid_value")
    return bias

"""What the routes of votes take, as JSON schemas, and the conversation in a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatwright.data.formats import FORMATS, SkipRow
from chatwright.errors import UserError
from chatwright.serving import schema as s
from chatwright.serving.errors import ApiError
from chatwright.serving.openai.messages import plain_messages
from chatwright.serving.schema import MESSAGE, Body, Schema, group, listed, maybe, number, text, whole

_LONGEST, _REASON, _NAME, _MOST_RANKED = 200_000, 4000, 80, 64
_MESSAGES = listed(MESSAGE, 1, s.MOST_MESSAGES)
_WHO: dict[str, Schema] = {"name": maybe(text(0, _NAME)), "reason": maybe(text(0, _REASON))}
_SAMPLING: Schema = {
    "type": "object",
    "maxProperties": 20,
    "propertyNames": {"pattern": "^[a-z_]{1,40}$"},
    "additionalProperties": {
        "anyOf": [number(-(2.0**63), 2.0**63), {"type": "boolean"}, {"type": "null"}, text(0, 100)]
    },
}

VOTE = Body(
    group(
        {
            "model": text(1, 300),
            "messages": _MESSAGES,
            "reply": text(1, _LONGEST),
            "value": {"enum": [1, -1]},
            "better": maybe(text(0, _LONGEST)),
            "id": maybe(whole(1, 2**31 - 1)),
            "sampling": maybe(_SAMPLING),
            **_WHO,
        },
        ("model", "messages", "reply", "value"),
    )
)
BATTLE = Body(group({"messages": _MESSAGES, "models": maybe(listed(text(1, 300), 1, 2))}, ("messages",)))
SIDE = Body(
    group(
        {
            "messages": maybe(_MESSAGES),
            "model": maybe(text(0, 300)),
            "stream": maybe({"const": True}),
            "documents": maybe({"type": "boolean"}),
            **{name: schema for name, schema in s.SAMPLING.items() if name != "n"},
        }
    )
)
DECISION = Body(group({"winner": {"enum": ["a", "b", "tie", "both_bad"]}, **_WHO}, ("winner",)))
RANKING = Body(
    group(
        {"ranking": listed(listed(whole(0, _MOST_RANKED), 1, _MOST_RANKED), 0, _MOST_RANKED), **_WHO},
        ("ranking",),
    )
)


def conversation(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The messages as training reads them: roles and texts. Refused where nobody asks for a reply."""
    try:
        turns = FORMATS["messages"].messages({"messages": plain_messages(messages)})
    except (UserError, SkipRow) as error:
        raise ApiError(400, str(error), "messages", "invalid_value") from None
    if turns[-1].role == "assistant" or not any(t.role == "user" and t.content.strip() for t in turns):
        message = "the messages should hold words of a user and end before the reply"
        raise ApiError(400, message, "messages", "invalid_value")
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def name_of(body: Mapping[str, Any]) -> str:
    """The voter's name, in one line of what can be printed; empty where there is none."""
    name = "".join(sign if sign.isprintable() else " " for sign in body.get("name") or "")
    return " ".join(name.split())


def ranks(ranking: Sequence[Sequence[int]], count: int) -> list[int]:
    """`[[0], [2, 1]]`, from best to worst, as a rank for each of `count` replies; none for an empty ranking."""
    if not ranking:
        return []
    if sorted(place for group in ranking for place in group) != list(range(count)):
        message = (
            f"ranking should name each of the replies 0 to {count - 1} once; send [] to leave it undecided"
        )
        raise ApiError(400, message, "ranking", "invalid_value")
    rank = {place: rank for rank, group in enumerate(ranking) for place in group}
    return [rank[place] for place in range(count)]

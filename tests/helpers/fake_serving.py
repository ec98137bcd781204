"""A small server that speaks the routes the page uses, deterministic and without a model.

What it answers hangs on what is asked: `slow` writes for seconds, `inject` writes what would act if it were HTML, `rich`
writes Markdown, `cite` brings citations, `busy` refuses, `full` is too long for the context, `break` fails in
the middle. Everything else is answered in
the language it was asked in. Bytes are sent in pieces that cut characters in two.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chatwright.serving.web.static import web_routes

INJECTION = (
    '<img src=x onerror="alert(1)"> </script><script>alert(2)</script> [click](javascript:alert(3)) '
    "![spy](http://evil.example/spy.png) <b>bold</b> [site](http://evil.example/page)\n\n"
    '<iframe src="http://evil.example/frame"></iframe>\n\n<style>body{display:none}</style>\n\n'
    "```<img/onerror=alert(4)>\ncode\n```\n\n$\\href{javascript:alert(5)}{x}$ $\\includegraphics{http://evil.example/i.png}$"
)
RICH = """### Attention in one page

Attention lets every word look at **all the others** and take from each as much as it needs:

$$\\operatorname{Attention}(Q, K, V) = \\operatorname{softmax}\\!\\left(\\frac{QK^\\top}{\\sqrt{d_k}}\\right)V$$

where $d_k$ is the width of a head. In Python:

```python
def attention(q, k, v):
    \"\"\"Softmax of the scaled products, over the values.\"\"\"
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(-1) @ v  # [T, D]
```

| heads | width | parameters |
|:------|:-----:|-----------:|
| 4     | 64    | 65,536     |
| 8     | 64    | 131,072    |

- It costs $O(n^2)$ in the length.
- A cache of keys and values makes decoding cheap.
"""
ENGLISH = (
    "A lighthouse stood on a rock. **Every night** it counted the ships, and every morning it forgot them."
)
CHINESE = "灯塔立在礁石上。每天夜里，它**数着**来往的船只；每天清晨，又把它们忘记。"
SLOW = [f"word{place} " for place in range(400)]
CITATIONS = [
    {
        "number": 1,
        "id": 11,
        "title": "The lamp",
        "text": "The lamp is lit at dusk. <b>Always.</b>",
        "source": "docs/lamp.md",
    },
    {"number": 2, "id": 12, "title": "log.txt", "text": "Fog on the third of May.", "source": "log.txt"},
]
MODELS = [
    {"id": "aligned", "abilities": ["chat", "completion", "embedding"], "context": 2048},
    {"id": "supervised", "abilities": ["chat", "completion"], "context": 2048},
    {"id": "translator", "abilities": ["translation"], "context": 512},
]


Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Fake:
    """The server's state, which tests read and set."""

    address: str = ""
    key: str | None = None
    models: list[dict[str, Any]] = field(default_factory=lambda: [dict(model) for model in MODELS])
    votes: bool = True
    labelling: bool = True
    state: str = "ready"
    tasks: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    rankings: list[dict[str, Any]] = field(default_factory=list)
    sides: dict[str, str] = field(default_factory=lambda: {"a": "aligned", "b": "supervised"})
    pause: float = 0.004
    left: int = 0
    streams: int = 0

    def reset(self) -> None:
        fresh = Fake(address=self.address)
        fresh.tasks = [
            {
                "id": 1,
                "prompt": "Why is the sky blue?",
                "replies": ["It scatters blue.", "Because.", "<img src=x onerror=alert(6)>"],
            },
            {"id": 2, "prompt": "你好", "replies": ["你好！", "再见。"]},
        ]
        self.__dict__.update(fresh.__dict__)


def reply_to(text: str, fake: Fake) -> list[str]:
    """The pieces of the reply."""
    if "slow" in text:
        return SLOW
    if "inject" in text:
        return [INJECTION[place : place + 7] for place in range(0, len(INJECTION), 7)]
    if "rich" in text or "attention" in text:
        return [RICH[place : place + 9] for place in range(0, len(RICH), 9)]
    if "cite" in text:
        return ["The lamp is lit at dusk [1]", ", and fog came in May [2]. ", "Not a source: [7]."]
    if "think" in text:
        return ["<think>Let me ", "see.</think>", "Here it is."]
    whole = CHINESE if any("\u4e00" <= letter <= "\u9fff" for letter in text) else ENGLISH
    asked = sum(text == each for each in (seen["last"] for seen in fake.asked))
    return [
        *(whole[place : place + 3] for place in range(0, len(whole), 3)),
        *([f" ({asked})"] if asked > 1 else []),
    ]


def _event(value: Any) -> bytes:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {said}\n\n".encode()


async def _chunks(
    fake: Fake, pieces: list[str], model: str, is_chat: bool, last: str
) -> AsyncIterator[bytes]:
    base = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model}

    def chunk(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = (
            {"index": 0, "delta": {"content": text} if text is not None else {}}
            if is_chat
            else {"index": 0, "text": text or ""}
        )
        return {**base, "choices": [{**choice, "finish_reason": finish}], **more}

    fake.streams += 1
    try:
        yield b": keep-alive\n\n"
        if is_chat:
            yield _event(
                {
                    **base,
                    "choices": [
                        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
                    ],
                }
            )
        for place, piece in enumerate(pieces):
            await asyncio.sleep(0.02 if pieces is SLOW else fake.pause)
            if "break" in last and place == 4:
                yield _event({"error": {"message": "the engine stopped", "type": "server_error"}})
                return
            event = _event(chunk(piece))
            # in the middle of a character, where there is one of more than one byte
            cut = next((at + 1 for at, byte in enumerate(event) if byte >= 0xC0), len(event) // 2)
            yield event[:cut]
            # long enough that the halves travel apart
            await asyncio.sleep(0.001)
            yield event[cut:]
        more = {"citations": CITATIONS} if "cite" in last else {}
        yield _event(chunk(None, "length" if "long" in last else "stop", **more))
        yield _event(
            {
                **base,
                "choices": [],
                "usage": {
                    "prompt_tokens": 5,
                    "completion_tokens": len(pieces),
                    "total_tokens": 5 + len(pieces),
                },
            }
        )
        yield _event("[DONE]")
    except asyncio.CancelledError:
        fake.left += 1
        raise
    finally:
        fake.streams -= 1


def _refusal(status: int, message: str, code: str | None = None, **headers: str) -> JSONResponse:
    return JSONResponse(
        {"error": {"message": message, "type": "error", "param": None, "code": code}}, status, headers
    )


def _too_long() -> JSONResponse:
    message = "the prompt has 2,100 tokens and the model's context is 2,048; shorten it"
    return _refusal(400, message, "context_length_exceeded")


class _Desk:
    """The answers of the routes, over the state."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def guarded(self, answer: Answer) -> Answer:
        async def guard(request: Request) -> Response:
            key = self._fake.key
            if key is not None and request.headers.get("authorization") != f"Bearer {key}":
                return _refusal(401, "the key is missing or wrong")
            return await answer(request)

        return guard

    def loaded(self, answer: Answer) -> Answer:
        async def wait(request: Request) -> Response:
            if self._fake.state != "ready":
                return _refusal(503, "the model is still being loaded", "unavailable", **{"Retry-After": "5"})
            return await answer(request)

        return wait

    async def ready(self, request: Request) -> Response:
        state = self._fake.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    async def info(self, request: Request) -> Response:
        fake = self._fake
        models = [
            {**model, "context": model.get("context") if fake.state == "ready" else None}
            for model in fake.models
        ]
        told = {"status": fake.state, "models": models, "votes": fake.votes, "labelling": fake.labelling}
        return JSONResponse({**told, "documents": True, "max_tokens": 1024})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        last = body["messages"][-1]["content"]
        self._fake.asked.append({"path": request.url.path, "last": last, **body})
        if "busy" in last:
            return _refusal(429, "the queue is full", **{"Retry-After": "7"})
        if "full" in last:
            return _too_long()
        model = request.path_params.get("side", body.get("model", ""))
        pieces = reply_to(last, self._fake)
        if model == "b" and pieces is not SLOW:
            pieces = [*pieces, " From", " b."]
        return self._stream(pieces, model, True, last)

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self._fake.asked.append({"path": request.url.path, "last": body["prompt"], **body})
        if "full" in body["prompt"]:
            return _too_long()
        plain = [" there", " was", " a lamp", " <b>", "。"]
        pieces = SLOW if "slow" in body["prompt"] else [INJECTION] if "inject" in body["prompt"] else plain
        return self._stream(pieces, body["model"], False, "")

    def _stream(self, pieces: list[str], model: str, is_chat: bool, last: str) -> Response:
        chunks = _chunks(self._fake, pieces, model, is_chat, last)
        return StreamingResponse(chunks, media_type="text/event-stream")

    async def translate(self, request: Request) -> Response:
        body = await request.json()
        self._fake.asked.append({"path": request.url.path, "last": body["text"], **body})
        return JSONResponse({"model": body["model"], "translations": [f"译文：{body['text']}"]})

    async def vote(self, request: Request) -> Response:
        body = await request.json()
        kept = self._fake.kept
        if "id" not in body:
            kept.append({**body, "id": len(kept) + 1})
            return JSONResponse({"id": len(kept)})
        known = [each for each in kept if each["id"] == body["id"]]
        if not known:
            return _refusal(404, "there is no such vote")
        known[0].clear()
        known[0].update(body)
        return JSONResponse({"id": body["id"]})

    async def arena(self, request: Request) -> Response:
        self._fake.asked.append({"path": request.url.path, "last": "", **await request.json()})
        return JSONResponse({"id": "r1"})

    async def verdict(self, request: Request) -> Response:
        self._fake.verdicts.append(await request.json())
        return JSONResponse(
            {**self._fake.sides, "sampling": {"a": {"temperature": 0.3}, "b": {"temperature": 1.0}}}
        )

    async def task(self, request: Request) -> Response:
        done, left = len(self._fake.rankings), self._fake.tasks
        counts = {"done": done, "total": done + len(left)}
        if not left:
            return JSONResponse(counts)
        messages = [{"role": "user", "content": left[0]["prompt"]}]
        return JSONResponse({**left[0], "messages": messages, **counts})

    async def ranked(self, request: Request) -> Response:
        self._fake.rankings.append({"id": request.path_params["id"], **await request.json()})
        self._fake.tasks.pop(0)
        return JSONResponse({"id": 1})

    async def passage(self, request: Request) -> Response:
        found = next(each for each in CITATIONS if each["id"] == request.path_params["id"])
        return JSONResponse(
            {**found, "before": None, "after": {"id": 13, "text": "<i>And then</i> the dawn."}}
        )

    def routes(self) -> list[Route]:
        get = {
            "/ready": self.ready,
            "/api/info": self.info,
            "/api/labelling": self.task,
            "/api/documents/{id:int}": self.passage,
        }
        post = {
            "/v1/chat/completions": self.loaded(self.chat),
            "/v1/completions": self.loaded(self.complete),
            "/api/translate": self.loaded(self.translate),
            "/api/votes": self.vote,
            "/api/arena": self.arena,
            "/api/arena/{id}/{side}/chat": self.chat,
            "/api/arena/{id}/vote": self.verdict,
            "/api/labelling/{id}": self.ranked,
        }
        return [
            *web_routes(),
            *(Route(path, self.guarded(answer)) for path, answer in get.items()),
            *(Route(path, self.guarded(answer), methods=["POST"]) for path, answer in post.items()),
        ]


@contextmanager
def fake_server() -> Iterator[Fake]:
    """The server on a free port of this machine, in a thread of its own."""
    fake = Fake()
    fake.reset()
    app = Starlette(routes=_Desk(fake).routes())
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    fake.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join(5)

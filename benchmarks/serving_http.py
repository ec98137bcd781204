"""The server under a crowd: clients that come, stream, and of which a third leave in the middle.

    python benchmarks/serving_http.py [--clients 64] [--seconds 300] [--model qwen3-5m] [--weights int8] [--slots 8]

A model with random weights is served by `chatwright serve` in a process of its own. First every prompt is asked alone,
greedily; then all clients ask at once, again and again, whole and streamed, and a third of the requests is broken off at a
moment drawn at random. Prints one JSON object: how many replies were whole and equal to the one given alone, how many were
refused with 429, what else went wrong (nothing may), what the server still held at the end (nothing may), its memory in the
first and in the last third, the time to the first token, tokens a second, and the same of one stream and of eight alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROMPTS, REPLY_TOKENS, LEAVING = 32, 48, 1 / 3


@dataclass
class Seen:
    """What the clients saw."""

    equal: int = 0
    different: list[str] = field(default_factory=list)
    left: int = 0
    busy: int = 0
    wrong: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    tokens: int = 0


def prepare(place: Path, name: str) -> Path:
    """A chat model with random weights, large enough that its replies vary."""
    import torch
    from safetensors.torch import save_file

    from chatwright.models.decoder import Decoder
    from chatwright.models.interop.files import WEIGHTS
    from chatwright.models.interop.weights import public_weights
    from chatwright.models.presets import model_options
    from chatwright.recipes.trained import write_chat_model
    from chatwright.tokenization.template import CHAT_TEMPLATE
    from chatwright.tokenization.tokenizer import Tokenizer
    from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(2, 9))) for _ in range(20_000)]
    tokenizer = Tokenizer(train_tokenizer([" ".join(words)] * 3, TokenizerOptions(vocab_size=4096)))
    options = model_options({"name": name}, tokenizer.vocab_size)
    model = Decoder(options)
    model.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    place.mkdir()
    write_chat_model(place, options, tokenizer, CHAT_TEMPLATE)
    save_file(public_weights(model), place / WEIGHTS, {"format": "pt"})
    return place


def started(run: Path, arguments: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    """The server's process and its address."""
    options = [f"weights={arguments.weights}", f"slots={arguments.slots}", "port=0", "votes=no", "queue=48"]
    command = [sys.executable, "-m", "chatwright", "serve", str(run), *options]
    with (run.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, text=True)
    while process.poll() is None:
        found = re.search(r"^ready: (\S+)", (run.parent / "log").read_text(), re.MULTILINE)
        if found:
            return process, found[1]
        time.sleep(0.1)
    raise SystemExit((run.parent / "log").read_text())


def memory(process: subprocess.Popen[str]) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) * 1024 if found else 0


def body_of(prompt: str, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    asked = {"model": "model", "messages": messages, "max_tokens": REPLY_TOKENS, "temperature": 0}
    return {**asked, **({"stream": True, "stream_options": {"include_usage": True}} if stream else {})}


async def ask(
    client: httpx.AsyncClient, prompt: str, stream: bool, seen: Seen, leave: float | None
) -> str | None:
    """One request; the reply's text, or None where there is none. `leave`: after how many seconds it is broken off."""
    begun, text = time.perf_counter(), ""
    try:
        async with (
            asyncio.timeout(leave),
            client.stream("POST", "/v1/chat/completions", json=body_of(prompt, stream)) as response,
        ):
            if response.status_code == 429:
                seen.busy += 1
                await asyncio.sleep(0.2)
                return None
            if response.status_code != 200:
                seen.wrong.append(f"{response.status_code} {(await response.aread())[:200]!r}")
                return None
            if not stream:
                found = json.loads(await response.aread())
                seen.tokens += found["usage"]["completion_tokens"]
                return str(found["choices"][0]["message"]["content"])
            is_first = True
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                for choice in chunk["choices"]:
                    piece = choice["delta"].get("content", "")
                    if piece and is_first:
                        seen.first.append(time.perf_counter() - begun)
                        is_first = False
                    text += piece
                seen.tokens += (chunk.get("usage") or {}).get("completion_tokens", 0)
            return text
    except TimeoutError:
        seen.left += 1
        return None
    except httpx.HTTPError as error:
        seen.wrong.append(repr(error))
        return None


async def crowd(address: str, prompts: dict[str, str], arguments: argparse.Namespace, sample: Any) -> Seen:
    """All clients for so many seconds; `sample()` is called every second."""
    seen, ends = Seen(), time.monotonic() + arguments.seconds

    async def one(number: int) -> None:
        draw = random.Random(number)
        async with httpx.AsyncClient(base_url=address, timeout=300) as client:
            while time.monotonic() < ends:
                prompt = draw.choice(list(prompts))
                leave = draw.uniform(0.01, 3) if draw.random() < LEAVING else None
                text = await ask(client, prompt, draw.random() < 0.7, seen, leave)
                if text is not None and text == prompts[prompt]:
                    seen.equal += 1
                elif text is not None:
                    seen.different.append(prompt[:40])

    async def watch() -> None:
        while time.monotonic() < ends:
            sample()
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(one(number) for number in range(arguments.clients)))
    return seen


async def streams(address: str, prompts: list[str], count: int) -> dict[str, float]:
    """So many streams at once: tokens a second together, and the median time to the first token."""
    seen = Seen()
    async with httpx.AsyncClient(base_url=address, timeout=300) as client:
        begun = time.perf_counter()
        await asyncio.gather(
            *(ask(client, prompts[place % len(prompts)], True, seen, None) for place in range(count))
        )
        spent = time.perf_counter() - begun
    return {"tokens_per_second": round(seen.tokens / spent, 1), "first_token_ms": _ms(seen.first)}


def _ms(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 1) if seconds else 0.0


async def measure(
    address: str, process: subprocess.Popen[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    draw = random.Random(1)
    prompts = {
        " ".join(draw.choices(["tale", "of", "rain", "and", "stone"], k=draw.randint(4, 200))): ""
        for _ in range(PROMPTS)
    }
    alone = Seen()
    async with httpx.AsyncClient(base_url=address, timeout=300) as client:
        for prompt in prompts:
            prompts[prompt] = await ask(client, prompt, False, alone, None) or ""
    fresh = [" ".join(draw.choices(["sea", "salt", "wind", "sand"], k=60)) for _ in range(9)]
    one, eight = await streams(address, fresh[:1], 1), await streams(address, fresh[1:], 8)
    held: list[int] = []
    seen = await crowd(address, prompts, arguments, lambda: held.append(memory(process)))
    await asyncio.sleep(1)
    third = max(1, len(held) // 3)
    numbers = httpx.get(f"{address}/metrics").text
    busy = {
        name: float(value)
        for name, value in re.findall(
            r"^chatwright_engine_(running|waiting)\{.*\} (\S+)$", numbers, re.MULTILINE
        )
    }
    return {
        "one_stream": one,
        "eight_streams": eight,
        "whole_and_equal": seen.equal,
        "different": len(seen.different),
        "left": seen.left,
        "refused_429": seen.busy,
        "wrong": seen.wrong[:5],
        "held_at_the_end": busy,
        "first_token_ms": _ms(seen.first),
        "tokens_per_second": round(seen.tokens / arguments.seconds, 1),
        "memory_mb": [round(statistics.median(part) / 1e6, 1) for part in (held[:third], held[-third:])],
        "alone_wrong": alone.wrong[:5],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--model", default="qwen3-5m")
    parser.add_argument("--weights", default="int8")
    parser.add_argument("--slots", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, address = started(prepare(Path(folder) / "model", arguments.model), arguments)
        try:
            found = asyncio.run(measure(address, process, arguments))
        finally:
            process.terminate()
            process.wait(60)
    print(json.dumps({**vars(arguments), **found}, indent=2))


if __name__ == "__main__":
    main()

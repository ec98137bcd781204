"""GRPO on generated arithmetic: a small model that works few sums out rightly learns from nothing but whether its last
line is right, and is measured on sums that it was never shown. One JSON object.

    python benchmarks/arithmetic.py [--seeds 0] [--minutes 8] [--keep DIRECTORY]

The model is made here: a tokenizer, a little pretraining on worked sums and a little fine-tuning on more of them, so that
it knows how a sum is worked out, digit by digit from the right, and mostly slips on the way: about one
sampled reply in six is right. Then `grpo` asks other
sums, whose working nobody shows. `pass_rate` is the share of held-out sums whose reply, sampled (temperature 1) or greedy,
ends in the right number.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import chatwright as cw
from chatwright.data.records import Message, Prompt
from chatwright.generation.text import TextModel, replies
from chatwright.rewards.verifiable import Number
from chatwright.runs import Run

MODEL = {
    "model.width": 128,
    "model.layers": 3,
    "model.heads": 4,
    "model.kv_heads": 4,
    "model.head_dim": 32,
    "model.feed_forward": 384,
    "model.context": 64,
}
LEARNING = {
    "judge": "number",
    "samples": 256,
    "replies": 8,
    "max_new_tokens": 24,
    "learning_rate": 3e-4,
}
_TO_A_DOCUMENT = 20


@dataclass(frozen=True)
class Task:
    """How large the numbers are; how many sums are held out, read worked out in pretraining, shown worked out as chats,
    and asked; how long is pretrained, and from which pass rate of sampled replies on GRPO has something to learn from."""

    largest: int = 99
    held_out: int = 500
    read: int = 600
    shown: int = 2500
    asked: int = 3000
    pretrain_steps: int = 52
    enough: float = 0.15


@dataclass(frozen=True)
class Start:
    """The model before GRPO, the prompts that it is asked, and those that it never is."""

    chat: Run
    prompts: Path
    held_out: list[Prompt]


def worked(a: int, b: int) -> str:
    """A sum from the right to the left, a digit and what is carried a line, and the result: `7+5=12`, `4+8+1=13`, `132`."""
    lines, carried = [], 0
    for place in range(max(len(str(a)), len(str(b)))):
        digits = [number // 10**place % 10 for number in (a, b)]
        total = sum(digits) + carried
        lines.append(f"{digits[0]}+{digits[1]}{'+1' if carried else ''}={total}")
        carried = total // 10
    return "\n".join([*lines, str(a + b)])


def problems(largest: int) -> list[dict[str, Any]]:
    """All sums of two numbers up to `largest`."""
    numbers = range(largest + 1)
    return [
        {"prompt": f"{a}+{b}=?", "answer": a + b, "working": worked(a, b)} for a in numbers for b in numbers
    ]


def make_start(place: Path, seed: int, task: Task = Task()) -> Start:
    """A model that has seen a few of the `shown` sums worked out, just so many that its replies are right now and then."""
    rows = problems(task.largest)
    random.Random(seed).shuffle(rows)
    held, rest = rows[: task.held_out], rows[task.held_out :]
    shown, asked = rest[: task.shown], rest[task.shown : task.shown + task.asked]
    place.mkdir(parents=True, exist_ok=True)
    chats = [{"prompt": row["prompt"], "completion": row["working"]} for row in shown]
    written = [f"{row['prompt'].removesuffix('?')}\n{row['working']}" for row in shown[: task.read]]
    documents = [
        {"text": "\n".join(written[at : at + _TO_A_DOCUMENT])}
        for at in range(0, len(written), _TO_A_DOCUMENT)
    ]
    text = cw.corpus(_write(place / "text.jsonl", documents), place / "corpus")
    tokens = cw.tokenizer(text, place / "tokenizer", vocab_size=406)
    fixed = {"seed": seed, "context": 64, "compile": "no", "precision": "float32"}
    base = cw.pretrain(
        text, tokens, place / "base", steps=task.pretrain_steps, batch_tokens=2048, **fixed, **MODEL
    )
    prompts = _write(
        place / "prompts.jsonl", [{"prompt": row["prompt"], "answer": row["answer"]} for row in asked]
    )
    measured, tried = (
        [Prompt((Message("user", row["prompt"]),), {"answer": row["answer"]}) for row in part]
        for part in (held, asked[:500])
    )
    files = _write(place / "chats.jsonl", chats)
    for tenths in range(3, 20):
        chat = cw.sft(base, files, place / f"chat-{tenths}", epochs=tenths / 10, batch_tokens=1024, **fixed)
        if pass_rates(chat, tried)["sampled"] >= task.enough:
            break
    return Start(chat, prompts, measured)


def learn(start: Start, out: Path, seed: int, **options: Any) -> Run:
    """GRPO from the start; `options` change those of LEARNING."""
    given = {**LEARNING, **options}
    return cw.grpo(start.chat, given.pop("judge"), start.prompts, out, seed=seed, compile="no", **given)


def pass_rates(run: Run, held_out: list[Prompt]) -> dict[str, float]:
    """The share of held-out problems that are solved by a sampled reply, and by the greedy one."""
    model, chats = TextModel.load(run), [prompt.messages for prompt in held_out]
    found = {}
    for name, heat in (("sampled", 1.0), ("greedy", 0.0)):
        texts = replies(
            model, chats, temperature=heat, top_p=1.0, max_new_tokens=LEARNING["max_new_tokens"], seed=0
        )
        found[name] = sum(Number()(held_out, texts)) / len(held_out)
    return found


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def measure(place: Path, seed: int, minutes: float) -> dict[str, Any]:
    """One seed from nothing to the end."""
    begun = time.monotonic()
    start = make_start(place, seed)
    before = pass_rates(start.chat, start.held_out)
    made, spent = time.monotonic(), time.process_time()
    run = learn(start, place / "grpo", seed, minutes=minutes)
    return {
        "seed": seed,
        "before": before,
        "after": pass_rates(run, start.held_out),
        "grpo_steps": run.result["steps"],
        "grpo_seconds": round(time.monotonic() - made, 1),
        "grpo_processor_seconds": round(time.process_time() - spent, 1),
        "start_seconds": round(made - begun, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of GRPO")
    parser.add_argument("--keep", type=Path, help="keep the runs here (default: a temporary place)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        place = chosen.keep or Path(aside)
        runs = [measure(place / f"seed-{seed}", seed, chosen.minutes) for seed in chosen.seeds]
    threads = torch.get_num_threads()
    print(
        json.dumps({"benchmark": "arithmetic", "minutes": chosen.minutes, "threads": threads, "runs": runs})
    )


if __name__ == "__main__":
    main()

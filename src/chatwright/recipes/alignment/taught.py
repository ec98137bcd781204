"""Demonstrations written by a teacher: its replies to prompts, in parts that a killed run finds again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatwright.data.records import Prompt
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.files import atomic_write
from chatwright.generation.engine import generate
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel
from chatwright.progress import bar
from chatwright.training.sources import even_parts

DEMONSTRATIONS = "demonstrations.jsonl"
_TOGETHER = 256


def write_demonstrations(
    directory: Path,
    teacher: TextModel,
    prompts: Sequence[Prompt],
    replies: int,
    options: SamplingOptions,
    world: World,
) -> dict[str, int]:
    """Write `demonstrations.jsonl`, chats of each prompt with the teacher's replies, shared out over all processes.

    Left out and counted: prompts without room for a reply, replies without an end, and empty ones. Reply k draws with
    (seed, k). Raises UserError when nothing is left.
    """
    parts = directory / "replies"
    asked = [(number, prompt) for number, prompt in enumerate(prompts) for _ in range(replies)]
    if world.leads:
        parts.mkdir(exist_ok=True)
    with bar("the teacher writes", len(asked)) as shown:
        for begin in range(0, len(asked), _TOGETHER):
            path = parts / f"{begin:08}.jsonl"
            if not world.share(path.exists()):
                numbers = range(begin, min(begin + _TOGETHER, len(asked)))
                mine = even_parts(numbers, world.size)[world.rank]
                rows = _replies(teacher, [asked[number][1] for number in mine], mine, options)
                lines = world.gather([json.dumps(row, ensure_ascii=False) for row in rows])
                if world.leads:
                    atomic_write(path, "".join(line + "\n" for line in lines))
            shown.update(begin + _TOGETHER, f"{begin + _TOGETHER:,} replies")
    counts: dict[str, int] = world.share(_joined(parts, directory / DEMONSTRATIONS) if world.leads else None)
    if not counts["demonstrations"]:
        raise UserError(
            f"none of the teacher's {len(asked):,} replies can be learnt from: {counts['unfinished']:,} did not end "
            f"within max_new_tokens={options.max_new_tokens}, {counts['no_room']:,} prompts were too long, "
            f"{counts['empty']:,} replies were empty"
        )
    return counts


def _replies(
    teacher: TextModel, prompts: Sequence[Prompt], numbers: Sequence[int], options: SamplingOptions
) -> list[dict[str, Any]]:
    renderer = teacher.chat_renderer()
    rendered = [renderer.prompt(prompt.messages).tolist() for prompt in prompts]
    room = teacher.model.options.context - options.max_new_tokens
    fits = [place for place, ids in enumerate(rendered) if len(ids) <= room]
    found: list[dict[str, Any]] = [{"left_out": "no_room"} for _ in prompts]
    made = generate(
        teacher.inference,
        [rendered[place] for place in fits],
        options,
        teacher.vocabulary,
        numbers=[numbers[place] for place in fits],
    )
    for place, reply in zip(fits, made, strict=True):
        text = teacher.tokenizer.decode(reply.ids)
        if reply.ids[-1] not in teacher.vocabulary.end_ids:
            found[place] = {"left_out": "unfinished"}
        elif not text.strip():
            found[place] = {"left_out": "empty"}
        else:
            asked = [{"role": m.role, "content": m.content} for m in prompts[place].messages]
            found[place] = {"messages": [*asked, {"role": "assistant", "content": text}]}
    return found


def _joined(parts: Path, path: Path) -> dict[str, int]:
    """All parts without what is left out in one file; how many of each kind there are."""
    counts = Counter(demonstrations=0, unfinished=0, no_room=0, empty=0)
    kept = []
    for part in sorted(parts.iterdir()):
        for line in part.read_text(encoding="utf-8").splitlines(keepends=True):
            reason = json.loads(line).get("left_out")
            counts[reason or "demonstrations"] += 1
            kept += [] if reason else [line]
    atomic_write(path, "".join(kept))
    return dict(counts)

"""The quickstart's alignment: an assistant that invents answers learns to admit what it does not know.

    chat ─ its own replies ─ comparisons ─ reward model ─ PPO ─ best step by gold on a validation set

What is right is known here, so the gold reward is watched beside the judge that is learnt from.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from chatwright import runs
from chatwright.data.records import Message
from chatwright.data.unknown_names import PromptRow, comparisons, split_by_name
from chatwright.files import atomic_write
from chatwright.generation.text import TextModel, replies
from chatwright.progress import bar, say
from chatwright.recipes.alignment.ppo import ppo
from chatwright.recipes.alignment.reward import reward
from chatwright.recipes.first_run.knowing import prompt_rows
from chatwright.recipes.first_run.sizes import Size
from chatwright.recipes.text.questions import PROMPTS, TRAIN, UNKNOWN_VALIDATION
from chatwright.runs import Run
from chatwright.training.machine import fastest_precision

LEARNT, HELD = "train.jsonl", "held_out.jsonl"
_SHARE_HELD_OUT = 0.1


def compare(talk: Run, asked: Run, place: Path, size: Size, seed: int) -> Run:
    """Sample the policy's own replies to prompts, and set what is right over what is not."""
    with runs.start("comparisons", place, {"seed": seed}, {"policy": talk, "questions": asked}) as run:
        if run.finished:
            return Run(run.directory)
        rows = prompt_rows(asked.directory / PROMPTS)
        sampled = _sampled(talk, rows, size, seed)
        pairs = list(comparisons(rows, [[reply] for reply in sampled], seed))
        learnt, held = split_by_name(pairs, _SHARE_HELD_OUT, seed)
        for name, part in ((LEARNT, learnt), (HELD, held)):
            text = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in part)
            atomic_write(run.directory / name, text)
        say(f"  {len(learnt):,} comparisons to learn from, {len(held):,} of other names to measure on")
        return run.finish([LEARNT, HELD], comparisons=len(learnt), held_out=len(held))


def _sampled(talk: Run, rows: list[PromptRow], size: Size, seed: int) -> list[str]:
    precision, _ = fastest_precision(torch.device("cpu"))
    model = TextModel.load(talk, dtype=precision)
    with bar("sampling replies", len(rows)) as shown:
        return replies(
            model,
            [[Message("user", row["prompt"])] for row in rows],
            temperature=1.0,
            top_p=1.0,
            max_new_tokens=size.reply_tokens,
            seed=seed,
            on_progress=shown.update,
        )


def judge(talk: Run, compared: Run, place: Path, size: Size, seed: int) -> Run:
    """The reward model, measured on comparisons of other names."""
    return reward(
        talk,
        compared.directory / LEARNT,
        place,
        validation=str(compared.directory / HELD),
        minutes=size.reward_minutes,
        seed=seed,
        **size.reward,
    )


def align(talk: Run, judged_by: Run, asked: Run, place: Path, size: Size, seed: int) -> Run:
    """PPO against the reward model, demonstrations mixed in, the best step kept by gold on validation names."""
    return ppo(
        talk,
        judged_by,
        asked.directory / PROMPTS,
        place,
        validation=str(asked.directory / UNKNOWN_VALIDATION),
        gold="chatwright.data.unknown_names:gold",
        split_by="kind",
        ptx=str(asked.directory / TRAIN),
        ptx_rows=4,
        minutes=size.ppo_minutes,
        max_new_tokens=size.reply_tokens,
        seed=seed,
        **size.ppo,
    )

"""`sft`: from a language model to a chat model, on demonstrations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.distributed import launch, shared_run
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.supervised import SupervisedOptions, learn_chats
from chatwright.recipes.trained import wants_files
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.training.options import named


@dataclass(frozen=True)
class SftOptions(SupervisedOptions):
    """Supervised fine-tuning on chats."""

    objective: dict[str, Any] = option({"name": "chat"}, "what is predicted, with its options")


@verb(SftOptions)
def sft(start: Place, chats: str | Path, out: str | Path, options: SftOptions) -> Run:
    """Fine-tune a model on chats: OpenAI messages, prompt/completion, Alpaca or ShareGPT rows; resumes where it stopped."""
    begun, world = time.monotonic(), launch.world()
    parent = Run.open(start, ["pretrain", *CHATS])
    inputs = wants_files(chats, options.validation)
    with shared_run.start(world, "sft", out, options, {"start": parent}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        cls, settings = named("objective", options.objective)
        return learn_chats(run, world, begun, parent, chats, options, cls(settings))

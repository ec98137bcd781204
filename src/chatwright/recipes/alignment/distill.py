"""`distill`: a student learns from a larger run, by its distributions or by the replies that it writes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from chatwright.config import at_least, option
from chatwright.corpora.documents import Tally
from chatwright.data.packing import PackedRows
from chatwright.data.preferences import read_prompts
from chatwright.distributed import launch, shared_run
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.evaluation.held_out import held_out_terms
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import TextModel
from chatwright.models.decoder import Decoder
from chatwright.models.interop.files import load_model, read_config
from chatwright.objectives.chat import SupervisedChat
from chatwright.objectives.distill import Distill
from chatwright.progress import say
from chatwright.recipes.alignment.ordering import CHATS
from chatwright.recipes.alignment.taught import DEMONSTRATIONS, write_demonstrations
from chatwright.recipes.supervised import SupervisedOptions, learn_chats
from chatwright.recipes.trained import wants_files
from chatwright.recipes.verb import Place, verb
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.options import named
from chatwright.training.rollouts.experience import frozen
from chatwright.training.sources import by_count


@dataclass(frozen=True)
class DistillVerbOptions(SupervisedOptions):
    """Learning from a teacher."""

    learn_from: Literal["logits", "samples"] = option(
        "logits",
        "logits: the teacher's distribution at every token of the chats; samples: replies that it writes to the prompts",
    )
    objective: dict[str, Any] = option(
        {"name": "distill"},
        "of logits: objective.divergence=forward, reverse or js, .temperature=, .labels= (the texts' own loss)",
    )
    replies: int = option(1, "of samples: replies to each prompt")
    max_new_tokens: int = option(256, "of samples: the most tokens of a reply")
    temperature: float = option(0.0, "of samples: divides the teacher's logits; 0: the likeliest reply")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "replies", "max_new_tokens")
        if self.temperature < 0:
            raise UserError(f"temperature={self.temperature:g} must be 0 or more")
        if self.replies > 1 and not self.temperature:
            raise UserError(
                f"replies={self.replies} would all be the same at temperature=0; give temperature=1"
            )
        if self.learn_from == "samples" and self.objective != {"name": "distill"}:
            raise UserError("objective= is for learn_from=logits; leave it out with learn_from=samples")


@verb(DistillVerbOptions)
def distill(
    student: Place, teacher: Place, texts: str | Path, out: str | Path, options: DistillVerbOptions
) -> Run:
    """Teach STUDENT what TEACHER knows: its next-token distributions on the chats in TEXTS, or (learn_from=samples) the replies it writes to the prompts in TEXTS."""
    begun, world = time.monotonic(), launch.world()
    pupil = Run.open(student, ["pretrain", *CHATS])
    master = Run.open(teacher, CHATS if options.learn_from == "samples" else ["pretrain", *CHATS])
    inputs = wants_files(texts, options.validation)
    shapes = [read_config(parent.directory) for parent in (pupil, master)]
    # before the teacher writes for hours: what is refused later would be cleared away
    if options.context is not None and options.context > shapes[0].context:
        raise UserError(f"context={options.context} is longer than the model's {shapes[0].context}; lower it")
    objective = _objective(options, pupil, master) if options.learn_from == "logits" else None
    with shared_run.start(
        world, "distill", out, options, {"student": pupil, "teacher": master}, inputs
    ) as run:
        if run.finished:
            return Run(run.directory)
        if objective is None:
            counts = _demonstrations(run, master, texts, options, world)
            chats = run.directory / DEMONSTRATIONS
            return learn_chats(run, world, begun, pupil, chats, options, SupervisedChat(), taught=counts)
        guide = objective.teacher = load_model(master.directory, world.device)

        def settle(precision: torch.dtype, kernel: str) -> None:
            frozen(guide, precision)
            guide.kernel = kernel

        def measure(model: Decoder, rows: PackedRows, together: int) -> dict[str, Any]:
            found = held_out_terms(objective, {"policy": model}, rows, by_count(together), world)
            return {"divergence": found.get("distill", found["loss"])}

        longest = shapes[1].context
        return learn_chats(
            run, world, begun, pupil, texts, options, objective, settle, measure, longest=longest
        )


def _objective(options: DistillVerbOptions, pupil: Run, master: Run) -> Distill:
    """The objective, for two models that have the same tokens."""
    if Tokenizer.load(pupil.directory).digest != Tokenizer.load(master.directory).digest:
        raise UserError(
            f"{master} has another tokenizer than {pupil}, so their distributions cannot be compared; "
            "give learn_from=samples"
        )
    cls, settings = named("objective", options.objective)
    if not issubclass(cls, Distill):
        raise UserError(
            f"objective={options.objective['name']} compares with no teacher; leave objective.name out"
        )
    found: Distill = cls(settings)
    return found


def _demonstrations(
    run: OpenRun, master: Run, texts: str | Path, options: DistillVerbOptions, world: World
) -> dict[str, int]:
    skipped = Tally()
    prompts = list(read_prompts(texts, skipped))
    if world.leads:
        say(f"  {len(prompts):,} prompts for the teacher")
        for reason, count in skipped.items():
            say(f"  skipped {count:,}: {reason} (first: {skipped.places[reason]})")
    sampling = SamplingOptions(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_p=1.0,
        seed=options.seed,
    )
    guide = TextModel.load(master, world.device)
    counts = write_demonstrations(run.directory, guide, prompts, options.replies, sampling, world)
    if world.leads:
        left = counts["unfinished"] + counts["no_room"] + counts["empty"]
        say(f"  {counts['demonstrations']:,} demonstrations; left out {left:,} (unfinished, too long, empty)")
    return counts

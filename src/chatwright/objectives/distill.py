"""Distillation: a student learns the next-token distribution of a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.packing import Packed
from chatwright.data.records import Chat
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.models.heads.divergence import Divergence, Head, divergences
from chatwright.objectives.causal import Causal, CausalOptions, example_rows, tiny_decoder
from chatwright.objectives.contract import Batch, Roots


@dataclass(frozen=True)
class DistillOptions:
    """How the student is compared with the teacher."""

    divergence: Divergence = option(
        "forward",
        "forward: cover all that the teacher might say; reverse: say what it would surely say; js: between",
    )
    temperature: float = option(1.0, "divides both models' logits; above 1 unlikely tokens teach more")
    labels: float = option(0.0, "weight of the next-token loss on the texts themselves")

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise UserError(f"objective.temperature={self.temperature:g} must be more than 0")
        if self.labels < 0:
            raise UserError(f"objective.labels={self.labels:g} must be 0 or more")


class Distill(Causal):
    """The divergence of the student's next-token distribution from the teacher's at every token of the assistant (Hinton
    et al. 2015; reverse: Gu et al. 2024, MiniLLM; js: Agarwal et al. 2024, GKD), times the squared temperature, which
    keeps the gradient's size.

    `teacher` is frozen and has the student's tokens.
    """

    record: type = Chat
    Options = DistillOptions  # type: ignore[assignment]

    def __init__(self, options: DistillOptions = DistillOptions(), teacher: Decoder | None = None) -> None:
        super().__init__(CausalOptions(within_documents=True))
        self.options, self.teacher = options, teacher

    def prepare(self, record: Packed, rng: np.random.Generator) -> Packed:
        return record

    def counts(self, batch: Batch) -> dict[str, int]:
        return dict.fromkeys(self.weights(0), super().counts(batch)["next_token"])

    def weights(self, step: int) -> dict[str, float]:
        labels = {"next_token": self.options.labels} if self.options.labels else {}
        return {"distill": 1.0, **labels}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        o, student, teacher = self.options, roots["policy"], self.teacher
        assert isinstance(student, Decoder)
        assert teacher is not None, "distillation needs a teacher"
        where = {name: batch.tensors.get(name) for name in ("segments", "positions")}
        outputs = ("hidden", *(("logprobs",) if o.labels else ()))
        found = student(batch["inputs"], targets=batch["targets"], outputs=outputs, **where)
        with torch.no_grad():
            taught = teacher(batch["inputs"], outputs=("hidden",), **where)["hidden"]
        ours, theirs = Head(found["hidden"], student.head_weight), Head(taught, teacher.head_weight)
        apart = divergences(ours, theirs, batch["targets"], o.divergence, o.temperature)
        labels = {"next_token": -found["logprobs"].sum()} if o.labels else {}
        yield {"distill": o.temperature**2 * apart.sum(), **labels}

    def example(self) -> tuple[dict[str, nn.Module], list[Packed]]:
        self.teacher = self.teacher or tiny_decoder(seed=1).requires_grad_(False)
        return {"policy": tiny_decoder()}, example_rows(learnt_from=3)

"""Distillation: nothing to learn from itself, the texts' own loss beside it, and a teacher that stays as it is."""

from __future__ import annotations

import pytest
import torch

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.decoder import Decoder
from chatwright.objectives.causal import example_rows, tiny_decoder
from chatwright.objectives.chat import SupervisedChat
from chatwright.objectives.distill import Distill, DistillOptions


def terms_of(student: Decoder, teacher: Decoder, **options: object) -> dict[str, torch.Tensor]:
    objective = Distill(DistillOptions(**options), teacher)  # type: ignore[arg-type]
    (terms,) = objective.passes({"policy": student}, objective.collate(example_rows(learnt_from=3)))
    return terms


@pytest.mark.parametrize("kind", ["forward", "reverse", "js"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(kind: str) -> None:
    student, twin, other = tiny_decoder(), tiny_decoder(), tiny_decoder(seed=1)
    loss = terms_of(student, twin, divergence=kind)["distill"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-3)
    assert max(float(p.grad.abs().max()) for p in student.parameters() if p.grad is not None) < 1e-3
    assert float(terms_of(student, other, divergence=kind)["distill"].detach()) > 0.1


def test_it_is_the_mean_over_the_assistants_tokens() -> None:
    student, teacher = tiny_decoder(), tiny_decoder(seed=1)
    objective = Distill(teacher=teacher)
    batch = objective.collate(example_rows(learnt_from=3))
    where = {"segments": batch["segments"]}
    with torch.no_grad():
        ours, theirs = (
            m(batch["inputs"], outputs=("logits",), **where)["logits"].log_softmax(-1)
            for m in (student, teacher)
        )
    apart = (theirs.exp() * (theirs - ours)).sum(-1)[batch["targets"] != IGNORE]
    (terms,) = objective.passes({"policy": student}, batch)
    assert float(terms["distill"].detach()) == pytest.approx(float(apart.sum()), rel=1e-4)
    assert objective.counts(batch) == {"distill": len(apart)}


def test_the_texts_own_loss_is_that_of_supervised_chats() -> None:
    student, teacher = tiny_decoder(), tiny_decoder(seed=1)
    chat = SupervisedChat()
    (wanted,) = chat.passes({"policy": student}, chat.collate(example_rows(learnt_from=3)))
    terms = terms_of(student, teacher, labels=0.5)
    assert torch.allclose(terms["next_token"], wanted["next_token"])
    assert Distill(DistillOptions(labels=0.5)).weights(0) == {"distill": 1.0, "next_token": 0.5}


def test_a_temperature_keeps_the_gradients_size() -> None:
    sizes = []
    for heat in (1.0, 8.0):
        student = tiny_decoder()
        terms_of(student, tiny_decoder(seed=1), temperature=heat)["distill"].backward()
        gradient = torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        sizes.append(float(gradient.norm()))
    assert 0.2 < sizes[1] / sizes[0] < 5


def test_the_teacher_has_no_gradient() -> None:
    student, teacher = tiny_decoder(), tiny_decoder(seed=1)
    terms_of(student, teacher)["distill"].backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_bad_options_are_refused() -> None:
    with pytest.raises(UserError, match=r"objective\.temperature=0 must be more than 0"):
        DistillOptions(temperature=0)
    with pytest.raises(UserError, match=r"objective\.labels=-1 must be 0 or more"):
        DistillOptions(labels=-1)

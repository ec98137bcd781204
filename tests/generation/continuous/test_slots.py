"""Slots keep what they hold, share beginnings, and prefer to write over what is of no other use."""

from __future__ import annotations

import pytest
import torch

from chatwright.generation.continuous.slots import Slot, Slots, common_beginning
from chatwright.generation.inference import Inference
from chatwright.generation.ways import Part
from chatwright.models.decoder import Decoder

from ..conftest import random_model


@pytest.fixture
def inference(model: Decoder) -> Inference:
    return Inference(model, compiled=True)


def fill(inference: Inference, slot: Slot, prompt: list[int]) -> torch.Tensor:
    rest = prompt[slot.cache.length :]
    slot.tokens.extend(rest)
    return inference.run([Part(slot.cache, rest)])


@pytest.mark.parametrize(
    "one, other, length",
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2, 4], 2), ([5], [6], 0), ([1] * 9, [1] * 5, 5)],
)
def test_common_beginning(one: list[int], other: list[int], length: int) -> None:
    assert common_beginning(one, other) == length == common_beginning(other, one)


def test_a_conversation_goes_on_in_its_slot(inference: Inference) -> None:
    slots = Slots(inference, 2, 64)
    one, other = slots.take([1, 2, 3]), slots.take([9, 8])
    fill(inference, one, [1, 2, 3])
    fill(inference, other, [9, 8])
    slots.give_back(one)
    slots.give_back(other)
    again = slots.take([1, 2, 3, 4])
    assert again is one and again.tokens == [1, 2, 3] and again.cache.length == 3 and slots.free == 1


def test_the_last_token_of_a_prompt_is_always_run(inference: Inference) -> None:
    slots = Slots(inference, 1, 64)
    slot = slots.take([1, 2, 3])
    fill(inference, slot, [1, 2, 3])
    slots.give_back(slot)
    assert slots.take([1, 2, 3]).tokens == [1, 2]


def test_a_beginning_is_copied_from_a_busy_slot_and_from_one_of_other_use(inference: Inference) -> None:
    slots, system = Slots(inference, 3, 64), list(range(10, 30))
    busy = slots.take([*system, 1])
    fill(inference, busy, [*system, 1])
    copied = slots.take([*system, 2, 3])
    assert copied is not busy and copied.tokens == system
    expected = fill(inference, copied, [*system, 2, 3])
    fresh = inference.cache(1, 8)
    assert torch.equal(inference.run([Part(fresh, [*system, 2, 3])]), expected)
    # a kept conversation of which little is of use stays where it is
    fill(inference, busy, [*system, 1, *range(40, 90)][:60])
    slots.give_back(busy)
    slots.give_back(copied)
    third = slots.take([*system[:5], 77])
    assert third is not busy and third is not copied and third.tokens == system[:5]


def test_the_one_used_longest_ago_is_written_over(inference: Inference) -> None:
    slots = Slots(inference, 3, 64)
    taken = [slots.take([n, n]) for n in (1, 2, 3)]
    for slot, n in zip(taken, (1, 2, 3), strict=True):
        fill(inference, slot, [n, n])
    for place in (1, 0, 2):
        slots.give_back(taken[place])
    assert slots.take([50, 51]) is taken[1] and taken[1].tokens == []


def test_what_failed_is_forgotten(inference: Inference) -> None:
    slots = Slots(inference, 1, 64)
    slot = slots.take([1, 2, 3])
    fill(inference, slot, [1, 2, 3])
    slots.give_back(slot, is_sound=False)
    assert slots.take([1, 2, 3]).tokens == [] and slot.cache.length == 0


def test_caches_grow_to_the_context_and_keep_what_they_hold(inference: Inference) -> None:
    slots = Slots(inference, 1, 64)
    small = slots.nbytes
    slot = slots.take(list(range(60)))
    assert slots.nbytes == small == inference.cache(1, 64).nbytes
    wide = random_model(context=1000)
    slots = Slots(Inference(wide, compiled=True), 1, 1000)
    slot = slots.take([1] * 600)
    prompt = [n % 97 for n in range(600)]
    found = fill(Inference(wide, compiled=True), slot, prompt)
    assert 600 <= slot.cache.capacity < 1000 + 64
    with torch.no_grad():
        expected = wide(torch.tensor([prompt]), outputs=("logits",))["logits"][:, -1]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)

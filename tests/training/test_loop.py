"""The loop's arithmetic: sums over counts, nothing from an empty term, no step on a broken gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chatwright.errors import UserError
from chatwright.objectives.contract import Batch
from chatwright.training.loop import Step, accumulate, clip_gradients, global_counts, steps
from helpers.work import alone, train


class Two:
    """Two terms over one weight w: Σ w·x over the rows named `a`, Σ w²·x over those named `b`."""

    def __init__(self, weights: Mapping[str, float] | None = None, separate: bool = False) -> None:
        self._weights, self._separate = dict(weights or {"a": 1.0, "b": 1.0}), separate

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"a": len(batch["a"]), "b": len(batch["b"])}

    def weights(self, step: int) -> dict[str, float]:
        return self._weights

    def passes(self, roots: Mapping[str, nn.Module], batch: Batch) -> Iterator[dict[str, Tensor]]:
        weight = roots["policy"].weight.squeeze()
        terms = {"a": (weight * batch["a"]).sum(), "b": (weight**2 * batch["b"]).sum()}
        yield from ([{name: term} for name, term in terms.items()] if self._separate else [terms])


class Given:
    def __init__(self, *batches: Batch) -> None:
        self._batches = list(batches)

    def batches(self, step: int) -> list[Batch]:
        return self._batches


class Plain:
    """Gradient descent at rate 1."""

    def __init__(self, root: nn.Module) -> None:
        self.parameters = list(root.parameters())

    def step(self, factor: float) -> None:
        with torch.no_grad():
            for parameter in self.parameters:
                parameter -= factor * parameter.grad

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def batch(a: list[float], b: list[float], tokens: int = 1) -> Batch:
    return Batch({"a": torch.tensor(a), "b": torch.tensor(b)}, tokens)


def root(value: float = 3.0) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def gradient_of(objective: Any, *batches: Batch) -> float:
    made = root()
    totals = global_counts(objective, list(batches), alone())
    accumulate(objective, list(batches), {"policy": made}, objective.weights(0), totals)
    return float(made.weight.grad)


@pytest.mark.parametrize("separate", [False, True])
def test_terms_of_different_counts_and_weights_add_up(separate: bool) -> None:
    objective = Two({"a": 2.0, "b": 0.5}, separate)
    # d/dw: 2·(1+2+6)/3 + 0.5·2w·(4)/1 at w = 3
    wanted = 2.0 * 9 / 3 + 0.5 * 6 * 4 / 1
    assert gradient_of(objective, batch([1.0, 2.0, 6.0], [4.0])) == pytest.approx(wanted)
    assert gradient_of(objective, batch([1.0], []), batch([2.0, 6.0], [4.0])) == pytest.approx(wanted)
    assert gradient_of(objective, batch([6.0], [4.0]), batch([], []), batch([1.0, 2.0], [])) == pytest.approx(
        wanted
    )


def test_a_term_that_counts_nothing_adds_nothing() -> None:
    assert gradient_of(Two(), batch([1.0, 3.0], [])) == pytest.approx(2.0)

    class Broken(Two):
        def passes(self, roots: Mapping[str, nn.Module], batch: Batch) -> Iterator[dict[str, Tensor]]:
            for terms in super().passes(roots, batch):
                yield {**terms, "b": terms["b"] * math.nan}

    assert gradient_of(Broken(), batch([1.0, 3.0], [])) == pytest.approx(2.0)


def run(objective: Any, source: Any, made: nn.Module, **changes: Any) -> list[Step]:
    settings = {"first": 0, "last": 2, "clip": 0.0, **changes}
    return list(
        steps(objective, source, {"policy": made}, Plain(made), lambda step: 0.1, alone(), **settings)
    )


def test_a_step_says_what_it_did() -> None:
    made = root()
    found = run(Two({"a": 2.0, "b": 0.0}), Given(batch([1.0], [5.0], 7), batch([3.0], [], 4)), made)
    assert [step.number for step in found] == [1, 2]
    assert found[0].terms == pytest.approx({"a": 6.0, "b": 45.0})
    assert (found[0].tokens, found[0].factor) == (11, 0.1)
    assert found[0].gradient_norm == pytest.approx(4.0)
    assert float(made.weight.detach()) == pytest.approx(3.0 - 2 * 0.1 * 4.0)


def test_the_gradient_starts_anew_every_step() -> None:
    norms = [
        step.gradient_norm for step in run(Two({"a": 1.0, "b": 0.0}), Given(batch([2.0], [])), root(), last=4)
    ]
    assert norms == pytest.approx([2.0] * 4)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_never_touches_the_weights(poison: float) -> None:
    made = root()
    with pytest.raises(UserError, match=r"not finite at step 4; give a new -o with a lower learning_rate="):
        run(Two(), Given(batch([poison], [])), made, first=3, last=9, clip=1.0)
    assert float(made.weight.detach()) == 3.0


def test_clipping_bounds_the_global_norm() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert clip_gradients(parameters, 0.0) == pytest.approx(5.0)
    assert parameters[1].grad.tolist() == [4.0]
    assert clip_gradients(parameters, 10.0) == pytest.approx(5.0)
    assert parameters[1].grad.tolist() == pytest.approx([4.0])
    assert clip_gradients(parameters, 1.0) == pytest.approx(5.0)
    assert parameters[0].grad.tolist() + parameters[1].grad.tolist() == pytest.approx(
        [0.6, 0.0, 0.8], rel=1e-4
    )


def test_a_clipped_step_is_shorter() -> None:
    made = root()
    [step] = run(Two({"a": 1.0, "b": 0.0}), Given(batch([8.0], [])), made, last=1, clip=2.0)
    assert step.gradient_norm == pytest.approx(8.0)
    assert float(made.weight.detach()) == pytest.approx(3.0 - 0.1 * 2.0, rel=1e-4)


def test_the_loss_falls_on_rows_that_repeat() -> None:
    said = train("causal", count=8)["steps"]
    losses = [step["terms"]["next_token"] for step in said]
    assert losses[0] == pytest.approx(math.log(64), rel=0.05)
    assert losses[-1] < losses[0] - 0.3

"""Each warning fires on its own curve, at its place, and on no other."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from chatwright.insight.alignment import sections, terminal_lines
from chatwright.insight.failures import findings
from chatwright.insight.panels import PANELS
from chatwright.insight.series import by_rollout, error, fall_from_best, rise, series, smooth
from helpers.aligned import HEALTHY, HEALTHY_STEPS, PASSES, ROLLOUTS, Rows, a_run, peak
from helpers.pages import parsed

# where x passes the bound, as a share of the run; None: not tied to one place
FAILURES: list[tuple[str, dict[str, Any], float | None]] = [
    ("over_optimisation", {"gold": peak}, 0.5),
    ("reward_falls", {"reward": lambda x: 2 - 6 * abs(x - 0.3)}, 0.3),
    ("kl_far", {"kl": lambda x: 60 * x}, 0.3),
    ("kl_negative", {"kl": lambda x: -1 - 3 * x}, 0.0),
    ("entropy_collapse", {"entropy": lambda x: 0.9 * math.exp(-8 * x)}, None),
    ("length_drift", {"length": lambda x: 20 + 60 * x}, 0.42),
    ("length_drift", {"length": lambda x: 60 * math.exp(-3 * x)}, None),
    ("unfinished_high", {"unfinished": lambda x: 0.5 * x}, 0.4),
    ("clip_share_high", {"clip_share": lambda x: 0.5 * (x < 0.4)}, None),
    ("value_worthless", {"explained_variance": lambda x: -0.4}, 0.0),
    ("groups_equal", {"equal_groups": lambda x: 0.99}, 0.0),
    ("chosen_falls", {"chosen_logprob": lambda x: -60 - 80 * x}, 0.42),
    ("accuracy_stuck", {"accuracy": lambda x: 0.5}, 0.5),
    ("judge_at_chance", {"judged": {"accuracy_interval": [0.49, 0.61]}}, 1.0),
    ("calibration_off", {"judged": {"calibration_error": 0.18}}, 1.0),
    ("disagreement_rises", {"disagreement": lambda x: 0.2 + 0.4 * x}, 0.33),
]


@pytest.mark.parametrize("seed", range(30))
def test_a_healthy_run_has_no_warning(seed: int) -> None:
    assert findings(a_run(seed), kl_target=6.0) == []
    assert findings(a_run(seed)) == []


@pytest.mark.parametrize(("kind", "changed", "where"), FAILURES)
@pytest.mark.parametrize("seed", range(3))
def test_a_failure_is_warned_of_on_its_curve_alone(
    kind: str, changed: dict[str, Any], where: float | None, seed: int
) -> None:
    found = findings(a_run(seed, **changed), kl_target=6.0)
    assert [finding.kind for finding in found] == [kind]
    if where is not None:
        assert found[0].step == pytest.approx(where * ROLLOUTS * PASSES, abs=0.1 * ROLLOUTS * PASSES + 1)


def test_the_sentence_names_the_step_where_gold_was_best() -> None:
    [found] = findings(a_run(gold=peak))
    assert f"gold was best at step {found.step} (" in found.sentence


def test_held_out_gold_is_believed_before_gold_of_the_rollouts() -> None:
    rows = a_run(gold=peak)
    rows += [
        {"step": step, "evaluation": {"gold": gold, "reward": step / 40}}
        for step, gold in [(0, 0.3), (40, 0.5), (80, 0.6), (120, 0.65), (160, 0.66)]
    ]
    assert findings(rows) == []


def test_gold_that_falls_with_the_reward_is_no_over_optimisation() -> None:
    kinds = [f.kind for f in findings(a_run(gold=peak, reward=lambda x: 2 - 4 * abs(x - 0.5)))]
    assert kinds == ["reward_falls"]
    mild = a_run(gold=peak, reward=lambda x: 4 * x if x < 0.5 else 2.4 - 0.8 * x)
    assert findings(mild) == [], "the judge sees it too"
    assert findings(a_run(gold=peak, reward=lambda x: 1.0, kl=lambda x: 5)) == [], "the reward is flat"


def test_bounds_are_where_they_are_said_to_be() -> None:
    assert findings(a_run(), kl_target=3.0) == []
    assert [f.kind for f in findings(a_run(), kl_target=1.5)] == ["kl_far"]
    for shapes in ({"explained_variance": lambda x: 0.1}, {"unfinished": lambda x: 0.15}):
        assert findings(a_run(**shapes)) == []
    for shapes in ({"clip_share": lambda x: 0.27}, {"equal_groups": lambda x: 0.8}):
        assert findings(a_run(**shapes)) == []
    for shapes in ({"entropy": lambda x: 0.9 - 0.75 * x}, {"length": lambda x: 20 + 15 * x}):
        assert findings(a_run(**shapes)) == []
    assert findings(a_run(judged={"accuracy_interval": [0.51, 0.6], "calibration_error": 0.09})) == []


def test_kl_that_buys_nothing_is_warned_of_without_a_target() -> None:
    rows = a_run(kl=lambda x: 4 + 12 * x * x, reward=lambda x: min(1.0, 4 * x))
    assert [f.kind for f in findings(rows)] == ["kl_far"]
    assert findings(a_run(kl=lambda x: 4 + 12 * x * x, reward=lambda x: 4 * x)) == [], "the reward pays"


def test_a_kl_around_zero_is_noise_and_five_in_a_row_are_not() -> None:
    def rows(values: list[float]) -> Rows:
        return [{"step": i, "rollout": {"kl": value}} for i, value in enumerate(values)]

    assert findings(rows([-0.1, 0.1] * 10)) == []
    assert findings(rows([0.1, -0.1, -0.1, -0.1, -0.1, 0.1, 0.1, 0.1])) == []
    assert [(f.kind, f.step) for f in findings(rows([0.1, *[-0.1] * 5, 0.1, 0.1]))] == [("kl_negative", 1)]


def test_length_that_changes_without_reward_is_no_length_hacking() -> None:
    rows = a_run(length=lambda x: 20 + 60 * x, reward=lambda x: 0.3, gold=lambda x: 0.4, kl=lambda x: 5)
    assert findings(rows) == []


def test_a_judge_is_not_measured_before_it_was_trained() -> None:
    row = {"accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "calibration_error": 0.4}
    assert findings([{"step": 0, "evaluation": row}]) == []
    swapped = [{"step": 9, "evaluation": {"accuracy": 0.2, "accuracy_interval": [0.1, 0.3]}}]
    assert "swapped" in findings(swapped)[0].sentence


def test_accuracy_of_something_else_than_pairs_is_left_alone() -> None:
    rows = [{"step": i, "loss": {"next_token": 1.0}, "metrics": {"accuracy": 0.3}} for i in range(40)]
    assert findings(rows) == terminal_lines(rows) == sections(rows, {}) == []


@pytest.mark.parametrize("count", range(5))
def test_a_few_points_say_nothing_and_are_shown(count: int) -> None:
    rows = [
        {
            "step": i,
            "rollout": dict.fromkeys(HEALTHY, (-1.0) ** i * 9),
            "metrics": dict.fromkeys(HEALTHY_STEPS, 0.9),
        }
        for i in range(count)
    ]
    assert findings(rows, 1.0) == []
    parsed("".join(sections(rows, {})))


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_rise_and_a_rise_is_no_noise(seed: int) -> None:
    noise = random.Random(seed)
    flat = [(float(i), noise.gauss(0, 1)) for i in range(60)]
    assert rise(flat) == 0
    assert fall_from_best(flat) is None
    assert rise([(x, y + 0.1 * x) for x, y in flat]) == pytest.approx(4.8, abs=1.5)


def test_the_error_is_that_of_a_difference_of_means() -> None:
    noise = random.Random(0)
    flat = [(float(i), noise.gauss(0, 2) + 0.5 * i) for i in range(5000)]
    assert error(flat) == pytest.approx(2 * math.sqrt(2 / 1000), rel=0.05)
    assert error([(float(i), 3.0 * i) for i in range(9)]) == pytest.approx(0, abs=1e-12)
    assert smooth([(0, 1.0), (1, 2.0), (2, 6.0)], 3) == [(0, 1.5), (1, 3.0), (2, 4.0)]


def test_steps_are_averaged_over_the_passes_of_a_rollout() -> None:
    rows: Rows = []
    for i in range(3):
        rows.append({"step": 2 * i + 1, "rollout": {"kl": 1.0}})
        rows += [{"step": 2 * i + 1 + k, "metrics": {"clip_share": i + k}} for k in range(2)]
    points = series(rows, "metrics", "clip_share")
    assert by_rollout(rows, points) == [(2, 0.5), (4, 1.5), (6, 2.5)]
    assert by_rollout([row for row in rows if "metrics" in row], points) == points


def test_every_kind_of_finding_stands_beside_a_chart() -> None:
    shown = {kind for panel in PANELS for kind in panel.findings} | {"calibration_off"}
    assert {kind for kind, _, _ in FAILURES} == shown

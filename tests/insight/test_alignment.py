"""The report of an alignment run: it shows what there is, explains it, and what was written stays text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatwright import runs
from chatwright.insight.alignment import sections, terminal_lines
from chatwright.insight.failures import Finding, findings
from chatwright.insight.outcomes import before_after, gold_against_kl, samples_over_time, win_words
from chatwright.insight.panels import PANELS, find_kl_target
from chatwright.insight.report import render
from chatwright.insight.series import series
from chatwright.recipes.show import show
from helpers.aligned import HEALTHY, HEALTHY_STEPS, ROLLOUTS, Rows, a_run, peak
from helpers.pages import drawn, line, parsed

ATTACK = "</td></table><script>alert('猫')</script><img src=x onerror=alert(1)>&amp;"


@pytest.mark.parametrize("keep", ["step", *HEALTHY, *HEALTHY_STEPS])
def test_whatever_is_missing_the_rest_is_shown(keep: str) -> None:
    rows: Rows = []
    for row in a_run():
        parts = {
            group: {k: v for k, v in row[group].items() if k == keep}
            for group in ("rollout", "metrics")
            if group in row
        }
        rows.append({"step": row["step"], **parts})
    rows += [{"step": 1, "rollout": None, "metrics": None, "evaluation": None, "samples": None, "loss": None}]
    rows += [{"step": 2, "rollout": {keep: None}, "metrics": {keep: float("nan")}, "evaluation": {keep: "x"}}]
    page = "".join(sections(rows, {}))
    parsed(page)
    assert findings(rows) == []
    is_drawn = keep not in ("step", "reward_deviation", "accuracy")
    assert ("<svg" in page) == is_drawn
    assert all(isinstance(line, str) for line in terminal_lines(rows))


def test_a_chart_of_steps_has_a_point_a_rollout() -> None:
    [panel] = [panel for panel in PANELS if panel.title == "Clip share"]
    [curve] = drawn(panel.chart(a_run())).iter("polyline")
    assert len(line(curve)) == ROLLOUTS


def test_gold_is_drawn_over_the_root_of_kl() -> None:
    rows = [
        {"step": i, "rollout": {"kl": float(i * i), "reward": float(i), "gold": 0.1 * i}} for i in range(9)
    ]
    judge, gold = drawn(gold_against_kl(rows)).iter("polyline")
    steps = [b[0] - a[0] for a, b in zip(line(judge), line(judge)[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * 8, abs=0.2), "equal steps of √KL"
    assert [x for x, _ in line(gold)] == [x for x, _ in line(judge)]
    assert "no turn-over" in gold_against_kl(rows)
    bare = [{"step": r["step"], "rollout": {**r["rollout"], "gold": None}} for r in rows]
    assert gold_against_kl(bare) == ""


def test_the_turn_over_is_told_in_words_and_marked() -> None:
    part = gold_against_kl(a_run(gold=peak))
    assert "gold is best here" in part
    [found] = findings(a_run(gold=peak))
    assert f"Gold is best at step {found.step}, √KL = " in part


@pytest.mark.parametrize(
    ("share", "bounds", "verdict"),
    [
        (0.6, (0.55, 0.65), "better"),
        (0.4, (0.3, 0.45), "worse"),
        (0.52, (0.46, 0.58), "no difference"),
        (0.9, None, "chance"),
    ],
)
def test_a_win_rate_says_what_its_interval_allows(
    share: float, bounds: tuple[float, float] | None, verdict: str
) -> None:
    assert verdict in win_words(share, bounds)


def outcome() -> Rows:
    pair = {
        "prompt": ATTACK,
        "before": f"old {ATTACK}",
        "after": f"new {ATTACK}",
        "reward_before": -1.25,
        "reward_after": 2.5,
    }
    calibration = [
        {"predicted": 0.6, "observed": 0.55, "count": 20},
        {"predicted": None, "observed": 1, "count": 1},
    ]
    last = {"win_rate": 0.6, "win_interval": [0.55, 0.65], "before_after": [pair], "calibration": calibration}
    shares = [{"step": s, "evaluation": {"kept_names": s / 200, "seconds_spent": s}} for s in (0, 80)]
    samples = [
        {"step": s, "samples": [{"prompt": ATTACK, "reply": f"at {s} {ATTACK}", "reward": 0.5, "gold": 1}]}
        for s in range(0, 160, 10)
    ]
    return [*a_run(gold=peak), *shares, *samples, {"step": 160, "evaluation": {**last, "samples": [ATTACK]}}]


@pytest.fixture
def aligned(tmp_path: Path) -> runs.Run:
    with runs.start("ppo", tmp_path / f"<b>{'run'}", {"kl": {"target": 6.0}, "note": ATTACK}) as run:
        for row in outcome():
            run.log(**row)
        return run.finish(
            [], best_step=80, win_rate=0.6, win_interval=[0.55, 0.65], after=outcome()[-1]["evaluation"]
        )


def test_the_page_shows_what_the_run_has_and_no_html_of_its_text(aligned: runs.Run) -> None:
    page = render(aligned)
    assert not parsed(page).seen & {"script", "img", "b"}
    for part in (
        "The run kept step 80",
        "Warnings",
        "Win rate against the start",
        "Gold against the judge",
        "√KL",
    ):
        assert part in page
    for part in (
        "Before and after",
        "Shares on held-out prompts",
        "kept names",
        "seconds spent",
        "Loss: policy",
    ):
        assert part in page
    assert "Calibration on held-out pairs" in page
    assert page.count("How to read it") >= 15
    assert ">target<" in page
    assert "before_after" not in page, "replies have their own place, not the table of results"


def test_each_warning_stands_at_the_top_and_beside_its_chart(aligned: runs.Run) -> None:
    page = render(aligned)
    assert page.count('class="warning"') == 2
    chart = page.index("<figcaption>Reward</figcaption>")
    assert (
        page.index('class="warning"') < chart < page.rindex('class="warning"') < page.index("KL to the ref")
    )


def test_replies_stand_side_by_side_over_their_rewards() -> None:
    table = before_after(outcome())
    row = table[table.rindex("<tr>") :]
    assert row.index("old ") < row.index("reward -1.25") < row.index("new ") < row.index("reward 2.5")
    assert row.count("<td>") == 2


def test_samples_are_shown_at_a_few_steps_with_the_first_and_the_last() -> None:
    shown = samples_over_time(outcome())
    assert shown.count("<details") == 5
    assert "step 0<" in shown
    assert "step 150<" in shown
    assert "reward 0.5, gold 1" in shown
    long = samples_over_time([{"step": 1, "samples": [{"prompt": ["x"], "reply": "y" * 9999}]}])
    assert len(long) < 1500


@pytest.mark.parametrize(
    ("rollout", "metrics", "words"),
    [
        ({"equal_groups": 0.5}, {}, "a loss near 0 is right"),
        ({"explained_variance": 0.5}, {}, "hovers around 0"),
        ({}, {"chosen_logprob": -4.0}, "ln 2"),
    ],
)
def test_the_loss_is_explained_for_its_method(
    tmp_path: Path, rollout: dict[str, float], metrics: dict[str, float], words: str
) -> None:
    with runs.start("any", tmp_path / "run", {}) as run:
        run.log(step=1, **({"rollout": rollout} if rollout else {}))
        run.log(step=1, loss={"policy": 0.1}, metrics=metrics, gradient_norm=None)
        page = render(run)
    assert words in page
    assert ("usually become less likely" in page) == bool(metrics)


def test_a_terminal_gets_first_and_last_curves_and_warnings(aligned: runs.Run) -> None:
    lines = terminal_lines(aligned.metrics(), 6.0)
    reward = series(aligned.metrics(), "rollout", "reward")
    [first] = [line for line in lines if line.startswith("reward ")]
    assert f"{reward[0][1]:.3g} → {reward[-1][1]:.3g}" in first
    assert "█" in first
    assert sum(line.startswith("warning: ") for line in lines) == 1
    assert any(line.startswith("It wins 60.0%") for line in lines)


def test_show_prints_the_lines_and_no_replies(aligned: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    show(aligned.directory)
    shown = capsys.readouterr().out
    assert "alignment\nreward " in shown
    assert "warning: the judge's reward rises while gold falls" in shown
    assert "before_after" not in shown
    assert (aligned.directory / "report.html").exists()


def test_the_target_of_the_kl_is_found_in_options() -> None:
    assert find_kl_target({}, {"kl": {"target": 6.0, "coefficient": 0.05}}) == 6.0
    assert find_kl_target({"deep": {"kl": {"target": 2}}}) == 2.0
    assert find_kl_target({"kl_target": 3.5}) == 3.5
    assert find_kl_target({"kl": 0.1}, {"kl": {"target": None}}) is None


def test_rows_survive_the_file_that_holds_them(aligned: runs.Run) -> None:
    assert findings(json.loads(json.dumps(aligned.metrics())), 6.0) == findings(outcome(), 6.0)
    assert isinstance(findings(outcome())[0], Finding)

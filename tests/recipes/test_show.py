"""Where a run came from: every ancestor told once, and of `align` what was not kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.recipes.show import lineage
from chatwright.runs import Run


def make(verb: str, place: Path, *inputs: Path, result: dict[str, Any] | None = None, **parents: Run) -> Run:
    with runs.start(verb, place, {}, parents, inputs) as run:
        (place / "product").write_text(verb)
        return run.finish(["product"], **(result or {}))


def told(run: Run) -> list[str]:
    """The lineage, with names of folders in place of ids and paths."""
    lines = []
    for line in lineage(run):
        words = line.strip().split(" ")
        name = words[1] if words[0] == "file" else words[3]
        indent = " " * (len(line) - len(line.lstrip()))
        lines.append(" ".join([indent + words[0], Path(name).name, *words[2 if words[0] == "file" else 4 :]]))
    return lines


def make_base(place: Path) -> Run:
    """A model whose tokenizer comes from its corpus."""
    (place / "texts").write_text("a text")
    corpus = make("corpus", place / "corpus", place / "texts")
    tokenizer = make("tokenizer", place / "tok", corpus=corpus)
    return make("pretrain", place / "base", corpus=corpus, tokenizer=tokenizer)


def test_a_shared_ancestor_is_told_once(tmp_path: Path) -> None:
    assert told(make_base(tmp_path)) == [
        "pretrain base",
        "  corpus corpus",
        "    file texts",
        "  tokenizer tok",
        "    corpus corpus (told above)",
    ]


def test_what_was_told_of_one_run_is_told_again_of_the_next(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    assert told(base) == told(base)


def test_an_ancestor_that_went_is_named(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    shutil.rmtree(tmp_path / "tok")
    assert told(base)[-1] == "  tokenizer tok (no longer there)"


def make_rounds(place: Path, kept: dict[int, bool]) -> Run:
    """An `align` run whose policies each start from the best before."""
    best = start = make("sft", place / "chat", base=make_base(place))
    out, rounds = place / "out", []
    with runs.start("align", out, {}, {"policy": start}) as run:
        for number, is_kept in kept.items():
            policy = make("dpo", out / f"round-{number}" / f"policy-{number}", start=best)
            best = policy if is_kept else best
            found = {"policy": str(policy.directory.relative_to(out))}
            rounds.append({"round": number, "kept": is_kept, "runs": found})
        if best is not start:
            run.update(parents={**run.info["parents"], "best": runs._parent_entry(out, best)})
        (out / "product").write_text("align")
        return run.finish(["product"], rounds=rounds)


def test_rounds_that_were_not_kept_are_told_after_the_best(tmp_path: Path) -> None:
    looped = make_rounds(tmp_path, {1: True, 2: False, 3: True, 4: False})
    lines = told(looped)
    assert lines[:2] == ["align out", "  sft chat"]
    assert lines[lines.index("  dpo policy-3") :] == [
        "  dpo policy-3",
        "    dpo policy-1",
        "      sft chat (told above)",
        "  dpo policy-2 (round 2, not kept)",
        "    dpo policy-1 (told above)",
        "  dpo policy-4 (round 4, not kept)",
        "    dpo policy-3 (told above)",
    ]


def test_rounds_that_were_cleared_away_are_left_out(tmp_path: Path) -> None:
    looped = make_rounds(tmp_path, {1: False, 2: False})
    shutil.rmtree(looped.directory / "round-1")
    assert told(looped)[-2:] == ["  dpo policy-2 (round 2, not kept)", "    sft chat (told above)"]
    assert not [line for line in told(looped) if "policy-1" in line]


def test_a_loop_that_goes_on_has_no_verdicts_yet(tmp_path: Path) -> None:
    start = make("sft", tmp_path / "chat")
    with runs.start("align", tmp_path / "out", {}, {"policy": start}) as run:
        assert told(run) == ["align out", "  sft chat"]

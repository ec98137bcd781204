"""Run directories: identity, resuming, refusals that show the difference, one holder at a time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chatwright import runs
from chatwright.errors import Interrupted, UserError
from chatwright.runs import OpenRun, Run


def finished(place: Path, verb: str = "corpus", text: str = "x", **options: object) -> Run:
    with runs.start(verb, place, options) as run:
        (place / "product").write_text(text)
        return run.finish(["product"], size=len(text))


def test_a_run_tells_its_story(tmp_path: Path) -> None:
    parent = finished(tmp_path / "a")
    given = tmp_path / "in.txt"
    given.write_text("hello")
    with runs.start("tokenizer", tmp_path / "deep/b", {"vocab_size": 9}, {"corpus": parent}, [given]) as run:
        assert not run.finished
        assert run.resolve({"steps": 3}) == {"steps": 3}
        assert run.resolve({"steps": 4}) == {"steps": 3}, "a plan that stands is kept"
        run.log(step=1, loss=2.0)
        (run.directory / "product").write_text("y")
        done = run.finish(["product"], answer=42)
    info = done.info
    assert (info["verb"], info["status"], info["options"]) == ("tokenizer", "finished", {"vocab_size": 9})
    assert info["parents"]["corpus"]["path"] == "../../a"
    assert info["parents"]["corpus"]["content"] == parent.info["content"]
    assert info["inputs"][0]["bytes"] == 5
    assert {"python", "torch", "numpy"} <= info["versions"].keys()
    assert (done.result, done.plan, done.metrics()) == (
        {"answer": 42},
        {"steps": 3},
        [{"step": 1, "loss": 2.0}],
    )
    assert done.parent("corpus").directory == (tmp_path / "a").resolve()
    assert done.parent("nobody") is None


def test_a_moved_family_finds_its_parents(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    parent = finished(tmp_path / "old/a")
    with runs.start("tokenizer", tmp_path / "old/b", {}, {"corpus": parent}):
        pass
    (tmp_path / "old").rename(tmp_path / "new")
    assert Run(tmp_path / "new/b").parent("corpus").verb == "corpus"


def test_the_same_command_resumes_and_another_is_refused(tmp_path: Path) -> None:
    given, place = tmp_path / "in.txt", tmp_path / "run"
    given.write_text("hello")
    parent = finished(tmp_path / "a")

    def again(verb: str = "sft", parent: Run = parent, **options: object) -> str:
        with runs.start(
            verb, place, {"seed": 0, "model": {"layers": 2}, **options}, {"start": parent}, [given]
        ) as run:
            run.resolve({"steps": 1})
            return str(run.info["id"])

    first = again()
    assert again() == first
    with pytest.raises(UserError, match=r"\(seed: 0 → 1\); give a new -o"):
        again(seed=1)
    with pytest.raises(UserError, match=r"model\.layers: 2 → 3"):
        again(model={"layers": 3})
    with pytest.raises(UserError, match=r"run of 'sft', not 'pretrain'"):
        again("pretrain")
    with pytest.raises(UserError, match=r"start: .*its content differs"):
        again(parent=finished(tmp_path / "other", text="z"))
    given.write_text("changed")
    with pytest.raises(UserError, match=r"inputs: the content of .*in\.txt differs"):
        again()
    given.write_text("hello")
    assert again() == first


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    with runs.start("corpus", tmp_path / "run", {}):
        held = pytest.raises(UserError, match=rf"in use by another process \(pid {os.getpid()}\)")
        with held, runs.start("corpus", tmp_path / "run", {}):
            pass
        assert (tmp_path / "run/run.json").exists()
    with runs.start("corpus", tmp_path / "run", {}):
        pass


def test_a_directory_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    foreign = pytest.raises(UserError, match=r"holds other files and no run\.json; give -o a new or empty")
    with foreign, runs.start("corpus", tmp_path, {}):
        pass
    is_file = pytest.raises(UserError, match="is a file; -o needs a directory")
    with is_file, runs.start("corpus", tmp_path / "thesis.txt", {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("existed", [False, True])
def test_a_new_run_that_is_refused_leaves_nothing(tmp_path: Path, existed: bool) -> None:
    place = tmp_path / "run"
    if existed:
        place.mkdir()
    with pytest.raises(UserError, match="bad"), runs.start("sft", place, {}) as run:
        (run.directory / "tokens").mkdir()
        (run.directory / "tokens" / "half").write_text("x")
        raise UserError("bad input")
    assert place.exists() == existed
    assert not existed or list(place.iterdir()) == []


def test_a_run_with_a_plan_is_kept_whatever_happens(tmp_path: Path) -> None:
    place = tmp_path / "run"
    for error in (UserError("not finite"), Interrupted("stopped")):
        with pytest.raises(type(error)), runs.start("sft", place, {}) as run:
            run.resolve({"steps": 1})
            raise error
        assert Run(place).plan == {"steps": 1}


def test_a_run_begun_by_a_killed_process_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt), runs.start("corpus", place, {}):
        raise KeyboardInterrupt
    with pytest.raises(UserError), runs.start("corpus", place, {}):
        raise UserError("bad input")
    assert Run(place).exists


def test_a_process_killed_while_it_wrote_run_json_does_not_block_the_next(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / ".lock").write_text("4711")
    (place / "run.json.tmp-4711").write_text("{")
    with runs.start("corpus", place, {}) as run:
        assert run.exists


def test_metrics_end_where_the_machine_went_down(tmp_path: Path) -> None:
    run = OpenRun(tmp_path)
    for step in range(1, 6):
        run.log(step=step)
    run.log(step=5, evaluation={"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5, 5]
    run.cut_metrics(3)
    run.log(step=4)
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]
    run.cut_metrics(-1)
    assert run.metrics() == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"verb": "corpus"}', "null", "\x00\xff"])
def test_a_broken_description_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        Run.open(tmp_path)


def test_what_may_serve_as_input(tmp_path: Path) -> None:
    place = tmp_path / "a"
    with pytest.raises(UserError, match=r"there is no run at .*a \(no run\.json in it\)"):
        Run.open(place)
    with runs.start("corpus", place, {}):
        pass
    with pytest.raises(UserError, match="is not finished; run its corpus command again to resume it"):
        Run.open(place)
    done = finished(tmp_path / "b")
    assert Run.open(done, ["corpus"]) == done
    with pytest.raises(UserError, match="is a run of 'corpus'; this needs one of pretrain or sft"):
        Run.open(done, ["pretrain", "sft"])


def test_content_hashes_see_names_and_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"xy")
    second.write_bytes(b"")
    wanted = runs.hash_files([first, second])
    assert runs.hash_files([first, second]) == wanted
    assert runs.hash_files([second, first]) != wanted
    first.write_bytes(b"x")
    second.write_bytes(b"y")
    assert runs.hash_files([first, second]) != wanted


def test_run_json_is_plain_json(tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    assert json.loads((run.directory / "run.json").read_text()) == run.info
    assert os.fspath(run) == str(run) == str(tmp_path / "a")

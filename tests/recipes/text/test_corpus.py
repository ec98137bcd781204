"""The verb `corpus` as users meet it: runs, options, engines, kills, what is taken over from another run."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import chatwright as cw
from chatwright.corpora.accounts import read_report
from chatwright.corpora.store import documents
from chatwright.errors import UserError
from chatwright.runs import Run
from helpers.command import begin, chatwright, killed_when

STEPS = ("clean", "language", "exact", "near", "paragraphs")
OPTIONS = [f"steps={','.join(STEPS)}", "part_mb=1", "validation=0.1", "quality.min_words=3"]


def write_rows(path: Path, count: int, seed: int = 0) -> Path:
    """About 3 kB a row, English and Chinese, some of it twice."""
    draw = random.Random(seed)
    words = [f"{draw.getrandbits(30):x}" for _ in range(3000)] + list("的是了在人有我他这中大来上国")
    texts = [" ".join(draw.choices(words, k=350)) + ".\r\n\n" + "末尾" for _ in range(count)]
    for place in range(10, count, 10):
        texts[place] = texts[place - 7] if place % 20 else texts[place - 7].replace("的", "了", 1)
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts))
    return path


def command(rows: Path, out: Path, *more: str) -> list[str | Path]:
    return ["corpus", rows, "-o", out, *OPTIONS[:3], *more]


def product(out: Path) -> dict[str, bytes]:
    files = [*sorted((out / "text").iterdir()), out / "corpus_report.json"]
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files: reading has two units, and the steps have six parts."""
    folder = tmp_path_factory.mktemp("rows") / "texts"
    folder.mkdir()
    for number in range(2):
        write_rows(folder / f"{number}.jsonl", 1000, number)
    return folder


@pytest.fixture(scope="module")
def whole(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody touched."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = chatwright(*command(rows, out))
    assert done.returncode == 0, done.stderr
    return out


def test_a_finished_run_says_what_was_done(whole: Path) -> None:
    result, report = Run(whole).result, read_report(whole)
    assert [step["name"] for step in report["steps"]] == ["read", *STEPS]
    assert {*report["languages"]} <= {"en", "zh-Hans", "zh-Hant", "und", "ja"} or report["languages"]
    for name in ("read", "kept", "train", "validation", "inputs", "files", "skipped"):
        assert result[name] == report[name]
    assert {*result["seconds"]} == {"read", *STEPS, "write"}
    sample = report["steps"][3]["dropped"]["exact duplicate"]["samples"][0]
    assert {*sample} == {"id", "source", "language", "detail", "text", "after"}
    assert len(json.dumps(result)) < 20_000


def test_again_is_nothing_and_otherwise_is_refused_with_what_saves_the_work(rows: Path, whole: Path) -> None:
    before = (whole / "run.json").read_bytes()
    assert chatwright(*command(rows, whole)).returncode == 0
    assert (whole / "run.json").read_bytes() == before
    done = chatwright(*command(rows, whole, "near.bands=8"))
    assert done.returncode == 2
    assert "(step_options.near: None → {'bands': '8'}); give a new -o, with reuse=" in done.stderr
    assert "Traceback" not in done.stderr


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_a_changed_step_does_again_only_what_depends_on_it(rows: Path, whole: Path, tmp_path: Path) -> None:
    out, alone = tmp_path / "reused", tmp_path / "alone"
    changed = ("near.similarity=0.95",)
    done = chatwright(*command(rows, out, *changed, f"reuse={whole}"))
    assert done.returncode == 0, done.stderr
    assert (
        "taken over read, clean, language, exact, signatures of paragraphs; made anew near, paragraphs"
        in done.stderr
    )
    linked = {
        folder.name for folder in (out / "stages").iterdir() if inodes(folder) <= inodes(whole / "stages")
    }
    names = {
        name.split("-")[1] if name.startswith("signs") else name.split("-", 1)[1].rsplit("-", 1)[0]
        for name in linked
    }
    assert names == {"read", "clean", "language", "exact", "paragraphs"}
    assert not any(name.endswith("-near") or "05-paragraphs" in name for name in linked)
    assert chatwright(*command(rows, alone, *changed)).returncode == 0
    assert product(out) == product(alone) != product(whole)


def test_what_is_taken_over_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, other = tmp_path / "rows.txt", tmp_path / "other.txt"
    rows.write_text("A text of two sentences. It is short.")
    other.write_text("Another text.")

    def told(text: Path, name: str, reuse: Path, steps: str) -> list[str]:
        capsys.readouterr()
        cw.corpus(text, tmp_path / name, steps=steps.split(","), reuse=str(reuse))
        return [line for line in capsys.readouterr().err.splitlines() if "reuse" in line]

    old = cw.corpus(rows, tmp_path / "old", steps=("clean", "exact")).directory
    bare = cw.corpus(rows, tmp_path / "bare", steps=("clean", "exact"), keep_stages=False).directory
    assert told(rows, "same", old, "clean,exact") == [
        "  reuse: taken over read, clean, exact; made anew only the shards"
    ]
    assert told(rows, "more", old, "clean,language,exact") == [
        "  reuse: taken over read, clean; made anew language, exact"
    ]
    (said,) = told(other, "other", old, "clean,exact")
    assert said.startswith("  reuse: nothing fits: the inputs, text_field, without, part_mb, limits or ")
    (said,) = told(rows, "none", bare, "clean,exact")
    assert said == "  reuse: nothing fits: that run kept no stages; all is made anew"


def test_what_reuse_names_has_to_be_a_corpus(rows: Path, tmp_path: Path) -> None:
    done = chatwright(*command(rows, tmp_path / "out", f"reuse={tmp_path}"))
    assert done.returncode == 2
    assert f"reuse={tmp_path} is not a run of corpus" in done.stderr
    assert not (tmp_path / "out").exists()


def test_stages_may_go(rows: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert chatwright(*command(rows, out, f"reuse={whole}", "keep_stages=no")).returncode == 0
    assert product(out) == product(whole)
    assert not (out / "stages").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["engine=inline", "workers=2"],
        ["engine=daft", "workers=2"],
        pytest.param(["engine=daft", "workers=1"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_neither_engine_nor_workers_change_a_byte(
    rows: Path, whole: Path, tmp_path: Path, words: list[str]
) -> None:
    done = chatwright(*command(rows, tmp_path / "out", *words))
    assert done.returncode == 0, done.stderr
    assert product(tmp_path / "out") == product(whole)


@pytest.mark.slow
def test_on_ray_the_bytes_are_the_same(rows: Path, whole: Path, tmp_path: Path) -> None:
    done = chatwright(*command(rows, tmp_path / "out", "engine=ray", "workers=2"))
    assert done.returncode == 0, done.stderr
    assert product(tmp_path / "out") == product(whole)


def moments(out: Path) -> dict[str, Callable[[], bool]]:
    stages = out / "stages"

    def there(pattern: str) -> Callable[[], bool]:
        return lambda: any(stages.glob(pattern))

    return {
        "before anything": lambda: (out / "run.json").exists(),
        "a part is being read": there("00-read-*/*.tmp-*"),
        "one unit is read": there("00-read-*/00000.json"),
        "the second part is cleaned": there("01-clean-*/00000-0001.parquet"),
        "a part is signed": there("signs-near-*/00001-0001.npz"),
        "one step has decided": there("03-exact-*/decided.json"),
        "a decision is being written": there("04-near-*/00000-0002.decision.npz"),
        "a decision is applied": there("05-paragraphs-*/00000-0001.json"),
        "the last round is nearly done": there("ends-*/00001-0002.npz"),
        "a shard is being written": there("shards-*/*.tmp-*"),
        "validation is written": there("shards-*/validation-00000.parquet"),
        "the text is in its place": (out / "text").is_dir,
    }


def killed_in_time(place: Path, moment: str, words: Callable[[Path], list[str | Path]]) -> Path:
    """The folder of a run that was killed at the moment; on a busy machine it may end first, and is begun anew."""
    for attempt in range(6):
        out = place / f"out{attempt}"
        killed_when(moments(out)[moment], *words(out))
        if not Run(out).finished:
            return out
    raise AssertionError(f"the run always ended before it could be killed: {moment}")


@pytest.mark.slow
@pytest.mark.parametrize("moment", list(moments(Path())))
def test_killed_in_any_stage_it_ends_with_the_same_bytes(
    rows: Path, whole: Path, tmp_path: Path, moment: str
) -> None:
    out = killed_in_time(tmp_path, moment, lambda out: command(rows, out))
    done = chatwright(*command(rows, out))
    assert done.returncode == 0, done.stderr
    assert product(out) == product(whole)
    assert not list(out.rglob("*.tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "daft"])
@pytest.mark.parametrize(
    "moment", ["a part is being read", "the second part is cleaned", "a decision is applied"]
)
def test_killed_with_workers_it_ends_with_the_same_bytes(
    rows: Path, whole: Path, tmp_path: Path, moment: str, engine: str
) -> None:
    out = killed_in_time(tmp_path, moment, lambda out: command(rows, out, f"engine={engine}", "workers=2"))
    # Its workers may still be about, and another number of them goes on.
    done = chatwright(*command(rows, out, f"engine={engine}", "workers=1"))
    assert done.returncode == 0, done.stderr
    assert product(out) == product(whole)


@pytest.mark.slow
def test_stopped_by_the_user_and_many_kills(rows: Path, whole: Path, tmp_path: Path) -> None:
    out, draw = tmp_path / "out", random.Random(0)
    code, said = killed_when(moments(out)["one unit is read"], *command(rows, out), number=signal.SIGINT)
    assert code == 130
    assert "run the same command again to go on" in said
    for _ in range(6):
        process = begin(*command(rows, out))
        try:
            process.communicate(timeout=draw.uniform(0.5, 3))
        except Exception:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    assert chatwright(*command(rows, out)).returncode == 0
    assert product(out) == product(whole)


def test_a_run_whose_input_is_refused_is_forgotten(tmp_path: Path) -> None:
    broken = tmp_path / "a.jsonl"
    broken.write_text("{broken\n")
    with pytest.raises(UserError, match=r"a\.jsonl: no whole row in it"):
        cw.corpus(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_rows(broken, 20)
    assert cw.corpus(broken, tmp_path / "out").finished


def test_a_run_that_fails_later_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatwright.corpora.operators.exact import Exact

    rows = write_rows(tmp_path / "a.jsonl", 20)

    def fail(*arguments: object) -> None:
        raise UserError("the disk is full; free some space")

    with monkeypatch.context() as patched:
        patched.setattr(Exact, "decide", fail)
        with pytest.raises(UserError, match="the disk is full"):
            cw.corpus(rows, tmp_path / "out")
    assert list((tmp_path / "out" / "stages").iterdir())
    assert cw.corpus(rows, tmp_path / "out").finished


def test_options_of_steps_from_python_a_file_and_the_command_line(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", 20)
    python = cw.corpus(rows, tmp_path / "python", near={"bands": 8}, steps=["clean", "near"])
    (tmp_path / "options.yaml").write_text("steps: [clean, near]\nnear:\n  bands: 8\n")
    file = cw.corpus(rows, tmp_path / "file", config=tmp_path / "options.yaml")
    done = chatwright("corpus", rows, "-o", tmp_path / "words", "steps=clean,near", "near.bands=8", "--json")
    assert done.returncode == 0, done.stderr
    words = json.loads(done.stdout.splitlines()[-1])
    assert words["kept"] == python.result["kept"] == file.result["kept"]
    assert product(python.directory) == product(file.directory) == product(tmp_path / "words")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("near.bandz=8", "near has no option 'bandz'; did you mean 'bands'"),
        ("neer.bands=8", "corpus has no option 'neer'; did you mean 'near'"),
        ("steps=clean,exakt", "unknown corpus operator 'exakt'; did you mean 'exact'"),
        ("without_steps=qualty", "without_steps=qualty: there is no such step; did you mean 'quality'"),
        ("mix.book=2", "mix.book: no input is called so; did you mean 'books'"),
        ("mix.books=-2", "mix.books=-2 is neither epochs"),
        ("limits.secnds=2", "limits has no option 'secnds'; did you mean 'seconds'"),
        ("engine=spark", "unknown engine 'spark'"),
        ("mirror=nowhere", "mirror=nowhere: there is no such folder"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, option: str, said: str) -> None:
    books = tmp_path / "books"
    books.mkdir()
    write_rows(books / "a.jsonl", 3)
    done = chatwright("corpus", books, "-o", tmp_path / "out", option)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["x y", "One line only.", "只有一行。"])
def test_one_line_in_one_file_is_a_corpus(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    run = cw.corpus(tmp_path / "a.txt", tmp_path / "out")
    both = [*documents(run.directory / "text", "train"), *documents(run.directory / "text", "validation")]
    assert "".join(both).strip() == text
    assert run.result["warnings"]

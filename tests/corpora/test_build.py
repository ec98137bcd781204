import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright import registry
from chatwright.config import dumps
from chatwright.corpora import build
from chatwright.corpora.accounts import CorpusReport, Size
from chatwright.corpora.build import build_corpus
from chatwright.corpora.choices import CorpusOptions
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.engine import layout
from chatwright.corpora.engine.running import InputError
from chatwright.corpora.operators.contract import Decision, Signs
from chatwright.corpora.split import SIDES
from chatwright.corpora.store import count, documents, stored
from chatwright.errors import UserError

PLAIN = CorpusOptions(steps=("clean", "exact"))


def write_rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def found(report: CorpusReport, kind: str) -> dict[str, tuple[int, str]]:
    return {reason: (h.documents, h.first) for reason, h in report.reasons(kind).items()}


def texts_of(directory: Path) -> list[str]:
    return [text for side in SIDES for text in documents(directory, side)]


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_the_whole_way_with_every_count(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "a.txt").write_bytes(b"\xef\xbb\xbfFirst book.\r\nIts second line.\r\n")
    (books / "b.md").write_text("Second bookâ€™s text")
    (books / "c.txt").write_text("First book.\nIts second line.")
    (books / "blank.txt").write_text(" \n")
    (books / "cover.png").write_bytes(b"\x89PNG")
    rows = write_rows(tmp_path / "rows.jsonl", [f"row {i}" for i in range(300)] + ["row 7"])
    with rows.open("a") as file:
        file.write("{broken\n")
    report = build_corpus([books, rows], tmp_path / "out", dataclasses.replace(PLAIN, validation=0.05))
    assert report.read.documents == 4 + 301
    assert report.kept.documents == 2 + 300
    assert found(report, "dropped") == {
        "exact duplicate": (2, str(books / "c.txt")),
        "empty": (1, str(books / "blank.txt")),
    }
    assert report.skipped == {
        "file type .png": {"count": 1, "first": str(books / "cover.png")},
        "broken JSON": {"count": 1, "first": f"{rows}:302"},
    }
    assert report.inputs[str(books)].kept.documents == 2
    assert report.inputs[str(rows)].read.documents == 301
    assert report.files == 5
    docs = [doc for side in SIDES for doc in stored(tmp_path / "out", side)]
    texts = {doc.id: doc.text for doc in docs}
    assert texts[str(books / "b.md")] == "Second book’s text"
    size = Size(len(docs), sum(len(d.text) for d in docs), sum(len(d.text.encode()) for d in docs))
    assert report.kept == size
    assert report.train.documents == count(tmp_path / "out", "train")
    assert report.validation.documents == count(tmp_path / "out", "validation") > 3
    assert [step["name"] for step in report.steps] == ["read", "clean", "exact"]
    for before, after in zip(report.steps, report.steps[1:], strict=False):
        assert after["before"] == before["after"]
    assert [path.name for path in tmp_path.iterdir() if "stages" in path.name] == []


def spoiled(path: Path, count: int = 400) -> Path:
    """Rows with duplicates, empty ones and other marks of real text; about 0.5 kB each."""
    draw = np.random.default_rng(0)
    words = [bytes(draw.integers(97, 123, 7, dtype=np.uint8)).decode() for _ in range(500)]
    texts = [" ".join(draw.choice(words, 80)) + "\r\n字" for _ in range(count)]
    texts[5::50] = [texts[3]] * len(texts[5::50])
    texts[9::70] = [" "] * len(texts[9::70])
    return write_rows(path, texts)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of some kB and shards of some more, so that small inputs make many."""
    monkeypatch.setattr(build, "_MB", 4096)
    monkeypatch.setattr(build, "SHARD_CHARACTERS", 20_000)
    monkeypatch.setattr(layout, "SHARD_CHARACTERS", 20_000)


@pytest.mark.usefixtures("small_parts")
def test_neither_the_parts_nor_the_shards_matter(tmp_path: Path) -> None:
    rows = spoiled(tmp_path / "rows.jsonl")
    one = CorpusOptions(steps=("clean", "exact", "near"), part_mb=1024, validation=0.1)
    first = build_corpus([rows], tmp_path / "one", one)
    many = build_corpus([rows], tmp_path / "many", dataclasses.replace(one, part_mb=1))
    assert dumps(first.full()) == dumps(many.full())
    assert len(list((tmp_path / "many").iterdir())) > len(list((tmp_path / "one").iterdir())) > 1
    for side in SIDES:
        assert list(stored(tmp_path / "many", side)) == list(stored(tmp_path / "one", side))
    assert first.kept.documents < first.read.documents


@pytest.mark.usefixtures("small_parts")
def test_clusters_over_many_parts_are_told_as_those_of_one(tmp_path: Path) -> None:
    rows = spoiled(tmp_path / "rows.jsonl", 100)
    texts = [json.loads(line)["text"] for line in rows.read_text().splitlines()]
    texts[3] = "a word of its own " + texts[3]
    write_rows(rows, texts)
    one = CorpusOptions(steps=("near",), part_mb=1024, validation=0.1)
    first = build_corpus([rows], tmp_path / "one", one)
    many = build_corpus(
        [rows], tmp_path / "many", dataclasses.replace(one, part_mb=1), engine="inline", workers=2
    )
    assert dumps(first.full()) == dumps(many.full())
    clusters = many.full()["steps"][1]["clusters"]
    assert (clusters["count"], clusters["documents"], clusters["share"]) == (1, 3, 0.0306)
    (largest,) = clusters["largest"]
    assert (largest["kept"]["id"], largest["kept"]["source"]) == (f"{rows}:4", str(rows))
    assert {sample["id"] for sample in largest["gone"]} == {f"{rows}:6", f"{rows}:56"}
    assert many.brief()["steps"][1]["clusters"]["sizes"]["3-5"] == {"clusters": 1, "documents": 3}


@pytest.mark.usefixtures("small_parts")
def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    rows = spoiled(tmp_path / "rows.jsonl")
    reports = [
        build_corpus([rows], tmp_path / name, PLAIN, engine="inline", workers=workers)
        for name, workers in (("a", 1), ("b", 1))
    ]
    assert dumps(reports[0].full()) == dumps(reports[1].full())
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize("text", ["ab", "One line.", "One line.\n", "字字", "a b\n" * 2500])
def test_one_tiny_file_is_enough(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    report = build_corpus([tmp_path / "a.txt"], tmp_path / "out", CorpusOptions(steps=()))
    assert report.train.documents == report.validation.documents == 1
    assert "".join(texts_of(tmp_path / "out")) == text


@pytest.mark.parametrize("text", ["ab", "One line.", "字字"])
def test_one_line_passes_the_usual_steps(tmp_path: Path, text: str) -> None:
    report = build_corpus([write_rows(tmp_path / "a.jsonl", [text])], tmp_path / "out")
    assert report.train.documents == report.validation.documents == 1
    assert "".join(texts_of(tmp_path / "out")).strip() == text


def test_two_lines_of_jsonl(tmp_path: Path) -> None:
    build_corpus([write_rows(tmp_path / "a.jsonl", ["one", "two"])], tmp_path / "out", PLAIN)
    assert {text.strip() for text in texts_of(tmp_path / "out")} == {"one", "two"}


def test_inputs_without_text_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no text in .*empty; give \.txt"):
        build_corpus([empty], tmp_path / "out")
    (empty / "a.png").write_bytes(b"\x89PNG")
    (empty / "blank.txt").write_text("\n\n")
    with pytest.raises(InputError, match=r"left out: 1 empty \(first: .*blank.txt\), 1 file type \.png"):
        build_corpus([empty], tmp_path / "out")
    (empty / "blank.txt").write_text("x")
    with pytest.raises(UserError, match="at least 2 characters"):
        build_corpus([empty], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_where_a_step_drops_everything_it_is_named(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["Click here", "Log in"])
    with pytest.raises(InputError, match=r"2 .* by quality .*without_steps=quality keeps what they drop"):
        build_corpus([rows], tmp_path / "out", CorpusOptions(steps=("clean", "quality")))
    named = CorpusOptions(step_options={"language": {"languages": ("fr", "de")}})
    with pytest.raises(InputError, match=r"by language .*; drop language\.languages=fr,de, or give other"):
        build_corpus([rows], tmp_path / "fr", named)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CorpusOptions(validation=0.9), "validation=0.9 is not a share between 0 and 0.5"),
        (CorpusOptions(validation=-1.0), "not a share"),
        (CorpusOptions(part_mb=0), "part_mb=0 is not between"),
        (CorpusOptions(steps=("clen",)), "unknown corpus operator 'clen'; did you mean 'clean'"),
        (CorpusOptions(text_field="txt"), "'txt'; its keys are 'text'"),
        (
            CorpusOptions(step_options={"near": {"bandz": 3}}),
            "near has no option 'bandz'; did you mean 'bands'",
        ),
    ],
)
def test_bad_options(tmp_path: Path, options: CorpusOptions, said: str) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(UserError, match=said):
        build_corpus([rows], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_bad_engines(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(UserError, match="unknown engine 'dafd'; did you mean 'daft'"):
        build_corpus([rows], tmp_path / "out", engine="dafd")
    with pytest.raises(UserError, match="workers=-1 is negative"):
        build_corpus([rows], tmp_path / "out", workers=-1)


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one", "two"])
    build_corpus([rows], tmp_path / "out", PLAIN)
    with pytest.raises(UserError, match="already holds a corpus"):
        build_corpus([rows], tmp_path / "out", PLAIN)
    with pytest.raises(UserError, match="holds other files"):
        build_corpus([rows], tmp_path, PLAIN)


def test_without_steps_texts_stay_as_they_are(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one\r\n", "one\r\n", "two\x00", " "])
    report = build_corpus([rows], tmp_path / "out", CorpusOptions(steps=()))
    assert report.kept.documents == 3
    assert not report.reasons("changed")


@dataclass(frozen=True)
class ProbeOptions:
    fail: str = ""


class Probe:
    """A step that drops short texts, marks long ones, splits those with a bar, and fails on what it is told."""

    Options = ProbeOptions

    def __init__(self, options: ProbeOptions) -> None:
        self.options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        result = []
        for doc in docs:
            if self.options.fail and self.options.fail in doc.text:
                raise ValueError("not this one")
            if len(doc.text) < 4:
                notes.drop(doc, "short", f"{len(doc.text)} characters")
            elif "|" in doc.text:
                result += [
                    Doc(f"{doc.id}#{n}", doc.source, text) for n, text in enumerate(doc.text.split("|"))
                ]
            else:
                result.append(doc.with_mark("long") if len(doc.text) > 9 else doc)
        return result


class FirstWord:
    """A collective step: of documents that begin with the same word the first stays."""

    Options = ProbeOptions

    def __init__(self, options: ProbeOptions) -> None:
        pass

    def sign(self, docs: list[Doc]) -> Signs:
        return {"words": np.array([doc.text.split(" ")[0] for doc in docs], np.str_)}

    def decide(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> list[Decision]:
        seen: set[str] = set()
        decisions: list[Decision] = []
        for one, mask in zip(signs, alive, strict=True):
            keep = []
            for word in one["words"][mask].tolist():
                keep.append(word not in seen)
                seen.add(word)
            decisions.append(np.array(keep, np.bool_))
        return decisions

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        assert isinstance(decision, np.ndarray)
        for doc, keep in zip(docs, decision, strict=True):
            if not keep:
                notes.drop(doc, "same word")
        return [doc for doc, keep in zip(docs, decision, strict=True) if keep]


@pytest.fixture
def _probes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, step in (("probe", Probe), ("first_word", FirstWord)):
        monkeypatch.setitem(registry.table("corpus_operator"), name, f"{__name__}:{step.__name__}")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Probe.__module__])


@pytest.mark.usefixtures("_probes")
def test_another_step_is_one_line_in_the_registry(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", ["one", "three", "fourth|fifth", "a longer text"])
    report = build_corpus([rows], tmp_path / "out", CorpusOptions(steps=("probe",)))
    assert found(report, "dropped") == {"short": (1, f"{rows}:1")}
    docs = {doc.id: doc for side in SIDES for doc in stored(tmp_path / "out", side)}
    assert {id_.removeprefix(str(rows)): doc.text for id_, doc in docs.items()} == {
        ":2": "three",
        ":3#0": "fourth",
        ":3#1": "fifth",
        ":4": "a longer text",
    }
    assert docs[f"{rows}:4"].marks == ("long",)


@pytest.mark.usefixtures("_probes")
@pytest.mark.parametrize("step", ["probe"])
def test_a_step_that_fails_names_itself_and_the_document(tmp_path: Path, step: str) -> None:
    rows = write_rows(tmp_path / "a.jsonl", [f"text {n}" for n in range(50)])
    options = CorpusOptions(steps=("exact", step), step_options={step: {"fail": "text 31"}})
    said = r"the step probe fails on .*a\.jsonl:32: ValueError: not this one \(test_build\.py:\d+\); .*without_steps=probe"
    with pytest.raises(UserError, match=said):
        build_corpus([rows], tmp_path / "out", options)


@pytest.mark.usefixtures("_probes")
@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("sign", "a part whose first document is .*:1"),
        ("decide", "the whole corpus"),
        ("apply", "a part whose first document is .*:1"),
    ],
)
def test_a_collective_step_that_fails_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, where: str
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("not so")

    monkeypatch.setattr(FirstWord, method, fail)
    rows = write_rows(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(UserError, match=f"the step first_word fails on {where}: ValueError: not so"):
        build_corpus([rows], tmp_path / "out", CorpusOptions(steps=("first_word",)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("_probes", "small_parts")
@given(
    texts=st.lists(st.text("ab|c ", min_size=1, max_size=14), min_size=2, max_size=60),
    steps=st.lists(st.sampled_from(["probe", "first_word", "exact", "clean"]), max_size=5),
)
def test_any_order_of_steps_does_what_one_after_the_other_does(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], steps: list[str]
) -> None:
    """The engine, with its rounds, parts and files, against the plain meaning of a list of steps."""
    place = tmp_path_factory.mktemp("any")
    rows = write_rows(place / "a.jsonl", [text * 30 for text in texts])
    wanted = one_after_another(rows, steps)
    if sum(bool(doc.text.strip()) for doc in wanted) < 2:
        return
    report = build_corpus([rows], place / "out", CorpusOptions(steps=tuple(steps), part_mb=1, validation=0.3))
    docs = [doc for side in SIDES for doc in stored(place / "out", side)]
    ids = [doc.id.replace("#head", "").replace("#tail", "") for doc in docs]
    assert {*ids} == {doc.id for doc in wanted}
    assert "".join(sorted("".join(doc.text for doc in docs))) == "".join(
        sorted("".join(doc.text for doc in wanted))
    )
    assert report.kept.documents == len(wanted)


def one_after_another(rows: Path, steps: list[str]) -> list[Doc]:
    from chatwright.corpora.documents import without_empty
    from chatwright.corpora.operators.contract import is_collective, make_step
    from chatwright.corpora.reading.discover import discover
    from chatwright.corpora.reading.read import read
    from chatwright.corpora.reading.skipped import Skipped

    docs = without_empty(read(discover([rows], Skipped()), Skipped()), Notes())
    for name in steps:
        step, notes = make_step(name), Notes()
        if not docs:
            break
        if is_collective(step):
            (decision,) = step.decide([step.sign(docs)], [np.ones(len(docs), bool)])
            docs = without_empty(step.apply(docs, decision, notes), notes)
        else:
            docs = without_empty(step(docs, notes), notes)
    return docs


@pytest.mark.usefixtures("small_parts")
def test_weights_repeat_and_thin_out_what_is_for_training(tmp_path: Path) -> None:
    inputs = [
        write_rows(tmp_path / f"{name}.jsonl", [f"{name} {i}" for i in range(2000)])
        for name in ("books", "my-web", "notes")
    ]
    options = CorpusOptions(steps=(), validation=0.1, mix={"books": 2.5, "my_web": "0.25"})
    report = build_corpus(inputs, tmp_path / "out", options)
    assert [report.inputs[str(path)].epochs for path in inputs] == [2.5, 0.25, 1.0]
    assert report.kept.documents == 6000
    train = list(stored(tmp_path / "out", "train"))
    ids = [doc.id for doc in train]
    assert len({*ids}) == len(ids)
    counts = {name: sum(doc.text.startswith(name) for doc in train) for name in ("books", "my-web", "notes")}
    assert 4300 < counts["books"] < 4700
    assert 380 < counts["my-web"] < 520
    validation = [doc.text for doc in stored(tmp_path / "out", "validation")]
    assert len({*validation}) == len(validation) > 500
    assert not {*validation} & {doc.text for doc in train}
    assert counts["notes"] + sum(text.startswith("notes") for text in validation) == 2000


def test_an_input_may_have_a_share_of_the_training_text(tmp_path: Path) -> None:
    inputs = [
        write_rows(tmp_path / f"{name}.jsonl", [f"{name} {i} " * 20 for i in range(count)])
        for name, count in (("books", 300), ("web", 900))
    ]
    report = build_corpus(inputs, tmp_path / "out", CorpusOptions(steps=(), mix={"books": "70%"}))
    books, web = (report.inputs[str(path)] for path in inputs)
    reached = books.train.characters / (books.train.characters + web.train.characters)
    assert 0.699 < reached < 0.701
    assert [(each.share, each.wished_share) for each in (books, web)] == [
        (round(reached, 4), 0.7),
        (round(1 - reached, 4), None),
    ]
    assert web.epochs == 1
    assert [warning for warning in report.warnings if "books" in warning and "stands 5." in warning]


def test_a_share_that_long_texts_do_not_allow_is_told(tmp_path: Path) -> None:
    write_rows(tmp_path / "books.jsonl", [f"book {i}" for i in range(100)])
    write_rows(tmp_path / "web.jsonl", ["a long text " * 500, "a short text"])
    inputs = [tmp_path / "books.jsonl", tmp_path / "web.jsonl"]
    report = build_corpus(inputs, tmp_path / "out", CorpusOptions(steps=(), mix={"web": "20%"}))
    share = report.inputs[str(inputs[1])].share
    assert abs(share - 0.2) > 0.1
    said = f"{inputs[1]} makes {share:.1%} of training, not 20.0% as wished: some of its texts are too long"
    assert [warning for warning in report.warnings if warning.startswith(said)]


def test_weights_for_what_is_not_there(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "books.jsonl", ["one", "two"])
    with pytest.raises(UserError, match=r"mix\.bocks: no input is called so; did you mean 'books'"):
        build_corpus([rows], tmp_path / "out", CorpusOptions(mix={"bocks": 2}))
    with pytest.raises(UserError, match=r"mix\.books=-1 is neither epochs from 0 to 1000"):
        build_corpus([rows], tmp_path / "out", CorpusOptions(mix={"books": -1}))
    with pytest.raises(UserError, match="the shares make 80%; with shares of all text they must make 100%"):
        build_corpus([rows], tmp_path / "out", CorpusOptions(mix={"books": "80%"}))


def test_progress_goes_from_nothing_to_all_in_each_stage(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [f"row {i}" for i in range(1000)])
    (tmp_path / "b.txt").write_text("text")
    seen: dict[str, list[float]] = {}
    build_corpus(
        [tmp_path],
        tmp_path / "out",
        PLAIN,
        on_progress=lambda title, share: seen.setdefault(title, []).append(share),
    )
    assert list(seen) == ["reading", "clean", "deciding: exact", "exact", "writing", "writing validation"]
    for shares in seen.values():
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0, 1)


def test_named_source_with_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    report = build_corpus([tmp_path / "a.txt", "python:json"], tmp_path / "out", PLAIN)
    assert report.inputs["python:json"].kept.documents > 5


def test_the_package_needs_no_torch() -> None:
    code = "import sys, chatwright.corpora.build; assert not {'torch', 'pyarrow', 'ftfy', 'daft', 'ray'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_named_sources_leave_out_what_is_named_and_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "json.decoder.txt").write_text("A file of that name.")
    inputs: list[str | Path] = ["python:json", tmp_path / "json.decoder.txt"]
    options = dataclasses.replace(PLAIN, without=("json.decoder", "json.dump"))
    report = build_corpus(inputs, tmp_path / "out", options)
    names = {doc.id.rpartition("/")[2] for side in SIDES for doc in stored(tmp_path / "out", side)}
    assert {"json", "json.dumps", "json.JSONDecoder", "json.decoder.txt"} <= names
    assert "json.dump" not in names
    assert report.reasons("dropped")["left out by name"].documents >= 1


def test_a_name_that_no_named_source_has_is_refused(tmp_path: Path) -> None:
    options = dataclasses.replace(PLAIN, without=("json", "jsn"))
    with pytest.raises(UserError, match="without=jsn: no named source of this corpus has it; correct"):
        build_corpus(["python:json", "python:textwrap"], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()

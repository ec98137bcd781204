"""Known answers of the corpus source `python:<package>`."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatwright.corpora.reading.python_docs import Entry, documents, entries, exists, load_modules
from chatwright.errors import UserError


@pytest.fixture(scope="module")
def stdlib() -> dict[str, Entry]:
    return {entry.name: entry for entry in entries("stdlib") if entry.kind != "topic"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("itertools", "module"),
        ("itertools.chain", "class"),
        ("itertools.chain.from_iterable", "method"),
        ("textwrap.dedent", "function"),
        ("str.join", "method"),
        ("print", "function"),
        ("os.path.join", "function"),
        ("os.listdir", "function"),
        ("asyncio.gather", "function"),
        ("json.JSONDecoder", "class"),
        ("unittest.TestCase", "class"),
        ("collections.deque", "class"),
        ("collections.abc.Mapping", "class"),
    ],
)
def test_things_go_by_the_name_people_import(stdlib: dict[str, Entry], name: str, kind: str) -> None:
    assert stdlib[name].kind == kind
    assert stdlib[name].doc


@pytest.mark.parametrize(
    "name",
    [
        "asyncio.tasks.gather",
        "json.decoder.JSONDecoder",
        "posixpath.join",
        "builtins.print",
        "_io.StringIO",
        "str.__add__",
        "bool.bit_length",
        "antigravity",
        "this",
        "idlelib",
        "test",
        "tkinter",
        "textwrap.re",
    ],
)
def test_second_names_private_names_and_junk_are_left_out(stdlib: dict[str, Entry], name: str) -> None:
    assert name not in stdlib


def test_every_name_comes_once_and_in_the_same_order() -> None:
    first = list(entries("stdlib"))
    things = [entry.name for entry in first if entry.kind != "topic"]
    assert len(things) == len(set(things)) > 4600
    assert first == list(entries("stdlib"))


def test_help_topics_belong_to_the_stdlib() -> None:
    topics = {entry.name for entry in entries("stdlib") if entry.kind == "topic"}
    assert {"with", "lambda", "comparisons"} <= topics
    assert not [entry for entry in entries("json") if entry.kind == "topic"]


def test_documents_hold_the_name_and_the_documentation() -> None:
    texts = dict(documents("textwrap"))
    text = texts["python:textwrap/function/textwrap.dedent"]
    assert text.startswith("textwrap.dedent\n\n")
    assert "Remove any common leading whitespace" in text


def test_an_installed_package_with_ufuncs() -> None:
    pytest.importorskip("numpy")
    found = {entry.name for entry in entries("numpy")}
    assert {"numpy.add", "numpy.mean", "numpy.ndarray.reshape", "numpy.linalg.norm"} <= found


def test_a_module_that_fails_to_import_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "cw_sample_package"
    package.mkdir()
    (package / "__init__.py").write_text('"""A sample."""\nprint("noise")\n')
    (package / "broken.py").write_text("raise SystemExit(3)\n")
    (package / "good.py").write_text('def work():\n    """Do the work."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    modules, failed = load_modules("cw_sample_package")
    assert [module.__name__ for module in modules] == ["cw_sample_package", "cw_sample_package.good"]
    assert failed == ["cw_sample_package.broken"]
    assert [entry.name for entry in entries("cw_sample_package")] == [
        "cw_sample_package",
        "cw_sample_package.good.work",
    ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("package", "mend"), [("numpyy", "numpy"), ("stdlb", "stdlib"), ("no-such thing", "install it")]
)
def test_a_wrong_package_is_a_user_error_of_one_line(package: str, mend: str) -> None:
    if mend == "numpy":
        pytest.importorskip("numpy")
    with pytest.raises(UserError) as caught:
        list(entries(package))
    message = str(caught.value)
    assert package in message
    assert mend in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("itertools.chain.from_iterable", True),
        ("os.path.join", True),
        ("str.join", True),
        ("print", True),
        ("pathlib.PosixPath.exists", True),  # inherited, so documented under another name
        ("tkinter", True),
        ("lambda", True),
        ("itertools.dedent", False),
        ("str.dedent", False),
        ("iterwrap", False),
        ("os.path.path.join", False),
    ],
)
def test_what_python_knows_exists(stdlib: dict[str, Entry], name: str, known: bool) -> None:
    assert exists(name) == known

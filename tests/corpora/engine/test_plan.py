import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatwright import registry
from chatwright.config import option
from chatwright.corpora.engine.plan import Plan, Round, adopt, described, make_plan, option_files
from chatwright.errors import UserError


@dataclass(frozen=True)
class ListOptions:
    words: Path | None = option(None, "a file of words")
    lists: tuple[Path, ...] = option((), "more of them")
    least: int = option(1, "how many")


class Each:
    Options = ListOptions


class All(Each):
    def decide(self) -> None: ...


@pytest.fixture(autouse=True)
def _steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        monkeypatch.setitem(registry.table("corpus_operator"), name, f"{__name__}:Each")
    for name in ("X", "Y"):
        monkeypatch.setitem(registry.table("corpus_operator"), name, f"{__name__}:All")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Each.__module__])


def plan(steps: str, inputs: object = "inputs", **options: dict[str, object]) -> Plan:
    return make_plan(Path("root"), inputs, [(name, options.get(name, {})) for name in steps])


@pytest.mark.parametrize(
    ("steps", "rounds"),
    [
        ("", [Round(0, 0, ())]),
        ("ab", [Round(0, 2, ())]),
        ("abXY", [Round(0, 2, (2, 3)), Round(2, 4, ())]),
        ("XYab", [Round(0, 0, (0, 1)), Round(0, 4, ())]),
        ("aXbYc", [Round(0, 1, (1,)), Round(1, 3, (3,)), Round(3, 5, ())]),
        ("X", [Round(0, 0, (0,)), Round(0, 1, ())]),
    ],
)
def test_a_round_ends_where_the_whole_corpus_is_needed(steps: str, rounds: list[Round]) -> None:
    assert plan(steps).rounds == rounds


def folders(made: Plan) -> dict[str, str]:
    return {"read": made.read} | {step.name: step.folder for step in made.steps}


def test_a_changed_step_moves_itself_and_what_comes_after_it() -> None:
    before, after = folders(plan("abXc")), folders(plan("abXc", b={"least": 2}))
    assert {name for name in before if before[name] != after[name]} == {"b", "X", "c"}
    assert folders(plan("abXc")) == before
    other = folders(plan("abXc", inputs="other"))
    assert all(other[name] != before[name] for name in before)


def test_signatures_do_not_depend_on_the_steps_that_decide_beside_them() -> None:
    signs = {step.name: step.signs for step in plan("aXY").steps}
    changed = {step.name: step.signs for step in plan("aXY", X={"least": 2}).steps}
    assert signs["Y"] == changed["Y"]
    assert signs["X"] != changed["X"]
    assert {step.name: step.signs for step in plan("aY").steps}["Y"] == signs["Y"]
    assert {step.name: step.signs for step in plan("bY").steps}["Y"] != signs["Y"]
    between = {step.name: step.signs for step in plan("aXbY").steps}
    assert between["Y"] != signs["Y"]


def test_the_content_of_a_file_that_an_option_names_counts(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("one")
    first = plan("a", a={"words": str(words), "lists": [str(tmp_path)]})
    assert plan("a", a={"words": str(words), "lists": [str(tmp_path)]}) == first
    words.write_text("two")
    assert plan("a", a={"words": str(words), "lists": [str(tmp_path)]}).key != first.key
    assert {*option_files(ListOptions(words, (tmp_path,)))} == {str(words), str(tmp_path)}


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(UserError, match="unknown corpus operator 'clen'"):
        make_plan(Path("root"), 0, [("clen", {})])
    with pytest.raises(UserError, match="a has no option 'leest'; did you mean 'least'"):
        plan("a", a={"leest": 1})


def test_what_another_run_has_of_the_plan_is_taken_over(tmp_path: Path) -> None:
    old, new = (
        dataclasses.replace(p, root=tmp_path / n)
        for n, p in (("old", plan("ab")), ("new", plan("ab", b={"least": 2})))
    )
    for name in old.folders():
        (old.root / name).mkdir(parents=True)
        (old.root / name / "part.json").write_text(name)
        (old.root / name / "part.json.tmp-7").write_text("half")
    assert adopt(new, old.root) == [old.read, old.steps[0].folder]
    assert sorted(path.name for path in new.root.iterdir()) == sorted([old.read, old.steps[0].folder])
    assert [path.name for path in (new.root / old.read).iterdir()] == ["part.json"]
    (new.root / old.read / "part.json").unlink()
    assert (old.root / old.read / "part.json").exists()
    assert adopt(new, old.root) == []


def test_stages_in_words() -> None:
    made = plan("aXY")
    assert described(made, [*made.folders()]) == "read, a, X, Y"
    assert (
        described(made, [made.read, made.steps[1].signs, made.steps[2].folder]) == "read, signatures of X, Y"
    )
    assert described(made, []) == ""

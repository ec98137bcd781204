"""Options from defaults, files and `key=value`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from chatwright.config import at_least, build, merge, option, parse_pairs, read_file
from chatwright.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Options:
    steps: int | None = option(None, "how long")
    name: str = option("x", "what")
    flag: bool = option(False, "whether")
    kind: Literal["a", "b"] = option("a", "which")
    inner: Inner = option(Inner(), "nested")
    parts: tuple[str, ...] = option(("p",), "several")
    group: dict[str, Any] = option({"name": "muon"}, "open")


def test_text_becomes_the_type_of_its_field() -> None:
    made = build(
        Options, {"steps": "1_000", "flag": "yes", "kind": "b", "inner": {"rate": "0.5"}, "parts": "p,q"}
    )
    assert made == Options(steps=1000, flag=True, kind="b", inner=Inner(0.5), parts=("p", "q"))
    assert build(Options, {"steps": "none"}).steps is None
    assert build(Options, {"steps": "1e3"}).steps == 1000


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stps": 1}, "no option 'stps'; did you mean 'steps'?"),
        ({"steps": "ten"}, "steps=ten is not a whole number"),
        ({"steps": "1.5"}, "steps=1.5 is not a whole number"),
        ({"flag": "perhaps"}, "flag=perhaps is not true or false"),
        ({"kind": "c"}, "kind=c is not one of a, b"),
        ({"inner": {"rat": 1}}, "did you mean 'rate'?"),
        ({"inner": 3}, "should be a group of options"),
        ({"steps": "nan"}, "not a whole number"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        build(Options, values)


@dataclass(frozen=True)
class Sizes:
    count: int = 2
    limit: int | None = None
    factor: float = 1.0


def test_options_from_the_least_on_pass_and_none_is_left_alone() -> None:
    at_least(Sizes(), 2, "count", "limit")
    at_least(Sizes(factor=0.5), 0.5, "factor")
    at_least(Sizes(count=-1), 1, "factor")


@pytest.mark.parametrize(
    ("sizes", "least", "group", "said"),
    [
        (Sizes(count=1), 2, "", "count=1 must be at least 2"),
        (Sizes(limit=0), 1, "model.", "model.limit=0 must be at least 1"),
        (Sizes(limit=-30_000_000), 0, "", "limit=-30000000 must be at least 0"),
        (Sizes(factor=-1.0), 0, "keep.", "keep.factor=-1 must be at least 0"),
        (Sizes(factor=0.25), 0.5, "", "factor=0.25 must be at least 0.5"),
    ],
)
def test_an_option_below_the_least_is_named_with_its_group(
    sizes: Sizes, least: float, group: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        at_least(sizes, least, "count", "limit", "factor", group=group)
    assert str(caught.value) == said


def test_nested_keys_and_names_go_together_in_any_order() -> None:
    expected = {"model": {"name": "tiny", "layers": "4"}}
    assert parse_pairs(["model=tiny", "model.layers=4"]) == expected
    assert parse_pairs(["model.layers=4", "model=tiny"]) == expected
    assert merge({"model": {"name": "big", "width": 8}}, {"model": "tiny"}) == {
        "model": {"name": "tiny", "width": 8}
    }


def test_later_layers_win(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("steps: 5\ngroup:\n  momentum: 0.9\n")
    merged = merge({"group": {"name": "muon"}}, read_file(path), parse_pairs(["steps=7"]))
    assert merged == {"group": {"name": "muon", "momentum": 0.9}, "steps": "7"}


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_a_broken_options_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"options.yaml"):
        read_file(path)


def test_a_word_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="key=value"):
        parse_pairs(["=3"])


def test_an_empty_value_is_not_the_default() -> None:
    """What a shell makes of an unset variable must be refused by its owner, and not pass as if it had not been given."""

    @dataclass(frozen=True)
    class Keyed:
        key: str | None = option(None, "a key")
        size: int | None = option(None, "a size")

    assert build(Keyed, {"key": ""}).key == ""
    with pytest.raises(UserError, match="size= is not a whole number"):
        build(Keyed, {"size": ""})

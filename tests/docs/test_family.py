"""The page about the family is what its script writes, tells of every architecture, and its commands name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from chatwright import registry
from chatwright.models.presets import presets
from helpers.scripts import load_script

SCRIPT = Path(__file__).parents[2] / "docs" / "family.py"


@pytest.fixture(scope="module")
def family() -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def pages(family: ModuleType) -> dict[Path, str]:
    return dict(family.pages())


def test_the_committed_pages_are_what_the_script_writes(pages: dict[Path, str]) -> None:
    stale = [
        path.name
        for path, text in pages.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `python docs/family.py`"
    drawn = {path for path in pages if path.suffix == ".svg"}
    assert set((SCRIPT.parent / "family").iterdir()) == drawn, "no picture is left over"


def test_every_architecture_has_its_picture_and_all_of_its_sizes(pages: dict[Path, str]) -> None:
    for ending in ("", ".zh"):
        page = pages[SCRIPT.parent / f"family{ending}.md"]
        for architecture in registry.TABLES["model"]:
            path = SCRIPT.parent / "family" / f"{architecture}{ending}.svg"
            assert f"(family/{path.name})" in page
            assert ElementTree.fromstring(pages[path]).tag.endswith("svg")
        for name, member in presets().items():
            if member.name in registry.TABLES["model"]:
                assert page.count(f"| `{name}` |") == 1


def test_commands_name_what_there_is(family: ModuleType) -> None:
    known = presets()
    for name, member in family.MEMBERS.items():
        [model] = re.findall(r"model=(\S+)", member.command)
        assert known[model].name == name
        for objective in re.findall(r"objective=(\S+)", member.command):
            assert set(objective.split(",")) <= registry.TABLES["objective"].keys()
        for verb in re.findall(r"chatwright (\S+)", member.command):
            assert verb in registry.TABLES["verb"]


def test_both_languages_tell_the_same_figures(family: ModuleType) -> None:
    def figures(text: str) -> set[str]:
        return set(re.findall(r"\d[\d,.]*\d", text))

    for name, member in family.MEMBERS.items():
        english, chinese = member.new
        assert figures(english) == figures(chinese), name

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from chatwright import registry
from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.contract import is_collective, kept, make_step, step_class, step_options
from chatwright.errors import UserError


@dataclass(frozen=True)
class ShortOptions:
    min_characters: int = option(3, "the shortest document that stays")


class Short:
    Options = ShortOptions

    def __init__(self, options: ShortOptions) -> None:
        self.options = options

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        return [doc for doc in docs if len(doc.text) >= self.options.min_characters]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.table("corpus_operator"), "short", f"{__name__}:Short")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Short.__module__])


def test_a_step_is_made_from_its_name_and_options() -> None:
    assert make_step("short").options == ShortOptions()
    step = make_step("short", {"min_characters": "5"})
    assert [doc.text for doc in step([Doc("1", "s", "long enough"), Doc("2", "s", "no")], Notes())] == [
        "long enough"
    ]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("shrt", {}, "unknown corpus operator 'shrt'; did you mean 'short'"),
        ("short", {"min_charcters": 1}, "short has no option 'min_charcters'; did you mean 'min_characters'"),
        ("short", {"min_characters": "many"}, "min_characters=many is not a whole number"),
    ],
)
def test_what_is_not_there_is_refused(name: str, values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        step_options(name, values)


def test_a_decision_says_what_stays() -> None:
    assert kept(np.array([1, 0, 1]), 3).tolist() == [True, False, True]
    assert kept({"keep": np.array([False, True])}, 2).tolist() == [False, True]
    assert kept({"cut": np.array([3])}, 2).tolist() == [True, True]


def needed(name: str, place: Path) -> dict[str, object]:
    """The options without which a step cannot be."""
    if name == "classifier":
        kinds = {"good": "The {} sentence tells a story of many words.", "bad": "buy {} now !!! click >>>"}
        for kind, text in kinds.items():
            lines = [text.format(number) for number in range(40)]
            (place / f"{kind}.txt").write_text("\n".join(lines))
        return {kind: str(place / f"{kind}.txt") for kind in kinds}
    keys = {"decontaminate": ["against"], "classifier": ["good", "bad"]}.get(name, [])
    for key in keys:
        texts = [
            f"A text that is {key} for number {n}, and that is in no corpus, of many words."
            for n in range(60)
        ]
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (place / f"{key}.jsonl").write_text(rows)
    return {key: str(place / f"{key}.jsonl") for key in keys}


@pytest.mark.parametrize("name", sorted(registry.TABLES["corpus_operator"]))
def test_every_step_has_what_the_engine_asks_for(name: str, tmp_path: Path) -> None:
    step, doc, notes = (
        make_step(name, needed(name, tmp_path)),
        Doc("1", "s", "Some text that stands here for any other.\n"),
        Notes(),
    )
    if not is_collective(step):
        assert isinstance(step([doc], notes), list)
        return
    assert len(step.decide([], [])) == 0
    signs = [step.sign([]), step.sign([doc, Doc("2", "s", "字")]), step.sign([])]
    assert all(array.dtype != object for each in signs for array in each.values())
    alive = [np.ones(0, bool), np.array([True, False]), np.ones(0, bool)]
    first, second, third = step.decide(signs, alive)
    assert (len(kept(first, 0)), len(kept(second, 1)), len(kept(third, 0))) == (0, 1, 0)
    assert step.apply([doc], second, notes) == [doc]
    assert notes == Notes()


@pytest.mark.parametrize("name", sorted(registry.TABLES["corpus_operator"]))
def test_every_step_explains_itself_and_its_options(name: str) -> None:
    assert (step_class(name).__doc__ or "").strip()
    for field in dataclasses.fields(step_options(name, {})):
        assert field.metadata["help"], field.name

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.quality import measures as module
from chatwright.corpora.operators.quality.measures import measure

spec = importlib.util.spec_from_file_location("texts", Path(__file__).parent / "texts.py")
assert spec and spec.loader
texts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(texts)


def one(text: str, east: bool = False) -> dict[str, float]:
    return {name: float(values[0]) for name, values in measure([text], [east]).items()}


def test_known_measures_in_english() -> None:
    found = one("The cat sat.\nIt was #1 …\n\nshort\n- an item")
    assert found["size"] == 30
    assert found["words"] == found["tokens"] == 11
    assert found["lines"] == found["plain_lines"] == 4
    assert found["items"] == 0.25
    assert found["ended"] == pytest.approx(2 / 3), "of the three lines of prose, two end in . and …"
    assert found["ellipses"] == 0.25
    assert found["short"] == 0.5
    assert found["stops"] == pytest.approx(4 / 11), "the, it, was, an"
    assert found["hashes"] == pytest.approx(2 / 11)
    assert found["digits"] == pytest.approx(1 / 30)
    assert found["word_length"] == pytest.approx(30 / 11)


def test_known_measures_in_chinese() -> None:
    found = one("我们的书。\n他在读的是鼧鼥鼪", True)
    assert found["han"] == 12
    assert found["rare"] == pytest.approx(3 / 12)
    assert found["stops"] == pytest.approx(7 / 12), (
        "我们的, 他在的是: of them 我 们 的 他 在 的 are counted, and 是"
    )
    assert found["sentence"] == 13
    assert found["ended"] == 0.5


def test_a_text_without_sentences_counts_five_times() -> None:
    assert one("words that go on and on")["sentence"] == 5 * 18
    assert one("Words that end.")["sentence"] == 13


def test_code_and_tables_are_told_apart() -> None:
    assert one(texts.PYTHON)["code"] == 1
    found = one(texts.MARKDOWN)
    assert 0 < found["code"] < 0.3
    assert 0 < found["markup"] < 0.4
    assert one(texts.ENGLISH)["text"] == 1


def test_long_texts_are_measured_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "The end of the day was near, and we were far from home.\n"
    long = one(sentence * 20_000)
    assert long["size"] <= 1 << 18
    assert long["ended"] == 1
    assert long["repeats"] > 0.99
    monkeypatch.setattr(module, "_BLOCK", 100)
    several = [sentence * 3, "b " * 90, sentence]
    alone = [one(text)["size"] for text in several]
    assert measure(several, [False] * 3)["size"].tolist() == alone


def test_nothing_is_no_trouble() -> None:
    assert measure([], []) == {}
    assert all(
        np.isfinite(values).all() for values in measure(["", "\n", " "], [False, True, False]).values()
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=80) | st.text("ab. \n的，。|#`", max_size=80), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_measures_do_not_depend_on_the_batch(pairs: list[tuple[str, bool]]) -> None:
    together = measure([text for text, _ in pairs], [east for _, east in pairs])
    for number, (text, east) in enumerate(pairs):
        alone = measure([text], [east])
        for name, values in together.items():
            assert values[number] == alone[name][0], name
            assert np.isfinite(values[number])

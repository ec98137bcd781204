import random
import tracemalloc

import numpy as np
import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Notes
from chatwright.corpora.operators.duplicates import clusters, signed
from chatwright.corpora.operators.near import Near, NearOptions
from chatwright.errors import UserError
from helpers.collective import collect, in_parts

STEP = Near(NearOptions())
COMMON = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"


def english(seed: int, words: int = 120) -> list[str]:
    draw = random.Random(seed)
    return [f"word{draw.randrange(2000)}" for _ in range(words)]


def chinese(seed: int, characters: int = 200) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(COMMON) for _ in range(characters)]


def changed(units: list[str], count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    copy = list(units)
    for place in draw.sample(range(len(copy)), count):
        copy[place] = "中" if len(copy[place]) == 1 else f"other{place}"
    return copy


def test_the_first_of_documents_that_are_nearly_the_same_stays() -> None:
    texts = [
        " ".join(english(1)),
        "".join(chinese(2)),
        " ".join(english(3)),
        " ".join(changed(english(1), 2)).upper() + "!",
        "，".join(changed(chinese(2), 3)),
        " ".join(english(4)),
    ]
    left, notes = collect(STEP, in_parts(texts, 2, 3))
    assert [doc.id for doc in left] == ["0", "1", "2", "5"]
    found = notes.dropped["near duplicate"]
    assert (found.documents, found.first) == (2, "3")
    assert {sample.detail[:8] for _, sample in found.samples} == {"about 0."}


def test_clusters_are_told_by_size_and_the_largest_by_their_documents() -> None:
    kinds = [1, 2, 1, 3, 1, 2, 4, *[5] * 7, *[6] * 11, 7, 7, 8, 8, 9, 9]
    texts = [" ".join(changed(english(kind), number % 2, number)) for number, kind in enumerate(kinds)]
    left, notes = collect(STEP, in_parts(texts, 3, 9))
    assert {name: (h.documents, h.count) for name, h in notes.clusters.items()} == {
        "2": (4, 8),
        "3-5": (1, 3),
        "6-10": (1, 7),
        "11+": (1, 11),
    }
    gone = sum(happening.count - happening.documents for happening in notes.clusters.values())
    assert gone == len(kinds) - len(left) == notes.dropped["near duplicate"].documents
    ranked = [notes.largest[str(rank)] for rank in range(1, 6)]
    assert [(found.first, found.documents) for found in ranked] == [
        ("14", 11),
        ("7", 7),
        ("0", 3),
        ("1", 2),
        ("25", 2),
    ]
    shown = [sample for _, sample in ranked[2].samples]
    assert [(sample.id, sample.detail[:8]) for sample in shown[:1]] == [("0", "stays")]
    assert {sample.id for sample in shown[1:]} == {"2", "4"}
    assert all(
        sample.detail.startswith("about 0.9") or sample.detail.startswith("about 1") for sample in shown[1:]
    )
    assert len(ranked[0].samples) == 10 and ranked[0].samples[0][1].id == "14"


def test_without_duplicates_there_are_no_clusters() -> None:
    _, notes = collect(STEP, in_parts([" ".join(english(seed)) for seed in range(4)], 2))
    assert notes == Notes()


@pytest.mark.parametrize("conversion", ["s2t", "s2tw", "s2hk"])
def test_the_chinese_script_makes_no_difference(conversion: str) -> None:
    text = "这里后面发现，头发干了；面条里放盐。只有一个系统能运行，着急的台风过去了，" + "".join(chinese(5))
    left, _ = collect(STEP, in_parts([text, opencc.OpenCC(conversion).convert(text)]))
    assert [doc.id for doc in left] == ["0"]


def test_half_of_a_document_is_no_duplicate() -> None:
    left, _ = collect(STEP, in_parts([" ".join(english(1)), " ".join(english(1)[:60] + english(2)[:60])]))
    assert len(left) == 2


def test_what_went_before_does_not_count_as_first() -> None:
    texts = [" ".join(english(1))] * 3
    left, _ = collect(STEP, in_parts(texts, 1), lambda doc: doc.id != "0")
    assert [doc.id for doc in left] == ["1"]


def test_signatures_of_documents_that_are_gone_are_skipped() -> None:
    texts = [" ".join(english(seed)) for seed in (1, 2, 3, 2, 4, 3)]
    left, _ = collect(STEP, in_parts(texts, 3), lambda doc: doc.id != "0")
    assert [doc.id for doc in left] == ["1", "2", "4"]


def test_documents_without_words_stay() -> None:
    left, _ = collect(STEP, in_parts(["", "...", "!!!", "\n"], 2))
    assert len(left) == 4


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_the_division_into_parts_makes_no_difference(kinds: list[int], one: int, other: int) -> None:
    texts = [" ".join(changed(english(kind), number % 2, number)) for number, kind in enumerate(kinds)]
    whole, said = collect(STEP, in_parts(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signed, "_KEY_BYTES", 4 * max(1, len(texts)) * 5)
        patch.setattr(clusters, "_PAIRS", 2)
        patch.setattr(clusters, "_TEXTS", 2)
        left, told = collect(STEP, in_parts(texts, one, other))
    assert left == whole
    assert told == said
    assert [doc.id for doc in left] == [str(n) for n, kind in enumerate(kinds) if kinds.index(kind) == n]


def test_deciding_holds_less_than_the_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every document has a near duplicate; signatures are 388 bytes a document."""
    total, rows = 20_000, 500
    draw = np.random.default_rng(0)
    table = draw.integers(0, 256, (total // 2, 256), np.uint8)[draw.permutation(total) // 2]
    keys = np.ascontiguousarray(table[:, ::8]).astype(np.uint32) * 251 + table[:, 1::8]
    signs = [
        {"bands": keys[i : i + rows], "sketches": table[i : i + rows], "sizes": np.ones(rows, np.uint32)}
        for i in range(0, total, rows)
    ]
    monkeypatch.setattr(signed, "_KEY_BYTES", 4 * 4 * total)
    monkeypatch.setattr(clusters, "_PAIRS", 1000)
    monkeypatch.setattr(clusters, "_TEXTS", 1000)
    tracemalloc.start()
    decisions = STEP.decide(signs, [np.ones(rows, bool)] * len(signs))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(int((~decision["keep"]).sum()) for decision in decisions) == total // 2
    assert most < 300 * total


def test_signatures_are_as_large_as_is_said() -> None:
    signs = STEP.sign(in_parts(["a b", "c d"])[0])
    assert sum(array.nbytes for array in signs.values()) == 2 * 388
    assert all(array.dtype != np.object_ for array in signs.values())


def test_no_documents_no_decisions() -> None:
    assert STEP.decide([], []) == []
    assert collect(STEP, [[], []])[0] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"similarity": 0}, "near.similarity=0 is not between 0 and 1"),
        ({"bands": 0}, "near.bands=0 is not between 1 and 1024"),
        ({"words": 0}, "near.words=0"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Near(NearOptions(**options))  # type: ignore[arg-type]

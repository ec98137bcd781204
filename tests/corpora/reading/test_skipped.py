from collections import Counter

from chatwright.corpora.documents import Tally
from chatwright.corpora.reading import skipped as module
from chatwright.corpora.reading.skipped import Skipped, note_file, note_skip


def some() -> Skipped:
    skipped = Skipped()
    skipped.add("broken JSON", "a.jsonl:3")
    skipped.add("broken JSON", "a.jsonl:9")
    skipped.add_file("empty file", "b.txt")
    skipped.add_file("empty file", "c.txt", "leave it out")
    return skipped


def test_rows_are_counted_and_files_listed() -> None:
    skipped = some()
    assert skipped == {"broken JSON": 2, "empty file": 2}
    assert skipped.places == {"broken JSON": "a.jsonl:3", "empty file": "b.txt"}
    assert skipped.files == {"empty file": [("b.txt", ""), ("c.txt", "leave it out")]}


def test_merging_keeps_the_order_and_the_first_place() -> None:
    whole, later = some(), Skipped()
    later.add("broken JSON", "z.jsonl:1")
    later.add("new", "z")
    later.add_file("empty file", "d.txt")
    whole.merge(later)
    assert whole == {"broken JSON": 3, "empty file": 3, "new": 1}
    assert whole.places == {"broken JSON": "a.jsonl:3", "empty file": "b.txt", "new": "z"}
    assert [path for path, _ in whole.files["empty file"]] == ["b.txt", "c.txt", "d.txt"]


def test_as_json_and_back() -> None:
    again = Skipped.from_json(some().as_json())
    assert (again, again.places, again.files) == (some(), some().places, some().files)


def test_names_that_are_not_unicode_can_be_written() -> None:
    skipped = Skipped()
    skipped.add_file("empty file", "\udcff.txt", "\udcfe")
    assert skipped.files["empty file"] == [(r"\xff.txt", "")]
    assert skipped.places["empty file"] == r"\xff.txt"


def test_the_list_has_an_end(monkeypatch: object) -> None:
    before, module.MOST_LISTED = module.MOST_LISTED, 3
    try:
        skipped = Skipped()
        for number in range(5):
            skipped.add_file("empty file", f"{number}.txt")
        assert skipped == {"empty file": 5}
        assert len(skipped.files["empty file"]) == 3
    finally:
        module.MOST_LISTED = before


def test_simpler_counters_are_served_too() -> None:
    plain: Counter[str] = Counter()
    tally = Tally()
    for counter in (plain, tally):
        note_skip(counter, "a", "x")
        note_file(counter, "b", "y", "z")
    assert plain == tally == {"a": 1, "b": 1}
    assert tally.places == {"a": "x", "b": "y"}

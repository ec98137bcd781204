"""The accounts of clusters; the rest of the report is tested with the whole build."""

from types import SimpleNamespace

from chatwright.corpora.accounts import Sizes, StepAccount, step_accounts
from chatwright.corpora.documents import Doc, Notes
from chatwright.recipes.text.corpus import _tell_clusters


def doc(number: int) -> Doc:
    return Doc(f"id{number}", "s", f"text {number}", "en")


def account(notes: Notes) -> StepAccount:
    docs = [doc(number) for number in range(4)]
    sizes = Sizes()
    sizes.count(docs, [6] * 4)
    return StepAccount("near", {}, sizes, notes)


def test_clusters_are_counted_over_parts_and_the_one_that_stays_is_told_first() -> None:
    first, second = Notes(), Notes()
    first.stands_for(doc(1), 3, 1)
    first.stands_for(doc(2), 1, 0)
    first.stands_for(doc(3), 2, 2)
    first.like(doc(4), 1, "about 0.90 like the one that stays")
    second.like(doc(5), 1, "about 0.80 like the one that stays")
    second.like(doc(6), 2, "about 1.00 like the one that stays")
    second.stands_for(doc(7), 12, 0)
    second.like(doc(8), 0, "about 1.00 like the one that stays")
    first.merge(Notes.from_json(second.as_json()))
    before = Sizes()
    before.count([doc(0)] * 40, [6] * 40)
    found = step_accounts(before.total(), [account(first)])[0]["clusters"]
    assert (found["count"], found["documents"], found["share"]) == (3, 17, 0.425)
    assert found["sizes"] == {
        "2": {"clusters": 1, "documents": 2},
        "3-5": {"clusters": 1, "documents": 3},
        "6-10": {"clusters": 0, "documents": 0},
        "11+": {"clusters": 1, "documents": 12},
    }
    largest = [(one["documents"], one["bytes"], one["kept"]["id"]) for one in found["largest"]]
    assert largest == [(3, 18, "id1"), (2, 12, "id3")]
    assert {sample["id"] for sample in found["largest"][0]["gone"]} == {"id4", "id5"}


def test_a_step_that_found_none_tells_of_none() -> None:
    assert "clusters" not in step_accounts(account(Notes()).sizes.total(), [account(Notes())])[0]


def test_the_largest_stand_by_rank_and_need_not_be_told() -> None:
    notes = Notes()
    for rank in (2, 1):
        notes.stands_for(doc(rank), 5 - rank, rank)
    found = step_accounts(account(notes).sizes.total(), [account(notes)])[0]["clusters"]
    assert [one["kept"]["id"] for one in found["largest"]] == ["id1", "id2"]
    plain = Notes()
    plain.stands_for(doc(1), 2, 0)
    found = step_accounts(account(plain).sizes.total(), [account(plain)])[0]["clusters"]
    assert (found["count"], found["largest"]) == (1, [])
    _tell_clusters(SimpleNamespace(steps=[{"name": "twins", "clusters": found}]))  # type: ignore[arg-type]

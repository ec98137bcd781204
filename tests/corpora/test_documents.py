from chatwright.corpora.documents import Doc, Notes, Tally, digest, drop_empty, encodable


def test_tally_remembers_the_first_place() -> None:
    tally = Tally()
    for place in ("a:1", "a:2"):
        tally.add("broken", place)
    assert tally == {"broken": 2}
    assert tally.places == {"broken": "a:1"}


def test_digest_ignores_only_the_white_space_around() -> None:
    assert digest(" a b\n") == digest("a b") != digest("a  b")
    assert len(digest("\ud800")) == 16


def test_encodable() -> None:
    assert encodable("一 é 🙂") == "一 é 🙂"
    assert encodable("a\ud83d\ude42b\udc00c") == "a🙂bc"


def test_empty_documents_are_dropped_and_counted() -> None:
    notes = Notes()
    documents = [Doc("1", "s", "x"), Doc("2", "s", ""), Doc("3", "s", " \n\u3000")]
    assert [doc.id for doc in drop_empty(iter(documents), notes)] == ["1"]
    assert notes.dropped == {"empty": 2}
    assert notes.dropped.places == {"empty": "2"}

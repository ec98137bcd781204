from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc
from chatwright.corpora.engine import parts
from chatwright.corpora.engine.parts import Part
from chatwright.errors import UserError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
docs = st.builds(
    Doc,
    id=st.integers(0, 30).map(str),
    source=st.sampled_from(["a", "b/"]),
    text=texts,
    language=st.sampled_from(["", "en", "zh-Hans"]),
    marks=st.lists(st.sampled_from(["toxic", "code"]), unique=True).map(tuple),
)
unique = st.lists(docs, max_size=12, unique_by=lambda doc: doc.id)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(unique)
def test_a_part_is_read_as_it_was_written(tmp_path: Path, made: list[Doc]) -> None:
    part = Part.of(made)
    parts.write_part(tmp_path / "a.parquet", part)
    assert parts.read_part(tmp_path / "a.parquet") == part


@st.composite
def step(draw: st.DrawFn) -> tuple[list[Doc], list[Doc]]:
    """Documents, and what some step may make of them: fewer, changed, new ones between them."""
    before = draw(unique)
    after: list[Doc] = []
    for doc in before:
        what = draw(st.sampled_from(["same", "drop", "text", "language", "marks", "more"]))
        if what == "drop":
            continue
        if what == "more":
            after += [Doc(f"{doc.id}#{n}", doc.source, draw(texts), "en") for n in range(2)]
        else:
            changed = {
                "same": doc,
                "text": doc.with_text(draw(texts)),
                "language": doc.with_language("fr"),
                "marks": doc.with_mark("seen"),
            }
            after.append(changed[what])
    return before, after


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(step())
def test_what_a_step_did_is_read_as_it_was(tmp_path: Path, made: tuple[list[Doc], list[Doc]]) -> None:
    before = Part.of(made[0])
    after, origins = before.followed_by(made[1])
    assert after == Part.of(made[1])
    path = tmp_path / "step.parquet"
    path.unlink(missing_ok=True)
    if parts.write_step(path, before, after, origins):
        again = parts.read_step(path, before)
        assert again == after
    else:
        assert after.docs == before.docs
        assert not path.exists()


def test_a_step_writes_only_what_is_new(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    made = [Doc(str(i), "s", noise.bytes(500).hex()) for i in range(200)]
    before = Part.of(made)
    parts.write_part(tmp_path / "all.parquet", before)
    kept, origins = before.followed_by([doc for doc in made if int(doc.id) % 7])
    assert parts.write_step(tmp_path / "kept.parquet", before, kept, origins)
    assert (tmp_path / "kept.parquet").stat().st_size * 20 < (tmp_path / "all.parquet").stat().st_size
    again = parts.read_step(tmp_path / "kept.parquet", before)
    assert all(mine is theirs for mine, theirs in zip(again.docs, kept.docs, strict=True))


@pytest.mark.parametrize("arrays", [np.arange(5), {"a": np.zeros((2, 3)), "b": np.array(["x", "yy"])}, {}])
def test_arrays(tmp_path: Path, arrays: object) -> None:
    parts.write_arrays(tmp_path / "a.npz", arrays)  # type: ignore[arg-type]
    found = parts.read_arrays(tmp_path / "a.npz")
    np.testing.assert_equal(found, arrays)
    assert len(parts.StoredArrays([tmp_path / "a.npz"] * 3)) == 3


def test_broken_files_are_the_users_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"PAR1")
    for read in (parts.read_part, parts.read_arrays):
        with pytest.raises(UserError, match=r"cannot be read .* delete it and run the same command again"):
            read(path)
    assert parts.read_json(path) is None
    assert parts.read_json(tmp_path / "none") is None


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), parts.replacing(tmp_path / "a") as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_when_it_has_its_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert parts.is_whole(tmp_path / "a", 5)
    assert not parts.is_whole(tmp_path / "a", 6)
    assert not parts.is_whole(tmp_path / "b", 5)
    assert parts.is_whole(tmp_path / "b", None)


def test_documents_of_one_id_are_matched_in_order() -> None:
    one, two, three = (Doc("same", "s", text) for text in ("one", "two", "three"))
    other = Doc("other", "s", "other")
    before = Part.of([one, other, two, three])
    assert before.followed_by([one, other, two, three])[1].tolist() == [0, 1, 2, 3]
    assert before.followed_by([two, three])[1].tolist() == [2, 3]
    changed = [one.with_text("1"), other, two.with_text("2"), Doc("new", "s", "new"), three]
    after, origins = before.followed_by(changed)
    assert origins.tolist() == [0, 1, 2, -1, 3]
    assert after == Part.of(changed)

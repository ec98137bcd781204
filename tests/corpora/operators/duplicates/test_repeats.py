import numpy as np
import pytest

from chatwright.corpora.operators.duplicates import repeats


@pytest.mark.parametrize("at_once", [1, 3, 1 << 24])
def test_what_came_before_is_found_however_many_passes(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_AT_ONCE", at_once)
    keys = np.array([[1, 2], [3, 4], [1, 2], [1, 5], [3, 4], [1, 2], [9, 2]], np.uint64)
    parts = [keys[:0], keys[:3], keys[3:]]
    found = [*repeats.repeats(lambda: iter(parts), len(keys))]
    pairs = [(int(at), key) for where, which in found for at, key in zip(where, which.tolist(), strict=True)]
    assert sorted(pairs) == [(2, [1, 2]), (4, [3, 4]), (5, [1, 2])]


def test_of_nothing_there_is_nothing() -> None:
    assert [*repeats.repeats(list, 0)] == []

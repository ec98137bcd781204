import random

import numpy as np

from chatwright.corpora.operators.duplicates.minhash import groups, signatures, similarity
from chatwright.corpora.operators.duplicates.tokens import jaccard


def spoilt(text: str, changes: int, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), changes):
        words[place] = f"new{draw.randrange(10**9)}"
    return " ".join(words)


def test_the_estimate_is_near_the_true_similarity() -> None:
    draw = random.Random(0)
    originals = [" ".join(f"w{draw.randrange(10**6)}" for _ in range(300)) for _ in range(60)]
    copies = [spoilt(text, number % 30, draw) for number, text in enumerate(originals)]
    signed = signatures([*originals, *copies], 32, 8, 5)
    estimates = similarity(signed.sketches[:60], signed.sketches[60:])
    truth = np.array([jaccard(a, b) for a, b in zip(originals, copies, strict=True)])
    assert np.abs(estimates - truth).max() < 0.12
    assert abs(float((estimates - truth).mean())) < 0.01
    strangers = similarity(signed.sketches[:59], signed.sketches[1:60])
    assert strangers.max() < 0.06


def test_bands_agree_as_often_as_theory_says() -> None:
    draw = random.Random(1)
    originals = [" ".join(f"w{draw.randrange(10**6)}" for _ in range(200)) for _ in range(150)]
    copies = [spoilt(text, 5, draw) for text in originals]
    signed = signatures([*originals, *copies], 8, 4, 5)
    truth = np.array([jaccard(a, b) for a, b in zip(originals, copies, strict=True)])
    share = (signed.bands[:150] == signed.bands[150:]).mean()
    assert abs(share - (truth**4).mean()) < 0.05


def test_shapes_and_texts_without_words() -> None:
    signed = signatures(["", "a b c", "。"], 3, 2, 5)
    assert signed.bands.shape == (3, 3)
    assert signed.sketches.shape == (3, 6)
    assert signed.sizes.tolist() == [0, 1, 0]
    assert signatures([], 3, 2, 5).bands.shape == (0, 3)


def test_groups_hold_all_texts_in_order() -> None:
    texts = ["x" * n for n in (5, 5_000, 10, 20_000, 1)]
    found = list(groups(texts, 6_000))
    assert [text for group in found for text in group] == texts
    assert [len(group) for group in found] == [4, 1]

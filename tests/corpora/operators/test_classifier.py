import json
import random
from pathlib import Path

import numpy as np
import pytest

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.classifier import (
    Classifier,
    ClassifierOptions,
    featurize,
    learn,
    read_examples,
)
from chatwright.corpora.operators.contract import make_step
from chatwright.errors import UserError

GOOD = [
    "river",
    "meadow",
    "sheep",
    "hill",
    "mill",
    "spring",
    "河流",
    "草地",
    "山里",
    "春天",
    "的",
    "the",
    "of",
    "and",
]
BAD = [
    "discount",
    "cheap",
    "casino",
    "click",
    "bonus",
    "winner",
    "折扣",
    "便宜",
    "点击",
    "中奖",
    "的",
    "the",
    "of",
    "and",
]


def sentences(words: list[str], count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(words, k=12)) for _ in range(count)]


@pytest.fixture
def options(tmp_path: Path) -> ClassifierOptions:
    (tmp_path / "good.txt").write_text("\n\n".join(sentences(GOOD, 60, 0)), encoding="utf-8")
    rows = (json.dumps({"text": text}) for text in sentences(BAD, 40, 1))
    (tmp_path / "bad.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return ClassifierOptions(good=(tmp_path / "good.txt",), bad=(tmp_path / "bad.jsonl",))


def test_it_learns_to_tell_good_from_bad_and_says_how_well(options: ClassifierOptions) -> None:
    step = Classifier(options)
    assert step.held_out.examples == 20
    assert step.held_out.accuracy == 1
    notes = Notes()
    texts = [*sentences(GOOD, 5, 2), *sentences(BAD, 5, 3)]
    kept = step([Doc(str(number), "s", text) for number, text in enumerate(texts)], notes)
    assert [doc.id for doc in kept] == list("01234")
    assert notes.dropped["classifier"].documents == 5
    detail = notes.dropped["classifier"].samples[0][1].detail
    assert detail.endswith("at least 0.5 (right on 100.0% of 20 examples held out)")
    assert step([], notes) == []


def test_the_held_out_examples_are_not_learned_from() -> None:
    noise = sentences(GOOD, 100, 4)
    labels = np.array([number % 2 for number in range(100)], float)
    _, held_out = learn(noise, labels)
    assert held_out.accuracy < 0.8, "there is nothing to learn"


def test_learning_is_the_same_each_time(options: ClassifierOptions) -> None:
    texts = sentences(GOOD, 3, 5)
    assert Classifier(options).scores(texts).tolist() == Classifier(options).scores(texts).tolist()


def test_scores_do_not_depend_on_the_batch(options: ClassifierOptions) -> None:
    step = Classifier(options)
    texts = [*sentences(GOOD, 2, 6), "", *sentences(BAD, 2, 7)]
    assert step.scores(texts).tolist() == [step.scores([text])[0] for text in texts]


def test_features_are_rows_of_length_one_with_a_constant() -> None:
    features = featurize(["a b a b", "", "字字"])
    squares = np.bincount(features.row, weights=features.value**2, minlength=3)
    assert squares.tolist() == pytest.approx([2, 1, 2])
    assert (features.column == 0).sum() == 3


def test_examples_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("one\ntwo\n\nthree\n", encoding="utf-8")
    assert read_examples(path) == ["one\ntwo", "three"]
    path.write_text("one\ntwo\n", encoding="utf-8")
    assert read_examples(path) == ["one", "two"]


def test_errors_name_the_mend(tmp_path: Path, options: ClassifierOptions) -> None:
    with pytest.raises(UserError, match=r"classifier\.good=FILE classifier\.bad=FILE"):
        make_step("classifier", {"good": "x"})
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo", encoding="utf-8")
    with pytest.raises(UserError, match=r"classifier\.bad=.*few\.txt holds 2 examples; give at least 10"):
        Classifier(ClassifierOptions(good=options.good, bad=(few,)))
    with pytest.raises(UserError, match=r"cannot read the examples in .*none\.txt"):
        Classifier(ClassifierOptions(good=(tmp_path / "none.txt",), bad=options.bad))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "x"}\n{"word": "x"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2: not a row with a text"):
        read_examples(rows)

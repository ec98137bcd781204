"""BLEU and chrF: known answers, and words cut by the script."""

from __future__ import annotations

import pytest

from chatwright.metrics.translation import bleu, chrf, words_of

CHINESE = ["我昨天在公园里看见了一只猫。"]
NEARLY = ["我昨天在公园里看到了一只小猫。"]


def test_chinese_cut_as_13a_gives_nothing_and_as_zh_what_it_is_worth() -> None:
    assert bleu(NEARLY, CHINESE, words="13a").value == 0.0
    found = bleu(NEARLY, CHINESE)
    assert found.value == pytest.approx(bleu(NEARLY, CHINESE, words="zh").value)
    assert found.value > 50
    assert "tok:zh" in found.signature


def test_bleu_by_hand() -> None:
    """Of 6, 5, 4 and 3 runs of one to four words 5, 3, 2 and 1 are right; nothing is too short."""
    found = bleu(["the cat sat on the mat"], ["the cat sat on a mat"])
    assert found.value == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert "tok:13a" in found.signature


def test_the_same_text_is_worth_a_hundred_and_another_nothing() -> None:
    for text in ("The cat sat on the mat again.", "猫又坐在垫子上了。"):
        assert bleu([text], [text]).value == pytest.approx(100)
        assert chrf([text], [text]).value == pytest.approx(100)
        assert chrf(["zzzz"], [text]).value == 0.0


def test_chrf_by_hand() -> None:
    """ab against abc: of runs of one character precision 1 and recall 2/3, of two 1 and 1/2; none of three."""
    from sacrebleu.metrics import CHRF

    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    wanted = 5 * precision * recall / (4 * precision + recall)
    assert CHRF(char_order=2).corpus_score(["ab"], [["abc"]]).score == pytest.approx(100 * wanted)
    assert "nc:6" in chrf(["ab"], ["abc"]).signature


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["The cat sees 猫."], "13a"),
        (["猫看见 the dog 了，它很高兴。"], "zh"),
        (["私は猫が好きです。"], "char"),
        (["แมวนั่งบนเสื่อ"], "char"),
        (["Кошка сидит на ковре."], "13a"),
        ([""], "13a"),
    ],
)
def test_words_follow_the_script(texts: list[str], words: str) -> None:
    assert words_of(texts) == words

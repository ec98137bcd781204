import numpy as np
import pytest

from chatwright.corpora.operators import characters


@pytest.mark.parametrize(
    ("character", "kind"),
    [
        ("a", characters.LATIN),
        ("é", characters.LATIN),
        ("Ａ", characters.LATIN),
        ("Ж", characters.LETTER),
        ("ש", characters.LETTER),
        ("한", characters.HANGUL),
        ("字", characters.HAN),
        ("𠀀", characters.HAN),
        ("か", characters.KANA),
        ("7", characters.DIGIT),
        ("\n", characters.NEWLINE),
        ("\t", characters.SPACE),
        ("　", characters.SPACE),
        ("。", characters.END),
        (",", characters.PUNCTUATION),
        ("{", characters.SIGN),
        ("\ufffd", characters.BROKEN),
        ("\ue123", characters.BROKEN),
        ("😀", characters.OTHER),
    ],
)
def test_kinds(character: str, kind: int) -> None:
    assert characters.kinds_of(characters.to_codes(character))[0] == kind


def test_packed_counts_are_those_of_each_table() -> None:
    codes, starts = characters.joined(["aaé7", "", "字x"])
    kinds = characters.kinds()
    table = characters.packed(kinds == characters.LATIN, kinds == characters.DIGIT, kinds == characters.HAN)
    counts = characters.unpacked(characters.per_span(table[codes], starts))
    assert np.stack(counts).tolist() == [[3, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_daily_characters_of_both_scripts_are_common_and_mojibake_is_not() -> None:
    def rare(text: str) -> float:
        return 1 - float(characters.common_han()[characters.to_codes(text)].mean())

    assert rare("我们在学习语言模型的训练方法") == 0
    assert rare("我們在學習語言模型的訓練方法") == 0
    assert rare("".join("我们在学习语言模型的训练方法".encode().decode("gbk", "ignore").split())) > 0.3


def test_sides_of_the_script() -> None:
    simplified, traditional = characters.script_sides()
    assert simplified[ord("们")] and not traditional[ord("们")]
    assert traditional[ord("們")] and not simplified[ord("們")]
    assert not simplified[ord("后")], "also a word of its own in traditional text"
    assert not (simplified & traditional).any()
    assert not (simplified | traditional)[ord("人")]

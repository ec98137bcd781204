import random
import unicodedata

import pytest

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.repair import repair, repair_documents

SENTENCES = [
    "naïve café, déjà vu",
    "“curled” — it’s",
    "price: £5 and 3€",
    "模型是什么？",
    "Übergröße für Äpfel",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("codec", ["windows-1252", "latin-1", "macroman"])
def test_mojibake_is_undone_also_in_the_middle_of_good_text(sentence: str, codec: str) -> None:
    try:
        broken = sentence.encode().decode(codec)
    except UnicodeDecodeError:
        pytest.skip("this sentence has bytes that the code page lacks")
    assert repair(f"一行好的。\nplain\n{broken}\nend") == f"一行好的。\nplain\n{sentence}\nend"


def test_the_usual_cases() -> None:
    assert repair("itâ€™s naÃ¯ve") == "it’s naïve"
    assert repair("voilÃ  le travail") == "voilà le travail"
    assert repair("æ¨¡åž‹æ˜¯ä»€ä¹ˆï¼Ÿ") == "模型是什么？"
    assert repair("don\x92t") == "don’t"
    assert repair("itâ€™s &lt;b&gt; ﬁ Ａ ‘x’") == "it’s &lt;b&gt; ﬁ Ａ ‘x’"


@pytest.mark.parametrize(
    "text",
    [
        "全角标点：，。！？（）【】「」《》——……“引号”‘单’；ＡＢＣ１２３　空格",
        "x = '&lt;b&gt;' # ﬁ ligature, “quotes”, … and ½ ² ™ ①\n\tif a != b:\n",
        "Où est passé l'été ? Ça va très bien, à la carte. ¿Qué? ¡Olé! Straße, Ægir, œuvre",
        "Все счастливые семьи похожи друг на друга",
        "吾輩は猫である。カタカナ。모든 국민은",
        "👩‍👩‍👧‍👦 🇨🇳 ❤️ ☕️",
        "a │ b └── c ├── d ─ │\xa0x",
        "α + β ≤ γ, ∀x ∈ ℝ: √2 ≈ 1.41, ½π, 20 °C ± 3 µm",
        "",
        "\n\n\t",
    ],
)
def test_good_text_is_untouched(text: str) -> None:
    assert repair(text) == text


def test_line_breaks_controls_and_marks() -> None:
    assert repair("a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch") == "a\nb\nc\nd\ne\nf\ng\nh".replace("e\nf", "e…f")
    assert repair("\ufeffa\x00b\x07c\x7fd\ufeff") == "abcd"
    assert repair("\x1b[31mred\x1b[0m") == "red"
    assert repair("a\ud800b") == "ab"
    assert repair("字\ufeff字\r\n") == "字字\n"


def test_nfc_not_nfkc() -> None:
    assert repair("e\u0301 ① ﬁ Ａ") == "é ① ﬁ Ａ"


def test_idempotent_on_random_text() -> None:
    rng = random.Random(0)
    alphabet = "abc \n\t\r\x00\x1b[m0é\u0301ÃÂ©â€™一，🙂\ufeff\u2028\x85\x92\xa0"
    for _ in range(500):
        once = repair("".join(rng.choices(alphabet, k=40)))
        assert unicodedata.is_normalized("NFC", once)
        assert "\r" not in once
        once.encode()


def test_fast_path_agrees_with_the_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    from chatwright.corpora import repair as module

    rng = random.Random(1)
    pieces = [
        *SENTENCES,
        *(s.encode().decode("windows-1252", "ignore") for s in SENTENCES),
        "plain",
        "à la",
        "Ã la",
    ]
    texts = [" ".join(rng.choices(pieces, k=4)) for _ in range(300)]
    fast = [repair(text) for text in texts]
    monkeypatch.setattr(module, "_SUSPECT", re.compile(""))
    assert fast == [repair(text) for text in texts]


def test_operator_counts_what_changed() -> None:
    notes = Notes()
    documents = [Doc("1", "s", "good"), Doc("2", "s", "bad\r\n")]
    assert [doc.text for doc in repair_documents(iter(documents), notes)] == ["good", "bad\n"]
    assert notes.changed == {"repaired": 1}
    assert notes.changed.places == {"repaired": "2"}

import random
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators import clean as module
from chatwright.corpora.operators.clean import Clean, CleanOptions

CLEAN = Clean(CleanOptions())
SENTENCES = [
    "naïve café, déjà vu",
    "“curled” — it’s",
    "price: £5 and 3€",
    "模型是什么？",
    "Übergröße für Äpfel",
]
ALPHABET = "abc \n\t\r\x00\x1b[m0é\u0301ÃÂ©â€™一，🙂\ufeff\u2028\x85\x92\xa0\u200b\u200d\u3000\u2003-+:\ud800"


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("codec", ["windows-1252", "latin-1", "macroman"])
def test_mojibake_is_undone_also_in_the_middle_of_good_text(sentence: str, codec: str) -> None:
    try:
        broken = sentence.encode().decode(codec)
    except UnicodeDecodeError:
        pytest.skip("this sentence has bytes that the code page lacks")
    assert CLEAN.text(f"一行好的。\nplain\n{broken}\nend") == f"一行好的。\nplain\n{sentence}\nend"


def test_the_usual_mojibake() -> None:
    assert CLEAN.text("itâ€™s naÃ¯ve") == "it’s naïve"
    assert CLEAN.text("voilÃ  le travail") == "voilà le travail"
    assert CLEAN.text("æ¨¡åž‹æ˜¯ä»€ä¹ˆï¼Ÿ") == "模型是什么？"
    assert CLEAN.text("don\x92t") == "don’t"
    assert CLEAN.text("itâ€™s &lt;b&gt; ﬁ Ａ ‘x’") == "it’s &lt;b&gt; ﬁ Ａ ‘x’"
    assert Clean(CleanOptions(mojibake=False)).text("naÃ¯ve") == "naÃ¯ve"


@pytest.mark.parametrize(
    "text",
    [
        "全角标点：，。！？（）【】「」《》——……“引号”‘单’；ＡＢＣ１２３　空格",
        "x = '&lt;b&gt;' # ﬁ ligature, “quotes”, … and ½ ² ™ ①\n\tif a != b:\n\t\treturn  1",
        "Où est passé l'été ? Ça va très bien, à la carte. ¿Qué? ¡Olé! Straße, Ægir, œuvre",
        "Все счастливые семьи похожи друг на друга",
        "吾輩は猫である。カタカナ。모든 국민은",
        "👩‍👩‍👧‍👦 🇨🇳 ❤️ ☕️ 👩🏽‍💻",
        "می‌خواهم क्‍ष ശ്ര‍",
        "a │ b └── c ├── d ─ │x",
        "α + β ≤ γ, ∀x ∈ ℝ: √2 ≈ 1.41, ½π, 20 °C ± 3 µm",
        "```python\n    def f():\n        pass\n```",
        "    indented first line\nsecond",
        "---\n\nA line, then prose.",
        "--- a/file\n+++ b/file",
        "",
    ],
)
def test_good_text_is_untouched(text: str) -> None:
    doc, notes = Doc("1", "s", text), Notes()
    assert CLEAN([doc], notes)[0] is doc
    assert not notes.changed


def test_line_breaks_controls_and_marks() -> None:
    assert CLEAN.text("a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch") == "a\nb\nc\nd\ne…f\ng\nh"
    assert CLEAN.text("\ufeffa\x00b\x07c\x7fd\ufeff") == "abcd"
    assert CLEAN.text("\x1b[31mred\x1b[0m") == "red"
    assert CLEAN.text("a\ud800b") == "ab"
    assert CLEAN.text("字\ufeff字\r\n") == "字字"


def test_invisible_characters_go_where_no_script_needs_them() -> None:
    assert CLEAN.text("zero\u200bwidth\u200c\u200djoin\u2060er") == "zerowidthjoiner"
    assert CLEAN.text("soft\xadhy\xadphen") == "softhyphen"
    assert CLEAN.text("中\u200b文\u200f") == "中文"
    assert CLEAN.text("\u202eevil\u202c") == "evil"


def test_white_space() -> None:
    assert CLEAN.text("a\xa0b\u2003c\u202fd") == "a b c d"
    assert CLEAN.text("　　他说。\n　　她说。　\n") == "他说。\n她说。"
    assert CLEAN.text("\n\na  \nb\t \n\n\n\n\n\nc\n\n") == "a\nb\n\n\nc"
    assert Clean(CleanOptions(blank_lines=0)).text("a\n\nb\n\n\nc") == "a\nb\nc"
    assert CLEAN.text("a" + " " * 50_000 + "\nb") == "a\nb"


def test_front_matter_goes_and_rules_stay() -> None:
    page = '---\ntitle: "A: b"\ntags:\n  - x\n  - y\n---\n\n# Heading\n\n---\ntitle: no\n---'
    assert CLEAN.text(page) == "# Heading\n\n---\ntitle: no\n---"
    assert CLEAN.text("+++\ntitle = 'x'\ndraft = true\n+++\nText") == "Text"
    assert CLEAN.text("\ufeff\n---\na: 1\n...\nText") == "Text"
    assert CLEAN.text("---\nNo key here\n---\nText") == "---\nNo key here\n---\nText"
    assert CLEAN.text("---\nopen: never closed\nText") == "---\nopen: never closed\nText"
    assert Clean(CleanOptions(front_matter=False)).text(page) == page


def test_front_matter_is_settings_from_end_to_end() -> None:
    scene = "---\nHamlet: To be or not to be.\n\nA long scene of prose.\n\n---\n\nOphelia: My lord."
    assert CLEAN.text(scene) == scene
    toml = "+++\na = 1\nProse that sets nothing.\n+++\nText"
    assert CLEAN.text(toml) == toml
    settings = '# comment\n\na: [\n  b,\n]\n\'c d\': {}\n- item\nword-list: |\n  prose\ne: ["f",\n"g", "h"]'
    assert CLEAN.text(f"---\n{settings}\n---\nText") == "Text"
    assert CLEAN.text("+++\na = [\n  1,\n]\n[params]\nb.c = 2\n+++\nText") == "Text"


def test_a_rule_before_many_odd_lines_takes_no_long() -> None:
    text = "---\na: b\n" + "\"a\" 'b', " * 20_000 + "x\n" + "\n# c" * 50_000
    begun = time.process_time()
    CLEAN.text(text)
    assert time.process_time() - begun < 2


def test_nfc_not_nfkc() -> None:
    assert CLEAN.text("e\u0301 ① ﬁ Ａ") == "é ① ﬁ Ａ"


def test_the_quick_sniff_agrees_with_a_full_look(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    rng = random.Random(1)
    broken = (s.encode().decode("windows-1252", "ignore") for s in SENTENCES)
    pieces = [*SENTENCES, *broken, "plain", "à la", "Ã la"]
    texts = [" ".join(rng.choices(pieces, k=4)) for _ in range(300)]
    quick = [CLEAN.text(text) for text in texts]
    monkeypatch.setattr(module, "_SUSPECT", re.compile(""))
    assert quick == [CLEAN.text(text) for text in texts]


def test_what_changed_is_noted_by_kind_once_a_document() -> None:
    notes = Notes()
    docs = [
        Doc("1", "s", "good"),
        Doc("2", "s", "bad\x00\x00\r\n"),
        Doc("3", "s", "---\na: b\n---\nCafÃ© \u200b!"),
    ]
    assert [doc.text for doc in CLEAN(docs, notes)] == ["good", "bad", "Café !"]
    counts = {reason: happening.documents for reason, happening in notes.changed.items()}
    assert counts == {
        "control characters": 1,
        "white space": 1,
        "mojibake": 1,
        "invisible characters": 1,
        "front matter": 1,
    }
    assert notes.changed["mojibake"].first == "3"


@settings(max_examples=400, deadline=None)
@given(st.text(ALPHABET, max_size=60) | st.text(max_size=60))
def test_cleaning_is_idempotent_and_leaves_valid_composed_text(text: str) -> None:
    once = CLEAN.text(text)
    assert CLEAN.text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not {"\r", "\x00", "\ufeff", "\x1b", "\u2028"} & set(once)
    once.encode()
    assert len(once) <= len(unicodedata.normalize("NFC", text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(ALPHABET, max_size=20), max_size=5))
def test_documents_stay_in_order_and_number(texts: list[str]) -> None:
    docs = [Doc(str(number), "s", text) for number, text in enumerate(texts)]
    assert [doc.id for doc in CLEAN(docs, Notes())] == [doc.id for doc in docs]


@given(st.text("ab d1.,\n", max_size=80))
@settings(max_examples=100, deadline=None)
def test_words_of_plain_text_stay(text: str) -> None:
    assert CLEAN.text(text).split() == text.split()

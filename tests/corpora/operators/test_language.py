import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators import language as module
from chatwright.corpora.operators.language import Language, LanguageOptions, identify

DATA = Path(__file__).parents[4] / "shared" / "data"

LINES = {
    "en": [
        "The harbour was quiet when we came back in the evening.",
        "Can you tell me where the nearest station is?",
        "She had never seen so many birds at once.",
        "Rain is expected later this week",
        "Don't forget your keys.",
        "a slow, sad and beautiful film",
    ],
    "zh-Hans": [
        "我们昨天晚上才从海边回来。",
        "请问最近的车站在哪里？",
        "这本书讲的是一个医生的故事",
        "安装 Python 之后，运行 `pip install torch` 即可。",
        "不好吃",
        "床前明月光，疑是地上霜。",
    ],
    "zh-Hant": [
        "我們昨天晚上才從海邊回來。",
        "請問最近的車站在哪裡？",
        "這本書講的是一個醫生的故事",
        "國破山河在，城春草木深。感時花濺淚，恨別鳥驚心。",
        "安裝 Linux 之後，請重新開機。",
    ],
    "fr": [
        "Le port était calme quand nous sommes rentrés.",
        "Où se trouve la gare la plus proche ?",
        "Elle n'avait jamais vu autant d'oiseaux.",
        "Il pleut depuis ce matin dans la vallée",
    ],
    "de": [
        "Der Hafen war still, als wir abends zurückkamen.",
        "Wo ist hier der nächste Bahnhof?",
        "Sie hatte noch nie so viele Vögel gesehen.",
        "Es regnet seit heute Morgen",
    ],
    "es": [
        "El puerto estaba tranquilo cuando volvimos por la noche.",
        "¿Dónde está la estación más cercana?",
        "Nunca había visto tantos pájaros juntos.",
    ],
    "it": [
        "Il porto era tranquillo quando siamo tornati la sera.",
        "Dove si trova la stazione più vicina?",
        "Non aveva mai visto così tanti uccelli.",
    ],
    "pt": [
        "O porto estava calmo quando voltamos à noite.",
        "Onde fica a estação mais próxima?",
        "Ela nunca tinha visto tantos pássaros de uma vez.",
    ],
    "nl": [
        "De haven was stil toen wij 's avonds terugkwamen.",
        "Waar is het dichtstbijzijnde station?",
    ],
    "ru": [
        "В гавани было тихо, когда мы вернулись вечером.",
        "Скажите, где ближайшая станция?",
        "Дождь идёт с самого утра",
    ],
    "ja": ["港は静かだった。", "一番近い駅はどこですか。", "彼女はこんなに多くの鳥を見たことがなかった。"],
    "ko": ["우리가 저녁에 돌아왔을 때 항구는 조용했다.", "가장 가까운 역이 어디입니까?"],
    "ar": ["كان الميناء هادئا عندما عدنا في المساء.", "أين تقع أقرب محطة من فضلك؟"],
    "el": ["Το λιμάνι ήταν ήσυχο όταν γυρίσαμε το βράδυ."],
}


def test_short_lines() -> None:
    pairs = [(line, language) for language, lines in LINES.items() for line in lines]
    found = identify([line for line, _ in pairs])
    wrong = [(got, *pair) for got, pair in zip(found, pairs, strict=True) if got != pair[1]]
    assert len(wrong) <= 0.03 * len(pairs), wrong


def test_documents() -> None:
    documents = {language: " ".join(lines) * 3 for language, lines in LINES.items()}
    assert identify(list(documents.values())) == list(documents)


def test_what_has_no_letters_has_no_language() -> None:
    assert identify(["", "123 456", "!!! — …", "\n"]) == ["und"] * 4


def test_code_does_not_make_a_chinese_page_english() -> None:
    code = "```python\nfor name in names:\n    print(name, end='')\n```\n" * 5
    page = f"# 循环\n\n下面的例子打印所有的名字：\n\n{code}\n运行它，看看会发生什么。"
    assert identify([page]) == ["zh-Hans"]
    assert identify(["The word 漢字 means Chinese characters, and it is used in Japan and Korea too."]) == [
        "en"
    ]


def test_long_texts_are_judged_by_three_windows() -> None:
    english = "He went to the market and bought what the others had left for him there. "
    assert identify([english * 5000]) == ["en"]
    assert identify(["我们去市场买了别人留下的东西。" * 20_000]) == ["zh-Hans"]


def test_exceptions_of_cld2_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    import pycld2

    def refuse(*_: object, **__: object) -> None:
        raise pycld2.error("input contains invalid UTF-8")

    assert identify(["it is \x00\x01 a line of the text with \x1f control characters"]) == ["en"]
    monkeypatch.setattr(pycld2, "detect", lambda *_, **__: (True, 9, (("X_Inherited", "xx-Qaai", 99, 1.0),)))
    assert identify(["xyz " * 100]) == ["und"]
    monkeypatch.setattr(pycld2, "detect", refuse)
    assert identify(["this is what the small words of the line say"]) == ["en"]
    assert identify(["xyz"]) == ["und"]


def docs(*texts: str) -> list[Doc]:
    return [Doc(str(number), "s", text) for number, text in enumerate(texts)]


def test_all_stay_when_no_language_is_named() -> None:
    notes = Notes()
    out = Language(LanguageOptions())(docs(*(lines[0] for lines in LINES.values())), notes)
    assert [doc.language for doc in out] == list(LINES)
    assert not notes.dropped and not notes.changed


def test_other_languages_are_dropped_with_their_name() -> None:
    notes = Notes()
    step = Language(LanguageOptions(languages=("en", "zh")))
    out = step(docs(LINES["en"][0], LINES["fr"][0], LINES["zh-Hant"][0], LINES["zh-Hans"][0]), notes)
    assert [doc.language for doc in out] == ["en", "zh-Hant", "zh-Hans"]
    dropped = notes.dropped["other language"]
    assert (dropped.documents, dropped.first, dropped.samples[0][1].detail) == (1, "1", "fr, wanted en, zh")
    only = Language(LanguageOptions(languages=("zh-Hans",)))(
        docs(*(lines[0] for lines in LINES.values())), Notes()
    )
    assert [doc.language for doc in only] == ["zh-Hans"]


def test_foreign_passages_are_left_out_of_a_document() -> None:
    english = " ".join(LINES["en"])
    french = " ".join(LINES["fr"])
    french_code = "que le code reste dans la langue et ne soit pas touché par les autres"
    code = f"```\n{french_code}\n\n{french_code}, même après une ligne vide\n\n{french_code}\n```"
    text = "\n\n".join(
        [english, french, "Merci.", " ".join(LINES["ja"]) * 2, code, "x = foo(bar, baz)", english]
    )
    notes = Notes()
    kept = Language(LanguageOptions(languages=("en",)))(docs(text, english), notes)
    assert kept[0].text == "\n\n".join([english, "Merci.", code, "x = foo(bar, baz)", english])
    assert kept[1].text == english
    assert notes.changed["foreign passages"].count == 2
    whole = Language(LanguageOptions(languages=("en",), passages=False))(docs(text), Notes())
    assert whole[0].text == text


def test_names_and_code_are_no_foreign_language() -> None:
    text = (
        "The names of the committee are listed below for those who were not there.\n\n"
        "Giovanni Rossi, Jean-Pierre Dubois, Hans Müller, María García, Søren Jensen, Łukasz Nowak\n\n"
        "GetProcAddress LoadLibraryEx CreateFileMapping WaitForSingleObject VirtualAlloc\n\n"
        "They met again in the spring and agreed on what was to be done."
    )
    assert Language(LanguageOptions(languages=("en",)))(docs(text), Notes())[0].text == text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=60) | st.text("aé漢们かЖ한\n`<>{} ", max_size=40), max_size=6))
def test_never_raises_and_keeps_the_order(texts: list[str]) -> None:
    out = Language(LanguageOptions())(docs(*texts), Notes())
    assert [doc.text for doc in out] == texts
    assert all(doc.language for doc in out)
    assert [doc.language for doc in out] == [identify([text])[0] for text in texts], "batches do not matter"
    some = Language(LanguageOptions(languages=("en", "zh", "und"), passage_letters=1))(docs(*texts), Notes())
    ids = [int(doc.id) for doc in some]
    assert ids == sorted(ids)
    assert all(len(doc.text) <= len(texts[int(doc.id)]) for doc in some)


@pytest.mark.skipif(not DATA.exists(), reason="the data for development is not beside the repository")
def test_real_lines() -> None:
    import opencc

    with gzip.open(DATA / "translation" / "en_zh_tatoeba.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(600), strict=False)]
    to_traditional, to_simplified = (opencc.OpenCC(name).convert for name in ("s2t", "t2s"))
    pairs = [(row["en"], "en") for row in rows if len(row["en"]) > 15]
    for row in rows:
        simplified = to_simplified(row["zh"])
        traditional = to_traditional(simplified)
        pairs += [(simplified, "zh-Hans")] + [(traditional, "zh-Hant")] * (simplified != traditional)
    found = identify([line for line, _ in pairs])
    right = sum(got == language for got, (_, language) in zip(found, pairs, strict=True))
    assert right >= 0.98 * len(pairs)


def test_the_module_loads_no_heavy_library() -> None:
    assert not hasattr(module, "pycld2")
    assert not hasattr(module, "opencc")


def test_a_few_letters_without_a_small_word_have_no_language() -> None:
    assert identify(["hi", "ok", "def foo", "да"]) == ["und"] * 4
    assert identify(["Hello", "bonjour", "the", "привет", "Γειά", "مرحبا", "你好", "สวัสดี"]) == [
        *("en", "fr", "en", "ru", "el", "ar", "zh-Hans", "th")
    ]

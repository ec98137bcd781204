import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.operators.quality.measures import measure
from chatwright.corpora.operators.quality.rules import RULES, QualityOptions, breaches
from chatwright.errors import UserError

spec = importlib.util.spec_from_file_location("texts", Path(__file__).parent / "texts.py")
assert spec and spec.loader
texts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(texts)

SENTENCES = [sentence + "." for sentence in texts.ENGLISH.rstrip(".").split(". ")]
LONG = ("max_word_length", "max_hashes", "max_sentence", "zh_max_sentence")
CLAUSES = [sentence + "。" for sentence in texts.CHINESE.rstrip("。").split("。")]


def reasons(text: str, language: str = "en", options: QualityOptions | None = None) -> list[str]:
    found = measure([text], [language[:2] in ("zh", "ja")])
    return [breach.rule.reason for breach in breaches([language], found, options or QualityOptions())]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (texts.ENGLISH, "en"),
        ("\n\n".join(SENTENCES), "en"),
        (texts.CHINESE, "zh-Hans"),
        ("\n".join(CLAUSES), "zh-Hans"),
        (texts.POEM, "zh-Hant"),
        (texts.LAW, "zh-Hans"),
        (texts.MARKDOWN, "en"),
        (texts.PYTHON, "en"),
        (
            "Le moulin était vieux, mais la roue tournait encore quand nous sommes arrivés au bord de l'eau.",
            "fr",
        ),
        ("港は静かだった。私たちは夕方に戻り、船を岸に上げて、火を起こした。", "ja"),
    ],
)
def test_good_texts_break_no_rule(text: str, language: str) -> None:
    assert reasons(text, language) == []


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("Too few words here.", "en", "too short"),
        ("太短了。", "zh-Hans", "too short"),
        (texts.ENGLISH.replace("e", "\ufffd"), "en", "broken characters"),
        (texts.CHINESE.encode("gbk").decode("latin-1"), "und", "wrong encoding"),
        (texts.CHINESE.encode().decode("gbk", "ignore"), "zh-Hant", "rare characters"),
        ("2023-01-02 12:30:45 117 0.5513 " * 12, "da", "too many digits"),
        ("12% of 34 is & 5 + 6 = 11 !!! ??? --- *** " * 6, "en", "few letters"),
        ("a b c d e f g h i j k l m n o p", "en", "short words"),
        ("QWxhZGRpbjpvcGVuc2VzYW1l" * 30, "und", "long words"),
        ("#one #two of the day for us in #three and #four it was #five then. " * 4, "en", "number signs"),
        ("\n".join(f"- {sentence}" for sentence in SENTENCES * 3), "en", "list"),
        ("\n".join(f"- [Page {n}](page{n}.md)" for n in range(12)), "en", "links"),
        ("\n".join(sentence[:50] + "..." for sentence in SENTENCES), "en", "cut lines"),
        ("\n".join(clause[:12] + "……" for clause in CLAUSES), "zh-Hans", "cut lines"),
        (
            "\n".join(
                ["News", "Sports", "Weather", "Travel", "Money", "Culture", "Science", "Health", "Books"]
            ),
            "en",
            "short lines",
        ),
        (
            "\n".join(["新闻", "体育", "天气", "旅游", "财经", "文化", "科学", "健康", "图书"]),
            "zh-Hans",
            "short lines",
        ),
        ("\n".join(sentence.rstrip(".") for sentence in SENTENCES * 3), "en", "lines without end"),
        ("cheap shoes buy shoes online best shoes store discount shoes sale " * 4, "en", "no sentences"),
        ("北京旅游 旅游攻略 北京酒店 酒店预订 特价机票 机票查询 " * 4, "zh-Hans", "no sentences"),
        ("Shoes online cheap store. Discount sale best price. " * 8, "en", "few small words"),
        (
            "and the and of the a in the of with the is of by was the for a to. " * 3,
            "en",
            "words out of order",
        ),
        (
            "，的河和。里流了、着，山城北。，发源的，了和，草地。、低处，的，淹没了，" * 2,
            "zh-Hans",
            "words out of order",
        ),
        (f"{SENTENCES[0]} " * 8, "en", "repeated phrases"),
        (CLAUSES[0] * 8, "zh-Hans", "repeated phrases"),
        (texts.ENGLISH + " and so on it went" * 30 + ".", "en", "one phrase"),
        (f"{SENTENCES[1]}\n" * 6, "en", "repeated lines"),
        (
            "All rights reserved.\n"
            + "Sign up for our newsletter now\n"
            + "one more line of text for you to read.",
            "en",
            "boilerplate",
        ),
    ],
)
def test_bad_texts_break_their_rule(text: str, language: str, reason: str) -> None:
    assert reason in reasons(text, language)


def test_code_and_markup_are_not_judged_as_prose() -> None:
    short_lines = "\n".join(f"alpha_{letter} = beta;" for letter in "abcdefghijklmnop")
    assert reasons(short_lines) == []
    table = "\n".join(f"| alpha | beta {number} | yes |" for number in "abcdefghijklmn")
    assert reasons(table) == []
    assert "too many digits" in reasons("\n".join("| 1234567 | 123.456 | 9999 |" for _ in range(20)))


def test_rules_of_one_language_leave_the_others_alone() -> None:
    keywords = "Shoes online cheap store. Discount sale best price. " * 8
    assert "few small words" not in reasons(keywords, "de")
    assert "words out of order" not in reasons(", 的" * 30, "ja")


def test_the_detail_names_the_value_and_the_threshold() -> None:
    found = measure(["Too few words here."], [False])
    (breach,) = breaches(["en"], found, QualityOptions())
    assert breach.detail(0) == "4, at least 10"
    found = measure([texts.CHINESE.encode().decode("gbk", "ignore")], [True])
    breach = next(b for b in breaches(["zh-Hant"], found, QualityOptions()) if b.rule.measure == "rare")
    assert breach.detail(0) == f"{breach.values[0]:.3g}, at most 0.2"


def test_every_threshold_is_used_and_every_rule_has_one() -> None:
    options = {field.name for field in dataclasses.fields(QualityOptions)} - {"boilerplate_lines"}
    used = {name for rule in RULES for name in (rule.spaced, rule.zh, rule.code) if name}
    assert used == options
    known = set(measure(["text"], [False]))
    assert {rule.measure for rule in RULES} | {rule.enough[0] for rule in RULES} <= known


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(QualityOptions) if f.name.startswith("m")]
)
def test_loose_thresholds_drop_nothing(name: str) -> None:
    everything = {
        field.name: (0 if "min_" in field.name else 1e9 if field.name in LONG else 1)
        for field in dataclasses.fields(QualityOptions)
        if field.name != "boilerplate_lines"
    }
    options = QualityOptions(**everything)
    assert reasons("cheap shoes #1 #2 \ufffd buy " * 20, "en", options) == []
    # Beyond what the options accept, so that every text breaks it.
    object.__setattr__(options, name, 1e9 if "min_" in name else -1)
    assert reasons(texts.ENGLISH.replace(". ", ".\n") * 4, "en", options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_words": -3}, "quality.min_words=-3 must be at least 0"),
        ({"zh_max_sentence": -0.5}, "quality.zh_max_sentence=-0.5 must be at least 0"),
        ({"max_hashes": -1.0}, "quality.max_hashes=-1 must be at least 0"),
        ({"max_broken": 2.0}, "quality.max_broken=2 is not a share between 0 and 1"),
        ({"zh_min_letters": -0.1}, "quality.zh_min_letters=-0.1 is not a share between 0 and 1"),
        ({"code_max_digits": 40.0}, "quality.code_max_digits=40 is not a share between 0 and 1"),
    ],
)
def test_a_threshold_that_nothing_can_have_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        QualityOptions(**given)
    assert str(caught.value) == said


def test_the_ends_of_a_range_are_thresholds() -> None:
    QualityOptions(min_words=0, max_hashes=0, max_word_length=50, max_repeats=1, min_stop_words=0)

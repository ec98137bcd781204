"""Search by words: Chinese and English, and questions that try to be more than words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chatwright.serving.documents.words import words_of
from helpers.documented import DOCS, library_of

TEXTS = tuple(DOCS.values())


def found(place: Path, question: str, count: int = 5) -> list[str]:
    library = library_of(place, *TEXTS)
    return [passage.source for passage in library.search(question, count)]


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("Where does the Nile flow?", "0.txt"),
        ("KILOMETRE", "0.txt"),
        ("长江流入哪里", "1.txt"),
        ("长江", "1.txt"),
        ("海淀", "2.txt"),
        ("北京大学哪一年创办", "2.txt"),
        ("１８９８", "2.txt"),
        ("gardening", "3.txt"),
    ],
)
def test_what_is_found_first(question: str, first: str, tmp_path: Path) -> None:
    assert found(tmp_path, question)[0] == first


def test_chinese_words_of_two_characters_are_words() -> None:
    assert {"北京", "大学", "北京大学"} <= set(words_of("北京大学"))
    assert words_of("Ａｐｐｌｅ_pie don't 3.14 <b>") == ["Apple", "pie", "don", "t", "3", "14", "b"]


def test_nothing_in_common_finds_nothing(tmp_path: Path) -> None:
    library = library_of(tmp_path, *TEXTS)
    for question in ("zebra", "", " ?!，。 ", "\x00", "<>\"'", "𠀀", "\ud800"):
        assert library.search(question, 5) == []


@pytest.mark.parametrize(
    "question",
    [
        'nile" OR text:"',
        "nile'); DROP TABLE passages;--",
        "nile NEAR( AND NOT *",
        "nile AND zebra",
        "^nile -egypt + {a b}: *",
        "nile \x00 \ud800 %s ?1 :x",
        "NOT nile",
        "nile " * 5000,
    ],
)
def test_a_question_is_words_and_no_query(question: str, tmp_path: Path) -> None:
    assert found(tmp_path, question)[0] == "0.txt"
    with sqlite3.connect(tmp_path / "passages.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM passages").fetchone()[0] == len(TEXTS)
    connection.close()


def test_rare_words_weigh_more_than_common_ones(tmp_path: Path) -> None:
    library = library_of(tmp_path, "the cat the cat the", "the dog", "the zebra runs", "the end")
    assert library.search("the zebra", 1)[0].text == "the zebra runs"

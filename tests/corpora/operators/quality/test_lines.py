import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.operators.quality import lines as module
from chatwright.corpora.operators.quality.lines import (
    BLANK,
    CODE,
    HEADING,
    ITEM,
    LINK,
    MARKUP,
    PROSE,
    TABLE,
    lay_out,
)


def load_texts() -> object:
    spec = importlib.util.spec_from_file_location("texts", Path(__file__).parent / "texts.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def kinds(text: str) -> list[int]:
    return lay_out([text]).what.tolist()


def test_each_line_of_a_markdown_page() -> None:
    text = load_texts().MARKDOWN.rstrip()  # type: ignore[attr-defined]
    assert kinds(text) == [
        *(HEADING, BLANK, PROSE, BLANK, TABLE, TABLE, TABLE, BLANK, ITEM, ITEM, BLANK),
        *(CODE, CODE, CODE, BLANK, PROSE),
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("- [A page](page.md)", LINK),
        ("[A page](page.md)", LINK),
        ("- See [this page](page.md) before you begin to read the others, which are longer.", ITEM),
        ("3. Third", ITEM),
        ("•要点", ITEM),
        ("1984 was a year.", PROSE),
        ("<div class='x'>", MARKUP),
        ("==========", MARKUP),
        ("**Bold** words begin this line.", PROSE),
        ("$x_{i} = \\frac{1}{2} \\sum_{j} w_{ij} y_{j}$", CODE),
        ("He paid 20 (or 30) pounds; she, nothing.", PROSE),
        ("　　缩进的段落，没有什么特别。", PROSE),
    ],
)
def test_single_lines(line: str, kind: int) -> None:
    assert kinds(line) == [kind]


def test_source_code_is_code_as_a_whole() -> None:
    source = load_texts().PYTHON.rstrip()  # type: ignore[attr-defined]
    assert set(kinds(source)) == {CODE, BLANK}
    commented = "# The licence of this file is long.\n# It goes on and on, for lines.\n" * 8 + source
    assert set(kinds(commented)) == {CODE, BLANK}
    assert set(
        kinds('{\n  "name": "x",\n  "list": [\n    1,\n    2\n  ],\n  "text": "What is said."\n}')
    ) == {CODE}


def test_dialogue_and_verse_are_no_code() -> None:
    dialogue = '"Well," said he,\n"what now?"\n"Nothing," she said,\n"nothing at all,\nand no one (but you) to ask."\n"So be it."'
    assert CODE not in kinds(dialogue)
    assert CODE not in kinds(load_texts().POEM)  # type: ignore[attr-defined]


def test_a_fence_that_nothing_closes_opens_nothing() -> None:
    assert kinds("```\nplain words\n```\nmore words here\n```\nand the end of it") == [
        CODE,
        CODE,
        CODE,
        PROSE,
        CODE,
        PROSE,
    ]


def test_fences_of_one_document_do_not_reach_the_next() -> None:
    both = lay_out(["```\nopen", "words of another"])
    assert both.what.tolist() == [CODE, PROSE, PROSE]
    assert both.document.tolist() == [0, 0, 1]
    assert both.first_line.tolist() == [0, 2]


def test_counts_of_a_line() -> None:
    counts = lay_out(["ab 12 的。 {x}\ufffd"]).counts
    expected = {
        "size": 10,
        "letters": 3,
        "east": 1,
        "digits": 2,
        "signs": 2,
        "punctuation": 1,
        "broken": 1,
        "stop": 1,
    }
    assert {name: int(counts[name][0]) for name in expected} == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text("ab1 \n\t`|#<>[](){}=\"':-。的\U0002a6d6\U000f0000", max_size=40), min_size=1, max_size=5
    )
)
def test_lines_are_those_of_split_and_alone_as_in_a_batch(texts: list[str]) -> None:
    lines = lay_out(texts)
    assert lines.first_line.size == len(texts)
    assert (lines.ends - lines.starts).tolist() == [len(line) for text in texts for line in text.split("\n")]
    alone = [kind for text in texts for kind in kinds(text)]
    assert lines.what.tolist() == alone
    assert ((lines.what == BLANK) == (lines.counts["size"] == 0)).all()


def test_names_of_kinds_are_distinct() -> None:
    names = ("BLANK", "PROSE", "ITEM", "HEADING", "LINK", "TABLE", "MARKUP", "CODE")
    assert len({getattr(module, name) for name in names}) == len(names)

"""Documents into passages: nothing lost, nothing too large."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc
from chatwright.serving.documents.passages import cut, title_of


def pieces(text: str, size: int, id: str = "a.txt") -> list[str]:
    return [text for _, text in cut(Doc(id, "in", text), size)]


def test_whole_sentences_up_to_the_size() -> None:
    text = 'One two. Three "four." Five 3.14 six! Seven?'
    assert pieces(text, 25) == ['One two. Three "four."', "Five 3.14 six! Seven?"]
    assert pieces(text, 1000) == [text]
    assert pieces("她说：“你好。”他走了！真的吗？", 30) == ["她说：“你好。”", "他走了！真的吗？"]
    assert pieces("no end\nnew line\n\nlast", 9) == ["no end", "new line", "last"]


def test_a_long_sentence_is_cut_between_words_or_characters() -> None:
    assert pieces("alpha beta gamma delta", 12) == ["alpha beta", "gamma delta"]
    assert pieces("长" * 10, 10) == ["长长长"] * 3 + ["长"]
    assert pieces("🙂🙂", 4) == ["🙂", "🙂"]
    assert pieces("  \n ", 10) == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(4, 60))
def test_nothing_is_lost(text: str, size: int) -> None:
    found = pieces(text, size)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece.encode("utf-8", "replace")) <= size for piece in found)


def test_a_long_line_takes_no_time() -> None:
    assert len(pieces("x" * 3_000_000, 1000)) == 3000


def test_titles() -> None:
    assert title_of(Doc("a/b.md", "", "\n## Heading one.\n\ntext")) == "Heading one."
    assert title_of(Doc("a/b.txt", "", "A plain title\n\nText.")) == "A plain title"
    assert title_of(Doc("a/b.txt", "", "It begins with a sentence. And goes on.\nMore.")) == "b.txt"
    assert title_of(Doc("a/b.txt", "", "长江很长。\n更多")) == "b.txt"
    assert title_of(Doc("a/b.txt", "", "x" * 81 + "\ntext")) == "b.txt"
    assert title_of(Doc("a/rows.jsonl:3", "", "alone")) == "rows.jsonl:3"

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.sentences import Sentences, SentencesOptions, sentence_lines
from chatwright.errors import UserError


@pytest.mark.parametrize(
    ("text", "language", "lines"),
    [
        ("Dr. Smith left. He was late!", "en", ["Dr. Smith left.", "He was late!"]),
        ("他走了。为什么？不知道", "zh-Hans", ["他走了。", "为什么？", "不知道"]),
        ("他走了。為什麼？", "zh-Hant", ["他走了。", "為什麼？"]),
        ("One wrapped\nsentence. Two.", "und", ["One wrapped sentence.", "Two."]),
        ("一个断开\n的句子。", "zh-Hans", ["一个断开的句子。"]),
        ("First.\n\n\nSecond. Third.", "", ["First.", "", "Second.", "Third."]),
        ("", "en", []),
    ],
)
def test_known_answers(text: str, language: str, lines: list[str]) -> None:
    assert list(sentence_lines(text, language)) == lines


def test_changes_are_noted_and_the_rest_is_left_alone() -> None:
    docs = [Doc("1", "s", "One. Two.", "en"), Doc("2", "s", "One.\nTwo.", "en")]
    notes = Notes()
    left = Sentences(SentencesOptions())(docs, notes)
    assert [doc.text for doc in left] == ["One.\nTwo.", "One.\nTwo."]
    assert left[1] is docs[1]
    assert notes.changed["sentences on lines"].documents == 1


def test_a_language_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"sentences.language=e1 is no language"):
        Sentences(SentencesOptions(language="e1"))


@settings(deadline=None, max_examples=40)
@given(
    st.text(st.sampled_from("ab. ?!\n。？中「」'\t1"), max_size=60),
    st.sampled_from(["en", "zh", "de", "und", "xx"]),
)
def test_nothing_but_white_space_changes(text: str, language: str) -> None:
    after = "\n".join(sentence_lines(text, language))
    assert "".join(after.split()) == "".join(text.split())

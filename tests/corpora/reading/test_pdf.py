import contextlib
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.pdf import documents, join_pages
from chatwright.corpora.reading.raw import FileError
from helpers.hostile import HEAVY, SWIFT, assembled, pdf, shown


def read(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "a.pdf"
    path.write_bytes(data)
    [(id_, text)] = documents(File(path, "name"))
    assert id_ == "name"
    return text


def test_the_text_of_the_pages(tmp_path: Path) -> None:
    assert read(tmp_path, pdf(shown("Hello, this is a page."))) == "Hello, this is a page."
    assert read(tmp_path, pdf(shown("Page"), pages=3)) == "Page Page Page"
    assert read(tmp_path, pdf(shown("A tail does no harm."), tail=b"junk" * 99)) == "A tail does no harm."


def test_lines_are_joined_to_paragraphs() -> None:
    page = (
        "Chapter One\n"
        "The quick brown fox jumps over the lazy dog, and then it con-\n"
        "tinues on its way through the forest until the evening comes\n"
        "down.\n"
        "A second paragraph begins here and is long enough to be wrapped\n"
        "once.\n"
        "- an item of a list that stands by itself and is rather long, too\n"
        "- another item"
    )
    assert join_pages([page]).split("\n") == [
        "Chapter One",
        "The quick brown fox jumps over the lazy dog, and then it continues on its way through the forest until the evening comes down.",
        "A second paragraph begins here and is long enough to be wrapped once.",
        "- an item of a list that stands by itself and is rather long, too",
        "- another item",
    ]


def test_chinese_lines_are_joined_without_spaces() -> None:
    page = (
        "我们在这里学习如何训练一个语言模型，它会回答你的问题，也会\n说出它不知道的事情。\n第二段从这里开始。"
    )
    assert (
        join_pages([page])
        == "我们在这里学习如何训练一个语言模型，它会回答你的问题，也会说出它不知道的事情。\n第二段从这里开始。"
    )


def test_a_paragraph_goes_on_over_the_page_and_heads_and_numbers_are_left_out() -> None:
    words = ["apples", "bridges", "candles", "doors", "engines", "flowers"]
    pages = [
        f"A Book of Things {number}\nthe {word} go on to the following page, and it is a rather long line\n{number}"
        for number, word in enumerate(words)
    ]
    text = join_pages(pages)
    assert text == " ".join(
        f"the {word} go on to the following page, and it is a rather long line" for word in words
    )


def test_page_numbers_are_left_out_of_few_pages_too() -> None:
    assert join_pages(["- 1 -\nfirst words", "second words.\n12", "iv\n1984"]) == "first words second words."
    assert join_pages(["In the year\n1984\nmuch happened."]).split() == [
        "In",
        "the",
        "year",
        "1984",
        "much",
        "happened.",
    ]


def test_few_pages_keep_their_heads() -> None:
    assert join_pages(["Title\nfirst words of the page.", "Title\nother words."]).count("Title") == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.4", "broken PDF; make it again"),
        (SWIFT["loop.pdf"](None), "broken PDF"),  # type: ignore[arg-type]
        (pdf(b"BT ET"), "PDF without text; if it is scanned"),
        (HEAVY["form.pdf"](None), "PDF without text"),  # type: ignore[arg-type]
        (assembled({1: b"<< /Type /Catalog /Pages 1 0 R >>"}), "PDF"),
        (assembled({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"[" * 3000}), "broken PDF"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said) as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)


def test_encrypted(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    (tmp_path / "plain.pdf").write_bytes(pdf(shown("A secret of some length.")))
    for password, user in (("", "owner"), ("secret", None)):
        writer = PdfWriter(clone_from=PdfReader(tmp_path / "plain.pdf"))
        writer.encrypt(password, user, algorithm="RC4-128")
        writer.write(tmp_path / "locked.pdf")
        data = (tmp_path / "locked.pdf").read_bytes()
        if password:
            with pytest.raises(FileError, match="encrypted PDF; remove its password"):
                read(tmp_path, data)
        else:
            assert read(tmp_path, data) == "A secret of some length."


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.corpora.reading.pdf.LARGEST", 100)
    with pytest.raises(FileError, match="PDF of more than"):
        read(tmp_path, pdf(shown("words")))
    monkeypatch.undo()
    monkeypatch.setattr("chatwright.corpora.reading.pdf.MOST_PAGES", 3)
    with pytest.raises(FileError, match="more than 3 pages"):
        read(tmp_path, pdf(shown("words"), pages=4))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, at: int, damage: bytes) -> None:
    data = bytearray(pdf(b"q " + shown("Some words on a page.") + b" Q") + zlib.compress(b"x"))
    data[at : at + len(damage)] = damage
    with contextlib.suppress(FileError):
        read(tmp_path, bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=6))
def test_joining_loses_no_letters_within_pages(pages: list[str]) -> None:
    text = join_pages([page.replace("\n", "x") for page in pages[:3]])
    letters = sum(
        character.isalpha() and character not in "ivxlcIVXLC" for page in pages[:3] for character in page
    )
    assert sum(character.isalpha() for character in text) >= letters

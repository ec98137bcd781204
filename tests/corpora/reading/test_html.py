import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.html import decode, documents, page_text
from chatwright.corpora.reading.raw import FileError

BODY = "<h1>标题</h1><p>这是一个网页，我们在这里说了很多话，你也可以看看。</p>"
FRENCH = "<p>Où est passé l'été ? Les élèves répètent à l'école.</p>"


def file(path: Path = Path("a.html")) -> File:
    return File(path, path.name)


def test_the_main_part_without_what_stands_about_it() -> None:
    page = (
        "<html><head><title>t</title><style>p {}</style></head><body><nav><a href=x>Home</a> <a href=y>About</a></nav>"
        "<main><h1>Head</h1><p>A paragraph of the main part,\n   with   a <b>bold</b> word.</p><p>第二段。</p>"
        "<ul><li>one thing</li><li>another thing</li></ul><pre>a = 1\n  b = 2</pre></main>"
        "<footer>Copyright</footer><script>alert(1)</script></body></html>"
    )
    text = page_text(page)
    assert text.startswith("Head\n\nA paragraph of the main part, with a bold word.\n\n第二段。")
    assert "a = 1\n  b = 2" in text
    for gone in ("Home", "Copyright", "alert", "p {}"):
        assert gone not in text


def test_where_there_is_no_main_part_all_that_is_visible() -> None:
    page = "<nav><a href=x>First</a><a href=y>Second</a></nav><script>x</script><footer>Third</footer>"
    assert page_text(page).split() == ["First", "Second", "Third"]


@pytest.mark.parametrize(
    "page", ["", "<html></html>", "<title>only a title</title>", "<script>x</script>", "<!-- -->"]
)
def test_nothing_to_see(page: str) -> None:
    assert page_text(page) == ""


def test_chinese_words_of_one_character_between_tags_stay() -> None:
    assert (
        page_text("<p>价格为<b>5</b>元<i>左右</i>吗<u>真的</u>？你说呢。</p>")
        == "价格为5元左右吗真的？你说呢。"
    )
    assert page_text("<p>我<b>你</b>他</p>") == "我你他"
    assert page_text("<p>甲<b>、</b>乙<i>”</i>\n<i> 丙 </i></p>") == "甲、乙” 丙"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="gb2312">', "gb18030"),
        ("<meta http-equiv=Content-Type content='text/html; charset=GBK'>", "gbk"),
        ("<meta charset=big5>", "big5"),
        ("<meta charset=utf-8>", "utf-8"),
        ("", "gb18030"),
        ("", "utf-8-sig"),
        ("<meta charset=iso-8859-1>", "utf-8"),
        ("<meta charset=utf-8>", "gb18030"),
        ("<meta charset=x-unknown>", "gb18030"),
        ("<meta charset=rot13>", "gb18030"),
        ("<meta charset=unicode_escape>", "gb18030"),
        ('<?xml version="1.0" encoding="GB18030"?>', "gb18030"),
    ],
)
def test_encodings_said_unsaid_and_said_wrongly(head: str, encoding: str) -> None:
    text = f"{head}{BODY}".replace("标题", "標題") if encoding == "big5" else f"{head}{BODY}"
    text = (
        text.replace("这是一个网页，我们在这里说了很多话，你也可以看看", "我有一本書")
        if encoding == "big5"
        else text
    )
    assert decode(text.encode(encoding), file()) == text


def test_the_encoding_of_http_goes_before_that_of_the_head() -> None:
    data = ("<meta charset=koi8-r>" + FRENCH).encode("latin-1")
    assert decode(data, file(), "ISO-8859-1") == data.decode("latin-1")
    assert decode(data, file()) == data.decode("koi8-r")


def test_a_few_broken_bytes_are_replaced_and_many_are_not() -> None:
    page = ("<meta charset=utf-8>" + BODY * 9).encode()
    at = page.index("网".encode())
    broken = page[:at] + b"\xff" + page[at:]
    assert decode(broken, file()).count("\ufffd") == 1
    with pytest.raises(FileError, match="page in an unknown encoding"):
        decode(b"<meta charset=utf-8>" + b"\xff\xfe\xc0" * 100, file())


def test_utf16_and_compressed_files(tmp_path: Path) -> None:
    for name, data in (
        ("a.html", BODY.encode("utf-16")),
        ("b.html.gz", gzip.compress(BODY.encode())),
        ("c.htm", BODY.encode("utf-16-le")),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        [(id_, text)] = documents(file(path))
        assert (id_, text.split("\n")[0]) == (name, "标题")


def test_pages_without_text_or_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.html"
    path.write_text("<html><title>x</title></html>")
    with pytest.raises(FileError, match="HTML page without text"):
        list(documents(file(path)))
    monkeypatch.setattr("chatwright.corpora.reading.html.LARGEST", 1 << 20)
    path.write_text("<p>x" * 300_000)
    with pytest.raises(FileError, match="HTML page of more than 1 MB"):
        list(documents(file(path)))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_page_or_a_refusal(data: bytes) -> None:
    try:
        text = decode(data, file())
    except FileError:
        return
    assert isinstance(page_text(text), str)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<b>", "</b>", "<div>", "</div>", "<table>", "<td>", "字", "word ", "&amp;"]
        )
    )
)
def test_any_nesting_of_tags_is_read(parts: list[str]) -> None:
    text = page_text("".join(parts))
    assert text.count("字") <= parts.count("字")
    assert "\u2060" not in text

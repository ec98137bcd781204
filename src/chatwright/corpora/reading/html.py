"""The main text of an HTML page: without menus, side bars and footers where there is a main part, else all of it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from chatwright.corpora.reading.encodings import encoding_of
from chatwright.corpora.reading.file import File
from chatwright.corpora.reading.raw import FileError, chunks

LARGEST = 32 << 20
"""A page of more bytes is refused: it is a data dump, or it never ends."""

_CHARSET = re.compile(
    rb"""(?:charset\s*=|<\?xml[^>]{0,200}encoding\s*=)\s*["']?\s*([\w:.-]{2,40})""", re.IGNORECASE
)
_HEAD = 4096
# What pages say and what browsers take it for (WHATWG, "Encoding"). Others are decoded as they say, if Python
# knows them and they are character encodings of the web.
_SAID = {
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "iso-8859-9": "cp1254",
}
_OF_THE_WEB = re.compile(
    r"(?:utf-?8|gb18030|big5|euc|shift|iso|windows|cp\d|koi8|latin|tis|mac)[\w-]*", re.IGNORECASE
)
_MOST_BROKEN = 0.01
_INVISIBLE = ["script", "style", "noscript", "template", "svg", "head"]
# Resiliparse takes a text node of one character above U+07FF for an icon and drops it: in `<b>5</b>元` the last
# word would be lost. A zero-width character beside it keeps it, and is taken out again.
_JOINER = "\u2060"
_LONE = re.compile(
    r"(>\s*[\u2010-\u2027\u2030-\u203b\u20ac\u2460-\u2473\u3001-\u9fff\uac00-\ud7af\uff01-\uff5e\U00020000-\U0003ffff])"
    r"(?=\s*<)"
)
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n+")


def documents(file: File) -> Iterator[tuple[str, str]]:
    """`(id, text)` of the one page. See `File`."""
    file.begin()
    data = bytearray()
    for chunk in chunks(file.path, file.skipped, file.on_bytes):
        data += chunk
        if len(data) > LARGEST:
            raise FileError(
                file.path, f"HTML page of more than {LARGEST >> 20} MB", "split it, or leave it out"
            )
    text = page_text(decode(bytes(data), file))
    if not text:
        raise FileError(file.path, "HTML page without text", "leave it out")
    yield file.name, text


def decode(data: bytes, file: File, said: str | None = None) -> str:
    """The page as text: in UTF-8 if it is that, else as `said` (by HTTP) or its head says, else as it reads.

    A few broken bytes are replaced; raises `FileError` where more than a hundredth of the characters would be.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    match = _CHARSET.search(data[:_HEAD])
    names = [said, match[1].decode("ascii", "replace") if match else None]
    codecs_ = [codec for name in names if name and (codec := _codec(name))]
    for codec in codecs_:
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            pass
    try:
        return data.decode(encoding_of(lambda: [data], file.path))
    except (FileError, UnicodeDecodeError):
        best = min((data.decode(codec, "replace") for codec in (*codecs_, "utf-8")), key=_broken)
    if _broken(best) > _MOST_BROKEN * len(best):
        raise FileError(file.path, "page in an unknown encoding", "convert it (iconv -f ENCODING -t UTF-8)")
    return best


def _broken(text: str) -> int:
    return text.count("\ufffd")


def _codec(name: str) -> str | None:
    """Python's name of an encoding that a page may have; None for unknown ones and for other codecs of Python's."""
    name = _SAID.get(name.lower(), name)
    if not _OF_THE_WEB.fullmatch(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None


def page_text(html: str) -> str:
    """The main content by resiliparse's rules; where these find none, all visible text."""
    from resiliparse.extract.html2text import extract_plain_text

    marked = _LONE.sub(rf"\1{_JOINER}", html)
    text = extract_plain_text(marked, main_content=True, alt_texts=False, preserve_formatting=True)
    return _BLANK_LINES.sub("\n\n", text.replace(_JOINER, "")).strip() or _all_text(html)


def _all_text(html: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(html)
    tree.strip_tags(_INVISIBLE)
    lines = (
        (line.strip() for line in (tree.body or tree.root).text(separator="\n").split("\n"))
        if tree.root
        else ()
    )
    return "\n".join(line for line in lines if line)

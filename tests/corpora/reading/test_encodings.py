import gzip
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.reading.encodings import READ, as_utf8, decode_stream, encoding_of, guess_encoding
from chatwright.corpora.reading.raw import FileError

SIMPLIFIED = (
    "第一条 为了加强对产品质量的监督管理，提高产品质量水平，明确产品质量责任，保护消费者的合法权益，"
    "维护社会经济秩序，制定本法。我们在这里学习如何训练一个语言模型，它会回答你的问题。\n"
)
TRADITIONAL = (
    "我們在這裡學習如何訓練一個語言模型，它會回答你的問題。這本書說的是從前的事，沒有人知道後來怎麼樣了。\n"
)
POEM = "山風吹雨過江城，\n一夜花落客愁生。\n"
ENGLISH = "“It’s a naïve café,” she said – and left…\n"
FRENCH = (
    "Où est passé l'été ? Les élèves répètent à l'école que la forêt brûle. Ça a été très dur, né hélas.\n"
)
GERMAN = "Übermäßig große Äpfel fallen nicht weit vom Stamm, schöne Grüße aus Köln und München.\n"
SPANISH = "¿Dónde está el niño? Mañana por la mañana, señor, aquí también habrá más música. ¡Adiós!\n"
SWEDISH = "Räksmörgåsen låg på bordet när vi åkte över ån; då är det så här det går till i Östersund.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"
POLISH = "Zażółć gęślą jaźń, a potem wróć do domu, bo już późno i łatwo się zgubić w tej mgle wśród łąk.\n"
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy, když šel přes řeku, a nikdo mu nerozuměl.\n"
TURKISH = "Bugün hava çok güzel, dışarıda yürüyüş yapmak için ışıklı bir gün; çocuklar ağaçların altında.\n"
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。薄暗いじめじめした所で泣いていた。\n"
)
KOREAN = (
    "모든 국민은 인간으로서의 존엄과 가치를 가지며, 행복을 추구할 권리를 가진다. 대한민국은 민주공화국이다.\n"
)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def of(data: bytes, size: int = 7) -> str:
    return encoding_of(lambda: pieces(data, size), Path("a.txt"))


def test_utf8_in_any_script_and_cut_anywhere() -> None:
    data = (SIMPLIFIED + FRENCH + RUSSIAN + "🙂").encode()
    for size in (1, 2, 3, 5, 1000):
        assert of(data, size) == "utf-8"
    assert of(data[:-2]) == "utf-8"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "gb18030"),
        ("# Python 笔记\n\nprint('hello')  # 打印出来的是你好\n", "gb18030"),
        (POEM, "gb18030"),
        ("。", "gb18030"),
        ("一个 ├── 目录树\n    └── 文件\n", "gb18030"),
        (TRADITIONAL, "big5"),
        (POEM, "big5"),
        ("這是香港嘅字：嘅咗哋嚟㗎\n" + TRADITIONAL, "big5hkscs"),
        (ENGLISH, "cp1252"),
        (FRENCH, "latin-1"),
        (GERMAN, "latin-1"),
        (SPANISH, "latin-1"),
        (SWEDISH, "cp1252"),
        ("A café.\n", "latin-1"),
        ("Glücksspiel mit echtem Geld", "latin-1"),
        ("Catégories", "latin-1"),
        ("Modo de empleo: [OPCIÓN] DURACIÓN ORDEN, '--pages=PRIMERA_PÁGINA[:ÚLTIMA_PÁGINA]'", "latin-1"),
        ("我們學習如何訓練一個語言模型，它會回答你的問題。\n" * 300 + "佢哋嘅嘢\n", "big5hkscs"),
    ],
)
def test_encodings_that_are_read(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    for size in (1, 1000):
        assert "".join(decode_stream([data], of(data, size))) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", [SIMPLIFIED, TRADITIONAL, ENGLISH, FRENCH, "plain ASCII text\n", RUSSIAN, KOREAN]
)
def test_utf16_without_a_mark(text: str, encoding: str) -> None:
    assert of(text.encode(encoding), 1000) == encoding


@pytest.mark.parametrize(
    ("text", "encoding", "looks"),
    [
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (JAPANESE, "euc-jp", "euc-jp"),
        (JAPANESE, "shift-jis", "shift-jis"),
        (KOREAN, "euc-kr", "euc-kr"),
        (POLISH, "cp1250", "cp1250"),
        (CZECH, "iso8859-2", "iso8859-2"),
        (TURKISH, "cp1254", "cp1254"),
    ],
)
def test_other_encodings_are_refused_by_name_not_guessed(text: str, encoding: str, looks: str) -> None:
    said = rf"a\.txt: not UTF-8; byte \d+ is not and looks like {looks}; convert it \(iconv -f {looks} -t UTF-8\)"
    with pytest.raises(FileError, match=said):
        of((text * 5).encode(encoding))


def test_noise_is_refused() -> None:
    noise = bytes((i * i * 31 + i * 7) % 128 + 128 for i in range(2000))
    assert guess_encoding(noise) is None
    with pytest.raises(FileError, match=r"not UTF-8; byte 0 is not; convert it \(iconv -f ENCODING"):
        of(noise, 100)


def test_the_bad_byte_is_named() -> None:
    with pytest.raises(FileError, match="byte 12 "):
        of("abc 一二".encode() + b"ab\xff\xff cd", 4)
    with pytest.raises(FileError, match="byte 4 "):
        of(b"abcd" + "一".encode()[:2] + b"\xc0\x8d", 2)


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\0", b"\0\1\2", b"text\0text", b"\0" * 100, b"a\0" * 9 + b"b"],
)
def test_binary(data: bytes) -> None:
    with pytest.raises(FileError, match="binary file"):
        of(data, 100)


def test_stream_keeps_characters_whole_and_tells_of_a_cut() -> None:
    data = SIMPLIFIED.encode()
    cuts: list[int] = []
    assert "".join(decode_stream(pieces(data, 2), "utf-8", lambda: cuts.append(1))) == SIMPLIFIED
    assert cuts == []
    assert list(decode_stream(["一".encode()[:2]], "utf-8", lambda: cuts.append(1))) == [""]
    assert cuts == [1]


def test_the_whole_file_must_be_of_the_encoding() -> None:
    data = (SIMPLIFIED * 300).encode("gb18030") + b"\xff\xff\xff\n"
    with pytest.raises(FileError, match="not UTF-8"):
        of(data, 1000)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le", "cp1252"])
def test_rows_become_utf8(encoding: str) -> None:
    text = (FRENCH if encoding == "cp1252" else SIMPLIFIED) * 9
    data = b"ascii\n" + text.encode(encoding) if encoding != "utf-16-le" else text.encode(encoding)
    parts = [b"ascii\n", *pieces(data[6:], 300)] if encoding != "utf-16-le" else pieces(data, 300)
    assert b"".join(as_utf8(iter(parts))).decode().removeprefix("ascii\n") == text


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1).filter(lambda text: "\0" not in text), st.integers(1, 9))
def test_any_text_in_utf8_is_that(text: str, size: int) -> None:
    data = text.encode()
    assert of(data, size) == "utf-8"
    assert "".join(decode_stream(pieces(data, size), "utf-8")) == text


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_decoded_or_refused(data: bytes, size: int) -> None:
    try:
        encoding = of(data, size)
    except FileError as error:
        assert error.reason in ("binary file", "not UTF-8")
    else:
        assert encoding in (*READ, "utf-8")
        "".join(decode_stream(pieces(data, size), encoding))
    b"".join(as_utf8(iter(pieces(data, size))))


MODERN = st.text(st.sampled_from(sorted(set(SIMPLIFIED))), min_size=10, max_size=80)


@settings(max_examples=100, deadline=None)
@given(MODERN, st.sampled_from(["gb18030", "utf-16-le", "utf-16-be"]), st.integers(1, 30))
def test_chinese_in_any_order_is_found(text: str, encoding: str, size: int) -> None:
    text += "，的\n"
    data = text.encode(encoding)
    assert "".join(decode_stream(pieces(data, size), of(data, 1000))) == text


DATA = Path(os.environ.get("CHATWRIGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
REAL = [
    ("zh_laws", "gb18030"),
    ("zh_tech_docs", "gb18030"),
    ("zh_tech_docs", "utf-16-le"),
    ("zh_tech_docs", "utf-16-be"),
    ("zh_poetry", "gb18030"),
    ("zh_poetry", "big5hkscs"),
    ("en_novels", "cp1252"),
]


@pytest.mark.parametrize(("name", "encoding"), REAL)
def test_real_documents_come_back_from_other_encodings(name: str, encoding: str) -> None:
    """Of the first 150 that are not ASCII at most one may be refused, and none misread."""
    path = DATA / "corpus" / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip("the development data is not here")
    refused = 0
    for text in islice(_encodable(path, encoding), 150):
        data = text.encode(encoding)
        try:
            assert "".join(decode_stream([data], of(data, 1 << 20))) == text
        except FileError:
            refused += 1
    assert refused <= 1


def _encodable(path: Path, encoding: str) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"].encode(encoding, "ignore").decode(encoding)
            if not text.isascii() and "\n" in text:
                yield text

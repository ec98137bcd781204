from pathlib import Path

import pytest

from chatwright.corpora.encodings import decode_stream, encoding_of
from chatwright.corpora.raw import FileError

CHINESE = (
    "第一条 为了加强对产品质量的监督管理，提高产品质量水平，明确产品质量责任，保护消费者的合法权益，"
    "维护社会经济秩序，制定本法。我们在这里学习如何训练一个语言模型，它会回答你的问题。\n"
)
TRADITIONAL = (
    "我們在這裡學習如何訓練一個語言模型，它會回答你的問題。這本書說的是從前的事，沒有人知道後來怎麼樣了。\n"
)
FRENCH = (
    "Où est passé l'été ? Les élèves répètent à l'école que la forêt brûle. Ça a été très dur, né hélas.\n"
)
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。薄暗いじめじめした所で泣いていた。\n"
)
KOREAN = (
    "모든 국민은 인간으로서의 존엄과 가치를 가지며, 행복을 추구할 권리를 가진다. 대한민국은 민주공화국이다.\n"
)


def of(data: bytes, size: int = 7) -> str:
    return encoding_of(lambda: [data[i : i + size] for i in range(0, len(data), size)], Path("a.txt"))


def test_utf8_in_any_script_and_cut_anywhere() -> None:
    data = (CHINESE + FRENCH + RUSSIAN + "🙂").encode()
    for size in (1, 2, 3, 5, 1000):
        assert of(data, size) == "utf-8"
    assert of(data[:-2]) == "utf-8"


@pytest.mark.parametrize(
    "text", [CHINESE, TRADITIONAL, "# Python 笔记\n\nprint('hello')  # 打印出来的是你好\n"]
)
def test_gb18030_is_recognised_where_it_reads_as_chinese(text: str) -> None:
    assert of(text.encode("gb18030")) == "gb18030"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "latin-1"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "euc-jp"),
        (JAPANESE, "shift-jis"),
        (KOREAN, "euc-kr"),
        (TRADITIONAL, "big5"),
    ],
)
def test_other_encodings_are_refused_not_guessed(text: str, encoding: str) -> None:
    with pytest.raises(FileError, match=r"a\.txt: not UTF-8; byte \d+ is not; convert it \(iconv"):
        of((text * 5).encode(encoding))


def test_the_bad_byte_is_named() -> None:
    with pytest.raises(FileError, match="byte 12 "):
        of("abc 一二".encode() + b"ab\xff cd", 4)
    with pytest.raises(FileError, match="byte 4 "):
        of(b"abcd" + "一".encode()[:2] + b"efgh", 2)


def test_binary() -> None:
    with pytest.raises(FileError, match="binary file"):
        of(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", 100)


def test_stream_keeps_characters_whole_and_tells_of_a_cut() -> None:
    data = CHINESE.encode()
    cuts: list[int] = []
    pieces = decode_stream([data[i : i + 2] for i in range(0, len(data), 2)], "utf-8", lambda: cuts.append(1))
    assert "".join(pieces) == CHINESE
    assert cuts == []
    assert list(decode_stream(["一".encode()[:2]], "utf-8", lambda: cuts.append(1))) == [""]
    assert cuts == [1]

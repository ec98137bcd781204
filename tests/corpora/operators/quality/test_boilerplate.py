import pytest

from chatwright.corpora.operators.quality import boilerplate
from chatwright.corpora.operators.quality.lines import lay_out
from chatwright.corpora.operators.quality.repetition import to_units

NOTICES = {
    False: [
        "This website uses cookies to make your visit better.",
        "© 2021 The Example Times. All rights reserved.",
        "Terms of Service and other small print",
        "Sign up for the weekly letter",
        "Read more",
        "JavaScript must be enabled to see the map.",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
        "Share this story with your friends",
    ],
    True: [
        "本站版权所有，侵权必究",
        "沪ICP备00000000号",
        "登录 | 注册",
        "请登录后发表评论",
        "上一篇：春天来了",
        "扫一扫，关注我们",
        "相关推荐",
        "免责声明：内容仅供参考",
        "客服热线：000-0000",
        "加入購物車",
    ],
}
SENTENCES = {
    False: [
        "She baked cookies for the whole street, and all of them were gone by noon.",
        "The log in the fire crackled; he liked to read more than to talk.",
        "We could share the cart and skip the long way round.",
        "JavaScript is a language of the web.",
    ],
    True: [
        "登录界面需要重新设计，注册流程也太长。",
        "法律规定了各方的责任和声明的方式。",
        "他点击了鼠标，屏幕上出现了最新的消息。",
        "图书馆的收藏很丰富，阅读的人也多。",
    ],
}


def share(text: str, east: bool) -> float:
    lines = lay_out([text])
    return float(boilerplate.shares([text], lines, to_units(lines), east)[0])


@pytest.mark.parametrize("east", [False, True])
def test_notices_are_found_and_sentences_are_not(east: bool) -> None:
    for line in NOTICES[east]:
        assert share(f"words\n{line}", east) == pytest.approx(len(line) / (len(line) + 6)), line
    for line in SENTENCES[east]:
        assert share(line, east) == 0, line


def test_long_lines_are_no_notices() -> None:
    assert share("Much is said of the sea. " * 10 + "All rights reserved.", False) == 0


def test_each_text_has_its_own_share() -> None:
    texts = ["nothing here", "All rights reserved.", "nothing\nRead more"]
    lines = lay_out(texts)
    found = boilerplate.shares(texts, lines, to_units(lines), False)
    assert found.tolist() == [0.0, 1.0, pytest.approx(9 / 17)]


def test_only_the_edges_lose_their_notices() -> None:
    body = [f"Sentence number {number} of the text." for number in range(40)]
    body[20] = "All rights reserved."
    text = "\n".join(["Skip to main content", "", *body, "Read more"])
    kept, count = boilerplate.without_edges(text, False)
    assert count == 2
    assert kept == "\n".join(body)
    assert boilerplate.without_edges(kept, False) == (kept, 0)

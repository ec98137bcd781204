"""Texts that a quality filter should keep, and texts made bad on purpose, in English and Chinese.

Good ones are real documents that lie beside the repository (novels also cut into chapters, translated histories
into paragraphs). Bad ones are made from the good ones and from sentences written for it, the same for the same seed.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "shared" / "data"
PIECE = 4000


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def pieces(texts: Iterator[str], size: int) -> Iterator[str]:
    """Texts cut at paragraphs into pieces of about `size` characters."""
    for text in texts:
        piece: list[str] = []
        for paragraph in text.split("\n\n"):
            piece.append(paragraph)
            if sum(map(len, piece)) >= size:
                yield "\n\n".join(piece)
                piece = []


def joined(lines: Iterator[str], count: int) -> Iterator[str]:
    while batch := list(islice(lines, count)):
        yield "\n\n".join(batch)


def by_book(lines: Iterator[dict[str, Any]], field: str) -> Iterator[str]:
    for row in sorted(lines, key=lambda row: str(row["book"])):
        yield row[field]


def good(limit: int, half: int) -> dict[str, list[str]]:
    """The good references by name: every second document (`half` 0 or 1), at most `limit`, evenly from the set."""

    def corpus(name: str) -> Iterator[str]:
        return (row["text"] for row in rows(f"corpus/{name}.jsonl.gz"))

    def contexts(name: str) -> Iterator[str]:
        return iter(dict.fromkeys(row["context"] for row in rows(f"qa/{name}.jsonl.gz")))

    histories = "translation/zh_classical_to_modern.jsonl.gz"
    sets: dict[str, Iterator[str]] = {
        "en_novels": corpus("en_novels"),
        "en_chapters": pieces(corpus("en_novels"), PIECE),
        "en_cpp_docs": corpus("en_cpp_docs"),
        "en_abstracts": (row["document"] for row in rows("summarization/en_scitldr_train.jsonl.gz")),
        "en_wikipedia": contexts("en_xquad"),
        "zh_tech_docs": corpus("zh_tech_docs"),
        "zh_laws": corpus("zh_laws"),
        "zh_poetry": corpus("zh_poetry"),
        "zh_wikipedia": contexts("zh_cmrc2018"),
        "zh_histories": joined(by_book(rows(histories), "tgt"), 10),
        "zh_classical": joined(by_book(rows(histories), "src"), 10),
    }
    return {name: evenly(list(texts)[half::2], limit) for name, texts in sets.items()}


def evenly(texts: list[str], limit: int) -> list[str]:
    step = max(1, -(-len(texts) // limit))
    return texts[::step]


def labelled_lines(limit: int) -> dict[str, list[tuple[str, str]]]:
    """Lines and documents with their language; Traditional Chinese is poems, or converted by OpenCC.

    A Chinese line without any character that one script alone has counts as Simplified.
    """
    import opencc

    to_traditional, to_simplified = opencc.OpenCC("s2t").convert, opencc.OpenCC("t2s").convert
    pairs = list(rows("translation/en_zh_tatoeba.jsonl.gz"))
    contexts = {
        side: dict.fromkeys(r["context"] for r in rows(f"qa/{side}_xquad.jsonl.gz")) for side in ("en", "zh")
    }

    def chinese(texts: list[str], convert: Callable[[str], str], label: str) -> list[tuple[str, str]]:
        converted = [convert(text) for text in texts]
        return [(text, label if to_simplified(text) != text else "zh-Hans") for text in converted]

    sentences = evenly([row["zh"] for row in pairs if 8 <= len(row["zh"]) <= 40], limit)
    reviews = evenly(
        [row["text"] for row in rows("classification/zh_waimai.jsonl.gz") if len(row["text"]) >= 8], limit
    )
    poems = evenly([row["text"] for row in rows("corpus/zh_poetry.jsonl.gz")], limit)
    poems = [poem for poem in poems if to_traditional(poem) == poem]
    english = {
        "en_sentences": [row["en"] for row in pairs if 15 <= len(row["en"]) <= 80],
        "en_reviews": [
            row["text"] for row in rows("classification/en_sst2_dev.jsonl.gz") if len(row["text"]) >= 20
        ],
        "en_documents": list(contexts["en"]),
    }
    found = {name: [(text, "en") for text in evenly(texts, limit)] for name, texts in english.items()}
    for name, texts in (("sentences", sentences), ("reviews", reviews), ("documents", list(contexts["zh"]))):
        found[f"zh-Hans_{name}"] = chinese(texts, to_simplified, "zh-Hans")
        found[f"zh-Hant_{name}"] = chinese(texts, to_traditional, "zh-Hant")
    return found | {"zh-Hant_poems": chinese(poems, str, "zh-Hant")}


_BOILERPLATE = {
    "en": [
        "We use cookies to improve your experience on our website.",
        "By continuing to browse this site you agree to our cookie policy.",
        "All rights reserved.",
        "Copyright © 2019 Example Media Ltd.",
        "Privacy Policy | Terms of Service | Contact Us",
        "Please enable JavaScript to view this page.",
        "Sign up for our newsletter and never miss an update!",
        "Log in or register to post comments",
        "Click here to read more",
        "Share this article on Facebook, Twitter or LinkedIn",
        "Follow us on social media",
        "Your email address will not be published. Required fields are marked *",
        "Add to cart",
        "You must be logged in to reply to this topic.",
        "Skip to main content",
        "Powered by WordPress. Theme by Example.",
        "Subscribe now for unlimited access",
        "This site is protected by reCAPTCHA and the Google Privacy Policy applies.",
        "Page not found. The page you are looking for does not exist.",
        "Related posts: 10 tips you should know",
        "Posted by admin on March 3, 2018 at 10:24 am",
        "Advertisement",
    ],
    "zh": [
        "版权所有 © 2019 示例网络科技有限公司",
        "京ICP备12345678号-1 京公网安备 11010802020000号",
        "未经授权禁止转载，违者必究。",
        "登录 | 注册 | 忘记密码",
        "请先登录后再发表评论",
        "点击查看更多精彩内容",
        "扫描二维码关注微信公众号",
        "上一篇：公司简介 下一篇：联系我们",
        "分享到：微博 微信 QQ空间",
        "您的浏览器版本过低，请升级后访问",
        "本站部分内容来自互联网，如有侵权请联系我们删除。",
        "首页 > 新闻中心 > 公司新闻",
        "加入收藏 设为首页",
        "立即购买 加入购物车",
        "客服热线：400-000-0000 在线客服 QQ：10000",
        "相关推荐：热门文章 最新文章",
        "展开全文 收起",
        "免责声明：本网站所提供的信息仅供参考之用。",
        "友情链接：示例网 样例网 范例网",
        "我们使用 Cookie 来改善您的浏览体验。",
        "阅读量：1024 点赞 收藏 评论",
        "责任编辑：佚名",
    ],
}
_MENU = {
    "en": "Home;About us;Products;Services;Contact;News;Blog;Support;Careers;FAQ;Downloads;Gallery;Login;Sitemap;"
    "My account;Shopping cart;Men's shoes;Women's clothing;Kids;Sale;Electronics;Garden;Sports;Books;Gift cards;"
    "Store locator;Track order;Returns;Press;Investors;Partners;Events;Forum;Archive;January 2014;February 2014;"
    "Uncategorized;Travel;Health;Recipes;Technology;Politics;Business;Opinion;Weather;Video;Photos;Jobs;Real estate",
    "zh": "首页;关于我们;产品中心;新闻资讯;联系我们;在线留言;人才招聘;下载中心;成功案例;合作伙伴;会员登录;购物车;"
    "男装;女装;童装;家用电器;手机数码;电脑办公;食品饮料;母婴用品;图书音像;运动户外;汽车用品;旅游度假;房产;"
    "财经;体育;娱乐;科技;军事;教育;健康;美食;星座;天气;视频;图片;论坛;博客;站点地图;帮助中心;意见反馈;投诉建议;"
    "最新公告;热门排行;2014年1月;2014年2月;未分类;更多",
}


def boilerplate(language: str, rng: random.Random, source: list[str]) -> str:
    lines = _BOILERPLATE[language]
    return "\n".join(rng.sample(lines, rng.randint(8, len(lines))))


def navigation(language: str, rng: random.Random, source: list[str]) -> str:
    items = _MENU[language].split(";")
    chosen = rng.sample(items, rng.randint(20, len(items)))
    shape = rng.randrange(4)
    if shape == 0:
        return "\n".join(chosen)
    if shape == 1:
        return "\n".join(f"- [{item}](/{rng.randrange(999)})" for item in chosen)
    mark = (" | ", " > ", " · ", "  ")[rng.randrange(4)]
    lines = [mark.join(chosen[i : i + 6]) for i in range(0, len(chosen), 6)]
    return "\n".join(lines)


def words(text: str, language: str) -> list[str]:
    if language == "en":
        return re.findall(r"[^\s`|*#]+", text)
    import rjieba

    return [word for word in rjieba.cut(text) if not word.isspace() and word not in "`|*#"]


def keywords(language: str, rng: random.Random, source: list[str]) -> str:
    least = 4 if language == "en" else 2
    chosen = [w for w in words(rng.choice(source), language) if w.isalpha() and len(w) >= least]
    chosen = list(dict.fromkeys(chosen)) or [_MENU[language].split(";")[0]]
    head = rng.sample(chosen, min(3, len(chosen)))
    glue = " " if language == "en" else ""
    phrases = []
    for _ in range(rng.randint(40, 150)):
        tail = rng.sample(chosen, min(rng.randint(1, 2), len(chosen)))
        phrases.append(glue.join([rng.choice(head), *tail] if rng.random() < 0.7 else tail))
    return rng.choice([", ", " ", "，" if language == "zh" else "; ", "\n"]).join(phrases)


def shuffled(language: str, rng: random.Random, source: list[str]) -> str:
    lines = [words(line, language) for line in rng.choice(source).split("\n")]
    if rng.random() < 0.5:
        for line in lines:
            rng.shuffle(line)
    else:
        every = [word for line in lines for word in line]
        rng.shuffle(every)
        rest = iter(every)
        lines = [[next(rest) for _ in line] for line in lines]
    return "\n".join((" " if language == "en" else "").join(line) for line in lines)


def repetition(language: str, rng: random.Random, source: list[str]) -> str:
    text = rng.choice(source)
    sentences = [
        s for s in re.split(r"(?<=[.!?。！？])\s*", text.replace("\n", " ")) if 12 < len(s) < 300
    ] or [text[:80]]
    start = rng.randrange(len(sentences))
    shape = rng.randrange(4)
    if shape == 0:
        return (rng.choice([" ", "\n", "\n\n"]) if language == "en" else "\n").join(
            [sentences[start]] * rng.randint(8, 40)
        )
    if shape == 1:
        loop = sentences[start : start + rng.randint(2, 4)]
        return "\n".join([*sentences[:2], *(loop * rng.randint(6, 20))])
    if shape == 2:
        phrase = words(sentences[start], language)[: rng.randint(2, 5)]
        glue = " " if language == "en" else ""
        return sentences[start] + glue + glue.join(phrase * rng.randint(30, 80))
    template = sentences[start]
    numbers = range(1, rng.randint(15, 40))
    return "\n".join(f"{number}. {template}" for number in numbers)


def cut_table(language: str, rng: random.Random, source: list[str]) -> str:
    cells = _MENU[language].split(";")
    mark = rng.choice(["\t", "  ", " ", "\n", ",", " | "])
    out = []
    for _ in range(rng.randint(12, 60)):
        row = [rng.choice(cells)] + [
            rng.choice(
                [f"{rng.random() * 1000:.2f}", f"{rng.randrange(10**6):,}", f"{rng.random():.1%}", "-", "N/A"]
            )
            for _ in range(rng.randint(3, 7))
        ]
        out.append(mark.join(row[: rng.randint(2, len(row))]))
    return "\n".join(out)


def mojibake(language: str, rng: random.Random, source: list[str]) -> str:
    text = rng.choice(source)[:3000]
    if language == "en":
        encoded = text.encode("utf-16-le")
        ways = [
            encoded.decode("utf-16-be", "replace"),
            text.encode("utf-8").decode("cp037"),
            "".join(c if rng.random() > 0.15 else "\ufffd" for c in text),
            text.encode("utf-8").decode("utf-16-le", "replace"),
        ]
    else:
        ways = [
            text.encode("utf-8").decode("gbk", "replace"),
            text.encode("gb18030").decode("latin-1"),
            text.encode("gb18030").decode("big5", "replace"),
            text.encode("big5", "ignore").decode("gbk", "replace"),
            text.encode("gb18030").decode("utf-8", "replace"),
            text.encode("utf-8").decode("big5", "replace"),
            text.encode("utf-8").decode("ascii", "replace"),
        ]
    return rng.choice(ways)


def fragments(language: str, rng: random.Random, source: list[str]) -> str:
    """Beginnings of lines, cut off as search results and teasers are."""
    lines = [line for line in rng.choice(source).split("\n") if len(line) > 40] or [
        "nothing here to read yet"
    ]
    size = 60 if language == "en" else 25
    chosen = [line[: rng.randint(size // 2, size)].rstrip() for line in lines for _ in range(2)][
        : rng.randint(8, 30)
    ]
    return "\n".join(line + rng.choice(["...", "…", " [...]", ""]) for line in chosen)


def noise(language: str, rng: random.Random, source: list[str]) -> str:
    """What machines write for each other: hexadecimal dumps, base64, logs of numbers."""
    shape = rng.randrange(3)
    if shape == 0:
        return "\n".join(rng.randbytes(24).hex(" ") for _ in range(rng.randint(10, 60)))
    if shape == 1:
        import base64

        return base64.b64encode(rng.randbytes(rng.randint(600, 3000))).decode()
    return "\n".join(
        f"2023-04-{rng.randint(1, 30):02} {rng.randint(0, 23):02}:17:{rng.randint(0, 59):02} {rng.randrange(10**9)} "
        f"{rng.random():.6f} 0x{rng.randrange(16**8):08x}"
        for _ in range(rng.randint(15, 60))
    )


MAKERS: dict[str, Callable[[str, random.Random, list[str]], str]] = {
    "boilerplate": boilerplate,
    "navigation": navigation,
    "keywords": keywords,
    "shuffled": shuffled,
    "repetition": repetition,
    "cut_table": cut_table,
    "mojibake": mojibake,
    "fragments": fragments,
    "noise": noise,
}


def bad(sources: dict[str, list[str]], count: int, seed: int) -> dict[str, list[str]]:
    """`count` texts of every kind and language, by `en_shuffled` and the like."""
    made = {}
    for language in ("en", "zh"):
        names = (
            ("chapters", "wikipedia", "abstracts") if language == "en" else ("histories", "wikipedia", "laws")
        )
        texts = [text for name in names for text in sources[f"{language}_{name}"]]
        for kind, maker in MAKERS.items():
            rng = random.Random(f"{seed}{language}{kind}")
            made[f"{language}_{kind}"] = [maker(language, rng, texts) for _ in range(count)]
    return made

"""Lines that sites print on every page: notices of cookies and copyright, log-in, sharing, navigation.

The rule follows the line filters of C4 (Raffel et al., "Exploring the Limits of Transfer Learning", 2020), with
phrases in Chinese beside the English ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from chatwright.corpora.operators.quality.lines import Lines
from chatwright.corpora.operators.quality.repetition import Units, hash_words

_LONGEST = {False: 200, True: 80}
_EDGE = 12

# Every phrase below holds one of these words (of Chinese ones: of these pairs of characters), quick to look for.
_WORDS = (
    "cookie cookies reserved copyright privacy javascript newsletter log login logged sign click read learn subscribe "
    "follow cart powered skip page share posted leave email required related advertisement terms captcha recaptcha lorem"
)
_PAIRS = (
    "版权 版權 icp 公网 转载 轉載 登录 登錄 登入 注册 註冊 忘记 忘記 点击 點擊 扫描 掃描 扫码 掃碼 扫一 掃一 公众 公眾 "
    "上一 下一 分享 浏览 瀏覽 侵权 侵權 首页 首頁 收藏 购物 購物 购买 購買 客服 热门 熱門 最新 相关 相關 展开 展開 阅读 閱讀 "
    "免责 免責 友情 责任 責任 点赞 點讚 cookie"
)
_ENGLISH = (
    r"(?:we|this (?:web)?site|our (?:web)?site) (?:uses?|sets?) cookies|cookie (?:policy|settings|notice|preferences|consent)"
    r"|accept (?:all )?cookies|all rights reserved|(?:copyright|^)\W{0,2}(?:©|\(c\)) ?(?:\d{4}|by)|copyright \d{4}"
    r"|privacy policy|terms (?:of (?:service|use)|and conditions)|(?:our|the|weekly|daily) newsletter"
    r"|(?:enable|turn on|activate|requires?|disabled?) javascript|javascript (?:is|must be|to be) (?:en|dis)abled"
    r"|subscribe (?:now|today|to)|^sign (?:up|in) (?:for|to|now|with)|^log ?in (?:or|to|with|now)\b|be logged in"
    r"|click here (?:to|for)|^\W*(?:click here|read more|learn more|add to cart|advertisement|log ?in|sign up)\W*$"
    r"|follow us (?:on|at)\b|^powered by \w+|skip to (?:main |the )?content|page (?:you (?:are looking for|requested)|not found)"
    r"|share th(?:is|e) (?:article|post|page|story)|share on (?:facebook|twitter|x\b|linkedin)|posted (?:by|on) \w+ (?:on|\d|at)"
    r"|leave a (?:reply|comment)|email address will not be|required fields are marked|^related (?:posts?|articles?|products?)\b"
    r"|re?captcha|lorem ipsum dolor"
)
_CHINESE = (
    r"版[权權]所有|icp[备備证證]|公网安备|(?:未[经經].{0,6}|禁止|谢绝|請勿|请勿)[转轉][载載]|[转轉][载載].{0,6}[注註]明"
    r"|[请請]先?(?:登[录錄入]|[注註][册冊])后?[再才]?[发發查可]|立即(?:登[录錄入]|[注註][册冊]|[购購][买買])"
    r"|登[录錄入]\s*[|｜/·]\s*[注註][册冊]|^忘[记記]密[码碼]\W*$|[点點][击擊](?:查看|[阅閱][读讀])(?:更多|全文|原文|[详詳]情)"
    r"|[扫掃](?:描|码|一扫).{0,8}[关關]注|[关關]注.{0,6}公[众眾][号號]|上一篇[:：]|下一篇[:：]|分享[到至][:：]|[浏瀏][览覽]器版本[过過]低"
    r"|如有侵[权權]|侵[权權].{0,8}[删刪]除|^首[页頁]\s*[>›»|｜·]|加入收藏|[设設]为首[页頁]|加入[购購]物[车車]|客服(?:[热熱][线線]|[电電][话話]|qq)?\s*[:：]"
    r"|^(?:[热熱][门門]|最新|相[关關])(?:推荐|推薦|文章|[阅閱][读讀])|展[开開]全文|[阅閱][读讀](?:全文|原文|量)\W|^免[责責][声聲]明[:：]"
    r"|友情[链連][接結]|[责責]任[编編][辑輯][:：]|[点點][赞讚]\s*\S{0,4}收藏|使用 ?cookies?"
)
_PHRASES = {False: re.compile(_ENGLISH), True: re.compile(_CHINESE)}


def is_boilerplate(line: str, east: bool) -> bool:
    """Whether a line, not a long one, holds one of the phrases."""
    return len(line) <= _LONGEST[east] and bool(_PHRASES[east].search(line.strip().lower()))


@cache
def _word_table() -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << 16, bool)
    table[hash_words(_WORDS.split()) >> np.uint64(48)] = True
    return table


def _pair(first: npt.NDArray[np.uint32], second: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    mixed = (first | np.uint32(0x20)) * np.uint32(0x9E3779B1) + (second | np.uint32(0x20)) * np.uint32(
        0x85EBCA77
    )
    return (mixed >> np.uint32(16)).astype(np.uint32)


@cache
def _pair_table() -> npt.NDArray[np.bool_]:
    table = np.zeros(1 << 16, bool)
    pairs = np.array([[ord(pair[0]), ord(pair[1])] for pair in _PAIRS.split()], np.uint32)
    table[_pair(pairs[:, 0], pairs[:, 1])] = True
    return table


def _candidates(lines: Lines, units: Units, east: bool) -> npt.NDArray[np.int64]:
    """The lines, not long ones, that hold one of the words or pairs (or one of the same hash)."""
    if east:
        places = np.flatnonzero(_pair_table()[_pair(lines.codes[:-1], lines.codes[1:])])
    else:
        hashes = units.between(units.place[:-1], units.place[1:])
        places = units.position[units.place[np.flatnonzero(_word_table()[hashes >> np.uint64(48)])]]
    found = np.searchsorted(lines.ends, places)
    found = found[np.append(True, found[1:] != found[:-1])] if found.size else found
    return found[lines.ends[found] - lines.starts[found] <= _LONGEST[east]]


def shares(texts: Sequence[str], lines: Lines, units: Units, east: bool) -> npt.NDArray[np.float64]:
    """Of each text the share of characters that stands in boilerplate lines, (texts,)."""
    found = np.zeros(len(texts))
    begins = lines.starts[lines.first_line]
    chosen = _candidates(lines, units, east)
    documents = lines.document[chosen]
    starts, ends = (bounds[chosen] - begins[documents] for bounds in (lines.starts, lines.ends))
    for number, start, end in np.stack([documents, starts, ends], axis=1).tolist():
        if is_boilerplate(texts[number][start:end], east):
            found[number] += end - start
    return found / np.maximum(1, np.fromiter(map(len, texts), np.int64, len(texts)))


def without_edges(text: str, east: bool) -> tuple[str, int]:
    """The text without boilerplate among its first and last dozen lines, and how many lines that were.

    In the middle of a text such a line may be a sentence about cookies.
    """
    lines = text.split("\n")
    filled = [place for place, line in enumerate(lines) if line and not line.isspace()]
    edges = {*filled[:_EDGE], *filled[-_EDGE:]}
    gone = {place for place in edges if is_boilerplate(lines[place], east)}
    if not gone:
        return text, 0
    return "\n".join(line for place, line in enumerate(lines) if place not in gone).strip("\n"), len(gone)

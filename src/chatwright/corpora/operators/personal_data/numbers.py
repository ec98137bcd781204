"""Telephone numbers, identity documents and bank cards, by their public formats and check digits.

Telephone: Chinese mobile and landline numbers, E.164 (ITU 2010) with a known country code, North America; others after
a word that announces them. Identity: the Chinese number of GB 11643-1999 (ISO 7064 MOD 11-2), Taiwan, Hong Kong, US
social security, passports after the word. Cards: ISO/IEC 7812 issuer and Luhn check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from chatwright.corpora.operators.personal_data.addresses import Span

HINT = r"[0-9０-９](?:[ .()（）\-–－]{0,2}[0-9０-９]){5}"
"""What a text with such a number holds, in RE2's words."""

_RUN = re.compile(r"[0-9](?:[ .()（）\-–－]{0,3}[0-9]){5,40}")
# decimals, addresses, dates and times, which are most of the runs in technical text
_PLAIN = re.compile(
    r"[0-9]+\.[0-9]+|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|(?:[0-9] - )?(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9](?: [0-2]?[0-9])?"
)
_FEWEST = 7
_WIDE = {0xFF10 + digit: 0x30 + digit for digit in range(10)} | {0xFF0D: 0x2D, 0xFF0B: 0x2B, 0x2013: 0x2D}
_WIDE_DIGIT = re.compile("[０-９]")
_MARGIN = 12

_PROVINCES = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
_COUNTRIES = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 "
    "90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 "
    "239 240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 "
    "290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 "
    "386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 "
    "674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 850 852 853 855 856 870 880 886 960 961 "
    "962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995 996 998"
)

_FREE = r"(?<![0-9A-Za-z_.])(?<![0-9A-Za-z][\-+])"
_END = r"(?![0-9A-Za-z_]|[\-.][0-9])"
_CHINA_ID = re.compile(
    r"(?<![0-9A-Za-z_.])([1-9][0-9]{5})[ \-]?((?:18|19|20)[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[ \-]?"
    r"([0-9]{3})([0-9Xx])(?![0-9A-Za-z_])"
)
_CHINA_OLD_ID = re.compile(
    rf"{_FREE}[1-9][0-9]{{5}}([0-9]{{2}})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[0-9]{{3}}{_END}"
)
_TAIWAN_ID = re.compile(r"(?<![0-9A-Za-z_\-])([A-Z])([1289][0-9]{8})(?![0-9A-Za-z_\-])")
_HONG_KONG_ID = re.compile(r"(?<![0-9A-Za-z_\-])([A-Z]{1,2})([0-9]{6})[(（]([0-9A])[)）]")
_CARD = re.compile(
    rf"{_FREE}(?:[2-6][0-9]{{3}}([ \-])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?"
    rf"|6[0-9]{{5}} [0-9]{{13}}|3[47][0-9]{{2}}([ \-])[0-9]{{6}}\2[0-9]{{5}}|[2-6][0-9]{{12,18}}){_END}"
)
_SSN = re.compile(rf"{_FREE}(?!000|666|9)[0-9]{{3}}([ \-]?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}{_END}(?!-)")
_PASSPORT = re.compile(
    r"(?<![0-9A-Za-z_\-])(?:[A-Z]{1,2}[0-9]{7,8}|[0-9]{9}|[A-Z][0-9]{2}[A-Z]{2}[0-9]{4})(?![0-9A-Za-z_\-])"
)

_CHINA_MOBILE = re.compile(
    rf"{_FREE}(?:(?:\+|00)86[ \-]?|[(（](?:\+|00)?86[)）][ \-]?|86[ \-])?1[3-9][0-9][ \-.]?[0-9]{{4}}[ \-.]?[0-9]{{4}}{_END}"
)
_CHINA_LANDLINE = re.compile(
    rf"{_FREE}(?:(?:(?:\+|00)86[ \-]?(?:\(0\))?|[(（](?:\+|00)?86[)）][ \-]?)0?(?:10|2[0-57-9]|[3-9][0-9]{{2}})[ \-]?"
    r"|(?:(?:\+|00)86[ \-]?)?[(（]0(?:10|2[0-57-9]|[3-9][0-9]{2})[)）][ \-]?|0(?:10|2[0-57-9]|[3-9][0-9]{2})[ \-])"
    rf"[2-9](?:[0-9]{{6,7}}|[0-9]{{2,3}}[ \-][0-9]{{4}})(?:(?: ?(?:转|轉|ext\.?|x|分机|分機) ?|-)[0-9]{{1,5}})?{_END}"
)
_CHINA_SERVICE = re.compile(
    rf"{_FREE}[48]00(?:-[0-9]{{3}}-[0-9]{{4}}|-[0-9]{{4}}-[0-9]{{3}}|-[0-9]{{7}}| [0-9]{{3}} [0-9]{{4}}){_END}"
)
_TAIWAN = re.compile(
    rf"{_FREE}(?:09[0-9]{{2}}([ \-])[0-9]{{3}}\1[0-9]{{3}}|(?:[(（]0[2-8][0-9]?[)）] ?|0[2-8]-)[0-9]{{3,4}}-[0-9]{{4}}){_END}"
)
_AMERICA = re.compile(
    rf"{_FREE}(?:1[\-. ])?(?:[(（][2-9][0-9]{{2}}[)）] ?|[2-9][0-9]{{2}}[\-.]|(?<![0-9] )[2-9][0-9]{{2}} (?=[0-9]{{3}} [0-9]{{4}}(?! ?[0-9])))"
    r"[2-9][0-9]{2}[\-. ][0-9]{4}"
    rf"(?: ?(?:ext\.?|x) ?[0-9]{{1,5}})?{_END}"
)
_ABROAD = re.compile(
    r"(?<![0-9A-Za-z_+])(?<![0-9] )(?:\+[1-9][0-9]{0,2}|00[1-9][0-9]{0,2}(?=[ \-])|[(（]\+[1-9][0-9]{0,2}[)）])"
    r"(?:(?:[ \-]?(?:[(（][0-9]{1,4}[)）]|[0-9]{1,12})){1,7}|(?:\.[0-9]{2,12}){1,6})(?![0-9A-Za-z_]|[.\-][0-9])"
)
_SPACED_OUT = re.compile(
    rf"{_FREE}(?:0[15789]0-[0-9]{{4}}-[0-9]{{4}}|03-[0-9]{{4}}-[0-9]{{4}}|07[0-9]{{3}} [0-9]{{6}}|020 [0-9]{{4}} [0-9]{{4}}){_END}"
)
_ANNOUNCED = re.compile(rf"(?<![0-9.])[(（+]{{0,2}}[0-9](?:[ ()（）.\-]{{0,2}}[0-9]){{6,14}}{_END}")

_PHONE_WORD = re.compile(
    r"(?<!<)(?:\btel(?:ephone)?|\bphone|\bmobile|\bcell(?:phone)?|\bfax|\bwhatsapp|\bcall(?:ed)? (?:me|us|him|her|at|on)|\bhotline"
    r"|电话|電話|手机|手機|联系方式|聯繫方式|聯絡方式|传真|傳真|热线|熱線|座机|座機|致电|致電|拨打|撥打)[^0-9\n+(（]{0,16}[+(（]{0,2}\Z",
    re.IGNORECASE | re.ASCII,
)
_ID_WORD = re.compile(
    r"(?<!<)(?:身份证|身份證|身分證|证件号|證件號|\bID(?: card)?\b|identity)[^0-9\n]{0,16}\Z",
    re.IGNORECASE | re.ASCII,
)
_SSN_WORD = re.compile(
    r"(?<!<)(?:\bSSN|social security|社会安全号|社會安全號)[^0-9\n]{0,16}\Z", re.IGNORECASE | re.ASCII
)
_PASSPORT_WORD = re.compile(r"(?<!<)(?:passport|护照|護照)[^0-9\n。]{0,16}\Z", re.IGNORECASE | re.ASCII)
_CARD_WORD = re.compile(
    r"(?<!<)(?:card|visa|卡号|卡號|银行卡|銀行卡|信用卡|账号|帳號|账户|帳戶)[^0-9\n]{0,16}\Z",
    re.IGNORECASE | re.ASCII,
)
_OTHER_WORD = re.compile(
    r"(?:order|invoice|tracking|shipment|serial|\bsku|\bitem|\bpart|\bmodel|\bcase|ticket|\bisbn|\bissn|\bdoi|\bimei|\buid|\bupc|\bean"
    r"|\bpid|timestamp|\btotal|\bsize|bytes|memory|usage|offset|length|limit|count|build|version|commit|revision|bug|issue|订单|訂單|单号|單號|编号|編號|编码|編碼|流水|运单|運單|快递|快遞|序列"
    r"|条码|條碼|条形码|版本|型号|型號|批号|批號|发票|發票|邮编|时间戳|時間戳|备案|備案|[$¥￥€£])[^0-9\n]{0,12}\Z",
    re.IGNORECASE | re.ASCII,
)
_UNIT = re.compile(
    r"\s{0,2}(?:元|万|萬|亿|億|美元|人民币|美金|字节|字節|位|个|個|人|次|吨|噸|公里|平方|毫秒|微秒|秒|%|bytes?\b|bits?\b|[KMG]?B\b|[kcm]?m\b"
    r"|[mnµ]?s\b|USD|CNY|RMB|dollars|yuan|rows|users|records|people)"
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[\-. ](?:0?[1-9]|1[0-2])(?:[\-. ]|\Z)|[0-3]?[0-9][\-.][0-3]?[0-9][\-.](?:19|20)[0-9]{2}"
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def numbers(text: str) -> Iterator[Span]:
    """Telephone numbers (`phone`), identity numbers (`id`, `ssn`, `passport`) and bank cards (`card`)."""
    if _WIDE_DIGIT.search(text):
        text = text.translate(_WIDE)
    for run in _RUN.finditer(text):
        if _PLAIN.fullmatch(run[0]) or sum(map(str.isdigit, run[0])) < _FEWEST:
            continue
        start, stop = max(0, run.start() - _MARGIN), min(len(text), run.end() + _MARGIN)
        for kind, pattern, holds in _FORMS:
            for found in pattern.finditer(text, start, stop):
                if found.end() > run.start() and found.start() < run.end() and holds(text, found):
                    yield found.start(), found.end(), kind


def _after(word: re.Pattern[str], text: str, found: re.Match[str]) -> bool:
    """Whether the word stands just before what was found."""
    return word.search(text, max(0, found.start() - 40), found.start()) is not None


def _in_address(text: str, found: re.Match[str]) -> bool:
    """Whether what was found is part of a web address or a path."""
    before = text[max(0, found.start() - 200) : found.start()].rsplit(maxsplit=1)
    run = before[-1] if before and not text[found.start() - 1].isspace() else ""
    return "://" in run or run.startswith("www.")


def _another_number(text: str, found: re.Match[str]) -> bool:
    """Whether the words around say that it is an amount, an order or a code, or it stands in an address."""
    return (
        _after(_OTHER_WORD, text, found)
        or _UNIT.match(text, found.end()) is not None
        or _in_address(text, found)
    )


def _is_phone(text: str, found: re.Match[str]) -> bool:
    return _after(_PHONE_WORD, text, found) or not _another_number(text, found)


def _is_abroad(text: str, found: re.Match[str]) -> bool:
    digits = "".join(filter(str.isdigit, found[0])).removeprefix("00")
    if not 9 <= len(digits) <= 15 or _DATE.search(found[0]):
        return False
    code = next((digits[:size] for size in (1, 2, 3) if digits[:size] in _COUNTRIES.split()), "")
    rest = digits[len(code) :]
    if not code or (code == "1" and (len(rest) != 10 or rest[0] in "01" or rest[3] in "01")):
        return False
    if code == "86" and len(rest.removeprefix("0")) not in (9, 10, 11):
        return False
    spaced = any(mark in found[0] for mark in " -().")
    return (spaced or len(digits) >= 10) and _is_phone(text, found)


def _is_announced(text: str, found: re.Match[str]) -> bool:
    return _after(_PHONE_WORD, text, found) and not _DATE.match(found[0]) and "." not in found[0][-4:]


def _is_china_id(text: str, found: re.Match[str]) -> bool:
    area, year, month, day, serial, check = found.groups()
    if area[:2] not in _PROVINCES.split() or not _is_day(int(year), int(month), int(day)):
        return False
    digits = f"{area}{year}{month}{day}{serial}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == check.upper()


def _is_china_old_id(text: str, found: re.Match[str]) -> bool:
    return found[0][:2] in _PROVINCES.split() and _after(_ID_WORD, text, found)


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return date(year, month, day).year >= 1880
    except ValueError:
        return False


def _is_taiwan_id(text: str, found: re.Match[str]) -> bool:
    code = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(found[1]) + 10
    digits = [code // 10, code % 10, *map(int, found[2])]
    weights = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)
    checked = sum(a * b for a, b in zip(digits, weights, strict=True)) % 10 == 0
    return checked and not _another_number(text, found)


def _is_hong_kong_id(text: str, found: re.Match[str]) -> bool:
    letters = [ord(letter) - 55 for letter in found[1].rjust(2)]
    if found[1].rjust(2)[0] == " ":
        letters[0] = 36
    values = [*letters, *map(int, found[2]), 10 if found[3] == "A" else int(found[3])]
    return sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0


def _is_card(text: str, found: re.Match[str]) -> bool:
    digits = "".join(filter(str.isdigit, found[0]))
    if not _is_luhn(digits) or len(set(digits)) < 2:
        return False
    first, two, four = digits[0], int(digits[:2]), int(digits[:4])
    known = {
        13: first == "4",
        14: two in (30, 36, 38, 39),
        15: two in (34, 37),
        16: first == "4" or 51 <= two <= 55 or 2221 <= four <= 2720 or two in (35, 60, 62, 64, 65, 81),
        17: two == 62,
        18: two == 62,
        19: two in (62, 60, 65) or first == "4",
    }.get(len(digits), False)
    return known and (_after(_CARD_WORD, text, found) or not _another_number(text, found))


def _is_luhn(digits: str) -> bool:
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    total = sum(map(int, digits[::-2])) + sum(value // 10 + value % 10 for value in doubled)
    return total % 10 == 0


def _is_ssn(text: str, found: re.Match[str]) -> bool:
    if found[1] != "-":
        return _after(_SSN_WORD, text, found)
    return _after(_SSN_WORD, text, found) or not _another_number(text, found)


def _is_passport(text: str, found: re.Match[str]) -> bool:
    return _after(_PASSPORT_WORD, text, found)


_FORMS: tuple[tuple[str, re.Pattern[str], Callable[[str, re.Match[str]], bool]], ...] = (
    ("id", _CHINA_ID, _is_china_id),
    ("id", _CHINA_OLD_ID, _is_china_old_id),
    ("id", _TAIWAN_ID, _is_taiwan_id),
    ("id", _HONG_KONG_ID, _is_hong_kong_id),
    ("passport", _PASSPORT, _is_passport),
    ("card", _CARD, _is_card),
    ("ssn", _SSN, _is_ssn),
    ("phone", _CHINA_MOBILE, _is_phone),
    ("phone", _CHINA_LANDLINE, _is_phone),
    ("phone", _CHINA_SERVICE, _is_phone),
    ("phone", _TAIWAN, _is_phone),
    ("phone", _AMERICA, _is_phone),
    ("phone", _SPACED_OUT, _is_phone),
    ("phone", _ABROAD, _is_abroad),
    ("phone", _ANNOUNCED, _is_announced),
)

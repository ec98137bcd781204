"""E-mail and internet addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int, str]

_LOCAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._%+\-]{0,62}[A-Za-z0-9_])?\Z")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+([A-Za-z]{{2,18}})(?![A-Za-z0-9\-])")
_AT = re.compile(" @ |[@＠]")
_OPEN, _CLOSE = r" ?[\[({（【<] ?", r" ?[\])}）】>] ?"
_SPELLED_AT = rf"{_OPEN}(?:at|AT|@){_CLOSE}| (?:at|AT) "
_SPELLED_DOT = rf"(?:{_OPEN}(?:dot|DOT|\.){_CLOSE}| (?:dot|DOT) )"
_SPELLED_SIGN = re.compile(_SPELLED_AT)
_SPELLED_DOMAIN = re.compile(
    rf"{_LABEL}(?:(?:{_SPELLED_DOT}|\.){_LABEL}){{0,3}}(?:{_SPELLED_DOT}|\.)"
    r"(?:com|org|net|edu|gov|cn|hk|tw|uk|de|fr|jp|kr|io|me|info|co|ai)(?![A-Za-z0-9])"
)
HINT = rf"[@＠]|{_OPEN}(?:at|AT){_CLOSE}| (?:at|AT) [A-Za-z0-9\-]{{1,63}}{_SPELLED_DOT}"
"""What a text with an e-mail address holds, in RE2's words."""
_SPELLED_HINT = re.compile(rf"{_OPEN}(?:at|AT|@){_CLOSE}|{_SPELLED_DOT}")

_FILES = (
    "png jpg jpeg gif svg webp ico bmp css scss less js mjs ts tsx jsx vue json yml yaml xml html htm php py rb go rs "
    "java kt cpp hpp txt md rst lock toml cfg ini conf service socket target timer mount sh bat exe dll so zip gz tgz "
    "tar bz2 pdf doc docx xls xlsx csv map local localdomain internal lan"
)
_ACCOUNT = frozenset(("git", "hg", "svn"))

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![0-9A-Za-z_.\-])(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z_]|\.[0-9]|-[0-9A-Za-z])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:._])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}(?<![:.])(?![0-9A-Za-z_])")
_IPV6_OPEN = re.compile(r"(?<![0-9A-Za-z:._])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{0,34}::(?![0-9A-Za-z_:])")
_IS_ADDRESS = re.compile(
    r"(?<!<)(?:\bip(?:v4)?|addr(?:ess)?|host|server|dns|ping|ssh|http|https|client|from|remote|gateway|地址|服务器|伺服器"
    r"|主机|主機|网关|網關|解析|登录|登入|访问|來源|来源)[^0-9\n]{0,16}\Z",
    re.IGNORECASE | re.ASCII,
)
_RESOLVERS = frozenset(("1.0.0.1", "8.8.4.4"))
_PORT = re.compile(r":[0-9]{2,5}(?![0-9])")
_IS_VERSION = re.compile(
    r"(?:\bv|\bver\.?|version|versions|release|build|firmware|driver|chrome|\bupgrade to|\bsection|\bsec\.|chapter"
    r"|clause|版本|版|固件|驱动|驅動|第|章节|章節|§)[ :=：（(]{0,3}\Z",
    re.IGNORECASE | re.ASCII,
)


def emails(text: str) -> Iterator[Span]:
    """E-mail addresses, also with a full-width sign and spelled out as `name [at] host [dot] com`."""
    for sign in _AT.finditer(text):
        local = _LOCAL.search(text, max(0, sign.start() - 64), sign.start())
        domain = _DOMAIN.match(text, sign.end())
        if local is None or domain is None or domain[1].lower() in _FILES.split():
            continue
        if local[0].lower() in _ACCOUNT and text[domain.end() : domain.end() + 1] in (":", "/"):
            continue
        yield local.start(), domain.end(), "email"
    if _SPELLED_HINT.search(text):
        yield from _spelled_emails(text)


def _spelled_emails(text: str) -> Iterator[Span]:
    for sign in _SPELLED_SIGN.finditer(text):
        local = _LOCAL.search(text, max(0, sign.start() - 64), sign.start())
        domain = _SPELLED_DOMAIN.match(text, sign.end())
        bare = sign[0].isalpha() or sign[0].strip().isalpha()
        if local and domain and not (bare and "dot" not in domain[0].lower()):
            yield local.start(), domain.end(), "email"


def ip_addresses(text: str) -> Iterator[Span]:
    """Internet addresses of version 4 and 6 that are reachable from everywhere; private and reserved ones stay.

    Four numbers after a word for a version are none. Four numbers below 30, or with two zeros, may be a section
    or a version, and are an address where a word before or a port says so.
    """
    for pattern in (_IPV4, _IPV6, _IPV6_OPEN):
        for found in pattern.finditer(text):
            if _is_public(found[0]) and not _only_a_version(text, found):
                yield found.start(), found.end(), "ip"


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


def _only_a_version(text: str, found: re.Match[str]) -> bool:
    if ":" in found[0]:
        return False
    before = text[max(0, found.start() - 40) : found.start()]
    if _IS_VERSION.search(before):
        return True
    numbers = [int(number) for number in found[0].split(".")]
    small = (max(numbers) < 30 and len(set(numbers)) > 1) or numbers.count(0) > 1
    return (
        small
        and found[0] not in _RESOLVERS
        and not _IS_ADDRESS.search(before)
        and not _PORT.match(text, found.end())
    )

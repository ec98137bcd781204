"""Keys and tokens that open something: their issuers give them beginnings by which they are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from chatwright.corpora.operators.personal_data.addresses import Span

_WORDS = (
    r"(?i:secret|api[_\-]?key|access[_\-]?key|token|bearer|passw(?:or)?d|密钥|密鑰|密码|密碼|令牌|口令)"
    r"[A-Za-z_\-]{0,20}[\"'”]?\s{0,3}(?:[:=：]|=>|是|为|為|\s)\s{0,3}[\"'“]?"
)
HINT = (
    r"sk-[A-Za-z0-9]|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|AIza|ya29\.|xox[abeposr]-|[rsp]k_(?:live|test)_|hf_"
    rf"|glpat-|npm_|pypi-|SG\.|LTAI|AKID|eyJ|-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY|{_WORDS}[A-Za-z0-9/+_=.\-]{{20}}"
)
"""What a text with a key holds, in RE2's words."""

_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{36,251}"
    r"|github_pat_[A-Za-z0-9_]{40,244}"
    r"|AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"
    r"|ya29\.[A-Za-z0-9_\-]{20,}"
    r"|xox[abeposr]-[A-Za-z0-9\-]{10,250}"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,247}"
    r"|hf_[A-Za-z0-9]{30,60}(?![A-Za-z0-9_])"
    r"|glpat-[A-Za-z0-9_\-]{20,60}"
    r"|npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_])"
    r"|pypi-[A-Za-z0-9_\-]{50,}"
    r"|SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{32,64}"
    r"|LTAI[A-Za-z0-9]{12,24}(?![A-Za-z0-9])"
    r"|AKID[A-Za-z0-9]{28,40}(?![A-Za-z0-9])"
    r"|sk-(?:[a-z0-9]{2,10}-){0,3}[A-Za-z0-9_\-]{20,250}"
    r"|eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"
    r")"
)
_BLOCK = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:.{0,20000}?-----END \1-----|(?:\s+[A-Za-z0-9+/=:,\- ]{16,}){1,400})",
    re.DOTALL,
)
_ASSIGNED = re.compile(rf"{_WORDS}([A-Za-z0-9/+_=.\-]{{20,250}})")
_PLAIN_RUN = re.compile(r"[A-Za-z0-9]{16}")


def keys(text: str) -> Iterator[Span]:
    """Keys of known form, private key blocks, and what a word such as `secret_key` assigns if it looks drawn by lot."""
    for block in _BLOCK.finditer(text):
        yield block.start(), block.end(), "key"
    for known in _KNOWN.finditer(text):
        plain = not known[0].startswith("sk-") or _PLAIN_RUN.search(known[0]) is not None
        if plain and _is_random(known[0], 6):
            yield known.start(), known.end(), "key"
    for assigned in _ASSIGNED.finditer(text):
        if _is_random(assigned[1], 12) and _looks_drawn(assigned[1]):
            yield assigned.start(1), assigned.end(1), "key"


def _is_random(value: str, distinct: int) -> bool:
    """Whether a value has so many different characters, of more than one kind: no `sk-xxxx…`, no words."""
    body = value[4:]
    kinds = (str.isdigit, str.isupper, str.islower)
    mixed = sum(any(map(kind, body)) for kind in kinds) > 1
    return len(set(body)) >= distinct and (mixed or body.isupper())


def _looks_drawn(value: str) -> bool:
    """Whether the value mixes letters and digits as chance does, and not as names and paths do."""
    kinds = [character.isdigit() + 2 * character.isupper() for character in value]
    changes = sum(a != b for a, b in pairwise(kinds))
    marks = sum(value.count(mark) for mark in "./_-")
    mixed = changes >= 0.35 * len(value) or (kinds.count(1) >= 3 and changes >= 4)
    return mixed and marks * 8 <= len(value)

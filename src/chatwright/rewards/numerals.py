"""Numbers as people and models write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_WIDE = str.maketrans("０１２３４５６７８９．％＋－−／", "0123456789.%+--/")
_WIDE_THOUSANDS = re.compile(r"(?<=[０-９])，(?=[０-９]{3}(?![０-９]))")
_SPACED_MINUS = re.compile(r"([=:：])\s*-\s+(?=[$€£¥￥]?[0-9.])")
_NUMBER = re.compile(
    r"""
    (?P<sign>(?<![0-9A-Za-z_)\]%.])[-+负負])?  # 3-5 is no negative number, =-5 is one
    [$€£¥￥]?
    (?<![0-9A-Za-z_^])                         # the 2 of m2 and m^2 is no number
    (?P<digits>
        [0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?
      | [0-9]+(?:\.[0-9]+)?
      | (?<!\.)\.[0-9]+
    )
    (?:e(?P<power>[-+]?[0-9]+)(?![0-9A-Za-z]))?
    (?:/(?P<below>[0-9]+)(?![0-9/]))?
    \s?(?P<percent>\\?%)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
# a heading like "#### 1. Why" is no answer
_MARKED = re.compile(r"####[ \t]*(?![0-9]+[.)]\s+\S)((?:[^\s0-9]{0,3}[0-9]).*)")
# longer ones are no answers, and Python refuses to read them from 4,300 digits on
_MOST_DIGITS = 100


@dataclass(frozen=True)
class Numeral:
    """A number, and whether a percent sign follows it: 50% has the value 50."""

    value: Fraction
    percent: bool = False


def final_number(text: str) -> Numeral | None:
    """The last number after the last `####`, or else in the last line that is not blank; None where there is none."""
    text = _WIDE_THOUSANDS.sub(",", text).translate(_WIDE).replace("{,}", ",")
    marked = _MARKED.findall(text)
    line = marked[-1] if marked else next((line for line in reversed(text.split("\n")) if line.strip()), "")
    found = list(_NUMBER.finditer(_SPACED_MINUS.sub(r"\1-", line)))
    return _numeral(found[-1]) if found else None


def same_number(found: Numeral, wanted: Numeral) -> bool:
    """Whether two numbers are equal, exactly. A percent sign on one side only may count as a hundredth or as nothing."""
    one, other = (n.value / 100 if n.percent else n.value for n in (found, wanted))
    return found.value == wanted.value or one == other


def _numeral(match: re.Match[str]) -> Numeral | None:
    if len(match[0]) > _MOST_DIGITS:
        return None
    below, power = int(match["below"] or 1), int(match["power"] or 0)
    if below == 0 or abs(power) > _MOST_DIGITS:
        return None
    value = Fraction(match["digits"].replace(",", "")) * Fraction(10) ** power / below
    return Numeral(-value if match["sign"] in ("-", "负", "負") else value, match["percent"] is not None)

"""How much personal data the step `personal` finds in labelled sentences, and how often it is wrong, as one JSON object.

The sentences, English and Chinese, hold values drawn by the public formats of each kind; as many others hold what only
looks like them: versions, section numbers, ISBN, dates, amounts, order numbers, coordinates, hashes, code. In the making a
value stands between «kind: and ». A value is found when just its characters are masked, with the right kind.

    python benchmarks/personal.py [--seed 0] [--rounds 60]
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from chatwright.corpora.operators.personal import find

T = TypeVar("T")

EN = (
    "Contact {} for details.",
    "You can write to {}, or wait.",
    "She left {} on the form",
    "({})",
    "Reply to: {}\nThanks",
    "{}; see the notes below",
)
ZH = (
    "请联系{}咨询。",
    "联系方式：{}",
    "他留下了{}，没有再说什么",
    "（{}）",
    "资料如下：\n{}\n以上",
    "更多信息见{}；谢谢",
)
SURNAMES = (
    "wang",
    "li",
    "zhang",
    "smith",
    "mueller",
    "garcia",
    "chen.wei",
    "anna-maria",
    "j_doe",
    "o.neill2",
)
HOSTS = ("163.com", "qq.com", "gmail.com", "mail.example.co.uk", "uni-bonn.de", "pku.edu.cn", "my-shop.io")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SMALL = LETTERS.lower()
MIXED = LETTERS + SMALL + "0123456789"


class Draw:
    """Values of each kind, from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def digits(self, count: int) -> str:
        return "".join(str(self._random.randrange(10)) for _ in range(count))

    def of(self, alphabet: str, count: int) -> str:
        return "".join(self._random.choice(alphabet) for _ in range(count))

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def email(self) -> str:
        name, host = self.one(SURNAMES) + self.one(("", self.digits(3), "+list")), self.one(HOSTS)
        plain = f"{name}@{host}"
        forms = (plain,) * 6 + (
            f"{name}＠{host}",
            f"{name} [at] {host.replace('.', ' [dot] ')}",
            f"{name}(at){host}",
            f"{name} at {host.replace('.', ' dot ')}" if not host.endswith("uk") else plain,
            plain.upper() if "+" not in plain else plain,
        )
        return self.one(forms)

    def mobile(self) -> str:
        a, b, c = (
            self.one(("130", "138", "139", "150", "166", "177", "186", "199")),
            self.digits(4),
            self.digits(4),
        )
        forms = (
            "{}{}{}",
            "{}{}{}",
            "{}-{}-{}",
            "{} {} {}",
            "+86 {}{}{}",
            "+86-{}-{}-{}",
            "0086{}{}{}",
            "(+86){}{}{}",
            "86-{}{}{}",
        )
        return self.one(forms).format(a, b, c)

    def landline(self) -> str:
        area, local = self.one(("10", "21", "755", "571", "28")), self.one("2345678") + self.digits(7)
        local = local[:7] if area == "571" and self.number(0, 1) else local
        forms = (
            "0{}-{}",
            "(0{}){}",
            "（0{}）{}",
            "+86 {} {}",
            "0{} {}",
            "+86-{}-{}",
            "0{}-{}-801",
            "0{}-{}转8021",
        )
        return self.one(forms).format(area, local)

    def american(self) -> str:
        a, b, c = (
            f"{self.number(2, 9)}{self.digits(2)}",
            f"{self.number(2, 9)}{self.digits(2)}",
            self.digits(4),
        )
        forms = (
            "({}) {}-{}",
            "{}-{}-{}",
            "{}.{}.{}",
            "+1 {} {} {}",
            "+1-{}-{}-{}",
            "1-{}-{}-{}",
            "+1 ({}) {}-{}",
            "+1{}{}{}",
        )
        return self.one(forms).format(a, b, c)

    def abroad(self) -> str:
        forms = (
            f"+44 20 7{self.digits(3)} {self.digits(4)}",
            f"+49 30 {self.digits(6)}",
            f"+33 1 {self.digits(2)} {self.digits(2)} {self.digits(2)} {self.digits(2)}",
            f"+852 {self.one('25')}{self.digits(3)} {self.digits(4)}",
            f"+886 9{self.digits(2)} {self.digits(3)} {self.digits(3)}",
            f"+81-90-{self.digits(4)}-{self.digits(4)}",
            f"+44 (0)20 7{self.digits(3)} {self.digits(4)}",
            f"+6591{self.digits(6)}",
            f"0044 20 7{self.digits(3)} {self.digits(4)}",
            f"09{self.digits(2)}-{self.digits(3)}-{self.digits(3)}",
            f"(02) 2{self.digits(3)}-{self.digits(4)}",
            f"400-{self.digits(3)}-{self.digits(4)}",
        )
        return self.one(forms)

    def china_id(self) -> str:
        area = self.one(("110101", "310115", "440305", "510107", "330106", "650102"))
        born = f"{self.number(1940, 2015)}{self.number(1, 12):02d}{self.number(1, 28):02d}"
        digits = area + born + self.digits(3)
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        check = "10X98765432"[sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11]
        return self.one(
            (digits + check, digits + check, digits + check.lower(), f"{area} {born} {digits[14:]}{check}")
        )

    def taiwan_id(self) -> str:
        letter, digits = self.one(LETTERS), self.one("12") + self.digits(7)
        code = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(letter) + 10
        values = [code // 10, code % 10, *map(int, digits)]
        total = sum(v * w for v, w in zip(values, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True))
        return f"{letter}{digits}{-total % 10}"

    def card(self) -> str:
        prefix, size = self.one(
            (("4", 16), ("5412", 16), ("6222021", 19), ("62284804", 19), ("3782", 15), ("6011", 16))
        )
        body = prefix + self.digits(size - 1 - len(prefix))
        total = 0
        for place, digit in enumerate(reversed(body)):
            value = int(digit) * (2 - place % 2)
            total += value // 10 + value % 10
        whole = f"{body}{-total % 10}"
        grouped = " ".join(whole[i : i + 4] for i in range(0, size, 4))
        if size == 15:
            grouped = f"{whole[:4]} {whole[4:10]} {whole[10:]}"
        return self.one((whole, grouped, grouped.replace(" ", "-")))

    def ssn(self) -> str:
        area = self.one([a for a in range(1, 900) if a != 666])
        return f"{area:03d}-{self.number(1, 99):02d}-{self.number(1, 9999):04d}"

    def public_ip(self) -> str:
        forms = (
            f"{self.one((8, 23, 47, 52, 81, 104, 119, 139, 185, 218))}.{self.number(30, 255)}.{self.digits(1)}.{self.number(1, 254)}",
            f"{self.one((31, 60, 91, 121, 151, 202))}.{self.number(0, 255)}.{self.number(100, 255)}.{self.number(0, 255)}",
            f"2400:3200:{self.of('0123456789abcdef', 3)}::{self.of('123456789abcdef', 2)}",
            f"2A03:2880:F12F:83:FACE:B00C:0:{self.of('123456789ABCDEF', 3)}",
        )
        return self.one(forms)

    def key(self) -> str:
        part = self.of(MIXED, 20) + "q7W"
        forms = (
            f"sk-{self.of(MIXED, 48)}",
            f"sk-proj-{self.of(MIXED, 40)}",
            f"AKIA{self.of(LETTERS + '234567', 16)}",
            f"ghp_{self.of(MIXED, 36)}",
            f"github_pat_{self.of(MIXED, 22)}_{self.of(MIXED, 59)}",
            f"AIza{self.of(MIXED + '-_', 34)}k",
            f"xoxb-{self.digits(12)}-{self.digits(12)}-{self.of(MIXED, 24)}",
            f"sk_live_{self.of(MIXED, 24)}",
            f"hf_{self.of(LETTERS + SMALL, 34)}",
            f"LTAI5t{self.of(MIXED, 18)}",
            f"eyJhbGciOiJIUzI1NiJ9.eyJ{part}.{self.of(MIXED, 43)}",
            f"-----BEGIN RSA PRIVATE KEY-----\n{self.of(MIXED, 64)}\n{self.of(MIXED, 40)}\n-----END RSA PRIVATE KEY-----",
            f"-----BEGIN PRIVATE KEY-----\n{self.of(MIXED, 64)}\n{self.of(MIXED, 40)}==\n-----END PRIVATE KEY-----",
        )
        return self.one(forms)


def positives(seed: int, rounds: int = 60) -> list[str]:
    """Sentences with one marked piece of personal data each."""
    draw, made = Draw(seed), []
    kinds: dict[str, Callable[[], str]] = {
        "email": draw.email,
        "phone": lambda: draw.one((draw.mobile, draw.mobile, draw.landline, draw.american, draw.abroad))(),
        "id": lambda: draw.one((draw.china_id, draw.china_id, draw.china_id, draw.taiwan_id))(),
        "card": draw.card,
        "ssn": draw.ssn,
        "ip": draw.public_ip,
        "key": draw.key,
    }
    for _ in range(rounds):
        for kind, value in kinds.items():
            made.append(draw.one(EN + ZH).format(f"«{kind}:{value()}»"))
        made += [
            f'secret_key = "«key:{draw.of(MIXED, 38)}7a»"',
            f"aws_secret_access_key: «key:{draw.of(MIXED + '/+', 38)}9Z»",
            f"Passport No. «passport:{draw.one('EGC')}{draw.digits(8)}» was issued",
            f"护照号码：«passport:{draw.one('EG')}{draw.digits(8)}»",
            f"SSN: «ssn:{draw.number(100, 665)} {draw.number(10, 99)} {draw.number(1000, 9999)}»",
            f"Tel. «phone:030 {draw.digits(3)} {draw.digits(4)}»",
            f"电话：«phone:{draw.number(2, 8)}{draw.digits(7)}»",
            f"身份证号：«id:110105{draw.number(40, 99)}{draw.number(1, 12):02d}{draw.number(1, 28):02d}{draw.digits(3)}»",
        ]
    return made


def negatives(seed: int, rounds: int = 20) -> list[str]:
    """Sentences with nothing in them that should be masked."""
    draw, made = Draw(seed), []
    for _ in range(rounds):
        n, d = draw.number, draw.digits
        year, month, day = n(1990, 2029), n(1, 12), n(1, 28)
        made += [
            f"Upgrade to version {n(0, 9)}.{n(0, 20)}.{n(0, 20)}.{n(0, 9)} today",
            f"v{n(1, 9)}.{n(0, 255)}.{n(0, 255)}.{n(0, 255)} was released",
            f"版本 {n(1, 9)}.{n(10, 99)}.{n(100, 255)}.{n(0, 9)} 修复了问题",
            f"see section {n(1, 9)}.{n(1, 9)}.{n(1, 9)}.{n(1, 9)} of the standard",
            f"Chrome/{n(80, 130)}.0.{n(1000, 6999)}.{n(10, 200)} Safari/537.36",
            f"the server 192.168.{n(0, 255)}.{n(0, 255)} and 10.{n(0, 255)}.{n(0, 255)}.{n(1, 254)}",
            f"绑定 127.0.0.1 或 172.{n(16, 31)}.{n(0, 255)}.{n(0, 255)}，掩码 255.255.255.0",
            f"fe80::{n(1, 9)}:{n(10, 99)} and fd00:{n(1000, 9999)}::1, MAC 00:1b:44:11:3a:{n(10, 99)}",
            f"ISBN 978-7-{n(100, 999)}-{n(10000, 99999)}-{n(0, 9)}",
            f"ISBN 978{d(10)} and ISSN {n(1000, 9999)}-{n(1000, 9999)}",
            f"{year}-{month:02d}-{day:02d} {n(0, 23):02d}:{n(0, 59):02d}:{n(0, 59):02d}.{d(6)}",
            f"{year}年{month}月{day}日，{year}/{month}/{day}，{day:02d}.{month:02d}.{year}",
            f"between {year - 30}-{year} and {month:02d}/{day:02d}/{year}",
            f"¥{n(1, 9)},{d(3)},{d(3)}.00 or ${n(1, 9)}{d(10)}.50",
            f"营业收入 1{n(3, 9)}{d(9)} 元，同比增长 {n(1, 99)}.{d(2)}%",
            f"订单号：1{n(3, 9)}{d(9)}，运单号 {d(15)}",
            f"order number 4{d(15)} has been shipped",
            f"tracking 1Z999AA1{d(10)}, SKU {d(12)}",
            f"timestamp {n(15, 17)}{d(8)} and {n(15, 17)}{d(11)} ms",
            f"pi is 3.14159265358979, e is 2.718281828459045, x = {n(0, 9)}.{d(12)}",
            f"commit {draw.of('0123456789abcdef', 40)}",
            f"uuid {draw.of('0123456789abcdef', 8)}-{draw.of('0123456789abcdef', 4)}-4{d(3)}-a{d(3)}-{d(12)}",
            f"int a[] = {{{n(100, 999)}, {n(100, 999)}, {n(1000, 9999)}}}; // 0x{draw.of('0123456789ABCDEF', 8)}",
            f"坐标 {n(20, 50)}.{d(4)}, {n(100, 130)}.{d(4)}",
            f"@property\ndef size(self): return self.x @ self.y  # {n(1, 9)}",
            f"npm install @types/node@{n(10, 20)}.{n(0, 9)}.{n(0, 9)} lodash@{n(1, 4)}.17.21",
            f"git clone git@github.com:user{n(1, 99)}/repo.git",
            f"logo@{n(2, 3)}x.png and icon@2x.webp",
            f"std::vector<int>::iterator a::b{n(1, 9)}; 12:{n(10, 59)}:{n(10, 59)}",
            f"doi:10.{n(1000, 9999)}/{d(7)}.{d(7)}, arXiv:{n(10, 24)}{n(1, 12):02d}.{d(5)}",
            f"客服 10086，邮编 {n(100000, 999999)}，门牌 {n(1, 999)}",
            f"zip {n(10000, 99999)}-{n(1000, 9999)}, 000-12-{n(1000, 9999)}, 9{n(10, 99)}-12-{n(1000, 9999)}",
            f"身份证示例 11010119{n(80, 99)}1332{d(3)}X 无效",
            f"批号 {d(18)} 条码 690{d(10)}",
            f"from sklearn import sk-learn; api_key = get_key_from_environment({n(1, 9)})",
            'password = "your_password_goes_here", token: <your-access-token-here>',
            f"https://item.shop.com/1{n(3, 9)}{d(9)}.html?id=1{n(3, 9)}{d(9)}",
            f"width: {n(100, 999)}px; rgba({n(0, 255)}, {n(0, 255)}, {n(0, 255)}, 0.5); z-index: {d(10)}",
            f"人口 1{n(3, 9)}{d(9)} 人，面积 {d(7)} 平方公里",
            f"phase one at noon dot the line; meet at point {n(1, 9)}",
            f"UTC+08:00, +0800, range {n(1, 9)}e+{n(100, 300)}, a+{d(11)}",
            f"CAS {n(1000, 9999)}-{n(10, 99)}-{n(0, 9)}, IMEI 35{d(13)}",
            f"比分 {n(0, 9)}-{n(0, 9)}，第 {n(1, 999)}-{n(1000, 1200)} 页，京ICP备{d(8)}号-{n(1, 9)}",
        ]
    return made


def unmarked(sentence: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The sentence without marks, and where its personal data stands."""
    spans, plain, end = [], "", 0
    for mark in re.finditer(r"«([a-z]+):(.*?)»", sentence, re.DOTALL):
        plain += sentence[end : mark.start()]
        spans.append((len(plain), len(plain) + len(mark[2]), mark[1]))
        plain += mark[2]
        end = mark.end()
    return plain + sentence[end:], spans


def measure(seed: int, rounds: int) -> dict[str, Any]:
    """Recall and precision over all values, and `[found, there]` by kind."""
    labelled = [unmarked(sentence) for sentence in positives(seed, rounds)]
    plain = negatives(seed, rounds)
    found = find([text for text, _ in labelled])
    there = Counter(span[2] for _, spans in labelled for span in spans)
    hits = Counter(
        span[2] for (_, spans), got in zip(labelled, found, strict=True) for span in spans if span in got
    )
    false = [text for text, got in zip(plain, find(plain), strict=True) if got]
    marked = sum(map(len, found)) + sum(map(len, find(plain)))
    missed = [text for (text, spans), got in zip(labelled, found, strict=True) if spans != got]
    return {
        "sentences": len(labelled) + len(plain),
        "recall": round(hits.total() / there.total(), 4),
        "precision": round(hits.total() / marked, 4),
        "kinds": {kind: [hits[kind], count] for kind, count in there.items()},
        "missed": missed[:10],
        "false": false[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.seed, arguments.rounds), ensure_ascii=False))


if __name__ == "__main__":
    main()

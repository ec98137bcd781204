"""Planted duplicates: which of them the steps `exact`, `near` and `paragraphs` find, as one JSON object.

600 duplicates are put among documents of English, Simplified and Traditional Chinese, 200 in each: exact ones (with
other white space), near ones at several rates of changed words or characters, copied paragraphs, and in Chinese
copies in the other script. What counts:

- recall: of the planted near duplicates whose true similarity (Jaccard, five words or characters) is at least .8, the
  share that is dropped; those from .6 to .8 are told apart. Of exact ones and of copied paragraphs all should go.
- precision: of all documents that `near` drops, the share that is at least .6 alike to a document that stays; of all
  paragraphs that are cut, the share that stands, white space and case aside, in an earlier document.

    python benchmarks/duplicates.py [--corpus FOLDER] [--seed 0]
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import opencc

from chatwright.corpora.documents import Doc, Notes, byte_count
from chatwright.corpora.operators.duplicates.tokens import jaccard, shingles
from chatwright.corpora.operators.exact import Exact, ExactOptions
from chatwright.corpora.operators.near import Near, NearOptions
from chatwright.corpora.operators.paragraphs import Paragraphs, ParagraphsOptions

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"
RATES = (0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05)
"""Shares of words, or Chinese characters, that are changed in a near duplicate."""
COUNTS = {"exact": 50, "near": 75, "across": 25, "paragraph": 50}
SURE, FALSE = 0.8, 0.6
LONG, SHORTEST, LONGEST = 200, 600, 6000


@dataclass(frozen=True)
class Copy:
    """A duplicate that was planted: which document it is and which it copies; of a paragraph also its text."""

    kind: str
    script: str
    id: str
    original: str
    paragraph: str = ""


@dataclass
class Planted:
    """Documents in order, and what is planted among them."""

    docs: list[Doc] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)


def plant(texts: Sequence[str], script: str, draw: random.Random, share: float = 1.0) -> Planted:
    """The first texts, and behind them duplicates of some; the last texts are the hosts of copied paragraphs.

    `share` scales how many of each kind there are. Texts need a paragraph of 200 bytes.
    """
    counts = {kind: round(count * share) for kind, count in COUNTS.items()}
    if script == "en":
        counts["near"] += counts.pop("across")
    hosts, originals = list(texts[-counts["paragraph"] :]), texts[: -counts["paragraph"]]
    planted = Planted([Doc(f"{script}/{n}", script, text, script) for n, text in enumerate(originals)])
    chosen = draw.sample(range(len(originals)), sum(counts.values()))
    words = (
        [word for word in " ".join(texts).split() if word.isalnum()]
        if script == "en"
        else list("".join(texts))
    )
    for kind, count in counts.items():
        for number in range(count):
            place = chosen.pop()
            text, paragraph = originals[place], ""
            if kind == "exact":
                copy = text.replace("\n", "\n\n  ") + "\n"
            elif kind == "paragraph":
                paragraph = draw.choice(paragraphs_of(text))
                copy = with_paragraph(hosts.pop(), paragraph)
            else:
                copy = edited(text, RATES[number % len(RATES)], words, script, draw)
                copy = other_script(copy, script) if kind == "across" else copy
            name = f"{script}/{kind}{number}"
            planted.docs.append(Doc(name, script, copy, script))
            planted.copies.append(Copy(kind, script, name, f"{script}/{place}", paragraph))
    return planted


def edited(text: str, rate: float, words: Sequence[str], script: str, draw: random.Random) -> str:
    """The text with a share of its words (in Chinese, characters) replaced, left out or doubled; at least one."""
    space = " " if script == "en" else ""
    units = text.split(" ") if script == "en" else list(text)
    for place in draw.sample(range(len(units)), min(len(units), max(1, round(rate * len(units))))):
        word = draw.choice(words)
        units[place] = draw.choice((word, word, "", f"{units[place]}{space}{word}"))
    return space.join(units)


def other_script(text: str, script: str) -> str:
    """Simplified text in Traditional characters, or the other way round."""
    return str(converter("s2t" if script == "zh-Hans" else "t2s").convert(text))


@cache
def converter(name: str) -> opencc.OpenCC:
    return opencc.OpenCC(name)


_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_TABLE = re.compile(r"^\s*(?:\||\+-)", re.MULTILINE)


def paragraphs_of(text: str) -> list[str]:
    """The long paragraphs of prose between blank lines, on one line or wrapped; code blocks and tables are no paragraphs."""
    return [
        block
        for block, is_code in zip(text.split("\n\n"), _in_code(text), strict=True)
        if not is_code
        if byte_count(block) >= LONG and ("\n" not in block or max(map(byte_count, block.split("\n"))) <= 100)
    ]


def with_paragraph(host: str, paragraph: str) -> str:
    """The host's text with one more paragraph in its middle, and in no block of code."""
    blocks = host.split("\n\n")
    free = [at for at, is_code in enumerate(_in_code(host)) if not is_code and not _FENCE.search(blocks[at])]
    blocks.insert(free[len(free) // 2] if free else 0, paragraph)
    return "\n\n".join(blocks)


def _in_code(text: str) -> list[bool]:
    """For every block between blank lines whether it is, or stands in, code or a table."""
    found, is_open = [], False
    for block in text.split("\n\n"):
        fences = len(_FENCE.findall(block))
        found.append(is_open or fences > 0 or bool(_TABLE.search(block)))
        is_open ^= fences % 2 == 1
    return found


@dataclass
class Outcome:
    """What stays after each step, what the steps told, and their processor time."""

    after: dict[str, list[Doc]] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def ids(self, step: str) -> set[str]:
        return {doc.id for doc in self.after[step]}


def deduplicate(docs: list[Doc], parts: int = 4) -> Outcome:
    """The steps one after another over the documents in so many parts."""
    size = -(-len(docs) // parts)
    flow = [docs[start : start + size] for start in range(0, len(docs), size)]
    outcome = Outcome()
    for name, step in (
        ("exact", Exact(ExactOptions())),
        ("near", Near(NearOptions())),
        ("paragraphs", Paragraphs(ParagraphsOptions())),
    ):
        notes, begun = Notes(), time.process_time()
        signs = [step.sign(part) for part in flow]
        signed = time.process_time()
        decisions = step.decide(signs, [np.ones(len(part), bool) for part in flow])
        decided = time.process_time()
        flow = [step.apply(part, decision, notes) for part, decision in zip(flow, decisions, strict=True)]
        outcome.seconds |= {f"{name}.sign": signed - begun, f"{name}.decide": decided - signed}
        outcome.after[name] = [doc for part in flow for doc in part]
        outcome.notes[name] = notes
    return outcome


def recall(planted: Planted, outcome: Outcome) -> dict[str, Any]:
    """By script and kind `[found, planted]`; near ones by their true similarity."""
    texts = {doc.id: doc.text for doc in planted.docs}
    near, last = outcome.ids("near"), {doc.id: doc.text for doc in outcome.after["paragraphs"]}
    found: dict[str, dict[str, list[int]]] = {}
    for copy in planted.copies:
        if copy.kind == "paragraph":
            stays = " ".join(copy.paragraph.split()) in " ".join(last.get(copy.id, "").split())
            hit = not stays or copy.original not in near
            name = "paragraph"
        else:
            hit = copy.id not in near or copy.original not in near
            similarity = jaccard(texts[copy.id], texts[copy.original])
            name = copy.kind if copy.kind == "exact" else f"{copy.kind} {band(similarity)}"
        count = found.setdefault(copy.script, {}).setdefault(name, [0, 0])
        count[0] += hit
        count[1] += 1
    return found


def band(similarity: float) -> str:
    return ">=0.8" if similarity >= SURE else "0.6-0.8" if similarity >= FALSE else "<0.6"


def near_precision(outcome: Outcome) -> tuple[int, int, list[str]]:
    """`(right, dropped, wrong ones)`: right is what is at least .6 alike to a document that stays."""
    kept = outcome.ids("near")
    index = Index([doc.text for doc in outcome.after["near"]])
    dropped = [doc for doc in outcome.after["exact"] if doc.id not in kept]
    best = {doc.id: index.best_similarity(doc.text) for doc in dropped}
    wrong = [f"{name} {similarity:.2f}" for name, similarity in best.items() if similarity < FALSE]
    return len(dropped) - len(wrong), len(dropped), wrong


class Index:
    """Which of many texts has which shingles."""

    def __init__(self, texts: Sequence[str]) -> None:
        sets = [np.unique(shingles([text], 5)[0]) for text in texts]
        self._sizes = np.array([len(one) for one in sets])
        hashes = np.concatenate(sets)
        order = np.argsort(hashes)
        self._hashes, self._owners = hashes[order], np.repeat(np.arange(len(texts)), self._sizes)[order]

    def best_similarity(self, text: str) -> float:
        """The greatest true similarity of a text to any of these."""
        own = np.unique(shingles([text], 5)[0])
        first, last = (np.searchsorted(self._hashes, own, side) for side in ("left", "right"))
        spans = [self._owners[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True) if b > a]
        if not spans:
            return 0.0
        shared = np.bincount(np.concatenate(spans), minlength=len(self._sizes))
        return float((shared / (len(own) + self._sizes - shared)).max())


def paragraph_precision(outcome: Outcome) -> tuple[int, int]:
    """`(right, cut)`: of the lines that are cut, those that stand in a document before, however it breaks them."""
    before, after = outcome.after["near"], {doc.id: doc.text for doc in outcome.after["paragraphs"]}
    whole = [plain(doc.text) for doc in before]
    first = {
        line: place
        for place, doc in reversed([*enumerate(before)])
        for line in map(plain, doc.text.split("\n"))
    }
    right = cut = 0
    for place, doc in enumerate(before):
        if after.get(doc.id, doc.text) == doc.text:
            continue
        left = set(map(plain, after[doc.id].split("\n")))
        for line in {*map(plain, doc.text.split("\n"))} - left - {""}:
            cut += 1
            right += first[line] < place or any(line in text for text in whole[:place])
    return right, cut


def plain(line: str) -> str:
    return "".join(line.split()).lower()


def pieces(path: Path) -> Iterator[str]:
    """Documents of a middle length out of a file: short ones left out, long ones cut between paragraphs."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            piece: list[str] = []
            for block in json.loads(line)["text"].split("\n\n"):
                piece.append(block)
                if sum(map(len, piece)) >= LONGEST:
                    yield "\n\n".join(piece)
                    piece = []
            if sum(map(len, piece)) >= SHORTEST:
                yield "\n\n".join(piece)


def corpus_texts(folder: Path, script: str, count: int, draw: random.Random) -> list[str]:
    """So many documents in a script, half and half from two kinds of text, each with a long paragraph."""
    names = ("en_novels", "en_cpp_docs") if script == "en" else ("zh_laws", "zh_tech_docs")
    texts = []
    for name in names:
        found = [piece for piece in pieces(folder / f"{name}.jsonl.gz") if paragraphs_of(piece)]
        # the two Chinese scripts take every second text each, so that they share none
        found = found if script == "en" else found[script == "zh-Hant" :: 2]
        texts += draw.sample(found, min(count // 2, len(found)))
    draw.shuffle(texts)
    return [other_script(text, "zh-Hans") for text in texts] if script == "zh-Hant" else texts


def measure(planted: Planted) -> dict[str, Any]:
    outcome = deduplicate(planted.docs)
    right, dropped, wrong = near_precision(outcome)
    paragraphs_right, paragraphs_cut = paragraph_precision(outcome)
    megabytes = sum(byte_count(doc.text) for doc in planted.docs) / 1e6
    return {
        "documents": len(planted.docs),
        "megabytes": round(megabytes, 1),
        "planted": len(planted.copies),
        "recall": recall(planted, outcome),
        "near_precision": {"right": right, "dropped": dropped, "wrong": wrong[:20]},
        "paragraph_precision": {"right": paragraphs_right, "cut": paragraphs_cut},
        "seconds_per_megabyte": {
            name: round(spent / megabytes, 4) for name, spent in outcome.seconds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--documents", type=int, default=1000, help="in each script, before planting")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    planted = Planted()
    for script in ("en", "zh-Hans", "zh-Hant"):
        found = plant(corpus_texts(arguments.corpus, script, arguments.documents, draw), script, draw)
        planted.docs += found.docs
        planted.copies += found.copies
    print(json.dumps(measure(planted), ensure_ascii=False))


if __name__ == "__main__":
    main()

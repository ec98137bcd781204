"""Figures of the kept text: lengths, diversity, cleanliness, consistency, and what stands out in them.

`corpus_statistics.json` is what `statistics` returns:

    sample        {"documents", "bytes", "every", "of_documents"}: what the figures below are measured on
    lengths       {"Chinese" | "other languages": {"documents", "median", "p10", "p90", "mean", "bins": [[from, documents]]}}
    diversity     {language: {"unit", "units", "type_token", "unigram_bits", "bigram_bits", "conditional_bits"}}
    near_duplicates  {"dropped", "share" of what came to the step `near`, "clusters"}, or null where it did not run;
                  "clusters" as in corpus_report.json without "largest", or null where there are none
    cleanliness   shares of characters by kind, U+FFFD and control characters a million, lines without an end
    consistency   {"languages_by_source", "half_width", "mixed_punctuation", "mixed_scripts", "chinese_documents"}
    warnings      what stands out, in words
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.accounts import without_largest
from chatwright.corpora.documents import Doc, byte_count
from chatwright.corpora.operators import characters
from chatwright.corpora.reporting.sample import CorpusSample

STATISTICS = "corpus_statistics.json"
UNITS = 100_000
"""How many words (of Chinese, characters) the diversity of a language is measured on."""

_EDGES = [0, *(step * 10**power for power in range(1, 8) for step in (1, 2, 5))]
_FEWEST_UNITS = 1000
_MOST_LANGUAGES = 8
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_HALF = re.compile(r"[\u4e00-\u9fff][,.;:?!](?=\s|[\u4e00-\u9fff]|$)")
_FULL = re.compile(r"[\u4e00-\u9fff][，。；：？！]")
_LINE, _CLOSERS = 20, "\"'”’」』）)]】》*_`"
_ENDS = frozenset(".!?。！？…．؟。｡।:：;；")
_MINOR = 0.1


def statistics(report: Mapping[str, Any], sample: CorpusSample) -> dict[str, Any]:
    """The figures of a corpus from its report (`read_report`) and a sample of it."""
    docs = sample.docs
    found = {
        "sample": {
            "documents": len(docs),
            "bytes": sum(byte_count(doc.text) for doc in docs),
            "every": sample.every,
            "of_documents": sample.total,
        },
        "lengths": lengths(sample.languages, sample.lengths),
        "diversity": diversity_by_language(docs),
        "near_duplicates": near_duplicates(report["steps"]),
        "cleanliness": cleanliness([doc.text for doc in docs]),
        "consistency": consistency(docs),
    }
    return {**found, "warnings": warnings(report, found)}


def is_chinese(language: str) -> bool:
    """Whether a language is Chinese, in either script."""
    return language == "zh" or language.startswith("zh-")


def lengths(languages: Sequence[str], counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Documents by their length in characters, Chinese apart: it says the same in a third of the characters."""
    chinese = np.array([is_chinese(language) for language in languages], bool)
    groups = {"Chinese": counts[chinese], "other languages": counts[~chinese]}
    return {name: _length_figures(group) for name, group in groups.items() if len(group)}


def _length_figures(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    bins = np.histogram(counts, [*_EDGES, np.inf])[0].tolist()
    filled = [place for place, count in enumerate(bins) if count]
    p10, median, p90 = (round(float(q)) for q in np.percentile(counts, (10, 50, 90)))
    shown = [[_EDGES[place], bins[place]] for place in range(filled[0], filled[-1] + 1)]
    figures = {"documents": len(counts), "median": median, "p10": p10, "p90": p90}
    return {**figures, "mean": round(float(counts.mean()), 1), "bins": shown}


def diversity_by_language(docs: Sequence[Doc]) -> dict[str, dict[str, Any]]:
    """The diversity of the languages of which there are a thousand words, the largest first."""
    grouped: dict[str, list[Doc]] = {}
    for doc in docs:
        grouped.setdefault(doc.language, []).append(doc)
    by_size = sorted(grouped, key=lambda name: (-sum(len(doc.text) for doc in grouped[name]), name))
    found = {}
    for language in by_size[:_MOST_LANGUAGES]:
        by_hash = sorted(grouped[language], key=lambda doc: hashlib.blake2b(doc.id.encode()).digest())
        pieces = evenly([units_of(doc.text, is_chinese(language)) for doc in by_hash], UNITS)
        if sum(map(len, pieces)) >= _FEWEST_UNITS:
            unit = "character" if is_chinese(language) else "word"
            found[language] = {"unit": unit, **diversity(pieces)}
    return found


def units_of(text: str, chinese: bool) -> list[str]:
    """The words of a text in lower case, of Chinese its Han characters."""
    return _HAN.findall(text) if chinese else _WORD.findall(text.lower())


def evenly(pieces: Sequence[list[str]], most: int) -> list[list[str]]:
    """`most` units in all, as equal a number from each piece as its length allows, from its beginning."""
    left = most
    found: list[list[str]] = [[] for _ in pieces]
    for waiting, place in enumerate(sorted(range(len(pieces)), key=lambda place: len(pieces[place]))):
        found[place] = pieces[place][: left // (len(pieces) - waiting)]
        left -= len(found[place])
    return found


def diversity(pieces: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Of texts as units: the share of different units among all, and the entropy in bits.

    `unigram_bits` is of one unit, `bigram_bits` of a pair of neighbours in one text, `conditional_bits` of a unit
    whose neighbour before it is known. All grow with the number of units: compare corpora at equal `units`.
    """
    singles = Counter(chain.from_iterable(pieces))
    pairs = Counter(chain.from_iterable(map(pairwise, pieces)))
    firsts = Counter(chain.from_iterable(piece[:-1] for piece in pieces))
    count = singles.total()
    return {
        "units": count,
        "type_token": round(len(singles) / count, 4) if count else 0.0,
        "unigram_bits": round(entropy(singles.values()), 3),
        "bigram_bits": round(entropy(pairs.values()), 3),
        "conditional_bits": round(entropy(pairs.values()) - entropy(firsts.values()), 3),
    }


def entropy(counts: Iterable[int]) -> float:
    """The entropy in bits of drawing from things that occur so often."""
    values = np.fromiter(counts, np.float64)
    if not values.size:
        return 0.0
    shares = values / values.sum()
    return max(0.0, -float((shares * np.log2(shares)).sum()))


def near_duplicates(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the step `near` left out, and in which clusters; None where it did not run."""
    for step in steps:
        if step["name"] == "near":
            dropped = sum(happening["documents"] for happening in step["dropped"].values())
            share = dropped / max(1, step["before"]["documents"])
            clusters = step.get("clusters")
            told = without_largest(clusters) if clusters else None
            return {"dropped": dropped, "share": round(share, 4), "clusters": told}
    return None


def cleanliness(texts: Sequence[str]) -> dict[str, Any]:
    """What the texts are made of: shares of their characters by kind, what should not be there, ends of lines.

    `lines_without_end` is the share, of lines of at least 20 characters, that end in no punctuation.
    """
    counts, total, control, replacement = np.zeros(13, np.int64), 0, 0, 0
    for text in texts:
        codes = characters.to_codes(text)
        counts += np.bincount(characters.kinds().take(codes, mode="clip"), minlength=13)
        total += len(codes)
        control += int(np.count_nonzero(_is_control(codes)))
        replacement += text.count("\ufffd")
    lines = [line.rstrip() for text in texts for line in text.split("\n")]
    long = [line for line in lines if len(line) >= _LINE]
    shares = {name: round(int(counts[kinds].sum()) / max(1, total), 4) for name, kinds in _KINDS.items()}
    million = 1e6 / max(1, total)
    return {
        **shares,
        "replacement_per_million": round(replacement * million, 2),
        "control_per_million": round(control * million, 2),
        "lines": len(long),
        "lines_without_end": round(sum(not _ends(line) for line in long) / max(1, len(long)), 4),
    }


_KINDS = {
    "letters": [characters.LATIN, characters.LETTER, characters.HAN, characters.KANA, characters.HANGUL],
    "digits": [characters.DIGIT],
    "punctuation": [characters.END, characters.PUNCTUATION, characters.SIGN],
    "white_space": [characters.NEWLINE, characters.SPACE],
    "others": [characters.OTHER, characters.BROKEN],
}


def _is_control(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    plain = (codes == 9) | (codes == 10) | (codes == 13)
    found: npt.NDArray[np.bool_] = ((codes < 32) & ~plain) | ((codes >= 127) & (codes < 160))
    return found


def _ends(line: str) -> bool:
    return line.rstrip(_CLOSERS)[-1:] in _ENDS or line[-1] in _ENDS


def consistency(docs: Sequence[Doc]) -> dict[str, Any]:
    """Whether what belongs together is alike: the languages of each source, punctuation and script of Chinese.

    `half_width` is the share of half-width marks among those that follow a Chinese character; `mixed_punctuation` and
    `mixed_scripts` are shares of the Chinese documents: in which the rarer width, or the rarer of Simplified and
    Traditional characters, is at least a tenth.
    """
    by_source: dict[str, Counter[str]] = {}
    for doc in docs:
        by_source.setdefault(doc.source, Counter())[doc.language] += byte_count(doc.text)
    chinese = [doc.text for doc in docs if is_chinese(doc.language)]
    marks = [(len(_HALF.findall(text)), len(_FULL.findall(text))) for text in chinese]
    scripts = [script_counts(text) for text in chinese]
    half, full = (sum(each) for each in zip(*marks, strict=True)) if marks else (0, 0)
    return {
        "languages_by_source": {
            source: {name: round(size / max(1, sizes.total()), 4) for name, size in sizes.most_common()}
            for source, sizes in by_source.items()
        },
        "chinese_documents": len(chinese),
        "half_width": round(half / max(1, half + full), 4),
        "mixed_punctuation": _mixed(marks),
        "mixed_scripts": _mixed(scripts),
    }


def script_counts(text: str) -> tuple[int, int]:
    """How many characters are Simplified only, and Traditional only."""
    codes = characters.to_codes(text)
    simplified, traditional = (
        int(np.count_nonzero(side.take(codes, mode="clip"))) for side in characters.script_sides()
    )
    return simplified, traditional


def _mixed(pairs: Sequence[tuple[int, int]]) -> float:
    """The share of pairs whose smaller number is at least a tenth of both, and at least three."""
    mixed = sum(min(pair) >= max(3, _MINOR * sum(pair)) for pair in pairs)
    return round(mixed / max(1, len(pairs)), 4)


def warnings(report: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What stands out in the figures, in words."""
    clean, consistent, near = found["cleanliness"], found["consistency"], found["near_duplicates"]
    said = []
    if clean["replacement_per_million"] > 10:
        often = f"{clean['replacement_per_million']:,.0f} of a million characters"
        said.append(f"{often} are U+FFFD: some files were decoded wrongly before they came here")
    if clean["control_per_million"] > 1:
        often = f"{clean['control_per_million']:,.0f} of a million characters"
        said.append(f"{often} are control characters; the step clean takes them out")
    if clean["letters"] < 0.6:
        said.append(
            f"only {clean['letters']:.0%} of the characters are letters; much may be code, tables or numbers"
        )
    if consistent["mixed_punctuation"] > 0.1:
        share = f"{consistent['mixed_punctuation']:.0%} of the Chinese documents"
        said.append(f"{share} mix half-width and full-width punctuation")
    if consistent["mixed_scripts"] > 0.02:
        share = f"{consistent['mixed_scripts']:.0%} of the Chinese documents"
        said.append(f"{share} mix Simplified and Traditional characters")
    for source, languages in consistent["languages_by_source"].items():
        name, share = next(iter(languages.items()))
        if share < 0.8:
            also = ", ".join(f"{other} {part:.0%}" for other, part in list(languages.items())[1:4])
            said.append(f"{source} is of several languages: {name} {share:.0%}, {also}")
    if near and near["share"] > 0.3:
        said.append(f"{near['share']:.0%} of the documents that came to near were near duplicates")
    return said + _size_warnings(report)


def _size_warnings(report: Mapping[str, Any]) -> list[str]:
    kept = report["kept"]["bytes"]
    largest = max(report["inputs"], key=lambda name: report["inputs"][name]["kept"]["bytes"], default="")
    said = []
    if len(report["inputs"]) > 1 and report["inputs"][largest]["kept"]["bytes"] > 0.9 * kept:
        said.append(
            f"{largest} is {report['inputs'][largest]['kept']['bytes'] / max(1, kept):.0%} of the kept text"
        )
    if kept < 1_000_000:
        said.append(
            f"the kept text is {kept / 1e6:.2f} MB; a model learns little language from less than 10 MB"
        )
    lost = 1 - kept / max(1, report["read"]["bytes"])
    if lost > 0.5 and math.isfinite(lost):
        said.append(f"{lost:.0%} of the text that was read is not kept; the steps below say why")
    return said

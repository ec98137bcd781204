"""What each rule of the step `quality` drops, of good texts and of bad ones, in English and Chinese, as one JSON object.

Good are real documents, bad ones are made (see quality_texts.py). The thresholds were set while looking at samples of
these sets, mostly of the half that `--half calibration` judges, and at bad texts from another random seed. Also the
share of lines and documents whose language is found, and megabytes of UTF-8 a core-second.

    python benchmarks/quality.py [--limit 1000] [--bad 300] [--half calibration] [--markdown]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Any

import quality_texts

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.clean import Clean, CleanOptions
from chatwright.corpora.operators.language import Language, LanguageOptions, identify
from chatwright.corpora.operators.quality.measures import measure
from chatwright.corpora.operators.quality.operator import Quality, is_east
from chatwright.corpora.operators.quality.rules import RULES, QualityOptions, breaches, is_marked

PROSE = {"en": ("chapters", "wikipedia", "abstracts"), "zh": ("wikipedia", "histories", "classical", "laws")}


def judge(texts: list[str]) -> tuple[int, Counter[str], Counter[str], dict[str, float]]:
    """How many texts there are after cleaning; by rule how many it drops, alone and as the first; what is marked."""
    clean = Clean(CleanOptions())
    cleaned = [text for text in map(clean.text, texts) if text.strip()]
    languages = identify(cleaned)
    measures = measure(cleaned, [is_east(language) for language in languages])
    alone: dict[str, set[int]] = {}
    first: dict[int, str] = {}
    for breach in breaches(languages, measures, QualityOptions()):
        alone.setdefault(breach.rule.reason, set()).update(breach.documents.tolist())
        for number in breach.documents.tolist():
            first.setdefault(number, breach.rule.reason)
    code, markup = is_marked(measures)
    marked = {"code": round(float(code.mean()), 4), "markup": round(float(markup.mean()), 4)}
    return (
        len(cleaned),
        Counter({rule: len(found) for rule, found in alone.items()}),
        Counter(first.values()),
        marked,
    )


def summary(sets: dict[str, list[str]]) -> dict[str, Any]:
    results = {}
    for name, texts in sets.items():
        count, alone, first, marked = judge(texts)
        results[name] = {
            "texts": count,
            "kept": round(1 - sum(first.values()) / count, 4),
            "dropped_by": {rule: round(number / count, 4) for rule, number in first.most_common()},
            "each_rule_alone": {rule: round(number / count, 4) for rule, number in alone.most_common()},
            "marked": marked,
        }
    return results


def by_rule(good: dict[str, Any], bad: dict[str, Any]) -> dict[str, Any]:
    """Of every rule the share that it drops, alone, of the good and the bad texts of each language."""
    rules = dict.fromkeys(
        rule for part in (bad, good) for found in part.values() for rule in found["each_rule_alone"]
    )

    def share(part: dict[str, Any], language: str, rule: str) -> float:
        chosen = [found for name, found in part.items() if name.startswith(language)]
        total = sum(found["texts"] for found in chosen)
        return round(
            sum(found["each_rule_alone"].get(rule, 0) * found["texts"] for found in chosen) / total, 4
        )

    return {
        rule: {
            f"{language}_{side}": share(part, language, rule)
            for language in ("en", "zh")
            for side, part in sides
        }
        for rule in rules
        for sides in [(("good", good), ("bad", bad))]
    }


def prose_dropped(good: dict[str, Any]) -> dict[str, float]:
    """The share of running prose that is dropped, by language."""
    dropped = {}
    for language, names in PROSE.items():
        chosen = [good[f"{language}_{name}"] for name in names]
        total = sum(found["texts"] for found in chosen)
        dropped[language] = round(sum((1 - found["kept"]) * found["texts"] for found in chosen) / total, 4)
    return dropped


def languages(limit: int) -> dict[str, Any]:
    """The share of lines and documents whose language is found: English, Simplified and Traditional Chinese."""
    lines = {}
    for name, pairs in quality_texts.labelled_lines(limit).items():
        found = identify([text for text, _ in pairs])
        lines[name] = round(sum(a == b for a, (_, b) in zip(found, pairs, strict=True)) / len(pairs), 4)
    return lines


def speed(good: dict[str, list[str]]) -> dict[str, Any]:
    """Megabytes of UTF-8 a core-second, the best of three."""
    rates: dict[str, Any] = {}
    for name, texts in good.items():
        docs = [Doc(str(number), name, text) for number, text in enumerate(texts)]
        size = sum(len(text.encode()) for text in texts) / 1e6
        rates[name] = {"megabytes": round(size, 2)}
        for step in (Clean(CleanOptions()), Language(LanguageOptions()), Quality(QualityOptions())):
            step(docs[:2], Notes())
            times = []
            for _ in range(3):
                begun = time.process_time()
                after = [
                    doc
                    for start in range(0, len(docs), 256)
                    for doc in step(docs[start : start + 256], Notes())
                ]
                times.append(time.process_time() - begun)
            rates[name][type(step).__name__.lower()] = round(size / max(min(times), 1e-4), 1)
            docs = after
    return rates


def thresholds() -> dict[str, tuple[str, str]]:
    """Of every rule the threshold for languages with spaces, and that for Chinese."""
    options, found = QualityOptions(), {}
    for rule in RULES:
        side = "≥" if rule.is_least else "≤"
        given = [f"{side} {getattr(options, name):g}" if name else "" for name in (rule.spaced, rule.zh)]
        before = found.get(rule.reason, ("–", "–"))
        found[rule.reason] = (given[0] or before[0], given[1] or before[1])
    return found


def markdown(results: dict[str, Any]) -> str:
    """The tables of docs/quality.md."""
    out = [
        "| rule | English | Chinese | en good | en bad | zh good | zh bad |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for rule, limits in thresholds().items():
        found = results["by_rule"].get(rule, {})
        cells = [f"{found.get(key, 0):.1%}" for key in ("en_good", "en_bad", "zh_good", "zh_bad")]
        out.append(f"| {' | '.join([rule, *limits, *cells])} |")
    out += [
        "",
        "| good | texts | kept | why the rest goes | code | markup |",
        "| --- | --: | --: | --- | --: | --: |",
    ]
    for name, found in results["good"].items():
        why = ", ".join(f"{rule} {share:.2%}" for rule, share in list(found["dropped_by"].items())[:4])
        marked = found["marked"]
        cells = [
            f"{found['texts']:,}",
            f"{found['kept']:.2%}",
            why,
            f"{marked['code']:.1%}",
            f"{marked['markup']:.1%}",
        ]
        out.append(f"| {' | '.join([name, *cells])} |")
    out += ["", "| bad | English kept | Chinese kept |", "| --- | --: | --: |"]
    for kind in quality_texts.MAKERS:
        kept = [results["bad"].get(f"{language}_{kind}", {"kept": 0})["kept"] for language in ("en", "zh")]
        out.append(f"| {kind} | {kept[0]:.1%} | {kept[1]:.1%} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=1000, help="good texts of each set")
    parser.add_argument("--bad", type=int, default=300, help="bad texts of each kind and language")
    parser.add_argument("--half", choices=("test", "calibration"), default="test")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/quality.md instead")
    arguments = parser.parse_args()
    half = int(arguments.half == "test")
    good = quality_texts.good(arguments.limit, half)
    bad = quality_texts.bad(good, arguments.bad, seed=half)
    results: dict[str, Any] = {"half": arguments.half, "good": summary(good), "bad": summary(bad)}
    results["by_rule"] = by_rule(results["good"], results["bad"])
    results["prose_dropped"] = prose_dropped(results["good"])
    results["languages_found"] = languages(arguments.limit)
    results["megabytes_per_core_second"] = speed(good)
    print(markdown(results) if arguments.markdown else json.dumps(results, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""The report of a corpus: what each step left and why, and what the kept text is like, on one page that opens offline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from chatwright.config import dumps
from chatwright.corpora.accounts import read_report
from chatwright.corpora.reporting.sample import sample_of
from chatwright.corpora.reporting.statistics import STATISTICS, statistics
from chatwright.files import atomic_write
from chatwright.insight.charts import CHART_STYLE
from chatwright.insight.corpus_samples import SAMPLE_STYLE, megabytes, shown, skipped_section, step_section

PAGE = "report.html"
_TEXT = "text"
_COLOURS = 4
_OTHER = "others"
_NAMES = {
    "": "not known yet",
    "und": "undetermined",
    "zh-Hans": "Chinese, Simplified",
    "zh-Hant": "Chinese, Traditional",
}
_NAMES |= {
    "en": "English",
    "ja": "Japanese",
    "ko": "Korean",
    "fr": "French",
    "de": "German",
    "es": "Spanish",
    "ru": "Russian",
}

_STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ overflow-wrap: anywhere }} h2 {{ margin-top: 2.2rem }} h3 {{ margin: 1.4rem 0 .2rem }} h3 + p {{ margin-top: 0 }}
table {{ border-collapse: collapse; width: 100% }} th {{ text-align: left; font-weight: 600; font-size: .85rem; opacity: .75 }}
th, td {{ padding: .15rem .8rem .15rem 0; vertical-align: middle; overflow-wrap: anywhere }}
.number {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }}
.bar {{ width: 45% }} .bar div {{ display: flex; height: .95rem; background: rgb(128 128 128 / .13); border-radius: 3px; overflow: hidden }}
.bar i {{ background: currentColor; flex: none }} .none {{ color: rgb(128 128 128 / .75) }}
.warning {{ margin: .4rem 0; padding: .4rem .8rem; border-left: 4px solid #d97706; background: rgb(217 119 6 / .14) }}
.note {{ font-size: .88rem; opacity: .8 }}
.scroll {{ overflow-x: auto }} td:first-child {{ min-width: 6rem }}
@media (max-width: 600px) {{ table {{ font-size: .85rem }} .bar {{ min-width: 5rem }} td:first-child {{ min-width: 5rem }} th, td {{ padding-right: .5rem }} }}
{CHART_STYLE}{SAMPLE_STYLE}"""


@dataclass(frozen=True)
class BarRow:
    """A row of a table of bars: its name, the bar's parts as (class, size), and what stands behind it."""

    name: str
    parts: Sequence[tuple[str, float]]
    cells: Sequence[str]
    link: str = ""


def write_corpus_page(directory: str | Path) -> Path:
    """Write corpus_statistics.json and report.html into a finished corpus run; returns the page's path."""
    directory = Path(directory)
    report = read_report(directory)
    figures = statistics(report, sample_of(directory / _TEXT))
    atomic_write(directory / STATISTICS, dumps(figures))
    page = directory / PAGE
    atomic_write(page, render(directory.resolve().name, report, figures))
    return page


def render(name: str, report: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The page. What documents, files and steps are called and hold is shown as text, never as HTML."""
    title = f"corpus · {name}"
    colours = _language_colours(report["languages"])
    parts = [
        f"<h1>{shown(title)}</h1>",
        f"<p>{_headline(report)}</p>",
        *(f'<p class="warning">{shown(said)}</p>' for said in [*report["warnings"], *figures["warnings"]]),
        _flow(report, colours),
        _inputs(report, figures["consistency"]["languages_by_source"], colours),
        _languages(report, colours),
        "<h2>What each step did</h2><p>Up to ten documents for each reason, drawn by chance.</p>",
        *map(step_section, report["steps"]),
        _clusters(report["steps"]),
        skipped_section(report),
        _kept_text(figures),
        _options(report["steps"]),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{shown(title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _headline(report: Mapping[str, Any]) -> str:
    read, kept = report["read"], report["kept"]
    share = kept["bytes"] / max(1, read["bytes"])
    return (
        f"Of {read['documents']:,} documents ({megabytes(read['bytes'])}) in {report['files']:,} files, "
        f"<b>{kept['documents']:,} ({megabytes(kept['bytes'])}, {share:.0%})</b> are kept: "
        f"{report['train']['documents']:,} for training, {report['validation']['documents']:,} for validation."
    )


def _language_colours(languages: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """A colour for each of the four largest languages; the others are grey."""
    known = sorted((name for name in languages if name), key=lambda name: -languages[name]["bytes"])
    return {name: f"c{number}" for number, name in enumerate(known[:_COLOURS])}


def _parts(languages: Mapping[str, Mapping[str, int]], colours: Mapping[str, str]) -> list[tuple[str, float]]:
    """The bytes of each language in the order of the colours, then what has none."""
    found = [
        (colour, float(languages[name]["bytes"])) for name, colour in colours.items() if name in languages
    ]
    rest = sum(size["bytes"] for name, size in languages.items() if name not in colours)
    return [*found, ("none", float(rest))]


def _flow(report: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    rows = []
    for step in report["steps"]:
        before, after = step["before"]["bytes"], step["after"]["bytes"]
        lost = 1 - after / max(1, before)
        less = f"−{lost:.1%}" if lost >= 0.0005 else f"+{-lost:.1%}" if lost <= -0.0005 else ""
        cells = [megabytes(after), f"{step['after']['documents']:,}", less]
        touched = step["dropped"] or step["changed"] or step["marked"]
        link = f"step-{step['name']}" if touched else ""
        rows.append(BarRow(step["name"], _parts(step["languages"], colours), cells, link))
    table = bar_table(("step", "what it left", "", "documents", "change"), rows, report["read"]["bytes"])
    return f"<h2>What each step left</h2>{_legend(colours, report['languages'])}{table}"


def _legend(colours: Mapping[str, str], languages: Mapping[str, Any]) -> str:
    keys = [*((colour, language_name(name)) for name, colour in colours.items()), ("none", _NAMES[""])]
    if len(languages) > len(colours):
        keys[-1] = ("none", "not known yet, and other languages")
    shown_keys = "".join(
        f'<span class="{colour}"><i></i><em>{shown(name)}</em></span>' for colour, name in keys
    )
    return f'<div class="legend">{shown_keys}</div>'


def language_name(code: str) -> str:
    """A language as people call it, with its code."""
    name = _NAMES.get(code, "")
    return f"{name} ({code})" if name and code else name or code


def bar_table(titles: Sequence[str], rows: Iterable[BarRow], full: float) -> str:
    """A table of bars whose whole length stands for `full`."""
    head = "".join(
        f"<th{' class=number' if number > 1 else ''}>{escape(title)}</th>"
        for number, title in enumerate(titles)
    )
    lines = []
    for row in rows:
        bar = "".join(
            f'<i class="{colour}" style="width:{min(100.0, 100 * size / max(full, 1e-9)):.2f}%"></i>'
            for colour, size in row.parts
            if size > 0
        )
        name = f'<a href="#{escape(row.link)}">{shown(row.name)}</a>' if row.link else shown(row.name)
        cells = "".join(f'<td class="number">{escape(cell)}</td>' for cell in row.cells)
        lines.append(f'<tr><td>{name}</td><td class="bar"><div>{bar}</div></td>{cells}</tr>')
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _inputs(
    report: Mapping[str, Any], by_source: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]
) -> str:
    """The inputs: what each gave and what is kept of it, coloured by the languages of the sample."""
    most = max((entry["read"]["bytes"] for entry in report["inputs"].values()), default=1)
    folder = common_folder(list(report["inputs"]))
    rows = []
    for name, entry in report["inputs"].items():
        kept, read = entry["kept"]["bytes"], entry["read"]["bytes"]
        shares = by_source.get(name, {})
        parts = [(colours.get(language, "none"), share * kept) for language, share in shares.items()]
        cells = [megabytes(read), megabytes(kept), f"{kept / max(1, read):.0%}", f"{entry['epochs']:g}"]
        wished = f" of {entry['wished_share']:.1%} wished" if entry["wished_share"] is not None else ""
        cells.append(f"{entry['share']:.1%}{wished}")
        rows.append(BarRow(name.removeprefix(folder), parts or [("none", kept)], cells))
    titles = (
        "input",
        "kept, of the largest input",
        "read",
        "kept",
        "of read",
        "times in training",
        "of training",
    )
    where = f'<p class="note">in {shown(folder)}</p>' if folder else ""
    return f"<h2>Inputs</h2>{where}{bar_table(titles, rows, most)}"


def common_folder(names: Sequence[str]) -> str:
    """The folder, with its slash, that all of several names begin with; "" where there is none."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    apart = (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: first.rfind("/", 0, next(apart, len(first))) + 1]


def _languages(report: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    languages = report["languages"]
    total = sum(size["bytes"] for size in languages.values())
    by_size = sorted(languages, key=lambda name: -languages[name]["bytes"])
    rows = [
        BarRow(
            language_name(name),
            [(colours.get(name, "none"), languages[name]["bytes"])],
            [
                megabytes(languages[name]["bytes"]),
                f"{languages[name]['documents']:,}",
                f"{languages[name]['bytes'] / max(1, total):.1%}",
            ],
        )
        for name in by_size
    ]
    return f"<h2>Languages of the kept text</h2>{bar_table(('language', '', '', 'documents', 'share'), rows, total)}"


def _clusters(steps: Sequence[Mapping[str, Any]]) -> str:
    """The clusters of near duplicates: how many of each size, and the largest with some of their documents."""
    found = next((step["clusters"] for step in steps if step.get("clusters")), None)
    if found is None:
        return ""
    said = (
        f"{_many(found['count'], 'cluster')} of documents that are nearly the same hold "
        f"{found['documents']:,} documents, {found['share']:.1%} of those that came to the step. "
        "One of each stays."
    )
    most = max(size["documents"] for size in found["sizes"].values())
    rows = [
        BarRow(
            name.replace("-", " to ").replace("+", " and more"),
            [("none", size["documents"])],
            [f"{size['documents']:,}", f"{size['clusters']:,}"],
        )
        for name, size in found["sizes"].items()
    ]
    table = bar_table(("documents in a cluster", "", "documents", "clusters"), rows, most)
    largest = "".join(map(_cluster, found["largest"]))
    shown = f"<h3>The largest</h3>{largest}" if largest else ""
    return f"<h2>Clusters of near duplicates</h2><p>{said}</p>{table}{shown}"


def _cluster(cluster: Mapping[str, Any]) -> str:
    """One cluster, folded: the document that stays, then some that went for it."""
    kept, gone = cluster["kept"], cluster["gone"]
    hidden = cluster["documents"] - 1 - len(gone)
    rest = f"<p>and {hidden:,} more</p>" if hidden else ""
    said = f"<b>{cluster['documents']:,}</b> documents, of which {shown(kept['id'])} stays"
    summary = f"{said} <small>({megabytes(cluster['bytes'])})</small>"
    return f"<details><summary>{summary}</summary>{''.join(map(_member, [kept, *gone]))}{rest}</details>"


def _member(sample: Mapping[str, str]) -> str:
    line = " · ".join(shown(sample[name]) for name in ("id", "language", "detail") if sample[name])
    return f'<div class="sample"><p>{line}</p><pre>{shown(sample["text"])}</pre></div>'


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _kept_text(figures: Mapping[str, Any]) -> str:
    sample = figures["sample"]
    how = "all of it" if sample["every"] == 1 else f"every {_ordinal(sample['every'])} document"
    measured = (
        f"Measured on {sample['documents']:,} documents, {megabytes(sample['bytes'])} ({how}); "
        "lengths on all documents of the parts that were looked into."
    )
    return "".join(
        [
            f'<h2>What the kept text is like</h2><p class="note">{measured}</p>',
            *(_histogram(name, found) for name, found in figures["lengths"].items()),
            _diversity(figures["diversity"]),
            _cleanliness(figures["cleanliness"], figures["consistency"], figures["near_duplicates"]),
        ]
    )


def _ordinal(number: int) -> str:
    last = number % 10 if number % 100 not in (11, 12, 13) else 0
    ending = {1: "st", 2: "nd", 3: "rd"}.get(last, "th")
    return f"{number}{ending}"


def _histogram(name: str, found: Mapping[str, Any]) -> str:
    edges = [edge for edge, _ in found["bins"]]
    most = max(count for _, count in found["bins"])
    total = found["documents"]
    rows = [
        BarRow(_span(edge, after), [("none", count)], [f"{count:,}", f"{count / total:.1%}"])
        for (edge, count), after in zip(found["bins"], [*edges[1:], None], strict=True)
    ]
    said = (
        f"half of the documents have at most {found['median']:,} characters, a tenth at most {found['p10']:,}, "
        f"nine tenths at most {found['p90']:,}"
    )
    table = bar_table(("characters", "", "documents", "share"), rows, most)
    return f"<h3>Lengths: {escape(name)}</h3><p>{said}</p>{table}"


def _span(first: int, after: int | None) -> str:
    return f"{first:,} and more" if after is None else f"{first:,} to {after - 1:,}"


def _diversity(by_language: Mapping[str, Mapping[str, Any]]) -> str:
    if not by_language:
        return ""
    rows = [
        [
            language_name(language),
            f"{found['units']:,} {found['unit']}s",
            f"{found['type_token']:.3f}",
            f"{found['unigram_bits']:.2f}",
            f"{found['bigram_bits']:.2f}",
            f"{found['conditional_bits']:.2f}",
        ]
        for language, found in by_language.items()
    ]
    titles = (
        "language",
        "measured on",
        "type–token",
        "unigram bits",
        "bigram bits",
        "bits given the one before",
    )
    note = "More is more varied; compare only corpora that are measured on as many words."
    return f'<h3>Diversity</h3>{table(titles, rows)}<p class="note">{note}</p>'


def _cleanliness(
    clean: Mapping[str, Any], consistent: Mapping[str, Any], near: Mapping[str, Any] | None
) -> str:
    rows = [
        ["letters, digits, punctuation, white space, others", " · ".join(_shares(clean))],
        ["U+FFFD in a million characters", f"{clean['replacement_per_million']:,}"],
        ["control characters in a million", f"{clean['control_per_million']:,}"],
        ["lines (20 characters and more) without an end mark", f"{clean['lines_without_end']:.1%}"],
    ]
    if near:
        rows.append(["near duplicates left out", f"{near['dropped']:,} ({near['share']:.1%} of what came)"])
        if near["clusters"]:
            found = near["clusters"]
            said = (
                f"{found['count']:,} of {found['documents']:,} documents ({found['share']:.1%} of what came)"
            )
            rows.append(["clusters of near duplicates", said])
    if consistent["chinese_documents"]:
        rows += [
            ["half-width marks after Chinese characters", f"{consistent['half_width']:.1%}"],
            ["Chinese documents that mix both widths", f"{consistent['mixed_punctuation']:.1%}"],
            ["Chinese documents that mix Simplified and Traditional", f"{consistent['mixed_scripts']:.1%}"],
        ]
    return f"<h3>Cleanliness and consistency</h3>{table((), rows)}"


def _shares(clean: Mapping[str, Any]) -> list[str]:
    return [f"{clean[name]:.1%}" for name in ("letters", "digits", "punctuation", "white_space", "others")]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of words; the first column to the left, the others to the right."""
    head = "".join(
        f"<th{' class=number' if n else ''}>{escape(title)}</th>" for n, title in enumerate(titles)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{' class=number' if n else ''}>{escape(cell)}</td>" for n, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    first = f"<tr>{head}</tr>" if titles else ""
    return f'<div class="scroll"><table>{first}{lines}</table></div>'


def _options(steps: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(step['name'])}</td><td>{shown(json.dumps(step['options'], ensure_ascii=False))}</td></tr>"
        for step in steps
        if step["options"]
    )
    if not lines:
        return ""
    return f"<h2>Options</h2><details><summary>of every step</summary><table>{lines}</table></details>"

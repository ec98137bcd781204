"""What a step did to documents, as HTML: reasons with their samples, texts with their differences. All is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from chatwright.corpora.reporting.difference import IN, OUT, SAME, Piece, difference, seen
from chatwright.progress import visible

SAMPLE_STYLE = """
details { margin: .35rem 0; border: 1px solid rgb(128 128 128 / .35); border-radius: 6px; padding: 0 .8rem }
summary { cursor: pointer; padding: .35rem 0 } summary b { font-variant-numeric: tabular-nums }
details > :last-child { margin-bottom: .7rem }
.sample { margin: .6rem 0; font-size: .9rem } .sample p { margin: 0 0 .2rem; overflow-wrap: anywhere; opacity: .8 }
.sample pre { margin: 0; padding: .5rem .7rem; background: rgb(128 128 128 / .1); border-radius: 4px; font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto }
del { background: rgb(220 38 38 / .22); text-decoration: line-through } ins { background: rgb(22 163 74 / .24); text-decoration: none }
"""

_KINDS = ("dropped", "changed", "marked")
_EXCERPT = 300


def step_section(step: Mapping[str, Any]) -> str:
    """One step: what came, what it left, and each reason with its samples; "" where it did nothing to any text."""
    reasons = [_reason(kind, reason, found) for kind in _KINDS for reason, found in step[kind].items()]
    if not reasons:
        return ""
    before, after = step["before"], step["after"]
    lost = before["documents"] - after["documents"]
    share = f" ({lost / before['documents']:.2%} dropped)" if lost > 0 else ""
    said = (
        f"{before['documents']:,} documents came, {after['documents']:,} went on{share}; "
        f"{megabytes(before['bytes'])} became {megabytes(after['bytes'])}."
    )
    name = escape(step["name"])
    return f'<h3 id="step-{name}">{name}</h3><p>{said}</p>{"".join(reasons)}'


def _reason(title: str, reason: str, happening: Mapping[str, Any]) -> str:
    documents, count = happening["documents"], happening["count"]
    often = f", {count:,} times" if count != documents else ""
    size = f"{megabytes(abs(happening['bytes']))}{_gained(title, happening['bytes'])}"
    samples = "".join(map(_sample, happening["samples"]))
    summary = f"{title} <b>{documents:,}</b>{often}: {shown(reason)} <small>({size})</small>"
    return f"<details><summary>{summary}</summary>{samples}</details>"


def _gained(title: str, lost: int) -> str:
    if title != "changed":
        return ""
    return " less" if lost >= 0 else " more"


def _sample(sample: Mapping[str, str]) -> str:
    what = [sample["id"], sample["language"], sample["detail"]]
    line = " · ".join(shown(part) for part in what if part)
    before, after = sample["text"], sample["after"]
    text = marked_difference(_within(before, after)) if after else shown(before)
    more = "…" if len(before) >= _EXCERPT else ""
    box = "" if before.isspace() or not before else f"<pre>{text}{more}</pre>"
    return f'<div class="sample"><p>{line}</p>{box}</div>'


def _within(before: str, after: str) -> list[Piece]:
    """The difference of two excerpts. What only one of them still holds, as both are cut, is no difference."""
    pieces = difference(before, after)
    if max(len(before), len(after)) >= _EXCERPT and any(piece.kind == SAME for piece in pieces[1:]):
        while pieces[-1].kind != SAME:
            pieces.pop()
    return pieces


def marked_difference(pieces: Iterable[Piece]) -> str:
    """Pieces as HTML: what went struck through in red, what came in green."""
    tags = {OUT: ("<del>", "</del>"), IN: ("<ins>", "</ins>"), SAME: ("", "")}
    return "".join(tags[kind][0] + shown(seen(text, kind)) + tags[kind][1] for kind, text in pieces)


def shown(text: str) -> str:
    """Text as HTML; characters that nobody sees as pictures or as their numbers."""
    return escape(visible(seen(text)))


def skipped_section(report: Mapping[str, Any], most: int = 1000) -> str:
    """The files and rows that could not be read, by reason, each file by its name; "" where there are none."""
    if not report["skipped"]:
        return ""
    parts = []
    for reason, found in report["skipped"].items():
        files: Sequence[Sequence[str]] = report["skipped_files"].get(reason, [])
        listed = "".join(
            f"<li>{shown(path)}{f' <small>{shown(detail)}</small>' if detail else ''}</li>"
            for path, detail in files[:most]
        )
        rest = f"<p>{len(files) - most:,} more are in corpus_report.json</p>" if len(files) > most else ""
        inner = f"<ul>{listed}</ul>{rest}" if listed else f"<p>first: {shown(found['first'])}</p>"
        summary = f"<summary><b>{found['count']:,}</b>: {shown(reason)}</summary>"
        parts.append(f"<details>{summary}{inner}</details>")
    return f"<h2>Not read</h2>{''.join(parts)}"


def megabytes(size: float) -> str:
    """Bytes in words: 12 B, 3.4 kB, 5.6 MB, 7.8 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:.0f} B"

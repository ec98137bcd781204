"""One default run of `corpus` over real texts with planted duplicates: speed, memory, recall, precision, what stays, as
one JSON object.

Of each set a quarter of the rows makes originals and planted duplicates (see duplicates.py), the others are inputs as
they are, as many of them as `--megabytes` allows.

- speed: MB of UTF-8 a core-second in total and by step. In total counts the processor time of all processes of the
  run, start-up and report included; `steps_only` counts what the steps tell of themselves.
- peak memory: the largest sum over the run's processes, looked at five times a second (memory that processes share
  is counted in each).
- duplicates: recall and precision in each script, as duplicates.py counts them, of what was planted and comes to the
  step `exact` as it was planted (what `quality` drops or `clean` takes out before is told beside it).
- kept: the share of each set's documents and bytes that stays, and the main reasons for the rest.
- languages: of planted documents and whole sets how many are told right, those of the Chinese sets by how much Chinese
  they hold (some are code, or English chapters); of single lines the share.

    python benchmarks/corpus.py [--megabytes 60] [--engine auto] [--workers 0] [--keep DIRECTORY] [step.key=value …]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duplicates
import quality_texts

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.engine import parts
from chatwright.corpora.operators.contract import is_collective, make_step, step_class
from chatwright.corpora.operators.language import identify
from chatwright.runs import Run

CORPUS = duplicates.CORPUS
SETS = ("en_novels", "en_cpp_docs", "zh_laws", "zh_poetry", "zh_tech_docs")
SCRIPTS = ("en", "zh-Hans", "zh-Hant")
EXPECTED = {"en_novels": "en", "en_cpp_docs": "en", "zh_laws": "zh-Hans", "zh_tech_docs": "zh-Hans"}
APART = 4
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")


@dataclass
class Mix:
    """The inputs on disk, and the planted documents by script."""

    inputs: list[Path] = field(default_factory=list)
    planted: dict[str, duplicates.Planted] = field(default_factory=dict)


def make_mix(corpus: Path, place: Path, megabytes: float, documents: int, seed: int) -> Mix:
    """Write the inputs: planted duplicates for each script, then the sets without the rows that served for these."""
    mix, draw, apart = Mix(), random.Random(seed), place / "apart"
    apart.mkdir(parents=True)
    rest: dict[str, list[str]] = {}
    for name in SETS:
        texts = [row["text"] for row in rows(corpus / f"{name}.jsonl.gz")]
        with gzip.open(apart / f"{name}.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts[::APART])
        rest[name] = [text for number, text in enumerate(texts) if number % APART]
    for script in SCRIPTS:
        texts = duplicates.corpus_texts(apart, script, documents, draw)
        planted = mix.planted[script] = duplicates.plant(texts, script, draw, min(1.0, documents / 500))
        mix.inputs.append(write(place / f"planted_{script}.jsonl", [doc.text for doc in planted.docs]))
    filled = sum(path.stat().st_size for path in mix.inputs)
    whole = sum(size(text) for texts in rest.values() for text in texts)
    share = min(1.0, max(0.0, megabytes * 1e6 - filled) / whole)
    for name, texts in rest.items():
        chosen = texts[: max(1, round(share * len(texts)))]
        mix.inputs.append(write(place / f"{name}.jsonl", chosen))
    return mix


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write(path: Path, texts: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    return path


def size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


class Memory(threading.Thread):
    """The largest sum of resident memory over the processes of one session."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.peak, self._session, self._stopped = 0, session, threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(0.2):
            self.peak = max(self.peak, sum(map(resident, self._processes())))

    def stop(self) -> float:
        """End it; the peak in MB."""
        self._stopped.set()
        self.join()
        return round(self.peak / 1e6, 1)

    def _processes(self) -> Iterator[Path]:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self._session:
                    yield stat.parent
            except (OSError, IndexError, ValueError):
                continue


def resident(process: Path) -> int:
    """The resident bytes of a process; 0 once it has ended."""
    try:
        return int((process / "statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def run_corpus(mix: Mix, out: Path, words: Sequence[str]) -> dict[str, Any]:
    """One run of the verb in a process of its own: what it cost."""
    command = [sys.executable, "-m", "chatwright", "corpus", *map(str, mix.inputs), "-o", str(out), *words]
    before, begun = os.times(), time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    memory = Memory(child.pid)
    memory.start()
    if child.wait():
        sys.exit(f"corpus failed with {child.returncode}")
    wall, after = time.perf_counter() - begun, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_seconds": round(wall, 1), "core_seconds": round(spent, 1), "peak_mb": memory.stop()}


def speed(run: Run, cost: dict[str, Any]) -> dict[str, Any]:
    """MB of UTF-8 that were read a core-second, in total and by step."""
    megabytes, seconds = run.result["read"]["bytes"] / 1e6, run.result["seconds"]
    steps = sum(seconds.values())
    return {
        "megabytes": round(megabytes, 2),
        **cost,
        "mb_per_core_second": round(megabytes / max(cost["core_seconds"], 1e-9), 2),
        "mb_per_core_second_steps_only": round(megabytes / max(steps, 1e-9), 2),
        "seconds_by_step": seconds,
        "seconds_per_mb_by_step": {name: round(spent / megabytes, 4) for name, spent in seconds.items()},
    }


def after_each_step(run: Run) -> dict[str, list[Doc]]:
    """The documents as each step left them, from the files of the stages; the first is `read`."""
    folders = sorted((run.directory / "stages").glob("[0-9][0-9]-*"))
    found: dict[str, list[Doc]] = {}
    for path in sorted(folders[0].glob("*.parquet")):
        part = parts.read_part(path)
        for folder in folders:
            if folder is not folders[0] and (folder / path.name).exists():
                part = parts.read_step(folder / path.name, part)
            found.setdefault(folder.name.split("-")[1], []).extend(part.docs)
    return found


def own_ids(mix: Mix) -> dict[str, str]:
    """From the ids of the run to those of the planted documents."""
    places = {path.stem.removeprefix("planted_"): path for path in mix.inputs}
    return {
        f"{places[script]}:{number}": doc.id
        for script, planted in mix.planted.items()
        for number, doc in enumerate(planted.docs, 1)
    }


def found_duplicates(mix: Mix, after: dict[str, list[Doc]]) -> dict[str, Any]:
    """Recall of what was planted by script, and precision over the whole corpus."""
    own = own_ids(mix)
    outcome = duplicates.Outcome()
    names = list(after)
    came = names[names.index("exact") - 1]
    for name, step in ((came, "came"), ("exact", "exact"), ("near", "near"), ("paragraphs", "paragraphs")):
        outcome.after[step] = [replace(doc, id=own.get(doc.id, doc.id)) for doc in after[name]]
    came_texts = {doc.id: plain(doc.text) for doc in outcome.after["came"]}
    recall: dict[str, Any] = {}
    left_out = {}
    for script, planted in mix.planted.items():
        copies = [copy for copy in planted.copies if is_there(copy, came_texts)]
        recall |= duplicates.recall(duplicates.Planted(planted.docs, copies), outcome)
        left_out[script] = len(planted.copies) - len(copies)
    right, dropped, wrong = duplicates.near_precision(outcome)
    planted_ids = set(own.values())
    mine = {step: [doc for doc in docs if doc.id in planted_ids] for step, docs in outcome.after.items()}
    paragraphs_right, paragraphs_cut = duplicates.paragraph_precision(duplicates.Outcome(mine))
    return {
        "recall": recall,
        "recall_at_0.8": {script: rate(found) for script, found in recall.items()},
        "dropped_before": left_out,
        "near_precision": {"right": right, "dropped": dropped, "wrong": wrong[:20]},
        "paragraph_precision_of_planted": {"right": paragraphs_right, "cut": paragraphs_cut},
    }


def is_there(copy: duplicates.Copy, texts: dict[str, str]) -> bool:
    """Whether a copy and its original, and of a paragraph its words in both, come to the steps that compare. An exact copy
    is planted with other line breaks, and where these hide its front matter from `clean` it is none any more."""
    if not {copy.id, copy.original} <= texts.keys():
        return False
    if copy.kind == "exact" and texts[copy.id] != texts[copy.original]:
        return False
    paragraph = plain(copy.paragraph)
    return paragraph in texts[copy.id] and paragraph in texts[copy.original]


def plain(text: str) -> str:
    return " ".join(text.split())


def rate(found: dict[str, list[int]]) -> float | None:
    """The share found of exact, near (at least .8 alike) and paragraph duplicates together."""
    sure = [pair for name, pair in found.items() if name in ("exact", "paragraph") or name.endswith(">=0.8")]
    planted = sum(there for _, there in sure)
    return round(sum(hits for hits, _ in sure) / planted, 4) if planted else None


def retention(run: Run, after: dict[str, list[Doc]], most: int = 6) -> dict[str, Any]:
    """By input: the shares of documents and bytes that stay, and which step dropped the rest for which reasons."""
    reasons: dict[str, Counter[str]] = {}
    names = list(after)
    for before, name in pairwise(names):
        kept = {doc.id for doc in after[name]}
        dropped = [doc for doc in after[before] if doc.id not in kept]
        for source, reason, count in reasons_of(name, dropped):
            reasons.setdefault(source, Counter())[reason] += count
    found = {}
    for source, entry in run.result["inputs"].items():
        read, stayed = entry["read"], entry["kept"]
        total = max(1, read["documents"])
        found[Path(source).stem] = {
            "documents": read["documents"],
            "kept_documents": round(stayed["documents"] / total, 4),
            "kept_bytes": round(stayed["bytes"] / max(1, read["bytes"]), 4),
            "dropped_for": {
                reason: round(count / total, 4)
                for reason, count in reasons.get(source, Counter()).most_common(most)
            },
        }
    return found


def reasons_of(name: str, dropped: Sequence[Doc]) -> Iterator[tuple[str, str, int]]:
    """`(input, reason, documents)`: the steps of single documents say the reasons again, of others the name tells."""
    by_source: dict[str, list[Doc]] = {}
    for doc in dropped:
        by_source.setdefault(doc.source, []).append(doc)
    for source, docs in by_source.items():
        notes = Notes()
        if not is_collective(step_class(name)):
            make_step(name)(docs, notes)
        told = sum(happening.documents for happening in notes.dropped.values())
        for reason, happening in notes.dropped.items():
            yield source, f"{name}: {reason}", happening.documents
        if told < len(docs):
            yield source, name, len(docs) - told


def languages(mix: Mix, after: dict[str, list[Doc]], lines: int) -> dict[str, Any]:
    """`[found, all]` of documents by set and, in Chinese ones, by how much Chinese they hold; shares of single lines."""
    own = own_ids(mix)
    found: dict[str, dict[str, list[int]]] = {}
    for doc in after["language"]:
        name, copied = Path(doc.source).stem, own.get(doc.id, "")
        expected = copied.split("/")[0] if copied else EXPECTED.get(name)
        # Copies in the other script are not in the script of their file.
        if expected and "/across" not in copied:
            count = found.setdefault(name, {}).setdefault(chinese_band(doc.text, expected), [0, 0])
            count[0] += doc.language == expected
            count[1] += 1
    short = {
        name: round(
            sum(a == b for a, (_, b) in zip(identify([t for t, _ in pairs]), pairs, strict=True))
            / len(pairs),
            4,
        )
        for name, pairs in (quality_texts.labelled_lines(lines) if lines else {}).items()
    }
    return {"documents": found, "lines": short}


def chinese_band(text: str, expected: str) -> str:
    """How much of a document's Latin and Han letters is Han: pages of Chinese manuals may be code, or English."""
    if expected == "en":
        return "all"
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    share = han / max(1, han + latin)
    return (
        "no Han" if not han else "Han <0.1" if share < 0.1 else "Han 0.1-0.3" if share < 0.3 else "Han >=0.3"
    )


def measure(corpus: Path, place: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    mix = make_mix(corpus, place / "inputs", chosen.megabytes, chosen.documents, chosen.seed)
    words = [f"engine={chosen.engine}", f"workers={chosen.workers}", *chosen.options]
    cost = run_corpus(mix, place / "run", words)
    run = Run(place / "run")
    after = after_each_step(run)
    return {
        "benchmark": "corpus",
        "engine": chosen.engine,
        "options": chosen.options,
        "speed": speed(run, cost),
        "duplicates": found_duplicates(mix, after),
        "kept": retention(run, after),
        "languages": languages(mix, after, chosen.lines),
        "warnings": run.result["warnings"],
    }


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--megabytes", type=float, default=60.0, help="of input in all, about")
    parser.add_argument(
        "--documents", type=int, default=600, help="originals in each script, before planting"
    )
    parser.add_argument("--lines", type=int, default=1000, help="single lines of each kind (0: none)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="make inputs and run here, and keep them")
    parser.add_argument("options", nargs="*", help="options of corpus, as key=value")
    return parser.parse_args(words)


def main() -> None:
    chosen = arguments()
    with tempfile.TemporaryDirectory() as aside:
        print(json.dumps(measure(chosen.corpus, chosen.keep or Path(aside), chosen), ensure_ascii=False))


if __name__ == "__main__":
    main()

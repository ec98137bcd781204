"""Whether cleaning helps: equal pretraining runs on a spoilt corpus as it is and as the default steps clean it, measured
in bits a byte on clean held-out text, as one JSON object.

The good texts are every second document of the sets of quality_texts.py, the held-out ones come from the other half.
Spoilt means: many documents several times, exactly or with a few words changed; notices, menus and log-in lines
around others; and among them documents of all kinds of noise. Both runs have the same tokenizer (of the spoilt
text), the same model, the same number of steps and tokens a step; the first run's minutes set the steps of all.

    python benchmarks/cleaning.py [--minutes 5 | --steps 1000] [--seeds 0 1 2] [--limit 1500] [model.layers=4 …]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias

import duplicates
import quality_texts

import chatwright as cw
from chatwright import config
from chatwright.corpora.choices import DEFAULT_STEPS
from chatwright.corpora.reporting.sample import sample_of
from chatwright.data.encode import encode_documents
from chatwright.distributed.launch import world
from chatwright.evaluation.likelihood import held_out_likelihood
from chatwright.generation.text import TextModel
from chatwright.objectives.causal import Causal
from chatwright.objectives.pretraining.making import rows_of
from chatwright.objectives.pretraining.text import Text
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer

Sets: TypeAlias = dict[str, list[str]]

SIDES = ("raw", "cleaned")
REPEATED, NEAR, WRAPPED, NOISE = 0.25, 0.15, 0.3, 0.25
_WHOLE = ("en_novels",)
"""Sets that stand among the others in pieces."""


def spoilt(good: Sets, seed: int, kinds: int = 20) -> list[str]:
    """The good texts with duplicates, boilerplate and noise among them, shuffled. `kinds` is how many `bad` makes."""
    draw = random.Random(seed)
    texts: list[str] = []
    for name, found in good.items():
        language = name[:2]
        words = [word for text in found[:200] for word in units_in(text, language)] or ["x"]
        for text in found:
            texts.append(wrapped(text, language, draw) if draw.random() < WRAPPED else text)
            if draw.random() < REPEATED:
                texts += [text] * draw.randint(1, 4)
            if draw.random() < NEAR:
                script = "en" if language == "en" else "zh-Hans"
                copies = range(draw.randint(1, 3))
                texts += [duplicates.edited(text, 0.01, words, script, draw) for _ in copies]
    count = max(1, round(NOISE * len(texts) / kinds))
    texts += [text for made in quality_texts.bad(good, count, seed).values() for text in made]
    draw.shuffle(texts)
    return texts


def units_in(text: str, language: str) -> list[str]:
    """What an edited copy may have in place of a word or a Chinese character."""
    return [unit for unit in (text.split() if language == "en" else text) if unit.isalpha()][:500]


def wrapped(text: str, language: str, draw: random.Random) -> str:
    """The text between lines that pages have around what they say."""
    lines = quality_texts.boilerplate(language, draw, []).split("\n")
    middle = draw.randint(2, 4)
    return "\n".join([*lines[:middle], text, *lines[middle : middle + draw.randint(2, 5)]])


def write(path: Path, texts: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return path


def bits_per_byte(run: Run, texts: Sequence[str], place: Path) -> float:
    """Of held-out texts under a finished run's model, every token scored once."""
    loaded, alone = TextModel.load(run), world()
    context = min(loaded.model.options.context, 512)
    store = encode_documents(texts, loaded.tokenizer, place)
    text, objective = Text(store, loaded.tokenizer, context, 0, held_out=True), Causal()
    found = held_out_likelihood(
        loaded.model, objective, rows_of(objective, text), 1 << 30, 8, loaded.tokenizer.token_bytes, alone
    )
    return found.bits_per_byte


def one_seed(
    good: Sets, held_out: Sets, place: Path, seed: int, training: dict[str, Any], vocab_size: int
) -> dict[str, Any]:
    """Both runs of one seed; `training` are options of `pretrain`, with `steps` or `minutes` among them."""
    rows = write(place / "spoilt.jsonl", spoilt(good, seed))
    corpora = {
        "raw": cw.corpus([rows], place / "raw", steps=()),
        "cleaned": cw.corpus([rows], place / "cleaned", **_all_steps(rows)),
    }
    tokenizer = cw.tokenizer(corpora["raw"], place / "tokenizer", vocab_size=vocab_size)
    options, found = dict(training), dict[str, Any]()
    for side in SIDES:
        run = cw.pretrain(corpora[side], tokenizer, place / f"{side}-model", seed=seed, **options)
        options.pop("minutes", None)
        options["steps"] = run.result["steps"]
        kept = corpora[side].result["kept"]
        size = Tokenizer.load(tokenizer.directory).encode
        found[side] = {
            "documents": kept["documents"],
            "megabytes": round(kept["bytes"] / 1e6, 2),
            "steps": run.result["steps"],
            "tokens": run.result["tokens"],
            "epochs": round(run.result["tokens"] / max(1, _tokens(corpora[side], size)), 3),
            "bits_per_byte": dict(_by_language(run, held_out, place / f"{side}-held-out")),
        }
    found["gain"] = {
        name: round(value - found["cleaned"]["bits_per_byte"][name], 4)
        for name, value in found["raw"]["bits_per_byte"].items()
    }
    return {"seed": seed, **found}


def _all_steps(rows: Path) -> dict[str, Any]:
    """The default steps, also for a corpus so small that `quality` would be left out."""
    return {"steps": DEFAULT_STEPS} if rows.stat().st_size < 1 << 20 else {}


def _tokens(corpus: Run, encode: Any) -> float:
    """About how many tokens the training side has, from a sample of its documents."""
    docs = sample_of(corpus.directory / "text", 200_000).docs
    characters = sum(len(doc.text) for doc in docs)
    rate = sum(len(encode(doc.text)) for doc in docs) / max(1, characters)
    return float(rate * corpus.result["train"]["characters"])


def _by_language(run: Run, held_out: Sets, place: Path) -> Iterator[tuple[str, float]]:
    for language in ("en", "zh"):
        texts = [text for name, found in held_out.items() if name.startswith(language) for text in found]
        yield language, round(bits_per_byte(run, texts, place / language), 4)
    texts = [text for found in held_out.values() for text in found]
    yield "all", round(bits_per_byte(run, texts, place / "all"), 4)


def measure(good: Sets, held_out: Sets, place: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """All seeds, and the mean, least and greatest gain of cleaning in bits a byte."""
    training = config.parse_pairs(chosen.options)
    training |= {"steps": chosen.steps} if chosen.steps else {"minutes": chosen.minutes}
    runs = []
    for seed in chosen.seeds:
        made = one_seed(good, held_out, place / f"seed-{seed}", seed, training, chosen.vocab_size)
        training.pop("minutes", None)
        training["steps"] = made["raw"]["steps"]
        runs.append(made)
    gains = {name: [run["gain"][name] for run in runs] for name in ("en", "zh", "all")}
    summary = {
        name: {"mean": round(mean(values), 4), "least": min(values), "greatest": max(values)}
        for name, values in gains.items()
    }
    return {"benchmark": "cleaning", "options": chosen.options, "gain": summary, "runs": runs}


def texts_of(limit: int, half: int) -> Sets:
    sets = quality_texts.good(limit, half)
    return {name: found for name, found in sets.items() if name not in _WHOLE}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="of the first run; the others take its steps"
    )
    parser.add_argument("--steps", type=int, default=0, help="instead of minutes")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=1500, help="good texts of each set")
    parser.add_argument("--held-out", type=int, default=40, help="held-out texts of each set")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--keep", type=Path, help="make the runs here, and keep them")
    parser.add_argument("options", nargs="*", help="options of pretrain, as key=value")
    return parser.parse_args(words)


def main() -> None:
    chosen = arguments()
    with tempfile.TemporaryDirectory() as aside:
        good, held_out = texts_of(chosen.limit, 0), texts_of(chosen.held_out, 1)
        print(json.dumps(measure(good, held_out, chosen.keep or Path(aside), chosen)))


if __name__ == "__main__":
    main()

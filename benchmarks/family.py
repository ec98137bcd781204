"""The family on one corpus, at like numbers of parameters and for the same minutes: GPT-2, Qwen3, BERT, XLNet and the encoder-decoder,
each with the objective that it was made for. Prints one JSON object, and writes the comparison page with --page.

    python benchmarks/family.py [--minutes 3] [--seed 0] [--keep DIRECTORY] [--page docs/comparison.md]

The corpus is the documentation of Python and of installed packages. What each is good at is its own: losses of different objectives
are not to be set against each other, speeds and what was read in the time are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import chatwright as cw
from chatwright.runs import Run

PACKAGES = ("stdlib", "numpy", "pyarrow", "rich", "jinja2", "tokenizers")
VOCABULARY, CONTEXT = 4096, 256
MEMBERS: dict[str, dict[str, Any]] = {
    "GPT-2": {"model": "gpt2-5m"},
    "Qwen3": {"model": "qwen3-5m"},
    "BERT": {
        "model.name": "bert-mini",
        "model.layers": 5,
        "objective": "masked,next_sentence",
    },
    "XLNet": {"model": "xlnet-5m"},
    "Transformer": {
        "model.name": "transformer-small",
        "model.encoder_layers": 2,
        "model.decoder_layers": 2,
        "objective": "span_denoising",
    },
}
_HEAD = """# The family on one corpus

Written by `{command}` on {threads} processor threads, seed {seed}: each trained {minutes:g} minutes from random weights on
{megabytes:.1f} MB of documentation, with the same tokenizer of {vocabulary:,} tokens and rows of {context} positions. Each has the
objective that it was made for, so the losses are not to be set against each other: a token that is predicted from both sides is
easier than the next one. Tokens a second are input positions; BERT learns from 15 % of them, XLNet from a sixth, GPT-2 and
Qwen3 from all.

| | parameters | steps | tokens/s | held out, after |
|---|--:|--:|--:|---|
"""


def measure(place: Path, minutes: float, seed: int) -> dict[str, Any]:
    """One corpus, one tokenizer, five models."""
    text = cw.corpus([f"python:{package}" for package in PACKAGES], place / "corpus")
    tokens = cw.tokenizer(text, place / "tokenizer", vocab_size=VOCABULARY)
    fixed = {"minutes": minutes, "seed": seed, "context": CONTEXT}
    runs = {
        name: cw.pretrain(text, tokens, place / name.lower(), **given, **fixed)
        for name, given in MEMBERS.items()
    }
    return {
        "benchmark": "family",
        "minutes": minutes,
        "seed": seed,
        "threads": torch.get_num_threads(),
        "corpus_bytes": text.result["kept"]["bytes"],
        "runs": {name: summary(run) for name, run in runs.items()},
    }


def summary(run: Run) -> dict[str, Any]:
    """What a run read, how fast, and what it reaches on held-out text."""
    after = run.result["after"]
    return {
        "model": run.options["model"]["name"],
        "objective": run.options["objective"],
        "parameters": run.plan["parameters"],
        **{name: run.result[name] for name in ("steps", "tokens", "tokens_per_second")},
        "held_out": {name: value for name, value in after.items() if name != "samples"},
    }


def page(found: dict[str, Any], command: str) -> str:
    """The comparison as a page."""
    head = _HEAD.format(
        command=command,
        threads=found["threads"],
        seed=found["seed"],
        minutes=found["minutes"],
        megabytes=found["corpus_bytes"] / 1e6,
        vocabulary=VOCABULARY,
        context=CONTEXT,
    )
    return head + "".join(_line(name, run) for name, run in found["runs"].items())


def _line(name: str, run: dict[str, Any]) -> str:
    told = ", ".join(_told(key, value) for key, value in run["held_out"].items() if isinstance(value, float))
    numbers = f"{run['parameters']:,} | {run['steps']:,} | {run['tokens_per_second']:,.0f}"
    return f"| {name} (`{run['model']}`) | {numbers} | {told} |\n"


def _told(key: str, value: float) -> str:
    is_share = key.endswith(("accuracy", "chance"))
    return f"{key.replace('_', ' ')} {value:.1%}" if is_share else f"{key.replace('_', ' ')} {value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep the runs here (default: a temporary place)")
    parser.add_argument("--page", type=Path, help="write the comparison page there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        found = measure(chosen.keep or Path(aside), chosen.minutes, chosen.seed)
    if chosen.page:
        command = f"python benchmarks/family.py --minutes {chosen.minutes:g} --seed {chosen.seed}"
        chosen.page.write_text(page(found, command), encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

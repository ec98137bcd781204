"""The family on one corpus, at like numbers of parameters and for the same minutes: GPT-2, Qwen3, BERT, XLNet and the encoder-decoder,
each with the objective that it was made for. Prints one JSON object, and writes the comparison page in English and Chinese with --page.

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
from chatwright.insight.charts import spark
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
_SAID = "Return the number of"
_GAP = "Return the [MASK] of the list."
_HEADS = {
    "en": """# The family on one corpus

[中文]({other}) · [The family](family.md)

Written by `{command}` on {threads} processor threads, seed {seed}: each was trained for {minutes:g} minutes from random weights on
{megabytes:.1f} MB of documentation, with the same tokenizer of {vocabulary:,} tokens and rows of {context} positions. Each has the
objective that it was made for, so the losses are not to be set against each other: a token that is predicted from both sides is
easier than the next one. Tokens a second are input positions; BERT learns from 15 % of them, XLNet from a sixth, GPT-2 and
Qwen3 from all, and the Transformer's decoder from the spans that were cut out. One seed, a few minutes: it shows what each learns
from in the same time, not which is best.

| | objective | parameters | steps | tokens/s | loss over the minutes | held out, after |
|---|---|--:|--:|--:|---|---|
""",
    "zh": """# 同一份语料上的模型家族

[English]({other}) · [模型家族](family.zh.md)

本页由 `{command}` 在 {threads} 个处理器线程上写成，随机种子 {seed}：每个模型都从随机权重开始，在 {megabytes:.1f} MB
文档上训练 {minutes:g} 分钟，用同一个 {vocabulary:,} 个词元的分词器，每行 {context} 个位置。各用各的训练目标，所以损失不能互相比较：
能看到左右两边的词元，比只看左边的下一个词元容易猜。“词元/秒”数的是输入位置；BERT 只从其中 15 % 学习，XLNet 从六分之一，GPT-2 和 Qwen3 从全部，
Transformer 的解码器只学被剪下的片段。只有一个种子、几分钟：它说明同样的时间里各自学到什么，不说明谁最好。

| | 目标 | 参数量 | 步数 | 词元/秒 | 损失的走势 | 之后在留出文本上 |
|---|---|--:|--:|--:|---|---|
""",
}
_SAMPLES = {
    "en": "\nWhat each says of `{said}` (greedily), or puts into `{gap}`:\n\n",
    "zh": "\n各自怎样续写 `{said}`（贪心），或怎样填 `{gap}`：\n\n",
}


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
        "curve": curve(run),
        "says": says(run),
    }


def curve(run: Run) -> list[float]:
    """The training loss of each step, all terms together."""
    rows = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    return [sum(one.values()) if isinstance(one, dict) else one for one in losses]


def says(run: Run) -> str | None:
    """How the model goes on, or what it fills in; None where it does neither."""
    name = run.options["model"]["name"]
    if name.startswith(("gpt", "qwen")):
        return str(
            cw.generate(run.directory, [_SAID], max_new_tokens=24, temperature=0)["completions"][0]
        ).replace("\n", "⏎")
    if name.startswith(("bert", "xlnet")):
        (gap,) = cw.fill(run.directory, _GAP)["masks"]
        return ", ".join(f"{each['token'].strip() or each['token']!r} {each['chance']:.1%}" for each in gap)
    return None


def page(found: dict[str, Any], command: str, language: str, other: str) -> str:
    """The comparison as a page, in one language, with a link to the same in the other."""
    head = _HEADS[language].format(
        command=command,
        other=other,
        threads=found["threads"],
        seed=found["seed"],
        minutes=found["minutes"],
        megabytes=found["corpus_bytes"] / 1e6,
        vocabulary=VOCABULARY,
        context=CONTEXT,
    )
    lines = [_line(name, run) for name, run in found["runs"].items()]
    said = "\n".join(f"{name}: {run['says']}" for name, run in found["runs"].items() if run["says"])
    return head + "".join(lines) + _SAMPLES[language].format(said=_SAID, gap=_GAP) + f"```text\n{said}\n```\n"


def _line(name: str, run: dict[str, Any]) -> str:
    told = ", ".join(_told(key, value) for key, value in run["held_out"].items() if isinstance(value, float))
    numbers = f"{run['parameters']:,} | {run['steps']:,} | {run['tokens_per_second']:,.0f}"
    objective = run["objective"].get("name", "next_token")
    if run["model"].startswith("xlnet"):
        objective = "permutation"
    return f"| {name} (`{run['model']}`) | `{objective}` | {numbers} | {spark(run['curve'], 24)} | {told} |\n"


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
        chinese = chosen.page.with_suffix(".zh.md")
        for place, language, other in ((chosen.page, "en", chinese), (chinese, "zh", chosen.page)):
            place.write_text(page(found, command, language, other.name), encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Alignment speed and memory against TRL: GRPO, DPO and the reward model; PPO alone, which TRL no longer has.

    python benchmarks/alignment.py [--sizes 5m 30m] [--only grpo dpo reward ppo] [--seconds 20] [--rounds 3]
                                   [--peer-python PATH]

Everyone trains the same random model on the same tokens in the same batches, each in a process of its own, in turn, so
that a slow minute of the machine hits all of them. Ours run as the verbs do. TRL runs as its trainers do, without
gradient checkpointing, in float32 and in bfloat16, and DPO also with reference log-probabilities worked out before;
ours are set against its fastest. Starting up, saving and measuring count for nobody. Prints one JSON object: samples or
pairs a second (median over rounds), peak memory, and of rollouts the tokens a second and where the time goes.

TRL wants an environment of its own, whose Python is given by --peer-python (default: this one, where it has TRL):

    python -m venv trl && trl/bin/pip install -c constraints.txt torch transformers trl datasets accelerate

Without one only ours are measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

SIZES: dict[str, dict[str, Any]] = {
    "5m": {"name": "qwen3-5m"},
    "30m": {"name": "qwen3-50m", "width": 512, "layers": 9, "heads": 8, "kv_heads": 4, "feed_forward": 1536},
}
VOCABULARY, PROMPTS, PAIRS = 4096, 512, 256
PROMPT_TOKENS, REPLY_TOKENS = 64, 64
SAMPLES, GROUP, NEW_TOKENS, BATCH = 64, 8, 32, 16
OURS = "chatwright"
PEERS = {
    "grpo": ("trl-bf16", "trl-float32"),
    "dpo": ("trl-bf16", "trl-bf16-precomputed", "trl-float32", "trl-float32-precomputed"),
    "reward": ("trl-bf16", "trl-float32"),
    "ppo": (),
}
UNITS = {"grpo": SAMPLES, "ppo": SAMPLES, "dpo": BATCH, "reward": BATCH}
WARM_STEPS, FEWEST_STEPS = 2, 3


def letters(prompt: str, reply: str, **facts: Any) -> float:
    """The reward of everyone: how often a letter stands in a reply."""
    return float(reply.count("a"))


def prepare(place: Path, shape: dict[str, Any]) -> int:
    """A random chat model and judge as finished runs, prompts and pairs; returns the model's parameters."""
    from safetensors.torch import save_file

    from chatwright import runs
    from chatwright.models.decoder import Decoder
    from chatwright.models.interop.files import WEIGHTS, write_reward_config
    from chatwright.models.interop.weights import public_weights
    from chatwright.models.presets import model_options
    from chatwright.models.scored import ScoredDecoder
    from chatwright.recipes.trained import chat_tokens, write_chat_model
    from chatwright.tokenization.chat import Renderer
    from chatwright.tokenization.tokenizer import Tokenizer
    from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

    words = made_up_words(random.Random(0))
    tokenizer = Tokenizer(train_tokenizer([" ".join(words)] * 4, TokenizerOptions(VOCABULARY)))
    renderer, options = Renderer(tokenizer), model_options(shape, VOCABULARY)
    models = {"sft": Decoder(options), "reward": ScoredDecoder(options)}
    for verb, model in models.items():
        model.initialize(torch.Generator().manual_seed(0))
        with runs.start(verb, place / verb, {}) as run:
            write_chat_model(run.directory, options, tokenizer, renderer.template)
            if isinstance(model, ScoredDecoder):
                write_reward_config(run.directory, model, chat_tokens(tokenizer))
            save_file(public_weights(model), run.directory / WEIGHTS, {"format": "pt"})
            run.finish([WEIGHTS, "config.json", "tokenizer.json"])
    write_rows(place, renderer, [word for word in words if len(tokenizer.encode(f" {word}")) == 1])
    return sum(parameter.numel() for parameter in models["sft"].parameters())


def made_up_words(draw: random.Random) -> list[str]:
    """Words of a few syllables, so many that the tokenizer fills its vocabulary."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or")]
    return ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(20_000)]


def write_rows(place: Path, renderer: Any, words: Sequence[str]) -> None:
    """Prompts and pairs, all of the same number of tokens. `text` is the prompt as the template renders it."""
    draw, encode = random.Random(1), renderer.tokenizer.encode
    rest = len(renderer.prompt([{"role": "user", "content": ""}]))

    def passage(tokens: int) -> str:
        first = draw.choice(words)
        return " ".join([first, *draw.choices(words, k=tokens - len(encode(first)))])

    def prompt() -> dict[str, str]:
        content = passage(PROMPT_TOKENS - rest)
        turns = f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
        return {"prompt": content, "text": turns}

    def pair() -> dict[str, str]:
        # the end of the turn is a token as well
        return {**prompt(), "chosen": passage(REPLY_TOKENS - 1), "rejected": passage(REPLY_TOKENS - 1)}

    for name, rows in (
        ("prompts", [prompt() for _ in range(PROMPTS)]),
        ("pairs", [pair() for _ in range(PAIRS)]),
    ):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def ours(method: str, place: Path, aside: Path, seconds: float) -> dict[str, Any]:
    """Our verb, twice: a few steps to learn the pace, then steps for `seconds`."""
    import chatwright as cw

    rollouts = {"samples": SAMPLES, "max_new_tokens": NEW_TOKENS, "keep": "last", "validation_prompts": 1}
    # TRL's counts tokens alike as well and has no reference either
    calls: dict[str, tuple[Callable[..., Any], list[Any], dict[str, Any]]] = {
        "grpo": (cw.grpo, [place / "sft", letters, place / "prompts.jsonl"], {**rollouts, "replies": GROUP}),
        "ppo": (cw.ppo, [place / "sft", place / "reward", place / "prompts.jsonl"], rollouts),
        "dpo": (cw.dpo, [place / "sft", place / "pairs.jsonl"], {"batch": BATCH}),
        "reward": (cw.reward, [place / "sft", place / "pairs.jsonl"], {"batch": BATCH}),
    }
    verb, inputs, options = calls[method]
    steps_each = verb.options_type(**options).steps_each if "samples" in options else 1
    rare = {"optimizer": "adamw", "save_every": 10**6, "eval_every": 10**6}

    def run(name: str, units: int) -> Any:
        return verb(*inputs, aside / name, steps=units * steps_each, **options, **rare)

    pace = seconds_each(run("first", WARM_STEPS + 1), steps_each, WARM_STEPS)
    done = run("timed", WARM_STEPS + max(FEWEST_STEPS, round(seconds / pace)))
    spent = seconds_each(done, steps_each, WARM_STEPS)
    return {
        "per_second": UNITS[method] / spent,
        "plan": {key: done.plan[key] for key in ("precision", "kernel", "compile")},
        **(rollout_facts(done, spent) if steps_each and "samples" in options else {}),
    }


def seconds_each(run: Any, steps_each: int, warm: int) -> float:
    """Seconds of a step (of all the steps of a rollout), the first ones left out."""
    seconds = [row["seconds"] for row in run.metrics() if "loss" in row][steps_each - 1 :: steps_each]
    return max(1e-3, (seconds[-1] - seconds[warm - 1]) / (len(seconds) - warm))


def rollout_facts(run: Any, spent: float) -> dict[str, Any]:
    """Tokens a second while sampling, and the shares of the three parts, from the rollouts after the first ones."""
    rollouts = [row["rollout"] for row in run.metrics() if "rollout" in row][WARM_STEPS:]
    parts = {
        part: statistics.median(r[f"seconds_{part}"] for r in rollouts)
        for part in ("sampling", "scoring", "updating")
    }
    tokens = statistics.median(r["length"] for r in rollouts) * SAMPLES
    return {
        "iterations_per_second": 1 / spent,
        "rollout_tokens_per_second": tokens / parts["sampling"],
        "shares": {part: value / sum(parts.values()) for part, value in parts.items()},
    }


def peer(method: str, name: str, place: Path, aside: Path, seconds: float) -> dict[str, Any]:
    """TRL's trainer of that name, until `seconds` are over."""
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(place / "sft")
    rows = [
        json.loads(line)
        for line in (place / f"{'prompts' if method == 'grpo' else 'pairs'}.jsonl").read_text().splitlines()
    ]
    check_tokens(tokenizer, rows)
    data = [
        {key: value for key, value in row.items() if key != "text"} | {"prompt": row["text"]} for row in rows
    ]
    common: dict[str, Any] = {
        "output_dir": str(aside),
        "use_cpu": True,
        "bf16": "bf16" in name,
        "gradient_checkpointing": False,
        "max_steps": 10**6,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    loader = AutoModelForSequenceClassification if method == "reward" else AutoModelForCausalLM
    labels = {"num_labels": 1} if method == "reward" else {}
    model = loader.from_pretrained(place / "sft", dtype=torch.float32, **labels)
    watch = stopwatch(seconds)
    given = {
        "model": model,
        "train_dataset": Dataset.from_list(data),
        "processing_class": tokenizer,
        "callbacks": [watch],
    }
    if method == "grpo":
        settings = GRPOConfig(
            per_device_train_batch_size=SAMPLES,
            num_generations=GROUP,
            max_completion_length=NEW_TOKENS,
            **common,
        )
        trainer = GRPOTrainer(reward_funcs=counted_letters, args=settings, **given)
    elif method == "dpo":
        ahead = "precomputed" in name
        settings = DPOConfig(per_device_train_batch_size=BATCH, precompute_ref_log_probs=ahead, **common)
        trainer = DPOTrainer(args=settings, **given)
    else:
        trainer = RewardTrainer(args=RewardConfig(per_device_train_batch_size=BATCH, **common), **given)
    trainer.train()
    return {"per_second": UNITS[method] / watch.seconds_each}


def check_tokens(tokenizer: Any, rows: Sequence[dict[str, str]]) -> None:
    """The peer reads the same number of tokens."""
    for row in rows:
        sizes = [len(tokenizer(text)["input_ids"]) for key, text in row.items() if key != "prompt"]
        assert sizes == [PROMPT_TOKENS, *[REPLY_TOKENS - 1] * (len(sizes) - 1)], sizes


def counted_letters(completions: Sequence[str], **facts: Any) -> list[float]:
    return [letters("", completion) for completion in completions]


def stopwatch(seconds: float) -> Any:
    """A callback that stops training after `seconds`; then `seconds_each` are those of a step, the first ones left out."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        @property
        def seconds_each(self) -> float:
            return (self.ends[-1] - self.ends[WARM_STEPS - 1]) / (len(self.ends) - WARM_STEPS)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
            self.ends.append(time.perf_counter())
            counted = len(self.ends) - WARM_STEPS
            if counted >= FEWEST_STEPS and self.ends[-1] - self.ends[WARM_STEPS - 1] >= seconds:
                control.should_training_stop = True
            return control

    return Watch()


def measure(method: str, name: str, place: Path, seconds: float) -> dict[str, Any]:
    """What one contestant does, in this process."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as aside, contextlib.redirect_stdout(sys.stderr):
        if name == OURS:
            found = ours(method, place, Path(aside), seconds)
        else:
            found = peer(method, name, place, Path(aside), seconds)
    return {**found, "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def compare(method: str, place: Path, seconds: float, rounds: int, peer_python: str | None) -> dict[str, Any]:
    """All contestants in turn, `rounds` times."""
    names = [OURS, *(PEERS[method] if peer_python else ())]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            python = sys.executable if name == OURS else str(peer_python)
            command = [python, __file__, "--one", method, name, str(place), "--seconds", str(seconds)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name} at {method} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    return summarize(method, runs)


def summarize(method: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians, and ours over each peer's; memory as a share of that of the fastest peer."""
    unit = "samples" if UNITS[method] == SAMPLES else "pairs"
    rates = {name: statistics.median(run["per_second"] for run in found) for name, found in runs.items()}
    peaks = {name: max(run["peak_megabytes"] for run in found) for name, found in runs.items()}
    peers = {name: rate for name, rate in rates.items() if name != OURS}
    result: dict[str, Any] = {
        f"{unit}_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "peak_megabytes": {name: round(peak) for name, peak in peaks.items()},
        "plan": runs[OURS][-1]["plan"],
    }
    if peers:
        fastest = max(peers, key=lambda name: peers[name])
        result["times_as_fast_as"] = {name: round(rates[OURS] / rate, 2) for name, rate in peers.items()}
        result["fastest_peer"] = fastest
        result["memory_of_fastest_peer"] = round(peaks[OURS] / peaks[fastest], 2)
    for key in ("iterations_per_second", "rollout_tokens_per_second"):
        if key in runs[OURS][0]:
            result[key] = round(statistics.median(run[key] for run in runs[OURS]), 2)
    if "shares" in runs[OURS][0]:
        parts = runs[OURS][0]["shares"]
        result["shares"] = {
            p: round(statistics.median(run["shares"][p] for run in runs[OURS]), 3) for p in parts
        }
    return result


def peer_versions(python: str | None) -> dict[str, str] | None:
    """Versions of TRL and what it runs on, of that Python; None where it has no TRL."""
    if python is None:
        return None
    code = "import json, trl, transformers, torch; print(json.dumps({m.__name__: m.__version__ for m in (trl, transformers, torch)}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} has no TRL that can be imported:\n{done.stderr[-2000:]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable if importlib.util.find_spec("trl") else None)
    parser.add_argument("--prepare", type=Path, help="only write what everyone reads into this folder")
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "CONTESTANT", "PLACE"), help="measure one alone")
    chosen = parser.parse_args()
    if chosen.prepare:
        print(prepare(chosen.prepare, SIZES[chosen.sizes[0]]))
        return
    if chosen.one:
        method, name, place = chosen.one
        print(json.dumps(measure(method, name, Path(place), chosen.seconds)))
        return
    results: dict[str, Any] = {
        "benchmark": "alignment",
        "threads": torch.get_num_threads(),
        "peer": peer_versions(chosen.peer_python) or "TRL is missing: see --help",
        "prompt_tokens": PROMPT_TOKENS,
        "grpo": {"samples": SAMPLES, "replies": GROUP, "new_tokens": NEW_TOKENS},
        "pairs": {"batch": BATCH, "reply_tokens": REPLY_TOKENS},
    }
    for size in chosen.sizes:
        with tempfile.TemporaryDirectory() as directory:
            parameters = prepare(Path(directory), SIZES[size])
            results[size] = {"parameters": parameters} | {
                method: compare(method, Path(directory), chosen.seconds, chosen.rounds, chosen.peer_python)
                for method in chosen.only
            }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

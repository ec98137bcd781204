"""Training speed and memory against transformers' Qwen3 of the same shape, and against this machine's limit.

    python benchmarks/training.py [--shapes w256 w384 w512] [--seconds 8] [--rounds 2]

Every contestant trains the same shape on the same random tokens with AdamW, each in a process of its own, in turn, so
that a slow minute of the machine hits all of them. Prints one JSON object: tokens a second (median over rounds), peak
memory, ratios to each peer, and the share of the measured matrix-product rate.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

SHAPES = {
    "w256": {"width": 256, "heads": 4, "kv_heads": 2, "length": 256, "rows": 32},
    "w384": {"width": 384, "heads": 6, "kv_heads": 3, "length": 512, "rows": 16},
    "w512": {"width": 512, "heads": 8, "kv_heads": 4, "length": 256, "rows": 32},
}
LAYERS, VOCABULARY, HEAD_DIM = 6, 4096, 64
CONTESTANTS = ("chatwright", "transformers-bf16-compiled", "transformers-bf16", "transformers-float32")


def batches(shape: dict[str, int]) -> Iterator[torch.Tensor]:
    """The same random tokens for everyone, [rows, length + 1]."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(VOCABULARY, (shape["rows"], shape["length"] + 1), generator=generator)


def ours(shape: dict[str, int]) -> tuple[Callable[[], None], dict[str, Any]]:
    """A step of our loop, set up by the same plan as a real run."""
    from chatwright.distributed.launch import world
    from chatwright.models.decoder import Decoder, DecoderOptions
    from chatwright.objectives.causal import Causal, CausalOptions
    from chatwright.objectives.contract import Batch
    from chatwright.optim.adamw import AdamW, AdamWOptions
    from chatwright.training import plan as planning
    from chatwright.training.loop import steps
    from chatwright.training.machine import keep_freed_memory

    keep_freed_memory()

    options = DecoderOptions(
        vocab_size=VOCABULARY,
        width=shape["width"],
        layers=LAYERS,
        heads=shape["heads"],
        kv_heads=shape["kv_heads"],
        head_dim=HEAD_DIM,
        feed_forward=3 * shape["width"],
    )
    model, objective, tokens = Decoder(options), Causal(CausalOptions(within_documents=False)), batches(shape)
    model.initialize(torch.Generator().manual_seed(0))
    micro = planning.micro_rows(shape["rows"], shape["length"], None, world().device)

    class Source:
        def batches(self, step: int) -> list[Batch]:
            parts = next(tokens).split(micro)
            return [Batch({"inputs": p[:, :-1], "targets": p[:, 1:]}, p[:, 1:].numel()) for p in parts]

    roots = {"policy": model}
    chosen = planning.choose_precision("auto", world())
    model.compute_dtype = getattr(torch, chosen["precision"])
    chosen |= planning.choose_kernel(model, micro, shape["length"], segmented=False, world=world())
    model.kernel = chosen["kernel"]
    optimizer = AdamW(roots, AdamWOptions())
    loop = steps(objective, Source(), roots, optimizer, lambda step: 1.0, world(), 0, 10**9, 1.0)  # type: ignore[arg-type]
    length = shape["length"]
    budget = planning.Budget(None, 60.0, time.monotonic())
    chosen |= planning.clock(
        model, lambda: next(loop).tokens, length, budget, "auto", chosen["matmul_flops"], world()
    )
    chosen["flops_per_token"] = 3 * model.flops_per_token(length)
    return lambda: next(loop) and None, chosen


def peer(shape: dict[str, int], bf16: bool, compiled: bool) -> tuple[Callable[[], None], dict[str, Any]]:
    """A step of transformers' Qwen3 as its own Trainer would do it: autocast, loss inside, AdamW."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=shape["width"],
        num_hidden_layers=LAYERS,
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        head_dim=HEAD_DIM,
        intermediate_size=3 * shape["width"],
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = Qwen3ForCausalLM(config)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = batches(shape)

    def step() -> None:
        rows = next(tokens)[:, :-1]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = run(input_ids=rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, {}


def measure(name: str, shape: dict[str, int], seconds: float) -> dict[str, Any]:
    """Tokens a second over at least `seconds` and three steps, after warming up; peak memory of this process."""
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    contestant = ours(shape) if name == "chatwright" else peer(shape, "bf16" in name, "compiled" in name)
    step, facts = contestant
    for _ in range(2):
        step()
    begun, done = time.perf_counter(), 0
    while done < 3 or time.perf_counter() - begun < seconds:
        step()
        done += 1
    rate = done * shape["rows"] * shape["length"] / (time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "tokens_per_second": rate,
        "peak_megabytes": peak / 1024,
        "import_megabytes": before / 1024,
        **facts,
    }


def compare(shapes: list[str], seconds: float, rounds: int) -> dict[str, Any]:
    """Run all contestants in turn, `rounds` times."""
    results: dict[str, Any] = {}
    for shape in shapes:
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
        for _ in range(rounds):
            for name in CONTESTANTS:
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    name,
                    "--shapes",
                    shape,
                    "--seconds",
                    str(seconds),
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{name} on {shape} failed:\n{done.stderr[-2000:]}")
                runs[name].append(json.loads(done.stdout.splitlines()[-1]))
        results[shape] = summarize(runs)
    return results


def summarize(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians, and ours over each peer's."""
    rates = {
        name: statistics.median(run["tokens_per_second"] for run in found) for name, found in runs.items()
    }
    peaks = {name: max(run["peak_megabytes"] for run in found) for name, found in runs.items()}
    facts = runs["chatwright"][-1]
    return {
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "times_as_fast_as": {name: round(rates["chatwright"] / rate, 2) for name, rate in rates.items()},
        "peak_megabytes": {name: round(peak) for name, peak in peaks.items()},
        "plan": {key: facts[key] for key in ("precision", "kernel", "compile")},
        "machine_share": round(rates["chatwright"] * facts["flops_per_token"] / facts["matmul_flops"], 3),
        "matmul_gflops": round(facts["matmul_flops"] / 1e9),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=CONTESTANTS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, SHAPES[chosen.shapes[0]], chosen.seconds)))
    else:
        found = compare(chosen.shapes, chosen.seconds, chosen.rounds)
        print(json.dumps({"benchmark": "training", "threads": torch.get_num_threads(), **found}))


if __name__ == "__main__":
    main()

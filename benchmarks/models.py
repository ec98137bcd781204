"""The family's speed and memory against transformers' classes of the same public config and weights.

    python benchmarks/models.py [--only gpt2 bert …] [--sizes 5m 30m] [--seconds 6] [--rounds 3] [--no-import] [--eager]

Ours runs in the precision and with the attention kernel that its plan measures; the peer with eager and with sdpa attention,
in float32 and, where the processor multiplies bfloat16 faster, under its autocast; ours is set against its fastest. Everyone
computes the same loss on the same batches, each in a process of its own, in turn, so that a slow minute of the machine hits all of
them. Then both are compiled, ours as a run's plan compiles, the peer's fastest variant whole. `times_as_fast` sets our best against
the peer's best, `eager_times_as_fast` what is not compiled on either side. `forward` is the loss without gradients, `training` the loss and the gradients, without an
optimizer. GPT-3 has no public class and is set against GPT-2's of its shape, whose layers see all positions.

At the end: how long a model of 135 M parameters takes to load from its directory, and how much memory that and a
first pass take, as a share of its weights. Prints one JSON object: tokens a second (median over rounds), ratios, peaks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OURS, COMPILED = "chatwright", "+compiled"
ATTENTIONS, PRECISIONS = ("sdpa", "eager"), ("float32", "bfloat16")
WORKS = ("forward", "training")
VOCABULARY, ROWS, LENGTH, BATCHES = 4096, 8, 256, 4
WARM_STEPS, FEWEST_STEPS = 2, 3
GPT_30M = {"width": 512, "layers": 9, "heads": 8}
LLAMA_30M = {**GPT_30M, "kv_heads": 4, "head_dim": 64, "feed_forward": 1536}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "5m": {
        "gpt1": {"name": "gpt1-5m"},
        "gpt2": {"name": "gpt2-5m"},
        "gpt3": {"name": "gpt3-5m"},
        "llama": {"name": "llama-5m"},
        "qwen2": {"name": "qwen2-5m"},
        "qwen3": {"name": "qwen3-5m"},
        "qwen3-moe": {"name": "qwen3-moe-5m"},
        "bert": {"name": "bert-mini"},
        "transformer": {"name": "transformer-small"},
        "xlnet": {"name": "xlnet-5m"},
    },
    "30m": {
        "gpt1": {"name": "gpt1-50m", **GPT_30M},
        "gpt2": {"name": "gpt2-50m", **GPT_30M},
        "gpt3": {"name": "gpt3-50m", **GPT_30M},
        "llama": {"name": "llama-50m", **LLAMA_30M},
        "qwen2": {"name": "qwen2-50m", **LLAMA_30M},
        "qwen3": {"name": "qwen3-50m", **LLAMA_30M},
        "qwen3-moe": {"name": "qwen3-moe-50m", "layers": 4},
        "bert": {"name": "bert-medium"},
        "transformer": {"name": "transformer-base", "encoder_layers": 4, "decoder_layers": 4},
        "xlnet": {"name": "xlnet-50m", "width": 512, "layers": 8, "heads": 8, "feed_forward": 2048},
    },
}
# SmolLM2-135M's shape
LARGE = {
    "name": "llama-50m",
    "width": 576,
    "layers": 30,
    "heads": 9,
    "kv_heads": 3,
    "head_dim": 64,
    "feed_forward": 1536,
}
LARGE_VOCABULARY = 49_152


@dataclass(frozen=True)
class Sample:
    """The same batch for both: arguments of our root, arguments of the peer, and how many tokens are read."""

    ours: Mapping[str, Tensor]
    theirs: Mapping[str, Tensor]
    tokens: int


def draw(architecture: str, vocabulary: int, rows: int, length: int, seed: int) -> Sample:
    """A random batch of what the architecture learns from."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(1, vocabulary, (rows, length), generator=generator)
    makers: dict[str, Callable[[Tensor, torch.Generator], Sample]] = {
        "bert": masked,
        "transformer": paired,
        "xlnet": permuted,
    }
    return makers.get(architecture, causal)(inputs, generator)


def causal(inputs: Tensor, generator: torch.Generator) -> Sample:
    """Every token but the first is told from those before."""
    from chatwright.data.packing import IGNORE

    targets = torch.full_like(inputs, IGNORE)
    targets[:, :-1] = inputs[:, 1:]
    return Sample(
        {"inputs": inputs, "targets": targets}, {"input_ids": inputs, "labels": inputs}, inputs.numel()
    )


def masked(inputs: Tensor, generator: torch.Generator) -> Sample:
    """15 % of the tokens are hidden and told."""
    from chatwright.data.packing import IGNORE

    is_hidden = torch.rand(inputs.shape, generator=generator) < 0.15
    is_hidden[:, 0] = True
    targets, hidden = inputs.masked_fill(~is_hidden, IGNORE), inputs.masked_fill(is_hidden, 0)
    labels = inputs.masked_fill(~is_hidden, -100)
    return Sample(
        {"inputs": hidden, "targets": targets}, {"input_ids": hidden, "labels": labels}, inputs.numel()
    )


def paired(inputs: Tensor, generator: torch.Generator) -> Sample:
    """A target of the source's length is written."""
    targets = inputs.flip(1)
    return Sample(
        {"inputs": inputs, "targets": targets}, {"input_ids": inputs, "labels": targets}, 2 * inputs.numel()
    )


def permuted(inputs: Tensor, generator: torch.Generator) -> Sample:
    """The last sixth of a random order is told, each token from those before it in the order."""
    from chatwright.data.packing import IGNORE

    rows, length = inputs.shape
    order = torch.stack([torch.randperm(length, generator=generator) for _ in range(rows)])
    count = max(1, length // 6)
    places = order.argsort(1)[:, -count:].sort(1).values
    seen = order[:, None, :] < order[:, :, None]
    labels = inputs.gather(1, places)
    targets = torch.full_like(inputs, IGNORE).scatter(1, places, labels)
    mapping = torch.zeros(rows, count, length).scatter(2, places[..., None], 1.0)
    return Sample(
        {"inputs": inputs, "targets": targets, "permutation_mask": seen},
        {"input_ids": inputs, "perm_mask": (~seen).float(), "target_mapping": mapping, "labels": labels},
        inputs.numel(),
    )


def prepare(place: Path, shape: Mapping[str, Any], vocabulary: int) -> int:
    """A random model in the public format, `place` for us and `place/peer` for the peer; returns its parameters."""
    from safetensors.torch import save_file

    from chatwright.models.family.architecture import architecture_of
    from chatwright.models.family.gpt2 import Gpt2Options
    from chatwright.models.family.gpt3 import Gpt3Options
    from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
    from chatwright.models.interop.weights import public_weights
    from chatwright.models.presets import model_options

    options = model_options(shape, vocabulary)
    model = architecture_of(options).root(options)
    model.initialize(torch.Generator().manual_seed(0))
    stir(model)
    tokens = EndTokens(bos=0, eos=[0], pad=0)
    (place / "peer").mkdir(parents=True)
    write_config(place, options, tokens)
    peers = options
    if isinstance(options, Gpt3Options):
        peers = Gpt2Options(**{name: value for name, value in vars(options).items() if name != "band"})
    write_config(place / "peer", peers, tokens)
    save_file(public_weights(model), place / WEIGHTS, {"format": "pt"})
    (place / "peer" / WEIGHTS).hardlink_to(place / WEIGHTS)
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def stir(model: torch.nn.Module) -> None:
    """Matrices that begin at zero would hide what differs."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not bool(parameter.any()):
            parameter.normal_(0.0, 0.02, generator=generator)


def ours(
    place: Path, rows: int, length: int, precision: str = "auto", compiled: bool = False
) -> tuple[Callable[[Sample], Tensor], dict[str, Any]]:
    """Our loss of a batch, set up by the plan of a real run."""
    from chatwright.data.packing import IGNORE
    from chatwright.distributed.launch import world
    from chatwright.models.interop.files import load_root
    from chatwright.training import plan as planning
    from chatwright.training.machine import keep_freed_memory

    keep_freed_memory()
    model = load_root(place)
    chosen = planning.choose_precision(precision, world())
    model.compute_dtype = getattr(torch, chosen["precision"])
    chosen |= planning.choose_kernel(model, rows, length, segmented=False, world=world())
    model.kernel = chosen["kernel"]
    if compiled:
        planning.compile_parts(model)

    def loss(sample: Sample) -> Tensor:
        rest = dict(sample.ours)
        logprobs: Tensor = model(rest.pop("inputs"), **rest, outputs=("logprobs",))["logprobs"]
        return -logprobs.sum() / (sample.ours["targets"] != IGNORE).sum()

    return loss, {"plan": {"precision": chosen["precision"], "kernel": chosen["kernel"]}}


def peer(
    place: Path, attention: str, precision: str, compiled: bool = False
) -> tuple[Callable[[Sample], Tensor], dict[str, Any]]:
    """The peer's loss of a batch; a ValueError where its class has no such attention."""
    import transformers

    config = json.loads((place / "peer" / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    model = cls.from_pretrained(place / "peer", attn_implementation=attention, dtype=torch.float32)
    # what generation would keep costs the peer time for nothing
    model.config.use_cache = False
    # a pass in training mode would drop nothing either: every dropout is 0
    model.eval()
    if compiled:
        model.compile(dynamic=False)

    def loss(sample: Sample) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            found: Tensor = model(**sample.theirs).loss
        return found.float()

    return loss, {}


def peak_megabytes() -> float:
    """The most memory that this process had."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return float(status.split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(architecture: str, name: str, place: Path, seconds: float) -> dict[str, Any]:
    """What one contestant does, in this process: tokens a second of both works, after warming up, and the peaks."""
    torch.manual_seed(0)
    samples = [draw(architecture, VOCABULARY, ROWS, LENGTH, seed) for seed in range(BATCHES)]
    try:
        variant, compiled = name.removesuffix(COMPILED), name.endswith(COMPILED)
        if variant == OURS:
            loss, facts = ours(place, ROWS, LENGTH, compiled=compiled)
        else:
            loss, facts = peer(place, *variant.split("-"), compiled=compiled)
    except ValueError as error:
        return {"unsupported": str(error).splitlines()[0]}
    found: dict[str, Any] = {**facts, "start_megabytes": peak_megabytes()}
    with torch.no_grad():
        found["loss"] = float(loss(samples[0]))
        found["forward"] = rate(lambda sample: loss(sample), samples, seconds)
    found["forward_megabytes"] = peak_megabytes()
    # gradients add up in place from step to step, as between the optimizer's steps
    found["training"] = rate(lambda sample: loss(sample).backward(), samples, seconds)  # type: ignore[no-untyped-call]
    return {**found, "training_megabytes": peak_megabytes()}


def rate(step: Callable[[Sample], object], samples: list[Sample], seconds: float) -> float:
    """Tokens a second over at least `seconds` and a few steps."""
    for sample in samples[:WARM_STEPS]:
        step(sample)
    begun, done, tokens = time.perf_counter(), 0, 0
    while done < FEWEST_STEPS or time.perf_counter() - begun < seconds:
        sample = samples[done % len(samples)]
        step(sample)
        done, tokens = done + 1, tokens + sample.tokens
    return tokens / (time.perf_counter() - begun)


def contestants() -> list[str]:
    """Ours and the peer's variants; bfloat16 only where the plan would take it."""
    from chatwright.training.machine import fastest_precision

    fastest, _ = fastest_precision(torch.device("cpu"))
    precisions = PRECISIONS if fastest == torch.bfloat16 else PRECISIONS[:1]
    return [OURS, *(f"{attention}-{precision}" for precision in precisions for attention in ATTENTIONS)]


def compare(
    architecture: str, place: Path, names: list[str], seconds: float, rounds: int, compiling: bool = True
) -> dict[str, Any]:
    """All contestants in turn, `rounds` times; then, in turn, ours and the peer's fastest compiled."""
    runs: dict[str, list[dict[str, Any]]] = {}

    def race(names: list[str]) -> None:
        for _ in range(rounds):
            for name in names:
                found = runs.setdefault(name, [])
                if not any("unsupported" in run for run in found):
                    found.append(alone("--one", architecture, name, str(place), "--seconds", str(seconds)))

    race(names)
    if compiling:
        race([OURS + COMPILED, _fastest(runs, WORKS[-1]) + COMPILED])
    return summarize({name: found for name, found in runs.items() if "unsupported" not in found[0]})


def _fastest(runs: Mapping[str, list[dict[str, Any]]], work: str, is_ours: bool = False) -> str:
    """The contestant of one side with the highest median."""
    rates = {
        name: statistics.median(run[work] for run in found)
        for name, found in runs.items()
        if name.startswith(OURS) is is_ours and "unsupported" not in found[0]
    }
    return max(rates, key=lambda name: rates[name])


def alone(*arguments: str) -> dict[str, Any]:
    """This script in a process of its own, and what it prints."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summarize(runs: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each work; our fastest over the peer's, in speed, and in memory: the peak, and the part of it that came
    after everything was imported and loaded."""
    eager = {name: found for name, found in runs.items() if not name.endswith(COMPILED)}
    result: dict[str, Any] = {
        "plan": runs[OURS][-1]["plan"],
        "loss": {name: round(found[0]["loss"], 5) for name, found in runs.items()},
    }
    for work in WORKS:
        rates = {name: statistics.median(run[work] for run in found) for name, found in runs.items()}
        peaks = {name: max(run[f"{work}_megabytes"] for run in found) for name, found in runs.items()}
        added = {
            name: max(run[f"{work}_megabytes"] - run["start_megabytes"] for run in found)
            for name, found in runs.items()
        }
        fastest, best = _fastest(runs, work), _fastest(runs, work, is_ours=True)
        result[work] = {
            "times_as_fast": round(rates[best] / rates[fastest], 2),
            "eager_times_as_fast": round(rates[OURS] / rates[_fastest(eager, work)], 2),
            "memory": round(peaks[best] / peaks[fastest], 2),
            "memory_added": round(added[best] / max(added[fastest], 1.0), 2),
            "fastest": best,
            "fastest_peer": fastest,
            "tokens_per_second": {name: round(value) for name, value in rates.items()},
            "peak_megabytes": {name: round(value) for name, value in peaks.items()},
            "added_megabytes": {name: round(value) for name, value in added.items()},
        }
    return result


def load(name: str, place: Path) -> dict[str, Any]:
    """Load a model in this process; seconds and memory, and those of a first pass too, which touches every weight."""
    if name == OURS:
        from chatwright.models.interop.files import load_root
    else:
        from transformers import LlamaForCausalLM

        LlamaForCausalLM._can_compile_fullgraph  # noqa: B018 — imported now, not while the clock runs
    tokens = torch.arange(16)[None]
    before, begun = peak_megabytes(), time.perf_counter()
    if name == OURS:
        model: Any = load_root(place)
    else:
        model = LlamaForCausalLM.from_pretrained(place / "peer", dtype=torch.float32)
    seconds, loaded = time.perf_counter() - begun, peak_megabytes()
    with torch.no_grad():
        model(tokens, outputs=("logits",)) if name == OURS else model(tokens)
    weights = (place / "model.safetensors").stat().st_size / 2**20
    return {
        "seconds": round(seconds, 3),
        "memory_of_weights": round((loaded - before) / weights, 2),
        "memory_of_weights_after_a_pass": round((peak_megabytes() - before) / weights, 2),
        "weights_megabytes": round(weights),
    }


def compare_loading(rounds: int) -> dict[str, Any]:
    """The medians of loading a large model."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "model"
        parameters = alone("--prepare", str(place), json.dumps(LARGE), str(LARGE_VOCABULARY))["parameters"]
        runs: dict[str, list[dict[str, Any]]] = {OURS: [], "transformers": []}
        for _ in range(rounds):
            for name, found in runs.items():
                found.append(alone("--load", name, str(place)))
    return {
        "parameters": parameters,
        **{
            name: {key: statistics.median(run[key] for run in found) for key in found[0]}
            for name, found in runs.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(SIZES["5m"]), choices=list(SIZES["5m"]))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--no-import", action="store_true", help="leave out the loading of a large model")
    parser.add_argument(
        "--prepare", nargs=3, metavar=("PLACE", "SHAPE", "VOCABULARY"), help="only write a model"
    )
    parser.add_argument(
        "--one", nargs=3, metavar=("ARCHITECTURE", "CONTESTANT", "PLACE"), help="measure one alone"
    )
    parser.add_argument("--load", nargs=2, metavar=("CONTESTANT", "PLACE"), help="load one alone")
    chosen = parser.parse_args()
    if chosen.prepare:
        place, shape, vocabulary = chosen.prepare
        print(json.dumps({"parameters": prepare(Path(place), json.loads(shape), int(vocabulary))}))
    elif chosen.one:
        architecture, name, place = chosen.one
        print(json.dumps(measure(architecture, name, Path(place), chosen.seconds)))
    elif chosen.load:
        print(json.dumps(load(chosen.load[0], Path(chosen.load[1]))))
    else:
        print(json.dumps(benchmark(chosen)))


def benchmark(chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for."""
    import transformers

    results: dict[str, Any] = {
        "benchmark": "models",
        "threads": torch.get_num_threads(),
        "transformers": transformers.__version__,
        "batch": {"rows": ROWS, "tokens": LENGTH, "vocabulary": VOCABULARY},
    }
    names = contestants()
    for size in chosen.sizes:
        results[size] = {}
        for architecture in chosen.only:
            with tempfile.TemporaryDirectory() as directory:
                place = Path(directory) / "model"
                parameters = prepare(place, SIZES[size][architecture], VOCABULARY)
                compared = compare(
                    architecture, place, names, chosen.seconds, chosen.rounds, not chosen.eager
                )
                results[size][architecture] = {"parameters": parameters, **compared}
    if not chosen.no_import:
        results["import"] = compare_loading(chosen.rounds)
    return results


if __name__ == "__main__":
    main()

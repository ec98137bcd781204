"""Tokens a second of cached greedy generation, ours against `transformers`' `generate`, as one JSON object.

Both load one run directory into one process and write the same tokens, which is checked. They take turns, so that
whatever else the machine does meets both; the median counts.

    python benchmarks/decoding.py [--presets qwen3-5m qwen3-50m] [--rows 1 16] [--tokens 128] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from chatwright.generation.engine import Vocabulary, generate, stream
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder
from chatwright.models.interop.files import WEIGHTS, EndTokens, load_model, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.models.presets import model_options

VOCABULARY, PROMPT_TOKENS = 4096, 32
Writer = Callable[[], list[list[int]]]


def random_run(directory: Path, preset: str) -> None:
    """A model with random weights in the public layout. Its end tokens lie outside what it can write."""
    model = Decoder(model_options({"name": preset}, VOCABULARY))
    model.initialize(torch.Generator().manual_seed(0))
    write_config(directory, model.options, EndTokens(VOCABULARY - 1, [VOCABULARY - 1], VOCABULARY - 2))
    save_file(public_weights(model), directory / WEIGHTS)


def our_writer(
    directory: Path, prompts: list[list[int]], tokens: int, dtype: torch.dtype, compiled: bool
) -> Writer:
    model = load_model(directory)
    model.compute_dtype = dtype
    inference = Inference(model, compiled)
    options = SamplingOptions(max_new_tokens=tokens, temperature=0.0)
    vocabulary = Vocabulary(frozenset(), frozenset({VOCABULARY - 1}))

    def write() -> list[list[int]]:
        if len(prompts) == 1:
            return [[token for token, _ in stream(inference, prompts[0], options, vocabulary)]]
        return [answer.ids for answer in generate(inference, prompts, options, vocabulary)]

    return write


def their_writer(directory: Path, prompts: list[list[int]], tokens: int, dtype: torch.dtype) -> Writer:
    from transformers import Qwen3ForCausalLM

    model = Qwen3ForCausalLM.from_pretrained(directory, dtype=dtype).eval()
    ids = torch.tensor(prompts)

    def write() -> list[list[int]]:
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            # The end token is not allowed before the last step, which bans it for both.
            full = model.generate(
                ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
            )
        return full[:, ids.size(1) :].tolist()

    return write


def compare(directory: Path, rows: int, tokens: int, repeats: int, dtype: torch.dtype) -> dict[str, Any]:
    """Rates of both in turn, after one round to warm up and to compare the tokens."""
    generator = torch.Generator().manual_seed(rows)
    prompts = torch.randint(0, VOCABULARY - 2, (rows, PROMPT_TOKENS), generator=generator).tolist()
    begun = time.perf_counter()
    compiled = our_writer(directory, prompts, tokens, dtype, compiled=True)
    seconds = time.perf_counter() - begun
    writers = {
        "compiled": compiled,
        "eager": our_writer(directory, prompts, tokens, dtype, compiled=False),
        "transformers": their_writer(directory, prompts, tokens, dtype),
    }
    written = {name: write() for name, write in writers.items()}
    rates: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(repeats):
        for name, write in writers.items():
            begun = time.perf_counter()
            write()
            rates[name].append(rows * tokens / (time.perf_counter() - begun))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ours = ("compiled", "eager")
    return {
        "rows": rows,
        "dtype": str(dtype).removeprefix("torch."),
        "same_tokens": {name: written[name] == written["transformers"] for name in ours},
        "tokens_per_second": {name: round(rate, 1) for name, rate in middle.items()},
        "ratio": {name: round(middle[name] / middle["transformers"], 2) for name in ours},
        "ratios": {
            name: [round(a / b, 2) for a, b in zip(rates[name], rates["transformers"], strict=True)]
            for name in ours
        },
        "seconds_to_load_and_compile": round(seconds, 2),
    }


def bfloat16_is_fast() -> bool:
    """Whether a bfloat16 product beats a float32 one here."""
    spent = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(1024, 1024).to(dtype)
        a @ a
        begun = time.perf_counter()
        a @ a
        spent[dtype] = time.perf_counter() - begun
    return spent[torch.bfloat16] < spent[torch.float32]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["qwen3-5m", "qwen3-50m"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    dtypes = [torch.float32, torch.bfloat16] if bfloat16_is_fast() else [torch.float32]
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": arguments.threads,
        "prompt_tokens": PROMPT_TOKENS,
    }
    for preset in arguments.presets:
        with tempfile.TemporaryDirectory() as place:
            random_run(Path(place), preset)
            results[preset] = [
                compare(Path(place), rows, arguments.tokens, arguments.repeats, dtype)
                for dtype in dtypes
                for rows in arguments.rows
            ]
    print(json.dumps(results))


if __name__ == "__main__":
    main()

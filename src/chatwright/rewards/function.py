"""A Python function of the user's as a reward."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from chatwright.config import option
from chatwright.data.records import Prompt
from chatwright.errors import UserError, did_you_mean
from chatwright.rewards.contract import row_name

_FORM = "def f(prompt, reply, **facts) -> float"


@dataclass(frozen=True)
class FunctionOptions:
    """Call a function of yours."""

    path: str = option(MISSING, "file.py:name or package.module:name")


class Function:
    """What a function of yours gives for each reply: `def f(prompt: str, reply: str, **facts) -> float`.

    `prompt` is the last message of the prompt; `facts` are the other fields of its row. A function may name those that
    it takes instead, `def f(prompt, reply, answer, level=1)`, and then gets no others; a row without one that has no
    default is refused.
    """

    Options = FunctionOptions

    def __init__(self, options: FunctionOptions) -> None:
        self.name = options.path
        self.function = _load(options.path)
        self._own, self._needed, self._taken = _arguments(self.function, options.path)

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        rows = zip(prompts, replies, strict=True)
        return [self.function(_asked(prompt), reply, **self._facts(prompt)) for prompt, reply in rows]

    def _facts(self, prompt: Prompt) -> dict[str, Any]:
        missing = [name for name in self._needed if name not in prompt.facts]
        if missing:
            fields = ", ".join(map(str, prompt.facts)) or "none"
            wants = f"{self.name} takes {missing[0]!r}, a field that this row has not (its fields: {fields})"
            raise UserError(f"{row_name(prompt)}: {wants}; add the field or give the parameter a default")
        return {
            name: value
            for name, value in prompt.facts.items()
            if name not in self._own and (self._taken is None or name in self._taken)
        }


def _asked(prompt: Prompt) -> str:
    return prompt.messages[-1].content if prompt.messages else ""


def _load(path: str) -> Callable[..., Any]:
    place, colon, name = path.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UserError(f"path={path} should be file.py:name or package.module:name")
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    module = _run_file(Path(place)) if is_file else _import(place)
    if not hasattr(module, name):
        public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{place} has no function {name!r}{did_you_mean(name, public)}")
    function = getattr(module, name)
    if not callable(function):
        raise UserError(f"{path} is a {type(function).__name__}, not a function; write {_FORM}")
    return function  # type: ignore[no-any-return]


def _run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise UserError(f"there is no file {file} with a reward function")
    _search(file.resolve().parent)
    # a name of its own: the file must not stand in for a library that is called the same
    name = f"reward file {file.resolve()}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is not a Python file; give its name with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise _broken(str(file), error) from error
        raise
    return module


def _import(name: str) -> ModuleType:
    _search(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(name, error) from error
        mend = "install it, run the command in its folder, or give file.py:name"
        raise UserError(f"there is no module {error.name!r} for the reward function; {mend}") from None
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _search(folder: Path) -> None:
    """Let the user's code import what lies beside it; last, so that it hides nothing that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _broken(place: str, error: BaseException) -> UserError:
    said = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    line = (
        ""
        if isinstance(error, SyntaxError) or not frames
        else f" ({frames[-1].filename}:{frames[-1].lineno})"
    )
    return UserError(
        f"cannot load {place}: {type(error).__name__}: {said}{line}; mend it and run the same command again"
    )


def _arguments(function: Callable[..., Any], path: str) -> tuple[set[str], list[str], set[str] | None]:
    """The names of the first two parameters, the facts that must be given, and those that may be (None: all)."""
    if inspect.iscoroutinefunction(function) or inspect.isclass(function):
        kind = "a class" if inspect.isclass(function) else "async"
        raise UserError(f"{path} is {kind}; a reward is a plain function, {_FORM}")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise UserError(f"{path} does not tell its parameters; wrap it as {_FORM}") from None
    P = inspect.Parameter
    own, rest = parameters[:2], parameters[2:]
    if len(own) < 2 or any(p.kind not in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD) for p in own):
        raise UserError(
            f"{path}{inspect.signature(function)} should take a prompt and a reply first: {_FORM}"
        )
    if any(p.kind is P.POSITIONAL_ONLY for p in rest):
        raise UserError(f"{path}: facts are given by name, so only prompt and reply may stand before /")
    facts = [p for p in rest if p.kind in (P.POSITIONAL_OR_KEYWORD, P.KEYWORD_ONLY)]
    takes_all = any(p.kind is P.VAR_KEYWORD for p in rest)
    needed = [p.name for p in facts if p.default is P.empty]
    return {p.name for p in own}, needed, None if takes_all else {p.name for p in facts}

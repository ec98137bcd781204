"""The contract of every reward and judge, and the one place where rewards are called.

A reward is somebody else's code in the middle of a long run: what it gives is looked at here, value by value, so that
a fault stops the run with the row that caused it and not, hours later, with weights that are not numbers.
"""

from __future__ import annotations

import math
import numbers
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from chatwright.data.records import Comparison, Prompt
from chatwright.errors import UserError

_MEND = "mend the function and run the same command again to go on"
_SHOWN = 40


class Reward(Protocol):
    """Says how good replies are; more is better."""

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        """One finite number for every reply; `replies[i]` answers `prompts[i]`."""
        ...


class Judge(Protocol):
    """Says which of several replies to the same prompt are better."""

    def compare(self, prompts: Sequence[Prompt], replies: Sequence[Sequence[str]]) -> list[Comparison | None]:
        """The ranks of `replies[i]`, at least two, all to `prompts[i]`; None where there is no verdict."""
        ...


def scores_of(
    reward: Reward, prompts: Sequence[Prompt], replies: Sequence[str], name: str = ""
) -> list[float]:
    """What a reward gives for each reply, as finite floats; `name` is how errors call the reward.

    Raises UserError, with the row and the first words of its reply, when the reward raises, gives a wrong number of
    values, a value that is not a number, NaN or infinity. A reward that raises on many replies is called again with
    one at a time, to find the row.
    """
    assert len(prompts) == len(replies), (len(prompts), len(replies))
    if not prompts:
        return []
    name = name or _name(reward)
    try:
        values = _values(reward(prompts, replies), name)
    except UserError:
        raise
    except Exception as error:
        raise _refusal_of_error(reward, prompts, replies, name, error) from error
    if len(values) != len(replies):
        rows = f"{len(replies)} replies, the first to {row_name(prompts[0], replies[0])}"
        raise UserError(f"the reward {name} gave {len(values)} values for {rows}; {_MEND}")
    return [_number(*row, name) for row in zip(values, prompts, replies, strict=True)]


class Mixture:
    """The weighted sum of several rewards; itself a reward."""

    def __init__(self, parts: Sequence[tuple[str, float, Reward]]) -> None:
        """`parts` are (name, weight, reward); raises UserError for none, a name twice, or a weight like NaN."""
        if not parts:
            raise UserError("a mixture of rewards needs at least one reward")
        names = [name for name, _, _ in parts]
        for name, weight, _ in parts:
            if names.count(name) > 1:
                raise UserError(f"two rewards of the mixture are called {name!r}; give them different names")
            if not math.isfinite(weight):
                raise UserError(f"the weight of the reward {name!r} is {weight}; give a finite number")
        self._parts = tuple(parts)

    def __call__(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[float]:
        return self.total(self.parts(prompts, replies))

    def parts(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> dict[str, list[float]]:
        """What each reward gives, before its weight."""
        return {name: scores_of(reward, prompts, replies, name) for name, _, reward in self._parts}

    def total(self, parts: Mapping[str, Sequence[float]]) -> list[float]:
        """Weight × score, summed over the values that `parts` gave."""
        weighted = ([weight * value for value in parts[name]] for name, weight, _ in self._parts)
        return [sum(column) for column in zip(*weighted, strict=True)]


def row_name(prompt: Prompt, reply: str | None = None) -> str:
    """How errors call a row: where it came from, or its last message; and the first words of a reply to it."""
    asked = f"the prompt {_first_words(prompt.messages[-1].content)}" if prompt.messages else "a prompt"
    place = prompt.source or asked
    return place if reply is None else f"{place} (reply {_first_words(reply)})"


def _first_words(text: str) -> str:
    # a word may be a whole line where no spaces are written
    words = " ".join(text[: 4 * _SHOWN].split())
    return repr(words if len(words) <= _SHOWN else words[:_SHOWN] + "…")


def _refusal_of_error(
    reward: Reward, prompts: Sequence[Prompt], replies: Sequence[str], name: str, error: Exception
) -> UserError:
    for prompt, reply in zip(prompts, replies, strict=True):
        try:
            reward([prompt], [reply])
        except Exception as alone:
            return UserError(
                f"the reward {name} failed on {row_name(prompt, reply)}: {_told(alone)}; {_MEND}"
            )
    rows = f"{len(replies)} replies together, the first to {row_name(prompts[0], replies[0])}"
    return UserError(f"the reward {name} failed on {rows}: {_told(error)}; {_MEND}")


def _told(error: Exception) -> str:
    """An exception in one line, with the place where it was raised."""
    said = " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}{': ' if said else ''}{said} ({last.filename}:{last.lineno})"


def _values(given: Any, name: str) -> list[Any]:
    """The items of a list, tuple, array or tensor."""
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        try:
            return list(given)
        except TypeError:  # an array or tensor without dimensions
            pass
    raise UserError(f"the reward {name} gave {_shown(given)} and not a list of numbers; {_MEND}")


def _number(value: Any, prompt: Prompt, reply: str, name: str) -> float:
    where = f"for {row_name(prompt, reply)}; {_MEND}"
    is_number = isinstance(value, numbers.Real) or getattr(value, "ndim", None) == 0
    try:
        number = float(value) if is_number else None
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise UserError(f"the reward {name} gave {_shown(value)}, which is not a number, {where}")
    if not math.isfinite(number):
        raise UserError(f"the reward {name} gave {number} {where}")
    return number


def _shown(value: Any) -> str:
    return f"{_first_words(repr(value))} (a {type(value).__name__})"


def _name(reward: Any) -> str:
    return str(getattr(reward, "name", "") or getattr(reward, "__name__", "") or type(reward).__name__)

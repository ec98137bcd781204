"""What a step of the corpus is, and how it is made from its name and options.

A step is a class in one file of `operators/` with a frozen dataclass `Options`, and one line in the registry's table
`corpus_operator`. It is made once in each worker and then called with the documents of one part after another, so it
holds no state of documents: the same part gives the same result whichever worker has it.

    class Short:
        Options = ShortOptions

        def __init__(self, options: ShortOptions) -> None: ...

        def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]: ...

Rules for every step:

- What is left out, changed or marked goes into the notes, once for each document and reason.
- A document that stays as it was is returned as the same object; the order stays. A step may give several documents
  for one (sentences), then with ids of their own.
- A step is never called with, nor has to apply a decision to, an empty list; a collective one may have to sign it.
- Documents that end up as white space are dropped, and noted as "empty", by the engine.
- An option that names files is a `Path` or a tuple of them: then the files' content counts as part of the option.
- Heavy libraries are imported in `__init__` or when first needed, not with the module.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from chatwright import config
from chatwright.corpora.documents import Doc, Notes
from chatwright.registry import lookup

Signs: TypeAlias = dict[str, npt.NDArray[Any]]
"""What a collective step knows of one part: named arrays (no objects in them), of any shapes."""

Decision: TypeAlias = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
"""What is to be done with one part: an array of booleans (True: keep the document), or named arrays.

Of named arrays `keep`, where there is one, says in the same way which documents stay.
"""


class Operator(Protocol):
    """A step that looks at each document by itself."""

    Options: ClassVar[type]

    def __call__(self, docs: list[Doc], notes: Notes) -> list[Doc]:
        """The documents as they should be, in order."""
        ...


class Collective(Protocol):
    """A step that needs the whole corpus, as finding duplicates does.

    Workers `sign` the parts, one process `decide`s from all signatures, workers `apply` the decisions.
    """

    Options: ClassVar[type]

    def sign(self, docs: list[Doc]) -> Signs:
        """The signatures of one part's documents."""
        ...

    def decide(self, signs: Sequence[Signs], alive: Sequence[npt.NDArray[np.bool_]]) -> list[Decision]:
        """A decision for each part.

        `signs[i]` is read from disk each time it is asked for; hold what is small. `alive[i]` says which of the
        documents that were signed are still there (steps before this one have left out the others). A decision
        speaks of the documents that are alive, in their order: with 5 signed and 3 alive, `keep` has 3 entries.
        The first occurrence, in the order of parts and documents, is the one that stays.
        """
        ...

    def apply(self, docs: list[Doc], decision: Decision, notes: Notes) -> list[Doc]:
        """Do what was decided: `docs` are the part's documents that were alive, in order."""
        ...


Step: TypeAlias = Operator | Collective


def is_collective(step: Any) -> bool:
    """Whether a step (or its class) needs the whole corpus."""
    return hasattr(step, "decide")


def step_class(name: str) -> Any:
    """The class of that name; an unknown name answers with the nearest one."""
    return lookup("corpus_operator", name)


def step_options(name: str, values: Mapping[str, Any]) -> Any:
    """The options of a step from `key: value`; an unknown key or a wrong value is refused with the step's name."""
    options = step_class(name).Options
    hints = typing.get_type_hints(options)
    known = {
        key: config.convert(value, hints[key], f"{name}.{key}") if key in hints else value
        for key, value in values.items()
    }
    return config.build(options, known, name)


def make_step(name: str, values: Mapping[str, Any] | None = None) -> Any:
    """The step of that name with these options."""
    return step_class(name)(step_options(name, values or {}))


def kept(decision: Decision, alive: int) -> npt.NDArray[np.bool_]:
    """Which of the `alive` documents a decision keeps, as booleans."""
    if isinstance(decision, dict):
        found = decision.get("keep")
        return np.ones(alive, bool) if found is None else found.astype(bool)
    return decision.astype(bool)

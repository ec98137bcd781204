"""What workers do to one part: read it, take it through steps, write it into a shard.

A stage is a small value that travels to the workers; `perform(task, beat)` does one task, whole or not at all, and
`is_done(task)` says whether its files are there. `beat(n)` tells that n more units of work were done.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from chatwright.corpora.accounts import Sizes
from chatwright.corpora.documents import Doc, Notes, byte_count, without_empty
from chatwright.corpora.engine import parts
from chatwright.corpora.engine.parts import Part
from chatwright.corpora.engine.plan import StepPlan
from chatwright.corpora.operators.contract import make_step
from chatwright.corpora.reading.discover import Source
from chatwright.corpora.reading.limits import Limits
from chatwright.corpora.reading.read import read
from chatwright.corpora.reading.skipped import Skipped
from chatwright.corpora.split import CUT, TRAIN, cut, position
from chatwright.corpora.store import ShardWriter, stored_in
from chatwright.errors import UserError

Beat = Callable[[int], None]


@dataclass(frozen=True)
class Task:
    """One piece of a stage's work: its name, how large it is for the progress bar, and what it is about."""

    name: str
    weight: int
    content: Any = None


class Stage(Protocol):
    """Work over many tasks that do not know of each other."""

    @property
    def folder(self) -> Path: ...

    def is_done(self, task: Task) -> bool: ...

    def perform(self, task: Task, beat: Beat) -> None: ...


@dataclass(frozen=True)
class ReadStage:
    """Inputs to parts. A task's content is a list of sources; `UNIT.json` tells which parts came of it."""

    folder: Path
    text_field: str | None
    without: tuple[str, ...]
    part_bytes: int
    limits: Limits

    def is_done(self, task: Task) -> bool:
        found = parts.read_json(self.folder / f"{task.name}.json")
        return found is not None and all(
            parts.is_whole(self.folder / f"{name}.parquet", size)
            for name, (size, _) in found["parts"].items()
        )

    def perform(self, task: Task, beat: Beat) -> None:
        started = time.process_time()
        unit = _Unit(self.without, {source.input for source in task.content if source.path is None})
        written = {}
        for number, part in enumerate(self._parts(unit, task.content, beat)):
            name = f"{task.name}-{number:04}"
            path = self.folder / f"{name}.parquet"
            parts.write_part(path, part)
            written[name] = (path.stat().st_size, len(part.docs))
        manifest = {"parts": written, **unit.as_json(), "seconds": time.process_time() - started}
        parts.write_json(self.folder / f"{task.name}.json", manifest)

    def _parts(self, unit: _Unit, sources: Sequence[Source], beat: Beat) -> Iterator[Part]:
        """The documents in parts of `part_bytes`, the last document of each going over it."""
        part, filled = Part([], []), 0
        for doc in read(sources, unit.skipped, self.text_field, beat, self.limits):
            size = unit.take(doc)
            if not size:
                continue
            part.docs.append(doc)
            part.sizes.append(size)
            filled += size
            if filled >= self.part_bytes:
                yield unit.counted(part)
                part, filled = Part([], []), 0
        if part.docs:
            yield unit.counted(part)


class _Unit:
    """The documents of one unit of reading, on their way into parts, and what is to be told of them."""

    def __init__(self, without: Sequence[str], named: set[str]) -> None:
        self._without, self._named = without, named
        self._read, self._sizes, self._notes = Sizes(), Sizes(), Notes()
        self.skipped, self._left_out = Skipped(), set[str]()

    def take(self, doc: Doc) -> int:
        """Count a document; its bytes where it stays, else 0."""
        size = byte_count(doc.text)
        self._read.count([doc], [size])
        return size if self._stays(doc) else 0

    def counted(self, part: Part) -> Part:
        self._sizes.count(part.docs, part.sizes)
        return part

    def _stays(self, doc: Doc) -> bool:
        if not without_empty([doc], self._notes):
            return False
        title = f"{doc.id.rpartition('/')[2]}."
        if doc.source not in self._named or not self._without:
            return True
        found = [name for name in self._without if title.startswith(f"{name}.")]
        self._left_out.update(found)
        if found:
            self._notes.drop(doc, "left out by name")
        return not found

    def as_json(self) -> dict[str, Any]:
        return {
            "read": self._read.as_json(),
            "sizes": self._sizes.as_json(),
            "notes": self._notes.as_json(),
            "skipped": self.skipped.as_json(),
            "left_out": sorted(self._left_out),
        }


@dataclass(frozen=True)
class Chain:
    """The steps and where the files of each lie: a part as any of them left it."""

    root: Path
    read: str
    steps: tuple[StepPlan, ...]

    def manifest(self, number: int, name: str) -> Path:
        return self.root / self.steps[number].folder / f"{name}.json"

    def changes(self, number: int, name: str) -> Path:
        return self.root / self.steps[number].folder / f"{name}.parquet"

    def decision(self, number: int, name: str) -> Path:
        return self.root / self.steps[number].folder / f"{name}.decision.npz"

    def signs(self, number: int, name: str) -> Path:
        return self.root / self.steps[number].signs / f"{name}.npz"

    def is_done(self, number: int, name: str) -> bool:
        """Whether the step at `number` has done this part."""
        found = parts.read_json(self.manifest(number, name))
        return found is not None and parts.is_whole(self.changes(number, name), found["file"])

    def is_signed(self, number: int, name: str) -> bool:
        """Whether this part is signed for the step at `number`."""
        return self.signs(number, name).with_suffix(".json").exists()

    def load(self, name: str, steps: int) -> Part:
        """The documents of a part after so many steps."""
        part = parts.read_part(self.root / self.read / f"{name}.parquet")
        for number in range(steps):
            part = self.follow(part, number, name)
        return part

    def follow(self, part: Part, number: int, name: str) -> Part:
        """What the step at `number` made of a part, as its file tells."""
        path = self.changes(number, name)
        return parts.read_step(path, part) if path.exists() else part


@dataclass(frozen=True)
class MapStage:
    """A round of steps over the parts; then their signatures, or at the last round what the layout needs to know."""

    chain: Chain
    first: int
    last: int
    signed: tuple[int, ...]
    ends: Path | None
    seed: int

    @property
    def folder(self) -> Path:
        return self.chain.root

    def is_done(self, task: Task) -> bool:
        name = task.name
        return (
            all(self.chain.is_done(number, name) for number in range(self.first, self.last))
            and all(self.chain.is_signed(number, name) for number in self.signed)
            and (self.ends is None or (self.ends / f"{name}.npz").exists())
        )

    def perform(self, task: Task, beat: Beat) -> None:
        name = task.name
        part = self.chain.load(name, self.first)
        for number in range(self.first, self.last):
            if self.chain.is_done(number, name):
                part = self.chain.follow(part, number, name)
            else:
                part = self._step(number, name, part)
        for number in self.signed:
            if not self.chain.is_signed(number, name):
                self._sign(number, name, part)
        if self.ends is not None:
            parts.write_arrays(self.ends / f"{name}.npz", ends_of(part, self.seed))

    def _sign(self, number: int, name: str, part: Part) -> None:
        step, started = self.chain.steps[number], time.process_time()
        path = self.chain.signs(number, name)
        parts.write_arrays(path, guarded(step, lambda docs: step_of(step).sign(docs), part.docs))
        parts.write_json(path.with_suffix(".json"), {"seconds": time.process_time() - started})

    def _step(self, number: int, name: str, before: Part) -> Part:
        step, notes, started = self.chain.steps[number], Notes(), time.process_time()
        if not before.docs:
            docs: list[Doc] = []
        elif step.is_collective:
            decision = parts.read_arrays(self.chain.decision(number, name))
            docs = guarded(step, lambda docs: step_of(step).apply(docs, decision, notes), before.docs)
        else:
            docs = guarded(step, lambda docs: step_of(step)(docs, notes), before.docs)
        part, origins = before.followed_by(without_empty(docs, notes))
        sizes = Sizes()
        sizes.count(part.docs, part.sizes)
        path = self.chain.changes(number, name)
        path.unlink(missing_ok=True)
        wrote = parts.write_step(path, before, part, origins)
        manifest = {
            "file": path.stat().st_size if wrote else None,
            "rows": len(part.docs),
            "sizes": sizes.as_json(),
            "notes": notes.as_json(),
            "seconds": time.process_time() - started,
        }
        parts.write_json(self.chain.manifest(number, name), manifest)
        return part


def ends_of(part: Part, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """What the layout needs to know of a part's documents: which side they fall on, their inputs and lengths."""
    names = sorted({doc.source for doc in part.docs})
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "position": np.array([position(doc.text, seed) for doc in part.docs], np.float64),
        "characters": np.array([len(doc.text) for doc in part.docs], np.int64),
        "source": np.array([numbers[doc.source] for doc in part.docs], np.int32),
        "sources": np.array(names, np.str_),
    }


@lru_cache(maxsize=64)
def _made(name: str, options: str) -> Any:
    return make_step(name, json.loads(options))


def step_of(step: StepPlan) -> Any:
    """The step itself, made once in each worker."""
    return _made(step.name, json.dumps(step.options))


T = TypeVar("T")


def guarded(step: StepPlan, call: Callable[[list[Doc]], T], docs: list[Doc], what: str = "") -> T:
    """What `call(docs)` gives; an exception in it becomes a UserError that names the step and the document.

    `what` says what it was about where that is not one of `docs`.
    """
    try:
        return call(docs)
    except UserError:
        raise
    except Exception as error:
        where, error = (what, error) if what or step.is_collective else _culprit(call, docs, error)
        first = f"a part whose first document is {docs[0].id}" if docs else "a part without documents"
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({place})"
        mend = f"leave it out with without_steps={step.name}, or mend it"
        raise UserError(f"the step {step.name} fails on {where or first}: {said}; {mend}") from error


def _culprit(call: Callable[[list[Doc]], Any], docs: list[Doc], error: Exception) -> tuple[str, Exception]:
    """The first document that fails by itself, and how; without one, nothing and `error`."""
    for doc in docs:
        try:
            call([doc])
        except Exception as again:
            return doc.id, again
    return "", error


@dataclass(frozen=True)
class WriteStage:
    """Parts to shards. A task's content is the list of its parts: their training documents become one shard,
    their validation documents a piece that `JoinStage` puts together with others."""

    chain: Chain
    folder: Path
    pieces: Path
    layout: Path
    share: float

    def is_done(self, task: Task) -> bool:
        files = (self.folder / f"train-{task.name}.parquet", self.pieces / f"{task.name}.parquet")
        return all(path.exists() for path in files) and (self.pieces / f"{task.name}.json").exists()

    def perform(self, task: Task, beat: Beat) -> None:
        train, validation, started = Sizes(), Sizes(), time.process_time()
        with (
            np.load(self.layout, allow_pickle=False) as layout,
            ShardWriter(self.folder / f"train-{task.name}.parquet") as shard,
            ShardWriter(self.pieces / f"{task.name}.parquet") as piece,
        ):
            for name in task.content:
                part = self.chain.load(name, len(self.chain.steps))
                rows = zip(
                    part.docs,
                    layout[f"{name}/sides"].tolist(),
                    layout[f"{name}/copies"].tolist(),
                    strict=True,
                )
                for doc, side, copies in rows:
                    head, tail = self._divided(doc, side)
                    for copy in repeated(head, copies):
                        shard.write(copy)
                        train.count([copy], [byte_count(copy.text)])
                    if tail:
                        piece.write(tail)
                        validation.count([tail], [byte_count(tail.text)])
        seconds = time.process_time() - started
        manifest = {"train": train.as_json(), "validation": validation.as_json(), "seconds": seconds}
        parts.write_json(self.pieces / f"{task.name}.json", manifest)

    def _divided(self, doc: Doc, side: int) -> tuple[Doc | None, Doc | None]:
        """What of a document is for training and what for validation."""
        if side == CUT:
            return cut(doc, self.share)
        return (doc, None) if side == TRAIN else (None, doc)


def repeated(doc: Doc | None, copies: int) -> Iterator[Doc]:
    """A document so many times, the second with `@2` after its id."""
    if doc is not None:
        for number in range(1, copies + 1):
            yield doc if number == 1 else replace(doc, id=f"{doc.id}@{number}")


@dataclass(frozen=True)
class JoinStage:
    """Pieces to validation shards. A task's content is the list of the pieces' paths."""

    folder: Path

    def is_done(self, task: Task) -> bool:
        return (self.folder / f"validation-{task.name}.parquet").exists()

    def perform(self, task: Task, beat: Beat) -> None:
        with ShardWriter(self.folder / f"validation-{task.name}.parquet") as shard:
            for path in task.content:
                for doc in stored_in(path):
                    shard.write(doc)

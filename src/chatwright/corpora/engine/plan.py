"""What there is to do: the steps in order, the stages that they make, and the folder of each step's files.

A folder's name ends in a hash of all that its content depends on: the inputs, the options of this step and of all
before it, the content of files that options name. So a file that is there is right, a run that was killed goes on
where it stopped, and another run with one changed option finds what does not depend on it (`reuse=`).

    read → round 0: operators, signatures → decide → round 1: decisions, operators, signatures → … → write

A round ends where the next step needs the whole corpus.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chatwright.config import as_dict
from chatwright.corpora.operators.contract import is_collective, step_class, step_options
from chatwright.files import aside_of, writing
from chatwright.runs import hash_files

_FORMAT = 2
"""Counts up when what a stage writes changes its meaning."""


@dataclass(frozen=True)
class StepPlan:
    """One step: its options as plain values, the folders of what it did and of its signatures."""

    name: str
    options: dict[str, Any]
    is_collective: bool
    folder: str
    signs: str


@dataclass(frozen=True)
class Round:
    """The steps `first` to `last` (not included) run over every part, then those at `signed` sign it."""

    first: int
    last: int
    signed: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The steps of one corpus and where their files lie, under `root`."""

    root: Path
    read: str
    steps: tuple[StepPlan, ...]
    key: str

    @property
    def rounds(self) -> list[Round]:
        """The rounds, at least one; only the last signs nothing."""
        count, found, first, begin = len(self.steps), [], 0, 0
        while True:
            last = next((i for i in range(begin, count) if self.steps[i].is_collective), count)
            end = next((i for i in range(last, count) if not self.steps[i].is_collective), count)
            found.append(Round(first, last, tuple(range(last, end))))
            if last == count:
                return found
            first, begin = last, end

    def folders(self) -> Iterator[str]:
        """The folders of all stages but the last."""
        yield self.read
        for step in self.steps:
            yield from (folder for folder in (step.signs, step.folder) if folder)


def make_plan(root: Path, inputs: Any, steps: Sequence[tuple[str, Mapping[str, Any]]]) -> Plan:
    """The plan of `steps` (names with options) over `inputs`: plain values that say what is read, and how.

    Raises UserError for an unknown step or option.
    """
    read = content_key([_FORMAT, version("chatwright"), inputs])
    key = base = read
    plans = []
    was_collective = False
    for number, (name, values) in enumerate(steps, 1):
        options = step_options(name, values)
        collective = is_collective(step_class(name))
        if not was_collective or not collective:
            base = key
        was_collective = collective
        content = (name, as_dict(options), option_files(options))
        key = content_key([key, content])
        signs = f"signs-{name}-{content_key([base, content])}" if collective else ""
        plans.append(StepPlan(name, as_dict(options), collective, f"{number:02}-{name}-{key}", signs))
    return Plan(root, f"00-read-{read}", tuple(plans), key)


def option_files(options: Any) -> dict[str, str]:
    """The content hashes of the files that options name: those whose values are paths."""
    found = {}
    for field in fields(options):
        value = getattr(options, field.name)
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
                found[str(path)] = hash_files(files)
    return found


def content_key(values: Any) -> str:
    """Twelve characters that stand for plain values."""
    content = json.dumps(as_dict(values), sort_keys=True).encode()
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def described(plan: Plan, folders: Collection[str]) -> str:
    """The stages whose files lie in some of the plan's `folders`, in words; "" where there are none."""
    names = [("read", plan.read, "")] + [(step.name, step.folder, step.signs) for step in plan.steps]
    found = []
    for name, folder, signs in names:
        if folder in folders:
            found.append(name)
        elif signs in folders:
            found.append(f"signatures of {name}")
    return ", ".join(found)


def adopt(plan: Plan, other: Path) -> list[str]:
    """Take over what another run's stages hold of this plan, by links where the disk allows; returns the folders."""
    taken = []
    for name in plan.folders():
        source, target = other / name, plan.root / name
        if source.is_dir() and not target.exists():
            _link_folder(source, target)
            taken.append(name)
    return taken


def _link_folder(source: Path, target: Path) -> None:
    aside = aside_of(target)
    with writing(target):
        aside.mkdir(parents=True)
        for path in source.iterdir():
            if not path.is_file() or ".tmp-" in path.name:
                continue
            try:
                os.link(path, aside / path.name)
            except OSError:
                shutil.copyfile(path, aside / path.name)
        aside.rename(target)

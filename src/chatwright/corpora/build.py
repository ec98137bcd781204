"""The corpus pipeline: read, one step after another, decide what needs the whole corpus, split and write.

Every stage leaves files under `stages/`, whose names tell what they depend on; what is there is not made again. So a
build that was killed goes on where it stopped, and ends with the same bytes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatwright.corpora.accounts import (
    CorpusReport,
    InOut,
    Size,
    Sizes,
    StepAccount,
    counted,
    step_accounts,
    warnings_of,
)
from chatwright.corpora.choices import CorpusOptions, chosen_steps, input_wishes
from chatwright.corpora.documents import path_text
from chatwright.corpora.engine import parts
from chatwright.corpora.engine.layout import LAYOUT_FORMAT, SHARD_CHARACTERS, grouped, lay_out
from chatwright.corpora.engine.parts import StoredArrays
from chatwright.corpora.engine.plan import Round, adopt, content_key, described, make_plan
from chatwright.corpora.engine.running import InputError, Workers, choose_engine
from chatwright.corpora.engine.stages import (
    Chain,
    JoinStage,
    MapStage,
    ReadStage,
    Stage,
    Task,
    WriteStage,
    guarded,
    step_of,
)
from chatwright.corpora.operators.contract import kept, make_step
from chatwright.corpora.operators.mixing import WORTHWHILE, Wish, epochs
from chatwright.corpora.reading.discover import Source, discover
from chatwright.corpora.reading.skipped import Skipped
from chatwright.corpora.split import SIDES
from chatwright.corpora.store import shards
from chatwright.errors import UserError
from chatwright.files import sync_directory, writing
from chatwright.progress import say

_MB = 1 << 20
_UNIT_FILES = 4096
_FAR = 0.01
_UNLIKE = "the inputs, text_field, without, part_mb, limits or the version of chatwright are others"

OnProgress = Callable[[str, float], None]
"""Told what is being done, and which share of it is: `("reading", 0.5)`."""


def ignore(title: str, share: float) -> None:
    """The progress callback of those who do not watch."""


def build_corpus(
    inputs: Sequence[str | Path],
    directory: str | Path,
    options: CorpusOptions | None = None,
    stages: str | Path | None = None,
    engine: str = "auto",
    workers: int = 0,
    on_progress: OnProgress = ignore,
    identity: Any = None,
    reuse: str | Path | None = None,
) -> CorpusReport:
    """Make a corpus from files, folders, globs and named sources, as Parquet shards in `directory`.

    `stages` is where the stages' files lie and stay (else beside `directory`, and removed at the end); `reuse` such
    a folder of another build; what of it fits is told. `identity` is a plain value that changes when what is read does (content hashes);
    without it the inputs' names, sizes and times count. Raises UserError for inputs that cannot be read or hold no
    text, a step that fails, and a full disk. After an InputError, nothing of the stages is worth keeping.
    """
    options = options or CorpusOptions()
    if not 0 <= options.validation <= 0.5:
        raise UserError(f"validation={options.validation} is not a share between 0 and 0.5")
    if not 1 <= options.part_mb <= 1024:
        raise UserError(f"part_mb={options.part_mb} is not between 1 and 1024; 32 is usual")
    text = Path(directory)
    place = Path(stages) if stages else text.with_name(f"{text.name}.stages")
    if text.is_dir() and any(text.iterdir()) and not place.is_dir():
        kind = "already holds a corpus" if shards(text, "train") else "holds other files"
        raise UserError(f"{text} {kind}; give a new directory")
    build = _Build(inputs, options, text, place, (engine, workers), on_progress)
    report = build.run(identity, Path(reuse) if reuse else None)
    if not stages:
        shutil.rmtree(place, ignore_errors=True)
    return report


@dataclass(frozen=True)
class _Written:
    """The sizes of both sides, the epochs of each input in training, and how long workers took."""

    train: Sizes
    validation: Sizes
    epochs: dict[str, float]
    seconds: float


class _Build:
    """One build: its plan, then stage after stage."""

    def __init__(
        self,
        inputs: Sequence[str | Path],
        options: CorpusOptions,
        text: Path,
        stages: Path,
        engine: tuple[str, int],
        on_progress: OnProgress,
    ) -> None:
        self._options, self._text, self._root, self._tell = options, text, stages, on_progress
        self._skipped = Skipped()
        self._sources = discover(inputs, self._skipped, options.mirror)
        self._inputs = list(dict.fromkeys(path_text(name) for name in inputs))
        self._bytes = sum(source.size for source in self._sources)
        self._wishes = input_wishes(options.mix, self._inputs)
        epochs(dict.fromkeys(self._inputs, 1), self._wishes)  # refuses what cannot be, whatever the sizes
        self._steps, self._warnings = chosen_steps(options, self._bytes)
        for name in self._steps:
            make_step(name, options.step_options.get(name))
        self._workers = Workers(choose_engine(*engine, self._bytes))

    def run(self, identity: Any, reuse: Path | None) -> CorpusReport:
        options = self._options
        # Files that a data set's name stands for are no inputs of the run, whose content is known.
        found = [(s.name, s.size) if s.name else (str(s.path), s.size) for s in self._sources]
        inputs = [self._inputs, found, identity or self._times(), options.text_field, options.without]
        inputs += [options.part_mb, options.limits]
        named = [(name, options.step_options.get(name) or {}) for name in self._steps]
        self._plan = make_plan(self._root, inputs, named)
        self._chain = Chain(self._root, self._plan.read, self._plan.steps)
        with writing(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            for left in self._root.glob("*/*.tmp-*"):
                left.unlink(missing_ok=True)
        if reuse:
            self._adopt(reuse)
        ends = self._root / f"ends-{self._plan.key}-{options.seed}"
        with self._workers:
            units = self._read()
            for round_ in self._plan.rounds:
                self._round(round_, ends)
                self._decide(round_)
            written = self._write(ends, units)
        return self._report(units, written)

    def _adopt(self, other: Path) -> None:
        """Take over what fits of another build's stages, and say what that is."""
        plan = self._plan
        goes_on = (plan.root / plan.read).exists()
        taken = adopt(plan, other)
        if taken:
            anew = described(plan, [name for name in plan.folders() if not (plan.root / name).exists()])
            say(f"  reuse: taken over {described(plan, taken)}; made anew {anew or 'only the shards'}")
        elif not goes_on:
            why = _UNLIKE if other.is_dir() else "that run kept no stages"
            say(f"  reuse: nothing fits: {why}; all is made anew")

    def _times(self) -> list[int]:
        """When each file was written last."""
        return [source.path.stat().st_mtime_ns for source in self._sources if source.path]

    def _run(self, title: str, stage: Stage, tasks: Sequence[Task]) -> None:
        self._workers.run(stage, tasks, partial(self._tell, title))

    def _read(self) -> list[dict[str, Any]]:
        """Read all inputs; returns what each unit wrote down. The parts are then known."""
        options = self._options
        folder, size = self._root / self._plan.read, options.part_mb * _MB
        stage = ReadStage(folder, options.text_field, options.without, size, options.limits)
        tasks = [
            Task(f"{number:05}", sum(source.size for source in unit) or 1, unit)
            for number, unit in enumerate(self._units())
        ]
        self._run("reading", stage, tasks)
        units = [parts.read_json(stage.folder / f"{task.name}.json") for task in tasks]
        self._parts = {name: tuple(both) for unit in units for name, both in unit["parts"].items()}
        missing = {*options.without} - {name for unit in units for name in unit["left_out"]}
        if missing:
            unknown = ",".join(sorted(missing))
            said = f"without={unknown}: no named source of this corpus has it; correct the name or drop it"
            raise InputError(said)
        for unit in units:
            self._skipped.merge(Skipped.from_json(unit["skipped"]))
        if not self._parts:
            raise self._no_text([_read_account(units)])
        return units

    def _units(self) -> Iterator[list[Source]]:
        """Neighbouring sources in units of files as large as a part; named sources each by itself."""
        unit: list[Source] = []
        filled, most = 0, self._options.part_mb * _MB
        for source in self._sources:
            size = source.size if source.path else most
            if unit and (filled + size > most or len(unit) >= _UNIT_FILES):
                yield unit
                unit, filled = [], 0
            unit.append(source)
            filled += size
        if unit:
            yield unit

    def _round(self, round_: Round, ends: Path) -> None:
        chain, steps = self._chain, self._plan.steps
        names = [steps[number].name for number in range(round_.first, round_.last)]
        last = not round_.signed
        folders = [steps[number].folder for number in range(round_.first, len(steps))]
        folders += [steps[number].signs for number in round_.signed]
        for folder in [*folders, *([ends.name] if last else [])]:
            (self._root / folder).mkdir(exist_ok=True)
        stage = MapStage(
            chain, round_.first, round_.last, round_.signed, ends if last else None, self._options.seed
        )
        tasks = [Task(name, size) for name, (size, _) in self._parts.items()]
        self._run(", ".join(names) or "signatures", stage, tasks)

    def _decide(self, round_: Round) -> None:
        """Have each step that was signed decide, one after another, and write its decisions."""
        names = list(self._parts)
        alive: list[npt.NDArray[np.bool_]] = [np.ones(rows, bool) for rows in self._rows(round_.last, names)]
        for number in round_.signed:
            step = self._plan.steps[number]
            paths = [self._chain.decision(number, name) for name in names]
            marker = self._root / step.folder / "decided.json"
            if parts.read_json(marker) is None:
                self._tell(f"deciding: {step.name}", 0.0)
                started = time.process_time()
                signs = StoredArrays([self._chain.signs(number, name) for name in names])
                decide = partial(step_of(step).decide, signs, alive)
                decisions = guarded(step, lambda _, decide=decide: decide(), [], "the whole corpus")  # type: ignore[misc]
                for path, decision in zip(paths, decisions, strict=True):
                    parts.write_arrays(path, decision)
                parts.write_json(marker, {"seconds": time.process_time() - started})
                self._tell(f"deciding: {step.name}", 1.0)
            for mask, path in zip(alive, paths, strict=True):
                mask[mask] = kept(parts.read_arrays(path), int(mask.sum()))

    def _rows(self, steps: int, names: Sequence[str]) -> list[int]:
        """How many documents each part holds after so many steps."""
        if not steps:
            return [rows for _, rows in self._parts.values()]
        return [int(parts.read_json(self._chain.manifest(steps - 1, name))["rows"]) for name in names]

    def _write(self, ends: Path, units: Sequence[Mapping[str, Any]]) -> _Written:
        """Split and write."""
        options, names = self._options, list(self._parts)
        laid_out = [LAYOUT_FORMAT, options.seed, options.validation, self._wishes, SHARD_CHARACTERS]
        key = content_key([self._plan.key, *laid_out])
        shards_place, pieces = self._root / f"shards-{key}", self._root / f"pieces-{key}"
        with writing(pieces):
            pieces.mkdir(exist_ok=True)
        layout = lay_out(names, ends, pieces / "layout.npz", options.validation, self._inputs, self._wishes)
        if layout is None:
            raise self._no_text(self._accounts(units))
        tasks = [Task(f"{n:05}", len(group), group) for n, group in enumerate(layout.shards)]
        if not shards(self._text, "train"):
            stage = WriteStage(self._chain, shards_place, pieces, pieces / "layout.npz", layout.share)
            self._run("writing", stage, tasks)
            self._join(tasks, pieces, shards_place)
            self._publish(shards_place)
        found = [parts.read_json(pieces / f"{task.name}.json") for task in tasks]
        if None in found:
            raise UserError(f"{self._text} already holds another corpus; give a new directory")
        sizes = {side: _merged(Sizes.from_json(each[side]) for each in found) for side in SIDES}
        return _Written(**sizes, epochs=layout.epochs, seconds=sum(each["seconds"] for each in found))

    def _join(self, tasks: Sequence[Task], pieces: Path, target: Path) -> None:
        """Put the pieces of validation together into shards."""
        found = [parts.read_json(pieces / f"{task.name}.json") for task in tasks]
        sizes = [Sizes.from_json(each["validation"]).total().characters for each in found]
        filled = [task.name for task, size in zip(tasks, sizes, strict=True) if size]
        groups = grouped(filled, [size for size in sizes if size], SHARD_CHARACTERS)
        paths = [[pieces / f"{name}.parquet" for name in group] for group in groups if group]
        self._run(
            "writing validation",
            JoinStage(target),
            [Task(f"{number:05}", len(group), group) for number, group in enumerate(paths)],
        )

    def _publish(self, made: Path) -> None:
        """The shards become the corpus in one rename."""
        with writing(self._text):
            self._text.parent.mkdir(parents=True, exist_ok=True)
            sync_directory(made)
            if self._text.is_dir():
                self._text.rmdir()
            made.rename(self._text)
            sync_directory(self._text.parent)

    def _accounts(self, units: Sequence[Mapping[str, Any]]) -> list[StepAccount]:
        """What each step did, from the manifests of all parts in order; the first is reading."""
        found = [_read_account(units)]
        for number, step in enumerate(self._plan.steps):
            account = StepAccount(step.name, step.options)
            for name in self._parts:
                account.add(parts.read_json(self._chain.manifest(number, name)))
            decided = parts.read_json(self._root / step.folder / "decided.json")
            account.seconds += decided["seconds"] if decided else 0.0
            for path in (
                [self._chain.signs(number, name) for name in self._parts] if step.is_collective else []
            ):
                account.seconds += parts.read_json(path.with_suffix(".json"))["seconds"]
            found.append(account)
        return found

    def _report(self, units: Sequence[Mapping[str, Any]], written: _Written) -> CorpusReport:
        read = _merged(Sizes.from_json(unit["read"]) for unit in units)
        accounts = self._accounts(units)
        kept, came, train = accounts[-1].sizes, read.by_input(), written.train.by_input()
        stayed = kept.by_input()
        trained = max(1, written.train.total().characters)
        inputs = {
            name: InOut(
                came.get(name, Size()),
                stayed.get(name, Size()),
                train.get(name, Size()),
                round(written.epochs[name], 4),
                round(train.get(name, Size()).characters / trained, 4),
                self._wishes.get(name, Wish()).share,
            )
            for name in self._inputs
        }
        return CorpusReport(
            read=read.total(),
            kept=kept.total(),
            train=written.train.total(),
            validation=written.validation.total(),
            files=sum(source.path is not None for source in self._sources),
            inputs=inputs,
            languages=kept.by_language(),
            steps=step_accounts(read.total(), accounts),
            skipped=counted(self._skipped),
            skipped_files=self._skipped.files,
            warnings=self._warnings
            + warnings_of(accounts)
            + _much_repeated(written.epochs)
            + _missed(inputs),
            seconds={a.name: round(a.seconds, 2) for a in accounts} | {"write": round(written.seconds, 2)},
        )

    def _no_text(self, accounts: Sequence[StepAccount]) -> InputError:
        """The refusal of inputs of which nothing is left."""
        named = ", ".join(self._inputs)
        dropped = [
            (
                happening.documents,
                f"{reason} by {account.name}" if account.name != "read" else reason,
                happening.first,
            )
            for account in accounts
            for reason, happening in account.notes.dropped.items()
        ]
        skipped = [(count, reason, self._skipped.places[reason]) for reason, count in self._skipped.items()]
        most = sorted(dropped + skipped, key=lambda entry: -entry[0])[:5]
        why = ", ".join(f"{count} {reason} (first: {first})" for count, reason, first in most)
        steps = [account.name for account in accounts if account.name != "read" and account.notes.dropped]
        given = [option for name in steps for option in self._given(name)]
        if given:
            mend = f"drop {' '.join(given)}, or give other values"
        elif steps:
            mend = f"without_steps={','.join(steps)} keeps what they drop"
        else:
            mend = "give .txt, .md, .jsonl or .parquet files with text in them"
        return InputError(f"no text in {named}{f'; left out: {why}' if why else ''}; {mend}")

    def _given(self, step: str) -> list[str]:
        """The options of a step that were given, as they are written on the command line."""
        values = self._options.step_options.get(step) or {}
        return [
            f"{step}.{key}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
            for key, value in values.items()
        ]


def _much_repeated(times_of: Mapping[str, float]) -> list[str]:
    return [
        f"{name} stands {times:.1f} times in training; past {WORTHWHILE:.0f} times text adds little"
        for name, times in times_of.items()
        if times > WORTHWHILE
    ]


def _missed(inputs: Mapping[str, InOut]) -> list[str]:
    return [
        f"{name} makes {one.share:.1%} of training, not {one.wished_share:.1%} as wished: "
        "some of its texts are too long for that"
        for name, one in inputs.items()
        if one.wished_share is not None and abs(one.share - one.wished_share) > _FAR
    ]


def _read_account(units: Sequence[Mapping[str, Any]]) -> StepAccount:
    account = StepAccount("read", {})
    for unit in units:
        account.add(unit)
    return account


def _merged(sizes: Iterable[Sizes]) -> Sizes:
    found = Sizes()
    for each in sizes:
        found.merge(each)
    return found

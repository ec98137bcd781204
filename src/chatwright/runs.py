"""A run is a directory: what was done, with what, from what, and what came of it.

    run.json       verb, options, parents, inputs, versions, the resolved plan, the result
    metrics.jsonl  one line a logged step
    report.html    the curves
    state/step-N/  what resuming needs (training verbs only)
    …              the verb's product (weights, tokenizer files, corpus shards)

Doing a verb again on the same directory resumes it; on a finished run it does nothing; with other options or inputs
it refuses and shows the difference.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from chatwright.config import as_dict, dumps
from chatwright.errors import UserError
from chatwright.files import atomic_write, writing

PathLike = str | Path
_FIELDS = {
    "id",
    "verb",
    "options",
    "parents",
    "inputs",
    "status",
    "created",
    "versions",
    "plan",
    "result",
    "content",
}
_VERSIONED = ("chatwright", "torch", "tokenizers", "tiktoken", "numpy", "pyarrow")


@dataclass(frozen=True)
class Run:
    """A run on disk. Cheap to make; everything is read from the directory when asked."""

    directory: Path

    @classmethod
    def open(cls, place: PathLike | Run, verbs: Sequence[str] = ()) -> Self:
        """The finished run at `place`; refused when there is none, it is unfinished, or it is of another verb."""
        run = cls(place.directory if isinstance(place, Run) else Path(place))
        if not run.exists:
            raise UserError(f"there is no run at {run.directory} (no run.json in it)")
        info = run.info
        if verbs and info["verb"] not in verbs:
            wanted = " or ".join(verbs)
            raise UserError(f"{run.directory} is a run of {info['verb']!r}; this needs one of {wanted}")
        if info["status"] != "finished":
            raise UserError(
                f"{run.directory} is not finished; run its {info['verb']} command again to resume it"
            )
        return run

    @property
    def exists(self) -> bool:
        return (self.directory / "run.json").is_file()

    @property
    def info(self) -> dict[str, Any]:
        """What run.json holds."""
        path = self.directory / "run.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise UserError(f"cannot read {path}: {error}; give another run, or delete this one") from None
        if not isinstance(content, dict) or not content.keys() >= _FIELDS:
            raise UserError(f"{path} does not describe a run; give another run, or delete this one")
        return content

    @property
    def verb(self) -> str:
        return str(self.info["verb"])

    @property
    def finished(self) -> bool:
        return self.exists and self.info["status"] == "finished"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.info["options"])

    @property
    def plan(self) -> dict[str, Any]:
        """What was measured or clocked for this run, decided once."""
        return dict(self.info["plan"])

    @property
    def result(self) -> dict[str, Any]:
        return dict(self.info["result"])

    def parent(self, role: str) -> Run | None:
        """The run that served in that role (`corpus`, `tokenizer`, `start` …), if it is still where it was."""
        entry = self.info["parents"].get(role)
        place = Run((self.directory / entry["path"]).resolve()) if entry else None
        return place if place and place.exists else None

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; a half-written last line (the machine went down) is left out."""
        path = self.directory / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def __fspath__(self) -> str:
        return str(self.directory)

    def __str__(self) -> str:
        return str(self.directory)


class OpenRun(Run):
    """A run that this process holds and works on."""

    def update(self, **changes: Any) -> None:
        """Set fields of run.json, atomically."""
        atomic_write(self.directory / "run.json", dumps({**self.info, **changes}))

    def resolve(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Write the plan down; a plan that stands already is kept and returned instead."""
        if not self.plan:
            self.update(plan=as_dict(plan))
        return self.plan

    def log(self, **fields: Any) -> None:
        """Add a line to metrics.jsonl."""
        with writing(self.directory), (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_dict(fields), ensure_ascii=False) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Drop the lines past `step`: they will be made again."""
        kept = [row for row in self.metrics() if row.get("step", 0) <= step]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        atomic_write(self.directory / "metrics.jsonl", text)

    def finish(self, content: Sequence[PathLike], **result: Any) -> Run:
        """Mark the run as finished. `content` names the files whose hash stands for the run in its children."""
        digest = hash_files([self.directory / path for path in content])
        seconds = round(time.time() - self.info["created"], 1)
        self.update(status="finished", content=digest, result=as_dict(result), seconds=seconds)
        return Run(self.directory)


@contextmanager
def start(
    verb: str,
    directory: PathLike,
    options: Any,
    parents: Mapping[str, Run] | None = None,
    inputs: Sequence[PathLike] = (),
    mend: str = "give a new -o",
) -> Iterator[OpenRun]:
    """Open the run of `verb` at `directory`: a new one, or the same one to resume. Held by this process alone.

    `mend` is what the refusal of other options or inputs advises.

    Raises UserError when another process holds it, when it is another run, or when the directory holds other things.
    """
    run = OpenRun(Path(directory))
    identity = {
        "verb": verb,
        "options": as_dict(options),
        "parents": {role: _parent_entry(run.directory, parent) for role, parent in (parents or {}).items()},
        "inputs": [_input_entry(path) for path in inputs],
    }
    with writing(run.directory):
        if not run.exists:
            _refuse_foreign(run.directory)
        made = not run.directory.exists()
        run.directory.mkdir(parents=True, exist_ok=True)
        with _held(run.directory):
            is_new = not run.exists
            try:
                if is_new:
                    atomic_write(run.directory / "run.json", dumps(_new_info(identity)))
                else:
                    _refuse_difference(run, identity, mend)
                remove_leftovers(run.directory)
                yield run
            except UserError:
                if is_new and not (run.exists and run.plan):
                    _clear(run.directory, whole=made)
                raise


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes had written aside in a run that this process holds now."""
    for folder in (directory, directory / "state"):
        for path in folder.glob("*.tmp*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _clear(directory: Path, whole: bool) -> None:
    """Take back a run that was refused before it had begun: what the user gave was wrong, and nothing is lost."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if whole:
        directory.rmdir()


def _new_info(identity: Mapping[str, Any]) -> dict[str, Any]:
    key = hashlib.blake2b(json.dumps([identity, time.time_ns()]).encode(), digest_size=6).hexdigest()
    return {
        "id": key,
        **identity,
        "status": "running",
        "created": time.time(),
        "versions": versions(),
        "plan": {},
        "result": {},
        "content": None,
    }


def versions() -> dict[str, str]:
    """The versions of Python, the processor's name and the libraries that results depend on."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _parent_entry(directory: Path, parent: Run) -> dict[str, Any]:
    info = parent.info
    path = os.path.relpath(parent.directory.resolve(), directory.resolve())
    return {"id": info["id"], "verb": info["verb"], "path": path, "content": info["content"]}


def _input_entry(path: PathLike) -> dict[str, Any]:
    place = Path(path)
    if not place.exists():
        return {"path": str(path), "content": None}
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return {"path": str(path), "content": hash_files(files), "bytes": sum(p.stat().st_size for p in files)}


def hash_files(paths: Sequence[Path]) -> str:
    """A digest of the names and contents of files, in the order given; an unreadable file counts by its name."""
    total = hashlib.blake2b(digest_size=16)
    for path in paths:
        total.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "blake2b").digest())
        except OSError:
            total.update(b"unreadable")
    return total.hexdigest()


def _refuse_foreign(directory: Path) -> None:
    if directory.is_file():
        raise UserError(f"{directory} is a file; -o needs a directory of its own for the run")
    if directory.is_dir() and any(not _is_own(p.name) for p in directory.iterdir()):
        raise UserError(f"{directory} holds other files and no run.json; give -o a new or empty directory")


def _is_own(name: str) -> bool:
    """Whether a killed process that had just begun a run may have left this."""
    return name == ".lock" or name.startswith("run.json.tmp-")


def _refuse_difference(run: Run, identity: Mapping[str, Any], mend: str) -> None:
    info = run.info
    if info["verb"] != identity["verb"]:
        raise UserError(
            f"{run.directory} is a run of {info['verb']!r}, not {identity['verb']!r}; give a new -o"
        )
    found = list(_differences(info["options"], identity["options"], ""))
    for role, entry in identity["parents"].items():
        before = info["parents"].get(role, {})
        if before.get("content") != entry["content"]:
            found.append(f"{role}: {before.get('path', 'none')} → {entry['path']} (its content differs)")
    if [e["content"] for e in info["inputs"]] != [e["content"] for e in identity["inputs"]]:
        names = ", ".join(e["path"] for e in identity["inputs"])
        found.append(f"inputs: the content of {names} differs")
    if found:
        difference = "; ".join(found)
        raise UserError(f"{run.directory} was made with other options or inputs ({difference}); {mend}")


def _differences(before: Any, after: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif before != after:
        yield f"{place}: {before} → {after}"


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"{directory} is in use by another process (pid {holder}); wait for it or give a new -o"
            ) from None
        # the number is a courtesy to whoever finds the run held; a full disk is for the run itself to report
        with suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        yield

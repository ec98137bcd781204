"""One run directory for many processes: the first holds it and writes, the others read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatwright import runs
from chatwright.distributed.launch import World
from chatwright.errors import UserError
from chatwright.runs import OpenRun, PathLike, Run


class _Follower(OpenRun):
    """The run as the other processes see it: everything that writes is left to the first."""

    def update(self, **changes: Any) -> None:
        pass

    def log(self, **fields: Any) -> None:
        pass

    def cut_metrics(self, step: int) -> None:
        pass

    def finish(self, content: Sequence[PathLike], **result: Any) -> Run:
        return Run(self.directory)


@contextmanager
def start(
    world: World,
    verb: str,
    directory: PathLike,
    options: Any,
    parents: Mapping[str, Run] | None = None,
    inputs: Sequence[PathLike] = (),
) -> Iterator[OpenRun]:
    """`runs.start` on the first process; the others wait for it and follow. A refusal reaches all of them."""
    if not world.leads:
        refusal = world.share(None)
        if refusal:
            raise UserError(refusal)
        yield _Follower(Path(directory))
        return
    opened = False
    try:
        with runs.start(verb, directory, options, parents, inputs) as run:
            opened = True
            world.share(None)
            yield run
    except BaseException as error:
        if not opened:
            world.share(str(error) or type(error).__name__)
        raise

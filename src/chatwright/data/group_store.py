"""Group store: encoded replies in groups, memory-mapped, with numbers for each reply.

A folder with a token store (a document is one sequence, prompt and reply; its mask is the reply), `groups.npy`
(int64[G + 1], at which sequence each group begins, and the end), and `NAME.npy` (float32[S], one for each sequence)
for every number: `rank` and `margin` of a comparison, `wanted` of a labelled reply, and what is computed later.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatwright.data.groups import Group, Reply
from chatwright.data.store import TokenStore
from chatwright.errors import UserError
from chatwright.files import atomic_write

GROUPS = "groups"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class GroupStore:
    """An open store: `sequences`, `groups` int64[num_groups + 1], and `numbers`, float32[num_sequences] by name."""

    sequences: TokenStore
    groups: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float32]]

    @classmethod
    def open(cls, directory: str | Path, tokenizer: str | None = None) -> GroupStore:
        """Open a folder of groups; refuse one not encoded by the tokenizer of that digest, or a damaged one."""
        directory = Path(directory)
        sequences = TokenStore.open(directory, tokenizer)
        path = directory / f"{GROUPS}.npy"
        if not path.is_file():
            raise UserError(f"there are no groups in {directory}: {path.name} is missing; encode it again")
        groups = _load(path, np.dtype(np.int64))
        whole = len(groups) > 1 and groups[0] == 0 and groups[-1] == sequences.num_documents
        if sequences.mask is None or not whole or (np.diff(groups) < 1).any():
            raise _damaged(path)
        numbers = {}
        for path in sorted(directory.glob("*.npy")):
            if path.stem != GROUPS:
                numbers[path.stem] = _load(path, np.dtype(np.float32), sequences.num_documents)
        return cls(sequences, groups, numbers)

    @property
    def directory(self) -> Path:
        return self.sequences.directory

    @property
    def num_groups(self) -> int:
        return len(self.groups) - 1

    @property
    def num_sequences(self) -> int:
        return self.sequences.num_documents

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of the longest sequence of each group, int64[num_groups]."""
        return np.maximum.reduceat(self.sequences.lengths(), self.groups[:-1])

    def group(self, index: int) -> Group:
        """One group, each reply with its numbers."""
        return Group(tuple(map(self.reply, range(self.groups[index], self.groups[index + 1]))))

    def reply(self, sequence: int) -> Reply:
        """One sequence with its numbers."""
        begin, end = self.sequences.bounds(sequence)
        assert self.sequences.mask is not None
        start = int(self.sequences.mask[begin:end].argmax())
        numbers = {name: float(values[sequence]) for name, values in self.numbers.items()}
        return Reply(self.sequences.slice(begin, end).astype(np.int64), start, numbers)

    def with_numbers(self, name: str, values: NDArray[np.float32]) -> GroupStore:
        """This store with one more number for each sequence, in memory only."""
        assert _NAME.fullmatch(name) and name != GROUPS, name
        assert values.shape == (self.num_sequences,), (name, values.shape, self.num_sequences)
        return replace(self, numbers={**self.numbers, name: values.astype(np.float32)})

    def save_numbers(self, name: str, values: NDArray[np.float32]) -> GroupStore:
        """`with_numbers`, and written into the folder, whole or not at all; `open` finds it again."""
        store = self.with_numbers(name, values)
        save_array(self.directory / f"{name}.npy", store.numbers[name])
        return store


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as a `.npy` file, replaced whole."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    atomic_write(path, buffer.getvalue())


def _load(path: Path, dtype: np.dtype[Any], count: int | None = None) -> NDArray[Any]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    if values.dtype != dtype or values.ndim != 1 or count not in (None, len(values)):
        raise _damaged(path)
    # a plain array over the map: indexing np.memmap itself is several times slower
    return values.view(np.ndarray)  # type: ignore[no-any-return]


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged; delete its folder and encode again")


class GroupRows:
    """Groups as rows, each once an epoch in an order drawn from (seed, epoch); a pure function of (epoch, index).

    With `limit`, a group with a sequence of more tokens is left out and counted in `skipped`: a reply without its end
    would be another reply. With `shuffle` off every epoch keeps the order of the file.
    """

    def __init__(
        self,
        store: GroupStore,
        seed: int = 0,
        shuffle: bool = True,
        limit: int | None = None,
        shared: bool = True,
    ) -> None:
        """shared: whether the replies of a group may stand behind one copy of their prompt."""
        if seed < 0:
            raise UserError(f"seed={seed} should be 0 or more")
        self.store = store
        self._seed = seed
        self._shuffle, self._shared = shuffle, shared
        lengths = store.lengths()
        self._usable = np.arange(store.num_groups) if limit is None else np.flatnonzero(lengths <= limit)
        self.skipped = store.num_groups - len(self._usable)
        self._order: tuple[int, NDArray[np.int64]] | None = None
        if len(self._usable) == 0:
            raise UserError(
                f"no group in {store.directory} fits into {limit} tokens, prompt and reply; the shortest has "
                f"{int(lengths.min())}: raise the limit"
            )

    def rows_in_epoch(self, epoch: int) -> int:
        return len(self._usable)

    def row(self, epoch: int, index: int) -> Group:
        group = self.store.group(self.place(epoch, index))
        return group if self._shared else replace(group, shared=False)

    def place(self, epoch: int, index: int) -> int:
        """Which group of the store stands there in the epoch's order."""
        return int(self._permutation(epoch)[index])

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if not self._shuffle:
            return self._usable
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._usable)
        return self._order[1]

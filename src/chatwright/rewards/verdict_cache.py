"""Verdicts that survive a kill."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from chatwright.errors import UserError
from chatwright.files import writing
from chatwright.rewards.verdicts import Verdict

_SAID_KEPT = 2000


class VerdictCache:
    """Verdicts by key in a JSON Lines file, each written as soon as it is there; safe among threads."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a line that is no verdict. Half a line at the end, of a killed process, is cut off."""
        self.path = path
        self._lock = Lock()
        self._file: BinaryIO | None = None
        self._verdicts = self._read()

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, key: str) -> Verdict | None:
        return self._verdicts.get(key)

    def add(self, key: str, verdict: Verdict, said: str) -> None:
        """Keep a verdict, with the end of what was said, for people who read the file."""
        line = json.dumps({"key": key, "verdict": verdict, "said": said[-_SAID_KEPT:]}, ensure_ascii=False)
        with self._lock, writing(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab")
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._file.flush()
            self._verdicts[key] = verdict

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _read(self) -> dict[str, Verdict]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {(error.strerror or str(error)).lower()}") from None
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with writing(self.path):
                os.truncate(self.path, whole)
        lines = enumerate(content[:whole].split(b"\n"), 1)
        return dict(self._verdict(number, line) for number, line in lines if line.strip())

    def _verdict(self, number: int, line: bytes) -> tuple[str, Verdict]:
        try:
            row = json.loads(line)
            key, verdict = row["key"], row["verdict"]
        except (ValueError, KeyError, TypeError):
            key, verdict = None, None
        if not isinstance(key, str) or verdict not in ("A", "B", "tie"):
            raise UserError(f"{self.path}:{number} is no verdict; delete the line, and it is asked again")
        return key, verdict

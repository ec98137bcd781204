"""The run as a GGUF file, for engines that read one."""

from __future__ import annotations

from pathlib import Path

from chatwright.models.interop.directory import read_directory
from chatwright.models.interop.gguf_out import write_gguf


def export(directory: Path, place: Path, kind: str) -> Path:
    """Write the model of a run into a folder; prompts come as tokens, so what its tokenizer would add plays no part."""
    file = place / "model.gguf"
    write_gguf(read_directory(directory), file, kind, directory.name)
    return file

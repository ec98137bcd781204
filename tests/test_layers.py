"""The architecture, held by a test: who may import whom, and how large things may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "chatwright"
LAYERS = (
    "errors",
    "files",
    "config",
    "registry",
    "progress",
    "runs",
    "distributed",
    "corpora",
    "tokenization",
    "metrics",
    "data",
    "models",
    "generation",
    "rewards",
    "objectives",
    "optim",
    "training",
    "evaluation",
    "insight",
    "serving",
    "recipes",
    "cli",
    "__main__",
)
STRANGERS = [
    {"corpora", "models"},
    {"generation", "objectives"},
    {"generation", "optim"},
    {"objectives", "optim"},
    {"models", "distributed"},
]
WITHOUT_TORCH = (
    "errors",
    "files",
    "config",
    "registry",
    "progress",
    "runs",
    "corpora",
    "tokenization",
    "data",
    "cli",
)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path, deferred: bool = True) -> Iterator[str]:
    """The dotted names that a module imports; without `deferred`, only those that importing it runs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(inner) for node in ast.walk(tree) if _is_deferred(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if not deferred and id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_deferred(node: ast.AST) -> bool:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return is_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))


def ours(path: Path) -> set[str]:
    """The layers that a module imports."""
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "chatwright" and len(parts) > 1} & set(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    here = layer(path)
    if here == "__init__":
        return
    assert here in LAYERS, f"{here} has no place in the map"
    for other in ours(path) - {here}:
        assert LAYERS.index(other) < LAYERS.index(here), (
            f"{path.name} ({here}) imports {other}, which stands below it"
        )
        assert {here, other} not in STRANGERS, f"{here} and {other} must not meet"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_the_upper_layers_do_without_torch(name: str) -> None:
    for path in (p for p in modules() if layer(p) == name):
        heavy = {n for n in imports(path, deferred=False) if n.split(".")[0] in ("torch", "transformers")}
        assert not heavy, f"{path} imports {heavy} when it is imported"


def test_files_stay_under_500_lines() -> None:
    long = [p.name for p in modules() if len(p.read_text(encoding="utf-8").splitlines()) > 500]
    assert not long


def test_functions_stay_short() -> None:
    lengths = {
        f"{path.name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name for name, length in lengths.items() if length > 80}
    assert sum(length > 40 for length in lengths.values()) <= len(lengths) / 10


def test_recipes_and_the_loop_stay_thin() -> None:
    for path in (SOURCE / "recipes").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 180, path.name
    assert len((SOURCE / "training" / "loop.py").read_text(encoding="utf-8").splitlines()) <= 165

"""The documentation of installed Python packages as a corpus: `python:stdlib`, `python:numpy`, ...

The text is whatever the running interpreter has: docstrings of public modules, classes,
functions and methods, and for `stdlib` also the help topics (`help("with")`). No download.
"""

from __future__ import annotations

import builtins
import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import keyword
import logging
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from chatwright.errors import UserError

Kind = Literal["module", "class", "function", "method", "topic"]

STDLIB = "stdlib"

# Importing these opens a browser, prints a poem or pulls in setuptools' patches; or they need a window
# system, and the corpus should be the same on a machine without one. The rest are tests, private machinery
# with a public spelling, or the platform half of another module: everybody knows `posixpath.join` as
# `os.path.join`.
_LEFT_OUT = frozenset(
    {
        "antigravity",
        "this",
        "turtledemo",
        "idlelib",
        "lib2to3",
        "test",
        "tests",
        "conftest",
        "tkinter",
        "turtle",
        "distutils",
        "ensurepip",
        "pydoc_data",
        "encodings",
        "xxlimited",
        "xxlimited_35",
        "xxsubtype",
        "posix",
        "nt",
        "posixpath",
        "ntpath",
        "genericpath",
        "nturl2path",
        "sre_compile",
        "sre_constants",
        "sre_parse",
    }
)
# Left the standard library between Python 3.11 and 3.13: the corpus should not depend on the version that much.
_REMOVED = frozenset(
    {
        "aifc",
        "asynchat",
        "asyncore",
        "audioop",
        "cgi",
        "cgitb",
        "chunk",
        "crypt",
        "imghdr",
        "imp",
        "mailcap",
        "msilib",
        "nis",
        "nntplib",
        "ossaudiodev",
        "pipes",
        "smtpd",
        "sndhdr",
        "spwd",
        "sunau",
        "telnetlib",
        "uu",
        "xdrlib",
    }
)
# What a class or method has that nobody documented.
_PLACEHOLDERS = frozenset({"An enumeration.", "Internal function.", "Stub.", "Stub method."})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One documented thing: its full public name, what it is, and its documentation."""

    name: str
    kind: Kind
    doc: str


@dataclass(frozen=True)
class _Place:
    """One of the names under which an object can be reached."""

    module: types.ModuleType
    attribute: str
    listed: bool


def entries(package: str) -> Iterator[Entry]:
    """Every documented public thing of `package`, each object once, in a fixed order.

    `package` is `stdlib` or the import name of an installed package; anything else is a
    `UserError`. Modules that fail to import are skipped.
    """
    modules, failed = load_modules(package)
    if failed:
        _log.info("python:%s: %d modules did not import: %s", package, len(failed), " ".join(failed))
    roots = _roots(package)
    documented: list[tuple[str, Entry]] = []
    for module in modules:
        if doc := _clean(module.__doc__):
            documented.append((_module_name(module), Entry(_module_name(module), "module", doc)))
    for name, found in _best_places(modules, roots):
        documented.extend((entry.name, entry) for entry in _object_entries(name, found))
    seen: set[str] = set()
    for name, entry in sorted(documented, key=lambda pair: pair[0]):
        if name not in seen:
            seen.add(name)
            yield entry
    if package == STDLIB:
        yield from _topics()


def documents(package: str) -> Iterator[tuple[str, str]]:
    """The corpus of `package`: pairs (id, text), one for each entry, in the order of `entries`."""
    for entry in entries(package):
        yield f"python:{package}/{entry.kind}/{entry.name}", f"{entry.name}\n\n{entry.doc}\n"


def exists(name: str) -> bool:
    """Whether Python itself knows `name`, documented or not: a keyword, or what the loaded modules lead to."""
    parts = name.split(".")
    if keyword.iskeyword(parts[-1]) or name in sys.stdlib_module_names or _leads_to(builtins, parts):
        return True
    modules = ((sys.modules.get(".".join(parts[:end])), parts[end:]) for end in range(len(parts), 0, -1))
    return any(module is not None and _leads_to(module, rest) for module, rest in modules)


def _leads_to(found: object, attributes: Sequence[str]) -> bool:
    with _silence():
        for attribute in attributes:
            # Lazy attributes may fail with anything.
            try:
                found = getattr(found, attribute)
            except Exception:
                return False
    return True


def load_modules(package: str) -> tuple[list[types.ModuleType], list[str]]:
    """The public modules of `package`, imported, and the names of those that failed to import."""
    if package == STDLIB:
        names = sorted(name for name in sys.stdlib_module_names if _is_public(name) and name not in _REMOVED)
    else:
        _require_installed(package)
        names = [package]
    modules: list[types.ModuleType] = []
    failed: list[str] = []
    with _silence():
        for name in names:
            _load_tree(name, modules, failed)
    if package != STDLIB and not modules:
        raise UserError(
            f"python:{package}: the package is installed but `import {package}` fails; mend it "
            "or name another package"
        )
    return modules, failed


def _require_installed(package: str) -> None:
    parts_valid = all(part.isidentifier() for part in package.split("."))
    try:
        installed = parts_valid and importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        installed = False
    if installed:
        return
    known = {STDLIB, *sys.stdlib_module_names, *importlib.metadata.packages_distributions()}
    near = difflib.get_close_matches(package, sorted(known), n=1)
    mend = f"did you mean python:{near[0]}?" if near else f"install it, or use python:{STDLIB}"
    raise UserError(f"python:{package}: no package of this name is installed; {mend}")


def _load_tree(name: str, modules: list[types.ModuleType], failed: list[str]) -> None:
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit):
        failed.append(name)
        return
    modules.append(module)
    if name == "os":
        modules.append(importlib.import_module("os.path"))
    for child in sorted(pkgutil.iter_modules(getattr(module, "__path__", []))):
        if _is_public(child.name):
            _load_tree(f"{name}.{child.name}", modules, failed)


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _LEFT_OUT


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield


def _roots(package: str) -> frozenset[str]:
    """Top-level packages whose objects belong to `package`."""
    return sys.stdlib_module_names if package == STDLIB else frozenset({package.partition(".")[0]})


def _module_name(module: types.ModuleType) -> str:
    # os.path calls itself posixpath or ntpath, which is not what anybody imports.
    return "os.path" if module is sys.modules["os.path"] else module.__name__


def _best_places(modules: list[types.ModuleType], roots: frozenset[str]) -> Iterator[tuple[str, object]]:
    """Each public object of `modules` once, with the best of its names."""
    objects: dict[int, object] = {}
    places: dict[int, list[_Place]] = {}
    for module in modules:
        for place, found in _public_attributes(module):
            if _home(found).partition(".")[0] in roots:
                objects[id(found)] = found
                places.setdefault(id(found), []).append(place)
    for identity, candidates in places.items():
        found = objects[identity]
        best = min(candidates, key=_rank(found))
        if best.module is builtins:
            yield best.attribute, found
        else:
            yield f"{_module_name(best.module)}.{best.attribute}", found


def _public_attributes(module: types.ModuleType) -> Iterator[tuple[_Place, object]]:
    listed = vars(module).get("__all__")
    for attribute in sorted(set(vars(module) if listed is None else listed)):
        if not _is_public(attribute):
            continue
        place: _Place | None = None
        # Lazy attributes may fail, for example when a dependency is missing.
        with _silence(), contextlib.suppress(Exception):
            found = getattr(module, attribute)
            place = _Place(module, attribute, listed is not None) if _is_documentable(found) else None
        if place is not None:
            yield place, found


def _is_documentable(found: object) -> bool:
    if inspect.ismodule(found):
        return False
    if inspect.isclass(found) or inspect.isroutine(found):
        return True
    # numpy's ufuncs and functools' wrappers are plain instances with a name and a docstring of their own.
    has_own_doc = isinstance(getattr(found, "__doc__", None), str) and found.__doc__ != type(found).__doc__
    return callable(found) and has_own_doc and isinstance(getattr(found, "__name__", None), str)


def _home(found: object) -> str:
    """The module that says it defines `found`."""
    home = getattr(found, "__module__", None)
    if not isinstance(home, str):
        owner = getattr(found, "__self__", None)
        home = owner.__name__ if isinstance(owner, types.ModuleType) else type(found).__module__
    return home


def _rank(found: object) -> Callable[[_Place], tuple[object, ...]]:
    """A sorting key: a package that exports its submodule's object, then the defining module, then others."""
    home = _home(found)
    own_name = getattr(found, "__name__", None)

    def rank(place: _Place) -> tuple[object, ...]:
        where = place.module.__name__
        exported = place.listed and (home == where or home.startswith(where + "."))
        related = home.lstrip("_").partition(".")[0] == where.partition(".")[0]
        full_name = f"{_module_name(place.module)}.{place.attribute}"
        depth = where.count(".")
        return (
            not exported,
            depth if exported else 0,
            home != where,
            not related,
            place.attribute != own_name,
            depth,
            full_name,
        )

    return rank


def _object_entries(name: str, found: object) -> Iterator[Entry]:
    if not inspect.isclass(found):
        if doc := _clean(getattr(found, "__doc__", None)):
            yield Entry(name, "function", doc)
        return
    if doc := _clean(vars(found).get("__doc__")):
        yield Entry(name, "class", doc)
    methods: dict[int, str] = {}
    for attribute, member in sorted(vars(found).items()):
        if attribute.startswith("_") or not _is_method(member):
            continue
        function = getattr(member, "__func__", member)
        doc = _clean(getattr(function, "__doc__", None))
        if not doc or _is_inherited(found, attribute, doc):
            continue
        first = methods.setdefault(id(function), attribute)
        if first == attribute:
            yield Entry(f"{name}.{attribute}", "method", doc)


def _is_method(member: object) -> bool:
    return isinstance(member, classmethod | staticmethod) or inspect.isroutine(member)


def _is_inherited(owner: type, attribute: str, doc: str) -> bool:
    bases = owner.__mro__[1:]
    return any(_clean(getattr(vars(base).get(attribute), "__doc__", None)) == doc for base in bases)


def _clean(doc: object) -> str | None:
    if not isinstance(doc, str):
        return None
    text = inspect.cleandoc(doc).strip()
    return None if text in _PLACEHOLDERS else text or None


def _topics() -> Iterator[Entry]:
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        if doc := _clean(text):
            yield Entry(name, "topic", doc)

"""Data sets of the Hugging Face Hub and of ModelScope: `hf:owner/name`, `modelscope:owner/name:config@split`.

What is on this machine is read as it lies there, without a network: a folder given by the option `mirror` or the
variable CHATWRIGHT_MIRROR, then the hub's own cache. Only what is nowhere is fetched, by the hub's own package.
Which files make up a configuration and a split is said by the data set's card (README.md), else by their names.
"""

from __future__ import annotations

import importlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chatwright.corpora.reading.raw import PARQUET, ROW_TYPES, TABLE_TYPES, kind
from chatwright.errors import UserError, did_you_mean

_NAME = re.compile(r"(?P<owner>[\w.-]+/)?(?P<name>[\w.-]+)(:(?P<config>[^:@]+))?(@(?P<split>[^:@]+))?")
_TYPES = (PARQUET, *ROW_TYPES, *TABLE_TYPES, ".txt")
_NO_DATA = {"dataset_info.json", "dataset_infos.json", "state.json", "configuration.json", "package.json"}
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_CANONICAL = {word: split for split, words in _SPLITS.items() for word in words}
_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(_CANONICAL)})(?![a-z])", re.IGNORECASE)
ALL = "all"
"""The split that stands for all files."""


@dataclass(frozen=True)
class Hub:
    """One place where data sets are published: where its caches are, and how it is asked."""

    prefix: str
    package: str
    caches: Callable[[], list[Path]]
    fetch: Callable[[str], str]
    offline: str

    def files(self, name: str, mirror: Path | None = None) -> list[tuple[str, Path]]:
        """`(title, path)` of every file of a data set, configuration and split; the title begins with `prefix:`.

        Without a split that is the training split, or all where nothing is split; `@all` is everything. Raises
        UserError for a data set that is not on this machine and cannot be fetched, naming where it was looked for.
        """
        match = _NAME.fullmatch(name)
        label = f"{self.prefix}:{name}"
        if match is None:
            raise UserError(
                f"{label}: write it as {self.prefix}:owner/name, {self.prefix}:owner/name:config@split"
            )
        id_ = (match["owner"] or "") + match["name"]
        root = self._root(id_, mirror, label)
        chosen = choose_files(root, match["config"], match["split"], label)
        return [(f"{self.prefix}:{id_}/{path}", root / path) for path in chosen]

    def _root(self, id_: str, mirror: Path | None, label: str) -> Path:
        variable = os.environ.get("CHATWRIGHT_MIRROR")
        mirrors = [place for place in (mirror, Path(variable).expanduser() if variable else None) if place]
        places = [*mirrors, *self.caches()]
        for place in places:
            for root in _layouts(place, id_):
                if next(_data_files(root), None) is not None:
                    return root
        try:
            return Path(self._fetched(id_))
        except _NotFetchedError as error:
            looked = ", ".join(map(str, places))
            raise UserError(
                f"{label}: not on this machine (looked in {looked}) and not to be fetched ({error}); "
                "give the folder that holds it as mirror=FOLDER or CHATWRIGHT_MIRROR"
            ) from None

    def _fetched(self, id_: str) -> str:
        if os.environ.get(self.offline, "").lower() in ("1", "true", "yes", "on"):
            raise _NotFetchedError(f"{self.offline} forbids it")
        try:
            return self.fetch(id_)
        except ImportError:
            raise _NotFetchedError(f"the package {self.package} is not installed") from None
        except Exception as error:
            # Whatever goes wrong between here and a server is no bug of ours, and comes in many types.
            said = " ".join(str(error).split())[:120]
            raise _NotFetchedError(f"{type(error).__name__}: {said}") from None


class _NotFetchedError(Exception):
    """Why a data set could not be fetched."""


def _home(*parts: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().joinpath(*parts)


def _hf_caches() -> list[Path]:
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME")
    return [
        Path(given).expanduser()
        if given
        else Path(home).expanduser() / "hub"
        if home
        else _home("huggingface", "hub")
    ]


def _modelscope_caches() -> list[Path]:
    given = os.environ.get("MODELSCOPE_CACHE")
    base = Path(given).expanduser() if given else _home("modelscope")
    return [base / "hub", base]


def _fetch_hf(id_: str) -> str:
    from huggingface_hub import snapshot_download

    patterns = ["README.md", *(f"*{type_}{end}" for type_ in _TYPES for end in ("", ".gz", ".zst"))]
    return str(snapshot_download(id_, repo_type="dataset", allow_patterns=patterns))


def _fetch_modelscope(id_: str) -> str:
    return str(importlib.import_module("modelscope.hub.snapshot_download").dataset_snapshot_download(id_))


HUGGING_FACE = Hub("hf", "huggingface_hub", _hf_caches, _fetch_hf, "HF_HUB_OFFLINE")
MODELSCOPE = Hub("modelscope", "modelscope", _modelscope_caches, _fetch_modelscope, "MODELSCOPE_OFFLINE")


def _layouts(place: Path, id_: str) -> Iterator[Path]:
    """The folders under `place` in which a data set may lie: a mirror's, a cache's, with the owner or without."""
    owner, _, name = id_.rpartition("/")
    joined = id_.replace("/", "--")
    names = [id_, joined, id_.replace("/", "__"), id_.replace("/", "___"), id_.replace(".", "___")]
    if owner:
        names.append(name)
    cached = [f"datasets--{joined}", f"hub/datasets--{joined}", *(f"datasets/{name}" for name in names)]
    for candidate in (*cached, *names):
        folder = place / candidate
        if (folder / "snapshots").is_dir():
            yield from _snapshots(folder)
        elif folder.is_dir():
            yield folder


def _snapshots(folder: Path) -> list[Path]:
    """The snapshots of a data set in the Hub's cache: that of the branch `main` first, then newer ones before older."""
    main = folder / "refs" / "main"
    named = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
    found = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
    return sorted(found, key=lambda path: (path.name != named, -path.stat().st_mtime, path.name))


def _data_files(root: Path) -> Iterator[str]:
    """The relative paths of the files that hold rows or text."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            wanted = kind(path)[0] in _TYPES and name.lower() not in _NO_DATA and not name.startswith(".")
            if wanted and path.is_file():
                yield path.relative_to(root).as_posix()


def choose_files(root: Path, config: str | None, split: str | None, label: str) -> list[str]:
    """The relative paths of the files of one configuration and split, as the card says or else as they are named.

    Raises UserError for a configuration or a split that the data set does not have, naming those that it has.
    """
    configs = _configs(root)
    if configs:
        files = _of_card(root, configs, config, label)
    else:
        files = [(path, _split_of(path)) for path in _data_files(root)]
        if config is not None:
            files = [
                (path, found)
                for path, found in files
                if config in Path(path).parts[:-1] or config in Path(path).name.split(".")
            ]
    if not files:
        known = sorted({part for path in _data_files(root) for part in Path(path).parts[:-1]})
        raise UserError(
            f"{label}: no files of a configuration {config!r} in {root}{did_you_mean(config or '', known)}"
        )
    return _of_one_type(_of_split(files, split, label))


def _configs(root: Path) -> list[Mapping[str, Any]]:
    card = root / "README.md"
    if not card.is_file():
        return []
    text = card.read_text(encoding="utf-8", errors="replace")
    match = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        said = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return []
    configs = said.get("configs") if isinstance(said, dict) else None
    entries = configs if isinstance(configs, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and entry.get("data_files")]


def _of_card(
    root: Path, configs: Sequence[Mapping[str, Any]], config: str | None, label: str
) -> list[tuple[str, str | None]]:
    by_name = {str(entry.get("config_name", "default")): entry for entry in configs}
    if config is None:
        marked = [name for name, entry in by_name.items() if entry.get("default")]
        names = marked or (["default"] if "default" in by_name else list(by_name))
        if len(names) > 1:
            raise UserError(
                f"{label}: it has the configurations {', '.join(names)}; say which: {label}:{names[0]}"
            )
        config = names[0]
    if config not in by_name:
        raise UserError(f"{label}: it has no configuration {config!r}{did_you_mean(config, by_name)}")
    patterns = _patterns(by_name[config]["data_files"])
    return [(path, split) for split, pattern in patterns for path in _matching(root, pattern)]


def _patterns(said: Any) -> Iterator[tuple[str | None, str]]:
    """`(split, pattern)` out of the shapes in which a card lists files."""
    if isinstance(said, str):
        yield None, said
    elif isinstance(said, list):
        for item in said:
            yield from _patterns(item)
    elif isinstance(said, dict) and "path" in said:
        split = said.get("split")
        for _, pattern in _patterns(said["path"]):
            yield (None if split is None else str(split)), pattern
    elif isinstance(said, dict):
        for split, paths in said.items():
            yield from ((str(split), pattern) for _, pattern in _patterns(paths))


def _matching(root: Path, pattern: str) -> list[str]:
    if pattern.startswith("/") or ".." in Path(pattern).parts or not pattern:
        return []
    found = (path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())
    return sorted(path for path in found if kind(Path(path))[0] in _TYPES)


def _split_of(path: str) -> str | None:
    """The split that a file's name or folders tell of, the name first; None where they tell nothing."""
    for part in reversed(Path(path).parts):
        if match := _SPLIT_WORD.search(part):
            return _CANONICAL[match[1].lower()]
    return None


def _of_split(files: Sequence[tuple[str, str | None]], split: str | None, label: str) -> list[str]:
    known = {_CANONICAL.get(found, found) for _, found in files if found}
    wanted = _CANONICAL.get(split, split) if split else "train"
    if wanted == ALL or (split is None and not known):
        return [path for path, _ in files]
    chosen = [path for path, found in files if found and _CANONICAL.get(found, found) == wanted]
    if not chosen and wanted == "train":
        chosen = [path for path, found in files if found is None]
    if not chosen:
        listed = ", ".join(sorted(known)) or "no splits"
        raise UserError(f"{label}: it has no split {wanted!r} but {listed}; say which after @, or @{ALL}")
    return chosen


def _of_one_type(files: Sequence[str]) -> list[str]:
    """The files of the most frequent type: data sets often hold the same rows twice, in two formats."""
    types = Counter(kind(Path(path))[0] for path in files)
    best = max(types, key=lambda type_: (types[type_], -_TYPES.index(type_)))
    return list(dict.fromkeys(path for path in files if kind(Path(path))[0] == best))

"""The corpus pipeline: read, then one operator after another, then split and write; everything counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chatwright.config import option
from chatwright.corpora.documents import Doc, Notes, Operator, Tally, drop_empty, encodable
from chatwright.corpora.read import Source, discover, read
from chatwright.corpora.split import SIDES, split
from chatwright.corpora.store import CorpusWriter
from chatwright.errors import UserError
from chatwright.registry import lookup


@dataclass(frozen=True)
class CorpusOptions:
    """What the corpus is made with."""

    seed: int = option(0, "draws which documents are validation")
    validation: float = option(0.01, "the share of documents that is validation (at least one document)")
    text_field: str | None = option(None, "the key of the text in rows (or text, content, document, body)")
    without: tuple[str, ...] = option(
        (), "what named sources leave out, with all that stands under it: zipfile,os.path"
    )
    steps: tuple[str, ...] = option(("repair", "exact_dedup"), "the operators that documents pass, in order")


@dataclass
class Size:
    """How much text: documents, characters, and bytes in UTF-8."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0

    def add(self, other: Size) -> None:
        self.documents += other.documents
        self.characters += other.characters
        self.bytes += other.bytes


def size_of(text: str) -> Size:
    """The size of one document."""
    return Size(1, len(text), len(text) if text.isascii() else len(text.encode()))


@dataclass(frozen=True)
class Counted:
    """How often something happened, and where first."""

    count: int
    first: str


@dataclass(frozen=True)
class InOut:
    """What one input gave, and what of it the corpus holds."""

    read: Size = field(default_factory=Size)
    kept: Size = field(default_factory=Size)


@dataclass(frozen=True)
class CorpusReport:
    """What became of the inputs. All counts by reason carry the first place where it happened."""

    read: Size
    kept: Size
    train: Size
    validation: Size
    inputs: dict[str, InOut]
    files: int
    dropped: dict[str, Counted]
    changed: dict[str, Counted]
    skipped: dict[str, Counted]


OnProgress = Callable[[int, int], None]


def build_corpus(
    inputs: Sequence[str | Path],
    directory: str | Path,
    options: CorpusOptions | None = None,
    on_progress: OnProgress | None = None,
) -> CorpusReport:
    """Make a corpus from files, folders, globs and named sources, as Parquet shards in `directory`.

    Streams in bounded memory, in the order of the inputs. `on_progress(done, total)` is told how many bytes
    of the input files were read; `total` is 0 where there are no files. Raises UserError for inputs that
    cannot be read or hold no text, and for a full disk; then no shard is left.
    """
    options = options or CorpusOptions()
    if not 0 <= options.validation <= 0.5:
        raise UserError(f"validation={options.validation} is not a share between 0 and 0.5")
    operators: list[Operator] = [lookup("corpus_operator", name) for name in options.steps]
    skipped, notes = Tally(), Notes()
    sources = discover(inputs, skipped)
    progress = _Progress(sources, on_progress)
    counts: dict[str, InOut] = {encodable(str(name)): InOut() for name in inputs}
    totals = {side: Size() for side in SIDES}

    flow = _counted(read(sources, skipped, options.text_field, progress.add), counts)
    flow = _without(flow, options.without, sources, notes)
    flow = drop_empty(flow, notes)
    for operator in operators:
        flow = drop_empty(operator(flow, notes), notes)
    with CorpusWriter(Path(directory)) as writer:
        for side, doc in split(flow, options.validation, options.seed):
            writer.write(side, doc)
            size = size_of(doc.text)
            totals[side].add(size)
            counts[doc.source].kept.add(size)
        if not totals["train"].documents:
            raise _no_text(inputs, skipped, notes.dropped)
    return CorpusReport(
        read=_sum(count.read for count in counts.values()),
        kept=_sum(totals.values()),
        train=totals["train"],
        validation=totals["validation"],
        inputs=counts,
        files=sum(source.path is not None for source in sources),
        dropped=_plain(notes.dropped),
        changed=_plain(notes.changed),
        skipped=_plain(skipped),
    )


class _Progress:
    """Bytes of the input files read so far, told to the one who watches."""

    def __init__(self, sources: Sequence[Source], tell: OnProgress | None) -> None:
        paths = [source.path for source in sources if source.path is not None]
        self._total = sum(path.stat().st_size for path in paths if path.exists())
        self._done = 0
        self._tell = tell

    def add(self, count: int) -> None:
        self._done += count
        if self._tell:
            self._tell(self._done, self._total)


def _counted(documents: Iterator[Doc], counts: dict[str, InOut]) -> Iterator[Doc]:
    for doc in documents:
        counts[doc.source].read.add(size_of(doc.text))
        yield doc


def _without(
    documents: Iterator[Doc], names: Sequence[str], sources: Sequence[Source], notes: Notes
) -> Iterator[Doc]:
    """Leave out what the named sources have under these names. Raises UserError for one that they do not have."""
    named = {source.input for source in sources if source.path is None}
    missing = set(names)
    for doc in documents:
        title = f"{doc.id.rpartition('/')[2]}."
        found = {name for name in names if doc.source in named and title.startswith(f"{name}.")}
        missing -= found
        if found:
            notes.dropped.add("left out by name", doc.id)
        else:
            yield doc
    if missing:
        unknown = ",".join(sorted(missing))
        raise UserError(
            f"without={unknown}: no named source of this corpus has it; correct the name or drop it"
        )


def _sum(sizes: Iterable[Size]) -> Size:
    total = Size()
    for size in sizes:
        total.add(size)
    return total


def _plain(tally: Tally) -> dict[str, Counted]:
    return {reason: Counted(count, tally.places[reason]) for reason, count in tally.most_common()}


def _no_text(inputs: Sequence[str | Path], *tallies: Tally) -> UserError:
    named = ", ".join(map(str, inputs))
    left_out = [
        f"{count} {reason} (first: {tally.places[reason]})"
        for tally in tallies
        for reason, count in tally.most_common(5)
    ]
    why = f"; left out: {', '.join(left_out)}" if left_out else ""
    return UserError(f"no text in {named}{why}; give .txt, .md, .jsonl or .parquet files with text in them")

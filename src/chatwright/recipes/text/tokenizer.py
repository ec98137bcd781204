"""`tokenizer`: a vocabulary trained on a corpus, or on both sides of a file of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType

from chatwright import runs
from chatwright.config import option
from chatwright.corpora.documents import Doc, byte_count
from chatwright.corpora.store import documents, stored
from chatwright.data.chats import read_chats
from chatwright.data.pairs import Fields, read_pairs
from chatwright.errors import UserError
from chatwright.progress import bar
from chatwright.recipes.text.corpus import TEXT
from chatwright.recipes.text.tokenizer_rates import Measured, tell_rates
from chatwright.recipes.verb import Place, verb
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

_MEASURED_DOCUMENTS = 2000
_MEASURED_BYTES = 1_000_000


@dataclass(frozen=True)
class TokenizerVerbOptions(TokenizerOptions):
    """How the vocabulary is made, and from what beside the corpus."""

    chats: str | None = option(
        None, "a file of chats whose words should be tokens too, as much of it as of the corpus"
    )
    source: str | None = option(None, "of pairs: one field of a row, as source=en target=zh")
    target: str | None = option(None, "of pairs: the other field")


@verb(TokenizerVerbOptions)
def tokenizer(corpus: Place, out: str | Path, options: TokenizerVerbOptions) -> Run:
    """Train a tokenizer on a corpus, or on both sides of a file of pairs: byte pairs, unigram, word pieces or bytes; it also
    loads in `transformers`. `tokenizer show RUN TEXT` shows how a text splits."""
    if not isinstance(corpus, Run) and Path(corpus).is_file():
        return _of_pairs(corpus, out, options)
    parent = Run.open(corpus, ["corpus"])
    inputs = [options.chats] if options.chats else []
    for path in inputs:
        if not Path(path).exists():
            raise UserError(f"chats={path}: there is no such file")
    with runs.start("tokenizer", out, options, {"corpus": parent}, inputs) as run:
        if run.finished:
            return Run(run.directory)
        texts = documents(parent.directory / TEXT, "train")
        if options.chats:
            texts = chain(texts, _messages(options.chats, parent.result["train"]["bytes"]))
        held_out = list(islice(stored(parent.directory / TEXT, "validation"), _MEASURED_DOCUMENTS))
        trained_on = _without_validation(parent, held_out)
        return _train(run, texts, options, "validation text", _measured(held_out), trained_on)


def _measured(docs: Iterable[Doc]) -> list[Measured]:
    return [Measured(doc.text, doc.language, doc.source) for doc in docs]


def _without_validation(corpus: Run, held_out: Sequence[Doc]) -> dict[str, list[Measured]]:
    """Training documents, about 1 MB each, of the languages and sources of which no document is held out."""
    seen = {doc.language for doc in held_out}, {doc.source for doc in held_out}
    sizes = {
        part: dict.fromkeys({*corpus.result[name]} - known - {""}, 0)
        for part, name, known in zip(("language", "source"), ("languages", "inputs"), seen, strict=True)
    }
    found: dict[str, list[Measured]] = {part: [] for part in sizes}
    for doc in stored(corpus.directory / TEXT, "train") if any(sizes.values()) else ():
        for part, size in sizes.items():
            key = getattr(doc, part)
            if key in size:
                found[part] += _measured([doc])
                size[key] += byte_count(doc.text)
                if size[key] >= _MEASURED_BYTES:
                    del size[key]
        if not any(sizes.values()):
            break
    return found


def _of_pairs(file: str | Path, out: str | Path, options: TokenizerVerbOptions) -> Run:
    """Train on sources and targets alike, so that both languages are shared out fairly."""
    if options.chats:
        raise UserError(
            f"chats={options.chats} goes with a corpus, and {file} is a file of pairs; leave it out"
        )
    fields = Fields(options.source, options.target)
    with runs.start("tokenizer", out, options, inputs=[file]) as run:
        if run.finished:
            return Run(run.directory)

        def texts() -> Iterator[str]:
            return (text for pair in read_pairs(file, fields) for text in (pair.source, pair.target))

        pairs = islice(read_pairs(file, fields), _MEASURED_DOCUMENTS)
        sides = (options.source or "source", options.target or "target")
        measured = [
            Measured(text, "", side)
            for pair in pairs
            for text, side in zip((pair.source, pair.target), sides, strict=True)
        ]
        return _train(run, texts(), options, "text", measured)


def _train(
    run: OpenRun,
    texts: Iterable[str],
    options: TokenizerVerbOptions,
    what: str,
    measured: Sequence[Measured],
    trained_on: Mapping[str, Sequence[Measured]] = MappingProxyType({}),
) -> Run:
    """Train and save. `trained_on` has texts of the languages and of the sources that `measured` has nothing of."""
    with bar("counting pairs"):
        backend = train_tokenizer(texts, options)
    trained = Tokenizer(backend)
    trained.save(run.directory, eos=ENDOFTEXT)
    return run.finish(
        ["tokenizer.json"], vocab_size=trained.vocab_size, **tell_rates(trained, what, measured, trained_on)
    )


def _messages(chats: str, size: int) -> Iterator[str]:
    """The messages of every n-th chat of a file, so that they are about `size` bytes."""
    every = max(1, Path(chats).stat().st_size // max(1, size))
    for chat in islice(read_chats(chats), 0, None, every):
        yield from (message.content for message in chat.messages)

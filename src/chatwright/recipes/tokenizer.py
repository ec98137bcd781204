"""`tokenizer`: a byte-level BPE vocabulary trained on a corpus, or on both sides of a file of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from chatwright import runs
from chatwright.config import option
from chatwright.corpora.store import documents
from chatwright.data.chats import read_chats
from chatwright.data.pairs import Fields, read_pairs
from chatwright.errors import UserError
from chatwright.progress import bar, say
from chatwright.recipes.corpus import TEXT
from chatwright.recipes.verb import Place, verb
from chatwright.runs import OpenRun, Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

_MEASURED_DOCUMENTS = 2000


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
    """Train a byte-level BPE tokenizer on a corpus, or on both sides of a file of pairs; it also loads in `transformers`."""
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
        measured = documents(parent.directory / TEXT, "validation")
        return _train(run, texts, options, "validation text", islice(measured, _MEASURED_DOCUMENTS))


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

        return _train(run, texts(), options, "text", islice(texts(), _MEASURED_DOCUMENTS))


def _train(
    run: OpenRun, texts: Iterable[str], options: TokenizerVerbOptions, what: str, measured: Iterable[str]
) -> Run:
    with bar("counting pairs"):
        backend = train_tokenizer(texts, options)
    trained = Tokenizer(backend)
    trained.save(run.directory, eos=ENDOFTEXT)
    rate = bytes_per_token(trained, list(measured))
    say(f"  {trained.vocab_size:,} tokens, {rate:.2f} bytes of {what} a token")
    return run.finish(["tokenizer.json"], vocab_size=trained.vocab_size, bytes_per_token=round(rate, 4))


def _messages(chats: str, size: int) -> Iterator[str]:
    """The messages of every n-th chat of a file, so that they are about `size` bytes."""
    every = max(1, Path(chats).stat().st_size // max(1, size))
    for chat in islice(read_chats(chats), 0, None, every):
        yield from (message.content for message in chat.messages)


def bytes_per_token(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Bytes of text that one token stands for, on average."""
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(texts))
    return sum(len(text.encode("utf-8")) for text in texts) / max(1, tokens)

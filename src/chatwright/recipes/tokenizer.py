"""`tokenizer`: a byte-level BPE vocabulary trained on a corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from chatwright import runs
from chatwright.config import option
from chatwright.corpora.store import documents
from chatwright.data.chats import read_chats
from chatwright.errors import UserError
from chatwright.progress import bar, say
from chatwright.recipes.corpus import TEXT
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
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


@verb(TokenizerVerbOptions)
def tokenizer(corpus: Place, out: str | Path, options: TokenizerVerbOptions) -> Run:
    """Train a byte-level BPE tokenizer on a corpus; the result also loads in `transformers`."""
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
        with bar("counting pairs"):
            backend = train_tokenizer(texts, options)
        trained = Tokenizer(backend)
        trained.save(run.directory, eos=ENDOFTEXT)
        rate = bytes_per_token(trained, parent)
        say(f"  {trained.vocab_size:,} tokens, {rate:.2f} bytes of validation text a token")
        return run.finish(["tokenizer.json"], vocab_size=trained.vocab_size, bytes_per_token=round(rate, 4))


def _messages(chats: str, size: int) -> Iterator[str]:
    """The messages of every n-th chat of a file, so that they are about `size` bytes."""
    every = max(1, Path(chats).stat().st_size // max(1, size))
    for chat in islice(read_chats(chats), 0, None, every):
        yield from (message.content for message in chat.messages)


def bytes_per_token(tokenizer: Tokenizer, corpus: Run) -> float:
    """Bytes of validation text that one token stands for, on average."""
    texts = [
        t
        for t, _ in zip(
            documents(corpus.directory / TEXT, "validation"), range(_MEASURED_DOCUMENTS), strict=False
        )
    ]
    tokens = sum(len(ids) for ids in tokenizer.encode_batch(texts))
    return sum(len(text.encode("utf-8")) for text in texts) / max(1, tokens)

"""`tokenizer`: a byte-level BPE vocabulary trained on a corpus."""

from __future__ import annotations

from pathlib import Path

from chatwright import runs
from chatwright.corpora.store import documents
from chatwright.progress import bar, say
from chatwright.recipes.corpus import TEXT
from chatwright.recipes.verb import Place, verb
from chatwright.runs import Run
from chatwright.tokenization.special import ENDOFTEXT
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

_MEASURED_DOCUMENTS = 2000


@verb(TokenizerOptions)
def tokenizer(corpus: Place, out: str | Path, options: TokenizerOptions) -> Run:
    """Train a byte-level BPE tokenizer on a corpus; the result also loads in `transformers`."""
    parent = Run.open(corpus, ["corpus"])
    with runs.start("tokenizer", out, options, {"corpus": parent}) as run:
        if run.finished:
            return Run(run.directory)
        with bar("counting pairs"):
            backend = train_tokenizer(documents(parent.directory / TEXT, "train"), options)
        trained = Tokenizer(backend)
        trained.save(run.directory, eos=ENDOFTEXT)
        rate = bytes_per_token(trained, parent)
        say(f"  {trained.vocab_size:,} tokens, {rate:.2f} bytes of validation text a token")
        return run.finish(["tokenizer.json"], vocab_size=trained.vocab_size, bytes_per_token=round(rate, 4))


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

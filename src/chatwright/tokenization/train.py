"""Train a byte-level BPE tokenizer (Sennrich et al. 2016; on bytes, Radford et al. 2019)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.tokenization.special import QWEN_PATTERN, ROLES, SPECIAL_TOKENS

if TYPE_CHECKING:
    import tokenizers

# the bytes, the pairs that the role words alone give, and the control tokens
_SMALLEST = 256 + 15 + len(SPECIAL_TOKENS)
_LONGEST_ROLE = max(map(len, ROLES))


@dataclass(frozen=True)
class TokenizerOptions:
    """How the vocabulary is made."""

    vocab_size: int = option(8192, "tokens in all, the 256 bytes and the control tokens included")
    max_token_length: int = option(16, "the most bytes in one token; longer ones swallow Chinese clauses")
    sample_bytes: int = option(1 << 27, "the most text that is counted; of more, an even sample is taken")


class VocabularyTooLarge(UserError):
    """The corpus does not hold enough repeated pairs; `largest` is the size that it can fill."""

    def __init__(self, wanted: int, largest: int) -> None:
        super().__init__(
            f"vocab_size={wanted} is too large for this corpus, which can fill {largest}; "
            f"set vocab_size={largest} or add text"
        )
        self.largest = largest


def train_tokenizer(texts: Iterable[str], options: TokenizerOptions | None = None) -> tokenizers.Tokenizer:
    """Train on a stream of texts; the result has exactly `vocab_size` tokens, the control tokens last.

    The same texts in the same order give the same tokenizer. Raises `UserError` for an empty corpus or a size
    that is too small, and `VocabularyTooLarge` when the corpus cannot fill the vocabulary.
    """
    from tokenizers import AddedToken, pre_tokenizers, trainers

    options = options or TokenizerOptions()
    if options.vocab_size < _SMALLEST:
        raise UserError(f"vocab_size={options.vocab_size} is too small; at least {_SMALLEST} are needed")
    if options.max_token_length < _LONGEST_ROLE:
        raise UserError(f"max_token_length={options.max_token_length} is too small; at least {_LONGEST_ROLE}")
    sample = sample_texts(texts, options.sample_bytes)
    if not any(text.strip() for text in sample):
        raise UserError("there is no text to train a tokenizer on; check the corpus")
    tokenizer = _untrained()
    room = options.vocab_size - len(SPECIAL_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        max_token_length=options.max_token_length,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_roles(sample), trainer)
    if tokenizer.get_vocab_size() < room:
        raise VocabularyTooLarge(options.vocab_size, tokenizer.get_vocab_size() + len(SPECIAL_TOKENS))
    if any(len(tokenizer.encode(role).ids) > 1 for role in ROLES):
        raise UserError(
            f"vocab_size={options.vocab_size} is too small for this corpus: {', '.join(ROLES)} should be "
            f"one token each; try vocab_size={2 * options.vocab_size}"
        )
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    )
    assert tokenizer.get_vocab_size() == options.vocab_size
    return tokenizer


def _untrained() -> tokenizers.Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sample_texts(texts: Iterable[str], limit: int) -> list[str]:
    """At most `limit` bytes of text, evenly from the whole stream: a hash of its place chooses a text."""
    kept: list[tuple[int, int, str]] = []
    total, ceiling = 0, 1 << 64
    for index, text in enumerate(texts):
        ticket = int.from_bytes(hashlib.blake2b(index.to_bytes(8, "big"), digest_size=8).digest(), "big")
        if ticket >= ceiling:
            continue
        encoded = text.encode("utf-8", "replace")
        size = len(encoded)
        if size > limit:
            text, size = encoded[:limit].decode("utf-8", "ignore"), limit
        kept.append((ticket, size, text))
        total += size
        while total > limit and len(kept) > 1:
            ceiling //= 2
            kept = [item for item in kept if item[0] < ceiling]
            total = sum(size for _, size, _ in kept)
    return [text.encode("utf-8", "replace").decode() for _, _, text in kept]


def _with_roles(sample: list[str]) -> Iterator[str]:
    """The sample, and the role words so often that each surely becomes one token.

    Every chat says them at every turn, so a role in pieces costs tokens at each, and corpora rarely hold
    them.
    """
    yield from sample
    repeats = 1000 + sum(map(len, sample)) // 200
    block = "\n".join(ROLES) + "\n"
    for start in range(0, repeats, 1000):
        yield block * min(1000, repeats - start)

"""Train a tokenizer: byte-level BPE, a unigram model of bytes, word pieces, or bytes as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chatwright.config import option
from chatwright.errors import UserError
from chatwright.tokenization.special import QWEN_PATTERN, ROLES, SPECIAL_TOKENS
from chatwright.tokenization.train_pieces import CONTINUING, train_pieces

if TYPE_CHECKING:
    import tokenizers

UNKNOWN = "[UNK]"

# the bytes, the pairs that the role words alone give, and the control tokens
_SMALLEST = 256 + 15 + len(SPECIAL_TOKENS)
_BYTES = 256 + len(SPECIAL_TOKENS)
# the unknown, the roles and their letters
_FEWEST_PIECES = 1 + len(ROLES) + 20 + len(SPECIAL_TOKENS)
_LONGEST_ROLE = max(map(len, ROLES))
# 256 bytes, a ten-thousandth each
_MADE_UP = 0.03
_SAMPLE, _UNIGRAM_SAMPLE = 1 << 27, 1 << 23


@dataclass(frozen=True)
class TokenizerOptions:
    """How the vocabulary is made."""

    algorithm: Literal["bpe", "unigram", "wordpiece", "bytes"] = option(
        "bpe",
        "bpe: frequent neighbours become one token; unigram: the likeliest cut into pieces; wordpiece: words and their "
        "endings, as BERT has, which forgets white space; bytes: nothing is learnt",
    )
    vocab_size: int = option(8192, "tokens in all, the 256 bytes and the control tokens included")
    max_token_length: int = option(
        16, "the most bytes in one token (not of wordpiece); longer ones swallow Chinese clauses"
    )
    lowercase: bool = option(False, "wordpiece: make capitals small")
    sample_bytes: int | None = option(
        None,
        "the most text that is counted; of more, an even sample is taken (default 128 MB, of unigram 8 MB)",
    )


class VocabularyTooLarge(UserError):
    """The corpus does not hold enough repeated pairs; `largest` is the size that it can fill."""

    def __init__(self, wanted: int, largest: int) -> None:
        super().__init__(
            f"vocab_size={wanted} is too large for this corpus, which can fill {largest}; "
            f"set vocab_size={largest} or add text"
        )
        self.largest = largest


def train_tokenizer(texts: Iterable[str], options: TokenizerOptions | None = None) -> tokenizers.Tokenizer:
    """Train on a stream of texts; the result has exactly `vocab_size` tokens, the control tokens last (of `bytes` there
    are always 256 and these).

    The same texts in the same order give the same tokenizer. Raises `UserError` for an empty corpus or a size
    that is too small, and `VocabularyTooLarge` when the corpus cannot fill the vocabulary.
    """
    from tokenizers import AddedToken

    options = options or TokenizerOptions()
    _check(options)
    limit = options.sample_bytes or (_UNIGRAM_SAMPLE if options.algorithm == "unigram" else _SAMPLE)
    sample = sample_texts(texts, limit)
    if not any(text.strip() for text in sample):
        raise UserError("there is no text to train a tokenizer on; check the corpus")
    tokenizer: tokenizers.Tokenizer = _MAKERS[options.algorithm](sample, options)
    if options.algorithm != "bytes":
        _check_trained(tokenizer, options)
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    )
    return tokenizer


def _check(options: TokenizerOptions) -> None:
    if options.algorithm == "bytes":
        if options.vocab_size not in (_BYTES, TokenizerOptions().vocab_size):
            raise UserError(f"algorithm=bytes has {_BYTES} tokens always; leave vocab_size out")
        return
    smallest = _SMALLEST if options.algorithm != "wordpiece" else _FEWEST_PIECES
    if options.vocab_size < smallest:
        raise UserError(f"vocab_size={options.vocab_size} is too small; at least {smallest} are needed")
    if options.max_token_length < _LONGEST_ROLE:
        raise UserError(f"max_token_length={options.max_token_length} is too small; at least {_LONGEST_ROLE}")
    if options.lowercase and options.algorithm != "wordpiece":
        raise UserError(
            f"lowercase=yes goes with algorithm=wordpiece; {options.algorithm} keeps a text as it is"
        )


def _check_trained(tokenizer: tokenizers.Tokenizer, options: TokenizerOptions) -> None:
    if tokenizer.get_vocab_size() < options.vocab_size - len(SPECIAL_TOKENS):
        raise VocabularyTooLarge(options.vocab_size, tokenizer.get_vocab_size() + len(SPECIAL_TOKENS))
    # pieces may cut a role in two; of merged pairs, whose number is what the size says, it tells of too small a size
    if options.algorithm == "bpe" and any(
        len(tokenizer.encode(role, add_special_tokens=False).ids) > 1 for role in ROLES
    ):
        raise UserError(
            f"vocab_size={options.vocab_size} is too small for this corpus: {', '.join(ROLES)} should be "
            f"one token each; try vocab_size={2 * options.vocab_size}"
        )


def _byte_pairs(sample: list[str], options: TokenizerOptions) -> tokenizers.Tokenizer:
    """Sennrich et al. 2016; on bytes, Radford et al. 2019."""
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = _on_bytes(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocab_size - len(SPECIAL_TOKENS),
        max_token_length=options.max_token_length,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_roles(sample), trainer)
    return tokenizer


def _unigram(sample: list[str], options: TokenizerOptions) -> tokenizers.Tokenizer:
    """Kudo 2018; here over bytes, so that no character is unknown."""
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = _on_bytes(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=options.vocab_size - len(SPECIAL_TOKENS),
        max_piece_length=options.max_token_length,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_roles(sample), trainer)
    tokenizer.model = models.Unigram(_settled(json.loads(tokenizer.to_str())["model"]["vocab"]), unk_id=None)
    return tokenizer


def _settled(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The pieces with scores that are the same at every call: the trainer gives bytes that it needs nowhere scores in the
    order of its hash tables, each a little above the lowest, and its sums differ in their last digits."""
    lowest = min(score for _, score in pieces)
    is_needed = {piece: len(piece) > 1 or score > lowest + _MADE_UP for piece, score in pieces}
    scores = {piece: round(score if is_needed[piece] else lowest, 4) for piece, score in pieces}
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))


def _word_pieces(sample: list[str], options: TokenizerOptions) -> tokenizers.Tokenizer:
    """Schuster and Nakajima 2012, as Devlin et al. 2019 have it: words by white space and punctuation, every Chinese
    character by itself; a word with a character that the corpus does not have is `[UNK]`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=options.lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUING)
    size = options.vocab_size - len(SPECIAL_TOKENS)
    vocabulary = train_pieces(tokenizer, _with_roles(sample), size, UNKNOWN)
    tokenizer.model = models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100)
    tokenizer.add_special_tokens([AddedToken(UNKNOWN, special=True, normalized=False)])
    return tokenizer


def _only_bytes(sample: list[str], options: TokenizerOptions) -> tokenizers.Tokenizer:
    """Xue et al. 2022, ByT5: a token is a byte."""
    from tokenizers import models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return _on_bytes(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))


_MAKERS: dict[str, Callable[[list[str], TokenizerOptions], Any]] = {
    "bpe": _byte_pairs,
    "unigram": _unigram,
    "wordpiece": _word_pieces,
    "bytes": _only_bytes,
}


def _on_bytes(model: Any) -> tokenizers.Tokenizer:
    """A tokenizer over bytes, cut by the pattern that every runtime knows."""
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
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

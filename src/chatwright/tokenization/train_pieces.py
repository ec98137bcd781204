"""Train word pieces (Schuster and Nakajima 2012), the same for the same texts.

`tokenizers` trains them by merging pairs too, but in an order of its hash tables, which differs from call to call. Here
the letters that go on with a word get code points of their own, so that its trainer of byte pairs, which is the same
every time, can tell them from letters that begin one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

CONTINUING = "##"
# planes 15 and 16, in which no text has letters
_FIRST, _LAST = 0xF0000, 0x10FFFD


def train_pieces(
    tokenizer: tokenizers.Tokenizer, texts: Iterable[str], size: int, unknown: str
) -> dict[str, int]:
    """The vocabulary of at most `size` pieces for a tokenizer's normalizer and pre-tokenizer: the unknown, letters as they
    begin and as they go on with a word, and merged pairs, the most frequent first."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    lines = [list(_words(tokenizer, text)) for text in texts]
    begins = Counter(word[0] for words in lines for word in words)
    goes_on = Counter(letter for words in lines for word in words for letter in word[1:])
    signs = {letter: chr(_FIRST + number) for number, letter in enumerate(sorted(goes_on)[: _LAST - _FIRST])}
    counts = {**begins, **{signs[letter]: count for letter, count in goes_on.items() if letter in signs}}
    by_count = sorted(counts, key=lambda sign: (-counts[sign], sign))
    alphabet = sorted(sign for sign in by_count[: max(1, size // 2)] if counts[sign] > 1)
    known = frozenset(alphabet)

    def written() -> Iterator[str]:
        for words in lines:
            spelled = (word[0] + "".join(signs.get(letter, "") for letter in word[1:]) for word in words)
            yield " ".join(word for word in spelled if known.issuperset(word))

    merged = Tokenizer(models.BPE())
    merged.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    merged.train_from_iterator(written(), trainer)
    letters = {sign: letter for letter, sign in signs.items()}
    ordered = sorted(merged.get_vocab().items(), key=lambda item: item[1])
    return {unknown: 0, **{_piece(token, letters): number + 1 for token, number in ordered}}


def _words(tokenizer: tokenizers.Tokenizer, text: str) -> Iterator[str]:
    normalized = tokenizer.normalizer.normalize_str(text)
    return (word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized) if word)


def _piece(token: str, letters: dict[str, str]) -> str:
    spelled = "".join(letters.get(sign, sign) for sign in token)
    return CONTINUING + spelled if token[0] in letters else spelled

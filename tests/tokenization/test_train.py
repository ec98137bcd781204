import json

import pytest

from chatwright.errors import UserError
from chatwright.tokenization.bytelevel import bytes_of, character_bytes
from chatwright.tokenization.special import SPECIAL_TOKENS
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, VocabularyTooLarge, sample_texts, train_tokenizer

WORDS = [first + second + third for first in "bdfgklm" for second in ("ar", "eo", "ui") for third in "nprst"]
TEXTS = [f"{one} is not {two}, 第{index}个数" for index in range(3) for one in WORDS for two in WORDS[::20]]


def test_size_is_exact_and_control_tokens_come_last() -> None:
    backend = train_tokenizer(TEXTS, TokenizerOptions(vocab_size=500))
    assert backend.get_vocab_size() == 500
    first = 500 - len(SPECIAL_TOKENS)
    assert [backend.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(first, 500))


@pytest.mark.parametrize("size", [420, 500])
def test_every_role_is_one_token_even_in_the_smallest_vocabulary(size: int) -> None:
    tokenizer = Tokenizer(train_tokenizer(TEXTS, TokenizerOptions(vocab_size=size)))
    assert [len(tokenizer.encode(role)) for role in ("system", "user", "assistant")] == [1, 1, 1]


def test_same_texts_same_tokenizer() -> None:
    options = TokenizerOptions(vocab_size=520)
    assert train_tokenizer(iter(TEXTS), options).to_str() == train_tokenizer(iter(TEXTS), options).to_str()


def test_no_token_is_longer_than_asked() -> None:
    texts = ["abcdefghijklmnopqrstuvwxyz 中华人民共和国宪法"] * 50
    with pytest.raises(VocabularyTooLarge):
        train_tokenizer(texts, TokenizerOptions(vocab_size=2000))
    backend = train_tokenizer(texts, TokenizerOptions(vocab_size=450))
    vocab = json.loads(backend.to_str())["model"]["vocab"]
    assert max(len(bytes_of(token) or b"") for token in vocab) <= 16


def test_too_large_says_how_large_it_can_be_and_that_size_works() -> None:
    with pytest.raises(VocabularyTooLarge, match="vocab_size=5000 is too large") as caught:
        train_tokenizer(TEXTS, TokenizerOptions(vocab_size=5000))
    largest = caught.value.largest
    assert f"vocab_size={largest}" in str(caught.value)
    assert train_tokenizer(TEXTS, TokenizerOptions(vocab_size=largest)).get_vocab_size() == largest
    with pytest.raises(VocabularyTooLarge):
        train_tokenizer(TEXTS, TokenizerOptions(vocab_size=largest + 1))


@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_no_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(UserError, match="no text"):
        train_tokenizer(texts)


def test_too_small_is_refused() -> None:
    with pytest.raises(UserError, match="vocab_size=300 is too small; at least 406"):
        train_tokenizer(TEXTS, TokenizerOptions(vocab_size=300))
    with pytest.raises(UserError, match="max_token_length=4"):
        train_tokenizer(TEXTS, TokenizerOptions(max_token_length=4))


def test_one_line_is_enough() -> None:
    with pytest.raises(VocabularyTooLarge) as caught:
        train_tokenizer(["One line."])
    options = TokenizerOptions(vocab_size=caught.value.largest)
    assert train_tokenizer(["One line."], options).get_vocab_size() == options.vocab_size
    # of the line itself only `ne` stands in it twice
    assert options.vocab_size == 406 + 1


def test_roles_in_pieces_are_refused() -> None:
    texts = ["ab bc cd de ef fg gh hi ij jk kl lm mn no op pq qr rs st tu uv vw wx xy yz " * 5000]
    with pytest.raises(UserError, match="system, user, assistant should be one token each"):
        train_tokenizer(texts, TokenizerOptions(vocab_size=410))


def test_lone_surrogates_do_not_stop_training() -> None:
    assert (
        train_tokenizer([*TEXTS, "\ud800 x \udfff"], TokenizerOptions(vocab_size=450)).get_vocab_size() == 450
    )


def test_the_sample_is_even_bounded_and_the_same_every_time() -> None:
    texts = [f"{index:09d} " for index in range(10_000)]
    sample = sample_texts(texts, 20_000)
    assert 8_000 <= sum(map(len, sample)) <= 20_000
    assert sample == sample_texts(texts, 20_000)
    places = [int(text) for text in sample]
    assert places == sorted(places)
    assert 4000 < sum(places) / len(places) < 6000
    assert sample_texts(texts, 1_000_000) == texts


def test_one_text_beyond_the_limit_is_cut_between_characters() -> None:
    assert sample_texts(["你好" * 100], 100) == [("你好" * 100)[:33]]


def test_alphabet_covers_every_byte_once() -> None:
    assert sorted(character_bytes().values()) == list(range(256))
    assert bytes_of("ĠaĊ") == b" a\n"
    assert bytes_of("▁") is None


OTHERS = ("unigram", "wordpiece", "bytes")
SIZES = {"unigram": 412, "wordpiece": 300}
MIXED = "The daro and 第1个数 🙂!\n\tdef f(): pass"


def of(algorithm: str, **more: object) -> Tokenizer:
    size = {"vocab_size": SIZES[algorithm]} if algorithm in SIZES else {}
    return Tokenizer(train_tokenizer(TEXTS, TokenizerOptions(algorithm=algorithm, **{**size, **more})))  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", OTHERS)
def test_every_kind_has_its_size_and_the_control_tokens_last(algorithm: str) -> None:
    tokenizer = of(algorithm)
    size = SIZES.get(algorithm, 256 + len(SPECIAL_TOKENS))
    assert tokenizer.vocab_size == size
    first = size - len(SPECIAL_TOKENS)
    assert [tokenizer.id_of(token) for token in SPECIAL_TOKENS] == list(range(first, size))
    assert of(algorithm).digest == tokenizer.digest
    typed = tokenizer.encode("<|im_end|> [UNK]")
    assert not {tokenizer.id_of(token) for token in SPECIAL_TOKENS} & set(typed), "typed text stays text"


@pytest.mark.parametrize("algorithm", ["unigram", "bytes"])
def test_bytes_forget_nothing(algorithm: str) -> None:
    tokenizer = of(algorithm)
    ids = tokenizer.encode(MIXED)
    assert tokenizer.decode(ids) == MIXED
    assert sum(tokenizer.token_bytes[ids]) == len(MIXED.encode())
    assert tokenizer.encode_batch([MIXED, ""])[0].tolist() == ids


def test_a_byte_is_a_token() -> None:
    tokenizer = of("bytes")
    assert len(tokenizer.encode(MIXED)) == len(MIXED.encode())
    with pytest.raises(UserError, match="algorithm=bytes has 391 tokens always"):
        of("bytes", vocab_size=1000)


def test_a_unigram_cut_is_the_likeliest_one() -> None:
    """Of all ways to write a word with pieces, the one with the highest sum of log-probabilities."""
    tokenizer = of("unigram")
    model = json.loads(train_tokenizer(TEXTS, TokenizerOptions("unigram", vocab_size=412)).to_str())["model"]
    scores = dict(model["vocab"])
    word = "bareodaro"
    best = [0.0] + [float("-inf")] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            if word[start:end] in scores:
                best[end] = max(best[end], best[start] + scores[word[start:end]])
    pieces = [tokenizer.decode([index]) for index in tokenizer.encode(word)]
    assert "".join(pieces) == word
    assert sum(scores[piece] for piece in pieces) == pytest.approx(best[-1])


def test_word_pieces_are_words_and_their_endings() -> None:
    tokenizer = of("wordpiece")
    assert tokenizer.decode(tokenizer.encode("第1个数")) == "第 1 个 数", "a character each"
    ids = tokenizer.encode("bar is not bareon")
    assert tokenizer.decode(ids) == "bar is not bareon"
    assert tokenizer._backend.encode("bareon").tokens[0].startswith("b")
    assert all(piece.startswith("##") for piece in tokenizer._backend.encode("bareon").tokens[1:])
    assert tokenizer.encode("☃") == [tokenizer.id_of("[UNK]")]
    assert of("wordpiece", lowercase=True).encode("BAR") == tokenizer.encode("bar")
    with pytest.raises(UserError, match="lowercase=yes goes with algorithm=wordpiece"):
        of("bpe", lowercase=True)


@pytest.mark.parametrize("algorithm", ["unigram", "wordpiece"])
def test_a_corpus_that_cannot_fill_the_vocabulary_is_named(algorithm: str) -> None:
    with pytest.raises(VocabularyTooLarge) as caught:
        of(algorithm, vocab_size=50_000)
    assert of(algorithm, vocab_size=caught.value.largest).vocab_size == caught.value.largest

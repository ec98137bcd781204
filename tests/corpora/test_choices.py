import pytest

from chatwright.corpora.choices import DEFAULT_STEPS, STEPS, CorpusOptions, chosen_steps, input_wishes
from chatwright.corpora.operators.contract import is_collective, step_class
from chatwright.corpora.operators.mixing import Wish
from chatwright.errors import UserError

MUCH = 1 << 30


def test_the_usual_steps() -> None:
    assert chosen_steps(CorpusOptions(), MUCH) == ([*DEFAULT_STEPS], [])
    assert {"classifier", "decontaminate", "sentences"}.isdisjoint(DEFAULT_STEPS)


def test_a_step_is_on_when_its_options_are_given() -> None:
    given = CorpusOptions(step_options={"decontaminate": {"against": "test.jsonl"}})
    names, _ = chosen_steps(given, MUCH)
    assert [name for name in names if name != "decontaminate"] == [*DEFAULT_STEPS]
    names, _ = chosen_steps(CorpusOptions(step_options={"quality": {"min_words": 3}}), 100)
    assert "quality" in names


def test_what_needs_no_other_document_comes_before_what_compares_them() -> None:
    """Of two documents that are alike the first stays: it may not go for itself after the other went for it."""
    compared = [is_collective(step_class(name)) for name in STEPS if name != "sentences"]
    assert any(compared) and compared == sorted(compared)


def test_of_little_input_all_is_meant() -> None:
    names, warnings = chosen_steps(CorpusOptions(), 100)
    assert names == [name for name in DEFAULT_STEPS if name != "quality"]
    assert warnings == ["quality was left out, as the input is less than 1 MB; steps= turns it on"]
    assert chosen_steps(CorpusOptions(without_steps=("quality",)), 100) == (names, [])
    assert chosen_steps(CorpusOptions(steps=DEFAULT_STEPS), 100) == ([*DEFAULT_STEPS], [])


def test_named_steps_stay_in_the_order_given() -> None:
    options = CorpusOptions(steps=("near", "clean", "exact"), without_steps=("clean",))
    assert chosen_steps(options, MUCH)[0] == ["near", "exact"]
    assert chosen_steps(CorpusOptions(steps=("",)), MUCH)[0] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            CorpusOptions(without_steps=("qualty",)),
            "without_steps=qualty: there is no such step; did you mean 'quality'",
        ),
        (
            CorpusOptions(steps=("clean",), step_options={"near": {"bands": 3}}),
            r"near\.bands is given, but near is not among the steps \(clean\)",
        ),
        (
            CorpusOptions(without_steps=("near",), step_options={"near": {"bands": 3}}),
            r"near\.bands is given, but near is not among",
        ),
    ],
)
def test_what_does_not_go_together(options: CorpusOptions, said: str) -> None:
    with pytest.raises(UserError, match=said):
        chosen_steps(options, MUCH)


def test_every_step_of_the_order_is_registered() -> None:
    from chatwright import registry

    assert {*STEPS} <= {*registry.TABLES["corpus_operator"]}


def test_inputs_are_wished_for_by_a_short_name_or_the_whole_one() -> None:
    inputs = ["data/en-books.jsonl.gz", "hf:owner/web", "notes/", "notes/a.txt"]
    mix = {"en_books": 2, "web": "30%", "notes/": 0.5, "a": "3"}
    assert input_wishes(mix, inputs) == {
        "data/en-books.jsonl.gz": Wish(epochs=2.0),
        "hf:owner/web": Wish(share=0.3),
        "notes/": Wish(epochs=0.5),
        "notes/a.txt": Wish(epochs=3.0),
    }


def test_wishes_that_name_no_input_or_several() -> None:
    with pytest.raises(UserError, match="no input is called so; did you mean 'books'"):
        input_wishes({"bocks": 2}, ["a/books"])
    with pytest.raises(UserError, match=r"mix\.books may be a/books or b/books\.txt; name it whole"):
        input_wishes({"books": 2}, ["a/books", "b/books.txt"])

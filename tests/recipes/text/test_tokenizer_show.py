"""How a text splits, as a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatwright.cli import main
from chatwright.errors import UserError
from chatwright.recipes.text.tokenizer_show import tokenizer_show
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer
from helpers.journey import Journey, make_journey


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    return make_journey(tmp_path_factory.mktemp("journey"))


def test_the_tokens_are_the_text(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    found = tokenizer_show(journey.tokenizer, "ab 🙂\ncd")
    assert "".join(token["text"] for token in found["tokens"]) == r"ab \xf0\x9f\x99\x82⏎cd"
    line, summary = capsys.readouterr().out.splitlines()[-2:]
    assert line == "|".join(token["text"] for token in found["tokens"])
    assert (
        summary == f"{len(found['tokens'])} tokens, 10 bytes, {10 / len(found['tokens']):.2f} bytes a token"
    )


def test_two_words_are_one_verb(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "show", str(journey.tokenizer), "a b", "ids=yes"]) == 0
    numbers = [
        int(line.split()[0])
        for line in capsys.readouterr().out.splitlines()[:-1]
        if line[:7].strip().isdigit()
    ]
    assert numbers == [token["id"] for token in tokenizer_show(journey.tokenizer, "a b")["tokens"]]


def test_of_nothing_there_is_nothing_to_show(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    found = tokenizer_show(journey.tokenizer, "")
    assert found["tokens"] == []
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to show: the text is empty"


def test_unknown_words_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backend = train_tokenizer(
        ["the cat sees the dog"] * 20, TokenizerOptions(algorithm="wordpiece", vocab_size=176)
    )
    Tokenizer(backend).save(tmp_path)
    found = tokenizer_show(tmp_path, "the 猫 sees the Ж")
    assert found["unknown_tokens"] == round(2 / len(found["tokens"]), 4)
    line, summary = capsys.readouterr().out.splitlines()[-2:]
    assert line.count("[UNK]") == 2
    assert summary.endswith(f" bytes a token ({2 / len(found['tokens']):.2%} unknown)")
    assert tokenizer_show(tmp_path, "the dog")["unknown_tokens"] == 0
    assert "unknown" not in capsys.readouterr().out
    tokenizer_show(tmp_path, " \n")
    assert capsys.readouterr().out.splitlines() == ["nothing to show: this tokenizer forgets white space"]


def test_what_holds_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a tokenizer's folder"):
        tokenizer_show(tmp_path, "x")

"""`embed` and `fill` as users call them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chatwright as cw
from chatwright.cli import main
from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
from chatwright.models.interop.weights import public_weights
from chatwright.recipes import embed as recipe
from helpers.weights import stirred
from helpers.word_pieces import word_pieces

WORDS = ["the dog barks", "paris is a capital", "w1 w2 w3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the public layout with a small BERT."""
    place, tokenizer = tmp_path_factory.mktemp("bert"), word_pieces()
    options = EncoderOptions(
        vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, feed_forward=24, context=16
    )
    tokenizer.save(place)
    write_config(place, options, EndTokens(2, [3], 0))
    save_weights(place / WEIGHTS, public_weights(stirred(Encoder(options))), {"format": "pt"})
    return place


@pytest.fixture
def wanted(run: Path) -> np.ndarray:
    return cw.embed(run, WORDS)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_python_gives_an_array(run: Path, wanted: np.ndarray) -> None:
    assert wanted.shape == (3, 16)
    assert cw.embed(run, WORDS[1]) == pytest.approx(wanted[1], abs=1e-6)
    assert cw.embed(run, WORDS, normalize=False, batch=1)[0] != pytest.approx(wanted[0], abs=1e-3)


def test_lines_rows_and_words_keep_their_order(
    run: Path,
    wanted: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recipe, "_WINDOW", 2)
    lines, rows, out = tmp_path / "lines.txt", tmp_path / "rows.jsonl", tmp_path / "to" / "out.jsonl"
    lines.write_text(f"{WORDS[0]}\r\n\n{WORDS[1]}\n")
    rows.write_text(json.dumps({"text": WORDS[2]}) + "\n" + json.dumps({"text": " "}) + "\n")
    assert main(["embed", str(run), str(lines), str(rows), "a dog", "-o", str(out), "--json", "batch=2"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out.splitlines()[-1])
    assert (result["count"], result["width"], result["pooling"], result["cut"]) == (4, 16, "mean", 0)
    assert "left out: 2 × blank text" in said.err
    found = rows_of(out)
    assert [row["text"] for row in found] == [*WORDS, "a dog"]
    assert np.array([row["embedding"] for row in found[:3]]) == pytest.approx(wanted, abs=1e-5)


def test_an_array_is_written_where_the_name_says_so(run: Path, wanted: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "vectors.npy"
    result = cw.write_embeddings(run, WORDS, out, pooling="mean")
    assert result["count"] == 3
    vectors = np.load(out)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(wanted, abs=1e-6)
    assert [path.name for path in out.parent.iterdir()] == ["vectors.npy"]


def test_without_out_rows_are_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(run), "the dog"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["text"] == "the dog"


def test_written_numbers_are_exact(run: Path, wanted: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    cw.write_embeddings(run, WORDS, out)
    again = np.array([row["embedding"] for row in rows_of(out)], dtype=np.float32)
    assert np.array_equal(again, wanted)


def test_what_was_cut_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cw.write_embeddings(run, ["the dog", "dog " * 30], tmp_path / "out.npy")
    assert "1 texts were longer than 16 tokens and were cut" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.txt"], "there is no file nowhere.txt"),
        (["the dog", "batch=0"], "batch=0 must be at least 1"),
        (["the dog", "pooling=max"], "pooling=max is not one of mean, cls, last"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(run), *words]) == 2
    assert said in capsys.readouterr().err


def test_no_text_at_all_is_refused(run: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.txt"
    blank.write_text("\n\n")
    with pytest.raises(UserError, match="there is no text in"):
        cw.write_embeddings(run, [str(blank)], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_fill_prints_words_and_chances(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "the [MASK] of france is [MASK]"
    assert main(["fill", str(run), text, "--json", "top_k=3"]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result["run"] == str(run)
    assert result["text"] == text
    assert [len(guesses) for guesses in result["masks"]] == [3, 3]
    assert set(result["masks"][0][0]) == {"token", "chance"}
    assert len(shown) == 8
    assert cw.fill(run, text, top_k=3) == result


def test_fill_refuses_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["the dog"], "there is no mask in the text"),
        (["[MASK]", "top_k=0"], "top_k=0 must"),
    ):
        assert main(["fill", str(run), *words]) == 2
        assert said in capsys.readouterr().err

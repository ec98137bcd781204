"""`translate`: texts or a file, line by line, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import chatwright as cw
from chatwright.errors import UserError
from helpers.journey import Journey
from helpers.translated import TRAIN, make_tokenizer, write_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("translate")
    pairs = write_pairs(place / "pairs.jsonl")
    cw.pretrain(pairs, make_tokenizer(pairs, place / "tok"), place / "mt", **TRAIN, steps=8)
    yield place / "mt"


def test_lines_keep_their_order_and_empty_ones_stay(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["The cat sees the dog number 3.", "", "A bird.", "The river follows the long tree number 12."]
    alone = [cw.translate(run, text, max_new_tokens=9)["translations"][0] for text in texts]
    capsys.readouterr()
    found = cw.translate(run, texts, max_new_tokens=9, batch=2)
    assert found["translations"] == alone
    assert alone[1] == ""
    assert capsys.readouterr().out.splitlines() == alone
    file, out = tmp_path / "texts.txt", tmp_path / "out" / "texts.zh"
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    cw.translate(run, str(file), str(out), max_new_tokens=9)
    assert out.read_text(encoding="utf-8") == "".join(line + "\n" for line in alone)
    assert capsys.readouterr().out == ""


def test_what_does_not_translate_is_refused(run: Path, journey: Journey, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"of the architecture qwen3, which does not translate; make one with"
    ):
        cw.translate(journey.base, "Hello")
    with pytest.raises(UserError, match="there is no run at"):
        cw.translate(tmp_path / "nothing", "Hello")
    with pytest.raises(UserError, match=r"text 1 has \d+ tokens and the model takes 1 to 64; shorten it"):
        cw.translate(run, "word " * 80)
    path = tmp_path / "latin.txt"
    path.write_bytes("Ça va".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        cw.translate(run, str(path))

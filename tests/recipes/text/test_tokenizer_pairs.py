"""`tokenizer` on a file of pairs: both languages get tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

import chatwright as cw
from chatwright.errors import UserError
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.translated import make_tokenizer, write_pairs


def test_both_sides_are_learnt(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    run = make_tokenizer(pairs, tmp_path / "tok")
    assert run.result["vocab_size"] == 460
    assert run.info["inputs"][0]["path"] == str(pairs)
    tokenizer = Tokenizer.load(run.directory)
    assert len(tokenizer.encode(" number")) == 1
    assert len(tokenizer.encode("喜欢")) < 6
    assert make_tokenizer(pairs, tmp_path / "tok").info == run.info
    with pytest.raises(UserError, match="which fields are source and target"):
        cw.tokenizer(pairs, tmp_path / "other", vocab_size=460)
    with pytest.raises(UserError, match="goes with a corpus"):
        cw.tokenizer(pairs, tmp_path / "other", vocab_size=460, chats=str(pairs), source="en", target="zh")

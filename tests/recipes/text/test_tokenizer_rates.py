"""Bytes a token by language and source, also of those that have no validation text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chatwright as cw


def test_what_has_no_validation_text_is_measured_on_training_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("harbour", "evening", "station", "garden", "letter")
    lines = [f"The {words[n % 5]} was quiet and the {words[n % 3]} of number {n} was not." for n in range(60)]
    rows = "".join(json.dumps({"text": f"{line} {line.lower()}"}) + "\n" for line in lines)
    (tmp_path / "en.jsonl").write_text(rows)
    (tmp_path / "zh.jsonl").write_text(json.dumps({"text": "我们昨天晚上才从海边回来，港口很安静。"}) + "\n")
    corpus = cw.corpus(
        [tmp_path / "en.jsonl", tmp_path / "zh.jsonl"], tmp_path / "corpus", steps=("clean", "language")
    )
    # The one document held out is the Chinese one.
    run = cw.tokenizer(corpus, tmp_path / "tok", vocab_size=420)
    assert list(run.result["bytes_per_token_by_languages"]) == ["zh-Hans", "en"]
    assert list(run.result["bytes_per_token_by_sources"]) == [
        str(tmp_path / f"{n}.jsonl") for n in ("zh", "en")
    ]
    shown = capsys.readouterr().err
    assert "en (training text) " in shown
    assert "en.jsonl (training text) " in shown
    assert "zh-Hans (training text)" not in shown

"""Bytes a token by language and source, also of those that have no validation text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chatwright as cw


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_unknown_words_are_told_beside_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = write(
        tmp_path / "known.jsonl", [f"the {'cat ' * (n % 7)}sees the {'dog ' * (n % 5)}" for n in range(60)]
    )
    # letters of which the vocabulary has no room for all, each in one word
    strange = [f"the cat {chr(0x1200 + n) * 3} sees {chr(0x1300 + n) * 3}" for n in range(60)]
    odd = write(tmp_path / "odd.jsonl", strange)
    corpus = cw.corpus([known, odd], tmp_path / "corpus", steps=("clean",), validation=0.2)
    run = cw.tokenizer(corpus, tmp_path / "pieces", algorithm="wordpiece", vocab_size=180)
    shares = run.result["unknown_tokens_by_sources"]
    assert {*shares} == {str(odd)} and 0.1 < run.result["unknown_tokens"] < shares[str(odd)] < 0.6
    shown = capsys.readouterr().err
    assert f"bytes of validation text a token ({run.result['unknown_tokens']:.2%} unknown)" in shown
    assert (
        f"odd.jsonl {run.result['bytes_per_token_by_sources'][str(odd)]:.2f} ({shares[str(odd)]:.2%} unknown)"
        in shown
    )
    assert f"note: more than 1% of the tokens are [UNK] in {odd}: " in shown
    bytes_ = cw.tokenizer(corpus, tmp_path / "bytes", algorithm="bytes")
    assert (bytes_.result["unknown_tokens"], bytes_.result["unknown_tokens_by_sources"]) == (0, {})
    assert " unknown)" not in (shown := capsys.readouterr().err) and "note:" not in shown


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

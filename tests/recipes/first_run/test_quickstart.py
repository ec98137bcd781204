"""The quickstart, shortened: the same stages, a model too small to know much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chatwright as cw
from chatwright.recipes.first_run import sizes
from chatwright.recipes.first_run.sizes import kept_size, size_of
from helpers.command import chatwright
from helpers.texts import write_chats, write_texts


def test_everything_scales_with_minutes_and_machine() -> None:
    sizes = [size_of(minutes, 100e9) for minutes in (0.5, 6, 60, 600)]
    widths = [size.model["width"] for size in sizes]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert [size.rounds for size in sizes] == sorted(size.rounds for size in sizes)
    for size, minutes in zip(sizes, (0.5, 6, 60, 600), strict=True):
        assert size.pretrain_minutes + size.sft_minutes == pytest.approx(minutes)
        assert size.model["layers"] <= size.text_model["layers"]
        assert size.reward_minutes + size.ppo_minutes <= 4 / 6 * minutes
    assert size_of(6, 10e9).rounds >= 20, "a slow moment leaves chats for a quick run"
    assert size_of(6, 600e9).model["width"] > size_of(6, 100e9).model["width"]


def test_a_journey_keeps_its_sizes_on_a_busy_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "size_for", lambda minutes: size_of(minutes, 400e9))
    first = kept_size(tmp_path / "out", 6.0)
    monkeypatch.setattr(sizes, "size_for", lambda minutes: size_of(minutes, 40e9))
    assert kept_size(tmp_path / "out", 6.0) == first
    assert kept_size(tmp_path / "other", 6.0) != first
    with pytest.raises(cw.UserError, match="is a journey of minutes=6, not 7; give a new -o"):
        kept_size(tmp_path / "out", 7.0)


@pytest.mark.slow
def test_the_journey_on_pythons_documentation(tmp_path: Path) -> None:
    done = chatwright("quickstart", "minutes=0.5", "-o", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["run"] == str(tmp_path / "out")
    assert result["questions"] >= 4600
    assert set(result["exact_match_unseen_phrasing"]) == {"en", "zh"}
    # two seconds of pretraining teach little on a busy machine, but should not spoil the model
    assert result["bits_per_byte"]["after"] < result["bits_per_byte"]["before"] + 0.5
    assert result["tokens_per_second"]["sft"] > 0
    assert result["seconds"] > 0
    assert len(result["samples"]) == 5
    for stage in range(1, 10):
        assert f"[{stage}/9]" in done.stderr
    knowing = result["knowing"]
    for side in ("before", "after"):
        assert set(knowing[side]) == {"real", "made-up", "kept-out"}
        assert 0 <= knowing[side]["made-up"]["all"]["admitted"]["share"] <= 1
    assert set(knowing["curve"]) == {"real", "made-up", "kept-out"}
    assert knowing["curve"]["real"][0][0] == 0
    # what the judge of a model that learnt for seconds is worth is left to chance
    assert 0 <= result["reward_model"]["accuracy"] <= 1
    assert "made-up names" in done.stderr
    assert "What does itertools.chain do?" in done.stdout
    again = chatwright("quickstart", "minutes=0.5", "-o", str(tmp_path / "out"), "--json")
    before, after = (json.loads(text.splitlines()[-1]) for text in (done.stdout, again.stdout))
    assert {**before, "seconds": 0} == {**after, "seconds": 0}


@pytest.mark.slow
def test_the_journey_on_ones_own_text_and_chats(tmp_path: Path) -> None:
    texts, chats = write_texts(tmp_path / "texts"), write_chats(tmp_path / "chats.jsonl")
    done = chatwright(
        "quickstart", str(texts), f"chats={chats}", "minutes=0.3", "-o", str(tmp_path / "out"), "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["documents"] >= 1
    assert (tmp_path / "out/chat/model.safetensors").is_file()
    assert isinstance(cw.Chat(tmp_path / "out/chat", temperature=0.0, max_new_tokens=8).reply("Hello"), str)


def test_chats_without_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(cw.UserError, match="chats= needs a FOLDER"):
        cw.quickstart(out=tmp_path / "out", chats="chats.jsonl")
    with pytest.raises(cw.UserError, match="minutes=0 must be more than 0"):
        cw.quickstart(out=tmp_path / "out", minutes=0)


def test_a_wrong_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(cw.UserError, match="no such file or folder; check the path"):
        cw.quickstart(str(tmp_path / "nowhere"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""A run leaves as a directory or as one file, whole, and nothing is written over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import chatwright as cw
from chatwright.errors import UserError
from chatwright.models.interop.files import load_model
from helpers.command import chatwright
from helpers.journey import Journey, make_journey


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    return make_journey(tmp_path_factory.mktemp("journey"))


def test_transformers_loads_the_directory(tmp_path: Path, journey: Journey) -> None:
    transformers = pytest.importorskip("transformers")
    result = cw.export(journey.chat, tmp_path / "out")
    assert result["bytes"] == (tmp_path / "out/model.safetensors").stat().st_size
    assert not (tmp_path / "out/run.json").exists()
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    inputs = torch.arange(50)[None]
    with torch.no_grad():
        mine = load_model(journey.chat.directory)(inputs, outputs=("logits",))["logits"]
        torch.testing.assert_close(mine, peer(inputs).logits, rtol=1e-4, atol=1e-4)
    told = transformers.AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert told.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_a_file_comes_back_as_the_model_it_was(tmp_path: Path, journey: Journey, kind: str) -> None:
    result = cw.export(journey.chat, tmp_path / "m.gguf", to="gguf", type=kind)
    assert (result["type"], result["bytes"]) == (kind, (tmp_path / "m.gguf").stat().st_size)
    run = cw.import_model(tmp_path / "m.gguf", tmp_path / "run")
    found, own = load_model(run.directory), load_model(journey.chat.directory)
    assert found.options == own.options
    furthest = max(
        float(((mine - theirs).abs().max() / theirs.abs().max()).detach())
        for mine, theirs in zip(found.parameters(), own.parameters(), strict=True)
    )
    assert furthest <= {"f32": 0.0, "f16": 1e-3, "bf16": 1e-2, "q8_0": 0.01, "q4_0": 0.15}[kind]
    asked = [cw.Chat(place, max_new_tokens=8, temperature=0).reply("hello") for place in (journey.chat, run)]
    assert asked[0] == asked[1] or kind in ("q4_0", "q8_0")


def test_the_command_line_says_to_what(tmp_path: Path, journey: Journey) -> None:
    done = chatwright(
        "export", journey.base.directory, "--to", "gguf", "-o", tmp_path / "m.gguf", "type=f16", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "f16"
    assert (tmp_path / "m.gguf").read_bytes()[:4] == b"GGUF"


def test_what_cannot_be_written_is_refused(tmp_path: Path, journey: Journey) -> None:
    with pytest.raises(UserError, match="type=q8_0 is a type of GGUF; add to=gguf"):
        cw.export(journey.chat, tmp_path / "out", type="q8_0")
    with pytest.raises(UserError, match="holds no model but a run of 'corpus'"):
        cw.export(journey.corpus, tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        cw.export(journey.chat, tmp_path / "there")
    with pytest.raises(UserError, match="is a directory; -o needs a file name"):
        cw.export(journey.chat, tmp_path / "there", to="gguf")
    assert (tmp_path / "there/file").read_text() == "mine"

"""The journey's verbs on a tiny scale, from Python: what they write, and what others read of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import chatwright as cw
from chatwright.errors import UserError
from chatwright.files import cpp_compiler
from chatwright.generation.native import Native
from chatwright.models.interop.files import load_model
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer
from helpers.journey import PRETRAIN, SFT, Journey
from helpers.texts import chat_row

PUBLIC_LAYOUT = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "run.json",
    "metrics.jsonl",
    "report.html",
    "state",
}


def modified(run: Run) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.directory.rglob("*") if path.is_file()}


def test_a_chat_run_has_the_public_layout(journey: Journey) -> None:
    found = {path.name for path in journey.chat.directory.iterdir()}
    assert found >= PUBLIC_LAYOUT
    assert not [name for name in found if "tmp" in name]


def test_training_is_measured_and_recorded(journey: Journey) -> None:
    for run in (journey.base, journey.chat):
        rows = run.metrics()
        assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
        assert [row["step"] for row in rows if "evaluation" in row] == [0, 3, 6]
        assert run.result["steps"] == 6
        assert run.result["after"]["loss"] < run.result["before"]["loss"]
        assert run.result["tokens"] == rows[-2]["tokens"] > 0
        assert run.plan["steps"] == 6
        assert run.plan["parameters"] == sum(p.numel() for p in load_model(run.directory).parameters())
    before = journey.base.result["before"]
    assert before["loss"] == pytest.approx(math.log(480), rel=0.03)
    assert before["bits_per_byte"] > journey.base.result["after"]["bits_per_byte"]


@pytest.mark.parametrize("verb", ["corpus", "tokenizer", "base", "chat"])
def test_a_finished_verb_again_does_nothing(journey: Journey, verb: str) -> None:
    run: Run = getattr(journey, verb)
    before = modified(run)
    again = {
        "corpus": lambda: cw.corpus(journey.texts, run),
        "tokenizer": lambda: cw.tokenizer(journey.corpus, run, vocab_size=480),
        "base": lambda: cw.pretrain(
            journey.corpus, journey.tokenizer, run, steps=6, save_every=3, eval_every=3, **PRETRAIN
        ),
        "chat": lambda: cw.sft(journey.base, journey.chats, run, steps=6, save_every=3, eval_every=3, **SFT),
    }[verb]()
    assert again.info == run.info
    after = modified(run)
    assert {path for path in after if after[path] != before.get(path)} <= {run.directory / ".lock"}


def test_changed_options_are_refused_with_the_difference(journey: Journey) -> None:
    with pytest.raises(UserError, match=r"steps: 6 → 7.*give a new -o"):
        cw.sft(journey.base, journey.chats, journey.chat, steps=7, save_every=3, eval_every=3, **SFT)


def test_the_same_seed_makes_the_same_weights(journey: Journey, tmp_path: Path) -> None:
    again = cw.pretrain(
        journey.corpus, journey.tokenizer, tmp_path / "base", steps=6, save_every=2, eval_every=6, **PRETRAIN
    )
    runs = (journey.base, again)
    if again.plan["kernel"] == journey.base.plan["kernel"]:
        first, second = ((run.directory / "model.safetensors").read_bytes() for run in runs)
        assert first == second
    # each run measures which attention kernel is fastest, and another kernel rounds otherwise
    losses = [[row["loss"]["next_token"] for row in run.metrics() if "loss" in row] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("name", ["base", "chat"])
def test_transformers_loads_a_run_as_it_stands(journey: Journey, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    run: Run = getattr(journey, name)
    peer = transformers.Qwen3ForCausalLM.from_pretrained(run, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    own = Tokenizer.load(run.directory)
    text = "The cat 看见 the dog.\n  It isn't 3 o'clock…"
    assert tokenizer(text)["input_ids"] == own.encode(text)
    ids = torch.tensor([own.encode(text)])
    with torch.no_grad():
        mine = load_model(run.directory)(ids, outputs=("logits",))["logits"]
        torch.testing.assert_close(mine, peer(ids).logits, rtol=1e-4, atol=1e-4)
    generation = transformers.GenerationConfig.from_pretrained(run)
    ends = [own.im_end, own.endoftext] if name == "chat" else [own.endoftext]
    assert generation.eos_token_id == ends
    assert tokenizer.eos_token_id == ends[0]
    assert tokenizer.pad_token_id == own.pad


def test_both_write_the_same_prompt(journey: Journey) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(journey.chat)
    messages = chat_row("What is 3?", "A number.")["messages"]
    from chatwright.tokenization.chat import Renderer

    renderer = Renderer(Tokenizer.load(journey.chat.directory))
    assert tokenizer.apply_chat_template(messages, tokenize=False) == renderer.text(messages)
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == renderer.text(messages[:1], add_generation_prompt=True)


def test_a_run_continues_and_chats(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    found = cw.generate(journey.base, ["The cat", ""], max_new_tokens=5, temperature=0)
    assert len(found["completions"]) == 2
    assert capsys.readouterr().out.startswith("The cat" + found["completions"][0])
    assert isinstance("".join(cw.Chat(journey.chat, max_new_tokens=4).stream("What is 3?")), str)
    with pytest.raises(UserError, match="not taught to chat"):
        "".join(cw.Chat(journey.base).stream("What is 3?"))


@pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler")
def test_compiled_decoding_writes_the_same(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    step = Native.step
    monkeypatch.setattr(Native, "step", lambda *given: used.append(1) or step(*given))
    greedy = {"max_new_tokens": 12, "temperature": 0}
    plain = cw.generate(journey.base, "The cat", **greedy)["completions"]
    assert not used
    assert cw.generate(journey.base, "The cat", compile=True, **greedy)["completions"] == plain
    assert len(used) >= 10


def test_show_tells_lineage_and_curves(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    found = cw.show(journey.chat)
    said = capsys.readouterr().out
    assert found["status"] == "finished"
    for verb in ("sft", "pretrain", "corpus", "tokenizer"):
        assert f"{verb} " in said
    assert str(journey.chats) in said
    assert "training loss (next_token)" in said


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(cw.list_names("objectives")["objective"]) >= {"causal", "chat", "pairwise", "ppo", "dpo"}
    told = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert "Devlin" in told["masked"]
    assert cw.list_names("models")["preset"]["qwen3-0.6b"] == 596_049_920
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "parameters", "architecture"]
    assert ["qwen3-0.6b", "596,049,920", "qwen3"] in [row.split() for row in rows]
    assert len({row.index(row.split()[1]) + len(row.split()[1]) for row in (heading, *rows)}) == 1, "aligned"
    assert {"verb", "objective", "optimizer"} <= cw.list_names().keys()
    assert "objective: causal, chat, " in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'objectives'"):
        cw.list_names("objectivs")


def test_sft_counts_what_it_skips_and_cuts(journey: Journey, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in journey.chats.read_text(encoding="utf-8").splitlines()[:22]]
    rows[3] = {"messages": [{"role": "user", "content": "anybody there?"}]}
    rows[5] = chat_row("Tell me everything", "word " * 200)
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    run = cw.sft(journey.base, path, tmp_path / "chat", steps=2, **SFT)
    [(reason, (count, place))] = run.result["skipped"].items()
    assert (count, "chats.jsonl:4" in place) == (1, True), reason
    assert run.result["cut"] == 1


def test_chats_given_for_measuring_are_measured_on(journey: Journey, tmp_path: Path) -> None:
    run = cw.sft(
        journey.base, journey.chats, tmp_path / "chat", validation=str(journey.chats), epochs=0.5, **SFT
    )
    assert run.result["after"]["loss"] > 0
    assert run.result["epochs"] == pytest.approx(0.5, abs=0.3)


def test_pretraining_goes_through_the_objectives_options(journey: Journey, tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    config.write_text("steps: 2\nobjective:\n  name: causal\n  within_documents: false\noptimizer: adamw\n")
    run = cw.pretrain(
        journey.corpus,
        journey.tokenizer,
        tmp_path / "base",
        config=config,
        **{**PRETRAIN, "micro_tokens": 128},
    )
    assert run.options["objective"] == {"name": "causal", "within_documents": False}
    assert run.options["optimizer"]["name"] == "adamw"
    assert run.plan["micro_rows"] == 2

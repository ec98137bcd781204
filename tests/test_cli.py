"""The command line: what it takes apart, what it refuses in one line, what it leaves behind (nothing)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatwright import runs
from chatwright.cli import main, parse
from chatwright.errors import UserError
from helpers.command import chatwright
from helpers.journey import PRETRAIN, SFT, Journey, words
from helpers.texts import chat_row, write_texts

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail by the user's input, and return the one line that it says."""

    def run(*command: object) -> str:
        capsys.readouterr()
        assert main(list(map(str, command))) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chatwright: ")]
        assert len(lines) == 1
        return lines[0]

    return run


def test_what_runs_as_one_process_is_refused_under_torchrun(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = refused("corpus", tmp_path, "-o", tmp_path / "out")
    assert "corpus runs as one process; pretrain, sft," in said
    assert "dpo, kto, orpo, simpo, distill run on many under torchrun" in said
    assert not (tmp_path / "out").exists()


def test_a_command_line_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse(["sft", "base", "chats.jsonl", "-o", "out", "steps=3", "--json", "optimizer.momentum=0.9"])
    assert (found.verb, found.inputs, found.out, found.json) == ("sft", ["base", "chats.jsonl"], "out", True)
    assert found.options == {"steps": "3", "optimizer": {"momentum": "0.9"}}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").write_text("x")
    assert parse(["corpus", "a=b"]).inputs == ["a=b"], "a file of that name is a file"
    assert parse(["generate", "run", "--", "x=1", "-o"]).inputs == ["run", "x=1", "-o"]
    assert parse(["generate", "run", "2 + 2 = 4"]).inputs == ["run", "2 + 2 = 4"]
    with pytest.raises(UserError, match="-o needs a value after it"):
        parse(["corpus", "x", "-o"])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["pretrian"], "unknown verb 'pretrian'; did you mean 'pretrain'?"),
        (["sft"], "needs a place for its run, -o DIRECTORY"),
        (["sft", "-o", "x"], "sft needs START"),
        (["sft", "a", "b", "c", "-o", "x"], "does not know what to do with 'c'"),
        (["corpus", "-o", "x"], "corpus needs INPUTS"),
        (["list", "objectivs"], "did you mean 'objectives'?"),
        (["list", "-o", "x"], "takes no -o"),
        (["corpus", "x", "-o", "y", "--jsn"], "unknown flag '--jsn'; did you mean '--json'?"),
        (["corpus", "x", "-o", "y", "--sede=3"], "unknown flag '--sede'; did you mean '--seed'?"),
        (["corpus", "x", "-o", "y", "--seed"], "--seed needs a value after it"),
        (["corpus", "x", "-o", "y", "sede=3"], "no option 'sede'; did you mean 'seed'?"),
        (["show", "nowhere"], "there is no run at nowhere (no run.json in it)"),
        (["sft", "nowhere", "c.jsonl", "-o", "x"], "there is no run at nowhere"),
        (["generate", "nowhere", "Hi"], "nowhere"),
        (["chat", "nowhere"], "nowhere"),
        (["corpus", "nowhere.txt", "-o", "x"], "nowhere.txt"),
        (["questions", "stdlib", "-o", "x"], "write python:stdlib"),
        (["questions", "python:no_such_package", "-o", "x"], "no_such_package"),
        (["corpus", "x", "-o", "y", "--config", "none.yaml"], "there is no options file none.yaml"),
    ],
)
def test_a_slip_is_answered_in_one_line(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(*command)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b""),
        ("spaces.txt", b" \n\n "),
        ("binary.txt", b"\x7fELF\x02\x01\x00\x00" + bytes(range(256)) * 8),
        ("broken.jsonl", b'{"text": "a"\n{"text"'),
        ("other.jsonl", b'{"title": "a"}\n'),
        ("not.txt.gz", b"hello world"),
        ("not.parquet", b"PAR1 no"),
        ("photo.png", b"\x89PNG\r\n"),
    ],
)
def test_text_that_cannot_be_read_names_its_file(
    refused: Refused, tmp_path: Path, name: str, content: bytes
) -> None:
    path, out = tmp_path / name, tmp_path / "out"
    path.write_bytes(content)
    assert name in refused("corpus", path, "-o", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "chats.jsonl"),
        ('{"messages": [', "chats.jsonl"),
        (json.dumps({"messages": [{"role": "user", "content": "hi"}]}), "assistant"),
        (json.dumps({"title": "x"}), "title"),
        (json.dumps({"messages": [{"role": "assistant", "content": ""}]}), "chats.jsonl"),
    ],
)
def test_chats_that_cannot_be_learnt_from(
    refused: Refused, journey: Journey, tmp_path: Path, content: str, said: str
) -> None:
    path, out = tmp_path / "chats.jsonl", tmp_path / "out"
    path.write_text(content)
    assert said in refused("sft", journey.base, path, "-o", out, *words(SFT, steps=1))
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["context=4096"], "context=4096 is longer than the model's 128"),
        (["steps=0"], "steps=0 must be more than 0"),
        (["minutes=1"], "exclude each other"),
        (["model=qwen3-5"], "unknown model 'qwen3-5'"),
        (["model.kv_heads=3"], "does not divide"),
        (["objective=casual"], "unknown objective 'casual'; did you mean 'causal'?"),
        (["objective.rate=0.2"], "no option 'rate'"),
        (["optimizer=sgd"], "unknown optimizer 'sgd'"),
        (["schedule=wsx"], "unknown schedule 'wsx'; did you mean 'wsd'?"),
        (["schedule.warmup=3"], "schedule.warmup=3.0 is not a share"),
        (["precision=float16"], "precision=float16 is not one of auto, float32, bfloat16"),
        (["batch_tokens=0"], "batch_tokens=0 must be at least 1"),
        (["seed=-1"], "seed=-1 must be 0 or more"),
    ],
)
def test_training_that_makes_no_sense_leaves_nothing(
    refused: Refused, journey: Journey, tmp_path: Path, options: list[str], said: str
) -> None:
    out = tmp_path / "out"
    given = [*words(PRETRAIN, steps=2), *options]
    assert said in refused("pretrain", journey.corpus, journey.tokenizer, "-o", out, *given)
    assert not out.exists()


def test_a_vocabulary_too_large_for_the_corpus(refused: Refused, journey: Journey, tmp_path: Path) -> None:
    said = refused("tokenizer", journey.corpus, "-o", tmp_path / "tok", "vocab_size=60000")
    assert "vocab_size=60000 is too large for this corpus, which can fill" in said
    assert "vocab_size=10 is too small" in refused(
        "tokenizer", journey.corpus, "-o", tmp_path / "t", "vocab_size=10"
    )
    assert list(tmp_path.iterdir()) == []


def test_runs_that_cannot_serve(refused: Refused, journey: Journey, tmp_path: Path) -> None:
    out = tmp_path / "out"
    swapped = refused("pretrain", journey.tokenizer, journey.corpus, "-o", out)
    assert "is a run of 'tokenizer'; this needs one of corpus" in swapped
    with runs.start("corpus", tmp_path / "half", {}) as run:
        assert "in use by another process (pid" in refused("corpus", journey.texts, "-o", run.directory)
    assert "is not finished; run its corpus command again" in refused("tokenizer", run, "-o", out)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/run.json").write_text('{"verb": "corp')
    for command in (["show"], ["generate"], ["tokenizer"]):
        tail = {"show": [], "generate": ["Hi"], "tokenizer": ["-o", out]}[command[0]]
        assert "run.json" in refused(*command, tmp_path / "broken", *tail)
    assert "run.json" in refused("corpus", journey.texts, "-o", tmp_path / "broken")
    assert "holds other files" in refused("corpus", journey.texts, "-o", journey.texts)
    assert not out.exists()


def test_changed_options_show_the_difference(refused: Refused, journey: Journey) -> None:
    given = words(SFT, steps=6, save_every=3, eval_every=3, seed=5)
    said = refused("sft", journey.base, journey.chats, "-o", journey.chat, *given)
    assert "seed: 0 → 5" in said
    assert "give a new -o" in said


def test_json_is_one_object_on_the_last_line(journey: Journey, capsys: pytest.CaptureFixture[str]) -> None:
    given = words(SFT, steps=6, save_every=3, eval_every=3)
    for command in (
        ["sft", journey.base, journey.chats, "-o", journey.chat, *given],
        ["show", journey.chat],
        ["generate", journey.base, "The cat", "max_new_tokens=3"],
        ["list"],
    ):
        assert main([*map(str, command), "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert isinstance(found, dict)
        assert command[0] == "list" or found["run"]


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "chatwright quickstart" in capsys.readouterr().out
    for verb, option in (
        ("pretrain", "learning_rate="),
        ("sft", "epochs="),
        ("list", "usage: chatwright list [KIND]"),
    ):
        assert main([verb, "--help"]) == 0
        said = capsys.readouterr().out
        assert f"usage: chatwright {verb}" in said
        assert option in said


def test_nothing_heavy_is_imported_before_a_verb_runs() -> None:
    import subprocess

    from helpers.command import environment

    heavy = "{'torch', 'transformers', 'pyarrow', 'tokenizers', 'tiktoken'}"
    for act in (
        "import chatwright",
        "from chatwright.cli import main; main(['--help'])",
        "from chatwright.cli import main; main(['--version'])",
        "from chatwright.cli import main; main(['nonsense'])",
    ):
        program = f"import sys; {act}; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", act


def test_a_file_that_may_not_grow_is_said_in_one_line(tmp_path: Path) -> None:
    """A limit on the size of files ends like a full disk: one line, no corpus, and stages to go on from."""
    import subprocess

    from helpers.command import environment

    texts, out = write_texts(tmp_path / "texts", documents=60), tmp_path / "out"
    program = (
        "import resource, signal, sys; from chatwright.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        f"sys.exit(main(['corpus', {str(texts)!r}, '-o', {str(out)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 2, done.stderr
    assert "larger than the limit set for this process" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "text").exists()
    assert main(["corpus", str(texts), "-o", str(out)]) == 0


def test_a_bug_of_ours_ends_with_one(tmp_path: Path) -> None:
    """A traceback is for us alone; the user's exit codes are 2 and 130."""
    done = chatwright("list", "objectives")
    assert done.returncode == 0 and done.stdout.startswith("causal ")


def test_chats_in_every_known_row_format_are_taken(journey: Journey, tmp_path: Path) -> None:
    rows = [
        chat_row("What is 1?", "A number."),
        {"prompt": "What is 2?", "completion": "A number."},
        {"instruction": "What is", "input": "3?", "output": "A number."},
        {"conversations": [{"from": "human", "value": "What is 4?"}, {"from": "gpt", "value": "A number."}]},
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert main(["sft", str(journey.base), str(path), "-o", str(tmp_path / "out"), *words(SFT, steps=1)]) == 0

"""`serve` as a process: it starts, answers, and stops in order."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chatwright.cli import main
from chatwright.serving.server import Server
from helpers.command import begin
from helpers.journey import Journey


def started(process: subprocess.Popen[str]) -> str:
    """The address that a server says it is ready at."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("ready: "):
            return line.split()[1]
    raise AssertionError(process.wait())


def test_a_run_is_served_until_it_is_told_to_stop(journey: Journey, tmp_path: Path) -> None:
    database = tmp_path / "votes.sqlite"
    process = begin(
        "serve", journey.chat, journey.base, "--port", "0", "--api-key=k", f"database={database}", "--json"
    )
    try:
        address = started(process)
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            assert httpx.get(f"{address}/v1/models").status_code == 401
            assert client.get("/ready").json() == {"status": "ready"}
            listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
            assert listed == [journey.chat.directory.name, journey.base.directory.name]
            body = {"model": listed[0], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
            found = client.post("/v1/chat/completions", json={**body, "temperature": 0}).json()
            assert found["usage"]["completion_tokens"] <= 5 and found["choices"][0]["finish_reason"]
            assert client.get("/api/info").json()["votes"] is True
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["models"] == listed


def test_what_cannot_be_served_is_told_in_one_line(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        votes = f"database={tmp_path / 'v.sqlite'}"
        for words, said in (
            ((journey.corpus,), "holds no model but a run of 'corpus'"),
            ((tmp_path / "none",), "there is no run at"),
            ((journey.chat, journey.chat), "is given twice"),
            ((journey.chat, "--port", port, votes), "cannot listen at"),
            ((journey.chat, "host=no.such.host.invalid", votes), "host=no.such.host.invalid"),
            ((journey.chat, "engine=llamacp", "port=0", votes), "did you mean 'llamacpp'?"),
            ((journey.chat, "--prot", "1"), "did you mean '--port'?"),
            ((journey.chat, "api_key=", "port=0", votes), "api_key must be one or more printable"),
        ):
            assert main(["serve", *map(str, words)]) == 2
            assert said in capsys.readouterr().err


def test_a_model_that_does_not_load_ends_the_server(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    votes = f"database={tmp_path / 'v.sqlite'}"
    assert main(["serve", str(journey.chat), "engine=llamacpp", "port=0", votes]) == 2
    assert "pip install chatwright[llamacpp]" in capsys.readouterr().err


def test_listening_to_others_without_a_key_is_warned_of(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "serve_on", lambda self, socket: None)
    votes = f"database={tmp_path / 'v.sqlite'}"
    for words, warned in (
        ((), False),
        (("host=0.0.0.0",), True),
        (("host=0.0.0.0", "--api-key", "k"), False),
    ):
        assert main(["serve", str(journey.chat), "port=0", votes, *words]) == 0
        assert ("there is no key" in capsys.readouterr().err) is warned
    monkeypatch.setenv("CHATWRIGHT_API_KEY", "k")
    assert main(["serve", str(journey.chat), "port=0", votes, "host=0.0.0.0"]) == 0
    assert "there is no key" not in capsys.readouterr().err

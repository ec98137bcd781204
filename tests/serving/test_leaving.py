"""Clients that leave, wait, come in crowds or ask too long."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatwright.generation.text import TextModel
from chatwright.serving.app import build_app
from chatwright.serving.engines.contract import EngineOptions
from chatwright.serving.models import Known, Served, ServedModel, find_runs
from chatwright.serving.options import ServerOptions
from chatwright.serving.server import Server, listening_socket
from helpers.command import begin
from helpers.served import GREETING, SCRIPT, Places, Running, chat_body, eventually, running

ROUTE = "/v1/chat/completions"


@pytest.mark.parametrize("stream", [True, False])
def test_writing_stops_when_the_client_leaves(server: Running, stream: bool) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda _: "word " * 200, 0.02
    before = len(server.log)
    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.2) as client:
        if stream:
            with client.stream("POST", server.address + ROUTE, json=chat_body(stream=True)) as response:
                next(response.iter_raw())
                raise httpx.ReadTimeout("enough")
        client.post(server.address + ROUTE, json=chat_body())
    assert eventually(lambda: SCRIPT.running == 0, 1.0), "the slot is still taken"
    written = SCRIPT.written
    time.sleep(0.1)
    assert SCRIPT.written == written < 40 and SCRIPT.cancelled == 1
    assert eventually(lambda: len(server.log) > before)
    line = server.lines()[-1]
    assert line["finish"] == ["cancelled"] and line["status"] == 499


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_before_the_first_token(server: Running, stream: bool) -> None:
    SCRIPT.prefill = 5.0
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.address + ROUTE, json=chat_body(stream=stream, n=2), timeout=0.2)
    assert eventually(lambda: SCRIPT.running == 0 and SCRIPT.cancelled == 2, 1.0)


def test_silence_is_filled_with_comments(places: Places) -> None:
    SCRIPT.prefill = 0.5
    with running([places.chat], keep_alive=0.1) as server:
        text = httpx.post(server.address + ROUTE, json=chat_body(stream=True)).text
    assert 2 <= text.count(": keep-alive\n\n") <= 6
    assert text.endswith("data: [DONE]\n\n")


def test_a_full_queue_answers_429_with_a_time(places: Places) -> None:
    SCRIPT.pause = 0.05
    with running([places.chat], slots=1, queue=1) as server, ThreadPoolExecutor(6) as pool:
        found = list(
            pool.map(lambda _: httpx.post(server.address + ROUTE, json=chat_body(), timeout=30), range(6))
        )
        codes = sorted(response.status_code for response in found)
        assert codes == [200, 200, 429, 429, 429, 429]
        refused = next(response for response in found if response.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        # all of n or none: two choices take both places, three never fit
        never = httpx.post(server.address + ROUTE, json=chat_body(n=3))
        assert never.status_code == 400 and "takes 2 at once" in never.json()["error"]["message"]
        assert never.json()["error"]["param"] == "n"
        assert eventually(lambda: SCRIPT.running == 0)
        assert httpx.post(server.address + ROUTE, json=chat_body(n=2)).status_code == 200


def test_time_is_limited(places: Places) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda _: "word " * 200, 0.02
    with running([places.chat], timeout=0.3) as server:
        late = httpx.post(server.address + ROUTE, json=chat_body())
        assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
        text = httpx.post(server.address + ROUTE, json=chat_body(stream=True)).text
        assert '"code":"timeout"' in text and text.endswith("data: [DONE]\n\n")
        assert eventually(lambda: SCRIPT.running == 0)


def test_a_body_that_does_not_arrive(places: Places) -> None:
    with running([places.chat], read_timeout=0.3) as server:
        port = int(server.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            assert raw.recv(4096).startswith(b"HTTP/1.1 408")


def test_stopping_lets_replies_end_and_takes_no_more(places: Places) -> None:
    SCRIPT.pause = 0.05
    with running([places.chat], drain=10) as server:
        assert httpx.get(f"{server.address}/ready").json() == {"status": "ready"}
        with httpx.Client() as kept, ThreadPoolExecutor(1) as pool:
            kept.get(f"{server.address}/health")
            reply = pool.submit(httpx.post, server.address + ROUTE, json=chat_body(), timeout=30)
            assert eventually(lambda: SCRIPT.running == 1)
            server.served.draining = True
            assert kept.get(f"{server.address}/ready").status_code == 503
            refused = kept.post(server.address + ROUTE, json=chat_body())
            assert refused.status_code == 503 and "retry-after" in refused.headers
            assert kept.get(f"{server.address}/health").status_code == 200
            server.served.draining = False
            server.server.stop()
            assert server.served.draining
            # whoever comes now is told, for as long as something runs
            time.sleep(0.2)
            assert SCRIPT.running == 1
            assert httpx.get(f"{server.address}/health").status_code == 200
            assert httpx.get(f"{server.address}/ready").status_code == 503
            assert httpx.post(server.address + ROUTE, json=chat_body()).status_code == 503
            found = reply.result()
    assert found.json()["choices"][0]["message"]["content"] == GREETING


def test_stopping_while_models_are_loaded_waits_for_the_one_at_hand(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, made = threading.Event(), threading.Event(), []

    class Slow(ServedModel):
        def __init__(self, known: Known, options: EngineOptions) -> None:
            begun.set()
            goes_on.wait(10)
            super().__init__(known, options)
            made.append(self)

        def close(self, drain: float) -> None:
            super().close(drain)
            closed.append(self)

    closed: list[ServedModel] = []
    monkeypatch.setattr("chatwright.serving.models.ServedModel", Slow)
    options = ServerOptions(engine="scripted", port=0)
    served = Served(find_runs([places.chat, places.tools]), options)
    ready = threading.Event()
    server = Server(build_app(served, options, [], log=lambda line: None), options, on_ready=ready.set)
    with listening_socket(options.host, 0) as socket:
        thread = threading.Thread(target=server.serve_on, args=(socket,))
        thread.start()
        assert begun.wait(10) and eventually(lambda: server.started)
        server.stop()
        thread.join(0.5)
        assert thread.is_alive(), "a process that ends while native code runs is aborted"
        goes_on.set()
        thread.join(10)
    assert not thread.is_alive() and not ready.is_set()
    assert len(made) == 1 and closed == made, "the second was not begun, and the first is not left open"


def test_stopping_ends_what_takes_too_long(places: Places) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda _: "word " * 400, 0.05
    with running([places.chat], drain=1) as server, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(httpx.post, server.address + ROUTE, json=chat_body(), timeout=30)
        assert eventually(lambda: SCRIPT.running == 1)
        begun = time.monotonic()
        server.server.stop()
        refused = reply.result()
        assert refused.status_code == 503 and "shutting down" in refused.json()["error"]["message"]
        assert 0.9 < time.monotonic() - begun < 4
    assert eventually(lambda: SCRIPT.running == 0)


def test_a_second_signal_ends_at_once(places: Places) -> None:
    SCRIPT.reply, SCRIPT.pause = lambda _: "word " * 400, 0.05
    with running([places.chat], drain=30) as server, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(httpx.post, server.address + ROUTE, json=chat_body(), timeout=30)
        assert eventually(lambda: SCRIPT.running == 1)
        begun = time.monotonic()
        server.server.stop()
        server.server.stop()
        with pytest.raises(httpx.HTTPError):
            reply.result().raise_for_status()
        assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize("drain", ["1", "0"])
def test_a_stream_that_outlives_the_drain_is_told_so(places: Places, tmp_path: Path, drain: str) -> None:
    """A real process and our own engine; an id that the model cannot end with keeps it writing."""
    process = begin(
        "serve", str(places.chat), "port=0", f"drain={drain}", "weights=float32", "threads=1",
        f"database={tmp_path / 'v.sqlite'}",
    )  # fmt: skip
    assert process.stderr is not None
    try:
        address = next(line.split()[1] for line in process.stderr if line.startswith("ready: "))
        ends = TextModel.load(places.chat).vocabulary.end_ids
        body = chat_body(stream=True, n=64, seed=1, logit_bias={str(token): -100 for token in ends})
        # one after another until the server stops: a single reply of a tiny model may be over too soon
        events: list[str] = []
        signalled = False
        while not signalled:
            with httpx.stream("POST", address + ROUTE, json=body, timeout=30) as response:
                for number, line in enumerate(response.iter_lines()):
                    if number == 200:
                        process.send_signal(signal.SIGTERM)
                        signalled = True
                    events += [line] if line else []
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in said and "Error" not in said, said
    assert events[-1] == "data: [DONE]" and "shutting down" in events[-2]


def test_vectors_take_no_longer_than_they_may(places: Places) -> None:
    with running([places.vectors], timeout=0.3) as server:
        model = server.served.models["vectors"]
        model.desk._thread.submit(time.sleep, 1.0)
        late = httpx.post(f"{server.v1}/embeddings", json={"model": "vectors", "input": "x"})
        assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
        assert model.desk.present == 0


def test_what_waits_at_a_desk_that_closes_is_told_so(places: Places) -> None:
    with running([places.vectors], drain=0.3) as server, ThreadPoolExecutor(1) as pool:
        desk = server.served.models["vectors"].desk
        desk._thread.submit(time.sleep, 1.0)
        body = {"model": "vectors", "input": "x"}
        waiting = pool.submit(httpx.post, f"{server.v1}/embeddings", json=body, timeout=30)
        assert eventually(lambda: desk.present == 1)
        server.server.stop()
        assert waiting.result().status_code == 503


def test_all_models_share_one_deadline(places: Places) -> None:
    with running([places.chat, places.tools], drain=0.1) as server:
        given: list[float] = []

        def close(drain: float) -> None:
            given.append(drain)
            time.sleep(0.2)

        for model in server.served.models.values():
            model.close = close  # type: ignore[method-assign]
        server.served.close(0.5)
        server.served.close(0.5)
    assert given[0] == pytest.approx(0.5, abs=0.1) and given[1] == pytest.approx(0.3, abs=0.1)
    assert max(given[2:]) < 0.2


def test_a_server_whose_engine_died_is_not_ready(places: Places) -> None:
    with running([places.chat]) as server:
        writer = server.served.models["chat"].writer
        assert writer is not None
        writer.engine.alive = False  # type: ignore[misc]
        found = httpx.get(f"{server.address}/ready")
        assert found.status_code == 503 and found.json() == {"status": "failed"}


def test_many_clients_of_which_a_third_leaves(places: Places) -> None:
    """The short form of benchmarks/serving_http.py."""
    SCRIPT.reply = lambda asked: f"echo {asked.split('number ')[1].split('<')[0]} " + "word " * 10
    SCRIPT.pause = 0.002
    draw = random.Random(0)
    plans = [(number, draw.random() < 1 / 3, draw.random() < 0.5) for number in range(48)]
    wrong: list[Any] = []

    def one(plan: tuple[int, bool, bool]) -> None:
        number, leaves, stream = plan
        body = chat_body(f"number {number}", stream=stream)
        with httpx.Client(timeout=0.05 if leaves and not stream else 30) as client:
            try:
                with client.stream("POST", server.address + ROUTE, json=body) as response:
                    if leaves:
                        next(response.iter_raw(), None)
                        return
                    text = response.read().decode()
            except httpx.TimeoutException:
                return
        if response.status_code != 200 or not _says(text, f"echo {number} " + "word " * 10):
            wrong.append((number, response.status_code, text[:200]))

    with running([places.chat], slots=4, queue=64) as server:
        threads = [threading.Thread(target=one, args=(plan,)) for plan in plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong
        assert eventually(lambda: SCRIPT.running == 0)
        assert SCRIPT.most_running <= 4
        assert eventually(lambda: len(server.log) == len(plans))
        assert {line["status"] for line in server.lines()} <= {200, 499}


def _says(text: str, wanted: str) -> bool:
    import json

    if text.startswith("data:"):
        chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
        said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    else:
        said = json.loads(text)["choices"][0]["message"]["content"]
    return bool(said == wanted)

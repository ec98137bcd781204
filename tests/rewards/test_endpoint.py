"""The judge behind an endpoint, against a real server on this machine that can be told to fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chatwright.config import build
from chatwright.data.records import Comparison, Message, Prompt
from chatwright.errors import Interrupted, UserError
from chatwright.rewards.endpoint import EndpointJudge
from chatwright.rewards.verdict_cache import VerdictCache

Judging = Callable[[str, str], str]


class Server(ThreadingHTTPServer):
    """Answers with what `judging(A, B)` says, after the failures that stand in `failures`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.judging: Judging = longer
        self.failures: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
            failure = self.server.failures.pop(0) if self.server.failures else None
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.at_once, self.server.most_at_once)
        try:
            time.sleep(self.server.delay)
        finally:
            # before the answer goes out: whoever gets it may ask again at once
            with self.server.lock:
                self.server.at_once -= 1
        self._fail(failure) if failure is not None else self._judge(body)

    def _judge(self, body: dict[str, Any]) -> None:
        material = json.loads(body["messages"][-1]["content"])
        said = self.server.judging(material["A"], material["B"])
        self.say(200, json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}))

    def _fail(self, failure: Any) -> None:
        if failure == "hang up":
            self.close_connection = True
        elif failure == "sleep":
            time.sleep(1.0)
        elif isinstance(failure, int):
            self.say(failure, json.dumps({"error": {"message": f"failure {failure}"}}))
        elif isinstance(failure, tuple):
            self.say(*failure)
        else:
            self.say(200, failure)

    def say(self, code: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        data = text.encode()
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def longer(a: str, b: str) -> str:
    return "Verdict: tie" if len(a) == len(b) else f"Verdict: {'A' if len(a) > len(b) else 'B'}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "run" / "verdicts.jsonl"


def judge(server: Server | str, cache: Path, progress: Any = None, **options: Any) -> EndpointJudge:
    url = server if isinstance(server, str) else server.url
    values = {"base_url": url, "model": "m", "backoff": "0.001", "timeout": "60", "retries": "2", **options}
    return EndpointJudge(build(EndpointJudge.Options, values), cache, progress)


def prompts(count: int) -> list[Prompt]:
    return [Prompt((Message("user", f"q{i}"),), source=f"p:{i}") for i in range(count)]


def compare(judge: EndpointJudge, *groups: list[str]) -> list[Comparison | None]:
    return judge.compare(prompts(len(groups)), groups)


def ranks(found: list[Comparison | None]) -> list[tuple[int, ...] | None]:
    return [None if one is None else one.ranks for one in found]


def test_both_orders_are_asked_and_decide(server: Server, cache: Path) -> None:
    heard: list[int] = []
    found = compare(judge(server, cache, heard.append), ["xx", "x"], ["x", "xx"], ["x", "y"])
    assert ranks(found) == [(0, 1), (1, 0), (0, 0)]
    assert found[0] == Comparison(prompts(1)[0].messages, ("xx", "x"), (0, 1), 0.0, "p:0")
    asked = [json.loads(r["messages"][-1]["content"]) for r in server.requests]
    wanted = [
        ("q0", "xx", "x"),
        ("q0", "x", "xx"),
        ("q1", "x", "xx"),
        ("q1", "xx", "x"),
        ("q2", "x", "y"),
        ("q2", "y", "x"),
    ]
    assert sorted((m["conversation"][0]["content"], m["A"], m["B"]) for m in asked) == sorted(wanted)
    assert sorted(heard) == [1, 2, 3, 4, 5, 6]
    assert {r["path"] for r in server.requests} == {"/v1/chat/completions"}
    assert {(r["model"], r["temperature"], r["key"]) for r in server.requests} == {("m", 0, None)}
    assert "max_tokens" not in server.requests[0]


@pytest.mark.parametrize("always", ["A", "B"])
def test_a_judge_that_likes_a_place_gives_ties(always: str, server: Server, cache: Path) -> None:
    server.judging = lambda a, b: always
    assert ranks(compare(judge(server, cache), ["xx", "x"])) == [(0, 0)]


def test_a_verdict_in_one_order_alone_is_a_tie(server: Server, cache: Path) -> None:
    server.judging = lambda a, b: "A" if a == "xx" else "tie"
    assert ranks(compare(judge(server, cache), ["xx", "x"])) == [(0, 0)]


@pytest.mark.parametrize(
    ("replies", "wanted"),
    [
        (["x", "xxx", "xx"], (2, 0, 1)),
        (["x", "xx", "y", "xxx"], (2, 1, 2, 0)),
        (["x", "xx", "x"], (1, 0, 1)),
        (["x", "y", "z"], (0, 0, 0)),
    ],
)
def test_many_replies_all_meet_and_are_ranked_by_wins(
    replies: list[str], wanted: tuple[int, ...], server: Server, cache: Path
) -> None:
    assert ranks(compare(judge(server, cache), replies)) == [wanted]


def test_a_tie_is_half_a_win(server: Server, cache: Path) -> None:
    """a beats b and is tied with c, c is tied with b: by wins alone b and c would be equal."""
    server.judging = lambda x, y: {("a", "b"): "A", ("b", "a"): "B"}.get((x, y), "tie")
    assert ranks(compare(judge(server, cache), ["a", "b", "c"])) == [(0, 2, 1)]


def test_equal_replies_and_equal_questions_are_not_asked_again(server: Server, cache: Path) -> None:
    assert ranks(compare(judge(server, cache), ["x", "x"])) == [(0, 0)]
    assert server.requests == []
    rows = [prompts(1)[0]] * 3
    assert ranks(judge(server, cache).compare(rows, [["x", "xx"], ["xx", "x"], ["xx", "x", "xx"]])) == [
        (1, 0),
        (0, 1),
        (0, 1, 0),
    ]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/api/v4/", "/api/v4/chat/completions"),
        ("/openai/chat/completions", "/openai/chat/completions"),
    ],
)
def test_addresses(base: str, path: str, server: Server, cache: Path) -> None:
    compare(judge(server.url + base, cache), ["x", "xx"])
    assert {r["path"] for r in server.requests} == {path}


def test_options_reach_the_endpoint(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " secret \n")
    options = {"api_key_variable": "MY_KEY", "temperature": "none", "max_new_tokens": "64", "language": "zh"}
    compare(judge(server, cache, criteria="越短越好", **options), ["x", "xx"])
    request = server.requests[0]
    assert request["key"] == "Bearer secret"
    assert request["max_tokens"] == 64
    assert "temperature" not in request
    assert "越短越好" in request["messages"][0]["content"]
    assert "结论" in request["messages"][0]["content"]


def test_a_proxy_is_not_asked_about_this_machine(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ranks(compare(judge(server, cache, retries=0), ["x", "xx"])) == [(1, 0)]


@pytest.mark.parametrize(
    "failure",
    [
        429,
        500,
        503,
        408,
        "hang up",
        "not JSON",
        '{"choices": []}',
        '{"error": "x"}',
        "[]",
        (429, "busy", {"Retry-After": "0"}),
    ],
    ids=str,
)
def test_failures_that_may_pass_are_asked_again(failure: Any, server: Server, cache: Path) -> None:
    server.failures = [failure, failure]
    assert ranks(compare(judge(server, cache, concurrency=1), ["x", "xx"])) == [(1, 0)]
    assert len(server.requests) == 4


def test_a_timeout_is_asked_again(server: Server, cache: Path) -> None:
    server.failures = ["sleep"]
    assert ranks(compare(judge(server, cache, timeout="0.3", retries=8), ["x", "xx"])) == [(1, 0)]
    assert len(server.requests) >= 3


def test_a_timeout_is_told(server: Server, cache: Path) -> None:
    server.failures = ["sleep"] * 2
    with pytest.raises(UserError, match=r"after 1 try: no sign of an answer in 0\.3 s"):
        compare(judge(server, cache, timeout="0.3", retries=0), ["x", "xx"])


def test_retries_wait_twice_as_long_and_at_least_as_asked(server: Server, cache: Path) -> None:
    server.failures = [500, 500]
    start = time.monotonic()
    compare(judge(server, cache, backoff="0.1", concurrency=1), ["x", "xx"])
    assert time.monotonic() - start >= 0.3
    server.failures = [(429, "busy", {"Retry-After": "1"})]
    start = time.monotonic()
    compare(judge(server, cache, concurrency=1), ["y", "yy"])
    assert time.monotonic() - start >= 1.0


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            500,
            "does not answer (after 3 tries: 500 failure 500); see that it runs and that base_url is right",
        ),
        ("hang up", "does not answer (after 3 tries: "),
        ("garbage", "its answer is no chat completion: garbage"),
        (404, "refused the question: 404 failure 404; see that base_url and model are right"),
        (400, "refused the question: 400"),
        (401, "refused the question: 401 failure 401; name the variable with the key as api_key_variable"),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), "refused the question: 302 Found"),
    ],
    ids=str,
)
def test_a_judge_that_does_not_answer_is_told_with_the_mend(
    failure: Any, said: str, server: Server, cache: Path
) -> None:
    server.failures = [failure] * 20
    with pytest.raises(UserError) as refused:
        compare(judge(server, cache), ["x", "xx"])
    assert f"the judge at {server.url}/v1/chat/completions " in str(refused.value)
    assert said in str(refused.value)
    assert f"then run the same command again to go on (0 verdicts are kept in {cache})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_that_is_refused_is_not_shown(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-key")
    server.failures = [403] * 20
    with pytest.raises(UserError, match="put a valid key into MY_KEY") as refused:
        compare(judge(server, cache, api_key_variable="MY_KEY"), ["x", "xx"])
    assert "secret" not in str(refused.value)


def test_nobody_there_is_told(cache: Path) -> None:
    with pytest.raises(UserError, match=r"does not answer \(after 1 try: .*[Cc]onnection refused\)"):
        compare(judge("http://127.0.0.1:1", cache, retries=0), ["x", "xx"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:8000"}, "base_url=localhost:8000 should be an address"),
        ({"base_url": "file:///etc/passwd"}, "should be an address"),
        ({"base_url": "http://"}, "should be an address"),
        ({"base_url": "http://[x"}, "should be an address"),
        ({"base_url": "http://localhost:port"}, "should be an address"),
        ({"base_url": "http://localhost/a b"}, "should be an address"),
        ({"base_url": "http://本机"}, "should be an address"),
        ({"retries": "-1"}, "retries=-1 must be at least 0"),
        ({"timeout": "0"}, "timeout=0.0 must be more than 0"),
        ({"concurrency": "0"}, "concurrency=0 must be at least 1"),
        ({"max_new_tokens": "0"}, "max_new_tokens=0 must be at least 1"),
        ({"api_key_variable": "NO_SUCH_KEY"}, "the environment variable 'NO_SUCH_KEY' is not set"),
        ({"api_key_variable": "sk-abc123"}, "the environment variable of this name is not set"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str], said: str, cache: Path) -> None:
    with pytest.raises(UserError) as refused:
        judge("http://127.0.0.1:1", cache, **options)
    assert said in str(refused.value)
    assert "abc123" not in str(refused.value)


def test_an_answer_without_a_verdict_is_none_and_counted(server: Server, cache: Path) -> None:
    server.judging = lambda a, b: "who knows" if "?" in a + b else longer(a, b)
    asked = judge(server, cache)
    assert ranks(compare(asked, ["x", "xx"], ["x?", "x"], ["x", "xx", "?"])) == [(1, 0), None, None]
    assert asked.skipped == {"comparison without a verdict": 2}
    assert asked.skipped.places == {"comparison without a verdict": "p:1"}
    count = len(server.requests)
    server.judging = longer
    assert ranks(compare(judge(server, cache), ["x", "xx"], ["x?", "x"])) == [(1, 0), (0, 1)]
    assert len(server.requests) == count + 2


def test_an_answer_by_chance_is_asked_for_again(server: Server, cache: Path) -> None:
    said = iter(["who knows", "", "Verdict: A", "Verdict: B"])
    server.judging = lambda a, b: next(said)
    assert ranks(compare(judge(server, cache, temperature="1", concurrency=1), ["x", "xx"])) == [(0, 1)]


def test_a_judge_that_never_gives_a_verdict_is_refused(server: Server, cache: Path) -> None:
    server.judging = lambda a, b: "Who\nknows?"
    with pytest.raises(
        UserError, match=r"the judge m gave no verdict, but said for example 'Who knows\?'; choose"
    ):
        compare(judge(server, cache), ["x", "xx"], ["x", "xxx"])


def test_a_second_run_asks_only_what_is_open(server: Server, cache: Path) -> None:
    groups = [["x" * (i + 1), "x" * (i + 2)] for i in range(6)]
    server.failures = [None] * 5 + [500] * 100
    with pytest.raises(UserError, match=rf"5 verdicts are kept in {cache}"):
        compare(judge(server, cache, concurrency=1, retries=0), *groups)
    assert len(server.requests) == 6
    server.failures, server.requests = [], []
    assert ranks(compare(judge(server, cache), *groups)) == [(1, 0)] * 6
    assert len(server.requests) == 7
    server.requests = []
    assert ranks(compare(judge(server, cache), *groups)) == [(1, 0)] * 6
    assert server.requests == []


@pytest.mark.parametrize("changed", [{"model": "other"}, {"criteria": "short ones"}, {"language": "zh"}])
def test_another_question_is_asked_anew(changed: dict[str, str], server: Server, cache: Path) -> None:
    compare(judge(server, cache), ["x", "xx"])
    server.judging = lambda a, b: "A" if len(a) < len(b) else "B"
    assert ranks(compare(judge(server, cache, **changed), ["x", "xx"])) == [(0, 1)]
    assert len(server.requests) == 4


def test_a_kill_at_any_byte_loses_only_the_verdict_that_was_written(server: Server, cache: Path) -> None:
    compare(judge(server, cache, concurrency=1), ["x", "猫猫"])
    whole = cache.read_bytes()
    first = whole.index(b"\n") + 1
    for size in (0, 1, first - 1, first, first + 1, len(whole) - 1, len(whole)):
        cache.write_bytes(whole[:size])
        kept = whole[:size].count(b"\n")
        server.requests = []
        assert ranks(compare(judge(server, cache, concurrency=1), ["x", "猫猫"])) == [(1, 0)]
        assert len(server.requests) == 2 - kept
        assert cache.read_bytes() == whole


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"key": 1, "verdict": "A"}', '{"key": "k", "verdict": "C"}', '{"key": "k"}']
)
def test_a_line_that_is_no_verdict_is_refused(line: str, tmp_path: Path) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text('{"key": "a", "verdict": "A"}\n\n' + line + "\n")
    with pytest.raises(UserError, match=r"v\.jsonl:3 is no verdict; delete the line, and it is asked again"):
        VerdictCache(file)


def test_a_verdict_is_in_the_file_before_the_next_is_asked_for(cache: Path) -> None:
    verdicts = VerdictCache(cache)
    for count, key in enumerate(("a", "b"), 1):
        verdicts.add(key, "A", "said")
        assert cache.read_bytes().count(b"\n") == count
    verdicts.close()
    assert VerdictCache(cache).get("b") == "A"


def test_what_was_said_is_kept_for_people(server: Server, cache: Path) -> None:
    server.judging = lambda a, b: "理由 \ud83d\n" + longer(a, b)
    compare(judge(server, cache), ["x", "xx"])
    rows = [json.loads(line) for line in cache.read_bytes().split(b"\n") if line]
    assert {row["said"] for row in rows} == {"理由 \ud83d\nVerdict: A", "理由 \ud83d\nVerdict: B"}


def test_questions_are_asked_at_the_same_time_but_not_more(server: Server, cache: Path) -> None:
    server.delay = 0.05
    compare(judge(server, cache, concurrency=3), *[["x", "x" * (i + 2)] for i in range(6)])
    assert 2 <= server.most_at_once <= 3


def test_an_interrupt_keeps_what_is_there_and_asks_no_more(server: Server, cache: Path) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    server.delay = 0.02
    groups = [["x", "x" * (i + 2)] for i in range(20)]
    with pytest.raises(Interrupted, match=r"stopped; \d verdicts are kept in .*; run the same command again"):
        compare(judge(server, cache, stop, concurrency=2), *groups)
    assert len(server.requests) < 20
    kept = len(VerdictCache(cache))
    assert kept == len(server.requests)
    assert ranks(compare(judge(server, cache), *groups)) == [(1, 0)] * 20
    assert len(server.requests) == 40


def test_the_first_failure_ends_the_pauses_of_the_others_and_is_the_one_told(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowEvent(threading.Event):
        """Lets the others stop before the failure itself is known."""

        def set(self) -> None:
            is_first = not self.is_set()
            super().set()
            time.sleep(0.3 if is_first else 0.0)

    monkeypatch.setattr("chatwright.rewards.endpoint.Event", SlowEvent)
    server.failures = [500, 404] + [500] * 50
    start = time.monotonic()
    with pytest.raises(UserError, match="404"):
        compare(judge(server, cache, backoff="30", concurrency=2), ["x", "xx"], ["x", "xxx"])
    assert time.monotonic() - start < 25


def test_a_cache_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot (read|write) "):
        compare(judge(server, tmp_path / "file" / "v.jsonl"), ["x", "xx"])

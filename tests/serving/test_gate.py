"""Who gets in, with what, and what a stranger's page can do."""

from __future__ import annotations

import base64
import json
import socket

import httpx
import pytest

from chatwright.errors import UserError
from chatwright.serving.options import ServerOptions, is_loopback
from helpers.served import SCRIPT, Places, Running, chat_body, running

ROUTE = "/v1/chat/completions"
OPEN = {"/health", "/"}


def test_every_route_but_health_asks_for_the_key(places: Places) -> None:
    with running([places.chat], api_key="s3cret") as server:
        paths = httpx.get(
            f"{server.address}/openapi.json", headers={"Authorization": "Bearer s3cret"}
        ).json()["paths"]
        routes = [
            (method.upper(), path)
            for path, item in paths.items()
            for method in item
            if method != "parameters"
        ]
        routes += [("GET", "/openapi.json"), ("GET", "/nothing"), ("DELETE", "/v1/models")]
        for method, path in routes:
            for given in (None, "Bearer", "Bearer s3cre", "Bearer s3cret2", "Bearer ключ", "Basic !!"):
                headers = {} if given is None else {"Authorization": given.encode()}
                found = httpx.request(method, server.address + path, headers=headers)
                if path == "/health":
                    assert found.status_code == 200
                    continue
                assert found.status_code == 401, (method, path, given)
                assert found.json()["error"]["code"] == "invalid_api_key"
                assert found.headers["www-authenticate"] == "Bearer"
        # the page has to be there to ask for the key; it is the same for everyone
        assert httpx.get(f"{server.address}/").status_code == 200
        basic = "Basic " + base64.b64encode(b"anyone:s3cret").decode()
        for right in ("Bearer s3cret", "bearer  s3cret", basic):
            headers = {"Authorization": right}
            assert httpx.get(f"{server.address}/v1/models", headers=headers).status_code == 200
        assert not SCRIPT.asks
        assert all("s3cret" not in line for line in server.log)


def test_the_key_comes_before_everything(places: Places) -> None:
    """A stranger does not learn whether a body or a model is right."""
    with running([places.chat], api_key="k") as server:
        for content in (b"{", json.dumps(chat_body(model="none")).encode(), b"x" * 5_000_000):
            headers = {"Content-Type": "application/json"}
            assert httpx.post(server.address + ROUTE, content=content, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("localhost.:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8000", 403),
    ],
)
def test_without_a_key_only_this_machine_s_names_are_answered(
    client: httpx.Client, host: str, status: int
) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == status


def test_a_form_of_another_page_is_refused(client: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"Content-Type": kind}
        refused = client.post(ROUTE, content=json.dumps(chat_body()), headers=headers)
        assert refused.status_code == 415
    assert not SCRIPT.asks


def test_other_sites_are_let_in_by_name_only(places: Places, client: httpx.Client) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options(ROUTE, headers=asked).headers
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=asked).headers
    with running([places.chat], cors=("https://a.example",), api_key="k") as server:
        found = httpx.options(server.address + ROUTE, headers=asked)
        assert (
            found.status_code == 200 and found.headers["access-control-allow-origin"] == "https://a.example"
        )
        other = httpx.options(server.address + ROUTE, headers={**asked, "Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers
        refused = httpx.get(f"{server.address}/v1/models", headers={"Origin": "https://a.example"})
        assert refused.status_code == 401 and "access-control-allow-origin" in refused.headers


def test_a_large_body_is_refused_before_it_is_read(places: Places) -> None:
    with running([places.chat], max_body=0.01) as server:
        late = httpx.post(server.address + ROUTE, json=chat_body("x" * 20_000))
        assert late.status_code == 413 and late.json()["error"]["code"] == "body_too_large"

        def chunks() -> object:
            yield b'{"model": "'
            for _ in range(30):
                yield b"x" * 1000

        headers = {"Content-Type": "application/json"}
        assert httpx.post(server.address + ROUTE, content=chunks(), headers=headers).status_code == 413  # type: ignore[arg-type]
        port = int(server.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 99999999999999999999999999\r\n\r\n"
            )
            assert raw.recv(4096).split()[1] in (b"400", b"413")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"model": "chat", "messages": NaN}', "not JSON"),
        (b'{"model": "\\ud800", "messages": []}', "not JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "deeper than"),
        (b"[]", "the body"),
        (b"null", "the body"),
    ],
)
def test_a_body_that_is_no_request(client: httpx.Client, content: bytes, said: str) -> None:
    found = client.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    assert found.status_code == 400 and said in found.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_value"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}
                ]
            },
            None,
            None,
        ),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"temperature": True}, "temperature", "invalid_value"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"stop": [""]}, None, "invalid_value"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"audio": {"voice": "alloy"}}, "audio", "unsupported_parameter"),
        ({"reasoning_effort": 3}, "reasoning_effort", "invalid_value"),
        ({"functions": []}, "functions", "unsupported_parameter"),
        ({"temprature": 1}, "temprature", "unsupported_parameter"),
        ({"documents": True}, "documents", None),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, "messages", "context_length_exceeded"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(
    client: httpx.Client, change: dict[str, object], param: str | None, code: str | None
) -> None:
    found = client.post(ROUTE, json={**chat_body(), **change})
    error = found.json()["error"]
    assert found.status_code == 400 and error["type"] == "invalid_request_error", found.text
    assert param is None or error["param"] == param, error
    assert code is None or error["code"] == code, error
    assert not SCRIPT.asks


def test_a_value_is_refused_with_what_is_wrong_with_it(client: httpx.Client) -> None:
    for change, said in (
        ({"temperature": 200}, "temperature: 200 is greater than the maximum of 100"),
        ({"n": "3"}, "n: '3' is not of type 'integer', 'null'"),
        ({"stream_options": {"include": True}}, "the parameter 'include' of stream_options is not supported"),
    ):
        assert said in client.post(ROUTE, json={**chat_body(), **change}).json()["error"]["message"]
    vectors = client.post("/v1/embeddings", json={"model": "vectors", "input": "x", "encoding_format": "hex"})
    assert "is not one of ['float', 'base64', None]" in vectors.json()["error"]["message"]


def test_what_clients_send_of_their_own_accord_changes_nothing(client: httpx.Client) -> None:
    body = chat_body(reasoning_effort="low", verbosity="low", user="u", temperature=None)
    assert client.post(ROUTE, json=body).status_code == 200


def test_a_slip_is_answered_with_the_nearest_name(client: httpx.Client) -> None:
    error = client.post(ROUTE, json=chat_body(temprature=1)).json()["error"]
    assert "did you mean 'temperature'?" in error["message"]
    error = client.post(ROUTE, json=chat_body(model="chta")).json()["error"]
    assert error["code"] == "model_not_found" and "did you mean 'chat'?" in error["message"]
    found = client.post(ROUTE, json=chat_body(model="base"))
    assert (
        found.status_code == 400
        and "offers completion, embedding and not chat" in found.json()["error"]["message"]
    )


def test_a_missing_parameter_is_named(client: httpx.Client) -> None:
    error = client.post(ROUTE, json={"model": "chat"}).json()["error"]
    assert error["param"] == "messages" and error["code"] == "missing_parameter"


def test_routes_that_are_none(client: httpx.Client) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", ROUTE, 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/static/../../../run.json", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
    ):
        found = client.request(method, path)
        assert found.status_code == status, path
        assert set(found.json()["error"]) == {"message", "type", "param", "code"}


def test_what_stands_on_every_answer(client: httpx.Client) -> None:
    for path in ("/health", "/v1/models", "/nothing", "/"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and "x-request-id" in headers
        assert "content-security-policy" in headers and "server" not in headers


def test_a_name_with_markup_stays_text(client: httpx.Client, server: Running) -> None:
    found = client.post(ROUTE, json=chat_body(model="<script>alert(1)</script>\n{}"))
    assert found.status_code == 404 and found.headers["content-type"] == "application/json"
    client.get("/<script>%0a")
    assert all("script" not in line and "\n" not in line for line in server.log)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 70000}, "port=70000"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "ключ"}, "api_key"),
        ({"cors": ("*",)}, "cors"),
        ({"timeout": 0.0}, "timeout=0"),
        ({"slots": 0}, "slots=0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ServerOptions(**options)  # type: ignore[arg-type]


def test_addresses_of_this_machine() -> None:
    for name in ("localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"):
        assert is_loopback(name)
    for name in ("0.0.0.0", "::", "localhost.example", "128.0.0.1", "", "127.0.0.1.nip.io"):
        assert not is_loopback(name)

"""The server against its own OpenAPI document: schemathesis sends what the document allows, and what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest
from starlette.routing import Route

from chatwright.serving.app import build_app
from helpers.served import Places, Running, running

# That a right body may still be too long for the model's context stands in no schema.
_CHECKS = ("--exclude-checks", "positive_data_acceptance")


def schemathesis(server: Running, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "schemathesis"
    command = [program, "run", f"{server.address}/openapi.json", "--seed", "7", *_CHECKS, *words]
    key = ("-H", "Authorization: Bearer k")
    return subprocess.run(
        [*map(str, command), *key],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_document_is_one(client: httpx.Client, server: Running) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0" and "security" not in document
    described = set(document["paths"])
    for route in (
        route.path for route in build_app(server.served, server.options).routes if isinstance(route, Route)
    ):
        if not route.startswith("/web/") and route not in ("/", "/openapi.json"):
            assert route.replace(":path}", "}") in described, route
    for item in document["paths"].values():
        body = (
            item.get("post", {})
            .get("requestBody", {})
            .get("content", {})
            .get("application/json", {})
            .get("schema")
        )
        if body is not None:
            jsonschema.Draft202012Validator.check_schema(body)
    chat = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert chat["properties"]["model"]["enum"] == ["chat", "tools"]


def test_schemathesis_finds_nothing_in_a_few_examples(places: Places, tmp_path: Path) -> None:
    with running(places.all, api_key="k") as server:
        found = schemathesis(server, tmp_path, "-n", "3", "--phases", "fuzzing,stateful")
        assert found.returncode == 0, found.stdout[-4000:]
        assert all(line["status"] < 500 for line in server.lines())


@pytest.mark.slow
def test_schemathesis_finds_nothing(places: Places, tmp_path: Path) -> None:
    with running(places.all, api_key="k") as server:
        found = schemathesis(server, tmp_path, "-n", "20", "--max-failures", "3")
        assert found.returncode == 0, found.stdout[-4000:]
        assert all(line["status"] < 500 for line in server.lines())

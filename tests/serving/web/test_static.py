"""The files of the page: how they are sent, what they may not hold, and that the vendored ones are the published ones."""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from chatwright.serving.web.static import PAGE, TYPES, web_page, web_routes

OURS = [path for path in sorted(PAGE.rglob("*")) if path.suffix in TYPES and "vendor" not in path.parts]
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
WORD = re.compile(r'^  "?([\w.]+)"?: "(.*)",$', re.MULTILINE)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(Starlette(routes=web_routes())) as client:
        yield client


def words(language: str) -> dict[str, str]:
    return dict(WORD.findall((PAGE / "words" / f"{language}.js").read_text(encoding="utf-8")))


def test_the_first_page_names_only_files_that_are_sent(client: TestClient) -> None:
    found = client.get("/")
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert found.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:href|src)="([^"]+)"', found.text)
    assert len([name for name in named if not name.endswith(".js")]) == 7
    for name in named:
        assert client.get(f"/{name}").status_code == 200, name


def imported(name: str) -> set[str]:
    """The modules that a module of the page cannot start without, by their names in the page's folder."""
    found: set[str] = set()
    left = [name]
    while left:
        here = left.pop()
        text = (PAGE / here).read_text(encoding="utf-8")
        for to in re.findall(r'^import (?:[^;]* from )?"([^"]+)";', text, re.MULTILINE):
            module = posixpath.normpath(posixpath.join(posixpath.dirname(here), to))
            if module not in found:
                found.add(module)
                left.append(module)
    return found


def test_all_modules_of_the_start_are_asked_for_at_once() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<link rel="modulepreload" href="web/current/([^"]+)">', text)
    assert sorted(links) == sorted(imported("main.js"))


def test_every_file_carries_the_headers_that_guard(client: TestClient) -> None:
    digest = web_page().digest
    for path in ["/", *(f"/web/{digest}/{name}" for name in web_page().files)]:
        found = client.get(path)
        assert found.status_code == 200, path
        assert found.headers["x-content-type-options"] == "nosniff"
        policy = dict(part.split(" ", 1) for part in found.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["trusted-types"] == "dompurify"
        assert "unsafe" not in found.headers["content-security-policy"]
        if path != "/":
            assert "immutable" in found.headers["cache-control"]


def test_a_type_is_ours_and_not_the_systems(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimetypes.guess_type", lambda *_: ("text/plain", None))
    found = client.get(f"/web/{web_page().digest}/main.js")
    assert found.headers["content-type"] == "text/javascript; charset=utf-8"


def test_a_file_that_a_browser_has_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/").headers["etag"]
    again = client.get("/", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_files_go_packed_to_those_who_take_them_so(client: TestClient) -> None:
    path = f"/web/{web_page().digest}/vendor/katex/katex.min.js"
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as packed:
        body = b"".join(packed.iter_raw())
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(body) == plain.content
    assert len(body) < 0.4 * len(plain.content)
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    [
        "/web/{digest}/../static.py",
        "/web/{digest}/%2e%2e/static.py",
        "/web/{digest}/..%2fstatic.py",
        "/web/{digest}//etc/passwd",
        "/web/{digest}/vendor/VENDORED.md",
        "/web/other/main.js",
        "/web/{digest}/",
        "/index.html",
    ],
)
def test_nothing_else_is_sent(client: TestClient, path: str) -> None:
    assert client.get(path.format(digest=web_page().digest)).status_code == 404


def test_the_digest_follows_the_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    digests = set()
    for text in ("1", "2"):
        folder = tmp_path_factory.mktemp("page")
        (folder / "index.html").write_text('<script src="web/current/main.js"></script>')
        (folder / "main.js").write_text(text)
        page = web_page(folder)
        assert f"web/{page.digest}/main.js".encode() in page.index.body
        digests.add(page.digest)
    assert len(digests) == 2


def test_no_script_or_style_stands_in_the_markup() -> None:
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", text)
    for path in SCRIPTS:
        said = path.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", said
        ), path
        assert 'setAttribute("style"' not in said, path


def test_nothing_of_ours_names_another_server() -> None:
    for path in OURS:
        named = re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))
        assert set(named) <= {"http://www.w3.org/2000/svg"}, path


def test_files_of_the_page_stay_short() -> None:
    long = [path.name for path in OURS if len(path.read_text(encoding="utf-8").splitlines()) > 500]
    assert not long


def test_both_languages_say_the_same() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys()
    slots = re.compile(r"\{\w+\}")
    for key, text in english.items():
        assert sorted(slots.findall(text)) == sorted(slots.findall(chinese[key])), key
        assert text.strip()
        assert chinese[key].strip()


def test_every_word_is_there_and_used() -> None:
    known = set(words("en"))
    said = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.parent.name != "words")
    literal = set(re.findall(r"\bt\(\s*\"([\w.]+)\"", said))
    assert literal <= known
    begun = {prefix for prefix, _ in re.findall(r"\bt\(\s*`([\w.]+?\.)\$\{\w[\w.]*\}([\w.]*)`", said)}
    quoted = set(re.findall(r'"([\w.]+)"', said))
    unused = {key for key in known if key not in quoted and not key.startswith(tuple(begun))}
    assert not unused


def test_vendored_files_are_the_published_ones_and_no_more() -> None:
    told = (PAGE / "vendor" / "VENDORED.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", told, re.MULTILINE))
    there = {
        path.relative_to(PAGE / "vendor").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (PAGE / "vendor").rglob("*")
        if path.is_file() and path.name != "VENDORED.md"
    }
    assert listed == there
    licensed = {name.split("/")[0] for name in there if name.endswith("/LICENSE")}
    assert licensed == {name.split("/")[0] for name in there}


def test_the_page_stays_small() -> None:
    sizes = {path: path.stat().st_size for path in PAGE.rglob("*") if path.suffix in TYPES}
    vendored = sum(size for path, size in sizes.items() if "vendor" in path.parts)
    assert vendored < 650_000
    assert sum(sizes.values()) - vendored < 190_000
    page = web_page()
    # what a first visit loads, formulas and coloured code apart
    first = [
        file
        for name, file in page.files.items()
        if not re.match(r"vendor/(katex|highlight/languages)/", name)
    ]
    assert sum(len(file.packed or file.body) for file in first) < 110_000

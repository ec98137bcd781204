"""The page of a corpus run: all that happened is on it, nothing of the text is HTML, and it opens offline."""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.accounts import read_report
from chatwright.insight import corpus_page, corpus_samples
from chatwright.recipes.show import show
from chatwright.recipes.text.corpus import corpus
from chatwright.runs import Run

EVIL = "<script>alert(1)</script> & <img src=x onerror=alert(2)> "
LONG = "It was the best of times, it was the worst of times, it was the age of wisdom for all of us in the town. "
VOID = {"meta", "img", "br"}


class Tags(HTMLParser):
    """Which tags stand open, and whether each is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("in") / "<b>texts"
    folder.mkdir()
    texts = (
        [f"{EVIL}{LONG}{n}" for n in range(30)] + ["no"] * 12 + [f"{LONG}{EVIL}\u200b\x07 joe@example.com"]
    )
    texts += ["我们今天去了公园，看见了很多花。天气很好，大家都在草地上休息。"] * 2
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "<i>&.json").write_text("{")
    steps = ("clean", "language", "quality", "personal", "exact")
    return corpus([folder], tmp_path_factory.mktemp("out") / "run", engine="inline", steps=steps)


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return (run.directory / "report.html").read_text()


def test_a_corpus_run_leaves_its_page_and_figures(run: Run, page: str) -> None:
    figures = json.loads((run.directory / "corpus_statistics.json").read_text())
    assert figures["sample"]["documents"] == run.result["kept"]["documents"]
    for word in (
        "What each step left",
        "too short",
        "exact duplicate",
        "email",
        "Lengths: Chinese",
        "broken JSON",
    ):
        assert word in page
    for step in read_report(run.directory)["steps"]:
        assert step["name"] in page


def test_texts_and_names_are_never_html(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and not {"script", "img"} & set(tags.seen)
    assert "&lt;script&gt;" in page and "&lt;b&gt;texts" in page and "&lt;i&gt;&amp;.json" in page
    assert not re.search(r"<i>&|on(error|load|click)=[^a]", page)
    assert "\x07" not in page and "\u200b" not in page


def test_the_name_of_the_run_and_numbers_of_its_inputs(run: Run) -> None:
    figures = json.loads((run.directory / "corpus_statistics.json").read_text())
    report = read_report(run.directory)
    page = corpus_page.render("<u>name", report, figures)
    assert "<h1>corpus · &lt;u&gt;name</h1>" in page and "<u>" not in page
    entry = next(iter(report["inputs"].values()))
    inputs = page[page.index("<h2>Inputs") : page.index("<h2>Languages")]
    assert f">{entry['kept']['bytes'] / entry['read']['bytes']:.0%}</td>" in inputs


def test_a_reached_share_stands_beside_the_wished_one(run: Run) -> None:
    figures = json.loads((run.directory / "corpus_statistics.json").read_text())
    report = read_report(run.directory)
    (entry,) = report["inputs"].values()
    assert (entry["share"], entry["wished_share"]) == (1.0, None)
    assert '<td class="number">100.0%</td></tr>' in corpus_page.render("run", report, figures)
    entry.update(share=0.2971, wished_share=0.3)
    assert '<td class="number">29.7% of 30.0% wished</td></tr>' in corpus_page.render("run", report, figures)


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//)|@import|url\(", page)


def test_changes_show_what_went_and_what_came(page: str) -> None:
    assert re.search(r"<del>j[*@.]+</del><ins>&lt;email&gt;</ins>", page)
    assert "<del>‹200B›" in page


def test_a_reason_shows_at_most_ten_samples(page: str) -> None:
    short = page[page.index(": too short") :]
    assert short[: short.index("</details>")].count('class="sample"') == 10


def test_show_writes_the_page_anew(run: Run, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run.directory / "report.html").unlink()
    show(run)
    assert f"report: {run.directory / 'report.html'}" in capsys.readouterr().out
    assert (run.directory / "report.html").read_text() == page


def test_an_excerpt_that_is_cut_is_no_difference() -> None:
    before = "a " * 20 + "x@y " + " ".join(map(str, range(200)))
    pieces = corpus_samples._within(before[:300], before.replace("x@y", "<a longer mask>")[:300])
    assert [piece.text for piece in pieces if piece.kind != "same"] == ["x@y", "<a longer mask>"]
    assert [kind for kind, _ in corpus_samples._within("x" * 300, "y" * 300)] == ["out", "in"]


def test_a_step_that_did_nothing_has_no_section() -> None:
    size = {"documents": 0, "characters": 0, "bytes": 0}
    step: dict[str, Any] = {
        "name": "near",
        "before": size,
        "after": size,
        "dropped": {},
        "changed": {},
        "marked": {},
    }
    assert corpus_samples.step_section(step) == ""
    happening = {"documents": 1, "count": 1, "bytes": 5, "first": "a", "samples": []}
    assert "dropped <b>1</b>" in corpus_samples.step_section({**step, "dropped": {"odd": happening}})


def test_clusters_of_near_duplicates_are_on_the_page(tmp_path: Path) -> None:
    draw = random.Random(0)
    kinds = [" ".join(f"word{draw.randrange(900)}" for _ in range(80)) for _ in range(4)]
    texts = [f"<b>{n} {kinds[0]}" for n in range(15)] + [kinds[1], kinds[1] + " once", kinds[2], kinds[3]]
    (tmp_path / "a&b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run = corpus([tmp_path / "a&b.jsonl"], tmp_path / "run", engine="inline", steps=("near",))
    page = (run.directory / "report.html").read_text()
    section = page[page.index("<h2>Clusters of near duplicates") :]
    section = section[: section.index("<h2>What the kept text")]
    assert "2 clusters of documents that are nearly the same hold 17 documents, 89.5% of" in section
    assert re.search(r"11 and more</td>.*?>15</td><td class=\"number\">1</td>", section)
    assert re.search(r"<summary><b>15</b> documents, of which [^<]*a&amp;b.jsonl:1 stays <", section)
    assert section.count('class="sample"') == 10 + 2 and "and 5 more" in section and "0 more" not in section
    assert " · stays</p>" in section
    assert re.search(r"&lt;b&gt;\d+ word", section) and not re.search(r"<b>\d+ word", section)
    assert "2 of 17 documents (89.5% of what came)" in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    (step,) = (step for step in run.result["steps"] if step["name"] == "near")
    assert step["clusters"]["count"] == 2 and "largest" not in step["clusters"]


def test_without_near_duplicates_there_is_no_section(page: str) -> None:
    assert "Clusters of near" not in page and "clusters of near" not in page


def test_sizes_in_words() -> None:
    assert [corpus_samples.megabytes(n) for n in (12, 3400, 5.6e6, 7.8e9)] == [
        "12 B",
        "3.4 kB",
        "5.6 MB",
        "7.8 GB",
    ]
    assert [corpus_page._ordinal(n) for n in (2, 3, 11, 21, 112)] == ["2nd", "3rd", "11th", "21st", "112th"]


def test_inputs_are_named_within_their_common_folder() -> None:
    assert corpus_page.common_folder(["/a/b/one", "/a/b/other"]) == "/a/b/"
    assert corpus_page.common_folder(["/a/b"]) == corpus_page.common_folder(["x", "y"]) == ""
    assert corpus_page.common_folder([]) == ""


def test_many_skipped_files_are_cut_short(tmp_path: Path) -> None:
    report = {
        "skipped": {"broken <PDF>": {"count": 3, "first": "a"}, "odd rows": {"count": 1, "first": "<u>:7"}},
        "skipped_files": {"broken <PDF>": [["a", "d&d"], ["b", ""], ["c", ""]]},
    }
    found = corpus_samples.skipped_section(report, 2)
    assert "broken &lt;PDF&gt;" in found and "<li>b</li>" in found and "<li>c" not in found
    assert (
        "1 more are in corpus_report.json" in found and "first: &lt;u&gt;:7" in found and "d&amp;d" in found
    )
    assert corpus_samples.skipped_section({"skipped": {}, "skipped_files": {}}) == ""

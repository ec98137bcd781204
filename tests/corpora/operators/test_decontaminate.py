import gzip
import json
import random
from itertools import pairwise
from pathlib import Path

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.corpora.documents import Doc, Notes
from chatwright.corpora.operators.decontaminate import Decontaminate, DecontaminateOptions, _merged
from chatwright.errors import UserError

WORDS = [f"word{n}" for n in range(500)]
HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))


def text_of(draw: random.Random, count: int, script: str) -> str:
    return " ".join(draw.choices(WORDS, k=count)) if script == "en" else "".join(draw.choices(HAN, k=count))


def write(folder: Path, rows: list[object], name: str = "set.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def step(*paths: Path, **options: object) -> Decontaminate:
    return Decontaminate(DecontaminateOptions(against=paths, **options))  # type: ignore[arg-type]


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    units = text.split() if " " in text else list(text)
    return {tuple(units[i : i + size]) for i in range(len(units) - size + 1)}


@pytest.mark.parametrize("script", ["en", "zh"])
def test_every_planted_run_is_found_and_nothing_else(tmp_path: Path, script: str) -> None:
    draw = random.Random(0)
    rows = [
        {"question": text_of(draw, 30, script), "choices": [text_of(draw, 20, script)]} for _ in range(20)
    ]
    texts, planted = [], []
    for number in range(400):
        row = draw.choice(rows)
        source = draw.choice((row["question"], row["choices"][0]))
        units = source.split() if script == "en" else list(source)
        length = 13 if number % 2 else 12
        start = draw.randrange(len(units) - length + 1)
        run = (" " if script == "en" else "").join(units[start : start + length])
        before, after = text_of(draw, draw.randrange(40), script), text_of(draw, draw.randrange(40), script)
        texts.append(f"{before} {run.upper()}, {after}" if script == "en" else f"{before}，{run}。{after}")
        planted.append(length == 13)
    docs = [Doc(str(n), "s", text) for n, text in enumerate(texts)]
    left = {doc.id for doc in step(write(tmp_path, rows))(docs, Notes())}
    known = {
        gram for row in rows for text in (row["question"], *row["choices"]) for gram in shingles(text, 13)
    }
    for doc, is_planted in zip(docs, planted, strict=True):
        plain = (
            doc.text.lower().replace(",", "")
            if script == "en"
            else doc.text.replace("，", "").replace("。", "")
        )
        assert (doc.id not in left) == bool(shingles(plain, 13) & known) >= is_planted


def test_where_the_shared_stretches_stand(tmp_path: Path) -> None:
    secret = " ".join(WORDS[:15])
    judge = step(write(tmp_path, [secret]))
    texts = ["none", f"so: {secret}, and {secret.title()}.", " ".join(WORDS[:12]), f"{WORDS[3]} {secret}"]
    length = len(secret)
    assert judge.shared(texts) == [
        [],
        [(4, 4 + length), (10 + length, 10 + 2 * length)],
        [],
        [(6, 6 + length)],
    ]


def test_the_other_script_is_found_too(tmp_path: Path) -> None:
    question = "请问下列哪一种软件能够发现并且删除后台运行的程序？"
    docs = [
        Doc("1", "s", "题目：" + opencc.OpenCC("s2t").convert(question)),
        Doc("2", "s", "请问下列哪一种软件好用？"),
    ]
    notes = Notes()
    assert [doc.id for doc in step(write(tmp_path, [question]))(docs, notes)] == ["2"]
    assert notes.dropped["in an evaluation set"].samples[0][1].detail.startswith("請問下列")


def test_short_texts_are_compared_whole(tmp_path: Path) -> None:
    against = write(
        tmp_path,
        ["Which planet is the largest in the system", "a b c d e f g h", "中华人民共和国国务院", "short"],
    )
    docs = [
        Doc("1", "s", "Q: which planet is the LARGEST in the system? Jupiter"),
        Doc("2", "s", "which planet is the largest"),
        Doc("3", "s", "a b c d e f g h"),
        Doc("4", "s", "中华人民共和国国务院发布"),
    ]
    assert [doc.id for doc in step(against)(docs, Notes())] == ["2", "3", "4"]


def test_cutting_takes_the_lines(tmp_path: Path) -> None:
    draw = random.Random(1)
    secret, own = text_of(draw, 20, "en"), [text_of(draw, 40, "en") for _ in range(3)]
    lines = secret.replace(" ", "\n", 7)
    text = f"{own[0]}\n{lines} and more\n{own[1]}\n{own[2]}"
    notes = Notes()
    (doc,) = step(write(tmp_path, [secret]), action="cut")([Doc("1", "s", text)], notes)
    assert doc.text == "\n".join(own)
    assert notes.changed["in an evaluation set"].count == 1
    assert step(write(tmp_path, [secret]), action="cut")([Doc("2", "s", secret + "\nrest")], notes) == []
    assert notes.dropped["mostly in an evaluation set"].first == "2"


def test_kinds_of_files(tmp_path: Path) -> None:
    texts = [text_of(random.Random(seed), 15, "en") for seed in range(5)]
    plain, array = tmp_path / "a.txt", tmp_path / "b.json"
    plain.write_text(f"{texts[0]}\n{texts[1]}\n", encoding="utf-8")
    array.write_text(json.dumps([{"x": [texts[2]]}]), encoding="utf-8")
    packed = tmp_path / "c.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps({"x": {"y": texts[3]}}).encode()))
    docs = [Doc(str(n), "s", text) for n, text in enumerate(texts)]
    assert [doc.id for doc in step(plain, array, packed)(docs, Notes())] == ["4"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"x", "is of no known type; give .jsonl"),
        ("a.jsonl", b"{", "line 1 is no JSON"),
        ("a.jsonl", b"\xff\xff", "cannot read decontaminate.against="),
        ("a.jsonl.gz", b"x", "cannot read decontaminate.against="),
        ("a.txt", b"too short", "holds no text of 8 words or more"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        step(tmp_path / name)


def test_something_to_compare_with_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give decontaminate.against=FILE,FILE"):
        step()
    with pytest.raises(UserError, match="does not exist"):
        step(tmp_path / "none.txt")


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.text("abc中国 \n", max_size=60), max_size=4), st.text("abc中国 \n", min_size=1, max_size=40)
)
def test_what_is_left_shares_no_run(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], known: str
) -> None:
    against = write(tmp_path_factory.mktemp("sets"), [known, "x " * 20])
    for action in ("drop", "cut"):
        judge = step(against, action=action, words=3, shortest=3)
        left = judge([Doc(str(n), "s", text) for n, text in enumerate(texts)], Notes())
        assert not any(judge.shared([line for doc in left for line in doc.text.split("\n")]))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)).map(lambda p: (p[0], p[0] + p[1])), max_size=8)
)
def test_merging_covers_the_same(spans: list[tuple[int, int]]) -> None:
    merged = _merged(spans)
    assert {n for a, b in merged for n in range(a, b)} == {n for a, b in spans for n in range(a, b)}
    assert all(a[1] < b[0] for a, b in pairwise(merged))

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from chatwright.corpora.documents import Tally
from chatwright.data.chats import read_chats
from chatwright.errors import UserError

GOOD = {"prompt": "Hi", "completion": "Hello"}
SHARED = Path(__file__).parents[3] / "shared" / "data"


def write(path: Path, *rows: Any) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_chats_stream_with_their_places_and_skips_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", GOOD, "{broken", {"prompt": "Hi", "completion": ""}, "", GOOD)
    skipped = Tally()
    chats = list(read_chats(path, skipped))
    assert [chat.source for chat in chats] == [f"{path}:1", f"{path}:5"]
    assert dict(skipped) == {"broken JSON": 1, "empty assistant message": 1}
    assert skipped.places["empty assistant message"] == f"{path}:3"


def test_compressed_files_parquet_and_folders(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    write(tmp_path / "b.json", json.dumps([GOOD, GOOD]))
    table = pa.Table.from_pylist(
        [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "你好"}]}]
    )
    pq.write_table(table, tmp_path / "c.parquet")
    (tmp_path / "notes.txt").write_text("not rows")
    chats = list(read_chats([tmp_path]))
    assert [chat.messages[1].content for chat in chats] == ["Hello", "Hello", "Hello", "你好"]
    assert len(list(read_chats([tmp_path / "c.parquet", tmp_path / "b.json"]))) == 3


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    def refusal(*paths: Path) -> str:
        with pytest.raises(UserError) as caught:
            list(read_chats(paths))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "nowhere.jsonl" in refusal(tmp_path / "nowhere.jsonl")
    assert "empty.jsonl" in refusal(write(tmp_path / "empty.jsonl"))
    assert "broken.jsonl" in refusal(write(tmp_path / "broken.jsonl", "{", "}"))
    mute = write(tmp_path / "mute.jsonl", {"messages": [{"role": "user", "content": "?"}]})
    assert f"1 × no assistant message (first {mute}:1)" in refusal(mute)
    strange = write(tmp_path / "strange.jsonl", GOOD, {"x": 1})
    assert refusal(strange).startswith(f"{strange}:2: no chat format has the keys 'x'")
    (tmp_path / "folder").mkdir()
    assert "has no files of rows" in refusal(tmp_path / "folder")
    assert "no file was given" in refusal()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("formats/alpaca_zh_demo", 1000),
        ("formats/glaive_toolcall_en_demo", 300),
        ("sft/en_multitask", 14_000),
        ("dialogue/zh_knowledge_dev", 450),
    ],
)
def test_public_files_are_read_whole(name: str, count: int) -> None:
    path = SHARED / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"{path} is only on the developers' machines")
    skipped = Tally()
    assert sum(1 for _ in read_chats(path, skipped)) == count
    assert not skipped

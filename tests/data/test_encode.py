import json
from pathlib import Path

import pytest

from chatwright.data.encode import batches, encode_chats, encode_documents
from chatwright.data.packing import IGNORE, PackedRows
from chatwright.data.records import Chat, Message
from chatwright.errors import UserError
from chatwright.tokenization.chat import Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

TEXTS = ["The river is deep.", "河流很深。", "", "a <|im_end|> b \ud800"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS * 3, TokenizerOptions(vocab_size=420)))


def chat(question: str, answer: str, source: str = "") -> Chat:
    return Chat((Message("user", question), Message("assistant", answer)), source)


def test_documents_begin_with_endoftext_and_come_back(tokenizer: Tokenizer, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    store = encode_documents(
        iter(TEXTS), tokenizer, tmp_path / "s", lambda *told: heard.append(told), lambda: {"x": 1}
    )
    clean = [*TEXTS[:3], "a <|im_end|> b \ufffd"]
    for index, text in enumerate(clean):
        first, *ids = store.document(index).tolist()
        assert first == tokenizer.endoftext
        assert tokenizer.endoftext not in ids
        assert tokenizer.decode(ids) == text
    size = sum(len(text.encode()) for text in clean)
    assert store.text_bytes == size
    assert heard == [(4, size)]
    info = json.loads((tmp_path / "s" / "store.json").read_text())
    assert (info["tokenizer"], info["x"], info["documents"]) == (tokenizer.digest, 1, 4)


def test_chats_carry_their_mask_into_the_rows(tokenizer: Tokenizer, tmp_path: Path) -> None:
    store = encode_chats([chat("Hi?", "Deep."), chat("你", "河")], Renderer(tokenizer), tmp_path / "s")
    assert store.info["learnt_bytes"] == len("Deep.河".encode())
    row = PackedRows(store, 64, tokenizer.pad, shuffle=False).row(0, 0)
    learnt = row.targets[row.targets != IGNORE].tolist()
    assert tokenizer.decode(learnt, skip_special=False) == "Deep.<|im_end|>河<|im_end|>"
    assert (
        tokenizer.decode(row.inputs, skip_special=True)
        == "user\nHi?\nassistant\nDeep.user\n你\nassistant\n河"
    )


def test_a_chat_that_cannot_be_learnt_from_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    mute = Chat((Message("user", "?"),), "chats.jsonl:7")
    with pytest.raises(UserError, match=r"^chats\.jsonl:7: the chat has no assistant"):
        encode_chats([chat("a", "b"), mute], Renderer(tokenizer), tmp_path / "s")
    with pytest.raises(UserError, match=r"^chat 2: "):
        encode_chats([chat("a", "b"), Chat(mute.messages)], Renderer(tokenizer), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_batches_keep_order_and_size() -> None:
    assert list(batches(["aa", "b", "ccc", "d"], 3)) == [["aa", "b"], ["ccc"], ["d"]]
    assert list(batches([], 3)) == []

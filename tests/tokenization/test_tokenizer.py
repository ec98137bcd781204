import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from chatwright.errors import UserError
from chatwright.tokenization import tokenizer as module
from chatwright.tokenization.special import SPECIAL_TOKENS
from chatwright.tokenization.template import CHAT_TEMPLATE
from chatwright.tokenization.tokenizer import Tokenizer

SAMPLES = [
    "",
    "The river's deep.",
    "你好，世界！第3个城市。",
    "🙂👨‍👩‍👧‍👦 e\u0301 é ﬁ Å ①",
    "def f(x):\n\treturn {'a': 1}\r\n\r\n   # end   \n",
    "<|im_start|>user\n<|endoftext|><|pad|>",
    "\x00\x7f\ufeff\u200b\ufdd0\ufffe",
]


@pytest.mark.parametrize("text", SAMPLES)
def test_round_trip_is_exact(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert not set(ids) & tokenizer.special_ids
    assert tokenizer.token_bytes[ids].sum() == len(text.encode())


def test_composed_and_decomposed_text_stay_apart(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("e\u0301") != tokenizer.encode("é")


def test_batch_equals_one_by_one_and_cuts_of_long_texts_change_nothing(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONG_TEXT", 50)
    monkeypatch.setattr(module, "_SMALL_BATCH", 100)
    long = "".join(f"line {n}\n\n  \n\tnext!\r\n \nx\n" for n in range(300))
    texts = [*SAMPLES, long, long.replace("\n", "\r"), "", "\n" * 200, long[:49], "x" * 400 + "\n"] * 3
    batch = tokenizer.encode_batch(texts)
    assert [ids.tolist() for ids in batch] == [tokenizer._slow(text).tolist() for text in texts]
    assert all(ids.dtype == np.int32 for ids in batch)
    assert tokenizer.encode_batch([]) == []


def test_long_texts_are_cut_only_before_what_is_not_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG_TEXT", 3)
    assert module._paragraphs("abcd\n\n  \n\tx\n \nyz\nend\n") == ["abcd\n\n  \n\tx\n \n", "yz\nend\n"]
    assert module._paragraphs("abc\n \n") == ["abc\n \n"]
    assert module._paragraphs("") == [""]


def test_surrogates_do_not_crash(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude42")) == "🙂"
    assert tokenizer.decode(tokenizer.encode_batch(["\udc80"])[0]) == "\ufffd"
    assert tokenizer._slow("a\ud800b").tolist() == tokenizer.encode("a\ud800b")


def test_control_tokens(tokenizer: Tokenizer) -> None:
    first = tokenizer.vocab_size - len(SPECIAL_TOKENS)
    assert (tokenizer.endoftext, tokenizer.im_start, tokenizer.im_end, tokenizer.pad) == tuple(
        range(first, first + 4)
    )
    assert tokenizer.special_ids == frozenset(range(first, tokenizer.vocab_size))
    assert set(np.flatnonzero(tokenizer.token_bytes == 0)) == tokenizer.special_ids
    assert tokenizer.decode([tokenizer.im_start, *tokenizer.encode("a"), tokenizer.im_end]) == "a"
    assert tokenizer.decode([tokenizer.im_start], skip_special=False) == "<|im_start|>"
    assert tokenizer.decode([10**9, -1]) == ""
    with pytest.raises(UserError, match="no token '<think>'"):
        tokenizer.id_of("<think>")


def test_save_and_load(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path, eos="<|im_end|>")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    loaded = Tokenizer.load(tmp_path)
    assert loaded.digest == tokenizer.digest
    assert loaded.template == CHAT_TEMPLATE
    assert loaded.eos == loaded.im_end
    assert loaded.stop_ids == {loaded.endoftext, loaded.im_end}
    assert [loaded.encode(text) for text in SAMPLES] == [tokenizer.encode(text) for text in SAMPLES]
    with pytest.raises(UserError, match="no token '<nothing>'"):
        tokenizer.save(tmp_path, eos="<nothing>")


def test_transformers_reads_the_folder_and_gives_the_same_ids(tokenizer: Tokenizer, directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    peer = transformers.AutoTokenizer.from_pretrained(directory)
    for text in SAMPLES:
        assert peer(text, split_special_tokens=True, add_special_tokens=True)[
            "input_ids"
        ] == tokenizer.encode(text)
        assert peer.decode(tokenizer.encode(text)) == text
    assert (peer.eos_token, peer.pad_token, peer.bos_token) == ("<|endoftext|>", "<|pad|>", None)
    assert len(peer) == tokenizer.vocab_size
    assert peer.encode("<|im_end|>") == [tokenizer.im_end]
    assert set(peer.all_special_ids) <= tokenizer.special_ids


def test_bad_folders_are_refused_in_one_line(tmp_path: Path, directory: Path) -> None:
    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            Tokenizer.load(tmp_path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is missing" in refusal()
    (tmp_path / "tokenizer.json").write_text('{"half":')
    assert "is not a tokenizer" in refusal()
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    assert "is not a tokenizer" in refusal()
    (tmp_path / "tokenizer.json").write_bytes((directory / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert "is not JSON" in refusal()
    (tmp_path / "tokenizer_config.json").write_text("[]")
    assert "not a JSON object" in refusal()


def test_an_imported_tokenizer_keeps_its_own_ways(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁hi", -1.0), ("▁", -2.0), ("x", -3.0)], 0, False)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<s>", "</s>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    config = {"eos_token": {"content": "</s>"}, "bos_token": "<s>", "chat_template": "{{ messages }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    imported = Tokenizer.load(tmp_path)
    assert not imported.is_fast
    assert imported.encode_batch(["hi x", "hi"])[0].tolist() == imported.encode("hi x") == [1, 2, 3]
    assert imported.decode([4, 1, 2, 3, 5]) == "hi x"
    assert imported.token_bytes.tolist() == [5, 3, 1, 1, 0, 0]
    assert imported.endoftext == imported.im_end == imported.eos == 5
    assert imported.named_tokens == {"eos_token": "</s>", "bos_token": "<s>"}
    assert (imported.opened([1, 2]), imported.opened([])) == ([4, 1, 2], [4])
    for wants, opened in ((True, [4, 1, 2]), (False, [1, 2])):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "add_bos_token": wants}))
        again = Tokenizer.load(tmp_path)
        assert (again.opened([1, 2]), again.opened([])) == (opened, [4]), "there is always a token"
    assert imported.template == "{{ messages }}"
    assert imported.pad == 4, "nothing is learnt there, so another control token fills rows, and never an end"

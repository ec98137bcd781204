"""Completions, replies and conversations, from models in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.text import Chat, TextModel, replies, sampling_options
from chatwright.models.interop.files import EndTokens, write_config
from chatwright.models.interop.weights import public_weights

OPTIONS = SamplingOptions(max_new_tokens=24, temperature=1.5, top_p=1.0, seed=1)
ASKED = [[Message("user", "What does chain do?")], [Message("user", "你好")]]


def save(model: TextModel, directory: Path) -> Path:
    """The model in the public layout."""
    directory.mkdir()
    tokenizer = model.tokenizer
    eos = "<|im_end|>" if model.renderer else "<|endoftext|>"
    tokenizer.save(directory, eos=eos)
    tokens = EndTokens(tokenizer.endoftext, [tokenizer.id_of(eos)], tokenizer.pad)
    write_config(directory, model.model.options, tokens)
    save_file(public_weights(model.model), directory / "model.safetensors")
    return directory


def test_a_stream_is_whole_characters_and_joins_to_the_batchs_text(writer: TextModel) -> None:
    pieces = list(writer.complete("The", OPTIONS, seed=0))
    assert "".join(pieces) == writer.complete_batch(["The"], OPTIONS, seed=0)[0]
    ids = writer.generate([writer.prompt_ids("The")], sampling_options(OPTIONS, seed=0))[0].ids
    assert "".join(pieces) == writer.tokenizer.decode(ids)
    assert len(pieces) > 3


def test_a_completion_goes_on_from_the_beginning_of_a_document(writer: TextModel) -> None:
    assert writer.prompt_ids("") == [writer.tokenizer.endoftext]
    assert writer.prompt_ids("<|im_end|>")[0] == writer.tokenizer.endoftext
    assert not set(writer.prompt_ids("<|im_end|>")[1:]) & writer.tokenizer.special_ids


def test_control_tokens_are_never_written(writer: TextModel, talker: TextModel) -> None:
    for model, ends in ((writer, {"<|endoftext|>"}), (talker, {"<|endoftext|>", "<|im_end|>"})):
        allowed = {model.tokenizer.id_of(end) for end in ends}
        assert model.vocabulary.end_ids == allowed
        options = sampling_options(OPTIONS, max_new_tokens=100)
        answers = model.generate([[token] for token in range(40)], options)
        written = {token for answer in answers for token in answer.ids}
        assert written & model.tokenizer.special_ids <= allowed
        assert any(answer.finish_reason == "stop" for answer in answers)


def test_stop_strings_end_a_stream_and_a_batch_alike(writer: TextModel) -> None:
    whole = writer.complete_batch(["a", "b", "c"], OPTIONS)
    stop = (whole[0][3:6], whole[1][5:7])
    batch = writer.complete_batch(["a", "b", "c"], OPTIONS, stop=stop)
    for before, after in zip(whole, batch, strict=True):
        cut = min((before.find(word) for word in stop if word in before), default=None)
        assert before.startswith(after) and not any(word in after for word in stop)
        assert after == before if cut is None else len(after) >= cut
    assert len(batch[0]) < len(whole[0])
    assert "".join(writer.complete("a", OPTIONS, stop=stop)) == batch[0]


def test_changes_by_name_are_checked(writer: TextModel) -> None:
    with pytest.raises(UserError, match=r"temprature.*did you mean 'temperature'"):
        writer.complete_batch(["a"], temprature=1)
    with pytest.raises(UserError, match="top_p"):
        writer.complete_batch(["a"], top_p=2)


def test_replies_are_the_same_alone_and_together(talker: TextModel) -> None:
    options = sampling_options(OPTIONS, temperature=0.0)
    together = replies(talker, ASKED, options)
    assert together == [replies(talker, [asked], options)[0] for asked in ASKED]
    assert together == [Chat(talker, options).reply(asked[0].content) for asked in ASKED]
    assert replies(talker, []) == []


def test_a_live_model_is_read_anew_each_time(writer: TextModel) -> None:
    from .conftest import random_model

    model = TextModel(random_model(writer.tokenizer.vocab_size), writer.tokenizer)
    before = model.complete_batch(["a"], OPTIONS)
    model.model.embedding.weight.data.neg_()
    model.model.embedding.weight.data[:, ::2].mul_(0.1)
    assert model.complete_batch(["a"], OPTIONS) != before


def test_models_load_from_the_public_layout(writer: TextModel, talker: TextModel, tmp_path: Path) -> None:
    base = TextModel.load(save(writer, tmp_path / "base"))
    assert base.renderer is None
    assert base.complete_batch(["The"], OPTIONS) == writer.complete_batch(["The"], OPTIONS)
    chat = save(talker, tmp_path / "chat")
    assert replies(chat, ASKED, OPTIONS) == replies(talker, ASKED, OPTIONS)
    with pytest.raises(UserError, match="not taught to chat"):
        Chat(tmp_path / "base")
    with pytest.raises(UserError, match=r"no run at .*nowhere"):
        TextModel.load(tmp_path / "nowhere")


def test_a_conversation_remembers_and_forgets(talker: TextModel) -> None:
    chat = Chat(talker, OPTIONS, system="Be kind.")
    first = chat.reply("Hello")
    chat.reply("And?")
    assert [message.role for message in chat.messages] == ["user", "assistant", "user", "assistant"]
    assert chat.messages[1] == Message("assistant", first)
    chat.reset()
    assert chat.messages == [] and chat.reply("Hello") == first


def test_a_reply_that_is_not_read_to_its_end_stands_as_far_as_it_was(talker: TextModel) -> None:
    chat = Chat(talker, OPTIONS)
    stream: Iterator[str] = chat.stream("Hello")
    piece = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert chat.messages == [Message("user", "Hello"), Message("assistant", piece)]


def test_a_conversation_that_outgrows_the_context_drops_its_oldest_turns(talker: TextModel) -> None:
    chat = Chat(talker, OPTIONS)
    for turn in range(8):
        chat.reply(f"turn {turn}")
    assert chat.dropped > 0 and chat.dropped % 2 == 0
    assert len(chat.messages) + chat.dropped == 16
    assert chat.messages[0].role == "user" and chat.messages[-2] == Message("user", "turn 7")


def test_a_message_longer_than_the_context_is_refused_and_not_remembered(talker: TextModel) -> None:
    chat = Chat(talker, OPTIONS)
    with pytest.raises(UserError, match="context is 128"):
        chat.reply("word " * 200)
    assert chat.messages == [] and chat.dropped == 0

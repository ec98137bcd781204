from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chatwright.data import encode_groups
from chatwright.data.encode_groups import encode_comparisons, encode_labelled, replies_ids, reply_ids
from chatwright.data.records import Comparison, LabelledReply, Message
from chatwright.errors import UserError
from chatwright.tokenization.chat import Messages, Renderer
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.tokenization.train import TokenizerOptions, train_tokenizer

TEXTS = ["The river is deep.", "河流很深。", "user assistant", "a <|im_end|> b"]
HI = (Message("user", "Hi?"),)
LONG = (
    Message("system", "S"),
    Message("user", "你"),
    Message("assistant", "河"),
    Message("user", "The river?"),
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS * 3, TokenizerOptions(vocab_size=420)))


@pytest.fixture(scope="module")
def renderer(tokenizer: Tokenizer) -> Renderer:
    return Renderer(tokenizer)


def comparisons() -> list[Comparison]:
    return [
        Comparison(HI, ("Deep.", "河流很深。 <|im_end|>", "a"), (1, 0, 1), 0.5, "f:1"),
        Comparison(LONG, ("The river is deep.", " "), (0, 1), 0.0, "f:2"),
    ]


@pytest.mark.parametrize("prompt", [HI, LONG])
@pytest.mark.parametrize("reply", ["The river is deep.", "", "\n user<|im_end|>\n", "河\ud800"])
def test_a_prompt_and_its_reply_are_the_rendered_conversation(
    renderer: Renderer, prompt: tuple[Message, ...], reply: str
) -> None:
    found = reply_ids(renderer, prompt, reply)
    whole = renderer.render([*prompt, Message("assistant", reply)])
    assert found.prompt.tolist() == renderer.prompt(prompt).tolist()
    together = np.concatenate(found)
    assert together.tolist() == whole.ids[: len(together)].tolist()
    # what is left out is the line break after the turn, which is never learnt
    assert renderer.tokenizer.decode(whole.ids[len(together) :]) == "\n"
    assert whole.mask[len(found.prompt) : len(together)].all()
    assert found.reply[-1] == renderer.tokenizer.im_end
    assert renderer.tokenizer.im_end not in found.reply[:-1]
    assert renderer.tokenizer.decode(found.reply) == reply.replace("\ud800", "\ufffd")


def test_many_at_once_are_as_one_by_one(renderer: Renderer) -> None:
    pairs = [(prompt, reply) for prompt in (HI, LONG, HI) for reply in ("Deep.", "a")]
    for found, (prompt, reply) in zip(replies_ids(renderer, pairs), pairs, strict=True):
        alone = reply_ids(renderer, prompt, reply)
        assert [part.tolist() for part in found] == [part.tolist() for part in alone]


END_OUTSIDE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_the_end_of_the_turn_belongs_to_the_reply_wherever_the_template_marks_it(
    renderer: Renderer, tokenizer: Tokenizer
) -> None:
    ours = [part.tolist() for part in reply_ids(renderer, LONG, "Deep.")]
    line_inside = END_OUTSIDE.replace("{{ m.content }}{% endgen", "{{ m.content }}<|im_end|>\n{% endgen")
    line_inside = line_inside.replace("{% endif %}<|im_end|>\n{% endfor", "<|im_end|>\n{% endif %}{% endfor")
    ended_twice = END_OUTSIDE.replace(
        "\n{% endfor", "\n{{ '<|endoftext|>' if loop.last and loop.index > 4 }}{% endfor"
    )
    for template in (END_OUTSIDE, line_inside, ended_twice):
        found = reply_ids(Renderer(tokenizer, template), LONG, "Deep.")
        assert [part.tolist() for part in found] == ours


def test_a_reply_without_a_known_end_ends_where_it_is_learnt(tokenizer: Tokenizer) -> None:
    bare = (
        "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}<|sep|>"
        "{% endgeneration %}{{ '\\n' }}{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    found = reply_ids(Renderer(tokenizer, bare), HI, "Deep.")
    assert tokenizer.decode(found.prompt) == "Hi?\nA:"
    assert tokenizer.decode(found.reply, skip_special=False) == "Deep.<|sep|>"


class Drifting(Renderer):
    """Its prompts are those of another template."""

    def prompt(self, messages: Messages) -> NDArray[np.int32]:
        return np.roll(super().prompt(messages), 1)


class Silent(Renderer):
    """Its template marks only the first reply of a conversation."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        template = END_OUTSIDE.replace("{% if m.role == 'assistant' %}", "{% if loop.index == 3 %}")
        super().__init__(tokenizer, template)

    def _refuse_prompts(self, messages: object, rendered: str) -> None:
        pass


def test_what_cannot_be_divided_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^the ids of the prompt are not the first ids of the conversation; let "
    ):
        reply_ids(Drifting(tokenizer), HI, "Deep.")
    with pytest.raises(UserError, match=r"^f:1: the ids of the prompt are not the first"):
        encode_comparisons(comparisons(), Drifting(tokenizer), tmp_path / "g")
    with pytest.raises(UserError, match=r"^f:2: the chat template marks nothing of the reply"):
        encode_comparisons(comparisons()[1:], Silent(tokenizer), tmp_path / "g")
    template = END_OUTSIDE.replace("%}<|im_start|>assistant\n{% endif", "%}<|im_start|>bot\n{% endif")
    with pytest.raises(UserError, match=r"^record 1: the prompt of message 2 is not the beginning"):
        encode_labelled([LabelledReply(HI, "a", True)], Renderer(tokenizer, template), tmp_path / "g")
    with pytest.raises(UserError) as caught:
        encode_comparisons([], Renderer(tokenizer), tmp_path / "g")
    assert str(caught.value) == f"nothing to put into {tmp_path / 'g'}: there is no record; check the input"
    assert list(tmp_path.iterdir()) == []


def test_comparisons_come_back_as_groups(renderer: Renderer, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    records = comparisons()
    store = encode_comparisons(
        iter(records), renderer, tmp_path / "g", lambda *told: heard.append(told), lambda: {"x": 1}
    )
    assert (store.num_groups, store.num_sequences) == (2, 5)
    for index, record in enumerate(records):
        group = store.group(index)
        assert group.real
        for reply, text, rank in zip(group.replies, record.replies, record.ranks, strict=True):
            prompt, words = reply_ids(renderer, record.prompt, text)
            assert reply.ids.tolist() == [*prompt, *words]
            assert reply.ids.dtype == np.int64
            assert reply.start == len(prompt)
            assert reply.numbers == {"rank": rank, "margin": record.margin}
        assert store.lengths()[index] == group.longest
    learnt = sum(len(text.encode()) for record in records for text in record.replies)
    asked = 3 * len("user\nHi?\nassistant\n") + 2 * len(
        "system\nS\nuser\n你\nassistant\n河\nuser\nThe river?\n".encode()
    )
    asked += 2 * len("assistant\n")
    info = json.loads((tmp_path / "g" / "store.json").read_text())
    assert (info["groups"], info["learnt_bytes"], info["x"]) == (2, learnt, 1)
    assert info["text_bytes"] == store.sequences.text_bytes == learnt + asked
    assert heard == [(2, info["text_bytes"])]
    assert store.sequences.num_learnt == sum(
        len(r.ids) - r.start for i in (0, 1) for r in store.group(i).replies
    )


def test_labelled_replies_are_groups_of_one(renderer: Renderer, tmp_path: Path) -> None:
    records = [LabelledReply(HI, "a", True, "f:1"), LabelledReply(LONG, "Deep.", False, "f:2")]
    store = encode_labelled(records, renderer, tmp_path / "g")
    groups = [store.group(index) for index in range(store.num_groups)]
    assert [len(group.replies) for group in groups] == [1, 1]
    assert [group.replies[0].numbers for group in groups] == [{"wanted": 1.0}, {"wanted": 0.0}]


def test_batches_do_not_show(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = comparisons() * 3
    whole = encode_comparisons(records, renderer, tmp_path / "a")
    monkeypatch.setattr(encode_groups, "_BATCH_RECORDS", 2)
    taken = 0

    def stream() -> Iterator[Comparison]:
        nonlocal taken
        for record in records:
            taken += 1
            yield record

    heard: list[tuple[int, int]] = []  # groups told, records taken until then
    encode_comparisons(stream(), renderer, tmp_path / "b", lambda groups, _: heard.append((groups, taken)))
    assert heard == [(2, 2), (4, 4), (6, 6)]
    assert whole.num_groups == 6
    for path in sorted((tmp_path / "a").iterdir()):
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes(), path.name
    nameless = [*records, Comparison((Message("robot", "x"),), ("a", "b"), (0, 1))]
    start = "{% for m in messages %}"
    strict = END_OUTSIDE.replace(start, start + "{{ raise_exception('no') if m.role == 'robot' }}")
    refusing = Renderer(renderer.tokenizer, strict)
    with pytest.raises(UserError, match=r"^record 7: the chat template refuses"):
        encode_comparisons(nameless, refusing, tmp_path / "c")

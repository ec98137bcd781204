"""The one renderer, for training, evaluation and serving: a conversation into tokens and what is learnt.

Two rules make it safe. What a message says is never read as a control token: a look-alike in it is broken
apart before the template runs and mended after. And text is cut where the model's part begins and ends, so
the tokens of a prompt are always the first tokens of its conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from chatwright.errors import UserError
from chatwright.tokenization.template import CHAT_TEMPLATE, GENERATION_END, GENERATION_START, compile_template
from chatwright.tokenization.tokenizer import Tokenizer


class MessageLike(Protocol):
    """A turn: who speaks, and what."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


Messages = Sequence[MessageLike] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """A conversation's tokens: `ids` int32[n], and `mask` bool[n], true where the token is learnt."""

    ids: NDArray[np.int32]
    mask: NDArray[np.bool_]


class _Piece(NamedTuple):
    """A stretch of a rendered conversation: a control token with its id, or text with None."""

    text: str
    control: int | None
    learnt: bool


class _Slot(NamedTuple):
    """A piece of a shape of roles: where its text takes the content of message `message` in, or `message` is None."""

    before: str
    message: int | None
    after: str
    control: int | None
    learnt: bool


class Renderer:
    """Renders conversations with one tokenizer and one chat template (the tokenizer's own unless given)."""

    def __init__(self, tokenizer: Tokenizer, template: str | None = None) -> None:
        source = template or tokenizer.template
        if source is None:
            raise UserError(
                "the model has no chat template; put a chat_template.jinja beside its tokenizer.json"
            )
        self.tokenizer = tokenizer
        self.template = source
        self._compiled = compile_template(source)
        self._controls = tokenizer.special_tokens
        self._guard = _Guard(self._controls)
        cuts = [*sorted(self._controls, key=len, reverse=True), GENERATION_START, GENERATION_END]
        self._cuts = re.compile(f"({'|'.join(map(re.escape, cuts))})")
        self._shapes: dict[tuple[Any, ...], list[_Slot]] = {}

    def text(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """The conversation as text, as `transformers` renders it. To read, not to encode."""
        rendered = self._run(self._protected(messages), add_generation_prompt)
        return self._guard.restore(rendered.replace(GENERATION_START, "").replace(GENERATION_END, ""))

    def prompt(self, messages: Messages) -> NDArray[np.int32]:
        """The tokens after which the model's reply begins, int32[n]."""
        rendered = self._run(self._protected(messages), add_generation_prompt=True)
        return self._assemble([self._pieces(rendered)])[0].ids

    def render(self, messages: Messages) -> Rendered:
        """The tokens of a conversation and the mask of the assistant's words, each turn's end included.

        Raises `UserError` with the cause when nothing is learnt, when a reply's prompt is not the beginning
        of the conversation, when padding is a token that ends turns, and when the start token stands twice.
        """
        return self.render_batch([messages])[0]

    def render_batch(
        self, chats: Sequence[Messages], place: Callable[[int], str] | None = None
    ) -> list[Rendered]:
        """`render` for many conversations, encoded together; `place(i)` names conversation i in errors."""
        self._refuse_padding()
        pieces = []
        for index, messages in enumerate(chats):
            try:
                pieces.append(self._filled(messages) or self._learnable(self._protected(messages)))
            except UserError as error:
                raise UserError(f"{place(index)}: {error}" if place else str(error)) from error
        return self._assemble(pieces)

    def _filled(self, messages: Messages) -> list[_Piece]:
        """`_learnable` for our own template, which copies contents as they are: each sequence of roles is rendered
        once, and every conversation fills it. Empty where that is not certain."""
        plain = [
            (m.get("role"), m.get("content")) if isinstance(m, Mapping) else (m.role, m.content)
            for m in messages
        ]
        roles = tuple(role for role, _ in plain)
        certain = all(role in _ROLES and isinstance(content, str) for role, content in plain)
        certain &= not any(isinstance(m, Mapping) and m.get("tool_calls") for m in messages)
        if self.template != CHAT_TEMPLATE or not certain:
            return []
        if roles not in self._shapes:
            self._shapes[roles] = self._shape(roles)
        filled = []
        for before, message, after, control, learnt in self._shapes[roles]:
            if text := before if message is None else f"{before}{plain[message][1]}{after}":
                filled.append(_Piece(text, control, learnt))
        return filled

    def _shape(self, roles: tuple[Any, ...]) -> list[_Slot]:
        marked = [{"role": role, "content": f"{_SLOT}{index}{_SLOT}"} for index, role in enumerate(roles)]
        slots = []
        for text, control, learnt in self._learnable(marked):
            before, *content = text.split(_SLOT)
            number, after = content or (None, "")
            slots.append(_Slot(before, None if number is None else int(number), after, control, learnt))
        return slots

    def _protected(self, messages: Messages) -> list[dict[str, Any]]:
        plain = (
            message if isinstance(message, Mapping) else {"role": message.role, "content": message.content}
            for message in messages
        )
        return [self._guard.protect_all(message) for message in plain]

    def _run(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str:
        try:
            return self._compiled.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.tokenizer.named_tokens,
            )
        except Exception as error:
            # a template is a program from outside, and may fail in any way
            raise UserError(f"the chat template refuses the chat: {' '.join(str(error).split())}") from error

    def _pieces(self, rendered: str) -> list[_Piece]:
        pieces, learnt = [], False
        for index, text in enumerate(self._cuts.split(rendered)):
            if index % 2 == 0:
                if text:
                    pieces.append(_Piece(self._guard.restore(text), None, learnt))
            elif text in (GENERATION_START, GENERATION_END):
                learnt = text == GENERATION_START
            else:
                pieces.append(_Piece(text, self._controls[text], learnt))
        return pieces

    def _assemble(self, chats: Iterable[list[_Piece]]) -> list[Rendered]:
        """Encode each different text once: roles and system messages repeat in every chat."""
        chats = list(chats)
        texts = list(
            dict.fromkeys(piece.text for pieces in chats for piece in pieces if piece.control is None)
        )
        encoded = {
            text: ids.tolist() for text, ids in zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        }
        rendered = []
        for pieces in chats:
            ids: list[int] = []
            mask: list[bool] = []
            for text, control, learnt in pieces:
                new = encoded[text] if control is None else [control]
                ids += new
                mask += [learnt] * len(new)
            rendered.append(Rendered(np.array(ids, dtype=np.int32), np.array(mask, dtype=np.bool_)))
        return rendered

    def _learnable(self, messages: list[dict[str, Any]]) -> list[_Piece]:
        rendered = self._run(messages, add_generation_prompt=False)
        pieces = self._pieces(rendered)
        if not any(piece.learnt for piece in pieces):
            if all(message.get("role") != "assistant" for message in messages):
                raise UserError(
                    "the chat has no assistant message, so there is nothing to learn; add one or drop the row"
                )
            raise UserError(
                "the chat template marks nothing as the assistant's; "
                "put {% generation %} … {% endgeneration %} around its words"
            )
        if len(pieces) > 1 and pieces[0].control is not None and pieces[0].control == pieces[1].control:
            raise UserError(
                f"the start token {pieces[0].text!r} stands twice; write it once in the chat template"
            )
        if self.template != CHAT_TEMPLATE:  # a test proves ours; each check renders the chat once more
            self._refuse_prompts(messages, rendered)
        return pieces

    def _refuse_prompts(self, messages: list[dict[str, Any]], rendered: str) -> None:
        """Each reply must begin where its prompt ends, or the model is asked what it was never taught."""
        at = -1
        for index, message in enumerate(messages):
            if message.get("role") != "assistant":
                continue
            at = rendered.find(GENERATION_START, at + 1)
            if at < 0 or self._run(messages[:index], add_generation_prompt=True) != rendered[:at]:
                raise UserError(
                    f"the prompt of message {index + 1} is not the beginning of the conversation; "
                    "let the chat template write before a reply what it writes for add_generation_prompt"
                )

    def _refuse_padding(self) -> None:
        if self.tokenizer.pad in self.tokenizer.stop_ids:
            raise UserError(
                "padding and the end of a turn are the same token, so the end would never be learnt; "
                "give pad_token in tokenizer_config.json a token of its own"
            )


_ROLES = frozenset({"system", "user", "assistant", "tool"})
_SLOT = "\ufdd4"
_BREAK = "\ufdd2"
_ESCAPE = "\ufdd3"


class _Guard:
    """Takes the look-alikes of control tokens and of marks out of what messages say, and puts them back."""

    def __init__(self, controls: Iterable[str]) -> None:
        long = sorted((token for token in controls if len(token) > 1), key=len, reverse=True)
        single = [GENERATION_START, GENERATION_END, _BREAK, _ESCAPE, *(c for c in controls if len(c) == 1)]
        # a token of one character cannot be broken apart, so it is spelled with two that mean nothing
        self._spelled = {
            character: f"{_ESCAPE}{chr(0xE000 + index)}" for index, character in enumerate(single)
        }
        self._meant = {spelled: character for character, spelled in self._spelled.items()}
        self._single = re.compile(f"[{re.escape(''.join(single))}]")
        self._long = re.compile("|".join(map(re.escape, long)) or "(?!)")
        self._guarded = re.compile(f"{_BREAK}|{_ESCAPE}.")

    def protect(self, text: str) -> str:
        if self._single.search(text):
            text = self._single.sub(lambda found: self._spelled[found[0]], text)
        if self._long.search(text):
            text = self._long.sub(lambda found: f"{found[0][0]}{_BREAK}{found[0][1:]}", text)
        return text

    def protect_all(self, value: Any) -> Any:
        """Every string in a message, however deep; also keys, which somebody wrote where a call has arguments."""
        if isinstance(value, str):
            return self.protect(value)
        if isinstance(value, Mapping):
            return {self.protect_all(key): self.protect_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.protect_all(item) for item in value]
        return value

    def restore(self, text: str) -> str:
        if _BREAK not in text and _ESCAPE not in text:
            return text
        return self._guarded.sub(lambda found: self._meant.get(found[0], ""), text)

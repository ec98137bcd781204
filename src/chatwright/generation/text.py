"""Text from a run: completions, replies, and a conversation that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from chatwright.config import as_dict, build
from chatwright.data.records import Message
from chatwright.errors import UserError
from chatwright.generation.engine import Generated, Ids, Vocabulary, generate, stream
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.generation.stopping import TextWriter
from chatwright.models.decoder import Decoder
from chatwright.models.interop.files import load_model, model_directory
from chatwright.runs import Run
from chatwright.tokenization.chat import Messages, Renderer
from chatwright.tokenization.tokenizer import Tokenizer

Place = str | Path | Run
# Of the context, the share that a long conversation leaves free for the reply.
_FREE_SHARE = 0.25


def sampling_options(options: SamplingOptions | None = None, **changes: Any) -> SamplingOptions:
    """The options with some changed by name; an unknown name or a bad value is refused."""
    if not changes:
        return options or SamplingOptions()
    return build(SamplingOptions, {**as_dict(options or SamplingOptions()), **changes}, "generation")


class TextModel:
    """A model with its tokenizer and, where it was taught to chat, the renderer of its conversations."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, renderer: Renderer | None = None) -> None:
        self.model, self.tokenizer, self.renderer = model, tokenizer, renderer
        self._prepared: Inference | None = None
        unknown = range(tokenizer.vocab_size, model.options.vocab_size)
        ends = tokenizer.stop_ids if renderer else frozenset({tokenizer.endoftext})
        self.vocabulary = Vocabulary(ends, (tokenizer.special_ids | frozenset(unknown)) - ends)

    @classmethod
    def load(
        cls,
        run: Place,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ) -> Self:
        """The model of a finished run, or of a folder in the public layout. `dtype` is that of the computation.

        `compiled`: see `Inference`.
        """
        directory = model_directory(run)
        tokenizer = Tokenizer.load(directory)
        model = load_model(directory, device)
        model.compute_dtype = dtype
        is_chat = tokenizer.template is not None and tokenizer.eos == tokenizer.im_end
        loaded = cls(model, tokenizer, Renderer(tokenizer) if is_chat else None)
        loaded._prepared = Inference(model, compiled)
        return loaded

    @property
    def inference(self) -> Inference:
        """The weights laid out for decoding: once for a loaded model, anew for one that may still be training."""
        return self._prepared or Inference(self.model)

    def chat_renderer(self) -> Renderer:
        """The renderer; refused where the model was never taught to chat."""
        if self.renderer is None:
            raise UserError(
                "this model was not taught to chat; run `chatwright sft` on it, or use `generate`"
            )
        return self.renderer

    def prompt_ids(self, prompt: str) -> list[int]:
        """The tokens of a text to be continued: the beginning of a document, then the text."""
        return self.tokenizer.opened(self.tokenizer.encode(prompt))

    def complete(self, prompt: str, options: SamplingOptions | None = None, **changes: Any) -> Iterator[str]:
        """Go on from a text, in pieces of whole characters; `temperature=0` and the like change the options."""
        return self.stream(self.prompt_ids(prompt), sampling_options(options, **changes))

    def complete_batch(
        self, prompts: Sequence[str], options: SamplingOptions | None = None, **changes: Any
    ) -> list[str]:
        """Go on from many texts together."""
        return self.texts(
            [self.prompt_ids(prompt) for prompt in prompts], sampling_options(options, **changes)
        )

    def stream(self, prompt: Ids, options: SamplingOptions, row: int = 0) -> Iterator[str]:
        """The answer to a prompt of tokens, in pieces of whole characters, up to the first stop string."""
        writer = TextWriter(self.tokenizer, options.stop)
        for token, _ in stream(self.inference, prompt, options, self.vocabulary, row):
            if piece := writer.feed(token):
                yield piece
            if writer.stopped:
                return
        if rest := writer.flush():
            yield rest

    def texts(
        self,
        prompts: Sequence[Ids],
        options: SamplingOptions,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """The answers to many prompts of tokens, each up to the first stop string."""
        if not options.stop:
            answers = self.generate(prompts, options, on_progress=on_progress)
            return [self.tokenizer.decode(answer.ids, whole=True) for answer in answers]
        writers = [TextWriter(self.tokenizer, options.stop) for _ in prompts]
        pieces: list[list[str]] = [[] for _ in prompts]

        def stops(index: int, ids: Ids) -> bool:
            pieces[index].append(writers[index].feed(ids[-1]))
            return writers[index].stopped

        self.generate(prompts, options, stops=stops, on_progress=on_progress)
        return ["".join(parts) + writer.flush() for parts, writer in zip(pieces, writers, strict=True)]

    def generate(
        self,
        prompts: Sequence[Ids],
        options: SamplingOptions,
        *,
        stops: Callable[[int, Ids], bool] | None = None,
        logprobs: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Generated]:
        """The answers to many prompts as tokens; see `engine.generate`. Stop strings are not looked for."""
        return generate(
            self.inference,
            prompts,
            options,
            self.vocabulary,
            stops=stops,
            logprobs=logprobs,
            on_progress=on_progress,
        )


def replies(
    model: TextModel | Place,
    chats: Sequence[Messages],
    options: SamplingOptions | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
    **changes: Any,
) -> list[str]:
    """The next assistant message of each conversation, answered together."""
    loaded = model if isinstance(model, TextModel) else TextModel.load(model)
    renderer = loaded.chat_renderer()
    prompts = [renderer.prompt(messages).tolist() for messages in chats]
    return loaded.texts(prompts, sampling_options(options, **changes), on_progress)


class Chat:
    """A conversation with a chat model.

    `messages` is the history. When it outgrows the model's context the oldest turns are forgotten; `dropped` counts
    the messages that were.
    """

    def __init__(
        self,
        run: TextModel | Place,
        options: SamplingOptions | None = None,
        *,
        system: str | None = None,
        **changes: Any,
    ) -> None:
        self.model = run if isinstance(run, TextModel) else TextModel.load(run)
        self.options = sampling_options(options, **changes)
        self._renderer = self.model.chat_renderer()
        self._system = [] if system is None else [Message("system", system)]
        self.reset()

    def reset(self) -> None:
        """Forget the conversation."""
        self.messages: list[Message] = []
        self.dropped = 0
        self._turn = 0

    def stream(self, text: str) -> Iterator[str]:
        """Say something and read the reply as it is written, in pieces of whole characters.

        A reply that is not read to its end stands in the history as far as it was read.
        """
        kept, prompt = self._fitting([*self.messages, Message("user", text)])
        pieces: list[str] = []
        try:
            for piece in self.model.stream(prompt, self.options, self._turn):
                pieces.append(piece)
                yield piece
        finally:
            self.messages = [*kept, Message("assistant", "".join(pieces))]
            self._turn += 1

    def reply(self, text: str) -> str:
        """Say something and get the whole reply."""
        return "".join(self.stream(text))

    def _fitting(self, messages: list[Message]) -> tuple[list[Message], list[int]]:
        """The newest messages whose prompt leaves room for a reply, and that prompt; counts what it leaves out."""
        context = self.model.model.options.context
        room = min(self.options.max_new_tokens, int(context * _FREE_SHARE))
        # A turn is dropped whole: a conversation begins with what the user said.
        begins = [place for place, message in enumerate(messages) if message.role == "user"]
        for begin in begins:
            kept = messages[begin:]
            prompt = self._renderer.prompt([*self._system, *kept]).tolist()
            if len(prompt) + room <= context:
                break
        if len(prompt) >= context:
            raise UserError(
                f"the message makes a prompt of {len(prompt):,} tokens and the model's context is {context:,}; "
                "shorten the message"
            )
        self.dropped += begin
        return kept, prompt

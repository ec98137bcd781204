"""Supervised chats: next token on the assistant's turns only (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from chatwright.data.packing import Packed
from chatwright.data.records import Chat
from chatwright.objectives.causal import Causal, CausalOptions, example_rows, tiny_decoder


@dataclass(frozen=True)
class ChatOptions:
    """Predict the assistant's turns; which tokens those are is marked by the renderer."""


class SupervisedChat(Causal):
    """Demonstrations (Ouyang et al. 2022, InstructGPT): the causal loss where the renderer marked the assistant's words
    and the end of the turn. Chats that share a row never see each other."""

    record: type = Chat
    Options = ChatOptions  # type: ignore[assignment]

    def __init__(self, options: ChatOptions = ChatOptions()) -> None:
        super().__init__(CausalOptions(within_documents=True))

    def example(self) -> tuple[dict[str, nn.Module], list[Packed]]:
        return {"policy": tiny_decoder()}, example_rows(learnt_from=3)

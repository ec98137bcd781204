"""`chat`: talk to a model in the terminal."""

from __future__ import annotations

import sys
from typing import Any

from chatwright.errors import UserError
from chatwright.generation.text import Chat, TextModel
from chatwright.progress import say, visible
from chatwright.recipes.generate import WritingOptions
from chatwright.recipes.verb import Place, verb

_HELP = "  /new forgets the conversation, /quit or Ctrl-D ends"


@verb(WritingOptions)
def chat(run: Place, options: WritingOptions) -> dict[str, Any]:
    """Chat with a model; without a terminal each line of the input is a message, answered in turn."""
    partner = Chat(TextModel.load(run, compiled=options.compile), options)
    return converse(partner, str(run))


def converse(partner: Chat, name: str) -> dict[str, Any]:
    """Read messages until the input ends; print each reply as it is written."""
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  (gives input() history and editing)

        say(f"chatting with {name}\n{_HELP}")
    turns = 0
    while True:
        try:
            message = input("> " if interactive else "").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return {"run": name, "turns": turns}
        if message in ("/quit", "/exit"):
            return {"run": name, "turns": turns}
        if message == "/new":
            partner.reset()
            continue
        if not message:
            continue
        _answer(partner, message, interactive)
        turns += 1


def _answer(partner: Chat, message: str, interactive: bool) -> None:
    try:
        for piece in partner.stream(message):
            print(visible(piece), end="", flush=True)
    except KeyboardInterrupt:
        print(" …", end="")
    except UserError as refusal:
        if not interactive:
            raise
        say(f"  {refusal}")
    print()

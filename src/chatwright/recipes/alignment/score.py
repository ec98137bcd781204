"""`score`: what a judge makes of replies: of a file's rows, of one pair, or of what is typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.config import option
from chatwright.data.records import Message, Prompt
from chatwright.errors import UserError
from chatwright.progress import is_interactive, say
from chatwright.recipes.alignment.judging import Judges, judges_of
from chatwright.recipes.alignment.scored_rows import Item, _print, _scored, score_file
from chatwright.recipes.trained import wants_files
from chatwright.recipes.verb import verb

# fields that say what the conversation is, and are no facts that a rule compares with


@dataclass(frozen=True)
class ScoreOptions:
    """What is scored, and where the scores go."""

    prompt: str | None = option(None, "score one pair: what the user says …")
    reply: str | None = option(None, "… and what the assistant answers")
    out: str | None = option(None, "a .jsonl to write the rows to, each with its score")
    ensemble: tuple[str, ...] = option((), "more runs of `reward` that judge together with the first")
    pessimism: float = option(0.0, "of an ensemble: what its disagreement costs")
    reward: dict[str, Any] = option({}, "options of named rewards: reward.regex.pattern=…")


@verb(ScoreOptions)
def score(
    judge: Any, file: str | Path | None = None, options: ScoreOptions = ScoreOptions()
) -> dict[str, Any]:
    """Print what a judge gives each reply of a FILE of chats or comparisons, or prompt=… reply=…; without either, on a terminal, what is typed. JUDGE is a run of `reward`, a rule, file.py:function, or a weighted sum."""
    one = options.prompt is not None or options.reply is not None
    if one and (file is not None or options.prompt is None or options.reply is None):
        raise UserError(
            "prompt= and reply= are scored together and without a FILE; give both, or a FILE alone"
        )
    if options.out is not None and file is None:
        raise UserError("out= takes the rows of a FILE; give one")
    if file is None and not one and not is_interactive():
        raise UserError("score needs a FILE, or prompt=… reply=… (usage: chatwright score JUDGE [FILE])")
    if file is not None:
        wants_files(file)
        if options.out is not None and Path(options.out).resolve() == Path(file).resolve():
            raise UserError(f"out={options.out} is the file that is read; give another name")
    judges = judges_of(judge, options.reward, options.ensemble, options.pessimism)
    if file is not None:
        return {"judge": judges.name, "file": str(file), **score_file(judges, file, options.out)}
    if one:
        return {"judge": judges.name, **_score_pair(judges, options.prompt or "", options.reply or "")}
    return {"judge": judges.name, "scored": _talk(judges)}


def _score_pair(judges: Judges, prompt: str, reply: str) -> dict[str, Any]:
    item = Item({}, Prompt((Message("user", prompt),), source="prompt="), (reply,))
    [(_, scores, apart)] = _scored(judges, [item])
    _print(item, scores)
    return {"score": scores[0], **({"disagreement": apart[0]} if apart else {})}


def _talk(judges: Judges) -> int:
    """Ask for prompts and replies until the input ends; returns how many replies were scored."""
    import readline  # noqa: F401  (gives input() history and editing)

    say(f"judged by {judges.name}\n  an empty prompt keeps the one before, Ctrl-D ends")
    prompt, scored = "", 0
    while True:
        try:
            prompt = input("prompt> ").strip() or prompt
            reply = input("reply>  ") if prompt else ""
        except (EOFError, KeyboardInterrupt):
            print()
            return scored
        if not reply.strip():
            continue
        try:
            _score_pair(judges, prompt, reply)
            scored += 1
        except UserError as refusal:
            say(f"  {refusal}")

"""What the recipes of all training verbs share: what is said before, and what is kept after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatwright.data.group_store import GroupRows
from chatwright.data.store import TokenStore
from chatwright.errors import UserError
from chatwright.insight.alignment import terminal_lines
from chatwright.insight.charts import spark
from chatwright.insight.panels import find_kl_target
from chatwright.insight.report import write_report
from chatwright.models.decoder import DecoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
from chatwright.progress import say
from chatwright.runs import Run
from chatwright.tokenization.tokenizer import Tokenizer
from chatwright.training.session import Session

# Of an evaluation, what is for the report and too long for a result.
_LISTED = ("samples", "before_after", "calibration")


def write_chat_model(directory: Path, shape: DecoderOptions, tokenizer: Tokenizer, template: str) -> None:
    """Write what stands beside a chat model's weights: tokenizer, template and configs."""
    tokenizer.save(directory, eos=tokenizer.end_of_turn, template=template)
    write_config(directory, shape, chat_tokens(tokenizer))


def chat_tokens(tokenizer: Tokenizer) -> EndTokens:
    """A chat's turns end with `<|im_end|>`, its text with `<|endoftext|>`."""
    return EndTokens(tokenizer.endoftext, [tokenizer.im_end, tokenizer.endoftext], tokenizer.pad)


def describe(session: Session, train: TokenStore, epochs: float) -> None:
    """Say what is going to happen."""
    if not session.world.leads:
        return
    plan = session.plan
    how = f"{plan['precision']}, {plan['kernel']} attention{', compiled' if plan['compile'] else ''}"
    say(f"  {plan['parameters'] / 1e6:.2f} M parameters, {train.num_tokens:,} tokens of text, {how}")
    say(f"  {plan['steps']:,} steps = {epochs:.2f} times through the text")
    if session.step:
        say(f"  resumed at step {session.step}")


def describe_groups(session: Session, rows: GroupRows, batch: int) -> None:
    """Say what is going to happen, of a verb over replies."""
    if not session.world.leads:
        return
    plan = session.plan
    say(f"  {plan['parameters'] / 1e6:.2f} M parameters, {plan['precision']}, {plan['kernel']} attention")
    epochs = plan["steps"] * batch / rows.rows_in_epoch(0)
    say(f"  {plan['steps']:,} steps of {batch} prompts = {epochs:.2f} times through them")
    if session.step:
        say(f"  resumed at step {session.step}")


def wants_files(*paths: str | Path | None) -> list[str | Path]:
    """The paths that are given, each of which must be there."""
    given = [path for path in paths if path is not None]
    for path in given:
        if not Path(path).exists():
            raise UserError(f"there is no file {path}")
    return given


def finish(session: Session, length: int, **more: Any) -> Run:
    """Close the run with its result, show the curve, write the report."""
    run = session.run
    if not session.world.leads:
        return Run(run.directory)
    rows = run.metrics()
    scores = [
        {name: value for name, value in row["evaluation"].items() if name not in _LISTED}
        for row in rows
        if "evaluation" in row
    ]
    result = {
        "steps": session.step,
        "tokens": session.tokens,
        "tokens_per_second": round(session.tokens_per_second, 1),
        "machine_share": round(session.machine_share(length), 3),
        "before": scores[0] if scores else {},
        "after": scores[-1] if scores else {},
        **more,
    }
    finished = run.finish([WEIGHTS, "config.json", "tokenizer.json"], **result)
    write_report(finished)
    _show_curve([row for row in rows if "loss" in row])
    for line in terminal_lines(rows, find_kl_target(finished.plan, finished.options)):
        say(f"  {line}")
    return finished


def _show_curve(rows: list[dict[str, Any]]) -> None:
    for term in rows[0]["loss"] if rows else []:
        values = [row["loss"][term] for row in rows]
        say(f"  {term.replace('_', ' ')} loss {values[0]:.3f} {spark(values)} {values[-1]:.3f}")

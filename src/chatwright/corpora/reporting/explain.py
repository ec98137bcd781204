"""What each step does to each document of one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chatwright.corpora.accounts import Size
from chatwright.corpora.documents import Doc, Notes, byte_count, without_empty
from chatwright.corpora.engine.plan import StepPlan
from chatwright.corpora.engine.stages import guarded, step_of
from chatwright.corpora.operators.contract import is_collective, step_class, step_options
from chatwright.corpora.reporting.difference import Piece, difference

KEPT, CHANGED, DROPPED = "kept", "changed", "dropped"


@dataclass(frozen=True)
class Event:
    """What a step told of a document: `kind` is drop, change or mark; `detail` the measured value and its bound."""

    kind: str
    reason: str
    detail: str = ""
    count: int = 1


@dataclass(frozen=True)
class StepTrace:
    """What one step did to one document: `outcome` is kept, changed or dropped."""

    step: str
    outcome: str
    events: list[Event] = field(default_factory=list)
    language: str = ""
    marks: tuple[str, ...] = ()
    pieces: list[Piece] = field(default_factory=list)


@dataclass(frozen=True)
class DocumentTrace:
    """One document through the steps, up to the one that dropped it."""

    id: str
    read: Size
    kept: Size | None
    steps: list[StepTrace] = field(default_factory=list)


class _Recorder(Notes):
    """Notes that remember every event of every document, not ten samples."""

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[str, list[Event]] = {}

    def events(self, doc: Doc) -> list[Event]:
        return self._events.get(doc.id, [])

    def _record(self, doc: Doc, event: Event) -> None:
        self._events.setdefault(doc.id, []).append(event)

    def drop(self, doc: Doc, reason: str, detail: str = "") -> None:
        self._record(doc, Event("drop", reason, detail))

    def change(self, doc: Doc, after: str, reason: str, count: int = 1) -> None:
        self._record(doc, Event("change", reason, "", count))

    def mark(self, doc: Doc, reason: str, detail: str = "") -> None:
        self._record(doc, Event("mark", reason, detail))


def explain(
    docs: Sequence[Doc], names: Sequence[str], step_values: Mapping[str, Mapping[str, Any]]
) -> list[DocumentTrace]:
    """Take documents through the steps of those names (with their options by name), one trace for each document.

    Steps that need the whole corpus see these documents only. Where a step makes several documents of one, the trace
    goes on with them as one text, a blank line between them. Raises UserError where a step fails.
    """
    traces = [DocumentTrace(doc.id, _size(doc), None) for doc in docs]
    alive: list[tuple[DocumentTrace, list[Doc]]] = [
        (trace, [doc]) for trace, doc in zip(traces, docs, strict=True)
    ]
    for name in names:
        step = _plan(name, step_values.get(name) or {})
        recorder = _Recorder()
        afters = _collective(step, alive, recorder) if step.is_collective else _single(step, alive, recorder)
        left = []
        for (trace, befores), after in zip(alive, afters, strict=True):
            after = without_empty(after, recorder)
            trace.steps.append(_trace(name, befores, after, recorder))
            if after:
                left.append((trace, after))
        alive = left
    ends = {id(trace): after for trace, after in alive}
    return [
        DocumentTrace(
            trace.id, trace.read, _size(*ends[id(trace)]) if id(trace) in ends else None, trace.steps
        )
        for trace in traces
    ]


def _plan(name: str, values: Mapping[str, Any]) -> StepPlan:
    step_options(name, values)
    return StepPlan(name, dict(values), is_collective(step_class(name)), "", "")


def _single(
    step: StepPlan, alive: Sequence[tuple[DocumentTrace, list[Doc]]], notes: Notes
) -> Iterator[list[Doc]]:
    for _, docs in alive:
        yield guarded(step, lambda docs: step_of(step)(docs, notes), docs)


def _collective(
    step: StepPlan, alive: Sequence[tuple[DocumentTrace, list[Doc]]], notes: Notes
) -> list[list[Doc]]:
    flow = [doc for _, docs in alive for doc in docs]
    if not flow:
        return []
    signs = guarded(step, lambda docs: step_of(step).sign(docs), flow)
    masks = [np.ones(len(flow), bool)]
    decision = guarded(step, lambda docs: step_of(step).decide([signs], masks)[0], flow)
    after = guarded(step, lambda docs: step_of(step).apply(docs, decision, notes), flow)
    by_id = {doc.id: doc for doc in after}
    return [[by_id[doc.id] for doc in docs if doc.id in by_id] for _, docs in alive]


def _trace(name: str, befores: Sequence[Doc], afters: Sequence[Doc], recorder: _Recorder) -> StepTrace:
    docs = {doc.id: doc for doc in (*befores, *afters)}
    events = [event for doc in docs.values() for event in recorder.events(doc)]
    if not afters:
        return StepTrace(name, DROPPED, events)
    before, after = (_joined(each) for each in (befores, afters))
    pieces = difference(before, after) if before != after else []
    language = afters[0].language if afters[0].language != befores[0].language else ""
    marks = tuple(mark for mark in afters[0].marks if mark not in befores[0].marks)
    return StepTrace(name, CHANGED if pieces else KEPT, events, language, marks, pieces)


def _joined(docs: Sequence[Doc]) -> str:
    return "\n\n".join(doc.text for doc in docs)


def _size(*docs: Doc) -> Size:
    return Size(len(docs), sum(len(doc.text) for doc in docs), sum(byte_count(doc.text) for doc in docs))

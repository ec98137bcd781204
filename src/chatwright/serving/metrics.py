"""What Prometheus reads at /metrics. Labels hold routes, models and statuses, and nothing that a user wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from chatwright.serving.notes import Note

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_NAME = "chatwright"
Stats = Callable[[], Mapping[str, Mapping[str, float]]]


class Metrics:
    """The counters of one server; `stats` gives what each model's engine says of itself now."""

    def __init__(self, stats: Stats) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered", "method", "route", "status")
        self._seconds = self._histogram("request_seconds", "Time to the end of the answer", "route")
        self._first = self._histogram("first_token_seconds", "Time to the first token", "model")
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts", "model")
        self._cached = self._counter(
            "cached_tokens", "Tokens of prompts that were not computed anew", "model"
        )
        self._written = self._counter("written_tokens", "Tokens of replies", "model")
        self._finished = self._counter("replies", "Replies, by how they ended", "model", "finish")
        self._registry.register(_Engines(stats))

    def observe(self, note: Note) -> None:
        """Count one request that is over."""
        self._requests.labels(note.method, note.route, str(note.status)).inc()
        self._seconds.labels(note.route).observe(note.seconds)
        if note.model is None:
            return
        if note.first_seconds is not None:
            self._first.labels(note.model).observe(note.first_seconds)
        self._prompt.labels(note.model).inc(note.prompt_tokens)
        self._cached.labels(note.model).inc(note.cached_tokens)
        self._written.labels(note.model).inc(note.completion_tokens)
        for finish in note.finishes:
            self._finished.labels(note.model, finish).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' own format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"{_NAME}_{name}", help, labels, registry=self._registry)

    def _histogram(self, name: str, help: str, *labels: str) -> Histogram:
        return Histogram(f"{_NAME}_{name}", help, labels, registry=self._registry, buckets=_SECONDS)


class _Engines(Collector):
    """The engines' own numbers, asked for when Prometheus asks."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for model, numbers in self._stats().items():
            for name, value in numbers.items():
                if name not in families:
                    families[name] = GaugeMetricFamily(
                        f"{_NAME}_engine_{name}", f"{name.replace('_', ' ')} (engine)", labels=["model"]
                    )
                families[name].add_metric([model], value)
        yield from families.values()

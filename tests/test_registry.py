"""Names: ours, the plug-ins', and the nearest one to a slip."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from chatwright import registry
from chatwright.errors import UserError, did_you_mean


def test_an_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown objective 'casual'; did you mean 'causal'\?"):
        registry.lookup("objective", "casual")
    with pytest.raises(UserError, match=r"unknown corpus source 'zzz'; known: hf, modelscope, python"):
        registry.lookup("corpus_source", "zzz")
    with pytest.raises(UserError, match=r"no kind of thing called 'objectve'; did you mean 'objective'\?"):
        registry.table("objectve")


def test_without_names_there_is_no_hint() -> None:
    assert did_you_mean("x", []) == ""


def test_a_plug_in_adds_its_own_and_never_hides_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "chatwright.schedule"
    points = [
        EntryPoint("mine", "collections:OrderedDict", group),
        EntryPoint("wsd", "collections:OrderedDict", group),
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: points if group == "chatwright.schedule" else []
    )
    registry.table.cache_clear()
    try:
        assert registry.lookup("schedule", "mine").__name__ == "OrderedDict"
        assert registry.lookup("schedule", "wsd").__name__ == "WarmupStableDecay"
    finally:
        registry.table.cache_clear()

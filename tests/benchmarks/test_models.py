"""The benchmark of models sets like against like: both compute the same loss of the same batch."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from chatwright import registry
from helpers.scripts import load_script

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "models.py"
SMALL = {"layers": 2, "width": 64, "heads": 2}
BLOCKS = {"encoder_layers": 2, "decoder_layers": 2, "width": 64, "heads": 2, "feed_forward": 96}
SMALLER = {
    **{name: {**SMALL, "kv_heads": 2} for name in registry.TABLES["model"]},
    "gpt3": {**SMALL, "band": 16},
    "bert": {**SMALL, "feed_forward": 96},
    "xlnet": {**SMALL, "feed_forward": 96},
    "transformer": BLOCKS,
}


@pytest.fixture(scope="module")
def models() -> ModuleType:
    return load_script(BENCHMARK)


@pytest.mark.parametrize("architecture", registry.TABLES["model"])
def test_ours_and_the_peer_compute_the_same_loss(
    models: ModuleType, tmp_path: Path, architecture: str
) -> None:
    pytest.importorskip("transformers")
    shape = {**models.SIZES["5m"][architecture], **SMALLER[architecture]}
    models.prepare(tmp_path / "model", shape, 48)
    sample = models.draw(architecture, 48, rows=2, length=16, seed=3)
    mine, facts = models.ours(tmp_path / "model", 2, 16, "float32")
    theirs, _ = models.peer(tmp_path / "model", "eager", "float32")
    assert facts["plan"]["precision"] == "float32"
    with torch.no_grad():
        torch.testing.assert_close(mine(sample), theirs(sample), rtol=1e-5, atol=1e-5)
        other = models.draw(architecture, 48, rows=2, length=16, seed=4)
        assert abs(theirs(other) - theirs(sample)) > 1e-3, "another batch has another loss"
    assert sample.tokens == (64 if architecture == "transformer" else 32)


def test_sizes_are_about_what_they_are_called(models: ModuleType) -> None:
    from chatwright.insight.anatomy import parameter_count
    from chatwright.models.presets import model_options

    assert models.SIZES["5m"].keys() == models.SIZES["30m"].keys() == registry.TABLES["model"].keys()
    for size, millions in (("5m", 5), ("30m", 30)):
        for shape in models.SIZES[size].values():
            count = parameter_count(model_options(shape, models.VOCABULARY))
            assert 0.7 < count / (1e6 * millions) < 1.4, shape
    large = parameter_count(model_options(models.LARGE, models.LARGE_VOCABULARY))
    assert large == 134_515_008, "SmolLM2-135M"


def test_the_summary_sets_ours_against_the_fastest_peer(models: ModuleType) -> None:
    def run(forward: float, training: float, megabytes: float) -> dict[str, object]:
        peaks = {"start_megabytes": 100.0, "forward_megabytes": megabytes, "training_megabytes": megabytes}
        return {"plan": {}, "loss": 1.0, "forward": forward, "training": training, **peaks}

    runs = {
        "chatwright": [run(30, 10, 200), run(50, 12, 200), run(40, 14, 220)],
        "sdpa-float32": [run(20, 4, 300)] * 3,
        "eager-float32": [run(10, 6, 400)] * 3,
    }
    found = models.summarize(runs)
    assert found["forward"]["times_as_fast"] == 2.0
    assert found["forward"]["fastest_peer"] == "sdpa-float32"
    assert found["training"]["times_as_fast"] == 2.0
    assert found["training"]["memory"] == 0.55
    assert found["training"]["memory_added"] == 0.4

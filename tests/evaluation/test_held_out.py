"""An objective's terms on held-out rows: means over all of them, however they are cut and shared out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from chatwright.data.groups import by_tokens
from chatwright.distributed.launch import World
from chatwright.evaluation.answers import wilson_interval
from chatwright.evaluation.held_out import held_out_terms
from chatwright.objectives.causal import tiny_decoder
from chatwright.objectives.orpo import ORPO
from chatwright.objectives.preference import DPO
from helpers.preferred import ranking, referenced, terms_of
from helpers.work import Rows, alone

GROUPS = [ranking(n, 2 + n % 5, 3 + n % 4) for n in range(9)]


@pytest.mark.parametrize("most", [1, 40, 10_000])
def test_terms_are_means_over_all_rows(most: int) -> None:
    policy, groups = tiny_decoder(), referenced(GROUPS, tiny_decoder(seed=3))
    wanted = terms_of(DPO(), policy, groups)
    found = held_out_terms(DPO(), {"policy": policy}, Rows(groups), by_tokens(most), alone())
    low_high = found.pop("accuracy_interval")
    assert low_high == pytest.approx(wilson_interval(9 * wanted["accuracy"], 9))
    assert found.pop("loss") == pytest.approx(wanted.pop("dpo"), rel=1e-5)
    assert found == pytest.approx(wanted, rel=1e-4)


def test_several_terms_are_shown_each_and_weighed_together() -> None:
    policy = tiny_decoder()
    found = held_out_terms(ORPO(), {"policy": policy}, Rows(GROUPS), by_tokens(64), alone())
    wanted = terms_of(ORPO(), policy, GROUPS)
    assert found["next_token"] == pytest.approx(wanted["next_token"], rel=1e-5)
    assert found["loss"] == pytest.approx(wanted["next_token"] + 0.1 * wanted["odds_ratio"], rel=1e-5)


class Half(World):
    """One of two processes, which hears nothing of its peer."""

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)


def test_every_process_takes_its_share() -> None:
    policy, groups = tiny_decoder(), referenced(GROUPS, tiny_decoder(seed=3))
    worlds = [Half(rank, 2, torch.device("cpu")) for rank in range(2)]
    losses = [
        held_out_terms(DPO(), {"policy": policy}, Rows(groups), by_tokens(64), world)["loss"]
        for world in worlds
    ]
    whole = terms_of(DPO(), policy, groups)["dpo"]
    assert (5 * losses[0] + 4 * losses[1]) / 9 == pytest.approx(whole, rel=1e-5)

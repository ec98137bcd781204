"""Rules from our names and shapes to the public ones, and back."""

from __future__ import annotations

import pytest
import torch

from chatwright.errors import UserError
from chatwright.models.interop.renaming import Weight, from_public, renamed, to_public

TABLE = "blocks.{}.types"
RULES = (
    *renamed({TABLE: "layer.{}.types"}),
    Weight("layer.{}.q", ("blocks.{}.query",), transposed=True, like=TABLE),
    Weight("layer.{}.o", ("blocks.{}.output",), like=TABLE),
    Weight("layer.{}.bias", ("blocks.{}.bias",), like=TABLE),
)


def state() -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for block in range(2):
        found |= {
            f"blocks.{block}.types": torch.randn(2, 3, 4),
            f"blocks.{block}.query": torch.randn(12, 5),
            f"blocks.{block}.output": torch.randn(5, 12),
            f"blocks.{block}.bias": torch.randn(12),
        }
    return found


def test_a_dimension_is_cut_into_heads_and_joined_again() -> None:
    own = state()
    public = to_public(own, RULES)
    assert public["layer.1.q"].shape == public["layer.1.o"].shape == (5, 3, 4)
    assert public["layer.0.bias"].shape == (3, 4)
    # head 2, place 1 of head 2 is output 9
    assert torch.equal(public["layer.1.q"][:, 2, 1], own["blocks.1.query"][9])
    assert torch.equal(public["layer.1.o"][:, 2, 1], own["blocks.1.output"][:, 9])
    back = from_public(own, public, RULES, "here")
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], value) for name, value in own.items())


def test_heads_that_do_not_fit_are_refused_in_the_public_shape() -> None:
    own = state()
    wrong = {**to_public(own, RULES), "layer.0.q": torch.zeros(5, 4, 3)}
    with pytest.raises(UserError, match=r"layer\.0\.q is \(5, 4, 3\), the config says \(5, 3, 4\)"):
        from_public(own, wrong, RULES, "here")

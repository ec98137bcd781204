"""PPO as InstructGPT ran it: clipped policy, clipped value, and pretraining's gradient mixed in.

Shape suffixes: N sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chatwright.config import option
from chatwright.data.groups import Group
from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models.scored import ScoredDecoder
from chatwright.objectives.causal import stir, tiny_decoder, tiny_shape
from chatwright.objectives.contract import Batch, Roots
from chatwright.objectives.policy import ClippedPolicy, PolicyOptions
from chatwright.objectives.replies import example_groups, run_replies, targets_mask


@dataclass(frozen=True)
class PPOOptions(PolicyOptions):
    """The policy's terms, and the value's and pretraining's beside them."""

    value: float = option(0.1, "weight of the value loss")
    value_clip: float = option(0.2, "how far a value may move from what it was when the reply was sampled")
    ptx: float = option(0.0, "weight of the next-token loss on the texts of ptx= (PPO-ptx)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value < 0 or self.ptx < 0 or self.value_clip <= 0:
            raise UserError("objective.value and .ptx must be 0 or more, and .value_clip more than 0")


def value_losses(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """½ max((V − R)², (clip(V, V_old ± ε) − R)²), elementwise."""
    bounded = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (bounded - returns).square())


class PPO(ClippedPolicy):
    """Proximal policy optimization of a language model (Schulman et al. 2017; Stiennon et al. 2020; Ouyang et al. 2022,
    equation 2).

    The value of a token is what stands at the position that predicts it. Where the value root is the policy itself,
    they share one pass. A batch without advantages holds texts of pretraining.
    """

    Options = PPOOptions
    options: PPOOptions

    def __init__(self, options: PPOOptions = PPOOptions()) -> None:
        super().__init__(options)

    def counts(self, batch: Batch) -> dict[str, int]:
        if "advantages" in batch.tensors:
            return {**super().counts(batch), **({"ptx": 0} if self.options.ptx else {})}
        return {**dict.fromkeys(self.weights(0), 0), "ptx": int((batch["targets"] != IGNORE).sum())}

    def weights(self, step: int) -> dict[str, float]:
        ptx = {"ptx": self.options.ptx} if self.options.ptx else {}
        metrics = {"value_error": 0.0, "value_clip_share": 0.0}
        return {**super().weights(step), "value": self.options.value, **ptx, **metrics}

    def passes(self, roots: Roots, batch: Batch) -> Iterator[dict[str, Tensor]]:
        if "advantages" not in batch.tensors:
            where = {name: batch.tensors.get(name) for name in ("segments", "positions")}
            found = roots["policy"](batch["inputs"], targets=batch["targets"], outputs=("logprobs",), **where)
            yield {"ptx": -found["logprobs"].sum()}
            return
        is_shared = "value" not in roots
        wanted = ("logprobs", "entropy", *(("scores",) if is_shared else ()))
        found = run_replies(roots["policy"], batch, wanted, self.options.temperature)
        terms = self.policy_terms(found, batch)
        if is_shared:
            yield {**terms, **self._value_terms(found["scores"], batch)}
            return
        yield terms
        yield self._value_terms(run_replies(roots["value"], batch, ("scores",))["scores"], batch)

    def _value_terms(self, scores_NTK: Tensor, batch: Batch) -> dict[str, Tensor]:
        values_NT, mask_NT = scores_NTK[..., 0], targets_mask(batch)
        old_NT, returns_NT, clip = batch["old_values"], batch["returns"], self.options.value_clip
        losses_NT = value_losses(values_NT, old_NT, returns_NT, clip) * mask_NT
        with torch.no_grad():
            error = ((values_NT - returns_NT).square() * mask_NT).sum()
            moved = (((values_NT - old_NT).abs() > clip) & mask_NT).float().sum()
        return {"value": losses_NT.sum(), "value_error": error, "value_clip_share": moved}

    def example(self) -> tuple[dict[str, nn.Module], list[Group]]:
        value = ScoredDecoder(tiny_shape())
        value.initialize(torch.Generator().manual_seed(2))
        tokens = ("advantages", "reference_logprobs", "old_values", "returns")
        return {"policy": tiny_decoder(), "value": stir(value)}, example_groups(replies=1, tokens=tokens)

"""The masked-language head (Devlin et al. 2019): which token stood where the mask stands.

Shape suffixes: N positions, W width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chatwright.data.packing import IGNORE
from chatwright.models.heads.language import token_logprobs
from chatwright.models.layers import ACTIVATIONS, LayerNorm, Linear


class MaskedHead(nn.Module):
    """A dense map, an activation and a norm; then the token embedding, which is given at every call, and a bias."""

    def __init__(self, width: int, vocab_size: int, eps: float, activation: str) -> None:
        super().__init__()
        self.dense = Linear(width, width, bias=True)
        self.norm = LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.empty(vocab_size))
        self.activation = ACTIVATIONS[activation]

    def transform(self, hidden: Tensor) -> Tensor:
        """[..., W] to [..., W]."""
        return self.norm(self.activation(self.dense(hidden)))  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor, weight_VW: Tensor, temperature: float = 1.0) -> Tensor:
        """[..., V] float32."""
        rows = self.transform(hidden)
        return (F.linear(rows, weight_VW.to(rows.dtype)).float() + self.bias) / temperature

    def logprobs(
        self,
        hidden: Tensor,
        weight_VW: Tensor,
        targets: Tensor,
        entropy: bool = False,
        temperature: float = 1.0,
    ) -> tuple[Tensor, Tensor | None]:
        """As `token_logprobs`; positions without a target, most of a row, are not even transformed."""
        flat = targets.reshape(-1)
        chosen = (flat != IGNORE).nonzero().squeeze(1)
        rows_NW = self.transform(hidden.reshape(-1, hidden.size(-1)).index_select(0, chosen))
        bias_V: Tensor = self.bias.view_as(self.bias)
        if temperature != 1.0:
            rows_NW, bias_V = rows_NW / temperature, bias_V / temperature
        found = token_logprobs(rows_NW, weight_VW, flat[chosen], entropy, bias_V)

        def spread(values: Tensor) -> Tensor:
            return (
                torch.zeros(flat.shape, device=flat.device).index_put((chosen,), values).view(targets.shape)
            )

        return spread(found[0]), None if found[1] is None else spread(found[1])

"""Holding a decoder to the public implementation, in both directions and token for token."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from chatwright.distributed.checkpoint import save_weights
from chatwright.generation.engine import Vocabulary, generate
from chatwright.generation.inference import Inference
from chatwright.generation.sampling import SamplingOptions
from chatwright.models.decoder import Decoder, DecoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, load_model, write_config
from chatwright.models.interop.weights import public_weights

M = TypeVar("M", bound=nn.Module)
PROMPT_LENGTHS = (3, 9, 1, 6)


def lively(model: M, seed: int = 3) -> M:
    """Weights that hide nothing and let what is written vary: norms around one, biases around zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.15 if parameter.dim() == 1 else 0.25, generator=generator)
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter.add_(1.0)
    return model


def written(directory: Path, options: DecoderOptions) -> Decoder:
    """A model whose weights hide nothing, written in the public format."""
    model = lively(Decoder(options))
    write_config(directory, options, EndTokens(bos=0, eos=[2, 0], pad=3))
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    return model.eval()


def drawn(vocab_size: int, rows: int, length: int) -> Tensor:
    return torch.randint(0, vocab_size, (rows, length), generator=torch.Generator().manual_seed(length))


@torch.no_grad()
def assert_agree(model: Decoder, peer: Any, length: int = 33) -> None:
    """Equal logits, and equal ones for a row behind which padding stands."""
    inputs = drawn(model.options.vocab_size, 2, length)
    mine, theirs = model(inputs, outputs=("logits",))["logits"], peer(inputs).logits
    assert float(mine.abs().max()) > 0.5, "the weights say something"
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in model.parameters()) == peer.num_parameters()
    kept = length - 7
    real = (torch.arange(length) < kept).expand(2, -1)
    segments = torch.where(real, 0, -1)
    mine = model(inputs, segments=segments, outputs=("logits",))["logits"]
    theirs = peer(inputs, attention_mask=real.long()).logits
    torch.testing.assert_close(mine[:, :kept], theirs[:, :kept], rtol=1e-4, atol=1e-4)


def assert_reads(peer: Any, directory: Path, options: DecoderOptions) -> None:
    """What the public implementation writes is read, and computes the same."""
    lively(peer, seed=8).save_pretrained(directory)
    model = load_model(directory)
    assert model.options == options
    assert_agree(model, peer)


def assert_writes_alike(model: Decoder, peer: Any, transformers: Any, new: int = 12) -> None:
    """The greedy tokens of the public implementation, one prompt at a time, and ours of all prompts together."""
    peer.generation_config = transformers.GenerationConfig(pad_token_id=0)
    prompts = [drawn(model.options.vocab_size, 1, length) for length in PROMPT_LENGTHS]
    wanted = [
        peer.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=new, do_sample=False)[
            0, prompt.size(1) :
        ].tolist()
        for prompt in prompts
    ]
    assert len({tuple(ids) for ids in wanted}) > 1
    options = SamplingOptions(max_new_tokens=new, temperature=0.0)
    vocabulary, ids = Vocabulary(frozenset()), [prompt[0].tolist() for prompt in prompts]
    inference = Inference(model)
    assert [answer.ids for answer in generate(inference, ids, options, vocabulary)] == wanted
    alone = [generate(inference, [one], options, vocabulary)[0].ids for one in ids]
    assert alone == wanted

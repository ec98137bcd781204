"""Beam search: what `transformers` finds, the best of all targets where all can be listed, and batches that do not matter."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from chatwright.distributed.checkpoint import save_weights
from chatwright.errors import UserError
from chatwright.generation.beam import BeamOptions, beam_search
from chatwright.generation.engine import Vocabulary
from chatwright.models.encoder_decoder import EncoderDecoder, EncoderDecoderOptions
from chatwright.models.interop.files import WEIGHTS, EndTokens, write_config
from chatwright.models.interop.weights import public_weights
from helpers.weights import stirred

END, PAD = 2, 3
SHAPE = EncoderDecoderOptions(
    vocab_size=30,
    width=32,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
    feed_forward=40,
    context=32,
    start=PAD,
)
VOCABULARY = Vocabulary(frozenset({END}), frozenset({0, PAD}))


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    """Weights that end targets at many lengths."""
    made = stirred(EncoderDecoder(SHAPE), deviation=0.2).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        made.head.bias[0, END] = 1.7
    return made


def sources(count: int = 12) -> list[list[int]]:
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(1, 9, (count,), generator=generator).tolist()
    return [[*torch.randint(4, 30, (n,), generator=generator).tolist(), END] for n in lengths]


def theirs(directory: Path, model: EncoderDecoder, given: list[list[int]], **how: Any) -> list[list[int]]:
    transformers = pytest.importorskip("transformers")
    write_config(directory, SHAPE, EndTokens(bos=0, eos=[END], pad=PAD))
    save_weights(directory / WEIGHTS, public_weights(model), {"format": "pt"})
    peer = transformers.MarianMTModel.from_pretrained(directory, attn_implementation="eager").eval()
    longest = max(map(len, given))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in given])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in given])
    written = peer.generate(
        input_ids=ids, attention_mask=mask, decoder_start_token_id=PAD, forced_eos_token_id=None,
        suppress_tokens=[0, PAD], do_sample=False, **how,
    )  # fmt: skip
    rows = [row[1:] for row in written.tolist()]
    return [row[: row.index(END) + 1] if END in row else [i for i in row if i != PAD] for row in rows]


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.0])
@pytest.mark.parametrize(("beams", "early"), [(1, False), (4, False), (4, True), (3, False)])
def test_token_for_token_what_transformers_finds(
    tmp_path: Path, model: EncoderDecoder, beams: int, early: bool, length_penalty: float
) -> None:
    given = sources()
    more = {"early_stopping": early, "length_penalty": length_penalty} if beams > 1 else {}
    wanted = theirs(tmp_path, model, given, num_beams=beams, max_new_tokens=14, **more)
    options = BeamOptions(beams, 14, length_penalty, early, batch=5)
    found = [result.ids for result in beam_search(model, given, options, VOCABULARY)]
    assert found == wanted
    if length_penalty == 1:
        assert len({len(ids) for ids in found}) > 2, "targets should end at many lengths"


def test_wide_beams_find_the_best_of_all_targets() -> None:
    """Six tokens and three steps: all targets can be listed, and a beam as wide as that is exact."""
    small = replace(SHAPE, vocab_size=6, start=3)
    model = stirred(EncoderDecoder(small), deviation=0.3).eval()
    source = [4, 5, 1]

    def logprob(ids: tuple[int, ...]) -> float:
        targets = torch.tensor([ids])
        return float(model(torch.tensor([source]), targets=targets)["logprobs"].sum())

    with torch.no_grad():
        ended = [(*body, END) for size in range(3) for body in product([0, 1, 3, 4, 5], repeat=size)] + list(
            product([0, 1, 3, 4, 5], repeat=3)
        )
        for penalty in (0.0, 1.0):
            best = max(ended, key=lambda ids: logprob(ids) / len(ids) ** penalty)
            options = BeamOptions(beams=36, max_new_tokens=3, length_penalty=penalty)
            [found] = beam_search(model, [source], options, Vocabulary(frozenset({END})))
            assert tuple(found.ids) == best
            assert found.score == pytest.approx(logprob(best) / len(best) ** penalty, rel=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_source_does_not_depend_on_the_others(model: EncoderDecoder, beams: int) -> None:
    given, options = sources(), BeamOptions(beams, batch=64)
    heard: list[int] = []
    together = beam_search(model, given, options, VOCABULARY, heard.append)
    assert heard == [12]
    for place in (0, 5, 11):
        [alone] = beam_search(model, [given[place]], options, VOCABULARY)
        assert alone.ids == together[place].ids
        assert alone.score == pytest.approx(together[place].score, rel=1e-4)
    limits = [2 * len(ids) + 16 for ids in given]
    assert all(len(found.ids) <= limit for found, limit in zip(together, limits, strict=True))
    assert not {0, PAD} & {token for found in together for token in found.ids}


def test_the_score_is_that_of_the_target(model: EncoderDecoder) -> None:
    given = sources(4)
    for beams in (1, 4):
        for source, found in zip(
            given, beam_search(model, given, BeamOptions(beams), VOCABULARY), strict=True
        ):
            with torch.no_grad():
                logprobs = model(torch.tensor([source]), targets=torch.tensor([found.ids]))["logprobs"]
            assert found.score == pytest.approx(float(logprobs.sum()) / len(found.ids), rel=1e-4)


def test_sources_that_do_not_fit_are_refused(model: EncoderDecoder) -> None:
    for ids in ([], [5] * 33):
        with pytest.raises(UserError, match=r"text 2 has \d+ tokens and the model takes 1 to 32"):
            beam_search(model, [[5], ids], BeamOptions(), VOCABULARY)
    assert beam_search(model, [], BeamOptions(), VOCABULARY) == []
    for wrong in ({"beams": 0}, {"max_new_tokens": 0}, {"batch": 0}, {"length_penalty": 11.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            BeamOptions(**wrong)

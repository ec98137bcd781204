"""Masked tokens: 15 % in 80/10/10, never control tokens, drawn anew every epoch; a target's own token tells nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chatwright.config import build
from chatwright.data.packing import IGNORE, PADDING
from chatwright.data.pretraining.facts import TokenFacts
from chatwright.data.pretraining.framed import Framed, frame
from chatwright.errors import UserError
from chatwright.models.encoder import Encoder, EncoderOptions
from chatwright.models.root import Root
from chatwright.objectives.causal import stir, tiny_decoder
from chatwright.objectives.pretraining.masked import Masked, MaskedOptions
from chatwright.objectives.pretraining.text import example_facts
from helpers.framed import facts_of

LENGTH = 100


def masked(facts: TokenFacts | None = None, **options: Any) -> Masked:
    return Masked(build(MaskedOptions, options), facts or example_facts())


def text(seed: int = 0, length: int = LENGTH) -> Framed:
    ids = np.random.default_rng(seed).integers(0, 60, length - 12)
    return frame([ids[:40], ids[40:]], example_facts(), length)


def prepared(objective: Masked, row: Framed, seed: int = 0) -> Framed:
    return objective.prepare(row, np.random.default_rng(seed))


def test_proportions() -> None:
    rows = [(row, prepared(masked(), row, n)) for n in range(400) for row in [text(n, 112)]]
    chosen = np.concatenate([after.targets != IGNORE for _, after in rows])
    before, after = (np.concatenate([pair[side].inputs for pair in rows]) for side in (0, 1))
    usable = np.concatenate([(row.segments != PADDING) & (row.inputs < 60) for row, _ in rows])
    assert chosen.sum() / usable.sum() == pytest.approx(0.15, abs=0.002)
    assert not (chosen & ~usable).any(), "a control token or padding was chosen"
    hidden, same = (after == 60)[chosen], (after == before)[chosen]
    # five standard errors of 5,280 draws
    assert hidden.mean() == pytest.approx(0.8, abs=5 * (0.16 / chosen.sum()) ** 0.5)
    assert same.mean() == pytest.approx(0.1 + 0.1 / 60, abs=5 * (0.09 / chosen.sum()) ** 0.5)
    assert (after[chosen & (after != 60)] < 60).all(), "a control token stands in for a word"
    assert (after == before)[~chosen].all()
    targets = np.concatenate([pair[1].targets for pair in rows])
    assert (targets[chosen] == before[chosen]).all()


def test_every_epoch_hides_other_tokens_and_the_same_draw_hides_the_same() -> None:
    objective, row = masked(), text()
    draws = [prepared(objective, row, seed).targets.tolist() for seed in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]
    assert row.targets.tolist() == [IGNORE] * LENGTH


@pytest.mark.parametrize("units", ["tokens", "words", "spans"])
@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_short_texts_hide_one_token_at_least(units: str, size: int) -> None:
    row = frame([np.arange(size)], example_facts(), 12)
    after = prepared(masked(units=units), row)
    assert (after.targets != IGNORE).sum() == min(size, 1)


def test_words_are_hidden_whole() -> None:
    facts = facts_of(" un", "believ", "able", " cat", " dog")
    row = frame([np.array([5, 6, 7, 8, 9] * 8)], facts, 60)
    hidden_words = 0
    for seed in range(60):
        chosen = prepared(masked(facts, units="words", rate=0.2), row, seed).targets != IGNORE
        words = np.flatnonzero(row.inputs == 5)
        assert all(chosen[at] == chosen[at + 1] == chosen[at + 2] for at in words)
        hidden_words += int(chosen[words].sum())
        assert 6 <= chosen.sum() <= 8
    assert hidden_words > 60


def test_chinese_words_are_hidden_whole() -> None:
    facts = facts_of(*"我们在北京大学学习")
    row = frame([np.arange(5, 14)], facts, 16)
    wholes = [{0, 1}, {2}, {3, 4, 5, 6}, {7, 8}]
    for seed in range(40):
        after = prepared(masked(facts, units="words", rate=0.5), row, seed)
        chosen = {place - 1 for place in np.flatnonzero(after.targets != IGNORE).tolist()}
        assert all(whole <= chosen or not whole & chosen for whole in wholes)


def test_no_word_reaches_over_a_control_token() -> None:
    facts = facts_of("cat", "##s")
    row = frame([np.array([5]), np.array([6])], facts, 8)
    chosen = {
        tuple(np.flatnonzero(prepared(masked(facts, units="words"), row, seed).targets != IGNORE).tolist())
        for seed in range(9)
    }
    assert chosen == {(1,), (3,)}


def test_spans_have_geometric_lengths_and_change_in_one_way() -> None:
    facts = example_facts()
    lengths, kinds = [], []
    for seed in range(300):
        row = frame([np.random.default_rng(seed).integers(0, 60, 196)], facts, 200)
        after = prepared(masked(units="spans"), row, seed)
        chosen = after.targets != IGNORE
        assert chosen.sum() == pytest.approx(0.15 * 196, abs=1)
        edges = np.flatnonzero(np.diff(chosen.astype(int), prepend=0, append=0)).reshape(-1, 2)
        lengths += np.diff(edges, axis=1).ravel().tolist()
        kinds += [(after.inputs[a:b] == 60).mean() for a, b in edges.tolist() if b - a <= 10]
    # the mean of min(geometric(0.2), 10) is 4.46; spans that touch look longer, the last ones of a row are cut
    assert 3.2 < np.mean(lengths) < 5.2
    pure = np.isin(kinds, (0.0, 1.0))
    assert pure.mean() > 0.8
    assert np.mean(np.array(kinds)[pure] == 1.0) == pytest.approx(0.8, abs=0.05)


def encoder() -> Encoder:
    model = Encoder(EncoderOptions(vocab_size=64, width=32, layers=2, heads=2, feed_forward=48, context=32))
    model.initialize(torch.Generator().manual_seed(0))
    return stir(model)


@pytest.mark.parametrize("model", [tiny_decoder(), encoder()], ids=["decoder", "encoder"])
def test_a_prediction_sees_both_sides_and_not_its_own_token(model: Root) -> None:
    """With every chosen token masked, the token itself stands in the targets only."""
    objective = masked(rate=0.05, mask_share=1.0, random_share=0.0)
    ids = np.arange(10, 30)
    rows = [frame([ids], objective.facts or example_facts(), 24)]
    after = prepared(objective, rows[0], 3)
    [place] = np.flatnonzero(after.targets != IGNORE).tolist()

    def told(changed: dict[int, int], target: int) -> float:
        inputs, targets = after.inputs.copy(), after.targets.copy()
        for at, token in changed.items():
            inputs[at] = token
        targets[place] = target
        batch = objective.collate([Framed(inputs, targets, after.segments, None, after.types)])
        [terms] = objective.passes({"policy": model}, batch)
        return float(terms["masked"].detach())

    assert after.inputs[place] == 60
    everything = sum(np.exp(-told({}, token)) for token in range(64))
    assert everything == pytest.approx(1.0, abs=1e-4)
    plain = told({}, 5)
    assert told({place - 1: 1}, 5) != pytest.approx(plain, abs=1e-6)
    assert told({place + 1: 1}, 5) != pytest.approx(plain, abs=1e-6)
    padding = int(np.flatnonzero(after.segments == PADDING)[0])
    assert told({padding: 1}, 5) == pytest.approx(plain, abs=1e-6)


def test_the_accuracy_is_that_of_the_likeliest_token() -> None:
    model, objective = encoder(), masked(rate=0.3)
    batch = objective.collate([prepared(objective, text(n, 32), n) for n in range(6)])
    right, count = objective.shares({"policy": model}, batch)["masked"]
    logits = model(batch["inputs"], segments=batch["segments"], types=batch["types"], outputs=("logits",))[
        "logits"
    ]
    chosen = batch["targets"] != IGNORE
    assert (int(right), count) == (
        int((logits.argmax(-1) == batch["targets"])[chosen].sum()),
        int(chosen.sum()),
    )


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 1}, {"mask_share": 0.9, "random_share": 0.2}])
def test_shares_out_of_bounds_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="objective"):
        build(MaskedOptions, options)

"""Two streams: what each may read, distances without copies, memories, and the first weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chatwright.data.packing import IGNORE
from chatwright.errors import UserError
from chatwright.models import xlnet
from chatwright.models.xlnet import XLNet, XLNetOptions, distance_table, shifted
from helpers.weights import stirred

SHAPE = XLNetOptions(vocab_size=40, width=24, layers=3, heads=2, feed_forward=32)


def model_of(options: XLNetOptions = SHAPE) -> XLNet:
    return stirred(XLNet(options)).eval()


def drawn(rows: int = 2, length: int = 9, seed: int = 0) -> Tensor:
    return torch.randint(0, 40, (rows, length), generator=torch.Generator().manual_seed(seed))


def in_order(length: int) -> Tensor:
    """A permutation mask of the order from left to right."""
    return torch.ones(1, length, length, dtype=torch.bool).tril(-1)


def targets_at(inputs: Tensor, *places: int) -> Tensor:
    targets = torch.full_like(inputs, IGNORE)
    targets[:, list(places)] = inputs[:, list(places)]
    return targets


@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (1, 5), (4, 4), (3, 7), (5, 5)])
def test_a_shift_reads_every_distance_where_it_stands(rows: int, keys: int) -> None:
    scores = torch.randn(2, 3, rows, keys + rows - 1)
    found = shifted(scores, keys)
    for query in range(rows):
        for key in range(keys):
            assert torch.equal(found[:, :, query, key], scores[:, :, query, rows - 1 - query + key])


def test_distances_are_sines_and_cosines_and_may_be_clamped() -> None:
    table = distance_table(3, 2, 8, 0, torch.device("cpu"))
    distances = torch.tensor([4.0, 3, 2, 1, 0, -1, -2])
    torch.testing.assert_close(table[:, 0], distances.sin())
    torch.testing.assert_close(table[:, 4], distances.cos())
    torch.testing.assert_close(table[:, 3], (distances / 1000).sin())
    clamped = distance_table(3, 2, 8, 2, torch.device("cpu"))
    assert torch.equal(clamped[0], clamped[2])
    assert not torch.equal(clamped[2], clamped[3])


def test_attention_is_the_sum_that_the_paper_writes_down() -> None:
    """Every score from its four parts, one by one."""
    attention = model_of().blocks[0].attention
    x, memory = torch.randn(1, 4, 24), torch.randn(1, 2, 24)
    known = torch.cat((memory, x), dim=1)
    table = distance_table(4, 2, 24, 0, torch.device("cpu"))
    different = torch.rand(1, 4, 6) < 0.5
    sight = xlnet.Sight(None, different)
    found = attention(x, attention.keys(known, table), sight)
    q, k = attention.query(x)[0].view(4, 2, 12), attention.key(known)[0].view(6, 2, 12)
    v, r = attention.value(known)[0].view(6, 2, 12), attention.distance(table).view(-1, 2, 12)
    biases = [b.view(2, 12) for b in (attention.content_bias, attention.distance_bias, attention.type_bias)]
    wanted = torch.zeros(4, 2, 12)
    for i in range(4):
        for head in range(2):
            content, distance, kind = (q[i, head] + bias[head] for bias in biases)
            scores = torch.stack(
                [
                    content @ k[j, head]
                    + distance @ r[(6 - 1) - (i + 2 - j), head]
                    + kind @ attention.types[int(different[0, i, j]), head]
                    for j in range(6)
                ]
            )
            wanted[i, head] = (scores / 12**0.5).softmax(0) @ v[:, head]
    torch.testing.assert_close(found[0], attention.output(wanted.flatten(1)), rtol=1e-4, atol=1e-5)


def test_queries_at_some_places_attend_as_they_would_among_all() -> None:
    attention = model_of().blocks[0].attention
    x, known = torch.randn(2, 5, 24), torch.randn(2, 8, 24)
    keys = attention.keys(known, distance_table(5, 3, 24, 0, torch.device("cpu")))
    unseen, different = (
        torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(n)) < 0.4 for n in (0, 1)
    )
    places = torch.tensor([[4, 0, 2], [3, 1, 4]])
    rows = torch.arange(2)[:, None]
    some = attention(
        x[rows, places], keys, xlnet.Sight(unseen[rows, places], different[rows, places], places=places)
    )
    every = attention(x, keys, xlnet.Sight(unseen, different))
    torch.testing.assert_close(some, every[rows, places], rtol=1e-4, atol=1e-5)


def test_many_rows_at_once_give_what_few_do(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, model = drawn(length=11), model_of()
    whole = model(inputs, types=inputs % 2, segments=inputs // 20, outputs=("hidden",))["hidden"]
    monkeypatch.setattr(xlnet, "_ROWS", 4)
    parts = model(inputs, types=inputs % 2, segments=inputs // 20, outputs=("hidden",))["hidden"]
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)


def test_from_left_to_right_no_prediction_knows_its_token_or_a_later_one() -> None:
    model, inputs = model_of(), drawn(1)
    mask = in_order(9)
    before = model(inputs, targets=inputs, permutation_mask=mask, outputs=("logits",))["logits"]
    for place in range(9):
        changed = inputs.clone()
        changed[0, place] = (inputs[0, place] + 7) % 40
        after = model(changed, targets=inputs, permutation_mask=mask, outputs=("logits",))["logits"]
        assert torch.equal(after[0, : place + 1], before[0, : place + 1]), place
        differs = (after[0, place + 1 :] - before[0, place + 1 :]).abs().amax(-1) > 1e-4
        assert bool(differs.all()), place


def test_the_diagonal_of_a_permutation_mask_gives_nothing_away() -> None:
    model, inputs = model_of(), drawn()
    out = [
        model(inputs, targets=inputs, permutation_mask=mask, outputs=("logits", "hidden"))
        for mask in (in_order(9), in_order(9) | torch.eye(9, dtype=torch.bool))
    ]
    assert torch.equal(out[0]["logits"], out[1]["logits"])
    assert torch.equal(out[0]["hidden"], out[1]["hidden"])


def test_a_prediction_that_may_read_nothing_is_the_same_for_every_text() -> None:
    model, inputs = model_of(), drawn()
    nothing = torch.zeros(1, 9, 9, dtype=torch.bool)
    logits = model(inputs, targets=inputs, permutation_mask=nothing, outputs=("logits",))["logits"]
    torch.testing.assert_close(logits, logits[:1, :1].expand_as(logits), rtol=1e-5, atol=1e-5)


def test_queries_stand_at_targets_only_and_answer_there() -> None:
    """Rows with one target, with three and with none: what is asked beside does not change an answer."""
    model, inputs = model_of(), drawn(3)
    targets = torch.full_like(inputs, IGNORE)
    targets[0, 4], targets[1, [1, 5, 8]] = inputs[0, 4], inputs[1, [1, 5, 8]]
    wanted = ("logits", "query", "logprobs", "entropy")
    mask = in_order(9)
    some = model(inputs, targets=targets, permutation_mask=mask, outputs=wanted)
    every = model(inputs, targets=inputs, permutation_mask=mask, outputs=wanted)
    is_target = targets != IGNORE
    for name in wanted:
        torch.testing.assert_close(some[name][is_target], every[name][is_target], rtol=1e-4, atol=1e-5)
        assert not some[name][~is_target].any()
    logprobs = every["logits"].log_softmax(-1)
    at = logprobs.gather(2, inputs[..., None]).squeeze(2)
    torch.testing.assert_close(every["logprobs"], at, rtol=1e-4, atol=1e-4)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    torch.testing.assert_close(every["entropy"], entropy, rtol=1e-4, atol=1e-4)


def test_a_batch_without_a_target_still_runs() -> None:
    model, inputs = model_of(), drawn()
    targets = torch.full_like(inputs, IGNORE)
    found = model(inputs, targets=targets, permutation_mask=in_order(9))["logprobs"]
    found.sum().backward()
    assert not found.any()


def test_attention_stays_inside_a_document_in_both_streams() -> None:
    model, inputs = model_of(), drawn(1)
    segments = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1, -1]])
    targets = targets_at(inputs, 1, 3, 6)
    changed = inputs.clone()
    changed[0, :4] = (inputs[0, :4] + 5) % 40
    mask = torch.ones(1, 9, 9, dtype=torch.bool)
    mask[:, :, [1, 3, 6]] = False
    how = {"segments": segments, "outputs": ("hidden",)}
    before, after = (model(x, **how)["hidden"] for x in (inputs, changed))
    assert torch.equal(before[0, 4:], after[0, 4:])
    said = [
        model(x, targets=targets, permutation_mask=mask, segments=segments)["logprobs"]
        for x in (inputs, changed)
    ]
    assert torch.equal(said[0][0, 6], said[1][0, 6])
    assert not torch.equal(said[0][0, 1], said[1][0, 1])
    # distances are relative: a document alone says what it says beside others
    alone = model(inputs[:, 4:7], outputs=("hidden",))["hidden"]
    torch.testing.assert_close(before[:, 4:7], alone, rtol=1e-4, atol=1e-5)


def test_only_whether_types_are_equal_matters() -> None:
    model, inputs = model_of(), drawn()
    types = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]]).expand(2, -1)

    def hidden(types: Tensor | None) -> Tensor:
        return model(inputs, types=types, outputs=("hidden",))["hidden"]

    torch.testing.assert_close(hidden(5 - types), hidden(types))
    torch.testing.assert_close(hidden(torch.full_like(types, 3)), hidden(None), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(hidden(types), hidden(None), atol=0.01)


def test_memories_have_types_too() -> None:
    model, inputs, memories = model_of(), drawn(length=4), torch.randn(3, 2, 3, 24)
    types, before = torch.tensor([[1, 0, 1, 1]]).expand(2, -1), torch.tensor([[0, 1, 1]]).expand(2, -1)

    def hidden(types: Tensor, before: Tensor | None) -> Tensor:
        how = {"types": types, "memories": memories, "memory_types": before}
        return model(inputs, **how, outputs=("hidden",))["hidden"]

    torch.testing.assert_close(hidden(types + 4, before + 4), hidden(types, before))
    torch.testing.assert_close(hidden(types, torch.zeros_like(before)), hidden(types, None))
    assert not torch.allclose(hidden(types, before), hidden(types, None), atol=0.01)


def test_memories_are_the_newest_states_without_a_gradient() -> None:
    model, inputs = model_of(replace(SHAPE, memory=7)), drawn(length=5)
    first = model(inputs, outputs=("memories",))["memories"]
    assert first.shape == (3, 2, 5, 24)
    assert not first.requires_grad
    torch.testing.assert_close(first[0], model.embedding.weight[inputs])
    second = model(drawn(length=5, seed=1), memories=first, outputs=("memories", "hidden"))
    assert second["memories"].shape == (3, 2, 7, 24)
    assert torch.equal(second["memories"][:, :, :2], first[:, :, -2:])
    assert not torch.equal(second["hidden"], model(drawn(length=5, seed=1), outputs=("hidden",))["hidden"])


def test_memories_of_another_document_are_not_read() -> None:
    model, inputs = model_of(), drawn(length=4, seed=1)
    segments = torch.tensor([[3, 3, 4, 4], [5, 5, 5, -1]])
    memory_segments = torch.tensor([[2, 2, 3], [9, 9, 9]])
    one, other = (torch.randn(3, 2, 3, 24, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    hidden = [
        model(inputs, segments=segments, memories=m, memory_segments=memory_segments, outputs=("hidden",))[
            "hidden"
        ]
        for m in (one, other)
    ]
    assert torch.equal(hidden[0][0, 2:], hidden[1][0, 2:])
    assert torch.equal(hidden[0][1], hidden[1][1])
    assert not torch.equal(hidden[0][0, :2], hidden[1][0, :2])
    alone = model(inputs, segments=segments, outputs=("hidden",))["hidden"]
    torch.testing.assert_close(hidden[0][1], alone[1], rtol=1e-4, atol=1e-5)


def test_a_memory_in_the_same_order_is_the_text_itself() -> None:
    """With causal masks, reading a text in two segments is reading it whole: nothing in the first depends on the second."""
    model, inputs = model_of(), drawn(length=8)
    whole = model(inputs, targets=inputs, permutation_mask=in_order(8), outputs=("logits",))["logits"]
    first = model(inputs[:, :3], permutation_mask=in_order(3), outputs=("memories",))["memories"]
    rest = model(
        inputs[:, 3:],
        targets=inputs[:, 3:],
        permutation_mask=in_order(5),
        memories=first,
        outputs=("logits",),
    )
    torch.testing.assert_close(rest["logits"], whole[:, 3:], rtol=1e-4, atol=1e-4)


def test_the_last_block_reads_no_content_that_nobody_asks_for() -> None:
    model, inputs = model_of(), drawn()
    how = {"targets": inputs, "permutation_mask": in_order(9)}
    seen: list[bool] = []
    model.blocks[-1].register_forward_pre_hook(lambda _, given: seen.append(given[4] is not None))
    lean = model(inputs, **how)["logprobs"]
    full = model(inputs, **how, outputs=("logprobs", "hidden"))["logprobs"]
    assert seen == [False, True]
    assert torch.equal(lean, full)


def test_bfloat16_comes_close() -> None:
    model, inputs = model_of(), drawn()
    how = {"targets": targets_at(inputs, 3, 7), "permutation_mask": in_order(9), "types": inputs % 2}
    wide = model(inputs, **how)["logprobs"]
    model.compute_dtype = torch.bfloat16
    narrow = model(inputs, **how)["logprobs"]
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, wide, rtol=0.1, atol=0.2)


def test_the_first_weights_say_nothing_and_every_one_learns() -> None:
    model = XLNet(SHAPE)
    model.initialize(torch.Generator().manual_seed(0))
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    inputs = drawn()
    how = {"targets": inputs, "permutation_mask": in_order(9), "types": inputs % 2}
    logprobs = model(inputs, **how)["logprobs"]
    assert float(-logprobs.detach().mean()) == pytest.approx(torch.tensor(40.0).log().item(), rel=0.05)
    stirred(model)
    model(inputs, **how)["logprobs"].sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_operations_are_those_of_both_streams() -> None:
    model = XLNet(replace(SHAPE, layers=1))
    # one block: keys and values of content; queries, outputs, feed-forward, scores and values at targets
    assert model.flops_per_token(10, 0.0) == 2 * 2 * 24 * 24
    stream = 2 * 24 * (24 + 32) + 4 * 24 * 10
    assert model.flops_per_token(10, 1.0) == 2 * (2 * 24 * 24 + stream + 24 * 40)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layers": 0}, "model.layers=0 must be at least 1"),
        ({"memory": -1}, "model.memory=-1 must be 0"),
        ({"heads": 5}, "model.heads=5 does not divide model.width=24"),
        ({"width": 9, "heads": 3}, "model.width=9 must be even"),
    ],
)
def test_shapes_that_cannot_be_are_refused(fields: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(SHAPE, **fields)

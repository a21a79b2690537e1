"""Sequence encoders and the next-item loss versus PyTorch's modules and formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from numpy_neural_mf.models.sequences import encoder_shapes
from numpy_neural_mf.training.sequence_encoder import CrossEntropy, SequenceEncoder, one_thread, states_of

K, N_ITEMS, LENGTH = 8, 12, 6
ENCODERS = ("attention", "gru")


def new_encoder(kind, dropout=0.0):
    torch.manual_seed(0)
    encoder = SequenceEncoder(kind, N_ITEMS, K, LENGTH, dropout).double()
    for value in encoder.parameters():
        nn.init.normal_(value, std=0.5)
    return encoder


def draw_items(seed=0, n=3, length=LENGTH):
    return torch.tensor(np.random.default_rng(seed).integers(0, N_ITEMS, (n, length)))


def test_attention_without_distance_biases_is_a_causal_transformer_layer():
    encoder = new_encoder("attention")
    nn.init.zeros_(encoder.distance)
    theirs = nn.TransformerEncoderLayer(K, 1, K, 0.0, "gelu", batch_first=True, norm_first=True).double()
    theirs.load_state_dict(encoder.attention.state_dict())
    items = draw_items()
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    expected = encoder.norm(theirs(encoder.embedding(items), mask, is_causal=True))
    torch.testing.assert_close(encoder(items), expected)


def test_attention_follows_its_formula():
    """h = x + A V, where A is the softmax of Q Kᵀ / √k + b(distance) over the item and earlier ones."""
    encoder = new_encoder("attention")
    layer, items = encoder.attention, draw_items(n=1)
    with torch.no_grad():
        x = encoder.embedding(items)[0]
        Q, keys, V = layer.self_attn.in_proj_weight.chunk(3)
        bias_q, bias_k, bias_v = layer.self_attn.in_proj_bias.chunk(3)
        z = layer.norm1(x)
        expected = []
        for t in range(LENGTH):
            q = Q @ z[t] + bias_q
            score = torch.stack(
                [q @ (keys @ z[s] + bias_k) / K**0.5 + encoder.distance[t - s] for s in range(t + 1)]
            )
            value = sum(a * (V @ z[s] + bias_v) for s, a in enumerate(score.softmax(dim=0)))
            y = x[t] + layer.self_attn.out_proj(value)
            y = y + layer.linear2(functional.gelu(layer.linear1(layer.norm2(y))))
            expected.append(encoder.norm(y))
        torch.testing.assert_close(encoder(items)[0], torch.stack(expected))


def test_a_gru_equals_that_of_torch():
    encoder = new_encoder("gru")
    theirs = nn.GRU(K, K, batch_first=True).double()
    theirs.load_state_dict(encoder.gru.state_dict())
    items = draw_items()
    torch.testing.assert_close(encoder(items), encoder.norm(theirs(encoder.embedding(items))[0]))


@pytest.mark.parametrize("kind", ENCODERS)
@settings(max_examples=20, deadline=None)
@given(place=st.integers(1, LENGTH - 1), seed=st.integers(0, 99))
def test_later_items_do_not_change_earlier_states(kind, place, seed):
    encoder, items, others = new_encoder(kind), draw_items(seed), draw_items(seed + 1)
    changed = torch.cat([items[:, :place], others[:, place:]], dim=1)
    torch.testing.assert_close(encoder(items)[:, :place], encoder(changed)[:, :place], rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder(items)[:, :place], encoder(items[:, :place]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ENCODERS)
def test_earlier_items_change_later_states(kind):
    encoder, items = new_encoder(kind), draw_items()
    changed = items.clone()
    changed[:, 0] = (items[:, 0] + 1) % N_ITEMS
    assert ((encoder(items) - encoder(changed))[:, 1:].abs().amax(dim=2) > 1e-9).all()


def test_attention_depends_on_distances_not_positions():
    """A constant sequence has the same state everywhere."""
    states = new_encoder("attention")(torch.full((1, LENGTH), 5))
    torch.testing.assert_close(states, states[:, :1].expand_as(states))


def test_dropout_at_prediction_is_the_identity():
    encoder, items = new_encoder("attention", dropout=0.5), draw_items()
    assert not torch.equal(encoder.train()(items), encoder(items))
    encoder.eval()
    torch.testing.assert_close(encoder(items), encoder(items), rtol=0, atol=0)


def draw_states(n, seed=0):
    rng = np.random.default_rng(seed)
    h, W, c = (torch.tensor(rng.standard_normal(shape)) for shape in ((n, K), (N_ITEMS, K), (N_ITEMS,)))
    return [x.requires_grad_() for x in (h, W, c)], torch.tensor(rng.integers(0, N_ITEMS, n))


@pytest.mark.parametrize("n", [0, 1, 256, 600])
def test_blockwise_cross_entropy_and_its_derivatives_equal_those_of_torch(n):
    (h, W, c), y = draw_states(n)
    ours = 2 * CrossEntropy.apply(h, W, c, y)
    theirs = 2 * functional.cross_entropy(h @ W.T + c, y, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for ours_of, theirs_of in zip(
        torch.autograd.grad(ours, (h, W, c)), torch.autograd.grad(theirs, (h, W, c)), strict=True
    ):
        torch.testing.assert_close(ours_of, theirs_of)


def test_the_next_item_loss_is_cross_entropy_over_all_known_items():
    head, ((h, _, _), y) = new_encoder("gru"), draw_states(20)
    logits = h @ head.embedding.weight[:N_ITEMS].T + head.bias.weight[:N_ITEMS, 0]
    torch.testing.assert_close(
        head.next_item_loss(h, y), functional.cross_entropy(logits, y, reduction="sum")
    )


def test_with_every_other_item_once_as_a_negative_the_sampled_loss_is_exact():
    head, ((h, _, _), y) = new_encoder("gru"), draw_states(20)
    everything = torch.arange(N_ITEMS)
    sampled = head.sampled_loss(h, y, everything, torch.ones(N_ITEMS, dtype=torch.float64))
    torch.testing.assert_close(sampled, head.next_item_loss(h, y))


def test_with_many_negatives_the_loss_is_close_to_that_over_all_items():
    head, ((h, _, _), y) = new_encoder("gru"), draw_states(20)
    chance = torch.linspace(1, 3, N_ITEMS, dtype=torch.float64)
    chance /= chance.sum()
    n = 200_000
    negatives = torch.multinomial(chance, n, replacement=True, generator=torch.Generator().manual_seed(0))
    sampled = head.sampled_loss(h, y, negatives, n * chance[negatives])
    assert sampled.item() == pytest.approx(head.next_item_loss(h, y).item(), rel=0.005)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("start", [1, 3])
def test_a_state_does_not_depend_on_the_place_of_its_items_in_the_batch(kind, start):
    """Padded sequences of different lengths have the same states as each sequence separately."""
    encoder = new_encoder(kind).float()
    table = np.full((LENGTH + 1, LENGTH), -1, np.int32)
    for n in range(LENGTH + 1):
        table[n, :n] = (start + 5 * np.arange(n)) % N_ITEMS
    states = encoder.last_states(table)
    torch.testing.assert_close(states[0], torch.zeros(K))
    for n in range(1, LENGTH + 1):
        alone = encoder(torch.tensor(table[n : n + 1, :n].astype(np.int64)))[0, -1]
        torch.testing.assert_close(states[n], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_states_from_saved_parameters_equal_those_of_the_encoder(kind):
    encoder = new_encoder(kind).float()
    parameters = {name: value.detach().numpy() for name, value in encoder.named_parameters()}
    shapes = {name: value.shape for name, value in parameters.items()}
    assert encoder_shapes(kind, N_ITEMS, K, LENGTH) == shapes
    table = np.random.default_rng(0).integers(0, N_ITEMS, (4, LENGTH), dtype=np.int32)
    with one_thread():
        expected = encoder.last_states(table).numpy()
    np.testing.assert_array_equal(states_of(parameters, table), expected)
    np.testing.assert_array_equal(states_of(parameters, table[:0]), np.zeros((0, K)))


def test_the_number_of_threads_is_restored():
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize("kind", ENCODERS)
def test_sparse_gradients_are_the_rows_of_the_batch(kind):
    """Only table rows of inputs, next items and negatives have gradients, equal to the dense ones."""
    dense = new_encoder(kind)
    sparse = SequenceEncoder(kind, N_ITEMS, K, LENGTH, sparse=True).double()
    sparse.load_state_dict(dense.state_dict())
    sequences, following = torch.tensor([[0, 3]]), torch.tensor([3])
    negatives, counts = torch.tensor([3, 7, 7]), torch.tensor([0.5, 0.2, 0.2], dtype=torch.float64)
    for encoder in (dense, sparse):
        states = encoder(sequences)[:, 0]
        encoder.sampled_loss(states, following, negatives, counts).backward()
    for name in ("embedding", "bias"):
        gradient = getattr(sparse, name).weight.grad.coalesce()
        assert set(gradient.indices()[0].tolist()) <= {0, 3, 7}
        torch.testing.assert_close(gradient.to_dense(), getattr(dense, name).weight.grad)

"""Training of sequence encoders: the loss, the windows and the seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.data.time_order import NextItems, in_time_order
from numpy_neural_mf.training.next_item_training import train_encoder
from numpy_neural_mf.training.sequence_encoder import SequenceEncoder, states_of

ENCODERS = ("attention", "gru")
RATINGS = simulate_ratings(n_users=12, n_items=15, n_ratings=120, random_state=1)
# Some times of a user are equal.
RATINGS = replace(RATINGS, timestamps=np.random.default_rng(0).integers(0, 25, len(RATINGS)))
ORDERED = in_time_order(RATINGS.compact())
SETTINGS = {
    "embedding_dim": 4, "sequence_length": 6, "dropout": 0.0, "negatives": 0, "epochs": 2, "batch_size": 30,
    "learning_rate": 0.01, "patience": None, "device": "cpu",
}  # fmt: skip


def train(kind, held_out=None, ratings=ORDERED, seed=0, on_progress=None, **settings):
    rng = np.random.default_rng(seed)
    return train_encoder(kind, ratings, held_out, rng=rng, on_progress=on_progress, **SETTINGS | settings)


def loaded(kind, parameters):
    encoder = SequenceEncoder(kind, ORDERED.n_items, 4, 6)
    encoder.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    return encoder.eval()


def plain_loss(encoder, items, length):
    """Return the mean -log softmax of each item given those before it in its window, in plain PyTorch."""
    losses = []
    with torch.no_grad():
        for first in range(0, len(items), length):
            window = torch.tensor(items[first : first + length].astype(np.int64))
            for t in range(1, len(window)):
                h = encoder(window[None, :t])[0, -1]
                logits = encoder.embedding.weight[:-1] @ h + encoder.bias.weight[:-1, 0]
                losses.append(float(functional.cross_entropy(logits, window[t])))
    return losses


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_loss_is_cross_entropy_of_each_item_after_those_before_it(kind):
    """With a learning rate of zero, the first epoch reports the loss of the returned parameters."""
    parameters, history = train(kind, epochs=1, learning_rate=0.0, sequence_length=200)
    encoder = SequenceEncoder(kind, ORDERED.n_items, 4, 200)
    encoder.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    losses = []
    for user in range(ORDERED.n_users):
        losses += plain_loss(encoder.eval(), ORDERED.items[ORDERED.users == user], 200)
    assert history.train_loss == [pytest.approx(np.mean(losses), rel=1e-5)]


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_step_of_adam_descends_the_gradient_of_that_loss(kind):
    """Adam's first step moves each parameter by the learning rate against the sign of its gradient."""
    rate, n = 1e-4, len(ORDERED)
    start, _ = train(kind, epochs=1, batch_size=n, learning_rate=0.0, sequence_length=200)
    end, _ = train(kind, epochs=1, batch_size=n, learning_rate=rate, sequence_length=200)
    encoder = SequenceEncoder(kind, ORDERED.n_items, 4, 200)
    encoder.load_state_dict({name: torch.tensor(value) for name, value in start.items()})
    loss = 0
    for user in range(ORDERED.n_users):
        items = torch.tensor(ORDERED.items[ORDERED.users == user].astype(np.int64))
        states = encoder(items[None])[0, :-1]
        logits = states @ encoder.embedding.weight[:-1].T + encoder.bias.weight[:-1, 0]
        loss = loss + functional.cross_entropy(logits, items[1:], reduction="sum")
    loss.backward()
    for name, value in encoder.named_parameters():
        gradient = value.grad.numpy()
        clear = np.abs(gradient) > 0.01
        if name in ("embedding.weight", "bias.weight"):
            clear[-1] = False  # the unknown item, the mean of the others afterwards
        moved = (end[name] - start[name])[clear]
        np.testing.assert_allclose(moved, -rate * np.sign(gradient[clear]), rtol=0.02, atol=1e-7)


def test_the_bias_starts_at_the_logarithm_of_popularity():
    parameters, _ = train("gru", epochs=1, learning_rate=0.0)
    counts = np.bincount(ORDERED.items, minlength=ORDERED.n_items) + 1
    np.testing.assert_allclose(parameters["bias.weight"][:-1, 0], np.log(counts / counts.sum()), rtol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_unknown_item_is_the_mean_of_the_others(kind):
    parameters, _ = train(kind)
    for name in ("embedding.weight", "bias.weight"):
        np.testing.assert_allclose(parameters[name][-1], parameters[name][:-1].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_same_seed_gives_the_same_bits_dropout_and_negatives_included(kind):
    torch.manual_seed(5)
    torch_before = torch.random.get_rng_state()
    first, second, other = (train(kind, seed=s, dropout=0.4, negatives=5)[0] for s in (3, 3, 4))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)
    assert torch.equal(torch_before, torch.random.get_rng_state())  # the global random state is put back


def test_with_many_negatives_training_is_close_to_training_on_all_items():
    """1,500 of 2,000 items are drawn, so the losses of the epochs are about the same."""
    ratings = simulate_ratings(n_users=40, n_items=2_000, n_ratings=800, random_state=0)
    ratings = in_time_order(replace(ratings, timestamps=np.arange(800)).compact())
    few = ratings.n_items * 3 // 4
    exact, sampled = (train("gru", ratings=ratings, negatives=n)[1].train_loss for n in (0, few))
    np.testing.assert_allclose(sampled, exact, rtol=0.02)
    assert sampled != exact


def test_the_epoch_of_the_lowest_validation_loss_is_kept():
    """Held-out items contradict the sequences in training, so learning makes their loss worse in the end."""
    held_out = NextItems(ORDERED.items[:8, None], ORDERED.items[40:48])
    parameters, history = train("gru", held_out, epochs=30, learning_rate=0.05)
    losses, best = history.validation_loss, history.best_epoch
    assert 0 < best < 30
    assert losses[best - 1] == min(losses)
    encoder = loaded("gru", parameters)
    states = torch.from_numpy(states_of(parameters, held_out.sequences))
    with torch.no_grad():
        logits = states @ encoder.embedding.weight[:-1].T + encoder.bias.weight[:-1, 0]
    expected = functional.cross_entropy(logits, torch.tensor(held_out.items.astype(np.int64))).item()
    assert losses[best - 1] == pytest.approx(expected, rel=1e-5)
    _, stopped = train("gru", held_out, epochs=30, learning_rate=0.05, patience=3)
    assert len(stopped.validation_loss) == stopped.best_epoch + 3 < 30


def test_progress_is_reported_after_each_batch():
    reports = []
    _, history = train("gru", on_progress=reports.append)
    assert [r.n_trained for r in reports] == sorted({r.n_trained for r in reports})
    last = reports[-1]
    assert (last.epoch, last.epochs, last.n_trained, last.n_total) == (2, 2, 240, 240)
    assert last.train_loss == pytest.approx(history.train_loss[-1])


def test_users_with_one_rating_have_no_effect():
    single = ORDERED.take(np.unique(ORDERED.users, return_index=True)[1])
    _, history = train("attention", ratings=in_time_order(single.compact()))
    assert history.train_loss == [0.0, 0.0]


def test_a_diverging_training_raises_an_error():
    with pytest.raises(FloatingPointError, match="use a lower learning rate"):
        train("attention", learning_rate=1e30)


def test_an_unavailable_device_is_refused():
    if torch.backends.mps.is_available():
        pytest.skip("there is MPS")
    with pytest.raises(ValueError, match="device must be one that PyTorch finds here"):
        train("gru", device="mps")

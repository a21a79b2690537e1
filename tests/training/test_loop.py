"""The training loop: which batches, which learning rates, which weights are kept, and when it stops."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from numpy_neural_mf import A_SMALL, simulate_ratings
from numpy_neural_mf.data import batches
from numpy_neural_mf.nn import SGD, Adam, constant, cosine
from numpy_neural_mf.training.engines import Engine, NumpyEngine
from numpy_neural_mf.training.loop import train
from numpy_neural_mf.training.objective import Objective

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=250, random_state=0)


class Recorder(Engine):
    """An engine that records its batches; its one parameter counts the steps."""

    def __init__(self, losses=()):
        self.parameters = {"steps": np.zeros(1)}
        self.optimizer = SGD()
        self.losses = list(losses)
        self.batches, self.learning_rates = [], []

    def step(self, users, items, ratings, *time_bins):
        self.batches.append((users, items, ratings, *time_bins))
        self.learning_rates.append(self.optimizer.learning_rate)
        self.parameters["steps"] += 1
        return self.losses.pop(0) if self.losses else 1.0


def run(engine, validation_losses=None, start=math.inf, **settings):
    """Train, with validation losses from a list; that of the first weights is `start`."""
    losses = None if validation_losses is None else [start, *validation_losses]
    defaults = {
        "epochs": 3, "batch_size": 100, "schedule": constant(0.1), "patience": None,
        "rng": np.random.default_rng(0),
    }  # fmt: skip
    validation_loss = None if losses is None else lambda: losses.pop(0)
    return train(engine, RATINGS, validation_loss, **defaults | settings)


def new_engine():
    rng = np.random.default_rng(0)
    architecture = replace(A_SMALL, dropout=0.0)
    parameters = architecture.initial_parameters(RATINGS.n_users, RATINGS.n_items, RATINGS.mean, rng)
    penalties = np.full(RATINGS.n_users + 1, 0.1), np.full(RATINGS.n_items + 1, 0.1)
    return NumpyEngine(architecture, parameters, Adam(), Objective(*penalties))


def test_an_epoch_trains_on_every_rating_once_the_last_small_batch_too():
    engine = Recorder()
    run(engine)
    assert [len(values) for _, _, values in engine.batches] == 3 * [100, 100, 50]
    everything = sorted(zip(RATINGS.users, RATINGS.items, RATINGS.values, strict=True))
    for epoch in range(3):
        batches = engine.batches[3 * epoch : 3 * epoch + 3]
        columns = (np.concatenate(column) for column in zip(*batches, strict=True))
        assert sorted(zip(*columns, strict=True)) == everything


def test_a_batch_larger_than_the_ratings_is_all_of_them():
    engine = Recorder()
    run(engine, batch_size=10_000)
    assert [len(values) for _, _, values in engine.batches] == 3 * [250]


def test_every_epoch_has_an_order_of_its_own_drawn_from_the_generator():
    def orders(seed):
        engine = Recorder()
        run(engine, batch_size=250, rng=np.random.default_rng(seed))
        return [tuple(zip(users, items, strict=True)) for users, items, _ in engine.batches]

    assert len(set(orders(0))) == 3
    assert orders(0) == orders(0)
    assert orders(0) != orders(1)


@pytest.mark.parametrize("batch_size", [1, 100])
def test_the_time_bin_of_a_rating_comes_with_it(batch_size):
    engine, bins = Recorder(), np.arange(len(RATINGS), dtype=np.int32)
    run(engine, batch_size=batch_size, epochs=1, time_bins=bins)
    users, items, values, found = (np.concatenate(c) for c in zip(*engine.batches, strict=True))
    assert sorted(found) == bins.tolist()
    for column, of_all in ((users, RATINGS.users), (items, RATINGS.items), (values, RATINGS.values)):
        np.testing.assert_array_equal(column, of_all[found])


def test_watching_validation_ratings_does_not_change_the_order():
    watched, unwatched = Recorder(), Recorder()
    run(watched, [3, 2, 1])
    run(unwatched)
    for a, b in zip(watched.batches, unwatched.batches, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_same_seed_gives_the_same_bits():
    engines = [new_engine(), new_engine()]
    histories = [run(engine) for engine in engines]
    assert histories[0].train_loss == histories[1].train_loss
    for name, value in engines[0].parameters.items():
        assert value.tobytes() == engines[1].parameters[name].tobytes()


def test_the_learning_rate_follows_the_schedule_step_by_step():
    engine, schedule = Recorder(), cosine(0.1, n_steps=9)
    run(engine, schedule=schedule)
    assert engine.learning_rates == [schedule(step) for step in range(9)]


def test_per_sample_each_rating_is_a_step_at_the_learning_rate_of_its_stretch(monkeypatch):
    monkeypatch.setattr(batches, "STRETCH", 100)
    engine, schedule, seen = Recorder(), cosine(0.1, n_steps=500), []
    history = run(engine, batch_size=1, epochs=2, schedule=schedule, on_progress=seen.append)
    assert [len(values) for *_, values in engine.batches] == 500 * [1]
    lengths, first = [], 0
    for progress in seen:
        lengths.append(progress.n_trained - first)
        assert engine.learning_rates[first : progress.n_trained] == lengths[-1] * [schedule(first)]
        first = progress.n_trained
    assert sorted(lengths) == [50, 50, 100, 100, 100, 100]
    assert history.train_loss == [1.0, 1.0]


def test_the_training_loss_is_the_mean_over_ratings_not_over_batches():
    history = run(Recorder(losses=[1.0, 2.0, 6.0]), epochs=1)
    assert history.train_loss == [pytest.approx((100 * 1 + 100 * 2 + 50 * 6) / 250)]


def test_without_validation_the_last_epoch_is_kept():
    engine = Recorder()
    history = run(engine)
    assert len(history.train_loss) == len(history.seconds) == 3
    assert history.validation_loss == []
    assert history.best_epoch == 3
    assert engine.parameters["steps"] == 9
    assert all(seconds >= 0 for seconds in history.seconds)


@pytest.mark.parametrize(("losses", "best"), [([3, 2, 1], 3), ([1, 2, 3], 1), ([2, 1, 3], 2), ([1, 1, 1], 1)])
def test_the_best_epoch_is_put_back_in_the_arrays_that_were_trained(losses, best):
    engine = Recorder()
    held = engine.parameters["steps"]
    history = run(engine, losses)
    assert history.best_epoch == best
    assert history.validation_loss == losses
    assert held == 3 * best
    assert engine.parameters["steps"] is held


def test_where_no_epoch_helps_the_first_weights_are_kept():
    engine = Recorder()
    history = run(engine, [3, 2.5, 2.2], start=2.1)
    assert history.best_epoch == 0
    assert engine.parameters["steps"] == 0
    assert run(Recorder(), [3] * 5, start=2, epochs=5, patience=3).validation_loss == [3, 3, 3]


def test_the_weights_kept_have_the_lowest_validation_loss_of_the_history():
    engine, held_out = new_engine(), simulate_ratings(40, 30, 100, random_state=0)
    ids = held_out.users, held_out.items

    def validation_loss():
        return float(np.mean((engine.predict(*ids) - held_out.values) ** 2))

    history = train(
        engine, RATINGS, validation_loss, epochs=30, batch_size=50, schedule=constant(0.05),
        patience=None, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert history.best_epoch < 30
    assert validation_loss() == min(history.validation_loss)
    assert history.validation_loss[history.best_epoch - 1] == min(history.validation_loss)


@pytest.mark.parametrize(
    ("patience", "epochs_run"), [(1, 3), (2, 6), (3, 7), (None, 8)], ids=["1", "2", "3", "none"]
)
def test_patience_counts_epochs_since_the_best(patience, epochs_run):
    losses = [5, 4, 4.5, 3, 3.5, 3.2, 3.1, 1]
    history = run(Recorder(), losses, epochs=8, patience=patience)
    assert history.validation_loss == losses[:epochs_run]
    assert len(history.train_loss) == len(history.seconds) == epochs_run


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(loss):
    with pytest.raises(FloatingPointError, match="in epoch 2: use a lower learning rate"):
        run(Recorder(losses=[1.0, 1.0, 1.0, 1.0, loss]))


def test_a_validation_loss_that_is_not_finite_is_never_the_best():
    with pytest.raises(FloatingPointError, match="the validation loss is nan in epoch 2"):
        run(Recorder(), [1.0, math.nan, 2.0])


def test_weights_that_blow_up_in_the_very_last_step_are_not_returned():
    class BlowsUp(Recorder):
        def step(self, *batch):
            loss = super().step(*batch)
            if self.parameters["steps"] == 9:
                self.parameters["steps"][:] = math.inf
            return loss

    with pytest.raises(FloatingPointError, match="a parameter is inf in epoch 3"):
        run(BlowsUp())


def test_progress_is_told_after_every_batch():
    seen = []
    run(Recorder(losses=[1.0, 2.0, 6.0]), [0.5, 0.4, 0.3], on_progress=seen.append)
    assert [p.n_trained for p in seen] == [100, 200, 250, 350, 450, 500, 600, 700, 750]
    assert all(a.n_trained < b.n_trained for a, b in pairwise(seen))
    assert {(p.n_total, p.epochs) for p in seen} == {(750, 3)}
    assert seen[-1].n_trained == seen[-1].n_total
    assert [p.epoch for p in seen] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [p.train_loss for p in seen[:3]] == pytest.approx([1.0, 1.5, 2.4])
    assert all(math.isnan(p.validation_loss) for p in seen[:3])
    assert [p.validation_loss for p in seen[3:]] == 3 * [0.5] + 3 * [0.4]


def test_an_engine_may_cut_batches_of_other_lengths_or_parts_of_them():
    class CutsAnew(Recorder):
        def cut(self, columns, rows, size):
            for first, end in ((0, 40), (40, 210), (210, 250)):
                own = rows[first : (first + end) // 2]
                yield *(column[own] for column in columns), np.isin(np.arange(first, end), own)

        def step(self, users, items, ratings, is_own):
            return super().step(users, items, ratings)

    seen = []
    history = run(CutsAnew(losses=[1.0, 2.0, 6.0]), epochs=1, on_progress=seen.append)
    assert [p.n_trained for p in seen] == [40, 210, 250]
    assert history.train_loss == [pytest.approx((40 * 1 + 170 * 2 + 40 * 6) / 250)]

"""The training loop: batches, learning rates, and the report of each epoch."""

import math
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pytest

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.data import batches
from numpy_neural_mf.nn import SGD, constant, cosine
from numpy_neural_mf.training.engines import Engine
from numpy_neural_mf.training.loop import History, train

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


class Still:
    """An inference that changes nothing and returns means of e² / (1 - h) from a list."""

    arrays = MappingProxyType({})

    def __init__(self, noise=()):
        self.noise = list(noise)

    def update(self, engine):
        return self.noise.pop(0) if self.noise else None


def run(engine, validation_losses=None, inference=None, **settings):
    """Train, with validation losses from a list."""
    losses = iter(validation_losses or ())
    defaults = {
        "epochs": 3, "batch_size": 100, "schedule": constant(0.1), "rng": np.random.default_rng(0),
    }  # fmt: skip
    validation_loss = None if validation_losses is None else lambda: next(losses)
    return train(engine, RATINGS, inference or Still(), validation_loss, **defaults | settings)


def test_an_epoch_trains_on_every_rating_once():
    engine = Recorder()
    run(engine)
    assert [len(values) for _, _, values in engine.batches] == 3 * [84, 84, 82]
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


def test_validation_does_not_change_the_order():
    watched, unwatched = Recorder(), Recorder()
    run(watched, [3, 2, 1])
    run(unwatched)
    for a, b in zip(watched.batches, unwatched.batches, strict=True):
        np.testing.assert_array_equal(a, b)


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
    assert history.train_loss == [pytest.approx((84 * 1 + 84 * 2 + 82 * 6) / 250)]


def test_the_parameters_are_those_of_the_last_epoch():
    engine = Recorder()
    held = engine.parameters["steps"]
    history = run(engine, [1, 2, 3])
    assert len(history.train_loss) == len(history.seconds) == history.best_epoch == 3
    assert history.validation_loss == [1, 2, 3]
    assert held == 9
    assert all(seconds >= 0 for seconds in history.seconds)


def test_without_validation_there_is_no_validation_loss():
    assert run(Recorder()).validation_loss == []


def test_after_each_epoch_inference_runs_between_fetch_and_send():
    calls = []

    class Watched(Recorder):
        def fetch(self):
            calls.append("fetch")

        def send(self):
            calls.append("send")

    class Watching(Still):
        def update(self, engine):
            calls.append(f"update {len(engine.batches)}")

    run(Watched(), inference=Watching(), epochs=2)
    assert calls == ["fetch", "update 3", "send", "fetch", "update 6", "send"]


def test_the_expected_loss_leaves_out_a_rating_s_share_in_its_prediction():
    """With shares h = 1/5, the mean of e² / (1 - h) is 5/4, and of (e / (1 - h))² 25/16, times that of e²."""
    losses = [4.0, 4.0, 4.0, 2.0, 2.0, 2.0]
    history = run(Recorder(losses), inference=Still([5.0, 2.5]), epochs=2, unit_of_loss=16.0)
    assert history.train_loss == [64.0, 32.0]
    assert history.expected_loss == pytest.approx([64.0 * 25 / 16, 32.0 * 25 / 16])


def test_without_errors_the_expected_loss_is_zero():
    assert run(Recorder([0.0]), inference=Still([0.0]), epochs=1, batch_size=250).expected_loss == [0.0]


def test_without_inferred_noise_there_is_no_expected_loss():
    assert run(Recorder()).expected_loss == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_raises_an_error_with_advice(loss):
    with pytest.raises(FloatingPointError, match="in epoch 2: use a lower learning rate"):
        run(Recorder(losses=[1.0, 1.0, 1.0, 1.0, loss]))


def test_a_validation_loss_that_is_not_finite_raises_an_error():
    with pytest.raises(FloatingPointError, match="the validation loss is nan in epoch 2"):
        run(Recorder(), [1.0, math.nan, 2.0])


def test_weights_that_diverge_in_the_last_step_are_not_returned():
    class BlowsUp(Recorder):
        def step(self, *batch):
            loss = super().step(*batch)
            if self.parameters["steps"] == 9:
                self.parameters["steps"][:] = math.inf
            return loss

    with pytest.raises(FloatingPointError, match="a parameter is inf in epoch 3"):
        run(BlowsUp())


def test_progress_is_reported_after_every_batch():
    seen = []
    run(Recorder(losses=[1.0, 2.0, 6.0]), [0.5, 0.4, 0.3], on_progress=seen.append)
    assert [p.n_trained for p in seen] == [84, 168, 250, 334, 418, 500, 584, 668, 750]
    assert all(a.n_trained < b.n_trained for a, b in pairwise(seen))
    assert {(p.n_total, p.epochs) for p in seen} == {(750, 3)}
    assert seen[-1].n_trained == seen[-1].n_total
    assert [p.epoch for p in seen] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [p.train_loss for p in seen[:3]] == pytest.approx([1.0, 1.5, (84 * 1 + 84 * 2 + 82 * 6) / 250])
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


def test_a_history_is_one_line_and_in_a_notebook_a_table_that_ends_with_the_last_epoch():
    assert repr(History()) == "History: 0 epochs in 0.0 seconds"
    losses = [1 / n for n in range(1, 422)]
    history = History(losses, [], losses, [0.5] * 421, 421)
    text = "History: 421 epochs in 210.5 seconds, at last loss 0.0024, validation 0.0024"
    assert repr(history) == text
    html = history._repr_html_()
    assert text in html
    assert html.count("<tr>") <= 21
    assert '<td style="text-align: left">421</td>' in html
    assert "expected" not in html
    assert History()._repr_html_()

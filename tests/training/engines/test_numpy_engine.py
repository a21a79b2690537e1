"""The NumPy engine: derivatives versus central differences, and gradients of only the rows of a batch."""

from dataclasses import replace

import numpy as np
import pytest
from cases import (
    ARCHITECTURES,
    B_MEDIUM,
    N_TIME_BINS,
    N_USERS,
    draw_batch,
    draw_objective,
    draw_parameters,
    in_categories,
    relative_error,
    with_time_bins,
)

from numpy_neural_mf.nn import SGD, RowGradient, gradient_errors
from numpy_neural_mf.training.engines import NumpyEngine


def new_engine(architecture, optimizer=None, *, with_signs=False, **settings):
    objective = draw_objective(architecture, with_signs=with_signs)
    return NumpyEngine(
        architecture, draw_parameters(architecture), optimizer or SGD(1.0), objective, **settings
    )


def require_the_gradient_of_the_expected_loss(architecture, batch):
    """An engine with the same random signs at every call."""
    rng = np.random.default_rng(0)
    engine, first = new_engine(architecture, with_signs=True, rng=rng), rng.bit_generator.state
    _, gradients = engine.loss_and_gradients(*batch)

    def loss():
        rng.bit_generator.state = first
        return engine.expected_loss(*batch)

    errors = gradient_errors(loss, engine.parameters, gradients)
    assert errors.keys() == engine.parameters.keys()
    assert max(errors.values()) <= 1e-6


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gradient_is_the_derivative_of_the_expected_loss(name):
    require_the_gradient_of_the_expected_loss(ARCHITECTURES[name], draw_batch(seed=3))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_with_ordinal_ratings_the_gradient_is_the_derivative_of_the_expected_loss(name):
    architecture = replace(ARCHITECTURES[name], likelihood="ordinal")
    require_the_gradient_of_the_expected_loss(architecture, in_categories(draw_batch(seed=3)))


@pytest.mark.parametrize("likelihood", ["normal", "ordinal"])
@pytest.mark.parametrize("name", ["A_SMALL", "no MLP", "no MLP, no biases", "only biases", "only the MLP"])
def test_with_time_bins_the_gradient_is_the_derivative_of_the_expected_loss(name, likelihood):
    architecture = replace(ARCHITECTURES[name], periods=N_TIME_BINS, likelihood=likelihood)
    batch = with_time_bins(in_categories(draw_batch(seed=3)))
    require_the_gradient_of_the_expected_loss(architecture, batch)


def test_the_expected_loss_is_the_mean_of_each_rating_s_cost():
    architecture = ARCHITECTURES["no MLP"]
    engine, batch = new_engine(architecture), draw_batch()
    o, tables, expected = engine.objective, engine.parameters, 0.0
    for u, i, rating in zip(*batch, strict=True):
        p, q = tables["user_embedding.weight"][u], tables["item_embedding.weight"][i]
        b, c = tables["user_bias.weight"][u, 0], tables["item_bias.weight"][i, 0]
        cost = (tables["intercept"][0] + b + c + p @ q - rating) ** 2
        v, w = o.variance["user_embedding.weight"][u], o.variance["item_embedding.weight"][i]
        expected += o.weight[u] * (cost + p**2 @ w + q**2 @ v)
        for name, side, row in (
            ("user_embedding.weight", "user", u), ("item_embedding.weight", "item", i),
            ("user_bias.weight", "user", u), ("item_bias.weight", "item", i),
        ):  # fmt: skip
            prior = o.prior[name][row if len(o.prior[name]) > 1 else 0]
            expected += o.share[side][row] * ((tables[name][row] - prior) ** 2 @ o.precision[name])
    assert engine.expected_loss(*batch) == pytest.approx(expected / len(batch[0]), rel=1e-12)


@pytest.mark.parametrize("n_rows", [N_USERS, 5_000])
def test_gradients_of_tables_hold_the_distinct_rows_of_the_batch_and_no_more(n_rows):
    parameters = draw_parameters(B_MEDIUM, n_users=n_rows, n_items=n_rows)
    objective = draw_objective(B_MEDIUM, n_users=n_rows, n_items=n_rows)
    engine = NumpyEngine(B_MEDIUM, parameters, SGD(), objective)
    users, items, ratings = draw_batch()
    _, gradients = engine.loss_and_gradients(users, items, ratings)
    for side, ids in (("user", users), ("item", items)):
        for table, k in (("embedding", 16), ("bias", 1)):
            gradient = gradients[f"{side}_{table}.weight"]
            assert isinstance(gradient, RowGradient)
            np.testing.assert_array_equal(gradient.rows, np.unique(ids))
            assert gradient.values.shape == (len(gradient.rows), k)


def test_rows_do_not_depend_on_the_order_of_the_batch():
    order = np.random.default_rng(1).permutation(16)
    batch = draw_batch()
    straight, shuffled = new_engine(B_MEDIUM), new_engine(B_MEDIUM)
    straight.step(*batch)
    shuffled.step(*(column[order] for column in batch))
    assert relative_error(shuffled.parameters, straight.parameters) <= 1e-12


def test_a_step_returns_the_loss_before_it():
    engine, batch = new_engine(B_MEDIUM, SGD(0.01)), draw_batch()
    users, items, ratings = batch
    expected = np.mean((engine.predict(users, items) - ratings) ** 2)
    assert engine.step(*batch) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["no MLP", "B_MEDIUM"])
def test_float32_stays_float32(name):
    architecture = ARCHITECTURES[name]
    parameters, objective = (draw(architecture, np.float32) for draw in (draw_parameters, draw_objective))
    engine = NumpyEngine(architecture, parameters, SGD(), objective)
    users, items, ratings = draw_batch(dtype=np.float32)
    assert engine.predict(users, items).dtype == np.float32
    for part in engine.forward(*engine._sides(users, items, None))[:2]:
        assert part.dtype == np.float32
    for gradient in engine.loss_and_gradients(users, items, ratings)[1].values():
        values = gradient.values if isinstance(gradient, RowGradient) else gradient
        assert values.dtype == np.float32


def test_tables_may_lie_in_memory_by_columns():
    by_columns = {name: np.asfortranarray(value) for name, value in draw_parameters(B_MEDIUM).items()}
    straight, turned = (
        NumpyEngine(B_MEDIUM, parameters, SGD(0.1), draw_objective(B_MEDIUM))
        for parameters in (draw_parameters(B_MEDIUM), by_columns)
    )
    for seed in range(3):
        straight.step(*draw_batch(seed))
        turned.step(*draw_batch(seed))
    assert relative_error(turned.parameters, straight.parameters) <= 1e-12

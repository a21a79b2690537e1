"""The NumPy engine: every derivative by central differences, and gradients of only the rows of a batch."""

import numpy as np
import pytest
from cases import (
    ARCHITECTURES,
    B_MEDIUM,
    N_USERS,
    Architecture,
    draw_batch,
    draw_objective,
    draw_parameters,
    relative_error,
)

from numpy_neural_mf.nn import SGD, RowGradient, gradient_errors, mse
from numpy_neural_mf.training.engines import NumpyEngine
from numpy_neural_mf.training.objective import Objective


def new_engine(architecture, optimizer=None, **settings):
    return NumpyEngine(
        architecture, draw_parameters(architecture), optimizer or SGD(1.0), draw_objective(), **settings
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gradient_is_that_of_mean_squared_error_and_penalty(name):
    engine = new_engine(ARCHITECTURES[name])
    users, items, ratings = draw_batch(seed=3)
    _, gradients = engine.loss_and_gradients(users, items, ratings)

    def loss():
        return mse(engine.predict(users, items), ratings)[0] + engine.penalty(users, items)

    errors = gradient_errors(loss, engine.parameters, gradients)
    assert errors.keys() == engine.parameters.keys()
    assert max(errors.values()) <= 1e-6


def test_with_dropout_the_gradient_is_that_of_the_network_thinned():
    architecture, rng = Architecture(4, (6, 3), "tanh", dropout=0.4), np.random.default_rng(0)
    engine, masks = new_engine(architecture, rng=rng), rng.bit_generator.state
    users, items, ratings = draw_batch()

    def loss():
        rng.bit_generator.state = masks  # the same masks at every call
        prediction, _ = engine.forward(users, items, training=True)
        return mse(prediction, ratings)[0] + engine.penalty(users, items)

    value = loss() - engine.penalty(users, items)
    rng.bit_generator.state = masks
    training_loss, gradients = engine.loss_and_gradients(users, items, ratings, training=True)
    assert training_loss == value
    assert training_loss != engine.loss_and_gradients(users, items, ratings)[0]
    assert max(gradient_errors(loss, engine.parameters, gradients).values()) <= 1e-6


def test_the_penalty_is_the_mean_over_ratings_of_what_their_rows_cost():
    engine = new_engine(B_MEDIUM)
    users, items, _ = draw_batch()
    tables, objective = engine.parameters, draw_objective()
    expected = 0.0
    for u, i in zip(users, items, strict=True):
        for side, row, weight in (("user", u, objective.user_penalty), ("item", i, objective.item_penalty)):
            p, b = tables[f"{side}_embedding.weight"][row], tables[f"{side}_bias.weight"][row, 0]
            expected += weight[row] * (p @ p + b * b) / len(users)
    assert engine.penalty(users, items) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_rows", [N_USERS, 5_000])
def test_gradients_of_tables_hold_the_distinct_rows_of_the_batch_and_no_more(n_rows):
    parameters = draw_parameters(B_MEDIUM, n_users=n_rows, n_items=n_rows)
    penalty = np.full(n_rows + 1, 0.1)
    engine = NumpyEngine(B_MEDIUM, parameters, SGD(), Objective(penalty, penalty))
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


def test_float32_stays_float32_whatever_the_penalty_came_in():
    parameters = draw_parameters(B_MEDIUM, np.float32)
    engine = NumpyEngine(B_MEDIUM, parameters, SGD(), draw_objective(dtype=np.float64))
    users, items, ratings = draw_batch(dtype=np.float32)
    assert engine.predict(users, items).dtype == np.float32
    for gradient in engine.loss_and_gradients(users, items, ratings)[1].values():
        values = gradient.values if isinstance(gradient, RowGradient) else gradient
        assert values.dtype == np.float32


def test_tables_may_lie_in_memory_by_columns():
    by_columns = {name: np.asfortranarray(value) for name, value in draw_parameters(B_MEDIUM).items()}
    straight, turned = (
        NumpyEngine(B_MEDIUM, parameters, SGD(0.1), draw_objective())
        for parameters in (draw_parameters(B_MEDIUM), by_columns)
    )
    for seed in range(3):
        straight.step(*draw_batch(seed))
        turned.step(*draw_batch(seed))
    assert relative_error(turned.parameters, straight.parameters) <= 1e-12

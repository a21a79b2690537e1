"""The objective: the expected loss of varying rows, and the curvature for ordinal ratings."""

from itertools import product

import numpy as np
import pytest
from cases import ORDINAL, Architecture, draw_batch, draw_objective, draw_parameters

from numpy_neural_mf.nn import SGD, CumulativeLogit
from numpy_neural_mf.training.engines import NumpyEngine

PLAIN = Architecture(1)
TABLES = [f"{side}_{kind}.weight" for kind in ("embedding", "bias") for side in ("user", "item")]


def weighted_loss(engine, users, items, ratings):
    error = engine.predict(users, items) - ratings
    return np.mean(engine.objective.weight[users] * error**2)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_variances_cost_the_squared_error_of_varying_rows_up_to_a_constant(scale):
    """All rows are moved by ± their deviation, so they have the given variances and no correlation."""
    objective, batch = draw_objective(PLAIN), draw_batch()
    for precision in objective.precision.values():
        precision[...] = 0
    parameters = {name: scale * value for name, value in draw_parameters(PLAIN).items()}
    of_means = NumpyEngine(PLAIN, parameters, SGD(), objective)
    losses = []
    for signs in product((-1, 1), repeat=4):
        moved = {
            n: parameters[n] + s * np.sqrt(objective.variance[n]) for n, s in zip(TABLES, signs, strict=True)
        }
        losses.append(weighted_loss(NumpyEngine(PLAIN, parameters | moved, SGD(), objective), *batch))
    users, items, _ = batch
    v, w, of_user, of_item = (objective.variance[name][:, 0] for name in TABLES)
    of_rating = v[users] * w[items] + of_user[users] + of_item[items]
    constant = np.mean(objective.weight[users] * of_rating)
    assert np.mean(losses) == pytest.approx(of_means.expected_loss(*batch) + constant, rel=1e-12)


def test_the_curvature_of_the_squared_error_is_one():
    assert draw_objective(PLAIN).curvature == 1


def test_the_curvature_of_ordinal_ratings_is_the_mean_over_categories_of_a_fine_scale():
    """It is half of the second derivative of -log P within 10 %, as a logistic curves slightly more."""
    scale = CumulativeLogit(np.linspace(0, 20, 201), ORDINAL.deviation)
    y, raw = np.full(len(scale.steps), 10.0), scale.first()
    weights = scale.probabilities(y[:1], raw)[0]
    mean = weights @ scale.terms(y, scale.steps, raw).d2y / 2
    assert draw_objective(PLAIN, ordinal=scale).curvature == pytest.approx(mean, rel=0.1)

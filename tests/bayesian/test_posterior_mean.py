"""The posterior mean as a model: conversion to tensors and back, and predictions at the last time."""

import numpy as np
import pytest

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.bayesian import PosteriorMean
from numpy_neural_mf.bayesian.posterior import Posterior
from numpy_neural_mf.bayesian.sampling import build_sampler, context_variables_of

pytest.importorskip("numba")

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, drift=0.5, random_state=1).compact()
N_USERS, N_ITEMS = RATINGS.n_users, RATINGS.n_items
USERS, ITEMS = np.indices((N_USERS + 1, N_ITEMS + 1)).reshape(2, -1) - 1  # -1 is unknown


def a_mean(drift=True, names=("time_bin", "previous_item")):
    parts = {"features": True, "implicit": True, "drift": drift, "user_noise": True}
    variables = context_variables_of(RATINGS, names)
    sampler = build_sampler(
        RATINGS,
        np.random.default_rng(0),
        n_factors=3,
        latent_clusters=1,
        context_variables=variables,
        **parts,
    )
    posterior = Posterior(sampler, 5, variables)
    for _ in range(3):
        sampler.sweep(False)
        posterior.add()
    return posterior.mean()


MEAN = a_mean()


def back(mean, **changed):
    tensors = mean.tensors()
    settings = {"rank": 5, "n_timed": mean.n_timed, "timescales": [d.timescale for d in mean.drifts]}
    settings |= {"drift": True, "previous_item": True} | changed

    def take(name, dtype, shape):
        assert (tensors[name].dtype, tensors[name].shape) == (np.dtype(dtype), shape), name
        return tensors.pop(name)

    found = PosteriorMean.from_tensors(take, N_USERS, N_ITEMS, **settings)
    assert not tensors
    return found


@pytest.mark.parametrize(
    ("drift", "names"),
    [(True, ("time_bin", "previous_item")), (True, ("time_bin",)), (False, ("previous_item",)), (False, ())],
)
def test_a_model_built_from_its_own_tensors_is_the_same(drift, names):
    mean = a_mean(drift, names)
    again = back(mean, drift=drift, previous_item="previous_item" in names)
    times = np.full(len(USERS), RATINGS.timestamps.mean(), np.int64)
    assert again.scores(USERS, ITEMS, times).tobytes() == mean.scores(USERS, ITEMS, times).tobytes()
    assert (again.n_timed, again.size) == (mean.n_timed, mean.size)
    assert mean.n_timed == (len(RATINGS) if names else 0)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="n_timed: expected 0 without drift and previous_item"):
        back(MEAN, drift=False, previous_item=False)
    with pytest.raises(ValueError, match="timescales: expected one for each drift"):
        back(MEAN, timescales=[1.0, 2.0])
    with pytest.raises(ValueError, match="timescales must be a finite number above 0, not 0"):
        back(MEAN, timescales=[0.0] * len(MEAN.drifts))


def test_without_previous_item_the_model_is_that_of_the_last_rating_time():
    mean = a_mean(names=("time_bin",))
    last = np.full(len(USERS), RATINGS.timestamps.max())
    now = mean.at_last_time().scores(USERS, ITEMS)
    np.testing.assert_allclose(now, mean.scores(USERS, ITEMS, last), atol=1e-5)


def test_inserted_rows_do_not_change_the_scores_of_the_others():
    users, items = np.arange(N_USERS) + 2, np.arange(N_ITEMS) * 2
    sizes = {"user": (users, N_USERS + 2), "item": (items, 2 * N_ITEMS)}
    tables = {}
    for name, table in MEAN.factorization.parameters.items():
        if name == "intercept":
            tables[name] = table
            continue
        rows, n = sizes[name[:4]]
        tables[name] = np.repeat(table[-1:], n + 1, axis=0)
        tables[name][rows] = table[:-1]
    form = type(MEAN.factorization)(MEAN.factorization.architecture, tables)
    wider = MEAN.inserted(form, users, items)
    times = np.full(len(USERS), RATINGS.timestamps.max())
    found = wider.scores(np.append(users, -1)[USERS], np.append(items, -1)[ITEMS], times)
    np.testing.assert_allclose(found, MEAN.scores(USERS, ITEMS, times), atol=1e-6)
    assert wider.n_timed == MEAN.n_timed

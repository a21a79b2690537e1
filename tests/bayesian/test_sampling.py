"""Building a sampler from ratings: clusters, context, drift; and the validation monitor."""

from dataclasses import replace

import numpy as np
import pytest

from numpy_neural_mf import Features, Ratings, simulate_ratings
from numpy_neural_mf.bayesian.posterior import Posterior
from numpy_neural_mf.bayesian.resumption import ValidationMonitor
from numpy_neural_mf.bayesian.sampling import (
    build_sampler,
    context_variables_of,
    draw_samples,
    sets_without_own,
)
from numpy_neural_mf.mf.side_information import OneSide

pytest.importorskip("numba")

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, drift=0.8, random_state=1)
NAMES = ("time_bin", "previous_item")


def built(ratings, latent_clusters=1, drift=False, context_variables=None):
    parts = {"features": True, "implicit": True, "drift": drift, "user_noise": True}
    rng = np.random.default_rng(0)
    return build_sampler(
        ratings,
        rng,
        n_factors=2,
        latent_clusters=latent_clusters,
        context_variables=context_variables,
        **parts,
    )


def n_clusters(block):
    return 1 if block.clusters is None else block.clusters.n_clusters


def test_there_is_at_most_one_cluster_for_every_ten_ratings_of_a_row():
    """Items without ratings do not count."""
    films = Features.from_frame({"id": range(200), "parity": ["even", "odd"] * 100})
    ratings = RATINGS.with_features(items=films)  # 20 ratings of a user, 30 of an item
    found = [
        (n_clusters(sampler.users), n_clusters(sampler.items))
        for latent_clusters, part in (
            (8, ratings),
            (2, ratings),
            (1, ratings),
            (8, ratings.take(np.arange(500))),
        )
        for sampler in [built(part.compact(True), latent_clusters)]
    ]
    assert found == [(2, 3), (2, 2), (1, 1), (1, 1)]


def test_implicit_feedback_is_weighted_without_the_rating_to_explain():
    """Users with one, two and five ratings have none, a half and four fifths of the information."""
    users, items = np.repeat([0, 1, 2], [1, 2, 5]), np.array([0, 0, 1, 0, 1, 2, 3, 4])
    of_users, _ = OneSide.both(Ratings.from_columns(users, items, np.ones(8)))
    sets = sets_without_own(of_users).toarray()
    np.testing.assert_allclose((sets**2).sum(axis=1), [0, 1 / 2, 4 / 5], rtol=1e-6)
    np.testing.assert_array_equal(sets[1:] > 0, [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])


def test_constant_ratings_and_ratings_without_times_have_neither_context_nor_drift():
    constant = RATINGS.take(np.flatnonzero(RATINGS.values == RATINGS.values[0])).compact()
    timeless = replace(RATINGS, timestamps=None).compact()
    assert len(built(RATINGS.compact(), drift=True).drifts) == 4
    for ratings in (constant, timeless):
        assert context_variables_of(ratings, NAMES) is None
        assert built(ratings, drift=True).drifts == []


def test_the_monitor_changes_only_the_history():
    ratings = RATINGS.compact()
    losses = []
    for monitored in (True, False):
        variables = context_variables_of(ratings, NAMES)
        sampler = built(ratings, drift=True, context_variables=variables)
        posterior = Posterior(sampler, 4, variables)
        pairs = ratings.users[:50], ratings.items[:50], ratings.timestamps[:50], ratings.values[:50]
        monitor = ValidationMonitor(*pairs, ratings.scale) if monitored else None
        history = draw_samples(sampler, posterior, n_samples=3, burn_in=2, monitor=monitor)
        losses.append(history.train_loss)
        assert len(history.validation_loss) == 5 * monitored
        assert posterior.n_samples == 3
    assert losses[0] == losses[1]

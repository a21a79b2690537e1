"""The mathematics of the neighbourhood model, against the formulas written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from numpy_neural_mf.models import neighbours
from numpy_neural_mf.models.interactions import Interactions
from numpy_neural_mf.models.neighbours import baselines, similarities, similarity_to, strongest, weights


def random_residuals(seed, n_users=12, n_items=9, share=0.6):
    """Return residuals, NaN without a rating, and the same as a sparse matrix."""
    rng = np.random.default_rng(seed)
    e = np.where(rng.random((n_users, n_items)) < share, rng.normal(size=(n_users, n_items)), np.nan)
    users, items = np.nonzero(~np.isnan(e))
    return e, csr_array((e[users, items], (users, items)), shape=e.shape)


def by_the_formula(e, i, j, shrinkage):
    both = ~np.isnan(e[:, i]) & ~np.isnan(e[:, j])
    n, a, b = both.sum(), e[both, i], e[both, j]
    if n < 2 or not (a @ a) * (b @ b):
        return 0.0
    return max(0.0, (n - 1) / (n - 1 + shrinkage) * (a @ b) / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_similarities_are_shrunk_correlations(seed, shrinkage):
    e, sparse = random_residuals(seed)
    n = e.shape[1]
    expected = [[0.0 if i == j else by_the_formula(e, i, j, shrinkage) for j in range(n)] for i in range(n)]
    found = similarities(sparse, shrinkage)
    assert (found.data > 0).all()
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-6)


def test_a_new_item_has_the_similarities_of_the_same_item_in_training():
    _, sparse = random_residuals(4)
    old, new = sparse[:, :6], sparse[:, 6:]
    expected = similarities(sparse, 10.0).toarray()[6:, :6]
    np.testing.assert_allclose(similarity_to(new.T.tocsr(), old, 10.0).toarray(), expected, rtol=1e-6)


def test_residuals_of_zero_make_nothing_similar():
    e = np.zeros((5, 4))
    e[:, 0] = [1, -1, 1, -1, 1]
    users, items = np.indices(e.shape).reshape(2, -1)
    assert similarities(csr_array((e.ravel(), (users, items)), shape=e.shape), 1.0).nnz == 0


def test_the_size_of_a_block_does_not_change_the_similarities(monkeypatch):
    _, sparse = random_residuals(5)
    whole = similarities(sparse, 10.0).toarray()
    monkeypatch.setattr(neighbours, "BLOCK", 20)
    np.testing.assert_array_equal(similarities(sparse, 10.0).toarray(), whole)


def test_a_pair_is_kept_if_it_is_among_the_most_similar_of_either_item(monkeypatch):
    _, sparse = random_residuals(6)
    whole = similarities(sparse, 10.0).toarray()
    monkeypatch.setattr(neighbours, "MAX_NEIGHBOURS", 2)
    few = similarities(sparse, 10.0).toarray()
    among_the_best = whole >= -np.sort(-whole, axis=1)[:, 1:2]
    np.testing.assert_array_equal(few, np.where(among_the_best | among_the_best.T, whole, 0))


levels = st.sampled_from([0, 1, 2, 3])
matrices = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=levels)


@settings(deadline=None)
@given(matrices, st.integers(1, 8))
def test_the_strongest_are_the_k_highest_and_their_equals(dense, k):
    kth = -np.sort(-dense, axis=1)[:, min(k, dense.shape[1]) - 1, None]
    np.testing.assert_array_equal(strongest(csr_array(dense), k).toarray(), np.where(dense >= kth, dense, 0))


@settings(deadline=None)
@given(matrices, st.integers(1, 8), st.sampled_from([0.0, 0.5]))
def test_weights_are_similarities_over_their_sum_and_the_damping(dense, k, damping):
    near = strongest(csr_array(dense), k).toarray()
    total = near.sum(axis=1, keepdims=True) + damping
    expected = np.divide(near, total, out=np.zeros_like(near), where=total > 0)
    np.testing.assert_allclose(weights(csr_array(dense), k, damping).toarray(), expected, rtol=1e-6)


def test_biases_minimise_the_regularised_squares():
    rng = np.random.default_rng(7)
    users, items = np.indices((30, 20), np.int32).reshape(2, -1)[:, rng.random(600) < 0.5]
    ratings = rng.normal(3, 1, len(users)).astype(np.float32)
    mean, b_u, b_i, residuals = baselines(Interactions.of(users, items, ratings, 30, 20), (4.0, 2.0))
    left = ratings - mean - b_u[users] - b_i[items]
    np.testing.assert_allclose(residuals.toarray()[users, items], left, atol=1e-6)
    np.testing.assert_allclose(np.bincount(users, left, 30), 4 * b_u, atol=1e-3)
    np.testing.assert_allclose(np.bincount(items, left, 20), 2 * b_i, atol=1e-3)

"""Latent clusters of rows: each draw is from its conditional distribution, and all sums are updated."""

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array, eye_array

from numpy_neural_mf.bayesian import FactorBlock, threads
from numpy_neural_mf.bayesian.threads import Threads

pytest.importorskip("numba")
from numpy_neural_mf.bayesian.kernels import cluster_log_likelihood

N_ROWS = 40


def a_block(row_of, n_factors=1, n_rows=N_ROWS, n_clusters=1, fields=()):
    fields = [csr_array(eye_array(n_rows)), *fields]
    rows = np.asarray(row_of, np.int32)
    return FactorBlock(rows, fields, n_factors, np.random.default_rng(0), n_clusters=n_clusters)


def partners_of(row_of, met):
    """A second block, with a separate row for each rating and with factors `met`."""
    return np.stack([row_of, np.arange(len(row_of))]), 0, met


def test_the_likelihood_of_a_cluster_is_the_likelihood_of_the_rows_ratings():
    rng = np.random.default_rng(1)
    row_of, clusters = rng.integers(0, 4, 30).astype(np.int32), np.array([0, 2, 1, 2])
    effects, residual, precision = rng.normal(size=(9, 3)), rng.normal(size=30), rng.uniform(0.5, 2, 30)
    rows, log_p = np.stack([rng.integers(4, 9, 30), row_of, rng.integers(4, 9, 30)]), np.empty((2, 4, 3))
    effect = effects[rows[0]] + effects[rows[2]]
    for part in range(2):
        given = np.array([0, 12, 30]), row_of, rows, 1, effects, clusters, precision, residual
        cluster_log_likelihood(part, *given, log_p)
    log_p = log_p.sum(axis=0)
    without = residual + effect[np.arange(30), clusters[row_of]]
    exact = np.zeros((4, 3))
    np.add.at(exact, row_of, stats.norm.logpdf(without[:, None], effect, precision[:, None] ** -0.5))
    np.testing.assert_allclose(log_p - log_p[:, :1], exact - exact[:, :1], atol=1e-10)


@pytest.mark.parametrize("part_size", [30, 1 << 14])
def test_rows_and_residual_follow_the_clusters(part_size, monkeypatch):
    monkeypatch.setattr(threads, "RATINGS_PER_PART", part_size)
    rng = np.random.default_rng(1)
    row_of, met = rng.integers(0, N_ROWS, 200), rng.normal(size=(2, 200))
    given = csr_array(rng.normal(size=(N_ROWS, 3)))
    block = a_block(row_of, n_factors=2, n_clusters=4, fields=[given])

    def predicted():
        return block.by_row[0, row_of] + (met * block.by_row[1:, row_of]).sum(axis=0)

    values, seen = rng.normal(size=200), set()
    residual = values - predicted()
    for _ in range(10):
        block.clusters.draw(partners_of(row_of, met), residual, np.ones(200), rng, Threads(2))
        np.testing.assert_allclose(predicted() + residual, values, atol=1e-12)
        e, of_clusters, of_fields = np.split(block.coefficients, [N_ROWS, N_ROWS + 4], axis=1)
        whole = e + of_clusters[:, block.clusters.of_rows] + of_fields @ given.T
        np.testing.assert_allclose(block.by_row, whole, atol=1e-12)
        seen.add(tuple(block.clusters.of_rows))
    assert len(seen) == 10


@pytest.mark.parametrize("precision", [1.0, 1e4])  # so precise that no row changes its cluster
def test_clusters_are_drawn_from_their_conditional(precision):
    """Draw own coefficients from the prior, then ratings given these, then clusters given the ratings: this
    leaves the prior invariant (Geweke, 2004, "Getting it right")."""
    n_rows, n_clusters, n = 3, 2, 16_000
    rng, row_of = np.random.default_rng(0), np.array([0, 0, 1, 1, 2, 2])
    partners, one_thread = partners_of(row_of, rng.normal(size=(1, 6))), Threads(1)
    block = a_block(row_of, n_rows=n_rows, n_clusters=n_clusters)
    block.mean[:], block.precision[:] = [[0.3, -0.2], [0.0, 0.1]], [[4.0, 1.0], [2.0, 0.5]]
    same, of_own, of_first, of_its_cluster = [], [], [], []
    e, mu = np.split(block.coefficients, [n_rows], axis=1)
    for _ in range(n):
        e[:] = block.mean[:, :1] + rng.normal(size=e.shape) / np.sqrt(block.precision[:, :1])
        block.by_row[:] = e + mu[:, block.clusters.of_rows]
        residual = rng.normal(size=6) * precision**-0.5  # for new ratings
        block.clusters.draw(partners, residual, np.full(6, precision), rng, one_thread)
        same.append(block.clusters.of_rows[0] == block.clusters.of_rows[1])
        of_own.append(e[:, 0].copy())
        of_first.append(mu[:, 0].copy())
        of_its_cluster.append(mu[:, block.clusters.of_rows[0]].copy())
    # Dirichlet(1/2, 1/2): a second row is in the cluster of the first with probability (1/2 + 1) / (1 + 1).
    assert np.mean(same) == pytest.approx(0.75, abs=0.03)
    for found, field in ((of_own, 0), (of_first, 1), (of_its_cluster, 1)):
        deviation = block.precision[:, field] ** -0.5
        standard = (np.array(found) - block.mean[:, field]) / deviation
        np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(standard.std(axis=0), 1, atol=0.08)


def test_without_clusters_a_block_has_no_cluster_state():
    block = a_block([0, 1])
    assert block.clusters is None
    assert set(block.state) == {"coefficients", "by_row", "mean", "precision", "scale"}

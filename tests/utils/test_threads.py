"""BLAS on one thread for a while: the last thread that leaves restores the former number."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from numpy_neural_mf import NeuralMF, simulate_ratings
from numpy_neural_mf.utils.threads import Threads, one_blas_thread


def n_threads():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, "blas"):
        yield n_threads()


def test_there_is_one_thread_inside_and_the_former_number_afterwards(two_threads):
    with one_blas_thread(), one_blas_thread():
        assert set(n_threads().values()) <= {1}
    assert n_threads() == two_threads


def test_threads_that_enter_and_leave_in_another_order_restore_it(two_threads):
    entered, left = Barrier(8), Barrier(8)

    def work(first):
        with one_blas_thread():
            entered.wait(timeout=30)
            if first:
                return
            left.wait(timeout=30)

    with ThreadPoolExecutor(8) as pool:
        left = Barrier(4)
        list(pool.map(work, [True] * 4 + [False] * 4))
    assert n_threads() == two_threads


def test_an_error_inside_restores_it(two_threads):
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0  # noqa: B018
    assert n_threads() == two_threads


@pytest.fixture
def no_threads(monkeypatch):
    """As in a browser, no thread can be started."""

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)


def test_calls_run_in_the_calling_thread_where_none_can_be_started(no_threads):
    with Threads(2) as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
        failed = pool.submit(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(abs, 1)


def test_a_model_learns_and_lists_without_threads(no_threads):
    ratings = simulate_ratings(n_users=50, n_items=30, n_ratings=600)
    model = NeuralMF(embedding_dim=4, hidden_layer_sizes=(), epochs=2, engine="numpy").fit(ratings)
    assert model.recommend(model.user_ids_, n=3).shape == (50, 3)

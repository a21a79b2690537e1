"""The package's uses of Numba's internals, which do not change the state of the process."""

import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest

from numpy_neural_mf.training.engines import numba_compat
from numpy_neural_mf.training.engines.numba_compat import (
    compiled,
    is_cached,
    launch,
    prefetch,
    start_threads,
)
from numpy_neural_mf.training.engines.numba_kernels import predict

FIT = """
    import sys
    from numpy_neural_mf import NeuralMF, simulate_ratings
    ratings = simulate_ratings(n_users=30, n_items=20, n_ratings=200, random_state=0)
    def fit(engine="numba"):
        settings = dict(epochs=1, hidden_layer_sizes=(), embedding_dim=2, batch_size=64)
        return NeuralMF(engine=engine, **settings).fit(ratings).history_.train_loss
"""


def run(program, **environment):
    """Return the output of a program that can call `fit`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FIT) + textwrap.dedent(program)],
        env=os.environ | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_changes_no_environment_variable_and_training_restores_them():
    program = """
        import os
        before = dict(os.environ)
        import numpy_neural_mf.bayesian.kernels, numpy_neural_mf.training.engines.numba_kernels
        assert dict(os.environ) == before
        fit()
        assert dict(os.environ) == before
        print("the same")
    """
    assert run(program) == "the same"


def test_threads_start_with_the_waiting_policy_of_the_package_unless_there_is_one(monkeypatch):
    seen = []
    monkeypatch.setattr(numba, "get_num_threads", lambda: seen.append(os.environ.get("OMP_WAIT_POLICY")) or 2)
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    start_threads()
    assert "OMP_WAIT_POLICY" not in os.environ
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    start_threads()
    assert seen == ["passive", "active"]


@pytest.mark.parametrize(("layer", "at_a_time"), [("workqueue", True), ("omp", False)])
def test_kernels_take_turns_if_threads_serve_only_one_caller(monkeypatch, layer, at_a_time):
    monkeypatch.setattr(numba, "threading_layer", lambda: layer)
    assert launch(lambda x: (x, numba_compat._one_at_a_time.locked()), 3) == (3, at_a_time)


def test_two_fits_in_threads_under_workqueue_equal_single_fits():
    program = """
        from concurrent.futures import ThreadPoolExecutor
        expected = fit()
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: fit(), range(4))) == 4 * [expected]
        print("equal")
    """
    assert run(program, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2") == "equal"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_says_that_threads_do_not_survive():
    program = """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        fit()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(fit, ("numpy",))
            try:
                pool.apply(fit)
            except RuntimeError as error:
                print(error)
    """
    assert 'start processes with multiprocessing.get_context("spawn")' in run(
        program, NUMBA_THREADING_LAYER="omp"
    )


def test_without_a_writable_folder_kernels_are_compiled_but_not_cached(monkeypatch):
    def no_locator(*given, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available for file")
        return numba.njit(*given, **options)

    monkeypatch.setattr(numba_compat, "njit", no_locator)
    doubled = compiled(lambda x: 2 * x)
    assert doubled(21) == 42
    assert not is_cached(doubled)


def test_numba_still_raises_a_runtime_error_for_caching_code_without_a_file():
    """If it were another error, `compiled` would not catch it."""
    function = eval("lambda x: x")
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(function)
    assert compiled(function)(1) == 1


def test_cached_code_is_valid_for_all_files_of_kernels_together():
    """Numba's own stamp covers one file, so a change of a function that a kernel calls would go unnoticed."""
    stamps = {name for name, *_ in predict._cache._cache_file._source_stamp}
    assert {"numba_kernels.py", "numba_layers.py", "numba_optimizers.py", "numba_rows.py"} <= stamps


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_each_number_is_called_once_with_all_arguments(layer):
    program = """
        from collections import namedtuple
        import numpy as np
        from numpy_neural_mf.training.engines.numba_compat import compiled, in_threads, inlined, start_threads

        @inlined
        def add(number, given, factor):
            given.added[number, 0] += factor * given.numbers[number]

        @compiled
        def add_all(n, given, factor):
            in_threads(add, n, (given, factor))

        Given = namedtuple("Given", "numbers added")
        start_threads()
        for n in (0, 1, 7, 1000):
            given = Given(np.arange(n + 1), np.zeros((n + 1, 2), np.float32))
            for _ in range(3):
                add_all(n, given, 2.0)
            expected = np.zeros((n + 1, 2))
            expected[:n, 0] = 6 * given.numbers[:n]
            np.testing.assert_array_equal(given.added, expected)
        print("once")
    """
    assert run(program, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == "once"


def test_a_prefetched_row_does_not_change():
    table = np.arange(40.0).reshape(2, 20)
    compiled(lambda table: prefetch(table, 1))(table)
    np.testing.assert_array_equal(table.ravel(), np.arange(40))


def test_a_process_that_compiles_and_one_that_finds_compiled_code_round_alike(tmp_path):
    program = """
        from numpy_neural_mf import A_SMALL
        found = NeuralMF(A_SMALL, epochs=2, engine="numba").fit(ratings)
        print(b"".join(value.tobytes() for value in found.parameters_.values()).hex())
    """
    first, second = (run(program, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first == second

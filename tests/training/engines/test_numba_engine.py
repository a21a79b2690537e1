"""The Numba engine: threads, tiles, per-sample steps and errors."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numba
import numpy as np
import pytest
from cases import (
    B_MEDIUM,
    N_ITEMS,
    N_TIME_BINS,
    N_USERS,
    Architecture,
    draw_objective,
    draw_parameters,
    relative_error,
    with_time_bins,
)

from numpy_neural_mf.nn import SGD, Adam
from numpy_neural_mf.training.engines import NumbaEngine, NumpyEngine
from numpy_neural_mf.training.engines.numba_layers import TILE


def draw_many(n, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    ids = (rng.integers(0, rows, n).astype(np.int32) for rows in (N_USERS, N_ITEMS))
    return *ids, rng.uniform(1, 5, n).astype(dtype)


def new_engine(
    architecture, optimizer=None, engine=NumbaEngine, dtype=np.float64, *, with_signs=False, **settings
):
    parameters = draw_parameters(architecture, dtype)
    objective = draw_objective(architecture, dtype, with_signs=with_signs)
    return engine(architecture, parameters, optimizer or Adam(0.01), objective, **settings)


def require_the_same_parameters_and_records(ours, specification):
    assert relative_error(ours.parameters, specification.parameters) <= 1e-9
    found, expected = ({"squares": e.objective.squares, **e.objective.data} for e in (ours, specification))
    assert relative_error(found, expected) <= 1e-9


@pytest.mark.parametrize("n", [1, TILE - 1, TILE, TILE + 1, 21 * TILE + 5])
def test_a_step_on_any_number_of_ratings_equals_that_of_the_numpy_engine(n):
    ours, specification = new_engine(B_MEDIUM), new_engine(B_MEDIUM, engine=NumpyEngine)
    for seed in range(3):
        batch = draw_many(n, seed)
        assert ours.step(*batch) == pytest.approx(specification.step(*batch), rel=1e-12)
    require_the_same_parameters_and_records(ours, specification)


FORMS = {
    "mlp": B_MEDIUM,
    "mf": Architecture(3),
    "time": Architecture(3, periods=N_TIME_BINS),
    "mlp in time": replace(B_MEDIUM, periods=N_TIME_BINS),
}


@pytest.mark.parametrize("architecture", FORMS.values(), ids=FORMS)
def test_any_number_of_threads_gives_the_same_bits(architecture, monkeypatch):
    results = []
    batches = [draw_many(3_000, seed, np.float32) for seed in range(5)]
    if architecture.periods:
        batches = [with_time_bins(batch) for batch in batches]
    numba.get_num_threads()  # starts them
    for n_threads in (1, 2, 3, 5):
        monkeypatch.setattr(numba, "get_num_threads", lambda n=n_threads: n)
        engine = new_engine(architecture, dtype=np.float32, with_signs=True, rng=np.random.default_rng(3))
        losses = [engine.step(*batch) for batch in batches]
        parts = engine.parameters, engine.objective.data, {"squares": engine.objective.squares}
        results.append((losses, [{name: array.tobytes() for name, array in part.items()} for part in parts]))
    assert all(result == results[0] for result in results)


def test_several_threads_may_predict_at_once():
    engine = new_engine(B_MEDIUM)
    users, items, _ = draw_many(2_000)
    with ThreadPoolExecutor(4) as pool:
        predictions = list(pool.map(lambda _: engine.predict(users, items).tobytes(), range(8)))
    assert set(predictions) == {engine.predict(users, items).tobytes()}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu"])
def test_the_approximation_of_tanh_is_accurate_to_a_few_roundings(activation):
    architecture = Architecture(1, (1,), activation, biases=False, product=False)
    parameters = draw_parameters(architecture, np.float32, n_users=2_000, n_items=1)
    parameters["user_embedding.weight"][:, 0] = np.linspace(-30, 30, 2_001)
    parameters["mlp.0.weight"][...] = [[1, 0]]
    objective = draw_objective(architecture, np.float32, n_users=2_000, n_items=1)
    users = np.arange(2_000, dtype=np.int32)
    ours, specification = (
        engine(architecture, parameters, SGD(), objective).predict(users, np.zeros_like(users))
        for engine in (NumbaEngine, NumpyEngine)
    )
    np.testing.assert_allclose(ours, specification, rtol=2e-6, atol=2e-6)


def test_a_custom_optimizer_is_refused():
    @dataclass
    class Mine(SGD):
        pass

    with pytest.raises(TypeError, match='engine "numba" has no compiled Mine: use engine "numpy"'):
        new_engine(B_MEDIUM, Mine())


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "numpy-neural-mf\[fast\]"'):
        new_engine(B_MEDIUM)


def test_per_sample_steps_of_plain_matrix_factorisation_run_in_one_loop(monkeypatch):
    def step(*batch):
        raise AssertionError("a batch of one was made")

    monkeypatch.setattr(NumbaEngine, "step", step)
    new_engine(Architecture(3), SGD(0.01)).step_per_sample(*draw_many(100))
    for architecture, optimizer in ((B_MEDIUM, SGD(0.01)), (Architecture(3), Adam())):
        with pytest.raises(AssertionError, match="a batch of one was made"):
            new_engine(architecture, optimizer).step_per_sample(*draw_many(100))


@pytest.mark.parametrize("k", [1, 7, 8, 16, 33, 64])
def test_per_sample_steps_with_any_number_of_factors_equal_the_numpy_engine_s(k):
    ours, specification = (
        new_engine(Architecture(k), SGD(0.005), engine=engine) for engine in (NumbaEngine, NumpyEngine)
    )
    batch = draw_many(300)
    assert ours.step_per_sample(*batch) == pytest.approx(specification.step_per_sample(*batch), rel=1e-9)
    require_the_same_parameters_and_records(ours, specification)


def test_the_loss_of_per_sample_steps_shows_divergence():
    with np.errstate(over="ignore", invalid="ignore"):
        loss = new_engine(Architecture(8), SGD(10.0), dtype=np.float32).step_per_sample(
            *draw_many(2_000, dtype=np.float32)
        )
    assert not np.isfinite(loss)

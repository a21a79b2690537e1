"""CUDA graphs: shapes that do not depend on the ids, and replayed steps that equal ordinary ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import (
    B_MEDIUM,
    N_TIME_BINS,
    draw_batch,
    in_categories,
    require_resumed_to_the_bit,
    with_previous_items,
    with_time_bins,
)
from hypothesis import given
from hypothesis import strategies as st
from torch_engines import new_engine, require_same_records

from numpy_neural_mf import Architecture, NeuralMF, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.nn import SGD, AdaGrad, Adam, AdamW, RMSProp
from numpy_neural_mf.training.engines import torch_device
from numpy_neural_mf.training.engines.torch_lookup import distinct_of_fixed_shape

NO_CUDA = not torch.cuda.is_available()
on_cuda = pytest.mark.skipif(NO_CUDA, reason="no CUDA device here: not run")
# Batches of one length, so that one graph is captured and replayed, and a shorter one to end an epoch.
EPOCH = [draw_batch(seed, n, np.float32) for seed, n in enumerate([64, 64, 64, 64, 64, 64, 64, 17])]


# Tables whose last row stands for the unknown.
UNKNOWN_LAST = [f"{side}_{kind}.weight" for side in ("user", "item") for kind in ("embedding", "bias")]


class StepsTakenEach:
    """Replaces graphs, which do not exist on a CPU."""

    def take(self, step, *batch):
        return step(*batch)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30))
def test_distinct_rows_equal_those_of_unique_and_the_rest_is_the_unknown(ids):
    ids, n_rows = torch.tensor(ids, dtype=torch.int32), 10
    rows, positions, counts = distinct_of_fixed_shape(ids, n_rows)
    assert len(rows) == len(counts) == min(len(ids), n_rows)
    expected = torch.unique(ids, return_inverse=True, return_counts=True)
    n = len(expected[0])
    for found, wanted in zip((rows[:n], positions, counts[:n]), expected, strict=True):
        assert found.tolist() == wanted.tolist()
    assert (rows[n:] == n_rows - 1).all()
    assert not counts[n:].any()


@pytest.mark.parametrize("previous_item", [False, True])
@pytest.mark.parametrize("periods", [0, N_TIME_BINS])
@pytest.mark.parametrize("make", [Adam, AdamW, lambda: SGD(0.01, momentum=0.9), RMSProp])
@pytest.mark.parametrize("n", [3, 64, 500])
def test_a_step_with_fixed_shapes_equals_the_ordinary_step(make, n, periods, previous_item):
    """Fewer ids than rows, about as many, and more; time bins without ratings keep rows and state."""
    form = replace(B_MEDIUM, periods=periods, previous_item=previous_item)
    engines = [new_engine(form, make(), signs=True) for _ in range(2)]
    engines[1]._graphs = StepsTakenEach()
    engines[1]._shares_memory = False  # copies, as on a device
    for seed in range(5):
        batch = draw_batch(seed, n, np.float32)
        batch = with_time_bins(batch, seed) if periods else batch
        batch = with_previous_items(batch, seed) if previous_item else batch
        assert engines[0].step(*batch) == pytest.approx(engines[1].step(*batch), rel=1e-5)
    engines[1].fetch()
    require_same_records(engines[1].objective, engines[0].objective, rtol=1e-3)
    for name, value in engines[0].parameters.items():
        # The row of the unknown is not learned, but filled in before it is read.
        known = slice(-1) if name in UNKNOWN_LAST else slice(None)
        np.testing.assert_allclose(engines[1].parameters[name][known], value[known], rtol=1e-4, atol=1e-6)
        remembered, expected = (engine.optimizer.state[name] for engine in engines[::-1])
        assert remembered["step"] == expected["step"] == 5
        for slot in engines[0].optimizer.slots:
            found = remembered[slot][known]
            np.testing.assert_allclose(found, expected[slot][known], rtol=1e-3, atol=1e-5)


@pytest.fixture
def soon(monkeypatch):
    """Let steps be captured soon."""
    monkeypatch.setattr(torch_device, "WARM_UP", 3)


def cuda_and_cpu(architecture, make, **settings):
    """Return losses of five epochs and the engine, on the device and on the host, without random signs."""
    outcomes = []
    for device in ("cuda", "cpu"):
        engine = new_engine(architecture, make(), on={"device": device}, **settings)
        losses = []
        for epoch in range(5):
            for batch in EPOCH:
                engine.optimizer.learning_rate = 0.01 / (1 + epoch)  # read again by a graph
                losses.append(float(engine.step(*batch)))
        engine.fetch()
        outcomes.append((losses, engine))
    return outcomes


@on_cuda
@pytest.mark.parametrize("make", [Adam, AdamW, lambda: SGD(momentum=0.9), RMSProp, AdaGrad])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_replayed_steps_equal_those_on_the_cpu(soon, make, weight_decay):
    (there, cuda), (here, cpu) = cuda_and_cpu(B_MEDIUM, make, weight_decay=weight_decay)
    assert (cuda._graphs is None) == (make is AdaGrad)
    if cuda._graphs is not None:
        assert set(cuda._graphs._captured) == {64, 17}
    np.testing.assert_allclose(there, here, rtol=1e-3)
    for name, value in cpu.parameters.items():
        known = slice(-1) if name in UNKNOWN_LAST else slice(None)
        np.testing.assert_allclose(cuda.parameters[name][known], value[known], rtol=1e-2, atol=1e-3)
    require_same_records(cuda.objective, cpu.objective, rtol=1e-2)


@on_cuda
def test_replayed_steps_on_ordinal_ratings_equal_those_on_the_cpu(soon, monkeypatch):
    monkeypatch.setitem(globals(), "EPOCH", [in_categories(batch) for batch in EPOCH])
    form = replace(B_MEDIUM, likelihood="ordinal")
    (there, cuda), (here, cpu) = cuda_and_cpu(form, Adam)
    assert set(cuda._graphs._captured) == {64, 17}
    np.testing.assert_allclose(there, here, rtol=1e-3)
    np.testing.assert_allclose(cuda.parameters["cutpoints"], cpu.parameters["cutpoints"], rtol=1e-2)


@on_cuda
def test_replayed_steps_with_time_equal_those_on_the_cpu(soon, monkeypatch):
    batches = [with_time_bins(batch, seed) for seed, batch in enumerate(EPOCH)]
    monkeypatch.setitem(globals(), "EPOCH", batches)
    (there, cuda), (here, cpu) = cuda_and_cpu(replace(B_MEDIUM, periods=N_TIME_BINS), Adam)
    assert len(cuda._graphs._captured) == 2
    np.testing.assert_allclose(there, here, rtol=1e-3)
    for name, value in cpu.parameters.items():
        if "_time_" in name:
            np.testing.assert_allclose(cuda.parameters[name], value, rtol=1e-2, atol=1e-3)


@on_cuda
def test_replayed_steps_read_data_sent_after_their_capture(soon):
    outcomes = []
    for device in ("cuda", "cpu"):
        engine = new_engine(optimizer=SGD(0.1), on={"device": device})
        for _ in range(8):
            engine.step(*EPOCH[0])
        engine.fetch()
        o = engine.objective
        of_tables = [*o.prior.values(), *o.precision.values(), *o.variance.values()]
        of_tables += o.data.values()
        for array in [*of_tables, *engine.parameters.values(), o.weight, o.noise, o.squares]:
            array *= 0.5
        engine.send()
        outcomes.append([float(engine.step(*EPOCH[0])) for _ in range(3)])
        engine.fetch()
        outcomes[-1] += [*o.squares, *o.data["user_embedding.weight"].ravel()]
    np.testing.assert_allclose(*outcomes, rtol=1e-3)


@on_cuda
@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_other_precisions_reach_the_error_of_float32(soon, precision):
    train, test = random_split(simulate_ratings(300, 200, 20_000, random_state=0), random_state=0)
    errors, losses = [], []
    for name in ("float32", precision):
        fitted = NeuralMF(engine="torch", device="cuda", precision=name, epochs=4).fit(train)
        errors.append(rmse(fitted.predict(test.raw_users, test.raw_items), test.values))
        losses.append(fitted.history_.train_loss)
    assert errors[1] == pytest.approx(errors[0], abs=0.002)
    assert losses[0] != losses[1]


@on_cuda
def test_a_replayed_step_draws_new_signs_and_the_same_signs_for_the_same_key(soon):
    losses = []
    for _ in range(2):
        engine = new_engine(optimizer=SGD(0.0), on={"device": "cuda"}, signs=True)
        losses.append([float(engine.step(*EPOCH[0])) for _ in range(8)])
        assert engine._graphs._captured
    assert len(set(losses[0])) == 8
    assert losses[0] == losses[1]


@on_cuda
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_same_seed_gives_the_same_bits(soon, precision):
    ratings = simulate_ratings(300, 200, 20_000, random_state=0)
    models = [
        NeuralMF(engine="torch", device="cuda", precision=precision, epochs=3, batch_size=4096).fit(ratings)
        for _ in range(2)
    ]
    for name, value in models[0].parameters_.items():
        assert models[1].parameters_[name].tobytes() == value.tobytes()


@on_cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_interrupted_training_ends_bit_for_bit_like_an_undisturbed_one(soon, tmp_path, precision):
    ratings = simulate_ratings(300, 200, 20_000, random_state=0)
    settings = {"engine": "torch", "device": "cuda", "precision": precision, "epochs": 5, "batch_size": 4096}
    require_resumed_to_the_bit(lambda: NeuralMF(**settings), ratings, tmp_path)


@on_cuda
@pytest.mark.parametrize(
    "settings",
    [
        {"implicit": True},
        {"periods": 5, "drift": True},
        {"periods": 5, "drift": True, "previous_item": True},
        {"periods": 5, "implicit": True, "likelihood": "ordinal"},
    ],
    ids=str,
)
def test_a_whole_model_learns_the_same_on_the_device_as_on_the_cpu(settings):
    ratings = simulate_ratings(60, 40, 900, random_state=0)
    ratings = replace(ratings, timestamps=np.arange(len(ratings)))
    form = Architecture(embedding_dim=8, **settings)  # the device would draw other signs
    errors = [
        NeuralMF(form, engine="torch", device=device, epochs=3, batch_size=300)
        .fit(ratings)
        .history_.train_loss[-1]
        for device in ("cuda", "cpu")
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


@on_cuda
def test_ratings_that_do_not_fit_are_sent_one_batch_ahead(monkeypatch):
    ratings = simulate_ratings(300, 200, 20_000, random_state=0)
    settings = {"engine": "torch", "device": "cuda", "epochs": 3, "batch_size": 1024}
    resident = NeuralMF(**settings).fit(ratings)
    monkeypatch.setattr(torch_device, "fits", lambda n_bytes, device: False)
    sent = NeuralMF(**settings).fit(ratings)
    assert sent.history_.train_loss == resident.history_.train_loss
    assert sent.parameters_["intercept"].tobytes() == resident.parameters_["intercept"].tobytes()

"""Specifics of the PyTorch engine: names, memory, devices, precision, and resuming from another engine."""

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from cases import (
    A_SMALL,
    ARCHITECTURES,
    B_MEDIUM,
    N_ITEMS,
    N_TIME_BINS,
    N_USERS,
    CutOffError,
    cut_off,
    draw_batch,
    draw_parameters,
    in_categories,
    require_resumed_to_the_bit,
    with_time_bins,
)
from torch_engines import new_engine, objective_of, require_same_records

from numpy_neural_mf import Architecture, NeuralMF, load_model, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.nn import SGD, AdaGrad, Adam, RMSProp
from numpy_neural_mf.training.engines import ENGINES, NumpyEngine
from numpy_neural_mf.training.engines.torch_engine import TorchEngine
from numpy_neural_mf.training.engines.torch_module import NeuralMFModule

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0)
NO_GPU = not (torch.cuda.is_available() or torch.backends.mps.is_available())


def model(**settings):
    return NeuralMF(**{"embedding_dim": 4, "epochs": 6, "batch_size": 100} | settings)


def elsewhere(engine):
    """Return an engine on the CPU whose tensors are copies of the arrays, as on a device."""
    engine._shares_memory = False
    return engine


FORMS = ARCHITECTURES | {
    "ordinal": Architecture(embedding_dim=4, likelihood="ordinal"),
    "ordinal with an MLP": replace(B_MEDIUM, likelihood="ordinal"),
    "periods": Architecture(embedding_dim=4, periods=N_TIME_BINS),
    "periods and an MLP": replace(B_MEDIUM, periods=N_TIME_BINS),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("is_copied", [False, True])
def test_losses_gradients_squares_and_data_equal_those_of_numpy(monkeypatch, form, is_copied):
    """A step of SGD at rate 1 shows the gradient; both engines get the same signs."""
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (40, 2 * form.embedding_dim))
    monkeypatch.setattr(NumpyEngine, "_signs", lambda *given: signs)
    of_torch = torch.from_numpy(signs) if form.n_layers else None
    monkeypatch.setattr(TorchEngine, "_signs", lambda *given: of_torch)
    ours = NumpyEngine(form, draw_parameters(form), SGD(1.0), objective_of(form, signs=True))
    theirs = new_engine(form, SGD(1.0), np.float64, signs=True)
    theirs = elsewhere(theirs) if is_copied else theirs
    batch = draw_batch(n=40)
    batch = in_categories(batch) if form.likelihood == "ordinal" else batch
    batch = with_time_bins(batch) if form.periods else batch
    expected, found = ours.step(*batch), theirs.step(*batch)
    assert found == pytest.approx(expected, rel=1e-10)
    theirs.fetch()
    first = draw_parameters(form)
    for name, value in ours.parameters.items():
        gradient = theirs.parameters[name] - first[name]
        np.testing.assert_allclose(gradient, value - first[name], rtol=1e-9, atol=1e-12)
    require_same_records(theirs.objective, ours.objective)


def test_weights_of_the_mlp_decay_as_in_numpy():
    engines = [
        NumpyEngine(B_MEDIUM, draw_parameters(B_MEDIUM), Adam(0.1), objective_of(weight_decay=0.5)),
        new_engine(optimizer=Adam(0.1), dtype=np.float64, weight_decay=0.5),
    ]
    for seed in range(3):
        for engine in engines:
            engine.step(*draw_batch(seed))
    for name, value in engines[0].parameters.items():
        np.testing.assert_allclose(engines[1].parameters[name], value, rtol=1e-9, atol=1e-12)


def test_a_weight_of_the_mlp_that_decays_to_almost_nothing_is_zero():
    """The weight has no gradient, as nothing reads its unit."""
    outcomes = []
    for new in (NumpyEngine, ENGINES["torch"]):
        parameters = draw_parameters(B_MEDIUM)
        parameters["mlp.0.weight"][0, :2] = 1.5e-12, -1.5e-12
        parameters["mlp.0.weight"][0, 2] = 1e-6
        parameters["mlp.1.weight"][:, 0] = 0
        engine = new(B_MEDIUM, parameters, SGD(0.5), objective_of(weight_decay=1.0))
        engine.step(*draw_batch())
        outcomes.append(parameters["mlp.0.weight"][0, :3])
    for found in outcomes:
        np.testing.assert_allclose(found, [0, 0, 5e-7])


def test_a_rating_counts_at_most_ten_times_for_its_share_in_its_own_prediction():
    engines = [
        NumpyEngine(form := Architecture(4), draw_parameters(form), SGD(0.0), objective_of(form)),
        new_engine(form, SGD(0.0), np.float64),
    ]
    for engine in engines:
        engine.objective.noise[0] = 1e-3
        engine.step(*draw_batch())
    require_same_records(engines[1].objective, engines[0].objective)


def test_changes_between_epochs_are_sent_to_copies():
    """Parameters, every array of the objective, and, with drift, ratings."""
    form = Architecture(embedding_dim=4, drift=True)
    columns, rows = draw_batch(dtype=np.float32), np.arange(16)
    outcomes = []
    for engine in (new_engine(form), elsewhere(new_engine(form))):
        engine.step(*next(iter(engine.cut(columns, rows, 16))))
        engine.fetch()
        o = engine.objective
        arrays = [*o.prior.values(), *o.precision.values(), *o.variance.values(), o.weight, o.noise]
        for array in [*arrays, *engine.parameters.values(), columns[2]]:
            array *= 1.5
        before = [o.squares.copy(), *(data.copy() for data in o.data.values())]
        for recorded in (o.squares, *o.data.values()):
            recorded[:] = 0
        engine.send()
        loss = engine.step(*next(iter(engine.cut(columns, rows, 16))))
        engine.fetch()
        for array in [*arrays, columns[2]]:
            array /= 1.5
        learned = engine.parameters["user_embedding.weight"][:-1].copy()
        outcomes.append((loss, learned, *before, o.squares.copy(), *o.data.values()))
    for found, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_unknown_row_of_copies_is_the_mean_of_the_others():
    engine = elsewhere(new_engine(Architecture(embedding_dim=4), dtype=np.float64))
    engine.step(*draw_batch())
    engine.fetch()
    engine.send()
    p = engine.parameters
    of_item = {name: p[name][2] for name in ("item_embedding.weight", "item_bias.weight")}
    of_unknown = {name: p[name][:-1].mean(axis=0) for name in ("user_embedding.weight", "user_bias.weight")}
    expected = p["intercept"] + of_unknown["user_bias.weight"] + of_item["item_bias.weight"]
    expected += of_unknown["user_embedding.weight"] @ of_item["item_embedding.weight"]
    found = engine.predict(np.array([N_USERS], np.int32), np.array([2], np.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Settings of a model by name; ratings have times.
MODELS = {
    "products": {},
    "biases": {"product": False},
    "ordinal": {"likelihood": "ordinal"},
    "sets": {"implicit": True},
    "time": {"periods": 5, "drift": True},
    "sets and time": {"implicit": True, "periods": 5, "drift": True},
}


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("is_copied", [False, True])
def test_a_model_equals_that_of_numpy(monkeypatch, settings, is_copied):
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900, drift=0.4, random_state=0)
    if is_copied:
        copy_always(monkeypatch)
    of_both = {"hidden_layer_sizes": (), "learning_rate": 0.05, "random_state": 0} | settings
    ours, theirs = (
        model(engine=engine, **on, **of_both).fit(ratings, validation=ratings.part(slice(0, 200)))
        for engine, on in (("numpy", {}), ("torch", {"device": "cpu"}))
    )
    for losses in ("train_loss", "expected_loss", "validation_loss"):
        found, expected = (getattr(m.history_, losses) for m in (theirs, ours))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    pairs = ratings.raw_users, ratings.raw_items
    np.testing.assert_allclose(theirs.predict(*pairs), ours.predict(*pairs), atol=1e-4)
    for name, value in ours.variances_.items():
        np.testing.assert_allclose(theirs.variances_[name], value, rtol=1e-3)


def test_the_state_dict_has_the_package_s_names_shapes_and_memory():
    parameters = draw_parameters(B_MEDIUM, np.float32)
    module = NeuralMFModule(B_MEDIUM, {name: torch.from_numpy(value) for name, value in parameters.items()})
    state = module.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == B_MEDIUM.parameter_shapes(
        N_USERS, N_ITEMS
    )
    for name, value in parameters.items():
        assert state[name].data_ptr() == value.ctypes.data


def test_on_the_cpu_moments_are_learned_in_the_optimizer_s_own_arrays():
    optimizer = Adam(0.01)
    optimizer.state = {
        name: optimizer.new_state(value) for name, value in draw_parameters(B_MEDIUM, np.float32).items()
    }
    given = {name: state["mean"] for name, state in optimizer.state.items()}
    engine = new_engine(optimizer=optimizer)
    for n in range(3):
        engine.step(*draw_batch(dtype=np.float32))
        assert {float(state["step"]) for state in optimizer.state.values()} == {n + 1}
    for name, mean in given.items():
        assert optimizer.state[name]["mean"] is mean
        assert mean.any()


@pytest.mark.parametrize("make", [Adam, AdaGrad, RMSProp, lambda: SGD(0.01, momentum=0.9, nesterov=True)])
@pytest.mark.parametrize("first", ENGINES)
def test_an_engine_continues_with_the_moments_of_another(first, make):
    """Five steps of one engine and five of PyTorch's equal ten of NumPy's."""
    optimizer, parameters = make(), draw_parameters(B_MEDIUM)
    specification = NumpyEngine(B_MEDIUM, draw_parameters(B_MEDIUM), make(), objective_of())
    for name, seeds in ((first, range(5)), ("torch", range(5, 10))):
        engine = ENGINES[name](B_MEDIUM, parameters, optimizer, objective_of())
        for seed in seeds:
            assert engine.step(*draw_batch(seed)) == pytest.approx(specification.step(*draw_batch(seed)))
    for name, value in specification.parameters.items():
        np.testing.assert_allclose(parameters[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", ENGINES)
@pytest.mark.parametrize("second", ENGINES)
def test_a_checkpoint_of_one_engine_resumes_with_another(tmp_path, first, second):
    settings = {"hidden_layer_sizes": (), "learning_rate": 0.01}
    with pytest.raises(CutOffError):
        model(engine=first, **settings).fit(RATINGS, on_progress=cut_off, checkpoint_dir=tmp_path)
    resumed = model(engine=second, **settings).fit(RATINGS, checkpoint_dir=tmp_path)
    undisturbed = model(engine="numpy", **settings).fit(RATINGS)
    np.testing.assert_allclose(resumed.history_.train_loss, undisturbed.history_.train_loss, rtol=1e-4)
    for name, value in undisturbed.parameters_.items():
        np.testing.assert_allclose(resumed.parameters_[name], value, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_interrupted_training_ends_bit_for_bit_like_an_undisturbed_one(tmp_path, precision):
    """This includes random signs, moments and the loss scale."""
    settings = {"engine": "torch", "device": "cpu", "precision": precision, "hidden_layer_sizes": (8,)}
    require_resumed_to_the_bit(lambda: model(**settings), RATINGS, tmp_path)


def test_each_step_draws_new_signs_and_keeps_the_mean():
    """With one linear unit, r̂ is linear in the signs, so its mean over many signs is r̂ of the means."""
    form = Architecture(1, (1,), activation="identity", biases=False, product=False)
    n = 40_000
    batch = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n)
    engines = [new_engine(form, SGD(0.0), np.float64, signs=signs) for signs in (True, False)]
    losses = [[engine.step(*batch) for _ in range(3)] for engine in engines]
    assert len(set(losses[0])) == 3
    assert len(set(losses[1])) == 1
    assert losses[0][0] > losses[1][0]  # by the variance of r̂
    gradients = []
    for engine in engines:
        engine.optimizer.learning_rate = 1.0
        before = engine.parameters["intercept"].copy()
        engine.step(*batch)
        gradients.append(float(before[0] - engine.parameters["intercept"][0]))  # 2 w mean(r̂)
    assert gradients[0] == pytest.approx(gradients[1], abs=0.01)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_reach_the_error_of_32(precision):
    train, test = random_split(simulate_ratings(100, 60, 3_000, random_state=0), random_state=0)
    errors, losses = [], []
    for name in ("float32", precision):
        fitted = model(engine="torch", device="cpu", precision=name, hidden_layer_sizes=(16,), epochs=3).fit(
            train
        )
        errors.append(rmse(fitted.predict(test.raw_users, test.raw_items), test.values))
        losses.append(fitted.history_.train_loss)
        assert {value.dtype for value in fitted.parameters_.values()} == {np.dtype(np.float32)}
    assert errors[1] == pytest.approx(errors[0], abs=0.002)
    assert losses[0] != losses[1]


def test_a_rating_that_is_predicted_exactly_is_recorded_as_numpy_does():
    """Its loss has zero slope, so the derivatives of r̂ cannot be computed from it."""
    form, (users, items, ratings) = Architecture(4), draw_batch()
    objectives = []
    for new in (NumpyEngine, ENGINES["torch"]):
        zero = {name: np.zeros_like(value) for name, value in draw_parameters(form).items()}
        engine = new(form, zero, SGD(1.0), objective_of(form))
        engine.step(users, items, np.where(users == users[0], 0.0, ratings))
        objectives.append(engine.objective)
    require_same_records(*objectives[::-1])


@pytest.mark.parametrize(("precision", "rtol"), [("bfloat16", 0.1), ("float16", 0.01)])
def test_16_bits_record_the_same_as_32(precision, rtol):
    engines = [new_engine(A_SMALL, SGD(0.0), on={"precision": name}) for name in ("float32", precision)]
    users, items, ratings = draw_batch(n=64, dtype=np.float32)
    for engine in engines:
        engine.step(users, items, ratings)
    require_same_records(engines[1].objective, engines[0].objective, rtol)


def test_if_the_scaled_loss_overflows_the_step_is_skipped_and_the_scale_halved():
    engine = new_engine(on={"precision": "float16"})
    before = {name: value.copy() for name, value in engine.parameters.items()}
    users, items, _ = draw_batch()
    engine.step(users, items, np.full(len(users), 1e6, np.float32))
    for name, value in engine.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    engine.fetch()
    assert engine.optimizer.state["loss_scale"]["scale"] == 2.0**15
    assert all(np.isfinite(data).all() for data in engine.objective.data.values())
    for seed in range(8):  # until the scale is small enough
        engine.step(*draw_batch(seed, dtype=np.float32))
    assert all((value != before[name]).any() for name, value in engine.parameters.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps, not 'tpu'"),
        ({"precision": "int8"}, "precision must be one of float32, tf32, bfloat16, float16, not 'int8'"),
        ({"engine": "numpy", "device": "cpu"}, "device 'cpu' is for engine \"torch\", not for 'numpy'"),
        ({"engine": "auto", "precision": "bfloat16"}, "precision 'bfloat16' is for engine \"torch\""),
    ],
)
def test_an_invalid_device_or_precision_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NeuralMF(**{"engine": "torch"} | settings)


def test_tf32_is_for_cuda():
    with pytest.raises(ValueError, match='precision "tf32" is for device "cuda", not for \'cpu\''):
        new_engine(on={"device": "cpu", "precision": "tf32"})


def test_a_share_of_a_batch_is_for_many_processes():
    batch = draw_batch(dtype=np.float32)
    with pytest.raises(ValueError, match="with many processes, a share of a batch"):
        new_engine().step(*batch, None, None, np.ones(len(batch[0]), bool))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_unavailable_device_is_refused_before_training():
    with pytest.raises(ValueError, match=r"device must be one that PyTorch finds here .*cpu.*, not 'cuda'"):
        model(engine="torch", device="cuda").fit(RATINGS)


def test_device_and_precision_are_saved_with_the_model(tmp_path):
    fitted = model(engine="torch", device="cpu", precision="bfloat16", epochs=1).fit(RATINGS)
    fitted.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.engine, loaded.device, loaded.precision) == ("torch", "cpu", "bfloat16")
    np.testing.assert_array_equal(loaded.predict([1, 2], [3, 4]), fitted.predict([1, 2], [3, 4]))


def test_a_custom_optimizer_is_refused():
    @dataclass
    class Mine(SGD):
        pass

    with pytest.raises(TypeError, match='engine "torch" has no Mine in PyTorch: use engine "numpy"'):
        new_engine(optimizer=Mine())


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy_neural_mf.training.engines.torch_engine")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "numpy-neural-mf\[torch\]"'):
        new_engine()


def copy_always(monkeypatch):
    """Let models use engines from `elsewhere`."""
    new = TorchEngine.__init__

    def of_copies(engine, *given, **more):
        new(engine, *given, **more)
        elsewhere(engine)

    monkeypatch.setattr(TorchEngine, "__init__", of_copies)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop", "sgd"])
def test_copies_elsewhere_are_fetched_for_validation_saving_and_resuming(tmp_path, monkeypatch, optimizer):
    settings = {"engine": "torch", "device": "cpu", "optimizer": optimizer, "hidden_layer_sizes": (8,)}
    held_out = RATINGS.part(slice(0, 200))
    expected = model(**settings).fit(RATINGS, held_out)
    copy_always(monkeypatch)
    undisturbed = model(**settings).fit(RATINGS, held_out)
    with pytest.raises(CutOffError):
        model(**settings).fit(RATINGS, held_out, on_progress=cut_off, checkpoint_dir=tmp_path)
    resumed = model(**settings).fit(RATINGS, held_out, checkpoint_dir=tmp_path)
    assert resumed.history_.train_loss == undisturbed.history_.train_loss
    assert resumed.history_.validation_loss == undisturbed.history_.validation_loss
    # Sums by row have another order.
    for losses in ("train_loss", "expected_loss", "validation_loss"):
        found, wanted = (getattr(m.history_, losses) for m in (undisturbed, expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for name, value in expected.parameters_.items():
        assert resumed.parameters_[name].tobytes() == undisturbed.parameters_[name].tobytes()
        np.testing.assert_allclose(undisturbed.parameters_[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(NO_GPU, reason="no GPU here: not run")
@pytest.mark.parametrize("optimizer", [Adam, AdaGrad, RMSProp, SGD])
def test_on_a_gpu_ten_steps_equal_those_on_the_cpu(optimizer):
    engines = [new_engine(optimizer=optimizer(), on={"device": device}) for device in ("auto", "cpu")]
    for seed in range(10):
        losses = [float(engine.step(*draw_batch(seed, dtype=np.float32))) for engine in engines]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    engines[0].fetch()
    for name, value in engines[1].parameters.items():
        np.testing.assert_allclose(engines[0].parameters[name], value, rtol=1e-3, atol=1e-4)
        for slot in engines[1].optimizer.slots:
            np.testing.assert_allclose(
                engines[0].optimizer.state[name][slot], engines[1].optimizer.state[name][slot], atol=1e-4
            )


@pytest.mark.skipif(NO_GPU, reason="no GPU here: not run")
def test_on_a_gpu_a_model_reaches_the_error_of_the_cpu():
    train, test = random_split(simulate_ratings(n_users=300, n_items=150, n_ratings=12_000), random_state=0)
    errors = []
    for device in ("auto", "cpu"):
        fitted = NeuralMF(engine="torch", device=device, epochs=4).fit(train)
        errors.append(rmse(fitted.predict(test.raw_users, test.raw_items), test.values))
    assert errors[0] == pytest.approx(errors[1], abs=0.002)

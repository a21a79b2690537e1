"""What is PyTorch's engine's own: names, memory, devices, precision, going on where another engine was."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from cases import (
    B_MEDIUM,
    N_ITEMS,
    N_USERS,
    Architecture,
    CutOffError,
    cut_off,
    draw_batch,
    draw_objective,
    draw_parameters,
    require_resumed_to_the_bit,
)

from numpy_neural_mf import NeuralMF, load_model, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.nn import SGD, AdaGrad, Adam, RMSProp
from numpy_neural_mf.training.engines import ENGINES, NumpyEngine, new_torch_engine
from numpy_neural_mf.training.engines.torch_engine import TorchEngine
from numpy_neural_mf.training.engines.torch_module import NeuralMFModule

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0)
NO_GPU = not (torch.cuda.is_available() or torch.backends.mps.is_available())


def new_engine(architecture=B_MEDIUM, optimizer=None, dtype=np.float32, **settings):
    parameters = draw_parameters(architecture, dtype)
    return new_torch_engine(
        architecture, parameters, optimizer or Adam(0.01), draw_objective(architecture, dtype), **settings
    )


def model(**settings):
    return NeuralMF(**{"embedding_dim": 4, "epochs": 6, "batch_size": 100, "patience": None} | settings)


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


@pytest.mark.parametrize(
    "make", [Adam, AdaGrad, RMSProp, lambda: SGD(0.01, momentum=0.9, nesterov=True)], ids=str
)
@pytest.mark.parametrize("first", ENGINES)
def test_an_engine_goes_on_with_the_moments_of_another(first, make):
    """Five steps of one and five of PyTorch's are ten of NumPy's."""
    optimizer, parameters = make(), draw_parameters(B_MEDIUM)
    specification = NumpyEngine(B_MEDIUM, draw_parameters(B_MEDIUM), make(), draw_objective())
    for name, seeds in ((first, range(5)), ("torch", range(5, 10))):
        engine = ENGINES[name](B_MEDIUM, parameters, optimizer, draw_objective())
        for seed in seeds:
            assert engine.step(*draw_batch(seed)) == pytest.approx(specification.step(*draw_batch(seed)))
    for name, value in specification.parameters.items():
        np.testing.assert_allclose(parameters[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("first", ENGINES)
@pytest.mark.parametrize("second", ENGINES)
def test_a_checkpoint_of_one_engine_goes_on_with_another(tmp_path, first, second):
    settings = {"hidden_layer_sizes": (8,), "dropout": 0.0, "learning_rate": 0.01}
    with pytest.raises(CutOffError):
        model(engine=first, **settings).fit(RATINGS, on_progress=cut_off, checkpoint_dir=tmp_path)
    resumed = model(engine=second, **settings).fit(RATINGS, checkpoint_dir=tmp_path)
    undisturbed = model(engine="numpy", **settings).fit(RATINGS)
    np.testing.assert_allclose(resumed.history_.train_loss, undisturbed.history_.train_loss, rtol=1e-4)
    for name, value in undisturbed.parameters_.items():
        np.testing.assert_allclose(resumed.parameters_[name], value, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_training_cut_off_ends_as_an_undisturbed_one_to_the_bit(tmp_path, precision):
    """Dropout, moments and the scale of the loss included."""
    settings = {"engine": "torch", "device": "cpu", "precision": precision, "hidden_layer_sizes": (8,)}
    require_resumed_to_the_bit(lambda: model(**settings), RATINGS, tmp_path)


def test_each_step_drops_other_units_and_keeps_the_mean():
    """With one linear unit r̂ is linear in the masks, so over many its mean is that without dropout."""
    form = {"hidden_layer_sizes": (1,), "activation": "identity", "biases": False, "product": False}
    n = 40_000
    batch = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n)
    engines = [new_engine(Architecture(1, dropout=d, **form), SGD(0.0), np.float64) for d in (0.25, 0.0)]
    losses = [engines[0].step(*batch) for _ in range(3)]
    assert len(set(losses)) == 3
    gradients = []
    for engine in engines:
        engine.optimizer.learning_rate = 1.0
        before = engine.parameters["intercept"].copy()
        engine.step(*batch)
        gradients.append(
            float(before[0] - engine.parameters["intercept"][0])
        )  # 2 mean(r̂), the ratings are zero
    assert gradients[0] == pytest.approx(gradients[1], abs=0.04)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_reach_the_error_of_thirty_two(precision):
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


def test_where_the_scaled_loss_overflows_the_step_is_left_out_and_the_scale_halved():
    engine = new_engine(precision="float16")
    before = {name: value.copy() for name, value in engine.parameters.items()}
    users, items, _ = draw_batch()
    engine.step(users, items, np.full(len(users), 1e6, np.float32))
    for name, value in engine.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    engine.fetch()
    assert engine.optimizer.state["loss_scale"]["scale"] == 2.0**15
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
def test_a_device_or_precision_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NeuralMF(**{"engine": "torch"} | settings)


def test_tf32_is_for_cuda():
    with pytest.raises(ValueError, match='precision "tf32" is for device "cuda", not for \'cpu\''):
        new_engine(device="cpu", precision="tf32")


def test_a_share_of_a_batch_is_for_many_processes():
    batch = draw_batch(dtype=np.float32)
    with pytest.raises(ValueError, match="with many processes, a share of a batch"):
        new_engine().step(*batch, None, np.ones(len(batch[0]), bool))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_before_training():
    with pytest.raises(ValueError, match=r"device must be one that PyTorch finds here .*cpu.*, not 'cuda'"):
        model(engine="torch", device="cuda").fit(RATINGS)


def test_device_and_precision_are_saved_with_the_model(tmp_path):
    fitted = model(engine="torch", device="cpu", precision="bfloat16", epochs=1).fit(RATINGS)
    fitted.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.engine, loaded.device, loaded.precision) == ("torch", "cpu", "bfloat16")
    np.testing.assert_array_equal(loaded.predict([1, 2], [3, 4]), fitted.predict([1, 2], [3, 4]))


def test_an_optimizer_of_one_s_own_is_refused():
    @dataclass
    class Mine(SGD):
        pass

    with pytest.raises(TypeError, match='engine "torch" has no Mine in PyTorch: use engine "numpy"'):
        new_engine(optimizer=Mine())


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy_neural_mf.training.engines.torch_engine")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "numpy-neural-mf\[torch\]"'):
        new_engine()


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "rmsprop", "sgd"])
def test_what_is_held_elsewhere_is_fetched_for_whoever_validates_saves_and_goes_on(
    tmp_path, monkeypatch, optimizer
):
    """As on a device, but on the CPU: tables, moments and columns are copies."""
    settings = {"engine": "torch", "device": "cpu", "optimizer": optimizer, "hidden_layer_sizes": (8,)}
    expected = model(**settings).fit(RATINGS)
    new = TorchEngine.__init__

    def elsewhere(engine, *given, **more):
        new(engine, *given, **more)
        engine._shares_memory = False

    monkeypatch.setattr(TorchEngine, "__init__", elsewhere)
    with pytest.raises(CutOffError):
        model(**settings).fit(RATINGS, on_progress=cut_off, checkpoint_dir=tmp_path)
    for fitted in (model(**settings).fit(RATINGS), model(**settings).fit(RATINGS, checkpoint_dir=tmp_path)):
        assert fitted.history_.train_loss == expected.history_.train_loss
        assert fitted.history_.validation_loss == expected.history_.validation_loss
        for name, value in expected.parameters_.items():
            np.testing.assert_array_equal(fitted.parameters_[name], value)


@pytest.mark.skipif(NO_GPU, reason="no GPU here: not run")
@pytest.mark.parametrize("optimizer", [Adam, AdaGrad, RMSProp, SGD])
def test_on_a_gpu_ten_steps_are_those_of_the_cpu(optimizer):
    engines = [new_engine(optimizer=optimizer(), device=device) for device in ("auto", "cpu")]
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
def test_on_a_gpu_a_model_is_trained_to_the_error_of_the_cpu():
    train, test = random_split(simulate_ratings(n_users=300, n_items=150, n_ratings=12_000), random_state=0)
    errors = []
    for device in ("auto", "cpu"):
        fitted = NeuralMF(engine="torch", device=device, epochs=4, dropout=0.0).fit(train)
        errors.append(rmse(fitted.predict(test.raw_users, test.raw_items), test.values))
    assert errors[0] == pytest.approx(errors[1], abs=0.002)

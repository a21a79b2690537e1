"""Architecture: the valid settings and the resulting parameters."""

from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture
from numpy_neural_mf.mf.parameters import fill_unknown
from numpy_neural_mf.nn import ACTIVATIONS

ARCHITECTURES = {
    "A_SMALL": A_SMALL,
    "B_MEDIUM": B_MEDIUM,
    "C_WIDE": C_WIDE,
    "no MLP": Architecture(embedding_dim=5),
    "only biases": Architecture(biases=True, product=False),
    "product alone": Architecture(biases=False),
    "only the MLP": Architecture(hidden_layer_sizes=(3,), biases=False, product=False),
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim must be an integer from 1 to 1000000, not 0"),
        ({"embedding_dim": 2.5}, "embedding_dim must be an integer from 1 to 1000000, not 2.5"),
        ({"embedding_dim": 10**30}, "embedding_dim must be an integer from 1 to 1000000, not 1"),
        ({"hidden_layer_sizes": (10**30,)}, "sizes must be a sequence of integers from 1 to 1000000"),
        ({"hidden_layer_sizes": (8, 0)}, "sizes must be a sequence of integers from 1 to 1000000"),
        ({"hidden_layer_sizes": 5}, "sizes must be a sequence of integers from 1 to 1000000, not 5"),
        ({"activation": "swish"}, "activation must be one of .*relu.*, not 'swish'"),
        ({"drift": 1}, "drift must be"),
        ({"drift": True, "likelihood": "ordinal"}, 'drift: expected False with likelihood="ordinal"'),
        ({"rating_scale": (5, 1)}, r"rating_scale must be \(lowest, highest\), not \(5, 1\)"),
        ({"rating_scale": (1, float("nan"))}, "rating_scale must be"),
    ],
)
def test_an_impossible_form_is_refused_by_name(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Architecture(**fields)


def test_an_architecture_is_a_value():
    assert Architecture(hidden_layer_sizes=[32, 16]) == Architecture(hidden_layer_sizes=(32, 16))
    assert len({A_SMALL, B_MEDIUM, C_WIDE, Architecture(*A_SMALL.__dict__.values())}) == 3
    with pytest.raises(FrozenInstanceError):
        A_SMALL.embedding_dim = 3


def test_shapes_follow_torch_with_a_row_for_unknown_ids():
    assert B_MEDIUM.parameter_shapes(5, 3) == {
        "intercept": (1,),
        "user_embedding.weight": (6, 16),
        "item_embedding.weight": (4, 16),
        "user_bias.weight": (6, 1),
        "item_bias.weight": (4, 1),
        "mlp.0.weight": (32, 32),
        "mlp.0.bias": (32,),
        "mlp.1.weight": (16, 32),
        "mlp.1.bias": (16,),
        "mlp.2.weight": (1, 16),
    }


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("no MLP", {"intercept", "user_embedding", "item_embedding", "user_bias", "item_bias"}),
        ("only biases", {"intercept", "user_bias", "item_bias"}),
        ("product alone", {"intercept", "user_embedding", "item_embedding"}),
        ("only the MLP", {"intercept", "user_embedding", "item_embedding", "mlp"}),
    ],
)
def test_a_part_switched_off_has_no_parameters(name, parts):
    assert {n.split(".")[0] for n in ARCHITECTURES[name].parameter_shapes(5, 3)} == parts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_initial_parameters_have_the_declared_shapes(name, dtype):
    architecture = ARCHITECTURES[name]
    parameters = architecture.initial_parameters(5, 3, 3.5, np.random.default_rng(0), dtype)
    shapes = {n: value.shape for n, value in parameters.items()}
    assert list(shapes.items()) == list(architecture.parameter_shapes(5, 3).items())
    assert {value.dtype for value in parameters.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_learning_starts_from_the_mean_and_small_random_weights(activation):
    architecture = Architecture(hidden_layer_sizes=(64, 32), activation=activation)
    parameters = architecture.initial_parameters(500, 400, 3.25, np.random.default_rng(0))
    assert parameters["intercept"] == 3.25
    for name in ("user_bias.weight", "item_bias.weight", "mlp.0.bias"):
        assert not parameters[name].any()
    for name in ("user_embedding.weight", "item_embedding.weight"):
        assert parameters[name].mean() == pytest.approx(0, abs=0.01)
        assert 0 < parameters[name].std() < 0.5
    for name in ("mlp.0.weight", "mlp.1.weight"):
        assert np.abs(parameters[name]).min() > 0
    assert not parameters["mlp.2.weight"].any()


def test_initial_parameters_follow_the_generator():
    a, b, c = (B_MEDIUM.initial_parameters(5, 3, 3.5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    for name, value in a.items():
        assert value.tobytes() == b[name].tobytes()
    assert a["mlp.0.weight"].tobytes() != c["mlp.0.weight"].tobytes()


def test_the_unknown_row_is_the_mean_of_the_known():
    parameters = B_MEDIUM.initial_parameters(5, 3, 3.5, np.random.default_rng(0))
    parameters["user_bias.weight"][:, 0] = [1, 2, 3, 4, 5, 99]
    before = {name: value.copy() for name, value in parameters.items()}
    fill_unknown(parameters)
    assert parameters["user_bias.weight"][-1] == 3
    for name, value in parameters.items():
        if "_" in name:
            np.testing.assert_allclose(value[-1], before[name][:-1].mean(axis=0), atol=1e-7)
            np.testing.assert_array_equal(value[:-1], before[name][:-1])
        else:
            np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("size", [2, 3])
def test_the_rows_of_one_process_equal_those_of_the_whole_table(monkeypatch, size):
    monkeypatch.setattr("numpy_neural_mf.mf.architecture.DRAWN_AT_ONCE", 2)
    whole = B_MEDIUM.initial_parameters(17, 8, 3.5, np.random.default_rng(0))
    for rank in range(size):
        rows = slice(rank, None, size)
        own = B_MEDIUM.initial_parameters(17, 8, 3.5, np.random.default_rng(0), rows=rows)
        for name, value in whole.items():
            expected = value[rows] if name.startswith(("user", "item")) else value
            np.testing.assert_array_equal(own[name], expected)


def test_the_tables_of_time_bins_have_entities_and_names():
    architecture = Architecture(4, biases=False, periods=6)
    tables = architecture.tables(5, 3)
    assert {(table.entity, table.kind): table.shape for table in tables} == {
        ("user", "embedding"): (6, 4),
        ("item", "embedding"): (4, 4),
        ("user_time", "embedding"): (6, 4),
        ("item_time", "embedding"): (6, 4),
    }
    shapes = architecture.parameter_shapes(5, 3)
    assert [table.name for table in tables] == [name for name in shapes if name != "intercept"]
    assert shapes["item_time_embedding.weight"] == (6, 4)


def test_settings_from_a_file_are_checked():
    settings = asdict(B_MEDIUM) | {"rating_scale": [1, 5]}
    assert Architecture.from_settings(settings) == replace(B_MEDIUM, rating_scale=(1, 5))
    with pytest.raises(ValueError, match="architecture: unknown unheard; expected activation, biases, "):
        Architecture.from_settings(settings | {"unheard": 1})
    with pytest.raises(ValueError, match="architecture: missing activation; expected activation, biases, "):
        Architecture.from_settings({name: value for name, value in settings.items() if name != "activation"})

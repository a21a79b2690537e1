"""Layers: every derivative versus central differences, single, chained and used twice in a step."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from numpy_neural_mf.nn import (
    ACTIVATIONS,
    Activation,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    GroupedIds,
    RowGradient,
    Sequential,
    check_gradients,
    gelu,
    relu,
    sigmoid,
    tanh,
)

IDS = np.array([3, 0, 3, 5, 3, 0])  # repeated


def rng(seed=0):
    return np.random.default_rng(seed)


def dense(n_in, n_out, seed=0, **settings):
    """A Dense layer in float64 with a bias that is not zero."""
    layer = Dense(n_in, n_out, rng(seed), dtype=np.float64, **settings)
    if layer.bias:
        layer.bias.value[:] = rng(seed + 1).standard_normal(n_out)
    return layer


def embedding(dtype=np.float64):
    return Embedding(7, 3, rng(), dtype=dtype)


class FixedDropout:
    """Dropout in training with the same mask at every call, as central differences require."""

    parameters: dict = {}  # noqa: RUF012

    def forward(self, x, training=False):
        return Dropout(0.4, rng(5)).forward(x, training=True)


class TwoTables:
    """The same table read twice, for (first, second) ids: y = [W[first], W[second]]."""

    def __init__(self):
        self.table = embedding()
        self.parameters = self.table.parameters

    def forward(self, ids, training=False):
        (a, backward_a), (b, backward_b) = (self.table.forward(i) for i in ids)

        def backward(dy):
            backward_a(dy[:, :3])
            backward_b(dy[:, 3:])

        return np.concatenate([a, b], axis=1), backward


shared = dense(4, 4)
REAL = {
    "dense": dense(4, 3),
    "dense without bias": dense(4, 3, bias=False),
    "dropout with a fixed mask": FixedDropout(),
    "dropout at prediction": Dropout(0.4, rng()),
    "no layers": Sequential(),
    "linear": Sequential(dense(4, 2)),
    "one hidden layer": Sequential(dense(4, 6), Activation(tanh), dense(6, 2, seed=3)),
    "three hidden layers": Sequential(
        dense(4, 6), Activation(gelu), dense(6, 5, seed=3), Activation(sigmoid), FixedDropout(),
        dense(5, 5, seed=4), Activation(relu), dense(5, 1, seed=6),
    ),
    "one dense layer used twice": Sequential(shared, Activation(tanh), shared),
    "nested": Sequential(Sequential(dense(4, 3), Activation(tanh)), Sequential(dense(3, 2))),
}  # fmt: skip
INTEGER = {
    "embedding": (embedding(), IDS),
    "embedding of grouped ids": (embedding(), GroupedIds(IDS)),
    "embedding used twice in a step": (TwoTables(), (IDS, np.array([0, 1, 3, 3, 6, 6]))),
    "embedding below layers": (
        Sequential(embedding(), dense(3, 4), Activation(tanh), dense(4, 1, seed=3)),
        IDS,
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_backward_is_the_derivative(name):
    errors = check_gradients(REAL[name], rng(9).standard_normal((6, 4)))
    assert "input" in errors
    assert max(errors.values()) <= 1e-6


@pytest.mark.parametrize("name", INTEGER)
def test_backward_is_the_derivative_of_rows(name):
    layer, ids = INTEGER[name]
    errors = check_gradients(layer, ids)
    assert set(errors) == set(layer.parameters)
    assert max(errors.values()) <= 1e-6


def test_dense_and_sequential_equal_those_of_torch_with_the_same_names():
    ours = Sequential(dense(4, 6), Activation(tanh), dense(6, 2, seed=3))
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    theirs.load_state_dict({name: torch.from_numpy(p.value) for name, p in ours.parameters.items()})
    x, dy = rng(1).standard_normal((5, 4)), rng(2).standard_normal((5, 2))
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y_torch.backward(torch.from_numpy(dy))
    y, backward = ours.forward(x)
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(backward(dy), x_torch.grad.numpy(), rtol=1e-12)
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(ours.parameters[name].pop_grad(), p.grad.numpy(), rtol=1e-12)


def test_a_layer_in_two_places_is_learned_once_under_its_first_name():
    assert set(REAL["one dense layer used twice"].parameters) == {"0.weight", "0.bias"}


def test_an_embedding_updates_only_the_rows_of_its_ids():
    table = embedding()
    y, backward = table.forward(IDS)
    np.testing.assert_array_equal(y, table.weight.value[IDS])
    assert backward(np.ones((6, 3))) is None
    gradient = table.weight.pop_grad()
    assert isinstance(gradient, RowGradient)
    np.testing.assert_array_equal(gradient.rows, [0, 3, 5])
    np.testing.assert_array_equal(gradient.values, [[2] * 3, [3] * 3, [1] * 3])


@pytest.mark.parametrize(("ids", "found"), [([-1, 4], -1), ([0, 7], 7), ([6, -9], -9), ([70_000], 70_000)])
@pytest.mark.parametrize("group", [np.array, lambda ids: GroupedIds(np.array(ids))], ids=["array", "grouped"])
def test_an_id_outside_the_table_raises_an_error_that_names_it(ids, found, group):
    table = embedding()
    with pytest.raises(IndexError, match=f"id {found} is not in a table of 7 rows, 0 to 6"):
        table.forward(group(ids))
    assert table.weight.grad is None


@pytest.mark.parametrize("ids", [[0.0, 1.0], [True, False], [[0, 1]], 3, ["a"], None])
def test_ids_are_a_column_of_integers(ids):
    with pytest.raises(TypeError, match=r"ids must be integers of shape \(n,\), not "):
        embedding().forward(np.array(ids))


def test_ids_may_be_a_list():
    y, backward = embedding().forward([3, 0, 3])
    backward(np.ones_like(y))


def test_no_ids_give_no_rows():
    assert embedding().forward(np.array([], int))[0].shape == (0, 3)


@pytest.mark.parametrize("shape", [(4,), (5, 3), (2, 5, 4), ()])
def test_an_input_of_another_shape_is_refused(shape):
    """A single row of n_in elements would give each weight of an output the same gradient."""
    with pytest.raises(ValueError, match=r"x must have shape \(n, 4\), not "):
        dense(4, 4).forward(np.ones(shape))


@pytest.mark.parametrize(
    ("layer", "name"),
    [(Dense, "n_in"), (Dense, "n_out"), (Embedding, "n_rows"), (Embedding, "dim"), (EmbeddingBag, "dim")],
)
def test_sizes_are_integers_of_at_least_one(layer, name):
    sizes = {"n_in": 2, "n_out": 2} if layer is Dense else {"n_rows": 2, "dim": 2}
    for wrong, error in ((0, ValueError), (2.0, TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"{name} must be an integer of at least 1, not {wrong}"):
            layer(**sizes | {name: wrong}, rng=rng())


@pytest.mark.parametrize("layer", [Dense, Embedding, EmbeddingBag])
def test_an_initializer_that_returns_another_shape_is_refused(layer):
    with pytest.raises(ValueError, match=r"initializer must return shape \(3, 2\)|\(2, 3\), not \(1, 3\)"):
        layer(*((3, 2) if layer is Dense else (2, 3)), rng(), lambda rng, shape: np.ones((1, 3)))


@pytest.mark.parametrize("layer", [Dense, Embedding, EmbeddingBag])
def test_parameters_are_floats(layer):
    """As integers, all initial weights would be zero."""
    with pytest.raises(TypeError, match="dtype must be a float type, not <class 'int'>"):
        layer(3, 2, rng(), dtype=int)


def test_an_activation_is_a_function_and_not_its_name():
    with pytest.raises(TypeError, match=r"function must be callable, such as nn.relu, not 'relu'"):
        Activation("relu")


def test_prediction_leaves_nothing_behind():
    network = Sequential(embedding(), dense(3, 2))
    before = {name: p.value.copy() for name, p in network.parameters.items()}
    network.forward(IDS)
    for name, p in network.parameters.items():
        assert p.grad is None
        np.testing.assert_array_equal(p.value, before[name])


def test_two_forward_passes_have_two_backward_passes():
    layer = dense(2, 1)
    (_, backward_1), (_, backward_2) = layer.forward(np.ones((1, 2))), layer.forward(np.full((1, 2), 10.0))
    backward_1(np.ones((1, 1)))
    np.testing.assert_array_equal(layer.weight.pop_grad(), [[1, 1]])
    backward_2(np.ones((1, 1)))
    np.testing.assert_array_equal(layer.weight.pop_grad(), [[10, 10]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_stays_float32_everywhere(activation):
    network = Sequential(
        embedding(np.float32), Dense(3, 4, rng()), Activation(ACTIVATIONS[activation]),
        Dropout(0.5, rng()), Dense(4, 2, rng()),
    )  # fmt: skip
    y, backward = network.forward(IDS, training=True)
    assert y.dtype == np.float32
    backward(np.ones_like(y))
    for p in network.parameters.values():
        gradient = p.pop_grad()
        assert (gradient.values if isinstance(gradient, RowGradient) else gradient).dtype == np.float32


def test_dropout_at_prediction_is_the_identity():
    x = rng().standard_normal((4, 3))
    y, backward = Dropout(0.9, rng()).forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(backward(x), x)


def test_dropout_at_rate_zero_is_the_identity():
    x = rng().standard_normal((4, 3))
    np.testing.assert_array_equal(Dropout(0.0, rng()).forward(x, training=True)[0], x)


def test_dropout_drops_the_given_share_and_keeps_the_mean():
    n, rate = 100_000, 0.3
    y, backward = Dropout(rate, rng()).forward(np.ones(n), training=True)
    dropped = np.mean(y == 0)
    assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / n)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate))
    np.testing.assert_array_equal(backward(np.ones(n)), y)  # with the same mask


def test_dropout_draws_a_new_mask_for_every_step():
    layer = Dropout(0.5, rng())
    first, second = (layer.forward(np.ones(100), training=True)[0] for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), None, "0.5"])
def test_a_dropout_rate_is_a_probability_below_one(rate):
    with pytest.raises(ValueError if isinstance(rate, float) else TypeError, match="dropout rate must be"):
        Dropout(rate, rng())


class TestEmbeddingBag:
    X = csr_array(np.array([[0.5, 0, 2, 0, 0], [0, 0, 0, 0, 0], [0, -1.5, 0.5, 0, 0]]))

    def test_bags_and_their_gradient_equal_those_of_torch(self):
        rng = np.random.default_rng(3)
        layer = EmbeddingBag(5, 4, rng, dtype=np.float64)
        theirs = torch.nn.EmbeddingBag(5, 4, mode="sum", dtype=torch.float64)
        theirs.load_state_dict({"weight": torch.tensor(layer.weight.value)})
        X, dy = self.X, rng.normal(size=(3, 4))
        y, backward = layer.forward(X)
        expected = theirs(
            torch.tensor(X.indices), torch.tensor(X.indptr[:-1]), per_sample_weights=torch.tensor(X.data)
        )
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12)
        backward(dy)
        expected.backward(torch.tensor(dy))
        gradient = layer.weight.pop_grad()
        assert gradient.rows.tolist() == [0, 1, 2]  # the others are in no bag
        np.testing.assert_allclose(gradient.to_dense((5, 4)), theirs.weight.grad.numpy(), rtol=1e-12)

    def test_gradients_equal_central_differences(self):
        layer = EmbeddingBag(5, 4, np.random.default_rng(0), dtype=np.float64)
        assert check_gradients(layer, self.X)["weight"] < 1e-7

    def test_gradients_of_two_uses_in_one_step_add_up(self):
        layer = EmbeddingBag(5, 2, np.random.default_rng(0), dtype=np.float64)
        for X in (self.X, self.X[:1], self.X):
            y, backward = layer.forward(X)
            backward(np.ones_like(y))
        expected = (2 * self.X.T @ np.ones((3, 2))) + self.X[:1].T @ np.ones((1, 2))
        np.testing.assert_allclose(layer.weight.pop_grad().to_dense((5, 2)), expected)

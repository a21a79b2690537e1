"""Optimisers: every step equals PyTorch's, for arrays and for rows of tables."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from numpy_neural_mf.nn import (
    OPTIMIZERS,
    SGD,
    Activation,
    AdaGrad,
    Adam,
    AdamW,
    Dense,
    GroupedIds,
    RMSProp,
    RowGradient,
    Sequential,
    clip_by_norm,
    mse,
    tanh,
)

N_STEPS = 60
SHAPES = {"users": (9, 3), "items": (6, 2)}
DECAY = {"weight_decay": 0.1}

# Our optimisers and PyTorch's, with the same settings.
PAIRS = {
    "sgd": (lambda: SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (lambda: SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": (
        lambda: SGD(0.05, momentum=0.8, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    ),
    "adagrad": (lambda: AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1)),
    "rmsprop": (lambda: RMSProp(0.01), lambda p: torch.optim.RMSprop(p, lr=0.01)),
    "adam": (lambda: Adam(0.02), lambda p: torch.optim.Adam(p, lr=0.02)),
    "adamw": (lambda: AdamW(0.02, **DECAY), lambda p: torch.optim.AdamW(p, lr=0.02, **DECAY)),
}


def draw_tables(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def draw_batch(seed):
    """Return, for each table, ids with repeats, which change with each step, and a gradient for each id."""
    rng = np.random.default_rng(seed)
    ids = {n: rng.integers(0, shape[0], size=6) for n, shape in SHAPES.items()}
    return {n: (i, rng.standard_normal((len(i), SHAPES[n][1]))) for n, i in ids.items()}


def coalesce(batch):
    groups = {n: (GroupedIds(ids), values) for n, (ids, values) in batch.items()}
    return {n: RowGradient(g.rows, g.sum(values)) for n, (g, values) in groups.items()}


def draw_row_gradients(seed):
    return coalesce(draw_batch(seed))


@pytest.mark.parametrize("name", PAIRS)
def test_a_two_layer_network_learns_as_in_torch(name):
    """Four parameters of different shapes: an optimiser that shared its state between them would fail."""
    make_ours, make_theirs = PAIRS[name]
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    ours = Sequential(
        Dense(4, 5, rng, dtype=np.float64), Activation(tanh), Dense(5, 2, rng, dtype=np.float64)
    )
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    theirs.load_state_dict({n: torch.from_numpy(p.value.copy()) for n, p in ours.parameters.items()})
    optimizer, torch_optimizer = make_ours(), make_theirs(theirs.parameters())
    for _ in range(N_STEPS):
        prediction, backward = ours.forward(X)
        backward(mse(prediction, y)[1])
        optimizer.step(
            {n: p.value for n, p in ours.parameters.items()},
            {n: p.pop_grad() for n, p in ours.parameters.items()},
        )
        torch_optimizer.zero_grad()
        torch.nn.functional.mse_loss(theirs(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        torch_optimizer.step()
        for n, p in theirs.named_parameters():
            np.testing.assert_allclose(ours.parameters[n].value, p.detach().numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("ours", "make_theirs"),
    [
        # torch adds epsilon to √v before it corrects the bias, we (and the paper) after; no effect here.
        (Adam(0.05, epsilon=1e-30), lambda p: torch.optim.SparseAdam(p, lr=0.05, eps=1e-30)),
        (AdaGrad(0.1), lambda p: torch.optim.Adagrad(p, lr=0.1)),
        (SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    ],
    ids=["adam", "adagrad", "sgd"],
)
def test_rows_learn_as_in_torch_with_sparse_gradients(ours, make_theirs):
    tables = draw_tables()
    torch_tables = {name: torch.tensor(table, requires_grad=True) for name, table in tables.items()}
    theirs = make_theirs(list(torch_tables.values()))
    torch.sparse.check_sparse_tensor_invariants.enable()  # torch warns unless this is set
    for seed in range(N_STEPS):
        batch = draw_batch(seed)
        for name, (ids, values) in batch.items():
            torch_tables[name].grad = torch.sparse_coo_tensor(
                torch.from_numpy(ids)[None], torch.from_numpy(values), SHAPES[name]
            )
        theirs.step()
        ours.step(tables, coalesce(batch))
        for name, table in torch_tables.items():
            np.testing.assert_allclose(tables[name], table.detach().numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "rmsprop", "adamw"])
def test_a_row_learns_like_a_separate_parameter_in_torch(name):
    """PyTorch has no sparse form of these, so each row is a parameter of a separate dense optimiser.

    AdamW corrects its bias by the steps of the table, so their number is written into the row's optimiser.
    """
    make_ours, make_theirs = PAIRS[name]
    ours, tables = make_ours(), draw_tables()
    rows = {(n, i): torch.tensor(table[i]) for n, table in tables.items() for i in range(len(table))}
    theirs = {key: make_theirs([row]) for key, row in rows.items()}
    for step in range(N_STEPS):
        gradients = draw_row_gradients(step)
        ours.step(tables, gradients)
        for n, gradient in gradients.items():
            for i, values in zip(gradient.rows, gradient.values, strict=True):
                rows[n, i].grad = torch.tensor(values)
                if "step" in (state := theirs[n, i].state[rows[n, i]]):
                    state["step"].fill_(step)
                elif name == "adamw":
                    state |= {"step": torch.tensor(float(step))}
                    state |= {moment: torch.zeros_like(rows[n, i]) for moment in ("exp_avg", "exp_avg_sq")}
                theirs[n, i].step()
        for (n, i), row in rows.items():
            np.testing.assert_allclose(tables[n][i], row.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", PAIRS)
def test_untouched_rows_and_their_state_stay_bit_for_bit(name):
    optimizer, tables = PAIRS[name][0](), draw_tables(np.float32)
    optimizer.step(tables, {n: np.ones(s, np.float32) for n, s in SHAPES.items()})  # every row has a state
    state = optimizer.state["users"]
    before = {"table": tables["users"].copy(), **{slot: state[slot].copy() for slot in optimizer.slots}}
    gradient = RowGradient(np.array([1, 4]), np.ones((2, 3), np.float32))
    optimizer.step(tables, {"users": gradient})
    after = {"table": tables["users"], **{slot: state[slot] for slot in optimizer.slots}}
    untouched = np.setdiff1d(np.arange(9), gradient.rows)
    for what, array in after.items():
        assert array.dtype == np.float32
        assert array[untouched].tobytes() == before[what][untouched].tobytes()
        assert (array[gradient.rows] != before[what][gradient.rows]).all()


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_on_all_rows_equals_the_dense_step(name):
    (by_rows, dense), (rows_tables, tables) = (PAIRS[name][0]() for _ in "12"), (draw_tables(), draw_tables())
    for seed in range(5):
        g = np.random.default_rng(seed).standard_normal(SHAPES["users"])
        by_rows.step(rows_tables, {"users": RowGradient(np.arange(9), g)})
        dense.step(tables, {"users": g})
    np.testing.assert_array_equal(rows_tables["users"], tables["users"])


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_on_no_rows_changes_nothing(name):
    optimizer, tables = PAIRS[name][0](), draw_tables()
    optimizer.step(tables, {"users": RowGradient(np.array([], int), np.empty((0, 3)))})
    np.testing.assert_array_equal(tables["users"], draw_tables()["users"])


@pytest.mark.parametrize("name", PAIRS)
def test_other_parameters_do_not_influence_a_parameter(name):
    together, alone = PAIRS[name][0](), PAIRS[name][0]()
    tables, table = draw_tables(), draw_tables()
    for seed in range(5):
        gradients = draw_row_gradients(seed)
        together.step(tables, gradients)
        alone.step(table, {"items": gradients["items"]})
    np.testing.assert_array_equal(tables["items"], table["items"])
    np.testing.assert_array_equal(table["users"], draw_tables()["users"])  # it had no gradient


@pytest.mark.parametrize("name", PAIRS)
def test_values_change_in_place_and_gradients_do_not_change(name):
    optimizer, tables = PAIRS[name][0](), draw_tables()
    held = tables["users"]
    gradient = np.ones(SHAPES["users"])
    for _ in range(3):
        optimizer.step(tables, {"users": gradient})
    assert tables["users"] is held
    assert (held != draw_tables()["users"]).all()
    np.testing.assert_array_equal(gradient, 1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_finds_the_minimum_of_a_parabola(name):
    optimizer, x = OPTIMIZERS[name](learning_rate=0.05), {"x": np.array([1.0, -2.0])}
    for _ in range(2000):
        optimizer.step(x, {"x": 2 * x["x"]})
    np.testing.assert_allclose(x["x"], 0, atol=0.05)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_equals_that_of_torch(max_norm):
    gradients = {**draw_row_gradients(0), "dense": np.random.default_rng(1).standard_normal((3, 2))}
    sparse = {n: g.to_dense(SHAPES[n]) for n, g in gradients.items() if n in SHAPES}
    parameters = [torch.zeros(g.shape, dtype=torch.float64) for g in (*sparse.values(), gradients["dense"])]
    for p, g in zip(parameters, (*sparse.values(), gradients["dense"]), strict=True):
        p.grad = torch.from_numpy(g.copy())
    expected = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    assert clip_by_norm(gradients, max_norm) == pytest.approx(float(expected), rel=1e-12)
    clipped = [gradients[n].to_dense(SHAPES[n]) for n in SHAPES] + [gradients["dense"]]
    for ours, p in zip(clipped, parameters, strict=True):
        np.testing.assert_allclose(ours, p.grad.numpy(), rtol=1e-5)  # torch divides by norm + 1e-6


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "gradient", [np.ones(3), np.ones((9, 1)), RowGradient(np.array([2]), np.ones((1, 1)))], ids=range(3)
)
def test_a_gradient_of_another_shape_is_refused_and_not_broadcast(name, gradient):
    optimizer, tables = OPTIMIZERS[name](), draw_tables()
    with pytest.raises(ValueError, match=r"the gradient of 'users' has shape \(.*\), not \(9, 3\)"):
        optimizer.step(tables, {"users": gradient})
    np.testing.assert_array_equal(tables["users"], draw_tables()["users"])
    assert optimizer.state == {}


RANGES = {
    "learning_rate": (-1e-9, float("inf")), "momentum": (-0.1, 1.0), "decay": (-0.1, 1.0),
    "epsilon": (-1e-9,), "beta1": (-0.1, 1.0), "beta2": (-0.1, 1.0), "weight_decay": (-0.1, float("nan")),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_are_checked_and_named(name):
    for setting in (field.name for field in fields(OPTIMIZERS[name]) if field.name in RANGES):
        for value in RANGES[setting]:
            with pytest.raises(ValueError, match=f"{setting} must be a finite number of at least 0.*{value}"):
                OPTIMIZERS[name](**{setting: value})
        with pytest.raises(TypeError, match=f"{setting} must be a finite number of at least 0.*, not None"):
            OPTIMIZERS[name](**{setting: None})


def test_nesterov_is_true_or_false():
    with pytest.raises(TypeError, match="nesterov must be True or False, not 'no'"):
        SGD(nesterov="no")


def test_the_largest_norm_is_not_negative():
    """A negative one would reverse every gradient."""
    with pytest.raises(ValueError, match="max_norm must be a finite number of at least 0, not -1"):
        clip_by_norm({"a": np.ones(3)}, -1)


def test_clipping_keeps_float32_and_zeros():
    gradients = {"a": np.zeros(3, np.float32), "b": np.full(4, 3.0, np.float32)}
    assert clip_by_norm({"a": gradients["a"]}, 1.0) == 0
    assert clip_by_norm(gradients, 1.0) == pytest.approx(6)
    assert gradients["b"].dtype == np.float32
    np.testing.assert_allclose(gradients["b"], 0.5)

"""Every engine must compute the loss, gradients and updates of an autograd model in PyTorch.

With an MLP, vectors have no variances unless the random signs of a step are known, as these differ by engine.
"""

from dataclasses import replace
from functools import cache, partial

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
    Architecture,
    as_tensors,
    draw_batch,
    draw_objective,
    draw_parameters,
    in_categories,
    relative_error,
    with_previous_items,
    with_time_bins,
)
from torch_model import RowOptimizer, TorchModel

from numpy_neural_mf.nn import SGD, AdaGrad, Adam, AdamW, RMSProp
from numpy_neural_mf.training.engines import ENGINES
from numpy_neural_mf.training.objective import LEAST_SLOPE

TANH = Architecture(embedding_dim=4, hidden_layer_sizes=(6, 3), activation="tanh")

# Our optimisers, and PyTorch's with the same settings.
OPTIMIZERS = {
    "sgd": (partial(SGD, 0.1), partial(torch.optim.SGD, lr=0.1)),
    "momentum": (partial(SGD, 0.02, momentum=0.9), partial(torch.optim.SGD, lr=0.02, momentum=0.9)),
    "nesterov": (
        partial(SGD, 0.02, momentum=0.8, nesterov=True),
        partial(torch.optim.SGD, lr=0.02, momentum=0.8, nesterov=True),
    ),
    "adagrad": (partial(AdaGrad, 0.1), partial(torch.optim.Adagrad, lr=0.1)),
    "rmsprop": (partial(RMSProp, 0.01), partial(torch.optim.RMSprop, lr=0.01)),
    "adam": (partial(Adam, 0.02), partial(torch.optim.Adam, lr=0.02)),
    "adamw": (
        partial(AdamW, 0.02, weight_decay=0.1),
        partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
    ),
}


@pytest.fixture(params=ENGINES)
def new_engine(request):
    """Return a function that builds an engine of the kind under test, given architecture and optimiser."""

    def make(architecture, optimizer, *, dtype=np.float64, parameters=None, objective=None, rng=None):
        if objective is None:
            objective = draw_objective(architecture, dtype)
        if parameters is None:
            parameters = draw_parameters(architecture, dtype)
        return ENGINES[request.param](architecture, parameters, optimizer, objective, rng)

    return make


def model_of(architecture, parameters=None, objective=None):
    objective = draw_objective(architecture) if objective is None else objective
    parameters = draw_parameters(architecture) if parameters is None else parameters
    return TorchModel(architecture, parameters, objective)


def gradients_of(engine, batch):
    """Return the gradient: the difference made by one step of gradient descent at rate 1."""
    before = {name: value.copy() for name, value in engine.parameters.items()}
    loss = engine.step(*batch)
    engine.fetch()
    return loss, {name: before[name] - value for name, value in engine.parameters.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_predictions_equal_those_of_torch(new_engine, name):
    architecture = ARCHITECTURES[name]
    users, items, _ = draw_batch()
    expected = model_of(architecture)(*as_tensors(users, items))
    prediction = new_engine(architecture, SGD()).predict(users, items)
    np.testing.assert_allclose(prediction, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loss_and_every_gradient_equal_those_of_autograd(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch()
    expected_loss, expected = model_of(architecture).gradients(*batch)
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0)), batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_float32_loss_and_gradients_are_the_same_to_rounding(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch(dtype=np.float32)
    given = draw_parameters(architecture, np.float32), draw_objective(architecture, np.float32)
    expected_loss, expected = model_of(architecture, *given).gradients(*batch)
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0), dtype=np.float32), batch)
    assert all(g.dtype == np.float32 for g in gradients.values())
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_error(gradients, expected) <= 1e-5


def batch_for(architecture, seed=0):
    """Return a batch with the ratings and columns that an architecture needs."""
    batch = draw_batch(seed)
    if architecture.likelihood == "ordinal":
        batch = in_categories(batch)
    if architecture.periods:
        batch = with_time_bins(batch, seed)
    return with_previous_items(batch, seed) if architecture.previous_item else batch


@cache
def steps_of_torch(architecture, name, weight_decay):
    """Return the losses before each of a hundred steps, and the parameters after them."""
    make_ours, make_theirs = OPTIMIZERS[name]
    model = model_of(architecture)
    optimizer, rate, losses = RowOptimizer(model, make_theirs), make_ours().learning_rate, []
    for seed in range(100):
        batch = batch_for(architecture, seed)
        losses.append(model.gradients(*batch)[0])
        with torch.no_grad():
            for layer in model.mlp:
                layer.weight *= 1 - rate * weight_decay
        optimizer.step(*batch)
    return losses, model.values()


def require_the_steps_of_torch(new_engine, architecture, name, weight_decay=0.0):
    losses, parameters = steps_of_torch(architecture, name, weight_decay)
    objective = draw_objective(architecture, weight_decay=weight_decay)
    engine = new_engine(architecture, OPTIMIZERS[name][0](), objective=objective)
    for seed, loss in enumerate(losses):
        assert engine.step(*batch_for(architecture, seed)) == pytest.approx(loss, rel=1e-9)
    assert relative_error(engine.parameters, parameters) <= 1e-9


FORMS = pytest.mark.parametrize("architecture", [TANH, Architecture(3)], ids=["mlp", "mf"])


@pytest.mark.parametrize("weight_decay", [0.0, 2.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
@FORMS
def test_a_hundred_steps_equal_those_of_torch(new_engine, architecture, name, weight_decay):
    """Weight decay shrinks only the MLP's weights, by learning rate · decay before the step."""
    require_the_steps_of_torch(new_engine, architecture, name, weight_decay)


SOME_FORMS = ["A_SMALL", "no MLP", "no MLP, no biases", "only biases", "only the MLP"]


IN_TIME = {name: replace(ARCHITECTURES[name], periods=N_TIME_BINS) for name in SOME_FORMS}


@pytest.mark.parametrize("name", IN_TIME)
def test_with_time_bins_loss_predictions_and_gradients_equal_those_of_autograd(new_engine, name):
    architecture, batch = IN_TIME[name], with_time_bins(draw_batch())
    model, engine = model_of(architecture), new_engine(architecture, SGD(1.0))
    expected_loss, expected = model.gradients(*batch)
    users, items, _, bins = batch
    prediction = model(*as_tensors(users, items, bins)).detach().numpy()
    np.testing.assert_allclose(engine.predict(users, items, bins), prediction, rtol=1e-12, atol=1e-12)
    loss, gradients = gradients_of(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


AFTER_ANOTHER = {
    f"{name}, {periods} periods": replace(ARCHITECTURES[name], periods=periods, previous_item=True)
    for name in ["A_SMALL", "no MLP", "no MLP, no biases", "no biases"]
    for periods in (0, N_TIME_BINS)
}


@pytest.mark.parametrize("name", AFTER_ANOTHER)
def test_with_previous_items_loss_predictions_and_gradients_equal_autograd(new_engine, name):
    architecture = AFTER_ANOTHER[name]
    batch = users, items, _, *context = batch_for(architecture)
    model, engine = model_of(architecture), new_engine(architecture, SGD(1.0))
    expected_loss, expected = model.gradients(*batch)
    prediction = model(*as_tensors(users, items, *context)).detach().numpy()
    np.testing.assert_allclose(engine.predict(users, items, *context), prediction, rtol=1e-12, atol=1e-12)
    loss, gradients = gradients_of(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


@FORMS
def test_with_previous_items_a_hundred_steps_equal_those_of_torch(new_engine, architecture):
    require_the_steps_of_torch(new_engine, replace(architecture, previous_item=True), "adam")


@pytest.mark.parametrize("name", OPTIMIZERS)
@FORMS
def test_with_time_bins_a_hundred_steps_equal_those_of_torch(new_engine, architecture, name):
    require_the_steps_of_torch(new_engine, replace(architecture, periods=N_TIME_BINS), name)


def test_a_time_bin_without_ratings_in_the_batch_does_not_change(new_engine):
    architecture = replace(A_SMALL, periods=N_TIME_BINS)
    engine = new_engine(architecture, Adam())
    for bins in ([0, 1, 2, 3], [2, 2, 0, 2]):
        before = {name: value.copy() for name, value in engine.parameters.items()}
        engine.step(
            np.array([4, 4, 0, 1], np.int32), np.array([1, 5, 1, 2], np.int32),
            np.array([1.0, 5.0, 2.0, 3.0]), np.array(bins, np.int32),
        )  # fmt: skip
    for side in ("user", "item"):
        name = f"{side}_time_embedding.weight"
        changed = np.flatnonzero((engine.parameters[name] != before[name]).any(axis=1))
        np.testing.assert_array_equal(changed, [0, 2])


@pytest.mark.parametrize("is_needed", [False, True])
@pytest.mark.parametrize(
    ("needs", "with_column", "message"),
    [
        ({"periods": N_TIME_BINS}, with_time_bins, "the time bins of ratings if the architecture has"),
        (
            {"previous_item": True},
            with_previous_items,
            "previous items if the architecture has previous_item",
        ),
    ],
    ids=["time bins", "previous items"],
)
def test_columns_are_required_if_and_only_if_the_architecture_needs_them(
    new_engine, needs, with_column, message, is_needed
):
    engine, batch = new_engine(replace(A_SMALL, **needs) if is_needed else A_SMALL, Adam()), draw_batch()
    given = batch if is_needed else with_column(batch)
    users, items, _, *context = given
    for call in (lambda: engine.step(*given), lambda: engine.predict(users, items, *context)):
        with pytest.raises(ValueError, match=f"expected {message}"):
            call()


ORDINAL_FORMS = {name: replace(given, likelihood="ordinal") for name, given in ARCHITECTURES.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_with_ordinal_ratings_loss_and_every_gradient_equal_those_of_autograd(new_engine, name):
    """Up to the rounding of a difference of two probabilities, which the engines do not compute."""
    architecture, batch = ORDINAL_FORMS[name], in_categories(draw_batch())
    expected_loss, expected = model_of(architecture).gradients(*batch)
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0)), batch)
    assert loss == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ["A_SMALL", "no MLP"])
def test_with_ordinal_ratings_in_float32_loss_and_gradients_are_equal_to_rounding(new_engine, name):
    architecture, batch = ORDINAL_FORMS[name], in_categories(draw_batch(dtype=np.float32))
    given = draw_parameters(architecture, np.float32), draw_objective(architecture, np.float32)
    expected_loss, expected = model_of(architecture, *given).gradients(*batch)
    engine = new_engine(architecture, SGD(1.0), dtype=np.float32)
    loss, gradients = gradients_of(engine, batch)
    assert all(g.dtype == np.float32 for g in gradients.values())
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_error(gradients, expected) <= 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
@FORMS
def test_with_ordinal_ratings_a_hundred_steps_equal_those_of_torch(new_engine, architecture, name):
    require_the_steps_of_torch(new_engine, replace(architecture, likelihood="ordinal"), name)


def test_a_hundred_steps_of_adam_equal_those_of_sparse_adam(new_engine):
    """SparseAdam adds epsilon to √v before correcting the bias, we after it; here it has no effect."""
    engine = new_engine(TANH, Adam(0.02, epsilon=1e-30))
    model = model_of(TANH)
    torch.sparse.check_sparse_tensor_invariants.enable()  # torch warns unless this is set or unset
    tables = {name: p for name, p in model.named_parameters() if "_" in name}
    rows = torch.optim.SparseAdam(list(tables.values()), lr=0.02, eps=1e-30)
    dense = torch.optim.Adam([p for n, p in model.named_parameters() if n not in tables], lr=0.02, eps=1e-30)
    for seed in range(100):
        users, items, ratings = draw_batch(seed)
        engine.step(users, items, ratings)
        model.gradients(users, items, ratings)
        for name, table in tables.items():
            ids = torch.tensor(np.unique(users if name.startswith("user") else items), dtype=torch.int64)
            table.grad = torch.sparse_coo_tensor(ids[None], table.grad[ids], table.shape)
        rows.step()
        dense.step()
    assert relative_error(engine.parameters, model.values()) <= 1e-9


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_in_float32_a_hundred_steps_stay_close_to_those_in_float64(new_engine, name):
    new_optimizer, parameters = OPTIMIZERS[name][0], draw_parameters(TANH, np.float32)
    wide = {n: v.astype(np.float64) for n, v in parameters.items()}
    single = new_engine(TANH, new_optimizer(), dtype=np.float32, parameters=parameters)
    double = new_engine(TANH, new_optimizer(), parameters=wide)
    for seed in range(100):
        users, items, ratings = draw_batch(seed, dtype=np.float32)
        loss = single.step(users, items, ratings)
        assert loss == pytest.approx(double.step(users, items, ratings), rel=1e-3, abs=1e-4)
    assert all(value.dtype == np.float32 for value in parameters.values())
    assert relative_error(single.parameters, double.parameters) <= 1e-2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_the_rows_of_its_batch_and_no_other_bit(new_engine, name):
    engine = new_engine(A_SMALL, OPTIMIZERS[name][0](), dtype=np.float32)
    engine.step(
        np.arange(N_USERS, dtype=np.int32),
        np.arange(N_USERS, dtype=np.int32) % N_ITEMS,
        np.full(N_USERS, 3.0, np.float32),
    )  # from here on every row but the unknown's has a state
    before = {n: value.copy() for n, value in engine.parameters.items()}
    users, items = np.array([4, 4, 0], np.int32), np.array([1, 5, 1], np.int32)
    engine.step(users, items, np.array([1, 5, 2], np.float32))
    for n, value in engine.parameters.items():
        changed = np.flatnonzero((value != before[n]).reshape(len(value), -1).any(axis=1))
        if "_" in n:
            np.testing.assert_array_equal(changed, np.unique(users if n.startswith("user") else items))
        else:
            assert changed.size


def test_a_step_updates_the_arrays_that_the_engine_was_given(new_engine):
    parameters = draw_parameters(A_SMALL)
    engine = new_engine(A_SMALL, Adam(), parameters=parameters)
    engine.step(*draw_batch())
    first = draw_parameters(A_SMALL)
    for name, value in parameters.items():
        assert engine.parameters[name] is value
        assert (value != first[name]).any()


def test_a_step_does_not_change_its_batch(new_engine):
    batch = draw_batch()
    new_engine(A_SMALL, Adam()).step(*batch)
    for given, kept in zip(batch, draw_batch(), strict=True):
        np.testing.assert_array_equal(given, kept)


def test_prediction_changes_nothing(new_engine):
    engine = new_engine(B_MEDIUM, Adam())
    users, items, _ = draw_batch()
    first, second = engine.predict(users, items), engine.predict(users, items)
    np.testing.assert_array_equal(first, second)
    for name, value in draw_parameters(B_MEDIUM).items():
        np.testing.assert_array_equal(engine.parameters[name], value)


def test_prediction_of_no_pairs_is_empty(new_engine):
    nobody = np.array([], np.int32)
    assert new_engine(B_MEDIUM, Adam()).predict(nobody, nobody).shape == (0,)


def test_random_signs_are_used_only_in_training(new_engine):
    users, items, _ = draw_batch()
    expected = model_of(TANH)(*as_tensors(users, items))
    engine = new_engine(TANH, Adam(), objective=draw_objective(TANH, with_signs=True))
    np.testing.assert_allclose(
        engine.predict(users, items), expected.detach().numpy(), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("with_signs", [False, True])
def test_the_same_steps_give_the_same_bits(new_engine, with_signs):
    engines = [
        new_engine(
            TANH, Adam(), dtype=np.float32, rng=np.random.default_rng(3),
            objective=draw_objective(TANH, np.float32, with_signs=with_signs),
        )
        for _ in "12"
    ]  # fmt: skip
    for seed in range(10):
        losses = [engine.step(*draw_batch(seed, dtype=np.float32)) for engine in engines]
        assert losses[0] == losses[1]
    for engine in engines:
        engine.fetch()
    for name, value in engines[0].parameters.items():
        assert value.tobytes() == engines[1].parameters[name].tobytes()
    for name, array in records_of(engines[0].objective).items():
        assert array.tobytes() == records_of(engines[1].objective)[name].tobytes()


def test_the_learning_rate_may_change_between_steps(new_engine):
    engine = new_engine(A_SMALL, SGD(0.0))
    engine.step(*draw_batch())
    np.testing.assert_array_equal(engine.parameters["intercept"], draw_parameters(A_SMALL)["intercept"])
    engine.optimizer.learning_rate = 0.1
    engine.step(*draw_batch())
    assert (engine.parameters["intercept"] != draw_parameters(A_SMALL)["intercept"]).all()


@pytest.mark.parametrize("batch", [([3], [2]), ([3] * 5, [2] * 5), ([0, 1], [5, 5])])
def test_a_batch_may_be_one_rating_or_one_repeated_pair(new_engine, batch):
    users, items = (np.array(ids, np.int64) for ids in batch)
    ratings = np.linspace(1, 5, len(users))
    expected_loss, expected = model_of(B_MEDIUM).gradients(users, items, ratings)
    loss, gradients = gradients_of(new_engine(B_MEDIUM, SGD(1.0)), (users, items, ratings))
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


def test_tables_may_have_more_rows_than_sixteen_bits_can_count(new_engine):
    architecture, n = Architecture(embedding_dim=2, hidden_layer_sizes=(3,)), 70_000
    ids = np.array([65_536, 0, 69_999, 65_536, 65_535], np.int32)
    ratings = np.linspace(1, 5, len(ids))
    objective = draw_objective(architecture, n_users=n, n_items=n)
    parameters = draw_parameters(architecture, n_users=n, n_items=n)
    expected = model_of(architecture, parameters, objective).gradients(ids, ids[::-1].copy(), ratings)[1]
    engine = new_engine(architecture, SGD(1.0), parameters=parameters, objective=objective)
    _, gradients = gradients_of(engine, (ids, ids[::-1].copy(), ratings))
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "only biases", "A_SMALL"])
def test_the_step_on_one_rating_follows_the_gradient_of_autograd(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch(n=1)
    expected_loss, expected = model_of(architecture).gradients(*batch)
    engine = new_engine(architecture, SGD(1.0))
    before = {parameter: value.copy() for parameter, value in engine.parameters.items()}
    assert engine.step_per_sample(*batch) == pytest.approx(expected_loss, rel=1e-12)
    gradients = {parameter: before[parameter] - value for parameter, value in engine.parameters.items()}
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("make", [partial(SGD, 0.02), partial(SGD, 0.01, momentum=0.5), Adam])
@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "only biases", "A_SMALL"])
def test_per_sample_steps_equal_the_numpy_engine_s_batches_of_one(new_engine, name, make, dtype, tolerance):
    architecture, batch = ARCHITECTURES[name], draw_batch(n=200, dtype=dtype)
    engine = new_engine(architecture, make(), dtype=dtype)
    specification = ENGINES["numpy"](
        architecture, draw_parameters(architecture, dtype), make(), draw_objective(architecture, dtype)
    )
    losses = [specification.step(*(column[r : r + 1] for column in batch)) for r in range(200)]
    assert engine.step_per_sample(*batch) == pytest.approx(np.mean(losses), rel=tolerance)
    engine.fetch()
    assert relative_error(engine.parameters, specification.parameters) <= tolerance
    assert relative_error(records_of(engine.objective), records_of(specification.objective)) <= tolerance
    assert engine.optimizer.state["intercept"]["step"] == 200


def test_per_sample_steps_also_work_with_time_bins(new_engine):
    architecture, batch = IN_TIME["no MLP"], with_time_bins(draw_batch(n=50))
    engine, twin = (new_engine(architecture, SGD(0.01)) for _ in "12")
    losses = [twin.step(*(column[r : r + 1] for column in batch)) for r in range(50)]
    assert engine.step_per_sample(*batch) == pytest.approx(np.mean(losses), rel=1e-12)
    assert relative_error(engine.parameters, twin.parameters) <= 1e-12


def records_of(objective):
    return {"squares": objective.squares, **objective.data}


def require_the_records_of_autograd(new_engine, architecture, batch, dtype=np.float64, noise=2.0):
    """Engines add squares and data to the existing values: see `TorchModel.records`."""
    objective = draw_objective(architecture, dtype, noise=np.full(1, noise, dtype))
    for array in records_of(objective).values():
        array[...] = 1
    model = model_of(architecture, draw_parameters(architecture, dtype), objective)
    engine = new_engine(architecture, SGD(0.1), dtype=dtype, objective=objective)
    expected = {name: 1 + added for name, added in model.records(*batch).items()}
    engine.step(*batch)
    engine.fetch()
    assert all(array.dtype == dtype for array in records_of(objective).values())
    assert relative_error(records_of(objective), expected) <= (1e-10 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("noise", [0.2, 3.0])  # with and without h at its upper limit
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_squares_and_data_equal_those_of_autograd(new_engine, name, noise):
    require_the_records_of_autograd(new_engine, ARCHITECTURES[name], draw_batch(), noise=noise)


@pytest.mark.parametrize("name", ["A_SMALL", "no MLP", "no product", "only biases"])
def test_in_float32_squares_and_data_are_the_same_to_rounding(new_engine, name):
    batch = draw_batch(dtype=np.float32)
    require_the_records_of_autograd(new_engine, ARCHITECTURES[name], batch, np.float32)


@pytest.mark.parametrize("error", [1e-21, 1e-39])
def test_data_of_ratings_with_tiny_errors_are_finite(new_engine, error):
    """In float32 the square of the derivative by r̂ underflows, and 1 / 1e-39 overflows."""
    parameters = draw_parameters(TANH, np.float32)
    for name, value in parameters.items():
        value[...] *= name.startswith("mlp") and name.endswith("weight")
    users, items, ratings = draw_batch(dtype=np.float32)
    batch = users, items, np.full_like(ratings, error)
    objective = draw_objective(TANH, np.float32)
    expected = model_of(TANH, parameters, objective).records(*batch)
    engine = new_engine(TANH, SGD(0.1), dtype=np.float32, parameters=parameters, objective=objective)
    engine.step(*batch)
    engine.fetch()
    for name, array in objective.data.items():
        if error > LEAST_SLOPE:
            np.testing.assert_allclose(array, expected[name], rtol=1e-4)
        assert np.isfinite(array).all()
    assert np.isfinite(objective.squares).all()


@pytest.mark.parametrize("name", IN_TIME)
def test_with_time_bins_squares_and_data_equal_those_of_autograd(new_engine, name):
    require_the_records_of_autograd(new_engine, IN_TIME[name], with_time_bins(draw_batch()))


@pytest.mark.parametrize("name", AFTER_ANOTHER)
def test_with_previous_items_squares_and_data_equal_those_of_autograd(new_engine, name):
    architecture = AFTER_ANOTHER[name]
    require_the_records_of_autograd(new_engine, architecture, batch_for(architecture))


@pytest.mark.parametrize("name", [*SOME_FORMS, "no product"])
def test_with_ordinal_ratings_squares_and_data_equal_those_of_autograd(new_engine, name):
    require_the_records_of_autograd(new_engine, ORDINAL_FORMS[name], in_categories(draw_batch()))


@pytest.mark.parametrize("previous_item", [False, True])
@pytest.mark.parametrize("name", ["no MLP", "A_SMALL"])
def test_after_send_a_step_reads_arrays_changed_in_place(new_engine, name, previous_item):
    architecture = replace(ARCHITECTURES[name], previous_item=previous_item)
    batch = batch_for(architecture)
    engine = new_engine(architecture, SGD(1.0))
    engine.step(*batch)
    engine.fetch()
    o = engine.objective
    parts = [o.prior, o.precision, o.variance, {"weight": o.weight, "noise": o.noise}, engine.parameters]
    parts += [{"previous": o.previous, "variance": o.previous_variance}] * architecture.previous_item
    for arrays in parts:
        for array in arrays.values():
            array[...] *= np.linspace(0.5, 1.5, array.size).reshape(array.shape)
    for array in records_of(o).values():
        array[...] = 0
    engine.send()
    model = model_of(architecture, engine.parameters, o)
    expected_loss, expected = model.gradients(*batch)
    records = model.records(*batch)
    loss, gradients = gradients_of(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9
    assert relative_error(records_of(o), records) <= 1e-10


# Each rating has its own user, so the user's squares are those of the rating.
K, N_SINGLE = 20, 2_000


def draw_single(seed=0):
    rng = np.random.default_rng(seed)
    users = rng.permutation(N_SINGLE).astype(np.int32)
    return users, rng.integers(0, N_ITEMS, N_SINGLE).astype(np.int32), rng.uniform(1, 5, N_SINGLE)


def draw_signs(new_engine, users, items, seed, n_steps=1):
    """Return the signs of each step, shape (n, 2 K): r̂ is Σ ± 2^f, so its digits are the signs."""
    architecture = Architecture(K, (1,), "identity", biases=False, product=False)
    sizes = {"n_users": N_SINGLE, "n_items": N_ITEMS}
    parameters = draw_parameters(architecture, **sizes)
    for value in parameters.values():
        value[...] = 0
    parameters["mlp.0.weight"][...], parameters["mlp.1.weight"][...] = 2.0 ** np.arange(2 * K), 1
    objective = draw_objective(architecture, **sizes, noise=np.full(1, 1e300))  # h is negligible
    for variance in objective.variance.values():
        variance[...] = 1
    engine = new_engine(
        architecture, SGD(0.0), parameters=parameters, objective=objective, rng=np.random.default_rng(seed)
    )
    for _ in range(n_steps):
        objective.squares[:] = 0
        engine.send()
        engine.step(users, items, np.full(len(users), -(4.0**K)))
        engine.fetch()
        number = np.rint((np.sqrt(objective.squares[users]) - 1) / 2).astype(np.int64)
        yield 2 * (number[:, None] >> np.arange(2 * K) & 1) - 1


def test_random_signs_are_balanced_and_differ_by_rating_feature_and_step(new_engine):
    users, items, _ = draw_single()
    first, second = draw_signs(new_engine, users, items, seed=3, n_steps=2)
    (other,) = draw_signs(new_engine, users, items, seed=4)
    of_features = 5 / np.sqrt(N_SINGLE)  # five standard deviations of a random mean
    for signs in (first, second, other):
        assert np.abs(signs.mean(axis=0)).max() < of_features
        assert np.abs(signs.T @ signs / N_SINGLE - np.eye(2 * K)).max() < of_features
        assert np.abs((signs[1:] * signs[:-1]).mean(axis=0)).max() < of_features
        assert len(np.unique(signs, axis=0)) == N_SINGLE
    for one, another in ((first, second), (first, other), (second, other)):
        assert np.abs((one * another).mean(axis=0)).max() < of_features


@pytest.mark.parametrize("previous_item", [False, True])
def test_in_training_the_mlp_gets_rows_plus_or_minus_their_deviation(new_engine, previous_item):
    """The loss, its gradient, squares and data follow from the signs that the seed draws."""
    architecture = Architecture(K, (6, 3), "tanh", previous_item=previous_item)
    sizes = {"n_users": N_SINGLE, "n_items": N_ITEMS}
    batch = users, items, *_ = with_previous_items(draw_single()) if previous_item else draw_single()
    (signs,) = draw_signs(new_engine, users, items, seed=5)
    parameters = draw_parameters(architecture, **sizes)
    objective = draw_objective(architecture, **sizes, with_signs=True)
    model = model_of(architecture, parameters, objective)
    of_signs = torch.tensor(signs, dtype=torch.float64)
    expected_loss, expected = model.gradients(*batch, signs=of_signs)
    records = model.records(*batch, signs=of_signs)
    engine = new_engine(
        architecture, SGD(1.0), parameters=parameters, objective=objective, rng=np.random.default_rng(5)
    )
    loss, gradients = gradients_of(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9
    assert relative_error(records_of(objective), records) <= 1e-9

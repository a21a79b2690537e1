"""What every engine must compute: the loss, the gradients and the updates of an autograd model in PyTorch."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from cases import (
    A_SMALL,
    ARCHITECTURES,
    B_MEDIUM,
    N_ITEMS,
    N_USERS,
    ORDINAL,
    SIDES_WITH_FEATURES,
    Architecture,
    as_tensors,
    draw_bags,
    draw_batch,
    draw_moments,
    draw_parameters,
    draw_penalty,
    in_steps,
    relative_error,
)
from torch_model import RowOptimizer, TorchModel

from numpy_neural_mf.mf.side_features import Bags
from numpy_neural_mf.nn import SGD, AdaGrad, Adam, AdamW, RMSProp
from numpy_neural_mf.training.engines import ENGINES

TANH = Architecture(embedding_dim=4, hidden_layer_sizes=(6, 3), activation="tanh")

# Ours, PyTorch's: the same settings in each one's own words.
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
    """Architecture, optimiser and perhaps more -> an engine of the kind under test."""

    def make(architecture, optimizer, *, dtype=np.float64, parameters=None, penalty=None, **settings):
        if parameters is None:
            parameters = draw_parameters(architecture, dtype, bags=settings.get("bags"))
        penalty = draw_penalty(dtype) if penalty is None else penalty
        return ENGINES[request.param](architecture, parameters, optimizer, *penalty, **settings)

    return make


def gradients_of(engine, batch):
    """What one step of gradient descent at rate 1 subtracts is the gradient."""
    before = {name: value.copy() for name, value in engine.parameters.items()}
    loss = engine.step(*batch)
    return loss, {name: before[name] - value for name, value in engine.parameters.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_predictions_are_those_of_torch(new_engine, name):
    architecture = ARCHITECTURES[name]
    users, items, _ = draw_batch()
    expected = TorchModel(architecture, draw_parameters(architecture))(*as_tensors(users, items))
    prediction = new_engine(architecture, SGD()).predict(users, items)
    np.testing.assert_allclose(prediction, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loss_and_every_gradient_are_those_of_autograd(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch()
    model = TorchModel(architecture, draw_parameters(architecture))
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty()))
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0)), batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_float32_loss_and_gradients_are_the_same_to_rounding(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch(dtype=np.float32)
    model = TorchModel(architecture, draw_parameters(architecture, np.float32))
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty(np.float32)))
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0), dtype=np.float32), batch)
    assert all(g.dtype == np.float32 for g in gradients.values())
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_error(gradients, expected) <= 1e-5


@pytest.mark.parametrize("weight_decay", [0.0, 2.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("architecture", [TANH, Architecture(3)], ids=["mlp", "mf"])
def test_a_hundred_steps_are_those_of_torch(new_engine, architecture, name, weight_decay):
    """Weight decay shrinks the MLP's weights by learning rate · decay before the step, and nothing else."""
    make_ours, make_theirs = OPTIMIZERS[name]
    engine = new_engine(architecture, make_ours(), weight_decay=weight_decay)
    model = TorchModel(architecture, draw_parameters(architecture))
    optimizer = RowOptimizer(model, make_theirs)
    penalty = as_tensors(*draw_penalty())
    for seed in range(100):
        batch = draw_batch(seed)
        expected_loss, _ = model.gradients(*as_tensors(*batch), *penalty)
        with torch.no_grad():
            for layer in model.mlp:
                layer.weight *= 1 - engine.optimizer.learning_rate * weight_decay
        optimizer.step(*batch[:2])
        assert engine.step(*batch) == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(engine.parameters, model.values()) <= 1e-9


WITH_FEATURES = ["A_SMALL", "no MLP", "no MLP, no biases", "biases alone", "MLP alone"]


def require_predictions_loss_and_gradients_of_autograd(new_engine, architecture, batch, bags):
    model = TorchModel(architecture, draw_parameters(architecture, bags=bags), bags)
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty()))
    prediction = model(*as_tensors(*batch[:2])).detach().numpy()
    engine = new_engine(architecture, SGD(1.0), bags=bags)
    np.testing.assert_allclose(engine.predict(*batch[:2]), prediction, rtol=1e-12, atol=1e-12)
    loss, gradients = gradients_of(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("sides", SIDES_WITH_FEATURES)
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_with_features_loss_predictions_and_every_gradient_are_those_of_autograd(new_engine, name, sides):
    bags = draw_bags(*SIDES_WITH_FEATURES[sides])
    require_predictions_loss_and_gradients_of_autograd(new_engine, ARCHITECTURES[name], draw_batch(), bags)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_features_a_hundred_steps_are_those_of_torch(new_engine, name):
    make_ours, make_theirs = OPTIMIZERS[name]
    bags = draw_bags("user", "item")
    engine = new_engine(TANH, make_ours(), bags=bags)
    model = TorchModel(TANH, draw_parameters(TANH, bags=bags), bags)
    optimizer, penalty = RowOptimizer(model, make_theirs), as_tensors(*draw_penalty())
    for seed in range(100):
        batch = draw_batch(seed)
        expected_loss, _ = model.gradients(*as_tensors(*batch), *penalty)
        optimizer.step(*batch[:2])
        assert engine.step(*batch) == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(engine.parameters, model.values()) <= 1e-9


def test_a_batch_may_have_no_features_at_all(new_engine):
    """User 0 and item 0 have none."""
    bags = draw_bags("user", "item")
    engine = new_engine(TANH, Adam(), bags=bags)
    engine.step(np.zeros(2, np.int32), np.zeros(2, np.int32), np.array([3.0, 4.0]))
    first = draw_parameters(TANH, bags=bags)
    for name, value in engine.parameters.items():
        assert (value == first[name]).all() == ("_feature_" in name)


N_PERIODS = 4
IN_PERIODS = {name: replace(ARCHITECTURES[name], periods=N_PERIODS) for name in WITH_FEATURES}


@pytest.mark.parametrize("sides", SIDES_WITH_FEATURES)
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_with_periods_loss_predictions_and_every_gradient_are_those_of_autograd(new_engine, name, sides):
    """Of sides without features the bag has the period alone."""
    bags = draw_bags("user", "item", n_periods=N_PERIODS)
    for side in {"user", "item"} - {*SIDES_WITH_FEATURES[sides]}:
        bags[side] = Bags(bags[side].matrix[:, :0], bags[side].penalty[:N_PERIODS], N_PERIODS)
    batch = draw_moments(N_PERIODS)
    require_predictions_loss_and_gradients_of_autograd(new_engine, IN_PERIODS[name], batch, bags)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_periods_a_hundred_steps_are_those_of_torch(new_engine, name):
    make_ours, make_theirs = OPTIMIZERS[name]
    architecture, bags = replace(TANH, periods=N_PERIODS), draw_bags("user", "item", n_periods=N_PERIODS)
    engine = new_engine(architecture, make_ours(), bags=bags)
    model = TorchModel(architecture, draw_parameters(architecture, bags=bags), bags)
    optimizer, penalty = RowOptimizer(model, make_theirs), as_tensors(*draw_penalty())
    for seed in range(100):
        batch = draw_moments(N_PERIODS, seed)
        expected_loss, _ = model.gradients(*as_tensors(*batch), *penalty)
        optimizer.step(*batch[:2])
        assert engine.step(*batch) == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(engine.parameters, model.values()) <= 1e-9


IN_STEPS = {name: replace(given, likelihood="ordinal") for name, given in ARCHITECTURES.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_of_ordinal_ratings_loss_and_every_gradient_are_those_of_autograd(new_engine, name):
    """As well as a difference of two probabilities can tell, which the engines do not take."""
    architecture, batch = IN_STEPS[name], in_steps(draw_batch())
    model = TorchModel(architecture, draw_parameters(architecture))
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty()))
    loss, gradients = gradients_of(new_engine(architecture, SGD(1.0), ordinal=ORDINAL), batch)
    assert loss == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ["A_SMALL", "no MLP"])
def test_of_ordinal_ratings_in_float32_loss_and_gradients_are_the_same_to_rounding(new_engine, name):
    architecture, batch = IN_STEPS[name], in_steps(draw_batch(dtype=np.float32))
    model = TorchModel(architecture, draw_parameters(architecture, np.float32))
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty(np.float32)))
    engine = new_engine(architecture, SGD(1.0), dtype=np.float32, ordinal=ORDINAL)
    loss, gradients = gradients_of(engine, batch)
    assert all(g.dtype == np.float32 for g in gradients.values())
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert relative_error(gradients, expected) <= 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("architecture", [TANH, Architecture(3)], ids=["mlp", "mf"])
def test_of_ordinal_ratings_a_hundred_steps_are_those_of_torch(new_engine, architecture, name):
    make_ours, make_theirs = OPTIMIZERS[name]
    architecture = replace(architecture, likelihood="ordinal")
    engine = new_engine(architecture, make_ours(), ordinal=ORDINAL)
    model = TorchModel(architecture, draw_parameters(architecture))
    optimizer, penalty = RowOptimizer(model, make_theirs), as_tensors(*draw_penalty())
    for seed in range(100):
        batch = in_steps(draw_batch(seed))
        expected_loss, _ = model.gradients(*as_tensors(*batch), *penalty)
        optimizer.step(*batch[:2])
        assert engine.step(*batch) == pytest.approx(expected_loss, rel=1e-9)
    assert relative_error(engine.parameters, model.values()) <= 1e-9


def test_with_features_in_float32_steps_stay_with_those_in_float64(new_engine):
    bags = draw_bags("user", "item")
    parameters = draw_parameters(TANH, np.float32, bags=bags)
    wide = {n: v.astype(np.float64) for n, v in parameters.items()}
    single = new_engine(TANH, Adam(0.01), dtype=np.float32, parameters=parameters, bags=bags)
    double = new_engine(TANH, Adam(0.01), parameters=wide, bags=bags)
    for seed in range(30):
        users, items, ratings = draw_batch(seed, dtype=np.float32)
        loss = single.step(users, items, ratings)
        assert loss == pytest.approx(double.step(users, items, ratings), rel=1e-3, abs=1e-4)
    assert all(value.dtype == np.float32 for value in parameters.values())
    assert relative_error(single.parameters, double.parameters) <= 1e-2


def test_a_hundred_steps_of_adam_are_those_of_sparse_adam(new_engine):
    """SparseAdam adds epsilon to √v before correcting the bias, we after it: here it is nothing."""
    engine = new_engine(TANH, Adam(0.02, epsilon=1e-30))
    model = TorchModel(TANH, draw_parameters(TANH))
    torch.sparse.check_sparse_tensor_invariants.enable()  # torch warns until it is told to check or not
    tables = {name: p for name, p in model.named_parameters() if "_" in name}
    rows = torch.optim.SparseAdam(list(tables.values()), lr=0.02, eps=1e-30)
    dense = torch.optim.Adam([p for n, p in model.named_parameters() if n not in tables], lr=0.02, eps=1e-30)
    penalty = as_tensors(*draw_penalty())
    for seed in range(100):
        users, items, ratings = draw_batch(seed)
        engine.step(users, items, ratings)
        model.gradients(*as_tensors(users, items, ratings), *penalty)
        for name, table in tables.items():
            ids = torch.tensor(np.unique(users if name.startswith("user") else items), dtype=torch.int64)
            table.grad = torch.sparse_coo_tensor(ids[None], table.grad[ids], table.shape)
        rows.step()
        dense.step()
    assert relative_error(engine.parameters, model.values()) <= 1e-9


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_in_float32_a_hundred_steps_stay_with_those_in_float64(new_engine, name):
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


def test_a_step_learns_in_the_arrays_that_the_engine_was_given(new_engine):
    parameters = draw_parameters(A_SMALL)
    engine = new_engine(A_SMALL, Adam(), parameters=parameters)
    engine.step(*draw_batch())
    first = draw_parameters(A_SMALL)
    for name, value in parameters.items():
        assert engine.parameters[name] is value
        assert (value != first[name]).any()


def test_a_step_leaves_its_batch_as_it_is(new_engine):
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


def test_dropout_is_for_training_only(new_engine):
    architecture = Architecture(4, (6,), dropout=0.5)
    users, items, _ = draw_batch()
    expected = TorchModel(architecture, draw_parameters(architecture))(*as_tensors(users, items))
    prediction = new_engine(architecture, Adam()).predict(users, items)
    np.testing.assert_allclose(prediction, expected.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_same_steps_give_the_same_bits(new_engine, dropout):
    architecture = Architecture(4, (6, 3), dropout=dropout)
    engines = [new_engine(architecture, Adam(), dtype=np.float32, rng=np.random.default_rng(3)) for _ in "12"]
    for seed in range(10):
        losses = [engine.step(*draw_batch(seed, dtype=np.float32)) for engine in engines]
        assert losses[0] == losses[1]
    for name, value in engines[0].parameters.items():
        assert value.tobytes() == engines[1].parameters[name].tobytes()


def test_the_learning_rate_may_change_between_steps(new_engine):
    engine = new_engine(A_SMALL, SGD(0.0))
    engine.step(*draw_batch())
    np.testing.assert_array_equal(engine.parameters["intercept"], draw_parameters(A_SMALL)["intercept"])
    engine.optimizer.learning_rate = 0.1
    engine.step(*draw_batch())
    assert (engine.parameters["intercept"] != draw_parameters(A_SMALL)["intercept"]).all()


@pytest.mark.parametrize("batch", [([3], [2]), ([3] * 5, [2] * 5), ([0, 1], [5, 5])])
def test_a_batch_may_be_one_rating_or_one_pair_again_and_again(new_engine, batch):
    users, items = (np.array(ids, np.int64) for ids in batch)
    ratings = np.linspace(1, 5, len(users))
    model = TorchModel(B_MEDIUM, draw_parameters(B_MEDIUM))
    expected_loss, expected = model.gradients(*as_tensors(users, items, ratings, *draw_penalty()))
    loss, gradients = gradients_of(new_engine(B_MEDIUM, SGD(1.0)), (users, items, ratings))
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradients, expected) <= 1e-9


def test_tables_may_have_more_rows_than_sixteen_bits_count(new_engine):
    architecture, n = Architecture(embedding_dim=2, hidden_layer_sizes=(3,)), 70_000
    ids = np.array([65_536, 0, 69_999, 65_536, 65_535], np.int32)
    ratings = np.linspace(1, 5, len(ids))
    penalty = np.linspace(0, 0.2, n + 1)
    parameters = draw_parameters(architecture, n_users=n, n_items=n)
    model = TorchModel(architecture, parameters)
    expected = model.gradients(*as_tensors(ids, ids[::-1].copy(), ratings, penalty, penalty))[1]
    engine = new_engine(architecture, SGD(1.0), parameters=parameters, penalty=(penalty, penalty))
    _, gradients = gradients_of(engine, (ids, ids[::-1].copy(), ratings))
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "biases alone", "A_SMALL"])
def test_one_rating_by_itself_moves_along_the_gradient_of_autograd(new_engine, name):
    architecture, batch = ARCHITECTURES[name], draw_batch(n=1)
    model = TorchModel(architecture, draw_parameters(architecture))
    expected_loss, expected = model.gradients(*as_tensors(*batch, *draw_penalty()))
    engine = new_engine(architecture, SGD(1.0))
    before = {parameter: value.copy() for parameter, value in engine.parameters.items()}
    assert engine.one_by_one(*batch) == pytest.approx(expected_loss, rel=1e-12)
    gradients = {parameter: before[parameter] - value for parameter, value in engine.parameters.items()}
    assert relative_error(gradients, expected) <= 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("make", [partial(SGD, 0.02), partial(SGD, 0.01, momentum=0.5), Adam])
@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "biases alone", "A_SMALL"])
def test_ratings_one_by_one_are_batches_of_one_of_the_numpy_engine(new_engine, name, make, dtype, tolerance):
    architecture, batch = ARCHITECTURES[name], draw_batch(n=200, dtype=dtype)
    engine = new_engine(architecture, make(), dtype=dtype)
    specification = ENGINES["numpy"](
        architecture, draw_parameters(architecture, dtype), make(), *draw_penalty(dtype)
    )
    losses = [specification.step(*(column[r : r + 1] for column in batch)) for r in range(200)]
    assert engine.one_by_one(*batch) == pytest.approx(np.mean(losses), rel=tolerance)
    assert relative_error(engine.parameters, specification.parameters) <= tolerance
    assert engine.optimizer.state["intercept"]["step"] == 200


def test_with_features_ratings_go_one_by_one_as_well(new_engine):
    bags, batch = draw_bags("user", "item"), draw_batch(n=50)
    architecture = ARCHITECTURES["no MLP"]
    engine, twin = (new_engine(architecture, SGD(0.01), bags=bags) for _ in "12")
    losses = [twin.step(*(column[r : r + 1] for column in batch)) for r in range(50)]
    assert engine.one_by_one(*batch) == pytest.approx(np.mean(losses), rel=1e-12)
    assert relative_error(engine.parameters, twin.parameters) <= 1e-12

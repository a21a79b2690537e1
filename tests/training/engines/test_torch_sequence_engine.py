"""The engine of models with a sequence: what a rating is predicted from, and what is minimised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from numpy_neural_mf import Architecture, simulate_ratings
from numpy_neural_mf.data.time_order import in_time_order
from numpy_neural_mf.nn import SGD, Adam
from numpy_neural_mf.training.engines import ENGINES

RATINGS = simulate_ratings(n_users=12, n_items=15, n_ratings=120, random_state=1)
TIMES = np.random.default_rng(0).integers(0, 25, len(RATINGS))  # so that some are equal
RATINGS = in_time_order(replace(RATINGS, timestamps=TIMES))
COLUMNS = RATINGS.users, RATINGS.items, RATINGS.values.astype(np.float64)
ARCHITECTURES = {
    "attention": Architecture(4, dropout=0.0, sequence="attention", sequence_length=6),
    "GRU": Architecture(4, (5,), dropout=0.0, sequence="gru", sequence_length=6),
}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return ARCHITECTURES[request.param]


def new_engine(architecture, optimizer=None, seed=0, penalty=0.0):
    rng = np.random.default_rng(7)
    shapes = architecture.parameter_shapes(RATINGS.n_users, RATINGS.n_items)
    parameters = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    penalties = (np.full(n + 1, penalty) for n in (RATINGS.n_users, RATINGS.n_items))
    optimizer = SGD(1.0) if optimizer is None else optimizer
    rng = np.random.default_rng(seed)
    return ENGINES["torch"](
        architecture, parameters, optimizer, *penalties, 0.0, rng, timestamps=RATINGS.timestamps
    )


def batches_of(engine, size=40):
    return list(engine.cut(COLUMNS, np.arange(len(RATINGS)), size))


def losses_one_by_one(engine, batch):
    """Sums of squared errors and of -log softmax of the item, from the states of each rating's own past."""
    module = engine.module
    (users, rows, piece), items = batch[0].T, batch[1]
    squares = entropies = 0
    for n, (u, i, r) in enumerate(zip(users, items, batch[2], strict=True)):
        before = (piece == piece[n]) & (np.arange(len(piece)) < n)
        earlier = before & (RATINGS.timestamps[rows] < RATINGS.timestamps[rows[n]])
        states = []
        for seen in (earlier, before):
            past = torch.tensor(items[seen].astype(np.int64))[None]
            states.append(module.sequence(past)[0, -1] if seen.any() else torch.zeros(4, dtype=torch.float64))
        table = module.user_embedding.weight[u] + module.sequence.rating.weight @ states[0]
        tables = {"user_embedding.weight": table[None]}
        tables["user_bias.weight"] = module.user_bias.weight[u][None]
        pair = torch.tensor([0]), torch.tensor([int(i)])
        squares = squares + (torch.func.functional_call(module, tables, pair)[0] - r) ** 2
        if before.any():
            logits = module.sequence.embedding.weight @ states[1] + module.sequence.bias.weight[:, 0]
            entropies = entropies + functional.cross_entropy(logits[:-1], torch.tensor(int(i)))
    return squares, entropies


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_goes_down_the_loss_of_every_rating_from_its_own_past(architecture, weight):
    engine = new_engine(replace(architecture, next_item_weight=weight))
    batch = batches_of(engine)[1]
    engine.predict([0], [0])
    before = {name: value.copy() for name, value in engine.parameters.items()}
    squares, entropies = losses_one_by_one(engine, batch)
    loss = (squares + weight * entropies) / len(batch[1])
    names, values = zip(*engine.module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, values, allow_unused=True)
    assert engine.step(*batch) == pytest.approx(squares.item() / len(batch[1]), rel=1e-10)
    for name, gradient in zip(names, gradients, strict=True):
        expected = 0 if gradient is None else gradient.numpy()
        np.testing.assert_allclose(before[name] - engine.parameters[name], expected, rtol=1e-8, atol=1e-10)


def predictions_of_step(architecture, batch):
    """What a step predicts before it learns."""
    engine, told = new_engine(architecture), []
    forward = engine._forward
    engine._forward = lambda *given: told.append(forward(*given)) or told[-1]
    engine.step(*batch)
    return told[0][0].detach().numpy()


def test_neither_what_comes_later_nor_what_comes_at_the_same_time_is_known(architecture):
    """Planted: in place of each rating's item another, and nothing that was not later changes with it."""
    batch = batches_of(new_engine(architecture), 10_000)[0]
    rows, piece = batch[0][:, 1], batch[0][:, 2]
    times, before = RATINGS.timestamps[rows], predictions_of_step(architecture, batch)
    for planted in range(0, len(rows), 5):
        items = batch[1].copy()
        items[planted] = (items[planted] + 1) % RATINGS.n_items
        after = predictions_of_step(architecture, (batch[0], items, batch[2]))
        is_later = (piece == piece[planted]) & (times > times[planted])
        is_other = np.arange(len(rows)) != planted
        np.testing.assert_allclose(after[~is_later & is_other], before[~is_later & is_other], atol=1e-12)
        assert (np.abs(after - before)[is_later] > 1e-12).all()


def test_with_many_negatives_a_step_is_nearly_that_of_all_items(architecture):
    start, ends = new_engine(architecture).parameters, []
    for negatives in (0, 100_000):
        engine = new_engine(replace(architecture, next_item_weight=1.0, negatives=negatives))
        engine.step(*batches_of(engine)[0])
        ends.append(engine.parameters)
    for name in ("sequence.embedding.weight", "sequence.bias.weight"):
        assert np.abs(ends[0][name] - ends[1][name]).max() < 0.05 * np.abs(ends[0][name] - start[name]).max()


def test_the_same_generator_gives_the_same_steps_dropout_included(architecture):
    engines = [new_engine(replace(architecture, dropout=0.4), seed=3) for _ in range(2)]
    torch_before = torch.random.get_rng_state()
    for engine in engines:
        for batch in batches_of(engine):
            engine.step(*batch)
    for name, value in engines[0].parameters.items():
        assert value.tobytes() == engines[1].parameters[name].tobytes()
    assert torch.equal(torch_before, torch.random.get_rng_state())  # whoever else draws is left alone


def test_it_learns_which_item_follows_which():
    """Every user goes round in the same circle of items."""
    n_users, n_items = 30, 8
    users = np.repeat(np.arange(n_users, dtype=np.int32), 7)
    items = ((np.arange(len(users)) % 7 + users * 3) % n_items).astype(np.int32)
    form = Architecture(8, dropout=0.0, sequence="attention", sequence_length=7, next_item_weight=1.0)
    parameters = form.initial_parameters(n_users, n_items, 3.0, np.random.default_rng(0))
    zero = np.zeros(n_users + 1), np.zeros(n_items + 1)
    times = np.arange(len(users), dtype=np.int64)
    engine = ENGINES["torch"](form, parameters, Adam(0.02), *zero, timestamps=times)
    values = np.full(len(users), 3.0, np.float32)
    for _ in range(40):
        for batch in engine.cut((users, items, values), np.arange(len(users)), 70):
            engine.step(*batch)
    encoder = engine.module.sequence
    with torch.no_grad():
        states = encoder(torch.tensor([[0, 1, 2], [5, 6, 7]]))[:, -1]
        logits = states @ encoder.embedding.weight[:-1].T + encoder.bias.weight[:-1, 0]
    assert logits.argmax(dim=1).tolist() == [3, 0]


def test_a_step_is_made_on_one_thread_and_others_get_theirs_back(architecture):
    engine, seen, n_threads = new_engine(architecture), [], torch.get_num_threads()
    engine.predict([0], [0])
    engine.module.sequence.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    try:
        torch.set_num_threads(2)
        engine.step(*batches_of(engine)[0])
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(n_threads)

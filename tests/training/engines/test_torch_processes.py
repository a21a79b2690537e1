"""Many processes train the same model as one process, even if one of them is killed."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.distributed as dist
from cases import draw_batch, draw_parameters
from hypothesis import given
from hypothesis import strategies as st
from torch_engines import SHARED_BATCH, SHARED_FORM, new_engine, objective_of

from numpy_neural_mf import A_SMALL, NeuralMF, load_model, simulate_ratings
from numpy_neural_mf.nn import SGD, Adam
from numpy_neural_mf.training.engines import NumpyEngine
from numpy_neural_mf.training.engines.torch_processes import ProcessGroup, TorchCommunicator

# There are 900 ratings, so the last batch has one rating: one of two processes has none.
SETTINGS = {
    "embedding_dim": 4,
    "hidden_layer_sizes": (8,),
    "epochs": 4,
    "batch_size": 31,
    "engine": "torch",
    "device": "cpu",
}
MORE = {
    "half": {"precision": "float16"},
    "sets": {"implicit": True},
    "timed": {"periods": 5, "drift": True, "previous_item": True},
    "ordinal": {"likelihood": "ordinal"},
}  # fmt: skip

PROGRAM = f"""
    import os, signal
    import numpy as np
    from torch_engines import SHARED_BATCH as batch, SHARED_FORM as form, shard
    from numpy_neural_mf.nn import SGD
    from numpy_neural_mf.training.engines import new_torch_engine
    from numpy_neural_mf import Architecture, NeuralMF, simulate_ratings
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900, drift=0.4, random_state=0)

    def on_progress(progress):
        is_first_attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if os.environ["RANK"] == "1" and is_first_attempt and progress.n_trained > 2 * 900 + 300:
            open("killed", "x").close()
            os.kill(os.getpid(), signal.SIGKILL)

    initial_parameters = Architecture.initial_parameters

    def initial_shards(*given, **more):
        shards = initial_parameters(*given, **more)
        for table in ("user_bias.weight", "user_embedding.weight"):
            assert len(shards[table]) in (30, 31)  # of 61
        return shards

    Architecture.initial_parameters = initial_shards
    fitted = {{}}
    fitted["model"] = NeuralMF(**{SETTINGS}, drift=True).fit(
        ratings, ratings.part(slice(0, 201)), on_progress=on_progress, checkpoint_dir="state"
    )
    for name, settings in {MORE}.items():
        fitted[name] = NeuralMF(**{SETTINGS}, **settings).fit(ratings)
    rank = int(os.environ["RANK"])
    if rank == 0:
        for name, model in fitted.items():
            model.save(name + ".safetensors")
    parameters, objective = shard(form, slice(rank, None, 2))
    engine = new_torch_engine(form, parameters, SGD(1.0), objective, np.random.default_rng(0))
    own = tuple(column[slice(0, 30) if rank == 0 else slice(30, None)] for column in batch)
    engine.step(*next(engine.cut(own, np.arange(40), 40)))
    squares = engine.communicator.all_reduce(objective.squares)
    data = {{"data." + n: d for n, d in engine.communicator.gathered(objective.data).items()}}
    parameters = engine.communicator.gathered(parameters)
    if rank == 0:
        np.savez("step.npz", squares=squares, **parameters, **data)
"""


@given(n=st.integers(0, 10_000), size=st.integers(1, 20))
def test_parts_of_the_ratings_are_as_equal_as_possible_and_together_all(n, size):
    ratings, parts = np.arange(n), []
    for rank in range(size):
        process = TorchCommunicator()
        process.rank, process.size = rank, size
        parts.append(ratings[process.part(n)])
    np.testing.assert_array_equal(np.concatenate(parts), ratings)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.fixture
def alone_in_a_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield ProcessGroup(torch.device("cpu"))
    dist.destroy_process_group()


def test_rows_come_in_the_order_asked_for_and_gradients_of_a_row_go_back(alone_in_a_group):
    exchange = alone_in_a_group.exchange(torch.tensor([1, 4, 6]))
    assert exchange.owned.tolist() == [1, 4, 6]
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    fetched = exchange.fetch(rows)
    np.testing.assert_array_equal(fetched.detach(), rows.detach())
    (fetched * torch.tensor([[2.0], [3.0], [4.0]])).sum().backward()
    assert rows.grad[:, 0].tolist() == [2, 3, 4]


def test_processes_with_different_initial_parameters_are_refused(alone_in_a_group, monkeypatch):
    alone_in_a_group.require_same([3.0])
    other = {dist.ReduceOp.MIN: 2.5, dist.ReduceOp.MAX: 3.5}  # as if another process had these values
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, op: tensor.fill_(other[op]))
    with pytest.raises(ValueError, match="give all of them the same ratings and random_state"):
        alone_in_a_group.require_same([3.0])


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_two_processes_train_the_model_of_one_even_if_one_is_killed(tmp_path):
    """Torchrun starts both again, and they resume from the checkpoint."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "--max-restarts=1", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900, drift=0.4, random_state=0)
    expected = NeuralMF(**SETTINGS, drift=True).fit(ratings, ratings.part(slice(0, 201)))
    together = load_model(tmp_path / "model.safetensors")
    for losses in ("train_loss", "expected_loss", "validation_loss"):
        ours, theirs = (getattr(model.history_, losses) for model in (together, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    require_same(together, expected)
    for name in MORE.keys() - {"half"}:
        require_same(
            load_model(tmp_path / f"{name}.safetensors"), NeuralMF(**SETTINGS, **MORE[name]).fit(ratings)
        )
    expected_half = NeuralMF(**SETTINGS, **MORE["half"]).fit(ratings)
    with np.load(tmp_path / "step.npz") as step:
        require_step_of_one(step)
    half = load_model(tmp_path / "half.safetensors")  # equal to the rounding of 16 bits
    np.testing.assert_allclose(half.history_.train_loss, expected_half.history_.train_loss, rtol=1e-3)


def require_step_of_one(step):
    """Check that parameters, data and squares of two processes equal those of one."""
    expected = NumpyEngine(SHARED_FORM, draw_parameters(SHARED_FORM), SGD(1.0), objective_of(SHARED_FORM))
    expected.step(*SHARED_BATCH)
    wanted = {"squares": expected.objective.squares, **expected.parameters}
    wanted |= {f"data.{name}": data for name, data in expected.objective.data.items()}
    assert set(step) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(step[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        assert value.any()


def require_same(together, expected):
    for arrays in ("parameters_", "variances_", "prior_", "prior_variances_"):
        found, wanted = getattr(together, arrays), getattr(expected, arrays)
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=f"{arrays} {name}")


def test_if_one_process_overflows_all_skip_the_step_and_halve_the_scale(alone_in_a_group, monkeypatch):
    engine = new_engine(A_SMALL, Adam(), on={"precision": "float16"})
    engine.communicator = alone_in_a_group
    engine._scaler = alone_in_a_group.scaler(engine.device, True)
    users, items, _ = draw_batch(n=64)
    batch = users, items, engine.predict(users, items) + 0.1  # gradients that do not overflow by themselves
    before = {name: value.copy() for name, value in engine.parameters.items()}

    def found_elsewhere(tensor, op=dist.ReduceOp.SUM):
        if op == dist.ReduceOp.MAX and tensor.shape == ():
            tensor.fill_(1)

    monkeypatch.setattr(dist, "all_reduce", found_elsewhere)
    engine.step(*batch)
    for name, value in engine.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    assert engine._scaler.get_scale() == 2**15
    monkeypatch.undo()
    engine.step(*batch)
    assert (engine.parameters["user_bias.weight"] != before["user_bias.weight"]).any()
    assert engine._scaler.get_scale() == 2**15


HELD_AT_THE_END = """
import sys, torch, torch.distributed as dist
from numpy_neural_mf.training.engines import torch_processes
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
weight = torch.nn.Parameter(torch.ones(1))
weight.grad = torch.ones(1)
torch.optim.Adam([weight]).step()
group = dist.group.WORLD
dist.destroy_process_group()
print(sys.getrefcount(group) - 1)
del group
"""


def test_at_the_end_nothing_refers_to_the_group_and_its_threads():
    done = subprocess.run([sys.executable, "-c", HELD_AT_THE_END], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"  # only this name


def test_a_single_process_gathers_its_own_data(alone_in_a_group, monkeypatch):
    """Rows come in blocks, for tables and for other arrays."""
    monkeypatch.setattr("numpy_neural_mf.training.engines.torch_processes.AT_ONCE", 3)
    own = {
        "user_bias.weight": np.arange(14.0).reshape(7, 2),
        "mlp.0.weight": np.eye(3),
        "intercept": np.ones(1),
    }
    assert alone_in_a_group.whole_shape(own["user_bias.weight"]) == (7, 2)
    for name, array in alone_in_a_group.gathered(own).items():
        np.testing.assert_array_equal(array, own[name])
    assert alone_in_a_group.place(4) == slice(0, 4)
    assert alone_in_a_group.all_gather(np.arange(3)).tolist() == [0, 1, 2]
    assert alone_in_a_group.broadcast(lambda: "known") == "known"

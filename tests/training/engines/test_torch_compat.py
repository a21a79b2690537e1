"""The package's uses of PyTorch's internals: each test fails if PyTorch has changed one."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.distributed as dist

from numpy_neural_mf.training.engines.torch_compat import (
    CommonGradScaler,
    all_to_all,
    allow_uncaptured_steps,
    gradient_of_embedding,
)


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_rows_go_to_all_processes_and_gradients_come_back():
    rows = torch.tensor([[1.0], [2.0]], requires_grad=True)
    assert all_to_all(torch.tensor([3, 4])).tolist() == [3, 4]
    received = all_to_all(rows, [2], [2], autograd=True)
    (received * torch.tensor([[5.0], [7.0]])).sum().backward()
    assert rows.grad.tolist() == [[5], [7]]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_values_are_summed_at_their_positions(dtype):
    positions = torch.tensor([2, 0, 2, 3], dtype=dtype)
    values = torch.tensor([[1.0, 3.0], [2.0, 0.0], [4.0, 1.0], [8.0, 0.0]])
    sums = [[2, 0], [0, 0], [5, 4], [8, 0], [0, 0]]
    assert gradient_of_embedding(values, positions, 5).tolist() == sums
    assert gradient_of_embedding(values[:0], positions[:0], 2).tolist() == [[0, 0], [0, 0]]


def test_a_capturable_optimizer_takes_uncaptured_steps_without_a_warning():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam([weight])
    assert hasattr(optimizer, "_warned_capturable_if_run_uncaptured")
    allow_uncaptured_steps(optimizer)
    assert optimizer.param_groups[0]["capturable"]
    assert optimizer._warned_capturable_if_run_uncaptured  # otherwise PyTorch warns


def test_an_overflow_in_any_process_skips_the_step():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], 0.1)
    scaler = CommonGradScaler("cpu", True, lambda found: found.fill_(1))
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.item() == 1
    assert scaler.get_scale() == 2**15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_says_that_threads_do_not_survive():
    program = """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from numpy_neural_mf import NeuralMF, simulate_ratings
        ratings = simulate_ratings(n_users=30, n_items=20, n_ratings=200, random_state=0)
        def fit():
            NeuralMF(engine="torch", device="cpu", epochs=1).fit(ratings)
        fit()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            try:
                pool.apply(fit)
            except RuntimeError as error:
                print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300
    )
    assert 'start processes with multiprocessing.get_context("spawn")' in done.stdout, done.stderr

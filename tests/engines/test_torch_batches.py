"""Batches on a device are the host's, whether the columns are there or come batch by batch."""

import numpy as np
import pytest
import torch

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.data import batches
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.engines import torch_batches
from numpy_neural_mf.engines.torch_batches import DeviceBatches

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=700, random_state=0)
FEWER = simulate_ratings(n_users=20, n_items=10, n_ratings=50, random_state=0)
CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [256, 1_000])
@pytest.mark.parametrize("resident", [True, False])
def test_every_epoch_has_the_batches_of_the_host_in_their_order(monkeypatch, resident, window):
    monkeypatch.setattr(torch_batches, "fits", lambda n_bytes, device: resident)
    monkeypatch.setattr(batches, "WINDOW", window)
    there = Batches(RATINGS, 64, np.random.default_rng(0), DeviceBatches(CPU).cut)
    here = Batches(RATINGS, 64, np.random.default_rng(0))
    for _ in range(2):
        for theirs, ours in zip(there.epoch(), here.epoch(), strict=True):
            for column, expected in zip(theirs, ours, strict=True):
                assert isinstance(column, torch.Tensor)
                np.testing.assert_array_equal(column.numpy(), expected)


def test_columns_are_sent_once_and_again_only_for_others(monkeypatch):
    sent = []
    monkeypatch.setattr(torch_batches, "fits", lambda n_bytes, device: sent.append(n_bytes) or True)
    device_batches = DeviceBatches(CPU)
    for n, ratings in ((700, RATINGS), (700, RATINGS), (50, FEWER)):
        source = Batches(ratings, 64, np.random.default_rng(0), device_batches.cut)
        list(source.epoch())
        list(source.epoch())
        assert sent[-1] == 12 * n
    assert len(sent) == 3


def test_an_error_in_the_other_thread_is_told(monkeypatch):
    monkeypatch.setattr(torch_batches, "fits", lambda n_bytes, device: False)

    def broken(columns, rows, size):
        yield columns
        raise OSError("the disk is gone")

    monkeypatch.setattr(torch_batches, "cut", broken)
    columns = RATINGS.users, RATINGS.items, RATINGS.values
    with pytest.raises(OSError, match="the disk is gone"):
        list(DeviceBatches(CPU).cut(columns, np.arange(2), 8))

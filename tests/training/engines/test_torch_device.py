"""Batches on a device equal the host's, whether columns are on the device or sent by batch or in parts."""

import numpy as np
import pytest
import torch

from numpy_neural_mf import simulate_ratings
from numpy_neural_mf.data import batches
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.training.distributed import Communicator
from numpy_neural_mf.training.engines import torch_device
from numpy_neural_mf.training.engines.torch_device import DeviceBatches, cut_share

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=700, random_state=0)
FEWER = simulate_ratings(n_users=20, n_items=10, n_ratings=50, random_state=0)
CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [256, 1_000])
@pytest.mark.parametrize("resident", [True, False])
def test_every_epoch_has_the_host_s_batches_in_order(monkeypatch, resident, window):
    monkeypatch.setattr(torch_device, "fits", lambda n_bytes, device: resident)
    monkeypatch.setattr(batches, "WINDOW", window)
    there = Batches(RATINGS, 64, np.random.default_rng(0), DeviceBatches(CPU).cut)
    here = Batches(RATINGS, 64, np.random.default_rng(0))
    for _ in range(2):
        for theirs, ours in zip(there.epoch(), here.epoch(), strict=True):
            for column, expected in zip(theirs, ours, strict=True):
                assert isinstance(column, torch.Tensor)
                np.testing.assert_array_equal(column.numpy(), expected)


def epochs_of_process(rank, size, way):
    """Return two epochs of one of several processes, which gets only its part of the ratings."""
    process = Communicator()
    process.rank, process.size = rank, size
    share = process.part(len(RATINGS))
    process.place = lambda n: share
    cut = DeviceBatches(CPU, process).cut
    if way == "host":
        cut = lambda columns, rows, n: cut_share(columns, rows, n, share)  # noqa: E731
    source = Batches(RATINGS.part(share), 64, np.random.default_rng(0), cut, len(RATINGS))
    epochs = [
        [tuple(np.asarray(c) for c in batch if c is not None) for batch in source.epoch()] for _ in range(2)
    ]
    for epoch in epochs:
        assert sum(len(values) for _, _, values, *_ in epoch) == share.stop - share.start
    return epochs[0] + epochs[1]


@pytest.mark.parametrize("way", ["host", "resident", "sent"])
@pytest.mark.parametrize("size", [2, 3])
def test_processes_read_only_their_shares_which_together_are_one_process_s_batches(monkeypatch, way, size):
    monkeypatch.setattr(torch_device, "fits", lambda n_bytes, device: way == "resident")
    monkeypatch.setattr(batches, "WINDOW", 256)
    alone = Batches(RATINGS, 64, np.random.default_rng(0))
    expected = [*alone.epoch(), *alone.epoch()]
    together = [tuple(np.full_like(column, -1) for column in batch) for batch in expected]
    for rank in range(size):
        for batch, (*part, is_own) in zip(together, epochs_of_process(rank, size, way), strict=True):
            for column, own in zip(batch, part, strict=True):
                assert (column[is_own] == -1).all()  # no other process has them
                column[is_own] = own
    for ours, theirs in zip(together, expected, strict=True):
        for column, of_one in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(column, of_one)


def test_columns_are_sent_once_until_other_columns_come(monkeypatch):
    sent = []
    monkeypatch.setattr(torch_device, "fits", lambda n_bytes, device: sent.append(n_bytes) or True)
    device_batches = DeviceBatches(CPU)
    for n, ratings in ((700, RATINGS), (700, RATINGS), (50, FEWER)):
        source = Batches(ratings, 64, np.random.default_rng(0), device_batches.cut)
        list(source.epoch())
        list(source.epoch())
        assert sent[-1] == 12 * n
    assert len(sent) == 3


def test_columns_that_changed_are_sent_again():
    columns = tuple(column.copy() for column in (RATINGS.users, RATINGS.items, RATINGS.values))
    device_batches = DeviceBatches(CPU)
    device_batches._send = lambda column: torch.tensor(column)  # a copy, as on another device
    list(device_batches.cut(columns, np.arange(700), 64))
    columns[2][:] = 1.5
    device_batches.send()
    for *_, values in device_batches.cut(columns, np.arange(700), 64):
        assert (values == 1.5).all()


def test_an_error_in_the_other_thread_is_raised(monkeypatch):
    monkeypatch.setattr(torch_device, "fits", lambda n_bytes, device: False)

    def broken(columns, rows, size):
        yield columns
        raise OSError("the disk is gone")

    monkeypatch.setattr(torch_device, "cut", broken)
    columns = RATINGS.users, RATINGS.items, RATINGS.values
    with pytest.raises(OSError, match="the disk is gone"):
        list(DeviceBatches(CPU).cut(columns, np.arange(2), 8))

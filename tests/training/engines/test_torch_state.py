"""Joined tables are read and written like separate ones."""

import numpy as np
import pytest
import torch

from numpy_neural_mf.training.engines.torch_state import JoinedTables


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_rows_are_the_rows_of_the_parts_side_by_side(n_parts):
    parts = [torch.arange(6.0 * width).reshape(6, width) + 100 * width for width in range(1, 1 + n_parts)]
    before = [part.clone() for part in parts]
    tables, rows = JoinedTables(parts), torch.tensor([4, 0, 4])
    found = tables[rows]
    np.testing.assert_array_equal(found, np.hstack([part.numpy()[[4, 0, 4]] for part in parts]))
    found[0] = -1.0  # a copy
    assert all(torch.equal(part, old) for part, old in zip(parts, before, strict=True))


def test_written_rows_and_no_others_change_in_the_parts():
    factors, bias = torch.zeros(5, 2), torch.zeros(5, 1)
    JoinedTables([factors, bias])[torch.tensor([3, 1])] = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(factors, [[0, 0], [4, 5], [0, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(bias[:, 0], [0, 6, 0, 3, 0])

"""Figures that a notebook shows."""

import pytest

from numpy_neural_mf.training import History

PNG = b"\x89PNG\r\n"


def test_each_loss_has_a_line_and_a_label():
    history = History([1.0, 0.8, 0.7], [1.1, 0.9, 0.85], [], [0.1] * 3, 3)
    (axes,) = history.plot().axes
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}
    assert lines == {
        "training": ([1, 2, 3], history.train_loss),
        "expected of unseen ratings": ([1, 2, 3], history.expected_loss),
    }
    assert axes.get_xlabel() == "epoch"


@pytest.mark.parametrize("epochs", [1, 30])
def test_a_notebook_shows_a_picture(epochs):
    history = History([0.5] * epochs, [], [0.6] * epochs, [1.0] * epochs, epochs)
    assert history.plot()._repr_png_().startswith(PNG)

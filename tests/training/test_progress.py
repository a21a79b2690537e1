"""Training shows its progress if asked to, and logs its epochs under one logger name."""

import logging
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest

from numpy_neural_mf import (
    BayesianMF,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    NeuralMF,
    NextItemModel,
    random_split,
    simulate_ratings,
)
from numpy_neural_mf.training.loop import Progress
from numpy_neural_mf.training.progress import MOST_LINES, showing

RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, sequence=0.4)
TRAIN, VALIDATION = random_split(RATINGS, 0.2)
MODELS = {
    "NeuralMF": partial(NeuralMF, embedding_dim=4, epochs=3),
    "one rating at a time": partial(NeuralMF, embedding_dim=4, hidden_layer_sizes=(), epochs=3, batch_size=1),
    "BayesianMF": partial(BayesianMF, 4, n_samples=2, burn_in=1),
    "NextItemModel": partial(NextItemModel, embedding_dim=4, epochs=3),
}


@pytest.fixture(params=MODELS)
def model(request):
    if request.param == "NextItemModel":
        pytest.importorskip("torch")
    return MODELS[request.param]()


def test_without_a_terminal_each_epoch_is_a_line_without_control_codes(model, capsys):
    model.fit(TRAIN, progress=True)
    output, lines = capsys.readouterr()
    history = model.history_
    assert output == ""
    assert lines.splitlines() == [
        f"{type(model).__name__}: epoch {n} of 3, loss {loss:.4f}"
        for n, loss in enumerate(history.train_loss, 1)
    ]


def test_in_a_terminal_progress_is_a_bar(model, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    model.fit(TRAIN, progress=True)
    shown = capsys.readouterr().err
    assert "epoch 3 of 3" in shown
    assert "\x1b[?25h" in shown  # the cursor, at the end


def test_by_default_nothing_is_shown(model, capsys):
    model.fit(TRAIN)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def notebook(monkeypatch):
    """The successive displays below the cell of a notebook."""
    shown = []

    def display(html, display_id):
        assert display_id
        shown.append(html)
        return SimpleNamespace(update=shown.append)

    module = ModuleType("IPython.display")
    module.HTML, module.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


def test_in_a_notebook_a_line_below_the_cell_is_replaced(model, notebook, capsys):
    model.fit(TRAIN, progress=True)
    assert notebook[0] == type(model).__name__
    assert notebook[-1].startswith("<progress ")
    assert f"{type(model).__name__}: epoch 3 of 3, loss {model.history_.train_loss[-1]:.4f}" in notebook[-1]
    assert capsys.readouterr() == ("", "")


def test_a_callback_is_also_called_and_only_some_of_many_epochs_are_lines(capsys):
    called, epochs = [], 420
    with showing(True, "BayesianMF", called.append) as on_progress:
        for epoch in range(1, epochs + 1):
            on_progress(Progress(epoch, epochs, epoch * 10, epochs * 10, 0.5, 0.6))
    lines = capsys.readouterr().err.splitlines()
    assert len(called) == epochs
    assert len(lines) == MOST_LINES
    assert lines[-1] == "BayesianMF: epoch 420 of 420, loss 0.5000, validation 0.6000"


@pytest.mark.parametrize("new_model", [GlobalMean, LinearRegression, ItemKNN])
def test_models_without_epochs_accept_the_argument_and_show_nothing(new_model, capsys):
    new_model().fit(TRAIN, progress=True)
    assert capsys.readouterr() == ("", "")


def test_progress_is_true_or_false():
    with pytest.raises(TypeError, match="progress must be True or False, not 'bar'"):
        NeuralMF(epochs=1).fit(TRAIN, progress="bar")


def test_the_log_has_the_start_the_epochs_and_the_end_of_a_training(model, caplog):
    with caplog.at_level(logging.INFO, "numpy_neural_mf"):
        model.fit(TRAIN, VALIDATION)
    first, *epochs, last = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    history = model.history_
    assert first == f"training on {len(TRAIN)} ratings from epoch 1 to 3"
    assert len(epochs) == 3
    for n, (text, loss, error) in enumerate(
        zip(epochs, history.train_loss, history.validation_loss, strict=True)
    ):
        assert text.startswith(f"epoch {n + 1} of 3: loss {loss:.4f}")
        assert text.endswith(f"validation {error:.4f}")
    assert last == f"trained 3 epochs in {sum(history.seconds):.1f} seconds"
    assert {record.name.partition(".")[0] for record in caplog.records} == {"numpy_neural_mf"}


def test_the_log_says_where_a_training_resumes(tmp_path, caplog):
    class CutOffError(Exception):
        pass

    def cut_off(progress):
        if progress.epoch == 3:
            raise CutOffError

    new_model = partial(NeuralMF, embedding_dim=4, epochs=4)
    with pytest.raises(CutOffError):
        new_model().fit(TRAIN, on_progress=cut_off, checkpoint_dir=tmp_path)
    with caplog.at_level(logging.INFO, "numpy_neural_mf"):
        new_model().fit(TRAIN, checkpoint_dir=tmp_path)
    assert f"training on {len(TRAIN)} ratings from epoch 3 to 4" in caplog.messages

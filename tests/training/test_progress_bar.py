"""Training progress as live lines in a terminal."""

import io
import math
import re

import pytest
from rich.console import Console

from numpy_neural_mf.training.loop import Progress
from numpy_neural_mf.training.progress_bar import ProgressBar


def live(**settings):
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120, **settings)


def progress(n_trained, **settings):
    defaults = {"epoch": 1, "epochs": 2, "n_total": 2_000, "train_loss": 0.9, "validation_loss": math.nan}
    return Progress(n_trained=n_trained, **defaults | settings)


def test_on_a_terminal_runs_epochs_losses_and_speed_are_shown():
    console = live()
    with ProgressBar(3, console) as bar:
        bar.start_run("films, neural, seed 0")
        bar.on_progress(progress(500))
        bar.on_progress(progress(1_500, epoch=2, train_loss=0.8, validation_loss=0.85))
        bar.end_run()
    text = console.file.getvalue()
    assert "run 1 of 3" in text
    assert "epoch 2 of 2" in text
    assert "films, neural, seed 0: loss 0.8000, validation 0.8500" in text
    assert re.search(r"0\.8500, [\d.]+( [kM])? ratings/s", text)
    assert "nan" not in text


def test_a_missing_validation_loss_is_left_out():
    console = live()
    with ProgressBar(1, console) as bar:
        bar.start_run("films")
        bar.on_progress(progress(500))
    text = console.file.getvalue()
    assert "epoch 1 of 2" in text
    assert "loss 0.9000" in text
    assert "validation" not in text


def test_a_new_run_replaces_the_last_one():
    console = live()
    with ProgressBar(2, console) as bar:
        bar.start_run("first")
        bar.on_progress(progress(500))
        bar.end_run()
        console.file.truncate(0)
        bar.start_run("second")
    text = console.file.getvalue()
    assert "second" in text
    assert "run 2 of 2" in text
    assert not re.search("first|loss|epoch", text)


def test_square_brackets_in_a_description_are_not_markup():
    console = live()
    with ProgressBar(1, console) as bar:
        bar.start_run("old [red] films [/]")
    assert "old [red] films [/]" in console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_shows_everything_too(width):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    with ProgressBar(30, console) as bar:
        bar.start_run("simulated, latent structure, B_medium, seed 0, fold 1")
        bar.on_progress(progress(1_500, epoch=2, train_loss=0.8, validation_loss=0.85))
    text = " ".join(re.sub(r"\x1b\[\S*[A-Za-z]", " ", console.file.getvalue()).split())
    assert "simulated, latent structure, B_medium, seed 0, fold 1: loss 0.8000, validation 0.8500" in text
    assert "ratings/s" in text
    assert "epoch 2 of 2" in text


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_cursor_is_shown_again_after_an_error(error):
    console = live()

    def interrupted():
        with ProgressBar(1, console) as bar:
            bar.start_run("films")
            raise error

    with pytest.raises(error):
        interrupted()
    show, hide = "\x1b[?25h", "\x1b[?25l"
    assert console.file.getvalue().rindex(show) > console.file.getvalue().rindex(hide)


def test_nothing_is_live_outside_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=False)
    with ProgressBar(1, console) as bar:
        bar.start_run("films")
        bar.on_progress(progress(500))
        bar.end_run()
    assert console.file.getvalue() == ""

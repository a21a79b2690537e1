"""tune: the search for settings from the command line."""

import re
import sys
import tomllib

import polars as pl
import pytest

from numpy_neural_mf import A_SMALL, NeuralMF, load_model, read_ratings, tune
from numpy_neural_mf.cli.tune import shown_on
from numpy_neural_mf.training.loop import Progress
from numpy_neural_mf.tuning.search import TuningProgress

QUICK = ("--trials", 3, "--epochs", 2)

pytestmark = pytest.mark.usefixtures("ratings_csv")


def settings_in(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_file_has_the_settings_that_python_would_find(run, folder):
    result = run("tune", "ratings.csv", *QUICK, "--seed", 1)
    tuning = tune(read_ratings("ratings.csv"), n_trials=3, epochs=2, random_state=1)
    assert settings_in(folder / "settings.toml") == tuning.settings
    facts = f"{tuning.validation_rmse:.4f}", f"{tuning.default_rmse:.4f}", "optimistic", "0: defaults"
    assert [fact for fact in facts if fact not in result.stdout] == []
    assert result.stderr.startswith("ratings.csv: Ratings: 900 ratings")


def test_the_command_to_run_next_trains_the_best_model(run, folder):
    frame = pl.read_csv("ratings.csv").rename({"user_id": "reader", "item_id": "isbn"})
    frame.write_csv("my ratings.csv")
    options = ("--user", "reader", "--item", "isbn", "--scale", 1, 5)
    text = run("tune", "my ratings.csv", "best.toml", *QUICK, *options).stdout
    command = (
        "numpy-neural-mf train 'my ratings.csv' --settings best.toml --user reader --item isbn --scale 1 5"
    )
    assert f"Next: {command}" in text
    run("train", "my ratings.csv", "--settings", "best.toml", *options)
    same = NeuralMF(**settings_in(folder / "best.toml")).fit(read_ratings("ratings.csv"))
    assert load_model("model.safetensors").parameters_.keys() == same.parameters_.keys()
    for name, value in load_model("model.safetensors").parameters_.items():
        assert value.tobytes() == same.parameters_[name].tobytes(), name


def test_a_given_architecture_is_kept(run, folder):
    run("tune", "ratings.csv", *QUICK, "--architecture", "A_small")
    settings = settings_in(folder / "settings.toml")
    assert settings["embedding_dim"] == A_SMALL.embedding_dim
    assert settings["hidden_layer_sizes"] == list(A_SMALL.hidden_layer_sizes)


def test_the_json_has_every_trial(run_json):
    facts = run_json("tune", "ratings.csv", *QUICK)
    assert [trial["trial"] for trial in facts["trials"]] == [0, 1, 2]
    assert facts["validation_rmse"] == min(trial["validation_rmse"] for trial in facts["trials"])
    assert facts["default_rmse"] == facts["trials"][0]["validation_rmse"]
    assert NeuralMF(**facts["settings"]).epochs == 2


def test_a_resumed_study_reports_the_finished_trials(run):
    run("tune", "ratings.csv", "--trials", 2, "--epochs", 2, "--study", "study.journal")
    again = run("tune", "ratings.csv", *QUICK, "--study", "study.journal")
    assert "2 of 3 trials were in study.journal already" in again.stderr


@pytest.mark.parametrize(
    ("n_finished", "sentence"),
    [
        (2, "interrupted: settings.toml has the best of 2 trials"),
        (0, "interrupted before a trial was complete: settings.toml was not written"),
    ],
)
def test_an_interrupted_search_keeps_the_best_so_far(run, folder, monkeypatch, n_finished, sentence):
    def on_progress(progress):  # Ctrl-C in the first batch of a trial
        if progress.n_finished == n_finished:
            raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.cli.tune.shown_on", lambda bar: on_progress)
    assert sentence in run("tune", "ratings.csv", *QUICK, code=130).stderr
    assert (folder / "settings.toml").exists() == bool(n_finished)


def test_the_bar_counts_the_trials_of_a_resumed_study():
    class Bar:
        def __init__(self):
            self.calls = []

        def start_run(self, description):
            self.calls.append(description)

        def end_run(self):
            self.calls.append("end")

        def on_progress(self, progress):
            self.calls.append(progress.n_trained)

    bar = Bar()
    show = shown_on(bar)
    for n_finished, best_rmse, n_trained in [(2, 0.9, 10), (2, 0.9, 20), (3, 0.8, 10)]:
        show(TuningProgress(n_finished, best_rmse, Progress(1, 2, n_trained, 40, 1.0, 1.0)))
    assert bar.calls == ["end", "end", "best 0.9000, now", 10, 20, "end", "best 0.8000, now", 10]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--architecture", "D_huge"], "architecture must be one of A_small, B_medium, C_wide, not 'D_huge'"),
        (["--trials", 0], "n_trials must be an integer of at least 1, not 0"),
        (["--study", "ratings.csv"], "ratings.csv: expected a study, found another kind of file"),
    ],
)
def test_bad_input_is_one_clear_sentence(run, folder, arguments, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        run("tune", "ratings.csv", *arguments)
    assert not (folder / "settings.toml").exists()


def test_without_optuna_the_extra_is_named(monkeypatch, run_main):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, out, err = run_main("tune", "ratings.csv")
    assert (code, out) == (1, "")
    assert err.endswith('numpy-neural-mf: tune needs Optuna: pip install "numpy-neural-mf[tune]"\n')

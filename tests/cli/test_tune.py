"""The search for settings, as a user types it."""

import json
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from numpy_neural_mf import A_SMALL, NeuralMF, cli, load_model, read_ratings, simulate_ratings, tune
from numpy_neural_mf.cli.tune import shown_on
from numpy_neural_mf.training.loop import Progress
from numpy_neural_mf.tuning.search import TuningProgress

QUICK = ("--trials", "3", "--epochs", "2")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """A folder with my ratings.csv, whose columns have names of their own."""
    monkeypatch.chdir(tmp_path)
    frame = simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_frame()
    frame.rename({"user_id": "reader", "item_id": "isbn"}).write_csv("my ratings.csv")
    frame.write_csv("ratings.csv")


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def settings_in(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_file_has_the_settings_that_python_would_find(tmp_path):
    said = run("tune", "ratings.csv", *QUICK, "--seed", "1").stdout
    tuning = tune(read_ratings("ratings.csv"), n_trials=3, epochs=2, random_state=1)
    assert settings_in(tmp_path / "settings.toml") == tuning.settings
    for fact in (f"{tuning.validation_rmse:.4f}", f"{tuning.default_rmse:.4f}", "optimistic", "0: defaults"):
        assert fact in said


def test_the_command_to_run_next_trains_the_best_model(tmp_path):
    columns = ("--user", "reader", "--item", "isbn")
    said = run("tune", "my ratings.csv", "best.toml", *QUICK, *columns, "--scale", "1", "5").stdout
    command = (
        "numpy-neural-mf train 'my ratings.csv' --settings best.toml --user reader --item isbn --scale 1 5"
    )
    assert f"Next: {command}" in said
    run("train", "my ratings.csv", "--settings", "best.toml", *columns, "--scale", "1", "5")
    same = NeuralMF(**settings_in(tmp_path / "best.toml")).fit(read_ratings("ratings.csv"))
    assert load_model("model.safetensors").parameters_.keys() == same.parameters_.keys()
    for name, value in load_model("model.safetensors").parameters_.items():
        assert value.tobytes() == same.parameters_[name].tobytes(), name


def test_an_architecture_by_name_keeps_its_form(tmp_path):
    run("tune", "ratings.csv", *QUICK, "--architecture", "A_small")
    settings = settings_in(tmp_path / "settings.toml")
    assert settings["embedding_dim"] == A_SMALL.embedding_dim
    assert settings["hidden_layer_sizes"] == list(A_SMALL.hidden_layer_sizes)


def test_for_machines_standard_output_is_json_alone():
    said = json.loads(run("tune", "ratings.csv", *QUICK, "--json").stdout)
    assert [trial["trial"] for trial in said["trials"]] == [0, 1, 2]
    assert said["validation_rmse"] == min(trial["validation_rmse"] for trial in said["trials"])
    assert said["default_rmse"] == said["trials"][0]["validation_rmse"]
    assert NeuralMF(**said["settings"]).epochs == 2


def test_a_study_goes_on_and_says_how_much_was_done():
    run("tune", "ratings.csv", "--trials", "2", "--epochs", "2", "--study", "study.journal")
    again = run("tune", "ratings.csv", *QUICK, "--study", "study.journal")
    assert "2 of 3 trials were in study.journal already" in again.stderr


def interrupted_when(n_finished, monkeypatch):
    """Ctrl-C in the first batch of that trial."""

    def on_progress(progress):
        if progress.n_finished == n_finished:
            raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.cli.tune.shown_on", lambda bar: on_progress)


def test_interrupted_the_best_so_far_is_written(tmp_path, monkeypatch):
    interrupted_when(2, monkeypatch)
    said = run("tune", "ratings.csv", *QUICK, code=130)
    assert "interrupted: settings.toml has the best of 2 trials" in said.stderr
    assert settings_in(tmp_path / "settings.toml")["epochs"] == 2


def test_interrupted_at_once_nothing_is_written(tmp_path, monkeypatch):
    interrupted_when(0, monkeypatch)
    said = run("tune", "ratings.csv", *QUICK, code=130)
    assert "interrupted before a trial was complete: settings.toml was not written" in said.stderr
    assert not (tmp_path / "settings.toml").exists()


def test_the_bar_counts_the_trials_that_were_done_before():
    class Bar:
        def __init__(self):
            self.told = []

        def start_run(self, description):
            self.told.append(description)

        def end_run(self):
            self.told.append("end")

        def on_progress(self, progress):
            self.told.append(progress.n_trained)

    bar = Bar()
    show = shown_on(bar)
    for n_finished, best_rmse, n_trained in [(2, 0.9, 10), (2, 0.9, 20), (3, 0.8, 10)]:
        show(TuningProgress(n_finished, best_rmse, Progress(1, 2, n_trained, 40, 1.0, 1.0)))
    assert bar.told == ["end", "end", "best 0.9000, now", 10, 20, "end", "best 0.8000, now", 10]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--architecture", "D_huge"], "architecture must be one of A_small, B_medium, C_wide, not 'D_huge'"),
        (["--trials", "0"], "n_trials must be an integer of at least 1"),
        (["--study", "ratings.csv"], "ratings.csv: expected a study, found another kind of file"),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        run("tune", "ratings.csv", *arguments)
    assert not (tmp_path / "settings.toml").exists()


def test_without_optuna_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", "tune", "ratings.csv"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        'numpy-neural-mf: tune needs Optuna: pip install "numpy-neural-mf[tune]"\n'
    )

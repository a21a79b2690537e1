"""The search evaluates on held-out ratings and resumes after a kill as if it had not been interrupted."""

import subprocess
import sys
import textwrap
import tomllib
from collections import Counter

import numpy as np
import pytest

from numpy_neural_mf import (
    A_SMALL,
    Architecture,
    NeuralMF,
    random_split,
    read_ratings,
    simulate_ratings,
    tune,
)
from numpy_neural_mf.evaluation import rmse

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0)
MATRIX_FACTORISATION = Architecture(embedding_dim=4)


def search(ratings=RATINGS, **settings):
    """Run a search, of four quick trials by default."""
    return tune(ratings, **{"architecture": MATRIX_FACTORISATION, "n_trials": 4, "epochs": 2} | settings)


def trials_of(tuning):
    """Return the trials without their durations."""
    return tuning.trials.drop("seconds").to_dicts()


def pairs(ratings):
    return set(zip(ratings.raw_users.tolist(), ratings.raw_items.tolist(), strict=True))


@pytest.fixture
def fits(monkeypatch):
    """Record the training and validation part, and the settings, of every training."""
    seen, fit = [], NeuralMF.fit

    def spy(self, ratings, validation, on_progress):
        seen.append((ratings, validation, self))
        return fit(self, ratings, validation, on_progress)

    monkeypatch.setattr(NeuralMF, "fit", spy)
    return seen


def test_the_first_trial_has_the_defaults(fits):
    first = search(architecture=None, n_trials=1).trials.row(0, named=True)
    defaults = NeuralMF(epochs=2)
    of_810_ratings = {"batch_size": 32, "learning_rate": 0.01}
    assert vars(fits[0][2]).items() >= (vars(defaults) | of_810_ratings).items()
    assert (first["learning_rate"], first["batch_size"]) == (0.01, 32)
    assert first["hidden_layer_sizes"] == "[64, 32]"


def test_the_best_is_the_lowest_of_all_and_not_above_the_defaults():
    tuning = search(architecture=None)
    assert tuning.validation_rmse == tuning.trials["validation_rmse"].min()
    assert tuning.validation_rmse <= tuning.default_rmse == tuning.trials["validation_rmse"][0]


def test_the_settings_give_the_validation_error_that_is_reported():
    tuning = search(architecture=None)
    train, validation = random_split(RATINGS, 0.1, np.random.default_rng(0))
    model = NeuralMF(**tuning.settings).fit(train, validation)
    prediction = model.predict(validation.raw_users, validation.raw_items)
    assert rmse(prediction, validation.values) == tuning.validation_rmse


@pytest.mark.parametrize("n_splits", [1, 2])
def test_validation_ratings_are_never_trained_on(fits, n_splits):
    search(n_splits=n_splits)
    assert len(fits) == 4 * n_splits
    for train, validation, _ in fits:
        assert pairs(train).isdisjoint(pairs(validation))
        assert pairs(train) | pairs(validation) == pairs(RATINGS)
        assert len(validation) == 90
    held_out = Counter(frozenset(pairs(validation)) for _, validation, _ in fits)
    assert list(held_out.values()) == [4] * n_splits  # the same for every trial


def test_several_splits_are_averaged(fits):
    tuning = search(n_trials=1, n_splits=3)
    errors = []
    for train, validation, _ in fits[:3]:
        model = NeuralMF(**tuning.settings).fit(train, validation, None)
        errors.append(rmse(model.predict(validation.raw_users, validation.raw_items), validation.values))
    assert tuning.validation_rmse == pytest.approx(np.mean(errors), rel=1e-12)
    assert tuning.trials["epochs"].to_list() == [6]


def test_a_trial_worse_than_the_median_ends_early():
    epochs = Counter()
    tuning = search(
        n_trials=12, epochs=5, on_progress=lambda p: epochs.update({(p.n_finished, p.training.epoch): 1})
    )
    states = tuning.trials["state"].to_list()
    assert states[:5] == ["complete"] * 5  # pruning needs five complete trials
    assert "pruned" in states
    for trial, state, validation_rmse, n_epochs in tuning.trials.select(
        "trial", "state", "validation_rmse", "epochs"
    ).iter_rows():
        begun = max(epoch for number, epoch in epochs if number == trial)
        # The trial ends in the first batch after the evaluated epoch.
        assert (n_epochs, begun) == ((begun - 1, n_epochs + 1) if state == "pruned" else (5, 5))
        assert (validation_rmse is None) == (state == "pruned")
        if state == "pruned":
            assert epochs[trial, begun] == 1


def test_a_trial_that_diverges_counts_and_is_never_the_best(monkeypatch):
    fit = NeuralMF.fit

    def diverging(self, *arguments):
        if self.learning_rate != 0.01:  # the default
            raise FloatingPointError("the loss is inf")
        return fit(self, *arguments)

    monkeypatch.setattr(NeuralMF, "fit", diverging)
    tuning = search()
    assert tuning.trials["state"].to_list() == ["complete", *["diverged"] * 3]
    assert tuning.trials["validation_rmse"].null_count() == 3
    assert tuning.validation_rmse == tuning.default_rmse


def test_if_every_trial_diverges_there_is_no_best(monkeypatch):
    def diverging(*arguments):
        raise FloatingPointError("the loss is inf")

    monkeypatch.setattr(NeuralMF, "fit", diverging)
    with pytest.raises(FloatingPointError, match="every trial diverged"):
        search()


def test_a_given_architecture_is_not_searched():
    tuning = search(architecture=A_SMALL)
    assert set(tuning.trials.columns[5:]) == {"learning_rate", "batch_size", "weight_decay"}
    assert NeuralMF(**tuning.settings).architecture == A_SMALL


def test_without_hidden_layers_weight_decay_is_not_searched():
    assert set(search(n_trials=1).trials.columns[5:]) == {"learning_rate", "batch_size"}


def test_the_same_seed_gives_the_same_trials_and_another_seed_gives_others():
    assert trials_of(search()) == trials_of(search())
    assert trials_of(search(random_state=1))[1:] != trials_of(search())[1:]


def test_a_search_with_more_trials_resumes_from_the_file(tmp_path):
    search(study=tmp_path / "new" / "study", n_trials=3)
    resumed = search(study=tmp_path / "new" / "study", n_trials=12)
    assert resumed.n_resumed == 3
    assert trials_of(resumed) == trials_of(search(n_trials=12))


def test_a_finished_search_trains_nothing(tmp_path, fits):
    done = search(study=tmp_path / "study")
    fits.clear()
    again = search(study=tmp_path / "study")
    assert fits == []
    assert again.n_resumed == 4
    assert again.settings == done.settings


@pytest.mark.parametrize("n_finished", [0, 2])
def test_a_killed_search_resumes_and_ends_like_an_uninterrupted_one(tmp_path, n_finished):
    """Kill the process with SIGKILL during a trial, so that it cannot clean up."""
    program = f"""
        import os, signal
        from numpy_neural_mf import Architecture, simulate_ratings, tune
        def on_progress(progress):
            if progress.n_finished == {n_finished} and progress.training.epoch == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        tune(simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0), n_trials=4, epochs=2,
             architecture=Architecture(embedding_dim=4), study={str(tmp_path / "study")!r},
             on_progress=on_progress)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert killed.returncode == -9
    resumed = search(study=tmp_path / "study")
    assert resumed.n_resumed == n_finished
    assert trials_of(resumed) == trials_of(search())


def test_an_interrupted_search_keeps_the_finished_trials(tmp_path):
    def interrupt(progress):
        if progress.n_finished == 2:
            raise KeyboardInterrupt

    interrupted = search(study=tmp_path / "study", on_progress=interrupt)
    assert interrupted.is_interrupted
    assert trials_of(interrupted) == trials_of(search())[:2]
    resumed = search(study=tmp_path / "study")
    assert (resumed.n_resumed, resumed.is_interrupted) == (2, False)
    assert trials_of(resumed) == trials_of(search())


def test_an_interruption_before_the_first_trial_is_raised():
    def interrupt(progress):
        assert (progress.n_finished, progress.best_rmse) == (0, float("inf"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(on_progress=interrupt)


def test_after_the_timeout_no_other_trial_is_started():
    assert search(timeout=0).trials.height == 1


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": 3},
        {"architecture": A_SMALL},
        {"random_state": 1},
        {"n_splits": 2},
        {"ratings": simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=1)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_study_of_another_search_is_refused(tmp_path, other):
    search(study=tmp_path / "study", n_trials=1)
    with pytest.raises(ValueError, match="found one of other ratings or settings"):
        search(study=tmp_path / "study", **other)
    assert search(study=tmp_path / "study", n_trials=1).n_resumed == 1  # nothing was lost


def test_ids_may_be_text():
    frame = RATINGS.to_polars()
    renamed = frame.with_columns(frame["user_id"].cast(str) + "!", frame["item_id"].cast(str) + "é")
    assert search(read_ratings(renamed)).validation_rmse < 2


def test_the_settings_file_makes_the_best_model(tmp_path):
    tuning = search(architecture=None)
    tuning.save(tmp_path / "settings.toml", data="my\nratings.csv")
    text = (tmp_path / "settings.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    assert settings == tuning.settings
    assert vars(NeuralMF(**settings)) == vars(NeuralMF(**tuning.settings))
    for fact in ("4 trials", r"my\nratings.csv", f"{tuning.validation_rmse:.4f}", "optimistic"):
        assert fact in text


@pytest.mark.parametrize("settings", [{"n_trials": 0}, {"n_splits": 0}, {"epochs": 0}, {"timeout": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="must be"):
        search(**settings)


@pytest.mark.parametrize("settings", [{"n_trials": 2.5}, {"n_splits": None}])
def test_settings_of_another_type_are_refused(settings):
    with pytest.raises(TypeError, match="must be an integer"):
        search(**settings)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "numpy-neural-mf\[tune\]"'):
        search()


def test_nothing_is_printed(capfd):
    search()
    assert capfd.readouterr() == ("", "")


def test_a_search_is_shown_by_its_settings_and_errors():
    tuning = search(n_trials=2)
    first, head, *settings = repr(tuning).splitlines()
    rmse = f"validation RMSE {tuning.validation_rmse:.4f} (defaults {tuning.default_rmse:.4f})"
    assert first == f"The best of 2 trials: {rmse}"
    assert head.split() == ["setting", "value"]
    assert [line.split()[0] for line in settings] == list(tuning.settings)
    assert rmse in tuning._repr_html_()

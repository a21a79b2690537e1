"""train: every setting of the model is an option, and the model is the one that Python would train."""

import inspect
import json
import re
import sys
from dataclasses import fields

import pytest
from typer.testing import CliRunner

from numpy_neural_mf import (
    Architecture,
    BayesianMF,
    NeuralMF,
    cli,
    load_model,
    read_features,
    read_ratings,
    simulate_ratings,
)
from numpy_neural_mf.cli import output


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700).to_frame().write_csv("ratings.csv")
    return tmp_path


def train(*arguments):
    result = CliRunner().invoke(cli.app, ["train", "ratings.csv", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def same_predictions(a, b):
    return a.predict([1, 2], [3, 4]).tobytes() == b.predict([1, 2], [3, 4]).tobytes()


def test_without_options_the_model_is_that_of_the_defaults():
    said = train("--epochs", "3")
    assert "Trained 3 epochs" in said
    assert "Wrote model.safetensors" in said
    same = NeuralMF(epochs=3).fit(read_ratings("ratings.csv"))
    assert same_predictions(load_model("model.safetensors"), same)


@pytest.mark.parametrize(("large", "options"), [(True, []), (False, []), (True, ["--no-cache"])])
def test_the_columns_of_a_large_file_are_kept_beside_it_unless_one_says_no(
    folder, monkeypatch, large, options
):
    monkeypatch.setattr(output, "LARGE", (folder / "ratings.csv").stat().st_size + (not large))
    for model in "ab":
        train(model, "--epochs", "1", *options)
    assert (folder / "ratings.csv.columns").exists() == (large and not options)
    assert same_predictions(load_model("a"), load_model("b"))


@pytest.mark.parametrize(("options", "implicit"), [([], False), (["--implicit"], True)])
def test_features_of_a_file_are_made_use_of(folder, options, implicit):
    (folder / "films.csv").write_text("id,genres\n3,Crime|Drama\n99,Drama\n")
    said = train("m", "--epochs", "1", "--item-features", "films.csv", *options)
    assert "films.csv: Features: 2 rows, 2 columns of genres" in said
    model = load_model("m")
    assert (model.architecture.features, model.architecture.implicit) == (True, implicit)
    ratings = read_ratings("ratings.csv").with_features(items=read_features("films.csv"))
    same = NeuralMF(epochs=1, features=True, implicit=implicit).fit(ratings)
    assert same_predictions(model, same)
    assert model.known(1, 99)
    train("m", "--epochs", "1", "--item-features", "films.csv", "--no-features")
    assert not load_model("m").architecture.features


def test_machines_are_told_what_was_trained():
    told = json.loads(train("m", "--epochs", "2", "--json"))
    history = load_model("m").history_
    assert (told["model"], told["epochs"], told["best_epoch"]) == ("m", 2, history.best_epoch)
    assert told["validation_rmse"] == min(history.validation_loss) ** 0.5
    told = json.loads(train("m", "--epochs", "1", "--validation-fraction", "0", "--json"))
    assert (told["best_epoch"], told["validation_rmse"]) == (None, None)


BAYESIAN = ["--model", "bayesian", "--samples", "3", "--burn-in", "1"]


def test_a_bayesian_model_is_the_one_that_python_would_train(folder):
    pytest.importorskip("numba")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700, drift=0.5).to_frame().write_csv("ratings.csv")
    (folder / "films.csv").write_text("id,genres\n3,Crime|Drama\n99,Drama\n")
    said = train(
        "m", *BAYESIAN, "--embedding-dim", "2", "--rank", "4", "--no-implicit", "--no-user-noise", "--seed",
        "5", "--item-features", "films.csv", "--checkpoint-dir", "state",
    )  # fmt: skip
    assert re.search(r"Drew 3 samples in .* others are expected \d\.\d{4} from their predictions\.\n", said)
    ratings = read_ratings("ratings.csv").with_features(items=read_features("films.csv"))
    settings = {"n_samples": 3, "burn_in": 1, "rank": 4, "implicit": False, "user_noise": False}
    same = BayesianMF(2, **settings, random_state=5).fit(ratings)
    model = load_model("m")
    assert same_predictions(model, same)
    assert (model.features, model.drift, model.known(1, 99)) == (True, True, True)
    train("m", *BAYESIAN, "--no-drift", "--no-features")
    assert (load_model("m").drift, load_model("m").features) == (False, False)


def test_machines_are_told_what_was_drawn(folder):
    pytest.importorskip("numba")
    (folder / "s.toml").write_text('model = "bayesian"\nn_samples = 4\nburn_in = 1\nimplicit = false\n')
    told = json.loads(train("m", "--settings", "s.toml", "--json"))
    assert (told["model"], told["samples"]) == ("m", 4)
    assert told["expected_deviation"] == float(load_model("m").deviation_[-1])
    assert "validation_rmse" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "magic"], "model must be one of neural, bayesian, not 'magic'"),
        ([*BAYESIAN, "--epochs", "30"], "--epochs: for another kind of model, not for --model bayesian"),
        ([*BAYESIAN, "--no-biases", "--engine", "numpy"], "--biases, --engine: for another kind"),
        (["--samples", "400"], "--samples: for another kind of model, not for --model neural"),
        (["--no-drift", "--rank", "8"], "--drift, --rank: for another kind of model, not for --model neural"),
        (["--model", "bayesian", "--settings", "tuned.toml"], "--epochs: for another kind of model"),
        (["--model", "bayesian", "--samples", "0"], "n_samples must be "),
    ],
)
def test_settings_of_another_kind_of_model_are_refused(folder, arguments, said):
    (folder / "tuned.toml").write_text("epochs = 30\n")  # the default, but said
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        train("m", *arguments)
    assert "\n" not in str(error.value)
    assert not (folder / "m").exists()


def test_without_numba_the_extra_is_named(folder, monkeypatch, capsys):
    monkeypatch.setattr("numpy_neural_mf.models.bayesian_mf.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", "train", "ratings.csv", "m", "--model", "bayesian"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        'numpy-neural-mf: BayesianMF needs numba: pip install "numpy-neural-mf[fast]"\n'
    )


def test_every_setting_of_the_model_is_an_option_by_its_name():
    keywords = {p.name for p in inspect.signature(NeuralMF).parameters.values() if p.kind == p.KEYWORD_ONLY}
    wanted = {"architecture"} | keywords | {field.name for field in fields(Architecture)}
    wanted |= set(inspect.signature(BayesianMF).parameters)
    help_text = CliRunner().invoke(cli.app, ["train", "--help"]).stdout
    assert [name for name in sorted(wanted) if f"--{name.replace('_', '-')}" not in help_text] == []


def test_settings_reach_the_model():
    train(
        "m", "--architecture", "A_small", "--epochs", "2", "--batch-size", "100", "--optimizer", "adamw",
        "--learning-rate", "0.01", "--schedule", "constant", "--regularization", "0.1",
        "--weight-decay", "0.5", "--validation-fraction", "0", "--patience", "4", "--engine", "numpy",
        "--seed", "5", "--user", "user_id", "--scale", "0", "10",
    )  # fmt: skip
    model = load_model("m")
    assert (model.architecture.embedding_dim, model.epochs, model.random_state) == (8, 2, 5)
    assert (model.batch_size, model.optimizer, model.schedule) == (100, "adamw", "constant")
    assert (model.learning_rate, model.regularization, model.weight_decay) == (0.01, 0.1, 0.5)
    assert (model.validation_fraction, model.patience, model.engine) == (0, 4, "numpy")
    assert model.rating_scale_ == (0, 10)


def test_a_single_part_of_an_architecture_can_be_set():
    train(
        "m", "--architecture", "B_medium", "--hidden-layer-sizes", "6,3", "--activation", "gelu",
        "--dropout", "0.1", "--no-biases", "--epochs", "1",
    )  # fmt: skip
    expected = Architecture(16, (6, 3), "gelu", biases=False, dropout=0.1)
    assert load_model("m").architecture == expected


def test_no_layers_make_plain_matrix_factorisation():
    train("m", "--hidden-layer-sizes", "", "--embedding-dim", "4", "--epochs", "1")
    architecture = load_model("m").architecture
    assert (architecture.hidden_layer_sizes, architecture.embedding_dim) == ((), 4)


def test_a_patience_of_0_never_stops_early():
    train("m", "--patience", "0", "--epochs", "1")
    assert load_model("m").patience is None


def test_training_with_a_checkpoint_ends_with_the_same_model(tmp_path):
    train("a", "--epochs", "3")
    train("b", "--epochs", "3", "--checkpoint-dir", "state")
    assert (tmp_path / "state").is_dir()
    assert same_predictions(load_model("a"), load_model("b"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "0"], "epochs must be a whole number, at least 1, not 0"),
        (["--architecture", "D"], "architecture must be one of A_small, B_medium, C_wide, not 'D'"),
        (["--engine", "abacus"], "engine must be one of auto, numpy"),
        (["--optimizer", "magic"], "optimizer must be one of sgd"),
        (["--no-product", "--no-biases", "--hidden-layer-sizes", ""], "nothing depends on user or item"),
        (["--dropout", "1"], "dropout must be in [0, 1)"),
        (["--scale", "2", "3"], "expected a rating from 2 to 3"),
    ],
)
def test_bad_settings_are_told_before_anything_is_trained(folder, arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        train("m", *arguments)
    assert not (folder / "m").exists()


def test_an_interrupted_training_exits_130_and_says_what_goes_on(folder, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeuralMF, "fit", interrupted)
    result = CliRunner().invoke(cli.app, ["train", "ratings.csv", "m", "--checkpoint-dir", "state"])
    assert result.exit_code == 130
    assert "interrupted: m was not written; the same command goes on from the checkpoint" in result.stderr
    assert not (folder / "m").exists()

"""train: every setting of a model is an option, and the model is the one that Python would train."""

import re
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from typer.main import get_command

from numpy_neural_mf import (
    Architecture,
    BayesianMF,
    NeuralMF,
    NextItemModel,
    load_model,
    read_features,
    read_ratings,
    simulate_ratings,
)
from numpy_neural_mf.cli import output
from numpy_neural_mf.cli.entry import app
from numpy_neural_mf.training.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("ratings_csv")

BAYESIAN = ["bayesian-mf", "ratings.csv", "m", "--samples", 3, "--burn-in", 1]
NEURAL = ["neural-mf", "ratings.csv", "m", "--epochs", 1]


@pytest.fixture
def train(run):
    """Return a function that runs train and returns its standard output."""
    return lambda *arguments: run("train", *arguments).stdout


@pytest.fixture
def films(folder):
    (folder / "films.csv").write_text("id,genres\n3,Crime|Drama\n99,Drama\n")
    return read_features("films.csv")


def same_predictions(a, b):
    return a.predict([1, 2], [3, 4]).tobytes() == b.predict([1, 2], [3, 4]).tobytes()


# The model


def test_without_options_the_model_has_the_defaults(train):
    assert re.fullmatch(r"Trained 60 epochs .*\nWrote model.safetensors\n", train("ratings.csv"))
    same = NeuralMF().fit(read_ratings("ratings.csv"))
    assert same_predictions(load_model("model.safetensors"), same)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ratings.csv", "m", "--epochs", 1],
        ["--epochs", 1, "ratings.csv", "m"],
        ["neural-mf", "ratings.csv", "m", "--epochs", 1],
    ],
)
def test_the_name_of_the_default_model_may_be_omitted(run, arguments):
    result = run("train", *arguments)
    assert type(load_model("m")) is NeuralMF
    assert "deprecated" not in result.stderr


def test_the_help_of_the_default_model_is_shown_where_ratings_are_named(train):
    assert "neural-mf [OPTIONS]" in train("ratings.csv", "--help")


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("neural-mf", {*signature(NeuralMF).parameters, *(field.name for field in fields(Architecture))}),
        ("bayesian-mf", set(signature(BayesianMF).parameters)),
    ],
)
def test_every_setting_of_a_model_is_an_option_of_its_name(command, settings):
    moved = {"sequence", "sequence_length", "next_item_weight", "negatives"}  # to train next-item
    options = get_command(app).commands["train"].commands[command].params
    flags = {flag for option in options for flag in option.opts}
    wanted = settings - moved - {"fields"}
    assert [name for name in sorted(wanted) if f"--{name.replace('_', '-')}" not in flags] == []


# Old options


@pytest.mark.parametrize(
    ("old", "name"), [("neural", "neural-mf"), ("bayesian", "bayesian-mf")], ids=["neural", "bayesian"]
)
@pytest.mark.parametrize("joined", [False, True])
def test_the_old_option_of_the_model_still_works(run, old, name, joined):
    option = [f"--model={old}"] if joined else ["--model", old]
    quick = ["--samples", 2] if old == "bayesian" else ["--epochs", 1]
    result = run("train", "ratings.csv", "m", *option, *quick)
    assert f"--model {old} is deprecated: use numpy-neural-mf train {name}" in result.stderr
    assert type(load_model("m")) is {"neural": NeuralMF, "bayesian": BayesianMF}[old]


def test_old_names_of_settings_still_work(run, folder):
    pytest.importorskip("numba")
    (folder / "old.toml").write_text("kinds = 5\n")
    options = ["--samples", 2, "--warm-up", 1, "--settings", "old.toml"]
    result = run("train", "bayesian-mf", "ratings.csv", "m", *options)
    assert "--kinds is deprecated: use --latent-clusters\n" in result.stderr
    assert "--warm-up is deprecated: use --burn-in\n" in result.stderr
    model = load_model("m")
    assert (model.latent_clusters, model.burn_in) == (5, 1)
    assert "--kinds" not in run("train", "bayesian-mf", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "magic"], "--model must be one of neural, bayesian, not 'magic'"),
        (["--sequence", "gru"], "--sequence: next-item prediction is a model of its own, train next-item"),
        (["--negatives=9"], "--negatives: next-item prediction is a model of its own, train next-item"),
    ],
)
def test_removed_options_name_their_replacement(folder, fault, arguments, sentence):
    assert fault("train", "ratings.csv", "m", *arguments) == (sentence, 2)
    assert not (folder / "m").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [*BAYESIAN, "--epochs", 30],
        [*BAYESIAN, "--no-biases"],
        [*NEURAL, "--samples", 400],
        [*NEURAL, "--rank", 8],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-2]}",
)
def test_a_model_has_no_options_of_another(run, folder, arguments):
    assert "No such option" in run("train", *arguments, code=2).stderr
    assert not (folder / "m").exists()


# Output


def test_ratings_and_features_are_logged_and_the_result_is_printed(run, films):
    result = run("train", *NEURAL, "--item-features", "films.csv")
    assert result.stderr.startswith("ratings.csv: Ratings: 900 ratings of 40 items by 60 users")
    assert "films.csv: Features: 2 rows, 2 columns of genres" in result.stderr
    rmse = load_model("m").history_.expected_loss[-1] ** 0.5
    text = rf"Trained 1 epochs in .* seconds; expected RMSE of new ratings {rmse:.4f}\.\nWrote m\n"
    assert re.fullmatch(text, result.stdout)


def test_the_json_has_the_expected_error(run_json):
    facts = run_json("train", "ratings.csv", "m", "--epochs", 2)
    assert (facts["model"], facts["epochs"]) == ("m", 2)
    assert facts["expected_rmse"] == load_model("m").history_.expected_loss[-1] ** 0.5
    assert run_json("train", *NEURAL, "--likelihood", "ordinal")["expected_rmse"] is None


def test_an_interrupted_training_exits_130_and_explains_how_to_resume(folder, monkeypatch, run):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(NeuralMF, "fit", interrupted)
    result = run("train", "ratings.csv", "m", "--checkpoint-dir", "state", code=130)
    sentence = "interrupted: m was not written; the same command resumes from the checkpoint"
    assert sentence in result.stderr
    assert result.stdout == ""
    assert not (folder / "m").exists()


@pytest.mark.parametrize(
    ("command", "every", "said"),
    [
        ([*NEURAL[:3], "--epochs", 4], 2, "epoch 3 of 4"),
        ([*BAYESIAN[:3], "--samples", 12], 10, "sample 11 of"),
    ],
)
def test_a_resumed_training_logs_the_epoch(run, folder, monkeypatch, command, every, said):
    if command[0] == "bayesian-mf":
        pytest.importorskip("numba")
    write, written = Checkpoint.write, []

    def killed(self, *state):
        write(self, *state)
        written.append(state)
        if len(written) * (1 if command[0] == "neural-mf" else 10) == every:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", killed)
    first = run("train", *command, "--checkpoint-dir", "state", code=130)
    assert "Resumed" not in first.stderr
    assert f"Resumed at {said}" in run("train", *command, "--checkpoint-dir", "state").stderr


@pytest.mark.parametrize("path", ["ratings.csv/m", "."])
def test_if_no_model_can_be_written_nothing_is_trained(run_main, path):
    code, out, err = run_main("train", "ratings.csv", path, "--epochs", 10**5)
    assert (code, out) == (2, "")
    assert "folder" in err or "directory" in err


# NeuralMF


@pytest.mark.parametrize(("large", "options"), [(True, []), (False, []), (True, ["--no-cache"])])
def test_the_columns_of_a_large_file_are_kept_next_to_it(train, ratings_csv, monkeypatch, large, options):
    monkeypatch.setattr(output, "LARGE", ratings_csv.stat().st_size + (not large))
    for model in "ab":
        train("ratings.csv", model, "--epochs", 1, *options)
    assert ratings_csv.with_name("ratings.csv.columns").exists() == (large and not options)
    assert same_predictions(load_model("a"), load_model("b"))


@pytest.mark.parametrize(("options", "implicit"), [([], False), (["--implicit"], True)])
def test_features_of_a_file_are_used(train, films, options, implicit):
    train(*NEURAL, "--item-features", "films.csv", *options)
    model = load_model("m")
    assert (model.architecture.features, model.architecture.implicit) == (True, implicit)
    ratings = read_ratings("ratings.csv").with_features(items=films)
    assert same_predictions(model, NeuralMF(epochs=1, features=True, implicit=implicit).fit(ratings))
    assert model.known(1, 99)
    train(*NEURAL, "--item-features", "films.csv", "--no-features")
    assert not load_model("m").architecture.features


def test_settings_reach_the_model(train):
    train(
        "ratings.csv", "m", "--architecture", "A_small", "--epochs", 2, "--batch-size", 100, "--optimizer",
        "adamw", "--learning-rate", 0.01, "--schedule", "constant", "--weight-decay", 0.5,
        "--engine", "numpy", "--seed", 5, "--user", "user_id", "--scale", 0, 10,
    )  # fmt: skip
    model = load_model("m")
    assert (model.architecture.embedding_dim, model.epochs, model.random_state) == (8, 2, 5)
    assert (model.batch_size, model.optimizer, model.schedule) == (100, "adamw", "constant")
    assert (model.learning_rate, model.weight_decay, model.engine) == (0.01, 0.5, "numpy")
    assert model.rating_scale_ == (0, 10)


def test_single_values_of_an_architecture_can_be_set(train):
    options = ["--architecture", "B_medium", "--hidden-layer-sizes", "6,3", "--activation", "gelu"]
    train(*NEURAL, *options, "--no-biases")
    assert load_model("m").architecture == Architecture(16, (6, 3), "gelu", biases=False)


def test_no_layers_make_plain_matrix_factorisation(train):
    train(*NEURAL, "--hidden-layer-sizes", "", "--embedding-dim", 4)
    architecture = load_model("m").architecture
    assert (architecture.hidden_layer_sizes, architecture.embedding_dim) == ((), 4)


@pytest.mark.parametrize(
    ("option", "planted"), [("previous_item", {"sequence": 0.5}), ("drift", {"drift": 0.5})]
)
def test_time_dependent_parts_are_learned_on_request(train, option, planted):
    pytest.importorskip("numba")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700, **planted).to_polars().write_csv("ratings.csv")
    train(*NEURAL, "--" + option.replace("_", "-"))
    model = load_model("m")
    assert getattr(model.architecture, option)
    same = NeuralMF(epochs=1, **{option: True}).fit(read_ratings("ratings.csv"))
    assert same_predictions(model, same)


def test_training_with_a_checkpoint_ends_with_the_same_model(train, folder):
    train("ratings.csv", "a", "--epochs", 3)
    train("ratings.csv", "b", "--epochs", 3, "--checkpoint-dir", "state")
    assert (folder / "state").is_dir()
    assert same_predictions(load_model("a"), load_model("b"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--epochs", 0], "--epochs must be"),
        (["--architecture", "D"], "--architecture must be one of A_small, B_medium, C_wide, not 'D'"),
        (["--engine", "abacus"], "--engine must be one of auto, numpy"),
        (["--optimizer", "magic"], "--optimizer must be one of sgd"),
        (["--no-product", "--no-biases", "--hidden-layer-sizes", ""], "nothing depends on user or item"),
        (["--batch-size", 0], "--batch-size must be"),
        (["--drift", "--likelihood", "ordinal"], "drift: expected False"),
        (["--previous-item", "--no-product"], "--previous-item: expected False without the product"),
        (["--scale", 2, 3], "expected a rating from 2 to 3"),
        (["--settings", "bayesian.toml"], "bayesian.toml: unknown setting 'n_samples'"),
    ],
)
def test_bad_settings_are_one_sentence_before_training(folder, fault, arguments, sentence):
    (folder / "bayesian.toml").write_text("n_samples = 4\n")
    message, code = fault("train", "ratings.csv", "m", *arguments)
    assert sentence in message
    assert code == 2
    assert not (folder / "m").exists()


# BayesianMF


def test_a_bayesian_model_is_the_one_that_python_would_train(train, folder, films):
    pytest.importorskip("numba")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700, drift=0.5).to_polars().write_csv("ratings.csv")
    result = train(
        *BAYESIAN, "--embedding-dim", 2, "--rank", 4, "--no-implicit", "--no-user-noise", "--seed", 5,
        "--item-features", "films.csv", "--checkpoint-dir", "state",
    )  # fmt: skip
    assert re.search(r"Drew 3 samples in .*; expected RMSE of new ratings \d\.\d{4}\.\nWrote m\n", result)
    ratings = read_ratings("ratings.csv").with_features(items=films)
    settings = {"n_samples": 3, "burn_in": 1, "rank": 4, "implicit": False, "user_noise": False}
    same = BayesianMF(2, **settings, random_state=5).fit(ratings)
    model = load_model("m")
    assert same_predictions(model, same)
    assert (model.features, model.drift, model.known(1, 99)) == (True, True, True)
    train(*BAYESIAN, "--no-drift", "--no-features")
    assert (load_model("m").drift, load_model("m").features) == (False, False)


def test_the_json_has_the_expected_deviation(run_json, folder):
    pytest.importorskip("numba")
    (folder / "s.toml").write_text("n_samples = 4\nburn_in = 1\nimplicit = false\n")
    facts = run_json("train", "bayesian-mf", "ratings.csv", "m", "--settings", "s.toml")
    assert (facts["model"], facts["samples"]) == ("m", 4)
    assert facts["expected_deviation"] == float(load_model("m").deviation_[-1])
    assert "validation_rmse" not in facts


def test_a_bayesian_model_needs_a_sample(fault):
    pytest.importorskip("numba")
    message, code = fault("train", *BAYESIAN, "--samples", 0)
    assert "--samples must be" in message
    assert code == 2


def test_without_numba_the_extra_is_named(monkeypatch, run_main):
    monkeypatch.setattr("numpy_neural_mf.models.bayesian_mf.find_spec", lambda name: None)
    code, out, err = run_main("train", *BAYESIAN)
    assert (code, out) == (1, "")
    assert err.endswith('numpy-neural-mf: BayesianMF needs numba: pip install "numpy-neural-mf[fast]"\n')


# NextItemModel


def test_a_next_item_model_has_the_settings_of_the_options(run, monkeypatch):
    models = []

    def fit(self, ratings, **settings):
        models.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(NextItemModel, "fit", fit)
    options = [
        "--encoder", "gru", "--embedding-dim", 4, "--sequence-length", 5, "--dropout", 0.1, "--negatives", 6,
        "--epochs", 2, "--batch-size", 32, "--learning-rate", 0.02, "--device", "cpu", "--seed", 3,
    ]  # fmt: skip
    run("train", "next-item", "ratings.csv", "m", *options, code=130)
    (model,) = models
    assert (model.encoder, model.embedding_dim, model.sequence_length) == ("gru", 4, 5)
    assert (model.dropout, model.negatives, model.epochs, model.batch_size) == (0.1, 6, 2, 32)
    assert (model.learning_rate, model.device, model.random_state) == (0.02, "cpu", 3)


def test_a_next_item_model_is_trained_saved_and_recommends(run, run_json):
    pytest.importorskip("torch")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700, drift=0.5).to_polars().write_csv("ratings.csv")
    options = ["--embedding-dim", 4, "--sequence-length", 5, "--epochs", 1]
    assert "Trained 1 epochs" in run("train", "next-item", "ratings.csv", "m", *options).stdout
    model = load_model("m")
    assert (model.embedding_dim, model.sequence_length, model.epochs) == (4, 5, 1)
    rows = run_json("recommend", "m", 1, "-n", 3)
    assert [row["item"] for row in rows] == model.recommend(1, 3).tolist()
    assert "score" in rows[0]
    assert run_json("info", "m")["model"] == "NextItemModel"


@pytest.mark.parametrize("name", ["ratings.csv", "films.csv", "settings.toml"])
def test_inputs_are_not_overwritten_and_nothing_is_trained(fault, folder, films, name):
    (folder / "settings.toml").write_text("epochs = 100000")
    before = (folder / name).read_bytes()
    options = ["--item-features", "films.csv", "--settings", "settings.toml"]
    sentence, code = fault("train", "ratings.csv", name, *options)
    assert sentence == f"{name}: expected a file to write to, found one that is read"
    assert code == 2
    assert (folder / name).read_bytes() == before


def test_the_ratings_of_a_folder_are_not_overwritten(fault, folder):
    (folder / "set").mkdir()
    (folder / "ratings.csv").rename(folder / "set" / "ratings.csv")
    sentence, _ = fault("train", "set", "set/ratings.csv", "--epochs", 10**5)
    assert "found one that is read" in sentence


@pytest.mark.parametrize("options", [["a" * 300], ["m", "--checkpoint-dir", "ratings.csv/state"]])
def test_an_impossible_output_is_refused_before_training(fault, folder, options):
    sentence, code = fault("train", "ratings.csv", *options, "--epochs", 10**5)
    assert code == 2
    assert "name too long" in sentence or "expected a folder" in sentence


def test_a_full_disk_is_one_sentence(run_main, folder):
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is full")
    code, _, err = run_main("train", "ratings.csv", "/dev/full", "--epochs", 1)
    assert code == 2
    assert err.endswith("numpy-neural-mf: /dev/full: No space left on device\n")

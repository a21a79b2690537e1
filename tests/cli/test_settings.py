"""--settings: options from a TOML file, by their names; what is typed wins, what is wrong is told."""

import inspect
import re

import pytest
from typer.testing import CliRunner

from numpy_neural_mf import cli, load_model, simulate_ratings
from numpy_neural_mf.cli import entry


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    simulate_ratings(n_users=50, n_items=30, n_ratings=700).to_frame().write_csv("ratings.csv")
    return tmp_path


def trained(folder, toml, *arguments):
    (folder / "settings.toml").write_text(toml, encoding="utf-8")
    command = ["train", "ratings.csv", "m", "--settings", "settings.toml", *arguments]
    result = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return load_model("m")


TUNED = """
architecture = "A_small"
embedding_dim = 6
hidden_layer_sizes = [12, 5]
activation = "tanh"
biases = true
epochs = 2
learning_rate = 1e-2
patience = 0
random_state = 7
"""


def test_settings_have_the_names_of_the_keywords(folder):
    model = trained(folder, TUNED)
    form = model.architecture
    assert (form.embedding_dim, form.hidden_layer_sizes, form.activation, form.biases) == (
        6, (12, 5), "tanh", True,
    )  # fmt: skip
    assert (model.epochs, model.learning_rate, model.patience, model.random_state) == (2, 0.01, None, 7)


def test_what_is_typed_wins(folder):
    arguments = ["--epochs", "1", "--no-biases", "--hidden-layer-sizes", ""]
    model = trained(folder, TUNED, *arguments)
    assert (model.epochs, model.architecture.biases, model.architecture.hidden_layer_sizes) == (1, False, ())
    assert model.architecture.embedding_dim == 6


def test_names_may_be_written_as_options_are(folder):
    assert trained(folder, 'hidden-layer-sizes = "4"\nepochs = 1\nseed = 3').random_state == 3


def test_numbers_in_pairs_and_switches_are_taken(folder):
    assert trained(folder, "scale = [0, 10]\nepochs = 1\nproduct = false").rating_scale_ == (0, 10)


@pytest.mark.parametrize("command", entry.COMMANDS, ids=lambda command: command.__name__)
def test_every_command_takes_settings(command):
    assert inspect.signature(command).parameters["settings"].annotation == "Settings"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("epoch = 2", "settings.toml: unknown setting 'epoch'; this command has activation, architecture,"),
        ("[train]\nepochs = 2", "settings.toml: unknown setting 'train'"),
        ('settings = "other.toml"', "settings.toml: unknown setting 'settings'"),
        ('epochs = "many"', "settings.toml: epochs: "),
        ("epochs = 2.5", "integer"),
        ("epochs = true", "found True"),
        ("epochs = [1, 2]", "found [1, 2]"),
        ("epochs = {a = 1}", "settings.toml: epochs: expected text, numbers or true or false"),
        ("epochs = 2026-01-01", "settings.toml: epochs: expected text, numbers or true or false"),
        ('hidden_layer_sizes = ["a"]', "expected whole numbers such as 64,32, found ['a']"),
        ('biases = "perhaps"', "settings.toml: biases: "),
        ("scale = 3", "settings.toml: scale: "),
        ("epochs = ", "settings.toml: expected TOML, found: "),
        ('engine = "abacus"', "engine must be one of auto, numpy"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_name(folder, toml, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        trained(folder, toml)
    assert "\n" not in str(error.value)
    assert not (folder / "m").exists()


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(FileNotFoundError):
        CliRunner().invoke(cli.app, ["train", "ratings.csv", "--settings", "no.toml"], catch_exceptions=False)

"""--settings: options from a TOML file by their names; typed options win, and errors name file and key."""

import re

import pytest

from numpy_neural_mf import load_model

pytestmark = pytest.mark.usefixtures("ratings_csv")

TUNED = """
architecture = "A_small"
embedding_dim = 6
hidden_layer_sizes = [12, 5]
activation = "tanh"
biases = true
epochs = 2
learning_rate = 1e-2
batch_size = 64
random_state = 7
"""


@pytest.fixture
def trained_by(run, folder):
    """Return a function that trains a model with settings."""

    def trained_by(toml, *arguments):
        (folder / "settings.toml").write_text(toml, encoding="utf-8")
        run("train", "ratings.csv", "m", "--settings", "settings.toml", *arguments)
        return load_model("m")

    return trained_by


def test_settings_have_the_names_of_the_keywords(trained_by):
    model = trained_by(TUNED)
    form = model.architecture
    assert (form.embedding_dim, form.hidden_layer_sizes) == (6, (12, 5))
    assert (form.activation, form.biases) == ("tanh", True)
    assert (model.epochs, model.learning_rate, model.batch_size, model.random_state) == (2, 0.01, 64, 7)


def test_typed_options_win(trained_by):
    model = trained_by(TUNED, "--epochs", 1, "--no-biases", "--hidden-layer-sizes", "")
    assert (model.epochs, model.architecture.biases, model.architecture.hidden_layer_sizes) == (1, False, ())
    assert model.architecture.embedding_dim == 6


def test_names_may_be_written_like_options(trained_by):
    assert trained_by('hidden-layer-sizes = "4"\nepochs = 1\nseed = 3').random_state == 3


def test_pairs_of_numbers_and_switches_are_accepted(trained_by):
    assert trained_by("scale = [0, 10]\nepochs = 1\nproduct = false").rating_scale_ == (0, 10)


@pytest.mark.parametrize(
    ("toml", "sentence"),
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
        ('hidden_layer_sizes = ["a"]', "expected whole numbers from 1 to 1,000,000 such as 64,32, found ['"),
        ('biases = "perhaps"', "settings.toml: biases: "),
        ("scale = 3", "settings.toml: scale: "),
        ("epochs = ", "settings.toml: expected TOML, found: "),
        ('engine = "abacus"', "engine must be one of auto, numpy"),
    ],
)
def test_an_error_names_the_file_and_the_key(folder, trained_by, toml, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        trained_by(toml)
    assert "\n" not in str(error.value)
    assert not (folder / "m").exists()


def test_a_missing_file_is_one_sentence(fault):
    message, code = fault("train", "ratings.csv", "--settings", "no.toml")
    assert message == "no.toml: No such file or directory"
    assert code == 2

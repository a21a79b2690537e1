"""The examples run as they stand, in a folder of their own, and show what they promise."""

import ast
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def output_of(tmp_path, monkeypatch, capsys):
    """Run an example in an empty working directory; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(name):
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def numbers(pattern, text):
    return [float(number) for number in re.findall(pattern, text)]


def test_network_by_hand_has_right_derivatives_learns_and_is_as_good_as_a_linear_regression(output_of):
    text = output_of("network_by_hand.py")
    errors = numbers(r"relative error (\S+)", text)
    assert len(errors) == 5
    assert max(errors) < 1e-6
    losses = numbers(r"mean squared error (\S+)", text)
    assert losses == sorted(losses, reverse=True)
    linear, network = numbers(r"R² (\S+)", text)
    assert network > linear - 0.03


def test_rate_and_predict_ends_between_the_noise_floor_and_the_linear_regression(output_of):
    text = output_of("rate_and_predict.py")
    linear, neural, floor = numbers(r"RMSE (\d\.\d+)", text)
    assert floor < neural < linear
    assert neural < 1.06 * floor
    assert "user 'someone new': items 10, 20 and 30 → [" in text


def test_compare_your_own_compares_and_writes(output_of, tmp_path):
    text = output_of("compare_your_own.py")
    for word in ("my ratings", "linear", "product", "deep", "lowest RMSE: 0."):
        assert word in text
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert len(list((tmp_path / "results").iterdir())) == 4


def test_the_cells_of_the_notebook_run_in_order_and_it_has_their_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "habits.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    names = {}
    for cell in code:
        assert cell["outputs"]
        assert "error" not in [output["output_type"] for output in cell["outputs"]]
        exec("".join(cell["source"]), names)
    assert all(np.array_equal(one.predict(*names["pairs"]), names["copies"][0].predict(*names["pairs"]))
               for one in names["copies"])  # fmt: skip


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_says_what_it_shows_and_is_read_in_a_minute(path):
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= 60
    assert f"test_{path.stem}_" in Path(__file__).read_text(encoding="utf-8")  # and is run above


def test_films_with_titles_goes_from_ratings_to_titles_and_each_model_is_better_than_the_one_before(
    output_of,
):
    text = output_of("films_with_titles.py")
    errors = numbers(r"RMSE (\S+)", text)
    assert len(errors) == 3
    assert errors == sorted(errors, reverse=True)
    (inside,) = numbers(r"hold (\d+)%", text)
    assert 76 <= inside <= 84
    assert len(re.findall(r"^  Film \d+", text, re.MULTILINE)) == 15


def test_informative_features_are_told_from_those_drawn_at_random_and_there_is_a_figure(output_of, tmp_path):
    text = output_of("informative_features.py")
    found = dict(re.findall(r"(\w+) (\d\.\d+)", text.splitlines()[2]))
    genres, *others = sorted(map(float, found.values()), reverse=True)
    assert genres == float(found["genres"]) > 5 * max(others)
    bias = dict(re.findall(r"(\w+) (\d\.\d+)", text.splitlines()[3]))
    assert max(bias, key=lambda field: float(bias[field])) == "decade"
    assert [path.name for path in tmp_path.iterdir()] == ["variances.png"]


def test_scikit_learn_ranks_the_models_and_finds_the_settings_of_lowest_error(output_of):
    text = output_of("scikit_learn.py")
    scores = numbers(r"R² (\d\.\d+)", text)
    assert scores == sorted(scores)
    assert len(scores) == 3
    assert re.search(
        r"RMSE 0\.\d+ with {'recommender__embedding_dim': 8, 'recommender__learning_rate': 0.01}", text
    )
    best = "NeuralMF(epochs=10, learning_rate=0.01, embedding_dim=8, hidden_layer_sizes=())"
    assert f"{best} recommends [" in text

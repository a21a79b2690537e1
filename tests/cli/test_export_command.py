"""export: a model for other programs."""

import pytest
from typer.testing import CliRunner

from numpy_neural_mf import GlobalMean, NeuralMF, cli, simulate_ratings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ratings = simulate_ratings(n_users=20, n_items=10, n_ratings=100)
    NeuralMF(embedding_dim=2, epochs=1).fit(ratings).save("films.safetensors")
    GlobalMean().fit(ratings).save("mean.safetensors")
    return tmp_path


@pytest.mark.parametrize("name", ["films.onnx", "films.pt2"])
def test_a_model_is_written_in_the_form_that_the_suffix_says(folder, name):
    result = CliRunner().invoke(cli.app, ["export", "films.safetensors", name])
    assert result.exit_code == 0
    assert f"Wrote {name}" in result.output
    assert (folder / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["films.safetensors", "films.h5"], "films.h5: expected a suffix of .onnx, .pt2, found '.h5'"),
        (["mean.safetensors", "mean.onnx"], "mean.safetensors: expected a NeuralMF, found a GlobalMean"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(folder, arguments, message):
    result = CliRunner().invoke(cli.app, ["export", *arguments])
    assert isinstance(result.exception, ValueError)
    assert str(result.exception) == message

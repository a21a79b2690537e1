"""export: a model for other programs."""

import pytest

from numpy_neural_mf import GlobalMean, load_model, read_ratings
from numpy_neural_mf.cli import export

pytestmark = pytest.mark.usefixtures("models")


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_the_suffix_chooses_the_format(run, tmp_path, monkeypatch, suffix):
    def write(model, path):
        path.write_text(f"{type(model).__name__} as {suffix}")

    monkeypatch.setitem(export.WRITERS, suffix, write)
    result = run("export", "model.safetensors", tmp_path / f"films{suffix}")
    assert result.stdout == f"Wrote {tmp_path}/films{suffix}\n"
    assert (tmp_path / f"films{suffix}").read_text() == f"NeuralMF as {suffix}"


def test_an_exported_model_is_readable(run, tmp_path):
    onnx = pytest.importorskip("onnx")
    run("export", "model.safetensors", tmp_path / "films.onnx")
    onnx.checker.check_model(str(tmp_path / "films.onnx"))


@pytest.mark.parametrize(
    ("name", "output", "sentence"),
    [
        ("model.safetensors", "films.h5", "films.h5: expected a suffix of .onnx, .pt2, found '.h5'"),
        (
            "mean",
            "mean.onnx",
            "mean: expected one of NeuralMF, BayesianMF, LinearRegression, found a GlobalMean",
        ),
    ],
)
def test_a_failed_export_is_one_sentence(fault, tmp_path, monkeypatch, name, output, sentence):
    GlobalMean().fit(read_ratings("ratings.csv")).save(tmp_path / "mean")
    load_model("model.safetensors").save(tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert fault("export", name, output) == (sentence, 2)
    assert not (tmp_path / output).exists()

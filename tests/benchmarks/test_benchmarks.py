"""Each benchmark describes its options, results survive being written, and peers minimise the same."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from numpy_neural_mf import Architecture
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import NumpyEngine

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("benchmarks/**/*.py")
    if "def main()" in path.read_text(encoding="utf-8")
)


@pytest.fixture
def imported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module


@pytest.mark.parametrize("name", MODULES)
def test_help_shows_the_command_of_the_benchmark(name, imported, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        imported(name).main()
    assert end.value.code == 0
    assert f"python -m {name}" in capsys.readouterr().out


def test_the_quick_setting_changes_the_defaults_and_what_is_given_stays(imported, monkeypatch):
    parser = imported("benchmarks.harness").Parser("What it measures.", seeds=1, sizes=[10])
    parser.add_options(seeds=3, sizes=[100, 1000], loader=False)
    monkeypatch.setattr(sys, "argv", ["trial"])
    assert (parser.parse_args().seeds, parser.parse_args().sizes) == (3, [100, 1000])
    monkeypatch.setattr(sys, "argv", ["trial", "--quick", "--seeds", "2", "--loader"])
    given = parser.parse_args()
    assert (given.seeds, given.sizes, given.loader) == (2, [10], True)


def test_results_are_printed_as_they_are_measured_and_written_with_their_provenance(
    imported, tmp_path, capsys
):
    harness = imported("benchmarks.harness")
    given = Namespace(output=tmp_path / "a" / "trial.json", quick=False, repeats=5)
    results = harness.Results("trial", given, users=6_040)
    results.add("speed", engine="numpy", rate=np.array([1.0, 3.0, 2.0]), loss=np.float32(0.5), ratio=np.nan)
    assert "| numpy | 2.0000 [1.0000, 3.0000] | 0.5000 |  |" in capsys.readouterr().out
    content = json.loads((tmp_path / "a" / "trial.json").read_text(encoding="utf-8"))
    assert content["tables"] == {
        "speed": [{"engine": "numpy", "rate": [1.0, 3.0, 2.0], "loss": 0.5, "ratio": None}]
    }
    assert content["conditions"] == {"repeats": 5, "users": 6_040}
    for name in ("command", "date", "versions", "hardware"):
        assert content[name]
    text = harness.markdown(content)
    assert "| engine | rate | loss | ratio |" in text
    assert "users 6,040" in text


def test_a_measurement_has_the_value_the_time_and_the_memory_of_a_run(imported):
    measurement = imported("benchmarks.harness").measure(lambda: np.ones(1000).sum())
    assert measurement.value == 1000
    assert measurement.seconds >= 0
    assert np.isnan(measurement.peak_mb) or measurement.peak_mb > 0


def test_phases_of_the_compiled_engine_take_all_of_its_time(imported, monkeypatch, tmp_path):
    path = tmp_path / "phases.json"
    monkeypatch.setattr(sys, "argv", ["engines", "--phases", "--quick", "--output", str(path)])
    imported("benchmarks.speed.engines").main()
    (table,) = json.loads(path.read_text(encoding="utf-8"))["tables"].values()
    shares = {row["phase"]: int(row["share"].rstrip("%")) for row in table}
    assert shares["gradients"] > 0
    assert 98 <= sum(shares.values()) <= 102


@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_penalised_is_the_squared_error_and_a_penalty_on_the_rows_of_each_rating(
    imported, hidden_layer_sizes
):
    form, rng = Architecture(3, hidden_layer_sizes), np.random.default_rng(0)
    parameters = form.initial_parameters(6, 4, 3.0, rng, np.float64)
    for value in parameters.values():
        value += 0.3 * rng.standard_normal(value.shape)
    users, items, ratings = rng.integers(6, size=20), rng.integers(4, size=20), rng.uniform(1, 5, 20)
    objective = imported("benchmarks.penalties").penalised(form, 6, 4, 0.2, dtype=np.float64)
    engine = NumpyEngine(form, parameters, Adam(), objective)
    squares = sum(
        (parameters[f"{side}_{kind}.weight"][rows] ** 2).sum()
        for side, rows in (("user", users), ("item", items))
        for kind in ("embedding", "bias")
    )
    expected = ((engine.predict(users, items) - ratings) ** 2).mean() + 0.2 * squares / 20
    assert engine.expected_loss(users, items, ratings) == pytest.approx(expected, rel=1e-12)

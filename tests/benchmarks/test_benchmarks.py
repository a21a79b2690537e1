"""Each benchmark describes its options, and results survive being written, read and rendered."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("benchmarks/*/*.py")
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

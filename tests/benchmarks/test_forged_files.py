"""Whatever is in a damaged file, it is refused in a sentence that names it, or does no harm."""

import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FAULTLESS = ("refused", "harmless", "above 5 s")  # how long it takes is for the command, on an idle machine


@pytest.fixture(scope="module")
def forged_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("benchmarks.forged_files")


@pytest.fixture(scope="module")
def paths(forged_files, tmp_path_factory):
    pytest.importorskip("numba")
    pytest.importorskip("optuna")
    pytest.importorskip("torch")
    return forged_files.make_files(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("kind", ["damaged", "forged"])
def test_damaged_files_are_refused_or_harmless(forged_files, paths, kind):
    found = {
        (name, seed): forged_files.outcome(path, name, kind, seed)
        for name, path in paths.items()
        for seed in range(12)
    }
    assert {job: fault for job, fault in found.items() if fault not in FAULTLESS} == {}
    assert "refused" in found.values()


def test_sound_files_are_harmless(forged_files, paths, monkeypatch):
    monkeypatch.setattr(forged_files, "damaged_bytes", lambda path, rng: None)
    assert {forged_files.outcome(path, name, "damaged", 0) for name, path in paths.items()} == {"harmless"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TypeError("x"), "error of another kind: TypeError('x')"),
        (ValueError("x"), "error without the file: ValueError('x')"),
        (None, "accepted wrongly"),
    ],
)
def test_faults_are_counted(forged_files, paths, monkeypatch, error, expected):
    def use(path, of):
        if error is not None:
            raise error

    monkeypatch.setitem(forged_files.USES, "model file", (use, None))
    name = "model file: GlobalMean"
    assert forged_files.outcome(paths[name], name, "damaged", 0) == expected
    assert np.all([path.exists() for path in paths.values()])

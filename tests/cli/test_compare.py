"""compare: the table, the files and the report of several models."""

import json
from pathlib import Path

import polars as pl
import pytest

FILES = ["comparacion_arquitecturas.png", "comparison.csv", "comparison.json", "comparison.md"]
QUICK = ["--epochs", 1, "--seeds", 1]
MODELS = ["global mean", "linear regression", "item kNN", "A_small", "B_medium", "C_wide", "Bayesian MF"]

pytestmark = pytest.mark.usefixtures("ratings_csv")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def interrupted(monkeypatch):
    """Simulate Ctrl-C in the training of the first NeuralMF."""

    def interrupted(self, ratings, validation=None, on_progress=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.models.NeuralMF.fit", interrupted)


def test_ratings_are_found_and_the_table_and_the_files_are_written(run, folder):
    result = run("compare", *QUICK, "--output-dir", "out")
    assert result.stderr.startswith("ratings.csv: Ratings: 900 ratings of 40 items by 60 users")
    assert [name for name in (*MODELS, *FILES) if name not in result.stdout] == []
    assert names(folder / "out") == FILES
    assert names(folder) == ["out", "ratings.csv"]


def test_columns_may_have_any_name_and_the_scale_may_be_any(run, folder):
    frame = pl.read_csv("ratings.csv")
    frame.select(reader="user_id", extra=pl.lit("x"), book="item_id", grade=2 * pl.col("rating")).write_csv(
        "books.csv"
    )
    columns = ["--user", "reader", "--item", "book", "--rating", "grade", "--scale", 0, 10]
    result = run("compare", "books.csv", *columns, *QUICK)
    assert "900 ratings of 40 items by 60 users, 0 to 10" in result.stderr


def test_seeds_folds_and_epochs_are_used(run):
    command = ["compare", "ratings.csv", "--seeds", 2, "--folds", 2, "--epochs", 3]
    assert "mean of 4 runs" in run(*command).stdout
    runs = json.loads(Path("comparison.json").read_text())["runs"]
    assert [(run["seed"], run["split"]) for run in runs[::7]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {len(run["history"]["train_loss"]) for run in runs if run["history"]} == {3}


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_comparison_keeps_the_finished_runs_and_exits_130(run_main):
    code, out, err = run_main("compare", "ratings.csv", *QUICK, "--report", "report.html")
    assert code == 130
    assert "Interrupted: 3 of 7 runs are finished and counted." in out + err
    assert len(json.loads(Path("comparison.json").read_text())["runs"]) == 3
    assert "interrupted: 3 of 7 runs" in Path("report.html").read_text(encoding="utf-8")


def test_interrupted_before_the_first_run_nothing_is_written(ratings_csv, folder, monkeypatch, fault):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.cli.compare.run_experiments", interrupted)
    message = "interrupted before the first run was finished: nothing was written"
    assert fault("compare", "ratings.csv") == (message, 130)
    assert list(folder.iterdir()) == [ratings_csv]


def test_the_report_has_the_command_that_reproduces_it(run_main, ratings_csv, folder):
    ratings_csv.rename(folder / "my ratings.csv")
    code, _, err = run_main("compare", "my ratings.csv", *QUICK, "--report", "new/report.html")
    assert code == 0
    assert err.endswith("Wrote new/report.html\n")
    page = Path("new/report.html").read_text(encoding="utf-8")
    command = "numpy-neural-mf compare &#39;my ratings.csv&#39; --epochs 1 --seeds 1 --report new/report.html"
    assert command in page
    assert "C_wide" in page


@pytest.mark.parametrize("path", ["ratings.csv/report.html", "."])
def test_if_the_report_cannot_be_written_nothing_is_trained(run_main, path, folder):
    code, out, err = run_main("compare", "ratings.csv", *QUICK, "--report", path)
    assert (code, out) == (2, "")
    assert "folder" in err or "directory" in err
    assert names(folder) == ["ratings.csv"]

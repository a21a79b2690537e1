"""The page that compare and evaluate write where they are asked to."""

import re
import sys
from pathlib import Path

import pytest

from numpy_neural_mf import LinearRegression, cli, read_ratings, simulate_ratings


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simulate_ratings(n_users=60, n_items=40, n_ratings=900).to_frame().write_csv("my ratings.csv")
    return tmp_path


@pytest.fixture
def ask(monkeypatch, capsys):
    """Exit code and standard error of a command."""

    def ask(*arguments):
        monkeypatch.setattr(sys, "argv", ["numpy-neural-mf", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)

    return ask


COMPARE = ["compare", "my ratings.csv", "--epochs", "1", "--seeds", "1"]


def test_compare_writes_a_page_with_the_command_that_makes_it_again(ask):
    code, error = ask(*COMPARE, "--report", "new/report.html")
    assert (code, error.strip()) == (0, "Wrote new/report.html")
    page = Path("new/report.html").read_text(encoding="utf-8")
    command = "numpy-neural-mf compare &#39;my ratings.csv&#39; --epochs 1 --seeds 1 --report new/report.html"
    assert command in page
    assert "C_wide" in page


def test_without_the_option_there_is_no_page(ask, folder):
    assert ask(*COMPARE) == (0, "")
    assert not list(folder.rglob("*.html"))


def test_an_interrupted_comparison_has_a_page_too(ask, monkeypatch):
    def interrupted(self, ratings, validation=None, on_progress=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy_neural_mf.models.NeuralMF.fit", interrupted)
    assert ask(*COMPARE, "--report", "report.html")[0] == 130
    assert "interrupted: 3 of 7 runs" in Path("report.html").read_text(encoding="utf-8")


def test_evaluate_writes_a_page_and_says_what_was_left_out(ask):
    ratings = read_ratings("my ratings.csv")
    ratings.take(range(700)).to_frame().write_csv("train.csv")
    LinearRegression().fit(read_ratings("train.csv")).save("linear.safetensors")
    code, error = ask("evaluate", "linear.safetensors", "my ratings.csv", "--report", "report.html")
    assert code == 0
    assert error.splitlines()[-1] == "Wrote report.html"
    page = Path("report.html").read_text(encoding="utf-8")
    assert "my ratings.csv, less 700 ratings that it learned from</h1>" in page
    assert f"Over {len(ratings) - 700:,} ratings" in page
    assert "numpy-neural-mf evaluate linear.safetensors" in page
    assert "alphas" in page


@pytest.mark.parametrize("path", ["my ratings.csv/report.html", "."])
def test_where_no_page_can_be_written_nothing_is_trained(ask, path, folder):
    before = sorted(folder.rglob("*"))
    code, error = ask(*COMPARE, "--report", path)
    assert code == 2
    assert "folder" in error or "directory" in error
    assert sorted(folder.rglob("*")) == before

"""The comparison: its data, its runs, its results and its files."""

import io
import json
from functools import partial

import numpy as np
import polars as pl
import pytest
from rich.console import Console

import numpy_neural_mf.comparison.experiments as experiments
from numpy_neural_mf import (
    Comparison,
    GlobalMean,
    NeuralMF,
    Ratings,
    RatingsError,
    random_split,
    run_experiments,
)
from numpy_neural_mf import simulate_ratings as simulate

SIMULATED = simulate(n_users=200, n_items=80, n_ratings=3_000)
FRAME = SIMULATED.to_polars()
FILES = ["comparacion_arquitecturas.png", "comparison.csv", "comparison.json", "comparison.md"]

MODELS = {
    "mean": lambda seed: GlobalMean(),
    "neural": lambda seed: NeuralMF(embedding_dim=2, epochs=2, random_state=seed),
}


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Change to an empty working directory, and simulate few ratings."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NUMPY_NEURAL_MF_DATA", raising=False)
    monkeypatch.setattr(
        experiments,
        "simulate_ratings",
        lambda structure: simulate(n_users=60, n_items=40, n_ratings=900, structure=structure),
    )
    return folder


@pytest.fixture
def compare(elsewhere, console):
    return partial(run_experiments, console=console, output_dir="../out", models=MODELS, seeds=1)


def said(console):
    return console.file.getvalue()


def rmses(comparison):
    return [run.rmse for run in comparison.runs]


def interrupted_at(nth):
    """Return models whose nth training, counted from 1, is interrupted."""
    made = []

    def model(seed):
        made.append(seed)
        if len(made) == nth:
            raise KeyboardInterrupt
        return GlobalMean()

    return {"a": model, "b": model}


# Data


@pytest.mark.parametrize("kind", ["Ratings", "frame", "path", "text path"])
def test_one_set_of_ratings_in_any_form(compare, tmp_path, kind):
    path = tmp_path / "mine.csv"
    FRAME.write_csv(path)
    source = {"Ratings": SIMULATED, "frame": FRAME, "path": path, "text path": str(path)}[kind]
    comparison = compare(source)
    assert {run.data for run in comparison.runs} == {"mine.csv" if "path" in kind else "ratings"}
    assert [run.model for run in comparison.runs] == ["mean", "neural"]


def test_several_sets_of_ratings_by_name(compare, tmp_path):
    path = tmp_path / "mine.csv"
    FRAME.write_csv(path)
    comparison = compare({"first": SIMULATED, "second": FRAME, "third": path})
    assert list(dict.fromkeys(run.data for run in comparison.runs)) == ["first", "second", "third"]
    first, second, third = (rmses(comparison)[n : n + 2] for n in (0, 2, 4))
    assert first == second == third


def test_a_file_in_the_working_directory_is_found_first(compare, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMPY_NEURAL_MF_DATA", str(tmp_path))
    FRAME.write_csv(elsewhere / "ratings.csv")
    FRAME.head(500).write_csv(tmp_path / "ratings.csv")
    comparison = compare()
    assert {run.data for run in comparison.runs} == {"ratings.csv"}
    assert rmses(comparison) == rmses(compare(FRAME))


def test_the_folder_in_the_environment_is_searched_next(compare, elsewhere, tmp_path, monkeypatch, console):
    monkeypatch.setenv("NUMPY_NEURAL_MF_DATA", str(tmp_path))
    FRAME.head(500).write_csv(tmp_path / "ratings.csv")
    assert {run.data for run in compare().runs} == {"ratings.csv"}
    assert "500 ratings" in said(console)


@pytest.mark.parametrize("variable", [None, "", "/no/such/folder"])
def test_without_a_file_ratings_are_simulated_with_structure_and_without(
    compare, elsewhere, monkeypatch, variable
):
    if variable is not None:
        monkeypatch.setenv("NUMPY_NEURAL_MF_DATA", variable)
    comparison = compare()
    assert [run.data for run in comparison.runs] == [
        *["simulated, latent structure"] * 2,
        *["simulated, no structure"] * 2,
    ]
    assert all(run.noise_floor for run in comparison.runs)


def test_the_default_models_are_the_baselines_three_architectures_and_bayesian_mf(compare, console):
    comparison = compare(SIMULATED, models=None, epochs=2)
    names = ["global mean", "linear regression", "item kNN", "A_small", "B_medium", "C_wide", "Bayesian MF"]
    assert [run.model for run in comparison.runs] == names
    assert [run.history is not None for run in comparison.runs] == [False] * 3 + [True] * 3 + [False]
    assert {len(run.history.train_loss) for run in comparison.runs if run.history} == {2}
    sizes = [run.n_parameters for run in comparison.runs[:-1]]
    assert sizes == sorted(sizes)
    assert "left out" not in said(console)


def test_without_numba_bayesian_mf_is_left_out_with_a_remark(compare, monkeypatch, console):
    monkeypatch.setattr(experiments, "find_spec", lambda name: None)
    comparison = compare(SIMULATED, models=None, epochs=1)
    assert [run.model for run in comparison.runs][-1] == "C_wide"
    assert 'Bayesian MF is left out, since it needs numba: pip install "numpy-neural-mf[fast]"' in said(
        console
    )


def test_your_own_models_are_all_compared_without_numba(compare, monkeypatch, console):
    monkeypatch.setattr(experiments, "find_spec", lambda name: None)
    assert len(compare(SIMULATED).runs) == len(MODELS)
    assert "left out" not in said(console)


# Runs


def test_a_run_for_each_set_seed_and_model(compare):
    comparison = compare({"one": SIMULATED, "two": SIMULATED}, seeds=3)
    assert len(comparison.runs) == comparison.n_planned == 2 * 3 * 2
    labels = [(run.data, run.seed, run.split, run.model) for run in comparison.runs]
    assert labels == [(d, s, s, m) for d in ("one", "two") for s in range(3) for m in MODELS]


def test_a_run_for_each_fold(compare):
    comparison = compare(SIMULATED, seeds=2, n_folds=3)
    assert len(comparison.runs) == comparison.n_planned == 2 * 3 * 2
    labels = [(run.seed, run.split, run.model) for run in comparison.runs]
    assert labels == [(s, f, m) for s in range(2) for f in range(3) for m in MODELS]


def test_the_same_seeds_give_the_same_numbers(compare):
    first, again = compare(SIMULATED, seeds=2), compare(SIMULATED, seeds=2)
    assert rmses(first) == rmses(again)
    assert [run.mae for run in first.runs] == [run.mae for run in again.runs]
    assert first.runs[1].history.train_loss == again.runs[1].history.train_loss
    assert len(set(rmses(first))) == 4  # each seed gives other numbers


def test_each_seed_is_passed_to_the_model(compare):
    seeds = []

    def model(seed):
        seeds.append(seed)
        return GlobalMean()

    compare(SIMULATED, models={"a": model}, seeds=3, n_folds=2)
    assert seeds == [0, 0, 1, 1, 2, 2]


class Spy(GlobalMean):
    """A model that records its training ratings and the pairs it predicts."""

    def __init__(self, seen):
        self.seen = seen

    def fit(self, ratings, validation=None, on_progress=None):
        assert validation is None
        self.fitted = pairs(ratings.raw_users, ratings.raw_items)
        return super().fit(ratings, validation, on_progress)

    def predict(self, users, items, timestamps=None):
        self.seen.append((self.fitted, pairs(users, items)))
        return super().predict(users, items)


def pairs(users, items):
    return set(zip(users.tolist(), items.tolist(), strict=True))


@pytest.mark.parametrize("n_folds", [0, 3])
def test_test_ratings_are_predicted_once_and_never_learned_from(compare, n_folds):
    seen = []
    compare(SIMULATED, models={"spy": lambda seed: Spy(seen)}, seeds=2, n_folds=n_folds)
    everything = pairs(SIMULATED.raw_users, SIMULATED.raw_items)
    assert len(seen) == 2 * max(n_folds, 1)
    for fitted, tested in seen:
        assert fitted
        assert tested
        assert fitted.isdisjoint(tested)
        assert fitted | tested == everything


def test_every_model_is_tested_on_the_same_ratings(compare):
    seen = []
    compare(SIMULATED, models=dict.fromkeys("abc", lambda seed: Spy(seen)), seeds=2)
    assert seen[0] == seen[1] == seen[2] != seen[3] == seen[4] == seen[5]


def test_errors_are_over_the_test_part_with_equal_weights(compare):
    [run] = compare(SIMULATED, models={"mean": MODELS["mean"]}).runs
    train, test = random_split(SIMULATED, random_state=0)
    error = test.values.astype(float) - train.mean
    assert run.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    assert run.mae == pytest.approx(np.mean(np.abs(error)), rel=1e-6)
    best = test.expected - test.values.astype(float)
    assert run.noise_floor == pytest.approx(np.sqrt(np.mean(best**2)))
    assert run.noise_floor == pytest.approx(test.noise_floor, rel=0.1)
    assert run.n_parameters == 1
    assert run.seconds > 0


# Results


def test_the_table_has_a_row_for_each_set_and_model_in_order(compare):
    table = compare({"b": FRAME, "a": FRAME}, seeds=2).table()
    numbers = ["rmse", "rmse_low", "rmse_high", "rmse_std", "mae", "parameters", "seconds", "excess_rmse"]
    assert table.columns == ["data", "model", "runs", "splits", *numbers, "ndcg_at_10", "recall_at_10"]
    assert table["data"].to_list() == ["b", "b", "a", "a"]
    assert table["model"].to_list() == ["mean", "neural"] * 2
    assert table["runs"].to_list() == [2] * 4
    assert table["parameters"][0] == 1


def test_the_table_contains_means_and_standard_deviations_of_the_runs(compare):
    comparison = compare(FRAME, seeds=3)
    row = comparison.table().row(1, named=True)
    runs = comparison.groups()["ratings", "neural"]
    assert row["rmse"] == pytest.approx(np.mean([run.rmse for run in runs]))
    assert row["rmse_std"] == pytest.approx(np.std([run.rmse for run in runs], ddof=1))
    assert row["mae"] == pytest.approx(np.mean([run.mae for run in runs]))
    for name in ("rmse", "rmse_low", "rmse_high", "mae"):
        assert f"{row[name]:.4f}" in str(comparison)


def test_one_run_has_no_spread(compare):
    comparison = compare(FRAME)
    for name in ("rmse_low", "rmse_high", "rmse_std"):
        assert comparison.table()[name].to_list() == [None, None]
    assert "interval" not in str(comparison)


def test_the_excess_over_the_bayes_optimal_rmse_is_shown_if_known(compare):
    comparison = compare({"known": SIMULATED, "unknown": FRAME}, seeds=2)
    known = [run.rmse / run.noise_floor - 1 for run in comparison.runs if run.data == "known"]
    expected = [pytest.approx(np.mean(known[n::2])) for n in (0, 1)]
    assert comparison.table()["excess_rmse"].to_list() == [*expected, None, None]
    assert "excess RMSE" in str(comparison)
    assert f"{100 * np.mean(known[1::2]):.1f} %" in str(comparison)


def test_without_a_bayes_optimal_rmse_there_is_no_excess(compare):
    comparison = compare(FRAME)
    assert comparison.table()["excess_rmse"].to_list() == [None, None]
    assert "excess" not in str(comparison)
    assert [run.noise_floor for run in comparison.runs] == [None, None]


def test_a_comparison_shows_itself_as_text_a_table_for_each_set(compare):
    text = str(compare({"books": FRAME, "films": SIMULATED}, seeds=2))
    assert "books: test error, mean of 2 runs with its 95 % interval" in text
    assert text.index("books") < text.index("films")
    assert all(name in text for name in FILES)
    assert "Interrupted" not in text
    assert "mean of" not in str(compare(FRAME, seeds=1))


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_text_is_plain_everywhere(compare, monkeypatch, variable):
    comparison = compare(FRAME)
    monkeypatch.setenv(variable, "1")
    assert "\x1b" not in str(comparison)


def test_a_comparison_shows_itself_in_a_notebook_whole_and_escaped(compare):
    models = {f"a model with a rather long name & number <{n}>": MODELS["mean"] for n in range(20)}
    html = compare(FRAME, models=models)._repr_html_()
    assert html.count("<tr>") == 21
    assert "a model with a rather long name &amp; number &lt;19&gt;" in html
    assert "comparison.json" in html


def test_an_empty_comparison_shows_nothing():
    empty = Comparison()
    assert empty.table().height == 0
    assert str(empty).strip() == ""
    assert empty._repr_html_() == ""


def test_names_are_shown_as_they_are(compare, console):
    name = "old [bold] films [/]"
    text = str(compare({name: FRAME}, models={"a [red] model": MODELS["mean"]}))
    assert f"{name}: test error" in text
    assert "a [red] model" in text
    assert f"{name}: Ratings" in said(console)


def test_dropped_ratings_are_reported(compare, console):
    again = FRAME.head(7).with_columns(rating=pl.lit(1.0, pl.Float32))
    compare(pl.concat([FRAME, again]))
    assert "7 ratings were dropped: the same user rated the item again later" in said(console)


def test_without_dropped_ratings_there_is_no_remark(compare, console):
    compare(FRAME)
    assert "were dropped" not in said(console)


def test_data_table_and_files_are_printed(compare, console):
    compare({"films": FRAME})
    assert "films: Ratings: 3,000 ratings of 80 items by 200 users" in said(console)
    assert "neural" in said(console)
    assert "comparison.md" in said(console)


def test_each_finished_run_is_a_line_without_a_terminal_too(compare, console):
    comparison = compare(SIMULATED, seeds=2)
    lines = [line for line in said(console).splitlines() if line.startswith("run ")]
    assert len(lines) == len(comparison.runs)
    assert [f"{run.rmse:.4f}" in line for run, line in zip(comparison.runs, lines, strict=True)] == [True] * 4
    assert lines[1].startswith("run 2 of 4: ratings, neural, seed 0: RMSE ")


@pytest.mark.parametrize(("seeds", "n_tables"), [(2, 1), (3, 1), (4, 2), (5, 2)])
@pytest.mark.parametrize("n_folds", [0, 2])
def test_with_more_than_three_seeds_a_first_table_has_three(compare, console, seeds, n_tables, n_folds):
    models = {"mean": MODELS["mean"], "another": MODELS["mean"]}
    comparison = compare({"a": SIMULATED, "b": SIMULATED}, models=models, seeds=seeds, n_folds=n_folds)
    for name in "ab":
        assert said(console).count(f"{name}: test error") == n_tables
    assert f"mean of {3 * max(n_folds, 1)} runs" in said(console) or n_tables == 1
    assert "Interrupted" not in said(console)
    assert len(comparison.runs) == 2 * 2 * seeds * max(n_folds, 1)


@pytest.mark.filterwarnings("ignore:Glyph")  # a glyph that the figure lacks
def test_names_cannot_write_to_the_terminal(compare, console):
    compare({"\x1b[31mfilms": FRAME}, models={"\x1b]0;x\x07": MODELS["mean"]})
    assert not set("\x1b\x07") & set(said(console))


def test_names_cannot_be_markup_in_markdown(compare, tmp_path):
    compare(FRAME, models={"<img src=x>": MODELS["mean"], "[a](b)": MODELS["mean"]}, seeds=2)
    text = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert text.count("\\<img") == text.count("<img") == 2
    assert text.count("\\[a\\](b)") == 2


# Files


def test_the_figure_and_three_files_are_written_and_nothing_else(compare, tmp_path, elsewhere):
    comparison = compare(FRAME)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert sorted(path.resolve() for path in comparison.files) == sorted((tmp_path / "out").iterdir())
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "out" / FILES[0]).read_bytes().startswith(b"\x89PNG")


def test_the_working_directory_is_the_default(compare, elsewhere):
    compare(FRAME, output_dir=".")
    assert sorted(path.name for path in elsewhere.iterdir()) == FILES


def test_json_contains_every_run_with_its_history(compare, tmp_path):
    comparison = compare({"known": SIMULATED, "unknown": FRAME}, seeds=2)
    file = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {"python", "platform", "numpy", "numpy-neural-mf"} <= file["made_with"].keys()
    written = file["runs"]
    assert len(written) == len(comparison.runs)
    for run, record in zip(comparison.runs, written, strict=True):
        history = record.pop("history")
        assert record == {name: value for name, value in vars(run).items() if name != "history"}
        assert history == (None if run.history is None else vars(run.history))


def test_csv_and_markdown_contain_the_table(compare, tmp_path):
    comparison = compare({"with | bar": FRAME}, seeds=2)
    table = comparison.table()
    written = pl.read_csv(tmp_path / "out" / "comparison.csv", schema=table.schema)
    assert written.equals(table)
    lines = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| data | model | RMSE | 95 % interval | MAE | parameters | seconds |"
    assert lines[2].startswith("| with \\| bar | mean | ")
    assert lines[4:] == ["", *(f"- {sentence}" for sentence in comparison.conclusions())]


def test_a_comparison_replaces_what_an_earlier_one_wrote(compare, tmp_path):
    compare({"former": FRAME})
    compare({"new": FRAME})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert "former" not in (tmp_path / "out" / "comparison.md").read_text()


# Interrupted


def test_interrupted_in_the_middle_the_finished_runs_are_kept(compare, tmp_path, console):
    comparison = compare(FRAME, models=interrupted_at(4), seeds=3)
    assert [(run.seed, run.model) for run in comparison.runs] == [(0, "a"), (0, "b"), (1, "a")]
    assert comparison.n_planned == 6
    assert "mean of 1 to 2 runs" in str(comparison)
    for text in (str(comparison), comparison._repr_html_(), said(console)):
        assert "Interrupted: 3 of 6 runs are finished and counted." in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert len(json.loads((tmp_path / "out" / "comparison.json").read_text())["runs"]) == 3


def test_interrupted_before_the_first_run_nothing_is_written(compare, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compare(FRAME, models=interrupted_at(1))
    assert not (tmp_path / "out").exists()


def test_an_error_in_the_middle_is_raised_and_the_finished_runs_are_kept(compare, tmp_path, console):
    class Diverging(GlobalMean):
        def fit(self, ratings, validation=None, on_progress=None):
            raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError, match="the loss is nan"):
        compare(FRAME, models={"mean": MODELS["mean"], "bad": lambda seed: Diverging()}, seeds=3)
    assert "Interrupted: 1 of 6 runs are finished and counted." in said(console)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


# Bad input is refused before anything is trained


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, not 0"),
        ({"n_folds": 1}, "n_folds must be at least 2, or 0 for random splits, not 1"),
        ({"n_folds": -2}, "n_folds must be an integer of at least 0"),
        ({"models": None, "engine": "abacus"}, "engine must be one of auto, numpy.*not 'abacus'"),
        ({"models": None, "epochs": 0}, "epochs must be .*from 1 to 100000, or None, not 0"),
        ({"models": {}}, "must be data and models"),
    ],
)
def test_a_setting_out_of_range_is_refused_first(compare, console, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        compare(FRAME, **settings)
    assert said(console) == ""
    assert not (tmp_path / "out").exists()


def test_more_folds_than_ratings_are_refused(compare):
    with pytest.raises(ValueError, match="n_folds: expected 2 to 20"):
        compare(FRAME.head(20), n_folds=21)


def test_no_data_is_refused(compare):
    with pytest.raises(ValueError, match="must be data and models"):
        compare({})


@pytest.mark.parametrize("source", ["no such file.csv", {"a": "no such file.csv"}, {"a": [1, 2, 3]}, 7])
def test_ratings_that_cannot_be_read_are_refused(compare, elsewhere, source):
    with pytest.raises((RatingsError, TypeError)):
        compare(source)


@pytest.mark.parametrize("below", [".", "deeper", "deeper/still"])
def test_a_file_in_place_of_the_output_folder_is_refused_first(compare, tmp_path, console, below):
    file = tmp_path / "results"
    file.write_text("mine")
    with pytest.raises(NotADirectoryError, match="expected a folder, found a file"):
        compare(FRAME, output_dir=file / below)
    assert said(console) == ""
    assert file.read_text() == "mine"


def test_unknown_users_in_the_test_part_are_counted(compare):
    """Give every user one rating, so that all test users are unknown."""
    ratings = Ratings.from_columns(np.arange(100), np.zeros(100, int), np.resize([1.0, 5.0], 100))
    assert all(np.isfinite(rmses(compare(ratings))))


def test_a_notebook_shows_table_and_figure_once_as_the_result(compare, console, monkeypatch):
    monkeypatch.setattr(console, "is_jupyter", True)
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: console.file.write(text))
    comparison = compare(FRAME)
    assert "run 2 of 2" in said(console)
    assert "test error" not in said(console)
    html = comparison._repr_html_()
    assert html.count("test error, of one run") == 1
    assert html.count('<img alt="Test error of each model') == 1


def test_a_notebook_shows_the_finished_runs_after_an_error(compare, console, monkeypatch):
    def fails(seed):
        raise ZeroDivisionError

    monkeypatch.setattr(console, "is_jupyter", True)
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: console.file.write(text))
    with pytest.raises(ZeroDivisionError):
        compare(FRAME, models=MODELS | {"fails": fails})
    assert "test error" in said(console)


def test_the_figure_of_a_comparison_names_its_models_and_its_text_is_its_table(compare):
    comparison = compare(FRAME)
    assert repr(comparison) == str(comparison)
    errors, _ = comparison.plot().subfigs[0].axes
    assert [label.get_text() for label in errors.get_yticklabels()] == ["mean", "neural"]


def test_a_mapping_has_columns_if_they_are_named_so_and_otherwise_data_sets():
    columns, find = FRAME.to_dict(), experiments.find_data
    assert {name: len(part) for name, part in find(columns).items()} == {"ratings": len(FRAME)}
    assert list(find({"user": columns, "item": FRAME})) == ["user", "item"]

"""Cross-validation: splits, runs, and the significance of differences."""

import json
from dataclasses import replace
from html import unescape

import numpy as np
import polars as pl
import pytest

from numpy_neural_mf import (
    GlobalMean,
    LinearRegression,
    NeuralMF,
    Ratings,
    cross_validate,
    k_fold,
    leave_last_out,
    random_split,
    simulate_ratings,
    time_split,
)
from numpy_neural_mf.comparison.results import Comparison
from numpy_neural_mf.evaluation import evaluate_ranking, rmse
from numpy_neural_mf.evaluation.runs import Run, rmse_difference

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=900)
MODELS = {"mean": lambda seed: GlobalMean(), "linear": lambda seed: LinearRegression()}


def dated():
    return replace(RATINGS, timestamps=np.arange(len(RATINGS)))


def a_run(model, split, rmse, seed=0, data="films"):
    return Run(data, model, seed, split, 80, 20, rmse, 0.7, None, 10, 0.1)


# Splits


def test_every_model_is_tested_on_every_fold():
    comparison = cross_validate(MODELS, RATINGS, n_folds=3)
    assert [(run.split, run.model) for run in comparison.runs] == [(f, m) for f in range(3) for m in MODELS]
    for run, (train, test) in zip(comparison.runs[::2], k_fold(RATINGS, 3), strict=True):
        prediction = GlobalMean().fit(train).predict(test.raw_users, test.raw_items)
        assert run.rmse == rmse(prediction, test.values)
        assert (run.n_train, run.n_test) == (len(train), len(test))
    assert comparison.n_planned == 6
    assert comparison.data["ratings"].n_ratings == 900


def test_a_model_or_a_class_stands_for_a_function_of_the_seed():
    small = {"embedding_dim": 2, "hidden_layer_sizes": (), "epochs": 1}
    models = {
        "function": lambda seed: NeuralMF(**small, random_state=seed),
        "model": NeuralMF(**small),
        "class": GlobalMean,
    }
    runs = cross_validate(models, RATINGS, n_folds=3, seeds=2).runs
    by_name = {name: [run.rmse for run in runs if run.model == name] for name in models}
    assert by_name["model"] == by_name["function"]
    assert len(set(by_name["model"])) == 6
    assert len(set(by_name["class"])) == 3
    with pytest.raises(RuntimeError, match="not fitted"):
        models["model"].predict(1, 1)
    for wrong in ([GlobalMean()], {"mean": 3}):
        with pytest.raises(TypeError, match="models: expected a model, its class or a function"):
            cross_validate(wrong, RATINGS)


def test_a_class_of_another_library_is_given_the_seed():
    seeds = []

    class Foreign:
        n_parameters_ = 1

        def __init__(self, seed):
            seeds.append(seed)

        def fit(self, train, on_progress=None):
            return self

        def predict(self, users, items, timestamps=None):
            return np.full(len(users), 3.0)

    cross_validate({"foreign": Foreign}, RATINGS, n_folds=2, seeds=2)
    assert seeds == [0, 0, 1, 1]


def test_seeds_train_again_on_the_same_folds_and_do_not_count_as_splits():
    models = {"neural": lambda seed: NeuralMF(embedding_dim=2, epochs=1, random_state=seed)}
    comparison = cross_validate(models, RATINGS, n_folds=2, seeds=2)
    assert [(run.seed, run.split) for run in comparison.runs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({run.rmse for run in comparison.runs}) == 4
    assert comparison.table()["splits"].to_list() == [2]
    assert "mean of 4 runs on 2 splits with its 95 % interval" in str(comparison)


@pytest.mark.parametrize("split", [time_split, leave_last_out])
def test_your_own_split(split):
    train, test = split(dated())
    comparison = cross_validate(MODELS, splits=[(train, test)], seeds=2)
    assert {(run.n_train, run.n_test) for run in comparison.runs} == {(len(train), len(test))}
    assert [(run.seed, run.split) for run in comparison.runs[::2]] == [(0, 0), (1, 0)]
    assert comparison.conclusions() == [
        "With one split of the ratings, significance cannot be tested: use more seeds or folds."
    ]
    assert "mean of 2 runs on one split" in str(comparison)


def test_several_splits_may_come_from_a_generator():
    splits = (random_split(RATINGS, random_state=seed) for seed in range(4))
    comparison = cross_validate(MODELS, splits=splits)
    assert comparison.table()["splits"].to_list() == [4, 4]


def test_a_single_model_needs_no_name():
    comparison = cross_validate(lambda seed: GlobalMean(), RATINGS, n_folds=2)
    assert {run.model for run in comparison.runs} == {"model"}
    assert comparison.differences().height == 0
    assert comparison.conclusions() == []


def test_ratings_come_in_any_form():
    rmses = [[run.rmse for run in cross_validate(MODELS, source, n_folds=2).runs]
             for source in (RATINGS, RATINGS.to_polars())]  # fmt: skip
    assert rmses[0] == rmses[1]


# Reports


def test_nothing_is_printed_and_nothing_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cross_validate(MODELS, RATINGS, n_folds=2)
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_runs_and_epochs_are_reported():
    runs, epochs = [], []
    models = {"neural": lambda seed: NeuralMF(embedding_dim=2, epochs=2)}
    comparison = cross_validate(models, RATINGS, n_folds=2, on_run=runs.append,
                                on_progress=lambda progress: epochs.append(progress.epoch))  # fmt: skip
    assert runs == comparison.runs
    assert set(epochs) == {1, 2}


# Ranking


def test_lists_are_evaluated_on_request():
    comparison = cross_validate(MODELS, RATINGS, n_folds=2, ranking=True)
    train, test = next(k_fold(RATINGS, 2))
    assert comparison.runs[0].ranking == evaluate_ranking(GlobalMean().fit(train), train, test).overall
    row = comparison.table().row(0, named=True)
    assert row["ndcg_at_10"] == pytest.approx(np.mean([r.ranking["ndcg"] for r in comparison.runs[::2]]))
    assert row["recall_at_10"] == pytest.approx(np.mean([r.ranking["recall"] for r in comparison.runs[::2]]))
    assert "NDCG@10" in str(comparison)
    without = cross_validate(MODELS, RATINGS, n_folds=2)
    assert [run.ranking for run in without.runs] == [None] * 4
    assert "NDCG@10" not in str(without)


def test_without_relevant_items_lists_are_not_evaluated():
    users, items = np.divmod(np.arange(100), 10)
    ratings = Ratings.from_columns(users, items, np.resize([1.0, 2.0], 100), scale=(1, 5))
    comparison = cross_validate(MODELS, ratings, n_folds=2, ranking=True)
    assert {run.ranking for run in comparison.runs} == {None}
    assert comparison.table()["ndcg_at_10"].to_list() == [None, None]


# Differences


def test_a_row_for_each_pair_the_better_one_first():
    rmses = {"a": [0.9, 0.91, 0.92], "b": [0.8, 0.82, 0.81], "c": [0.85, 0.84, 0.86]}
    runs = [
        a_run(model, split, error) for model, errors in rmses.items() for split, error in enumerate(errors)
    ]
    comparison = Comparison(runs)
    frame = comparison.differences()
    assert frame.select("model", "other").rows() == [("b", "c"), ("b", "a"), ("c", "a")]
    expected = rmse_difference(runs[:3], runs[3:6])
    row = frame.row(1, named=True)
    assert row["data"] == "films"
    assert row["splits"] == 3
    for name, value in (("difference", expected.mean), ("low", expected.low), ("high", expected.high)):
        assert row[name] == pytest.approx(value)
    assert row["effect_size"] == pytest.approx(expected.effect_size)


def test_p_values_are_corrected_for_all_pairs_of_a_data_set_and_no_others():
    rng = np.random.default_rng(0)
    names = ("films", "books")
    runs = [a_run(model, split, 0.8 + 0.02 * n + 0.01 * rng.normal(), data=data)
            for data in names for n, model in enumerate("abc") for split in range(6)]  # fmt: skip
    frame = Comparison(runs).differences()
    separate = [Comparison([run for run in runs if run.data == name]).differences() for name in names]
    assert frame.equals(pl.concat(separate))
    films = {run.model: [r for r in runs if r.data == "films" and r.model == run.model] for run in runs}
    plain = [rmse_difference(films[row["other"]], films[row["model"]]).p_value
             for row in separate[0].iter_rows(named=True)]  # fmt: skip
    assert (separate[0]["p_value"] >= plain).all()
    assert min(separate[0]["p_value"]) == pytest.approx(3 * min(plain))
    assert separate[0]["is_significant"].to_list() == [p < 0.05 for p in separate[0]["p_value"]]


def test_with_one_split_only_the_difference_is_known():
    row = Comparison([a_run("a", 0, 0.9), a_run("b", 0, 0.8)]).differences().row(0, named=True)
    assert row["difference"] == pytest.approx(0.1)
    assert [row[name] for name in ("low", "high", "p_value", "effect_size", "is_significant")] == [None] * 5


def test_an_unfinished_split_is_left_out_of_the_differences():
    finished = [a_run(model, split, 0.8 + 0.01 * n + 0.001 * split * n, seed=split)
                for split in range(3) for n, model in enumerate("abc")]  # fmt: skip
    interrupted = [*finished, a_run("a", 3, 0.1, seed=3)]
    assert Comparison(interrupted).differences().equals(Comparison(finished).differences())
    assert "mean of 3 to 4 runs with its 95 % interval" in str(Comparison(interrupted))


def test_each_data_set_has_its_conclusions_below_its_table():
    runs = [a_run(model, split, 0.8 + 0.1 * n * (data == "films"), data=data)
            for data in ("films", "books") for n, model in enumerate("ab") for split in range(5)]  # fmt: skip
    comparison = Comparison(runs)
    [films], [books] = comparison.conclusions("films"), comparison.conclusions("books")
    assert films.startswith("a is significantly better than b (RMSE lower by 0.1000")
    assert books == "There is no significant difference between a and b (p = 1)."
    assert comparison.conclusions() == [f"films: {films}", f"books: {books}"]
    assert comparison.conclusions("songs") == []
    for text in (str(comparison), unescape(comparison._repr_html_())):
        places = [text.index(part) for part in ("films: test error", films, "books: test error", books)]
        assert places == sorted(places)


def test_infinite_differences_are_null_in_json(tmp_path):
    comparison = Comparison(
        [a_run("a", 0, 0.5), a_run("a", 1, 0.75), a_run("b", 0, 0.25), a_run("b", 1, 0.5)]
    )
    assert comparison.differences()["effect_size"].to_list() == [np.inf]
    comparison.save(tmp_path)
    [row] = json.loads((tmp_path / "comparison.json").read_text(), parse_constant=pytest.fail)["differences"]
    assert row["difference"] == 0.25
    assert row["is_significant"] is True
    assert row["effect_size"] is None


def test_the_old_name_of_the_conclusions_is_deprecated():
    comparison = Comparison([a_run("a", 0, 0.9), a_run("b", 0, 0.8)])
    with pytest.warns(DeprecationWarning, match="verdict is now named conclusions"):
        assert comparison.verdict() == comparison.conclusions()


# Bad input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1, not 0"),
        ({"n_folds": 1}, "n_folds: expected 2 to 900"),
        ({"models": {}}, "models: expected at least one"),
        ({"ratings": None}, "expected either ratings or splits"),
        ({"splits": []}, "expected either ratings or splits"),
        ({"ratings": None, "splits": []}, "splits: expected at least one, found none"),
        (
            {"ratings": None, "splits": [(RATINGS, RATINGS)]},
            "900 of its 900 ratings are of a user and an item",
        ),
    ],
)
def test_bad_input_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        cross_validate(**{"models": MODELS, "ratings": RATINGS} | settings)


def test_a_number_of_seeds_that_is_not_an_integer_is_refused():
    with pytest.raises(TypeError, match="seeds must be an integer"):
        cross_validate(MODELS, RATINGS, seeds=2.5)

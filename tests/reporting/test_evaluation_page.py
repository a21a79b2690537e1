"""The page of an evaluation has errors, calibration and lists, for every kind of model and ratings."""

import re
from datetime import UTC, datetime

import pytest
from parsed_page import Page

from numpy_neural_mf import GlobalMean, LinearRegression, simulate_ratings
from numpy_neural_mf.data import Ratings, random_split, summarize, user_split
from numpy_neural_mf.evaluation import Evaluation, evaluate
from numpy_neural_mf.reporting.page import evaluation_report
from numpy_neural_mf.reporting.provenance import settings_of

DATE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
RATINGS = simulate_ratings(n_users=40, n_items=20, n_ratings=400)


def page_of(evaluation, **settings):
    arguments = {"model": "films.safetensors", "test": "test.csv", "made_at": DATE} | settings
    html = evaluation_report(evaluation, **arguments)
    return html, Page(html)


@pytest.fixture(scope="module")
def evaluation():
    train, test = random_split(RATINGS, 0.2)
    return evaluate(LinearRegression().fit(train), train, test, k=5)


def test_it_loads_no_external_resource(evaluation):
    html, page = page_of(evaluation)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not page.values_of("src") + page.values_of("href")
    assert "url(" not in html.replace("url(#", "")


def test_on_a_narrow_screen_each_table_scrolls_and_the_page_does_not(evaluation):
    html, page = page_of(evaluation)
    scrolling = re.findall(r'<div class="scroll"[^>]*>\s*<table>', html)
    assert len(scrolling) == page.tags.count("table") > 0
    assert ".scroll { overflow-x: auto;" in html


def test_it_contains_the_errors_of_the_ratings(evaluation):
    _, page = page_of(evaluation)
    errors = evaluation.ratings.overall
    row = f"all {errors.n:,} {errors.rmse:.4f} {errors.mae:.4f} {errors.r2:.4f} {errors.fcp:.4f}"
    assert row in page.text
    assert f"the mean {evaluation.ratings.mean_user_rmse:.2f}" in page.text


def test_it_contains_the_quality_of_the_lists(evaluation):
    _, page = page_of(evaluation)
    lists = evaluation.ranking
    for name, word in {"ndcg": "NDCG", "recall": "recall", "novelty": "novelty"}.items():
        assert f"{word} {lists.overall[name]:.4f}" in page.text
    assert f"{100 * lists.coverage:.1f} % of the catalogue" in page.text
    assert f"{lists.gini:.3f}" in page.text
    assert "rated it 4 or more" in page.text


def test_warm_and_cold_are_separate():
    train, test = user_split(RATINGS)[:2]
    found = evaluate(GlobalMean().fit(train), train, test)
    _, page = page_of(found)
    assert f"cold {found.ratings.cold.n:,} {found.ratings.cold.rmse:.4f}" in page.text
    assert "warm 8" not in page.text
    assert "cold users" in page.text
    assert "nan" not in page.text


def test_a_model_without_recommend_has_no_lists(evaluation):
    _, page = page_of(Evaluation(evaluation.ratings, None))
    assert "Recommended lists" not in page.text


def test_without_relevant_ratings_the_page_states_the_threshold():
    ratings = Ratings.from_columns([1, 1, 2, 2], [1, 2, 1, 2], [1.0, 7.0, 3.0, 6.0], scale=(1, 10))
    train, test = ratings.take([0, 1, 2]), ratings.take([3])
    html, page = page_of(evaluate(LinearRegression().fit(train), train, test))
    assert "rated it 7.75 or more, and no test rating is that high" in page.text
    assert "RMSE" in page.text
    assert "nan" not in html


def test_it_describes_ratings_settings_and_provenance(evaluation):
    test = RATINGS.take(range(30))
    _, page = page_of(
        evaluation,
        data=summarize(test),
        settings=settings_of(LinearRegression(alphas=[3])),
        command="numpy-neural-mf evaluate films.safetensors test.csv",
    )
    assert f"ratings {len(test)}" in page.text
    assert "alphas 3" in page.text
    assert "random_state 7" in page_of(evaluation, settings={"random_state": "7"})[1].text
    assert "numpy-neural-mf evaluate films.safetensors test.csv" in page.text
    assert "2026-03-04 05:06 UTC" in page.text


def test_names_are_text_whatever_they_contain(evaluation):
    hostile = '<img src="x">&{{ 1 }}'
    _, page = page_of(evaluation, model=hostile, test=hostile, settings={hostile: hostile}, command=hostile)
    assert "img" not in page.tags
    assert page.text.count(hostile) >= 5


def test_one_rating_is_enough():
    train = Ratings.from_columns([1, 1, 2], [1, 2, 1], [3.0, 4.0, 5.0])
    test = Ratings.from_columns([2], [2], [4.0])
    html, _ = page_of(evaluate(GlobalMean().fit(train), train, test), data=summarize(test))
    assert "nan" not in html


def test_the_same_evaluation_makes_the_same_page(evaluation):
    assert page_of(evaluation)[0] == page_of(evaluation)[0]

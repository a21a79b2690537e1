"""The page of a comparison has all its numbers, for any comparison, and no external resource."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from parsed_page import Page

from numpy_neural_mf.comparison.page import comparison_report
from numpy_neural_mf.comparison.results import Comparison
from numpy_neural_mf.data import Ratings, simulate_ratings, summarize
from numpy_neural_mf.evaluation.runs import Run
from numpy_neural_mf.reporting.page import save_report
from numpy_neural_mf.training.loop import History

DATE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
SIMULATED = summarize(simulate_ratings(n_users=50, n_items=20, n_ratings=300))
RATED = summarize(
    Ratings.from_columns([1, 1, 2], ["a", "b", "a"], [1.0, 4.5, 5.0], [978300760, 978400000, 978500000])
)


def run(model, split, rmse, data="films", history=None, noise_floor=None):
    return Run(
        data=data,
        model=model,
        seed=0,
        split=split,
        n_train=800,
        n_test=200,
        rmse=rmse,
        mae=0.8 * rmse,
        noise_floor=noise_floor,
        n_parameters=1234,
        seconds=0.5,
        history=history,
    )


def compared(models=("mean", "neural"), data=("films",), n_splits=3, **settings):
    """Return a comparison whose errors are 0.90, 0.91, ... and a little more on each split."""
    runs = [
        run(
            model,
            split,
            0.9 + 0.01 * number + 0.001 * split * (number + 1),
            name,
            None if number == 0 else History([1.1, 0.9, 0.8], [1.0, 0.95, 0.94], [], [1.0] * 3, 3),
            **settings,
        )
        for name in data
        for split in range(n_splits)
        for number, model in enumerate(models)
    ]
    summary = SIMULATED if "noise_floor" in settings else RATED
    given = {model: {"epochs": "3", "random_state": "0"} for model in models[1:]}
    return Comparison(runs, dict.fromkeys(data, summary), given, n_planned=len(runs))


def page_of(comparison, **settings):
    html = comparison_report(comparison, made_at=DATE, **settings)
    return html, Page(html)


def is_self_contained(page):
    addresses = [value for name in ("src", "href", "srcset") for value in page.values_of(name)]
    return not addresses and not {"script", "link", "iframe", "img"} & set(page.tags)


def test_it_loads_no_external_resource():
    html, page = page_of(compared())
    assert is_self_contained(page)
    assert "url(" not in html.replace("url(#", "")
    assert "@import" not in html


def test_it_is_accessible():
    html, page = page_of(compared())
    assert html.startswith("<!DOCTYPE html>")
    assert page.values_of("lang") == ["en"]
    assert "width=device-width, initial-scale=1" in page.values_of("content")
    assert page.tags.count("h1") == page.tags.count("title") == 1
    assert page.tags.count("svg") == len([label for label in page.values_of("role") if label == "img"])


def test_on_a_narrow_screen_each_table_scrolls_and_the_page_does_not():
    html, page = page_of(compared())
    scrolling = re.findall(r'<div class="scroll"[^>]*>\s*<table>', html)
    assert len(scrolling) == page.tags.count("table") > 0
    assert ".scroll { overflow-x: auto;" in html


def test_it_contains_the_numbers_of_the_table():
    comparison = compared()
    _, page = page_of(comparison)
    for row in comparison.table().iter_rows(named=True):
        for name in ("rmse", "rmse_low", "rmse_high", "mae"):
            assert f"{row[name]:.4f}" in page.text
    assert "1,234" in page.text
    assert "bars their 95 % confidence intervals" in page.text


def test_it_contains_the_conclusions_of_each_data_set():
    comparison = compared(data=("films", "books"))
    _, page = page_of(comparison)
    for name in ("films", "books"):
        sentences = comparison.conclusions(name)
        assert sentences
        assert all(sentence in page.text for sentence in sentences)


def test_it_names_its_command_date_versions_and_splits():
    command = "numpy-neural-mf compare 'my films.csv' --seeds 3"
    _, page = page_of(compared(), command=command)
    assert command in page.text
    assert "2026-03-04 05:06 UTC" in page.text
    assert f"numpy {np.__version__}" in page.text
    assert "3 splits of the ratings: 800 for training, 200 for testing. 6 runs, with the seed 0." in page.text


def test_it_describes_the_ratings():
    _, page = page_of(compared())
    assert "ratings 3 users 2 items 2 density 75 %" in page.text
    assert "0.5 to 5" in page.text
    assert "time range 2000-12-31 to 2001-01-03" in page.text


def test_ratings_without_time_have_none():
    assert "time range" not in page_of(compared(noise_floor=0.85))[1].text


def test_settings_are_next_to_each_other_and_models_without_settings_are_left_out():
    comparison = compared(("mean", "small", "wide"))
    comparison.settings["wide"] = {"epochs": "7", "random_state": "0"}
    comparison.settings["mean"] = {}
    _, page = page_of(comparison)
    assert "setting small wide epochs 3 7" in page.text
    assert "random_state" not in page.text


def test_the_irreducible_error_is_shown_where_it_is_known():
    assert "irreducible error" in page_of(compared(noise_floor=0.85))[1].text
    assert "irreducible error" not in page_of(compared())[1].text


def test_one_run_has_no_interval():
    comparison = compared(n_splits=1)
    _, page = page_of(comparison)
    assert "0.9000" in page.text
    assert "95 %" not in page.text
    assert all(sentence in page.text for sentence in comparison.conclusions())


def test_an_interrupted_comparison_is_marked():
    comparison = replace(compared(), n_planned=9)
    assert "interrupted: 6 of 9 runs" in page_of(comparison)[1].text
    assert "interrupted" not in page_of(compared())[1].text


def test_models_may_have_different_runs():
    comparison = compared()
    comparison.runs.pop()
    assert "neural" in page_of(comparison)[1].text


def test_without_data_summary_settings_or_command_the_page_is_complete():
    comparison = replace(compared(), data={}, settings={})
    _, page = page_of(comparison)
    assert "0.9010" in page.text
    assert "The ratings" not in page.text
    assert "Settings" not in page.text


def test_names_are_text_whatever_they_contain():
    hostile = '<script>alert("&")</script> $x$ {{ 7 * 7 }}'
    comparison = compared(("mean", hostile), data=(hostile,))
    comparison.settings[hostile] = {hostile: hostile}
    _, page = page_of(comparison, command=hostile)
    assert is_self_contained(page)
    assert page.text.count(hostile) >= 5
    assert "49" not in [word for word in page.text.split() if word == "49"]


@pytest.mark.parametrize("n_models", [1, 2, 12])
def test_many_models_with_long_names_on_two_data_sets(n_models):
    models = [f"model {number}, " + "of a long name " * 8 for number in range(n_models)]
    html, page = page_of(compared(models, data=("films", "books")))
    assert page.text.count(models[-1].strip()) >= 2
    assert "nan" not in html


def test_the_same_comparison_makes_the_same_page():
    assert page_of(compared())[0] == page_of(compared())[0]


def test_a_comparison_without_runs_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        comparison_report(Comparison())


def test_a_page_is_written_as_it_is(tmp_path):
    html, _ = page_of(compared())
    save_report(html, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == html

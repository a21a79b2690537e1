"""Conclusions in words: which models are significantly better, which are not, and what one split allows."""

import polars as pl
import pytest

from numpy_neural_mf.comparison.conclusions import conclusions


def differences(*pairs, splits=5):
    """Return the rows of (better, other, difference, p)."""
    return pl.DataFrame(
        [{"model": a, "other": b, "splits": splits, "difference": d, "p_value": p,
          "is_significant": None if p is None else p < 0.05} for a, b, d, p in pairs]
    )  # fmt: skip


def test_one_model_that_is_better_than_all():
    rows = differences(("c", "b", 0.0072, 0.002), ("c", "a", 0.0146, 0.0001), ("b", "a", 0.0074, 0.41))
    assert conclusions(rows) == [
        "c is significantly better than every other model (RMSE lower by 0.0072 to 0.0146; p < 0.01).",
        "There is no significant difference between b and a (p = 0.41).",
    ]


def test_two_models():
    assert conclusions(differences(("b", "a", 0.01, 0.03))) == [
        "b is significantly better than a (RMSE lower by 0.0100; p < 0.05)."
    ]
    assert conclusions(differences(("b", "a", 0.01, 0.051))) == [
        "There is no significant difference between b and a (p = 0.051)."
    ]


def test_no_difference_at_all():
    rows = differences(("c", "b", 0.001, 1.0), ("c", "a", 0.002, 0.26), ("b", "a", 0.001, 1.0))
    assert conclusions(rows) == ["There is no significant difference between c, b and a (p ≥ 0.26)."]


def test_every_difference_is_significant():
    rows = differences(("c", "b", 0.1, 1e-4), ("c", "a", 0.3, 1e-5), ("b", "a", 0.2, 0.02))
    assert conclusions(rows) == [
        "c is significantly better than every other model (RMSE lower by 0.1000 to 0.3000; p < 0.001).",
        "b is significantly better than a (RMSE lower by 0.2000; p < 0.05).",
    ]


def test_tied_models_share_the_sentence_on_the_models_that_they_beat():
    rows = differences(
        *[("d", x, 0.05, 0.001) for x in "ab"],
        *[("c", x, 0.04, 0.004) for x in "ab"],
        ("d", "c", 0.01, 0.3),
        ("b", "a", 0.001, 0.6),
    )
    assert conclusions(rows) == [
        "d and c are significantly better than b and a (RMSE lower by 0.0400 to 0.0500; p < 0.01).",
        "There is no significant difference between d and c (p = 0.3).",
        "There is no significant difference between b and a (p = 0.6).",
    ]


def test_a_model_between_two_that_differ_may_differ_from_neither():
    rows = differences(("c", "a", 0.03, 0.01), ("c", "b", 0.02, 0.2), ("b", "a", 0.01, 0.3))
    assert conclusions(rows) == [
        "c is significantly better than a (RMSE lower by 0.0300; p < 0.05).",
        "There is no significant difference between c and b (p = 0.2).",
        "There is no significant difference between b and a (p = 0.3).",
    ]


def test_a_significant_difference_too_small_for_the_table_is_named_so():
    [sentence] = conclusions(differences(("b", "a", 0.00001, 0.001)))
    assert sentence == "b is significantly better than a (RMSE lower by less than 0.0001; p < 0.01)."


@pytest.mark.parametrize("p_value", [0.2, 0.02])
def test_with_two_splits_the_first_sentence_warns(p_value):
    first, *others = conclusions(differences(("b", "a", 0.01, p_value), splits=2))
    assert first == "Only 2 splits, so only large differences are significant: use more seeds or folds."
    assert len(others) == 1
    assert "every other model" not in others[0]


def test_few_splits_without_significance_call_for_more():
    sentences = conclusions(differences(("b", "a", 0.01, 0.2), splits=3))
    assert sentences[-1] == "With 3 splits, only large differences are significant: use more seeds or folds."
    assert len(conclusions(differences(("b", "a", 0.01, 0.02), splits=3))) == 1


def test_with_one_split_significance_cannot_be_tested():
    rows = differences(("b", "a", 0.5, None), ("c", "a", 0.6, None), ("c", "b", 0.1, None), splits=1)
    assert conclusions(rows) == [
        "With one split of the ratings, significance cannot be tested: use more seeds or folds."
    ]


def test_one_model_has_no_conclusions():
    assert conclusions(differences()) == []

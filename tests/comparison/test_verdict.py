"""Differences in words: who is better than whom, what is not shown, and that one split tells nothing."""

import polars as pl

from numpy_neural_mf.comparison.verdict import verdict


def differences(*pairs, splits=5):
    """Rows of (better, other, difference, p)."""
    return pl.DataFrame(
        [{"model": a, "other": b, "splits": splits, "difference": d, "p_value": p,
          "is_real": None if p is None else p < 0.05} for a, b, d, p in pairs]
    )  # fmt: skip


def test_one_model_that_is_better_than_all():
    rows = differences(("c", "b", 0.0072, 0.002), ("c", "a", 0.0146, 0.0001), ("b", "a", 0.0074, 0.41))
    assert verdict(rows) == [
        "c is better than every other model (RMSE lower by 0.0072 to 0.0146; p < 0.01).",
        "Between b and a no difference is shown (p = 0.41).",
    ]


def test_two_models():
    assert verdict(differences(("b", "a", 0.01, 0.03))) == [
        "b is better than a (RMSE lower by 0.0100; p < 0.05)."
    ]
    assert verdict(differences(("b", "a", 0.01, 0.051))) == [
        "Between b and a no difference is shown (p = 0.051)."
    ]


def test_no_difference_at_all():
    rows = differences(("c", "b", 0.001, 1.0), ("c", "a", 0.002, 0.26), ("b", "a", 0.001, 1.0))
    assert verdict(rows) == ["Between c, b and a no difference is shown (p ≥ 0.26)."]


def test_every_difference_is_real():
    rows = differences(("c", "b", 0.1, 1e-4), ("c", "a", 0.3, 1e-5), ("b", "a", 0.2, 0.02))
    assert verdict(rows) == [
        "c is better than every other model (RMSE lower by 0.1000 to 0.3000; p < 0.001).",
        "b is better than a (RMSE lower by 0.2000; p < 0.05).",
    ]


def test_models_on_a_level_share_what_they_are_better_than():
    rows = differences(
        *[("d", x, 0.05, 0.001) for x in "ab"],
        *[("c", x, 0.04, 0.004) for x in "ab"],
        ("d", "c", 0.01, 0.3),
        ("b", "a", 0.001, 0.6),
    )
    assert verdict(rows) == [
        "d and c are better than b and a (RMSE lower by 0.0400 to 0.0500; p < 0.01).",
        "Between d and c no difference is shown (p = 0.3).",
        "Between b and a no difference is shown (p = 0.6).",
    ]


def test_a_model_between_two_that_differ_is_on_a_level_with_both():
    rows = differences(("c", "a", 0.03, 0.01), ("c", "b", 0.02, 0.2), ("b", "a", 0.01, 0.3))
    assert verdict(rows) == [
        "c is better than a (RMSE lower by 0.0300; p < 0.05).",
        "Between c and b no difference is shown (p = 0.2).",
        "Between b and a no difference is shown (p = 0.3).",
    ]


def test_a_real_difference_too_small_to_be_seen_in_the_table_is_called_so():
    [sentence] = verdict(differences(("b", "a", 0.00001, 0.001)))
    assert sentence == "b is better than a (RMSE lower by less than 0.0001; p < 0.01)."


def test_few_splits_without_a_finding_call_for_more():
    sentences = verdict(differences(("b", "a", 0.01, 0.2), splits=3))
    assert sentences[-1] == "On 3 splits only large differences show: use more seeds or folds."
    assert len(verdict(differences(("b", "a", 0.01, 0.02), splits=3))) == 1


def test_one_split_tells_nothing_from_chance():
    rows = differences(("b", "a", 0.5, None), ("c", "a", 0.6, None), ("c", "b", 0.1, None), splits=1)
    assert verdict(rows) == [
        "One split of the ratings: no difference can be told from chance; use more seeds or folds."
    ]


def test_one_model_is_compared_with_nothing():
    assert verdict(differences()) == []

"""Results that depend on time do not depend on its format."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from numpy_neural_mf import A_SMALL, BayesianMF, NeuralMF, read_ratings, simulate_ratings

START = dt.datetime(2005, 4, 2, 23, 53, 47)
SECONDS = 1112486027
DAY = 86_400
RATINGS = simulate_ratings(n_users=40, n_items=30, n_ratings=600, drift=0.9, random_state=1)
RATINGS = replace(RATINGS, timestamps=SECONDS + np.linspace(0, 1_000 * DAY, len(RATINGS)).astype(np.int64))
MODELS = [NeuralMF(A_SMALL, periods=5, epochs=3, engine="numpy").fit(RATINGS)]
MODELS += [BayesianMF(2, n_samples=4, burn_in=1, drift=True).fit(RATINGS)]
DATES = pl.Series([START, START + dt.timedelta(days=500)])
FORMS = {
    "milliseconds": DATES.cast(pl.Datetime("ms")),
    "nanoseconds": DATES.cast(pl.Datetime("ns")),
    "a zone": DATES.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Madrid"),
    "datetimes": DATES.to_list(),
    "pandas": pd.Series(DATES.to_list()),
    "pandas' zone": pd.Series(DATES.to_list()).dt.tz_localize("UTC").dt.tz_convert("Europe/Madrid"),
    "NumPy": DATES.to_numpy().astype("datetime64[s]"),
    "text": [f"{date}" for date in DATES],
    "numbers of milliseconds": np.array([SECONDS, SECONDS + 500 * DAY]) * 1000,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("method", ["predict", "predict_interval", "predict_distribution"])
def test_predictions_depend_only_on_the_moment(model, method, form):
    pairs = RATINGS.raw_users[:10, None], RATINGS.raw_items[:10, None]
    last, at, given = (
        np.concatenate([np.ravel(part) for part in getattr(model, method)(*pairs, times)])
        for times in (RATINGS.timestamps[[-1, -1]], [SECONDS, SECONDS + 500 * DAY], form)
    )
    np.testing.assert_array_equal(given, at)
    assert not np.array_equal(given, last)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_ratings_depend_only_on_the_moment(form):
    assert read_ratings(([1, 2], [1, 2], [3, 4], form)).timestamps.tolist() == [SECONDS, SECONDS + 500 * DAY]

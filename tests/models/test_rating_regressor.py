"""A recommender as a scikit-learn regressor: X is a frame of pairs, y the ratings."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from numpy_neural_mf import GlobalMean, ItemKNN, NeuralMF, RatingRegressor, RatingsError, simulate_ratings

RATINGS = simulate_ratings(n_users=60, n_items=40, n_ratings=1_200, sequence=0.4, random_state=1)
FRAME = RATINGS.to_polars()
KINDS = {
    "polars": FRAME,
    "pandas": pandas.DataFrame(FRAME.to_dict(as_series=False), index=np.arange(len(FRAME))[::-1]),
    "Arrow": FRAME.to_arrow(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_what_the_recommender_predicts(kind):
    X, model = KINDS[kind], NeuralMF(epochs=2, periods=3, embedding_dim=4)
    regressor = RatingRegressor(model).fit(X, np.asarray(X["rating"]))
    expected = clone(model).fit(RATINGS).predict(RATINGS.raw_users, RATINGS.raw_items, RATINGS.timestamps)
    assert regressor.predict(X).tobytes() == expected.tobytes()
    assert regressor.score(X, RATINGS.values) == pytest.approx(
        regressor.recommender_.score(RATINGS), abs=1e-6
    )
    with pytest.raises(RuntimeError, match="not fitted"):
        model.predict(1, 2)


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_a_search_finds_the_better_settings(kind):
    frame = KINDS[kind]
    X, y = frame[[name for name in frame.columns if name != "rating"]], frame["rating"]
    search = GridSearchCV(RatingRegressor(ItemKNN()), {"recommender__k": [1, 40]}, cv=3)
    assert search.fit(X, y).best_params_ == {"recommender__k": 40}
    assert search.best_estimator_.recommender_.k == 40
    models = {"recommender": [GlobalMean(), ItemKNN()]}
    search = GridSearchCV(RatingRegressor(ItemKNN()), models, cv=3).fit(X, y)
    assert repr(search.best_params_["recommender"]) == "ItemKNN()"


def test_cross_validation_has_no_failed_fold():
    scores = cross_val_score(RatingRegressor(GlobalMean()), FRAME, FRAME["rating"], cv=4, error_score="raise")
    assert scores.shape == (4,)
    assert np.abs(scores).max() < 0.05


def test_a_frame_without_items_is_refused_by_name():
    with pytest.raises(RatingsError, match="expected a column of items"):
        RatingRegressor(GlobalMean()).fit(FRAME.select("user_id"), FRAME["rating"])

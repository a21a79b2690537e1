"""Recommenders in scikit-learn's cross-validation and search: a frame of pairs, and their ratings as y.

RatingRegressor turns a recommender into a regressor; a search names its settings recommender__….
"""

from sklearn.model_selection import GridSearchCV, cross_val_score

from numpy_neural_mf import ItemKNN, LinearRegression, NeuralMF, RatingRegressor, simulate_ratings

frame = simulate_ratings(n_users=500, n_items=200, n_ratings=15_000).to_polars()  # or pandas.read_csv(...)
X, y = frame.drop("rating"), frame["rating"]
print(X.head(3))

for recommender in (LinearRegression(), ItemKNN(k=20), NeuralMF(epochs=10)):
    scores = cross_val_score(RatingRegressor(recommender), X, y, cv=3)
    print(f"{recommender!r:30s} R² {scores.mean():.3f} on three folds")

search = GridSearchCV(
    RatingRegressor(NeuralMF(hidden_layer_sizes=(), epochs=10)),
    {"recommender__embedding_dim": [2, 8], "recommender__learning_rate": [0.002, 0.01]},
    scoring="neg_root_mean_squared_error",
    cv=3,
)
search.fit(X, y)
print(f"best: RMSE {-search.best_score_:.3f} with {search.best_params_}")

model = search.best_estimator_.recommender_  # fitted to all ratings
print(model, "recommends", model.recommend(1, n=3))

"""Quality of top-N lists ranked by r̂ minus a multiple of an item's standard error, by the multiple.

    python -m benchmarks.accuracy.lists ml-latest-small/ratings.csv

The test part is a fifth of the ratings, of the file, if one is given, and of simulated ones. To choose the
multiple, models are trained on four fifths of the other ratings and tested on the rest of them (inner split).
The last table has only the default and the mean, on the test part. Lists have ten items; ratings from the
upper quarter of the scale are relevant. "ratings" is the median number of training ratings of a listed item.
"own variance" replaces, on the inner split, the standard error by a NeuralMF's standard deviation of each
score.
"""

from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results

import numpy_neural_mf as nmf
from numpy_neural_mf.data.ids import index_of
from numpy_neural_mf.evaluation import evaluate_ranking
from numpy_neural_mf.models.recommend import BOUNDS, best_items

MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
COLUMNS = ("HR@10", "NDCG@10", "coverage", "ratings")


def models(samples: int) -> dict[str, Any]:
    return {
        "GlobalMean": lambda seed: nmf.GlobalMean(),
        "LinearRegression": lambda seed: nmf.LinearRegression(),
        "ItemKNN": lambda seed: nmf.ItemKNN(),
        "A_SMALL": lambda seed: nmf.NeuralMF(nmf.A_SMALL, random_state=seed),
        "C_WIDE": lambda seed: nmf.NeuralMF(random_state=seed),
        "BayesianMF": lambda seed: nmf.BayesianMF(n_samples=samples, random_state=seed),
    }


def quality(model: Any, train: nmf.Ratings, test: nmf.Ratings) -> tuple[float, ...]:
    """Return HR@10, NDCG@10, coverage and the median of ratings of a fitted model's default lists."""
    found = evaluate_ranking(model, train, test)
    listed = model.recommend(train.user_ids).compressed()
    counts = np.bincount(train.items, minlength=train.n_items)[index_of(train.item_ids, listed)]
    return found.overall["hit_rate"], found.overall["ndcg"], found.coverage, float(np.median(counts))


def by_multiple(
    model: Any, train: nmf.Ratings, test: nmf.Ratings, multiples: tuple[float, ...]
) -> dict[float, tuple[float, ...]]:
    """Add a row of `quality` for each multiple."""
    default, found = BOUNDS["lower_bound"], {}
    for multiple in multiples:
        BOUNDS["lower_bound"] = -multiple
        found[multiple] = quality(model, train, test)
    BOUNDS["lower_bound"] = default
    return found


class ByOwnVariance:
    """A NeuralMF whose lists are ranked by r̂ minus a multiple of its own standard deviation."""

    def __init__(self, model: nmf.NeuralMF, multiple: float) -> None:
        self.model, self.multiple = model, multiple

    def recommend(self, users: Any, n: int = 10, *, exclude_seen: bool = True) -> Any:
        fitted = self.model.fitted_
        form, items = fitted.model.factorization, np.arange(len(fitted.item_ids), dtype=np.int32)
        scorer = form.scorer(items)

        def score(rows: np.ndarray) -> np.ndarray:
            pairs = np.repeat(rows, len(items)), np.tile(items, len(rows))
            return scorer(rows) - self.multiple * np.sqrt(form.variance(*pairs)).reshape(len(rows), -1)

        best, _ = best_items(score, index_of(fitted.user_ids, users), items, n, [fitted.interactions])
        return np.ma.MaskedArray(fitted.item_ids[best], best < 0)


def main() -> None:
    parser = Parser(__doc__, n_ratings=5_000, samples=4)
    add_data(parser, n_ratings=40_000)
    parser.add_options(seeds=1, samples=60)
    given = parser.parse_args()
    results, default = Results("lists", given), -BOUNDS["lower_bound"]
    sources = {"simulated": load(type(given)(**vars(given) | {"ratings": None}))}
    if given.ratings:
        sources = {"read": load(given)} | sources
    splits = {data: nmf.random_split(ratings, 0.2, random_state=7) for data, ratings in sources.items()}
    inner = {data: nmf.random_split(train, 0.2, random_state=1) for data, (train, _) in splits.items()}
    for data, split in inner.items():
        model = nmf.NeuralMF(nmf.A_SMALL).fit(split[0])
        for multiple in MULTIPLES:
            figures = dict(zip(COLUMNS, quality(ByOwnVariance(model, multiple), *split), strict=True))
            results.add(f"own variance, {data} ratings", model="A_SMALL", multiple=multiple, **figures)
    for title, parts, multiples in (
        ("inner split", inner, MULTIPLES),
        ("test", splits, (0.0, default)),
    ):
        for data, split in parts.items():
            for name, new_model in models(given.samples).items():
                seeds = [
                    by_multiple(new_model(seed).fit(split[0]), *split, multiples)
                    for seed in range(given.seeds)
                ]
                for multiple in multiples:
                    means = np.mean([found[multiple] for found in seeds], axis=0)
                    figures = dict(zip(COLUMNS, means, strict=True))
                    results.add(f"{title}, {data} ratings", model=name, multiple=multiple, **figures)


if __name__ == "__main__":
    main()

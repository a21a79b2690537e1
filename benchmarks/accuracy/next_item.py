"""Next-item prediction: HR@10 and NDCG@10 over the whole catalogue, versus popularity and implicit's models.

    python -m benchmarks.accuracy.next_item RATINGS [--seeds 3] [--skip-ours]

The last rating of each user is the test item, the one before it the validation item. Among equal timestamps,
the later row counts as later. Lists leave out the items that the user has rated. A test item without training
ratings counts as missed. Every setting (`candidates`) is chosen by NDCG@10 on the validation items; then the
model learns from both parts, and the test items are used once. Standard errors are over users.
implicit is in the extra "bench".
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results
from scipy.sparse import csr_matrix

from numpy_neural_mf import Ratings, leave_last_out
from numpy_neural_mf.evaluation import hit_rate_at_k, ndcg_at_k
from numpy_neural_mf.models.next_item import NextItemModel

K = 10
Lists = Any  # raw ids of items, shape (n_users, K)
Fit = Callable[[Ratings, int], Callable[[np.ndarray], Lists]]  # ratings and seed -> users to lists


def popularity(ratings: Ratings, seed: int) -> Callable[[np.ndarray], Lists]:
    counts = np.bincount(ratings.items, minlength=ratings.n_items)
    seen = matrix_of(ratings).toarray() > 0

    def recommend(users: np.ndarray) -> Lists:
        rows = np.searchsorted(ratings.user_ids, users)
        scores = np.where(seen[rows], -1, counts)
        return ratings.item_ids[np.argsort(-scores, axis=1, kind="stable")[:, :K]]

    return recommend


def peer(new_model: Callable[[int], Any]) -> Fit:
    """Return a function that fits one of implicit's models."""

    def fit(ratings: Ratings, seed: int) -> Callable[[np.ndarray], Lists]:
        seen, model = matrix_of(ratings), new_model(seed)
        model.fit(seen, show_progress=False)

        def recommend(users: np.ndarray) -> Lists:
            rows = np.searchsorted(ratings.user_ids, users)
            items, scores = model.recommend(rows, seen[rows], N=K, filter_already_liked_items=True)
            # A neighbourhood model without further items repeats one or lists a seen one: not a hit.
            first = np.array([np.isin(np.arange(K), np.unique(row, return_index=True)[1]) for row in items])
            return np.ma.MaskedArray(ratings.item_ids[items], ~first | ~(scores > -1e30))

        return recommend

    return fit


def ours(**settings: Any) -> Fit:
    def fit(ratings: Ratings, seed: int) -> Callable[[np.ndarray], Lists]:
        model = NextItemModel(**settings, random_state=seed).fit(ratings)
        return lambda users: model.recommend(users, n=K)

    return fit


def matrix_of(ratings: Ratings) -> csr_matrix:
    shape = ratings.n_users, ratings.n_items
    return csr_matrix((np.ones(len(ratings), np.float32), (ratings.users, ratings.items)), shape=shape)


def candidates() -> Iterator[tuple[str, str, Fit]]:
    """Return models, their settings in words, and the functions that fit them."""
    yield "popularity", "", popularity
    if find_spec("implicit"):
        yield from candidates_of_implicit()
    else:
        print("implicit is not installed: pip install -e '.[bench]' to include it")
    for encoder, dropout in product(("attention", "gru"), (0.2, 0.3)):
        yield f"NextItemModel, {encoder}", f"dropout={dropout}", ours(encoder=encoder, dropout=dropout)


def candidates_of_implicit() -> Iterator[tuple[str, str, Fit]]:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

    recommenders = CosineRecommender, TFIDFRecommender, BM25Recommender
    for neighbours, k in product(recommenders, (20, 50, 100, 200, 500)):
        name = f"item-kNN, {neighbours.__name__.removesuffix('Recommender')}"
        yield name, f"K={k}", peer(lambda seed, new=neighbours, k=k: new(K=k, num_threads=1))
    als = {"factors": (16, 32, 64, 128), "regularization": (0.01, 1.0, 10.0), "alpha": (1.0, 5.0)}
    bpr = {
        "factors": (32, 64), "learning_rate": (0.01, 0.05), "regularization": (0.001, 0.01, 0.05),
        "iterations": (100, 300),
    }  # fmt: skip
    models = ("ALS", AlternatingLeastSquares, als), ("BPR", BayesianPersonalizedRanking, bpr)
    for name, new_model, grid in models:
        for values in product(*grid.values()):
            given = dict(zip(grid, values, strict=True))
            in_words = ", ".join(f"{key}={value:g}" for key, value in given.items())
            new = partial(new_model, **given, num_threads=1)
            yield f"implicit {name}", in_words, peer(lambda seed, new=new: new(random_state=seed))


def quality(recommend: Callable[[np.ndarray], Lists], held_out: Ratings) -> tuple[np.ndarray, np.ndarray]:
    """Return HR@10 and NDCG@10 of each user."""
    order = np.argsort(held_out.raw_users)
    lists = recommend(held_out.raw_users[order])
    relevant = list(held_out.raw_items[order][:, None])
    return hit_rate_at_k(lists, relevant, K), ndcg_at_k(lists, relevant, K)


def main() -> None:
    parser = Parser(__doc__, n_ratings=10_000, seeds=1, only=["popularity", "NextItemModel, gru"])
    add_data(parser)
    parser.add_argument("--skip-ours", action="store_true", help="only the other models: a minute or two")
    parser.add_argument("--only", nargs="+", default=[], help="models, by the names in the table")
    parser.add_options(seeds=3)
    given = parser.parse_args()
    train, test = leave_last_out(load(given, sequence=0.4))
    learn, validation = leave_last_out(train)
    results = Results("next_item", given, users=len(test), items=train.n_items, ratings_to_learn=len(learn))
    best: dict[str, tuple[float, str, Fit]] = {}
    for name, settings, fit in candidates():
        if (given.skip_ours and name.startswith("NextItemModel")) or (given.only and name not in given.only):
            continue
        start = time.perf_counter()
        hits, ndcg = quality(fit(learn, 0), validation)
        row = {"HR": hits.mean(), "NDCG": ndcg.mean(), "seconds": time.perf_counter() - start}
        results.add("validation", model=name, settings=settings, **row)
        if name not in best or ndcg.mean() > best[name][0]:
            best[name] = (float(ndcg.mean()), settings, fit)
    for name, (_, settings, fit) in best.items():
        n_seeds = 1 if name.startswith(("popularity", "item")) else given.seeds
        runs = np.array([quality(fit(train, seed), test) for seed in range(n_seeds)])  # (seeds, 2, users)
        row = {}
        for n, metric in enumerate(("HR@10", "NDCG@10")):
            of_users, of_seeds = runs[:, n].mean(axis=0), runs[:, n].mean(axis=1)
            row[metric] = f"{of_users.mean():.4f} ± {of_users.std() / np.sqrt(len(of_users)):.4f}"
            row[f"{metric}, range"] = f"{of_seeds.min():.4f}-{of_seeds.max():.4f}" if n_seeds > 1 else ""
        results.add("test, mean ± standard error over users", model=name, **row, settings=settings)


if __name__ == "__main__":
    main()

"""`recommend` against implicit's, in users per second: ten items for each, without the items that they rated.

    python -m benchmarks.speed.recommend [--full]

A catalogue of 5,000 items and 20,000 users, with --full 60,000 and 160,000; 100 rated items a user. Models
are trained for one epoch on random ratings, since the values of the parameters do not change the work.
implicit ranks by a product of vectors: it is given [p_u, b_u, 1] and [q_i, 1, b_i], so that it does the same
work as biased matrix factorisation with k = 16, and its lists are compared with ours. B_MEDIUM has an MLP,
which implicit has not: its ratio is the cost of the MLP. Each has a process of its own with all processors,
and they take turns. Without implicit (`pip install '.[bench]'`) only ours are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from benchmarks.harness import Results, Worker, new_parser, run_in_turns

from numpy_neural_mf import B_MEDIUM, Architecture, NeuralMF, Ratings

ARCHITECTURES = {"biased MF": Architecture(embedding_dim=16), "B_MEDIUM": B_MEDIUM}
RATED = 100  # items of each user
N = 10

Run = Callable[[], tuple[float, np.ndarray]]  # -> users per second, items of the first users


def new_ratings(n_users: int, n_items: int) -> Ratings:
    """Random ratings of distinct items by each user."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users, dtype=np.int32), RATED)
    items = rng.integers(n_items, size=(n_users, 1)) + n_items // RATED * np.arange(RATED)
    values = rng.integers(1, 6, len(users)).astype(np.float32)
    items = (items % n_items).astype(np.int32).ravel()
    return Ratings(users, items, values, np.arange(n_users), np.arange(n_items), (1.0, 5.0))


def new_model(name: str, ratings: Ratings) -> NeuralMF:
    return NeuralMF(ARCHITECTURES[name], epochs=1, batch_size=8192, validation_fraction=0.0).fit(ratings)


def new_ours(name: str, n_users: int, n_items: int, n_asked: int) -> Run:
    model = new_model(name, new_ratings(n_users, n_items))
    return timed(lambda users: model.recommend(users, N).data, n_users, n_asked)


def new_implicit(n_users: int, n_items: int, n_asked: int) -> Run:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    ratings = new_ratings(n_users, n_items)
    tables = new_model("biased MF", ratings).parameters_
    p = {name.removesuffix(".weight"): table[:-1] for name, table in tables.items() if table.ndim == 2}
    theirs = AlternatingLeastSquares(factors=18, num_threads=0)
    theirs.user_factors = np.hstack([p["user_embedding"], p["user_bias"], np.ones_like(p["user_bias"])])
    theirs.item_factors = np.hstack([p["item_embedding"], np.ones_like(p["item_bias"]), p["item_bias"]])
    rated = csr_matrix((ratings.values, (ratings.users, ratings.items)), shape=(n_users, n_items))
    return timed(lambda users: theirs.recommend(users, rated[users], N)[0], n_users, n_asked)


def timed(recommend: Callable[[np.ndarray], np.ndarray], n_users: int, n_asked: int) -> Run:
    users = np.random.default_rng(1).permutation(n_users)[:n_asked]

    def run() -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        items = recommend(users)
        return n_asked / (time.perf_counter() - start), np.asarray(items[:500])

    return run


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--full", action="store_true", help="160,000 users x 60,000 items: minutes")
    parser.add_argument("--shape", type=int, nargs=2, help="users and items")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--asked", type=int, nargs=2, help="users asked for by biased MF and by B_MEDIUM")
    given = parser.parse_args()
    n_users, n_items = given.shape or ((160_000, 60_000) if given.full else (20_000, 5_000))
    asked = given.asked or ((20_000, 500) if given.full else (20_000, 1_000))
    has_peer = find_spec("implicit") is not None
    results = Results("recommend", given.output, users=n_users, items=n_items, rated=RATED, lists_of=N)
    if not has_peer:
        print("implicit is not installed: pip install -e '.[bench]' to include it")
    for (name, architecture), n_asked in zip(ARCHITECTURES.items(), asked, strict=True):
        workers = {"ours": Worker(new_ours, name, n_users, n_items, n_asked)}
        if has_peer:
            workers["implicit"] = Worker(new_implicit, n_users, n_items, asked[0], OPENBLAS_NUM_THREADS="1")
        found = {
            side: [run.value for run in runs] for side, runs in run_in_turns(workers, given.repeats).items()
        }
        rates = {side: np.array([rate for rate, _ in values]) for side, values in found.items()}
        row = dict(rates)
        if has_peer:
            row["ratio"] = rates["ours"] / rates["implicit"]
        if has_peer and not architecture.hidden_layer_sizes:
            row["same items"] = float(np.mean(found["ours"][0][1] == found["implicit"][0][1]))
        results.add(f"users/s, {name}", asked=n_asked, **row)
    results.write()


if __name__ == "__main__":
    main()

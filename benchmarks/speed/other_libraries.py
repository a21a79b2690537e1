"""Biased matrix factorisation versus the fastest other libraries: training and top-N lists.

    python -m benchmarks.speed.other_libraries training [--factors 16 64] [--libmf libmf.so]
    python -m benchmarks.speed.other_libraries recommend [--full]

training   Test error after a number of seconds of `fit`, the fastest of --repeats, in the shape of MovieLens
           1M: the numba engine, Surprise's SVD, and LIBMF if its library, built from its public source, is
           given. Ours uses per-sample SGD or batches.
recommend  Users per second, with ten items for each, without the 100 that they rated. implicit ranks by a
           product of vectors: with [p_u, b_u, 1] and [q_i, 1, b_i] it does the same work as biased matrix
           factorisation, and its lists are compared with ours. B_MEDIUM's ratio is the cost of its MLP.

The machine must be idle. The other libraries are in the extra "bench".
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results, Worker, run_in_turns
from benchmarks.peers import Libmf, SurpriseModel

import numpy_neural_mf as nmf

ARCHITECTURES = {"biased MF": nmf.Architecture(embedding_dim=16), "B_MEDIUM": nmf.B_MEDIUM}
RATED = 100  # items of each user
N = 10
Run = Callable[[], np.ndarray]  # -> raw ids of items, shape (n_asked, N)


# Training


def ours(k: int, epochs: int, seed: int, **settings: Any) -> nmf.NeuralMF:
    fixed = {"embedding_dim": k, "hidden_layer_sizes": (), "engine": "numba"}
    return nmf.NeuralMF(epochs=epochs, random_state=seed, **fixed, **settings)


def surprise_svd(k: int, epochs: int, seed: int) -> SurpriseModel:
    from surprise import SVD

    return SurpriseModel(SVD(n_factors=k, n_epochs=epochs, random_state=seed))


def training(given: Any, results: Results) -> None:
    """Add a row for each number of factors, model and number of epochs."""
    one_by_one = {"batch_size": 1, "optimizer": "sgd", "learning_rate": 0.02}
    models: dict[str, Callable[..., Any]] = {"ours, one by one": partial(ours, **one_by_one)}
    for size in (1024, 8192):
        rate = 0.003 * (size / 1024) ** 0.5
        models[f"ours, batch {size}"] = partial(ours, batch_size=size, learning_rate=rate)
    if find_spec("surprise"):
        models["Surprise SVD"] = surprise_svd
    if given.libmf:
        models["LIBMF"] = lambda k, epochs, seed: Libmf(given.libmf, k, epochs)
    split = nmf.random_split(nmf.simulate_ratings(6_040, 3_706, given.n_ratings), 0.1)
    results.note("irreducible error of the test part", split[1].noise_floor)
    for name in list(models)[:2]:
        models[name](given.factors[0], 1, 0).fit(split[0])  # compiles, or loads compiled code
    for k, name, epochs in product(given.factors, models, given.epochs):
        new_model = partial(models[name], k, epochs)
        runs = [nmf.cross_validate(new_model, splits=[split]).runs[0] for _ in range(given.repeats)]
        fastest = min(runs, key=lambda run: run.seconds)
        speed = {"M ratings/s": epochs * fastest.n_train / fastest.seconds / 1e6}
        figures = {"seconds": fastest.seconds, **speed, "test RMSE": fastest.rmse}
        results.add("training", model=name, factors=k, epochs=epochs, **figures)


# Lists


def new_ratings(n_users: int, n_items: int) -> nmf.Ratings:
    """Draw random ratings of distinct items by each user."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users, dtype=np.int32), RATED)
    items = rng.integers(n_items, size=(n_users, 1)) + n_items // RATED * np.arange(RATED)
    values = rng.integers(1, 6, len(users)).astype(np.float32)
    items = (items % n_items).astype(np.int32).ravel()
    return nmf.Ratings(users, items, values, np.arange(n_users), np.arange(n_items), (1.0, 5.0))


def new_model(name: str, ratings: nmf.Ratings) -> nmf.NeuralMF:
    return nmf.NeuralMF(ARCHITECTURES[name], epochs=1, batch_size=8192).fit(ratings)


def new_ours(name: str, n_users: int, n_items: int, n_asked: int) -> Run:
    model = new_model(name, new_ratings(n_users, n_items))
    users = asked_for(n_users, n_asked)
    return lambda: np.asarray(model.recommend(users, N).data)


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
    users = asked_for(n_users, n_asked)
    return lambda: theirs.recommend(users, rated[users], N)[0]


def asked_for(n_users: int, n_asked: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(n_users)[:n_asked]


def recommend(given: Any, results: Results) -> None:
    """Add a table for each model."""
    n_users, n_items = (160_000, 60_000) if given.full else given.shape
    asked = (20_000, 500) if given.full else given.asked
    has_peer = find_spec("implicit") is not None
    for (name, architecture), n_asked in zip(ARCHITECTURES.items(), asked, strict=True):
        workers = {"ours": Worker(new_ours, name, n_users, n_items, n_asked)}
        if has_peer:
            workers["implicit"] = Worker(new_implicit, n_users, n_items, asked[0], OPENBLAS_NUM_THREADS="1")
        found = run_in_turns(workers, given.repeats)
        n_of = {"ours": n_asked, "implicit": asked[0]}
        row: dict[str, Any] = {
            side: np.array([n_of[side] / run.seconds for run in runs]) for side, runs in found.items()
        }
        if has_peer:
            row["ratio"] = row["ours"] / row["implicit"]
            if not architecture.hidden_layer_sizes:
                row["same items"] = float(np.mean(found["ours"][0].value == found["implicit"][0].value))
        results.add(f"users/s, {name}", asked=n_asked, **row)


QUESTIONS = {"training": training, "recommend": recommend}


def main() -> None:
    parser = Parser(__doc__, n_ratings=20_000, epochs=[2], shape=[400, 300], asked=[200, 50], repeats=1)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("--libmf", help="path of its shared library")
    parser.add_argument("--full", action="store_true", help="160,000 users x 60,000 items: minutes")
    parser.add_options(factors=[16], epochs=[5, 10, 20], n_ratings=1_000_000, repeats=5)
    parser.add_options(shape=[20_000, 5_000], asked=[20_000, 1_000])
    given = parser.parse_args()
    QUESTIONS[given.question](given, Results(f"other_libraries_{given.question}", given))


if __name__ == "__main__":
    main()

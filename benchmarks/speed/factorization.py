"""Biased matrix factorisation against its fastest peers: test error after a number of seconds of training.

    python -m benchmarks.speed.factorization [--factors 16 64] [--libmf libmf.so]

On simulated ratings in the shape of MovieLens 1M, a tenth for testing: the numba engine (SGD one rating at a
time, Adam in batches of 1,024 and 8,192, cosine schedule over the epochs given), Surprise's SVD, and LIBMF if
its library, built from its public source, is given. Each row is a training of its own over that number of
epochs, the fastest of `--runs`; seconds are those of training, with the copy of the ratings for LIBMF and for
one rating at a time; the lowest possible error is the irreducible one. Ours in batches has the best
settings of nine tried on these ratings, one at a time of six, the same for all numbers of factors and epochs;
the peers have their own defaults, LIBMF its usual penalty of 0.05. The machine must be idle.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
from benchmarks.harness import Results, new_parser

from numpy_neural_mf import NeuralMF, Ratings, random_split, simulate_ratings
from numpy_neural_mf.evaluation import rmse

SEED = 0
Outcome = tuple[float, float]  # seconds, test RMSE


def ours(train: Ratings, test: Ratings, k: int, epochs: int, **settings: Any) -> Outcome:
    model = NeuralMF(
        embedding_dim=k, hidden_layer_sizes=(), epochs=epochs, engine="numba", validation_fraction=0.0,
        random_state=SEED, **settings,
    )  # fmt: skip
    model.fit(train)
    return sum(model.history_.seconds), rmse(model.predict(test.raw_users, test.raw_items), test.values)


ONE_BY_ONE = {"batch_size": 1, "optimizer": "sgd", "learning_rate": 0.02, "regularization": 0.08}


def in_batches(size: int) -> dict[str, Any]:
    return {"batch_size": size, "learning_rate": 0.003 * (size / 1024) ** 0.5, "regularization": 0.05}


def surprise_svd(train: Ratings, test: Ratings, k: int, epochs: int) -> Outcome:
    import pandas
    import surprise

    columns = {"user": train.raw_users, "item": train.raw_items, "rating": train.values}
    reader = surprise.Reader(rating_scale=train.scale)
    data = surprise.Dataset.load_from_df(pandas.DataFrame(columns), reader).build_full_trainset()
    model = surprise.SVD(n_factors=k, n_epochs=epochs, random_state=SEED)
    start = time.perf_counter()
    model.fit(data)
    seconds = time.perf_counter() - start
    pairs = zip(test.raw_users.tolist(), test.raw_items.tolist(), strict=True)
    return seconds, rmse(np.array([model.predict(u, i).est for u, i in pairs]), test.values)


class LibmfParameter(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("fun", "k", "nr_threads", "nr_bins", "nr_iters")),
        *((name, ctypes.c_float) for name in ("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2", "eta")),
        *((name, ctypes.c_bool) for name in ("do_nmf", "quiet", "copy_data")),
    )


class LibmfModel(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("fun", "m", "n", "k")),
        ("b", ctypes.c_float), ("P", ctypes.POINTER(ctypes.c_float)), ("Q", ctypes.POINTER(ctypes.c_float)),
    )  # fmt: skip


def libmf(library: str, train: Ratings, test: Ratings, k: int, epochs: int) -> Outcome:
    """Its time includes the copy of the ratings into its own format, which cannot be separated."""
    fit = ctypes.CDLL(library).fit_interface
    fit.restype = ctypes.POINTER(LibmfModel)
    columns = np.stack([train.users, train.items, train.values], axis=1).astype(np.float32)
    threads = os.cpu_count() or 1
    parameter = LibmfParameter(0, k, threads, 26, epochs, 0.0, 0.05, 0.0, 0.05, 0.1, False, True, True)
    start = time.perf_counter()
    address = columns.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    model = fit(ctypes.c_int(len(train)), address, ctypes.byref(parameter)).contents
    seconds = time.perf_counter() - start
    P = np.ctypeslib.as_array(model.P, (model.m, model.k))
    Q = np.ctypeslib.as_array(model.Q, (model.n, model.k))
    known = (test.users < model.m) & (test.items < model.n)
    prediction = np.full(len(test), model.b)
    prediction[known] = np.einsum("nk,nk->n", P[test.users[known]], Q[test.items[known]])
    prediction = np.where(np.isfinite(prediction), prediction, model.b)
    return seconds, rmse(np.clip(prediction, *train.scale), test.values)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--factors", nargs="+", type=int, default=[16])
    parser.add_argument("--epochs", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--libmf", help="path of its shared library")
    given = parser.parse_args()
    ratings = simulate_ratings(6_040, 3_706, given.n_ratings, random_state=SEED)
    train, test = random_split(ratings, 0.1)
    results = Results("factorization", given.output, ratings=str(train), runs=given.runs)
    results.note("irreducible error of the test part", test.noise_floor)
    peers: dict[str, Callable[[int, int], Outcome]] = {
        "ours, one by one": lambda k, epochs: ours(train, test, k, epochs, **ONE_BY_ONE),
        "ours, batch 1024": lambda k, epochs: ours(train, test, k, epochs, **in_batches(1024)),
        "ours, batch 8192": lambda k, epochs: ours(train, test, k, epochs, **in_batches(8192)),
    }
    for name in ("ours, one by one", "ours, batch 1024"):
        peers[name](given.factors[0], 1)  # compiles, or loads what was compiled
    if find_spec("surprise"):
        peers["Surprise SVD"] = lambda k, epochs: surprise_svd(train, test, k, epochs)
    if given.libmf:
        peers["LIBMF"] = lambda k, epochs: libmf(given.libmf, train, test, k, epochs)
    for k, (name, run), epochs in product(given.factors, peers.items(), given.epochs):
        seconds, error = min(run(k, epochs) for _ in range(given.runs))
        speed = epochs * len(train) / seconds / 1e6
        row = {"M ratings/s": speed, "test RMSE": error}
        results.add("training", model=name, factors=k, epochs=epochs, seconds=seconds, **row)
    results.write()


if __name__ == "__main__":
    main()

"""recommend against implicit's, in users per second: ten items for each, what they have seen left out.

    python benchmarks/recommend.py [--full]

A catalogue of 5,000 items and 20,000 users, with --full 60,000 and 160,000; 100 seen items a user. Parameters
are random, since what they are does not change the work. implicit ranks by a product of vectors: it is given
[p_u, b_u, 1] and [q_i, 1, b_i], so that it does the same work as biased matrix factorisation with k = 16, and
its lists are compared with ours. B_MEDIUM has an MLP, which implicit has not: its ratio says what that costs.
Each has a process of its own with all processors, and they take turns. Without implicit (`pip install
'.[bench]'`) ours are measured alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from harness import Worker, machine, median_and_range, run_in_turns

from numpy_neural_mf import B_MEDIUM, Architecture, NeuralMF
from numpy_neural_mf.models.interactions import SeenRatings

ARCHITECTURES = {"biased MF": Architecture(embedding_dim=16), "B_MEDIUM": B_MEDIUM}
SEEN = 100
N = 10

Run = Callable[[], tuple[float, np.ndarray]]  # -> users per second, items of the first users


def new_model(name: str, n_users: int, n_items: int) -> NeuralMF:
    """A model as `fit` leaves it, with random parameters."""
    rng = np.random.default_rng(0)
    model = NeuralMF(ARCHITECTURES[name])
    model.user_ids_, model.item_ids_ = np.arange(n_users), np.arange(n_items)
    model.rating_scale_ = (1.0, 5.0)
    shapes = model.architecture.parameter_shapes(n_users, n_items).items()
    model.parameters_ = {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes}
    users = np.repeat(np.arange(n_users, dtype=np.int32), SEEN)
    items = rng.integers(0, n_items, len(users)).astype(np.int32)
    model._seen = SeenRatings.of(users, items, np.ones(len(users), np.float32), n_users, n_items)
    return model


def new_ours(name: str, n_users: int, n_items: int, n_asked: int) -> Run:
    model = new_model(name, n_users, n_items)
    return timed(lambda users: model.recommend(users, N).data, n_users, n_asked)


def new_implicit(n_users: int, n_items: int, n_asked: int) -> Run:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = new_model("biased MF", n_users, n_items)
    p = {name.removesuffix(".weight"): table[:-1] for name, table in model.parameters_.items()}
    theirs = AlternatingLeastSquares(factors=18, num_threads=0)
    theirs.user_factors = np.hstack([p["user_embedding"], p["user_bias"], np.ones_like(p["user_bias"])])
    theirs.item_factors = np.hstack([p["item_embedding"], np.ones_like(p["item_bias"]), p["item_bias"]])
    ones = np.ones(len(model._seen.items), np.float32)
    seen = csr_matrix((ones, model._seen.items, model._seen.offsets), shape=(n_users, n_items))
    return timed(lambda users: theirs.recommend(users, seen[users], N)[0], n_users, n_asked)


def timed(recommend: Callable[[np.ndarray], np.ndarray], n_users: int, n_asked: int) -> Run:
    users = np.random.default_rng(1).permutation(n_users)[:n_asked]

    def run() -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        items = recommend(users)
        return n_asked / (time.perf_counter() - start), np.asarray(items[:500])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="160,000 users x 60,000 items: minutes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--asked", type=int, nargs=2, help="users asked for by biased MF and by B_MEDIUM")
    given = parser.parse_args()
    n_users, n_items = (160_000, 60_000) if given.full else (20_000, 5_000)
    asked = given.asked or ((20_000, 500) if given.full else (20_000, 1_000))
    peer = find_spec("implicit") is not None

    print(machine("numpy", *(["implicit"] if peer else [])))
    print(f"{n_users:,} users, {n_items:,} items, {SEEN} seen by each, {N} recommended; {given.repeats} runs")
    if not peer:
        print("implicit is not installed (pip install '.[bench]'): ours alone")
    print(f"{'users/s, median [min, max]':28}{'ours':>24}{'implicit':>24}{'ratio':>20}{'same lists':>12}")
    for (name, architecture), n_asked in zip(ARCHITECTURES.items(), asked, strict=True):
        workers = {"ours": Worker(new_ours, name, n_users, n_items, n_asked)}
        if peer:
            workers["implicit"] = Worker(new_implicit, n_users, n_items, asked[0], OPENBLAS_NUM_THREADS="1")
        results = run_in_turns(workers, given.repeats)
        for worker in workers.values():
            worker.close()
        rates = {who: np.array([rate for rate, _ in runs]) for who, runs in results.items()}
        line = f"{f'{name}, {n_asked:,} users':28}{median_and_range(rates['ours'], 0):>24}"
        if peer:
            line += f"{median_and_range(rates['implicit'], 0):>24}"
            line += f"{median_and_range(rates['ours'] / rates['implicit']):>20}"
        if peer and not architecture.hidden_layer_sizes:
            same = np.mean(results["ours"][0][1] == results["implicit"][0][1])
            line += f"{100 * same:>11.1f}%"
        print(line, flush=True)


if __name__ == "__main__":
    main()

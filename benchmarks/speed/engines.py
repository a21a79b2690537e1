"""An engine against PyTorch on a CPU: ratings trained on per second, and the ratio of the two.

    python -m benchmarks.speed.engines [--full] [--engine numba]

PyTorch's side is the same model as its users write it for a CPU: eager, nn.Embedding(sparse=True) with
SparseAdam, fused Adam for everything else, batches cut from tensors by index. Both train on the same
simulated ratings in the shape of MovieLens 1M (6,040 users, 3,706 items, few items rated often; --users and
--items change it), in the same order, from the same initial weights, with the same penalty, in float32. Each
has a process of its own, and they take turns, one epoch each; the last training loss of both shows whether
they did the same work. With `--peer dense` the tables have dense gradients and fused Adam as well: faster
while tables are small, but another update, which moves every row at every step. `--peer compiled` is that
under torch.compile.

The machine must be idle: with one thread for each processor, one busy neighbour slows either side tenfold and
more, since every small product waits for its slowest thread. Where that is impossible, --threads 1 is fair.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from benchmarks.harness import Results, Worker, new_parser, run_in_turns

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture, Ratings, simulate_ratings
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import ENGINES
from numpy_neural_mf.training.objective import Objective

ARCHITECTURES = {"A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE}
LEARNING_RATE = 0.005
SEED = 0

# Rows of the ratings in order, and the size of a batch -> mean squared error and size of each batch.
Learn = Callable[[np.ndarray, int], Iterator[tuple[float, int]]]


def new_engine_epoch(name: str, *settings: Any) -> Callable[[], tuple[float, float]]:
    """An epoch of one of the package's engines, as `training.train` runs it."""

    def new_learner(ratings: Ratings, architecture: Architecture, regularization: float) -> Learn:
        penalty_u, penalty_i = (
            np.full(n + 1, regularization, np.float32) for n in (ratings.n_users, ratings.n_items)
        )
        engine = ENGINES[name](
            architecture,
            first_parameters(ratings, architecture),
            Adam(LEARNING_RATE),
            Objective(penalty_u, penalty_i),
            np.random.default_rng(SEED),
        )

        def learn(order: np.ndarray, batch_size: int) -> Iterator[tuple[float, int]]:
            for batch in engine.cut((ratings.users, ratings.items, ratings.values), order, batch_size):
                yield engine.step(*batch), len(batch[0])

        return learn

    return new_epoch(new_learner, *settings)


def new_torch_epoch(peer: str, threads: int, *settings: Any) -> Callable[[], tuple[float, float]]:
    """An epoch of the same model in PyTorch."""
    import torch
    from benchmarks.speed.plain_model import PlainModel
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    torch.sparse.check_sparse_tensor_invariants.disable()

    def new_learner(ratings: Ratings, architecture: Architecture, regularization: float) -> Learn:
        sparse = peer == "sparse"
        model = PlainModel(architecture, ratings.n_users + 1, ratings.n_items + 1, sparse)
        first = first_parameters(ratings, architecture)
        with torch.no_grad():
            ours = [first.pop(n) for n in list(first) if n.startswith("mlp")]
            for parameter, value in zip(model.mlp.parameters(), ours, strict=True):
                parameter.copy_(torch.from_numpy(value))
            for name, value in first.items():
                model.get_parameter(name).copy_(torch.from_numpy(value))
        by_rows = [module.weight for module in model.modules() if getattr(module, "sparse", False)]
        others = [p for p in model.parameters() if not any(p is table for table in by_rows)]
        optimizers = [torch.optim.Adam(others, lr=LEARNING_RATE, fused=True)]
        if by_rows:
            optimizers += [torch.optim.SparseAdam(by_rows, lr=LEARNING_RATE)]
        users = torch.from_numpy(ratings.users.astype(np.int64))
        items = torch.from_numpy(ratings.items.astype(np.int64))
        values = torch.from_numpy(ratings.values)

        predict = torch.compile(model) if peer == "compiled" else model

        def step(rows: np.ndarray) -> float:
            index = torch.from_numpy(rows)
            prediction, p, q, b_u, b_i = predict(users[index], items[index])
            loss = objective = nn.functional.mse_loss(prediction, values[index])
            if regularization:
                squares = p.square().sum() + q.square().sum() + b_u.square().sum() + b_i.square().sum()
                objective = loss + regularization / len(rows) * squares
            for optimizer in optimizers:
                optimizer.zero_grad()
            objective.backward()
            for optimizer in optimizers:
                optimizer.step()
            return loss.item()

        def learn(order: np.ndarray, batch_size: int) -> Iterator[tuple[float, int]]:
            for first in range(0, len(order), batch_size):
                rows = order[first : first + batch_size]
                yield step(rows), len(rows)

        return learn

    return new_epoch(new_learner, *settings)


def first_parameters(ratings: Ratings, architecture: Architecture) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    return architecture.initial_parameters(ratings.n_users, ratings.n_items, ratings.mean, rng)


def new_epoch(
    new_learner: Callable[[Ratings, Architecture, float], Learn],
    architecture: Architecture,
    batch_size: int,
    n_users: int,
    n_items: int,
    n_ratings: int,
    regularization: float,
) -> Callable[[], tuple[float, float]]:
    """A function that trains one more epoch; it returns ratings per second and the training loss."""
    ratings = simulate_ratings(n_users, n_items, n_ratings, random_state=SEED)
    learn, rng = new_learner(ratings, architecture, regularization), np.random.default_rng(SEED)

    def epoch() -> tuple[float, float]:
        order, squares = rng.permutation(len(ratings)), 0.0
        start = time.perf_counter()
        for loss, n in learn(order, batch_size):
            squares += loss * n
        return len(order) / (time.perf_counter() - start), squares / len(order)

    return epoch


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--full", action="store_true", help="A, B and C x 256, 1024 and 8192: minutes")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1024, 8192])
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engine", choices=ENGINES, default="numpy")
    parser.add_argument("--peer", choices=["sparse", "dense", "compiled"], default="sparse")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--regularization", type=float, default=0.02, help="0: PyTorch has no penalty")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch and of our BLAS")
    parser.add_argument("--blas-threads", type=int, help="of our BLAS, if not the same")
    given = parser.parse_args()
    names = list(ARCHITECTURES) if given.full else given.architectures
    batch_sizes = [256, 1024, 8192] if given.full else given.batch_sizes
    blas_threads = given.blas_threads or given.threads
    threads = {"OPENBLAS_NUM_THREADS": str(blas_threads), "OMP_NUM_THREADS": str(given.threads)}
    options = ("users", "items", "n_ratings", "dropout", "regularization", "threads", "peer", "repeats")
    conditions = {name: getattr(given, name) for name in options}
    results = Results(f"engines_{given.engine}", given.output, **conditions, blas_threads=blas_threads)
    for name, batch_size in product(names, batch_sizes):
        architecture = replace(ARCHITECTURES[name], dropout=given.dropout)
        shape = given.users, given.items, given.n_ratings
        settings = architecture, batch_size, *shape, given.regularization
        workers = {
            "ours": Worker(new_engine_epoch, given.engine, *settings, **threads),
            "PyTorch": Worker(new_torch_epoch, given.peer, given.threads, *settings),
        }
        found = run_in_turns(workers, given.repeats)
        (ours, our_loss), (theirs, their_loss) = (
            np.array([run.value for run in found[side]]).T for side in workers
        )
        results.add(
            "M ratings/s", architecture=name, batch=batch_size, ours=ours / 1e6, PyTorch=theirs / 1e6,
            ratio=ours / theirs, **{"training loss": our_loss[-1], "of PyTorch": their_loss[-1]},
        )  # fmt: skip
    results.write()


if __name__ == "__main__":
    main()

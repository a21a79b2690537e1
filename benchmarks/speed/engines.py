"""Speed of NeuralMF's engines versus PyTorch on a CPU, and their time by part and by phase.

    python -m benchmarks.speed.engines [--full] [--engine numba]
    python -m benchmarks.speed.engines --parts [--engine numba torch] [--device cuda]
    python -m benchmarks.speed.engines --phases --architectures A_SMALL B_MEDIUM C_WIDE MF_16

By default, the number of training ratings per second of ours and of PyTorch, and their ratio. PyTorch's model
is the same, as its users write it for a CPU: sparse gradients and SparseAdam for tables, fused Adam for
everything else. Both train on the same ratings in the shape of MovieLens 1M, in the same order, from the same
weights, with the same penalty, in turns, each in its own process; the last training losses show whether they
did the same work. Our variances are 0, since PyTorch's model has none, which does not make our steps cheaper.
`--peer dense` has dense gradients, which are faster with small tables, but make another update;
`--peer compiled` is the same under torch.compile.

--parts   Epochs of C_wide with one more part each, as `fit` runs them: the fastest after the first, its time
          relative to the plain model on the same engine, and the seconds between the steps of an epoch and
          the next epoch, in which variances, features, implicit feedback and drift are inferred.
--phases  Nanoseconds of the numba engine for each rating, in the second epoch; and its speed
          as a share of that of NumPy's matrix products.

The machine must be idle: another busy process slows either side tenfold, unless --threads is 1.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmarks.harness import Parser, Results, Worker, run_in_turns
from benchmarks.penalties import penalised

from numpy_neural_mf import A_SMALL, B_MEDIUM, C_WIDE, Architecture, NeuralMF, Ratings, simulate_ratings
from numpy_neural_mf.data.batches import Batches
from numpy_neural_mf.nn import Adam
from numpy_neural_mf.training.engines import ENGINES
from numpy_neural_mf.training.inference import Inference

ARCHITECTURES = {
    "A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE, "MF_16": Architecture(16),
    "MF_64": Architecture(64),
}  # fmt: skip
PARTS = {
    "plain": C_WIDE,
    "features": replace(C_WIDE, features=True),
    "sets": replace(C_WIDE, implicit=True),
    "time": replace(C_WIDE, periods=24),
    "drift": replace(C_WIDE, drift=True),
    "ordinal": replace(C_WIDE, likelihood="ordinal"),
    "features, sets, drift": replace(C_WIDE, features=True, implicit=True, drift=True),
}
PHASES = {
    "batches": "shuffle and gather the ratings of a batch",
    "gradients": "gather rows, forward, backward",
    "update_rows": "sum gradients by row, update rows and moments",
    "update_dense": "update the weights of the MLP",
    "in Python": "everything else",
}
LEARNING_RATE = 0.005
SEED = 0

# Rows of the ratings in order, and the batch size -> mean squared error and size of each batch.
Learn = Callable[[np.ndarray, int], Iterator[tuple[float, int]]]


# Versus PyTorch


def new_engine(name: str, ratings: Ratings, architecture: Architecture, penalty: float) -> Any:
    objective = penalised(architecture, ratings.n_users, ratings.n_items, penalty)
    first, rng = first_parameters(ratings, architecture), np.random.default_rng(SEED)
    return ENGINES[name](architecture, first, Adam(LEARNING_RATE), objective, rng)


def first_parameters(ratings: Ratings, architecture: Architecture) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    return architecture.initial_parameters(ratings.n_users, ratings.n_items, ratings.mean, rng)


def new_engine_epoch(name: str, *settings: Any) -> Callable[[], tuple[float, float]]:
    """Return an epoch of one of the package's engines, as `training.train` runs it."""

    def new_learner(ratings: Ratings, *form: Any) -> Learn:
        engine = new_engine(name, ratings, *form)

        def learn(order: np.ndarray, batch_size: int) -> Iterator[tuple[float, int]]:
            for batch in engine.cut((ratings.users, ratings.items, ratings.values), order, batch_size):
                yield engine.step(*batch), len(batch[0])

        return learn

    return new_epoch(new_learner, *settings)


def new_torch_epoch(peer: str, threads: int, *settings: Any) -> Callable[[], tuple[float, float]]:
    """Return an epoch of the same model in PyTorch."""
    import torch
    from benchmarks.plain_torch import PlainModel, optimizers_of, train_step

    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    torch.sparse.check_sparse_tensor_invariants.disable()

    def new_learner(ratings: Ratings, architecture: Architecture, penalty: float) -> Learn:
        model = PlainModel(architecture, ratings.n_users + 1, ratings.n_items + 1, peer == "sparse")
        first = first_parameters(ratings, architecture)
        with torch.no_grad():
            ours = [first.pop(n) for n in list(first) if n.startswith("mlp")]
            for parameter, value in zip(model.mlp.parameters(), ours, strict=True):
                parameter.copy_(torch.from_numpy(value))
            for name, value in first.items():
                model.get_parameter(name).copy_(torch.from_numpy(value))
        optimizers = optimizers_of(model, LEARNING_RATE, fused=True)
        users, items = (torch.from_numpy(rows.astype(np.int64)) for rows in (ratings.users, ratings.items))
        values = torch.from_numpy(ratings.values)
        predict = torch.compile(model) if peer == "compiled" else model

        def learn(order: np.ndarray, batch_size: int) -> Iterator[tuple[float, int]]:
            for start in range(0, len(order), batch_size):
                index = torch.from_numpy(order[start : start + batch_size])
                batch = users[index], items[index], values[index]
                yield train_step(predict, optimizers, *batch, penalty).item(), len(index)

        return learn

    return new_epoch(new_learner, *settings)


def new_epoch(
    new_learner: Callable[[Ratings, Architecture, float], Learn],
    architecture: Architecture,
    batch_size: int,
    shape: tuple[int, int, int],
    penalty: float,
) -> Callable[[], tuple[float, float]]:
    """Return a function that trains one more epoch and returns ratings per second and the training loss."""
    ratings = simulate_ratings(*shape, random_state=SEED)
    learn, rng = new_learner(ratings, architecture, penalty), np.random.default_rng(SEED)

    def epoch() -> tuple[float, float]:
        order, squares = rng.permutation(len(ratings)), 0.0
        start = time.perf_counter()
        for loss, n in learn(order, batch_size):
            squares += loss * n
        return len(order) / (time.perf_counter() - start), squares / len(order)

    return epoch


def against_torch(given: Any, results: Results) -> None:
    """Add a row for each engine, architecture and batch size."""
    blas_threads = given.blas_threads or given.threads
    threads = {"OPENBLAS_NUM_THREADS": str(blas_threads), "OMP_NUM_THREADS": str(given.threads)}
    for engine, name, size in product(given.engine, given.architectures, given.batch_sizes):
        settings = ARCHITECTURES[name], size, (given.users, given.items, given.n_ratings), given.penalty
        workers = {
            "ours": Worker(new_engine_epoch, engine, *settings, **threads),
            "PyTorch": Worker(new_torch_epoch, given.peer, given.threads, *settings),
        }
        found = run_in_turns(workers, given.repeats)
        (ours, our_loss), (theirs, their_loss) = (
            np.array([run.value for run in found[side]]).T for side in workers
        )
        results.add(
            "M ratings/s", engine=engine, architecture=name, batch=size, ours=ours / 1e6,
            PyTorch=theirs / 1e6, ratio=ours / theirs,
            **{"training loss": our_loss[-1], "of PyTorch": their_loss[-1]},
        )  # fmt: skip


# Time by part and phase


def by_part(given: Any, results: Results) -> None:
    """Add a row for each engine and part."""
    shape = given.users, given.items, given.n_ratings
    ratings = simulate_ratings(*shape, drift=0.4, side_information=1.0, random_state=SEED)
    plain: dict[tuple[str, int], float] = {}
    for engine, size, name in product(given.engine, given.batch_sizes, given.only):
        where = {"device": given.device, "precision": given.precision} if engine == "torch" else {}
        model = NeuralMF(PARTS[name], engine=engine, epochs=given.repeats + 1, batch_size=size, **where)
        between: list[float] = []
        with patch.object(Inference, "update", listed(Inference.update, between)):
            seconds = min(model.fit(ratings).history_.seconds[1:])
        row = {
            "M ratings/s": len(ratings) / seconds / 1e6,
            "relative time": seconds / plain.setdefault((engine, size), seconds),
            "s between": min(between[1:]),
        }
        results.add("epoch of C_wide", engine=engine, batch=size, part=name, **row)


def by_phase(given: Any, results: Results) -> None:
    """Add a table for each architecture."""
    ratings = simulate_ratings(given.users, given.items, given.n_ratings, random_state=SEED)
    products = speed_of_products()
    results.note("GFLOP/s of matrix products", products / 1e9)
    for name, size in product(given.architectures, given.batch_sizes):
        architecture = ARCHITECTURES[name]
        engine = new_engine("numba", ratings, architecture, given.penalty)
        batches = Batches(ratings, size, np.random.default_rng(SEED))
        for batch in batches.epoch():
            engine.step(*batch)
        seconds: Counter[str] = Counter()
        for kernels in ("_kernels", "_of_rows", "_updates"):
            setattr(engine, kernels, Timed(getattr(engine, kernels), seconds))
        start, epoch = time.perf_counter(), batches.epoch()
        next_batch = timed(lambda epoch=epoch: next(epoch, None), seconds, "batches")
        with patch("numpy_neural_mf.training.engines.numba_engine.announce"):  # does not know timed kernels
            while (batch := next_batch()) is not None:
                engine.step(*batch)
        total = time.perf_counter() - start
        seconds["in Python"] = total - sum(seconds.values())  # type: ignore[assignment]
        speed = len(ratings) / total
        flops = 6 * sum(n * m for n, m in pairwise(architecture.layer_sizes))
        title = f"{name}, batches of {size:,}"
        results.note(f"{title}, M ratings/s", speed / 1e6)
        results.note(f"{title}, share of the speed of products", speed * flops / products)
        for phase, what in PHASES.items():
            nanoseconds, share = seconds[phase] / len(ratings) * 1e9, f"{seconds[phase] / total:.0%}"
            results.add(title, phase=phase, **{"ns a rating": nanoseconds}, share=share, what=what)


def listed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Wrap a function, so that it appends the time of each call."""

    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        found = function(*arguments)
        seconds.append(time.perf_counter() - start)
        return found

    return call


class Timed:
    """Kernels whose times are summed in a counter."""

    def __init__(self, kernels: Any, seconds: Counter[str]) -> None:
        self._kernels, self._seconds = kernels, seconds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kernels, name)
        return timed(found, self._seconds, name) if name in PHASES else found


def timed(function: Callable[..., Any], seconds: Counter[str], name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds[name] += time.perf_counter() - start  # type: ignore[assignment]

    return call


def speed_of_products(n: int = 4096) -> float:
    """Return floating-point operations per second of a product of two n x n matrices, the best of three."""
    matrix = np.random.default_rng(0).random((n, n), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * n**3 / min(seconds)


def main() -> None:
    shape = {"users": 600, "items": 400, "n_ratings": 20_000}
    parser = Parser(__doc__, **shape, repeats=1, batch_sizes=[1024], only=["plain", "time"])
    parser.add_options(parts=False, phases=False, full=False)  # full: A, B and C x 256, 1024 and 8192
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, help="by default 1024 and 8192, or only 8192")
    parser.add_argument("--engine", nargs="+", choices=ENGINES, help="by default numpy; of --parts the rest")
    parser.add_argument("--peer", choices=["sparse", "dense", "compiled"], default="sparse")
    parser.add_argument("--only", nargs="+", default=[*PARTS], choices=PARTS, metavar="PART")
    parser.add_options(users=0, items=0, n_ratings=0, repeats=0)  # 0: what is usual for the question
    parser.add_options(threads=os.cpu_count(), blas_threads=0, penalty=0.02)
    parser.add_options(device="auto", precision="float32")  # of the engine torch in --parts
    given = parser.parse_args()
    usual: dict[str, Any] = {"users": 6_040, "items": 3_706, "n_ratings": 1_000_000, "repeats": 5}
    usual |= {"engine": ["numpy"], "batch_sizes": [1024, 8192]}
    question, name = against_torch, "engines"
    if given.full:
        given.architectures, given.batch_sizes = ["A_SMALL", "B_MEDIUM", "C_WIDE"], [256, 1024, 8192]
    if given.parts:
        usual |= {"engine": ["numba", "torch"], "repeats": 2, "batch_sizes": [8192]}
        question, name = by_part, "engine_parts"
    elif given.phases:
        usual |= {"users": 162_541, "items": 59_047, "n_ratings": 4_000_000, "batch_sizes": [8192]}
        usual["engine"] = ["numba"]
        question, name = by_phase, "engine_phases"
    for option, value in usual.items():
        setattr(given, option, getattr(given, option) or value)
    question(given, Results("_".join([name, *given.engine]), given))


if __name__ == "__main__":
    main()

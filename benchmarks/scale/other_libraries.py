"""Time and peak memory of reading a ratings.csv and training on it, versus other libraries.

    python -m benchmarks.scale.other_libraries reading --n-ratings 25000095
    python -m benchmarks.scale.other_libraries training --n-ratings 25000095 --only ours PyTorch myFM Surprise

The file has MovieLens 25M's shape and format. Each run has its own process; `libraries` is its memory with
the libraries (the extra "bench") imported, and the peak is that during the run, as Linux reports it.

reading   Ours reads, checks and encodes; "cached" maps the columns saved before. The others only parse.
training  Each library reads the file, holds out a random fifth and trains one epoch on the rest: ours and
          PyTorch B_MEDIUM in batches of 8,192, Surprise its SVD, myFM one Gibbs sample of ten factors.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Measurement, Parser, Results, measured

# Training


def ours(path: Path) -> None:
    from numpy_neural_mf import B_MEDIUM, NeuralMF, random_split, read_ratings

    train, _ = random_split(read_ratings(path, timestamps=False))
    NeuralMF(B_MEDIUM, epochs=1, batch_size=8192, engine="numba").fit(train)


def pytorch(path: Path) -> None:
    import torch
    from benchmarks.plain_torch import PlainModel, optimizers_of, train_step

    from numpy_neural_mf import B_MEDIUM

    columns = coded(path)
    users, items, _ = columns
    order = np.random.default_rng(0).permutation(len(users))[: 4 * len(users) // 5]
    model = PlainModel(B_MEDIUM, int(users.max()) + 1, int(items.max()) + 1, sparse=True)
    tensors, optimizers = [torch.from_numpy(column) for column in columns], optimizers_of(model, 0.005)
    for rows in torch.from_numpy(order).split(8192):
        train_step(model, optimizers, *(column[rows] for column in tensors))


def surprise(path: Path) -> None:
    from surprise import SVD, Dataset, Reader
    from surprise.model_selection import train_test_split

    reader = Reader(line_format="user item rating timestamp", sep=",", skip_lines=1, rating_scale=(0.5, 5))
    train, _ = train_test_split(Dataset.load_from_file(str(path), reader), test_size=0.2, random_state=0)
    SVD(n_factors=16, n_epochs=1).fit(train)


def myfm(path: Path) -> None:
    from myfm import MyFMGibbsRegressor
    from scipy.sparse import csr_matrix

    users, items, values = coded(path)
    rows = np.sort(np.random.default_rng(0).permutation(len(users))[: 4 * len(users) // 5])
    n_users, n = int(users.max()) + 1, len(rows)
    columns = np.column_stack([users[rows], n_users + items[rows]]).ravel()
    X = csr_matrix((np.ones(2 * n), columns, np.arange(0, 2 * n + 1, 2)))
    MyFMGibbsRegressor(rank=10).fit(X, values[rows], n_iter=1, n_kept_samples=1)


def coded(path: Path) -> Any:
    """Return indices of users and items from 0, and ratings, by polars and NumPy."""
    import polars as pl

    frame = pl.read_csv(path, columns=["userId", "movieId", "rating"])
    users, items = (np.unique(frame[name], return_inverse=True)[1] for name in ("userId", "movieId"))
    return users, items, frame["rating"].to_numpy().astype(np.float32)


# By question and name: the job, and the modules that it needs; it receives the first.
Job = Callable[[Any, Path], Any]
JOBS: dict[str, dict[str, tuple[Job, tuple[str, ...]]]] = {
    "training": {
        "ours": (lambda _, path: ours(path), ("numpy_neural_mf", "numba")),
        "PyTorch": (lambda _, path: pytorch(path), ("torch", "polars")),
        "Surprise": (lambda _, path: surprise(path), ("surprise",)),
        "myFM": (lambda _, path: myfm(path), ("myfm", "polars")),
    },
    "reading": {
        "ours": (lambda nmf, path: nmf.read_ratings(path), ("numpy_neural_mf",)),
        "ours, cached": (lambda nmf, path: nmf.read_ratings(path, cache=True), ("numpy_neural_mf",)),
        "polars eager": (lambda pl, path: pl.read_csv(path), ("polars",)),
        "polars streaming": (lambda pl, path: pl.scan_csv(path).collect(engine="streaming"), ("polars",)),
        "pandas": (lambda pd, path: pd.read_csv(path), ("pandas",)),
        "pyarrow": (lambda csv, path: csv.read_csv(path), ("pyarrow.csv",)),
    },
}


def new_run(question: str, name: str, path: Path) -> Callable[[], None]:
    """Return the job of this name, with its libraries imported."""
    job, modules = JOBS[question][name]
    module, *_ = [import_module(module) for module in modules]

    def run() -> None:  # the loaded data stay in this process
        job(module, path)

    return run


def main() -> None:
    from benchmarks.data import large_file  # not in workers, whose memory is measured

    parser = Parser(__doc__, n_ratings=20_000, repeats=1)
    parser.add_argument("question", choices=JOBS)
    parser.add_argument("--repeats", type=int, help="by default 3 of reading, 1 of training")
    parser.add_argument("--only", nargs="+", help="libraries, by name")
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_options(n_ratings=1_000_000)
    given = parser.parse_args()
    jobs = JOBS[given.question]
    names = [n for n in given.only or jobs if all(find_spec(m.split(".")[0]) for m in jobs[n][1])]
    repeats = given.repeats or (3 if given.question == "reading" else 1)
    runs: dict[str, list[Measurement]] = {name: [] for name in names}
    results = Results(f"scale_{given.question}", given, repeats=repeats)
    with large_file(given.file, given.n_ratings) as path:
        results.note("MB of the file", path.stat().st_size / 1e6)
        path.read_bytes()  # so that no library is the first to read it from the disk
        if "ours, cached" in names:
            measured(new_run, given.question, "ours, cached", path)
        for repeat in range(repeats):
            for name in names[:: -1 if repeat % 2 else 1]:
                runs[name].append(measured(new_run, given.question, name, path))
    peers = [median(of, "seconds") for name, of in runs.items() if not name.startswith("ours")]
    for name, of in runs.items():
        row = {"wall s": [run.seconds for run in of], "CPU s": [run.cpu_seconds for run in of]}
        row |= {"libraries MB": median(of, "before_mb"), "peak MB": median(of, "peak_mb")}
        if peers:
            row["speed relative to the fastest peer"] = min(peers) / median(of, "seconds")
        results.add(given.question, library=name, **row)


def median(runs: Sequence[Measurement], field: str) -> float:
    return float(np.median([getattr(run, field) for run in runs]))


if __name__ == "__main__":
    main()

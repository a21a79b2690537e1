"""Reading a ratings.csv and training on it, against other libraries: time and peak memory.

    python -m benchmarks.scale.other_libraries reading --n-ratings 25000095
    python -m benchmarks.scale.other_libraries training --n-ratings 25000095 --only ours PyTorch myFM Surprise

The file has MovieLens 25M's shape and format (see large_file.py). Each run is a process of its own; the peak
is that of its resident memory during the run, and `libraries` is the memory before it, with the libraries
imported. The other libraries are those of the extra "bench". Needs Linux, which reports the peak.

reading   Ours reads, checks every value, encodes the ids, and searches for pairs rated twice; cached is the
          second time, when it maps the columns that it has cached. The others only parse. They take turns;
          CPU time is that of all threads.
training  Each reads the file, holds out a random fifth and trains one epoch on the rest: ours B_MEDIUM in
          batches of 8,192; PyTorch the same model with sparse gradients, read by polars and in batches cut by
          index, which is faster than a DataLoader; Surprise its SVD; myFM one Gibbs sample of ten factors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Measurement, Results, measured, new_parser

# Training


def ours(path: Path) -> None:
    from numpy_neural_mf import B_MEDIUM, NeuralMF, random_split, read_ratings

    train, _ = random_split(read_ratings(path, timestamps=False))
    NeuralMF(B_MEDIUM, epochs=1, batch_size=8192, engine="numba", validation_fraction=0.0).fit(train)


def pytorch(path: Path) -> None:
    import torch
    from benchmarks.speed.plain_model import PlainModel
    from torch import nn

    from numpy_neural_mf import B_MEDIUM

    users, items, values = coded(path)
    order = np.random.default_rng(0).permutation(len(users))[: 4 * len(users) // 5]
    columns = [torch.from_numpy(column) for column in (users, items, values)]
    model = PlainModel(B_MEDIUM, int(users.max()) + 1, int(items.max()) + 1, sparse=True)
    tables = [parameter for name, parameter in model.named_parameters() if name.startswith(("user", "item"))]
    others = [p for p in model.parameters() if not any(p is table for table in tables)]
    optimizers = torch.optim.SparseAdam(tables, lr=0.005), torch.optim.Adam(others, lr=0.005)
    for batch in torch.from_numpy(order).split(8192):
        u, i, r = (column[batch] for column in columns)
        loss = nn.functional.mse_loss(model(u, i)[0], r)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


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
    """Indices of users and items from 0, and ratings, as one would with polars and NumPy."""
    import polars as pl

    frame = pl.read_csv(path, columns=["userId", "movieId", "rating"])
    users, items = (np.unique(frame[name], return_inverse=True)[1] for name in ("userId", "movieId"))
    return users, items, frame["rating"].to_numpy().astype(np.float32)


# By question and name: the job, and the modules that it needs, of which it is given the first.
Job = Callable[[Any, Path], Any]
JOBS: dict[str, dict[str, tuple[Job, tuple[str, ...]]]] = {
    "training": {
        "ours": (lambda nmf, path: ours(path), ("numpy_neural_mf", "numba")),
        "PyTorch": (lambda torch, path: pytorch(path), ("torch", "polars")),
        "Surprise": (lambda module, path: surprise(path), ("surprise",)),
        "myFM": (lambda module, path: myfm(path), ("myfm", "polars")),
    },
    "reading": {
        "ours": (lambda nmf, path: nmf.read_ratings(path), ("numpy_neural_mf",)),
        "ours, cached": (lambda nmf, path: nmf.read_ratings(path, cache=True), ("numpy_neural_mf",)),
        "polars eager": (lambda pl, path: pl.read_csv(path), ("polars",)),
        "polars streaming": (
            lambda pl, path: pl.scan_csv(path).collect(engine="streaming"),
            ("polars",),
        ),
        "pandas": (lambda pd, path: pd.read_csv(path), ("pandas",)),
        "pyarrow": (lambda csv, path: csv.read_csv(path), ("pyarrow.csv",)),
    },
}


def new_run(question: str, name: str, path: Path) -> Callable[[], None]:
    """The job of that name, with its libraries imported."""
    job, modules = JOBS[question][name]
    module, *_ = [import_module(module) for module in modules]

    def run() -> None:
        job(module, path)

    return run


def main() -> None:
    from benchmarks.scale.large_file import write_large_file  # not in workers, whose memory is measured

    parser = new_parser(__doc__)
    parser.add_argument("question", choices=JOBS)
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, help="by default 3 of reading, 1 of training")
    parser.add_argument("--only", nargs="+", help="libraries, by name")
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    given = parser.parse_args()
    jobs = JOBS[given.question]
    names = [n for n in given.only or jobs if all(find_spec(m.split(".")[0]) for m in jobs[n][1])]
    repeats = given.repeats or (3 if given.question == "reading" else 1)
    runs: dict[str, list[Measurement]] = {name: [] for name in names}
    results = Results(
        f"other_libraries_{given.question}", given.output, ratings=given.n_ratings, repeats=repeats
    )
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        results.note("MB of the file", path.stat().st_size / 1e6)
        path.read_bytes()  # now no library is the first to fetch it from the disk
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
    results.write()


def median(runs: Sequence[Measurement], field: str) -> float:
    return float(np.median([getattr(run, field) for run in runs]))


if __name__ == "__main__":
    main()

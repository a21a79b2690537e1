"""Peak memory from a ratings.csv to a trained model: ours, and whoever else can do that job.

    python benchmarks/memory.py
    python benchmarks/memory.py --n-ratings 25000095 --only ours PyTorch myFM Surprise

Each reads the file of MovieLens 25M's shape (see large_file.py), holds out a fifth at random and learns one
epoch of the rest, in a process of its own: ours B_MEDIUM in batches of 8,192; PyTorch the same model with
sparse gradients, read by polars and in batches cut by index, which is faster than a DataLoader; Surprise
its SVD; myFM one Gibbs sample of ten factors. The peak is of resident memory, the interpreter and the
libraries included: `libraries` is what they took before anything was read. Peers are the extra "bench".
Needs Linux, which tells the peak of a process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine, status
from large_file import write_large_file


def ours(path: Path) -> None:
    from numpy_neural_mf import B_MEDIUM, NeuralMF, random_split, read_ratings

    before_reading()
    train, _ = random_split(read_ratings(path, timestamps=False))
    NeuralMF(B_MEDIUM, epochs=1, batch_size=8192, engine="numba", validation_fraction=0.0).fit(train)


def pytorch(path: Path) -> None:
    import torch
    from torch import nn

    from torch_engine import PlainModel  # isort: skip

    from numpy_neural_mf import B_MEDIUM

    before_reading()
    users, items, values = coded(path)
    order = np.random.default_rng(0).permutation(len(users))[: 4 * len(users) // 5]
    columns = [torch.from_numpy(column) for column in (users, items, values)]
    model = PlainModel(B_MEDIUM, int(users.max()) + 1, int(items.max()) + 1)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = True
    tables = [parameter for name, parameter in model.named_parameters() if name.startswith(("user", "item"))]
    others = [p for p in model.parameters() if not any(p is table for table in tables)]
    optimizers = torch.optim.SparseAdam(tables, lr=0.005), torch.optim.Adam(others, lr=0.005)
    for batch in torch.from_numpy(order).split(8192):
        u, i, r = (column[batch] for column in columns)
        loss = nn.functional.mse_loss(model(u, i), r)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def surprise(path: Path) -> None:
    from surprise import SVD, Dataset, Reader
    from surprise.model_selection import train_test_split

    before_reading()
    reader = Reader(line_format="user item rating timestamp", sep=",", skip_lines=1, rating_scale=(0.5, 5))
    train, _ = train_test_split(Dataset.load_from_file(str(path), reader), test_size=0.2, random_state=0)
    SVD(n_factors=16, n_epochs=1).fit(train)


def myfm(path: Path) -> None:
    from myfm import MyFMGibbsRegressor
    from scipy.sparse import csr_matrix

    before_reading()
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


def before_reading() -> None:
    """Libraries are here, nothing is read."""
    print(f"{status('VmHWM'):10,.0f}", end="", flush=True)


JOBS = {"ours": ours, "PyTorch": pytorch, "Surprise": surprise, "myFM": myfm}
NEEDS = {"ours": "numba", "PyTorch": "torch", "Surprise": "surprise", "myFM": "myfm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=JOBS, default=[n for n in JOBS if find_spec(NEEDS[n])])
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        start = time.perf_counter()
        JOBS[given.job](given.file)
        print(f"{status('VmHWM'):10,.0f}{time.perf_counter() - start:10.1f}", flush=True)
        return
    print(machine("numpy", "polars"))
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        print(f"{path.stat().st_size / 1e6:,.0f} MB, {given.n_ratings:,} ratings")
        print(f"{'':10}{'libraries':>10}{'peak MB':>10}{'seconds':>10}")
        for name in given.only:
            print(f"{name:10}", end="", flush=True)
            job = [sys.executable, __file__, "--job", name, "--file", str(path)]
            done = subprocess.run(job, check=False, stderr=subprocess.PIPE)  # where peers show bars
            if done.returncode:
                print(f"  ended with {done.returncode}: {done.stderr.decode()[-200:]}", flush=True)


if __name__ == "__main__":
    main()

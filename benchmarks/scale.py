"""From a ratings.csv to a saved model: time and memory of each step.

    python benchmarks/scale.py [--n-ratings 25000095]

    python benchmarks/scale.py --n-ratings 25000095 --mapped --epochs 1 --times 10

The file has MovieLens 25M's shape and format (see large_file.py). Everything runs in a process of its own:
reading, splitting, five epochs of B_MEDIUM in batches of 8,192 on the compiled engine, saving, the errors of
at most five million test ratings, lists for 10,000 users. The peak is that of the resident memory while a
step runs, pages of mapped files included; `private` is the most of it that the system could not take back.
--mapped starts from columns kept by an earlier reading. --times 10 makes ten times as many ratings of them,
by the same users and of the same items, and so shows what ratings take beside the tables; `TMPDIR` needs some
40 bytes for each. Needs Linux, which tells the peak of a step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import machine, status
from large_file import write_large_file

from numpy_neural_mf import B_MEDIUM, NeuralMF, Ratings, random_split, read_ratings
from numpy_neural_mf.data import k_fold, leave_last_out, time_split, user_split
from numpy_neural_mf.data.columns import blocks, room_like
from numpy_neural_mf.evaluation import evaluate_ratings
from numpy_neural_mf.evaluation.held_out import seen_rows

SPLITS = {
    "time": time_split,
    "last out": leave_last_out,
    "users": user_split,
    "fold": lambda r: next(k_fold(r)),
}
KEEP = "import sys, numpy_neural_mf as nmf; nmf.read_ratings(sys.argv[1], cache=True)"


class Steps:
    """Prints time and memory of each step, and of all at the end."""

    def __init__(self) -> None:
        self.start, self.peak, self.private = time.perf_counter(), 0.0, 0.0
        print(f"{'step':16}{'wall s':>9}{'CPU s':>9}{'peak MB':>10}{'after MB':>10}{'private':>10}")

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        wall, cpu = time.perf_counter(), time.process_time()
        private, done = [status("RssAnon")], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                private.append(status("RssAnon"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        memory = f"{status('VmHWM'):10,.0f}{status('VmRSS'):10,.0f}{max(private):10,.0f}"
        print(f"{name:16}{wall:9.2f}{cpu:9.2f}{memory}", flush=True)
        self.peak, self.private = max(self.peak, status("VmHWM")), max(self.private, *private)

    def end(self) -> None:
        wall = time.perf_counter() - self.start
        print(
            f"{'all':16}{wall:9.2f}{time.process_time():9.2f}{self.peak:10,.0f}{'':10}{self.private:10,.0f}"
        )


def repeated(ratings: Ratings, times: int) -> Ratings:
    """Every user's ratings several times over, of other items each time: few pairs come twice."""
    n = len(ratings)
    users, items, values = (
        room_like(column, times * n, column.dtype.type)
        for column in (ratings.users, ratings.items, ratings.values)
    )
    for time_ in range(times):
        for block in blocks(n):
            rows = slice(time_ * n + block.start, time_ * n + block.stop)
            users[rows], values[rows] = ratings.users[block], ratings.values[block]
            items[rows] = (ratings.items[block] + 997 * time_) % ratings.n_items
    return Ratings(users, items, values, ratings.user_ids, ratings.item_ids, ratings.scale)


def run(given: argparse.Namespace) -> None:
    """The steps, one after the other, in this process."""
    step = Steps()
    with step("import"):
        import numba  # noqa: F401
    with step("read"):
        ratings = read_ratings(given.file, timestamps=given.timestamps, cache=given.mapped)
    if given.times > 1:
        with step(f"{given.times} times"):
            ratings = repeated(ratings, given.times)
    n_ratings, n_bytes = len(ratings), 20 if ratings.timestamps is not None else 12
    for name, split in SPLITS.items():
        if ratings.timestamps is not None or name not in ("time", "last out"):
            with step(f"split, {name}"):
                split(ratings)
    with step("split, random"):
        train, test = random_split(ratings)
        del ratings
    with step("train"):
        model = NeuralMF(B_MEDIUM, epochs=given.epochs, batch_size=8192, learning_rate=0.005, engine="numba")
        model.fit(train)
    with step("save"), tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.safetensors"))
    with step("evaluate"):
        some = test.part(slice(5_000_000))
        if given.times > 1:  # then some pairs come twice
            some = some.take(~seen_rows(train, some))
        evaluate_ratings(model, train, some)
    with step("recommend"):
        model.recommend(model.user_ids_[:10_000], min_ratings=5)
    step.end()
    rmse = ", ".join(f"{loss**0.5:.4f}" for loss in model.history_.validation_loss)
    print(f"{n_ratings:,} ratings of {n_bytes} bytes; validation RMSE by epoch {rmse}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_argument("--timestamps", action="store_true", help="keep them: 8 bytes more a rating")
    parser.add_argument("--mapped", action="store_true", help="from the columns kept beside the file")
    parser.add_argument("--times", type=int, default=1, help="so many times the ratings, without timestamps")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        run(given)
        return
    print(machine("numpy", "polars", "numba"))
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        options = [*sys.argv[1:], "--worker", "--file", str(path)]
        if given.mapped:
            subprocess.run([sys.executable, "-c", KEEP, str(path)], check=True)
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()

"""From a ratings.csv to a saved model: time and memory of each step.

    python -m benchmarks.scale.pipeline --n-ratings 25000095
    python -m benchmarks.scale.pipeline --n-ratings 25000095 --mapped --epochs 1 --times 10

The file has MovieLens 25M's shape and format (see large_file.py). All steps run in one process: reading,
splitting, five epochs of B_MEDIUM in batches of 8,192 on the compiled engine, saving, the errors of at most
five million test ratings, lists for 10,000 users. The peak is that of the resident memory while a step runs,
pages of mapped files included; `private` is the most of it that the system could not take back. --mapped
starts from the columns cached by an earlier reading. --times 10 makes ten times as many ratings of them, by
the same users and of the same items, which shows what ratings need in addition to the tables; `TMPDIR` needs
some 40 bytes for each. Needs Linux, which reports the peak of a step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Measurement, Results, measure, measured, new_parser
from benchmarks.scale.large_file import write_large_file

from numpy_neural_mf import B_MEDIUM, NeuralMF, Ratings, random_split, read_ratings
from numpy_neural_mf.data import k_fold, leave_last_out, time_split, user_split
from numpy_neural_mf.data.columns import blocks, room_like
from numpy_neural_mf.evaluation import evaluate_ratings, seen_rows

SPLITS: dict[str, Callable[[Ratings], Any]] = {
    "time": time_split,
    "last out": leave_last_out,
    "users": user_split,
    "fold": lambda r: next(k_fold(r)),
}


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


def new_run(settings: dict[str, Any]) -> Callable[[], tuple[list[tuple[str, Measurement]], list[float]]]:
    """The steps, one after the other, and the validation RMSE of each epoch."""

    def run() -> tuple[list[tuple[str, Measurement]], list[float]]:
        found: list[tuple[str, Measurement]] = []

        def step(name: str, function: Callable[..., Any], *given: Any, **more: Any) -> Any:
            measurement = measure(partial(function, *given, **more))
            found.append((name, measurement._replace(value=None)))
            return measurement.value

        model = steps(step, **settings)
        return found, [loss**0.5 for loss in model.history_.validation_loss]

    return run


def steps(
    step: Callable[..., Any],
    path: Path,
    epochs: int,
    times: int,
    mapped: bool,
    timestamps: bool,
) -> NeuralMF:
    ratings = step("read", read_ratings, path, timestamps=timestamps, cache=mapped)
    if times > 1:
        ratings = step(f"{times} times", repeated, ratings, times)
    for name, split in SPLITS.items():
        if ratings.timestamps is not None or name not in ("time", "last out"):
            step(f"split, {name}", split, ratings)
    train, test = step("split, random", random_split, ratings)
    del ratings
    model = NeuralMF(B_MEDIUM, epochs=epochs, batch_size=8192, learning_rate=0.005, engine="numba")
    step("train", model.fit, train)
    with tempfile.TemporaryDirectory() as folder:
        step("save", model.save, Path(folder, "model.safetensors"))
    some = test.part(slice(5_000_000))

    def evaluate() -> None:
        held_out = some.take(~seen_rows(train, some)) if times > 1 else some  # some pairs come twice
        evaluate_ratings(model, train, held_out)

    step("evaluate", evaluate)
    step("recommend", model.recommend, model.user_ids_[:10_000], min_ratings=5)
    return model


def new_caching(path: Path) -> Callable[[], int]:
    """Read the file once, so that its columns are cached."""
    return lambda: len(read_ratings(path, cache=True))


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--n-ratings", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_argument("--timestamps", action="store_true", help="keep them: 8 bytes more a rating")
    parser.add_argument("--mapped", action="store_true", help="from the columns cached beside the file")
    parser.add_argument("--times", type=int, default=1, help="times the ratings, without timestamps")
    given = parser.parse_args()
    results = Results(
        "pipeline", given.output, ratings=given.n_ratings, times=given.times, mapped=given.mapped
    )
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder, "ratings.csv")
        if not path.exists():
            write_large_file(path, given.n_ratings)
        if given.mapped:
            measured(new_caching, path)
        settings = {name: getattr(given, name) for name in ("epochs", "times", "mapped", "timestamps")}
        all_steps = measured(new_run, {"path": path} | settings)
    found, rmse_by_epoch = all_steps.value
    peaks = {name: max(getattr(run, name) for _, run in found) for name in ("peak_mb", "peak_anonymous_mb")}
    for name, run in [*found, ("all", all_steps._replace(**peaks))]:
        results.add(
            "steps", step=name, seconds=run.seconds, **{"CPU seconds": run.cpu_seconds},
            **{"before MB": run.before_mb, "peak MB": run.peak_mb, "private MB": run.peak_anonymous_mb},
        )  # fmt: skip
    results.note("validation RMSE by epoch", [f"{rmse:.4f}" for rmse in rmse_by_epoch])
    results.write()


if __name__ == "__main__":
    main()

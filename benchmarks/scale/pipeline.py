"""Time and memory of each step from a ratings.csv to a saved model; growth of the cost of training.

    python -m benchmarks.scale.pipeline --n-ratings 25000095
    python -m benchmarks.scale.pipeline --n-ratings 25000095 --mapped --epochs 1 --times 10
    python -m benchmarks.scale.pipeline --growth [--full]

The file has MovieLens 25M's shape and format. All steps run in one process: reading, splitting, five epochs
of B_MEDIUM in batches of 8,192 on the compiled engine, saving, the errors of at most five million test
ratings, lists for 10,000 users. The peak is that of the resident memory while a step runs, pages of mapped
files included; `private` is the peak of the memory that the system could not reclaim. --mapped starts from
the columns cached by an earlier reading. --times 10 makes ten times the number of ratings, by the same users
and of the same items; `TMPDIR` needs some 40 bytes for each. Needs Linux, which reports the peak of a step.

--growth trains B_MEDIUM, changed in one respect at a time (ratings, embedding dimension, catalogue), on
random pairs with few popular items. Each point has its own process, and shows the fastest epoch of three and
the peak of resident memory, ratings included. --full has up to 100 million ratings, and five million for the
other two; it draws docs/scaling.png.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.data import N_ITEMS, large_file, random_ratings
from benchmarks.harness import ROOT, Measurement, Parser, Results, measure, measured

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
TRAINING = {"batch_size": 8192, "learning_rate": 0.005}


# Steps


def repeated(ratings: Ratings, times: int) -> Ratings:
    """Repeat every user's ratings several times, with other items each time: few pairs are repeated."""
    n, columns = len(ratings), (ratings.users, ratings.items, ratings.values)
    users, items, values = (room_like(column, times * n, column.dtype.type) for column in columns)
    for time_ in range(times):
        for block in blocks(n):
            rows = slice(time_ * n + block.start, time_ * n + block.stop)
            users[rows], values[rows] = ratings.users[block], ratings.values[block]
            items[rows] = (ratings.items[block] + 997 * time_) % ratings.n_items
    return Ratings(users, items, values, ratings.user_ids, ratings.item_ids, ratings.scale)


def new_run(settings: dict[str, Any]) -> Callable[[], tuple[list[tuple[str, Measurement]], list[float]]]:
    """Return a function that runs the steps in order and returns them and each epoch's expected RMSE."""

    def run() -> tuple[list[tuple[str, Measurement]], list[float]]:
        found: list[tuple[str, Measurement]] = []

        def step(name: str, function: Callable[..., Any], *given: Any, **more: Any) -> Any:
            measurement = measure(partial(function, *given, **more))
            found.append((name, measurement._replace(value=None)))
            return measurement.value

        model = steps(step, **settings)
        return found, [loss**0.5 for loss in model.history_.expected_loss]

    return run


def steps(
    step: Callable[..., Any], path: Path, epochs: int, times: int, mapped: bool, timestamps: bool, engine: str
) -> NeuralMF:
    ratings = step("read", read_ratings, path, timestamps=timestamps, cache=mapped)
    if times > 1:
        ratings = step(f"{times} times", repeated, ratings, times)
    for name, split in SPLITS.items():
        if ratings.timestamps is not None or name not in ("time", "last out"):
            step(f"split, {name}", split, ratings)
    train, test = step("split, random", random_split, ratings)
    del ratings
    model = NeuralMF(B_MEDIUM, epochs=epochs, engine=engine, **TRAINING)
    step("train", model.fit, train)
    with tempfile.TemporaryDirectory() as folder:
        step("save", model.save, Path(folder, "model.safetensors"))
    some = test.part(slice(5_000_000))

    def evaluate() -> None:
        held_out = some.take(~seen_rows(train, some)) if times > 1 else some  # some pairs are repeated
        evaluate_ratings(model, train, held_out)

    step("evaluate", evaluate)
    step("recommend", model.recommend, model.user_ids_[:10_000], min_ratings=5)
    return model


def cache(path: Path) -> None:
    """Read the file once, so that its columns are cached."""
    read_ratings(path, cache=True)


def pipeline(given: Any, results: Results) -> None:
    """Add a row for each step, and one for all steps."""
    with large_file(given.file, given.n_ratings) as path:
        if given.mapped:
            measured(partial, cache, path)
        names = ("epochs", "times", "mapped", "timestamps", "engine")
        all_steps = measured(new_run, {"path": path} | {name: getattr(given, name) for name in names})
    found, rmse_by_epoch = all_steps.value
    peaks = {name: max(getattr(run, name) for _, run in found) for name in ("peak_mb", "peak_anonymous_mb")}
    for name, run in [*found, ("all", all_steps._replace(**peaks))]:
        results.add(
            "steps", step=name, seconds=run.seconds, **{"CPU seconds": run.cpu_seconds},
            **{"before MB": run.before_mb, "peak MB": run.peak_mb, "private MB": run.peak_anonymous_mb},
        )  # fmt: skip
    results.note("expected RMSE by epoch", [f"{rmse:.4f}" for rmse in rmse_by_epoch])


# Growth


def new_training(n_ratings: int, n_items: int, dimension: int, engine: str) -> Callable[[], float]:
    """Return a function that trains and returns the seconds of the fastest epoch."""
    ratings = random_ratings(max(1, n_ratings // 150), n_items, n_ratings)
    model = NeuralMF(B_MEDIUM, embedding_dim=dimension, epochs=3, engine=engine, **TRAINING)
    return lambda: min(model.fit(ratings).history_.seconds)


def growth(given: Any, results: Results) -> None:
    """Add a row for each point, and draw the figure."""
    from matplotlib.figure import Figure

    sizes, n = (10**5, 10**6, 4 * 10**6), 500_000
    if given.full:
        sizes, n = (10**6, 5 * 10**6, 25 * 10**6, 10**8), 5 * 10**6
    if given.quick:
        sizes, n = (10_000, 20_000), 10_000
    points = {
        "ratings": [(size, (size, N_ITEMS, 16)) for size in sizes],
        "embedding dimension": [(k, (n, N_ITEMS, k)) for k in (8, 16, 32, 64, 128)],
        "items": [(n_items, (n, n_items, 16)) for n_items in (10**3, 10**4, 10**5, 10**6)],
    }
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    figure.suptitle("Cost of training, one epoch")
    for axes, (name, settings) in zip(figure.subplots(1, 3), points.items(), strict=True):
        curves: dict[str, list[float]] = {"ns a rating": [], "peak GB": []}
        for at, setting in settings[:2] if given.quick else settings:
            run = measured(new_training, *setting, given.engine)
            nanoseconds = 1e9 * run.value / setting[0]
            row = {"s an epoch": run.value, "ns a rating": nanoseconds, "peak MB": run.peak_mb}
            results.add("epoch", axis=name, at=at, **row)
            curves["ns a rating"].append(nanoseconds)
            curves["peak GB"].append(run.peak_mb / 1e3)
        both = (axes, "tab:blue", "o-"), (axes.twinx(), "tab:orange", "s--")
        for (panel, color, line), (label, values) in zip(both, curves.items(), strict=True):
            panel.plot([at for at, _ in settings][: len(values)], values, line, color=color)
            panel.set(xscale="log", xlabel=name, ylim=(0, 1.1 * max(values)))
            panel.set_ylabel(label, color=color)
    figure.savefig(ROOT / "docs" / "scaling.png" if given.full else results.path.with_suffix(".png"), dpi=120)


def main() -> None:
    parser = Parser(__doc__, n_ratings=20_000, epochs=1)
    parser.add_argument("--file", type=Path, help="read this file; made there if there is none")
    parser.add_options(n_ratings=1_000_000, epochs=5, engine="numba", timestamps=False, mapped=False, times=1)
    parser.add_options(growth=False, full=False)
    given = parser.parse_args()
    name = "growth" if given.growth else "pipeline"
    (growth if given.growth else pipeline)(given, Results(name, given))


if __name__ == "__main__":
    main()

"""How the cost of training grows with the ratings, the embedding dimension and the catalogue.

    python -m benchmarks.scale.growth [--full]

Trains B_MEDIUM, changed in one respect at a time, on ratings drawn with Zipf-like popularity, in batches of
8,192 on the compiled engine. Each point is a process of its own and the fastest epoch of three; the memory is
the peak of the resident memory, ratings included. --full has the sizes up to 100 million ratings, and five
million for the other two. Draws docs/scaling.png.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.harness import Results, measured, new_parser

from numpy_neural_mf import B_MEDIUM, NeuralMF, Ratings

RATINGS_OF_A_USER, N_ITEMS, DIMENSION = 150, 59_047, 16
DIMENSIONS, CATALOGUES = [8, 16, 32, 64, 128], [10**3, 10**4, 10**5, 10**6]
FIGURE = Path(__file__).parents[2] / "docs" / "scaling.png"


def drawn_ratings(n_ratings: int, n_users: int, n_items: int) -> Ratings:
    """Ratings in order of users; a pair may come twice, which costs the same."""
    rng = np.random.default_rng(0)
    reach = np.cumsum((np.arange(n_items) + 10.0) ** -0.8)
    items = np.empty(n_ratings, np.int32)
    for first in range(0, n_ratings, 2**20):
        block = items[first : first + 2**20]
        block[:] = np.searchsorted(reach, rng.random(len(block)) * reach[-1])
    users = np.sort(rng.integers(n_users, size=n_ratings, dtype=np.int32))
    values = rng.integers(2, 9, n_ratings, dtype=np.int8).astype(np.float32) / 2  # as different as stars are
    shuffled = rng.permutation(n_items).astype(np.int32)  # popular items have any number
    return Ratings(users, shuffled[items], values, np.arange(n_users), np.arange(n_items), (0.5, 5.0))


def new_run(n_ratings: int, n_items: int, dimension: int, engine: str) -> Callable[[], float]:
    """A function that trains, and returns the seconds of the fastest epoch."""
    ratings = drawn_ratings(n_ratings, max(1, n_ratings // RATINGS_OF_A_USER), n_items)
    model = NeuralMF(B_MEDIUM, embedding_dim=dimension, epochs=3, batch_size=8192, learning_rate=0.005,
                     validation_fraction=0, engine=engine)  # fmt: skip
    return lambda: min(model.fit(ratings).history_.seconds)


def draw(axes_of: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """A panel for each axis: nanoseconds a rating, and memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, 3), axes_of.items(), strict=True):
        at, nanoseconds, gigabytes = zip(*points, strict=True)
        axes.plot(at, nanoseconds, "o-", color="tab:blue")
        axes.set(xscale="log", xlabel=name, ylim=(0, 1.1 * max(nanoseconds)))
        axes.set_ylabel("ns a rating", color="tab:blue")
        memory = axes.twinx()
        memory.plot(at, gigabytes, "s--", color="tab:orange")
        memory.set_ylim(0, 1.1 * max(gigabytes))
        memory.set_ylabel("peak GB", color="tab:orange")
    figure.suptitle("Cost of training, one epoch")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--full", action="store_true", help="up to 100 million ratings")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of ratings")
    parser.add_argument("--n-ratings", type=int, help="where the other two grow")
    parser.add_argument("--engine", default="numba")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    given = parser.parse_args()
    sizes = given.sizes or (
        [10**6, 5 * 10**6, 25 * 10**6, 10**8] if given.full else [10**5, 10**6, 4 * 10**6]
    )
    n = given.n_ratings or (5 * 10**6 if given.full else 500_000)
    points = {
        "ratings": [(size, (size, N_ITEMS, DIMENSION)) for size in sizes],
        "embedding dimension": [(dimension, (n, N_ITEMS, dimension)) for dimension in DIMENSIONS],
        "items": [(n_items, (n, n_items, DIMENSION)) for n_items in CATALOGUES],
    }
    results = Results("growth", given.output, engine=given.engine)
    curves: dict[str, list[tuple[int, float, float]]] = {name: [] for name in points}
    for name, settings in points.items():
        for at, setting in settings:
            run = measured(new_run, *setting, given.engine)
            nanoseconds = 1e9 * run.value / setting[0]
            row = {"s an epoch": run.value, "ns a rating": nanoseconds, "peak MB": run.peak_mb}
            results.add("epoch", axis=name, at=at, **row)
            curves[name].append((at, nanoseconds, run.peak_mb / 1e3))
    draw(curves, given.figure)
    results.write()


if __name__ == "__main__":
    main()

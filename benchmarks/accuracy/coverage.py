"""Coverage of the intervals of NeuralMF and BayesianMF, by the number of a user's training ratings.

    python -m benchmarks.accuracy.coverage ml-latest-small/ratings.csv --seeds 3
    python -m benchmarks.accuracy.coverage --n-ratings 200000

The test part is a random fifth of the ratings of the file, if one is given, and of simulated ratings with
latent structure. Each model is trained with its defaults, NeuralMF also with an ordinal likelihood. Columns
have the share of the test ratings within the intervals of 50, 80 and 90 %, and the mean width of the
intervals on the rating scale. An interval of ordinal categories has at least its nominal coverage.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks.data import add_data, load
from benchmarks.harness import Parser, Results

import numpy_neural_mf as nmf
from numpy_neural_mf.data.ids import index_of

LEVELS = (0.5, 0.8, 0.9)
# Fewest training ratings of a user in a group, and its name.
GROUPS = {0: "0", 1: "1-9", 10: "10-99", 100: "100 or more"}


def models(samples: int) -> dict[str, Callable[[int], Any]]:
    return {
        "NeuralMF": lambda seed: nmf.NeuralMF(random_state=seed),
        "NeuralMF, ordinal": lambda seed: nmf.NeuralMF(likelihood="ordinal", random_state=seed),
        "BayesianMF": lambda seed: nmf.BayesianMF(n_samples=samples, random_state=seed),
    }


def intervals(model: Any, train: nmf.Ratings, test: nmf.Ratings) -> np.ndarray:
    """Return each test rating's group and, by level, whether the interval contains it and the width."""
    rows = index_of(train.user_ids, test.raw_users)
    counts = np.bincount(train.users, minlength=train.n_users)
    n = np.where(rows < 0, 0, counts[rows])
    columns = [np.searchsorted([*GROUPS], n, side="right") - 1]
    for level in LEVELS:
        low, high = model.predict_interval(test.raw_users, test.raw_items, test.timestamps, coverage=level)
        columns += [(low <= test.values) & (test.values <= high), high - low]
    return np.stack(columns, axis=1).astype(np.float64)


def report(data: str, new_ratings: Callable[[int], nmf.Ratings], given: Any, results: Results) -> None:
    """Add a row for each model and group of users, over the test ratings of all seeds."""
    splits = [nmf.random_split(new_ratings(seed), random_state=seed) for seed in range(given.seeds)]
    for name, new_model in models(given.samples).items():
        found = np.concatenate(
            [intervals(new_model(seed).fit(split[0]), *split) for seed, split in enumerate(splits)]
        )
        for number, group in enumerate([*GROUPS.values(), "all"]):
            own = found if group == "all" else found[found[:, 0] == number]
            if len(own):
                means = iter(own[:, 1:].mean(axis=0))
                row = {"model": name, "ratings of the user": group, "n": len(own)}
                for level in LEVELS:
                    row |= {f"{level:.0%}": f"{next(means):.1%}", f"width of {level:.0%}": next(means)}
                results.add(f"within intervals, {data} ratings", **row)


def main() -> None:
    parser = Parser(__doc__, n_ratings=10_000, samples=4)
    add_data(parser)
    parser.add_options(seeds=1, samples=nmf.BayesianMF().n_samples)
    given = parser.parse_args()
    results = Results("coverage", given)
    if given.ratings:
        read = load(given)
        report("read", lambda seed: read, given, results)
    n = given.n_ratings
    sizes = n // 40, n // 100, n
    report("simulated", lambda seed: nmf.simulate_ratings(*sizes, random_state=seed), given, results)


if __name__ == "__main__":
    main()

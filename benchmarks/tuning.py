"""What a search for settings is worth: test error of the tuned model beside that of the defaults.

python benchmarks/tuning.py RATINGS [--trials N] [--folds N]

Of five folds (`k_fold(ratings, 5)`), the first N. In each, `tune` sees the training part alone; the settings
it finds and the defaults are then trained on that part, with the same seed, and judged on the test part.
"""

from __future__ import annotations

import argparse
from itertools import islice

from numpy_neural_mf import NeuralMF, Ratings, k_fold, read_ratings, tune
from numpy_neural_mf.evaluation import rmse


def test_rmse(model: NeuralMF, train: Ratings, test: Ratings) -> float:
    """Of a model trained on one part, on the other."""
    return rmse(model.fit(train).predict(test.raw_users, test.raw_items), test.values)


def main() -> None:
    """Print a line for each fold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", help="for instance MovieLens' ratings.csv")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    print("fold | validation: defaults, tuned | test: defaults, tuned | settings")
    for fold, (train, test) in enumerate(islice(k_fold(read_ratings(options.ratings)), options.folds)):
        tuning = tune(train, n_trials=options.trials)
        defaults, tuned = (test_rmse(NeuralMF(**s), train, test) for s in ({}, tuning.settings))
        validation = f"{tuning.default_rmse:.4f}, {tuning.validation_rmse:.4f}"
        print(f"{fold} | {validation} | {defaults:.4f}, {tuned:.4f} | {tuning.settings}", flush=True)


if __name__ == "__main__":
    main()

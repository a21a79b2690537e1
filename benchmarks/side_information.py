"""What features of items, and what was rated however high, are worth: test error with and without, by fold.

python benchmarks/side_information.py RATINGS FEATURES [--seeds N] [--folds N]

For instance MovieLens' ratings.csv and movies.csv. All settings are defaults.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice
from time import perf_counter

import numpy as np
from harness import machine

from numpy_neural_mf import C_WIDE, Architecture, NeuralMF, k_fold, read_features, read_ratings
from numpy_neural_mf.evaluation import rmse

FORMS = {"C_wide": C_WIDE, "without MLP": Architecture(embedding_dim=32)}


def main() -> None:
    """Print a line for each form, with the test RMSE of each fold, over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings")
    parser.add_argument("features")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    print(machine("numpy"))
    ratings = read_ratings(given.ratings).with_features(items=read_features(given.features))
    for name, form in FORMS.items():
        for features, implicit in ((False, False), (True, False), (False, True), (True, True)):
            start, errors = perf_counter(), []
            for train, test in islice(k_fold(ratings), given.folds):
                for seed in range(given.seeds):
                    form = replace(form, features=features, implicit=implicit)
                    model = NeuralMF(form, random_state=seed).fit(train)
                    errors.append(rmse(model.predict(test.raw_users, test.raw_items), test.values))
            by_fold = np.reshape(errors, (-1, given.seeds)).mean(axis=1)
            told = "features" * features + " and " * (features and implicit) + "implicit" * implicit
            seconds = (perf_counter() - start) / len(errors)
            numbers = ", ".join(f"{error:.4f}" for error in by_fold)
            print(f"{name}, {told or 'plain'}: {by_fold.mean():.4f} ({numbers}), {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()

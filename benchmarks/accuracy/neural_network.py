"""NeuralNetwork versus scikit-learn's MLPRegressor: test R² and time of fit, on the same data and settings.

    python -m benchmarks.accuracy.neural_network [--full]

Both are fitted in turn, in one process, on the same standardised split with the same seed, layers, optimiser
(Adam), batch size and number of epochs, no penalty and no early stopping. Ours is fitted twice: from its own
default weights (He), and from those of MLPRegressor (Xavier).
"""

import time
import warnings
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results, mean_and_error
from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from numpy_neural_mf.nn import NeuralNetwork

BATCH_SIZE, LEARNING_RATE = 32, 0.001


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Load X and y, shape (n, n_outputs), of a data set bundled with scikit-learn; classes are numbers."""
    if name == "two outputs":  # of the patients of diabetes: their progression and their blood pressure
        X, y = datasets.load_diabetes(return_X_y=True)
        return np.delete(X, 3, axis=1), np.column_stack([y, X[:, 3]])
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X, y[:, None]


def split(name: str, seed: int) -> tuple[np.ndarray, ...]:
    """Split into train and test rows, standardised by the training rows."""
    X_train, X_test, y_train, y_test = train_test_split(*load(name), random_state=seed)
    X_scale, y_scale = StandardScaler().fit(X_train), StandardScaler().fit(y_train)
    y_train, y_test = y_scale.transform(y_train), y_scale.transform(y_test)
    if y_train.shape[1] == 1:
        y_train, y_test = y_train[:, 0], y_test[:, 0]
    return X_scale.transform(X_train), X_scale.transform(X_test), y_train, y_test


def models(hidden_layer_sizes: tuple[int, ...], epochs: int, seed: int) -> tuple[Any, ...]:
    """Return NeuralNetwork with He and with Xavier weights, and MLPRegressor."""
    shared = {"hidden_layer_sizes": hidden_layer_sizes, "batch_size": BATCH_SIZE, "random_state": seed}
    ours = NeuralNetwork(**shared, learning_rate=LEARNING_RATE, epochs=epochs)
    theirs = MLPRegressor(
        **shared, learning_rate_init=LEARNING_RATE, max_iter=epochs, n_iter_no_change=epochs + 1, alpha=0
    )
    return ours, clone(ours).set_params(initializer="xavier_uniform"), theirs


def measure(name: str, hidden_layer_sizes: tuple[int, ...], epochs: int, seeds: int) -> np.ndarray:
    """Return R² and seconds, shape (2, 3 models, seeds); the models alternate in going first."""
    results = np.empty((2, 3, seeds))
    for seed in range(seeds):
        X_train, X_test, y_train, y_test = split(name, seed)
        turns = list(enumerate(models(hidden_layer_sizes, epochs, seed)))
        for which, model in turns if seed % 2 else reversed(turns):
            start = time.perf_counter()
            model.fit(X_train, y_train)
            results[1, which, seed] = time.perf_counter() - start
            results[0, which, seed] = model.score(X_test, y_test)
    return results


def main() -> None:
    parser = Parser(__doc__, seeds=1, epochs=2)
    parser.add_argument("--full", action="store_true", help="more seeds, epochs and layers: minutes")
    parser.add_argument("--seeds", type=int, help="by default 5, with --full 10")
    parser.add_argument("--epochs", type=int, help="by default 40, with --full 100")
    given = parser.parse_args()
    layers = [(50,), (100, 50), (100, 100, 100)] if given.full else [(50,), (32, 16)]
    epochs, seeds = given.epochs or (100 if given.full else 40), given.seeds or (10 if given.full else 5)
    warnings.simplefilter("ignore", ConvergenceWarning)  # both train all epochs
    conditions = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "epochs": epochs, "seeds": seeds}
    results = Results("neural_network", given, **conditions)
    measure("wine", (50,), 2, 2)  # warm up
    for sizes in layers:
        for name in ("diabetes", "two outputs", "breast_cancer", "wine", "digits"):
            (he, xavier, theirs), (seconds, _, their_seconds) = measure(name, sizes, epochs, seeds)
            results.add(
                "test R², and time of ours over MLPRegressor's",
                data=name, layers=str(sizes), MLPRegressor=theirs.mean(), ours=he.mean(),
                difference=mean_and_error(he - theirs), Xavier=xavier.mean(),
                **{"difference of Xavier": mean_and_error(xavier - theirs), "time": seconds / their_seconds},
            )  # fmt: skip


if __name__ == "__main__":
    main()

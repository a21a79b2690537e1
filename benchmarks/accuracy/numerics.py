"""Numerical accuracy: derivatives, precision of products, order of the batches.

    python -m benchmarks.accuracy.numerics gradients
    python -m benchmarks.accuracy.numerics precision RATINGS --seeds 5
    python -m benchmarks.accuracy.numerics precision RATINGS --device cuda --precisions float32 tf32
    python -m benchmarks.accuracy.numerics order [RATINGS] --n-ratings 25000095 --window 1048576
    python -m benchmarks.accuracy.numerics order [RATINGS] --one-by-one --epochs 10

gradients  The largest relative error of each derivative against central differences, in float64.
precision  Test error on a random fifth by precision of the MLP's products, minus that of the first row with
           the same split and weights: mean, standard error, largest. Training magnifies rounding: "numpy",
           float32 on another engine with other random signs, shows by how much.
order      Validation RMSE by epoch of a windowed shuffle versus a full shuffle. The ratings are sorted by
           user; B_MEDIUM is trained on pieces of neighbours through windows, in the proportion of 25 million
           ratings by default. Long pieces show that the comparison can detect a difference. --one-by-one:
           per-sample SGD of matrix factorisation on stretches of one shuffle versus a shuffle in each epoch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from benchmarks.data import large_file, load
from benchmarks.harness import Parser, Results, mean_and_error
from benchmarks.penalties import penalised

import numpy_neural_mf as nmf
from numpy_neural_mf import nn
from numpy_neural_mf.data import batches
from numpy_neural_mf.training import loop
from numpy_neural_mf.training.engines import NumpyEngine

ARCHITECTURES = {
    "A_SMALL": nmf.A_SMALL, "B_MEDIUM": nmf.B_MEDIUM, "C_WIDE": nmf.C_WIDE, "biased MF": nmf.Architecture(8),
}  # fmt: skip
ONE_BY_ONE = {
    "embedding_dim": 16, "hidden_layer_sizes": (), "batch_size": 1, "optimizer": "sgd",
    "learning_rate": 0.02,
}  # fmt: skip


def gradients(given: Any, results: Results) -> None:
    """Add a row for each layer, activation, loss and model, and the largest error of all."""
    largest = 0.0
    for name, errors in derivatives():
        error = max(errors.values())
        largest = max(largest, error)
        row = {"largest relative error": f"{error:.1e}", "with respect to": ", ".join(errors)}
        results.add("gradients", derivative=name, **row)
    results.note("largest of all", f"{largest:.1e}")


def derivatives() -> Iterator[tuple[str, dict[str, float]]]:
    """Yield name and relative errors of each derivative."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5))

    def dense(n_in: int, n_out: int) -> nn.Dense:
        return nn.Dense(n_in, n_out, rng, dtype=np.float64)

    yield "Dense", nn.check_gradients(dense(5, 3), x)
    ids = np.array([0, 3, 3, 5, 0])
    yield "Embedding, ids repeated", nn.check_gradients(nn.Embedding(6, 4, rng, dtype=np.float64), ids)
    for name, function in nn.ACTIVATIONS.items():
        yield f"activation {name}", nn.check_gradients(nn.Activation(function), x)
        network = nn.Sequential(dense(5, 8), nn.Activation(function), dense(8, 2))
        yield f"two layers, {name}", nn.check_gradients(network, x)
    target = rng.uniform(size=(7, 5))
    for loss in (nn.mse, nn.mae, nn.huber, nn.binary_cross_entropy):
        gradient = {"prediction": loss(x, target)[1]}
        value: Callable[[], float] = lambda loss=loss: loss(x, target)[0]  # noqa: E731
        yield f"loss {loss.__name__}", nn.gradient_errors(value, {"prediction": x}, gradient)
    for name, architecture in ARCHITECTURES.items():
        yield f"whole model, {name}", model_errors(architecture, rng)


def model_errors(architecture: nmf.Architecture, rng: np.random.Generator) -> dict[str, float]:
    """Return the errors of the derivatives of a batch's expected loss, with repeated ids, by parameter."""
    parameters = architecture.initial_parameters(5, 4, 3.5, rng, np.float64)
    for value in parameters.values():  # not at the initial zeros
        value += 0.3 * rng.standard_normal(value.shape)
    objective = penalised(architecture, 5, 4, 0.1, dtype=np.float64)
    for variance in objective.variance.values():
        variance += rng.uniform(0, 0.3, variance.shape)
    objective.weight[:] = rng.uniform(0.5, 2, 6)
    engine = NumpyEngine(architecture, parameters, nn.Adam(), objective)
    users, items = rng.integers(0, 5, 12), rng.integers(0, 4, 12)
    ratings = rng.uniform(1, 5, 12)

    def with_same_signs(function: Callable[..., Any]) -> Any:
        engine._rng = np.random.default_rng(0)
        return function(users, items, ratings)

    _, gradients = with_same_signs(engine.loss_and_gradients)
    return nn.gradient_errors(lambda: with_same_signs(engine.expected_loss), parameters, gradients)


def precision(given: Any, results: Results) -> None:
    """Add a row for each architecture and precision."""
    ratings = load(given)
    for name in given.architectures:
        first: list[float] = []
        for precision in given.precisions:
            on_torch = {"engine": "torch", "device": given.device, "precision": precision}
            engine = {"engine": "numpy"} if precision == "numpy" else on_torch
            settings = engine | {"epochs": given.epochs or 30}
            errors, seconds = [], []
            for seed in range(given.seeds):
                model = nmf.NeuralMF(ARCHITECTURES[name], **settings, random_state=seed)
                split = nmf.random_split(ratings, random_state=seed)
                (run,) = nmf.cross_validate(lambda _, model=model: model, splits=[split]).runs
                errors.append(run.rmse)
                seconds.append(run.seconds)
            first = first or errors
            difference = np.array(errors) - first
            results.add(
                "precision", architecture=name, precision=precision, RMSE=np.mean(errors),
                difference=mean_and_error(difference), largest=difference[np.abs(difference).argmax()],
                seconds=np.mean(seconds),
            )  # fmt: skip


class FullShuffle(batches.Stretches):
    """Stretches of a new full shuffle in each epoch."""

    def epoch(self) -> Iterator[tuple[np.ndarray, ...]]:
        yield from batches.Batches(self._ratings, batches.STRETCH, self._rng).epoch()


def order(given: Any, results: Results) -> None:
    """Add a row for each order: validation RMSE by epoch, minus that of a full shuffle."""
    with large_file(given.ratings, given.n_ratings) as path:
        ratings = nmf.read_ratings(path, timestamps=False)
    found: dict[str, np.ndarray] = {}
    if given.one_by_one:
        for name, new_order in {"full shuffle": FullShuffle, "shuffled once": batches.Stretches}.items():
            loop.Stretches = new_order
            found[name] = rmse_by_epoch(ratings, given, **ONE_BY_ONE)
            show(name, found, results)
        return
    settings = {"architecture": nmf.B_MEDIUM, "batch_size": given.batch_size, "learning_rate": 0.005}
    for name, piece in [("full shuffle", None), *((f"pieces of {piece}", piece) for piece in given.pieces)]:
        batches.WINDOW, batches.PIECE = (2**62, 1) if piece is None else (given.window, piece)
        found[name] = rmse_by_epoch(ratings, given, **settings)
        show(name, found, results)


def rmse_by_epoch(ratings: nmf.Ratings, given: Any, **settings: Any) -> np.ndarray:
    """Return the validation RMSE, shape (n_seeds, n_epochs); the same seed holds out the same ratings."""
    settings |= {"epochs": given.epochs or 3, "engine": "numba"}
    losses = []
    for seed in range(given.seeds):
        split = nmf.random_split(ratings, 0.05, seed)
        losses.append(nmf.NeuralMF(random_state=seed, **settings).fit(*split).history_.validation_loss)
    return np.sqrt(losses)


def show(name: str, found: dict[str, np.ndarray], results: Results) -> None:
    """Add the row of the last order; the first has the RMSE, the others the paired difference."""
    first, own = next(iter(found.values())), found[name]
    paired = own - first
    cells = [
        f"{mean:.4f}" if own is first else f"{difference:+.4f} ± {deviation:.4f}"
        for mean, difference, deviation in zip(own.mean(0), paired.mean(0), paired.std(0), strict=True)
    ]
    results.add("order", order=name, **{f"epoch {n + 1}": cell for n, cell in enumerate(cells)})


QUESTIONS = {"gradients": gradients, "precision": precision, "order": order}


def main() -> None:
    small = {"architectures": ["B_MEDIUM"], "pieces": [1], "batch_size": 4096}
    parser = Parser(__doc__, n_ratings=20_000, seeds=1, epochs=2, **small)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("ratings", nargs="?", help="of precision and order; simulated if missing")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM", "C_WIDE"])
    parser.add_argument("--one-by-one", action="store_true", help="batches of one, shuffled once")
    parser.add_options(precisions=["float32", "numpy", "bfloat16", "float16"], device="cpu", epochs=0)
    parser.add_options(seeds=3, n_ratings=500_000, batch_size=512, window=2**15, pieces=[1, 16, 256, 2**12])
    given = parser.parse_args()
    QUESTIONS[given.question](given, Results(f"numerics_{given.question}", given))


if __name__ == "__main__":
    main()

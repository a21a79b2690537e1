"""What exactness costs and gains: derivatives, precision of products, order of the batches.

    python -m benchmarks.accuracy.numerics gradients
    python -m benchmarks.accuracy.numerics precision RATINGS --seeds 5
    python -m benchmarks.accuracy.numerics precision RATINGS --device cuda --precisions float32 tf32
    python -m benchmarks.accuracy.numerics order [RATINGS] --n-ratings 25000095 --window 1048576
    python -m benchmarks.accuracy.numerics order [RATINGS] --one-by-one --epochs 10

gradients  The largest relative error of each derivative against central differences, in float64.
precision  Test error on a random fifth by precision of the MLP's products. "difference" is to the first row
           with the same split and initial weights: mean, standard error, and the largest. Training magnifies
           rounding: "numpy" is the float32 of the NumPy engine, with other dropout masks, and shows how much.
order      Whether a windowed shuffle trains as a full shuffle does: validation RMSE by epoch. The ratings are
           sorted by user, so neighbours belong together; B_MEDIUM is trained in the order of one permutation,
           and in pieces of neighbours through windows (`numpy_neural_mf.data.batches`), in the proportion of
           25 million ratings by default. Long pieces show that the comparison can detect a difference. With
           --one-by-one: matrix factorisation, one rating at a time, on ratings that are shuffled once and
           whose stretches change their order, against a full shuffle in each epoch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Results, mean_and_error, new_parser
from benchmarks.scale.large_file import write_large_file

from numpy_neural_mf import (
    A_SMALL,
    B_MEDIUM,
    C_WIDE,
    Architecture,
    NeuralMF,
    Ratings,
    random_split,
    read_ratings,
)
from numpy_neural_mf.data import batches
from numpy_neural_mf.evaluation import rmse
from numpy_neural_mf.nn import (
    ACTIVATIONS,
    Activation,
    Adam,
    Dense,
    Embedding,
    Sequential,
    binary_cross_entropy,
    check_gradients,
    gradient_errors,
    huber,
    mae,
    mse,
)
from numpy_neural_mf.training import loop
from numpy_neural_mf.training.engines import NumpyEngine
from numpy_neural_mf.training.objective import Objective

ARCHITECTURES = {
    "A_SMALL": A_SMALL, "B_MEDIUM": B_MEDIUM, "C_WIDE": C_WIDE, "biased MF": Architecture(8),
}  # fmt: skip
ONE_BY_ONE = {
    "embedding_dim": 16, "hidden_layer_sizes": (), "batch_size": 1, "optimizer": "sgd",
    "learning_rate": 0.02, "regularization": 0.08,
}  # fmt: skip


def gradients(given: Any, results: Results) -> None:
    """A row for each layer, activation, loss and model, and the largest error of all."""
    largest = 0.0
    for name, errors in derivatives():
        error = max(errors.values())
        largest = max(largest, error)
        table = {
            "derivative": name,
            "largest relative error": f"{error:.1e}",
            "with respect to": ", ".join(errors),
        }
        results.add("gradients", **table)
    results.note("largest of all", f"{largest:.1e}")


def derivatives() -> Iterator[tuple[str, dict[str, float]]]:
    """Name and relative errors of each derivative."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5))

    def dense(n_in: int, n_out: int) -> Dense:
        return Dense(n_in, n_out, rng, dtype=np.float64)

    yield "Dense", check_gradients(dense(5, 3), x)
    ids = np.array([0, 3, 3, 5, 0])
    yield "Embedding, ids repeated", check_gradients(Embedding(6, 4, rng, dtype=np.float64), ids)
    for name, function in ACTIVATIONS.items():
        yield f"activation {name}", check_gradients(Activation(function), x)
        network = Sequential(dense(5, 8), Activation(function), dense(8, 2))
        yield f"two layers, {name}", check_gradients(network, x)
    target = rng.uniform(size=(7, 5))
    for loss in (mse, mae, huber, binary_cross_entropy):
        gradient = {"prediction": loss(x, target)[1]}
        value: Callable[[], float] = lambda loss=loss: loss(x, target)[0]  # noqa: E731
        yield f"loss {loss.__name__}", gradient_errors(value, {"prediction": x}, gradient)
    for name, architecture in ARCHITECTURES.items():
        yield f"whole model, {name}", model_errors(replace(architecture, dropout=0.0), rng)


def model_errors(architecture: Architecture, rng: np.random.Generator) -> dict[str, float]:
    """Loss and penalty of a batch with repeated ids, with respect to every parameter."""
    parameters = architecture.initial_parameters(5, 4, 3.5, rng, np.float64)
    for value in parameters.values():  # away from the zeros that training starts with
        value += 0.3 * rng.standard_normal(value.shape)
    penalties = Objective(np.full(6, 0.1), np.full(5, 0.2))
    engine = NumpyEngine(architecture, parameters, Adam(), penalties)
    users, items = rng.integers(0, 5, 12), rng.integers(0, 4, 12)
    ratings = rng.uniform(1, 5, 12)
    _, gradients = engine.loss_and_gradients(users, items, ratings)
    objective: Callable[[], float] = lambda: (  # noqa: E731
        mse(engine.predict(users, items), ratings)[0] + engine.penalty(users, items)
    )
    return gradient_errors(objective, parameters, gradients)


def precision(given: Any, results: Results) -> None:
    """A row for each architecture and precision."""
    ratings = read_ratings(given.ratings)
    for name in given.architectures:
        first: list[float] = []
        for precision in given.precisions:
            on_torch = {"engine": "torch", "device": given.device, "precision": precision}
            errors, seconds = [], []
            for seed in range(given.seeds):
                train, test = random_split(ratings, random_state=seed)
                engine = {"engine": "numpy"} if precision == "numpy" else on_torch
                model = NeuralMF(ARCHITECTURES[name], **engine, epochs=given.epochs or 30, random_state=seed)
                model.fit(train)
                errors.append(rmse(model.predict(test.raw_users, test.raw_items), test.values))
                seconds.append(sum(model.history_.seconds))
            first = first or errors
            difference = np.array(errors) - first
            results.add(
                "precision", architecture=name, precision=precision, RMSE=np.mean(errors),
                difference=mean_and_error(difference), largest=difference[np.abs(difference).argmax()],
                seconds=np.mean(seconds),
            )  # fmt: skip


def order(given: Any, results: Results) -> None:
    """A row for each order: validation RMSE by epoch, less that of a full shuffle."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(given.ratings or Path(folder, "ratings.csv"))
        if not path.exists():
            write_large_file(path, given.n_ratings)
        ratings = read_ratings(path, timestamps=False)
    found: dict[str, np.ndarray] = {}
    if given.one_by_one:
        orders = {
            "full shuffle": lambda ratings, rng, bins: batches.Batches(
                ratings, batches.STRETCH, rng, time_bins=bins
            ),
            "shuffled once": batches.Stretches,
        }
        for name, new_order in orders.items():
            loop.Stretches = new_order
            found[name] = rmse_by_epoch(ratings, given, **ONE_BY_ONE)
            show(name, found, results)
        return
    settings = {"architecture": B_MEDIUM, "batch_size": given.batch_size, "learning_rate": 0.005}
    for name, piece in [("full shuffle", None), *((f"pieces of {piece}", piece) for piece in given.pieces)]:
        batches.WINDOW, batches.PIECE = (2**62, 1) if piece is None else (given.window, piece)
        found[name] = rmse_by_epoch(ratings, given, **settings)
        show(name, found, results)


def rmse_by_epoch(ratings: Ratings, given: Any, **settings: Any) -> np.ndarray:
    """Validation RMSE of each seed, shape (n_seeds, n_epochs); the same seed holds out the same ratings."""
    losses = [
        NeuralMF(epochs=given.epochs or 3, engine="numba", patience=None, random_state=seed, **settings)
        .fit(ratings)
        .history_.validation_loss
        for seed in range(given.seeds)
    ]
    return np.sqrt(losses)


def show(name: str, found: dict[str, np.ndarray], results: Results) -> None:
    """The row of the last order; the first has the RMSE, the others the paired difference."""
    first, own = next(iter(found.values())), found[name]
    paired = own - first
    cells = [
        f"{mean:.4f}" if own is first else f"{difference:+.4f} ± {deviation:.4f}"
        for mean, difference, deviation in zip(own.mean(0), paired.mean(0), paired.std(0), strict=True)
    ]
    results.add("order", order=name, **{f"epoch {n + 1}": cell for n, cell in enumerate(cells)})


QUESTIONS = {"gradients": gradients, "precision": precision, "order": order}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("question", choices=QUESTIONS)
    parser.add_argument("ratings", nargs="?", help="of precision; of order, which makes a file if missing")
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["B_MEDIUM", "C_WIDE"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "numpy", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, help="by default 30, of order 3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-ratings", type=int, default=500_000)
    parser.add_argument("--window", type=int, default=2**15)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--pieces", type=int, nargs="+", default=[1, 16, 256, 2**12])
    parser.add_argument("--one-by-one", action="store_true", help="batches of one, shuffled once")
    given = parser.parse_args()
    if given.question == "precision" and not given.ratings:
        parser.error("precision needs RATINGS")
    settings = ("seeds", "epochs", "n_ratings", "window", "batch_size", "device")
    conditions = {} if given.question == "gradients" else {name: getattr(given, name) for name in settings}
    results = Results(f"numerics_{given.question}", given.output, **conditions)
    QUESTIONS[given.question](given, results)
    results.write()


if __name__ == "__main__":
    main()

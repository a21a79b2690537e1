"""What each ingredient of `NeuralMF` costs: ratings a second, by engine.

python benchmarks/ingredients.py [--engines NAME ...] [--device NAME] [--precision NAME] [--batch-size N]
    [--users N --items N --ratings N] [--epochs N] [--only NAME ...]

C_wide with one thing more each, on simulated ratings of MovieLens 1M's shape with times and a description of
each item. An epoch is one as `fit` runs it, without validation; told is the fastest of those after the first,
and how many times as long as the plain model of the same engine it took. A sequence takes the engine torch.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from harness import machine

from numpy_neural_mf import C_WIDE, Architecture, NeuralMF, Ratings, simulate_ratings

ATTENTION = replace(C_WIDE, sequence="attention", sequence_length=20)
FORMS = {
    "plain": C_WIDE,
    "features": replace(C_WIDE, features=True),
    "sets": replace(C_WIDE, implicit=True),
    "time": replace(C_WIDE, periods=24),
    "ordinal": replace(C_WIDE, likelihood="ordinal"),
    "features, sets, time": replace(C_WIDE, features=True, implicit=True, periods=24),
    "GRU of 20": replace(C_WIDE, sequence="gru", sequence_length=20),
    "attention of 20": ATTENTION,
    "attention, next item of 1,024": replace(ATTENTION, next_item_weight=1.0, negatives=1024),
}


def main() -> None:
    """Print the machine and a row for each form and engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=["numba", "torch"])
    parser.add_argument("--device", default="auto", help="of the engine torch")
    parser.add_argument("--precision", default="float32", help="of the engine torch")
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--ratings", type=int, default=1_000_209)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*FORMS], choices=FORMS, metavar="NAME")
    given = parser.parse_args()
    ratings = simulate_ratings(
        given.users, given.items, given.ratings, drift=0.4, side_information=1.0, random_state=0
    )
    print(machine("numpy", "torch" if "torch" in given.engines else "numba"))
    print(f"{ratings}, batches of {given.batch_size:,}, {given.device}\n")
    print("| engine | C_wide | M ratings/s | times as long |\n| --- | --- | --- | --- |")
    for engine in given.engines:
        plain = 0.0
        for name in given.only:
            if FORMS[name].sequence and engine != "torch":
                continue
            seconds = epoch(FORMS[name], engine, ratings, given)
            plain = plain or seconds
            print(
                f"| {engine} | {name} | {len(ratings) / seconds / 1e6:.3g} | {seconds / plain:.2g} |",
                flush=True,
            )


def epoch(form: Architecture, engine: str, ratings: Ratings, given: argparse.Namespace) -> float:
    """Seconds of one."""
    on_device = engine == "torch"
    model = NeuralMF(
        form,
        engine=engine,
        epochs=given.epochs,
        batch_size=given.batch_size,
        validation_fraction=0.0,
        device=given.device if on_device else "auto",
        precision=given.precision if on_device else "float32",
    )
    return min(model.fit(ratings).history_.seconds[1:])


if __name__ == "__main__":
    main()

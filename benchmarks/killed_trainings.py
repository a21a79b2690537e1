"""Kill trainings with SIGKILL again and again, and compare the model with that of an undisturbed one.

python -m benchmarks.killed_trainings [--trainings 5] [--seed 0]

Each training has a checkpoint and is killed at random times, as often as it takes to end; then its model must
be the same to the bit.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from numpy_neural_mf import load_model

PROGRAM = """
import sys
from numpy_neural_mf import BayesianMF, NeuralMF, simulate_ratings
name, folder, path = sys.argv[1:]
ratings = simulate_ratings(200, 100, 4_000, drift=0.3, random_state=0)
models = {
    "numpy": lambda: NeuralMF(periods=3, drift=True, epochs=20, engine="numpy"),
    "numba": lambda: NeuralMF(periods=3, drift=True, epochs=60, engine="numba"),
    "bayesian": lambda: BayesianMF(n_samples=60),
}
print("ready", flush=True)
models[name]().fit(ratings, checkpoint_dir=folder or None).save(path)
"""


def trained(name: str, folder: str, path: Path, most_seconds: float | None = None) -> bool:
    """Train in a process that is killed after `most_seconds`; returns whether the training had ended."""
    command = [sys.executable, "-c", PROGRAM, name, folder, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        if process.wait(most_seconds):
            raise RuntimeError(f"{name}: a training failed, with code {process.returncode}")
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    finally:
        process.stdout.close()


def same(a: Path, b: Path) -> bool:
    """Whether two models are the same to the bit; only the seconds of their histories may differ."""
    of_a, of_b = (load_model(path) for path in (a, b))
    parameters = of_b.parameters_
    return of_a.history_.train_loss == of_b.history_.train_loss and all(
        value.tobytes() == parameters[name].tobytes() for name, value in of_a.parameters_.items()
    )


def main() -> None:
    """Kill and compare, and print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainings", type=int, default=5, help="of each model")
    parser.add_argument("--seconds", type=float, default=2.0, help="until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, n_different = np.random.default_rng(given.seed), 0
    for name in ("numpy", "numba", "bayesian"):
        n_killed = n_same = 0
        with tempfile.TemporaryDirectory() as folder:
            undisturbed = Path(folder) / "undisturbed.safetensors"
            trained(name, "", undisturbed)
            for training in range(given.trainings):
                path, state = Path(folder) / f"{training}.safetensors", Path(folder) / f"state {training}"
                # Each try may take a little longer, so that the training ends some time.
                while not trained(name, str(state), path, rng.uniform(0.05, given.seconds) + 0.1 * n_killed):
                    n_killed += 1
                n_same += same(path, undisturbed)
        n_different += given.trainings - n_same
        print(f"{name}: {given.trainings} trainings, {n_killed} kills, {n_same} models the same to the bit")
    sys.exit(bool(n_different))


if __name__ == "__main__":
    main()

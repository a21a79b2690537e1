"""Kill trainings with SIGKILL repeatedly, and compare the model with that of an undisturbed training.

python -m benchmarks.killed_trainings

Each training has a checkpoint, and is killed at random times and resumed until it ends; then its model must
be the same to the bit. Trainings are repeated until there are enough kills.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.harness import Parser, Results

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
    """Train in a process that is killed after `most_seconds`; return whether the training had ended."""
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
    """Return whether two models are the same to the bit; only the seconds of their histories may differ."""
    of_a, of_b = (load_model(path) for path in (a, b))
    parameters = of_b.parameters_
    return of_a.history_.train_loss == of_b.history_.train_loss and all(
        value.tobytes() == parameters[name].tobytes() for name, value in of_a.parameters_.items()
    )


def main() -> None:
    """Kill trainings and compare models; print and save the counts."""
    parser = Parser(__doc__, kills=2)
    parser.add_options(kills=70, seconds=2.0, seed=1)
    given = parser.parse_args()
    results, rng, n_different = Results("killed_trainings", given), np.random.default_rng(given.seed), 0
    for name in ("numpy", "numba", "bayesian"):
        n_killed = n_trainings = n_same = 0
        with tempfile.TemporaryDirectory() as folder:
            undisturbed = Path(folder) / "undisturbed.safetensors"
            trained(name, "", undisturbed)
            while n_killed < given.kills:
                path, state = (Path(folder) / f"{n_trainings}.{end}" for end in ("safetensors", "state"))
                allowed = given.seconds
                # Each try may take a little longer, so that the training ends eventually.
                while not trained(name, str(state), path, rng.uniform(0.05, allowed)):
                    n_killed += 1
                    allowed += 0.2
                n_trainings += 1
                n_same += same(path, undisturbed)
        n_different += n_trainings - n_same
        counts = {"kills": n_killed, "trainings": n_trainings, "other models": n_trainings - n_same}
        results.add("Killed trainings", training=name, **counts)
    sys.exit(bool(n_different))


if __name__ == "__main__":
    main()

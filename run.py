"""Set the project up and run it, with nothing installed but Python.

python3 run.py compare [RATINGS] [OPTIONS]   set up, then run the comparison (any command of numpy-neural-mf)
python3 run.py test [PYTEST OPTIONS]         set up with the test dependencies, then run the tests
python3 run.py test --light [...]            the same without PyTorch: the tests that need it are skipped
python3 run.py check                         lint, types and the import contract
python3 run.py docs [FOLDER]                 set up, run the cells of the documents, build the site (in site/)

The environment is made in .venv, or where NUMPY_NEURAL_MF_VENV says, with the versions of constraints.txt.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("NUMPY_NEURAL_MF_VENV", ROOT / ".venv")).resolve()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
INTERRUPTED = 130
CHECKS = (
    ["ruff", "check", "--no-cache"],
    ["ruff", "format", "--check", "--no-cache"],
    ["mypy", f"--cache-dir={os.devnull}"],
    ["lint-imports", "--no-cache"],
)
# What is installed: extras, and in words with the space that it takes on disk.
FAST = ".[fast]", "NumPy, SciPy, scikit-learn, polars, matplotlib and Numba: about 700 MB on disk"
SERVE = (
    ".[fast,serve]",
    "NumPy, SciPy, scikit-learn, polars, matplotlib, Numba and FastAPI: about 750 MB on disk",
)
TUNE = ".[tune]", "NumPy, SciPy, scikit-learn, polars, matplotlib and Optuna: about 500 MB on disk"
LIGHT = ".[test]", "the package and what its tests need, without PyTorch: about 1,000 MB on disk"
DOCS = ".[docs]", "the package, all engines and Sphinx: about 2,000 MB on disk, more where PyTorch has CUDA"
DEV = ".[dev]", "the package and what its tests need: about 1,900 MB on disk, more where PyTorch has CUDA"
# Training these models compiles all kernels. Each line is trained in a process of its own.
COMPILE = """import numpy_neural_mf as nmf
for model in {}:
    model.fit(nmf.simulate_ratings(n_users=100, n_items=50, n_ratings=2_000))"""
COMPILED = (
    '[nmf.NeuralMF(nmf.C_WIDE, epochs=1, engine="numba")]',
    '[nmf.NeuralMF(hidden_layer_sizes=(), epochs=1, engine="numba"), nmf.BayesianMF(n_samples=1, burn_in=0)]',
)


def run(*commands: list[str | Path], **more: Path) -> int:
    """Run programs at the same time, and return the highest exit code; Ctrl-C reaches them, and gives 130."""
    processes, is_interrupted = [subprocess.Popen(command, **more) for command in commands], False
    for process in processes:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # the program says what it keeps
                is_interrupted = True
    return INTERRUPTED if is_interrupted else max(process.returncode for process in processes)


def set_up(requirement: str, words: str) -> int:
    """Install the package and some extras once; again only when its dependencies have changed."""
    stamp = VENV / f"installed-{requirement.strip('.[]')}"
    wanted = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    print(f"Installing {words}, into {VENV}", flush=True)
    if not shutil.which("pip", path=BIN):  # none yet, or one that was interrupted
        venv.create(VENV, with_pip=True)
    pip = [BIN / "python", "-u", "-m", "pip", "install", "--disable-pip-version-check"]
    code = run([*pip, "--constraint", "constraints.txt", "--editable", requirement], cwd=ROOT)
    if code == 0 and requirement in (FAST[0], SERVE[0]):
        print("Compiling what the models run, once: about ten seconds", flush=True)
        code = run(*([BIN / "python", "-c", COMPILE.format(models)] for models in COMPILED))
    if code == 0:
        stamp.write_text(wanted)
    return code


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs it has not installed it yet
        sys.exit(f"run.py: Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    command, *rest = arguments
    is_light = command == "test" and "--light" in rest
    kinds = {"test": LIGHT if is_light else DEV, "check": DEV, "docs": DOCS}
    kinds |= {"tune": TUNE, "serve": SERVE, "demo": SERVE}
    kind = kinds.get(command, FAST)
    if code := set_up(*kind):
        return code
    if command == "test":
        skipped = "; those that need PyTorch are skipped" if is_light else ""
        print(f"The tests take about 10 to 20 minutes with two cores{skipped}.", flush=True)
        # A process per core; the tests of a file share what is costly to make, and stay in one process.
        pytest = [BIN / "python", "-m", "pytest", "--numprocesses=auto", "--dist=loadfile"]
        return run([*pytest, *(one for one in rest if one != "--light")], cwd=ROOT)
    if command == "check":
        return max(run([BIN / check[0], *check[1:]], cwd=ROOT) for check in CHECKS)
    if command == "docs":
        site = Path(rest[0] if rest else "site").resolve()
        build = [BIN / "sphinx-build", "--fail-on-warning", "--quiet", "--builder", "html"]
        return run([*build, "docs", site], [*build, "docs/es", site / "es"], cwd=ROOT)
    return run([BIN / "numpy-neural-mf", *arguments])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

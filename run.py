"""Set the project up and run it, with nothing installed but Python.

python3 run.py compare [RATINGS] [OPTIONS]   set up, then run the comparison (any command of numpy-neural-mf)
python3 run.py test [PYTEST OPTIONS]         set up with the test dependencies, then run the tests
python3 run.py check                         lint, types and the import contract

The environment is made in .venv, or where NUMPY_NEURAL_MF_VENV says, with the versions of constraints.txt.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("NUMPY_NEURAL_MF_VENV", ROOT / ".venv")).resolve()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
CHECKS = (
    ["ruff", "check", "--no-cache"],
    ["ruff", "format", "--check", "--no-cache"],
    ["mypy", f"--cache-dir={os.devnull}"],
    ["lint-imports", "--no-cache"],
)


def set_up(requirement: str) -> None:
    """Install the package and the extras asked for once; again only when its dependencies have changed."""
    stamp = VENV / f"installed-{requirement.strip('.[]') or 'core'}"
    wanted = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not (VENV / "pyvenv.cfg").exists():
        venv.create(VENV, with_pip=True)
    print(f"Installing into {VENV} ...", flush=True)
    pip = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", "constraints.txt", "--editable", requirement], cwd=ROOT, check=True)
    stamp.write_text(wanted)


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs it has not installed it yet
        sys.exit(f"run.py: Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    command, *rest = arguments
    try:
        set_up({"test": ".[dev]", "check": ".[dev]", "tune": ".[tune]"}.get(command, ".[fast]"))
    except subprocess.CalledProcessError as error:
        return error.returncode
    if command == "test":
        return subprocess.run([BIN / "python", "-m", "pytest", *rest], cwd=ROOT).returncode
    if command == "check":
        return max(subprocess.run([BIN / check[0], *check[1:]], cwd=ROOT).returncode for check in CHECKS)
    return subprocess.run([BIN / "numpy-neural-mf", *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

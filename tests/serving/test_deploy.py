"""The service imports only the packages that it is deployed with."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {"matplotlib", "sklearn", "pandas", "polars", "numba", "torch"}


def test_serving_a_model_imports_no_package_that_is_not_deployed(folder, tmp_path):
    code = f"""
import sys
from fastapi.testclient import TestClient
from numpy_neural_mf.cli import entry
from numpy_neural_mf.serving import ServerSettings, create_app
app = create_app(ServerSettings(({str(folder / "films.safetensors")!r},), "sqlite:///{tmp_path}/s.sqlite",
                                titles={str(folder / "movies.csv")!r}))
with TestClient(app, "http://127.0.0.1") as client:
    newcomer = [{{"item": 1, "rating": 4}}]
    for path, body in [("recommend", {{"ratings": newcomer, "interval": 0.8, "reasons": 1}}),
                       ("predict", {{"pairs": [{{"user": 1, "item": 1}}]}}),
                       ("ratings", [{{"user": 1, "item": 1, "rating": 4}}])]:
        assert client.post("/v1/" + path, json=body).status_code == 200
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert HEAVY.intersection(done.stdout.split()) == set()


def test_the_packages_for_serving_are_pinned():
    needed = (ROOT / "deploy" / "requirements.txt").read_text().splitlines()[1:]
    pinned = {
        line.split("==")[0].replace("_", "-").lower()
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    assert {name.strip() for name in needed} <= pinned

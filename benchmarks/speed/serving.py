"""The service under load: requests per second and latencies at the client, versus implicit behind FastAPI.

    python -m benchmarks.speed.serving
    python -m benchmarks.speed.serving --users 20000 --items 5000 --seconds 5

The models have 160,000 users and 60,000 items of simulated ratings: matrix factorisation with biases and 32
factors, and B_medium. One worker serves on loopback; a separate row has two workers. wrk (Debian's package),
in its own process, requests for a random user each time a list of ten items, the ratings of ten pairs, or a
list of ten items for a new user with 20 ratings. At full rate, eight connections send requests without a
pause; at half rate, they pause for as long as that requires. "reload" replaces the model file each second
meanwhile. Latencies are over all requests, in milliseconds.
The baseline is `implicit` (extra bench) with the same number of factors, in a plain handler; its row is left
out if it is not installed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.harness import Parser, Results

from numpy_neural_mf import B_MEDIUM, NeuralMF, read_ratings, simulate_ratings

CONNECTIONS = 8
BODIES = {
    "recommend": ("/v1/recommend", """string.format('{"user": %d}', math.random(users))"""),
    "predict ten": ("/v1/predict", """string.format('{"pairs": [%s]}', ten(math.random(users)))"""),
    "fold in 20": ("/v1/recommend", """string.format('{"ratings": [%s]}', twenty())"""),
}
SCRIPT = """
math.randomseed(1)
users, items, pause = {users}, {items}, {pause}
function ten(user)
  local pairs = {{}}
  for i = 1, 10 do pairs[i] = string.format('{{"user": %d, "item": %d}}', user, math.random(items)) end
  return table.concat(pairs, ",")
end
function twenty()
  local rated, first = {{}}, math.random(items)
  for i = 1, 20 do
    local item = 1 + (first + i * i) % items
    rated[i] = string.format('{{"item": %d, "rating": %d}}', item, math.random(1, 5))
  end
  return table.concat(rated, ",")
end
function request()
  return wrk.format("POST", "{path}", {{["Content-Type"] = "application/json"}}, {body})
end
if pause > 0 then function delay() return pause end end
function done(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("RESULT %d %d %d %f %f %f\\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""


def main() -> None:
    parser = Parser(__doc__, users=2_000, items=500, seconds=1.0)
    parser.add_options(users=160_000, items=60_000, seconds=15.0)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("expected wrk, a load generator (Debian: apt-get install wrk), found none")
    results = Results("serving", given)
    some = simulate_ratings(given.users, given.items, 12 * given.users)
    ratings = read_ratings((some.users + 1, some.items + 1, some.values))  # ids without gaps
    given.users, given.items = ratings.n_users, ratings.n_items
    forms = {
        "biased MF": NeuralMF(embedding_dim=32, hidden_layer_sizes=(), epochs=1),
        "B_medium": NeuralMF(B_MEDIUM, epochs=1),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, model in forms.items():
            path = Path(folder, "model.safetensors")
            model.fit(ratings).save(path)
            of_service(name, path, given, results)
    if find_spec("implicit"):
        arguments = map(str, (given.users, given.items, 32))
        with server("-m", "benchmarks.plain_service", *arguments) as (port, _):
            full = load(port, "recommend", given)
            add(results, "implicit behind FastAPI", "recommend, full rate", full)


def of_service(name: str, path: Path, given: Any, results: Results) -> None:
    """Measure all rows of one model."""
    with server("-m", "numpy_neural_mf", "serve", str(path), "--port", "0") as (port, seconds):
        for kind in BODIES:
            full = load(port, kind, given)
            add(results, name, f"{kind}, full rate", full)
            pause = max(0.0, 2e3 * CONNECTIONS / full["rate"] - full["p50"] / 2)
            add(results, name, f"{kind}, half rate", load(port, kind, given, round(pause)))
        with replaced_each_second(path):
            add(results, name, "recommend, reload", load(port, "recommend", given))
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        resident = float(re.findall(r"^process_resident_memory_bytes (\S+)", metrics, re.MULTILINE)[0])
        results.add("processes", model=name, **{"s to start": seconds, "resident MB": resident / 1e6})
    with server("-m", "numpy_neural_mf", "serve", str(path), "--port", "0", "--workers", "2") as (port, _):
        load(port, "recommend", given)  # both are warm
        add(results, name, "recommend, two workers", load(port, "recommend", given))


def add(results: Results, model: str, request: str, found: dict[str, Any]) -> None:
    figures = {"requests/s": found["rate"], **{f"{p} ms": found[p] for p in ("p50", "p95", "p99")}}
    results.add("latency", model=model, request=request, **figures, failed=found["failed"])


@contextmanager
def server(*arguments: str) -> Iterator[tuple[int, float]]:
    """Start a server in its own process; yield its port and the seconds until it was ready."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        log = ""
        while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", log)):
            line = process.stderr.readline() if process.stderr else ""
            if not line:
                sys.exit(f"the server did not start: {log}")
            log += line
        threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        while process.poll() is None:  # several workers log it before the first of them listens
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/ready").read()
                break
        yield int(found[1]), time.perf_counter() - start
    finally:
        process.terminate()
        process.wait()


def load(port: int, kind: str, given: Any, pause: int = 0) -> dict[str, Any]:
    """Return requests per second, latencies in milliseconds and the number of failed requests, from wrk."""
    path, body = BODIES[kind]
    script = SCRIPT.format(users=given.users, items=given.items, pause=pause, path=path, body=body)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{given.seconds:g}s", "-s", file.name]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True)
    figures = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if figures is None:
        sys.exit(f"wrk: {done.stderr or done.stdout}")
    n, duration, failed, *percentiles = map(float, figures[1].split())
    found = {name: value / 1e3 for name, value in zip(("p50", "p95", "p99"), percentiles, strict=True)}
    return {"rate": n / duration * 1e6, "failed": int(failed), **found}


@contextmanager
def replaced_each_second(path: Path) -> Iterator[None]:
    """Replace the file by a copy of itself once per second."""
    ended = threading.Event()

    def replace() -> None:
        while not ended.wait(1):
            copy = path.with_name("copy.safetensors")
            shutil.copy(path, copy)
            copy.replace(path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main()

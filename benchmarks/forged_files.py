"""Damage files at random; count wrong acceptances, crashes, and reads that take too much memory or time.

python -m benchmarks.forged_files --files 100000

Model files, checkpoints, column caches and studies are made, damaged, and read. Each sort of file has its own
process, so that a segmentation fault is counted and ends only that process. There are two kinds of damage.
Either bytes of the file are changed, cut off or repeated: every change must be noticed. Or the content is
forged, with a correct digest, as by somebody who knows the format: it must be refused in a sentence or be
harmless in use.
"""

import json
import math
import multiprocessing
import shutil
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Parser, Results, memory
from safetensors import safe_open
from safetensors.numpy import save_file

from numpy_neural_mf import (
    BayesianMF,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    NeuralMF,
    NextItemModel,
    Ratings,
    load_model,
    read_ratings,
    simulate_ratings,
)
from numpy_neural_mf.data import column_cache
from numpy_neural_mf.models import files as model_file
from numpy_neural_mf.training import checkpoint

MOST_MB, MOST_SECONDS = 200, 5.0  # CPU seconds, so that a busy machine does not count as a fault of the file
OUTCOMES = (
    "refused", "harmless", "accepted wrongly", "crash", "hangs", f"above {MOST_MB} MB",
    f"above {MOST_SECONDS:.0f} s", "error of another kind", "error without the file",
)  # fmt: skip
# Values that programs rarely expect.
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**38, 10**400, 400_000_000, 0.5, 1e-320, -0.0, 1e39, 1e308,
    math.nan, math.inf, -math.inf, "", "numba", "../x", [], [1.0], [[1.0]], [1e39, 2e39], {},
)  # fmt: skip


def ratings() -> Ratings:
    """Return the ratings from which all models learn."""
    return simulate_ratings(20, 15, 120, drift=0.3, random_state=0)


FULL = {"embedding_dim": 3, "hidden_layer_sizes": (4,), "periods": 2, "drift": True, "implicit": True}
FULL["previous_item"] = True
QUICK = {"epochs": 2, "batch_size": 60}
MODELS: dict[str, Callable[[], Any]] = {
    "GlobalMean": GlobalMean,
    "LinearRegression": lambda: LinearRegression([1.0]),
    "ItemKNN": ItemKNN,
    "NeuralMF": lambda: NeuralMF(**FULL, **QUICK, engine="numpy"),
    "NeuralMF, ordinal": lambda: NeuralMF(
        embedding_dim=3, hidden_layer_sizes=(), likelihood="ordinal", **QUICK, engine="numpy"
    ),
    "BayesianMF": lambda: BayesianMF(3, n_samples=4, burn_in=2, rank=3, latent_clusters=2),
    "NextItemModel, attention": lambda: NextItemModel(embedding_dim=4, sequence_length=3, **QUICK),
    "NextItemModel, GRU": lambda: NextItemModel("gru", 3, sequence_length=4, **QUICK),
}
TRAININGS: dict[str, Callable[[], Any]] = {
    "NeuralMF, NumPy": lambda: NeuralMF(**FULL, **QUICK, engine="numpy"),
    "NeuralMF, Numba": lambda: NeuralMF(**FULL, **QUICK, engine="numba"),
    "BayesianMF": MODELS["BayesianMF"],
}


# Use of each kind of file: each function raises a documented error or returns normally.


def use_model(path: Path, of: str) -> None:
    """Load a model and use all of its methods."""
    model = load_model(path)
    users, items = model.user_ids_[:5], model.item_ids_[:5]
    n = min(len(users), len(items))
    model.recommend(users, n=3)
    model.ratings_.to_polars()
    lowest, highest = model.fitted_.rating_scale
    if isinstance(model, NextItemModel):
        model.recommend_after(items, n=3)
    else:
        for times in (None, np.arange(n) * 10**8):
            model.predict(users[:n], items[:n], times)
        model.explain(users[0], items[0])
        model.predict(model.fold_in({items[0]: (lowest + highest) / 2}), items)
    if hasattr(model, "predict_interval"):
        model.predict_interval(users[:n], items[:n])
        if len(model.rating_steps_):
            model.predict_distribution(users[:n], items[:n])
    more = np.full(n, highest), np.full(n, 2 * 10**9)
    model.partial_fit(Ratings.from_columns(users[:n], items[:n], *more, scale=(lowest, highest)))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "again")
        load_model(Path(folder) / "again")


def resume(path: Path, of: str) -> None:
    """Resume a training of this name from a checkpoint."""
    TRAININGS[of]().fit(ratings(), checkpoint_dir=path.parent)


def use_cache(path: Path, of: str) -> None:
    """Read ratings through this cache, which is used if intact and correctly rewritten otherwise."""
    found = read_ratings(path.with_suffix(""), cache=True)
    if not found.to_polars().equals(read_ratings(path.with_suffix("")).to_polars()):
        raise AssertionError("the cache was taken, and is wrong")


def use_study(path: Path, of: str) -> None:
    """Open a study and ask it for a trial."""
    from numpy_neural_mf.tuning.study import (
        as_settings,
        finished_trials,
        next_trial,
        open_study,
        search_space,
    )

    study = open_study(path, "this", 1, search_space(None))
    for trial in finished_trials(study):
        as_settings(trial.params)
    next_trial(study, search_space(None), {}, 0)


# Damage.


def damaged_bytes(path: Path, rng: np.random.Generator) -> None:
    """Change some bits, cut the file off, or repeat a part of it."""
    data = bytearray(path.read_bytes())
    header = min(len(data), 8 + int.from_bytes(data[:8], "little")) if rng.integers(2) else len(data)
    place = int(rng.integers(max(header, 1)))
    match rng.integers(4):
        case 0:
            del data[place:]
        case 1:
            data[place:place] = data[place : place + int(rng.integers(1, 99))] or b"\0"
        case 2:
            data[place : place + 8] = rng.bytes(8)
        case _:
            data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def damaged_json(value: Any, rng: np.random.Generator) -> Any:
    """Return the content with one value replaced, left out, or repeated often."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[int(rng.integers(len(keys)))]
        if rng.random() < 0.1:
            del value[key]
        else:
            value[key] = damaged_json(value[key], rng)
        return value
    if isinstance(value, list) and rng.random() < 0.3:
        return [*value, *value] or [1] * 100_000
    return STRANGE[int(rng.integers(len(STRANGE)))]


def damaged_array(array: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return the array with another shape, dtype, or element."""
    array = array.copy()
    match rng.integers(6):
        case 0:
            return array[: int(rng.integers(len(array) + 1))] if array.ndim else np.zeros(3)
        case 1:
            return array.astype([np.float32, np.float64, np.int32, np.int64][int(rng.integers(4))])
        case 2:
            return array.reshape(-1) if array.ndim > 1 else array[..., None]
        case 3:
            return np.concatenate([array, array]) if array.ndim else array
        case _ if array.size:
            strange = [0, -1, 1, 10**6, 2**31 - 1, -(2**31)]
            if array.dtype.kind == "f":
                strange += [math.nan, math.inf, 3e38, -3e38, 1e-45]
            with np.errstate(over="ignore"):
                value = np.array(strange[int(rng.integers(len(strange)))]).astype(array.dtype)
            array.reshape(-1)[int(rng.integers(array.size))] = value
    return array


def forge_tensors(tensors: dict[str, Any], rng: np.random.Generator) -> None:
    """Damage one array, leave it out, or add another."""
    name = sorted(tensors)[int(rng.integers(len(tensors)))]
    match rng.integers(10):
        case 0:
            del tensors[name]
        case 1:
            tensors[f"{name}.more"] = tensors[name]
        case _:
            tensors[name] = damaged_array(tensors[name], rng)


def forge_model(path: Path, rng: np.random.Generator) -> None:
    """Forge a model file with a correct digest."""
    description, tensors = model_file.read(path)
    if rng.integers(2):
        description = damaged_json(description, rng)
    else:
        forge_tensors(tensors, rng)
    text = json.dumps(description)
    sha256 = model_file.digest(text, tensors)
    save_file(tensors, path, {"numpy-neural-mf": "3", "description": text, "sha256": sha256})


def forge_checkpoint(path: Path, rng: np.random.Generator) -> None:
    """Forge a checkpoint with a correct digest."""
    with safe_open(path, "np") as file:
        state = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if rng.integers(3):
        forge_tensors(tensors, rng)
    else:
        state = damaged_json(state, rng)
    forms = {name: (array.dtype, array.shape) for name, array in tensors.items()}
    checkpoint.write_file(path, forms, lambda name: iter([tensors[name]]), state)


def forge_cache(path: Path, rng: np.random.Generator) -> None:
    """Forge the header of a column cache, with a correct checksum of the header only."""
    header, _, rest = path.read_bytes().partition(b"\n")
    metadata = damaged_json(json.loads(header), rng)
    if isinstance(metadata, dict) and not metadata.get("arrays"):
        metadata.pop("checksum", None)
        metadata["checksum"] = zlib.crc32(json.dumps(metadata).encode())
    path.write_bytes(json.dumps(metadata).encode() + b"\n" + rest)


def forge_study(path: Path, rng: np.random.Generator) -> None:
    """Change one line of a journal."""
    lines = path.read_text().splitlines()
    at = int(rng.integers(len(lines)))
    lines[at] = json.dumps(damaged_json(json.loads(lines[at]), rng))
    path.write_text("\n".join(lines) + "\n")


def make_files(folder: Path) -> dict[str, Path]:
    """Make intact files, by the name of their case: kind of file and model."""
    paths: dict[str, Path] = {}
    for name, new in MODELS.items():
        paths[f"model file: {name}"] = path = folder / f"model {name}" / "model.safetensors"
        new().fit(ratings()).save(path)
    for name, new in TRAININGS.items():
        paths[f"checkpoint: {name}"] = path = folder / f"checkpoint {name}" / checkpoint.FILE
        with suppress(InterruptedError):
            new().fit(ratings(), on_progress=_stop_late, checkpoint_dir=path.parent)
        if not path.exists():  # with this number of samples, the state is saved only after the last
            new().fit(ratings(), checkpoint_dir=path.parent)
    source = folder / "cache" / "ratings.csv"
    source.parent.mkdir()
    ratings().to_polars().write_csv(source)
    read_ratings(source, cache=True)
    paths["column cache"] = column_cache.store_path(source)
    paths["study"] = path = folder / "study" / "study.journal"
    _make_study(path)
    return paths


def _make_study(path: Path) -> None:
    from numpy_neural_mf.tuning.study import next_trial, open_study, search_space

    study = open_study(path, "this", 1, search_space(None))
    for value in (1.0, 0.9):
        trial = next_trial(study, search_space(None), {}, 0)
        trial.report(value, 1)
        study.tell(trial, value)


# Functions that use and forge each kind of file.
USES: dict[str, tuple[Callable[[Path, str], None], Callable[[Path, np.random.Generator], None]]] = {
    "model file": (use_model, forge_model),
    "checkpoint": (resume, forge_checkpoint),
    "column cache": (use_cache, forge_cache),
    "study": (use_study, forge_study),
}


def _stop_late(progress: Any) -> None:
    if progress.epoch == 2:
        raise InterruptedError


def outcome(sound: Path, name: str, kind: str, seed: int) -> str:
    """Return the outcome of one damaged file: "refused", "harmless", or a fault."""
    what, _, of = name.partition(": ")
    use, forge = USES[what]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(sound.parent, folder, dirs_exist_ok=True)
        path, rng = Path(folder) / sound.name, np.random.default_rng(seed)
        if use is use_cache:  # the identity of a source has its path and its time
            path = sound
        before = sound.read_bytes()
        try:
            (damaged_bytes if kind == "damaged" else forge)(path, rng)
            same = path.read_bytes() == before
            start, resident = time.process_time(), _memory_from_here()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    use(path, of)
                    found = "harmless"
                except (ValueError, OSError) as error:
                    # One sentence that names the file; everything else is a fault.
                    found = "refused" if str(path) in str(error) else f"error without the file: {error!r}"
                except FloatingPointError:
                    found = "harmless"  # the training reports that it diverged
                except Exception as error:
                    found = f"error of another kind: {error!r}"
            if time.process_time() - start > MOST_SECONDS:
                found = f"above {MOST_SECONDS:.0f} s"
            if memory("VmHWM") - resident > MOST_MB:
                found = f"above {MOST_MB} MB"
        finally:
            sound.write_bytes(before)
    # Caches and studies are repaired: a cache is rewritten, and the trial of a cut line is repeated.
    if kind == "damaged" and found == "harmless" and not same and use not in (use_cache, use_study):
        found = "accepted wrongly"
    return found


def _memory_from_here() -> float:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak restarts
    return memory("VmRSS")


def _work(paths: dict[str, Path], connection: Any) -> None:
    import torch  # noqa: F401 - its memory is not that of a file

    while (job := connection.recv()) is not None:
        connection.send(outcome(paths[job[0]], *job))


def run(paths: dict[str, Path], files: int, minutes: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Try files up to a number or a time in a process that may crash; return counts by outcome and faults."""
    context = multiprocessing.get_context("spawn")
    rng, counts, faults = np.random.default_rng(seed), Counter[str](), list[str]()
    names, end, process = sorted(paths), time.monotonic() + 60 * minutes, None
    while counts.total() < files and time.monotonic() < end:
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(paths, theirs), daemon=True)
            process.start()
            theirs.close()
        name = names[int(rng.integers(len(names)))]
        job = name, ("damaged", "forged")[int(rng.integers(2))], int(rng.integers(2**31))
        ours.send(job)
        try:
            found = ours.recv() if ours.poll(60) else "hangs"
        except EOFError:
            found = "crash"
        if found in ("hangs", "crash"):
            process.kill()
            process = None
        short = found.partition(":")[0]
        counts[short] += 1
        if short not in ("refused", "harmless"):
            faults.append(f"{job}: {found[:300]}")
    if process is not None:
        ours.send(None)
        process.join(10)
    return counts, faults


def main() -> None:
    """Damage files of each sort; print and save the counts."""
    parser = Parser(__doc__, files=50)
    parser.add_options(files=1000, minutes=600.0, seed=1)
    given = parser.parse_args()
    results, n_faults = Results("forged_files", given), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        paths = make_files(Path(folder))
        of_sort = {
            sort: {n: path for n, path in paths.items() if n.partition(": ")[0] == sort} for sort in USES
        }
        limits = given.files, given.minutes, given.seed
        runs = {sort: pool.submit(run, of_sort[sort], *limits) for sort in USES}
        for sort, running in runs.items():
            counts, faults = running.result()
            n_faults += len(faults)
            figures = {found: counts[found] for found in OUTCOMES}
            results.add("Damaged and forged files", sort=sort, files=counts.total(), **figures)
            print(*faults[:50], sep="\n", end="\n" if faults else "")
    sys.exit(bool(n_faults))


if __name__ == "__main__":
    main()

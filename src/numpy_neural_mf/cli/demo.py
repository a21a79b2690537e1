"""Get ratings, train two models and serve the page, in one command: numpy-neural-mf demo."""

import json
import re
import threading
import time
import webbrowser
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from typer import Argument

from ..comparison.experiments import ratings_here
from ..data import DATASETS, Ratings, read_ratings, simulate_ratings
from ..data.datasets.invented_titles import invented_titles
from ..models import NeuralMF
from ..training.progress_bar import ProgressBar
from ..utils.extras import naming_the_extra
from .data import downloaded
from .options import Settings, option, switch
from .output import fail, log, remark, say, stderr

SET = "ml-latest-small"
MODELS: dict[str, dict[str, Any]] = {"biased_mf": {"hidden_layer_sizes": ()}, "C_wide": {}}
FOLDER = Argument(help="Folder for the data and the models.", file_okay=False)
DOWNLOAD = option(None, "Whether MovieLens may be downloaded.", "--download/--no-download")


class Data(NamedTuple):
    """Ratings to show, with titles; a description of the data; and their file, if they have one."""

    ratings: Ratings
    about: dict[str, str]
    file: Path | None


def demo(
    folder: Annotated[Path, FOLDER] = Path("demo"),
    port: Annotated[int, option(None, "Port of the page.", min=1, max=65_535)] = 8000,
    download: Annotated[bool, DOWNLOAD] = True,
    open_browser: Annotated[bool, switch(None, "Open the page in the browser.", "--open")] = False,
    settings: Settings = None,
) -> None:  # fmt: skip
    """Train two models and serve the page on which you rate items and get recommendations.

    The ratings are ratings.csv here or in $NUMPY_NEURAL_MF_DATA, or else
    MovieLens, which is downloaded, or else simulated ratings of invented films.

    numpy-neural-mf demo
    numpy-neural-mf demo --no-download --open
    """
    with naming_the_extra("serve", "serve"):
        from ..serving import ServerSettings, serve
    data = _data(folder, download)
    log(f"{data.about.get('data') or data.file}: {data.ratings}")
    home = folder / (data.file.parent.resolve().name if data.file else "simulated")
    about = home / "about.json"
    models = [_trained(name, home, data) for name in MODELS]
    about.write_text(json.dumps(data.about), "utf-8")
    address = f"http://127.0.0.1:{port}/"
    if open_browser:
        threading.Thread(target=_open, args=[address], daemon=True).start()
    say(f"Serving {address}, until Ctrl-C")
    serve(ServerSettings(tuple(map(str, models)), about=str(about), port=port))


def _data(folder: Path, download: bool) -> Data:
    """Return the ratings found here, else those of MovieLens, else simulated ones."""
    if found := ratings_here():
        return _read(found)
    if download or (folder / SET).exists():
        log(f"MovieLens {SET} into {folder}: {DATASETS[SET].licence}")
        try:
            return _read(downloaded(SET, folder) / "ratings.csv")
        except OSError as error:
            remark(f"{error}; ratings are simulated instead")
    ratings = simulate_ratings(n_users=1_500, n_items=600, n_ratings=60_000)
    items = ratings.item_ids.tolist()
    ratings = ratings.with_titles(dict(zip(items, invented_titles(len(items)), strict=True)))
    return Data(ratings, {"data": "Simulated ratings of films that do not exist", "items": "films"}, None)


def _read(path: Path) -> Data:
    """Read a file of ratings; next to a movies.csv it is a MovieLens set, which its README names."""
    ratings, about = read_ratings(path), {"items": "items"}
    if (titles := path.with_name("movies.csv")).is_file():
        ratings = ratings.with_titles(titles)
        readme = path.with_name("README.txt")
        name = re.search(r"ml-[\w-]*\w", readme.read_text("utf-8", "replace")) if readme.is_file() else None
        known = DATASETS.get(name[0]) if name else None
        about = {"items": "films", "data": f"MovieLens {name[0] if name else ''}".strip()}
        about |= {"licence": known.licence if known else "that of its README"}
        about |= {"citation": DATASETS[SET].citation}
    return Data(ratings, about, path)


def _trained(name: str, home: Path, data: Data) -> Path:
    """Train a model and save it, unless its file is newer than the ratings; return the path of the file."""
    path = home / f"{name}.safetensors"
    if path.is_file() and (data.file is None or path.stat().st_mtime > data.file.stat().st_mtime):
        log(f"{path} exists already")
        return path
    model = NeuralMF(**MODELS[name])
    begun = time.perf_counter()
    try:
        with ProgressBar(1, stderr()) as bar:
            bar.start_run(f"training {name}")
            model.fit(data.ratings, on_progress=bar.on_progress)
            bar.end_run()
    except KeyboardInterrupt:
        fail(f"interrupted: {path} was not written", code=130)
    model.save(path)
    log(f"Trained {name} in {time.perf_counter() - begun:.0f} seconds: {path}")
    return path


def _open(address: str) -> None:
    """Open the page in the browser as soon as it is served."""
    for _ in range(600):
        try:
            urlopen(f"{address}ready", timeout=1).close()
            break
        except (URLError, OSError):
            time.sleep(0.1)
    webbrowser.open(address)

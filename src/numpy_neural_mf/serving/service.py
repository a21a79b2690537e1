"""The state of a server: the models, reloaded when their files are replaced, and the ratings store."""

import logging
from pathlib import Path

from pydantic import ValidationError

from .metrics import RELOADS, WRITTEN
from .problems import RequestError
from .schemas import About
from .served_model import ServedModel, stamp_of
from .settings import ServerSettings
from .store import RatingsStore, store_beside
from .titles import read_titles

logger = logging.getLogger(__name__)


class Service:
    """Models by name, the first of them the default, and the ratings store."""

    def __init__(self, settings: ServerSettings) -> None:
        paths = [Path(path) for path in settings.models]
        if len({path.stem for path in paths}) < len(paths):
            raise ValueError("expected model files of different names, found the same twice")
        self.about = read_about(settings.about) if settings.about else About()
        self._titles = read_titles(settings.titles) if settings.titles else None
        self.models = {path.stem: self._load(path) for path in paths}
        self.store = RatingsStore(settings.store or store_beside(paths[0]))
        self._refused: dict[str, object] = {}

    def find(self, name: str | None) -> ServedModel:
        """Return the model of this name, by default the first model."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RequestError(404, "model", f"expected one of {', '.join(self.models)}")
        return self.models[name]

    def reload(self) -> None:
        """Load the files that were replaced; if one cannot be read, keep the old model."""
        for name, old in list(self.models.items()):
            try:
                stamp = stamp_of(old.path)
                if stamp in (old.stamp, self._refused.get(name)):
                    continue
                self._refused[name] = stamp
                self.models[name] = self._load(old.path)
                result = "done"
                logger.info("%s was reloaded", old.path)
            except (OSError, ValueError, MemoryError) as error:
                result = "failed"
                logger.error("%s was not reloaded: %s", old.path, error)
            RELOADS.labels(result).inc()

    def _load(self, path: Path) -> ServedModel:
        served = ServedModel.load(path, self._titles)
        WRITTEN.labels(served.name).set(served.stamp[1] / 1e9)
        return served


def read_about(path: str) -> About:
    """Read a JSON file about the data; raise ValueError if its content is invalid."""
    try:
        return About.model_validate_json(Path(path).read_bytes())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "the file"
        raise ValueError(f"{path}: {where}: {error.errors()[0]['msg']}") from error

"""A service over HTTP: predictions, top-N lists, explanations, and a store of new ratings (extra "serve")."""

from .app import create_app
from .server import serve
from .settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve"]

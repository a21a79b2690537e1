"""El sitio en español: la configuración es la del inglés, con otra lengua."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from conf import *  # noqa: F403

language = "es"
exclude_patterns: list[str] = []

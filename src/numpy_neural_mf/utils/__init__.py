"""General tools that do not depend on ratings: atomic files, safetensors files, checks of settings, threads."""

__all__: list[str] = []

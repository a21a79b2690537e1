"""General tools without ratings: atomic files, safetensors files, checks of settings, threads."""

__all__: list[str] = []

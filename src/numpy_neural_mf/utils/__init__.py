"""Small tools that know nothing of ratings: atomic files, safetensors files, checks of settings, threads."""

__all__: list[str] = []

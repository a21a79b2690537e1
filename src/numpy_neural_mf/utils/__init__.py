"""Small tools that know nothing of ratings: files written whole, and arrays in safetensors files."""

__all__: list[str] = []

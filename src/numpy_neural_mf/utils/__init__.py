"""Small tools that know nothing of ratings: atomic files, arrays in safetensors files, checks of settings."""

"""Data sets: MovieLens by name, and simulated ratings whose irreducible error is known."""

from .movielens import MOVIELENS, MovieLensSet, download_movielens
from .synthetic import simulate_ratings

__all__ = ["MOVIELENS", "MovieLensSet", "download_movielens", "simulate_ratings"]

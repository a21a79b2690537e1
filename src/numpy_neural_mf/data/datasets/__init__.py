"""Data sets: MovieLens by name, and simulated ratings whose irreducible error is known."""

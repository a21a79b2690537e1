"""How good predictions are: pure functions of numbers."""

from .metrics import mae, rmse

__all__ = ["mae", "rmse"]

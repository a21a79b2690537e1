"""The search for hyper-parameters: trials judged on ratings held out of those given."""

from .search import Tuning, TuningProgress, tune

__all__ = ["Tuning", "TuningProgress", "tune"]

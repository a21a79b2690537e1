"""Ratings in: read, simulated, split; this part knows nothing of models."""

from .datasets import DATASETS, DataSet, download_dataset, simulate_ratings
from .faults import RatingsError
from .features import Features, read_features
from .ratings import Ratings
from .readers import read_ratings
from .splits import k_fold, leave_last_out, random_split, time_split, user_split
from .summary import RatingsSummary, summarize

__all__ = [
    "DATASETS", "DataSet", "Features", "Ratings", "RatingsError", "RatingsSummary", "download_dataset",
    "k_fold", "leave_last_out", "random_split", "read_features", "read_ratings", "simulate_ratings",
    "summarize", "time_split", "user_split",
]  # fmt: skip

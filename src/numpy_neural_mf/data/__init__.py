"""Reading, simulating and splitting ratings; this package does not depend on models."""

from .datasets import DATASETS, DataSet, download_dataset, simulate_ratings
from .faults import RatingsError
from .features import Features, FeaturesLike, read_features
from .ratings import Ratings
from .readers import RatingsLike, read_ratings
from .splits import k_fold, leave_last_out, random_split, time_split, user_split
from .summary import RatingsSummary, summarize

__all__ = [
    "DATASETS", "DataSet", "Features", "FeaturesLike", "Ratings", "RatingsError", "RatingsLike",
    "RatingsSummary", "download_dataset", "k_fold", "leave_last_out", "random_split", "read_features",
    "read_ratings", "simulate_ratings", "summarize", "time_split", "user_split",
]  # fmt: skip

"""Neural matrix factorisation for ratings, from a neural network written by hand in NumPy."""

from .comparison.cross_validation import cross_validate
from .comparison.experiments import run_experiments
from .comparison.results import Comparison
from .data import (
    Features,
    Ratings,
    RatingsError,
    k_fold,
    leave_last_out,
    random_split,
    read_features,
    read_ratings,
    simulate_ratings,
    time_split,
    user_split,
)
from .evaluation import evaluate
from .mf.architecture import A_SMALL, B_MEDIUM, C_WIDE, Architecture
from .models import (
    BayesianMF,
    GlobalMean,
    ItemKNN,
    LinearRegression,
    ModelFileError,
    NeuralMF,
    NextItemModel,
    load_model,
)
from .nn import NeuralNetwork, check_gradients
from .tuning.search import Tuning, tune

__all__ = [
    "A_SMALL", "B_MEDIUM", "C_WIDE", "Architecture", "BayesianMF", "Comparison", "Features", "GlobalMean",
    "ItemKNN", "LinearRegression", "ModelFileError", "NeuralMF", "NeuralNetwork", "NextItemModel", "Ratings",
    "RatingsError", "Tuning", "check_gradients", "cross_validate", "evaluate", "k_fold", "leave_last_out",
    "load_model", "random_split", "read_features", "read_ratings", "run_experiments", "simulate_ratings",
    "time_split", "tune", "user_split",
]  # fmt: skip

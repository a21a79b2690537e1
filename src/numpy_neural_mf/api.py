"""The public names, which `numpy_neural_mf` imports at the first use of one of them."""

from typing import TYPE_CHECKING

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
from .nn import check_gradients
from .tuning.search import Tuning, tune

if TYPE_CHECKING:
    from .models.rating_regressor import RatingRegressor
    from .nn import NeuralNetwork
else:

    def __getattr__(name):
        """Import at its first use what needs scikit-learn."""
        from . import nn

        if name == "RatingRegressor":
            from .models.rating_regressor import RatingRegressor

            return RatingRegressor
        return getattr(nn, name)


__all__ = [
    "A_SMALL", "B_MEDIUM", "C_WIDE", "Architecture", "BayesianMF", "Comparison", "Features", "GlobalMean",
    "ItemKNN", "LinearRegression", "ModelFileError", "NeuralMF", "NeuralNetwork", "NextItemModel",
    "RatingRegressor", "Ratings", "RatingsError", "Tuning", "check_gradients", "cross_validate", "evaluate",
    "k_fold", "leave_last_out", "load_model", "random_split", "read_features", "read_ratings",
    "run_experiments", "simulate_ratings", "time_split", "tune", "user_split",
]  # fmt: skip

"""The models: neural matrix factorisation and the baselines, with a common interface."""

from .base import Recommender
from .baselines import GlobalMean, LinearRegression
from .bayesian_mf import BayesianMF
from .explain import Explanation, Reason
from .files import ModelFileError
from .fold_in import NewItem, NewUser
from .item_knn import ItemKNN
from .loading import load_model
from .neural_mf import NeuralMF
from .next_item import NextItemModel

__all__ = [
    "BayesianMF", "Explanation", "GlobalMean", "ItemKNN", "LinearRegression", "ModelFileError", "NeuralMF",
    "NewItem", "NewUser", "NextItemModel", "Reason", "Recommender", "load_model",
]  # fmt: skip

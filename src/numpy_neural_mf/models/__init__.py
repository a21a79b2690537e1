"""What users hold: neural matrix factorisation and the baselines, under one contract."""

from .base import Recommender
from .baselines import GlobalMean, LinearRegression
from .loading import load_model
from .model_file import ModelFileError
from .neural_mf import NeuralMF

__all__ = ["GlobalMean", "LinearRegression", "ModelFileError", "NeuralMF", "Recommender", "load_model"]

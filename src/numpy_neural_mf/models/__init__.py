"""What users hold: neural matrix factorisation and the baselines, under one contract."""

from .base import Recommender
from .baselines import GlobalMean, LinearRegression
from .neural_mf import NeuralMF

__all__ = ["GlobalMean", "LinearRegression", "NeuralMF", "Recommender"]

"""Comparison of models on the same splits: cross-validation, experiments, their results and conclusions."""

from .cross_validation import cross_validate
from .experiments import run_experiments
from .page import comparison_report
from .results import Comparison

__all__ = ["Comparison", "comparison_report", "cross_validate", "run_experiments"]

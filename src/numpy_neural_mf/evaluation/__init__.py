"""Evaluation: rating and ranking metrics, evaluation on held-out ratings, and significance."""

from .held_out import (
    evaluate,
    evaluate_ranking,
    evaluate_ratings,
    relevance_threshold,
    require_held_out,
    seen_rows,
    warm_rows,
)
from .ranking_metrics import (
    average_precision_at_k,
    catalogue_coverage,
    gini,
    hit_rate_at_k,
    mean_over_users,
    ndcg_at_k,
    novelty,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)
from .rating_metrics import Calibration, calibration, fcp, mae, mae_per_user, r2, rmse, rmse_per_user
from .results import Errors, Evaluation, RankingQuality, RatingErrors
from .significance import Estimate, PairedDifference, holm, mean_over_splits, paired_difference

__all__ = [
    "Calibration", "Errors", "Estimate", "Evaluation", "PairedDifference", "RankingQuality", "RatingErrors",
    "average_precision_at_k", "calibration", "catalogue_coverage", "evaluate", "evaluate_ranking",
    "evaluate_ratings", "fcp", "gini", "hit_rate_at_k", "holm", "mae", "mae_per_user", "mean_over_splits",
    "mean_over_users", "ndcg_at_k", "novelty", "paired_difference", "precision_at_k", "r2", "recall_at_k",
    "reciprocal_rank_at_k", "relevance_threshold", "require_held_out", "rmse", "rmse_per_user", "seen_rows",
    "warm_rows",
]  # fmt: skip

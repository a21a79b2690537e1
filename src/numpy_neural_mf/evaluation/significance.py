"""Significance of differences between models: confidence intervals and paired tests over splits.

The sampling unit is the split. Test ratings of one split are not independent, since they share a training
part, nor are models that differ only in their seed. Splits of the same ratings overlap, so they are not
independent either, and the plain t-test finds too many differences significant; Nadeau and Bengio's
correction increases the variance accordingly.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Estimate:
    """A mean over splits, NaN without splits, and its confidence interval from `low` to `high`.

    With fewer than two splits there is no variance, and the ends of the interval are NaN.
    """

    n_splits: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference(Estimate):
    """The mean difference between two models on the same splits, tested against no difference.

    `p_value` is two-sided, and 1 if the models do not differ on any split. `effect_size` is Cohen's d_z, the
    mean of the differences divided by their standard deviation; infinite if all are equal and not 0. Both are
    NaN with fewer than two splits. The other fields are as in `Estimate`, in the unit of the error.
    """

    p_value: float
    effect_size: float


def mean_over_splits(errors: ArrayLike, test_to_train: float, confidence: float = 0.95) -> Estimate:
    """Return the mean of an error over splits of the same ratings, with its confidence interval.

    The interval is that of the corrected resampled t-test: if s² is the variance over n splits, the variance
    of the mean is (1/n + n_test/n_train) s², since training parts overlap, with n - 1 degrees of freedom
    (Nadeau and Bengio, "Inference for the generalization error", *Machine Learning* 52, 2003, section 5).
    Raises ValueError if `errors` is not one-dimensional and finite, or a number is out of range.

    Parameters
    ----------
    errors : array-like of shape (n_splits,), the error on each split, averaged over its seeds
    test_to_train : float; n_test / n_train: 1/4 if a fifth is held out, 1/(k - 1) for k folds, 0 for splits
        without common ratings
    confidence : float, default 0.95
    """
    x = _errors(errors)
    if not 0 <= test_to_train < math.inf:
        raise ValueError(f"test_to_train: expected a ratio of at least 0, found {test_to_train}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a share above 0 and below 1, found {confidence}")
    if len(x) < 2:
        return Estimate(len(x), float(x[0]) if len(x) else math.nan, math.nan, math.nan)
    mean = float(x.mean())
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(x) - 1)) * _standard_error(x, test_to_train)
    return Estimate(len(x), mean, mean - half, mean + half)


def paired_difference(
    errors: ArrayLike, others: ArrayLike, test_to_train: float, confidence: float = 0.95
) -> PairedDifference:
    """Test ``errors - others``, split by split, by Nadeau and Bengio's corrected resampled t-test (2003).

    t = mean(d) / √((1/n + n_test/n_train) s²), where d are the n differences and s² is their variance, with
    n - 1 degrees of freedom. If `test_to_train` is 0, this is the paired t-test. Parameters and errors are
    those of `mean_over_splits`; both models have errors on the same splits.
    """
    a, b = _errors(errors), _errors(others)
    if a.shape != b.shape:
        raise ValueError(f"expected errors of two models on the same splits, found {len(a)} and {len(b)}")
    d = a - b
    estimate = mean_over_splits(d, test_to_train, confidence)
    n, mean = estimate.n_splits, estimate.mean
    if n < 2:
        p_value, effect_size = math.nan, math.nan
    elif not d.any():
        p_value, effect_size = 1.0, 0.0
    else:
        with np.errstate(divide="ignore"):  # equal differences have no variance: t is infinite
            t = np.divide(mean, _standard_error(d, test_to_train))
            effect_size = float(np.divide(mean, d.std(ddof=1)))
        p_value = float(2 * scipy.stats.t.sf(abs(t), n - 1))
    return PairedDifference(n, mean, estimate.low, estimate.high, p_value, effect_size)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return the p-values of several tests after Holm's correction of the family-wise error rate, float64.

    For p_(1) ≤ ... ≤ p_(m): max over j ≤ i of min(1, (m - j + 1) p_(j)) (Holm, "A simple sequentially
    rejective multiple test procedure", *Scandinavian Journal of Statistics* 6, 1979). NaN stands for a test
    that was not possible; it stays NaN and does not count. Raises ValueError if a p-value is out of range or
    there is more than one dimension.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError("p_values: expected numbers from 0 to 1 in one dimension")
    order = np.argsort(p, kind="stable")[: int(np.sum(~np.isnan(p)))]  # NaN comes last
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order]), 1)
    return corrected


def _errors(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError("expected a finite error for each split, in one dimension")
    return x


def _standard_error(x: NDArray[np.float64], test_to_train: float) -> float:
    return math.sqrt((1 / len(x) + test_to_train) * float(x.var(ddof=1)))

"""Rating metrics: pure functions of the predicted and true ratings of all users together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.columns import blocks, coded_integers, count, rows_by_code

Numbers = NDArray[np.float64]
Measure = Callable[[Numbers], Numbers]
AT_ONCE = 2**20  # ratings whose pairs are counted together


def rmse(prediction: ArrayLike, rating: ArrayLike) -> float:
    """Return the root mean squared error, in rating steps, of predictions of ratings, both of shape (n,).

    Raises ValueError if the shapes differ, are empty, or a value is NaN. The mean of `rmse_per_user`, in
    which each user has the same weight, is another number.
    """
    return float(np.sqrt(_mean(np.square, prediction, rating)))


def mae(prediction: ArrayLike, rating: ArrayLike) -> float:
    """Return the mean absolute error, in rating steps; parameters, result and errors are those of `rmse`."""
    return _mean(np.abs, prediction, rating)


def r2(prediction: ArrayLike, rating: ArrayLike) -> float:
    """Return the coefficient of determination, 1 - Σ(r - r̂)² / Σ(r - r̄)²; r̄ is the mean of these ratings.

    1 is perfect, 0 is as good as predicting that mean. NaN where all ratings are equal, since there is no
    variance to explain. Parameters and errors are those of `rmse`.
    """
    unexplained, actual = _mean(np.square, prediction, rating), np.asarray(rating)
    if actual.min() == actual.max():
        return float("nan")
    mean = np.broadcast_to(actual.mean(dtype=np.float64), actual.shape)
    return 1 - unexplained / _mean(np.square, mean, actual)


def fcp(prediction: ArrayLike, rating: ArrayLike, users: ArrayLike) -> float:
    """Return the fraction of concordant pairs: how often the item rated higher is also predicted higher.

    This is the share of the pairs of ratings of one user with r_i > r_j that also have r̂_i > r̂_j:

        FCP = n_c / (n_c + n_d),   n_c = Σ_u |{(i, j) : r_ui > r_uj, r̂_ui > r̂_uj}|,
                                   n_d = Σ_u |{(i, j) : r_ui > r_uj, r̂_ui ≤ r̂_uj}|.

    Pairs of equal ratings do not count. Equal predictions of unequal ratings are discordant, as in Surprise:
    the paper does not define this case. The result is NaN where no user has unequal ratings, or all
    predictions of each user are equal. The time grows with the number of ratings times the number of
    distinct ratings. `users` has the id or index of the user of each rating, shape (n,); the other parameters
    and errors are those of `rmse`.

    Koren and Sill, "OrdRec: an ordinal model for predicting personalized item rating distributions",
    RecSys 2011.
    """
    predicted, actual = _comparable(prediction, rating)
    user = _user_codes(users, len(actual))

    def counted(predicted: NDArray[Any]) -> tuple[int, int]:
        found = [
            _concordant(user[rows] - first, predicted[rows], actual[rows])
            for first, _, rows in rows_by_code(user, count(user, int(user.max()) + 1), AT_ONCE)
        ]
        concordant, pairs = np.sum(found, axis=0)
        return int(concordant), int(pairs)

    concordant, pairs = counted(predicted)
    # Negated predictions have the opposite order: no concordant pair either way means that all are tied.
    is_ordered = concordant or counted(-predicted.astype(np.float64))[0]
    return concordant / pairs if is_ordered else float("nan")


def _concordant(user: NDArray[np.int32], predicted: Numbers, actual: Numbers) -> tuple[int, int]:
    """Return the number of concordant pairs of ratings of one user, and of pairs of unequal ratings."""
    order = np.lexsort((predicted, user))
    user, predicted, actual = user[order], predicted[order], actual[order]
    starts = np.append(True, user[1:] != user[:-1])
    new = starts | np.append(True, predicted[1:] != predicted[:-1])
    row = np.arange(len(user))
    first_of_user = np.maximum.accumulate(np.where(starts, row, 0))
    first_of_tie = np.maximum.accumulate(np.where(new, row, 0))

    concordant = pairs = 0
    n_of_user = np.bincount(user)[user]
    for value in np.unique(actual):
        # Number of ratings below value in the rows before each row, and one more entry for the end.
        n_lower = np.append(0, np.cumsum(actual < value))
        this = actual == value
        at_start = n_lower[first_of_user[this]]
        concordant += int(np.sum(n_lower[first_of_tie[this]] - at_start))
        pairs += int(np.sum(n_lower[first_of_user[this] + n_of_user[this]] - at_start))
    return concordant, pairs


def rmse_per_user(prediction: ArrayLike, rating: ArrayLike, users: ArrayLike) -> Numbers:
    """Return the RMSE of each user, in the order of the sorted ids; shape (number of distinct users,)."""
    return np.sqrt(_mean_per_user(np.square, prediction, rating, users))


def mae_per_user(prediction: ArrayLike, rating: ArrayLike, users: ArrayLike) -> Numbers:
    """Return the MAE of each user, in the order of the sorted ids; shape (number of distinct users,)."""
    return _mean_per_user(np.abs, prediction, rating, users)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The mean prediction for each value of the rating, ascending, and the number of ratings of that value.

    All arrays have shape (n_values,). Predictions of a conditional mean are closer to the middle of the scale
    than the ratings.
    """

    rating: Numbers
    n: NDArray[np.int64]
    mean_prediction: Numbers


def calibration(prediction: ArrayLike, rating: ArrayLike) -> Calibration:
    """Return the mean prediction by rating; parameters and errors are those of `rmse`."""
    predicted, actual = _comparable(prediction, rating)
    values = np.unique(np.concatenate([np.unique(actual[block]) for block in blocks(len(actual))]))
    n, total = np.zeros(len(values), np.int64), np.zeros(len(values))
    for block in blocks(len(actual)):
        code = np.searchsorted(values, actual[block])
        n += np.bincount(code, minlength=len(values))
        total += np.bincount(code, predicted[block], len(values))
    return Calibration(values.astype(np.float64), n, total / n)


def _comparable(prediction: ArrayLike, rating: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as flat arrays, after checking that they have the same non-empty shape and no NaN."""
    predicted, actual = np.asarray(prediction), np.asarray(rating)
    if predicted.shape != actual.shape or not predicted.size:
        raise ValueError(f"expected equal, non-empty shapes, found {predicted.shape} and {actual.shape}")
    for name, values in (("prediction", predicted), ("rating", actual)):
        if np.isnan(values.min()):  # the minimum is NaN if any value is; it needs no array of the same length
            raise ValueError(f"{name}: expected numbers, found NaN")
    return predicted.ravel(), actual.ravel()


def _measured(measure: Measure, prediction: ArrayLike, rating: ArrayLike) -> Iterator[tuple[slice, Numbers]]:
    """Yield a measure of the errors in float64, block by block, without a copy of all ratings."""
    predicted, actual = _comparable(prediction, rating)
    for block in blocks(len(actual)):
        yield block, measure(predicted[block].astype(np.float64) - actual[block])


def _mean(measure: Measure, prediction: ArrayLike, rating: ArrayLike) -> float:
    total = sum(float(np.sum(numbers)) for _, numbers in _measured(measure, prediction, rating))
    return total / np.size(rating)


def _mean_per_user(measure: Measure, prediction: ArrayLike, rating: ArrayLike, users: ArrayLike) -> Numbers:
    code = _user_codes(users, np.size(rating))
    n = count(code, int(code.max(initial=-1)) + 1)
    total = np.zeros(len(n))
    for block, numbers in _measured(measure, prediction, rating):
        total += np.bincount(code[block], numbers, len(n))
    return total / n


def _user_codes(users: ArrayLike, n: int) -> NDArray[np.int32]:
    """Return users as 0, 1, … in the order of their ids, shape (n,)."""
    if np.shape(users) != (n,):
        raise ValueError(f"users: expected one for each of {n} ratings, found shape {np.shape(users)}")
    array = np.array(users)  # a copy, which coded_integers overwrites
    if n and array.dtype in (np.int32, np.int64):
        return coded_integers(array)[1]
    return np.unique(array, return_inverse=True)[1].astype(np.int32)

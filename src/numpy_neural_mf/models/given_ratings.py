"""Reading and checking the ratings that are passed to a model."""

import warnings

from ..data import Ratings, RatingsLike, read_ratings


def given_ratings(ratings: RatingsLike, validation: RatingsLike = None) -> tuple[Ratings, Ratings | None]:
    """Read both by `read_ratings`; a ValueError if one of them is given without a rating."""
    train = read_ratings(ratings)
    held_out = None if validation is None else read_ratings(validation)
    if not len(train) or (held_out is not None and not len(held_out)):
        raise ValueError("expected at least one rating to learn from, found none")
    return train, held_out


def warn_if_constant(ratings: Ratings) -> None:
    """Warn if all ratings are equal, as a model of ratings learns no preferences from these."""
    value = ratings.values[0]
    if len(ratings) > 1 and value == ratings.values.min() == ratings.values.max():
        found = f"all {len(ratings):,} ratings are {value:g}, so that predictions and lists mean nothing"
        warnings.warn(
            f"{found}; NextItemModel learns from which items are rated, not from the values", stacklevel=3
        )

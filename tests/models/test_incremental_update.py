"""More ratings for a model that remembers: the union, in which what is new replaces what is old."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import Ratings
from numpy_neural_mf.models.incremental_update import Growth
from numpy_neural_mf.models.interactions import SeenRatings

IDS = st.sampled_from("abcdeé")
TABLES = st.dictionaries(st.tuples(IDS, IDS), st.sampled_from([1.0, 2.5, 5.0]), min_size=1, max_size=20)


def ratings_of(table):
    users, items = zip(*table, strict=True)
    return Ratings.from_columns(users, items, list(table.values()), scale=(1, 5))


def grown(old, new):
    old, new = ratings_of(old), ratings_of(new)
    seen = SeenRatings.of(old.users, old.items, old.values, old.n_users, old.n_items)
    return Growth.of(old.user_ids, old.item_ids, seen, new)


@given(old=TABLES, new=TABLES)
def test_it_is_the_union_and_the_new_rating_of_a_pair_wins(old, new):
    growth = grown(old, new)
    seen = growth.seen
    users, items = growth.user_ids[seen.users], growth.item_ids[seen.items]
    assert dict(zip(zip(users, items, strict=True), seen.ratings, strict=True)) == old | new
    assert growth.user_ids.tolist() == sorted({user for user, _ in [*old, *new]})
    assert growth.user_ids[growth.old_users].tolist() == sorted({user for user, _ in old})
    assert growth.item_ids[growth.old_items].tolist() == sorted({item for _, item in old})
    touched = zip(growth.user_ids[growth.users], growth.item_ids[growth.items], strict=True)
    assert set(touched) == set(new)


def test_ids_of_two_kinds_have_no_order():
    old = ratings_of({("a", "b"): 1.0})
    seen = SeenRatings.of(old.users, old.items, old.values, 1, 1)
    with pytest.raises(ValueError, match=r"expected item ids that are strings, .* found integers"):
        Growth.of(old.user_ids, old.item_ids, seen, Ratings.from_columns(["a"], [1], [2.0], scale=(1, 5)))

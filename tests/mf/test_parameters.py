"""Tables are found among parameters by name, with their entities."""

import numpy as np

from numpy_neural_mf.mf.parameters import Table, fill_unknown, is_table, tables_in


def test_tables_are_found_and_dense_parameters_are_not():
    parameters = {
        "intercept": np.zeros(1),
        "user_embedding.weight": np.zeros((4, 2)),
        "item_time_bias.weight": np.zeros((3, 1)),
        "mlp.0.weight": np.zeros((2, 4)),
    }
    tables = [Table("user", "embedding", (4, 2)), Table("item_time", "bias", (3, 1))]
    assert tables_in(parameters) == tables
    assert [table.name for table in tables] == [name for name in parameters if is_table(name)]


def test_the_unknown_row_has_the_total_variance_of_the_others():
    tables = {
        "item_bias.weight": np.array([[1.0], [3.0], [9.0]]),
        "item_bias.variance": np.array([[0.5], [0.3], [9.0]]),
    }
    fill_unknown(tables)
    np.testing.assert_allclose(tables["item_bias.variance"].ravel(), [0.5, 0.3, 1 + 0.4])


def test_only_tables_of_users_and_items_have_a_row_for_the_unknown():
    tables = {name: np.array([[1.0], [3.0], [9.0]]) for name in ("user_bias.weight", "user_time_bias.weight")}
    fill_unknown(tables)
    assert tables["user_bias.weight"].ravel().tolist() == [1, 3, 2]
    assert tables["user_time_bias.weight"].ravel().tolist() == [1, 3, 9]

"""An objective has the penalty of every table, by entity."""

import numpy as np
from cases import Architecture, draw_objective, draw_side_features

from numpy_neural_mf.training.objective import Objective


def test_a_plain_objective_penalises_users_and_items_only():
    objective = Objective(np.ones(3), np.zeros(2))
    assert objective.row_penalty.keys() == {"user", "item"}
    assert objective.feature_penalty == {}
    assert (objective.weight_decay, objective.ordinal) == (0, None)


def test_features_and_time_bins_have_penalties_by_entity():
    features = draw_side_features("item")
    objective = draw_objective(Architecture(periods=4), side_features=features)
    assert objective.row_penalty.keys() == {"user", "item", "user_time", "item_time"}
    assert objective.row_penalty["item_time"] is objective.time_penalty["item"]
    assert objective.feature_penalty == {"item_feature": features["item"].penalty}

"""What every engine minimises: the loss of ratings, the penalties of rows, and the decay of weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..mf.parameters import FEATURES, TIME_BINS, Entity, Side
from ..mf.side_information import SideFeatures
from ..nn import CumulativeLogit
from ..nn.parameter import Array


@dataclass(frozen=True, eq=False)
class Objective:
    """The mean over ratings of (r - r̂)², or of -log P, plus λ ‖row‖² for each row that a rating uses.

    With λ_u and λ_i all equal these are the penalties of Koren, Bell and Volinsky (2009, eq. 5).

    Attributes
    ----------
    user_penalty, item_penalty : arrays of shape (n_users + 1,), (n_items + 1,)
        λ_u and λ_i in the loss of a rating, (r - r̂)² + λ_u (‖p_u‖² + b_u²) + λ_i (‖q_i‖² + b_i²).
    weight_decay : float, decoupled (Loshchilov and Hutter, 2019), of the MLP's weights, not of biases or rows
    side_features : mapping of sides that have any to SideFeatures, with their penalties
    time_penalty : mapping of sides to arrays of shape (n_time_bins,), λ_t of the row of the rating's time bin
    ordinal : CumulativeLogit or None, with which -log P is minimised, and r̂ is a place among the categories
    """

    user_penalty: Array
    item_penalty: Array
    weight_decay: float = 0.0
    side_features: Mapping[Side, SideFeatures] = field(default_factory=dict)
    time_penalty: Mapping[Side, Array] = field(default_factory=dict)
    ordinal: CumulativeLogit | None = None

    @property
    def row_penalty(self) -> dict[Entity, Array]:
        """λ of each row of the tables that ratings look up: of users, items and time bins."""
        penalty: dict[Entity, Array] = {"user": self.user_penalty, "item": self.item_penalty}
        return penalty | {TIME_BINS[side]: of_bins for side, of_bins in self.time_penalty.items()}

    @property
    def feature_penalty(self) -> dict[Entity, Array]:
        """λ of each feature."""
        return {FEATURES[side]: features.penalty for side, features in self.side_features.items()}

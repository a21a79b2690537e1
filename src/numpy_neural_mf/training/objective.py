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

    The loss of a rating is (r - r̂)² + λ_u (‖p_u‖² + b_u²) + λ_i (‖q_i‖² + b_i²), and for a model with time
    bins λ_t of their rows. The weights of the MLP, not its biases, decay (decoupled; Loshchilov and Hutter,
    2019). With `ordinal`, r̂ is a place among the categories.
    """

    user_penalty: Array  # λ_u, shape (n_users + 1,)
    item_penalty: Array  # λ_i, shape (n_items + 1,)
    weight_decay: float = 0.0
    side_features: Mapping[Side, SideFeatures] = field(default_factory=dict)
    time_penalty: Mapping[Side, Array] = field(default_factory=dict)  # λ_t, shape (n_time_bins,)
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

"""What every engine minimises: the expected loss of ratings, and how far rows are from their prior."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..mf.parameters import Entity, Parameters
from ..nn import CumulativeLogit
from ..nn.parameter import Array

# The largest share h that a rating is taken to have in its own prediction.
MOST = 0.9
# The derivative by r̂ that is taken to be zero: what is divided by a smaller one may overflow.
LEAST_SLOPE = 1e-30
# A weight that is smaller is zero: one that decays to nothing would become a subnormal number, on which a
# processor takes a hundred times as long.
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Objective:
    """The mean over ratings of the expected loss, and of what their rows add for their prior.

    Each row of a table is normal, with the mean that an engine learns and variances v. Its prior is normal,
    with mean m and variances τ², and the noise of user u has the variance σ_u². Then the loss of a rating by
    u of i is, times 2 σ² and without what does not depend on the means (Lim and Teh, 2007, "Variational
    Bayesian approach to movie rating prediction", section 3)::

        w_u ((r - r̂)² + Σ_k (p_k² v_ik + q_k² v_uk)) + Σ_rows 1/n Σ_k Λ_k (row_k - m_k)²

    with w_u = σ²/σ_u² and Λ = σ²/τ², over the rows that the rating uses, each of n ratings. The MLP is given
    p ± √v_u and q ± √v_i, with random signs; its weights, not its biases, decay (decoupled; Loshchilov and
    Hutter, 2019). With `ordinal`, r̂ is a place among the categories, -log P is in place of w_u (r - r̂)², and
    `curvature` in place of w_u.

    J is the derivative of r̂ by a row: 1 by a bias; by p, q and the derivative of the MLP. Where q of a
    product is uncertain, the expected square of J is J² + v_q. Without the MLP, the variance of r̂ is
    Σ J² v, and h = w Σ J² v / σ² is the share of a rating in its own prediction. What the MLP adds to that,
    its noise adds to the error e. In the product, and only there, p is p_u + y_j, of variances v_u + v_j,
    with j the item that the user rated just before, and w_j is added to r̂; a step does not move them.
    `Inference` changes all arrays between epochs.
    """

    share: Mapping[Entity, Array]  # 1/n of each row of an entity, 0 without ratings
    # m by table, shape (1, d), or (n_rows, d) where it differs by row: then in all tables of the entity.
    prior: Parameters
    precision: Parameters  # Λ by table, shape (d,)
    variance: Parameters  # v by table of users and of items, of its shape
    weight: Array  # w_u, shape (n_users + 1,)
    noise: Array  # σ², shape (1,)
    squares: Array  # engines add e² / (1 - h) of each rating to that of its user, shape (n_users + 1,)
    data: Parameters  # and w E[J²] to that of its rows, by table of users and of items, of its shape
    weight_decay: float = 0.0
    # y and w by the item that a user rated just before, shape (n_items + 1, k + 1), in the last row zeros for
    # none, and the variances of y, (n_items + 1, k); None for an architecture without previous_item.
    previous: Array | None = None
    previous_variance: Array | None = None
    ordinal: CumulativeLogit | None = None

    @property
    def curvature(self) -> float:
        """Half of the second derivative of the loss by r̂: 1 of the squared error; of -log P, about that."""
        return 1.0 if self.ordinal is None else 1 / (2 * self.ordinal.deviation**2)

"""The objective that every engine minimises: the expected loss of ratings plus a penalty from the priors."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..mf.parameters import Entity, Parameters
from ..nn import CumulativeLogit
from ..nn.parameter import Array

# Upper limit of the share h of a rating in its own prediction.
MOST = 0.9
# A smaller derivative by r̂ is taken to be zero, since division by it may overflow.
LEAST_SLOPE = 1e-30
# A smaller weight is set to zero: a weight that decays would become a subnormal number, which takes a
# processor a hundred times as long.
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Objective:
    """The mean over ratings of the expected loss plus the prior terms of their rows.

    Each row of a table is normal, with the mean that an engine learns and variances v. Its prior is normal
    with mean m and variances τ², and the noise of user u has variance σ_u². Times 2 σ² and without terms that
    do not depend on the means, the loss of a rating by u of i is then (Lim and Teh, 2007, "Variational
    Bayesian approach to movie rating prediction", section 3)::

        w_u ((r - r̂)² + Σ_k (p_k² v_ik + q_k² v_uk)) + Σ_rows 1/n Σ_k Λ_k (row_k - m_k)²

    with w_u = σ²/σ_u² and Λ = σ²/τ². The last sum is over the rows that the rating uses, and n is the number
    of ratings of a row. The input of the MLP is p ± √v_u and q ± √v_i, with random signs; its weights, but
    not its biases, decay (decoupled; Loshchilov and Hutter, 2019). With `ordinal`, r̂ is a position among the
    categories, -log P replaces w_u (r - r̂)², and `curvature` replaces w_u.

    J is the derivative of r̂ by a row: for a bias it is 1, for p it is q plus the derivative of the MLP. If q
    in a product is uncertain, the expected square of J is J² + v_q. Without the MLP, the variance of r̂ is
    Σ J² v, and h = w Σ J² v / σ² is the share of a rating in its own prediction. The MLP's part of that
    variance is already in the error e, through its noise. If j is the item that the user rated just before,
    p_u is replaced in the product, and only there, by p_u + y_j, with variances v_u + v_j, and w_j is added
    to r̂; a step does not update y and w. `Inference` changes all arrays between epochs.
    """

    share: Mapping[Entity, Array]  # 1/n of each row of an entity, 0 without ratings
    # m by table, shape (1, d), or (n_rows, d) for all tables of an entity if it differs by row.
    prior: Parameters
    precision: Parameters  # Λ by table, shape (d,)
    variance: Parameters  # v by user or item table, with the shape of the table
    weight: Array  # w_u, shape (n_users + 1,)
    noise: Array  # σ², shape (1,)
    squares: Array  # engines add e² / (1 - h) of each rating to its user's entry, shape (n_users + 1,)
    data: Parameters  # engines add w E[J²] of each rating to its rows, by user or item table, in its shape
    weight_decay: float = 0.0
    # y and w by the item that a user rated just before, shape (n_items + 1, k + 1), with zeros in the last
    # row for no such item, and the variances of y, (n_items + 1, k). None without previous_item.
    previous: Array | None = None
    previous_variance: Array | None = None
    ordinal: CumulativeLogit | None = None

    @property
    def curvature(self) -> float:
        """Half of the second derivative of the loss by r̂: 1 for squared error, approximate for -log P."""
        return 1.0 if self.ordinal is None else 1 / (2 * self.ordinal.deviation**2)

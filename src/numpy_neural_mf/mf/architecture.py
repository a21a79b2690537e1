"""The architecture of a neural matrix factorisation: settings, parameter shapes and initial values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np

from ..nn import ACTIVATIONS, default_initializer, normal
from ..nn.parameter import Array, zeros_aligned
from ..utils.settings import (
    MAX_SIZE,
    check_boolean,
    check_choice,
    check_fields,
    check_integer,
    check_number,
    check_sizes,
)
from .parameters import SIDES, TIME_BINS, Entity, Kind, Parameters, Table

LIKELIHOODS = ("normal", "ordinal")

# Rows of each process that are drawn at once.
DRAWN_AT_ONCE = 2**12


@dataclass(frozen=True)
class Architecture:
    """The architecture of a model; raises TypeError or ValueError for a field of wrong type or out of range.

    With user factors p_u, item factors q_i and an MLP f on their concatenation, the predicted rating is ::

        r̂_ui = μ + b_u + b_i + p_u · q_i + f([p_u, q_i])

    This is biased matrix factorisation (Koren, Bell and Volinsky, 2009, eq. 4) plus the MLP of neural
    collaborative filtering (He et al., 2017, section 3.3) on the same embeddings. Each part can be switched
    off.

    Parameters
    ----------
    embedding_dim : int, default 16, length of p_u and q_i
    hidden_layer_sizes : tuple of int, default (), widths of the hidden layers of f; empty for no MLP
    activation : {"relu", "sigmoid", "tanh", "identity", "leaky_relu", "gelu"}, default "relu"
    biases : bool, default True, whether the model has b_u and b_i
    product : bool, default True, whether the model has p_u · q_i (GMF with unit weights)
    rating_scale : tuple of two floats or None, default None
        Predictions are clipped to it; None takes the scale of the ratings.
    features : bool, default False
        Whether features of users and items also have vectors and biases. The prior mean of p_u is then
        Σ_c x_uc E_c over the features c of the user, with weights x_uc, and likewise for q_i, b_u and b_i.
        These are the user-item interactions of a factorisation machine (Rendle, 2010, "Factorization
        machines").
    implicit : bool, default False
        Implicit feedback: whether the n items that a user rated are features of the user, with weight 1/√n
        each (SVD++; Koren, 2008, eq. 15), and the raters of an item are features of the item.
    periods : int, default 0
        Number of time bins of equal length from the first rating to the last; 0 for no time. Each bin t has
        vectors and biases for users and for items: p_u becomes p_u + y_t and q_i becomes q_i + z_t. So
        p_u · z_t varies over time for users, y_t · q_i for items, and both biases for all ratings (time as a
        field of a factorisation machine; Rendle, 2010).
    drift : bool, default False
        Whether each user has a time-varying bias d_u(t), an Ornstein-Uhlenbeck process with a learned
        timescale, which is added to the rating at time t. It needs the extra "fast".
    previous_item : bool, default False
        Whether the item j that a user rated just before adds y_j · q_i + w_j to the rating, so that p_u
        becomes p_u + y_j in the product (the previous item as a field of a factorisation machine; Rendle,
        2010). It needs the product and the extra "fast".
    likelihood : {"normal", "ordinal"}, default "normal"
        "normal" minimises the squared error. "ordinal" treats ratings as ordinal categories: it minimises
        -log P, predicts the probability of each category, and r̂ is a position among them (see
        `nn.CumulativeLogit`).
    """

    embedding_dim: int = 16
    hidden_layer_sizes: tuple[int, ...] = ()
    activation: str = "relu"
    biases: bool = True
    product: bool = True
    rating_scale: tuple[float, float] | None = None
    features: bool = False
    implicit: bool = False
    periods: int = 0
    drift: bool = False
    previous_item: bool = False
    likelihood: str = "normal"

    def __post_init__(self) -> None:
        check_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        object.__setattr__(self, "hidden_layer_sizes", tuple(self.hidden_layer_sizes))
        check_integer("embedding_dim", self.embedding_dim, at_least=1, at_most=MAX_SIZE)
        check_integer("periods", self.periods, at_least=0, at_most=MAX_SIZE)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        for name in ("biases", "product", "features", "implicit", "drift", "previous_item"):
            check_boolean(name, getattr(self, name))
        for name in ("drift", "previous_item"):
            if getattr(self, name) and self.likelihood == "ordinal":
                expected = 'expected False with likelihood="ordinal", whose scores are not ratings'
                raise ValueError(f"{name}: {expected}")
        if self.previous_item and not self.product:
            raise ValueError("previous_item: expected False without the product, which uses its vectors")
        if (scale := self.rating_scale) is not None:
            for bound in scale:
                check_number("rating_scale", bound)
            if len(scale) != 2 or not scale[0] < scale[1]:
                raise ValueError(f"rating_scale must be (lowest, highest), not {scale}")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build from the fields in a file; raise TypeError or ValueError for bad, missing or unknown ones."""
        check_fields("architecture", settings, [field.name for field in fields(cls)])
        scale = settings["rating_scale"]
        return cls(**{**settings, "rating_scale": scale if scale is None else tuple(scale)})

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Widths of f from input to output, or () without an MLP."""
        return (2 * self.embedding_dim, *self.hidden_layer_sizes, 1) if self.hidden_layer_sizes else ()

    @property
    def n_layers(self) -> int:
        """Number of dense layers of f, including the output layer."""
        return max(len(self.layer_sizes) - 1, 0)

    @property
    def has_embeddings(self) -> bool:
        """Whether any part of the model uses p_u and q_i."""
        return self.product or bool(self.hidden_layer_sizes)

    def tables(self, n_users: int, n_items: int) -> list[Table]:
        """Return the tables of a model; the last row of user and item tables is for unknown ids."""
        widths: dict[Kind, int] = {"embedding": self.embedding_dim} if self.has_embeddings else {}
        if self.biases:
            widths["bias"] = 1
        n_rows: dict[Entity, int] = {"user": n_users + 1, "item": n_items + 1}
        tables = [Table(side, kind, (n_rows[side], w)) for kind, w in widths.items() for side in SIDES]
        bins = TIME_BINS.values() if self.periods else ()
        return tables + [Table(of, kind, (self.periods, w)) for of in bins for kind, w in widths.items()]

    def parameter_shapes(self, n_users: int, n_items: int, n_steps: int = 0) -> dict[str, tuple[int, ...]]:
        """Return shapes by name; weights are (out, in) as in PyTorch, cutpoints for `n_steps` categories."""
        shapes: dict[str, tuple[int, ...]] = {"intercept": (1,)}
        if self.likelihood == "ordinal" and n_steps:
            shapes["cutpoints"] = (n_steps - 1,)
        shapes |= {table.name: table.shape for table in self.tables(n_users, n_items)}
        last = self.n_layers - 1
        for n, (n_in, n_out) in enumerate(pairwise(self.layer_sizes)):
            shapes[f"mlp.{n}.weight"] = (n_out, n_in)
            if n < last:  # the last layer's bias would duplicate the intercept
                shapes[f"mlp.{n}.bias"] = (n_out,)
        return shapes

    def initial_parameters(
        self,
        n_users: int,
        n_items: int,
        mean_rating: float,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float32,
        rows: slice = slice(None),
        n_steps: int = 0,
    ) -> Parameters:
        """Draw initial values: the mean for the intercept, zero for biases, small normals for embeddings.

        Hidden weights of f are drawn by He's or Xavier's rule, depending on the activation, and embeddings
        with standard deviation 0.1: large enough to matter to f, small enough that a rarely rated item starts
        near the average one. Time bins and the output layer of f start at zero, so the first prediction is
        nearly the mean. The caller sets the cutpoints. With several processes, each keeps only its `rows` of
        the tables.
        """
        draw = default_initializer(self.activation)
        tables = {table.name: table for table in self.tables(n_users, n_items)}
        parameters: Parameters = {}
        for name, shape in self.parameter_shapes(n_users, n_items, n_steps).items():
            own = rows if name in tables else slice(None)
            parameters[name] = zeros_aligned((len(range(*own.indices(shape[0]))), *shape[1:]), dtype)
            if name in tables and tables[name].entity in SIDES and tables[name].kind == "embedding":
                _draw_rows(parameters[name], rows, shape[0], rng)
        parameters["intercept"][...] = mean_rating
        for n in range(self.n_layers - 1):
            weight = parameters[f"mlp.{n}.weight"]
            weight[...] = draw(rng, weight.shape)
        return parameters


def _draw_rows(own: Array, rows: slice, n_rows: int, rng: np.random.Generator) -> None:
    """Draw small normals for a table with `n_rows` rows and write the slice `rows` of them to `own`."""
    start, _, step = rows.indices(n_rows)
    at_once = step * DRAWN_AT_ONCE
    for first in range(0, n_rows, at_once):  # a normal takes a variable number of draws: none can be skipped
        drawn = normal(rng, (min(at_once, n_rows - first), own.shape[1]), std=0.1)[start::step]
        own[first // step : first // step + len(drawn)] = drawn


A_SMALL = Architecture(embedding_dim=8, hidden_layer_sizes=(16,), activation="relu")
B_MEDIUM = Architecture(embedding_dim=16, hidden_layer_sizes=(32, 16), activation="relu")
C_WIDE = Architecture(embedding_dim=32, hidden_layer_sizes=(64, 32), activation="tanh")

ARCHITECTURES = {"A_small": A_SMALL, "B_medium": B_MEDIUM, "C_wide": C_WIDE}

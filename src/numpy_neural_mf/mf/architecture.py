"""What a neural matrix factorisation is: a few numbers that say its form, and the arrays they ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import ACTIVATIONS, default_initializer, normal, xavier_uniform
from ..nn.parameter import Array, zeros_aligned

Parameters = dict[str, NDArray[np.floating[Any]]]

# Rows of each process that are drawn at a time.
DRAWN_AT_ONCE = 2**12

SEQUENCES = ("", "attention", "gru")
LIKELIHOODS = ("normal", "ordinal")


@dataclass(frozen=True)
class Architecture:
    """The form of a model, checked when made.

    With user factors p_u, item factors q_i and an MLP f on their concatenation, the predicted rating is ::

        r̂_ui = μ + b_u + b_i + p_u · q_i + f([p_u, q_i])

    which is biased matrix factorisation (Koren, Bell and Volinsky, 2009, eq. 4) together with the MLP of
    neural collaborative filtering (He et al., 2017, section 3.3) on the same embeddings. Each part can be
    switched off.

    Parameters
    ----------
    embedding_dim : int, default 16
        Length of p_u and q_i.
    hidden_layer_sizes : tuple of int, default ()
        Widths of the hidden layers of f; empty for no MLP.
    activation : str, default "relu"
        Of the hidden layers: "relu", "sigmoid", "tanh", "identity", "leaky_relu" or "gelu".
    biases : bool, default True
        Whether there are b_u and b_i.
    product : bool, default True
        Whether there is p_u · q_i, the element-wise product summed (GMF with unit weights).
    features : bool, default False
        Whether the features of users and of items, where the ratings have such, have vectors and biases, too:
        p_u is then P_u + Σ_c x_uc E_c over the features c of the user with their weights, and so are q_i, b_u
        and b_i (Rendle, 2010, "Factorization machines", whose interactions of user with item these are).
    implicit : bool, default False
        Whether what a user rated, however high, is among the features of the user, each of n items with
        weight 1/√n (SVD++; Koren, 2008, eq. 15), and who rated an item among those of the item.
    periods : int, default 0
        In how many stretches of equal length the time from the first rating to the last is parted. Each
        period t has vectors and biases, too, one for users and one for items: at that time p_u is p_u + y_t,
        and q_i is q_i + z_t, so that p_u · z_t drifts for users, y_t · q_i for items and both levels for all
        (time as a field of a factorization machine; Rendle, 2010). 0 for no time.
    sequence : {"", "attention", "gru"}, default ""
        What encodes the last items of a user, in the order of time, as a state h_u(t) at each moment t; the
        factors of the user are then p_u + R h_u(t) (see `engines.torch_sequence`). The engine "torch" alone
        has sequences.
    sequence_length : int, default 50
        How many items a state looks back.
    next_item_weight : float, default 0
        Weight of the loss of the next item beside that of the rating; above 0 the model tells what comes
        next.
    negatives : int, default 0
        How many items drawn for a batch stand for the whole catalogue in that loss; 0 takes all items.
    likelihood : {"normal", "ordinal"}, default "normal"
        What is minimised: "normal" the squared error, as if ratings scattered alike everywhere; "ordinal"
        -log P of ratings that are steps of a scale, with r̂ above as where on the scale one is, not yet the
        prediction (see `nn.CumulativeLogit`). The latter tells how probable each step is.
    dropout : float, default 0.3
        In [0, 1): of the input of f and of each hidden layer, and within the encoder of the sequence, in
        training.
    rating_scale : tuple of two floats or None, default None
        Predictions are clipped to it; None takes the scale of the ratings.

    Raises
    ------
    ValueError
        A field is out of range, or nothing is left that depends on user and item.

    Examples
    --------
    >>> Architecture(embedding_dim=8, hidden_layer_sizes=(16,)).parameter_shapes(5, 3)["mlp.0.weight"]
    (16, 16)
    """

    embedding_dim: int = 16
    hidden_layer_sizes: tuple[int, ...] = ()
    activation: str = "relu"
    biases: bool = True
    product: bool = True
    dropout: float = 0.3
    rating_scale: tuple[float, float] | None = None
    features: bool = False
    implicit: bool = False
    periods: int = 0
    sequence: str = ""
    sequence_length: int = 50
    next_item_weight: float = 0.0
    negatives: int = 0
    likelihood: str = "normal"

    def __post_init__(self) -> None:
        if not isinstance(self.hidden_layer_sizes, Iterable):
            raise ValueError(f"hidden_layer_sizes must be a sequence, not {self.hidden_layer_sizes!r}")
        object.__setattr__(self, "hidden_layer_sizes", tuple(self.hidden_layer_sizes))
        if not (isinstance(self.embedding_dim, int | np.integer) and self.embedding_dim >= 1):
            raise ValueError(f"embedding_dim must be a whole number, at least 1, not {self.embedding_dim}")
        if not all(isinstance(size, int | np.integer) and size >= 1 for size in self.hidden_layer_sizes):
            raise ValueError(f"hidden_layer_sizes must be whole and positive, not {self.hidden_layer_sizes}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {self.activation!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if not (isinstance(self.periods, int | np.integer) and self.periods >= 0):
            raise ValueError(f"periods must be a whole number, at least 0, not {self.periods}")
        if self.sequence not in SEQUENCES:
            raise ValueError(
                f"sequence must be one of {', '.join(map(repr, SEQUENCES))}, not {self.sequence!r}"
            )
        if self.sequence and not self.has_embeddings:
            raise ValueError("a sequence moves the user factors, and the model has neither product nor MLP")
        if not (isinstance(self.sequence_length, int | np.integer) and self.sequence_length >= 1):
            raise ValueError(
                f"sequence_length must be a whole number, at least 1, not {self.sequence_length}"
            )
        if not 0 <= self.next_item_weight < math.inf:
            raise ValueError(f"next_item_weight must be finite and not negative, not {self.next_item_weight}")
        if self.next_item_weight and not self.sequence:
            raise ValueError("next_item_weight is for a model with a sequence")
        if not (isinstance(self.negatives, int | np.integer) and self.negatives >= 0):
            raise ValueError(f"negatives must be a whole number, at least 0, not {self.negatives}")
        if self.likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, not {self.likelihood!r}")
        if self.rating_scale is not None and not self.rating_scale[0] < self.rating_scale[1]:
            raise ValueError(f"rating_scale must be (lowest, highest), not {self.rating_scale}")

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Widths of f from input to output, or () without an MLP."""
        return (2 * self.embedding_dim, *self.hidden_layer_sizes, 1) if self.hidden_layer_sizes else ()

    @property
    def n_layers(self) -> int:
        """Dense layers of f, the output layer included."""
        return max(len(self.layer_sizes) - 1, 0)

    @property
    def has_embeddings(self) -> bool:
        """Whether anything uses p_u and q_i."""
        return self.product or bool(self.hidden_layer_sizes)

    def parameter_shapes(
        self,
        n_users: int,
        n_items: int,
        n_user_features: int = 0,
        n_item_features: int = 0,
        n_steps: int = 0,
    ) -> dict[str, tuple[int, ...]]:
        """Name to shape of every parameter, in PyTorch's names and orientation: weights are (out, in).

        Tables have one row more than there are users or items, the last: it stands for whoever is unknown.
        Those of features have the periods for last rows, and features in training alone: without them are
        the shapes of what is learned. `n_steps` is how many distinct ratings an ordinal likelihood tells of;
        of none there are no cutpoints.
        """
        k, sizes = self.embedding_dim, self.layer_sizes
        shapes: dict[str, tuple[int, ...]] = {"intercept": (1,)}
        if self.likelihood == "ordinal" and n_steps:
            shapes["cutpoints"] = (n_steps - 1,)
        if self.has_embeddings:
            shapes |= {"user_embedding.weight": (n_users + 1, k), "item_embedding.weight": (n_items + 1, k)}
        if self.biases:
            shapes |= {"user_bias.weight": (n_users + 1, 1), "item_bias.weight": (n_items + 1, 1)}
        for side, n_features in (("user", n_user_features), ("item", n_item_features)):
            n_columns = n_features + self.periods
            if n_columns and self.has_embeddings:
                shapes[f"{side}_feature_embedding.weight"] = (n_columns, k)
            if n_columns and self.biases:
                shapes[f"{side}_feature_bias.weight"] = (n_columns, 1)
        for n in range(self.n_layers):
            shapes[f"mlp.{n}.weight"] = (sizes[n + 1], sizes[n])
            if n < self.n_layers - 1:  # the last layer's bias would be the intercept once more
                shapes[f"mlp.{n}.bias"] = (sizes[n + 1],)
        return shapes | {f"sequence.{name}": shape for name, shape in self._sequence_shapes(n_items).items()}

    def _sequence_shapes(self, n_items: int) -> dict[str, tuple[int, ...]]:
        """Those of `engines.torch_sequence.SequenceEncoder`."""
        k = self.embedding_dim
        if not self.sequence:
            return {}
        shapes: dict[str, tuple[int, ...]] = {
            "embedding.weight": (n_items + 1, k),
            "bias.weight": (n_items + 1, 1),
            "rating.weight": (k, k),
            "norm.weight": (k,),
            "norm.bias": (k,),
        }
        if self.sequence == "gru":
            for part in ("ih_l0", "hh_l0"):
                shapes |= {f"gru.weight_{part}": (3 * k, k), f"gru.bias_{part}": (3 * k,)}
            return shapes
        shapes |= {
            "distance": (self.sequence_length,),
            "attention.self_attn.in_proj_weight": (3 * k, k),
            "attention.self_attn.in_proj_bias": (3 * k,),
        }
        for layer, shape in (
            ("self_attn.out_proj", (k, k)), ("linear1", (k, k)), ("linear2", (k, k)),
            ("norm1", (k,)), ("norm2", (k,)),
        ):  # fmt: skip
            shapes |= {f"attention.{layer}.weight": shape, f"attention.{layer}.bias": (k,)}
        return shapes

    def initial_parameters(
        self,
        n_users: int,
        n_items: int,
        mean_rating: float,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float32,
        n_user_features: int = 0,
        n_item_features: int = 0,
        rows: slice = slice(None),
        n_steps: int = 0,
    ) -> Parameters:
        """First values: the mean for the intercept, zero for biases, small normals for embeddings.

        Hidden weights of f are drawn by He's or Xavier's rule, as the activation asks, and embeddings with
        standard deviation 0.1: large enough that f sees them, small enough that a rarely rated item starts
        near the average one. Features start at zero, and say nothing where training does not see them. The
        output layer of f and what a sequence adds start at zero, so that the first prediction is the mean,
        nearly. Cutpoints are left to whoever knows the ratings.

        Of the tables of users, items and their features these `rows` alone are kept, those of one of many
        processes; the numbers are the same. All are drawn, some at a time, since a normal takes no fixed
        number of draws, so that none can be skipped.
        """
        draw = default_initializer(self.activation)
        parameters: Parameters = {}
        sizes = n_users, n_items, n_user_features, n_item_features, n_steps
        for name, shape in self.parameter_shapes(*sizes).items():
            of = rows if name.startswith(("user", "item")) else slice(None)
            value = zeros_aligned((len(range(*of.indices(shape[0]))), *shape[1:]), dtype)
            if name == "intercept":
                value[...] = mean_rating
            elif name.endswith("embedding.weight") and "_feature_" not in name:
                _draw_rows(value, of, shape[0], rng)
            elif (
                name.startswith("mlp")
                and name.endswith("weight")
                and name != f"mlp.{self.n_layers - 1}.weight"
            ):
                value[...] = draw(rng, shape)
            elif name == "sequence.distance":  # what is long past fades, as in ALiBi (Press et al., 2022)
                value[...] = -0.1 * np.arange(self.sequence_length)
            elif name.startswith("sequence") and "norm" in name and name.endswith("weight"):
                value[...] = 1
            elif name.startswith(("sequence.gru.weight", "sequence.attention")) and len(shape) == 2:
                value[...] = xavier_uniform(rng, shape)
            parameters[name] = value
        return parameters


def _draw_rows(own: Array, rows: slice, n_rows: int, rng: np.random.Generator) -> None:
    """Small normals for a table of so many rows, of which `own` are those that a slice takes."""
    start, _, step = rows.indices(n_rows)
    at_once = step * DRAWN_AT_ONCE
    for first in range(0, n_rows, at_once):
        drawn = normal(rng, (min(at_once, n_rows - first), own.shape[1]), std=0.1)[start::step]
        own[first // step : first // step + len(drawn)] = drawn


def fill_unknown(parameters: Parameters) -> None:
    """Let the last row of each table, which stands for whoever is unknown, be the mean of the others."""
    for name, table in parameters.items():
        if (
            name.startswith(("user", "item", "sequence.embedding", "sequence.bias"))
            and "_feature_" not in name
        ):
            table[-1] = table[:-1].mean(axis=0)


A_SMALL = Architecture(embedding_dim=8, hidden_layer_sizes=(16,), activation="relu")
B_MEDIUM = Architecture(embedding_dim=16, hidden_layer_sizes=(32, 16), activation="relu")
C_WIDE = Architecture(embedding_dim=32, hidden_layer_sizes=(64, 32), activation="tanh")

ARCHITECTURES = {"A_small": A_SMALL, "B_medium": B_MEDIUM, "C_wide": C_WIDE}

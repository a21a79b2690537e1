"""Bayesian matrix factorisation as users hold it: the mean of many samples, side information, time."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..bayesian import Occasions
from ..bayesian.posterior import Posterior
from ..bayesian.sampling import Watched, draw_samples, new_sampler, occasions_of
from ..data import Ratings
from ..mf.architecture import Architecture, Parameters
from ..training.checkpoint import Checkpoint, fingerprint
from ..training.loop import ProgressCallback
from .bayesian_mf_file import BayesianMFFile
from .incremental_update import Growth
from .recommending import require_count
from .refitting import grown
from .saving import Side
from .top_n import one_blas_thread
from .uncertainty import steps_of


class BayesianMF(BayesianMFFile):
    """Bayesian matrix factorisation by Gibbs sampling: all that is known of a rating, and its uncertainty.

    A rating by user u of item i at time t is thought to be normal with the mean ::

        r̂_ui(t) = μ + b_u + b_i + p_u · q_i + d_u(t) + d_i(t) + d(t) + Σ_c (w_c + (p_u + q_i) · z_c)

    and a variance of the user's own. b and p are sums over what u is known by: the id, features, the set of
    items that u rated (as in SVD++, Koren, 2008), and of which kind u is, which nobody tells and which is
    drawn; b_i and q_i likewise. d are levels that drift. c are the occasions of the rating: in which of 24
    periods of equal length t is, and which item u rated before; they meet user and item as in a factorisation
    machine (Rendle, 2012). Instead of one best value for each, many are drawn from their posterior
    distribution (see `gibbs.Sampler`), and what is predicted is the mean: little is to be tuned, since how
    much to trust each part is drawn, too.

    Where no time is told, a prediction is that of the last period, after whatever item.

    Parameters
    ----------
    embedding_dim : int, default 10
        Length of p_u and q_i in a sample.
    kinds : int, default 8
        Kinds of users, and of items, that are told apart at most: one for every ten ratings that each has on
        average, so that with fewer than twenty there are none.
    n_samples : int, default 400
        Samples that count. Twice as many take twice as long and are a little better.
    warm_up : int, default 20
        Samples before these that do not.
    features : bool, default True
        Use the features of the ratings, if they have any: see `Ratings.with_features`.
    implicit : bool, default True
        Use the sets of what was rated, of users and of items.
    drift : bool, default True
        Use timestamps, if the ratings have any: levels that drift, and periods.
    previous_item : bool, default True
        Use the item that the user rated before, if the ratings have timestamps.
    user_noise : bool, default True
        Let each user have a noise of their own, for some mean the same by the same stars more than others do.
    rank : int, default 32
        Columns kept of the mean of the products p_u · q_i, that one number of each sample would be too many
        for: see `gibbs.MeanProduct`.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.

    Attributes
    ----------
    parameters_ : dict of str to float32 array
        μ, b, p and q by PyTorch's names, drift and occasions left out; the last row of each table stands for
        the unknown.
    deviation_ : float32 array of shape (n_users + 1,)
        How far a rating of each user is expected to be from its prediction: a standard deviation.
    history_ : History
        One epoch is one sample; the validation loss is that of the mean of the samples so far.

    Raises
    ------
    ValueError
        A number is out of range.
    ModuleNotFoundError
        `fit`: Numba is not installed.

    Examples
    --------
    >>> from numpy_neural_mf import BayesianMF, simulate_ratings
    >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
    >>> model = BayesianMF(n_samples=20).fit(ratings)  # doctest: +SKIP
    >>> low, high = model.predict_interval(1, [10, 11])  # doctest: +SKIP
    """

    def __init__(
        self,
        embedding_dim: int = 10,
        *,
        kinds: int = 8,
        n_samples: int = 400,
        warm_up: int = 20,
        features: bool = True,
        implicit: bool = True,
        drift: bool = True,
        previous_item: bool = True,
        user_noise: bool = True,
        rank: int = 32,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        require_count(embedding_dim, "embedding_dim")
        require_count(kinds, "kinds")
        require_count(n_samples, "n_samples")
        require_count(rank, "rank")
        if not (isinstance(warm_up, int | np.integer) and warm_up >= 0):
            raise ValueError(f"warm_up must be a whole number, at least 0, not {warm_up!r}")
        self.embedding_dim = embedding_dim
        self.kinds = kinds
        self.n_samples = n_samples
        self.warm_up = warm_up
        self.features = features
        self.implicit = implicit
        self.drift = drift
        self.previous_item = previous_item
        self.user_noise = user_noise
        self.rank = rank
        self.random_state = random_state

    @property
    def n_parameters_(self) -> int:
        """Numbers that a prediction may draw on."""
        levels = sum(len(drift.level) for drift in self._drifts)
        context = self._context
        of_context = [] if context is None else [context.bias, context.factors, context.user, context.item]
        return sum(value.size for value in (*self.parameters_.values(), *of_context)) + levels

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Draw samples, from scratch or from where the same training was cut off.

        Parameters
        ----------
        ratings : Ratings
        validation : Ratings, optional
            Watched, and of no effect but in `history_`.
        on_progress : callable, optional
            Called after each sample with a `Progress`.
        checkpoint_dir : path, optional
            Folder to keep the state of the training in, after every tenth sample. The same call with the same
            ratings and settings goes on from there and gives the same model bit for bit.

        Returns
        -------
        self

        Raises
        ------
        ModuleNotFoundError
            Numba is not installed.
        ValueError
            The checkpoint is of other ratings or settings, or damaged.
        """
        if find_spec("numba") is None:
            raise ModuleNotFoundError('BayesianMF needs numba: pip install "numpy-neural-mf[fast]"')
        rng = np.random.default_rng(self.random_state)
        self._require_ratings(ratings)
        ratings = self._learn_ids(ratings, described=self.features)
        occasions = occasions_of(ratings, self._occasion_kinds)
        watched = self._watched(validation, occasions)
        checkpoint = self._checkpoint(checkpoint_dir, ratings, validation, rng)
        sampler = new_sampler(
            ratings,
            rng,
            n_factors=self.embedding_dim,
            kinds=self.kinds,
            features=self.features,
            implicit=self.implicit,
            drift=self.drift,
            user_noise=self.user_noise,
            occasions=occasions,
        )
        posterior = Posterior(sampler, self.rank)
        with one_blas_thread():  # products of a few columns: see docs/decisions/one-blas-thread.md
            self.history_ = draw_samples(
                sampler,
                posterior,
                n_samples=self.n_samples,
                warm_up=self.warm_up,
                watched=watched,
                on_progress=on_progress,
                checkpoint=checkpoint,
            )
            self.parameters_ = posterior.parameters()
        self.deviation_ = posterior.deviations()
        self._drifts = posterior.drifts()
        self._context = None if occasions is None else posterior.context(occasions)
        self.rating_steps_ = steps_of(ratings.values)
        self._fold_drift()
        return self

    def _watched(self, validation: Ratings | None, occasions: Occasions | None) -> Watched | None:
        if validation is None:
            return None
        self._require_ratings(validation)
        users, items = self._rows_of_pairs(validation)
        return Watched(users, items, validation.timestamps, validation.values, self.rating_scale_, occasions)

    def _checkpoint(
        self,
        folder: str | os.PathLike[str] | None,
        ratings: Ratings,
        validation: Ratings | None,
        rng: np.random.Generator,
    ) -> Checkpoint | None:
        if folder is None:
            return None
        settings = {name: value for name, value in vars(self).items() if "_" not in (name[0], name[-1])}
        settings |= {"random_state": rng.bit_generator.state}  # not as given
        columns = [array for part in (ratings, validation) if part is not None for array in part.arrays]
        columns += [part.timestamps for part in (ratings, validation) if part and part.timestamps is not None]
        return Checkpoint(
            folder,
            fingerprint(f"BayesianMF {settings}", columns),
            {"rng": rng},
        )

    def _predict(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.floating[Any]]:
        return _of_pairs(self._parameters_now, users, items)

    def _predict_at(
        self, users: NDArray[np.int32], items: NDArray[np.int32], timestamps: NDArray[np.int64]
    ) -> NDArray[np.floating[Any]]:
        prediction = _of_pairs(self.parameters_, users, items)
        for drift in self._drifts:
            prediction += drift.at(users, items, timestamps).astype(prediction.dtype)
        if self._context is not None:
            prediction += self._context.at(users, items, timestamps).astype(prediction.dtype)
        return prediction

    def _fold_drift(self) -> None:
        """The parameters as they are when the last rating was given: levels and period added to biases."""
        now = {name: value.copy() for name, value in self.parameters_.items()}
        tables = {"user": "user_bias.weight", "item": "item_bias.weight", "all": "intercept"}
        for drift in self._drifts:
            table = now[tables[drift.whose]].reshape(-1)
            n = len(table) if drift.whose == "all" else len(table) - 1
            latest = np.full(n, drift.timeline.times.max())
            table[:n] += drift.timeline.levels_at(drift.level, drift.timescale, np.arange(n), latest)
        if self._context is not None:
            bias, z = self._context.usual()
            now["intercept"] += np.float32(bias)
            for side, g in (("user", self._context.user), ("item", self._context.item)):
                part = (g @ z).astype(np.float32)
                now["intercept"] += part[-1]  # of the unknown, whose bias is zero
                now[f"{side}_bias.weight"] += (part - part[-1])[:, None]
        self._parameters_now = now

    def _form(self) -> tuple[Architecture, Parameters]:
        return Architecture(embedding_dim=self.rank), self._parameters_now

    def _penalty(self, side: Side, n_ratings: int) -> float:
        """σ² of a rating over that of a bias, on whose scale the factors of users are, too."""
        spread = float(self.parameters_[f"{side}_bias.weight"][:-1].var())
        return float(self.deviation_[-1] ** 2) / max(spread, 1e-6)

    def _grow(self, growth: Growth) -> None:
        """Fit the rows that new ratings touch; levels stay as they are, and new ratings have none."""
        architecture, n_users = Architecture(embedding_dim=self.rank), len(growth.user_ids)
        parameters, _ = grown(
            architecture,
            self.parameters_,
            growth,
            lambda side, n, counts: self._penalty(side, n),
            {},
            self._likelihood,
        )
        deviation = np.full(n_users + 1, self.deviation_[-1])
        deviation[growth.old_users] = self.deviation_[:-1]
        old = {"user": (growth.old_users, n_users), "item": (growth.old_items, len(growth.item_ids))}
        self._drifts = tuple(
            replace(drift, timeline=drift.timeline.among(*old[drift.whose])) if drift.whose in old else drift
            for drift in self._drifts
        )
        if self._context is not None:
            self._context = self._context.among(*old["user"], *old["item"])
        self.parameters_, self.deviation_ = parameters, deviation
        self._fold_drift()

    def _embeddings(self, side: str) -> NDArray[np.floating[Any]] | None:
        """Users by what they are expected to rate: q is in no direction of unit length."""
        P, Q = (self.parameters_[f"{s}_embedding.weight"][:-1] for s in ("user", "item"))
        return P * np.linalg.norm(Q, axis=0) if side == "user" else Q


def _of_pairs(
    parameters: Parameters, users: NDArray[np.int32], items: NDArray[np.int32]
) -> NDArray[np.floating[Any]]:
    """μ + b_u + b_i + p_u · q_i, shape (n,); row -1 is that of the unknown."""
    p, q = parameters["user_embedding.weight"][users], parameters["item_embedding.weight"][items]
    biases = parameters["user_bias.weight"][users, 0] + parameters["item_bias.weight"][items, 0]
    return np.asarray(parameters["intercept"] + biases + np.einsum("nk,nk->n", p, q))

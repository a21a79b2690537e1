"""Bayesian matrix factorisation as users hold it: the mean of many samples, side information, time."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ..bayesian import Occasions
from ..bayesian.posterior import Posterior
from ..bayesian.posterior_mean import PosteriorMean
from ..bayesian.sampling import Watched, draw_samples, new_sampler, occasions_of
from ..data import Ratings
from ..mf.architecture import Architecture, Parameters
from ..mf.forward import Factorization, Side
from ..training.checkpoint import Checkpoint, fingerprint
from ..training.loop import History, ProgressCallback
from ..utils.settings import check_integer
from ..utils.threads import one_blas_thread
from .base import require_ratings
from .bayesian_mf_file import FittedBayesianMF, assemble, fitted_of, saved
from .files import Contents, Saved
from .fitted import Fitted, FittedModel, interactions_of, rows_of_pairs
from .incremental_update import Update, updated
from .located import Located
from .uncertainty import DistributionRecommender, few_steps, normal_interval, normal_probabilities


class BayesianMF(DistributionRecommender):
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
        check_integer("embedding_dim", embedding_dim, at_least=1)
        check_integer("kinds", kinds, at_least=1)
        check_integer("n_samples", n_samples, at_least=1)
        check_integer("rank", rank, at_least=1)
        check_integer("warm_up", warm_up, at_least=0)
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
        """Number of parameters that a prediction may use."""
        return self._learned.mean.size

    @property
    def parameters_(self) -> Parameters:
        return self._learned.mean.factorization.parameters

    @property
    def deviation_(self) -> NDArray[np.float32]:
        return self._learned.deviation

    @property
    def rating_steps_(self) -> NDArray[np.float32]:
        return self._learned.rating_steps

    @property
    def history_(self) -> History:
        return self._learned.history

    @property
    def n_timed_(self) -> int:
        """Number of ratings whose time is used: all training ratings, or none."""
        return self._learned.n_timed

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
        require_ratings(ratings)
        if validation is not None:
            require_ratings(validation)
        ratings = ratings.compact(self.features)
        occasions = occasions_of(ratings, self._context_kinds)
        watched = None if validation is None else watch(validation, ratings, occasions)
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
            history = draw_samples(
                sampler,
                posterior,
                n_samples=self.n_samples,
                warm_up=self.warm_up,
                watched=watched,
                on_progress=on_progress,
                checkpoint=checkpoint,
            )
            parameters = posterior.parameters()
        mean = PosteriorMean(
            Factorization(Architecture(embedding_dim=self.rank), parameters),
            posterior.drifts(),
            None if occasions is None else posterior.context(occasions),
        )
        model = assemble(mean, ratings.scale, posterior.deviations(), few_steps(ratings.values), history)
        ids = ratings.user_ids, ratings.item_ids
        self._state = Fitted(*ids, ratings.scale, interactions_of(ratings, *ids), model)
        return self

    @property
    def _learned(self) -> FittedBayesianMF:
        return cast("FittedBayesianMF", self.fitted_.model)

    @property
    def _context_kinds(self) -> tuple[str, ...]:
        """What is known of the context of a rating, if there are times."""
        return ("period",) * self.drift + ("previous",) * self.previous_item

    def _checkpoint(
        self,
        folder: str | os.PathLike[str] | None,
        ratings: Ratings,
        validation: Ratings | None,
        rng: np.random.Generator,
    ) -> Checkpoint | None:
        if folder is None:
            return None
        settings = {name: value for name, value in vars(self).items() if name[0] != "_"}
        settings |= {"random_state": rng.bit_generator.state}  # not as given
        columns = [array for part in (ratings, validation) if part is not None for array in part.arrays]
        columns += [part.timestamps for part in (ratings, validation) if part and part.timestamps is not None]
        return Checkpoint(folder, fingerprint(f"BayesianMF {settings}", columns), {"rng": rng})

    def _updated(self, update: Update) -> FittedBayesianMF:
        """Fit the rows that new ratings touch; drifts stay as they are, and new ratings have none."""
        old = self._learned
        plain = replace(old, factorization=old.mean.factorization)
        form, _ = updated(plain, update)
        deviation = np.full(len(update.user_ids) + 1, old.deviation[-1])
        deviation[update.old_users] = old.deviation[:-1]
        mean = old.mean.inserted(form, update.old_users, update.old_items)
        return assemble(mean, self.rating_scale_, deviation, old.rating_steps, old.history)

    def _embeddings(self, side: Side) -> NDArray[np.floating[Any]] | None:
        """Users by what they are expected to rate: the columns of q have no unit length."""
        P, Q = (self.parameters_[f"{s}_embedding.weight"][:-1] for s in ("user", "item"))
        return P * np.linalg.norm(Q, axis=0) if side == "user" else Q

    def _interval(self, coverage: float, located: Located) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        deviation, mean = self._deviation_of(located), located.ratings()
        return normal_interval(mean, deviation, coverage, self.rating_scale_)

    def _probabilities(self, located: Located) -> NDArray[np.float32]:
        deviation, mean = self._deviation_of(located), located.ratings()
        return normal_probabilities(mean, deviation, self.rating_steps_)

    def _deviation_of(self, located: Located) -> NDArray[np.float32]:
        """Standard deviations of ratings: a user or an item without ratings may be like any of the others."""
        fitted, model = self.fitted_, self._learned
        u, i = located.users, located.items
        u_is_new = np.append(fitted.counts("user"), 0)[u] == 0
        i_is_new = np.append(fitted.counts("item"), 0)[np.minimum(i, len(fitted.item_ids))] == 0
        if located.folded_in_user:
            u, u_is_new = np.full(u.shape, -1), np.zeros(u.shape, bool)
        if located.folded_in_item:
            i_is_new = np.zeros(i.shape, bool)
        parameters = model.mean.factorization.parameters
        of_user, of_item = (float(parameters[f"{s}_bias.weight"][:-1].var()) for s in ("user", "item"))
        p, q = (parameters[f"{side}_embedding.weight"][:-1] for side in ("user", "item"))
        of_product = float(np.square(p).mean(axis=0) @ np.square(q).mean(axis=0))
        variance = np.square(model.deviation[u]) + of_user * u_is_new + of_item * i_is_new
        return np.asarray(np.sqrt(variance + of_product * (u_is_new | i_is_new)), np.float32)

    def _saved(self) -> Saved:
        return saved(self, self._learned)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        model = cls(**{name: value for name, value in contents.settings.items() if name != "n_timed"})
        return model, fitted_of(contents)


def watch(validation: Ratings, ratings: Ratings, occasions: Occasions | None) -> Watched:
    """The validation ratings in the rows of the training ratings."""
    rows = rows_of_pairs(validation, ratings.user_ids, ratings.item_ids)
    return Watched(*rows, validation.timestamps, validation.values, ratings.scale, occasions)

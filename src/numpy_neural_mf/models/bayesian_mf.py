"""Bayesian matrix factorisation by Gibbs sampling, with side information, time and context."""

import os
from dataclasses import replace
from importlib.util import find_spec
from typing import Self, cast

import numpy as np

from ..bayesian.context import variable_names
from ..bayesian.posterior import Posterior
from ..bayesian.sampling import ValidationMonitor, build_sampler, context_variables_of, draw_samples
from ..data import Ratings
from ..mf.parameters import SIDES, Parameters, Side
from ..training.checkpoint import Checkpoint, fingerprint
from ..training.loop import History, ProgressCallback
from ..utils.arrays import Float32Array, FloatArray
from ..utils.deprecation import DeprecatedName, renamed_parameters
from ..utils.forwarded import Forwarded
from ..utils.settings import check_boolean, check_integer
from ..utils.threads import one_blas_thread
from .base import require_ratings
from .bayesian_mf_file import OLD_NAMES, FittedBayesianMF, assemble, fitted_of, saved
from .files import Contents, Saved
from .fitted import Fitted, FittedModel, interactions_of, rows_of_pairs
from .fold_in import Located
from .incremental_update import Update, updated
from .uncertainty import DistributionRecommender, few_steps, normal_interval, normal_probabilities

# What a sampler is built with.
SAMPLER_SETTINGS = ("latent_clusters", "features", "implicit", "drift", "user_noise")


class BayesianMF(DistributionRecommender):
    """Bayesian matrix factorisation by Gibbs sampling (Salakhutdinov and Mnih, 2008), with side information.

    A rating by user u of item i at time t is normal with mean ::

        r̂_ui(t) = μ + b_u + b_i + p_u · q_i + d_u(t) + d_i(t) + d(t) + Σ_c (w_c + (p_u + q_i) · z_c)

    and a variance that differs by user. b_u and p_u are sums over the user's id, features, implicit feedback
    (as in SVD++, Koren, 2008) and latent cluster, which is sampled; b_i and q_i likewise. d are time-varying
    biases. c is the context: which of 24 time bins of equal length t is in, and which item u rated before;
    it interacts with user and item as in a factorisation machine (Rendle, 2012). The variance of each part is
    sampled as well. Predictions are posterior means (see `bayesian.Sampler`); without a time they are for the
    last time bin, averaged over the previous item.

    Parameters
    ----------
    embedding_dim : int, default 10
        Length of p_u and q_i in a sample.
    latent_clusters : int, default 8
        Largest number of latent clusters of users, and of items. There is at most one cluster for every ten
        ratings that a user, or an item, has on average, and none below twenty. Formerly `kinds`.
    n_samples : int, default 400
        Samples to average: more take longer and are a little better.
    burn_in : int, default 20
        Samples to discard before. Formerly `warm_up`.
    features, implicit, drift, previous_item, user_noise : bool, default True
        What to use, as far as the ratings have it: their features (`Ratings.with_features`); implicit
        feedback, which items a user rated and which users rated an item; time-varying biases and time bins;
        the item that the user rated before; and a noise variance for each user, in place of one for all.
    rank : int, default 32
        Number of columns of the posterior mean of the products p_u · q_i: see `bayesian.LowRankMean`.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.

    Attributes
    ----------
    parameters_ : dict of str to float32 array
        μ, b, p and q by PyTorch's names, without time-varying biases and context; the last row of each table
        stands for the unknown.
    deviation_ : float32 array of shape (n_users + 1,)
        Predictive standard deviation of a rating of each user; the last, of an unknown user.
    history_ : History
        One epoch is one sample; the validation loss is that of the mean of the samples so far.

    Raises
    ------
    ValueError, ModuleNotFoundError
        A parameter is out of range; in `fit`: Numba is not installed.

    Examples
    --------
    >>> from numpy_neural_mf import BayesianMF, simulate_ratings
    >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
    >>> model = BayesianMF(n_samples=20).fit(ratings)  # doctest: +SKIP
    >>> low, high = model.predict_interval(1, [10, 11])  # doctest: +SKIP
    """

    parameters_ = Forwarded[Parameters]("_learned.mean.factorization.parameters")
    deviation_ = Forwarded[Float32Array]("_learned.deviation")
    history_ = Forwarded[History]("_learned.history")
    # The number of ratings whose time is used: all training ratings, or none.
    n_timed_ = Forwarded[int]("_learned.mean.n_timed")

    kinds = DeprecatedName("latent_clusters")
    warm_up = DeprecatedName("burn_in")

    @renamed_parameters(**OLD_NAMES)
    def __init__(
        self,
        embedding_dim: int = 10,
        *,
        latent_clusters: int = 8,
        n_samples: int = 400,
        burn_in: int = 20,
        features: bool = True,
        implicit: bool = True,
        drift: bool = True,
        previous_item: bool = True,
        user_noise: bool = True,
        rank: int = 32,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.latent_clusters = latent_clusters
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.features = features
        self.implicit = implicit
        self.drift = drift
        self.previous_item = previous_item
        self.user_noise = user_noise
        self.rank = rank
        self.random_state = random_state
        for name in ("embedding_dim", "latent_clusters", "n_samples", "rank"):
            check_integer(name, getattr(self, name), at_least=1)
        check_integer("burn_in", burn_in, at_least=0)
        for name in ("features", "implicit", "drift", "previous_item", "user_noise"):
            check_boolean(name, getattr(self, name))

    @property
    def n_parameters_(self) -> int:
        """Number of parameters that a prediction may use."""
        return self._learned.mean.size

    @property
    def rating_steps_(self) -> Float32Array:
        return self._learned.rating_steps

    def fit(
        self,
        ratings: Ratings,
        validation: Ratings | None = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Draw samples, from scratch or from the checkpoint of the same training.

        Parameters
        ----------
        ratings : Ratings
        validation : Ratings, optional
            Its loss is in `history_`; it has no other effect.
        on_progress : callable, optional
            Called after each sample with a `Progress`.
        checkpoint_dir : path, optional
            Folder of the state of the training, written after every tenth sample. The same call with the same
            ratings and settings continues from there and gives the same model, bit for bit.

        Raises
        ------
        ModuleNotFoundError, ValueError
            Numba is not installed; the checkpoint belongs to other ratings or settings, or is damaged.
        """
        if find_spec("numba") is None:
            raise ModuleNotFoundError('BayesianMF needs numba: pip install "numpy-neural-mf[fast]"')
        rng = np.random.default_rng(self.random_state)
        require_ratings(ratings)
        if validation is not None:
            require_ratings(validation)
        ratings = ratings.compact(self.features)
        ids = ratings.user_ids, ratings.item_ids
        context_variables = context_variables_of(ratings, variable_names(self.drift, self.previous_item))
        monitor = checkpoint = None
        if validation is not None:
            rows = rows_of_pairs(validation, *ids)
            monitor = ValidationMonitor(*rows, validation.timestamps, validation.values, ratings.scale)
        if checkpoint_dir is not None:
            belongs_to = self._fingerprint(ratings, validation, rng)
            checkpoint = Checkpoint(checkpoint_dir, belongs_to, {"rng": rng})
        settings = {name: getattr(self, name) for name in SAMPLER_SETTINGS}
        settings |= {"n_factors": self.embedding_dim, "context_variables": context_variables}
        sampler = build_sampler(ratings, rng, **settings)
        posterior = Posterior(sampler, self.rank, context_variables)
        with one_blas_thread():  # products of a few columns: see docs/decisions/one-blas-thread.md
            history = draw_samples(
                sampler,
                posterior,
                n_samples=self.n_samples,
                burn_in=self.burn_in,
                monitor=monitor,
                on_progress=on_progress,
                checkpoint=checkpoint,
            )
            mean = posterior.mean()
        model = assemble(mean, ratings.scale, posterior.deviations(), few_steps(ratings.values), history)
        self._state = Fitted(*ids, ratings.scale, interactions_of(ratings, *ids), model)
        return self

    def _fingerprint(self, ratings: Ratings, validation: Ratings | None, rng: np.random.Generator) -> str:
        settings = {name: value for name, value in vars(self).items() if name[0] != "_"}
        settings |= {"random_state": rng.bit_generator.state}  # not as given
        given = [part for part in (ratings, validation) if part is not None]
        columns = [array for part in given for array in part.arrays]
        columns += [part.timestamps for part in given if part.timestamps is not None]
        return fingerprint(f"BayesianMF {settings}", columns)

    @property
    def _learned(self) -> FittedBayesianMF:
        return cast("FittedBayesianMF", self.fitted_.model)

    def _updated(self, update: Update) -> FittedBayesianMF:
        """Fit the rows of the new ratings; time-varying biases and context effects do not change."""
        old = self._learned
        plain = replace(old, factorization=old.mean.factorization)
        form, _ = updated(plain, update)
        deviation = np.full(len(update.user_ids) + 1, old.deviation[-1])
        deviation[update.old_users] = old.deviation[:-1]
        mean = old.mean.inserted(form, update.old_users, update.old_items)
        return assemble(mean, self.rating_scale_, deviation, old.rating_steps, old.history)

    def _embeddings(self, side: Side) -> FloatArray | None:
        """Item factors as they are, and user factors scaled by the norms of the columns of Q."""
        P, Q = (self.parameters_[f"{s}_embedding.weight"][:-1] for s in SIDES)
        return P * np.linalg.norm(Q, axis=0) if side == "user" else Q

    def _interval(self, coverage: float, located: Located) -> tuple[Float32Array, Float32Array]:
        deviation = self._deviation_of(located)
        return normal_interval(located.ratings(), deviation, coverage, self.rating_scale_)

    def _probabilities(self, located: Located) -> Float32Array:
        return normal_probabilities(located.ratings(), self._deviation_of(located), self.rating_steps_)

    def _deviation_of(self, located: Located) -> Float32Array:
        """Standard deviations of ratings; users and items without ratings add the prior variance."""
        fitted, model = self.fitted_, self._learned
        u, i = located.users, located.items
        u_is_new = np.append(fitted.counts("user"), 0)[u] == 0
        i_is_new = np.append(fitted.counts("item"), 0)[np.minimum(i, len(fitted.item_ids))] == 0
        if located.folded_in_user:
            u, u_is_new = np.full(u.shape, -1), np.zeros(u.shape, bool)
        if located.folded_in_item:
            i_is_new = np.zeros(i.shape, bool)
        of_user, of_item = (float(self.parameters_[f"{s}_bias.weight"][:-1].var()) for s in SIDES)
        p, q = (np.square(self.parameters_[f"{s}_embedding.weight"][:-1]).mean(axis=0) for s in SIDES)
        variance = np.square(model.deviation[u]) + of_user * u_is_new + of_item * i_is_new
        return np.asarray(np.sqrt(variance + float(p @ q) * (u_is_new | i_is_new)), np.float32)

    def _saved(self) -> Saved:
        return saved(self, self._learned)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        settings = {OLD_NAMES.get(name, name): value for name, value in contents.settings.items()}
        return cls(**{name: settings[name] for name in settings if name != "n_timed"}), fitted_of(contents)

"""Bayesian matrix factorisation by Gibbs sampling, with side information, time and context."""

import os
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from ..bayesian.context import variable_names
from ..bayesian.posterior import Posterior
from ..bayesian.posterior_mean import PosteriorMean
from ..bayesian.resumption import ValidationMonitor
from ..bayesian.sampling import build_sampler, context_variables_of, draw_samples
from ..data import RatingsLike
from ..mf.likelihood import Normal
from ..mf.parameters import SIDES, Parameters, Side
from ..mf.regularization import RowPenalty
from ..training.checkpoint import Checkpoint
from ..training.loop import MAX_EPOCHS, History, ProgressCallback
from ..training.progress import showing
from ..utils.arrays import Float32Array, FloatArray
from ..utils.deprecation import DeprecatedName, renamed_parameters
from ..utils.forwarded import Forwarded
from ..utils.settings import MAX_SIZE, check_boolean, check_fields, check_integer, known_keywords
from ..utils.threads import one_blas_thread
from .estimator import identity
from .files import TINY, Contents, Saved
from .fitted import Fitted, FittedModel, rows_of_pairs
from .fold_in import Located
from .given_ratings import given_ratings, warn_if_constant
from .incremental_update import Update, updated
from .uncertainty import DistributionRecommender, checked_steps, few_steps, interval, probabilities

# Former names of settings, as in older files.
OLD_NAMES = {"kinds": "latent_clusters", "warm_up": "burn_in"}
# Settings that are passed to the sampler.
SAMPLER_SETTINGS = ("latent_clusters", "features", "implicit", "drift", "user_noise")


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedBayesianMF(FittedModel):
    """A fitted `BayesianMF`."""

    mean: PosteriorMean
    deviation: Float32Array  # predictive standard deviation of each user, then of any user
    rating_steps: Float32Array  # the distinct training ratings, ascending; empty if there are many
    history: History


def assemble(mean: PosteriorMean, scale: tuple[float, float], **parts: Any) -> FittedBayesianMF:
    """Assemble a fitted model. The penalty of a row is the ratio σ²/σ_b² of noise and bias variance.

    The factors of users are on the scale of their biases, so one penalty serves both.
    """
    noise, tables = float(parts["deviation"][-1] ** 2), mean.factorization.parameters
    penalty = RowPenalty(*(noise / max(float(tables[f"{s}_bias.weight"][:-1].var()), 1e-6) for s in SIDES))
    return FittedBayesianMF(mean.at_last_time(), Normal(scale), penalty, timed=mean, mean=mean, **parts)


@renamed_parameters(**OLD_NAMES)
@known_keywords()
@dataclass(eq=False, repr=False)
class BayesianMF(DistributionRecommender):
    """Bayesian matrix factorisation by Gibbs sampling (Salakhutdinov and Mnih, 2008), with side information.

    A rating by user u of item i at time t is normal with mean ::

        r̂_ui(t) = μ + b_u + b_i + p_u · q_i + d_u(t) + d_i(t) + d(t) + Σ_c (w_c + (p_u + q_i) · z_c)

    and a variance that differs by user. b_u and p_u are sums over the user's id, features, implicit feedback
    (as in SVD++, Koren, 2008) and latent cluster, which is sampled; b_i and q_i likewise. d are time-varying
    biases. c is the context: which of 24 time bins of equal length t is in, and which item u rated before;
    it interacts with user and item as in a factorisation machine (Rendle, 2012). The variance of each part is
    sampled as well. Predictions are posterior means (see `bayesian.Sampler`); without a time they are for the
    last time bin, averaged over the previous item. A parameter out of range is a ValueError.

    Parameters
    ----------
    embedding_dim : int, default 10, length of p_u and q_i in a sample
    latent_clusters : int, default 8
        Largest number of latent clusters of users, and of items. There is at most one cluster for every ten
        ratings that a user, or an item, has on average, and none below twenty. Formerly `kinds`.
    n_samples : int, default 400, samples to average: more samples take longer and are slightly more accurate
    burn_in : int, default 20, samples to discard first; formerly `warm_up`
    features, implicit, drift, previous_item, user_noise : bool, default True
        Parts of the model, used if the ratings have the data: features (`Ratings.with_features`); implicit
        feedback, which items a user rated and which users rated an item; time-varying biases and time bins;
        the item that the user rated before; and a noise variance for each user instead of one for all.
    rank : int, default 32
        Number of columns of the posterior mean of the products p_u · q_i: see `bayesian.LowRankMean`.
    random_state : int, numpy.random.Generator or None, default 0
        The same seed gives the same model, bit for bit on one machine.

    Attributes
    ----------
    parameters_ : dict of str to float32 array; μ, b, p and q by PyTorch's names, without time-varying biases
        and context; the last row of each table stands for an unknown user or item.
    deviation_ : float32 array of shape (n_users + 1,), predictive standard deviation by user, then any user
    history_ : History; one epoch is one sample; the validation loss is that of the mean of the samples so far

    Examples
    --------
    >>> from numpy_neural_mf import BayesianMF, simulate_ratings
    >>> ratings = simulate_ratings(n_users=300, n_items=100, n_ratings=6_000)
    >>> model = BayesianMF(n_samples=20).fit(ratings)  # doctest: +SKIP
    >>> low, high = model.predict_interval(1, [10, 11])  # doctest: +SKIP
    """

    _learned = Forwarded[FittedBayesianMF]("fitted_.model")
    parameters_ = Forwarded[Parameters]("_learned.mean.factorization.parameters")
    deviation_ = Forwarded[Float32Array]("_learned.deviation")
    history_ = Forwarded[History]("_learned.history")
    # Number of ratings whose time is used: all training ratings, or none.
    n_timed_ = Forwarded[int]("_learned.mean.n_timed")
    # Number of parameters that a prediction may use.
    n_parameters_ = Forwarded[int]("_learned.mean.size")
    rating_steps_ = Forwarded[Float32Array]("_learned.rating_steps")

    kinds = DeprecatedName("latent_clusters")
    warm_up = DeprecatedName("burn_in")

    embedding_dim: int = 10
    _: KW_ONLY
    latent_clusters: int = 8
    n_samples: int = 400
    burn_in: int = 20
    features: bool = True
    implicit: bool = True
    drift: bool = True
    previous_item: bool = True
    user_noise: bool = True
    rank: int = 32
    random_state: int | np.random.Generator | None = 0

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "latent_clusters", "rank"):
            check_integer(name, getattr(self, name), at_least=1, at_most=MAX_SIZE)
        check_integer("n_samples", self.n_samples, at_least=1, at_most=MAX_EPOCHS)
        check_integer("burn_in", self.burn_in, at_least=0, at_most=MAX_EPOCHS)
        for name in ("features", "implicit", "drift", "previous_item", "user_noise"):
            check_boolean(name, getattr(self, name))

    def fit(
        self,
        ratings: RatingsLike,
        validation: RatingsLike = None,
        on_progress: ProgressCallback | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        *,
        progress: bool = False,
    ) -> Self:
        """Draw samples, from scratch or from a checkpoint of the same training.

        A ModuleNotFoundError says that Numba is not installed, a ValueError that the checkpoint is damaged or
        belongs to other ratings or settings.

        Parameters
        ----------
        ratings : Ratings, or what `read_ratings` takes
        validation : the same, optional; its loss is in `history_`; it has no other effect
        on_progress : callable, optional, called after each sample with a `Progress`
        checkpoint_dir : path, optional
            Folder for the state of the training, written after every tenth sample. The same call with the
            same ratings and settings continues from it and gives the same model, bit for bit.
        progress : bool, default False
            Whether to show progress: as a bar in a terminal or a notebook, otherwise as lines on standard
            error.
        """
        if find_spec("numba") is None:
            raise ModuleNotFoundError('BayesianMF needs numba: pip install "numpy-neural-mf[fast]"')
        rng = np.random.default_rng(self.random_state)
        ratings, validation = given_ratings(ratings, validation)
        given = [ratings] if validation is None else [ratings, validation]
        warn_if_constant(ratings)
        ratings = ratings.compact(self.features)
        context_variables = context_variables_of(ratings, variable_names(self.drift, self.previous_item))
        monitor = checkpoint = None
        if validation is not None:
            rows = rows_of_pairs(validation, ratings.user_ids, ratings.item_ids)
            monitor = ValidationMonitor(*rows, validation.timestamps, validation.values, ratings.scale)
        if checkpoint_dir is not None:
            # 3: earlier versions have other weights of implicit feedback in their state.
            belongs_to = identity(self, [ratings, *given[1:]], rng, name="BayesianMF 3 ")
            checkpoint = Checkpoint(checkpoint_dir, belongs_to, {"rng": rng})
        settings = {name: getattr(self, name) for name in SAMPLER_SETTINGS}
        settings |= {"n_factors": self.embedding_dim, "context_variables": context_variables}
        sampler = build_sampler(ratings, rng, **settings)
        posterior = Posterior(sampler, self.rank, context_variables)
        showing_it = showing(progress, "BayesianMF", on_progress)
        # Products with a few columns: see docs/decisions/one-blas-thread.md.
        with one_blas_thread(), showing_it as on_progress:
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
        parts = {"deviation": posterior.deviations(), "rating_steps": few_steps(ratings.values)}
        model = assemble(mean, ratings.scale, history=history, **parts)
        self._state = Fitted.of(ratings, model)
        return self

    def _updated(self, update: Update) -> FittedBayesianMF:
        """Fit the rows of the new ratings; time-varying biases and context effects do not change."""
        old = self._learned
        plain = replace(old, factorization=old.mean.factorization)
        form = updated(plain, update).factorization
        deviation = np.full(len(update.user_ids) + 1, old.deviation[-1])
        deviation[update.old_users] = old.deviation[:-1]
        mean = old.mean.inserted(form, update.old_users, update.old_items)
        parts = {"deviation": deviation, "rating_steps": old.rating_steps, "history": old.history}
        return assemble(mean, self.rating_scale_, **parts)

    def _embeddings(self, side: Side) -> FloatArray | None:
        """Return item factors, unscaled, or user factors scaled by the norms of the columns of Q."""
        P, Q = (self.parameters_[f"{s}_embedding.weight"][:-1] for s in SIDES)
        return P * np.linalg.norm(Q, axis=0) if side == "user" else Q

    def _interval(self, coverage: float, located: Located) -> tuple[Float32Array, Float32Array]:
        deviation = self._deviation_of(located)
        return interval(located.ratings(), deviation, coverage, self.rating_scale_)

    def _probabilities(self, located: Located) -> Float32Array:
        return probabilities(located.ratings(), self._deviation_of(located), self.rating_steps_)

    def _deviation_of(self, located: Located) -> Float32Array:
        """Return standard deviations of ratings; users and items without ratings add the prior variance."""
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
        fitted = self._learned
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        summary = {
            "history": asdict(fitted.history),
            "rating_steps": fitted.rating_steps.tolist(),
            "timescales": [drift.timescale for drift in fitted.mean.drifts],
        }
        arrays = fitted.mean.tensors() | {"deviation": fitted.deviation}
        return Saved(settings | {"n_timed": fitted.mean.n_timed}, summary, arrays)

    @classmethod
    def _loaded(cls, contents: Contents) -> tuple[Self, FittedModel]:
        settings = {OLD_NAMES.get(name, name): value for name, value in contents.settings.items()}
        check_fields("settings", settings, [*(field.name for field in fields(cls)), "n_timed"])
        check_fields("summary", contents.summary, ["history", "rating_steps", "timescales"])
        model = cls(**{name: settings[name] for name in settings if name != "n_timed"})
        summary, n_timed = contents.summary, settings["n_timed"]
        check_integer("n_timed", n_timed, at_least=0)
        n_users, n_items = len(contents.user_ids), len(contents.item_ids)
        parts = {name: settings[name] for name in ("n_timed", "rank", "drift", "previous_item")}
        parts |= {"timescales": summary["timescales"]}
        mean = PosteriorMean.from_tensors(contents.take, n_users, n_items, **parts)
        deviation = contents.take("deviation", np.float32, (n_users + 1,), TINY)
        learned = {"deviation": deviation, "rating_steps": checked_steps(summary["rating_steps"])}
        history = History.checked(summary["history"])
        return model, assemble(mean, contents.rating_scale, history=history, **learned)

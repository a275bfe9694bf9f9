"""What has been learned from many tasks, and everything that is computed from it."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skmeta._core.prior.answers import Answers, Grouped
from skmeta._core.prior.design import Design
from skmeta._core.prior.queries import Pool, Sets, apart_from, choose_queries


class SeenRows(NamedTuple):
    """Rows of one task, X standardised."""

    X: np.ndarray  # (n, n_features)
    Y: np.ndarray  # (n, o)
    weight: np.ndarray  # (n,)
    offset: np.ndarray  # (n, o), a base model's predictions on the scale of the outputs

    def weighing(self, share):
        """The same rows with a share of their weight."""
        return self._replace(weight=share * self.weight)


class Present(NamedTuple):
    """What is known about the coefficients of the task that a model is adapted to.

    ``rows`` are the rows it has seen, with X in the columns of the design, or all that
    they tell. They are kept only if the posterior is not normal, so that it must be
    computed anew, or if they are to count less when later rows come. ``shares`` are the
    probabilities of the factors of the noise. ``answers`` is for `explain`: the latest
    rows, unless ``rows`` are all rows, or which answer each of these belongs to.
    """

    mean: np.ndarray  # (P,)
    factor: np.ndarray  # (P, r), a factor of the covariance
    rows: object = None  # SeenRows or RowTriangle
    shares: np.ndarray | None = None  # (J,)
    latest: float | None = None  # the time of the latest row, if old rows count less
    answers: Answers | Grouped | None = None


@dataclass(frozen=True)
class LearnedPrior:
    """Coefficients of a new task ~ N(mean, factor factor'), and how they give targets.

    It holds only arrays and plain values. Adapting never changes it: `condition`
    returns what is known about one task as a `Present`, and None stands for a task
    without known rows. P coefficients are laid out output by output, each with the
    columns of the design. X is standardised everywhere.

    Attributes
    ----------
    model : GaussianModel, NoiseModel or LaplaceModel
        The likelihood, and everything that depends on it.
    design : Design
        The columns that the coefficients belong to.
    structure : str
        The structure of the spread between tasks.
    mean : ndarray of shape (P,)
    factor : ndarray of shape (P, r)
        Factor of the covariance of a new task: the spread, and the error of ``mean``.
    first_factor : ndarray of shape (P, r)
        The prior's factor before any data. It equals ``factor``, except after a fit to
        a single task: there ``factor`` is that task's posterior.
    spread : ndarray of shape (P, r)
        Factor of the covariance between tasks.
    unseen : ndarray of shape (P, q)
        Orthonormal directions of the coefficients about which no row says anything.
    noise : float
        Variance of the noise; 1 if the likelihood has none. If tasks differ in noise,
        it is that of tasks whose factor is 1.
    log_evidence : float
        Log density of all standardised targets.
    n_iter : int
        Iterations of the last search.
    stopped_after : int or None
        Number of iterations, if a search ended before it reached its tolerance.
    on_bound : bool
        Whether a spread ended at the largest value that rounding allows.
    rank : int or None
        Number of directions of the structure "low_rank".
    not_told : tuple (rows, coefficients) or None
        Set if tasks have too few rows to separate the spread from the noise: the
        largest number of rows of a task, and the number of coefficients that vary.
    n_feature_iter : int or None
        Number of meta-iterations that learned the features; 0 if they do not pay.
    feature_scores : list of float or None
        Log density of unseen rows of held-out tasks during the runs.
    features_too_short : bool
        Whether longer runs would probably learn better features.
    zero_shot : {"prior", "pooled", "constant"}
        Which model predicts before adapting.
    start_mean : ndarray of shape (P,)
        The coefficients of that model.
    calibration : Calibration or float
        Measured on held-out tasks. Of a `GaussianModel`, how large errors are. Of a
        `LaplaceModel`, the share of the posterior's variance that predictions of an
        adapted model average over.
    """

    model: object
    design: Design
    structure: str
    mean: np.ndarray
    factor: np.ndarray
    first_factor: np.ndarray
    spread: np.ndarray
    unseen: np.ndarray
    noise: float
    log_evidence: float
    n_iter: int
    stopped_after: int | None = None
    on_bound: bool = False
    rank: int | None = None
    not_told: tuple | None = None
    n_feature_iter: int | None = None
    feature_scores: list | None = None
    features_too_short: bool = False
    zero_shot: str = "prior"
    start_mean: np.ndarray | None = None
    calibration: object = None

    @classmethod
    def of_search(cls, prior, model, design, structure, **others):
        """Make it from the `Prior` at the end of a search."""
        return cls(model, design, structure, **_found(prior), **others)

    def after(self, prior, design):
        """The same after a further search, in the columns of another design."""
        found = _found(prior)
        if found["stopped_after"] is None:
            found["stopped_after"] = self.stopped_after
        found["on_bound"] |= self.on_bound
        return replace(self, design=design, **found)

    @property
    def n_outputs(self):
        return len(self.mean) // self.design.n_columns

    # -- one task ---------------------------------------------------------------------

    def condition(self, rows, present=None):
        """What is known about a task after further `SeenRows`, as a `Present`."""
        recency = self.model.recency
        latest = None
        if recency is not None and recency.forgets:
            rows, present, latest = recency.fade(rows, present)
        found = self.model.condition(self, rows, present)
        answers = None
        if not isinstance(found.rows, SeenRows):
            answers = Answers.after(present, rows, latest, recency)
        return found._replace(latest=latest, answers=answers)

    def known(self, present):
        """What is known about the coefficients: those of a task, or the prior."""
        return Present(self.mean, self.factor) if present is None else present

    def predicting(self, present):
        """The coefficients that predict: those of a task, or the start."""
        if present is not None:
            return present
        if self.zero_shot == "prior":
            return Present(self.mean, self.factor)
        return Present(self.start_mean, self.model.start_factor(self.factor))

    def mean_noise(self, present=None):
        """Variance of the noise of a task, averaged over what is not known of it."""
        factors, shares = self.model.noise_levels(present)
        return self.noise * float(shares @ factors)

    # -- predictions ------------------------------------------------------------------

    def outputs(self, X, offset=None, mean=None):
        """Outputs (n, o) of rows X at some coefficients, or at those of the start."""
        coef = (self.start_mean if mean is None else mean).reshape(self.n_outputs, -1)
        Z = self.design.times(X, coef)
        return Z if offset is None else Z + offset

    def predictive(self, X, offset=None, present=None):
        """The predictive distribution at rows X, as the model describes it."""
        return self.model.predictive(self, *self._at(X, offset, present))

    def interval(self, X, offset=None, present=None, **options):
        """Mean and half the width (n, 2) of intervals at rows X, of numbers."""
        return self.model.interval(self, *self._at(X, offset, present), **options)

    def log_density(self, X, y, offset=None, present=None):
        """Log density (n,) of new numbers y at rows X."""
        return self.model.log_density(self, *self._at(X, offset, present), y)

    def _at(self, X, offset, present):
        """The outputs at rows X, how they vary, and what is known of the task."""
        known = self.predicting(present)
        return (
            self.outputs(X, offset, known.mean),
            self._moved(X, known.factor),
            present,
        )

    def draw(self, X, n_draws, rng, offset=None, present=None, **options):
        """Targets (n_draws, n, o), drawn from the predictive distribution.

        The rows of a draw have the same coefficients.
        """
        at = self._at(X, offset, present)
        return self.model.draw(self, *at, n_draws, rng, **options)

    def _moved(self, X, factor):
        """A factor (n, o, r) of how the outputs of rows vary."""
        columns = self.design(X)
        if columns.ndim == 3:
            return columns @ factor
        blocks = factor.reshape(self.n_outputs, columns.shape[1], -1)
        return np.einsum("nd,odr->nor", columns, blocks, optimize=True)

    # -- questions --------------------------------------------------------------------

    def information(self, X, offset=None, present=None):
        """Square root (n, o, o) of the information in an answer about each row."""
        Z = self.outputs(X, offset, self.known(present).mean)
        return self.model.root_information(Z)

    def choose_queries(self, columns, information, n_queries, present=None):
        """Choose the rows of a pool to ask about first.

        Parameters
        ----------
        columns : callable
            Returns the columns of the design for a slice of the rows: (n, P), or
            (n, J, P) for choice sets.
        information : ndarray of shape (n, o, o)
            The information of all rows.
        n_queries : int
        present : Present or None
        """
        factor = self.known(present).factor / np.sqrt(self.mean_noise(present))
        if factor.shape[1] > len(factor):  # fewer columns give the same covariance
            factor = np.linalg.qr(factor.T, mode="r").T
        kind = Sets if columns(slice(0, 1)).ndim == 3 else Pool
        pool = apart_from(kind(columns, information, factor), self.unseen)
        return choose_queries(pool, n_queries)


def _found(prior):
    """The parts of a `Prior` that are kept."""
    factor = prior.factor
    return {
        "mean": prior.mean,
        "factor": factor,
        "first_factor": factor,
        "spread": prior.spread,
        "unseen": prior.unseen,
        "noise": float(prior.noise),
        "log_evidence": float(prior.log_evidence),
        "n_iter": max(1, prior.n_iter),
        "stopped_after": None if prior.converged else prior.n_iter,
        "on_bound": prior.on_bound,
    }

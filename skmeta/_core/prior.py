"""A Gaussian prior over tasks: searched for by its evidence, its structure chosen.

The tasks' likelihood is a `GaussianTasks` or a `LogisticTasks`; both give the evidence
of a spread L and its gradient, and nothing here depends on which.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from skmeta._core.structures import Diagonal, Full, LowRank, groups

START_VARIANCE = 0.25  # of coefficients, in units of the noise, where searches begin


@dataclass(frozen=True)
class Prior:
    """Coefficients of a task ~ N(mean, spread spread').

    Attributes
    ----------
    mean : ndarray of shape (P,)
    spread : ndarray of shape (P, r)
        Factor of the covariance between tasks.
    mean_covariance : ndarray of shape (P, P)
        Of the error of ``mean`` itself, which was estimated from finitely many tasks.
    noise : float
        Variance of the noise; 1 where the likelihood has none.
    log_evidence : float
    numbers : ndarray
        The free numbers of the structure.
    D : ndarray of shape (P, P)
        The gradient of the evidence in L is D L: what it would like to see more of.
    n_iter : int
    """

    mean: np.ndarray
    spread: np.ndarray
    mean_covariance: np.ndarray
    noise: float
    log_evidence: float
    numbers: np.ndarray
    D: np.ndarray
    n_iter: int

    @property
    def covariance(self):
        return self.spread @ self.spread.T

    @property
    def factor(self):
        """Square factor of what a new task varies by: the spread and the mean's error.

        A task's coefficients differ from ``mean`` by both.
        """
        values, vectors = np.linalg.eigh(self.covariance + self.mean_covariance)
        return vectors * np.sqrt(np.maximum(values, 0.0))


def fit_prior(tasks, structure, numbers, mean=None, *, tol=1e-5, max_iter=200):
    """The prior of the given structure with the largest evidence, from a start.

    L-BFGS on the exact gradient, of the evidence per task. EM climbs the same hill, but
    ever slower where a spread is nearly zero.
    """
    start, directions = tasks.mean_coordinates(mean)
    n, state, first = len(numbers), None, None

    def evidence(x):
        return tasks.evidence(
            structure.factor(x[:n]), start + directions @ x[n:], state
        )

    def negative(x):
        nonlocal state, first
        found = evidence(x)
        state = found.state
        penalty, slope = structure.penalty(x[:n])
        value = found.value + penalty
        # the tolerance is one of gains, and no matter of how large the evidence is
        first = value if first is None else first
        gradient = np.concatenate(
            [
                structure.gradient(x[:n], found.D) + slope,
                directions.T @ found.mean_slope,
            ]
        )
        return (first - value) / tasks.n_tasks, -gradient / tasks.n_tasks

    # per task; many tasks tell the spread more finely than it is worth searching for
    gain = 0.01 * tol * max(1.0, tasks.n_tasks / 300)
    free = [(None, None)] * directions.shape[1]
    search = minimize(
        negative,
        np.concatenate([numbers, np.zeros(directions.shape[1])]),
        jac=True,
        method="L-BFGS-B",
        bounds=structure.bounds + free,
        options={"maxiter": max_iter, "ftol": gain, "gtol": tol},
    )
    found = evidence(search.x)
    numbers = search.x[:n]
    return Prior(
        mean=found.mean,
        spread=np.sqrt(found.noise) * structure.factor(numbers),
        mean_covariance=found.noise * np.linalg.inv(found.precision),
        noise=found.noise,
        log_evidence=found.value,
        numbers=numbers,
        D=found.D,
        n_iter=search.nit,
    )


def first_fit(tasks, structure, **options):
    """A fit from no knowledge."""
    covariance = START_VARIANCE * np.eye(tasks.n_coefficients)
    return fit_prior(tasks, structure, structure.start(covariance, None), **options)


def next_fit(tasks, structure, smaller, **options):
    """A fit from that of a smaller structure."""
    start = structure.start(smaller.covariance / smaller.noise, smaller.D)
    return fit_prior(tasks, structure, start, smaller.mean, **options)


# -- which structure ------------------------------------------------------------------

N_FOLDS = 5
MIN_TASKS = 5  # to hold any out
MAX_FOLD_ITER = 30  # from the fit to all tasks, which is near
ROWS_PER_NUMBER = 3  # of mean and spread, for "diagonal" and beyond
MAX_COEFFICIENTS = 60  # of structures with correlations, where not asked for


def too_many_classes(tasks, shape):
    """Whether slopes of each class would take long, and intercepts may do."""
    _, n_outputs, fit_intercept = shape
    many = tasks.n_coefficients > MAX_COEFFICIENTS
    return n_outputs > 1 and many and fit_intercept


@dataclass(frozen=True)
class Fold:
    """Tasks held out, and the prior learned from the others."""

    held_out: np.ndarray
    kept: np.ndarray
    prior: Prior


@dataclass(frozen=True)
class Candidate:
    """A structure with its fit to all tasks and to all but each fold.

    ``score`` (T,) is of each task by the prior that has not seen it, with the best of
    the options of how to predict; ``scores`` (options, T) are with each of them.
    """

    name: str
    structure: Diagonal | LowRank | Full
    prior: Prior
    folds: list
    score: np.ndarray
    scores: np.ndarray


class Search:
    """Fits structures from simple to rich, each from the one before.

    ``shape`` is (n_features, n_outputs, fit_intercept) of the coefficients.
    """

    def __init__(self, tasks, shape, rng, **options):
        self.tasks, self.shape, self.options = tasks, shape, options
        n = tasks.n_tasks
        n_folds = min(N_FOLDS, n) if n >= MIN_TASKS else 0
        parts = np.array_split(rng.permutation(n), max(n_folds, 1))
        self.held_out = [np.sort(part) for part in parts][:n_folds]
        self.tried = []
        self.seed = rng.randint(2**31)  # of draws of rows: the same for all structures

    def run(self, name):
        """The `Candidate` of the structure asked for, or of the best one."""
        if name == "auto" and not self.held_out:
            name = "isotropic"
        return self._best(list(self._candidates(name)))

    def _candidates(self, name):
        prior = None
        for kind in ("intercept", "isotropic", "diagonal"):
            structure = Diagonal(groups(kind, *self.shape))
            if structure.n_numbers == 0:  # no intercept
                continue
            if name == "auto" and kind == "diagonal" and self._too_few_rows(structure):
                return
            if (
                name == "auto"
                and kind != "intercept"
                and too_many_classes(self.tasks, self.shape)
            ):
                return
            # slopes that did not vary before would begin where nothing pulls at them
            smaller, start = prior, prior if kind == "diagonal" else None
            prior = self._fit(structure, start)
            if name == kind or (
                name == "auto" and self._pays(prior, self._like(prior, smaller))
            ):
                yield self._validated(kind, structure, prior)
            if name == kind:
                return
        P = self.tasks.n_coefficients
        if name == "low_rank" or (name == "auto" and self._worth_correlations()):
            yield from self._ranks(P, prior, name)
        structure = Full(P, shrinkage=P)
        if name == "full" or (
            name == "auto"
            and self._worth_correlations()
            and not self._too_few_rows(structure)
        ):
            yield self._validated("full", structure, self._fit(structure, prior))

    def _too_few_rows(self, structure):
        """Whether the rows are too few to tell the numbers from the noise.

        The first row of each task does not: it may be all spread, or all noise.
        """
        n_numbers = self.tasks.n_coefficients + structure.n_numbers
        n_rows = np.maximum(self.tasks.n_rows - 1, 0).sum()
        return n_rows < ROWS_PER_NUMBER * n_numbers

    def _like(self, prior, smaller):
        """A simpler fit whose evidence is found in the way of a richer one.

        That of labels is exact where one coefficient varies, and else an approximation,
        which would be compared with the exact one.
        """
        tasks = self.tasks
        if smaller is None or not hasattr(tasks, "like_richer"):
            return smaller
        if smaller.spread.shape[1] > 1 or prior.spread.shape[1] == 1:
            return smaller
        structure = Diagonal(groups("intercept", *self.shape))
        tasks = replace(tasks, like_richer=True)
        return fit_prior(
            tasks, structure, smaller.numbers, smaller.mean, **self.options
        )

    @staticmethod
    def _pays(prior, smaller):
        """Whether each further number gains more evidence than by chance (Akaike)."""
        if smaller is None:
            return True
        more = len(prior.numbers) - len(smaller.numbers)
        return prior.log_evidence - smaller.log_evidence >= more

    def _worth_correlations(self):
        """Whether structures with correlations are affordable and may do better."""
        _, n_outputs, _ = self.shape
        if self.tasks.n_coefficients > MAX_COEFFICIENTS or n_outputs > 1:
            return False
        last = self.tried[-1]
        lags = (c.score - last.score for c in self.tried[:-1])
        return not any(lag.mean() > 2 * _standard_error(lag) for lag in lags)

    def _ranks(self, P, diagonal, name):
        """Ranks 1, 2, ... for as long as they predict held-out tasks better."""
        best = -np.inf
        for rank in range(1, max(P, 2)):
            structure = LowRank(P, rank)
            if name == "auto" and self._too_few_rows(structure):
                return
            prior = self._fit(structure, diagonal)
            if not self._pays(prior, diagonal) and (rank > 1 or name == "auto"):
                return
            candidate = self._validated("low_rank", structure, prior)
            if candidate.score.sum() <= best:
                return
            best = candidate.score.sum()
            yield candidate
            if not self.held_out:
                return

    def _fit(self, structure, smaller):
        if smaller is None:
            return first_fit(self.tasks, structure, **self.options)
        return next_fit(self.tasks, structure, smaller, **self.options)

    def _validated(self, name, structure, prior):
        scores, folds = [], []
        max_iter = min(MAX_FOLD_ITER, self.options["max_iter"])
        options = self.options | {"max_iter": max_iter}
        for held_out in self.held_out:
            kept = np.setdiff1d(np.arange(self.tasks.n_tasks), held_out)
            tasks = self.tasks.subset(kept)
            fold = fit_prior(tasks, structure, prior.numbers, prior.mean, **options)
            held = self.tasks.subset(held_out)
            scores.append(held.held_out_score(fold, self.seed))
            # of what it would see more of nobody asks: a matrix of all columns
            folds.append(Fold(held_out, kept, replace(fold, D=None)))
        if not folds:
            return Candidate(
                name, structure, prior, folds, np.zeros(1), np.zeros((1, 0))
            )
        scores = np.concatenate(scores, axis=1)
        best = scores[scores.sum(axis=1).argmax()]
        candidate = Candidate(name, structure, prior, folds, best, scores)
        self.tried.append(candidate)
        return candidate

    @staticmethod
    def _best(candidates):
        """The simplest that is within half a standard error of the best."""
        best = max(candidates, key=lambda c: c.score.sum())
        for candidate in candidates:
            lag = best.score - candidate.score
            if lag.mean() <= 0.5 * _standard_error(lag):
                return candidate
        return best


def _standard_error(values):
    return values.std() / np.sqrt(len(values))


# -- before adapting ------------------------------------------------------------------

ZERO_SHOT = ("prior", "pooled", "constant")


def zero_shot(folds):
    """Which of three predictions is the best for held-out tasks before adapting.

    Those are the prior's, the fit to all rows as one task, and a constant. A task's own
    mean is the best start for adapting, and yet not always the best guess for its rows:
    slopes within and between tasks may have different signs. ``folds`` are (tasks kept,
    tasks held out, prior learned from those kept).
    """
    losses = np.zeros(len(ZERO_SHOT))
    for kept, held_out, prior in folds:
        losses += [
            held_out.prior_loss(prior).sum(),
            held_out.loss(kept.pooled()).sum(),
            held_out.loss(kept.constant()).sum(),
        ]
    return ZERO_SHOT[int(losses.argmin())]

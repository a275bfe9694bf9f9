"""A Gaussian prior over tasks: searched for by its evidence, its structure chosen.

The tasks' likelihood is a `GaussianTasks` or a `LogisticTasks`; both give the evidence
of a spread L and its gradient, and nothing here depends on which.
"""

from dataclasses import dataclass

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
    n, state = len(numbers), None

    def evidence(x):
        return tasks.evidence(
            structure.factor(x[:n]), start + directions @ x[n:], state
        )

    def negative(x):
        nonlocal state
        found = evidence(x)
        state = found.state
        penalty, slope = structure.penalty(x[:n])
        gradient = np.concatenate(
            [
                structure.gradient(x[:n], found.D) + slope,
                directions.T @ found.mean_slope,
            ]
        )
        return -(found.value + penalty) / tasks.n_tasks, -gradient / tasks.n_tasks

    free = [(None, None)] * directions.shape[1]
    search = minimize(
        negative,
        np.concatenate([numbers, np.zeros(directions.shape[1])]),
        jac=True,
        method="L-BFGS-B",
        bounds=structure.bounds + free,
        options={"maxiter": max_iter, "ftol": 0.01 * tol, "gtol": tol},
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
FOLD_SLACK = 10  # a fold's prior is used to compare, and may be a little less exact
MAX_COEFFICIENTS = 60  # of structures with correlations, where not asked for


@dataclass(frozen=True)
class Fold:
    """Tasks held out, and the prior learned from the others."""

    held_out: np.ndarray
    kept: np.ndarray
    prior: Prior


@dataclass(frozen=True)
class Candidate:
    """A structure with its fit to all tasks and to all but each fold."""

    name: str
    structure: Diagonal | LowRank | Full
    prior: Prior
    folds: list
    density: np.ndarray  # (T,) of each task, by the prior that has not seen it


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

    def run(self, name):
        """The `Candidate` of the structure asked for, or of the best one."""
        if name == "auto" and not self.held_out:
            name = "isotropic"
        return self._best(list(self._candidates(name)))

    def _candidates(self, name):
        simple = ["intercept"] if self.shape[-1] else []
        prior = None
        for kind in [*simple, "isotropic", "diagonal"]:
            structure = Diagonal(groups(kind, *self.shape))
            # slopes that did not vary before would begin where nothing pulls at them
            prior = self._fit(structure, prior if kind == "diagonal" else None)
            if name in ("auto", kind):
                yield self._validated(kind, structure, prior)
            if kind == name:
                return
        P = self.tasks.n_coefficients
        rich = name != "auto" or P <= MAX_COEFFICIENTS
        if name in ("auto", "low_rank") and rich:
            yield from self._ranks(P, prior, name)
        if name in ("auto", "full") and rich:
            structure = Full(P, shrinkage=P)
            yield self._validated("full", structure, self._fit(structure, prior))

    def _ranks(self, P, diagonal, name):
        """Ranks 1, 2, ... for as long as they predict held-out tasks better."""
        best = -np.inf
        for rank in range(1, max(P, 2)):
            structure = LowRank(P, rank)
            prior = self._fit(structure, diagonal)
            gained = prior.log_evidence - diagonal.log_evidence
            if gained < P * rank and (rank > 1 or name == "auto"):
                return  # less than one per further number will not hold up (Akaike)
            candidate = self._validated("low_rank", structure, prior)
            if candidate.density.sum() <= best:
                return
            best = candidate.density.sum()
            yield candidate
            if not self.held_out:
                return

    def _fit(self, structure, smaller):
        if smaller is None:
            return first_fit(self.tasks, structure, **self.options)
        return next_fit(self.tasks, structure, smaller, **self.options)

    def _validated(self, name, structure, prior):
        density, folds = np.zeros(self.tasks.n_tasks), []
        options = self.options | {"tol": FOLD_SLACK * self.options["tol"]}
        for held_out in self.held_out:
            kept = np.setdiff1d(np.arange(self.tasks.n_tasks), held_out)
            tasks = self.tasks.subset(kept)
            fold = fit_prior(tasks, structure, prior.numbers, prior.mean, **options)
            density[held_out] = self.tasks.subset(held_out).log_density(fold)
            folds.append(Fold(held_out, kept, fold))
        return Candidate(name, structure, prior, folds, density)

    @staticmethod
    def _best(candidates):
        """The simplest that is within one standard error of the best."""
        best = max(candidates, key=lambda c: c.density.sum())
        for candidate in candidates:
            lag = best.density - candidate.density
            if lag.mean() <= lag.std() / np.sqrt(len(lag)):
                return candidate
        return best


# -- before adapting ------------------------------------------------------------------

ZERO_SHOT = ("prior", "pooled", "constant")


def zero_shot(tasks, folds):
    """Which of three predictions is the best for held-out tasks before adapting.

    Those are the prior's, the fit to all rows as one task, and a constant. A task's own
    mean is the best start for adapting, and yet not always the best guess for its rows:
    slopes within and between tasks may have different signs.
    """
    if not folds:
        return "prior"
    losses = np.zeros(len(ZERO_SHOT))
    for fold in folds:
        kept, held_out = tasks.subset(fold.kept), tasks.subset(fold.held_out)
        losses += [
            held_out.prior_loss(fold.prior).sum(),
            held_out.loss(kept.pooled()).sum(),
            held_out.loss(kept.constant()).sum(),
        ]
    return ZERO_SHOT[int(losses.argmin())]

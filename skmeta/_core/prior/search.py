"""A Gaussian prior over tasks: searched for by its evidence, its structure chosen.

The tasks' likelihood is a `GaussianTasks` or a `LaplaceTasks`; both give the evidence
of a spread L and its gradient, and nothing here depends on which.
"""

from dataclasses import dataclass, replace
from itertools import product, starmap

import numpy as np
from scipy.optimize import minimize

from skmeta._core.prior.structures import (
    BOUNDS,
    SMALLEST,
    Diagonal,
    Full,
    LowRank,
    Placed,
    groups,
    place,
)

START_VARIANCE = 0.25  # of coefficients, in units of the noise, where searches begin
PLACED_START = 4.0  # the same, in units of what a task could just tell
LEVELS = (0.03, 0.3, 2.0, 20.0, 1e3)  # deviations where a search looks before it begins
BOLDNESS = (3.0, 1.0, 0.1, 0.0)  # how far from a simpler fit to begin; 0 is that fit
FEW_NUMBERS = 2  # for which all LEVELS of each are looked at
MANY_TASKS = 2000  # that are not looked at so often
SMALL = 1e-4  # of a quadratic penalty: where the rows tell nothing, nothing is spread
MEMORY = 40  # steps that L-BFGS remembers
MAX_SCALED = 100  # numbers whose curvature is measured one by one
RESTARTS = 5  # of a search that stopped on a slope
POLISHED = 12  # numbers that Newton's method refines
MAX_POLISH = 4  # steps of it, with one Hessian
COMPARED = 10.0  # tolerance of fits that structures are compared by
REFINED = 0.01  # tolerance of the fit that is kept
NONE_LEFT = 1e-3  # deviation that a search may have lost ...
WANTED = 0.1  # ... where the slope in the variance is more, per root of a task
STEP = 1e-5  # of a finite difference
TIE = 1e-9  # relative: scores that differ by no more are equal up to rounding


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
    unseen : ndarray of shape (P, q)
        Orthonormal directions of the mean that no row looked at.
    noise : float
        Variance of the noise; 1 where the likelihood has none.
    log_evidence : float
    objective : float
        What was maximised: the same with the penalties of the structure.
    numbers : ndarray
        The free numbers of the structure.
    D : ndarray of shape (P, P)
        The gradient of the evidence in L is D L: what it would like to see more of.
    n_iter : int
    converged : bool
        Whether the search ended at a maximum.
    on_bound : bool
        Whether a spread ended where rounding allows no larger one.
    """

    mean: np.ndarray
    spread: np.ndarray
    mean_covariance: np.ndarray
    unseen: np.ndarray
    noise: float
    log_evidence: float
    objective: float
    numbers: np.ndarray
    D: np.ndarray
    n_iter: int
    converged: bool = True
    on_bound: bool = False

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


class Hill:
    """The evidence as a function of a structure's numbers, and of the mean if need be.

    ``x`` are the numbers, followed by coordinates of the mean. Values and slopes are
    those of the sum over tasks, as is the tolerance: many tasks that tell little must
    not dilute what a few tell. A penalty that matters only where the evidence is flat
    makes the maximum one point, whatever the order, the units and the rounding.
    """

    def __init__(self, tasks, structure, mean):
        self.tasks, self.structure = tasks, structure
        self.start, self.directions = tasks.mean_coordinates(mean)
        self.n = structure.n_numbers
        self.deviations = np.array([b == BOUNDS for b in structure.bounds], dtype=bool)
        free = [(-np.inf, np.inf)] * self.directions.shape[1]
        self.bounds = structure.bounds + free
        self.state = None

    def point(self, numbers):
        return np.concatenate([numbers, np.zeros(self.directions.shape[1])])

    def evidence(self, x):
        numbers, mean = x[: self.n], self.start + self.directions @ x[self.n :]
        found = self.tasks.evidence(self.structure.factor(numbers), mean, self.state)
        self.state = found.state
        return found

    def climb(self, x):
        """Value and slope."""
        found, numbers = self.evidence(x), x[: self.n]
        penalty, slope = self.structure.penalty(numbers)
        value = found.value + penalty - 0.5 * SMALL * numbers @ numbers
        slope = slope + self.structure.gradient(numbers, found.D) - SMALL * numbers
        return value, np.concatenate([slope, self.directions.T @ found.mean_slope])

    def value(self, x):
        return self.climb(x)[0]

    def raised(self, x):
        """x with deviations that are nearly none made large enough to be felt.

        Only those that the evidence asks more of: at zero it is level in a deviation,
        even where it rises in the variance, and a search would stay there.
        """
        numbers = x[: self.n]
        none = (np.abs(numbers) < NONE_LEFT) & self.deviations
        if not none.any():
            return x
        felt = np.where(none, SMALLEST, numbers)
        slope = self.structure.gradient(felt, self.evidence(x).D)
        wanted = none & (slope > WANTED * SMALLEST * np.sqrt(self.tasks.n_tasks))
        return np.concatenate([np.where(wanted, felt, numbers), x[self.n :]])

    def free(self, x, slope):
        """Which coordinates are at no bound that the slope pushes against."""
        low, high = np.reshape(self.bounds, (-1, 2)).T
        return ~(((x <= low) & (slope < 0)) | ((x >= high) & (slope > 0)))

    def rounding(self, value):
        """A slope that is as good as none: what it could gain is lost in rounding."""
        n_tasks = self.tasks.n_tasks
        return min(1e-6 * np.sqrt((abs(value) + n_tasks) * n_tasks), 0.01 * n_tasks)

    def steepness(self, x, slope):
        """The largest slope in a coordinate that is free to move."""
        return np.abs(slope[self.free(x, slope)]).max(initial=0.0)


def fit_prior(
    tasks,
    structure,
    numbers,
    mean=None,
    *,
    tol=1e-5,
    max_iter=200,
    polish=True,
    scale=1.0,
):
    """The prior of the given structure with the largest evidence, from a start.

    L-BFGS on the exact gradient. EM climbs the same hill, but ever slower where a
    spread is nearly zero. The search ends where the slope of the total evidence, in
    each number, is below ``tol`` times the root of the number of tasks: a slope that
    the tasks leave by chance is of the order of that root.
    """
    hill = Hill(tasks, structure, mean)
    x, n_iter, converged = _ascend(hill, hill.point(numbers), tol, max_iter, scale)
    raised = hill.raised(x)
    if n_iter < max_iter and not np.array_equal(raised, x):
        left = max_iter - n_iter
        again, more, done = _ascend(hill, raised, tol, left, scale)
        n_iter += more
        if hill.value(again) > hill.value(x):
            x, converged = again, done
    if polish and converged and len(x) <= POLISHED:
        x = _polish(hill, x)
    found = hill.evidence(x)
    numbers = x[: hill.n]
    return Prior(
        mean=found.mean,
        spread=np.sqrt(found.noise) * structure.factor(numbers),
        mean_covariance=tasks.mean_covariance(found),
        unseen=tasks.unseen(found),
        noise=found.noise,
        log_evidence=found.value,
        objective=found.value + structure.penalty(numbers)[0],
        numbers=numbers,
        D=found.D,
        n_iter=n_iter,
        converged=converged,
        on_bound=bool((np.abs(numbers[hill.deviations]) > 0.99 * BOUNDS[1]).any()),
    )


def _ascend(hill, x, tol, max_iter, scale=1.0):
    """Where L-BFGS ends, its number of iterations, and whether that is a maximum.

    A search that stops on a slope, as its line search may, begins anew there. It walks
    in coordinates x / scale.
    """
    n_tasks = hill.tasks.n_tasks
    goal = tol * np.sqrt(n_tasks)
    first, slope = hill.climb(x)
    n_iter, best = 0, first
    scale = np.broadcast_to(scale, x.shape)

    def negative(z):
        value, slope = hill.climb(z * scale)
        return (first - value) / n_tasks, -scale * slope / n_tasks

    for _ in range(RESTARTS):
        if hill.steepness(x, slope) <= goal or n_iter >= max_iter:
            break
        search = minimize(
            negative,
            x / scale,
            jac=True,
            method="L-BFGS-B",
            bounds=np.reshape(hill.bounds, (-1, 2)) / scale[:, None],
            options={
                "maxcor": MEMORY,
                "maxiter": max_iter - n_iter,
                "maxfun": 20 * max_iter,
                "ftol": 1e-15,
                "gtol": scale.min(initial=1.0) * goal / n_tasks,
            },
        )
        n_iter += search.nit
        reached = search.x * scale
        value, new_slope = hill.climb(reached)
        gain = value - best
        if not gain > 0:
            break
        x, slope, best = reached, new_slope, value
        if gain <= tol**2 * n_tasks:
            break
    return x, n_iter, hill.steepness(x, slope) <= max(10 * goal, hill.rounding(best))


def _polish(hill, x):
    """Newton's method from near the maximum, its Hessian by differences."""
    _, slope = hill.climb(x)
    free = np.flatnonzero(hill.free(x, slope))
    if len(free) == 0:
        return x
    steps = STEP * np.eye(len(x))[free]
    H = np.array([(hill.climb(x + h)[1] - slope)[free] / STEP for h in steps])
    values, vectors = np.linalg.eigh(0.5 * (H + H.T))
    if not (values < 0).all():
        return x
    for _ in range(MAX_POLISH):
        tried = x.copy()
        tried[free] -= vectors @ ((vectors.T @ slope[free]) / values)
        if np.abs(tried).max(initial=0.0) >= BOUNDS[1]:
            break
        new_slope = hill.climb(tried)[1]
        if not np.abs(new_slope[free]).max(initial=0.0) < 0.5 * np.abs(slope[free]).max(
            initial=0.0
        ):
            break
        x, slope = tried, new_slope
    return x


def first_fit(tasks, structure, **options):
    """A fit from no knowledge: of few numbers, from the best of several levels."""
    P = tasks.n_coefficients
    if isinstance(structure, Placed):
        numbers = structure.inner.start(PLACED_START * np.eye(P), None)
    else:
        numbers = structure.start(START_VARIANCE * np.eye(P), None)
    starts = [numbers]
    if len(numbers) <= FEW_NUMBERS and tasks.n_tasks <= MANY_TASKS:
        levels = np.arcsinh(LEVELS)
        starts = [numbers, *map(np.array, product(levels, repeat=len(numbers)))]
    return fit_prior(tasks, structure, _best(tasks, structure, starts), **options)


def next_fit(tasks, structure, smaller, **options):
    """A fit from that of a smaller structure, and never below it."""
    starts = [
        structure.start(smaller.covariance / smaller.noise, smaller.D, boldness)
        for boldness in BOLDNESS
    ]
    mean = smaller.mean
    start = _best(tasks, structure, starts, mean)
    return fit_prior(tasks, structure, start, mean, **options)


def at_least(prior, smaller, tasks, structure, **options):
    """The fit itself, or one that begins at a simpler one, if that is better."""
    if smaller is None or prior.objective >= smaller.objective - SMALL:
        return prior
    again = next_fit(tasks, structure, smaller, **options)
    return max(prior, again, key=lambda fit: fit.objective)


def _best(tasks, structure, starts, mean=None):
    """The start of the largest evidence."""
    starts = list({tuple(start): start for start in starts}.values())
    if len(starts) == 1:
        return starts[0]
    hill = Hill(tasks, structure, mean)
    values = [hill.value(hill.point(start)) for start in starts]
    return starts[int(np.argmax(values))]


# -- which structure ------------------------------------------------------------------

N_FOLDS = 5
MIN_TASKS = 5  # to hold any out
MAX_FOLD_ITER = 30  # from the fit to all tasks, which is near
ROWS_PER_NUMBER = 3  # of mean and spread, for "diagonal" and beyond
# A structure is chosen with at most this many tasks; more do not change the choice.
MAX_TASKS = 200
MAX_COEFFICIENTS = 60  # of structures with correlations, where not asked for


def too_many_classes(tasks, shape):
    """Whether slopes of each class would take long, and intercepts may do."""
    _, n_outputs, fit_intercept = shape
    many = tasks.n_coefficients > MAX_COEFFICIENTS
    return n_outputs > 1 and many and fit_intercept


@dataclass(frozen=True)
class StructureFold:
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


class StructureSearch:
    """Fits structures from simple to rich, each from the one before.

    ``shape`` is (n_features, n_outputs, fit_intercept) of the coefficients, and
    ``units`` (P, P) turns those that the structures refer to into those of the tasks.
    """

    def __init__(self, tasks, shape, rng, units=None, **options):
        self.tasks, self.shape, self.options = tasks, shape, options
        self.units = units
        # to compare structures by, less will do than for the one that is chosen
        self.rough = options | {"tol": COMPARED * options["tol"], "polish": False}
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
        best = self._best(list(self._candidates(name)))
        return replace(best, prior=self._refined(best.structure, best.prior))

    def _scale(self, structure, prior):
        """Steps in which the evidence is about as curved in each number: few tell."""
        if structure.n_numbers > MAX_SCALED:
            return 1.0
        hill = Hill(self.tasks, structure, prior.mean)
        x = hill.point(prior.numbers)
        _, slope = hill.climb(x)
        steps = 1e-3 * np.eye(len(x))
        curvature = [abs(hill.climb(x + h)[1] - slope) @ h / 1e-6 for h in steps]
        return 1 / np.sqrt(np.maximum(curvature, 1e-3 * max(curvature)))

    def _refined(self, structure, prior):
        """The prior chosen, searched for so finely that rounding cannot be seen."""
        if prior.n_iter >= self.options["max_iter"]:
            return prior
        tol = REFINED * self.options["tol"]
        options = self.options | {"tol": tol}
        numbers, mean, n_iter = prior.numbers, prior.mean, prior.n_iter
        prior = fit_prior(self.tasks, structure, numbers, mean, **options)
        return replace(prior, n_iter=n_iter + prior.n_iter)

    def _candidates(self, name):
        prior = None
        for kind in ("intercept", "isotropic", "diagonal"):
            structure = Diagonal(groups(kind, *self.shape))
            if structure.n_numbers == 0:  # no intercept
                continue
            structure = self._place(structure)
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
            prior = self._fit(structure, start, smaller)
            if name == kind or (
                name == "auto" and self._pays(prior, self._like(prior, smaller))
            ):
                yield self._validated(kind, structure, prior)
            if name == kind:
                return
        P = self.tasks.n_coefficients
        if name == "low_rank" or (name == "auto" and self._worth_correlations()):
            yield from self._ranks(P, prior, name)
        structure = self._place(Full(P, shrinkage=P))
        if name == "full" or (
            name == "auto"
            and self._worth_correlations()
            and not self._too_few_rows(structure)
        ):
            yield self._validated("full", structure, self._fit(structure, prior, prior))

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
        tasks = self.tasks.like_richer_ones()
        if smaller is None or tasks is self.tasks:
            return smaller
        if smaller.spread.shape[1] > 1 or prior.spread.shape[1] == 1:
            return smaller
        structure = self._place(Diagonal(groups("intercept", *self.shape)))
        return fit_prior(tasks, structure, smaller.numbers, smaller.mean, **self.rough)

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
        return not any(
            lag.mean() > 2 * _standard_error(lag) + _tie(last.score) for lag in lags
        )

    def _ranks(self, P, diagonal, name):
        """Ranks 1, 2, ... for as long as they predict held-out tasks better."""
        best = None
        for rank in range(1, max(P, 2)):
            structure = self._place(LowRank(P, rank))
            if name == "auto" and self._too_few_rows(structure):
                return
            prior = self._fit(structure, diagonal, diagonal)
            if not self._pays(prior, diagonal) and (rank > 1 or name == "auto"):
                return
            candidate = self._validated("low_rank", structure, prior)
            score = candidate.score
            if best is not None and (score - best).mean() <= _tie(best):
                return
            best = score
            yield candidate
            if not self.held_out:
                return

    def _place(self, structure):
        return place(structure, self.tasks, self.units)

    def _fit(self, structure, start, nested):
        """From nothing or from a fit to begin with, and not below a nested one."""
        if start is None:
            prior = first_fit(self.tasks, structure, **self.rough)
        else:
            prior = next_fit(self.tasks, structure, start, **self.rough)
        nested = self._like(prior, nested)
        return at_least(prior, nested, self.tasks, structure, **self.rough)

    def on_all(self, tasks, chosen):
        """The chosen structure fitted to many more tasks than it was chosen with.

        It begins where the few ended, and does not end below the simplest one.
        """
        structure, few = chosen.structure, chosen.prior
        options = self.options
        if tasks.n_tasks > MANY_TASKS:
            options = self.rough
        prior = next_fit(
            tasks, structure, few, **options, scale=self._scale(structure, few)
        )
        intercept = Diagonal(groups("intercept", *self.shape))
        if intercept.n_numbers == 0 or chosen.name == "intercept":
            return prior
        simple = self._place(intercept)
        nested = next_fit(tasks.like_richer_ones(), simple, prior, **options)
        return at_least(prior, nested, tasks, structure, **options)

    def _validated(self, name, structure, prior):
        scores, folds = [], []
        max_iter = min(MAX_FOLD_ITER, self.options["max_iter"])
        options = self.rough | {"max_iter": max_iter}
        for held_out in self.held_out:
            kept = np.setdiff1d(np.arange(self.tasks.n_tasks), held_out)
            tasks = self.tasks.subset(kept)
            fold = fit_prior(tasks, structure, prior.numbers, prior.mean, **options)
            held = self.tasks.subset(held_out)
            scores.append(held.held_out_score(fold, self.seed))
            # of what it would see more of nobody asks: a matrix of all columns
            folds.append(StructureFold(held_out, kept, replace(fold, D=None)))
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
            if lag.mean() <= 0.5 * _standard_error(lag) + _tie(best.score):
                return candidate
        return best


def _tie(score):
    """The mean difference of scores that is rounding, and that of the search."""
    return 1e-6 * (1.0 + np.abs(score).mean())


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
    # the tasks of one fold are let go before those of the next are gathered
    losses = np.sum(list(starmap(_losses_before, folds)), axis=0)
    # the first that is as good as the best: rounding must not choose
    return ZERO_SHOT[int((losses <= losses.min() * (1 + TIE)).argmax())]


def _losses_before(kept, held_out, prior):
    """Losses of held-out tasks by each of the `ZERO_SHOT` predictions."""
    return [
        held_out.prior_loss(prior).sum(),
        held_out.loss(kept.pooled()).sum(),
        held_out.loss(kept.constant()).sum(),
    ]

"""The prior of a given structure that has the largest evidence.

The tasks' likelihood is a `GaussianTasks` or a `LaplaceTasks`; both give the evidence
of a spread L and its gradient, and nothing here depends on which.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import minimize

from skmeta._core.prior.structures import BOUNDS, SMALLEST, Placed

START_VARIANCE = 0.25  # of coefficients, in units of the noise, where searches begin
PLACED_START = 4.0  # the same, in units of what a task could just tell
LEVELS = (0.03, 0.3, 2.0, 20.0, 1e3)  # deviations where a search looks before it begins
BOLDNESS = (3.0, 1.0, 0.1, 0.0)  # how far from a simpler fit to begin; 0 is that fit
FEW_NUMBERS = 2  # for which all LEVELS of each are looked at
MANY_TASKS = 2000  # that are not looked at so often
SMALL = 1e-4  # of a quadratic penalty: where the rows tell nothing, nothing is spread
MEMORY = 40  # steps that L-BFGS remembers
RESTARTS = 5  # of a search that stopped on a slope
POLISHED = 12  # numbers that Newton's method refines
MAX_POLISH = 4  # steps of it, with one Hessian
NONE_LEFT = 1e-3  # deviation that a search may have lost ...
WANTED = 0.1  # ... where the slope in the variance is more, per root of a task
STEP = 1e-5  # of a finite difference


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

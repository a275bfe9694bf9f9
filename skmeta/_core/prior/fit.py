"""The prior of a given structure that has the largest evidence.

The tasks are `GaussianTasks` or `LaplaceTasks`. Both give the evidence of a spread L
and its gradient, and nothing here depends on which of them it is.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.optimize import minimize

from skmeta._core.prior.episodic import Belief
from skmeta._core.prior.structures import BOUNDS, SMALLEST, Placed
from skmeta._core.tasks import MANY_TASKS

# A search begins with this variance of each coefficient, in units of the noise.
START_VARIANCE = 0.25
# The same for a `Placed` structure, in units of the smallest spread that one task
# shows.
PLACED_START = 4.0
# A search for few numbers first looks at all combinations of these deviations.
LEVELS = (0.03, 0.3, 2.0, 20.0, 1e3)
# It does so for at most this many numbers, unless the tasks are many.
FEW_NUMBERS = 2
# A richer fit tries to begin at these distances from a simpler one; 0 is that one.
BOLDNESS = (3.0, 1.0, 0.1, 0.0)
# A quadratic penalty of this size makes the spread zero if the rows say nothing.
SMALL = 1e-4
# L-BFGS remembers this many steps.
MEMORY = 40
# A search that stopped on a slope begins anew at most this many times.
RESTARTS = 5
# The mean alone is refined until a step gains about this much evidence.
LITTLE = 1e-3
# Newton's method refines at most this many numbers, ...
POLISHED = 12
# ... by at most this many steps with one Hessian.
MAX_POLISH = 4
# A deviation below this may have been lost by a search, ...
NONE_LEFT = 1e-3
# ... if the slope in its variance is above this, in units of the root of all tasks.
WANTED = 0.1
# The Hessian is formed by finite differences of this step.
HESSIAN_STEP = 1e-5
# The Hessian of a sample is formed for at most this many numbers.
MOST_CURVED = 100
# The fit to all tasks takes at most so many steps by that Hessian.
MAX_CORRECTED = 15
# A step that leads down is cut at most so many times.
MAX_CUTS = 3
# A direction counts as curved by at least this share of the largest curvature.
LEVEL = 1e-4
# The tolerance of a search, unless it is given.
TOL = 1e-5
# The largest number of iterations of a search, unless it is given.
MAX_ITER = 200


@dataclass(frozen=True)
class Prior:
    """Coefficients of a task ~ N(mean, spread spread').

    Attributes
    ----------
    mean : ndarray of shape (P,)
    spread : ndarray of shape (P, r)
        Factor of the covariance between tasks.
    mean_covariance : ndarray of shape (P, P)
        Covariance of the error of ``mean``, which comes from finitely many tasks.
    unseen : ndarray of shape (P, q)
        Orthonormal directions of the mean that no row looked at.
    noise : float
        Variance of the noise; 1 where the likelihood has none.
    log_evidence : float
    objective : float
        What was maximised: ``log_evidence`` plus the penalty of the structure.
    numbers : ndarray
        The free numbers of the structure.
    D : ndarray of shape (P, P)
        The gradient of the evidence in L is D L, for coefficients that vary.
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
    def belief(self):
        """What it says of a new task, and no more."""
        return Belief(self.mean, self.factor, self.noise)

    @property
    def factor(self):
        """Square factor of the covariance of a new task's coefficients about ``mean``.

        They differ from it by the spread and by the error of the mean.
        """
        return _factor(self.covariance + self.mean_covariance)

    def factor_of(self, varying):
        """The same without the error of the mean of coefficients that do not vary.

        It is (P, V), zero in their rows, with V the number of those that vary.
        """
        if varying.all():
            return self.factor
        factor = np.zeros((len(varying), varying.sum()))
        some = np.ix_(varying, varying)
        factor[varying] = _factor(self.covariance[some] + self.mean_covariance[some])
        return factor

    def error_of(self, shared):
        """Factor (P, S) of the error of the mean of some coefficients, a mask (P,)."""
        error = np.zeros((len(shared), shared.sum()))
        error[shared] = _factor(self.mean_covariance[np.ix_(shared, shared)])
        return error


def _factor(covariance):
    """A square factor of a covariance; its columns are orthogonal."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


class Hill:
    """The evidence as a function of a structure's numbers, and of the mean if need be.

    ``x`` are the numbers, followed by coordinates of the mean. Values and slopes are
    those of the sum over tasks, and so is the tolerance: many tasks that say little
    must not dilute what a few say. A penalty that matters only where the evidence is
    flat makes the maximum a single point, whatever the order, the units and the
    rounding.
    """

    def __init__(self, tasks, structure, mean, numbers=None, coordinates=None):
        self.tasks, self.structure = tasks, structure
        if coordinates is None:
            L = None if numbers is None else structure.factor(numbers)
            coordinates = tasks.mean_coordinates(mean, L)
        self.start, self.directions = coordinates
        self.n = structure.n_numbers
        self.deviations = np.array([b == BOUNDS for b in structure.bounds], dtype=bool)
        free = [(-np.inf, np.inf)] * self.directions.shape[1]
        self.bounds = structure.bounds + free
        self.state = None
        # The modes of few tasks are refined wherever a search comes by again.
        self.remembers = tasks.evidence_is_small or tasks.n_tasks > MANY_TASKS
        self.last = self.seen = None

    def point(self, numbers):
        return np.concatenate([numbers, np.zeros(self.directions.shape[1])])

    def evidence(self, x):
        if self.seen is not None and np.array_equal(self.seen[0], x):
            return self.seen[1]
        numbers, mean = x[: self.n], self.start + self.directions @ x[self.n :]
        found = self.tasks.evidence(self.structure.factor(numbers), mean, self.state)
        self.state = found.state
        if self.tasks.evidence_is_small:
            self.seen = x.copy(), found
        return found

    def climb(self, x):
        """Value and slope."""
        known = self.remembers and self.last is not None
        if not (known and np.array_equal(self.last[0], x)):
            self.last = x.copy(), *self._climb(x)
        return self.last[1:3]

    def _climb(self, x):
        """Value, slope, and the D of the evidence."""
        found, numbers = self.evidence(x), x[: self.n]
        penalty, slope = self.structure.penalty(numbers)
        value = found.value + penalty - 0.5 * SMALL * numbers @ numbers
        slope = slope + self.structure.gradient(numbers, found.D) - SMALL * numbers
        slope = np.concatenate([slope, self.directions.T @ found.mean_slope])
        return value, slope, found.D

    def slope_from_zero(self, x, deviation):
        """The slope in the numbers, if the smallest of them had some deviation."""
        self.climb(x)
        numbers = x[: self.n]
        felt = np.where(np.abs(numbers) < deviation, deviation, numbers)
        return self.structure.gradient(felt, self.last[3])

    def value(self, x):
        return self.climb(x)[0]

    def raised(self, x):
        """x, with deviations raised that are nearly zero but should not be.

        At a deviation of zero the evidence is level in the deviation, even where it
        rises in the variance. A search would stay there.
        """
        numbers = x[: self.n]
        none = (np.abs(numbers) < NONE_LEFT) & self.deviations
        if not none.any():
            return x
        self.climb(x)
        felt = np.where(none, SMALLEST, numbers)
        slope = self.structure.gradient(felt, self.last[3])
        wanted = none & (slope > WANTED * SMALLEST * np.sqrt(self.tasks.n_tasks))
        return np.concatenate([np.where(wanted, felt, numbers), x[self.n :]])

    def free(self, x, slope):
        """Which coordinates may move: the slope does not push them out of bounds."""
        low, high = np.reshape(self.bounds, (-1, 2)).T
        return ~(((x <= low) & (slope < 0)) | ((x >= high) & (slope > 0)))

    def rounding(self, value):
        """A slope that is as good as zero, since rounding hides what it could gain."""
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
    tol=TOL,
    max_iter=MAX_ITER,
    polish=True,
    scale=1.0,
):
    """The prior of the given structure with the largest evidence, from a start.

    The search is L-BFGS on the exact gradient. EM climbs the same hill, but ever slower
    where a spread is nearly zero. The search ends where the slope of the total evidence
    in each number is below ``tol`` times the root of the number of tasks; by chance,
    tasks leave a slope of the order of that root.
    """
    hill = Hill(tasks, structure, mean, numbers)
    return _fit_from(hill, hill.point(numbers), tol, max_iter, polish, scale)


def _fit_from(hill, x, tol=TOL, max_iter=MAX_ITER, polish=True, scale=1.0):
    x, n_iter, converged = _ascend(hill, x, tol, max_iter, scale)
    raised = hill.raised(x)
    if n_iter < max_iter and not np.array_equal(raised, x):
        left = max_iter - n_iter
        again, more, done = _ascend(hill, raised, tol, left, scale)
        n_iter += more
        if hill.value(again) > hill.value(x):
            x, converged = again, done
    if polish and converged and len(x) <= POLISHED:
        x = _polish(hill, x)
    return _prior_at(hill, x, n_iter, converged)


def _prior_at(hill, x, n_iter, converged=True):
    found, tasks, structure = hill.evidence(x), hill.tasks, hill.structure
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


def fit_all(tasks, structure, numbers, mean=None, *, few=None, alike=None, **options):
    """The same for any number of tasks.

    Of very many a sample is fitted first: that is ``few``, if it is known. The optimum
    of all tasks is near, and there the evidence is curved as in the sample. So a few
    steps of Newton's method with the sample's Hessian lead to it.

    ``alike`` are the same tasks as they counted before, when ``numbers`` and ``mean``
    were their optimum. How the slope of the sample has changed since is nearly how that
    of all tasks has changed.
    """
    sample = tasks.sample()
    if sample is None:
        return fit_prior(tasks, structure, numbers, mean, **options)
    if alike is None and few is None:
        few = fit_prior(sample, structure, numbers, mean, **options)
    n_iter = 0
    if few is not None:
        numbers, mean, n_iter = few.numbers, few.mean, few.n_iter
    hill = Hill(sample, structure, mean, numbers)
    x, coordinates, H = hill.point(numbers), (hill.start, hill.directions), None
    if len(x) <= MOST_CURVED:
        bent = Variances(hill)
        H = bent.hessian(x) * (tasks.n_tasks / sample.n_tasks)
        if alike is not None:
            before = Variances(Hill(alike.sample(), structure, mean, numbers))
            change = (bent.slope(x) - before.slope(x)) * tasks.n_tasks / sample.n_tasks
            x = bent.back(bent.stepped(bent.of(x), change, H), x)
    hill = Hill(tasks, structure, mean, numbers, coordinates)
    if H is not None:
        x, more, converged = _climb_by(hill, x, H, options.get("tol", TOL))
        n_iter += more
        if converged:
            return _prior_at(hill, x, n_iter)
    found = _fit_from(hill, x, **options)
    return replace(found, n_iter=found.n_iter + n_iter)


class Variances:
    """A `Hill` in coordinates in which it is more nearly a parabola.

    A number s whose sign does not matter is replaced by z = 2 log cosh s. This is the
    logarithm of one plus a variance, since a deviation is sinh s. Near zero, where the
    hill is a parabola in s only by its symmetry, it has a slope in z.
    """

    def __init__(self, hill):
        self.hill = hill
        self.some = np.flatnonzero(hill.structure.signless)

    def of(self, x):
        """The coordinates of x."""
        z, s = x.copy(), np.abs(x[self.some])
        z[self.some] = 2 * (s + np.log1p(np.exp(-2 * s)) - np.log(2))
        return z

    def back(self, z, x):
        """The point with coordinates z; signs are those of x."""
        x, at_x = z.copy(), x[self.some]
        s = np.arcsinh(np.sqrt(np.expm1(np.maximum(z[self.some], 0.0))))
        x[self.some] = np.copysign(np.minimum(s, BOUNDS[1]), at_x)
        return x

    def slope(self, x):
        """The slope in the coordinates z."""
        slope = self.hill.climb(x)[1].copy()
        s = np.abs(x[self.some])
        near = s < NONE_LEFT
        steep = 2 * np.tanh(np.where(near, NONE_LEFT, s))
        of_some = np.copysign(1.0, x[self.some]) * slope[self.some]
        if near.any():
            from_zero = self.hill.slope_from_zero(x, NONE_LEFT)[self.some]
            of_some = np.where(near, from_zero, of_some)
        slope[self.some] = of_some / steep
        return slope

    def stepped(self, z, slope, H):
        """z after a step of Newton's method, which leads uphill whatever H is.

        A variance that would become negative becomes zero, and the others take the best
        step beside that.
        """
        is_variance = np.zeros(len(z), dtype=bool)
        is_variance[self.some] = True
        step, free = np.zeros(len(z)), ~is_variance | (z > 0.0) | (slope > 0.0)
        for _ in range(len(z)):
            of_free = np.ix_(free, free)
            left = (slope + H @ np.where(free, 0.0, step))[free]
            values, vectors = np.linalg.eigh(H[of_free])
            values = np.maximum(np.abs(values), LEVEL * np.abs(values).max(initial=0.0))
            step[free] = vectors @ ((vectors.T @ left) / values)
            negative = free & is_variance & (z + step < 0.0)
            if not negative.any():
                break
            step[negative], free = -z[negative], free & ~negative
        return z + step

    def hessian(self, x):
        """By finite differences."""
        z, slope = self.of(x), self.slope(x)
        steps = HESSIAN_STEP * np.eye(len(x))
        H = [(self.slope(self.back(z + h, x)) - slope) / HESSIAN_STEP for h in steps]
        return 0.5 * (np.array(H) + np.transpose(H))


def _climb_by(hill, x, H, tol):
    """Where Newton's method ends, its number of steps, and whether that is a maximum.

    H is a Hessian in the coordinates of `Variances` that is nearly that of the hill. It
    is corrected by each step (Broyden, Fletcher, Goldfarb and Shanno).
    """
    root, bent = np.sqrt(hill.tasks.n_tasks), Variances(hill)
    z, (value, slope) = bent.of(x), hill.climb(x)
    of_z, left = bent.slope(x), hill.steepness(x, slope)
    for n_iter in range(MAX_CORRECTED):
        tried = bent.stepped(z, of_z, H)
        gain = 0.5 * (tried - z) @ of_z
        at_zero = z[bent.some] <= 0.0
        wanted = (at_zero & (of_z[bent.some] > WANTED * root)).any()
        if left <= (10 if gain < LITTLE else 1) * tol * root and not wanted:
            return x, n_iter, True
        for _ in range(MAX_CUTS):
            reached = bent.back(tried, x)
            new_value, slope = hill.climb(reached)
            new_left = hill.steepness(reached, slope)
            if new_value > value or new_left < 0.5 * left:
                break
            tried = z + 0.3 * (tried - z)
        else:
            break
        new_slope, step = bent.slope(reached), tried - z
        bend, felt = new_slope - of_z, H @ step
        if step @ bend < 0:
            H = H + np.outer(bend, bend) / (bend @ step)
            H = H - np.outer(felt, felt) / (felt @ step)
        x, z, value, of_z, left = reached, tried, new_value, new_slope, new_left
    return x, n_iter, False


def fit_mean(tasks, structure, prior, n_steps=3):
    """The prior whose mean has the largest evidence, with the spread of another prior.

    These are nearly the tasks that the other prior comes from, and so a few steps of
    Newton's method do.
    """
    L = structure.factor(prior.numbers)
    found = tasks.evidence(L, prior.mean)
    for _ in range(n_steps):
        step = np.linalg.solve(found.precision, found.mean_slope)
        if step @ found.mean_slope < LITTLE:
            break
        tried = tasks.evidence(L, found.mean + step, found.state)
        if tried.value < found.value:
            break
        found = tried
    return replace(
        prior,
        mean=found.mean,
        mean_covariance=tasks.mean_covariance(found),
        log_evidence=found.value,
        objective=found.value + structure.penalty(prior.numbers)[0],
        D=found.D,
    )


def _ascend(hill, x, tol, max_iter, scale=1.0):
    """Where L-BFGS ends, its number of iterations, and whether that is a maximum.

    A search that stops on a slope, as its line search may, begins anew there. It moves
    in the coordinates x / scale.
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
    steps = HESSIAN_STEP * np.eye(len(x))[free]
    H = np.array([(hill.climb(x + h)[1] - slope)[free] / HESSIAN_STEP for h in steps])
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
    """A fit that begins anew: for few numbers, at the best of several levels."""
    if isinstance(structure, Placed):
        start = PLACED_START * np.eye(structure.n_varying)
        numbers = structure.inner.start(start, None)
    else:
        start = START_VARIANCE * np.eye(tasks.n_coefficients)
        numbers = structure.start(start, None)
    starts = [numbers]
    if len(numbers) <= FEW_NUMBERS and tasks.n_tasks <= MANY_TASKS:
        levels = np.arcsinh(LEVELS)
        starts = [numbers, *map(np.array, product(levels, repeat=len(numbers)))]
    return fit_prior(tasks, structure, _best(tasks, structure, starts), **options)


def next_fit(tasks, structure, smaller, **options):
    """A fit that begins at that of a simpler structure, and never ends below it."""
    starts = [
        structure.start(smaller.covariance / smaller.noise, smaller.D, boldness)
        for boldness in BOLDNESS
    ]
    mean = smaller.mean
    start = _best(tasks, structure, starts, mean)
    return fit_prior(tasks, structure, start, mean, **options)


def at_least(prior, smaller, tasks, structure, **options):
    """The fit ``prior``, or one that begins at a simpler fit if that is better."""
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

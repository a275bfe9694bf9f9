"""The loops of `loops.py` in place, on a `Plan`.

The steps are the same and in the same order, but hardly anything is allocated between
them. Each function returns or yields the plan's own parameters, which are valid until
the plan is used again.
"""

import math
from functools import cache

import numpy as np
from scipy.linalg import get_blas_funcs

from skmeta._core.adam import BETA_2, EPSILON
from skmeta._core.descent.loops import GROW, SHRINK, shortening

# Adam's gradients grow by the factor BETA_2 ** -0.5 in a step. They begin anew after so
# many steps, so that no number becomes too large for single precision.
STEPS_OF_GROWTH = 1000


class PlannedObjective:
    """The objective of `loops.full_batch` or `minibatches`, `pulled`, on a plan.

    It is multiplied by ``scale`` for the gradient.
    """

    def __init__(self, plan, problem, scale=1.0):
        batch, rows = problem.batch, problem.minibatches
        self.plan, self._scale = plan, scale
        self._start, self._strength = problem.start, problem.strength
        self._steps = self._weights = None
        if rows is None:
            plan.load(batch.X, batch.Y, batch.weight * scale, batch.offset)
        else:
            self._steps = gather_minibatches(batch, rows, scale)

    def gradient(self, step, grown=None):
        """The gradient (T, P) at ``plan.theta``. The caller may write into it.

        With ``grown`` it is multiplied by this number, and not by ``scale``.
        """
        plan = self.plan
        if self._steps is not None and step is not None:
            plan.load(*self._steps[step])
        if grown is not None:
            self._grow(grown)
        G = plan.gradient()
        if self._strength is not None:
            move, pull = plan.spare[:2]
            np.subtract(plan.theta, self._start, move)
            np.multiply(move, self._strength, pull)
            if grown is not None:
                np.multiply(pull, grown, pull)
            np.add(G, pull, G)
        return G

    def _grow(self, grown):
        """Multiply the weights of the rows by a number instead of ``scale``.

        They are so few that this costs nothing.
        """
        if self._weights is None or self._steps is not None:
            self._weights = self.plan.weights.copy()
        np.multiply(self._weights, grown, self.plan.weights)
        self._scale = grown

    def value(self):
        """The objective (T,) where the last gradient was computed."""
        value = self.plan.value()
        if self._strength is not None:
            move, pull = self.plan.spare[:2]
            value = value + 0.5 * np.einsum("tp,tp->t", move, pull)
        return value / self._scale


def gather_minibatches(batch, rows, scale=1.0):
    """X, Y, weight and offset for each step, gathered at once."""
    task, steps = np.arange(len(rows)), rows.swapaxes(0, 1)
    index = (task[:, None], steps)
    weight = batch.weight[index]
    weight *= scale / weight.sum(axis=-1, keepdims=True)
    offset = [None] * len(steps)
    if batch.offset is not None:
        offset = np.broadcast_to(batch.offset, batch.Y.shape)[index]
    return list(zip(batch.X[index], batch.Y[index], weight, offset, strict=True))


def sgd(plan, problem, theta, n_steps):
    """`loops.sgd`: the last parameters (T, P), and the loss before the last step."""
    rate, clip = problem.rate, problem.clip
    # Without clipping or pull, the rate can be part of the loss, which saves a pass.
    folded = rate.size == 1 and clip is None and problem.strength is None
    objective = PlannedObjective(plan, problem, rate.item() if folded else 1.0)
    plan.theta[...] = theta
    if folded and problem.minibatches is None:
        plan.descend(n_steps)
        return plan.theta, objective.value()
    for step in range(n_steps):
        G = objective.gradient(step)
        if step == n_steps - 1:
            value = objective.value()
        if clip is not None:
            np.multiply(G, shortening(G, clip), G)
        if not folded:
            np.multiply(G, rate, G)
        np.subtract(plan.theta, G, plan.theta)
    return plan.theta, value


@cache
def _axpy(dtype):
    return get_blas_funcs("axpy", dtype=dtype)


def adam(plan, problem, theta, n_steps, carried):
    """`loops.adam`: parameters, loss before the last step, mean squares (T, P).

    A pass over all parameters costs as much as a product. So the moment is not
    multiplied by BETA_2 in each step; instead the gradients grow by the factor
    BETA_2 ** -0.5, since the weights of the rows do. The moment is also over 1 -
    BETA_2. And BLAS multiplies by the rate as it subtracts.
    """
    objective = PlannedObjective(plan, problem)
    plan.theta[...] = theta
    _, root, moment = plan.spare
    moment[...] = carried.mean_square / (1.0 - BETA_2)
    unit = math.sqrt(1.0 - BETA_2)
    add = _axpy(plan.theta.dtype)
    flat_theta, flat_G, grown = plan.theta.reshape(-1), plan.G.reshape(-1), 1.0
    for step in range(n_steps):
        if step % STEPS_OF_GROWTH == 0:
            np.multiply(moment, grown**-2.0, moment)
            grown = 1.0
        grown *= BETA_2**-0.5
        G = objective.gradient(step, grown)
        if step == n_steps - 1:
            value = objective.value()
        t = carried.n_steps + step + 1
        rate = problem.rate * (math.sqrt(1.0 - BETA_2**t) / unit)
        np.multiply(G, G, root)
        np.add(moment, root, moment)
        np.sqrt(moment, root)
        np.add(root, grown * EPSILON / unit, root)
        np.divide(G, root, G)
        if rate.size == 1:
            add(flat_G, flat_theta, flat_G.size, -rate.item())
        else:
            np.multiply(G, rate, G)
            np.subtract(plan.theta, G, plan.theta)
    return plan.theta, value, moment * ((1.0 - BETA_2) * grown**-2.0)


def backtracking(plan, problem, theta, n_steps):
    """`loops.backtracking`: yields the parameters after 0, 1, ..., n_steps steps."""
    objective = PlannedObjective(plan, problem)
    step, (point, slope) = plan.spare[2], np.empty((2, *plan.theta.shape), theta.dtype)
    plan.theta[...] = point[...] = theta
    slope[...] = objective.gradient(None)
    np.multiply(slope, problem.rate, slope)
    value = objective.value()
    scale = np.ones((len(theta), 1), dtype=theta.dtype)
    yield point
    for _ in range(n_steps):
        np.multiply(slope, scale, step)
        np.subtract(point, step, plan.theta)
        G = objective.gradient(None)
        trial = objective.value()
        better = trial < value  # False for a loss that is not a number
        if better.any():
            np.multiply(G, problem.rate, G)
            accepted = better[:, None] if not better.all() else True
            np.copyto(point, plan.theta, where=accepted)
            np.copyto(slope, G, where=accepted)
            np.copyto(value, trial, where=better)
        scale *= np.where(better, GROW, SHRINK)[:, None]
        yield point

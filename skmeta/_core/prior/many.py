r"""Gaussian tasks by the thousand: `LearnedPrior.condition` on all of them at once.

A task has rows [X y], each times the root of its weight. With F the factor of the prior
covariance, m the prior mean and s2 the noise, write

    Z = X F / s,    e = (y - X m) / s,    A = I + Z'Z.

The coefficients are m + F u, and u has the mean A^-1 Z'e and the covariance A^-1. If
the noise of a task is f s2 instead, then u has the mean u_1 + d, where u_1 is that
mean, and with the errors e_1 = e - Z u_1

    A_f = I + Z'Z / f,    d = A_f^-1 b,    b = Z'e_1 / f - u_1,

and the task's log evidence is, up to a constant,

    -(e_1'e_1 / f + u_1'u_1 - b'd + log det A_f + sum of weights * log f) / 2.

So Z'Z serves all factors f of the noise, and no large numbers cancel. The matrices are
small. So their Cholesky factors are found column by column, each step for all tasks of
a block, whose numbers lie side by side: the last axis of an array is that of the tasks.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from skmeta._core.prior import calibration, gaussian
from skmeta._core.prior.learned import Present
from skmeta._core.prior.noise import Mixture, RowTriangle, logarithms
from skmeta._core.tasks import slices

# About this many numbers are in use at a time, so that they stay in the cache.
BLOCK_CELLS = 2**19
# With more directions than this, a task takes so long that one after the other is as
# quick.
MANY_DIRECTIONS = 40


class ToldRows(NamedTuple):
    """What the rows of T tasks tell: the rows themselves, or triangles of them."""

    # [columns of the design, y], each row times the root of its weight; padding is zero
    table: np.ndarray  # (T, n, P + 1)
    weight: np.ndarray  # (T,) sums of the weights

    def part(self, tasks):
        """Those of some of the tasks."""
        return ToldRows(self.table[tasks], self.weight[tasks])


class ManyPresent(NamedTuple):
    """What is known about the coefficients of T tasks: see `Present`."""

    mean: np.ndarray  # (T, P)
    factor: np.ndarray | None = None  # (T, P, r); None if only means were asked for
    shares: np.ndarray | None = None  # (T, J), if tasks differ in noise

    def of(self, task):
        """The `Present` of one of the tasks; it holds no rows."""
        shares = None if self.shares is None else self.shares[task]
        return Present(self.mean[task], self.factor[task], None, shares)


def condition_many(learned, told, with_factor=True):
    """What is known about tasks after their rows, if nothing was known before.

    Parameters
    ----------
    learned : LearnedPrior
        Of numbers: its model is a `GaussianModel` or a `NoiseModel`.
    told : ToldRows
    with_factor : bool
        Whether to find the factors of the covariances as well. They are large: a caller
        with many tasks asks for some of them at a time.

    Returns
    -------
    present : ManyPresent
    """
    T, (P, r) = len(told.weight), learned.factor.shape
    levels, _ = learned.model.noise_levels(None)
    mixed = _differ_in_noise(learned)
    mean = np.empty((T, P))
    shares = np.empty((T, len(levels))) if mixed else None
    width = len(levels) * (r + 1) if mixed else r
    factor = np.empty((T, P, width)) if with_factor else None
    cells = 3 * r * r + told.table.shape[1] * (P + r + 2) + 1
    cells += 2 * P * width if with_factor else 0
    for some in slices(T, BLOCK_CELLS // cells):
        parts = _condition_block(learned, told.part(some), with_factor)
        for whole, part in zip((mean, factor, shares), parts, strict=True):
            if whole is not None:
                whole[some] = part
    return ManyPresent(mean, factor, shares)


def _differ_in_noise(learned):
    """Whether the posterior of a task is a mixture over factors of the noise."""
    return getattr(learned.model, "weights", None) is not None


def _condition_block(learned, told, with_factor):
    """The `ManyPresent` of a few tasks."""
    P, r = learned.factor.shape
    n_tasks = len(told.weight)
    if r > MANY_DIRECTIONS:
        return _one_by_one(learned, told, np.arange(n_tasks), with_factor)
    # [X y] times this matrix is [Z e]
    to_white = np.zeros((P + 1, r + 1))
    to_white[:P, :r], to_white[:P, r], to_white[P, r] = learned.factor, -learned.mean, 1
    white = told.table @ (to_white / np.sqrt(learned.noise))
    white = np.ascontiguousarray(white.transpose(1, 2, 0))  # (n, r + 1, T)
    levels, _ = learned.model.noise_levels(None)
    present = _condition_white(learned, white, told.weight, levels, with_factor)
    # the formulas above are too coarse for tasks whose rows are spread widely
    largest = np.abs(white[:, :r]).max(axis=(0, 1), initial=0.0)
    wide = np.flatnonzero(largest / np.sqrt(levels.min()) > gaussian.TOO_SPREAD)
    if len(wide):
        exact = _one_by_one(learned, told, wide, with_factor)
        for whole, part in zip(present, exact, strict=True):
            if whole is not None:
                whole[wide] = part
    return present


def _one_by_one(learned, told, tasks, with_factor):
    """The `ManyPresent` of some tasks, as the model finds it for each of them."""
    found = [
        learned.model.after(learned, RowTriangle(told.table[t], told.weight[t]))
        for t in tasks
    ]
    shares = [one.shares for one in found]
    return ManyPresent(
        np.stack([one.mean for one in found]),
        np.stack([one.factor for one in found]) if with_factor else None,
        None if shares[0] is None else np.stack(shares),
    )


def _condition_white(learned, white, weight, levels, with_factor):
    """The `ManyPresent` of tasks with rows [Z e], as (n, r + 1, T)."""
    r = white.shape[1] - 1
    products = np.zeros((r + 1, r + 1, white.shape[-1]))
    for i in range(r + 1):  # the lower triangle will do
        np.einsum(
            "nt,nkt->kt", white[:, i], white[:, : i + 1], out=products[i, : i + 1]
        )
    squares, along = products[:r, :r], products[r, :r]
    C = cholesky(squares.copy(), 1.0)
    u = backward(C, forward(C, along.copy()))
    if not _differ_in_noise(learned):
        factor = _factor(C, learned.factor) if with_factor else None
        return ManyPresent(learned.mean + u.T @ learned.factor.T, factor)
    given = white, squares, u, weight, levels
    moved, halves, shares = _levels(learned, *given, keep=with_factor)
    middle = np.einsum("jt,jrt->rt", shares, moved)
    mean = learned.mean + (u + middle).T @ learned.factor.T
    factor = None
    if with_factor:
        factor = _mixed_factor(halves, moved - middle, shares, learned.factor)
    return ManyPresent(mean, factor, shares.T)


def _levels(learned, white, squares, u, weight, levels, keep):
    """How far the mean of u moves with each factor of the noise, and Cholesky factors.

    The third item are the probabilities (J, T) of the factors. Only the last Cholesky
    factors remain, unless they are to be kept.
    """
    r, T = u.shape
    error = white[:, r] - np.einsum("nrt,rt->nt", white[:, :r], u)
    along = np.einsum("nrt,nt->rt", white[:, :r], error)
    of_errors, of_u = np.einsum("nt,nt->t", error, error), np.einsum("rt,rt->t", u, u)
    C = np.empty((len(levels) if keep else 1, r + 1, r, T))
    moved, log_evidence = np.empty((len(levels), r, T)), np.empty((len(levels), T))
    for j, level in enumerate(levels):
        C_j = C[j if keep else 0]
        np.divide(squares, level, out=C_j[:r])
        np.subtract(along / level, u, out=C_j[r])
        half = cholesky(C_j, 1.0)[r]
        value = of_errors / level + of_u - np.einsum("rt,rt->t", half, half)
        value += 2 * np.log(np.einsum("rrt->rt", C_j[:r]).prod(axis=0))
        value += weight * np.log(2 * np.pi * learned.noise * level)
        log_evidence[j], moved[j] = -0.5 * value, half
        backward(C_j, moved[j])
    weights = logarithms(learned.model.weights)[:, None]
    return moved, C[:, :r], softmax(log_evidence + weights, axis=0)


def _mixed_factor(halves, apart, shares, factor):
    """Factors (T, P, J (r + 1)) of the covariances of mixtures: see `Posterior`."""
    columns = [
        np.concatenate([_factor(C, factor), (d.T @ factor.T)[..., None]], axis=-1)
        for C, d in zip(halves, apart, strict=True)
    ]
    roots = np.exp(0.5 * logarithms(shares.T))
    columns = np.stack(columns, axis=2) * roots[:, None, :, None]
    return columns.reshape(*columns.shape[:2], -1)


def _factor(C, factor):
    """Factors (T, P, r) of the posterior covariances F (C C')^-1 F'."""
    right = np.broadcast_to(factor.T[..., None], (*factor.T.shape, C.shape[-1]))
    return forward(C, right.copy()).transpose(2, 1, 0)


# -- linear algebra of many small matrices --------------------------------------------


def cholesky(A, ridge=0.0):
    """The lower Cholesky factors C of A + ridge I, for A (r, r, T), in its place.

    The upper triangles are not used. Further rows B of A (r + n, r, T) become those of
    B C'^-1.
    """
    for j in range(A.shape[1]):
        if j:
            A[j:, j] -= np.einsum("ikt,kt->it", A[j:, :j], A[j, :j])
        A[j, j] += ridge
        np.sqrt(A[j, j], out=A[j, j])
        A[j + 1 :, j] /= A[j, j]
    return A


def forward(C, b):
    """C^-1 b in the place of b (r, ..., T), for lower factors C (r, r, T)."""
    lower = C.reshape(*C.shape[:2], *(1,) * (b.ndim - 2), C.shape[-1])
    for j in range(len(b)):
        b[j] /= lower[j, j]
        b[j + 1 :] -= lower[j + 1 :, j] * b[j]
    return b


def backward(C, b):
    """C'^-1 b in the place of b (r, T), for lower factors C (r, r, T)."""
    for j in reversed(range(len(b))):
        b[j] /= C[j, j]
        b[:j] -= C[j, :j] * b[j]
    return b


# -- predictions ----------------------------------------------------------------------


class ManyTargets(NamedTuple):
    """How new targets of T tasks vary about their means: a mixture for each row.

    If all tasks have the same noise, there is only one distribution in each mixture.
    """

    shares: np.ndarray  # (T, J) of the distributions
    parts: np.ndarray  # (T, J, n, 2) variances that they owe to spread and to noise
    shifts: np.ndarray  # (T, n, J) their means, from the mean of the mixture
    freedom: np.ndarray  # (2,) degrees of freedom of both parts

    @classmethod
    def of(cls, learned, columns, present):
        """At rows (T, n, P) in the columns of the design, given a `ManyPresent`."""
        moved, factor = columns @ present.factor, present.factor
        levels, _ = learned.model.noise_levels(None)
        if present.shares is None:
            shares = np.ones((len(moved), 1))
            moved, factor = moved[:, None], factor[:, None]
            shifts = np.zeros((*columns.shape[:2], 1))
        else:
            shares = present.shares
            moved, shifts = _split(moved, shares)
            factor, _ = _split(factor, shares)
        parts = calibration.predictive_variances(
            learned.first_factor, learned.noise * levels[:, None], factor, moved
        )
        scales, freedom = learned.calibration.after
        return cls(shares, np.stack(parts, axis=-1) * scales, shifts, freedom)

    def deviation_and_freedom(self):
        """Deviations (T, n), and how well they are known, in degrees of freedom."""
        of_each = np.einsum("tjni,tj->tni", self.parts, self.shares)
        of_each[..., 0] += np.einsum("tnj,tj->tn", self.shifts**2, self.shares)
        variance = of_each.sum(axis=-1)
        freedom = of_each**2 / np.maximum(self.freedom, 1.0)
        freedom = variance**2 / freedom.sum(axis=-1)
        return np.sqrt(variance), np.maximum(freedom, 1.0)

    def half_width(self, learned, coverage, n_rows):
        """Half the widths (T, n) of intervals, after ``n_rows`` (T,) rows."""
        deviation, freedom = self.deviation_and_freedom()
        half = learned.calibration.half_width(coverage, n_rows[:, None], freedom)
        if not _differ_in_noise(learned):
            return half * deviation
        deviations = np.sqrt(self.parts.sum(axis=-1)).swapaxes(1, 2)
        return Mixture(self.shares[:, None], deviations, self.shifts).distance(half)


def _split(columns, shares):
    """`Posterior.split` of columns (T, n, J (r + 1)) with shares (T, J).

    Returns (T, J, n, r) and (T, n, J).
    """
    T, J = shares.shape
    parts = columns.reshape(T, columns.shape[1], J, -1)
    parts = parts / np.exp(0.5 * logarithms(shares))[:, None, :, None]
    return parts[..., :-1].swapaxes(1, 2), parts[..., -1]

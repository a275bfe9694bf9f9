r"""Integrals over a normal number that moves the linear predictors of a task's rows.

Where the coefficients u ~ N(0, I) of a task move all its linear predictors along one
line, these are eta = b + a z with z ~ N(0, 1). The evidence of the task is the integral

    p(y) = int exp(f(z)) dz / sqrt(2 pi),    f(z) = log p(y | b + a z) - z^2 / 2.

This holds for a task of one row, or of rows with the same x, and for all tasks if only
one coefficient differs between them. Laplace's method is poorest there, since a single
row says little and its posterior is far from normal.

This works for any `Likelihood` of one output whose log density is concave in eta and
finite everywhere.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats.qmc import Sobol

from skmeta._core.tasks import slices

# An integral has this many nodes on either side of the mode.
N_NODES = 24
# The integral is cut off where f has fallen by this much from its maximum: more if the
# curvature has no bound, since large terms then cancel in the derivatives.
DROP, STEEP_DROP = 20.0, 30.0
# Searches for the mode, and for where to cut off, end after this many steps.
MAX_SEARCH = 200
# The search for where to cut off halves an interval from this step on. Newton's method
# comes first, since it is quicker unless f falls like an exponential function.
HALVE_FROM = 20
# At most this many linear predictors of several tasks are held at a time.
CHUNK_CELLS = 2**19
# At most this many rows of one task are treated at a time.
LINE_ROWS = 2**11


class Lines(NamedTuple):
    """T integrals, each over one line eta = b + a z of n rows, padded."""

    b: np.ndarray  # (T, n)
    a: np.ndarray  # (T, n)
    Y: np.ndarray  # (T, n)
    weight: np.ndarray  # (T, n)

    def part(self, tasks):
        """Some of the integrals."""
        return Lines(*(field[tasks] for field in self))

    def rows(self, rows):
        """The same integrals with some of the rows only."""
        return Lines(*(field[:, rows] for field in self))

    def eta(self, z):
        """Linear predictors (T, k, n) at z (T, k)."""
        return self.b[:, None] + self.a[:, None] * z[..., None]


class Moments(NamedTuple):
    """The integrals, and the nodes by which means over their posteriors are taken."""

    value: np.ndarray  # (T,) log p(y)
    share: np.ndarray  # (T, nodes), sums to 1
    z: np.ndarray  # (T, nodes)
    mode: np.ndarray  # (T,)


def in_chunks(n_tasks, n_rows):
    """Slices of tasks, so few at a time that their nodes fit into memory."""
    size = max(1, CHUNK_CELLS // (2 * N_NODES * max(n_rows, 1)))
    return slices(n_tasks, size)


def blocks(n_rows):
    """Slices of rows, so that a long task is treated a part at a time."""
    return slices(n_rows, LINE_ROWS)


def integrate(likelihood, lines, z=None):
    """`Moments` of each line, by Gauss-Legendre rules on both sides of its mode.

    f is concave with a second derivative of at most -1. It may be steep on one side and
    flat on the other, so each side has nodes of its own. The search for the mode begins
    at ``z`` (T,).
    """
    mode, top = _mode(likelihood, lines, np.zeros(len(lines.b)) if z is None else z)
    node, rule = _legendre()
    below, above = (_reach(likelihood, lines, mode, top, side) for side in (-1.0, 1.0))
    z = np.concatenate(
        [mode[:, None] - below[:, None] * node, mode[:, None] + above[:, None] * node],
        axis=1,
    )
    width = np.concatenate([below[:, None] * rule, above[:, None] * rule], axis=1)
    f = _height(likelihood, lines, z)
    top = f.max(axis=1)
    share = width * np.exp(f - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    return Moments(
        value=top + np.log(total) - 0.5 * np.log(2 * np.pi),
        share=share,
        z=z,
        mode=mode,
    )


def slopes(likelihood, lines, found):
    """Slopes (T, nodes, n) in eta at the nodes, and the mean curvature (T, n) there.

    ``found`` are the `Moments` of the integrals; ``lines`` may be some of their rows.
    """
    slope, curvature = _slopes(likelihood, lines, found.z)
    return slope, (found.share[:, None] @ curvature)[:, 0]


def _legendre():
    """Nodes and weights on [0, 1]."""
    node, rule = np.polynomial.legendre.leggauss(N_NODES)
    return 0.5 * (node + 1), 0.5 * rule


def _height(likelihood, lines, z):
    """f (T, k) at z (T, k)."""
    f = -0.5 * z**2
    for rows in blocks(lines.b.shape[1]):
        part = lines.rows(rows)
        log_density = likelihood.log_density(
            part.eta(z)[..., None], part.Y[:, None, :, None]
        )
        f += (part.weight[:, None] * log_density).sum(axis=-1)
    return f


def _slopes(likelihood, lines, z):
    """Slope and curvature (T, k, n) of the log-likelihood in eta, at z (T, k)."""
    weight, mu = lines.weight[:, None], likelihood.mean(lines.eta(z)[..., None])
    slope = likelihood.slope(mu, lines.Y[:, None, :, None])[..., 0]
    return weight * slope, weight * likelihood.curvature(mu)


def _derivatives(likelihood, lines, z):
    """f, f' and f'' at z (T,)."""
    f = _height(likelihood, lines, z[:, None])[:, 0]
    g, W = (field[:, 0] for field in _slopes(likelihood, lines, z[:, None]))
    slope = (lines.a * g).sum(axis=-1) - z
    return f, slope, -(lines.a**2 * W).sum(axis=-1) - 1.0


def _mode(likelihood, lines, z):
    """Where f is largest, nearly, and its value; by Newton's method in a bracket."""
    share = 0.5
    if likelihood.is_steep:
        z = _better_start(likelihood, lines, z)
        # down an exponential function each step leaves a share of 1 / e of the slope
        share = 0.25
    f, slope, bend = _derivatives(likelihood, lines, z)
    # f' falls by at least 1 per unit, so its root is at most |f'| away
    low, high = np.minimum(z, z + slope), np.maximum(z, z + slope)
    quick = np.ones(len(z), dtype=bool)
    for _ in range(MAX_SEARCH):
        if (slope**2 < -1e-8 * bend).all():
            break
        low, high = np.where(slope > 0, z, low), np.where(slope < 0, z, high)
        newton, before = z - slope / bend, abs(slope)
        quick &= (newton > low) & (newton < high)
        z = np.where(quick, newton, 0.5 * (low + high))
        f, slope, bend = _derivatives(likelihood, lines, z)
        # A step that leaves much of the slope may swing back and forth, or crawl.
        quick = abs(slope) < share * before
    return z, f


def _better_start(likelihood, lines, z):
    """Zero in place of z where it is no worse: z may be where f falls like exp."""
    none = np.zeros_like(z)
    at_z, at_none = (
        _height(likelihood, lines, start[:, None])[:, 0] for start in (z, none)
    )
    return np.where(at_z > at_none, z, none)


def _reach(likelihood, lines, mode, top, side):
    """How far from the mode f falls by about the `DROP`.

    Newton's method comes from above on a concave f. Should it be slow, the interval
    that is known to hold the answer is halved.
    """
    fall = STEEP_DROP if likelihood.is_steep else DROP
    farthest = np.sqrt(2 * fall)
    low, high = np.zeros_like(mode), np.full_like(mode, farthest)
    _, _, bend = _derivatives(likelihood, lines, mode)
    reach = farthest / np.sqrt(-bend)
    for step in range(MAX_SEARCH):
        f, slope, _ = _derivatives(likelihood, lines, mode + side * reach)
        drop = top - f
        there = abs(drop - fall) < 0.2 * fall
        if there.all():
            break
        if step < HALVE_FROM:
            steep = np.maximum(-side * slope, fall / farthest)
            reach = np.clip(reach + (fall - drop) / steep, 0.0, farthest)
            continue
        near = drop < fall
        low, high = np.where(near, reach, low), np.where(near, high, reach)
        reach = np.where(there, reach, 0.5 * (low + high))
    return reach


# -- points for several dimensions ----------------------------------------------------

# A normal distribution is represented by 2 * 2**6 points.
LOG2_POINTS = 6


@cache
def normal_points(n_dimensions, log2_points=LOG2_POINTS):
    """Points (n, n_dimensions) that represent a standard normal."""
    cube = Sobol(n_dimensions, scramble=False).random_base2(log2_points)
    points = norm.ppf(cube + 0.5 / len(cube))
    return np.concatenate([points, -points])

r"""Evidence of tasks that have chosen from few sets, without Laplace's method.

Few choices say little, and a posterior is far from normal then: by Laplace's method the
wider a prior is, the more probable it seems. So the likelihood of all sets of a task is
averaged over points z_k that are spread evenly over a standard normal. The utilities of
a task less those of the first alternative of each set are q numbers, which vary by
B L u with B the differences of designs. So does R z if R is a Cholesky factor of
B L L'B'. The derivatives are those of the average itself. That in L is D L, D = B'SB
with S twice the derivative in B L L'B' (Murray, 2016).
"""

from functools import partial, reduce
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from skmeta._core.prior import lines, stacks
from skmeta._core.prior.quadrature import normal_points
from skmeta._core.tasks import Parts, sizes_of, slices

# A task of choices with at most this total weight says little, ...
LITTLE_WEIGHT = 3
# ... unless these are more differences of utilities than can be averaged over.
MANY_DIFFERENCES = 40
# An evidence is averaged over 2 * 2**6 points.
LOG2_EVIDENCE_POINTS = 6
# With more alternatives than this, a loop over them is slow.
MANY = 16


def say_little(parts):
    """Which tasks (T,) have chosen from so few sets."""
    n_differences = sizes_of(parts) * (stacks.n_alternatives(parts) - 1)
    if isinstance(parts, Parts):
        weight = parts.total_weight
    else:
        weight = np.array([weight.sum() for _, _, weight, _ in parts])
    return (weight <= LITTLE_WEIGHT) & (n_differences <= MANY_DIFFERENCES)


def largest(eta):
    """The maximum over few alternatives, for which NumPy's own is slow."""
    if eta.shape[-1] > MANY:
        return eta.max(axis=-1)
    return reduce(np.maximum, np.moveaxis(eta, -1, 0))


class _Averaged(NamedTuple):
    """Some tasks at K points."""

    B: np.ndarray  # (T, q, d)
    R: np.ndarray  # (T, q, q)
    likelihood: np.ndarray  # (T, K) logarithms
    share: np.ndarray  # (T, K) of the points in the posterior
    p: np.ndarray  # (T, K, n, J - 1) probabilities of all but the first alternative
    score: np.ndarray  # (T, K, q) slopes in the utilities
    weight: np.ndarray  # (T, n)


def average(stack, mean, L):
    """`lines.Terms` of a stack whose tasks have few sets."""
    points = _points(stack)
    value, slopes, D = [], 0.0, 0.0
    for of in _blocks(stack, mean, L, points):
        value.append(logsumexp(of.likelihood, axis=1) - np.log(len(points)))
        slope = (of.share[:, None] @ of.score)[:, 0]
        slopes = slopes + np.einsum("tq,tqd->d", slope, of.B)
        weighted = (of.share[..., None] * of.score).swapaxes(-1, -2)
        S = lines.cholesky_slope(of.R, weighted @ points)
        D = D + _in_designs(S, of.B)
    return lines.Terms(
        value=np.concatenate(value),
        D=D,
        mean_slope=slopes,
        precision=partial(_precision, stack, mean, L),
        u=None,
    )


def _precision(stack, mean, L):
    """Minus the second derivative (d, d) in the mean; few are asked for."""
    total = 0.0
    for of in _blocks(stack, mean, L, _points(stack)):
        slope = (of.share[:, None] @ of.score)[:, 0]
        weighted = (of.share[..., None] * of.score).swapaxes(-1, -2)
        bend = _curvature(of) - weighted @ of.score
        bend += slope[:, :, None] * slope[:, None]
        total = total + _in_designs(bend, of.B)
    return total


def _in_designs(A, B):
    """The sum of B'AB over tasks."""
    return (B.swapaxes(-1, -2) @ A @ B).sum(axis=0)


def _points(stack):
    _, n, J = stack.Y.shape
    return normal_points(n * (J - 1), LOG2_EVIDENCE_POINTS)


def _blocks(stack, mean, L, points):
    """`_Averaged` of so few tasks at a time that they fit into the cache."""
    T, n, J, d = stack.X.shape
    for some in slices(T, stacks.STACK_CELLS // (4 * len(points) * n * J)):
        part = stack.part(some)
        B = (part.X[:, :, 1:] - part.X[:, :, :1]).reshape(len(part.X), -1, d)
        BL = B @ L
        R = BL @ BL.swapaxes(-1, -2)
        # what rounding takes from it grows with its size
        size = np.maximum(1.0, np.einsum("tqq->tq", R).max(axis=1))[:, None, None]
        R = np.linalg.cholesky(R + lines.JITTER * size * np.eye(R.shape[-1]))
        moved = (points @ R.swapaxes(-1, -2)).reshape(len(B), -1, n, J - 1)
        middle = part.eta(mean[None])[:, None]
        eta = np.empty((*moved.shape[:-1], J))
        eta[..., :1] = middle[..., :1]
        np.add(moved, middle[..., 1:], out=eta[..., 1:])
        eta -= largest(eta)[..., None]
        chosen = np.einsum("tnj,tknj->tkn", part.Y, eta)
        p = np.exp(eta, out=eta)
        total = p @ np.ones(J)
        p = p[..., 1:] / total[..., None]
        f = ((chosen - np.log(total)) @ part.weight[..., None])[..., 0]
        score = (part.Y[:, None, :, 1:] - p) * part.weight[:, None, :, None]
        score = score.reshape(len(B), len(points), -1)
        yield _Averaged(B, R, f, softmax(f, axis=1), p, score, part.weight)


def _curvature(of):
    """Mean over points of diag(p) - pp' of each set, as (T, q, q)."""
    (T, _, n, m), p = of.p.shape, of.p
    out = np.zeros((T, n, m, n, m))
    sets = np.arange(n)
    times = of.share[..., None] * of.weight[:, None]  # (T, K, n)
    blocks = -np.einsum("tkn,tkna,tknb->tnab", times, p, p, optimize=True)
    np.einsum("tnaa->tna", blocks)[...] += np.einsum("tkn,tkna->tna", times, p)
    out[:, sets, :, sets] = blocks.swapaxes(0, 1)
    return out.reshape(T, n * m, n * m)

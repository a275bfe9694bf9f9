r"""Evidence of tasks whose linear predictors move along one line, without Laplace.

All rows of such a task are multiples of one row x, as for a single row or rows that
repeat. Or only one coefficient differs between tasks. Then the evidence is an integral
over one number for each output.

With g the slope of log p(y | eta) in the linear predictors of a likelihood of one
output, W its curvature, and means E over the posterior, the derivatives in mean and
spread L of the coefficients are

    X' E[g]    and    D L,    D = X' E[gg' - W] X

(the second one by partial integration).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from skmeta._core.prior import quadrature, stacks
from skmeta._core.tasks import are_many, padded_blocks

# The evidence of a task of several classes is averaged over 2 * 2**7 points.
LOG2_EVIDENCE_POINTS = 7
# The logits of a row vary by at least this variance, since a matrix of zeros has no
# Cholesky factor.
JITTER = 1e-8


class Terms(NamedTuple):
    """What one stack of T tasks contributes to the evidence and its derivatives."""

    value: np.ndarray  # (T,) log evidence
    D: np.ndarray  # (P, P), the gradient in L is D L
    mean_slope: np.ndarray  # (P,)
    precision: object  # a function: minus the second derivative (P, P) in the mean
    u: np.ndarray | None  # modes, where the next search may begin


def is_line(X):
    """Whether all rows are multiples of one row; this includes a single row."""
    if len(X) <= 1:
        return True
    row = X[np.abs(X).max(axis=1).argmax()]
    square = row @ row
    if square == 0:
        return True
    apart = X - np.outer(X @ row / square, row)
    return bool(np.abs(apart).max() <= 1e-12 * np.abs(row).max())


def are_lines(X):
    """The same of each of T tasks X (T, n, d), padded with zeros: (T,)."""
    longest = np.abs(X).max(axis=2).argmax(axis=1)
    row = X[np.arange(len(X)), longest]
    square = np.einsum("td,td->t", row, row)
    along = np.einsum("tnd,td->tn", X, row)
    along /= np.where(square > 0, square, 1.0)[:, None]
    apart = np.abs(X - along[..., None] * row[:, None]).max(axis=(1, 2))
    return apart <= 1e-12 * np.abs(row).max(axis=1)


def on_lines(parts, likelihood):
    """Which tasks (T,) are to be integrated along a line."""
    if likelihood.own_designs:
        return likelihood.say_little(parts)
    if not are_many(parts):
        return np.array(
            [is_line(X) and likelihood.suits_lines(w) for X, _, w, _ in parts]
        )
    labels, sizes = np.zeros(len(parts), dtype=bool), parts.sizes
    for some in padded_blocks(sizes, parts.n_columns, stacks.STACK_CELLS):
        X, _, weight, _ = parts.padded(some)
        for task in np.flatnonzero(are_lines(X)):
            labels[some[task]] = likelihood.suits_lines(weight[task])
    return labels


def directions(stack, L):
    """Directions (T, r) in which u moves the predictors of multiples of a row."""
    w = _largest_row(stack) @ L
    size = np.sqrt((w * w).sum(axis=-1, keepdims=True))
    return np.divide(w, size, out=np.zeros_like(w), where=size > 0)


def _largest_row(stack):
    largest = np.abs(stack.X).max(axis=-1).argmax(axis=1)
    return stack.X[np.arange(len(largest)), largest]


def integral(likelihood, stack, mean, L, w, z=None):
    """`Terms` of one output, if only w'u moves a task's linear predictors.

    ``w`` is (T, r), and the searches for the modes of w'u begin at ``z`` (T,).
    """
    n_tasks, n, P = stack.X.shape
    lines = quadrature.Lines(
        b=stack.eta(mean[None])[..., 0],
        a=(stack.X @ (w @ L.T)[..., None])[..., 0],
        Y=stack.Y[..., 0],
        weight=stack.weight,
    )
    value, mode = np.empty(n_tasks), np.empty(n_tasks)
    products, curvature, means = (np.zeros((P, P)) for _ in range(3))
    mean_slope = np.zeros(P)
    for some in quadrature.in_chunks(n_tasks, n):
        part = lines.part(some)
        found = quadrature.integrate(likelihood, part, None if z is None else z[some])
        value[some], mode[some] = found.value, found.mode
        score, scores = 0.0, 0.0
        for few in quadrature.blocks(n):
            X = stack.X[some, few]
            slope, bend = quadrature.slopes(likelihood, part.rows(few), found)
            # E[X'g], (T, P)
            score = score + ((found.share[:, None] @ slope) @ X)[:, 0]
            root = np.sqrt(found.share)[..., None] * slope
            if n == 1:  # the same result as below, but quicker
                rows, square = X[:, 0], (root * root).sum(axis=(1, 2))
                products += (rows * square[:, None]).T @ rows
            else:
                scores = scores + root @ X
            rows = X.reshape(-1, P)
            curvature += (rows * bend.reshape(-1, 1)).T @ rows
        mean_slope += score.sum(axis=0)
        means += score.T @ score
        if n > 1:
            scores = scores.reshape(-1, P)
            products += scores.T @ scores  # X' E[gg'] X
    return Terms(
        value=value,
        D=products - curvature,
        mean_slope=mean_slope,
        precision=lambda: curvature - products + means,
        u=mode,
    )


def average_of_classes(stack, mean, L):
    """`Terms` of several classes, if all rows of a task are multiples c of one row x.

    The likelihood is averaged over points z_k that are spread evenly over a standard
    normal. The logits less that of the last class vary by B u, B = M (I x') L with
    M = [I, -1]. So does R z if R is a Cholesky factor of BB'. The derivatives are those
    of the average itself. That in L is D L, D = M'SM times xx' for each two classes,
    with S twice the derivative in BB' (Murray, 2016).
    """
    n_tasks, n, d = stack.X.shape
    o = stack.n_outputs
    points = quadrature.normal_points(o - 1, LOG2_EVIDENCE_POINTS)
    value, mean_slope = np.empty(n_tasks), np.zeros((o, d))
    D, precision = np.zeros((o, d, o, d)), np.zeros((o, d, o, d))
    size = max(1, stacks.STACK_CELLS // (8 * len(points) * n * o))
    for some in (slice(i, i + size) for i in range(0, n_tasks, size)):
        part = stack.part(some)
        x, c, R = _line_of_classes(part, L)
        moved = points @ R.swapaxes(-1, -2)  # (t, k, o - 1)
        moved = np.concatenate([moved, np.zeros((*moved.shape[:2], 1))], axis=-1)
        eta = part.eta(mean[None])[:, None] + c[:, None, :, None] * moved[:, :, None]
        log_p = log_softmax(eta, axis=-1)
        weight = part.weight[:, None, :, None]
        f = (weight * part.Y[:, None] * log_p).sum(axis=(-1, -2))
        value[some] = logsumexp(f, axis=1) - np.log(len(points))
        share = softmax(f, axis=1)
        p = np.exp(log_p)
        g = weight * (part.Y[:, None] - p) * c[:, None, :, None]
        score = g.sum(axis=2)  # in the logits of x, (t, k, o)
        slope = (share[:, None] @ score)[:, 0]
        weighted = share[..., None] * score
        products = weighted.swapaxes(-1, -2) @ score
        p = p.reshape(len(p), -1, o)
        times = share[..., None] * part.weight[:, None] * c[:, None] ** 2
        p_times = p * times.reshape(len(p), -1, 1)
        curvature = -p_times.swapaxes(-1, -2) @ p
        curvature += p_times.sum(axis=1)[..., None] * np.eye(o)
        S = cholesky_slope(R, weighted[..., :-1].swapaxes(-1, -2) @ points)
        apart = slope[:, :, None] * slope[:, None]
        mean_slope += slope.T @ x
        for total, blocks in (
            (D, _in_logits(S)),
            (precision, curvature - products + apart),
        ):
            total += np.einsum("tab,td,te->adbe", blocks, x, x, optimize=True)
    P = o * d
    return Terms(
        value,
        D.reshape(P, P),
        mean_slope.ravel(),
        lambda: precision.reshape(P, P),
        None,
    )


def _line_of_classes(stack, L):
    """x (T, d), the multiples c (T, n) of it, and R (T, o - 1, o - 1)."""
    o, d = stack.n_outputs, stack.X.shape[-1]
    x = _largest_row(stack)
    c = (stack.X @ x[..., None])[..., 0] / np.maximum(
        (x * x).sum(axis=-1, keepdims=True), np.finfo(float).tiny
    )
    A = np.einsum("td,odr->tor", x, L.reshape(o, d, -1))
    B = A[:, :-1] - A[:, -1:]
    return x, c, np.linalg.cholesky(B @ B.swapaxes(-1, -2) + JITTER * np.eye(o - 1))


def _in_logits(S):
    """M'SM: derivatives in all logits, of those in the logits less the last one."""
    whole = np.zeros((len(S), S.shape[1] + 1, S.shape[1] + 1))
    whole[:, :-1, :-1] = S
    whole[:, :-1, -1] = whole[:, -1, :-1] = -S.sum(axis=-1)
    whole[:, -1, -1] = S.sum(axis=(-1, -2))
    return whole


def cholesky_slope(R, slope):
    """Twice the derivative in RR', symmetric, given that in the lower triangular R."""
    lower = np.tril(R.swapaxes(-1, -2) @ slope)
    lower -= 0.5 * np.einsum("tii->ti", lower)[..., None] * np.eye(R.shape[-1])
    inverse = np.linalg.inv(R)
    half = inverse.swapaxes(-1, -2) @ lower @ inverse
    return half + half.swapaxes(-1, -2)

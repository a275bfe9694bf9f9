r"""Laplace evidence of several classes in the space of the rows.

A task of n rows says nothing of its coefficients beyond the o - 1 contrasts f of each
row's linear predictors. With c columns that vary and n < c these are fewer numbers than
the contrasts of the coefficients, so that modes and determinants are found among them.
The result is that of `contrasts`, which says what contrasts are.

The prior of f is normal about that of the mean, with covariance K, whose block of the
rows n and m is the sum over columns j of x_nj x_mj S_j. The mode is K a beside the mean
with a = y - mu, and W = G'G is the curvature of the rows. Then

    M = (K + W^-1)^-1 = G' (I + G K G')^-1 G.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from skmeta._core.prior import lines

MAX_NEWTON = 50
MODE_TOL = 1e-15
MAX_HALVINGS = 30


class RowMode(NamedTuple):
    """Where a search for modes ended, and where the next one may begin."""

    a: np.ndarray  # (T, n, q)


def evidence(likelihood, stack, mean, columns, state=None):
    """`lines.Terms` of a stack, as `contrasts.evidence` has them."""
    which, root, E = columns
    (T, n, d), q = stack.X.shape, E.shape[1]
    X, middle = stack.X[..., which], stack.eta(mean[None])
    K = _covariance(X, root @ root)
    a, value, mu, G, B = _newton(likelihood, stack, middle, K, E, state)
    inverse = np.linalg.inv(B)
    M = _left(G, _left(G, inverse).swapaxes(-1, -2))
    half_log_det = 0.5 * np.linalg.slogdet(B)[1]
    # the determinant moves the modes
    KM = K @ M
    rows = K.reshape(T, n, q, n * q)
    Q = K.reshape(T, n, q, n, q)[:, np.arange(n), :, np.arange(n)].swapaxes(0, 1)
    Q = Q - KM.reshape(rows.shape) @ rows.swapaxes(-1, -2)
    slope = likelihood.slope(mu, stack.Y)
    of_det = -likelihood.curvature_slope(mu, E @ Q @ E.T)
    slope, of_det = (part * stack.weight[..., None] for part in (slope, of_det))
    alpha = (of_det @ E).reshape(T, -1)
    nu = alpha - _times(KM.swapaxes(-1, -2), alpha)
    nu = nu.reshape(T, n, q)
    g, cross = X.swapaxes(-1, -2) @ (slope @ E), X.swapaxes(-1, -2) @ nu
    grown = np.einsum("tjp,tjq->jpq", g + cross, g)
    grown += np.einsum("tjp,tjq->jpq", g, cross)
    D = np.zeros((len(E), d, len(E), d))
    D[:, which, :, which] = E @ (grown - _own_blocks(X, M)) @ E.T

    return lines.Terms(
        value=value - half_log_det,
        D=D.reshape(len(mean), -1),
        mean_slope=stack.gradient(slope + nu @ E.T).sum(axis=0),
        precision=partial(_precision, likelihood, stack, mean, columns, a),
        u=RowMode(a),
    )


def _precision(likelihood, stack, mean, columns, a):
    """Precision (P, P) of the mean, by the tasks of a stack at their modes.

    It is asked for once in a search. So the matrices of all rows are made again, rather
    than kept: those of hundreds of tasks would fill the memory.
    """
    which, root, E = columns
    (T, n, d), q = stack.X.shape, E.shape[1]
    K, middle = _covariance(stack.X[..., which], root @ root), stack.eta(mean[None])
    _, mu = _objective(likelihood, stack, middle, K, E, a)
    G, B = _curvature(likelihood, stack, K, E, mu)
    half = np.linalg.solve(np.linalg.cholesky(B), _blocks(G)).reshape(T, -1, n, q)
    total = 0.0
    for one, x in zip(half, stack.X, strict=True):
        J = one.swapaxes(-1, -2) @ x  # (n q, q, d)
        J = J.reshape(len(J), -1)
        total = total + J.T @ J
    total = total.reshape(q, d, q, d)
    total = np.einsum("ap,pjqk,bq->ajbk", E, total, E, optimize=True)
    return total.reshape(len(mean), -1)


def _curvature(likelihood, stack, K, E, mu):
    """G (T, n, q, q) of the rows, and I + G K G', where the means are mu."""
    G = (likelihood.contrast_root(mu) @ E) * np.sqrt(stack.weight)[..., None, None]
    B = _left(G.swapaxes(-1, -2), _left(G.swapaxes(-1, -2), K).swapaxes(-1, -2))
    B.reshape(len(B), -1)[:, :: B.shape[-1] + 1] += 1.0
    return G, B


def _newton(likelihood, stack, middle, K, E, state):
    """a (T, n, q), log-likelihood less a'Ka / 2, means, G and I + G K G' at modes."""
    T, n, q = len(K), stack.X.shape[1], E.shape[1]
    a = np.zeros((T, n, q))
    if isinstance(state, RowMode) and state.a.shape == a.shape:
        a = state.a
    value, mu = _objective(likelihood, stack, middle, K, E, a)
    for _ in range(MAX_NEWTON):
        slope = likelihood.slope(mu, stack.Y) * stack.weight[..., None]
        rest = (slope @ E).reshape(T, -1) - a.reshape(T, -1)
        G, B = _curvature(likelihood, stack, K, E, mu)
        felt = _times(K, rest)
        back = np.linalg.solve(B, _rows(G, felt)[..., None])[..., 0]
        step = rest - _rows(G.swapaxes(-1, -2), back)
        gain = (step * felt).sum(axis=1)
        if not (gain > MODE_TOL * (1 + np.abs(value))).any():
            break
        a, value, mu = _climb(
            likelihood, stack, middle, K, E, a, step.reshape(a.shape), value
        )
    return a, value, mu, G, B


def _climb(likelihood, stack, middle, K, E, a, step, value):
    """A step, halved for the tasks in which it leads down."""
    length = np.ones(len(a))
    for _ in range(MAX_HALVINGS):
        tried = a + length[:, None, None] * step
        reached, mu = _objective(likelihood, stack, middle, K, E, tried)
        worse = reached < value - 1e-10 * (1 + np.abs(value))
        if not worse.any():
            break
        length[worse] *= 0.5
    return tried, reached, mu


def _objective(likelihood, stack, middle, K, E, a):
    """Log-likelihood minus a'Ka / 2, and the means of the targets."""
    flat = a.reshape(len(a), -1)
    moved = _times(K, flat)
    eta = middle + moved.reshape(a.shape) @ E.T
    value = (stack.weight * likelihood.log_density(eta, stack.Y)).sum(axis=-1)
    return value - 0.5 * (flat * moved).sum(axis=1), likelihood.mean(eta)


def _covariance(X, spreads):
    """K (T, n q, n q), with the covariances (c, q, q) of the columns' contrasts."""
    (T, n, c), q = X.shape, spreads.shape[1]
    products = X[:, :, None] * X[:, None]
    K = (products.reshape(-1, c) @ spreads.reshape(c, -1)).reshape(T, n, n, q, q)
    return K.swapaxes(2, 3).reshape(T, n * q, n * q)


def _own_blocks(X, M):
    """Sum over tasks of the blocks (c, q, q) of X'MX of each column with itself."""
    T, n, c = X.shape
    q = M.shape[1] // n
    left = X.swapaxes(-1, -2) @ M.reshape(T, n, -1)
    left = left.reshape(T, c, q, n, q)
    return np.einsum("tjpmq,tmj->jpq", left, X, optimize=True)


def _left(G, A):
    """G' A of matrices A (T, n q, r), with G (T, n, q, q) of the rows."""
    T, n, q, _ = G.shape
    return (G.swapaxes(-1, -2) @ A.reshape(T, n, q, -1)).reshape(A.shape)


def _rows(G, a):
    """G (T, n, q, q) times vectors a (T, n q)."""
    T, n, q, _ = G.shape
    return (G @ a.reshape(T, n, q, 1)).reshape(T, -1)


def _blocks(G):
    """G as one matrix (T, n q, n q)."""
    T, n, q, _ = G.shape
    out = np.zeros((T, n, q, n, q))
    places = np.arange(n)
    out[:, places, :, places] = G.swapaxes(0, 1)
    return out.reshape(T, n * q, n * q)


def _times(matrix, vector):
    return (matrix @ vector[..., None])[..., 0]

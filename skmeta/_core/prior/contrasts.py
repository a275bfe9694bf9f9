r"""Laplace evidence of several classes, whose columns of X vary independently.

Only differences of the linear predictors of classes matter. So the o coefficients of a
column of X count by o - 1 contrasts E'theta, with E (o, o - 1) an orthonormal basis of
the vectors that sum to zero. No class is a reference, and renaming classes changes
nothing.

If coefficients of different columns of X are independent, as in all structures but
"low_rank" and "full", the spread L is made of one small block for each column:
E'theta_j = R_j u_j about the mean. Then I + L'HL costs little more than H itself, and
almost all that is left of an evaluation is one Cholesky factor of each task and what
follows from it. See `laplace` for the formulas.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from skmeta._core.prior import lines
from skmeta._core.prior.derivatives import sum_of_hessians

# A search for the modes ends after this many steps, ...
MAX_STEPS = 100
# ... or earlier if a step can gain no more than this share of the value.
MODE_TOL = 1e-17
# A step is halved at most this many times.
MAX_HALVINGS = 30
# The factors of an earlier mode serve for further steps, while each step leaves at most
# this share of what could be gained before it.
SLOW = 0.1
# With more contrasts than this, a gradient is asked for within columns alone.
FULL = 60


class Columns(NamedTuple):
    """A spread in which coefficients of different columns of X are independent."""

    which: np.ndarray  # (c,) columns of X that vary
    root: np.ndarray  # (c, q, q) symmetric root of the covariance of their contrasts
    basis: np.ndarray  # (o, q) E

    @property
    def n_contrasts(self):
        return len(self.which) * self.basis.shape[1]


class Mode(NamedTuple):
    """Where a search for modes ended, and where the next one may begin."""

    u: np.ndarray  # (T, c, q)
    inverse: np.ndarray  # (T, c q, c q) of I + L'HL, near u


def basis(o):
    """An orthonormal basis (o, o - 1) of the vectors that sum to zero."""
    E = np.tril(-np.ones((o, o)), -1) + np.diag(np.arange(o, 0.0, -1) - 1)
    return (E / np.sqrt(np.maximum((E * E).sum(axis=0), 1.0)))[:, :-1]


def columns_of(L, o, varying):
    """The `Columns` of a spread L (P, r), or None if columns of X vary together.

    ``varying`` (d,) are the columns whose coefficients may vary. Those that do not vary
    in L are left out, unless some of L is zero: a search may ask for their slope.
    """
    blocks = L.reshape(o, len(varying), -1)
    touched = blocks.any(axis=0)
    if (touched.sum(axis=0) > 1).any():
        return None
    some = touched.any(axis=1)
    if not touched.any(axis=0).all():
        some = varying
    E = basis(o)
    half = np.einsum("ajr,aq->jqr", blocks[:, some], E)
    values, vectors = np.linalg.eigh(half @ half.swapaxes(-1, -2))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None]
    return Columns(np.flatnonzero(some), root @ vectors.swapaxes(-1, -2), E)


def evidence(likelihood, stack, mean, columns, state=None):
    """`lines.Terms` of a stack, as `laplace` has them; ``u`` of them is a `Mode`.

    D is right for the `Columns`, and zero elsewhere. If they are many, it is right only
    for coefficients of the same column.
    """
    which, _, E = columns
    T, _, d = stack.X.shape
    own = stack._replace(X=stack.X[..., which], offset=stack.eta(mean[None]))
    u, value, mu = _climb_to_mode(likelihood, own, columns, state)
    H, LH, B = _curvature(likelihood, own, columns, mu)
    inverse, half_log_det, explained = _inverses(B, LH, u.shape[1:])
    V = _both_sides(columns.root, inverse)

    def of_mean():
        M = H.sum(axis=0) - (LH.swapaxes(-1, -2) @ (inverse @ LH)).sum(axis=0)
        return 0.5 * (M + M.T)

    # the determinant moves the modes
    slope = _weighted(likelihood.slope(mu, stack.Y), stack)
    of_det = _weighted(-likelihood.curvature_slope(mu, _spread(own, V, E)), stack)
    g, alpha = (_gradient(own, s, E).reshape(T, -1) for s in (slope, of_det))
    moved = _times(V, alpha)
    nu = alpha - _times(H, moved)
    cross = nu.T @ g
    grown = g.T @ g + cross + cross.T
    D = np.zeros((len(E), d, len(E), d))
    if len(grown) <= FULL:
        inner = (grown - of_mean()).reshape(2 * u.shape[1:])
        D[np.ix_(range(len(E)), which, range(len(E)), which)] = _of_outputs(inner, E)
    else:
        inner = _own_blocks(grown - H.sum(axis=0), u.shape[1:]) + explained
        D[:, which, :, which] = E @ inner @ E.T
    # the mean of all columns moves with the slopes in eta
    moved = own.X @ (moved.reshape(u.shape) @ E.T)
    W = likelihood.curvatures(mu) * stack.weight[..., None, None]
    of_eta = slope + of_det - (W @ moved[..., None])[..., 0]

    def precision():
        if len(which) < d:
            return _precision_of_mean(likelihood, stack, columns, mu, inverse)
        M = _of_outputs(of_mean().reshape(2 * u.shape[1:]), E)
        return M.reshape(len(mean), -1)

    return lines.Terms(
        value=value - half_log_det,
        D=D.reshape(len(mean), -1),
        mean_slope=stack.gradient(of_eta).sum(axis=0),
        precision=precision,
        u=Mode(u, inverse),
    )


# -- modes ----------------------------------------------------------------------------


def _climb_to_mode(likelihood, own, columns, state):
    """u (T, c, q) at the modes, log-likelihood minus u'u / 2, and means of targets.

    Newton's method, but with the factors of an earlier point for as long as they serve.
    """
    T, (c, q, _) = len(own.X), columns.root.shape
    u, inverse = np.zeros((T, c, q)), None
    if isinstance(state, Mode) and state.u.shape == u.shape:
        u, inverse = state
    value, mu = _objective(likelihood, own, columns, u)
    before, fresh = np.full(T, np.inf), False
    for _ in range(MAX_STEPS):
        slope = _gradient(
            own, _weighted(likelihood.slope(mu, own.Y), own), columns.basis
        )
        slope = _by_column(columns.root, slope) - u
        if inverse is None:
            inverse = np.linalg.inv(_curvature(likelihood, own, columns, mu)[2])
            fresh = True
        step = _times(inverse, slope.reshape(T, -1)).reshape(u.shape)
        gain = (slope * step).sum(axis=(1, 2))
        left = gain > MODE_TOL * (1 + np.abs(value))
        if not left.any():
            # the step is known already, and takes away most of the error that is left
            u = u + step
            value, mu = _objective(likelihood, own, columns, u)
            break
        if not fresh and (left & (gain > SLOW * before)).any():
            inverse = None
            continue
        u, value, mu = _step(likelihood, own, columns, u, step, value)
        # of a first step with old factors nothing can be said
        before = gain
        if fresh:
            before, fresh = np.full(T, np.inf), False
    return u, value, mu


def _step(likelihood, own, columns, u, step, value):
    """A step, halved for the tasks in which it leads down."""
    length = np.ones(len(u))
    for _ in range(MAX_HALVINGS):
        tried = u + length[:, None, None] * step
        reached, mu = _objective(likelihood, own, columns, tried)
        worse = reached < value - 1e-10 * (1 + np.abs(value))
        if not worse.any():
            break
        length[worse] *= 0.5
    return tried, reached, mu


def _objective(likelihood, own, columns, u):
    """Log-likelihood minus u'u / 2, and the means of the targets."""
    coef = _by_column(columns.root, u) @ columns.basis.T
    eta = own.X @ coef + own.offset
    value = (own.weight * likelihood.log_density(eta, own.Y)).sum(axis=-1)
    return value - 0.5 * (u * u).sum(axis=(1, 2)), likelihood.mean(eta)


# -- parts ----------------------------------------------------------------------------


def _weighted(slope, stack):
    return slope * stack.weight[..., None]


def _gradient(own, slope, E):
    """Gradient (T, c, q) in the contrasts, given that in eta (T, n, o)."""
    return own.X.swapaxes(-1, -2) @ (slope @ E)


def _by_column(root, A):
    """Each column's root times A (T, c, q)."""
    return np.einsum("cpq,tcq->tcp", root, A)


def _times(matrix, vector):
    """Matrices (T, ...) of r rows times vectors (T, r)."""
    T, r = vector.shape
    return (matrix.reshape(T, r, r) @ vector[..., None])[..., 0]


def _both_sides(root, A):
    """R'A R of symmetric matrices A (T, c q, c q), with R the roots of the columns."""
    return _left(root, _left(root, A).swapaxes(-1, -2))


def _left(root, A):
    T, r, _ = A.shape
    return (root @ A.reshape(T, *root.shape[:2], r)).reshape(T, r, r)


def _curvature(likelihood, own, columns, mu):
    """H in the contrasts, L'H and I + L'HL, all (T, c q, c q)."""
    (T, _, c), q = own.X.shape, columns.basis.shape[1]
    W = likelihood.curvatures(mu) * own.weight[..., None, None]
    W = columns.basis.T @ W @ columns.basis
    H, transposed = np.empty((T, c, q, c, q)), own.X.swapaxes(-1, -2)
    for a in range(q):
        for b in range(a + 1):
            block = transposed @ (own.X * W[..., a, b, None])
            H[:, :, a, :, b] = block
            H[:, :, b, :, a] = block
    H = H.reshape(T, c * q, c * q)
    LH = _left(columns.root, H)
    B = _left(columns.root, LH.swapaxes(-1, -2))
    B.reshape(T, -1)[:, :: c * q + 1] += 1.0
    return H, LH, B


def _inverses(B, LH, shape):
    """B^-1 and log det(B) / 2 of each task, and the sum over tasks of HL B^-1 L'H.

    Of that sum only the blocks (c, q, q) of each column with itself.
    """
    inverse, half_log_det = np.empty_like(B), np.empty(len(B))
    explained = np.zeros((*shape, shape[1]))
    known = np.tri(B.shape[1], dtype=bool)  # LAPACK fills the lower triangle only
    for t, (own, right) in enumerate(zip(B, LH, strict=True)):
        # transposed views spare copies, since LAPACK wants columns
        C, _ = lapack.dpotrf(own.T, lower=1)
        half_log_det[t] = np.log(np.diag(C)).sum()
        lower, _ = lapack.dpotri(C, lower=1)
        inverse[t] = np.where(known, lower, lower.T)
        half = blas.dtrsm(1.0, C, right, lower=1).T.reshape(*shape, -1)
        explained += half @ half.swapaxes(-1, -2)
    return inverse, half_log_det, explained


def _own_blocks(A, shape):
    """The blocks (c, q, q) of each column with itself, of A (c q, c q)."""
    places = np.arange(shape[0])
    return A.reshape(*shape, *shape)[places, :, places]


def _of_outputs(A, E):
    """Matrices of contrasts (c, q, c, q) as those of the outputs (o, c, o, c)."""
    return np.einsum("ap,jpkq,bq->ajbk", E, A, E, optimize=True)


def _spread(own, V, E):
    """Covariance (T, n, o, o) of the linear predictors."""
    (T, n, c), q = own.X.shape, E.shape[1]
    V = V.reshape(T, c, q, c, q)
    Q = np.empty((T, n, q, q))
    for a in range(q):
        for b in range(a + 1):
            Q[..., a, b] = ((own.X @ V[:, :, a, :, b]) * own.X).sum(axis=-1)
            Q[..., b, a] = Q[..., a, b]
    return E @ Q @ E.T


def _precision_of_mean(likelihood, stack, columns, mu, inverse):
    """Precision (P, P) that a stack gives the mean, if some columns do not vary."""
    which, root, E = columns
    (T, n, d), o = stack.X.shape, len(E)
    W = likelihood.curvatures(mu) * stack.weight[..., None, None]
    W, transposed = W.reshape(T, n, o * o), stack.X.swapaxes(-1, -2)
    K = []  # X'W Z, with Z = X L of the columns that vary
    for place, column in enumerate(which):
        of_column = transposed @ (W * stack.X[..., column, None])
        of_column = of_column.reshape(T, d, o, o) @ (E @ root[place])
        K.append(of_column.swapaxes(1, 2).reshape(T, o * d, -1))
    K = np.concatenate(K, axis=-1)
    explained = (K @ inverse @ K.swapaxes(-1, -2)).sum(axis=0)
    M = sum_of_hessians(likelihood, stack, mu) - explained
    return 0.5 * (M + M.T)

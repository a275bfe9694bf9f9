r"""Linear algebra on the triangles of many tasks, with the task axis last.

Arrays are (rows, columns, B) for B tasks. Loops run over rows and columns, and each
step treats all tasks at once, so that NumPy's calls cost little for each task. A
triangle R is given as a list of its rows: row i (k - i, B) holds the columns i, i + 1,
... of all tasks.
"""

from typing import NamedTuple

import numpy as np

# A root of a covariance is at least this, so that nothing is divided by zero.
TINY = np.finfo(float).tiny


def triangles_of(rows, n_columns):
    """The triangles (K, k, B) of rows (n, k, B) by Householder's reflections.

    It rotates the first ``n_columns`` columns, and K is the lesser of n and their
    number. Also returns the squares (B,) of the last column that the triangles leave.
    ``rows`` are overwritten.
    """
    n = len(rows)
    K = min(n, n_columns)
    for j in range(min(K, n - 1)):
        v = rows[j:, j]
        size = np.sqrt(np.einsum("nb,nb->b", v, v))
        top = np.copysign(size, v[0])
        v[0] += top  # a reflection by v turns the column into -top
        half = size * np.abs(v[0])  # of v'v
        scale = 1.0 / np.maximum(half, TINY)
        rest = rows[j:, j + 1 :]
        along = np.einsum("nb,nkb->kb", v, rest)
        along *= scale
        for row, share in zip(rest, v, strict=True):
            row -= along * share
        v[0] = -top
    return rows[:K], np.einsum("nb,nb->b", rows[K:, -1], rows[K:, -1])


def upper_factor(L):
    """The upper triangle U (m, m) of L (P, r), with U U' = L L' in the first m rows.

    The rows of L below these are zero.
    """
    m = int(np.flatnonzero(L.any(axis=1)).max(initial=-1)) + 1
    U = np.zeros((m, m))
    if m:
        R = np.linalg.qr(L[m - 1 :: -1].T if m < len(L) else L[::-1].T, mode="r")
        U[:, m - len(R) :] = R.T[::-1, ::-1]
    return U


def spread_of(R, U, B):
    """Z = R U (m, r, B), with zeros below the diagonal, of m <= r rows of triangles."""
    m, r = len(R), len(U)
    Z = np.zeros((m, r, B))
    for i in range(m):
        np.matmul(U[i:, i:].T, R[i][: r - i], out=Z[i, i:])
    return Z


def products_of(Z):
    """Z Z' (m, m, B) of triangles Z (m, r, B), only on and above the diagonal."""
    m, _, B = Z.shape
    A = np.empty((m, m, B))
    for j in range(m):
        np.einsum("icb,cb->ib", Z[: j + 1, j:], Z[j, j:], out=A[: j + 1, j])
    return A


class Root(NamedTuple):
    """The upper triangles V (m, m, B) of covariances V V'."""

    V: np.ndarray  # on and above the diagonal
    inverse: np.ndarray  # (m, B) one by the numbers on the diagonal

    @classmethod
    def of(cls, A, factor):
        """Of factor I + A, for A as of `products_of`."""
        m, _, B = A.shape
        V, inverse = np.empty((m, m, B)), np.empty((m, B))
        for j in reversed(range(m)):
            column = V[: j + 1, j]
            if j + 1 < m:
                right = V[: j + 1, j + 1 :]
                np.einsum("icb,cb->ib", right, V[j, j + 1 :], out=column)
                np.subtract(A[: j + 1, j], column, out=column)
            else:
                column[...] = A[:, j]
            column[j] += factor
            np.sqrt(np.maximum(column[j], TINY, out=column[j]), out=column[j])
            np.divide(1.0, column[j], out=inverse[j])
            column[:j] *= inverse[j]
        return cls(V, inverse)

    @property
    def half_log_det(self):
        """Logarithms (B,) of the determinants of V."""
        return -np.log(self.inverse.prod(axis=0))

    def solve(self, R):
        """V^-1 R (m, k, B) of m rows of triangles, with zeros below the diagonal."""
        V, (m, B) = self.V, self.inverse.shape
        W = np.zeros((m, len(R[0]) if m else 0, B))
        for i in reversed(range(m)):
            row = W[i, i:]
            if i + 1 < m:
                right = W[i + 1 :, i + 1 :]
                np.einsum("cb,ckb->kb", V[i, i + 1 :], right, out=row[1:])
            np.subtract(R[i], row, out=row)
            row *= self.inverse[i]
        return W

    def solve_vector(self, e):
        """V^-1 e (m, B); e is overwritten."""
        for i in reversed(range(len(e))):
            if i + 1 < len(e):
                e[i] -= np.einsum("cb,cb->b", self.V[i, i + 1 :], e[i + 1 :])
            e[i] *= self.inverse[i]
        return e

    def solve_transposed(self, e):
        """V'^-1 e (m, B); e is overwritten."""
        for i in range(len(e)):
            if i:
                e[i] -= np.einsum("cb,cb->b", self.V[:i, i], e[:i])
            e[i] *= self.inverse[i]
        return e


def diagonal(A):
    """The diagonals (m, B) of matrices A (m, m, B)."""
    return np.einsum("iib->ib", A)

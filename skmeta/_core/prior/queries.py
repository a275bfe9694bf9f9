"""Which rows of a pool to ask about first."""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from sklearn.utils import gen_batches

# About this many numbers of the pool's rows are held at a time.
POOL_CELLS = 2**21
# Gains whose relative difference is below this are equal, and the first row is taken.
TIED_GAINS = 1e-9


class Pool(NamedTuple):
    """Rows that could be asked about.

    The outputs of a row x are Theta x. An answer about them has unit noise once they
    are multiplied by the row's ``root``. The rows of Theta, one after the other, are
    ``factor`` times independent standard normal unknowns.
    """

    design: object  # a function that gives the columns (n, P) of a slice of rows
    root: np.ndarray  # (n, o, o)
    factor: np.ndarray  # (o P, r)

    @property
    def width(self):
        """How many numbers are held for a row."""
        o = self.root.shape[1]
        return max(self.factor.shape[1], len(self.factor) // o, o * o)

    @property
    def n_answers(self):
        """How many numbers an answer says of a row."""
        return self.root.shape[1]

    def blocks(self):
        size = max(1, POOL_CELLS // max(1, self.width))
        for rows in gen_batches(len(self.root), size):
            yield rows, self.design(rows), self.root[rows]

    def moved(self, X, factor):
        """How the outputs of rows vary with a factor (o P, q): (n, o, q)."""
        o = self.root.shape[1]
        return np.einsum("nd,odq->noq", X, factor.reshape(o, X.shape[1], -1))


class Sets(Pool):
    """Choice sets that could be asked about: a row has a design for each alternative.

    ``design`` gives (n, J, P), ``root`` is (n, J, J) and ``factor`` (P, r). An answer
    says which alternative is chosen.
    """

    n_answers = 1

    @property
    def width(self):
        J, (P, r) = self.root.shape[1], self.factor.shape
        return J * max(P, r, J)

    def moved(self, X, factor):
        return X @ factor


def apart_from(pool, unseen):
    """The pool, where directions that no row of training looked at count as noise.

    ``unseen`` (o P, q) are these directions of Theta, orthonormal. What is known of
    them is only a guess, so that a row which depends on them would seem to be the most
    useful question.
    """
    if unseen.shape[1] == 0:
        return pool
    within = unseen.T @ pool.factor
    values, vectors = np.linalg.eigh(within @ within.T)
    half = unseen @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    variance = np.empty(len(pool.root))
    for rows, X, root in pool.blocks():
        J = root @ pool.moved(X, half)
        variance[rows] = (J**2).sum(axis=(1, 2)) / pool.n_answers
    root = pool.root / np.sqrt(1.0 + variance)[:, None, None]
    return pool._replace(root=root, factor=pool.factor - unseen @ within)


def choose_queries(pool, n_queries):
    r"""Rows that lower the posterior variance over the whole pool most, one by one.

    Parameters
    ----------
    pool : Pool
    n_queries : int

    Returns
    -------
    rows : ndarray of int of shape (n_queries,)

    Notes
    -----
    Let J (o, r) be what the outputs of a row depend on. The variance summed over the
    pool is tr(S), :math:`S = \sum_j J_j' J_j`. Observing row i turns it into
    tr(S (I + J_i' J_i)^-1), which is less by tr((I + J_i J_i')^-1 J_i S J_i'),
    whatever the answer is: Cohn's criterion (1996). No J is kept. Rows are treated a
    block at a time, and an answer changes only the factor.
    """
    chooser = _of_one_output if pool.root.shape[1] == 1 else _of_more_outputs
    if isinstance(pool, Sets):
        chooser = _of_sets
    asked = np.zeros(len(pool.root), dtype=bool)
    rows = []
    chosen = chooser(pool)
    gain = next(chosen)
    while True:
        gain = np.where(asked, -np.inf, gain)
        best = gain.max()
        row = int(np.argmax(gain >= best - TIED_GAINS * abs(best)))
        rows.append(row)
        asked[row] = True
        if len(rows) == n_queries:
            return np.array(rows, dtype=np.intp)
        gain = chosen.send(row)


def _of_one_output(pool):
    """Yield the gains of all rows; be sent the row that is observed.

    The gains are formed anew from the factor each time, which keeps small variances
    exact beside large ones.
    """
    G, r = pool.factor, pool.factor.shape[1]
    while True:
        S, gain = np.zeros((r, r)), np.empty(len(pool.root))
        for _, X, root in pool.blocks():
            J = root[:, 0] * (X @ G)
            S += J.T @ J
        for rows, X, root in pool.blocks():
            J = root[:, 0] * (X @ G)
            gain[rows] = ((J @ S) * J).sum(axis=1) / (1.0 + (J**2).sum(axis=1))
        row = yield gain
        j = pool.root[row, 0] * (pool.design(slice(row, row + 1)) @ G)[0]
        size = j @ j
        # (I + j j')^(-1/2) = I - shrink j j'
        shrink = 1.0 / (1.0 + size + np.sqrt(1.0 + size))
        G = G - shrink * np.outer(G @ j, j)


def _of_more_outputs(pool):
    """The same for o outputs: gains are updated, since forming them anew is slow.

    Each row has A = J J' and B = J S J', both (o, o). Observing J_q takes U U' from the
    covariance V of the coefficients, and V K V, K being the sum over the pool, becomes
    V K V - U W' - W U' + U (U'K U) U' with W = V K U.
    """
    G, o = pool.factor, pool.root.shape[1]
    K, V = _joined(_products(pool), o), G @ G.T
    A, B = _forms(pool, V), _forms(pool, V @ K @ V)
    while True:
        inverse = np.linalg.inv(A + np.eye(o))
        row = yield np.einsum("nij,nji->n", inverse, B)
        x = pool.design(slice(row, row + 1))[0]
        J = pool.root[row] @ np.einsum("p,opr->or", x, V.reshape(o, len(x), -1))
        C = np.linalg.cholesky(A[row] + np.eye(o))
        U = np.linalg.solve(C, J).T
        W = V @ (K @ U)
        middle = U.T @ K @ U
        V = V - U @ U.T
        for rows, X, root in pool.blocks():
            u, w = (root @ _outputs(X, part, o) for part in (U, W))
            A[rows] -= u @ u.swapaxes(1, 2)
            cross = u @ w.swapaxes(1, 2)
            B[rows] += u @ middle @ u.swapaxes(1, 2) - cross - cross.swapaxes(1, 2)


def _of_sets(pool):
    """The same for choice sets; gains are formed anew, as of one output.

    With M = J'J the gain of a set is tr(S M (I + M)^-1).
    """
    G, r = pool.factor, pool.factor.shape[1]
    while True:
        S, gain = np.zeros((r, r)), np.empty(len(pool.root))
        for _, X, root in pool.blocks():
            J = (root @ (X @ G)).reshape(-1, r)
            S += J.T @ J
        for rows, X, root in pool.blocks():
            J = root @ (X @ G)
            transposed = J.swapaxes(1, 2)
            if J.shape[1] <= r:
                inner = np.eye(J.shape[1]) + J @ transposed
                along = np.linalg.solve(inner, J @ S)
                gain[rows] = np.einsum("njr,njr->n", along, J)
            else:
                M = transposed @ J
                along = np.linalg.solve(np.eye(r) + M, M)
                gain[rows] = np.einsum("nij,ij->n", along, S)
        row = yield gain
        J = pool.root[row] @ (pool.design(slice(row, row + 1))[0] @ G)
        C = np.linalg.cholesky(np.eye(r) + J.T @ J)
        G = np.linalg.solve(C, G.T).T


def _outputs(X, part, o):
    """Rows (n, P) times a part (o P, k) of the coefficients: (n, o, k)."""
    blocks = part.reshape(o, X.shape[1], -1)
    return np.stack([X @ block for block in blocks], axis=1)


def _products(pool):
    """Sums over the pool of the rows' information times x x', for pairs of outputs."""
    o = pool.root.shape[1]
    pairs = list(combinations_with_replacement(range(o), 2))
    total = [0.0] * len(pairs)
    for _, X, root in pool.blocks():
        information = root.swapaxes(1, 2) @ root
        for i, (a, b) in enumerate(pairs):
            total[i] = total[i] + X.T @ (information[:, a, b, None] * X)
    return total


def _joined(blocks, o):
    """A symmetric matrix (o P, o P) of its blocks on and above the diagonal."""
    P = len(blocks[0])
    whole = np.empty((o, P, o, P))
    pairs = combinations_with_replacement(range(o), 2)
    for (a, b), block in zip(pairs, blocks, strict=True):
        whole[a, :, b], whole[b, :, a] = block, block.T
    return whole.reshape(o * P, o * P)


def _forms(pool, M):
    """R (x' M_ab x) R' of each row (n, o, o), M_ab being the blocks of M."""
    n, o, _ = pool.root.shape
    P = len(M) // o
    blocks, forms = M.reshape(o, P, o, P), np.empty((n, o, o))
    for rows, X, root in pool.blocks():
        inner = np.empty((len(X), o, o))
        for a, b in combinations_with_replacement(range(o), 2):
            inner[:, a, b] = ((X @ blocks[a, :, b]) * X).sum(axis=1)
            inner[:, b, a] = inner[:, a, b]
        forms[rows] = root @ inner @ root.swapaxes(1, 2)
    return forms

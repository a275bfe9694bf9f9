"""Which rows of a pool to ask about first."""

import numpy as np


def greedy_queries(J, n_queries):
    r"""Rows that lower the posterior variance over the whole pool most, one by one.

    Parameters
    ----------
    J : ndarray of shape (n, o, r)
        Of each row, the outputs' dependence on independent standard normal unknowns, in
        units in which one observation has unit noise.
    n_queries : int

    Returns
    -------
    rows : ndarray of int of shape (n_queries,)

    Notes
    -----
    The variance summed over the pool is tr(S), :math:`S = \sum_j J_j' J_j`. Observing
    row i turns it into tr(S (I + J_i' J_i)^-1), which is less by
    tr((I + J_i J_i')^-1 J_i S J_i'), whatever is answered: Cohn's criterion (1996).
    """
    n, o, r = J.shape
    asked = np.zeros(n, dtype=bool)
    rows = []
    for _ in range(n_queries):
        S = np.einsum("noi,noj->ij", J, J)
        observed = J @ J.swapaxes(-1, -2) + np.eye(o)
        explained = J @ S @ J.swapaxes(-1, -2)
        gain = np.trace(np.linalg.solve(observed, explained), axis1=-2, axis2=-1)
        gain[asked] = -np.inf
        row = int(gain.argmax())
        rows.append(row)
        asked[row] = True
        C = np.linalg.cholesky(np.eye(r) + J[row].T @ J[row])
        J = np.linalg.solve(C, J.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.array(rows, dtype=np.intp)

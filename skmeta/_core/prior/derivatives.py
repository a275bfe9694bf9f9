"""Derivatives of the likelihood of stacked rows in the coefficients of their tasks.

Rows have one design x and coefficients for each of o outputs, or else a design of their
own for each of J alternatives and one vector of coefficients. In the second case W is
the curvature diag(p) - pp' of a softmax with probabilities p, so that X' W X is the sum
of p_j (x_j - m)(x_j - m)' with m the mean of the designs, and no matrix of pairs of
alternatives is needed.
"""

import numpy as np

from skmeta._core.prior.stacks import flat, row_blocks


def hessian(likelihood, stack, mu):
    """X' W X of each task: (T, P, P)."""
    if stack.has_designs:
        d = stack.X.shape[-1]
        none = np.zeros((len(mu), d, d))
        return sum((_of_block(*block) for block in _about_means(stack, mu)), none)
    X, weight, o = stack.X, stack.weight, stack.n_outputs
    n_tasks, _, d = X.shape
    H = np.empty((n_tasks, o, d, o, d))
    for a in range(o):
        for b in range(a + 1):
            block = _products(X, weight * likelihood.curvature(mu, a, b))
            H[:, a, :, b] = block
            H[:, b, :, a] = block
    return H.reshape(n_tasks, o * d, o * d)


def _products(X, weight):
    """X' diag(weight) X of each task, of a long one a block of rows at a time."""
    total = 0.0
    for rows in row_blocks(X):
        part = X[:, rows]
        total += (part * weight[:, rows, None]).swapaxes(-1, -2) @ part
    return total


def sum_of_hessians(likelihood, stack, mu):
    """Sum of X' W X over all tasks, with W the curvature at means mu: (P, P)."""
    if stack.has_designs:
        return hessian(likelihood, stack, mu).sum(axis=0)
    d, o = stack.X.shape[-1], stack.n_outputs
    H, X = np.empty((o, d, o, d)), stack.X.reshape(-1, d)
    for a in range(o):
        for b in range(a + 1):
            W = (stack.weight * likelihood.curvature(mu, a, b)).reshape(-1, 1)
            H[a, :, b] = (X * W).T @ X
            H[b, :, a] = H[a, :, b].T
    return H.reshape(o * d, o * d)


def slope_of_half_trace(likelihood, stack, mu, V):
    """Slope (T, n, o) in eta of tr(H V) / 2 for symmetric V (T, P, P)."""
    if not stack.has_designs:
        Q = eta_covariance(stack.X, V, stack.n_outputs)
        return likelihood.curvature_slope(mu, Q) * stack.weight[..., None]
    slope = np.empty(mu.shape)
    for rows, X, p, _ in _about_means(stack, mu):
        square = ((flat(X) @ V) * flat(X)).sum(axis=-1).reshape(X.shape[:-1])
        slope[:, rows] = 0.5 * p * (square - (p * square).sum(axis=-1, keepdims=True))
    return slope * stack.weight[..., None]


def times_curvature(likelihood, stack, mu, A):
    """W times A (T, n, o, ...), with W the curvature of each row in its o outputs."""
    if stack.has_designs:
        p, weight = (
            field.reshape(*field.shape, *(1,) * (A.ndim - field.ndim))
            for field in (mu, stack.weight)
        )
        return weight * p * (A - (p * A).sum(axis=2, keepdims=True))
    W = likelihood.curvatures(mu) * stack.weight[..., None, None]
    return np.einsum("tnab,tnb...->tna...", W, A)


def eta_covariance(X, V, o):
    """Covariance (T, n, o, o) of the linear predictors, given the coefficients' V."""
    n_tasks, n, d = X.shape
    V = V.reshape(n_tasks, o, d, o, d)
    Q = np.empty((n_tasks, n, o, o))
    for a in range(o):
        for b in range(a + 1):
            for rows in row_blocks(X):
                part = X[:, rows]
                Q[:, rows, a, b] = ((part @ V[:, a, :, b]) * part).sum(axis=-1)
            Q[..., b, a] = Q[..., a, b]
    return Q


def _about_means(stack, mu):
    """Blocks of rows: which they are, x_j - m (T, n, J, d), p (T, n, J) and weights."""
    for rows in row_blocks(stack.X):
        X, p = stack.X[:, rows], mu[:, rows]
        yield rows, X - p[:, :, None] @ X, p, stack.weight[:, rows, None]


def _of_block(_, X, p, weight):
    X *= np.sqrt(p * weight)[..., None]
    X = flat(X)
    return X.swapaxes(-1, -2) @ X

r"""Descent of linear models with squared loss, in closed form.

On the rows A = [X, 1] of a task, times the root of their weights, with rates
R = diag(r) and the pull of strength rho / r_j towards the start phi, a step is

    u <- (1 - rho) u - R A' (A u + A phi - y),      theta = phi + u,

linear in u. So the result of K steps is an affine map of phi, and so is its mean over
tasks. If all rows of all tasks take part in every meta-iteration, this map is always
the same, and a meta-iteration costs one product with a small matrix.
"""

from operator import add
from typing import NamedTuple

import numpy as np


def is_linear(network):
    """Whether a step of descent is linear in the parameters."""
    return network.layout.n_layers == 1 and network.loss == "squared_error"


class AffineSums(NamedTuple):
    """What K steps do to the start phi, as sums over tasks, or as means.

    Attributes
    ----------
    slope, shift : ndarray of shapes (P, P) and (P,)
        The steps move phi by ``slope @ phi + shift``.
    quadratic, linear, constant : ndarray of shapes (P, P), (P,) and float
        The loss before the last step is
        ``phi @ quadratic @ phi / 2 + linear @ phi + constant / 2``.
    """

    slope: np.ndarray
    shift: np.ndarray
    quadratic: np.ndarray
    linear: np.ndarray
    constant: float


class AffineMap:
    """What K steps make of a start, as a mean over tasks whose rows never change.

    The sums over all tasks are computed once, in double precision.
    """

    def __init__(self, problems, n_steps):
        self.n_tasks, self._clip, self._problems, self._bounds = 0, None, [], None
        sums = None
        for problem in problems:
            more = affine_sums(problem, n_steps)
            sums = more if sums is None else AffineSums(*map(add, sums, more))
            self.n_tasks += len(problem.batch.X)
            if problem.clip is not None:
                self._clip = problem.clip
                self._problems.append(problem)
        self._mean = AffineSums(*(part / self.n_tasks for part in sums))

    def __call__(self, phi):
        """Mean of the adapted parameters (P,), and mean loss before the last step.

        None if the gradient of some task may be longer than the limit. Then the steps
        are not linear.
        """
        phi = phi.astype(np.float64)
        if self._clip is not None and not self._surely_short(phi):
            return None
        mean = self._mean
        loss = 0.5 * (phi @ mean.quadratic @ phi + mean.constant) + mean.linear @ phi
        return phi + mean.slope @ phi + mean.shift, loss

    def _surely_short(self, phi):
        """Whether no task's gradient can be longer than the limit.

        Stable steps shorten the gradient, so only the first one counts. Between two
        starts it changes at most by their distance times the curvature.
        """
        for attempt in range(2):
            if self._bounds is not None:
                at, length, curvature = self._bounds
                distance = np.sqrt(((phi - at) ** 2).sum())
                if (length + curvature * distance).max() <= self._clip:
                    return True
            if attempt == 0:
                self._bounds = phi, *self._lengths(phi)
        return False

    def _lengths(self, phi):
        """Bounds of the length of each task's first gradient and of its curvature."""
        lengths, curvatures = [], []
        for problem in self._problems:
            A, y = _scaled_rows(problem.batch)
            residual = A @ phi.astype(A.dtype) - y
            G = np.einsum("tnp,tn->tp", A, residual)
            rate = np.broadcast_to(problem.rate, G.shape)
            # Stable steps shorten R^(1/2) G; if rates differ, G may grow this much.
            slack = np.sqrt(rate.max(axis=1) / rate.min(axis=1))
            lengths.append(slack * np.sqrt((G * G).sum(axis=1)))
            curvatures.append(slack * (A * A).sum(axis=(1, 2)))
        return np.concatenate(lengths), np.concatenate(curvatures)


def affine_sums(problem, n_steps):
    """The `AffineSums` of the tasks of one problem, as sums."""
    A, y = (part.astype(np.float64) for part in _scaled_rows(problem.batch))
    n_params = A.shape[2]
    rate = np.broadcast_to(problem.rate, (len(A), n_params)).astype(np.float64)
    rho, strength = _pull(problem, rate)
    RA = rate[:, :, None] * A.swapaxes(1, 2)
    by_rows = A.shape[1] <= n_params  # the smaller of A R A' and R A' A
    step = A @ RA if by_rows else RA @ A
    step = (1.0 - rho)[:, :, None] * np.eye(step.shape[1]) - step
    moves = []
    for S in power_sums(step, n_steps):
        S = RA @ S if by_rows else S @ RA
        moves.append((-S @ A, (S @ y[:, :, None])[:, :, 0]))
    (before, before_shift), (slope, shift) = moves  # the moves of K - 1 steps and of K
    # The residuals before the last step are E phi + e.
    E = A @ (np.eye(n_params) + before)
    e = np.einsum("tnp,tp->tn", A, before_shift) - y
    pulled = strength[:, :, None] * before
    quadratic = E.swapaxes(1, 2) @ E + before.swapaxes(1, 2) @ pulled
    linear = np.einsum("tnp,tn->p", E, e)
    linear = linear + np.einsum("tjp,tj->p", pulled, before_shift)
    constant = (e * e).sum() + (strength * before_shift * before_shift).sum()
    return AffineSums(
        slope.sum(axis=0), shift.sum(axis=0), quadratic.sum(axis=0), linear, constant
    )


def power_sums(M, n):
    """I + M + ... + M^(n - 2), and the same up to M^(n - 1), for stacked matrices M.

    They are computed by doubling: S_2k = S_k + M^k S_k.
    """
    identity = np.broadcast_to(np.eye(M.shape[1], dtype=M.dtype), M.shape)
    S, power = np.zeros_like(M), identity
    for bit in bin(n - 1)[2:]:
        S, power = S + power @ S, power @ power
        if bit == "1":
            S, power = identity + M @ S, M @ power
    return S, identity + M @ S


def _scaled_rows(batch):
    """Rows with a column of ones (T, n, p), and targets (T, n), times root weights."""
    root = np.sqrt(batch.weight)
    y = batch.Y[..., 0]
    if batch.offset is not None:
        y = y - batch.offset[..., 0]
    A = np.empty((*root.shape, batch.X.shape[2] + 1), dtype=batch.X.dtype)
    np.multiply(batch.X, root[..., None], out=A[..., :-1])
    A[..., -1] = root
    return A, y * root


def _pull(problem, rate):
    """The rho (T, 1) of the formula above, and the strength of the pull."""
    if problem.strength is None:
        return np.zeros((len(rate), 1), rate.dtype), np.zeros((1, 1), rate.dtype)
    strength = np.broadcast_to(problem.strength, rate.shape)
    return (rate * strength)[:, :1], strength

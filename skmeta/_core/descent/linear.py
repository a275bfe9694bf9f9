r"""Descent of linear models with squared loss, in closed form.

On the rows A = [X, 1] of a task, times the root of their weights, with rates
R = diag(r) and the pull of strength rho / r_j towards the start phi, a step is

    u <- (1 - rho) u - R A' (A u + A phi - y),      theta = phi + u,

linear in u. So what K steps make of *any* start is one affine map of phi, and so is
its mean over tasks: where all rows of all tasks take part in every meta-iteration,
each of these costs one product with a small matrix.
"""

import numpy as np


def is_linear(network):
    """Whether a step of descent is linear in the parameters."""
    return network.layout.n_layers == 1 and network.loss == "squared_error"


class AffineMap:
    """What K steps make of a start, as a mean over tasks whose rows never change.

    Sums are in double precision: they are over all tasks, and taken once.
    """

    def __init__(self, problems, n_steps):
        self.n_tasks, self._clip, self._problems, self._bounds = 0, None, [], None
        for problem in problems:
            self._add(problem, n_steps)
            if problem.clip is not None:
                self._clip = problem.clip
                self._problems.append(problem)
        for name in ("_P", "_q", "_Q", "_l", "_constant"):
            setattr(self, name, getattr(self, name) / self.n_tasks)

    def _add(self, problem, n_steps):
        A, y = (part.astype(np.float64) for part in _scaled_rows(problem.batch))
        n_params = A.shape[2]
        rate = np.broadcast_to(problem.rate, (len(A), n_params)).astype(np.float64)
        rho, strength = _pull(problem, rate)
        transposed = A.swapaxes(1, 2)
        RA = rate[:, :, None] * transposed
        by_rows = A.shape[1] <= n_params
        step = A @ RA if by_rows else RA @ A
        step = (1.0 - rho)[:, :, None] * np.eye(step.shape[1]) - step
        last, full = power_sums(step, n_steps)
        moves = []
        for S in (last, full):
            S = RA @ S if by_rows else S @ RA
            moves.append((-S @ A, (S @ y[:, :, None])[:, :, 0]))
        (P, q), (full_P, full_q) = moves
        E = A @ (np.eye(n_params) + P)
        e = np.einsum("tnp,tp->tn", A, q) - y
        pulled = strength[:, :, None] * P
        sums = {
            "_P": full_P.sum(axis=0),
            "_q": full_q.sum(axis=0),
            "_Q": (E.swapaxes(1, 2) @ E + P.swapaxes(1, 2) @ pulled).sum(axis=0),
            "_l": np.einsum("tnp,tn->p", E, e) + np.einsum("tjp,tj->p", pulled, q),
            "_constant": (e * e).sum() + (strength * q * q).sum(),
        }
        for name, value in sums.items():
            setattr(self, name, getattr(self, name, 0.0) + value)
        self.n_tasks += len(A)

    def __call__(self, phi):
        """Mean of the adapted parameters (P,), and mean loss before the last step.

        None where the gradient of some task may be longer than the limit, so that the
        steps are not linear.
        """
        phi = phi.astype(np.float64)
        if self._clip is not None and not self._surely_short(phi):
            return None
        loss = 0.5 * (phi @ self._Q @ phi + self._constant) + self._l @ phi
        return phi + self._P @ phi + self._q, loss

    def _surely_short(self, phi):
        """Whether no task's gradient can be longer than the limit.

        Stable steps shorten the gradient, so only the first counts; and between two
        starts it changes by their distance times the curvature at most.
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
        """Length of each task's first gradient at most, and its curvature at most."""
        lengths, curvatures = [], []
        for problem in self._problems:
            A, y = _scaled_rows(problem.batch)
            residual = A @ phi.astype(A.dtype) - y
            G = np.einsum("tnp,tn->tp", A, residual)
            rate = np.broadcast_to(problem.rate, G.shape)
            # Stable steps shorten R^(1/2) G; if rates differ, G itself may grow so far.
            slack = np.sqrt(rate.max(axis=1) / rate.min(axis=1))
            lengths.append(slack * np.sqrt((G * G).sum(axis=1)))
            curvatures.append(slack * (A * A).sum(axis=(1, 2)))
        return np.concatenate(lengths), np.concatenate(curvatures)


def power_sums(M, n):
    """I + M + ... + M^(n - 2), and the same up to M^(n - 1), of stacked matrices.

    By doubling: S_2k = S_k + M^k S_k.
    """
    identity = np.broadcast_to(np.eye(M.shape[1], dtype=M.dtype), M.shape)
    S, power = np.zeros_like(M), identity
    for bit in bin(n - 1)[2:]:
        S, power = S + power @ S, power @ power
        if bit == "1":
            S, power = identity + M @ S, M @ power
    return S, identity + M @ S


def _scaled_rows(batch):
    """Rows with a column of ones (T, n, p), and targets (T, n), by root weight."""
    root = np.sqrt(batch.weight)
    y = batch.Y[..., 0]
    if batch.offset is not None:
        y = y - batch.offset[..., 0]
    A = np.empty((*root.shape, batch.X.shape[2] + 1), dtype=batch.X.dtype)
    np.multiply(batch.X, root[..., None], out=A[..., :-1])
    A[..., -1] = root
    return A, y * root


def _pull(problem, rate):
    """rho (T, 1), by which a step shrinks the way from the start; and the strength."""
    if problem.strength is None:
        return np.zeros((len(rate), 1), rate.dtype), np.zeros((1, 1), rate.dtype)
    strength = np.broadcast_to(problem.strength, rate.shape)
    return (rate * strength)[:, :1], strength

"""Draws of what is not known of a task: its coefficients, and targets of new rows."""

import numpy as np

from skmeta._core.prior.noise import Posterior


def draw_coefficients(learned, present, n, rng):
    """Coefficients (n, P) of a task, drawn from its posterior or from the prior."""
    mean, factor, *_ = known = learned.known(present)
    if known.shares is None:
        return mean + rng.standard_normal(size=(n, factor.shape[1])) @ factor.T
    factors, apart = Posterior.split(factor, known.shares)
    level = rng.choice(len(apart), size=n, p=known.shares)
    u = rng.standard_normal(size=(n, factors.shape[-1]))
    drawn = np.empty((n, len(mean)))
    for j in np.unique(level):
        some = level == j
        drawn[some] = mean + apart[j] + u[some] @ factors[j].T
    return drawn


def draw_together(moved, variances, noise, n_draws, rng):
    """Targets (n_draws, n), from their means, of rows whose coefficients are the same.

    The means of the targets move by ``moved`` (n, r) times standard normal numbers.
    ``variances`` (n,) are those of the targets and ``noise`` the part that each row has
    for itself. What is left is shared, in the proportions of ``moved``.
    """
    square = (moved**2).sum(axis=1)
    shared = np.maximum(variances - noise, 0.0)
    scale = np.sqrt(shared / np.where(square > 0, square, 1.0))
    u = rng.standard_normal(size=(n_draws, moved.shape[1]))
    own = np.sqrt(variances - np.where(square > 0, shared, 0.0))
    eps = rng.standard_normal(size=(n_draws, len(moved)))
    return u @ (moved * scale[:, None]).T + own * eps

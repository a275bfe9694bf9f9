r"""Where the coefficients of a task come from: the prior, and each answer given.

Let m be the prior's mean, Sigma its covariance, and r_i = y_i - m'x_i how far the
answer to row x_i is from what the prior expects. The posterior's mean of numbers is

    theta = m + sum_i V x_i r_i w_i / noise,    V = (Sigma^-1 + X' W X / noise)^-1,

so that an answer moves the coefficients by V x_i r_i w_i / noise. An answer that was
expected moves nothing. If the noise may have several levels, V / noise is its mean over
them, as they are probable now.

For other likelihoods the same is written about the mode. With mu_i the mean of the
target and c_i its curvature there, the slope of the log posterior is zero, and so

    theta = m + sum_i V x_i w_i [c_i x_i'(theta - m) + y_i - mu_i],

exactly, with V the posterior's covariance. These are the answers' shares in the last
step of Newton's method, in which each answer is a number with normal noise. Where the
centre of the posterior is its mean and not its mode, each answer's share in the
difference, to second order, is added.
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.prior import laplace
from skmeta._core.prior.answers import MOST_ANSWERS, UNKNOWN
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.noise import Posterior
from skmeta._core.prior.stacks import Stack


class Origins(NamedTuple):
    """Parts (.., P) of the coefficients of a task, which sum to these."""

    start: np.ndarray  # (P,)
    answers: np.ndarray  # (n, P)
    earlier: np.ndarray | None  # (P,) of answers that are not known one by one


def origins(learned, present):
    """The `Origins` of the coefficients that predict for a task, or of the start's."""
    mean = learned.predicting(present).mean
    if present is None:
        return Origins(mean, np.zeros((0, len(mean))), None)
    if isinstance(present.rows, SeenRows):
        found, are_all = _by_last_step(learned, present), True
        if present.answers is not None:
            found = present.answers.summed(found)
    else:
        found, are_all = _by_gain(learned, present)
    if len(found) > MOST_ANSWERS:
        found, are_all = found[-MOST_ANSWERS:], False
    earlier = None
    if not are_all:
        earlier = mean - learned.mean - found.sum(axis=0)
    return Origins(learned.mean, found, earlier)


# -- numbers --------------------------------------------------------------------------


def _by_gain(learned, present):
    """How far the known answers move the coefficients (n, P), and if these are all."""
    known = present.answers or UNKNOWN
    if not known.parts:
        return np.zeros((0, len(present.mean))), known.are_all
    X, y, weight = known.now(present.latest, learned.model.recency)
    X = learned.design(X)
    factors, shares = learned.model.noise_levels(present)
    if not known.are_all:
        error = weight * (y - X @ learned.mean)
        gain = X @ _mean_gain(learned, present, factors, shares)
        return gain * error[:, None], False
    # By the directions of the rows this is exact however small the noise is.
    root = np.sqrt(weight / learned.noise)
    left, size, right = np.linalg.svd(
        (X @ learned.factor) * root[:, None], full_matrices=False
    )
    size = size[:, None] / np.sqrt(factors)
    size = (size / (1.0 + size**2) / np.sqrt(factors)) @ shares
    gain = (left * size) @ (right @ learned.factor.T)
    scaled = (y - X @ learned.mean) * root
    return gain * scaled[:, None], True


def _mean_gain(learned, present, factors, shares):
    """V / noise (P, P), averaged over the levels of the noise."""
    if present.shares is None:
        return present.factor @ present.factor.T / learned.noise
    V, _ = Posterior.split(present.factor, shares)
    return np.einsum("j,jpr,jqr->pq", shares / factors, V, V) / learned.noise


# -- other likelihoods ----------------------------------------------------------------


def _by_last_step(learned, present):
    """How far the answers move the coefficients, (n, P)."""
    stack = Stack(*(field[None] for field in present.rows))
    likelihood, stack = learned.model.as_conditioned_on(stack)
    mode = laplace.find_mode(likelihood, stack, learned.mean, learned.factor)
    C = np.linalg.cholesky(mode.B)
    half = np.linalg.solve(C, learned.factor.T[None])  # V = half' half
    along = stack.times(half.swapaxes(-1, -2))[0]  # (n, o, r)
    mu = mode.mu[0]
    W = likelihood.curvatures(mu)
    moved = stack.eta(mode.theta) - stack.eta(learned.mean[None])
    slope = np.einsum("nab,nb->na", W, moved[0]) + likelihood.slope(mu, stack.Y[0])
    if likelihood.centre_is_mean:
        Q = along @ along.swapaxes(-1, -2)
        slope = slope - likelihood.curvature_slope(mu, Q)
    slope = slope * stack.weight[0, :, None]
    return np.einsum("nor,no->nr", along, slope) @ half[0]

r"""Where the coefficients of a task come from: the prior, and each answer given.

Let m be the prior's mean, Sigma its covariance, and r_i = y_i - m'x_i how far the
answer to row x_i is from what the prior expects. The posterior's mean of numbers is

    theta = m + sum_i V x_i r_i w_i / noise,    V = (Sigma^-1 + X' W X / noise)^-1,

so that an answer moves the coefficients by V x_i r_i w_i / noise. An answer that was
expected moves nothing. If the noise may have several levels, V / noise is its mean over
them, as they are probable now.

Other likelihoods have no such sum. There the parts are those of Aumann and Shapley
(1974). Let the weights of all answers grow together, from t = 0, where the mode is the
prior's mean, to t = 1. On the way the mode moves by

    d theta / dt = sum_i V(t) x_i w_i (y_i - mu_i(t)),

with mu_i the mean of the target and V the covariance of the posterior, both at the mode
of that moment. So the way of theta is the sum of what each answer adds to it, and an
answer always pulls towards what it says. The integral is a sum over a few moments.
Where the centre of the posterior is its mean and not its mode, each answer's share in
the difference, to second order, is added.
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.prior import laplace
from skmeta._core.prior.answers import MOST_ANSWERS, UNKNOWN
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.noise import Posterior
from skmeta._core.prior.stacks import Stack
from skmeta._core.tasks import slices

# The weights of answers grow over so many moments, by Gauss and Legendre's rule in the
# root of t: where the prior is wide, most happens near t = 0.
N_MOMENTS = 12
_nodes, _weights = np.polynomial.legendre.leggauss(N_MOMENTS)
MOMENTS = (0.5 * (1.0 + _nodes)) ** 2
STEPS = 0.5 * (1.0 + _nodes) * _weights
# About this many numbers are held at a time.
CELLS = 2**20


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
        found, are_all = _by_growing(learned, present), True
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


def _by_growing(learned, present):
    """How far the answers move the coefficients, (n, P)."""
    stack = Stack(*(field[None] for field in present.rows))
    likelihood = learned.model.likelihood
    if stack.has_designs:
        likelihood, stack = learned.model.as_conditioned_on(stack)
    n, P = stack.Y.shape[1], len(learned.mean)
    parts = np.zeros((n, P))
    cells = stack.rows.size + P * P
    for some in slices(N_MOMENTS, CELLS // cells):
        moments = MOMENTS[some]
        growing = Stack(*(np.repeat(field, len(moments), axis=0) for field in stack))
        weight = growing.weight * moments[:, None]
        growing = growing._replace(weight=weight)
        mu, along, half = _at_mode(learned, likelihood, growing)
        slope = likelihood.slope(mu, growing.Y) * STEPS[some][:, None, None]
        parts += np.einsum("knor,kno,krp->np", along, slope, half, optimize=True)
    if likelihood.centre_is_mean:
        mu, along, half = (field[0] for field in _at_mode(learned, likelihood, stack))
        Q = along @ along.swapaxes(-1, -2)
        slope = -likelihood.curvature_slope(mu, Q)
        parts += np.einsum("nor,no->nr", along, slope) @ half
    parts *= stack.weight[0][:, None]
    # what the sum over moments has missed
    missing = present.mean - learned.mean - parts.sum(axis=0)
    return parts + stack.weight[0][:, None] / stack.weight.sum() * missing


def _at_mode(learned, likelihood, stack):
    """Means (k, n, o) at the mode, X C (k, n, o, r) and C' (k, r, P), with V = C C'."""
    mode = laplace.find_mode(likelihood, stack, learned.mean, learned.factor)
    C = np.linalg.cholesky(mode.B)
    factor = np.broadcast_to(learned.factor.T, (len(C), *learned.factor.T.shape))
    half = np.linalg.solve(C, factor)
    return mode.mu, stack.times(half.swapaxes(-1, -2)), half

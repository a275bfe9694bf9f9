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
from skmeta._core.prior.derivatives import hessian
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.noise import Posterior
from skmeta._core.prior.stacks import Stack
from skmeta._core.tasks import slices

# The weights of answers grow over 12 moments, by Gauss and Legendre's rule, or over 32
# if the answers tell more than so many times what the prior does.
FEW, MANY = map(np.polynomial.legendre.leggauss, (12, 32))
TELLS_MUCH = 1000.0
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
    end = laplace.find_mode(likelihood, stack, learned.mean, learned.factor)
    moments, steps = _moments(learned, likelihood, stack, end)
    parts = np.zeros((stack.Y.shape[1], len(learned.mean)))
    cells = stack.rows.size + len(learned.mean) ** 2
    for some in slices(len(moments), CELLS // cells):
        n = len(moments[some])
        growing = Stack(*(np.repeat(field, n, axis=0) for field in stack))
        weight = growing.weight * moments[some, None]
        growing = growing._replace(weight=weight)
        mode = laplace.find_mode(likelihood, growing, learned.mean, learned.factor)
        along, half = _spread(learned, growing, mode)
        slope = likelihood.slope(mode.mu, growing.Y) * steps[some, None, None]
        parts += np.einsum("tnor,tno,trp->np", along, slope, half, optimize=True)
    if likelihood.centre_is_mean:
        along, half = (field[0] for field in _spread(learned, stack, end))
        slope = -likelihood.curvature_slope(end.mu[0], along @ along.swapaxes(-1, -2))
        parts += np.einsum("nor,no->nr", along, slope) @ half
    parts *= stack.weight[0][:, None]
    # what the sum over moments has missed
    missing = present.mean - learned.mean - parts.sum(axis=0)
    return parts + stack.weight[0][:, None] / stack.weight.sum() * missing


def _moments(learned, likelihood, stack, end):
    """Moments t and their weights in an integral over t from 0 to 1.

    V falls like 1 / (1 + k t), with k the information of all answers in units of the
    prior. So moments are evenly spread in log(1 + k t).
    """
    L = learned.factor
    mu = likelihood.mean(stack.eta(learned.mean[None]))
    at_start = np.trace(L.T @ hessian(likelihood, stack, mu)[0] @ L)
    k = max(at_start, np.trace(end.B[0]) - L.shape[1], np.finfo(float).eps)
    nodes, weights = MANY if k > TELLS_MUCH else FEW
    size, at = np.log1p(k), 0.5 * (1.0 + nodes)
    return np.expm1(size * at) / k, 0.5 * weights * size * np.exp(size * at) / k


def _spread(learned, stack, mode):
    """X C (k, n, o, r) and C' (k, r, P) of the covariances C C' at some modes."""
    C = np.linalg.cholesky(mode.B)
    factor = np.broadcast_to(learned.factor.T, (len(C), *learned.factor.T.shape))
    half = np.linalg.solve(C, factor)
    return stack.times(half.swapaxes(-1, -2)), half

"""Choices among alternatives, by the conditional (multinomial) logit.

One row is one choice set. It has a design of its own for each of its J alternatives,
X (n, J, d), and one vector of coefficients serves all of them, so that the linear
predictors are utilities. See `choice_model` for how sets are given.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, log_softmax, logsumexp

from skmeta._core.prior import few_sets
from skmeta._core.prior.likelihoods._softmax import Softmax
from skmeta._core.prior.quadrature import normal_points
from skmeta._core.tasks import ABSENT, slices

# Probabilities are averaged over 2 * 2**9 points.
LOG2_POINTS = 9
# About this many numbers are held at a time in averaging over points.
AVERAGE_CELLS = 2**18
# The logarithm of the largest sum of utilities that is told from infinity.
LARGEST = 500.0


@dataclass(frozen=True)
class Choice(Softmax):
    """One of the alternatives of a set is chosen, with probabilities softmax(eta).

    An alternative that is not there has an offset of `ABSENT`, and is never chosen. In
    y and eta, J takes the place of the o that `Likelihood` speaks of.
    """

    # about so much per unit of the variance of a column within a set
    information = 1.0

    n_outputs = 1
    own_designs = True
    has_integral = False
    centre_is_mean = True
    moderations = (1.0, 0.5, 0.0)

    def mean(self, eta):
        p = np.exp(eta - few_sets.largest(eta)[..., None])
        p /= (p @ np.ones(p.shape[-1]))[..., None]
        return p

    def log_density(self, eta, Y):
        # the largest utility is taken off, so that no exponential overflows
        shifted = eta - few_sets.largest(eta)[..., None]
        chosen = np.einsum("...j,...j->...", Y, shifted)
        return chosen - np.log(np.exp(shifted) @ np.ones(eta.shape[-1]))

    def predictive_scores(self, eta, factor):
        """The logarithms of the averaged probabilities.

        Sets of two follow the rule of `Bernoulli`. For others the average is taken over
        evenly spread points u. They belong to the columns of the factor and not to the
        alternatives, whose order and number (if they are absent) then mean nothing.
        """
        points = normal_points(factor.shape[-1], LOG2_POINTS)

        def average(eta, factor):
            moved = np.moveaxis(factor @ points.T, 2, 1)
            log_p = log_softmax(eta[:, None] + moved, axis=2)
            return logsumexp(log_p, axis=1) - np.log(len(points))

        return _by_rows(eta, factor, len(points), average, _of_pairs)

    def log_predictive(self, eta, factor, Y, weight):
        """The same of the chosen alternative, with fewer points: see `Likelihood`."""
        chosen = np.broadcast_to(Y, eta.shape).argmax(axis=-1)[..., None]
        eta = eta - np.take_along_axis(eta, chosen, axis=-1)
        factor = factor - np.take_along_axis(factor, chosen[..., None], axis=-2)
        # without any uncertainty all points are one
        points = np.zeros((1, factor.shape[-1]))
        if factor.any():
            points = normal_points(factor.shape[-1])

        def average(eta, factor):
            # of 1 / sum of exp(utilities above that of the chosen one)
            above = eta[..., None] + factor @ points.T
            total = np.exp(np.minimum(above, LARGEST)).sum(axis=1)
            return np.log((1.0 / total).mean(axis=1))

        def of_pairs(eta, factor):
            # the chosen one is where eta is zero, and the sum is that of the other
            here = eta > 0.5 * ABSENT
            variance = np.where(here[..., None], factor, 0.0).sum(axis=1)
            variance = (variance**2).sum(axis=1)
            above = np.where(here, eta, 0.0).sum(axis=1)
            return log_expit(-above / np.sqrt(1 + np.pi / 8 * variance))

        return weight * _by_rows(eta, factor, len(points), average, of_pairs)

    def suits_lines(self, weight):
        return weight.sum() <= few_sets.LITTLE_WEIGHT

    def say_little(self, parts):
        """Which tasks (T,) have so few sets that `line_evidence` suits them."""
        return few_sets.say_little(parts)

    def line_evidence(self, stack, mean, L, u=None):
        return few_sets.average(stack, mean, L)


def _by_rows(eta, factor, n_points, average, of_pairs):
    """A function of the rows (n, J) and (n, J, r), and another one for sets of two."""
    shape, (J, r) = eta.shape[:-1], factor.shape[-2:]
    factor = np.broadcast_to(factor, (*shape, J, r)).reshape(-1, J, r)
    eta = eta.reshape(-1, J)
    two = (eta > 0.5 * ABSENT).sum(axis=1) == 2
    found = of_pairs(eta[two], factor[two])
    out = np.empty((len(eta), *found.shape[1:]))
    out[two] = found
    others = np.flatnonzero(~two)
    for some in slices(len(others), AVERAGE_CELLS // (n_points * J)):
        rows = others[some]
        out[rows] = average(eta[rows], factor[rows])
    return out.reshape(*shape, *out.shape[1:])


def _of_pairs(eta, factor):
    """Scores (n, J) of sets of two alternatives."""
    here = eta > 0.5 * ABSENT
    first, second = np.argsort(~here, axis=1, kind="stable")[:, :2].T
    n = np.arange(len(eta))
    apart = eta[n, first] - eta[n, second]
    moved = factor[n, first] - factor[n, second]
    variance = (moved**2).sum(axis=1)
    apart = apart / np.sqrt(1 + np.pi / 8 * variance)
    scores = np.full(eta.shape, ABSENT)
    scores[n, first], scores[n, second] = log_expit(apart), log_expit(-apart)
    return scores

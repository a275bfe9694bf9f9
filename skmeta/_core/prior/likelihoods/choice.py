"""Choices among alternatives, by the conditional (multinomial) logit.

One row is one choice set. It has a design of its own for each of its J alternatives,
X (n, J, d), and one vector of coefficients serves all of them, so that the linear
predictors are utilities. See `choice_model` for how sets are given.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, log_softmax, logsumexp

from skmeta._core.prior.likelihoods._softmax import Softmax
from skmeta._core.prior.quadrature import normal_points
from skmeta._core.tasks import ABSENT, slices

# About this many numbers are held at a time in averaging over points.
AVERAGE_CELLS = 2**20


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

    def predictive_scores(self, eta, factor):
        """The logarithms of the averaged probabilities.

        Sets of two follow the rule of `Bernoulli`. For others the average is taken over
        evenly spread points u. They belong to the columns of the factor and not to the
        alternatives, whose order and number (if they are absent) then mean nothing.
        """
        shape = eta.shape
        eta = eta.reshape(-1, shape[-1])
        factor = np.broadcast_to(factor, (*shape, factor.shape[-1]))
        factor = factor.reshape(*eta.shape, -1)
        here = eta > 0.5 * ABSENT
        scores = np.empty(eta.shape)
        two = here.sum(axis=1) == 2
        if two.any():
            scores[two] = _of_pairs(eta[two], factor[two], here[two])
        more = np.flatnonzero(~two)
        points = normal_points(factor.shape[-1])
        size = AVERAGE_CELLS // (len(points) * shape[-1])
        for some in slices(len(more), size):
            rows = more[some]
            moved = np.moveaxis(factor[rows] @ points.T, 2, 1)
            log_p = log_softmax(eta[rows][:, None] + moved, axis=2)
            scores[rows] = logsumexp(log_p, axis=1) - np.log(len(points))
        return scores.reshape(shape)

    def suits_lines(self, weight):
        return False

    def line_evidence(self, stack, mean, L, u=None):
        raise NotImplementedError  # no task suits


def _of_pairs(eta, factor, here):
    """Scores (n, J) of sets of two alternatives, ``here`` (n, J) says which."""
    first, second = np.argsort(~here, axis=1, kind="stable")[:, :2].T
    n = np.arange(len(eta))
    apart = eta[n, first] - eta[n, second]
    moved = factor[n, first] - factor[n, second]
    variance = (moved**2).sum(axis=1)
    apart = apart / np.sqrt(1 + np.pi / 8 * variance)
    scores = np.full(eta.shape, ABSENT)
    scores[n, first], scores[n, second] = log_expit(apart), log_expit(-apart)
    return scores

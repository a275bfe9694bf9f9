"""Labels of more than two classes, by the softmax function."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from skmeta._core.prior import lines
from skmeta._core.prior.likelihoods._likelihood import Likelihood
from skmeta._core.prior.likelihoods._softmax import Softmax
from skmeta._core.prior.quadrature import normal_points

# A task of several classes with at most this total weight says little. A few points,
# which are placed by the prior, then represent its posterior well.
LITTLE_WEIGHT = 3


@dataclass(frozen=True)
class Categorical(Softmax):
    """Labels of so many classes, of which each has coefficients of its own."""

    n_outputs: int
    slopes_deviation: float = Likelihood.slopes_deviation

    has_integral = False
    only_differences = True
    centre_is_mean = True

    @classmethod
    def of_targets(cls, Y, weight, offset=None):
        return cls(Y.shape[1])

    def contrast_root(self, mu):
        """A (..., o - 1, o) with A'A = W; o - 1 rows do, since W has no more rank."""
        root = np.sqrt(mu)
        # a reflection takes the root to the last axis, in which W is zero
        axis = root.copy()
        axis[..., -1] += 1.0
        scale = 2.0 / (axis**2).sum(axis=-1)[..., None, None]
        reflection = (
            np.eye(mu.shape[-1]) - scale * axis[..., :, None] * axis[..., None, :]
        )
        return reflection[..., :-1, :] * root[..., None, :]

    def predictive_scores(self, eta, factor):
        """The logarithms of the averaged probabilities.

        MacKay's rule for two classes does not hold for the softmax, in which only
        differences of logits matter. So the average is taken over evenly spread points.
        """
        factor = factor - factor.mean(axis=-2, keepdims=True)
        Q = factor @ factor.swapaxes(-1, -2)
        values, vectors = np.linalg.eigh(Q)
        scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        # Any root other than the symmetric one would depend on the arbitrary signs of
        # the eigenvectors.
        root = scaled @ vectors.swapaxes(-1, -2)
        points = eta[..., None, :] + normal_points(eta.shape[-1]) @ root
        log_p = log_softmax(points, axis=-1)
        return logsumexp(log_p, axis=-2) - np.log(points.shape[-2])

    def suits_lines(self, weight):
        return weight.sum() <= LITTLE_WEIGHT

    def line_evidence(self, stack, mean, L, u=None):
        return lines.average_of_classes(stack, mean, L)

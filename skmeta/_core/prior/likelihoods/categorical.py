"""Labels of more than two classes, by the softmax function."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from skmeta._core.prior import lines
from skmeta._core.prior.likelihoods._likelihood import Likelihood
from skmeta._core.prior.quadrature import normal_points

# A task of several classes with at most this total weight says little. A few points,
# which are placed by the prior, then represent its posterior well.
LITTLE_WEIGHT = 3


@dataclass(frozen=True)
class Categorical(Likelihood):
    """One column of y is 1, the others 0, with probabilities softmax(eta).

    Only differences of the linear predictors matter.
    """

    n_outputs: int
    slopes_deviation: float = Likelihood.slopes_deviation

    information = 0.25
    has_integral = False
    only_differences = True
    centre_is_mean = True

    @classmethod
    def of_targets(cls, Y, weight, offset=None):
        return cls(Y.shape[1])

    def mean(self, eta):
        return softmax(eta, axis=-1)

    def log_density(self, eta, Y):
        shifted = eta - eta.max(axis=-1, keepdims=True)
        total = np.exp(shifted).sum(axis=-1)
        return (Y * shifted).sum(axis=-1) - np.log(total)

    def curvature(self, mu, a=0, b=0):
        return mu[..., a] * ((a == b) - mu[..., b])

    def curvatures(self, mu):
        W = -mu[..., :, None] * mu[..., None, :]
        np.einsum("...aa->...a", W)[...] += mu
        return W

    def curvature_slope(self, mu, Q):
        # tr(Q W) = sum_a p_a Q_aa - p'Qp
        inner = np.diagonal(Q, axis1=-2, axis2=-1) - 2 * (Q @ mu[..., None])[..., 0]
        return 0.5 * mu * (inner - (mu * inner).sum(axis=-1, keepdims=True))

    def root_curvature(self, mu):
        q = np.sqrt(mu)
        projection = np.eye(mu.shape[-1]) - q[..., :, None] * q[..., None, :]
        return projection * q[..., None, :]

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

    def draw(self, eta, rng):
        # The class is the first whose cumulative probability exceeds a uniform number.
        cumulative = softmax(eta, axis=-1)[..., :-1].cumsum(axis=-1)
        drawn = (rng.uniform(size=(*eta.shape[:-1], 1)) > cumulative).sum(axis=-1)
        return np.eye(eta.shape[-1])[drawn]

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

    def predictive(self, eta, factor):
        return np.exp(self.predictive_scores(eta, factor))

    def log_predictive(self, eta, factor, Y, weight):
        p = (Y * self.predictive(eta, factor)).sum(axis=-1)
        return weight * np.log(np.maximum(p, np.finfo(float).tiny))

    def suits_lines(self, weight):
        return weight.sum() <= LITTLE_WEIGHT

    def line_evidence(self, stack, mean, L, u=None):
        return lines.average_of_classes(stack, mean, L)

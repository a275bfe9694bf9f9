"""What likelihoods have in common in which one of several answers is given."""

import numpy as np
from scipy.special import softmax

from skmeta._core.prior.likelihoods._likelihood import Likelihood


class Softmax(Likelihood):
    """One column of y is 1, the others 0, with probabilities softmax(eta).

    Only differences of the linear predictors matter.
    """

    information = 0.25

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

    def draw(self, eta, rng):
        # The class is the first whose cumulative probability exceeds a uniform number.
        cumulative = softmax(eta, axis=-1)[..., :-1].cumsum(axis=-1)
        drawn = (rng.uniform(size=(*eta.shape[:-1], 1)) > cumulative).sum(axis=-1)
        return np.eye(eta.shape[-1])[drawn]

    def predictive(self, eta, factor):
        return np.exp(self.predictive_scores(eta, factor))

    def log_predictive(self, eta, factor, Y, weight):
        p = (Y * self.predictive(eta, factor)).sum(axis=-1)
        return weight * np.log(np.maximum(p, np.finfo(float).tiny))

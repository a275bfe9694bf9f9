"""Labels of two classes, by the logistic function."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from skmeta._core.prior.likelihoods._likelihood import OneOutput


@dataclass(frozen=True)
class Bernoulli(OneOutput):
    """y is 1 with probability 1 / (1 + exp(-eta)), and otherwise 0."""

    information = 0.25

    def mean(self, eta):
        return expit(eta)

    def log_density(self, eta, Y):
        eta, Y = eta[..., 0], Y[..., 0]
        # log(1 + e^eta), written so that no exponential overflows
        softplus = np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta)))
        return Y * eta - softplus

    def curvature(self, mu, a=0, b=0):
        p = mu[..., 0]
        return p * (1 - p)

    def curvature_slope(self, mu, Q):
        return 0.5 * Q[..., 0] * mu * (1 - mu) * (1 - 2 * mu)

    def draw(self, eta, rng):
        return (rng.uniform(size=eta.shape) < expit(eta)) * 1.0

    def predictive_scores(self, eta, factor):
        """The log-odds of the averaged probability.

        That average is nearly the probability of logits that are divided by
        sqrt(1 + pi / 8 variance) (MacKay, 1992).
        """
        variance = (factor**2).sum(axis=-1)
        return eta / np.sqrt(1 + np.pi / 8 * variance)

    def log_predictive(self, eta, factor, Y, weight):
        """Uses the rule of `predictive_scores`, so that it scores real predictions."""
        p = self.predictive(eta, factor)
        p = np.where(Y > 0.5, p, 1 - p)[..., 0]
        return weight * np.log(np.maximum(p, np.finfo(float).tiny))

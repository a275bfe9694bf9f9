"""Numbers with normal noise of a known variance."""

from dataclasses import dataclass

import numpy as np

from skmeta._core.prior.likelihoods._likelihood import OneOutput


@dataclass(frozen=True)
class Gaussian(OneOutput):
    """y ~ N(eta, noise / w), with w the weight of the row.

    The evidence of many tasks under this likelihood has a closed form, and so has the
    best noise: see `gaussian.GaussianTasks`, which is far quicker than the general
    `laplace.LaplaceTasks`. Both give the same evidence for the same noise.
    """

    noise: float = 1.0

    moderations = (1.0,)

    @property
    def information(self):
        return 1.0 / self.noise

    def mean(self, eta):
        return eta

    def log_density(self, eta, Y):
        squares = (Y - eta)[..., 0] ** 2
        return -0.5 * (np.log(2 * np.pi * self.noise) + squares / self.noise)

    def slope(self, mu, Y):
        return (Y - mu) / self.noise

    def curvature(self, mu, a=0, b=0):
        return np.full(mu.shape[:-1], 1.0 / self.noise)

    def curvature_slope(self, mu, Q):
        return np.zeros_like(mu)

    def draw(self, eta, rng):
        return eta + np.sqrt(self.noise) * rng.standard_normal(size=eta.shape)

    def predictive_scores(self, eta, factor):
        return eta

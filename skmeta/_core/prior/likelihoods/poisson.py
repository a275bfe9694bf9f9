"""Counts per unit of exposure, by the exponential function.

The target y of a row is a rate, and its weight w the exposure: the count w y has a
Poisson distribution of mean w exp(eta).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, pdtr, xlogy

from skmeta._core.prior.likelihoods._likelihood import OneOutput

# Above this linear predictor the mean goes on as the parabola that touches exp(eta), so
# that searches which try a linear predictor of thousands meet no infinite number.
HIGHEST = 60.0
# If the mean count is larger, Laplace's method is as good as exact, and integrals lose
# digits.
LARGE = 300.0
# A count is averaged over its linear predictor at these deviations from the centre.
DEVIATIONS = np.linspace(-5.0, 5.0, 201)
SHARES = np.exp(-0.5 * DEVIATIONS**2) / np.exp(-0.5 * DEVIATIONS**2).sum()


@dataclass(frozen=True)
class Poisson(OneOutput):
    """y is a count per unit of exposure, with mean exp(eta).

    The log density is minus half of the deviance, so that of an exact prediction is 0.
    """

    information: float = 1.0
    centre: float = 0.0
    has_integral: bool = True

    longest_step = 5.0
    centre_is_mean = one_row_tells = weight_is_exposure = True

    @classmethod
    def of_targets(cls, Y, weight, offset=None):
        rate, expected = Y[:, 0], 1.0 if offset is None else np.exp(offset[:, 0])
        mean = float(np.average(rate, weights=weight))
        centre = np.log(mean * weight.sum() / (expected * weight).sum())
        return cls(mean, float(centre), bool(np.mean(rate * weight) <= LARGE))

    def suits_lines(self, weight):
        return self.has_integral

    def mean(self, eta):
        above = np.maximum(eta - HIGHEST, 0.0)
        return np.exp(np.minimum(eta, HIGHEST)) * (1.0 + above * (1.0 + 0.5 * above))

    def log_density(self, eta, Y):
        # With r the logarithm of mean / y this is y (r + 1 - e^r). The terms of a good
        # prediction are nearly equal, and expm1 loses no digits.
        r = np.clip(eta - np.log(np.where(Y > 0, Y, np.inf)), -1.0, 1.0)
        far = Y * eta - self.mean(eta) - xlogy(Y, Y) + Y
        return np.where(np.abs(r) < 1.0, Y * (r - np.expm1(r)), far)[..., 0]

    def log_normaliser(self, Y, weight):
        count = weight * Y[:, 0]
        return xlogy(count, count) - count - gammaln(count + 1.0)

    def curvature(self, mu, a=0, b=0):
        return mu[..., 0]

    def curvature_slope(self, mu, Q):
        return 0.5 * Q[..., 0] * mu

    def draw(self, eta, rng):
        return rng.poisson(self.mean(eta)) * 1.0

    def predictive_scores(self, eta, factor):
        """The logarithm of the averaged mean, which is that of a log-normal number."""
        return eta + 0.5 * (factor**2).sum(axis=-1)

    def log_predictive(self, eta, factor, Y, weight):
        """The log density at the averaged mean, by which predictions are judged."""
        return weight * self.log_density(self.predictive_scores(eta, factor), Y)

    def quantile(self, share, eta, deviation, exposure):
        """The smallest counts (n,) that have a share of the probability up to them.

        Their linear predictors are distributed like N(eta, deviation^2). Counts beyond
        1e12 are not exact.
        """
        eta = eta[:, None] + deviation[:, None] * DEVIATIONS
        mean = exposure[:, None] * self.mean(eta)

        def too_small(count):
            return pdtr(count[:, None], mean) @ SHARES < share

        low, high = np.full(len(eta), -1.0), np.zeros(len(eta))
        while (short := too_small(high)).any():
            low, high = np.where(short, (high, 2 * high + 1), (low, high))
        while (high - low > np.maximum(1.0, 1e-12 * high)).any():
            middle = np.ceil(0.5 * (low + high))
            short = too_small(middle)
            low, high = np.where(short, (middle, high), (low, middle))
        return high + 0.0  # a zero without a sign

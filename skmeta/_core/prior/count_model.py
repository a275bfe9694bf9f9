"""Counts: how they vary beyond a Poisson distribution, and what predicts them."""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from skmeta._core.prior.likelihoods import OneOutput
from skmeta._core.prior.models import LaplaceModel
from skmeta._core.prior.moderation import ROWS_OF_TASK

# Variances of the log rate from row to row that intervals may allow for.
EXCESSES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6)
# A held-out task is adapted to one of these numbers of rows, and at most `MAX_ASKED` of
# its other rows are scored.
GIVEN_ROWS = (1, 2, 4, 8)
MAX_ASKED = 10
# NumPy draws no counts of a larger mean.
LARGEST_MEAN = 1e18


class CountCalibration(NamedTuple):
    """What held-out tasks say of a `CountModel`."""

    moderation: float
    overdispersion: float


class CountModel(LaplaceModel):
    """Counts, of which the logarithm of the rate is not exactly known."""

    def share_of_variance(self, learned):
        return learned.calibration.moderation

    def calibrate(self, learned, measured, rng):
        """The share of the variance to average over, and how counts vary beyond it."""
        share = super().calibrate(learned, measured, rng)
        recency = self.recency
        if recency is not None:
            recency = recency.in_columns(learned.design.n_learned)
        unseen = [
            self._unseen(fold.prior, rows, rng, recency)
            for fold in measured.folds
            for rows in fold.held_out
            if len(rows[1]) > 1
        ]
        if not unseen:
            return CountCalibration(share, 0.0)
        sizes = [len(eta) for eta, *_ in unseen]
        eta, variance, Y, weight = map(np.concatenate, zip(*unseen, strict=True))
        # each task counts alike
        each = np.repeat(ROWS_OF_TASK / np.array(sizes), sizes)
        found = [
            each @ self._log_density(eta, share * variance, Y, weight, excess)
            for excess in EXCESSES
        ]
        return CountCalibration(share, float(softmax(found) @ EXCESSES))

    def _unseen(self, prior, rows, rng, recency=None):
        """Log rates of some rows given others: centre and variance, and the rows."""
        order = rng.permutation(len(rows[1]))
        n = min(rng.choice(GIVEN_ROWS), len(order) - 1)
        if recency is not None:  # the first rows are given, and the next ones asked for
            order = np.arange(len(order))
        given = [field[order[:n]] for field in rows]
        if recency is not None:
            given[2] = recency.given(given[0], given[2], np.array([n]))
        X, Y, weight, offset = (field[order[n:][:MAX_ASKED]] for field in rows)
        mean, factor = self.posterior(prior.mean, prior.factor, prior.noise, given)
        variance = ((X @ factor) ** 2).sum(axis=1)
        return (X @ mean)[:, None] + offset, variance[:, None], Y, weight

    def _log_density(self, eta, variance, Y, weight, excess):
        """Log density (n,) of rows whose log rates vary by an excess more."""
        deviation = np.sqrt(variance + excess)[..., None]
        return OneOutput.log_predictive(
            self.likelihood, eta - 0.5 * excess, deviation, Y, weight
        )

    def start_factor(self, factor):
        return factor

    def predictive(self, learned, Z, moved, present):
        """Centre and deviation of the logarithm of each row's rate: (n, 2)."""
        variance = (self._moderated(learned, moved, present) ** 2).sum(axis=-1)
        if present is None and learned.zero_shot != "prior":
            Z = Z - 0.5 * variance  # such a start predicts a mean over all tasks
        return np.column_stack([Z, np.sqrt(variance)])

    def draw(self, learned, Z, moved, present, n_draws, rng, exposure=1.0):
        """See `TaskModel`: counts for exposures (n,), which vary as intervals say."""
        Z, _ = self.predictive(learned, Z, moved, present).T
        moved = self._moderated(learned, moved, present)[:, 0]
        excess = learned.calibration.overdispersion
        u = rng.standard_normal(size=(n_draws, moved.shape[1]))
        own = rng.standard_normal(size=(n_draws, len(Z)))
        log_rate = Z + u @ moved.T + np.sqrt(excess) * own - 0.5 * excess
        mean = exposure * self.likelihood.mean(log_rate)
        return rng.poisson(np.minimum(mean, LARGEST_MEAN))[..., None] * 1.0

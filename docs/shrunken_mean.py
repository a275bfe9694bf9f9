"""A meta-learner of your own; docs/own_meta_learner.rst explains it."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval

from skmeta.base import BaseMetaLearner, MetaRegressorMixin


class ShrunkenMeanRegressor(MetaRegressorMixin, BaseMetaLearner):
    """Predict the mean of a task's rows, shrunken towards the mean of all tasks.

    Parameters
    ----------
    base_estimator : estimator, default=None
        A regressor for all tasks; the mean is then that of its residuals.
    strength : float, default=2.0
        The mean of all tasks counts like this many rows.
    """

    _parameter_constraints = {
        **BaseMetaLearner._parameter_constraints,
        "strength": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, base_estimator=None, *, strength=2.0):
        self.base_estimator = base_estimator
        self.strength = strength

    def _meta_train(self, table, ids, again, data):
        self._learned = np.average(table.Y[:, 0], weights=table.weight)
        self._forget()

    def _adapt_to(self, batch):
        weight = batch.weight[0] * batch.total_weight[0]
        total, count = self._present
        self._present = (total + weight @ batch.Y[0, :, 0], count + weight.sum())

    def _forget(self):
        self._present = (0.0, 0.0)

    def _raw_outputs(self, X):
        total, count = self._present
        mean = (total + self.strength * self._learned) / (count + self.strength)
        return np.full((X.shape[0], 1), mean)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # a mean does not use X
        return tags

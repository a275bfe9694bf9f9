"""Coefficients and noise of a learned prior as attributes, in the user's units."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skmeta._core.prior.design import from_users_units, to_users_units
from skmeta._export import PlainModel


class LinearCoefficients(PlainModel):
    """Present and prior coefficients of a model that keeps a `LearnedPrior`."""

    @property
    def coef_(self):
        """Present slopes in the user's units."""
        return self._in_users_units(self._present_linear().mean)[0]

    @property
    def intercept_(self):
        """Present intercept in the user's units."""
        return self._in_users_units(self._present_linear().mean)[1]

    @property
    def prior_coef_(self):
        """Slopes that a new task is expected to have, in the user's units."""
        return self._in_users_units(self._linear().mean)[0]

    @property
    def prior_intercept_(self):
        """Intercept that a new task is expected to have, in the user's units."""
        return self._in_users_units(self._linear().mean)[1]

    @property
    def prior_covariance_(self):
        """Covariance between tasks of slopes and intercept, in the user's units."""
        return self._covariance(self._linear().spread)

    @property
    def covariance_(self):
        """Covariance of the present slopes and intercept, in the user's units."""
        return self._covariance(self._present_linear().factor)

    @property
    def coefs_(self):
        """Weights of each layer of the learned features, on standardised data."""
        return [layer.weight for layer in self._layers()]

    @property
    def intercepts_(self):
        """Biases of each layer of the learned features, on standardised data."""
        return [layer.bias for layer in self._layers()]

    def _units_of_structures(self, n_outputs):
        """Turns coefficients that structures are about into standardised ones."""
        if self.standardize:  # they are the same
            return None
        return from_users_units(self._scaling, self.fit_intercept, n_outputs)

    def _layers(self):
        design = self._learned.design if self.__sklearn_is_fitted__() else None
        if design is None or design.network is None:
            raise AttributeError(
                f"This {type(self).__name__} is not fitted yet, or has learned no "
                "features: features=None, or they did not pay."
            )
        theta = design.theta.view()
        theta.flags.writeable = False  # adapted copies share it
        return design.network.layout.layers(theta)

    def _linear(self):
        """What has been learned, if that is a linear model."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        if self._learned.design.network is not None:
            raise AttributeError(
                "Coefficients are those of a linear model; this one has learned "
                "features. See coefs_ and intercepts_ for those."
            )
        return self._learned

    def _present_linear(self):
        return self._linear().predicting(self._present)

    def _to_users_units(self):
        learned = self._learned
        intercept = learned.design.fit_intercept
        return to_users_units(self._scaling, intercept, learned.n_outputs)

    def _covariance(self, factor):
        half = self._to_users_units() @ factor
        return half @ half.T  # a square has no variance below zero

    def _in_users_units(self, mean):
        """Slopes (o, d) and intercepts (o,) of coefficients (P,)."""
        n_outputs = self._learned.n_outputs
        coef = (self._to_users_units() @ mean).reshape(n_outputs, -1)
        if self._learned.design.fit_intercept:
            return coef[:, :-1], coef[:, -1] + self._scaling.y_mean
        return coef, np.zeros(n_outputs)

    def _prior_summary(self):
        """Slopes and their deviations between tasks, scales of X, and output names.

        Both are (n_outputs, n_features) in the user's units.
        """
        learned = self._linear()
        slopes, _ = self._in_users_units(learned.mean)
        deviation = np.sqrt(np.maximum(np.diag(self.prior_covariance_), 0.0))
        deviation = deviation.reshape(learned.n_outputs, -1)[:, : slopes.shape[1]]
        outputs = list(getattr(self, "classes_", ["y"])[-learned.n_outputs :])
        return slopes, deviation, self._scaling.x_scale, outputs


class CoefficientsOfOneOutput(LinearCoefficients):
    """The same of a model with one output: slopes (d,) and a number."""

    @property
    def coef_(self):
        """Present slopes in the units of X and y: (d,)."""
        return super().coef_[0]

    @property
    def intercept_(self):
        """Present intercept in the units of y."""
        return float(super().intercept_[0])

    @property
    def prior_coef_(self):
        """Slopes that a new task is expected to have: (d,)."""
        return super().prior_coef_[0]

    @property
    def prior_intercept_(self):
        """Intercept that a new task is expected to have."""
        return float(super().prior_intercept_[0])


class NoiseOfTasks:
    """The noise within tasks, of a model that keeps a `LearnedPrior` of numbers."""

    @property
    def noise_variance_(self):
        """Variance of the noise within tasks, in the squared units of y."""
        check_is_fitted(self)
        noise = self._learned.mean_noise(self._present)
        return float(noise * self._scaling.y_scale**2)

    @property
    def noise_factors_(self):
        """Noise variances that a task may have, divided by their mean over tasks."""
        factors, shares = self._noise_levels(None)
        return factors / (shares @ factors)

    @property
    def noise_weights_(self):
        """How probable each of ``noise_factors_`` is."""
        return self._noise_levels(self._present)[1].copy()

    def _noise_levels(self, present):
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        factors, shares = self._learned.model.noise_levels(present)
        if len(factors) == 1:
            raise AttributeError(
                "All tasks share one noise in this model: noise='shared', or another "
                "noise for each task did not pay. See noise_variance_."
            )
        return factors, shares

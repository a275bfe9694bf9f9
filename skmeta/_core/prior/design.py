"""The columns of a linear model, and its coefficients in the user's units."""

from dataclasses import dataclass, replace

import numpy as np

from skmeta._core.network import Network
from skmeta._core.prior import episodic
from skmeta._core.prior.summed import SummedTable
from skmeta._core.tasks import Parts


@dataclass(frozen=True)
class Design:
    """Makes columns of standardised rows: learned features, if any, then X, then a 1.

    A row may have several alternatives, X (n, J, n_features). Then an intercept is that
    of choosing any of them: the first alternative is the outside option, whose column
    is 0 and not 1.

    Attributes
    ----------
    n_features : int
        Columns of X.
    fit_intercept : bool
        Whether the last column is 1.
    x_rounding : ndarray of shape (n_features,) or None
        The rounding error of each column of X, relative to its size.
    x_varying : ndarray of bool of shape (n_features,) or None
        Which columns of X have slopes that differ between tasks; None if all do.
    network : Network or None
        The network that makes the learned features; None for a linear model of X.
    theta : ndarray or None
        The parameters of the network, in single precision.
    """

    n_features: int
    fit_intercept: bool = True
    x_rounding: np.ndarray | None = None
    x_varying: np.ndarray | None = None
    network: Network | None = None
    theta: np.ndarray | None = None

    @classmethod
    def of_scaled(cls, scaling, fit_intercept, x_varying=None):
        """The columns of rows in a `Scaling`, which gives their rounding errors."""
        off = 1.0 + np.abs(scaling.x_mean) / scaling.x_scale
        return cls(len(off), fit_intercept, np.finfo(np.float64).eps * off, x_varying)

    def with_features(self, network, theta):
        """The same with learned features before X."""
        return replace(self, network=network, theta=theta)

    @property
    def n_learned(self):
        """Number of learned features."""
        return 0 if self.network is None else self.network.layout.sizes[-1]

    @property
    def n_columns(self):
        return self.n_learned + self.n_features + self.fit_intercept

    @property
    def width(self):
        """How many numbers are needed to make the columns of one row."""
        if self.network is None:
            return self.n_columns
        return sum(self.network.layout.sizes)

    @property
    def rounding(self):
        """The rounding error of each column (n_columns,), relative to its size."""
        rounding = np.zeros(self.n_columns)
        rounding[: self.n_learned] = np.finfo(np.float32).eps
        if self.x_rounding is not None:
            of_x = slice(self.n_learned, self.n_learned + self.n_features)
            rounding[of_x] = self.x_rounding
        return rounding

    @property
    def varying(self):
        """Which columns have coefficients that differ between tasks, (n_columns,).

        Learned features and the intercept always do.
        """
        varying = np.ones(self.n_columns, dtype=bool)
        if self.x_varying is not None:
            of_x = slice(self.n_learned, self.n_learned + self.n_features)
            varying[of_x] = self.x_varying
        return varying

    def without_shared(self, factor):
        """A factor (P, r) that is zero for the coefficients that all tasks share."""
        varying = np.tile(self.varying, len(factor) // self.n_columns)
        return np.where(varying[:, None], factor, 0.0)

    def __call__(self, X):
        """Columns (n, n_columns) of standardised rows X (n, n_features)."""
        X = X.toarray() if hasattr(X, "toarray") else X
        if self.network is not None:
            # In double precision the result of a row does not depend on the rows beside
            # it.
            theta = self.theta.astype(np.float64)
            return episodic.design(self.network, theta, X, self.fit_intercept)[0]
        if not self.fit_intercept:
            return X
        ones = np.ones((*X.shape[:-1], 1))
        if X.ndim == 3:
            ones[:, 0] = 0.0
        return np.concatenate([X, ones], axis=-1)

    def times(self, X, coef):
        """Rows X times coefficients (o, n_columns), as (n, o); X may be sparse.

        If rows have alternatives, these are the o outputs, and there is one vector of
        coefficients.
        """
        if X.ndim == 3:
            return self(X) @ coef[0]
        if self.network is not None:
            return self(X) @ coef.T
        slopes, intercept = coef[:, : self.n_features], coef[:, self.n_features :]
        return X @ slopes.T + intercept.sum(axis=1)

    def parts(self, table):
        """The rows of each task of a `TaskTable`, with X in these columns."""
        if isinstance(table, SummedTable):
            return table.parts(self)
        if self.network is None:
            return Parts(table, self)
        # A network is faster on all rows at once.
        return Parts(replace(table, X=self(table.X)), np.asarray)


# -- units ----------------------------------------------------------------------------


def to_users_units(scaling, fit_intercept, n_outputs):
    """Matrix (P, P) from standardised coefficients to those in the user's units.

    Coefficients are laid out output by output: the slopes and, last, the intercept.
    The mean of the targets is not included.
    """
    n_features = len(scaling.x_scale)
    one = np.zeros((n_features + fit_intercept,) * 2)
    slope = np.diag_indices(n_features)
    one[slope] = scaling.y_scale / scaling.x_scale
    if fit_intercept:
        one[-1, :n_features] = -one[slope] * scaling.x_mean
        one[-1, -1] = scaling.y_scale
    return np.kron(np.eye(n_outputs), one)


def from_users_units(scaling, fit_intercept, n_outputs):
    """Matrix (P, P) from coefficients in the units of X to standardised ones.

    Targets are standardised on both sides.
    """
    n_features = len(scaling.x_scale)
    one = np.zeros((n_features + fit_intercept,) * 2)
    one[np.diag_indices(n_features)] = scaling.x_scale
    if fit_intercept:
        one[-1, :n_features] = scaling.x_mean
        one[-1, -1] = 1.0
    return np.kron(np.eye(n_outputs), one)

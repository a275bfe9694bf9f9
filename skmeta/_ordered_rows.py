"""Rows of a task in order of time, and how old ones count: parameters of estimators."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skmeta._checks.row_order import (
    hint_at_base_in_time,
    hint_at_newest_first,
    hint_at_order,
)
from skmeta._checks.times import number_of_column
from skmeta._core.prior.recency import Recency
from skmeta._linear_part import linear_names, n_linear
from skmeta._task_input import validate_new_rows

LEARNS_AT_RANDOM = (
    "{} learns how sure its predictions are from random rows of a task, given others, "
    "and forecasts are harder. If you will predict later rows from earlier ones, set "
    "row_order='time'; if not, ignore this RowOrderWarning."
)


class RowsInTime:
    """The parameters ``half_life``, ``time_column`` and ``row_order``.

    It stands to the left of `BaseMetaLearner`.
    """

    parameter_constraints: dict = {
        "half_life": [
            Interval(Real, 0, None, closed="right"),
            StrOptions({"auto"}),
            None,
        ],
        "time_column": [str, Integral, None],
        "row_order": [StrOptions({"random", "time"})],
    }

    @property
    def _rows_in_time(self):
        return self.row_order == "time" or self.half_life is not None

    def _time_column(self, n_features):
        """The number of the column that holds the times; None if rows are counted."""
        names = linear_names(self)
        return number_of_column(self.time_column, n_features, names)

    def _times_of(self, X):
        """Times (n,) of validated X (n, d), if a task's rows are in order of time."""
        if not self._rows_in_time:
            return None
        column = self._time_column(X.shape[1])
        if column is None:
            return np.arange(X.shape[0])
        return np.ravel(self._dense(X[:, [column]]))

    def _times_given(self, X):
        """Times (n,) of rows that are not validated yet, if a column holds them."""
        if self.time_column is None or not self._rows_in_time:
            return None
        return self._times_of(validate_new_rows(self, X))

    def _hint_at_order(self, rows):
        if not self._rows_in_time:
            why = LEARNS_AT_RANDOM.format(type(self).__name__)
            hint_at_order(rows.X, rows.codes, why, linear_names(self))
            return
        if self.base_estimator is not None:
            hint_at_base_in_time()
        if self.time_column is None:
            hint_at_newest_first(rows.X, rows.codes, linear_names(self))

    def _recency(self):
        """The `Recency` of standardised rows; an unknown half-life is None."""
        if self.half_life == "auto":
            half_life = None
        else:
            half_life = np.inf if self.half_life is None else float(self.half_life)
            half_life /= self._unit_of_age
        return Recency(half_life, self._time_column(n_linear(self)))

    def _half_life_of(self, recency):
        """The half-life in rows, or in the units of the column of times."""
        return float(recency.half_life * self._unit_of_age)

    @property
    def _unit_of_age(self):
        column = self._time_column(n_linear(self))
        return 1.0 if column is None else self._scaling.x_scale[column]

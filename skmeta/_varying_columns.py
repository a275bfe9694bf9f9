"""The parameter ``varying``: which columns have slopes of each task's own."""

from dataclasses import replace

from sklearn.utils._param_validation import StrOptions

from skmeta._checks.varying import check_something_varies, varying_columns
from skmeta._core.prior.design import Design
from skmeta._core.prior.varying import columns_that_vary
from skmeta._linear_part import linear_names, preprocesses


class VaryingColumns:
    """The parameter ``varying``; it stands to the left of `BaseMetaLearner`."""

    parameter_constraints: dict = {
        "varying": [StrOptions({"all", "auto"}), "array-like"]
    }

    # The parameter that says whether there is an intercept.
    _no_intercept = "fit_intercept"

    def _training_data(self, rows, *given):
        self._named_columns(rows.X.shape[1])  # before anything that takes long
        return super()._training_data(rows, *given)

    def _named_columns(self, n_features):
        """The mask (n_features,) of the columns that ``varying`` lists, if it does."""
        if isinstance(self.varying, str):
            return None
        return varying_columns(
            self.varying, n_features, linear_names(self), preprocesses(self)
        )

    def _design(self, table):
        """The `Design` of the rows in a `TaskTable`, which says what varies."""
        design = Design.of_scaled(self._scaling, self.fit_intercept)
        is_all = isinstance(self.varying, str) and self.varying == "all"
        if is_all or table.n_tasks == 1:
            return design
        varying = self._named_columns(design.n_features)
        if varying is None:
            varying = self._columns_that_vary(table, design)
        check_something_varies(self, varying, self._no_intercept)
        return replace(design, x_varying=varying)

    def _columns_that_vary(self, table, design):
        """Which columns (d,) have slopes of each task's own, if ``varying`` is auto."""
        return columns_that_vary(table, design)

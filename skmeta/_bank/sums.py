"""Tasks as sums over their rows, of which the posterior of numbers is made."""

import numpy as np
from sklearn.base import clone

from skmeta._bank.states import NOT_GIVEN, States, in_blocks_of_tasks
from skmeta._bank.stores import Codec
from skmeta._checks.id_keys import array_of_ids, id_of
from skmeta._checks.values import show
from skmeta._copies import own_what_can_change
from skmeta._core.prior.design import to_users_units
from skmeta._core.prior.many import condition_many
from skmeta._core.prior.noise import RowTriangle
from skmeta._core.prior.statistics import (
    ImpossibleRemoval,
    Sums,
    mapped,
    merged,
    removed,
)
from skmeta._core.tasks import slices
from skmeta._linear_part import preprocesses
from skmeta._task_sums import (
    CELLS,
    n_summed,
    numbers_by_sums,
    sums_of_table,
    tasks_at_a_time,
    told_by_sums,
    width_of_sums,
)
from skmeta.task_statistics import TaskStatistics


class SumsCodec(Codec):
    """A row of doubles for each task: number of rows, weight, means, scatter."""

    def __init__(self, n_columns):
        self.n_columns = n_columns
        self.width = width_of_sums(n_columns)

    def empty(self, n):
        return np.zeros((n, self.width))

    def to_bytes(self, values):
        data, size = np.ascontiguousarray(values, dtype="<f8").tobytes(), 8 * self.width
        return [data[i : i + size] for i in range(0, len(data), size)]

    def from_bytes(self, items):
        flat = np.frombuffer(b"".join(items), dtype="<f8").astype(float)
        return flat.reshape(-1, self.width)

    def values(self, sums):
        return np.column_stack([sums.n_rows, sums.weight, sums.mean, sums.scatter])

    def sums(self, values):
        k = self.n_columns
        return Sums(
            values[:, 0].astype(np.int64),
            values[:, 1],
            values[:, 2 : 2 + k],
            values[:, 2 + k :],
        )


class SumStates(States):
    """The `Sums` of each task, of the columns of the design and what is to be learned.

    Columns are standardised as the model has it, and targets are what a base model
    leaves.
    """

    kind = "sums"

    def __init__(self, model):
        self.model = model
        self._learned = model._learned
        self.codec = SumsCodec(n_summed(self._learned.design))

    def of_rows(self, rows, keys, sets=None):
        return self.codec.values(sums_of_table(self.model, self.model._new_table(rows)))

    def merged(self, before, new, keys):
        return self.codec.values(merged(self.codec.sums(before), self.codec.sums(new)))

    def removed(self, before, gone, keys):
        try:
            left = removed(self.codec.sums(before), self.codec.sums(gone))
        except ImpossibleRemoval as error:
            name = show(id_of(keys[error.task]))
            raise ValueError(NOT_GIVEN.format(name, error.why)) from None
        return self.codec.values(left)

    def n_rows(self, values):
        return values[:, 0].astype(np.int64)

    def told(self, values):
        """What tasks tell, as `ToldRows` in the columns of the design."""
        return told_by_sums(self.model, self.codec.sums(values))

    def adapted(self, values):
        told = self.told(values)
        rows = RowTriangle(told.table[0], float(told.weight[0]))
        model = self.model._unadapted_copy()
        present = self._learned.model.after(self._learned, rows)
        if present.shares is None:  # then the posterior tells all that the rows do
            present = present._replace(rows=None)
        model._present = present
        model.n_adapt_rows_ = int(values[0, 0])
        own_what_can_change(model)
        return model

    # -- many tasks -------------------------------------------------------------------

    @property
    def tasks_at_a_time(self):
        return tasks_at_a_time(self.codec.n_columns)

    def coefficients(self, values):
        """Posterior means (T, P) of the standardised coefficients."""
        n = len(values)
        mean = np.empty((n, len(self._learned.mean)))
        for some in slices(n, self.tasks_at_a_time):
            told = self.told(values[some])
            mean[some] = condition_many(self._learned, told, with_factor=False).mean
        return mean

    def predicted(self, coefficients, X, places):
        """Predictions for validated rows X, by the coefficients at these places."""
        design, scaling = self._learned.design, self.model._scaling
        outputs = np.empty((X.shape[0], 1))
        for some in slices(X.shape[0], CELLS // (2 * design.width)):
            Z, coef = scaling.transform_X(X[some]), coefficients[places[some]]
            if design.network is not None or hasattr(Z, "toarray"):
                outputs[some, 0] = np.einsum("np,np->n", design(Z), coef)
            else:
                d = design.n_features
                outputs[some, 0] = np.einsum("nd,nd->n", Z, coef[:, :d])
                outputs[some, 0] += coef[:, d:].sum(axis=1)
        return self.model._decode(outputs, X)

    def answers(self, method, values, options, X, codes):
        def of_block(options, X, values, codes):
            return numbers_by_sums(
                self.model, self.codec.sums(values), X, codes, needed, how
            )

        needed, how = self.model._numbers_for(method, **options)
        numbers = in_blocks_of_tasks(of_block, {}, X, values, codes)
        return self.model._answer_from(numbers, X, method, **options)

    def _in_users_units(self, values):
        scaling = self.model._scaling
        scale = np.append(scaling.x_scale, scaling.y_scale)
        shift = np.append(scaling.x_mean, scaling.y_mean)
        return mapped(self.codec.sums(values), scale, shift)

    def refitted(self, keys, values):
        model = self.model
        what = None
        if hasattr(model, "base_estimator_"):
            what = "a base model"
        elif preprocesses(model):
            what = "a linear_preprocessor"
        elif self._learned.design.network is not None:
            what = "features"
        if what is not None:
            raise ValueError(
                f"refit learns from the sums of tasks, and {what} cannot be learned "
                "from these. Meta-fit the model to rows, and give the rows to a bank "
                "over that."
            )
        names = getattr(model, "feature_names_in_", None)
        sums = self._in_users_units(values)
        told = TaskStatistics._of(array_of_ids(keys), sums, names)
        return clone(model).meta_fit(told)

    def carried_over(self, values, states):
        scaling = states.model._scaling
        scale = np.append(scaling.x_scale, scaling.y_scale)
        shift = np.append(scaling.x_mean, scaling.y_mean)
        sums = mapped(self._in_users_units(values), 1.0 / scale, -shift / scale)
        return states.codec.values(sums)

    def coefficients_in_users_units(self, values):
        model, design = self.model, self._learned.design
        if design.network is not None or hasattr(model, "base_estimator_"):
            return None
        to = to_users_units(model._scaling, design.fit_intercept, 1)
        coef = self.coefficients(values) @ to.T
        if not design.fit_intercept:
            return coef[:, None], np.zeros((len(coef), 1))
        return coef[:, None, :-1], coef[:, -1:] + model._scaling.y_mean

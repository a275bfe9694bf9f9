"""A model of numbers learns from statistics of tasks, and adapts to them."""

from dataclasses import replace

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from skmeta._base_choice import keep
from skmeta._base_model import FittedBase
from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.values import show
from skmeta._copies import own_what_can_change, restored_on_error, set_or_remove
from skmeta._core.prior.noise import RowTriangle
from skmeta._core.prior.statistics import sums_of
from skmeta._core.prior.summed import (
    SummedTable,
    order_of_tasks,
    scaling_of,
    standardised,
    told_rows,
)
from skmeta._frame import Frame, TrainingData
from skmeta._task_input import far_values_are_known
from skmeta._threads import lock_of
from skmeta.task_statistics import TaskStatistics

# Attributes that only a base model to choose or a preprocessor leaves.
CHOSEN = "base_choice_", "base_scores_", "zero_shot_model_", "linear_preprocessor_"


class LearnsFromStatistics:
    """The verbs on `TaskStatistics`; it stands to the left of `BaseEmpiricalBayes`."""

    # -- meta-training ----------------------------------------------------------------

    @with_hint_to_task
    def meta_fit(self, tasks):
        """Meta-train on a collection of tasks, or on statistics of their rows.

        Statistics give the model that the rows give. Only the errors of single rows
        are not known from them: intervals are those of Student's t, and a warning says
        so. ``base_estimator``, ``features`` and rows in order of time need the rows.

        Parameters
        ----------
        tasks : dict {id: (X, y)}, iterable of (X, y), or TaskStatistics
            One member per task; a third item is its sample weights. X may be an
            array, a sparse matrix, or a DataFrame with the same columns in each task.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        return super().meta_fit(tasks)

    @_fit_context(prefer_skip_nested_validation=True)
    def _meta_fit_statistics(self, statistics):
        """`meta_fit` on statistics of many tasks."""
        with lock_of(self), restored_on_error(self):
            self._check_statistics_do("meta_fit")
            if len(statistics) == 0:
                raise ValueError(
                    "The statistics hold no task: meta-learning needs at least one."
                )
            names = getattr(statistics, "feature_names_in_", None)
            self.n_features_in_ = statistics.n_features_in_
            set_or_remove(self, feature_names_in_=names, **dict.fromkeys(CHOSEN))
            made = self._training_data_of(statistics._sums, statistics.ids)
            keep(self, made)
            self._meta_train(made.table, made.ids, False, {"X": None, "y": None})
            self._keep_tasks(made)
        return self

    def _training_data_of(self, sums, ids, frame=None):
        """The `TrainingData` of sums of tasks, in the units of a `Frame`, if given."""
        self._named_columns(sums.n_columns - 1)
        if frame is None:
            scaling = scaling_of(sums)
            scaling = scaling if self.fit_intercept else scaling.uncentred()
            frame = Frame(scaling, self._make_targets(), None)
        order = order_of_tasks(sums.target(), sums.take)
        sums = standardised(sums.take(order), frame.scaling)
        return TrainingData(SummedTable(sums), ids[order], frame, None, FittedBase())

    def _in_order_of_tasks(self, rows, order, starts, ids):
        given = self.base_estimator, self.features
        if self._rows_in_time or any(part is not None for part in given):
            return order, starts, ids  # such a model is not learned from statistics

        def of_all(tasks):
            some = np.concatenate([order[starts[t] : starts[t + 1]] for t in tasks])
            ends = np.concatenate([[0], np.cumsum(np.diff(starts)[tasks])])
            X = self._dense(rows.X[some]).astype(np.float64, copy=False)
            Z = np.column_stack([X, rows.y[some]])
            return sums_of(Z, rows.weight[some], ends)

        y, weight = rows.y[order, None], rows.weight[order]
        tasks = order_of_tasks(sums_of(y, weight, starts), of_all)
        sizes = np.diff(starts)[tasks]
        ends = np.cumsum(sizes)
        place = np.arange(len(order)) + np.repeat(starts[tasks] - (ends - sizes), sizes)
        return order[place], np.concatenate([[0], ends]), ids[tasks]

    def _check_statistics_do(self, verb):
        """Refuse parameters that ask for more than sums of rows tell."""
        for name, value in (
            ("base_estimator", self.base_estimator),
            ("linear_preprocessor", self.linear_preprocessor),
            ("features", self.features),
            ("half_life", self.half_life),
            ("row_order", None if self.row_order == "random" else self.row_order),
            ("time_column", self.time_column),
        ):
            if value is not None:
                instead = "'random'" if name == "row_order" else "None"
                raise ValueError(
                    f"{verb} got statistics, but {name}={show(value)} needs the rows, "
                    f"of which statistics hold only sums. Set {name}={instead}, or "
                    "pass the rows."
                )

    # -- more tasks -------------------------------------------------------------------

    _keeps_sums = True

    def _begin_by_sums(self, tasks):
        if isinstance(tasks, TaskStatistics):
            self._meta_fit_statistics(tasks)
        else:
            X, y, weight, task = tasks
            self.fit(X, y, weight, task=task)
            with far_values_are_known():
                tasks = TaskStatistics.from_rows(X, y, task, weight)
        self.stream_ = tasks
        return self

    def _go_on_by_sums(self, tasks, kept):
        if not isinstance(tasks, TaskStatistics):
            X, y, weight, task = tasks
            tasks = TaskStatistics.from_rows(X, y, task, weight)
        self._check_columns_of(tasks)
        total, before = kept + tasks, self._learned.calibration
        made = self._training_data_of(total._sums, total.ids, self._frame)
        self._train_again(made)
        # sums do not show errors of single rows: those of the first tasks stay
        learned = self._learned
        calibration = learned.calibration.with_errors_of(before)
        self._learned = replace(learned, calibration=calibration)
        self.stream_ = total
        return self

    # -- adaptation -------------------------------------------------------------------

    @with_hint_to_task
    def adapt(self, X, y=None, sample_weight=None):
        """Adapt a copy of the model to a task, from the learned prior.

        The meta-learner itself is not touched.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or TaskStatistics
            Rows of one task; one row is enough, and with none at all the copy is at the
            learned prior. Or the statistics of the rows of one task, without y.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        adapted : object
            A model of the same class that predicts for this task. It carries no
            training history.
        """  # noqa: E501 (a type takes one line)
        if not isinstance(X, TaskStatistics):
            return super().adapt(X, y, sample_weight)
        told, n_rows = self._told_by(X, y, sample_weight, "adapt")
        adapted = self._unadapted_copy()
        adapted._hear(told, n_rows)
        own_what_can_change(adapted)
        return adapted

    @with_hint_to_task
    def partial_adapt(self, X, y=None, sample_weight=None):
        """Adapt in place, from the present state.

        Several threads may do so with one model: they take turns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or TaskStatistics
            Rows of the task that the model already is adapted to, or of a new one
            after :meth:`reset_adaptation`. Or the statistics of such rows, without y.
        y : array-like of shape (n_samples,)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : object
            The same estimator, adapted.
        """  # noqa: E501 (a type takes one line)
        if not isinstance(X, TaskStatistics):
            return super().partial_adapt(X, y, sample_weight)
        told, n_rows = self._told_by(X, y, sample_weight, "partial_adapt")
        with lock_of(self), restored_on_error(self):
            self._hear(told, n_rows)
        return self

    def _hear(self, told, n_rows):
        learned = self._learned
        self._present = learned.model.hear(learned, told, self._present)
        self.n_adapt_rows_ += n_rows

    def _told_by(self, statistics, y, sample_weight, verb):
        """The `RowTriangle` of statistics of one task, and its number of rows."""
        check_is_fitted(self)
        self._check_statistics_do(verb)
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{verb} got statistics, which hold y and the weights already; leave "
                "out y and sample_weight."
            )
        if len(statistics) != 1:
            raise ValueError(
                f"{verb} takes the statistics of one task; these are of "
                f"{len(statistics)}. Select one: statistics.select([id])."
            )
        self._check_columns_of(statistics)
        sums = standardised(statistics._sums, self._scaling)
        table = told_rows(sums, self._learned.design.fit_intercept)[0]
        return RowTriangle(table, float(sums.weight[0])), int(sums.n_rows[0])

    def _check_columns_of(self, statistics):
        """Refuse statistics of other columns than the model was fitted to."""
        if statistics.n_features_in_ != self.n_features_in_:
            raise ValueError(
                f"The statistics are of {statistics.n_features_in_} columns, but "
                f"{type(self).__name__} was fitted to {self.n_features_in_}."
            )
        ours, theirs = (
            getattr(one, "feature_names_in_", None) for one in (self, statistics)
        )
        if ours is not None and theirs is not None and list(ours) != list(theirs):
            raise ValueError(
                f"The statistics are of the columns {list(theirs)}, but the model was "
                f"fitted to {list(ours)}. Sum the same columns in the same order."
            )

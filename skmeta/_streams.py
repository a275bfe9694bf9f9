"""Meta-training in portions: what is kept of the tasks so far, and how it goes on."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import _fit_context

from skmeta._base_choice import keep
from skmeta._checks.ids import encode_tasks, tasks_one_by_one
from skmeta._checks.task_lists import read_tasks
from skmeta._checks.values import as_object_array, kinds_of, show
from skmeta._task_input import GivenRows, read_training_rows
from skmeta.task_statistics import TaskStatistics


class KeptRows(NamedTuple):
    """All rows of the tasks so far."""

    X: object
    y: np.ndarray
    weight: np.ndarray
    task: np.ndarray

    @property
    def ids(self):
        return self.task

    def __repr__(self):
        return f"KeptRows(n_rows={len(self.y)})"


class GoesOnByLoop:
    """`partial_meta_fit` of a learner that continues the loop of its meta-iterations.

    It keeps nothing of the tasks, and stands to the left of `BaseMetaLearner`.
    """

    def _absorb(self, tasks):
        given = self.warm_start
        self.warm_start = True
        try:
            return self.meta_fit(tasks)
        finally:
            self.warm_start = given


class GoesOnFromAll:
    """`partial_meta_fit` of a learned prior, which keeps the tasks so far.

    It keeps their rows, or, in the subclass that `LearnsFromStatistics`, their sums.
    """

    _keeps_sums = False

    def _absorb(self, tasks):
        self._validate_params()
        self._check_goes_on()
        kept = getattr(self, "stream_", None)
        is_known = isinstance(tasks, TaskStatistics)
        if is_known and not self._by_sums:
            return self._meta_fit_statistics(tasks)  # it says what is wrong
        if not is_known:
            known = None if kept is None else kept.ids
            *tasks, _ = read_tasks(_with_ids(tasks, known))
        begin, go_on = self._begin_by_rows, self._go_on_by_rows
        if self._by_sums:
            begin, go_on = self._begin_by_sums, self._go_on_by_sums
        with tasks_one_by_one():
            begin(tasks) if kept is None else go_on(tasks, kept)
        self._keep_stream()
        return self

    @property
    def _by_sums(self):
        """Whether sums of rows are all that is needed to go on."""
        return self._keeps_sums and not self._rows_in_time

    def _check_goes_on(self):
        for name in ("base_estimator", "linear_preprocessor", "features"):
            if (value := getattr(self, name)) is not None:
                value = show(value) if isinstance(value, str) else type(value).__name__
                raise ValueError(
                    f"partial_meta_fit cannot go on with {name}={value}, which is "
                    f"learned from all rows anew. Set {name}=None, or call fit with "
                    "the rows of all tasks."
                )
        if self.__sklearn_is_fitted__() and not hasattr(self, "stream_"):
            raise ValueError(
                f"This {type(self).__name__} was fitted by fit or meta_fit, which keep "
                "nothing of the tasks to go on from. Begin with partial_meta_fit on "
                "the first tasks: clone(model).partial_meta_fit(tasks)."
            )
        if hasattr(self, "stream_"):
            self._check_began_as_now()

    def _check_began_as_now(self):
        """Refuse parameters that what is kept so far does not fit."""
        began = self._learned.design.fit_intercept
        if self.fit_intercept != began:
            raise ValueError(
                f"partial_meta_fit began with fit_intercept={began}, which its scaling "
                f"follows, and cannot go on with fit_intercept={self.fit_intercept}. "
                f"Set fit_intercept={began}, or begin anew with all tasks."
            )
        if self._by_sums != isinstance(self.stream_, TaskStatistics):
            kept = "rows" if self._by_sums else "sums of rows, which have no order"
            raise ValueError(
                f"partial_meta_fit has kept {kept}, and cannot go on with "
                f"half_life={show(self.half_life)} and row_order="
                f"{show(self.row_order)}. Set them as at first, or begin anew with all "
                "tasks."
            )

    def _model_and_design(self, table, before):
        """The `TaskModel` to learn and its `Design`; ``before`` is a `LearnedPrior`."""
        model = self._task_model(table)
        if before is None:
            return model, self._design(table)
        return before.model.as_kind_of(model), before.design

    def _begin_by_rows(self, tasks):
        X, y, weight, task = tasks
        self.fit(X, y, weight, task=task)
        rows = read_training_rows(self, X, y, weight, task, reset=False)
        self.stream_ = KeptRows(rows.X, rows.y, rows.weight, rows.ids[rows.codes])
        return self

    def _go_on_by_rows(self, tasks, kept):
        new = read_training_rows(self, *tasks, reset=False)
        task = _joined_ids(kept.task, new.ids[new.codes])
        X = kept.X, new.X
        X = sparse.vstack(X, format="csr") if sparse.issparse(X[0]) else _under(X)
        kept = KeptRows(
            X, _under((kept.y, new.y)), _under((kept.weight, new.weight)), task
        )
        rows = GivenRows(kept.X, kept.y, kept.weight, *encode_tasks(task, len(task)))
        self._train_again(self._training_data(rows, self._targets, True))
        self.stream_ = kept
        return self

    @_fit_context(prefer_skip_nested_validation=True)  # it looks after callbacks
    def _train_again(self, made):
        """Learn the prior anew, from where it is if several tasks have shown it."""
        several = self.n_tasks_ > 1
        keep(self, made, True)
        self.n_tasks_ = made.table.n_tasks
        self._meta_train(made.table, made.ids, several, {"X": None, "y": None})


def _under(arrays):
    return np.concatenate(arrays)


def _joined_ids(ids, new):
    """Ids of all rows; those of two kinds are never equal, and are refused."""
    here, there = (kinds_of(as_object_array(list(part))) for part in (ids, new))
    if here.keys() != there.keys():
        (_, one), (_, other) = next(iter(here.items())), next(iter(there.items()))
        raise ValueError(
            f"The tasks so far have ids such as {show(one)}, and these have ids such "
            f"as {show(other)}. Give all the same type, as in {{id: (X, y)}}."
        )
    if ids.dtype.kind != new.dtype.kind:
        ids, new = ids.astype(object), new.astype(object)
    return _under((ids, new))


def _with_ids(tasks, known):
    """Tasks with ids that no task has so far, if they have none."""
    if isinstance(tasks, Mapping) or hasattr(tasks, "items") or hasattr(tasks, "shape"):
        return tasks
    tasks, first = list(tasks), 0
    if known is not None and len(known):
        if kinds_of(as_object_array(list(known))).keys() != {"number"}:
            raise ValueError(
                "These tasks have no ids, and those so far have, such as "
                f"{show(known[0])}. Give all tasks ids: partial_meta_fit({{id: (X, "
                "y)})."
            )
        first = int(np.max(np.asarray(known, dtype=float))) + 1
    return dict(zip(range(first, first + len(tasks)), tasks, strict=True))

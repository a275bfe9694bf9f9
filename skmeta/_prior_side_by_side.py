"""A learned prior adapts to many tasks at once."""

import numpy as np
from scipy.special import expit

from skmeta._checks.magnitude import explaining_singular
from skmeta._checks.parameters import check_coverage
from skmeta._core.prior.side_by_side import VERY_LONG_TASK, adapt_alone, adapt_many
from skmeta._core.prior.stacks import Stack
from skmeta._core.tasks import Rows, padded_blocks
from skmeta._many_tasks import is_ours, options_of_rows, put
from skmeta._prior_warnings import (
    DEVIATIONS,
    INTERVALS,
    warn_of_little,
    warn_of_unmeasured,
)
from skmeta._targets import most_probable
from skmeta._threads import on_one_blas_thread

# Rows of many tasks are in use a block at a time, of about so many numbers.
BLOCK_CELLS = 2**17
# What decides about the predictions of a task. A subclass that replaces one of these is
# adapted to one task after the other.
DECIDING = ("_adapt_to", "_adapt_in_place", "_raw_outputs", "_predictive", "_decode")


class PriorSideBySideMixin:
    """What `BaseMetaLearner` does one task at a time. It stands to the left of it.

    Predictions are made of a few numbers for each row, which come from the core.
    `_numbers_for` says which ones, and `_answer_from` makes predictions of them.
    """

    def _numbers_for(self, method, **options):
        """The method of `AdaptedTasks` that gives the numbers, and its arguments."""
        return "predictive", {}

    def _answer_from(self, numbers, X, method, **options):
        """What ``method`` returns for validated X (n, d), from its numbers (n, k)."""
        raise NotImplementedError

    @on_one_blas_thread
    def _predict_each(self, known, new, method, options):
        if not is_ours(self, method, *DECIDING):
            return super()._predict_each(known, new, method, options)
        needed, how = self._numbers_for(method, **options)
        fresh = self._unadapted_copy()
        vars(fresh).pop("feature_names_in_", None)  # they have been checked
        X_new, order, starts = new
        offset, numbers = self._offset(X_new), None
        for tasks, adapted in self._adapted(known, needed != "outputs"):
            for part in self._blocks(np.diff(starts)[tasks]):
                index, is_row = _rows_of(order, starts, tasks[part])
                columns = self._columns(X_new, index)
                o = None if offset is None else offset[index]
                found = getattr(adapted.part(part), needed)(columns, o, **how)[is_row]
                if numbers is None:
                    numbers = np.zeros((len(order), found.shape[1]))
                numbers[index[is_row]] = found
        answer = None
        if numbers is not None:
            answer = self._answer_from(numbers, X_new, method, **options)
        unknown = np.repeat(np.diff(known.starts) == 0, np.diff(starts))
        if unknown.any():
            rows = order[unknown]
            some = options_of_rows(options, rows, len(order))
            first = getattr(fresh, method)(X_new[rows], **some)
            answer = put(first, rows, answer, len(order))
        return answer

    def _adapted(self, known, with_factor):
        """Adapt to tasks by `KnownRows`: yields numbers of some, and `AdaptedTasks`."""
        X, _, weight, order, starts = known
        coded = self._targets.encode(known.y)
        Y, offset = self._targets.correct(coded.Y, self._base_offset(X))
        weight = self._targets.weighted(known.y, weight)
        sizes = np.diff(starts)
        some = np.flatnonzero(sizes > 0)
        for block in self._blocks(sizes[some]):
            tasks = some[block]
            index, is_row = _rows_of(order, starts, tasks)
            y = self._scaling.transform_y(Y[index])
            o = np.zeros_like(y) if offset is None else offset[index]
            w = np.where(is_row, weight[index], 0.0)
            with explaining_singular(weight[index]):
                if len(tasks) == 1 and index.shape[1] > VERY_LONG_TASK:
                    rows = self._scaling.transform_X(X[index[0]])
                    yield tasks, adapt_alone(self._learned, (rows, y[0], w[0], o[0]))
                    continue
                stack = Stack(self._columns(X, index), y, w, o)
                yield tasks, adapt_many(self._learned, stack, with_factor)

    def _blocks(self, sizes):
        """Numbers of tasks that are treated together, by their numbers of rows."""
        width = self._learned.design.width + 1
        return padded_blocks(sizes, width, BLOCK_CELLS) if len(sizes) else []

    def _columns(self, X, index):
        """The columns (T, n, p) of the design of some rows of validated X."""
        X = X[index.ravel()]
        X = self._scaling.transform_X(X, in_place=isinstance(X, np.ndarray))
        columns = self._learned.design(X)
        return columns.reshape(*index.shape, -1)


def _rows_of(order, starts, tasks):
    """Numbers of the rows of some tasks, padded (T, n), and which are no padding."""
    rows = Rows.between(starts, tasks)
    return order[rows.index], rows.present


class NumbersSideBySide(PriorSideBySideMixin):
    """Of a regressor with Gaussian noise."""

    def _numbers_for(self, method, coverage=0.9, return_std=False):
        if method == "predict" and not return_std:
            return "outputs", {}
        # neither deviations nor intervals can be trusted if there is little data
        warn_of_little(self.n_tasks_, self._learned.calibration.freedom_of_noise)
        known = self.n_tasks_, self._learned.calibration.is_measured
        if method == "predict":
            if self.n_adapt_rows_ == 0 and self._learned.zero_shot != "prior":
                warn_of_unmeasured(DEVIATIONS, *known)
            return "predictive", {}
        check_coverage(coverage)
        warn_of_unmeasured(INTERVALS, *known)
        return "interval", {"coverage": coverage}

    def _answer_from(self, numbers, X, method, coverage=0.9, return_std=False):
        y = self._decode(numbers[:, :1], X)
        if method == "predict" and not return_std:
            return y
        size = numbers[:, 1] * self._scaling.y_scale  # a deviation or half a width
        return (y, size) if return_std else np.column_stack([y - size, y + size])


class LabelsSideBySide(PriorSideBySideMixin):
    """Of a classifier, whose numbers are log-odds (n, 1) or log-probabilities."""

    def _offset(self, X):
        return self._base_offset(X)

    def _predict_each(self, known, new, method, options):
        if len(self.classes_) == 1 and is_ours(self, method, *DECIDING):
            X = new.X
            return self._answer_from(np.zeros((X.shape[0], 1)), X, method)
        return super()._predict_each(known, new, method, options)

    def _scores(self, X):
        """Log-odds (n, 1) or log-probabilities (n, classes) for validated X."""
        if len(self.classes_) == 1:
            return np.zeros((X.shape[0], 1))
        return self._predictive(X)

    def _answer_from(self, numbers, X, method):
        two = len(self.classes_) == 2
        if method == "predict_proba":
            scores = np.hstack([-numbers, numbers])
            return expit(scores) if two else np.exp(numbers)
        scores = numbers[:, 0] if two else numbers
        if method == "decision_function":
            return scores
        return most_probable(scores, self.classes_)

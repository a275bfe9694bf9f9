"""Rows of many tasks as they come in: validated, and sorted by task."""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    _num_samples,
)

from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.block import holding
from skmeta._checks.clean import is_clean, sum_duplicates
from skmeta._checks.ids import encode_new_tasks, encode_tasks, warn_of_single_rows
from skmeta._checks.magnitude import check_magnitude
from skmeta._checks.row_order import row_order_is_known
from skmeta._checks.values import (
    check_target,
    check_total_weight,
    plain_weight,
)
from skmeta._core.canonical import canonical_order
from skmeta._core.scaling import far_values
from skmeta._linear_part import linear_names, preprocesses, read_rows, with_table
from skmeta._tables import knows_source
from skmeta._warn import warn


class GivenRows(NamedTuple):
    """Validated rows of many tasks, in the order in which they were given.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
    weight : ndarray of shape (n_rows,)
    codes : ndarray of int of shape (n_rows,)
        The number of each row's task.
    ids : ndarray of shape (n_tasks,)
        The id behind each number.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray
    codes: np.ndarray
    ids: np.ndarray


class SortedRows(NamedTuple):
    """Rows of positive weight to adapt to, sorted by task.

    Those of task t are ``starts[t]:starts[t + 1]``.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray
    starts: np.ndarray


class KnownRows(NamedTuple):
    """Rows to adapt to, in the user's order.

    Those of task t that have a positive weight have the numbers
    ``order[starts[t]:starts[t + 1]]``.
    """

    X: object
    y: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    starts: np.ndarray

    def sorted(self):
        """Copies of the rows, as `SortedRows`."""
        X, y, weight, order, starts = self
        return SortedRows(X[order], y[order], weight[order], starts)


class NewRows(NamedTuple):
    """Rows to predict, in the user's order.

    Those of task t have the numbers ``order[starts[t]:starts[t + 1]]``.
    """

    X: object
    order: np.ndarray
    starts: np.ndarray


# -- rows, targets and weights --------------------------------------------------------


def validate_rows(model, X, y, *, reset, dtype):
    """Rows and targets as arrays; ``reset`` says whether `fit` learns their columns.

    Rows of a model with a base model know the table that they come from, and those that
    know it have been validated before.
    """
    labels = model._targets.are_labels
    if knows_source(X):
        check_target(y, labels)
        model._targets.check_given(y)
        y = _check_y(y, y_numeric=not labels, estimator=model)
        check_consistent_length(X, y)
    else:
        numbers, table = X, None
        if reset or not is_clean(model, X, dtype, y):
            check_target(y, labels)
            model._targets.check_given(y)
            how = {"reset": reset, "dtype": dtype, "y_numeric": not labels}
            numbers, table, y = read_rows(model, X, y, **how)
        X = _checked(model, numbers, table, reset)
    if labels:
        return X, y
    y = y.astype(np.float64, copy=False)
    check_magnitude(y, "y")
    return X, y


def validate_new_rows(model, X):
    """Rows without targets, as an array or a CSR matrix, as in `validate_rows`."""
    if knows_source(X):
        return X
    numbers, table = X, None
    if not is_clean(model, X, model._dtype):
        check_aligned(X=X)
        numbers, table, _ = read_rows(model, X, reset=False, dtype=model._dtype)
    return _checked(model, numbers, table, reset=False)


def _checked(model, numbers, table, reset):
    """Numbers that can be computed with, as rows that know their table."""
    numbers = sum_duplicates(numbers)
    check_magnitude(numbers, names=partial(linear_names, model))
    return with_table(model, numbers, table, reset)


def validate_weight(model, sample_weight, X):
    """Weights (n_rows,) of the rows; at least one is positive."""
    if sample_weight is None:
        return np.ones(X.shape[0])
    weight = _check_sample_weight(
        plain_weight(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )
    check_total_weight(weight)
    if not weight.any():
        raise ValueError("All sample weights are zero: nothing is left to learn.")
    if weight.max() > model._largest_weight:
        raise ValueError(
            f"sample_weight holds {weight.max():.3g}. A weight of 2 is a row that is "
            f"there twice; up to {model._largest_weight:g} can be told from each "
            "other. Divide the weights by their mean."
        )
    return weight


def validate_task(model, X, y, sample_weight=None, **beside):
    """Rows of one task, their targets and weights, without those of weight zero."""
    check_aligned(X=X, y=y, sample_weight=sample_weight, **beside)
    X, y = validate_rows(model, X, y, reset=False, dtype=model._dtype)
    model._targets.check(y)
    weight = validate_weight(model, sample_weight, X)
    y = model._targets.with_beside(y, weight, np.zeros(len(y), np.intp), None, **beside)
    if sample_weight is None:
        return X, y, weight
    rows = weight > 0
    return X[rows], y[rows], weight[rows]


def _naming_the_task(model, task, X, y):
    """`naming_the_task`, which looks in y for labels or numbers as the model does."""
    return naming_the_task(task, rows_to_name(model, X), **{_kind_of_y(model): y})


def rows_to_name(model, X):
    """The rows in which a value that is no number is an error; None if there are none.

    A preprocessor makes numbers of all that it finds.
    """
    has_one = preprocesses(model) or model._parameter("linear_preprocessor") is not None
    return None if has_one else X


def _kind_of_y(model):
    return "labels" if model._targets.are_labels else "y"


# -- tasks to learn from --------------------------------------------------------------


def read_training_rows(model, X, y, sample_weight, task, *, reset, **beside):
    """The `GivenRows` of all tasks that `fit` was given."""
    if model._parameter("linear_preprocessor") is not None:
        X, y, sample_weight, task, beside = _without_weightless(
            X, y, sample_weight, task, beside
        )
    with _naming_the_task(model, task, X, y):
        X, y = validate_rows(model, X, y, reset=reset, dtype=list(model._fit_dtypes))
    codes, ids = encode_tasks(task, X.shape[0])
    model._targets.check(y, None if task is None else ids[codes])
    warn_of_single_rows(codes, ids)
    weight = validate_weight(model, sample_weight, X)
    y = model._targets.with_beside(y, weight, codes, ids, **beside)
    return GivenRows(X, y, weight, codes, ids)


def _without_weightless(X, y, sample_weight, task, beside):
    """The same without rows of weight 0, of which a preprocessor must learn nothing."""
    if sample_weight is None:
        return X, y, sample_weight, task, beside
    weight = np.asarray(plain_weight(sample_weight))
    kept = np.flatnonzero(weight != 0)
    if weight.shape != (_num_samples(X),) or len(kept) in (0, len(weight)):
        return X, y, sample_weight, task, beside
    X, y, task = (
        part if part is None else _safe_indexing(part, kept) for part in (X, y, task)
    )
    beside = {
        name: value if np.ndim(value) == 0 else _safe_indexing(value, kept)
        for name, value in beside.items()
    }
    return X, y, weight[kept], task, beside


def canonical(rows, order_key, times=None):
    """Rows in an order that depends neither on positions nor on names of tasks.

    Without this, what is drawn at random would depend on them. If ``times`` (n_rows,)
    are given, the rows of a task come in order of time. Returns the numbers of
    the rows of positive weight in order, the tasks' starts among them, and the tasks'
    ids.
    """
    X, y, weight, codes, ids = rows
    kept = np.flatnonzero(weight > 0)
    if len(kept) < len(weight):
        X, y, weight, codes = X[kept], y[kept], weight[kept], codes[kept]
    present, codes = np.unique(codes, return_inverse=True)
    order, tasks = canonical_order(X, order_key(y, codes), weight, codes)
    sizes = np.bincount(codes)[tasks]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    if times is not None:
        place = np.repeat(np.arange(len(tasks)), sizes)
        order = order[np.lexsort((times[kept[order]], place))]
    return kept[order], starts, ids[present[tasks]]


_is_known = ContextVar("far_values_are_known", default=False)


@contextmanager
def far_values_are_known():
    """Within this block the user has been warned of the rows already."""
    with holding(_is_known), row_order_is_known():
        yield


def warn_of_far_values(model, rows, named):
    """Warn where a few values make all others of their column look the same.

    ``named`` says whether the user gave ids of tasks.
    """
    if _is_known.get():
        return
    kept = np.flatnonzero(rows.weight > 0)
    X = rows.X if len(kept) == len(rows.weight) else rows.X[kept]
    far = far_values(X)
    if not far:
        return
    worst = far[0]
    names = linear_names(model)
    names = range(X.shape[1]) if names is None else names
    row = kept[worst.row]
    of_task = f" (task {rows.ids[rows.codes[row]]!s})" if named else ""
    others = f" {len(far) - 1} more columns are like it." if len(far) > 1 else ""
    warn(
        f"Column {names[worst.column]!r} has the value {worst.value:.6g} in row "
        f"{row}{of_task}, while half of its values lie between {worst.low:.6g} and "
        f"{worst.high:.6g}. Next to it they look the same, and what they tell is "
        f"lost.{others} Correct or remove such rows, or put a transformer in front "
        "that draws them in, such as QuantileTransformer.",
    )


# -- tasks to adapt to ----------------------------------------------------------------


def read_known_and_new(model, X, y, X_new, sample_weight, task, task_new, **beside):
    """The `KnownRows` to adapt to and the `NewRows` to predict, of the same tasks.

    Tasks without a new row are left out.
    """
    check_aligned(X=X, y=y, sample_weight=sample_weight, task=task, **beside)
    check_aligned(X_new=X_new, task_new=task_new)
    if np.shape(X)[:1] == (0,):
        raise ValueError(
            "adapt_predict has no row to adapt to: X has 0 rows. For tasks of "
            "which nothing is known call predict(X_new)."
        )
    with _naming_the_task(model, task, X, y):
        X, y = validate_rows(model, X, y, reset=False, dtype=model._dtype)
    with naming_the_task(task_new, X=rows_to_name(model, X_new)):
        X_new = model._validate_new(X_new)
    weight = validate_weight(model, sample_weight, X)
    codes, codes_new, ids = encode_new_tasks(task, X.shape[0], task_new, X_new.shape[0])
    try:
        model._targets.check(y)
    except ValueError:
        model._targets.check(y, ids[codes])  # this names the task
        raise
    y = model._targets.with_beside(y, weight, codes, ids, **beside)
    return arranged(X, y, weight, codes, X_new, codes_new, len(ids))


def arranged(X, y, weight, codes, X_new, codes_new, n_tasks):
    """`KnownRows` and `NewRows` of validated rows, by the numbers of their tasks."""
    wanted = np.zeros(n_tasks, dtype=bool)
    wanted[codes_new] = True
    # tasks without a new row come last, and are not adapted to
    n_wanted = int(wanted.sum())
    if n_wanted < n_tasks:
        number = np.where(wanted, np.cumsum(wanted) - 1, n_wanted)
        codes, codes_new = number[codes], number[codes_new]
    kept = (weight > 0) & (codes < n_wanted)
    rows = np.argsort(codes, kind="stable")
    if not kept.all():
        rows = rows[kept[rows]]
    starts = _starts(codes[rows], n_wanted)
    if len(rows) == 0:  # nothing is known of these tasks, but the core needs some row
        rows = np.flatnonzero(weight > 0)[:1]
    order = np.argsort(codes_new, kind="stable")
    return (
        KnownRows(X, y, weight, rows, starts),
        NewRows(X_new, order, _starts(codes_new, n_wanted)),
    )


def _starts(codes, n_tasks):
    """Where the rows of each task start, (n_tasks + 1,), once they are sorted."""
    sizes = np.bincount(codes, minlength=n_tasks)
    return np.concatenate([[0], np.cumsum(sizes)])

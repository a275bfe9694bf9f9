"""Errors about values that are not numbers name the task they are in."""

from contextlib import contextmanager

import numpy as np
from scipy import sparse

from skmeta._checks.ids import check_task_ids
from skmeta._checks.scorers import scored_on_purpose
from skmeta._checks.values import is_missing, is_missing_value, show


@contextmanager
def naming_the_task(task, X=None, y=None, labels=None):
    """Add the task to a ValueError about values that are not numbers.

    ``y`` are targets that must be numbers, ``labels`` targets that need not be.
    """
    try:
        yield
    except ValueError as error:
        row = None if task is None else _first_bad_row(X, y, labels)
        if row is None or row >= len(task):
            raise
        ids = check_task_ids(task, len(task))
        message = (
            f"{error}\n\nThe first such row is row {row}, of task {show(ids[row])}."
        )
        if "could not convert" in str(error):
            message += (
                " Targets must be numbers; use a classifier for labels."
                if X is None or _bad_row(X) is None  # the bad value is in y
                else " Encode text, for instance by OneHotEncoder in a Pipeline."
            )
        raise type(error)(message) from None


def _first_bad_row(X, y, labels):
    """The first row with a value that is missing, infinite or text, or None."""
    rows = [_bad_row(table) for table in (X, y) if table is not None]
    if labels is not None:
        labels = np.asarray(labels)
        if labels.size == len(labels):
            rows.append(next(iter(np.flatnonzero(is_missing(labels.ravel()))), None))
    return min((row for row in rows if row is not None), default=None)


def first_cell(X, is_bad):
    """In words, the first row and column of X with such a value, or None.

    ``is_bad`` tells it of each of an array (n,) of values. The row is named by its
    index, if X has one. A number of a row is left out while rows are drawn for a score,
    since the user does not know it.
    """
    if sparse.issparse(X):
        X = X.tocoo()
        where = np.column_stack([X.row, X.col])[is_bad(X.data)]
        where = where[np.lexsort(where.T[::-1])]
    else:
        values = np.asarray(X)
        if values.ndim != 2:
            return None
        where = np.argwhere(is_bad(values.ravel()).reshape(values.shape))
    if not len(where):
        return None
    row, column = where[0].tolist()
    name = list(X.columns)[column] if hasattr(X, "columns") else column
    found = f"column {show(name)}"
    if hasattr(X, "index") and hasattr(X, "iloc"):
        return f"{found}, at index {show(X.index[row])}"
    return found if scored_on_purpose() else f"{found}, row {row}"


def is_no_number(values):
    """Which of the values (n,) cannot be made numbers; missing ones can."""
    if values.dtype.kind in "fiubc":
        return np.zeros(len(values), dtype=bool)
    return np.array([_is_no_number(value) for value in values], dtype=bool)


def _is_no_number(value):
    try:
        return not (is_missing_value(value) or isinstance(float(value), float))
    except (OverflowError, TypeError, ValueError):
        return True


def _bad_row(table):
    if sparse.issparse(table):
        table = table.tocsr()
        bad = np.flatnonzero(~np.isfinite(table.data))
        rows = np.searchsorted(table.indptr, bad, side="right") - 1
        return next(iter(rows), None)
    table = np.atleast_1d(np.asarray(table))
    return next((i for i, row in enumerate(table) if not _is_finite(row)), None)


def _is_finite(row):
    row = np.asarray(row)
    if row.dtype.kind in "OmM" and is_missing(row.ravel()).any():
        return False
    try:
        return bool(np.isfinite(row.astype(float)).all())
    except (OverflowError, TypeError, ValueError):
        return False

"""Errors about values that are not numbers name the task they are in."""

from contextlib import contextmanager

import numpy as np
from scipy import sparse

from skmeta._checks.ids import check_task_ids
from skmeta._checks.values import is_missing, show


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

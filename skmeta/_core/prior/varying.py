"""Which columns may have slopes of each task's own, as the rows say."""

import numpy as np

# Values of a column that differ by less than so many rounding errors are equal.
EQUAL = 64


def varies_within_tasks(table, rounding):
    """Which columns (d,) have different values in the rows of some task.

    A task of one row does not count. If no task has two rows, all columns are said to
    vary, because nothing is known of them.

    Parameters
    ----------
    table : TaskTable
        Rows with standardised columns.
    rounding : ndarray of shape (d,)
        The rounding error of each column.
    """
    varies = np.zeros(table.X.shape[1], dtype=bool)
    several = np.flatnonzero(table.sizes > 1)
    if len(several) == 0:
        return ~varies
    for task in several:
        X = table.X[slice(table.starts[task], table.starts[task + 1])]
        X = X.toarray() if hasattr(X, "toarray") else X
        varies |= np.ptp(X, axis=0) > EQUAL * rounding
        if varies.all():
            break
    return varies


def is_constant(table, rounding):
    """Which columns (d,) have one value in all rows."""
    low, high = np.full((2, table.X.shape[1]), np.nan)
    for start, end in zip(table.starts[:-1], table.starts[1:], strict=True):
        X = table.X[slice(start, end)]
        X = X.toarray() if hasattr(X, "toarray") else X
        low, high = np.fmin(low, X.min(axis=0)), np.fmax(high, X.max(axis=0))
    return high - low <= EQUAL * rounding

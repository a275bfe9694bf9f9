"""Which columns may have slopes of each task's own, as the rows say."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core.prior.summed import SummedTable

# Values of a column that differ by less than so many rounding errors are equal.
EQUAL = 64
# The rows of about this many tasks are looked at together.
TASKS_AT_A_TIME = 256


def columns_that_vary(table, design):
    """Which columns (d,) have slopes that can be seen to differ between tasks.

    These are the columns that vary within tasks. Without an intercept, a column of ones
    takes its place. If nothing would be left that differs, every column may vary.

    Parameters
    ----------
    table : TaskTable
        Rows with standardised columns.
    design : Design
    """
    varying = varies_within_tasks(table, design.x_rounding)
    if not design.fit_intercept:
        varying |= is_constant(table, design.x_rounding)
        if not varying.any():
            return ~varying
    return varying


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
    if table.sizes.max() == 1:
        return ~varies
    if isinstance(table, SummedTable):
        return table.varies_within_tasks(EQUAL * rounding)
    for low, high in _ends(table):
        varies |= (high - low > EQUAL * rounding).any(axis=0)
        if varies.all():
            break
    return varies


def is_constant(table, rounding):
    """Which columns (d,) have one value in all rows."""
    if isinstance(table, SummedTable):
        return table.is_constant(EQUAL * rounding)
    low, high = np.full((2, table.X.shape[1]), np.nan)
    for lows, highs in _ends(table):
        low, high = np.fmin(low, lows.min(axis=0)), np.fmax(high, highs.max(axis=0))
    return high - low <= EQUAL * rounding


def _ends(table):
    """Least and greatest values (T, d) within tasks, for some tasks at a time."""
    for some in gen_batches(table.n_tasks, TASKS_AT_A_TIME):
        starts = table.starts[some]
        X = table.X[starts[0] : table.starts[some.stop]]
        X = X.toarray() if hasattr(X, "toarray") else X
        starts = starts - starts[0]
        yield np.minimum.reduceat(X, starts), np.maximum.reduceat(X, starts)

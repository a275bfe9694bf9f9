"""A hint where rows seem to be in order of time, and are drawn at random all the same.

A column that rises from row to row within nearly all tasks is rarely there by chance:
it is the date, the week or the number of the visit. Then the score of a model on rows
drawn at random tells how well it fills gaps, and not how well it forecasts.
"""

from contextvars import ContextVar
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import gammaln
from sklearn.utils import _safe_indexing

from skmeta._checks.block import holding
from skmeta._checks.values import show
from skmeta._warn import warn_once_per_search
from skmeta.exceptions import RowOrderWarning

# A column is looked at if it rises within so large a part of the tasks, of those that
# have at least so many rows.
NEARLY_ALL = 0.9
MIN_ROWS = 3
# A table sorted by a category or by a dummy is not in order of time for that: a column
# has at least so many values in a task, each on average at most in so many rows (of a
# column of few values that are no dates).
MIN_VALUES = 3
MOST_ROWS_PER_VALUE = 2
MANY_VALUES = 6
# Rows in random order are rarer than this in the same order, for any column.
CHANCE = 1e-12
# Most columns are ruled out by the first tasks.
FIRST_TASKS = 20


class Rising(NamedTuple):
    """A column that rises within nearly all tasks.

    Attributes
    ----------
    name : str or int
    share : float
        Part of the tasks in which it rises.
    n_tasks : int
        Tasks that have enough rows.
    """

    name: object
    share: float
    n_tasks: int


_hinted = ContextVar("row_order_is_known", default=False)


def row_order_is_known():
    """Within this block the user has had the hint, or wants random rows."""
    return holding(_hinted)


def hint_at_order(X, codes, consequence, names=None):
    """Warn if a column of X (n_rows, n_features) rises within nearly all tasks.

    ``codes`` (n_rows,) number the tasks, and ``consequence`` says what is drawn at
    random, and what to do. ``names`` are those of the columns if X has none. A column
    that falls means that the newest rows come first.
    """
    if _hinted.get():
        return
    found = rising_column(X, codes)
    if found is not None:
        _warn_of(found, names, f"rises{_AS_IF} were in order of time. {consequence}")
        return
    found = rising_column(X, codes, falling=True)
    if found is not None:
        first = "came newest first"
        _warn_of(found, names, f"falls{_AS_IF} {first}. {consequence} {_SORT}")


def hint_at_newest_first(X, codes, names=None):
    """Warn if rows that are taken to be in order of time seem to be in reverse."""
    if _hinted.get() or rising_column(X, codes) is not None:
        return
    found = rising_column(X, codes, falling=True)
    if found is not None:
        _warn_of(found, names, f"falls{_AS_IF} came newest first. {_REVERSED}")


def hint_at_base_in_time():
    """Warn that a base model was not judged on rows later than its own."""
    if not _hinted.get():
        warn_once_per_search(BASE_IN_TIME, RowOrderWarning)


BASE_IN_TIME = (
    "The rows are in order of time, but base_estimator is judged on other tasks at the "
    "same times. If tasks share a calendar (the same weeks of all shops), forecasts of "
    "rows later than all those of fit are worse than scores on held-out tasks tell, "
    "and intervals are too narrow. Measure the model on the last known rows of the "
    "tasks, after a fit without them, or set base_estimator=None. If tasks share no "
    "calendar, ignore this RowOrderWarning."
)
_AS_IF = " from row to row within {}, as if their rows"
_SORT = "Then sort the rows by time before."
_REVERSED = (
    "In order of time the oldest row of a task is the first, so that the past would be "
    "forecast from the future. Sort the rows by time; if this column is no time, "
    "ignore this RowOrderWarning."
)


def _warn_of(found, names, what):
    name = found.name if names is None else names[found.name]
    tasks = f"{100 * found.share:.0f} % of {found.n_tasks} tasks"
    message = f"Column {show(name)} {what.replace('{}', tasks)}"
    warn_once_per_search(message, RowOrderWarning)


def rising_column(X, codes, falling=False):
    """The `Rising` column of a table, or None; ``codes`` (n_rows,) number the tasks.

    With ``falling`` it is one that falls: it rises if the rows are read backwards.
    """
    sizes = np.bincount(codes)
    long = np.flatnonzero(sizes >= MIN_ROWS)
    X = _readable(X)
    if len(long) < 2 or X is None:
        return None
    wanted = np.zeros(len(sizes), dtype=bool)
    wanted[long[:FIRST_TASKS]] = True
    first = np.flatnonzero(wanted[codes])
    read = slice(None, None, -1 if falling else 1)
    candidates = [
        name
        for name, column in _columns(_safe_indexing(X, first))
        if _share_rising(column[read], codes[first][read])[0] >= NEARLY_ALL
    ]
    if not candidates:
        return None
    wanted[long] = True
    rows = np.flatnonzero(wanted[codes])
    limit = np.log(CHANCE / max(1, X.shape[1]))
    for name, column in _columns(X, candidates):
        share, log_chance = _share_rising(column[rows][read], codes[rows][read])
        if share >= NEARLY_ALL and log_chance < limit:
            return Rising(name, share, len(long))
    return None


def _readable(X):
    """A table as a DataFrame, a sparse matrix or an array; None if it is none."""
    if sparse.issparse(X) or _is_frame(X):
        return X
    try:
        X = np.asarray(X)
    except ValueError:  # what is wrong with it is said elsewhere
        return None
    return X if X.ndim == 2 else None


def _is_frame(X):
    return hasattr(X, "iloc") and hasattr(X, "dtypes")


def _columns(X, names=None):
    """Names and values (n,) of the columns that hold numbers or dates."""
    if _is_frame(X):
        for name in X.columns if names is None else names:
            kind = getattr(X[name].dtype, "kind", "O")
            if X.columns.is_unique and kind in "iufmM":
                yield name, np.asarray(X[name].to_numpy())
        return
    if sparse.issparse(X):
        X = X.tocsc()
        # a column of dates or weeks has few zeros
        full = np.flatnonzero(np.diff(X.indptr) > X.shape[0] // 2)
        for j in full if names is None else names:
            yield j, X[:, [j]].toarray().ravel()
        return
    if X.dtype.kind in "iufmM":
        for j in range(X.shape[1]) if names is None else names:
            yield j, X[:, j]


def _share_rising(column, codes):
    """Part of the tasks in which a column rises, and the log of the chance of that.

    It rises if no value is less than the one before, and if it does so often enough
    for a time (see ``MIN_VALUES``). The chance is that of shuffled rows, with ties
    between equal values.
    """
    order = np.argsort(codes, kind="stable")
    codes, column = codes[order], column[order]
    _, begins, sizes = np.unique(codes, return_index=True, return_counts=True)
    inside = np.ones(len(codes), dtype=bool)
    inside[begins] = False  # the first row of a task follows none
    with np.errstate(invalid="ignore"):
        falls = inside & ~(column >= np.roll(column, 1))  # also if a value is missing
        new = ~inside | (column != np.roll(column, 1))
    task = np.repeat(np.arange(len(sizes)), sizes)
    n_values = np.bincount(task[new], minlength=len(sizes))
    often = (MOST_ROWS_PER_VALUE * n_values >= sizes) | (n_values >= MANY_VALUES)
    often |= column.dtype.kind in "mM"
    rises = (np.bincount(task, falls, len(sizes)) == 0) & often
    rises &= n_values >= MIN_VALUES
    # the number of orders of a task is n!, and ties leave the product of theirs alike
    runs = np.diff(np.append(np.flatnonzero(new), len(codes)))
    ties = np.bincount(task[new], gammaln(runs + 1.0), len(sizes))
    chance = np.where(rises, ties - gammaln(sizes + 1.0), 0.0)
    return rises.mean(), chance.sum()

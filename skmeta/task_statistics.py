"""What tasks tell of a linear model, as sums that can be added up."""

from functools import cached_property
from numbers import Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.values import as_object_array, is_missing, kinds_of, show
from skmeta._core.prior.statistics import (
    ImpossibleRemoval,
    Sums,
    check_possible,
    merged,
    no_sums,
    removed,
    scaled,
    sums_of,
)
from skmeta._statistics_sql import (
    LEAST_WEIGHT,
    ROWS,
    WEIGHT,
    names_of_statistics,
    statistics_query,
)
from skmeta._targets import Numbers
from skmeta._task_input import read_training_rows, warn_of_far_values

__all__ = ["TaskStatistics", "statistics_query"]

# Squares of columns that vary by less than this would vanish.
SMALLEST_RANGE = 1e-140
# A weight of a row is at most this, as in `EmpiricalBayesRegressor`.
LARGEST_WEIGHT = 1e12
# The name of the column of ids that `to_frame` writes.
TASK = "task"


class TaskStatistics:
    """What the rows of tasks tell of a linear model, as sums that can be added up.

    For each task these are the number of rows, the sum of their weights, the means of
    the columns of X and of y, and the sums of their products about these means. An
    :class:`EmpiricalBayesRegressor` learns from them, and adapts to them, as it does
    from the rows. There are as many numbers for a task of ten rows as for one of a
    million: 448 bytes with 8 columns. So rows can be summed where they are, such as in
    a database or in many processes, and the sums put together.

    Make them by :meth:`from_rows`, or by :meth:`from_frame` from the result of an SQL
    query. Objects are never changed; each method returns a new one.

    Attributes
    ----------
    ids : ndarray of shape (n_tasks,)
        The ids of the tasks.
    n_rows : ndarray of int of shape (n_tasks,)
        Numbers of rows of positive weight.
    weight : ndarray of shape (n_tasks,)
        Sums of the weights of the rows.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str of shape (``n_features_in_``,)
        Names of the columns, if X had names.

    See Also
    --------
    statistics_query : The SQL that computes such sums in a database.
    EmpiricalBayesRegressor.meta_fit : Learns from them.

    Notes
    -----
    Sums are kept about the means of each task (Chan, Golub & LeVeque, 1983), so that a
    column far from zero loses no digits. ``a + b`` puts tasks together: those with the
    same id have the rows of both. The result does not depend on order or grouping,
    except by rounding. ``sum`` adds up a list. ``a - b`` takes rows away, as if they
    had never been there; an error names a task that cannot have had them. That is
    checked as far as sums can tell: other rows that could have been there are not
    noticed.

    Sums serve the Gaussian model of numbers: regressors without base model and without
    learned features. Labels and counts need their rows.

    Sums are not anonymous. Those of a task with few rows reveal these rows, and the
    mean of one row is the row. A prior that was learned with a task still holds what it
    told; to forget it, subtract its sums and learn again.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for Computing the Sample
    Variance: Analysis and Recommendations", The American Statistician 37(3), 1983.

    Examples
    --------
    >>> import numpy as np
    >>> from skmeta import EmpiricalBayesRegressor, TaskStatistics
    >>> from skmeta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(60, random_state=0)
    >>> parts = [
    ...     TaskStatistics.from_rows(X, y, np.full(len(y), number))
    ...     for number, (X, y) in enumerate(tasks)
    ... ]
    >>> total = sum(parts)
    >>> total
    TaskStatistics(n_tasks=60, n_rows=1200, n_features=5)
    >>> model = EmpiricalBayesRegressor(random_state=0).meta_fit(total)
    >>> model.adapt(total.select([7])).n_adapt_rows_
    20
    """

    def __init__(self):
        raise TypeError(
            "Make statistics by TaskStatistics.from_rows(X, y, task), or by "
            "TaskStatistics.from_frame(frame)."
        )

    @classmethod
    def _of(cls, ids, sums, names):
        """From ids (T,), each of them once, `Sums`, and names of columns or None."""
        made = object.__new__(cls)
        made.ids, made._sums = ids, sums
        made.n_features_in_ = sums.n_columns - 1
        if names is not None:
            made.feature_names_in_ = names
        return made

    # -- made of ----------------------------------------------------------------------

    @classmethod
    def from_rows(cls, X, y, task, sample_weight=None):
        """Sum the rows of tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows of one or many tasks, in any order.
        y : array-like of shape (n_samples,)
            Their targets, which are numbers.
        task : array-like of shape (n_samples,)
            Which task each row belongs to: the same ids that ``fit`` takes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. A weight of 0 removes the row.

        Returns
        -------
        statistics : TaskStatistics
            The sums of each task.
        """
        check_aligned(X=X, y=y, sample_weight=sample_weight, task=task)
        if task is None:
            raise ValueError(
                "task is None; pass the ids of the tasks, one per row of X. If all "
                "rows are of one task, pass its id for each: task=np.full(len(y), 0)."
            )
        reader = _Reader()
        rows = read_training_rows(reader, X, y, sample_weight, task, reset=True)
        warn_of_far_values(reader, rows, named=True)
        names = getattr(reader, "feature_names_in_", None)
        _check_range(rows, names)
        sums = _sums_of_rows(rows)
        return cls._of(rows.ids, sums, names)._without_empty()

    @classmethod
    def from_frame(cls, frame, *, task=None):
        """Read sums that a database has computed, or that :meth:`to_frame` wrote.

        The columns are the id of the task, ``n_rows``, ``weight``, ``mean_`` and the
        name of each column of X, and last of y, and ``scatter_`` with the names of two
        columns: sums of products about the means. :func:`statistics_query` writes the
        query that computes them.

        Parameters
        ----------
        frame : dataframe or dict of {str: array-like}
            A table of pandas or polars, or its columns in order. An id may be there
            several times, as when parts of the rows were summed apart.
        task : str, default=None
            Name of the column of ids. By default it is the only other column.

        Returns
        -------
        statistics : TaskStatistics
            The sums of each task.
        """
        table = {name: frame[name] for name in _columns_of(frame)}
        _check_least_weight(table.pop(LEAST_WEIGHT, ()))
        names = [name.removeprefix("mean_") for name in table if _is_mean(name)]
        task = _name_of_ids(table, task)
        if len(names) < 2:
            raise ValueError(
                "frame has no statistics: it needs a column 'mean_...' for each column "
                f"of X and for y; got the columns {[*table]}. statistics_query writes "
                "the SQL that gives them."
            )
        wanted = names_of_statistics(task, names)
        missing = [name for name in wanted if name not in table]
        if missing:
            raise ValueError(
                f"frame lacks {len(missing)} columns of statistics, such as "
                f"{missing[0]!r}. statistics_query writes the SQL that gives them all."
            )
        ids = np.asarray(table[task])
        if len(ids) == 0:
            raise ValueError("frame has no rows: there is no task to learn from.")
        values = _numbers({name: table[name] for name in wanted[1:]}, ids)
        k = len(names)
        sums = Sums(
            _whole(values[:, 0], ids),
            values[:, 1],
            values[:, 2 : 2 + k],
            values[:, 2 + k :],
        )
        _check_sums(sums, ids, names)
        numbered = [str(i) for i in range(k - 1)] == names[:-1]
        features = None if numbered else as_object_array(names[:-1])
        return cls._of_repeated(ids, sums, features)

    @classmethod
    def _of_repeated(cls, ids, sums, names):
        """The same if an id may be there several times."""
        ids = check_task_ids(ids, len(ids), table="frame")
        codes, unique = group(ids)
        total = no_sums(len(unique), sums.n_columns)
        order = np.argsort(codes, kind="stable")
        first = np.flatnonzero(np.append(True, np.diff(codes[order]) != 0))
        place = np.arange(len(order)) - np.repeat(
            first, np.diff(np.append(first, len(order)))
        )
        for repetition in range(place.max(initial=-1) + 1):
            some = order[place == repetition]
            total = _added(total, codes[some], sums.take(some))
        return cls._of(unique, total, names)

    # -- arithmetic -------------------------------------------------------------------

    def __add__(self, other):
        if not isinstance(other, TaskStatistics):
            return NotImplemented
        names = self._same_columns(other)
        if not len(other):
            return self
        if not len(self):
            return other
        _check_same_kinds(self.ids, other.ids)
        ids = [self.ids, other.ids]
        if ids[0].dtype.kind != ids[1].dtype.kind:  # whole numbers stay whole numbers
            ids = [part.astype(object) for part in ids]
        codes, unique = group(np.concatenate(ids))
        total = no_sums(len(unique), self._sums.n_columns)
        for field, own in zip(total, self._sums, strict=True):
            field[codes[: len(self)]] = own
        return self._of(unique, _added(total, codes[len(self) :], other._sums), names)

    def __radd__(self, other):
        if isinstance(other, Real) and other == 0:  # sum() begins with 0
            return self
        return NotImplemented

    def __sub__(self, other):
        if not isinstance(other, TaskStatistics):
            return NotImplemented
        names = self._same_columns(other)
        places = self._places(other.ids, "cannot be subtracted")
        try:
            left = removed(self._sums.take(places), other._sums)
        except ImpossibleRemoval as error:
            raise ValueError(
                f"Task {show(other.ids[error.task])}: {error.why}. Subtract only rows "
                "that were added, with the same weights."
            ) from None
        total = Sums(*(field.copy() for field in self._sums))
        for field, own in zip(total, left, strict=True):
            field[places] = own
        return self._of(self.ids, total, names)._without_empty()

    def discount(self, factor):
        """Let all rows so far count less.

        Weights and sums are multiplied by the factor, so that rows that are added later
        count more. To subtract discounted rows, discount them by the same factor.

        Parameters
        ----------
        factor : float
            Above 0 and at most 1.

        Returns
        -------
        statistics : TaskStatistics
            The same tasks.
        """
        if not (isinstance(factor, Real) and 0.0 < factor <= 1.0):
            raise ValueError(
                f"factor must be a number above 0 and at most 1; got {show(factor)}. "
                "To leave tasks out, select the others."
            )
        names = getattr(self, "feature_names_in_", None)
        return self._of(self.ids, scaled(self._sums, float(factor)), names)

    def _same_columns(self, other):
        """The names of the columns, if those of both are the same."""
        ours, theirs = (
            list(getattr(one, "feature_names_in_", [])) for one in (self, other)
        )
        if self.n_features_in_ != other.n_features_in_:
            raise ValueError(
                f"These statistics are of {self.n_features_in_} columns and of "
                f"{other.n_features_in_}. Sum the same columns everywhere."
            )
        if ours != theirs:
            ours, theirs = ours or "without names", theirs or "without names"
            raise ValueError(
                f"These statistics are of different columns: {ours} and {theirs}. Sum "
                "the same columns in the same order everywhere."
            )
        return getattr(self, "feature_names_in_", None)

    # -- tasks ------------------------------------------------------------------------

    @property
    def n_rows(self):
        """Numbers of rows of positive weight, (n_tasks,)."""
        return self._sums.n_rows

    @property
    def weight(self):
        """Sums of the weights of the rows, (n_tasks,)."""
        return self._sums.weight

    def select(self, ids):
        """Return the statistics of some of the tasks.

        Parameters
        ----------
        ids : array-like
            Ids of tasks.

        Returns
        -------
        statistics : TaskStatistics
            Those of these tasks.
        """
        if isinstance(ids, str) or not hasattr(ids, "__len__"):
            raise ValueError(
                f"ids must be a list of ids; got {show(ids)}. For one task pass "
                f"[{show(ids)}]."
            )
        ids = as_object_array(ids) if isinstance(ids, list) else np.asarray(ids)
        return self._take(np.unique(self._places(ids, "cannot be selected")))

    def _take(self, places):
        names = getattr(self, "feature_names_in_", None)
        return self._of(self.ids[places], self._sums.take(places), names)

    def _without_empty(self):
        there = self._sums.n_rows > 0
        return self if there.all() else self._take(there)

    def _places(self, ids, verb):
        places = np.array([self._place.get(_key(i), -1) for i in ids], dtype=np.intp)
        if (places < 0).any():
            unknown = ids[int(np.flatnonzero(places < 0)[0])]
            example = f", such as {show(self.ids[0])}" if len(self) else ""
            raise ValueError(
                f"Task {show(unknown)} {verb}: it is not among the {len(self)} tasks "
                f"of these statistics{example}. Check spelling and type of the ids."
            )
        return places

    @cached_property
    def _place(self):
        return {_key(task): place for place, task in enumerate(self.ids)}

    def __len__(self):
        return len(self.ids)

    def __contains__(self, task):
        return _key(task) in self._place

    def __iter__(self):
        return iter(self.ids.tolist() if self.ids.dtype.kind != "M" else self.ids)

    def __repr__(self):
        return (
            f"TaskStatistics(n_tasks={len(self)}, n_rows={int(self.n_rows.sum())}, "
            f"n_features={self.n_features_in_})"
        )

    def __getstate__(self):
        state = vars(self).copy()
        state.pop("_place", None)
        return state

    # -- a table ----------------------------------------------------------------------

    def to_frame(self):
        """Return the columns that :meth:`from_frame` reads.

        Returns
        -------
        frame : dataframe or dict of {str: ndarray}
            A DataFrame if pandas is installed, otherwise its columns in order. Columns
            without names have their numbers.
        """
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            names = map(str, range(self.n_features_in_))
        names = [*names]
        target = next(n for n in ("y", "target", "the target") if n not in names)
        names = names_of_statistics(TASK, [*names, target])
        n_rows, weight, mean, scatter = self._sums
        values = [self.ids, n_rows, weight, *mean.T, *scatter.T]
        table = dict(zip(names, values, strict=True))
        try:
            import pandas as pd
        except ImportError:
            return table
        return pd.DataFrame(table)


class _Reader(BaseEstimator):
    """Reads rows as an estimator of numbers does; errors name the statistics."""

    _targets = Numbers()
    _fit_dtypes = (np.float64, np.float32)
    _largest_weight = LARGEST_WEIGHT

    def _parameter(self, name):
        """Statistics are of the rows as they are."""
        return None


_Reader.__name__ = "TaskStatistics"


def _key(task):
    """An id by which it is found, whatever type of NumPy it has."""
    try:
        hash(task)
    except TypeError:
        return ()
    return (
        task.item()
        if isinstance(task, np.generic) and task.dtype.kind not in "mM"
        else task
    )


def _check_same_kinds(ids, others):
    here, there = kinds_of(ids), kinds_of(others)
    if here.keys() != there.keys():
        ours, theirs = (
            " and ".join(f"{kind} such as {show(i)}" for kind, i in kinds.items())
            for kinds in (here, there)
        )
        raise ValueError(
            f"The ids of tasks are of different kinds: {ours}, and {theirs}. These are "
            "never equal, so that a task would be cut in two. Give all the same type."
        )


# -- from rows ------------------------------------------------------------------------


def _sums_of_rows(rows):
    """The `Sums` of each task of `GivenRows`, whose rows are sorted block by block."""
    X, y, weight, codes, ids = rows
    order = None
    if (codes[1:] < codes[:-1]).any():
        order = np.argsort(codes, kind="stable")
        weight = weight[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(ids)))])

    def of(some):
        some = some if order is None else order[some]
        table = X[some]
        table = table.toarray() if sparse.issparse(table) else table
        return np.column_stack([table, y[some]])

    return sums_of(of, weight, starts)


def _check_range(rows, names):
    """Refuse columns that vary so little that their squares would vanish."""
    for table, name in ((rows.X, "X"), (rows.y[:, None], "y")):
        low, high = table.min(axis=0), table.max(axis=0)
        if sparse.issparse(low):
            low, high = low.toarray().ravel(), high.toarray().ravel()
        span = (high - low).astype(np.float64)
        tiny = np.flatnonzero((span > 0) & (span < SMALLEST_RANGE))
        if len(tiny):
            column = int(tiny[0])
            where = name
            if name == "X":
                where = (
                    f"Column {show(column if names is None else names[column])} of X"
                )
            raise ValueError(
                f"{where} varies by only {span[column]:.3g}, and squares of such "
                "numbers are zero. Change the unit."
            )


def _added(total, places, sums):
    """The `Sums` of all tasks, with those of some of them added. No place is twice."""
    some = merged(total.take(places), sums)
    for field, own in zip(total, some, strict=True):
        field[places] = own
    return total


# -- from a frame ---------------------------------------------------------------------


def _columns_of(frame):
    if isinstance(frame, dict):
        return [*frame]
    if not hasattr(frame, "columns"):
        raise TypeError(
            "frame must be a DataFrame of pandas or polars, or a dict of columns; got "
            f"{type(frame).__name__}. For rows call TaskStatistics.from_rows."
        )
    return [*frame.columns]


def _is_mean(name):
    return isinstance(name, str) and name.startswith("mean_")


def _name_of_ids(table, task):
    if task is not None:
        if task not in table:
            raise ValueError(
                f"frame has no column {task!r}; its columns are {[*table]}."
            )
        return task
    others = [
        name
        for name in table
        if not (isinstance(name, str) and name.startswith(("mean_", "scatter_")))
        and name not in (ROWS, WEIGHT)
    ]
    if len(others) != 1:
        raise ValueError(
            "frame must have one column of ids besides those of statistics; got "
            f"{others}. Name it: from_frame(frame, task='shop')."
        )
    return others[0]


def _numbers(columns, ids):
    """The columns (T, c) as finite numbers."""
    values = np.empty((len(ids), len(columns)))
    for place, (name, column) in enumerate(columns.items()):
        cells = np.asarray(column)
        if cells.shape != (len(ids),):
            raise ValueError(
                f"Column {name!r} of frame has shape {cells.shape}, and there are "
                f"{len(ids)} ids."
            )
        missing = is_missing(cells)
        if missing.any():
            _refuse_value(name, "no value, or NaN", ids[int(missing.argmax())])
        try:
            values[:, place] = cells.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"Column {name!r} of frame holds {show(cells[0])}; statistics are "
                "numbers."
            ) from None
        bad = ~np.isfinite(values[:, place])
        if bad.any():
            _refuse_value(name, "infinity", ids[int(bad.argmax())])
    return values


def _refuse_value(name, value, task):
    raise ValueError(
        f"Column {name!r} of frame holds {value} for task {show(task)}. Leave out rows "
        "with missing or infinite values before they are summed."
    )


def _whole(n_rows, ids):
    whole = np.rint(n_rows)
    bad = (whole != n_rows) | (n_rows < 1)
    if bad.any():
        task = int(bad.argmax())
        raise ValueError(
            f"Task {show(ids[task])} has n_rows={n_rows[task]:.6g}; it must be a whole "
            "number from 1 on."
        )
    return whole.astype(np.int64)


def _check_least_weight(column):
    least = np.asarray(column, dtype=np.float64)
    if len(least) and not least.min() > 0:
        raise ValueError(
            f"A row has the weight {least.min():.6g}. Weights must not be negative."
        )


def _check_sums(sums, ids, names):
    bad = sums.weight <= 0
    if bad.any():
        task = int(bad.argmax())
        raise ValueError(
            f"Task {show(ids[task])} has weight={sums.weight[task]:.6g}; a sum of "
            "weights must be positive."
        )
    k = sums.n_columns
    squares = sums.scatter[:, np.cumsum(np.arange(1, k + 1)) - 1]
    bad = squares < 0
    if bad.any():
        task, column = (int(i[0]) for i in np.nonzero(bad))
        raise ValueError(
            f"Task {show(ids[task])} has a sum of squares of {names[column]!r} below "
            f"zero: {squares[task, column]:.6g}. Sums are about the mean of the task: "
            "SUM((x - mean) * (x - mean))."
        )
    try:
        check_possible(sums)
    except ImpossibleRemoval as error:
        raise ValueError(
            f"Task {show(ids[error.task])} has sums of products that no rows can have. "
            "Sums are about the mean of the task: SUM((x - mean_x) * (y - mean_y))."
        ) from None

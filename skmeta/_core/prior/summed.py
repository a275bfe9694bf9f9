"""Tasks of which only the sums of their rows are known: see `statistics`."""

from dataclasses import dataclass

import numpy as np

from skmeta._core.canonical import permutation, row_ranks
from skmeta._core.prior.statistics import Sums, diagonal, triangles
from skmeta._core.scaling import Scaling, is_constant
from skmeta._core.tasks import Parts

# Numbers of tasks that differ by less than this share of the spread of all tasks are
# equal up to rounding.
ALIKE = 2.0**-26


# -- units ----------------------------------------------------------------------------


def scaling_of(sums):
    """The `Scaling` of the rows [X, y] behind `Sums`: that of `fit_scaling`."""
    share = sums.weight / sums.weight.max()  # the sum of large weights could overflow
    share /= share.sum()
    first = sums.mean[0]
    mean = first + share @ (sums.mean - first)
    squares = sums.scatter[:, diagonal(sums.n_columns)] / sums.weight[:, None]
    deviation = np.sqrt(share @ (squares + (sums.mean - mean) ** 2))
    constant = is_constant(mean, deviation, sums.n_rows.sum(), mean.dtype)
    mean = np.where(constant, first, mean)
    deviation = np.where(constant, 0.0, deviation)
    size = np.where(mean != 0, np.abs(mean), 1.0)
    return Scaling(
        mean[:-1],
        np.where(deviation > 0, deviation, size)[:-1],
        float(mean[-1]),
        float(deviation[-1]) or 1.0,
    )


def standardised(sums, scaling):
    """The `Sums` of standardised rows [X, y]."""
    centre = np.append(scaling.x_mean, scaling.y_mean)
    scale = np.append(scaling.x_scale, scaling.y_scale)
    rows, columns = np.tril_indices(sums.n_columns)
    return sums._replace(
        mean=(sums.mean - centre) / scale,
        scatter=sums.scatter / scale[rows] / scale[columns],
    )


# -- the order of tasks ---------------------------------------------------------------


def order_of_tasks(of_target, of_all):
    """Numbers of tasks in an order that depends on nothing but what their rows tell.

    It is the same for rows and for their sums. Tasks are compared by their targets,
    and those alike by all else, and then they are shuffled, always in the same way.

    Parameters
    ----------
    of_target : Sums
        Of one column.
    of_all : callable
        Gives the `Sums` of all columns for some tasks.
    """
    n = of_target.n_tasks
    rank = row_ranks(_comparable(of_target), np.zeros(n))
    tied = np.flatnonzero(np.bincount(rank, minlength=n)[rank] > 1)
    if len(tied):
        among = row_ranks(_comparable(of_all(tied)), rank[tied])
        rank = rank * np.int64(n)
        rank[tied] += among
    return np.argsort(rank, kind="stable")[permutation(n)]


def _comparable(sums):
    """Whole numbers (T, c) that are the same for sums which differ by rounding."""
    weight = sums.weight / sums.weight.mean()
    scale = scaling_of(sums)
    scale = np.append(scale.x_scale, scale.y_scale)
    first = sums.mean[0]
    mean = (sums.mean - (first + (sums.mean - first).mean(axis=0))) / scale
    rows, columns = np.tril_indices(sums.n_columns)
    scatter = sums.scatter / scale[rows] / scale[columns] / sums.weight[:, None]
    values = np.column_stack([mean[:, ::-1], scatter[:, ::-1], weight, sums.n_rows])
    return np.rint(values / ALIKE)


# -- instead of rows ------------------------------------------------------------------


@dataclass(frozen=True)
class SummedTable:
    """What stands in the place of a `TaskTable`: standardised `Sums` of [X, y].

    ``X``, ``Y`` and ``weight`` have the shapes of those of rows. The numbers in X and Y
    are NaN, and each weight is the mean.
    """

    sums: Sums

    @property
    def n_tasks(self):
        return self.sums.n_tasks

    @property
    def sizes(self):
        return self.sums.n_rows

    @property
    def _n(self):
        return int(self.sums.n_rows.sum())

    @property
    def X(self):
        return np.broadcast_to(np.nan, (self._n, self.sums.n_columns - 1))

    @property
    def Y(self):
        return np.broadcast_to(np.nan, (self._n, 1))

    @property
    def weight(self):
        return np.broadcast_to(self.sums.weight.sum() / self._n, self._n)

    def parts(self, design):
        """What stands in the place of `Parts`."""
        return SummedParts(self, design)

    def varies_within_tasks(self, least):
        """Which columns of X (d,) vary by more than this (d,) in some task."""
        several = self.sums.n_rows > 1
        squares = self.sums.scatter[several][:, diagonal(self.sums.n_columns)[:-1]]
        squares = squares / self.sums.weight[several, None]
        return (2.0 * np.sqrt(np.maximum(squares, 0.0)) > least).any(axis=0)

    def is_constant(self, least):
        """Which columns of X (d,) vary in all rows by no more than this (d,)."""
        span = np.ptp(self.sums.mean[:, :-1], axis=0)
        return ~self.varies_within_tasks(least) & (span <= least)


class SummedParts(Parts):
    """Rows (X, Y, weight, offset) of tasks that have the sums which are known.

    X has the columns of the design. These are the rows of a triangle, so they are not
    the rows of the task: a sum over them is right, and a single one means nothing.
    ``sizes`` are the numbers of the rows that were summed, of which there are at least
    as many.
    """

    def __init__(self, table, design, tasks=None):
        # the rows have the columns of the design already
        super().__init__(table, np.asarray, tasks)
        self._made_for = design

    def __getitem__(self, number):
        X, y, _, weight = self.stacked(np.atleast_1d(number))
        # each row has the same share of the weight
        weight = np.full(len(y[0]), weight[0] / len(y[0]))
        root, Y = np.sqrt(weight)[:, None], y[0][:, None]
        return X[0] / root, Y / root, weight, np.zeros_like(Y)

    @property
    def n_columns(self):
        return self._made_for.n_columns

    @property
    def lengths(self):
        return np.minimum(self.sizes, self._table.sums.n_columns + 1)

    def stacked(self, numbers):
        sums = self._table.sums.take(self._tasks[numbers])
        rows = told_rows(sums, self._made_for.fit_intercept)
        rows = _largest(rows, min(rows.shape[1], int(sums.n_rows.max())))
        X, y = rows[..., :-1], rows[..., -1]
        return X, y, np.ones(y.shape), sums.weight

    def take(self, numbers):
        return SummedParts(self._table, self._made_for, self._tasks[numbers])

    def undesigned(self):
        return self


def told_rows(sums, fit_intercept):
    """Rows (T, n, P + 1) of [columns of the design, y] that have such `Sums`.

    They are times the root of their weights.
    """
    R = triangles(sums)
    if not fit_intercept:
        return R[..., 1:]
    return np.concatenate([R[..., 1:-1], R[..., :1], R[..., -1:]], axis=2)


def _largest(rows, n):
    """The n largest rows of each task, in order.

    No task has more rows than these that are not zero, or left by rounding.
    """
    if n == rows.shape[1]:
        return rows
    size = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    share = np.abs(rows / np.where(size > 0, size, 1.0)).max(axis=2)
    largest = np.argsort(-share, axis=1, kind="stable")
    largest = np.sort(largest[:, :n], axis=1)
    return np.take_along_axis(rows, largest[..., None], axis=1)

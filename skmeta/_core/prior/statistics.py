r"""What a task tells of a linear model with Gaussian noise, as sums over its rows.

The columns Z = [X, y] of a task have weights w. Their sums are kept about their own
mean, so that a large offset of a column loses no digits:

    W = sum w,    m = sum w z / W,    S = sum w (z - m)(z - m)'.

Two sets of rows a and b together have, with d = m_b - m_a (Chan, Golub & LeVeque,
1983),

    W = W_a + W_b,    m = m_a + W_b / W d,    S = S_a + S_b + W_a W_b / W d d'.

To take away the rows b from all rows a is the same backwards. S is symmetric, and its
lower triangle is kept row by row: S_11, S_21, S_22, S_31 ...
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.tasks import slices

EPS = np.finfo(np.float64).eps
# So many rows are summed at a time, so that their columns stay in the cache. The rows
# of a longer task are summed in pieces.
BLOCK_ROWS = 2**12
# About this many numbers of tasks are worked on at a time.
BLOCK_CELLS = 2**16
# A sum of products is off by at most so many rounding errors of its size, ...
OFF = 64.0
# ... and a mean by so many of its size.
MEAN_OFF = 8.0
# A pivot above this share of its column's sum of squares is more than rounding.
CLEAR = 1e-7
# Products that are set to zero are less than this share of their columns' sizes.
NEGLIGIBLE = 1e-10
# Rows of a triangle are zero if they are this small in units of their columns' sizes.
TINY = 1e-12
# Errors are so much smaller than the square of the size in which they are looked at.
FAR_ABOVE = 1e8
# More than what may be left by rounding, times this, is no rounding.
NO_ROUNDING = 16.0


class Sums(NamedTuple):
    """Sums over the rows of T tasks, of k columns."""

    n_rows: np.ndarray  # (T,) of int, numbers of rows of positive weight
    weight: np.ndarray  # (T,) sums of the weights
    mean: np.ndarray  # (T, k) weighted means; zero for a task without rows
    scatter: np.ndarray  # (T, k (k + 1) / 2) about the means, packed lower triangle

    @property
    def n_tasks(self):
        return len(self.weight)

    @property
    def n_columns(self):
        return self.mean.shape[1]

    def target(self):
        """The `Sums` of the last column alone."""
        return self._replace(mean=self.mean[:, -1:], scatter=self.scatter[:, -1:])

    def take(self, tasks):
        """The `Sums` of some of the tasks: a slice, a mask or numbers."""
        return Sums(*(field[tasks] for field in self))


class ImpossibleRemoval(ValueError):
    """Rows were to be taken away that cannot have been there.

    ``task`` is the place of the first such task, and ``why`` says what is wrong in it.
    """

    def __init__(self, task, why):
        super().__init__(f"Task number {task}: {why}")
        self.task, self.why = task, why


def no_sums(n_tasks, n_columns):
    """The `Sums` of tasks without rows."""
    return Sums(
        np.zeros(n_tasks, dtype=np.int64),
        np.zeros(n_tasks),
        np.zeros((n_tasks, n_columns)),
        np.zeros((n_tasks, n_columns * (n_columns + 1) // 2)),
    )


def joined(parts):
    """The `Sums` of the tasks of several, one after the other."""
    return Sums(*map(np.concatenate, zip(*parts, strict=True)))


# -- from rows ------------------------------------------------------------------------


def sums_of(Z, weight, starts):
    """The `Sums` of the rows of tasks.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, k), or callable
        Rows sorted by task. A function is given a slice of row numbers and returns
        these rows, so that there need be no copy of all.
    weight : ndarray of shape (n_rows,)
        Not negative.
    starts : ndarray of int of shape (n_tasks + 1,)
        The rows of task t are ``starts[t]:starts[t + 1]``; a task may have none.
    """
    starts = np.asarray(starts)
    rows = Z if callable(Z) else Z.__getitem__
    k = rows(slice(0, 0)).shape[1]
    sums = no_sums(len(starts) - 1, k)
    for tasks in _blocks_of_tasks(starts):
        first, last = starts[tasks.start], starts[tasks.stop]
        if last - first <= BLOCK_ROWS:
            _sum_block(
                rows(slice(first, last)), weight[first:last], starts, tasks, sums
            )
            continue
        # this is one long task
        total = no_sums(1, k)
        for some in slices(last - first, BLOCK_ROWS):
            some = slice(first + some.start, first + some.stop)
            part = no_sums(1, k)
            ends = np.array([some.start, some.stop])
            _sum_block(rows(some), weight[some], ends, slice(0, 1), part)
            total = merged(total, part)
        for of_all, of_one in zip(sums, total, strict=True):
            of_all[tasks] = of_one
    return sums


def _blocks_of_tasks(starts):
    """Slices of tasks with at most `BLOCK_ROWS` rows together, or of one task."""
    first, n_tasks = 0, len(starts) - 1
    while first < n_tasks:
        last = np.searchsorted(starts, starts[first] + BLOCK_ROWS, side="right") - 1
        last = min(max(int(last), first + 1), n_tasks)
        yield slice(first, last)
        first = last


def _sum_block(rows, weight, starts, tasks, sums):
    """Write the sums of some tasks, whose rows are these, into ``sums``."""
    bounds = starts[tasks.start : tasks.stop + 1] - starts[tasks.start]
    sizes = np.diff(bounds)
    there = np.flatnonzero(sizes)  # reduceat knows no empty ranges
    if len(there) == 0:
        return
    numbers, first, sizes = tasks.start + there, bounds[there], sizes[there]
    total = np.add.reduceat(weight, first)
    share = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    sums.n_rows[numbers] = np.add.reduceat(weight > 0, first, dtype=np.int64)
    sums.weight[numbers] = total
    # Rows are taken from the first one of their task, so that a column that does not
    # vary in a task has a scatter of exactly zero.
    columns = np.array(rows.T, dtype=np.float64, order="C")
    origin = columns[:, first]
    columns -= np.repeat(origin, sizes, axis=1)
    even = weight.min() == weight.max()
    terms = columns if even else columns * weight
    scale = share * weight[0] if even else share
    mean = np.add.reduceat(terms, first, axis=1) * scale
    columns -= np.repeat(mean, sizes, axis=1)
    sums.mean[numbers] = np.where(total > 0, origin + mean, 0.0).T
    terms = columns * weight
    place, scatter = 0, np.empty((sums.scatter.shape[1], len(there)))
    for i, column in enumerate(columns):
        products = terms[: i + 1] * column
        scatter[place : place + i + 1] = np.add.reduceat(products, first, axis=1)
        place += i + 1
    sums.scatter[numbers] = scatter.T


# -- together, apart, in other units --------------------------------------------------


def merged(a, b):
    """The `Sums` of tasks that have the rows of both."""
    weight = a.weight + b.weight
    share = np.divide(b.weight, weight, out=np.zeros_like(weight), where=weight > 0)
    apart = b.mean - a.mean
    # a task without rows has no mean
    mean = np.where((a.weight > 0)[:, None], a.mean + share[:, None] * apart, b.mean)
    scatter = a.scatter + b.scatter
    _add_squares(scatter, a.weight * share, apart)
    return Sums(a.n_rows + b.n_rows, weight, mean, scatter)


def removed(a, b):
    """The `Sums` of the rows of a without those of b.

    Raises
    ------
    ImpossibleRemoval
        If no rows are left that could have what is left.
    """
    n_rows, weight = a.n_rows - b.n_rows, a.weight - b.weight
    none = (weight <= NO_ROUNDING * EPS * a.weight) & (n_rows <= 0)
    _refuse(n_rows < 0, _MORE_ROWS, b.n_rows, a.n_rows)
    _refuse(~none & ((weight <= 0) | (n_rows == 0)), _MORE_WEIGHT, b.weight, a.weight)
    rest = np.where(none, 1.0, weight)
    apart = a.mean - b.mean
    mean = a.mean + (b.weight / rest)[:, None] * apart
    scatter = a.scatter - b.scatter
    _add_squares(scatter, -a.weight * b.weight / rest, apart)
    _check_none_left(a, b, apart, none)
    mean[none], scatter[none] = 0.0, 0.0
    left = Sums(n_rows, np.where(none, 0.0, weight), mean, scatter)
    off = _off_after_removal(a, b, left, apart)
    check_possible(left, off)
    scatter[n_rows == 1] = 0.0
    _project(left, off)
    return left


_MORE_ROWS = "{0} rows were to be removed, and it has {1}"
_MORE_WEIGHT = "rows of weight {0:.6g} were to be removed, and it has weight {1:.6g}"
_NOT_THERE = (
    "what would be left is impossible: a column would have a negative sum of squares. "
    "These rows are not all among those that it was made of"
)


def _refuse(bad, why, *values):
    if bad.any():
        task = int(np.flatnonzero(bad)[0])
        raise ImpossibleRemoval(task, why.format(*(value[task] for value in values)))


def _check_none_left(a, b, apart, none):
    """If no rows are left, both sums must be the same."""
    off = np.abs(apart) > 1e4 * MEAN_OFF * EPS * (np.abs(a.mean) + _deviation(a))
    size = a.scatter[:, diagonal(a.n_columns)]
    left = np.abs(size - b.scatter[:, diagonal(a.n_columns)])
    # what has been merged and removed before may have left more than rounding
    off |= left > 1e4 * OFF * EPS * (size + a.weight[:, None] * EPS * a.mean**2)
    _refuse(off.any(axis=1) & none, _NOT_THERE)


def _deviation(sums):
    weight = np.maximum(sums.weight, np.finfo(float).tiny)[:, None]
    return np.sqrt(np.maximum(sums.scatter[:, diagonal(sums.n_columns)], 0) / weight)


def _off_after_removal(a, b, left, apart):
    """Roots (T, k) of how much sums of squares are off after taking b from a."""
    size = MEAN_OFF * EPS * (np.abs(a.mean) + np.abs(b.mean))
    weight = np.where(left.weight > 0, left.weight, 1.0)
    amplified = (a.weight * np.where(b.weight > 0, a.weight / weight, 0.0))[:, None]
    squares = a.scatter[:, diagonal(a.n_columns)]
    return np.sqrt(
        2.0 * OFF * EPS * squares + amplified * size * (2.0 * np.abs(apart) + size)
    )


def check_possible(left, off=None):
    """Raise `ImpossibleRemoval` for a scatter that is negative in some direction.

    ``off`` (T, k) are roots of how much sums of squares may be off; by default as much
    as rounding makes them.
    """
    k = left.n_columns
    if off is None:
        squares = np.maximum(left.scatter[:, diagonal(k)], 0.0)
        rounded = left.weight[:, None] * (MEAN_OFF * EPS * left.mean) ** 2
        off = np.sqrt(OFF * EPS * squares + rounded)
    for some in slices(left.n_tasks, BLOCK_CELLS // (k + 1) ** 2):
        S = np.moveaxis(unpacked(left.scatter[some]), 0, -1).copy()
        error, bad = off[some].T.copy(), np.zeros(S.shape[-1], dtype=bool)
        for j in range(k):
            size = np.maximum(error[j] ** 2, np.finfo(float).tiny)
            bad |= S[j, j] < -NO_ROUNDING * size
            pivot = np.maximum(S[j, j], size)
            row = S[j] / np.sqrt(pivot)
            # an error of this pivot reaches the others by their slopes on this column
            error[j + 1 :] += error[j] / np.sqrt(pivot) * np.abs(row[j + 1 :])
            for i in range(j + 1, k):
                S[i, i:] -= row[i] * row[i:]
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            raise ImpossibleRemoval(some.start + place, _NOT_THERE)


def _project(left, off):
    """Make scatters, in place, what so many rows can have: the nearest such matrices.

    Columns are compared in sizes of which their errors ``off`` (T, k) are small parts.
    """
    k = left.n_columns
    for some in slices(left.n_tasks, BLOCK_CELLS // (k + 1) ** 2):
        number = some.start + np.flatnonzero(_factors(left.take(some))[1])
        if len(number) == 0:
            continue
        part = left.take(number)
        squares = part.scatter[:, diagonal(k)]
        size = np.sqrt(np.maximum(squares, FAR_ABOVE * off[number] ** 2))
        values, vectors, size = _directions(part, size)
        half = vectors * np.sqrt(values)[:, None] * size[:, :, None]
        full = half @ half.swapaxes(1, 2)
        left.scatter[number] = full[:, *np.tril_indices(k)]


def _directions(sums, size, rounding=0.0):
    """Variances (T, k) and directions (T, k, k) of columns divided by sizes (T, k).

    No more are kept than a task has rows less one, unless others are clearly there.
    Where a size is zero, 1 takes its place.
    """
    size = np.where(size > 0, size, 1.0)
    S = unpacked(sums.scatter) / (size[:, :, None] * size[:, None])
    values, vectors = np.linalg.eigh(S)
    number = np.arange(S.shape[1])[::-1]  # the largest one has number 0
    few = number < sums.n_rows[:, None] - 1
    kept = (values > rounding) & (few | (values > CLEAR))
    return np.where(kept, values, 0.0), vectors, size


def scaled(sums, factor):
    """The `Sums` if each row counts ``factor`` times, a number or (T,)."""
    factor = np.broadcast_to(factor, sums.weight.shape)
    return sums._replace(
        weight=sums.weight * factor, scatter=sums.scatter * factor[:, None]
    )


def mapped(sums, A, b):
    """The `Sums` of rows Z A' + b.

    A is (m, k), or (k,) for the diagonal of a matrix, and b is (m,) or a number.
    """
    there = (sums.weight > 0)[:, None]
    if np.ndim(A) == 1:
        rows, columns = np.tril_indices(sums.n_columns)
        mean = np.where(there, sums.mean * A + b, 0.0)
        return sums._replace(mean=mean, scatter=sums.scatter * (A[rows] * A[columns]))
    k, m = sums.n_columns, len(A)
    mean = np.where(there, sums.mean @ A.T + b, 0.0)
    scatter = np.empty((sums.n_tasks, m * (m + 1) // 2))
    rows, columns = np.tril_indices(m)
    for some in slices(sums.n_tasks, BLOCK_CELLS // (k + m) ** 2):
        scatter[some] = (A @ unpacked(sums.scatter[some]) @ A.T)[:, rows, columns]
    return sums._replace(mean=mean, scatter=scatter)


def unpacked(scatter):
    """Symmetric matrices (T, k, k) of packed ones."""
    k = int((2 * scatter.shape[1]) ** 0.5)
    rows, columns = np.tril_indices(k)
    full = np.empty((len(scatter), k, k))
    full[:, rows, columns] = scatter
    full[:, columns, rows] = scatter
    return full


def diagonal(k):
    """The places of the diagonal in a packed triangle."""
    return np.cumsum(np.arange(1, k + 1)) - 1


def _add_squares(scatter, weight, d):
    """Add weight d d' to the packed scatter of each task."""
    place = 0
    for i in range(d.shape[1]):
        some = slice(place, place + i + 1)
        scatter[:, some] += (weight * d[:, i])[:, None] * d[:, : i + 1]
        place += i + 1


# -- triangles ------------------------------------------------------------------------


def triangles(sums):
    """R (T, k + 1, k + 1) of the rows [1, Z] = Q R, times the roots of their weights.

    The first row holds the means. A row is zero where its column is a combination of
    the ones before it, up to rounding. The others have a positive diagonal.
    """
    T, k = sums.mean.shape
    out = np.zeros((T, k + 1, k + 1))
    for some in slices(T, BLOCK_CELLS // (k + 1) ** 2):
        part = sums.take(some)
        root = np.sqrt(part.weight)
        out[some, 0, 0] = root
        out[some, 0, 1:] = root[:, None] * part.mean
        R, doubtful = _factors(part)
        out[some, 1:, 1:] = np.moveaxis(R, -1, 0)
        doubtful = np.flatnonzero(doubtful)
        if len(doubtful):
            careful = _factors_by_directions(part.take(doubtful))
            out[some.start + doubtful, 1:, 1:] = careful
    return out


def _factors(sums):
    """Triangles R (k, k, T) of the scatter R'R, and in which tasks they are doubtful.

    This is Cholesky's factor, a column after the other. A pivot is what the columns
    before it leave of a column's sum of squares. It is zero if all that is left of its
    column is rounding, and after as many clear pivots as a task has rows less one.
    Where a pivot is neither clear nor zero, rounding may make the rest wrong.
    """
    T, k = sums.mean.shape
    S = np.moveaxis(unpacked(sums.scatter), 0, -1).copy()
    squares = np.maximum(S[np.arange(k), np.arange(k)], 0.0)
    # The values themselves are rounded, which is all that varies in a constant column.
    rounded = np.sqrt(sums.weight) * (MEAN_OFF * EPS) * np.abs(sums.mean.T)
    off = np.sqrt(NEGLIGIBLE * squares + rounded**2)
    R, left, doubtful = np.zeros((k, k, T)), sums.n_rows - 1, np.zeros(T, dtype=bool)
    for j in range(k):
        pivot, rest = S[j, j], slice(j + 1, k)
        clear = pivot > np.maximum(CLEAR * squares[j], rounded[j] ** 2)
        clear &= left > 0
        left = left - clear
        # without a row for them, all products that are left must be rounding
        is_rounding = (np.abs(S[j, j:]) <= off[j] * off[j:]).all(axis=0)
        doubtful |= ~(clear | is_rounding)
        root = np.sqrt(np.where(clear, pivot, 1.0))
        row = np.where(clear, S[j, rest] / root, 0.0)
        R[j, j], R[j, rest] = np.where(clear, root, 0.0), row
        for i in range(j + 1, k):
            S[i, i:] -= row[i - j - 1] * row[i - j - 1 :]
    return R, doubtful


def _factors_by_directions(sums):
    """The same triangles (T, k, k) by directions of the scatter: slower, and safe."""
    squares = np.maximum(sums.scatter[:, diagonal(sums.n_columns)], 0.0)
    values, vectors, size = _directions(sums, np.sqrt(squares), OFF * EPS)
    half = (vectors * np.sqrt(values)[:, None]).swapaxes(1, 2)
    R = np.linalg.qr(half, "r")
    sign = np.where(np.diagonal(R, axis1=1, axis2=2) < 0, -1.0, 1.0)
    R = R * sign[:, :, None]
    R[(np.abs(R) < TINY).all(axis=2)] = 0.0
    return R * np.where(squares > 0, size, 0.0)[:, None]

"""Rows of many tasks, sorted by task; draws and padded stacks of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skmeta._core.network import Batch

# The logit of a class that a task does not have.
ABSENT = -1e30
# Ragged tasks are sorted by size into at most this many padded stacks.
MAX_SIZES = 4
# A stack with at most this many rows, padding included, is not cut apart.
LITTLE_ROWS = 2**12
# Tasks that fill at most this many numbers, padding included, stay in one block.
LITTLE_CELLS = 2**16
# A block of tasks has at most this many numbers, so that it stays in the cache.
BLOCK_CELLS = 2**14
# From this many rows on, it pays to check whether they follow one another.
MANY_ROWS = 256
# The smallest normal number, so that nothing is divided by zero.
TINY = np.finfo(float).tiny
# More tasks than this are many.
MANY_TASKS = 2000
# A stack of its own pays only for at least this many tasks.
MIN_CHUNK = 8


@dataclass(frozen=True)
class TaskTable:
    """All rows, sorted by task: those of task t are ``starts[t]:starts[t + 1]``.

    Attributes
    ----------
    X : ndarray or ScaledRows of shape (n_rows, d)
        Sparse rows are made dense only when they are stacked.
    Y : ndarray of shape (n_rows, o)
    weight : ndarray of shape (n_rows,)
        Sample weights, all positive.
    starts : ndarray of int of shape (n_tasks + 1,)
    n_classes : ndarray of int of shape (n_tasks,) or None
        If each task has its own classes: how many of the o columns of Y it uses.
    offset : ndarray of shape (n_rows, o) or None
        A base model's prediction for each row, added to the network's output.
    """

    X: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    starts: np.ndarray
    n_classes: np.ndarray | None = None
    offset: np.ndarray | None = None

    @property
    def n_tasks(self):
        return len(self.starts) - 1

    @cached_property
    def sizes(self):
        """Numbers of rows, (n_tasks,)."""
        return np.diff(self.starts)

    def subset(self, tasks):
        """The table of some of the tasks, an index array."""
        rows = np.concatenate(
            [np.arange(self.starts[t], self.starts[t + 1]) for t in tasks]
        )
        return TaskTable(
            X=self.X[rows],
            Y=self.Y[rows],
            weight=self.weight[rows],
            starts=np.concatenate([[0], np.cumsum(self.sizes[tasks])]),
            n_classes=None if self.n_classes is None else self.n_classes[tasks],
            offset=None if self.offset is None else self.offset[rows],
        )


class Parts:
    """The rows of each task as (X, Y, weight, offset), made on request.

    So there is no second copy of all rows in memory. ``design`` turns the rows of a
    task into the columns of a model.
    """

    def __init__(self, table, design, tasks=None):
        self._table, self.design = table, design
        self._tasks = np.arange(table.n_tasks) if tasks is None else tasks

    def __len__(self):
        return len(self._tasks)

    def __getitem__(self, number):
        table, task = self._table, self._tasks[number]
        rows = slice(table.starts[task], table.starts[task + 1])
        Y = table.Y[rows]
        offset = np.zeros_like(Y) if table.offset is None else table.offset[rows]
        return self.design(table.X[rows]), Y, table.weight[rows], offset

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    @property
    def numbers(self):
        """Numbers of the tasks in their table, (T,)."""
        return self._tasks

    @property
    def sizes(self):
        """Numbers of rows, (T,)."""
        return self._table.sizes[self._tasks]

    @property
    def n_alternatives(self):
        """The largest number of alternatives that a row of each task has, (T,)."""
        table = self._table
        if table.offset is None:
            return np.full(len(self._tasks), table.Y.shape[1])
        here = (table.offset > 0.5 * ABSENT).sum(axis=1)
        return np.maximum.reduceat(here, table.starts[:-1])[self._tasks]

    @property
    def total_weight(self):
        """Sums of the weights of the rows, (T,)."""
        total = np.add.reduceat(self._table.weight, self._table.starts[:-1])
        return total[self._tasks]

    @property
    def n_columns(self):
        """Number of columns of the design."""
        return self.design(self._table.X[:1]).shape[-1]

    @property
    def lengths(self):
        """How many rows `stacked` needs for each task, (T,)."""
        return self.sizes

    def stacked(self, numbers):
        """Rows of some tasks: X (T, n, P), first targets (T, n), roots of weights.

        The roots (T, n) are 0 where a task has fewer rows. Also returns the sums (T,)
        of the weights.
        """
        X, Y, weight, _ = self.padded(numbers)
        return X, Y[..., 0], np.sqrt(weight), weight.sum(axis=1)

    def padded(self, numbers):
        """X (T, n, P), Y, weights and offsets of some tasks, padded with zeros."""
        table, tasks = self._table, self._tasks[numbers]
        rows = Rows.between(table.starts, tasks)
        present, some = rows.present, rows.index.ravel()
        X = self.design(table.X[some])
        Y, offset = table.Y[some], table.offset
        given = [X, Y, table.weight[some], Y if offset is None else offset[some]]
        padded = [part.reshape(*present.shape, *part.shape[1:]) for part in given]
        if not present.all():
            padded = [part * _like(present, part) for part in padded]
        if offset is None:  # one zero stands for all
            padded[3] = np.broadcast_to(0.0, padded[1].shape)
        return padded

    def take(self, numbers):
        """The `Parts` of some of the tasks."""
        return Parts(self._table, self.design, self._tasks[numbers])

    def undesigned(self):
        """The same tasks in the table's own columns."""
        return Parts(self._table, lambda rows: rows, self._tasks)


def _like(present, part):
    return present.reshape(present.shape + (1,) * (part.ndim - present.ndim))


def are_many(parts):
    """Whether tasks are so many that they are gathered side by side, from `Parts`."""
    return isinstance(parts, Parts) and len(parts) > MANY_TASKS


def take_parts(parts, numbers):
    """Some tasks of `Parts`, or of a list of such rows."""
    if isinstance(parts, Parts):
        return parts.take(numbers)
    return [parts[number] for number in numbers]


def sizes_of(parts):
    """Numbers of rows (T,) of `Parts`, or of a list of such rows."""
    if isinstance(parts, Parts):
        return parts.sizes
    return np.array([len(part[1]) for part in parts])


def stack(table, tasks, rows, present):
    """Gather rows of several tasks into one padded `Batch`.

    Parameters
    ----------
    table : TaskTable
    tasks : ndarray of int of shape (T,)
    rows : ndarray of int of shape (T, n)
        Row numbers within each task.
    present : ndarray of bool of shape (T, n) or None
        False where a row is padding. None: no row is.
    """
    index = table.starts[tasks][:, None] + rows
    if present is None or present.all():
        index = _as_slice(index) if index.size >= MANY_ROWS else index
        weight = table.weight[index].reshape(rows.shape)
    else:
        index = np.where(present, index, 0)
        weight = np.where(present, table.weight[index], 0.0)
    total = np.add.reduce(weight, axis=1)
    X = table.X[index if isinstance(index, slice) else index.ravel()]
    X = X.toarray() if hasattr(X, "toarray") else X
    return Batch(
        X=X.reshape(*rows.shape, *X.shape[1:]),
        Y=table.Y[index].reshape(*rows.shape, -1),
        # A task without any row has weight 0, and so neither loss nor gradient.
        weight=(weight / np.maximum(total, TINY)[:, None]).astype(table.Y.dtype),
        total_weight=total,
        offset=_offset(table, tasks, index, rows.shape, present),
    )


def _as_slice(index):
    """The rows as a slice, which avoids a copy, if they follow one another."""
    first, last = index.flat[0], index.flat[-1]
    follow = last - first + 1 == index.size and (np.diff(index.ravel()) == 1).all()
    return slice(first, last + 1) if follow else index


def _offset(table, tasks, index, shape, present):
    """Offset of each row (T, n, o), or of all rows of a task (T, 1, o), or None."""
    offset = None
    if table.offset is not None:
        offset = table.offset[index].reshape(*shape, -1)
        if present is not None:
            offset = np.where(present[..., None], offset, 0.0)
    if table.n_classes is not None:
        n_outputs = table.Y.shape[1]
        absent = absent_classes(table.n_classes[tasks], n_outputs, table.Y.dtype)
        offset = absent if offset is None else offset + absent
    return offset


def absent_classes(n_classes, n_outputs, dtype):
    """Offset (T, 1, o) that rules out the outputs beyond each task's classes (T,)."""
    absent = np.arange(n_outputs) >= n_classes[:, None]
    return np.where(absent, ABSENT, 0.0)[:, None, :].astype(dtype)


def shuffled_rows(rng, sizes):
    """Random order of the rows of each task: (T, max size), padding last."""
    keys = rng.random((len(sizes), sizes.max()))
    keys[np.arange(sizes.max()) >= sizes[:, None]] = 2.0
    return np.argsort(keys, axis=1)


def first_rows(rng, sizes, n):
    """Like `shuffled_rows`, but only the first n rows of each task are needed.

    If tasks are so ragged that most of the array would be padding, tasks of about the
    same number of rows are shuffled together.
    """
    if len(sizes) * sizes.max() <= max(LITTLE_ROWS, 2 * sizes.sum()):
        return shuffled_rows(rng, sizes)
    rows = np.zeros((len(sizes), n), dtype=np.intp)
    for part in even_parts(np.argsort(sizes, kind="stable"), sizes):
        some = shuffled_rows(rng, sizes[part])[:, :n]
        rows[part, : some.shape[1]] = some
    return rows


def draw_tasks(rng, table, n):
    """Numbers of n different tasks; all of them, in order, if there are no more."""
    if n >= table.n_tasks:
        return np.arange(table.n_tasks)
    if n == 1:  # this is ten times as fast as choice
        return np.array([rng.integers(table.n_tasks)])
    return rng.choice(table.n_tasks, n, replace=False)


def draw_support_size(rng, support_size):
    """Draw one number of support rows; None means all rows."""
    if support_size is None or np.isscalar(support_size):
        return support_size
    low, high = support_size
    return int(rng.integers(low, high, endpoint=True))


class Rows(NamedTuple):
    """Some rows of each of T tasks, by their numbers within the task."""

    index: np.ndarray  # (T, n), padding last
    counts: np.ndarray  # (T,), how many of the n are not padding

    @classmethod
    def between(cls, starts, tasks):
        """All rows of some tasks, by their numbers in a table."""
        counts = starts[tasks + 1] - starts[tasks]
        columns = np.arange(max(1, counts.max()))
        last = np.maximum(starts[tasks + 1] - 1, 0)
        index = np.minimum(starts[tasks][:, None] + columns, last[:, None])
        return cls(index, counts)

    @property
    def present(self):
        """Array (T, n) that is False where a row is padding."""
        return np.arange(self.index.shape[1]) < self.counts[:, None]

    def of(self, which):
        """The rows of some of the tasks, with only the padding that these need."""
        counts = self.counts[which]
        return Rows(self.index[which, : max(1, counts.max())], counts)


def draw_rows(rng, sizes, n_support, *, max_query=50, keep_one=False):
    """Draw support rows of each task at random; the other rows are the query.

    The query has at most ``max_query`` rows per task. A task with fewer than
    ``n_support`` rows gives all of them; with ``keep_one`` it keeps one row for the
    query if it has two. With ``n_support=None`` every row is support.

    Returns
    -------
    support : Rows
    query : Rows or None
        None if no task has a row left.
    """
    if n_support is None:  # a view saves memory, as ragged tasks may need much padding
        columns = np.arange(max(1, sizes.max()))
        shape = len(sizes), len(columns)
        if shape[0] * shape[1] <= LITTLE_ROWS:  # a copy takes less time
            return Rows(np.zeros((len(sizes), 1), np.intp) + columns, sizes), None
        return Rows(np.broadcast_to(columns, shape), sizes), None
    taken = np.minimum(n_support, np.maximum(sizes - keep_one, 1))
    left = np.minimum(sizes - taken, max_query)
    rows = first_rows(rng, sizes, (taken + left).max())
    support = Rows(rows[:, : taken.max()], taken)
    if not left.any():
        return support, None
    position = np.minimum(taken[:, None] + np.arange(left.max()), rows.shape[1] - 1)
    return support, Rows(np.take_along_axis(rows, position, axis=1), left)


def gather(table, tasks, rows):
    """The `Batch` of drawn rows."""
    full = rows.counts.min() == rows.index.shape[1]
    return stack(table, tasks, rows.index, None if full else rows.present)


def split_rows(rng, table, tasks, n_support, **options):
    """Draw support and query rows of each task, and gather them: see `draw_rows`.

    Returns
    -------
    support : Batch
    query : Batch or None
        None if no task has a row left.
    """
    drawn = draw_rows(rng, table.sizes[tasks], n_support, **options)
    return tuple(rows and gather(table, tasks, rows) for rows in drawn)


def fit_together(counts, most, limit):
    """Whether `chunks` of tasks with at most ``most`` rows is clearly a single one."""
    few = len(counts) <= min(limit, 2 * MIN_CHUNK - 1)
    return few and len(counts) * most <= LITTLE_ROWS


def chunks(counts, limit, most_rows=None):
    """Index arrays of tasks to treat together, with at most ``limit`` tasks each.

    Tasks of about the same number of rows go together, so that there is little padding.
    With ``most_rows``, tasks that go together have at most so many rows in all, except
    for a single long task.
    """
    n_tasks = len(counts)
    n_chunks = -(-n_tasks // limit)
    if most_rows is not None:
        n_chunks = max(n_chunks, min(n_tasks, -(-int(counts.sum()) // most_rows)))
    ragged = counts.min() < counts.max()
    if ragged:
        n_chunks = max(n_chunks, min(MAX_SIZES, n_tasks // MIN_CHUNK))
    if n_chunks <= 1:
        return even_parts(np.arange(n_tasks), counts)
    order = np.argsort(counts, kind="stable") if ragged else np.arange(n_tasks)
    parts = np.array_split(order, n_chunks)
    return [even for part in parts for even in even_parts(part, counts)]


def even_parts(tasks, sizes):
    """Split tasks into parts, until each part is small or is not mostly padding."""
    parts, rest = [], tasks
    while len(rest) * sizes[rest].max() > max(LITTLE_ROWS, 2 * sizes[rest].sum()):
        long = sizes[rest] > sizes[rest].max() // 2
        parts.append(rest[long])
        rest = rest[~long]
    return [rest, *reversed(parts)]


def padded_blocks(sizes, width, most_cells=BLOCK_CELLS):
    """Index arrays of tasks to pad to a common number of rows, of ``width`` columns.

    The longest task of a block has at most a quarter more rows than its shortest,
    unless all tasks together are small. A block has at most ``most_cells`` numbers,
    unless it is a single task.
    """
    sizes = np.asarray(sizes)
    order = np.argsort(sizes, kind="stable")
    if len(sizes) * sizes.max() * width <= LITTLE_CELLS:
        return [np.arange(len(sizes))]
    blocks, first = [], 0
    while first < len(order):
        longest = sizes[order[first]] * 5 // 4
        last = np.searchsorted(sizes, longest, side="right", sorter=order)
        most = max(1, most_cells // max(1, int(longest) * width))
        alike = order[first:last]
        blocks += [np.sort(alike[i : i + most]) for i in range(0, len(alike), most)]
        first = last
    return blocks


def slices(n, size):
    """Slices of n rows, with at most ``size`` rows each; an empty list if n is 0."""
    size = max(1, size)
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def draw_places(rng, n_tasks, n_way):
    """A random order of the outputs for each task's classes: (T, n_way).

    Without this a network could learn that "output 0" means something across tasks
    whose classes have nothing to do with each other.
    """
    return np.argsort(rng.random((n_tasks, n_way)), axis=1)


def relabel(batch, places):
    """Give the classes of each task new places among the outputs."""
    places = places[:, None, :]
    return batch._replace(
        Y=np.take_along_axis(batch.Y, places, axis=2),
        offset=np.take_along_axis(batch.offset, places, axis=2),
    )


def draw_minibatches(rng, counts, size, n_batches):
    """Row numbers (T, n_batches, size) of each task's minibatches."""
    return np.stack([cycling_minibatches(rng, n, size, n_batches) for n in counts])


def cycling_minibatches(rng, n_rows, size, n_batches):
    """Row numbers (n_batches, size) that run through reshuffled epochs of n_rows rows.

    An epoch's last, incomplete batch is filled up from the next epoch, as in the
    original code of Nichol et al. (2018); so a batch may meet a row twice there, and
    a batch larger than the data wraps around.
    """
    n_epochs = max(1, -(-size * n_batches // n_rows))
    order = np.concatenate([rng.permutation(n_rows) for _ in range(n_epochs)])
    return order[: size * n_batches].reshape(n_batches, size)

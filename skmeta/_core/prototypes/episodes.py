"""Episodes: classes of one task, rows to take means of, and rows to classify."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class EpisodeSettings(NamedTuple):
    """The settings of a run; ranges are numbers or (low, high)."""

    n_way: object
    support_size: object
    n_queries: int
    meta_batch_size: int
    learning_rate: float
    max_iter: int


@dataclass(frozen=True)
class ClassTable:
    """Rows sorted by class, and classes by task; all classes have two rows or more.

    Attributes
    ----------
    rows : ndarray of int
        Row numbers; those of class c are at ``starts[c]:starts[c + 1]``.
    starts : ndarray of int of shape (n_classes + 1,)
    task_starts : ndarray of int of shape (n_tasks + 1,)
        The classes of task t; each task has two or more.
    """

    rows: np.ndarray
    starts: np.ndarray
    task_starts: np.ndarray

    @property
    def n_tasks(self):
        return len(self.task_starts) - 1


class Episodes(NamedTuple):
    """E episodes of at most W classes, n rows of each."""

    rows: np.ndarray  # (E, W, n) row numbers
    support: np.ndarray  # (E, W, n) bool
    query: np.ndarray  # (E, W, n) bool
    present: np.ndarray  # (E, W) bool, False where a task has fewer classes


def class_table(codes, task):
    """The `ClassTable` of rows, given their class numbers (n,) and task numbers (n,).

    Classes of one row are left out, since they leave no query; so are tasks that then
    have one class. The result is None if nothing is left.
    """
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    first = np.cumsum(sizes) - sizes
    used = np.flatnonzero(sizes > 1)
    task_of = task[order[first[used]]]
    several = np.bincount(task_of)[task_of] > 1 if len(used) else np.zeros(0, bool)
    used, task_of = used[several], task_of[several]
    if len(used) == 0:
        return None
    rows = [order[first[c] : first[c] + sizes[c]] for c in used]
    n_classes = np.bincount(task_of)
    return ClassTable(
        rows=np.concatenate(rows),
        starts=np.concatenate([[0], np.cumsum(sizes[used])]),
        task_starts=np.concatenate([[0], np.cumsum(n_classes[n_classes > 0])]),
    )


def distinct(rng, sizes, n):
    """Array (C, n): in each row, n different random numbers below its size (C,).

    If the size is smaller than n, the last numbers have no meaning.
    """
    drawn = np.zeros((len(sizes), n), dtype=np.intp)
    for j in range(n):
        left = np.maximum(sizes - j, 1)
        number = (rng.random(len(sizes)) * left).astype(np.intp)
        for taken in np.sort(drawn[:, :j], axis=1).T:
            number += number >= taken  # counts only the numbers that are not taken
        drawn[:, j] = number
    return drawn


def draw_number(rng, limits):
    """A number, or one from a range (low, high)."""
    if isinstance(limits, tuple):
        return int(rng.integers(*limits, endpoint=True))
    return limits


def draw_episodes(rng, table, settings):
    """`Episodes` of a common random way and shot, each of one task.

    A class gives at most all rows but one as support, and from the other rows its
    queries.
    """
    n_way = draw_number(rng, settings.n_way)
    n_shots = draw_number(rng, settings.support_size)
    n = n_shots + settings.n_queries
    tasks = rng.integers(table.n_tasks, size=settings.meta_batch_size)
    n_classes = np.diff(table.task_starts)[tasks]
    n_way = min(n_way, n_classes.max())
    present = np.arange(n_way) < n_classes[:, None]
    classes = table.task_starts[tasks][:, None] + distinct(rng, n_classes, n_way)
    classes = np.where(present, classes, 0)
    sizes = np.diff(table.starts)[classes]
    number = distinct(rng, sizes.ravel(), n).reshape(*sizes.shape, n)
    position, sizes = np.arange(n), sizes[..., None]
    n_support = np.minimum(n_shots, sizes - 1)
    there = (position < np.minimum(sizes, n_support + settings.n_queries)) & present[
        ..., None
    ]
    start = table.starts[classes][..., None]
    return Episodes(
        rows=table.rows[start + np.where(there, number, 0)],
        support=there & (position < n_support),
        query=there & (position >= n_support),
        present=present,
    )

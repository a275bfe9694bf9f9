"""One order of rows and tasks that does not depend on their given order or names.

A model draws rows and tasks by their numbers, and sums over them. To make the result
independent of the order of the rows and the names of the tasks, both are first sorted
by their content. Sorting only compares numbers, so the order is the same in other
units, and the same for sparse and dense rows.
"""

import numpy as np
from scipy import sparse


def canonical_order(X, target, weight, codes):
    """Row numbers, task by task, in an order that depends only on the rows' content.

    Rows are compared by their target, then by the columns of X one after the other.
    Tasks are compared by the number of their different rows, then row by row, then by
    the weights of these rows. A row that is there twice counts as one of twice the
    weight. Both orders are shuffled in the end, always in the same way, because rows
    sorted by target would mislead a base model that splits rows in the given order.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_rows, d)
        CSR without duplicate entries, sorted by column.
    target : ndarray of shape (n_rows,)
        Numbers, or the numbers of classes.
    weight : ndarray of shape (n_rows,)
    codes : ndarray of int of shape (n_rows,)
        Task number 0 ... n_tasks - 1 of each row; each task has a row.

    Returns
    -------
    order : ndarray of int of shape (n_rows,)
    tasks : ndarray of int of shape (n_tasks,)
        The task numbers in the order in which their rows now come.
    """
    rank = row_ranks(X, target)
    place = permutation(rank.max() + 1)[rank]
    keys = (place, codes) if (weight == weight[0]).all() else (weight, place, codes)
    order = np.lexsort(keys)
    tasks = _task_order(place[order], weight[order], codes[order])
    tasks = tasks[permutation(len(tasks))]
    sizes = np.bincount(codes)
    return order[_ranges((np.cumsum(sizes) - sizes)[tasks], sizes[tasks])], tasks


def permutation(n):
    return np.random.default_rng(0).permutation(n)


def _ranges(starts, sizes):
    """The numbers start ... start + size - 1 of each pair, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)


def row_ranks(X, target):
    """Rank 0, 1, ... of each row among the different rows; equal rows share a rank.

    Each further column is compared only for rows that are equal so far. Mostly the
    target and the first columns distinguish all rows.
    """
    ranks, tied = np.zeros(len(target), dtype=np.intp), np.arange(len(target))
    for values_of in _comparisons(X, target):
        ranks, tied = _refined(ranks, tied, values_of(tied))
        if len(tied) == 0:
            return ranks
    used = np.zeros(len(ranks), dtype=np.intp)
    used[ranks] = 1
    return (np.cumsum(used) - 1)[ranks]


def _refined(ranks, tied, values):
    """Ranks after one more comparison of the tied rows, and the rows still tied.

    A rank is the number of rows that are smaller. ``ranks`` is overwritten.
    """
    order = np.argsort(values, kind="stable")
    if ranks[tied[0]] != ranks[tied[-1]] or (np.diff(ranks[tied]) != 0).any():
        order = order[np.argsort(ranks[tied[order]], kind="stable")]
    rows, values = tied[order], values[order]
    group = ranks[rows]
    new_group = np.append(True, group[1:] != group[:-1])
    new = new_group | np.append(True, values[1:] != values[:-1])
    number = np.arange(len(rows))
    first_of_group = np.maximum.accumulate(np.where(new_group, number, 0))
    first = np.maximum.accumulate(np.where(new, number, 0))
    ranks[rows] = group + first - first_of_group
    alone = new & np.append(new[1:], True)
    return ranks, rows[~alone]


def _comparisons(X, target):
    """Functions that return, for some rows, the numbers to compare next."""
    yield lambda rows: target[rows]
    yield from _sparse_columns(X) if sparse.issparse(X) else _columns(X)


def _columns(X):
    for column in X.T:
        yield lambda rows, column=column: column[rows]


def _sparse_columns(X):
    """Numbers that compare sparse rows like their dense columns, without the zeros.

    The first column in which two rows differ decides. Take the rows as lists of their
    entries. If one row has an entry in an earlier column than the other's next one, it
    is the larger row if this entry is positive, and the smaller one if it is negative.
    So early columns count more than late ones, and the end of a row counts as zero.
    """
    X = X.copy()
    X.eliminate_zeros()
    if X.nnz == 0:
        return
    sizes, rank = np.unique(np.abs(X.data), return_inverse=True)
    weight = (X.shape[1] - X.indices.astype(np.int64)) * (len(sizes) + 1) + rank + 1
    entries = np.append(np.where(X.data > 0, weight, -weight), 0)
    starts, ends = X.indptr[:-1], X.indptr[1:]
    for i in range(int((ends - starts).max())):
        yield lambda rows, i=i: entries[
            np.where(starts[rows] + i < ends[rows], starts[rows] + i, -1)
        ]


def _task_order(place, weight, codes):
    """Task numbers in order, from the places of rows that are sorted by task."""
    new_task = np.append(True, codes[1:] != codes[:-1])
    first = np.flatnonzero(new_task | np.append(True, place[1:] != place[:-1]))
    weight, place = np.add.reduceat(weight, first), place[first]
    starts = np.flatnonzero(new_task[first])
    sizes = np.diff(np.append(starts, len(place)))
    keys = sizes, place[starts], place[starts + sizes - 1]
    order = np.lexsort((np.bincount(codes), *keys[::-1]))
    same = np.all([np.diff(key[order]) == 0 for key in keys], axis=0)
    if not same.any():
        return order
    # The few tasks for which these numbers are equal are compared as strings of bytes.
    group = np.cumsum(np.append(True, ~same))
    digits = place.astype(">i8"), weight.astype(">f8")

    def rows(i):
        some = slice(starts[order[i]], starts[order[i]] + sizes[order[i]])
        return group[i], *(part[some].tobytes() for part in digits)

    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    order[tied] = order[sorted(tied, key=rows)]
    return order

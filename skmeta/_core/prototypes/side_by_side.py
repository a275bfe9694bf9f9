"""The nearest class means of many tasks at once.

The classes of all tasks are numbered, task after task, so that those of task t are
``starts[t]:starts[t + 1]``.
"""

import numpy as np

from skmeta._core.tasks import slices

# About this many numbers are compared at a time.
BLOCK_CELLS = 2**18


def class_means(space, rows_at, classes, weight, n_classes):
    """Weighted means (n_classes, dimensions) of rows in the learned space.

    ``rows_at(slice)`` gives standardised rows, ``classes`` (n,) the number of each
    row's class, and ``weight`` (n,) its weight.
    """
    sums = np.zeros((n_classes, space.sizes[-1]))
    for rows in slices(len(classes), min(space.block, BLOCK_CELLS // len(sums[0]))):
        Z = space.embed(rows_at(rows)) * weight[rows, None]
        some, places = np.unique(classes[rows], return_inverse=True)
        for column, values in enumerate(Z.T):
            sums[some, column] += np.bincount(places, values, len(some))
    return sums / np.bincount(classes, weight, n_classes)[:, None]


def nearest_classes(space, rows_at, tasks, starts, means, nearer=0.0):
    """The number of the nearest class (n,) of new rows, among those of their tasks.

    ``tasks`` (n,) are the tasks of the rows, and ``nearer`` (n_classes,) is taken off
    the squared distances. Of two classes that are equally near, the
    first is taken.
    """
    n_classes = np.diff(starts)[tasks]
    nearest = np.empty(len(tasks), dtype=np.intp)
    order = np.argsort(n_classes, kind="stable")  # for little padding
    squares = (means**2).sum(axis=1) - nearer
    first = 0
    while first < len(order):
        # the block has about as many classes in each task as its last row
        n = BLOCK_CELLS // (int(n_classes[order[first]]) * means.shape[1])
        rows = order[first : first + max(1, min(n, space.block))]
        rows = rows[n_classes[rows] <= 2 * n_classes[rows[0]]]
        first += len(rows)
        places = np.arange(n_classes[rows[-1]])
        own = starts[tasks[rows]][:, None] + places
        own = np.minimum(own, len(means) - 1)
        Z = space.embed(rows_at(rows))
        logits = 2 * np.einsum("nkd,nd->nk", means[own], Z)
        logits -= (Z**2).sum(axis=1)[:, None] + squares[own]
        logits[places >= n_classes[rows][:, None]] = -np.inf
        nearest[rows] = own[np.arange(len(rows)), logits.argmax(axis=1)]
    return nearest

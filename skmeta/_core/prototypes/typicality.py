"""How far rows of new classes lie from the means of their classes: none of these?

The answer comes from classes that are left out while a linear space is learned from the
others. In a whitened space a row and the mean of K others of its class differ with
variance 1 + 1/K in each direction, so squared distances are divided by that, and those
from means of few and of many rows can be compared.
"""

import numpy as np

from skmeta._core.prototypes.discriminant import class_statistics, discriminant
from skmeta._core.prototypes.space import LearnedSpace

# Classes are left out in this many parts.
N_PARTS = 5
# The classes that are looked at have no more rows in all than this number.
MAX_ROWS = 10_000
# So many quantiles of the distances are kept.
N_QUANTILES = 1001


def distances_of_new_classes(rows_of, codes, task, n_features, n_shots):
    """Sorted squared distances of rows of classes that the space has not seen.

    Parameters
    ----------
    rows_of : callable
        Returns standardised rows by their numbers.
    codes : ndarray of int of shape (n_rows,)
        Number of the class of each row.
    task : ndarray of int of shape (n_classes,)
        Task of each class.
    n_features : int
    n_shots : float
        As for `discriminant`.

    Returns
    -------
    distances : ndarray of shape (N_QUANTILES,) or None
        None if fewer than three classes have several rows.
    """
    sizes = np.bincount(codes)
    several = np.flatnonzero(sizes > 1)
    kept = several[:: max(1, -(-int(sizes[several].sum()) // MAX_ROWS))]
    if len(kept) < 3:
        return None
    found = []
    for part in range(min(N_PARTS, len(kept))):
        asked = np.isin(np.arange(len(sizes)), kept[part::N_PARTS])
        others = np.isin(np.arange(len(sizes)), kept) & ~asked
        space = _space(rows_of, codes, others, task, n_features, n_shots)
        if space is not None:
            found.append(_distances(space, rows_of, codes, asked))
    if not found:
        return None
    levels = np.linspace(0, 1, N_QUANTILES)
    return np.quantile(np.concatenate(found), levels)


def _space(rows_of, codes, chosen, task, n_features, n_shots):
    """The linear space of some classes, or None if it is that of X."""
    rows = np.flatnonzero(chosen[codes])
    classes, some = np.unique(codes[rows], return_inverse=True)
    shape = len(rows), n_features
    means, within = class_statistics(lambda part: rows_of(rows[part]), shape, some)
    if within is None:
        return None
    sizes = np.bincount(some)
    net, theta = discriminant(within, means, sizes, task[classes], n_shots)
    return LearnedSpace.of(net, theta, 1.0)


def _distances(space, rows_of, codes, chosen):
    """Squared distances of the rows of some classes from the means of all others."""
    rows = np.flatnonzero(chosen[codes])
    _, some, sizes = np.unique(codes[rows], return_inverse=True, return_counts=True)
    Z = space.embed(rows_of(rows))
    means = np.zeros((len(sizes), Z.shape[1]))
    np.add.at(means, some, Z)
    means /= sizes[:, None]
    # without the row itself the distance is n / (n - 1) times as large
    left = sizes[some] / (sizes[some] - 1.0)
    return left * ((Z - means[some]) ** 2).sum(axis=1)


def share_further(distances, squared, counts):
    """The share (n, n_classes) of rows of a class that are further from its mean.

    ``squared`` (n, n_classes) are squared distances from means of ``counts``
    (n_classes,) rows, and ``distances`` those of `distances_of_new_classes`.
    """
    n = len(distances)
    nearer = np.searchsorted(distances, squared / (1.0 + 1.0 / counts), side="left")
    return (1.0 + n - nearer) / (n + 1.0)

"""A linear space in closed form, from the covariances of rows and of class means."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network

# The variance in any direction is at least this large, relative to the mean variance.
LEAST_VARIANCE = 1e-6
# Sums over a table take about this many of its numbers at a time.
SUM_CELLS = 2**16
# Rows count as copies if their squared differences are below this, relative to their
# squares.
ROUNDING_OF_SQUARES = 1e-20


def products(blocks, d):
    """Sums over rows x (n, d), in blocks, of their products x x' and of (x'x)^2."""
    total, fourth = np.zeros((d, d)), 0.0
    for X in blocks:
        total += X.T @ X
        fourth += (np.einsum("nd,nd->n", X, X) ** 2).sum()
    return total, fourth


def shrunk(total, fourth, n):
    """The mean product of n rows, shrunk towards a multiple of the identity.

    By the rule of Ledoit and Wolf (2004), it shrinks the more, the more the products of
    rows scatter about their mean, relative to the distance of that mean from the
    identity.
    """
    covariance = total / n
    d = len(covariance)
    mean = np.trace(covariance) / d
    squares = (covariance**2).sum()
    scatter = (fourth / n - squares) / n
    distance = squares - d * mean**2
    shrinkage = 0.0 if scatter <= 0 else min(scatter / max(distance, scatter), 1.0)
    covariance *= 1 - shrinkage
    covariance[np.diag_indices(d)] += shrinkage * mean
    return covariance


def class_statistics(rows_of, shape, codes):
    """Means of the classes, and the covariance of rows about them, shrunk.

    ``rows_of`` returns dense rows by their numbers, so that only a part of them is in
    memory at a time.
    """
    n_rows, n_features = shape
    counts = np.bincount(codes)
    means, squares = np.zeros((len(counts), n_features)), 0.0
    varies = np.zeros(n_features, dtype=bool)
    blocks = [*gen_batches(n_rows, max(1, SUM_CELLS // n_features))]
    for block in blocks:
        X = rows_of(block)
        np.add.at(means, codes[block], X)
        varies |= X.any(axis=0)
        squares += (X**2).sum()
    means /= counts[:, None]
    left = (rows_of(block) - means[codes[block]] for block in blocks)
    total, fourth = products(left, n_features)
    if np.trace(total) <= ROUNDING_OF_SQUARES * squares:  # single rows, or copies
        return means, None
    covariance = shrunk(total, fourth, n_rows)
    covariance *= n_rows / (n_rows - len(counts))
    constant = ~varies  # nothing is known about such a column; it gets variance 1
    covariance[constant] = covariance[:, constant] = 0
    covariance[constant, constant] = 1
    return means, covariance


def discriminant(within, means, sizes, task, n_shots):
    """A linear network, and its parameters, in whose outputs distances separate
    classes.

    The outputs are whitened: rows scatter about the mean of their class with variance 1
    in all directions. The means of classes scatter about that of their task with
    variance v_j in direction j, and means of K rows err by 1 / K. So squared
    differences count with weight v_j / (v_j + 1 / K) (as in Ioffe, 2006). If there are
    too few classes to show in which directions they differ, all directions count alike.

    Parameters
    ----------
    within : ndarray of shape (d, d) or None
        Covariance of rows within classes. None if nothing is known about it; then the
        space is that of X.
    means : ndarray of shape (n_classes, d)
    sizes, task : ndarray of shape (n_classes,)
        Rows of each class, and its task.
    n_shots : float
        K, the number of rows of each class that a new task is expected to give.
    """
    d = means.shape[1]
    weight = np.eye(d)
    if within is not None:
        values, vectors = np.linalg.eigh(within)
        values = np.maximum(values, LEAST_VARIANCE * values.mean())
        weight = vectors / np.sqrt(values) @ vectors.T
        weight = weight @ _directions(means @ weight, sizes, task, n_shots)
    net = Network(ParamLayout((d, d)), "relu")
    theta = np.zeros(net.layout.n_params)
    (layer,) = net.layout.layers(theta)
    layer.weight[...] = weight
    return net, theta


def _directions(means, sizes, task, n_shots):
    """Directions (d, d) in which whitened class means differ, each by its weight."""
    d, n_tasks = means.shape[1], len(np.unique(task))
    n_free = len(means) - n_tasks
    if n_free < 2:  # one difference says nothing about other directions
        return np.eye(d)
    _, task, counts = np.unique(task, return_inverse=True, return_counts=True)
    centre = np.zeros((n_tasks, d))
    np.add.at(centre, task, means)
    apart = means - (centre / counts[:, None])[task]
    scatter = shrunk(*products([apart], d), len(apart))
    variance, vectors = np.linalg.eigh(scatter * len(means) / n_free)
    variance -= np.mean(1 / sizes)  # this is the error of the means
    if variance.max() <= 0:
        return np.eye(d)
    variance = np.maximum(variance, 0)
    return vectors * np.sqrt(variance / (variance + 1 / n_shots))

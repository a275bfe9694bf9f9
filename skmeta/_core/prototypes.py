r"""Classification by class means in a learned space (Snell et al., 2017).

An episode draws classes of one task, a few rows of each to take the means c_k of, and
other rows to classify, the queries. With z the network's outputs and tau a learned
temperature,

    p(k | x) = softmax_k(-tau |z(x) - c_k|^2),

and the network learns by the log-loss of the queries, through both z and c.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.utils import gen_batches

from skmeta._core import adam, network
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network

# A temperature is chosen by this many episodes, if nothing else is learned.
N_EPISODES = 20
# The variance in any direction is at least this large, relative to the mean variance.
SMALLEST = 1e-6
# The logarithm of the temperature is searched for within these bounds.
LOG_TEMPERATURES = (-10.0, 5.0)
# Sums over a table take about this many of its numbers at a time.
SUM_CELLS = 2**16
# Rows count as copies if their squared differences are below this, relative to their
# squares.
ROUNDING = 1e-20


class Settings(NamedTuple):
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


# -- episodes -------------------------------------------------------------------------


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


# -- the loss and its gradient --------------------------------------------------------


def class_means(Z, support):
    """Means (E, W, F) of the support rows of Z (E, W, n, F), and their numbers."""
    counts = np.maximum(support.sum(axis=-1), 1)[..., None].astype(Z.dtype)
    return np.einsum("ewnf,ewn->ewf", Z, support.astype(Z.dtype)) / counts, counts


def loss_and_gradient(Z, log_temperature, episodes):
    """Mean log-loss of the queries and its gradients in Z and the log temperature."""
    E, W, n, F = Z.shape
    tau = np.exp(log_temperature)
    C, counts = class_means(Z, episodes.support)
    rows = Z.reshape(E, W * n, F)
    # |z|^2 is the same for all classes of a row, and cancels.
    logits = tau * (2 * rows @ C.swapaxes(-1, -2) - (C * C).sum(axis=-1)[:, None])
    logits = np.where(episodes.present[:, None], logits, -np.inf)
    logits -= logits.max(axis=-1, keepdims=True)
    P = np.exp(logits)
    total = P.sum(axis=-1, keepdims=True)
    asked = episodes.query.reshape(E, W * n)
    own = np.repeat(np.arange(W), n)
    everyone = np.arange(W * n)
    value = np.log(total[..., 0]) - np.where(asked, logits[:, everyone, own], 0)
    n_asked = asked.sum()
    D = P / total
    D[:, everyone, own] -= 1
    D *= asked[..., None] / Z.dtype.type(n_asked)
    G = 2 * tau * (D @ C)
    dC = 2 * tau * (D.swapaxes(-1, -2) @ rows - D.sum(axis=1)[..., None] * C)
    G = G.reshape(Z.shape)
    G += episodes.support[..., None] * (dC / counts)[:, :, None]
    finite = np.where(episodes.present[:, None], logits, 0)
    return (value * asked).sum() / n_asked, G, (D * finite).sum()


def learn(net, theta, X, table, settings, rng):
    """Yield theta and the loss after each meta-iteration, by Adam.

    ``theta`` is the network's parameters and, last, the log temperature; ``X`` gives
    the rows of an index array, in theta's precision.
    """
    memory = adam.start(theta)
    for i in range(settings.max_iter):
        episodes = draw_episodes(rng, table, settings)
        Z, tape = network.forward(net, theta[None, :-1], X(episodes.rows.ravel())[None])
        Z = Z.reshape(*episodes.rows.shape, -1)
        loss, G, slope = loss_and_gradient(Z, theta[-1], episodes)
        gradient = network.backward(net, tape, G.reshape(1, -1, Z.shape[-1]))[0]
        rate = settings.learning_rate * adam.fraction(i, settings.max_iter)
        theta, memory = adam.step(
            theta,
            np.append(gradient, slope).astype(theta.dtype),
            memory,
            theta.dtype.type(rate),
        )
        yield theta, float(loss)


def begin(net, rng):
    """First parameters and, last, the log temperature, with distances of about one."""
    theta = net.layout.init(rng, np.float32)
    return np.append(theta, np.float32(-np.log(net.layout.sizes[-1])))


# -- rows of a table -----------------------------------------------------------------


def rows_of(X, dtype):
    """A function that returns dense rows of X by their numbers."""

    def rows(index):
        part = X[index]
        part = part.toarray() if hasattr(part, "toarray") else part
        return part.astype(dtype, copy=False)

    return rows


# -- without a network ----------------------------------------------------------------


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
    if np.trace(total) <= ROUNDING * squares:  # single rows, or copies
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
        values = np.maximum(values, SMALLEST * values.mean())
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


def best_log_temperature(net, theta, X, table, settings, rng):
    """The logarithm of the temperature with the least loss over some episodes."""
    draws = []
    for _ in range(N_EPISODES):
        episodes = draw_episodes(rng, table, settings)
        Z = network.predict(net, theta[None], X(episodes.rows.ravel())[None])
        draws.append((Z.reshape(*episodes.rows.shape, -1), episodes))

    def loss(log_temperature):
        return np.mean([loss_and_gradient(Z, log_temperature, e)[0] for Z, e in draws])

    return minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x

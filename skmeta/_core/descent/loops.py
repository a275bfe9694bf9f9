"""Inner loops: how the parameters of many tasks descend from a common start.

An objective is a function ``objective(theta, step) -> (value (T,), gradient (T, P))``.
The loops below know nothing else about the network or the data. This is the version to
read; `planned.py` has the same loops in place, for speed.
"""

import math
from dataclasses import dataclass

import numpy as np

from skmeta._core.adam import BETA_2, EPSILON
from skmeta._core.network import loss_and_gradient

# A longer gradient of a task on standardised data is shortened to this norm. A smaller
# norm would cost accuracy.
CLIP_NORM = 10.0
# A row weighs less if its mean square is more than this many times that of an ordinary
# row on standardised data.
FAR_ROW = 100.0
# Factors of a step after it was accepted and after it was refused.
GROW, SHRINK = 1.2, 0.5
# Upper bounds of the second derivative of each loss in the output.
MAX_CURVATURE = {
    "squared_error": 1.0,
    "huber": 1.0,
    "log_loss": 0.25,
    "softmax_log_loss": 0.5,
}


@dataclass(frozen=True)
class SecondMoment:
    """Decaying mean square of the gradient (P,), and the number of steps in it."""

    mean_square: np.ndarray
    n_steps: int = 0


def full_batch(network, batch):
    """The objective over all rows of each task."""

    def objective(theta, step):
        return loss_and_gradient(network, theta, batch)

    return objective


def minibatches(network, batch, rows):
    """The objective whose step k sees ``rows[:, k]`` of each task; rows (T, K, b)."""
    task = np.arange(len(rows))[:, None]
    offset = None
    if batch.offset is not None:
        offset = np.broadcast_to(batch.offset, batch.Y.shape)

    def objective(theta, step):
        index = rows[:, step]
        weight = batch.weight[task, index]
        part = batch._replace(
            X=batch.X[task, index],
            Y=batch.Y[task, index],
            weight=weight / weight.sum(axis=1, keepdims=True),
            offset=None if offset is None else offset[task, index],
        )
        return loss_and_gradient(network, theta, part)

    return objective


def pulled(objective, start, strength):
    """The objective plus ``sum_j strength_j / 2 (theta_j - start_j)^2``.

    ``strength`` is (T, P) or (T, 1), or None for no pull.
    """
    if strength is None:
        return objective

    def penalised(theta, step):
        value, G = objective(theta, step)
        move = theta - start
        value = value + 0.5 * (strength * move * move).sum(axis=-1)
        return value, G + strength * move

    return penalised


def sgd(objective, rate, theta, n_steps, clip=None):
    """Gradient descent from theta (T, P); yields theta and the loss before the step."""
    for k in range(n_steps):
        value, G = objective(theta, k)
        step = rate if clip is None else rate * shortening(G, clip)
        theta = theta - step * G
        yield theta, value


def adam(objective, rate, theta, n_steps, carried):
    """Adam with beta_1 = 0 (Nichol et al., 2018), each task from the same moment.

    Yields theta, the loss before each step, and the `SecondMoment` as a mean over
    tasks. For a single task this is exactly what the original code carries from task to
    task.
    """
    moment = np.broadcast_to(carried.mean_square, theta.shape)
    for step in range(n_steps):
        value, G = objective(theta, step)
        t = carried.n_steps + step + 1
        moment = BETA_2 * moment + (1 - BETA_2) * G * G
        # Epsilon is added after the bias correction, as in TensorFlow's Adam.
        scale = rate * math.sqrt(1.0 - BETA_2**t)
        theta = theta - scale * G / (np.sqrt(moment) + EPSILON)
        yield theta, value, SecondMoment(moment.mean(axis=0), t)


def backtracking(objective, rate, theta, n_steps):
    """Descent that accepts a step only if it lowers the loss.

    Yields theta after 0, 1, ..., n_steps steps. The step of each task grows by the
    factor 1.2 when it is accepted and is halved when it is not. So no rate is too
    large: the loss of the rows given never rises.
    """
    value, G = objective(theta, None)
    scale = np.ones((len(theta), 1), dtype=theta.dtype)
    yield theta
    for _ in range(n_steps):
        trial = theta - scale * rate * G
        trial_value, trial_G = objective(trial, None)
        better = trial_value < value  # False for a loss that is not a number
        value = np.where(better, trial_value, value)
        theta = np.where(better[:, None], trial, theta)
        G = np.where(better[:, None], trial_G, G)
        scale = scale * np.where(better, GROW, SHRINK)[:, None].astype(theta.dtype)
        yield theta


def shortening(G, limit):
    """Factor (T, 1) that shortens each task's gradient to the norm ``limit``."""
    norm = np.sqrt(np.einsum("tp,tp->t", G, G))[:, None]
    return (limit / np.maximum(norm, limit)).astype(G.dtype)


def moderated(batch):
    """A batch in which a row far away from ordinary rows weighs less.

    The largest row of a task decides how short its steps must be. One row at 1,000
    deviations would either hold all parameters still, although the other rows say much
    about them, or pull the task towards itself. A row keeps its weight up to `FAR_ROW`
    times the mean square of ordinary rows; beyond, its weight falls with its distance.
    """
    X = batch.X
    largest = max(X.max(initial=0.0), -X.min(initial=0.0))
    if largest**2 <= FAR_ROW:  # then no row can be far
        return batch
    square = np.einsum("tnd,tnd->tn", X, X) + 1.0
    distance = square / (X.shape[2] + 1)  # about 1 for ordinary rows
    if not (distance > FAR_ROW).any():
        return batch
    kept = np.minimum(1.0, (FAR_ROW / distance) ** 3).astype(batch.weight.dtype)
    return batch._replace(weight=batch.weight * kept)


def stable_fraction(network, batch, rate, pull):
    """Fraction (T, 1) of ``rate`` at which a linear model's descent is a contraction.

    Let c bound the curvature of the loss, and R = diag(rate). The steps contract if
    c times the largest eigenvalue of X R X' / n, plus the curvature ``pull`` (T, 1) of
    the pull towards the start, is at most 1. The trace is a cheap bound of that
    eigenvalue. Networks with hidden layers have no such bound.
    """
    curvature = pull
    if network.layout.n_layers == 1:
        (layer,) = network.layout.layers(np.broadcast_to(rate, network.layout.n_params))
        weighted = batch.weight[..., None] * batch.X
        second_moment = np.einsum("tnd,tnd->td", weighted, batch.X)
        of_bias = layer.bias if network.intercept else 0.0
        trace = (second_moment @ layer.weight + of_bias).max(axis=-1, keepdims=True)
        curvature = MAX_CURVATURE[network.loss] * trace + pull
    return (1.0 / np.maximum(curvature, 1.0)).astype(rate.dtype)

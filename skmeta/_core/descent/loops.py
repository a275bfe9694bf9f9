"""Inner loops: how the parameters of many tasks descend from a common start.

An objective is a function ``objective(theta, step) -> (value (T,), gradient (T, P))``;
the loops below know nothing else of network or data. They are the version to read;
`planned.py` has the same loops in place, for speed.
"""

import math
from dataclasses import dataclass

import numpy as np

from skmeta._core.network import loss_and_gradient

CLIP_NORM = 10.0  # of a task's gradient on standardised data; tighter costs accuracy
FAR = 100.0  # mean square of a row, over that of ordinary rows
GROW, SHRINK = 1.2, 0.5
BETA_2, EPSILON = 0.999, 1e-8

# Upper bound of d2(loss) / d(output)2, for the step bound of linear models.
CURVATURE = {
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
    """The objective whose step k sees the rows (T, K, b)[:, k] of each task."""
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
    for step in range(n_steps):
        value, G = objective(theta, step)
        step = rate if clip is None else rate * shortening(G, clip)
        theta = theta - step * G
        yield theta, value


def adam(objective, rate, theta, n_steps, state):
    """Adam with beta_1 = 0 (Nichol et al., 2018), each task from the same state.

    Yields theta, the loss before each step, and the state as a mean over tasks: for
    one task that is exactly what the original code carries from task to task.
    """
    moment = np.broadcast_to(state.mean_square, theta.shape)
    for step in range(n_steps):
        value, G = objective(theta, step)
        t = state.n_steps + step + 1
        moment = BETA_2 * moment + (1 - BETA_2) * G * G
        # epsilon stands outside the bias correction, as in TensorFlow's Adam
        scale = rate * math.sqrt(1.0 - BETA_2**t)
        theta = theta - scale * G / (np.sqrt(moment) + EPSILON)
        yield theta, value, SecondMoment(moment.mean(axis=0), t)


def backtracking(objective, rate, theta, n_steps):
    """Descent that accepts a step only if it lowers the loss.

    Yields theta after 0, 1, ..., n_steps steps. The step of each task grows by 1.2
    when accepted and halves when not, so no rate is too large: the loss of the rows
    given never rises.
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
    """A batch in which a row far out among standardised ones weighs less.

    The step of a task is as short as its largest row demands: one row at 1,000
    deviations would hold all parameters still, also those on which the other rows have
    much to say, or else bend the task to itself. A row of up to `FAR` times the mean
    square of ordinary ones keeps its weight. Beyond, its say falls with its distance.
    """
    X = batch.X
    if max(X.max(initial=0.0), -X.min(initial=0.0)) ** 2 <= FAR:  # no row can be
        return batch
    square = np.einsum("tnd,tnd->tn", X, X) + 1.0
    distance = square / (X.shape[2] + 1)  # of ordinary rows about 1
    if not (distance > FAR).any():
        return batch
    kept = np.minimum(1.0, (FAR / distance) ** 3).astype(batch.weight.dtype)
    return batch._replace(weight=batch.weight * kept)


def stable_fraction(network, batch, rate, pull):
    """Fraction (T, 1) of ``rate`` at which a linear model's descent is a contraction.

    With curvature bound c of the loss and preconditioner R = diag(rate), the steps
    contract if c times the largest eigenvalue of X R X' / n, plus the curvature
    ``pull`` (T, 1) of the pull towards the start, is at most 1; the trace is a cheap
    bound of that eigenvalue. Networks with hidden layers have no such bound.
    """
    curvature = pull
    if network.layout.n_layers == 1:
        (layer,) = network.layout.layers(np.broadcast_to(rate, network.layout.n_params))
        weighted = batch.weight[..., None] * batch.X
        second_moment = np.einsum("tnd,tnd->td", weighted, batch.X)
        trace = (second_moment @ layer.weight + layer.bias).max(axis=-1, keepdims=True)
        curvature = CURVATURE[network.loss] * trace + pull
    return (1.0 / np.maximum(curvature, 1.0)).astype(rate.dtype)

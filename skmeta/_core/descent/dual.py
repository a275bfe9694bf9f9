"""Descent of networks with wide inputs, the first layer in terms of the rows.

Whatever descent does to the weights of the first layer, the change is a combination
of the n rows of the task. With the bias as one more column, A = [X, 1], it is

    W = W_0 + F A' C.

F holds the ratios of the rates, and only C (n, units) changes. So the layer's output is
A W_0 + (A F A') C, and neither the output nor the gradient needs the wide product
again. This is the dual form of a linear model, used inside a network.
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.descent.plan import tasks_side_by_side, workspace
from skmeta._core.descent.planned import gather_minibatches
from skmeta._core.layout import ParamLayout
from skmeta._core.network import ACTIVATIONS, Network

# The dual form is faster if there are at least this many features per row.
WIDE = 4


def pays(network, n_rows, rows_visited):
    """Whether the dual form is faster: for wide rows, each visited at least once."""
    layout = network.layout
    wide = layout.n_layers > 1 and layout.sizes[0] >= WIDE * n_rows
    return wide and rows_visited >= n_rows


def upper_layers(network):
    """The network without its first layer."""
    layout = ParamLayout(network.layout.sizes[1:])
    return Network(layout, network.activation, network.loss)


def tasks_at_once(network, dtype):
    """How many tasks to run side by side: more, since their rows share products."""
    return 2 * tasks_side_by_side(upper_layers(network), dtype)


def sgd(network, problem, n_steps):
    """`loops.sgd` from ``problem.start``: the `Descended`, and the last loss (T,).

    The rate must be the same for all weights of the first layer, and for its biases.
    """
    n_features, units = network.layout.sizes[:2]
    n_first = (n_features + 1) * units
    W_0, start = problem.start[:n_first].reshape(-1, units), problem.start[n_first:]
    rates = FirstLayerRates.of(problem, n_first)
    rows = FirstLayerRows.of(problem.batch.X, W_0, rates.bias)
    steps = _steps(problem, rows, rates.scale)
    pull = None
    if problem.strength is not None:
        pull = DualPull(problem.strength, n_first, start, rows.kernel)

    plan = workspace(upper_layers(network), start.dtype).plan(
        len(rows.output), steps[0].output.shape[1], input_gradient=True
    )
    theta, C = plan.theta, np.zeros_like(rows.output)
    theta[...] = start
    for k in range(n_steps):
        step = steps[k % len(steps)]
        if k == 0 or len(steps) > 1:
            plan.load_targets(*step.targets)
        U, G = _gradient(plan, step, C)
        if k == n_steps - 1:
            value = plan.value() / rates.scale
            value = value if pull is None else value + pull.value(C, theta)
        if pull is not None:
            U = pull.added(U, G, C, theta)
        if problem.clip is not None:
            short = _shortening(U, rows.gram, G, problem.clip)
            U = U * short[:, None]
            G *= short
        if rates.scale == 1.0:
            U = rates.weights * U
            G *= rates.upper
        C -= U
        theta -= G
    return Descended(problem.batch.X, W_0, C, rates.bias, theta), value


def _gradient(plan, step, C):
    """The gradient A' U of the first layer, as U (T, n, units), and G above it (T, P).

    It is that of the loss of the rows of a `DualStep`, at C and ``plan.theta``.
    """
    function, slope = ACTIVATIONS[plan.network.activation]
    Z = step.kernel @ C
    Z += step.output
    plan.rows[...] = function(Z)
    G = plan.gradient()
    U = plan.D[..., :-1] * slope(plan.rows)
    return (U if step.place is None else step.place @ U), G


class FirstLayerRates(NamedTuple):
    """What a gradient is multiplied by.

    Attributes
    ----------
    weights : ndarray of shape (T, 1, 1)
        Rate of the weights of the first layer.
    bias : float
        Rate of its biases, over that of the weights.
    upper : ndarray of shape (T, P)
        Rates of the layers above.
    scale : float
        If this is not 1, it is the only rate, and it is part of the loss, which is
        faster. Then nothing else may happen to a gradient.
    """

    weights: np.ndarray
    bias: float
    upper: np.ndarray
    scale: float

    @classmethod
    def of(cls, problem, n_first):
        n_tasks, n_params = len(problem.batch.X), len(problem.start)
        rate = np.broadcast_to(problem.rate, (n_tasks, n_params))
        bias = (rate[0, n_first - 1] / rate[0, 0]).item()
        scale = 1.0
        if problem.strength is None and problem.clip is None and problem.rate.size == 1:
            scale = problem.rate.item()
        return cls(rate[:, :1, None], bias, rate[:, n_first:], scale)


class FirstLayerRows(NamedTuple):
    """The rows of each task, as the first layer sees them.

    Attributes
    ----------
    output : ndarray of shape (T, n, units)
        A W_0, the output at the start.
    gram : ndarray of shape (T, n, n)
        X X'.
    kernel : ndarray of shape (T, n, n)
        A F A': how a change of C shows in the output.
    """

    output: np.ndarray
    gram: np.ndarray
    kernel: np.ndarray

    @classmethod
    def of(cls, X, W_0, bias):
        n_tasks, n_rows, _ = X.shape
        output = X.reshape(n_tasks * n_rows, -1) @ W_0[:-1] + W_0[-1]
        gram = X @ X.swapaxes(-1, -2)
        return cls(output.reshape(n_tasks, n_rows, -1), gram, gram + bias)


class DualPull:
    """The pull towards the start: its gradient and its value.

    In the first layer its strength is inverse to F, so that F cancels.
    """

    def __init__(self, strength, n_first, start, kernel):
        strength = np.broadcast_to(strength, (len(kernel), n_first + len(start)))
        self._first, self._upper = strength[:, 0], strength[:, n_first:]
        self._start, self._kernel = start, kernel

    def added(self, U, G, C, theta):
        """U with the gradient of the pull; that of the upper layers is added to G."""
        G += self._upper * (theta - self._start)
        return U + self._first[:, None, None] * C

    def value(self, C, theta):
        """The part (T,) of the pull in the objective."""
        move = theta - self._start
        first = np.einsum("tnh,tnh->t", C, self._kernel @ C) * self._first
        return 0.5 * (first + np.einsum("tp,tp->t", self._upper * move, move))


class DualStep(NamedTuple):
    """What a step sees of its b rows.

    Attributes
    ----------
    targets : tuple
        Y, weight and offset.
    output : ndarray of shape (T, b, units)
    kernel : ndarray of shape (T, b, n)
    place : ndarray of shape (T, n, b) or None
        1 where row n is row b of the step. None: the step sees all rows, in order.
    """

    targets: tuple
    output: np.ndarray
    kernel: np.ndarray
    place: np.ndarray | None


def _steps(problem, rows, scale):
    """The `DualStep` of each minibatch, or one that serves all steps."""
    batch, minibatches = problem.batch, problem.minibatches
    if minibatches is None:
        targets = (batch.Y, batch.weight * scale, batch.offset)
        return [DualStep(targets, rows.output, rows.kernel, None)]
    task = np.arange(len(minibatches))[:, None]
    narrow = batch._replace(X=batch.X[..., :0])  # `rows` replaces X
    everyone = np.arange(rows.output.shape[1])[:, None]
    return [
        DualStep(
            targets,
            rows.output[task, seen],
            rows.kernel[task, seen],
            (everyone == seen[:, None]).astype(rows.output.dtype),
        )
        for seen, (_, *targets) in zip(
            minibatches.swapaxes(0, 1),
            gather_minibatches(narrow, minibatches, scale),
            strict=True,
        )
    ]


class Descended:
    """The parameters of tasks after descent in dual form."""

    def __init__(self, X, W_0, C, bias, upper):
        self._X, self._W_0, self._C, self._bias, self._upper = X, W_0, C, bias, upper

    def sum(self):
        """Their sum over tasks (P,): one product over the rows of all tasks."""
        X, C = (part.reshape(-1, part.shape[2]) for part in (self._X, self._C))
        n_tasks, n_first = len(self._upper), self._W_0.size
        total = np.empty(n_first + self._upper.shape[1], C.dtype)
        first = total[:n_first].reshape(self._W_0.shape)
        np.matmul(X.T, C, out=first[:-1])
        np.multiply(self._bias, C.sum(axis=0), out=first[-1])
        first += n_tasks * self._W_0
        np.sum(self._upper, axis=0, out=total[n_first:])
        return total

    def each(self):
        """The parameters of each task (T, P)."""
        n_tasks, n_first = len(self._upper), self._W_0.size
        theta = np.empty((n_tasks, n_first + self._upper.shape[1]), self._C.dtype)
        theta[:, n_first:] = self._upper
        first = theta[:, :n_first].reshape(n_tasks, *self._W_0.shape)
        np.matmul(self._X.swapaxes(-1, -2), self._C, out=first[:, :-1])
        first[:, -1] = self._bias * self._C.sum(axis=1)
        first += self._W_0
        return theta


def _shortening(U, gram, G, limit):
    """Factor (T, 1) that shortens a gradient to a limit; its first layer is A' U."""
    square = np.einsum("tnh,tnh->t", U, gram @ U) + (U.sum(axis=1) ** 2).sum(axis=1)
    norm = np.sqrt(square + np.einsum("tp,tp->t", G, G))[:, None]
    return (limit / np.maximum(norm, limit)).astype(G.dtype)

"""Descent of networks with wide inputs, the first layer in terms of the rows.

Whatever descent does to the weights of the first layer, the change is a combination
of the n rows of the task, with the bias as one more column, A = [X, 1]:

    W = W_0 + F A' C,

where F holds what the rates are multiples of and C (n, units) is all that changes.
So the layer's output is A W_0 + (A F A') C, and neither it nor the gradient needs the
wide product again. That is the dual form of a linear model, used inside a network.
"""

from typing import NamedTuple

import numpy as np

from skmeta._core.descent.plan import tasks_side_by_side, workspace
from skmeta._core.descent.planned import minibatches
from skmeta._core.layout import ParamLayout
from skmeta._core.network import ACTIVATIONS, Network

WIDE = 4  # features per row from which the dual form is faster


def pays(network, n_rows, rows_visited):
    """Whether to use the dual form: wide rows, each visited at least once."""
    layout = network.layout
    wide = layout.n_layers > 1 and layout.sizes[0] >= WIDE * n_rows
    return wide and rows_visited >= n_rows


def upper_layers(network):
    """The network without its first layer."""
    layout = ParamLayout(network.layout.sizes[1:])
    return Network(layout, network.activation, network.loss)


def n_side_by_side(network, dtype):
    """How many tasks to run side by side: more, since their rows share products."""
    return 2 * tasks_side_by_side(upper_layers(network), dtype)


def sgd(network, problem, n_steps):
    """`descent.sgd` from ``problem.start``, as a `Descended`.

    The rate must be the same for all weights of the first layer, and for its biases.
    """
    batch, start = problem.batch, problem.start
    n_tasks, n_rows, n_features = batch.X.shape
    n_first = (n_features + 1) * network.layout.sizes[1]
    W_0 = start[:n_first].reshape(n_features + 1, -1)

    rate = np.broadcast_to(problem.rate, (n_tasks, len(start)))
    unit = rate[:, :1, None]  # of the weights
    bias = (rate[0, n_first - 1] / rate[0, 0]).item()  # of the biases, over that
    strength, scale = None, 1.0
    if problem.strength is not None:
        strength = np.broadcast_to(problem.strength, rate.shape)
    elif problem.clip is None and problem.rate.size == 1:  # cheaper in the loss
        scale = problem.rate.item()

    X = batch.X
    Q = (X.reshape(n_tasks * n_rows, -1) @ W_0[:-1] + W_0[-1]).reshape(
        n_tasks, n_rows, -1
    )
    gram = X @ X.swapaxes(-1, -2)
    kernel = gram + bias
    C = np.zeros_like(Q)
    steps = _steps(batch, problem.minibatches, scale, Q, kernel)

    plan = workspace(upper_layers(network), start.dtype).plan(
        n_tasks, steps[0].Q.shape[1], input_gradient=True
    )
    theta, function_of = plan.theta, ACTIVATIONS[network.activation]
    theta[...] = start[n_first:]
    for k in range(n_steps):
        step = steps[k % len(steps)]
        if k < len(steps):
            plan.load_targets(*step.targets)
        Z = step.kernel @ C
        Z += step.Q
        plan.rows[...] = function_of[0](Z)
        G = plan.gradient()
        D = plan.D[..., :-1] * function_of[1](plan.rows)
        U = D if step.place is None else step.place @ D
        if k == n_steps - 1:
            value = plan.value() / scale
        # the first layer's gradient is A' U
        if strength is not None:
            move = theta - start[n_first:]
            pull = strength[:, n_first:] * move
            G += pull
            U = U + strength[:, :1, None] * C  # strength is inverse to F, which cancels
            if k == n_steps - 1:
                way = np.einsum("tnh,tnh->t", C, kernel @ C) * strength[:, 0]
                value = value + 0.5 * (way + np.einsum("tp,tp->t", pull, move))
        if problem.clip is not None:
            short = _shortening(U, gram, G, problem.clip)
            U = U * short[:, None]
            G *= short
        if scale == 1.0:
            U = unit * U
            G *= rate[:, n_first:]
        C -= U
        theta -= G
    return Descended(X, W_0, C, bias, theta), value


class Step(NamedTuple):
    """What a step sees of its b rows."""

    targets: tuple  # Y, weight and offset
    Q: np.ndarray  # (T, b, units) output of the first layer at the start
    kernel: np.ndarray  # (T, b, n) how a change of C shows in that
    place: np.ndarray | None  # (T, n, b) 1 where a row is; None: all, in order


def _steps(batch, rows, scale, Q, kernel):
    """The steps, which repeat."""
    if rows is None:
        return [Step((batch.Y, batch.weight * scale, batch.offset), Q, kernel, None)]
    task = np.arange(len(rows))[:, None]
    narrow = batch._replace(X=batch.X[..., :0])  # the rows themselves are in Q
    everyone = np.arange(Q.shape[1])[:, None]
    return [
        Step(
            targets,
            Q[task, seen],
            kernel[task, seen],
            (everyone == seen[:, None]).astype(Q.dtype),
        )
        for seen, (_, *targets) in zip(
            rows.swapaxes(0, 1), minibatches(narrow, rows, scale), strict=True
        )
    ]


class Descended:
    """The parameters of tasks after descent in dual form."""

    def __init__(self, X, W_0, C, bias, upper):
        self._X, self._W_0, self._C, self._bias, self._upper = X, W_0, C, bias, upper

    def sum(self):
        """The sum over tasks (P,), which is one product over the rows of all."""
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
        """Those of each task (T, P)."""
        n_tasks, n_first = len(self._upper), self._W_0.size
        theta = np.empty((n_tasks, n_first + self._upper.shape[1]), self._C.dtype)
        theta[:, n_first:] = self._upper
        first = theta[:, :n_first].reshape(n_tasks, *self._W_0.shape)
        np.matmul(self._X.swapaxes(-1, -2), self._C, out=first[:, :-1])
        first[:, -1] = self._bias * self._C.sum(axis=1)
        first += self._W_0
        return theta


def _shortening(U, gram, G, limit):
    """Factor (T, 1) that shortens a gradient whose first layer is A' U to a limit."""
    square = np.einsum("tnh,tnh->t", U, gram @ U) + (U.sum(axis=1) ** 2).sum(axis=1)
    norm = np.sqrt(square + np.einsum("tp,tp->t", G, G))[:, None]
    return (limit / np.maximum(norm, limit)).astype(G.dtype)

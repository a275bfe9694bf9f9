"""Forward pass, loss and gradient of small networks, for many tasks at once.

The first axis of every array is that of the tasks: parameters have the shape (T, P) and
rows the shape (T, n, d). One matrix product serves all T tasks, and this makes many
small tasks fast. Nothing here loops over tasks.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from skmeta._core.layout import ParamLayout

# Huber's loss is linear beyond this many standard deviations, which is 95 % efficient
# under normal noise.
HUBER_DELTA = 1.35
# This is added to the variance in layer normalisation, so that it is never zero.
LAYER_NORM_EPS = 1e-5


class Batch(NamedTuple):
    """Rows of T tasks, padded to n rows each.

    ``weight`` sums to 1 over the rows of a task and is 0 on padding. ``offset`` is
    added to the network's output before the loss; None means 0.
    """

    X: np.ndarray  # (T, n, d)
    Y: np.ndarray  # (T, n, o)
    weight: np.ndarray  # (T, n)
    total_weight: np.ndarray  # (T,), the sum of the weights before normalising
    offset: np.ndarray | None = None  # broadcasts to (T, n, o)

    def of(self, tasks):
        """The part of the batch that belongs to some tasks, a slice or task numbers."""
        return Batch(*(None if part is None else part[tasks] for part in self))


@dataclass(frozen=True)
class Network:
    """A fully connected network: the layout of its parameters and its functions.

    ``loss`` is None if the outputs are features that other code uses. With
    ``intercept`` False, which is for linear models, the bias has no gradient: it stays
    at zero.
    """

    layout: ParamLayout
    activation: str
    loss: str | None = None
    intercept: bool = True

    def __hash__(self):  # adapting looks up buffers by the hash several times
        return self._hash

    @cached_property
    def _hash(self):
        return hash((self.layout, self.activation, self.loss, self.intercept))


# -- activations: name -> (function, derivative in terms of the function's value) -----


def _tanh_slope(a):
    return 1.0 - a * a


def _relu(z):
    return np.maximum(z, 0.0)


def _relu_slope(a):
    return (a > 0.0).astype(a.dtype)


ACTIVATIONS = {"tanh": (np.tanh, _tanh_slope), "relu": (_relu, _relu_slope)}


# -- losses: name -> function(Z, Y) of (per-row loss, its derivative in Z) ------------


def _squared_error(Z, Y):
    R = Z - Y
    return 0.5 * (R * R).sum(axis=-1), R


def _huber(Z, Y):
    R = Z - Y
    slope = np.clip(R, -HUBER_DELTA, HUBER_DELTA)
    # The loss is r^2 / 2 inside delta and delta (|r| - delta / 2) outside. One formula
    # gives both.
    return (slope * (R - 0.5 * slope)).sum(axis=-1), slope


def _log_loss(Z, Y):
    # -log p(y) = log(1 + e^z) - y z, with Y in {0, 1}. e^-|z| cannot overflow.
    softplus = np.maximum(Z, 0.0) + np.log1p(np.exp(-np.abs(Z)))
    return (softplus - Y * Z).sum(axis=-1), expit(Z) - Y


def _softmax_log_loss(Z, Y):
    shifted = Z - Z.max(axis=-1, keepdims=True)
    P = np.exp(shifted)
    total = P.sum(axis=-1, keepdims=True)
    value = np.log(total[..., 0]) - (Y * shifted).sum(axis=-1)
    return value, P / total - Y


LOSSES = {
    "squared_error": _squared_error,
    "huber": _huber,
    "log_loss": _log_loss,
    "softmax_log_loss": _softmax_log_loss,
}


# -- the network ----------------------------------------------------------------------


def predict(network, theta, X, offset=None):
    """Raw outputs (T, n, o) of T networks (T, P) on their rows X (T, n, d)."""
    Z, _ = forward(network, theta, X)
    return Z if offset is None else Z + offset


def losses(network, theta, batch):
    """Mean loss of each task, shape (T,)."""
    value, _ = LOSSES[network.loss](
        predict(network, theta, batch.X, batch.offset), batch.Y
    )
    return (batch.weight * value).sum(axis=-1)


def loss_and_gradient(network, theta, batch):
    """Mean loss of each task (T,) and its gradient (T, P)."""
    Z, tape = forward(network, theta, batch.X)
    if batch.offset is not None:
        Z = Z + batch.offset
    value, D = LOSSES[network.loss](Z, batch.Y)
    value = (batch.weight * value).sum(axis=-1)
    return value, backward(network, tape, D * batch.weight[..., None])


def forward(network, theta, X):
    """Outputs (T, n, o), and a tape with what the backward pass needs for each layer.

    An entry of the tape holds the layer and its input, and also z-hat and its deviation
    if the layer is normalised.
    """
    function, _ = ACTIVATIONS[network.activation]
    A, tape = X, []
    *hidden, last = network.layout.layers(theta)
    for layer in hidden:
        Z = A @ layer.weight + layer.bias[..., None, :]
        standard, deviation = None, None
        if layer.gain is not None:
            standard, deviation = _normalise(Z)
            Z = standard * layer.gain[..., None, :] + layer.shift[..., None, :]
        tape.append((layer, A, standard, deviation))
        A = function(Z)
    tape.append((last, A, None, None))
    return A @ last.weight + last.bias[..., None, :], tape


def backward(network, tape, D):
    """The gradient (T, P) of a loss whose derivative in the outputs is D (T, n, o)."""
    _, slope = ACTIVATIONS[network.activation]
    G = np.empty((len(D), network.layout.n_params), dtype=D.dtype)
    grads = network.layout.layers(G)
    for i in reversed(range(len(grads))):
        grad = grads[i]
        layer, A, standard, deviation = tape[i]
        if layer.gain is not None:
            grad.gain[...] = (D * standard).sum(axis=-2)
            grad.shift[...] = D.sum(axis=-2)
            D = _normalise_backward(D * layer.gain[..., None, :], standard, deviation)
        grad.weight[...] = A.swapaxes(-1, -2) @ D
        grad.bias[...] = D.sum(axis=-2) if network.intercept else 0.0
        if i > 0:  # A is the activation of the layer below
            D = (D @ layer.weight.swapaxes(-1, -2)) * slope(A)
    return G


def _normalise(Z):
    centred = Z - Z.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(variance + LAYER_NORM_EPS)
    return centred / deviation, deviation


def _normalise_backward(D, standard, deviation):
    # z-hat has mean 0 and variance 1 over the units. So the gradient is projected onto
    # the complement of the constant and of z-hat itself (Ba et al., 2016).
    D = D - D.mean(axis=-1, keepdims=True)
    return (D - standard * (D * standard).mean(axis=-1, keepdims=True)) / deviation

r"""Linear models: descent in the metric of the curvature, and what it leaves unknown.

The pull of `inner.Problem` is that of a Gaussian prior N(phi, R), where the variance of
coefficient j is r_j = f_j / alpha. On n rows A = [X, 1] of weights w, with losses l, a
task minimises

    sum_i w_i l_i(A theta) + (theta - phi)' R^-1 (theta - phi) / 2.

A linear model is small enough to measure a step by the curvature there, H = A'WA + R^-1
with W the second derivatives of the losses: theta moves by -H^-1 times the gradient.
For squared errors one such step ends at the minimum; otherwise few do. So the rates
need not say how far a step may go. All they say is how much tasks differ, and V = H^-1
is about the variance of what the rows have left unknown.

The rates learn from rows that the inner loop has not seen. At the minimum

    d theta / d log r_j = V[:, j] (theta - phi)_j / r_j,

so the derivative of their loss is exact, and not of first order as in `rates.py`.
Probabilities are averaged over what is unknown, before they meet those rows: see
`averaged`. So the rates also learn how sure a model may be.

Softmax outputs share no curvature here: each has its own block, p (1 - p) times
C / (C - 1). For C = 2 this is the curvature along the difference of the two.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from skmeta._core.descent.loops import moderated
from skmeta._core.network import HUBER_DELTA, LOSSES

# A linear model descends by its gradient alone if the covariances of a task hold more
# numbers than this: with more than 127 columns for one output, or 39 for ten.
MAX_CELLS = 2**14
# Descent ends where another step would lower the objective by less than this.
LITTLE_GAIN = 1e-2
# Values of the objective do not show a smaller gain than this.
HIDDEN_GAIN = 1e-8
# The same as the first in adapting, where tasks side by side must not matter.
LEAST_GAIN = 1e-22
# This is added to the curvature of a class that is certain, or impossible.
LEAST_CURVATURE = 1e-12
# The covariances of the tasks side by side take this much room; but at least this many
# tasks run side by side.
MATRIX_BYTES, MIN_TASKS = 2**20, 5
# The rates move this many times as fast as those of other models.
PACE = 2.0
# Rates stay within this factor of where they began.
MAX_FACTOR = 1e4


def suits(network):
    """Whether a network is a linear model of few enough columns and outputs."""
    if network.layout.n_layers > 1:
        return False
    n_features, n_outputs = network.layout.sizes
    return n_outputs * (n_features + 1) ** 2 <= MAX_CELLS


def tasks_at_once(network):
    """How many tasks to run side by side."""
    d, n_outputs = network.layout.sizes
    return max(MIN_TASKS, MATRIX_BYTES // (8 * n_outputs * (d + 1) ** 2))


# -- shapes ---------------------------------------------------------------------------


class Rows(NamedTuple):
    """Rows of T tasks: A (T, n, p), Y and offset (T, n, o), weight (T, n)."""

    A: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, network, batch):
        """The rows of a `Batch`, in double precision, each with its whole weight."""
        batch = moderated(batch)
        weight = batch.weight.astype(np.float64) * batch.total_weight[:, None]
        offset = 0.0 if batch.offset is None else batch.offset.astype(np.float64)
        return cls(design(network, batch.X), batch.Y.astype(np.float64), weight, offset)


def design(network, X):
    """X (..., d) with a column of ones, or of zeros without an intercept."""
    A = np.empty((*X.shape[:-1], X.shape[-1] + 1))
    A[..., :-1] = X
    A[..., -1] = network.intercept
    return A


def by_output(network, theta):
    """Flat parameters (..., P) as coefficients of each output (..., o, p)."""
    n_outputs = network.layout.sizes[-1]
    stack = theta.reshape(*theta.shape[:-1], -1, n_outputs)
    return stack.swapaxes(-1, -2).astype(np.float64)


def flat(theta):
    """The reverse of `by_output`, in double precision."""
    return theta.swapaxes(-1, -2).reshape(*theta.shape[:-2], -1)


# -- priors ---------------------------------------------------------------------------


class Spread:
    """The prior of a new task: coefficients (o, p) are independent around ``mean``."""

    def __init__(self, mean, variance):
        self.mean, self._variance = mean, variance

    def pull(self, move):
        """The gradient of ``move' R^-1 move / 2``."""
        return move / self._variance

    def precision(self, A, W):
        """A'WA + R^-1, (T, o, p, p), of rows A (T, n, p) and curvatures W (T, n, o)."""
        H = _information(A, W)
        p = H.shape[-1]
        H[..., range(p), range(p)] += 1.0 / self._variance
        return H

    def covariance(self, A, W):
        """The inverse V of `precision`, by the smaller of two systems."""
        n, p = A.shape[1:]
        if 2 * n >= p:
            return np.linalg.inv(self.precision(A, W))
        BR, K = self._in_rows(A, W)
        V = -BR.swapaxes(-1, -2) @ np.linalg.solve(K, BR)
        V[..., range(p), range(p)] += self._variance
        return V

    def solve(self, A, W, G):
        """V G (T, o, p), without V."""
        n, p = A.shape[1:]
        if 2 * n >= p:
            return np.linalg.solve(self.precision(A, W), G[..., None])[..., 0]
        BR, K = self._in_rows(A, W)
        seen = np.linalg.solve(K, BR @ G[..., None])
        return self._variance * G - (BR.swapaxes(-1, -2) @ seen)[..., 0]

    def _in_rows(self, A, W):
        """B R and K = I + B R B', where B are the rows times the roots of W.

        Then V = R - R B' K^-1 B R.
        """
        n = A.shape[1]
        B = np.sqrt(W).swapaxes(1, 2)[..., None] * A[:, None]
        BR = B * self._variance[:, None]
        K = BR @ B.swapaxes(-1, -2)
        K[..., range(n), range(n)] += 1.0
        return BR, K


class Known:
    """The prior of a task that has given rows: N(mean, precision^-1) of each output."""

    def __init__(self, mean, precision):
        self.mean, self._precision = mean, precision

    def pull(self, move):
        return (self._precision @ move[..., None])[..., 0]

    def precision(self, A, W):
        return self._precision + _information(A, W)

    def solve(self, A, W, G):
        return np.linalg.solve(self.precision(A, W), G[..., None])[..., 0]


def _information(A, W):
    """A'WA (T, o, p, p)."""
    weighted = W.swapaxes(1, 2)[..., None] * A[:, None]
    return A.swapaxes(1, 2)[:, None] @ weighted


def prior_of(network, state, settings):
    """The prior from which tasks adapt, at a `ReptileState`."""
    mean = by_output(network, state.start)
    if state.precision is not None:
        return Known(mean, state.precision)
    return Spread(mean, variances(network, state, settings))


def variances(network, state, settings):
    """The prior's variances (o, p)."""
    factor = state.rate_factor(settings.groups).astype(np.float64)
    return by_output(network, factor / settings.alpha)


# -- the inner loop -------------------------------------------------------------------


class Point(NamedTuple):
    """Where the tasks stand on their descent.

    Attributes
    ----------
    theta : ndarray of shape (T, o, p)
    value : ndarray of shape (T,)
        The objective.
    Z, D : ndarray of shape (T, n, o)
        Outputs, and the derivatives of the losses of the rows in them.
    """

    theta: np.ndarray
    value: np.ndarray
    Z: np.ndarray
    D: np.ndarray

    @classmethod
    def at(cls, network, prior, rows, theta):
        Z = rows.A @ theta.swapaxes(1, 2) + rows.offset
        loss, D = LOSSES[network.loss](Z, rows.Y)
        move = theta - prior.mean
        pull = 0.5 * (move * prior.pull(move)).sum(axis=(1, 2))
        return cls(theta, (rows.weight * loss).sum(axis=1) + pull, Z, D)

    def moved(self, other, which):
        """The point of the tasks ``which`` (T,) moved to the other."""
        if which.all():
            return other
        return Point(
            *(
                np.where(which.reshape(-1, *[1] * (a.ndim - 1)), b, a)
                for a, b in zip(self, other, strict=True)
            )
        )


def curvature(loss, Z, Y, D):
    """Second derivatives (T, n, o) of the losses in the outputs, or bounds of them."""
    match loss:
        case "squared_error":
            return np.ones_like(D)
        case "huber":  # the parabola that touches the loss where it is, and is above it
            return HUBER_DELTA / np.maximum(np.abs(Z - Y), HUBER_DELTA)
    P = D + Y
    n_outputs = D.shape[-1]
    return P * (1.0 - P) * (1.0 if n_outputs == 1 else n_outputs / (n_outputs - 1))


def descend(network, prior, rows, n_steps, gain):
    """Yield the `Point` after 0, 1, ... steps.

    Of a step that does not lower the objective, the next is half as long. Descent ends
    before ``n_steps`` if no step would gain more than ``gain``.
    """
    n_tasks = len(rows.A)
    theta = np.broadcast_to(prior.mean, (n_tasks, *prior.mean.shape[-2:]))
    point = Point.at(network, prior, rows, theta)
    scale = np.ones((n_tasks, 1, 1))
    yield point
    for _ in range(n_steps):
        G = _gradient(prior, rows, point)
        step = prior.solve(rows.A, weights_of(network, rows, point), G)
        gains = 0.5 * (G * step).sum(axis=(1, 2))
        if gains.max(initial=0.0) < gain:
            return
        trial = Point.at(network, prior, rows, point.theta - scale * step)
        # Rounding hides a small gain. False for what is not a number.
        better = (trial.value < point.value) | (gains < HIDDEN_GAIN)
        point = point.moved(trial, better)
        scale = np.where(better[:, None, None], np.minimum(1.0, scale * 2), scale / 2)
        yield point


def weights_of(network, rows, point):
    """The curvatures (T, n, o) of the rows, times their weights."""
    W = curvature(network.loss, point.Z, rows.Y, point.D)
    return rows.weight[..., None] * W


def _gradient(prior, rows, point):
    weighted = rows.weight[..., None] * point.D
    G = weighted.swapaxes(1, 2) @ rows.A
    return G + prior.pull(point.theta - prior.mean)


# -- training -------------------------------------------------------------------------


def learn(network, state, settings, support, query):
    """What some tasks teach the start and the rates.

    Returns
    -------
    theta : ndarray of shape (T, P)
        The means of the tasks' parameters, given the support rows. They are the minima
        of descent, moved by what the third derivative of the loss says to first order:
        the mean of a skewed density is not where it is largest. (Labels would otherwise
        leave the start too small.)
    loss : ndarray of shape (T,)
        Mean loss of the support rows, with the pull, where descent began.
    slope : ndarray of shape (P,) or (P + 1,), or None
        Derivative in the logarithms of the rates, and of the `share` if it is learned.
    """
    prior, rows = prior_of(network, state, settings), Rows.of(network, support)
    path = descend(network, prior, rows, settings.inner_steps, LITTLE_GAIN)
    first, point = _ends(path)
    V = prior.covariance(rows.A, weights_of(network, rows, point))
    total = np.maximum(rows.weight.sum(axis=1), np.finfo(float).tiny)
    move = point.theta - prior.mean
    theta = point.theta - _skewness(network.loss, rows, point, V)
    slope = None
    if network.loss == "squared_error":
        slope = _evidence_slope(
            prior, variances(network, state, settings), rows, point, V
        )
    elif query is not None:
        ratio = move / variances(network, state, settings)
        unseen = Rows.of(network, query)
        slope = _slope(network, state, settings, unseen, point.theta, V, ratio)
    return flat(theta), first.value / total, slope


def _ends(path):
    first = last = next(path)
    for last in path:  # noqa: B007 (the last item is what is asked for)
        pass
    return first, last


def _skewness(loss, rows, point, V):
    """How far the mean of each task's parameters is below the mode: (T, o, p)."""
    if loss not in ("log_loss", "softmax_log_loss"):
        return 0.0
    P = point.D + rows.Y
    _, v = spread_of_outputs(rows.A, V)
    if P.shape[-1] == 1:
        third = P * (1.0 - P) * (1.0 - 2.0 * P) * v
    else:
        inner = v - 2.0 * v * P
        third = P * (inner - (P * inner).sum(axis=-1, keepdims=True))
    weighted = 0.5 * rows.weight[..., None] * third
    return (V @ (weighted.swapaxes(1, 2) @ rows.A)[..., None])[..., 0]


def _evidence_slope(prior, variance, rows, point, V):
    """Minus the derivative (P,) of the log evidence of the rows in the log rates.

    Given the variance of the noise, that derivative is the sum over tasks of
    ((move^2 / noise + V_jj) / r_j - 1) / 2. Here the noise is the one of the largest
    evidence for all tasks together, so that no noise has to be known.
    """
    move = point.theta - prior.mean
    n_rows = max(rows.weight.sum(), np.finfo(float).tiny)
    noise = max(2.0 * point.value.sum() / n_rows, np.finfo(float).tiny)
    left = np.einsum("topp->top", V)
    return flat(-0.5 * ((move**2 / noise + left) / variance - 1.0).sum(axis=0))


def _slope(network, state, settings, rows, theta, V, ratio):
    """Derivative (P,) of the mean losses of query rows in the log rates, summed.

    ``ratio`` (T, o, p) is R^-1 (theta - phi).
    """
    weight = rows.weight / np.maximum(rows.weight.sum(axis=1, keepdims=True), 1e-300)
    Z = rows.A @ theta.swapaxes(1, 2) + rows.offset
    if network.loss in ("squared_error", "huber"):
        _, D = LOSSES[network.loss](Z, rows.Y)
        G = (weight[..., None] * D).swapaxes(1, 2) @ rows.A
        return flat(((V @ G[..., None])[..., 0] * ratio).sum(axis=0))
    AV, v = spread_of_outputs(rows.A, V)
    part = share(network, state)
    factor, sure = _averaging(Z, part * v)
    Z = centred(Z)
    _, D = LOSSES[network.loss](sure * Z, rows.Y)
    D *= weight[..., None]
    # the outputs move with theta, and the factor ``sure`` with V
    of_outputs = ((D * sure)[..., None] * AV).sum(axis=1)
    of_sure = (D * Z).sum(axis=-1, keepdims=True) * (-np.pi / 16 * factor * sure**3)
    squares = (of_sure[..., None] * AV**2).sum(axis=(0, 1))
    slope = (of_outputs * ratio).sum(axis=0)
    slope = flat(slope + part * squares / variances(network, state, settings))
    return slope if Z.shape[-1] == 1 else np.append(slope, part * (of_sure * v).sum())


# -- how sure a model may be ----------------------------------------------------------


def spread_of_outputs(A, V):
    """A V (T, n, o, p) for rows A (T, n, p), and the variances A V A' (T, n, o)."""
    AV = (A[:, None] @ V).swapaxes(1, 2)
    return AV, (AV * A[:, :, None]).sum(axis=-1)


def centred(Z):
    """Outputs (..., o) of a softmax less their mean; one output as it is."""
    return Z if Z.shape[-1] == 1 else Z - Z.mean(axis=-1, keepdims=True)


def _averaging(Z, v):
    """Factors (..., o) of the variances v of outputs Z, and those (..., 1) of Z."""
    factor = np.ones(1)
    if Z.shape[-1] > 1:
        P = softmax(Z, axis=-1)
        factor = P * (1.0 - P) + LEAST_CURVATURE
        factor = 2.0 * factor / factor.sum(axis=-1, keepdims=True)
    total = (factor * v).sum(axis=-1, keepdims=True)
    return factor, 1.0 / np.sqrt(1.0 + np.pi / 8 * total)


def share(network, state):
    """The share of the variances V that probabilities are averaged over.

    With one output MacKay's formula is accurate, and the share is 1. With several it is
    learned as the rates are.
    """
    if network.layout.sizes[-1] == 1:
        return 1.0
    return float(np.exp(state.rates.log_factor[-1]))


def learned_groups(rates, groups):
    """``groups`` (P,), and the number of the `share` if it is learned."""
    n_rates = groups.max() + 1
    return np.append(groups, np.arange(n_rates, len(rates.log_factor)))


def averaged(Z, v):
    """Outputs Z (..., o) whose probabilities are averages over variances v (..., o).

    The average of a probability over an output of variance v is nearly that of the
    output divided by sqrt(1 + pi / 8 v) (MacKay, 1992). For several classes v is the
    variance of a difference of two outputs, as a mean over pairs of classes weighted by
    the product of their probabilities. So the order of the classes does not change.
    """
    _, sure = _averaging(Z, v)
    return centred(Z) * sure.astype(Z.dtype)


def output_variances(network, precision, X, part=1.0):
    """Variances (T, n, o) of the outputs for rows X (T, n, d) of tasks.

    ``precision`` is (T, o, p, p), and ``part`` the `share` of the variances to take.
    Before a task has given any row, it is 1: the prior is normal.
    """
    _, v = spread_of_outputs(design(network, X), np.linalg.inv(precision))
    return part * v


# -- adapting -------------------------------------------------------------------------


def path(network, state, batch, settings, n_steps):
    """Yield the parameters (T, P) after 0, 1, ..., n_steps steps, as `inner.path`."""
    prior, rows = prior_of(network, state, settings), Rows.of(network, batch)
    theta, n_yielded = None, 0
    for point in descend(network, prior, rows, n_steps, LEAST_GAIN):
        theta = flat(point.theta).astype(state.start.dtype)
        n_yielded += 1
        yield theta
    for _ in range(n_yielded, n_steps + 1):
        yield theta


def precision_of(network, state, theta, batch, settings):
    """The precision (T, o, p, p) of tasks after rows that have led to theta (T, P)."""
    prior = prior_of(network, state, settings)
    rows = Rows.of(network, batch)
    point = Point.at(network, prior, rows, by_output(network, theta))
    return prior.precision(rows.A, weights_of(network, rows, point))


def start_precision(network, state, settings):
    """The precision (o, p, p) of a task that has given no row."""
    variance = variances(network, state, settings)
    return np.eye(variance.shape[1]) / variance[..., None]

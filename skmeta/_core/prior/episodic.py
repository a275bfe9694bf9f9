r"""Features for a linear head, learned by the loss of rows that the head has not seen.

A row x becomes psi(x) = [z(x), x, 1]: features z, the outputs of a network that all
tasks share, beside x itself. A task's coefficients are theta ~ N(m, L L') and its noise
N(0, s2), as in `gaussian`; with several outputs, each has a mean of its own. The loss
is minus the log density of a task's query rows, given its support rows,

    log p(y_query | y_support) = log p(y_support, y_query) - log p(y_support),

a difference of two evidences. They have a closed form, and so has their gradient in
psi, from which the backward pass of the network continues (Bertinetto et al., 2019;
Harrison et al., 2018). The mean of the head, the scales of its spread and the noise are
learned with the network.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skmeta._core import adam, network
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network
from skmeta._core.tasks import draw_support_size, draw_tasks, split_rows

# The loss of a task is that of at most this many query rows.
MAX_PREDICTED = 20
# The first features are multiplied by this, so that the head begins nearly linear.
FEATURE_SCALE = 0.1
# The numbers of the head are learned at this multiple of the network's rate.
HEAD_PACE = 3.0
# A scale with this logarithm is as good as zero.
LOG_NOTHING = -50.0
# The logarithm of the noise variance stays between these two; targets are standardised.
LOG_NOISE = (np.log(1e-7), np.log(1e3))


class FeatureOptions(NamedTuple):
    """The network, and how it is learned.

    If held-out tasks still gain at the end of a run, further runs try ``more`` times
    its meta-iterations, at the ``rate_of_more``.
    """

    hidden: tuple = (32,)
    n_components: int = 16
    activation: str = "tanh"
    layer_norm: bool = False
    learning_rate: float = 1e-3
    support_size: object = (1, 20)
    meta_batch_size: int = 25
    max_iter: int = 1000
    more: int = 1
    rate_of_more: float = 1e-3


class Belief(NamedTuple):
    """A head's coefficients as far as they are known, and the noise."""

    mean: np.ndarray  # (P, o)
    factor: np.ndarray  # (P, r)
    noise: float

    def of_one_output(self):
        """The same with a mean (P,)."""
        return self._replace(mean=self.mean[:, 0])


class FeatureState(NamedTuple):
    """What is learned."""

    theta: np.ndarray  # parameters of the network, in single precision
    numbers: np.ndarray  # the head's mean (P, o), log scales (r,) and log noise


@dataclass(frozen=True)
class Learner:
    """What does not change during a run: the network, and directions of the spread.

    The factor of the head's spread is ``directions`` (P, r), each column times a scale
    that is learned. Without an intercept no unit has an offset, so that the features of
    a row of zeros are zero.
    """

    network: Network
    directions: np.ndarray
    n_outputs: int
    fit_intercept: bool

    @property
    def n_features(self):
        """Number of learned features."""
        return self.network.layout.sizes[-1]

    def belief(self, state):
        P, r = self.directions.shape
        mean = state.numbers[: P * self.n_outputs].reshape(P, self.n_outputs)
        scale = np.exp(state.numbers[-1 - r : -1])
        return Belief(mean, self.directions * scale, float(np.exp(state.numbers[-1])))

    def without_features(self, state):
        """The state that does not use its features: a linear head."""
        numbers = state.numbers.copy()
        r = self.directions.shape[1]
        numbers[-1 - r : -1][: self.n_features] = LOG_NOTHING
        return state._replace(numbers=numbers)

    def with_unit_scales(self, state):
        """Parameters theta whose features are multiplied by the scales of the head.

        The coefficients of all features are then equally likely to be large.
        """
        theta = state.theta.copy()
        scale = np.diag(self.belief(state).factor)[: self.n_features]
        last = self.network.layout.layers(theta)[-1]
        last.weight[...] *= scale
        last.bias[...] *= scale
        return theta

    def design(self, theta, X):
        """Columns psi (..., P) of standardised rows X (..., d), and the tape."""
        return design(self.network, theta, X, self.fit_intercept)


def design(net, theta, X, fit_intercept):
    """Columns psi (..., P) of rows X (..., d): features, X, and 1; and the tape."""
    rows = X.reshape(1, -1, X.shape[-1]).astype(theta.dtype, copy=False)
    Z, tape = network.forward(net, theta[None], rows)
    columns = [Z.reshape(*X.shape[:-1], -1).astype(np.float64), X]
    if fit_intercept:
        columns.append(np.ones((*X.shape[:-1], 1)))
    return np.concatenate(columns, axis=-1), tape


def begin_features(sizes, activation, layer_norm, prior, fit_intercept, rng):
    """A `Learner` and its first `FeatureState`, from the `Belief` of a linear head.

    The first features are small and random, so that the head begins nearly linear.
    """
    net = Network(ParamLayout(tuple(sizes), layer_norm), activation)
    theta = net.layout.init(rng, np.float32)
    net.layout.layers(theta)[-1].weight[...] *= FEATURE_SCALE
    n_new = sizes[-1]
    P, r = prior.factor.shape
    o = prior.mean.shape[1]
    directions = np.zeros((n_new + P, n_new + r))
    directions[:n_new, :n_new] = np.eye(n_new)
    directions[n_new:, n_new:] = prior.factor
    mean = np.concatenate([np.zeros((n_new, o)), prior.mean])
    numbers = np.concatenate([mean.ravel(), np.zeros(n_new + r), [np.log(prior.noise)]])
    learner = Learner(net, directions, o, fit_intercept)
    if not fit_intercept:
        theta[_offsets(net.layout)] = 0.0
    return learner, FeatureState(theta, numbers)


def _offsets(layout):
    """Mask of the parameters that are added to a unit, whatever its inputs are."""
    mask = np.zeros(layout.n_params, dtype=bool)
    for layer in layout.layers(mask):
        layer.bias[...] = True
        if layer.shift is not None:
            layer.shift[...] = True
    return mask


# -- the loss and its gradient --------------------------------------------------------


class TargetDensity(NamedTuple):
    """Log density of a task's targets and its derivatives, summed over tasks."""

    value: np.ndarray  # (T,)
    design: np.ndarray  # (T, n, P)
    mean: np.ndarray  # (P, o)
    log_scale: np.ndarray  # (r,)
    log_noise: float


def target_density(psi, Y, weight, belief):
    """The `TargetDensity` of rows psi (T, n, P), Y (T, n, o); padding has weight 0."""
    mean, L, noise = belief
    root = np.sqrt(weight)[..., None]
    psi, n = psi * root, weight.sum(axis=-1) * Y.shape[-1]
    Z = psi @ L
    S = Z @ Z.swapaxes(-1, -2) / noise + np.eye(psi.shape[-2])
    error = Y * root - psi @ mean
    inverse = np.linalg.inv(S)
    A = inverse @ error
    squares = (error * A).sum(axis=(-1, -2)) / noise
    log_det = Y.shape[-1] * np.linalg.slogdet(S)[1]
    slope = A @ A.swapaxes(-1, -2) / noise - Y.shape[-1] * inverse
    dZ = slope @ Z / noise
    scales = (dZ * Z).sum(axis=(0, 1))
    return TargetDensity(
        value=-0.5 * (n * np.log(2 * np.pi * noise) + log_det + squares),
        design=(dZ @ L.T + A @ mean.T / noise) * root,
        mean=np.einsum("tnp,tno->po", psi, A) / noise,
        log_scale=scales,
        log_noise=-0.5 * ((n - squares).sum() + scales.sum()),
    )


def query_loss(learner, state, support, query):
    """Minus the log density per query row, and its gradients (theta, numbers)."""
    X = np.concatenate([support.X, query.X], axis=1)
    Y = np.concatenate([support.Y, query.Y], axis=1)
    weight = np.concatenate(
        [batch.weight * batch.total_weight[:, None] for batch in (support, query)],
        axis=1,
    )
    known = slice(support.X.shape[1])
    psi, tape = learner.design(state.theta, X)
    belief = learner.belief(state)
    both = target_density(psi, Y, weight, belief)
    given = target_density(psi[:, known], Y[:, known], weight[:, known], belief)
    n = query.total_weight.sum()
    D = both.design[..., : learner.n_features] / -n
    D[:, known] -= given.design[..., : learner.n_features] / -n
    D = D.reshape(1, -1, learner.n_features).astype(state.theta.dtype)
    slopes = [np.ravel(a - b) / -n for a, b in zip(both[2:], given[2:], strict=True)]
    loss = (given.value - both.value).sum() / n
    gradient = network.backward(learner.network, tape, D)[0]
    return loss, gradient, np.concatenate(slopes)


def learn_features(learner, state, table, settings, rng):
    """Yield the state and the loss after each meta-iteration, by Adam."""
    memory = [adam.start(state.theta), adam.start(state.numbers)]
    fixed = None if learner.fit_intercept else _offsets(learner.network.layout)
    for i in range(settings.max_iter):
        tasks = draw_tasks(rng, table, settings.meta_batch_size)
        size = draw_support_size(rng, settings.support_size)
        support, query = split_rows(
            rng, table, tasks, size, max_query=MAX_PREDICTED, keep_one=True
        )
        if query is None:  # all tasks drawn have one row, and none is left to predict
            yield state, np.nan
            continue
        loss, slope, numbers_slope = query_loss(learner, state, support, query)
        if fixed is not None:
            slope[fixed] = 0.0
        rate = settings.learning_rate * adam.fraction(i, settings.max_iter)
        theta, memory[0] = adam.step(state.theta, slope, memory[0], np.float32(rate))
        numbers, memory[1] = adam.step(
            state.numbers, numbers_slope, memory[1], HEAD_PACE * rate
        )
        numbers[-1] = np.clip(numbers[-1], *LOG_NOISE)
        state = FeatureState(theta, numbers)
        yield state, loss


# -- on held-out tasks ----------------------------------------------------------------

# Held-out tasks are scored after so many rows of theirs, ...
SCORED_AFTER = (1, 2, 4, 8, 16)
# ... each time for this many draws of these rows.
EPISODES_PER_SIZE = 4


def held_out_episodes(rng, table):
    """Fixed draws of (tasks, support, query), for each number of support rows."""
    episodes = []
    for size in SCORED_AFTER:
        tasks = np.flatnonzero(table.sizes > size)
        if len(tasks) == 0:
            continue
        part, everyone = table.subset(tasks), np.arange(len(tasks))
        for _ in range(EPISODES_PER_SIZE):
            draw = split_rows(
                rng, part, everyone, size, max_query=MAX_PREDICTED, keep_one=True
            )
            episodes.append((tasks, *draw))
    return episodes


def score_episodes(learner, state, table, episodes):
    """Log density of an unseen row, and root mean squared error, of each task: (2, T).

    Both are means over the numbers of support rows.
    """
    belief = learner.belief(state)
    total, counts = np.zeros((2, table.n_tasks)), np.zeros(table.n_tasks)
    for tasks, support, query in episodes:
        given, _ = learner.design(state.theta, support.X)
        asked, _ = learner.design(state.theta, query.X)
        weight = support.weight * support.total_weight[:, None]
        mean, variance = predictive(belief, given, support.Y, weight, asked)
        squares = (query.Y - mean) ** 2
        variance = variance[..., None]
        density = -0.5 * (squares / variance + np.log(2 * np.pi * variance))
        total[0, tasks] += _mean(query.weight, density)
        total[1, tasks] += np.sqrt(_mean(query.weight, squares))
        counts[tasks] += 1
    return total / np.maximum(counts, 1)


def _mean(weight, values):
    return (weight * values.sum(axis=-1)).sum(axis=-1)


def predictive(belief, given, Y, weight, asked):
    """Mean (T, n, o) and variance (T, n) of new targets, given rows of each task."""
    mean, L, noise = belief
    root = np.sqrt(weight)[..., None]
    Z, new = given * root @ L, asked @ L
    C = np.linalg.cholesky(Z @ Z.swapaxes(-1, -2) + noise * np.eye(Z.shape[-2]))
    right = np.concatenate([Z, (Y - given @ mean) * root], axis=-1)
    right = np.linalg.solve(C, right)
    whitened, error = right[..., : L.shape[1]], right[..., L.shape[1] :]
    cross = new @ whitened.swapaxes(-1, -2)
    variance = (new**2).sum(axis=-1) - (cross**2).sum(axis=-1)
    return asked @ mean + cross @ error, np.maximum(variance, 0.0) + noise

"""The Reptile meta-loop as a generator of states (Nichol et al., 2018)."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from skmeta._core import descent
from skmeta._core.network import loss_and_gradient
from skmeta._core.rates import RateState, update_rates
from skmeta._core.tasks import draw_support_size, draw_tasks, relabel, split_rows


@dataclass(frozen=True)
class Settings:
    """What does not change during a run."""

    solver: str
    learning_rate: float
    inner_steps: int
    batch_size: int | None
    support_size: object
    meta_step: float
    meta_batch_size: int
    max_iter: int
    alpha: float
    safe: bool  # clip and bound the steps: meant for standardised data
    groups: np.ndarray | None  # learned rates: group of each parameter; None = fixed

    @property
    def rate_pace(self):
        """How fast rates learn: in a short run faster, so that they get there."""
        return min(3.0, 500 / self.max_iter)


@dataclass(frozen=True)
class State:
    """What Reptile has learned so far."""

    start: np.ndarray  # (P,) phi in the paper
    rates: RateState | None = None
    adam: descent.AdamState | None = None
    loss: float = np.nan  # of the drawn tasks, at their last inner step

    def rate_factor(self, groups):
        """Inner rate of each parameter (P,), or of all (1,), over ``learning_rate``."""
        if self.rates is None:
            return np.ones(1, dtype=self.start.dtype)
        return np.exp(self.rates.log_factor)[groups].astype(self.start.dtype)


def interpolate(old, new, epsilon):
    """Move from old towards new by the fraction epsilon."""
    return old + epsilon * (new - old)


def reptile(network, table, state, settings, rng):
    """Yield the state after each meta-iteration.

    phi <- phi + epsilon * (mean over tasks of theta_t - phi), where theta_t is what
    the inner loop makes of phi on task t and epsilon falls linearly to 0
    (Nichol et al., 2018, algorithm 2).
    """
    for i in range(settings.max_iter):
        remaining = 1.0 - i / settings.max_iter
        tasks = draw_tasks(rng, table, settings.meta_batch_size)
        size = draw_support_size(rng, settings.support_size)
        # rates are judged by rows that the inner loop has not seen
        learning = settings.groups is not None
        support, query = split_rows(rng, table, tasks, size, keep_one=learning)
        if table.n_classes is not None:
            support, query = relabel(rng, support, query)

        theta, loss, adam = inner_loop(network, state, support, settings, rng)
        finite = np.isfinite(theta).all(axis=1)
        if not finite.all():
            raise NonFiniteTask(tasks[~finite])

        rates = state.rates
        if learning and query is not None:
            _, G = loss_and_gradient(network, theta, query)
            move = theta - state.start
            fraction = remaining * settings.rate_pace
            rates = update_rates(rates, settings.groups, G, move, fraction)

        start = interpolate(
            state.start, theta.mean(axis=0), settings.meta_step * remaining
        )
        state = replace(
            state, start=start, rates=rates, adam=adam, loss=float(loss.mean())
        )
        yield state


def inner_loop(network, state, batch, settings, rng):
    """Adapt every task of the batch from the same start: (theta, last loss, adam)."""
    n_steps = settings.inner_steps
    theta = np.broadcast_to(state.start, (len(batch.X), len(state.start)))
    problem = _descent_problem(network, state, batch, settings, n_steps, rng)
    if settings.solver == "adam":
        return last(descent.adam(*problem, theta, n_steps, state.adam))
    clip = descent.CLIP_NORM if settings.safe else None
    return *last(descent.sgd(*problem, theta, n_steps, clip)), None


def adaptation_path(network, state, theta, batch, settings, n_steps, rng):
    """Yield the parameters (T, P) after 0, 1, ..., n_steps steps of test-time descent.

    By backtracking on all rows; with Adam, and without safeguards, as in training.
    """
    backtracks = settings.solver == "sgd" and settings.safe
    if backtracks:
        settings = replace(settings, batch_size=None)
    problem = _descent_problem(network, state, batch, settings, n_steps, rng)
    if backtracks:
        yield from descent.backtracking(*problem, theta, n_steps)
        return
    yield theta
    if settings.solver == "adam":
        path = descent.adam(*problem, theta, n_steps, state.adam)
    else:
        path = descent.sgd(*problem, theta, n_steps)
    yield from (adapted for adapted, *_ in path)


def last(path):
    """The last item of an iterable."""
    return deque(path, maxlen=1).pop()


def _descent_problem(network, state, batch, settings, n_steps, rng):
    """What a task's descent minimises, and the rate of each of its parameters.

    To the loss, a mean over n rows, comes the pull towards the start,

        alpha / (2 n) sum_j (theta_j - phi_j)^2 / f_j,

    f_j being the learned factor of rate j. On the sum over rows that is a fixed
    penalty: it fades as rows come in, and holds back least what the tasks have shown
    to move far. It is the pull of a Gaussian prior whose variances are as the f_j.
    """
    if settings.batch_size is None:
        objective = descent.full_batch(network, batch)
    else:
        objective = descent.minibatches(
            network, batch, rng, settings.batch_size, n_steps
        )
    factor = state.rate_factor(settings.groups)
    rate = settings.learning_rate * factor
    has_rows = batch.n_rows > 0  # without rows a task stays at the start
    pull = np.where(has_rows, settings.alpha / np.where(has_rows, batch.n_rows, 1), 0)
    pull = pull[:, None]
    if settings.alpha > 0.0:
        strength = (pull / factor).astype(factor.dtype)
        objective = descent.pulled(objective, state.start, strength)
    if settings.safe and settings.solver == "sgd":
        rate = rate * descent.stable_fraction(
            network, batch, rate, settings.learning_rate * pull
        )
    return objective, rate


class NonFiniteTask(ArithmeticError):
    """The inner loop of some tasks left the finite numbers; args[0] = their numbers."""

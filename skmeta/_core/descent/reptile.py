r"""Reptile (Nichol, Achiam & Schulman, 2018, algorithm 2).

Let phi be the start, and theta_t what k steps of an inner loop make of it on task t.
One meta-iteration moves the start towards the mean of some tasks' theta_t:

    phi <- phi + epsilon * mean_t (theta_t - phi).

epsilon falls linearly from ``meta_step`` to 0 over the run. `reptile` is this loop;
the inner loops are in `loops.py`.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from skmeta._core.descent import curved, inner
from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.rates import MAX_FACTOR, update_rates
from skmeta._core.descent.state import ReptileState
from skmeta._core.tasks import (
    Rows,
    chunks,
    draw_minibatches,
    draw_places,
    draw_rows,
    draw_support_size,
    draw_tasks,
    fit_together,
    gather,
    relabel,
)

# A shorter run is not worth preparing an affine map for.
MIN_ITERATIONS_FOR_MAP = 10


def reptile(network, table, state, settings, rng):
    """Yield the state after each meta-iteration, or what would be kept of it."""
    kept = MeanOfEnd(settings)
    with way_to_adapt(network, table, state, settings) as adapt_tasks:
        for i in range(settings.max_iter):
            remaining = 1.0 - i / settings.max_iter
            epsilon = settings.meta_step * remaining
            episode = draw_episode(rng, table, settings)
            adapted = adapt_tasks(state, episode)
            state = ReptileState(
                start=interpolate(state.start, adapted.theta, epsilon),
                rates=_learn_rates(state.rates, adapted, settings, remaining),
                adam=adapted.adam,
                loss=adapted.loss,
            )
            yield kept.after(state, i)


def interpolate(old, new, epsilon):
    """Move from old towards new by the fraction epsilon."""
    move = new - old
    move *= epsilon
    move += old
    return move


def _learn_rates(rates, adapted, settings, remaining):
    if adapted.rate_slope is None:
        return rates
    fraction, most, groups = remaining * settings.rate_pace, MAX_FACTOR, settings.groups
    if settings.curved:
        fraction, most = curved.PACE * fraction, curved.MAX_FACTOR
        groups = curved.learned_groups(rates, groups)
    return update_rates(rates, groups, adapted.rate_slope, fraction, most)


class MeanOfEnd:
    """The mean of start and rates over the second half of a run (Polyak, 1990).

    It is as good as a long run of short steps: each meta-iteration sees a few rows of a
    few tasks. It is kept of runs in the metric of the curvature.
    """

    def __init__(self, settings):
        self._first = settings.max_iter // 2 if settings.curved else np.inf
        self._n, self._start, self._rates = 0, 0.0, 0.0

    def after(self, state, i):
        """The state to keep if the run ended with iteration ``i``."""
        if i < self._first:
            return state
        self._n += 1
        self._start += (state.start.astype(np.float64) - self._start) / self._n
        self._rates += (state.rates.log_factor - self._rates) / self._n
        rates = replace(state.rates, log_factor=self._rates.copy())
        return replace(state, start=self._start.astype(state.start.dtype), rates=rates)


# -- what is drawn --------------------------------------------------------------------


class Episode(NamedTuple):
    """What is drawn at random in one meta-iteration.

    Attributes
    ----------
    tasks : ndarray of int of shape (T,)
    support : Rows
        The rows that the inner loop sees.
    query : Rows or None
        Other rows of the same tasks, which teach the rates.
    places : ndarray of int of shape (T, n_way) or None
        Places of each task's own classes among the outputs.
    minibatches : ndarray of int of shape (T, K, b) or None
        The support rows that each inner step sees.
    """

    tasks: np.ndarray
    support: Rows
    query: Rows | None
    places: np.ndarray | None
    minibatches: np.ndarray | None

    def of(self, which):
        """The episode of some of the tasks alone."""
        if len(which) == len(self.tasks):
            return self
        return Episode(
            self.tasks[which],
            self.support.of(which),
            self.query and self.query.of(which),
            None if self.places is None else self.places[which],
            None if self.minibatches is None else self.minibatches[which],
        )


def draw_episode(rng, table, settings):
    """Draw tasks, rows of each, places of their classes, and minibatches."""
    tasks = draw_tasks(rng, table, settings.meta_batch_size)
    size = draw_support_size(rng, settings.support_size)
    # The rates learn from rows that the inner loop has not seen, if they can.
    learning = settings.groups is not None and not settings.by_evidence
    support, query = draw_rows(rng, table.sizes[tasks], size, keep_one=learning)
    places = minibatches = None
    if table.n_classes is not None:
        places = draw_places(rng, len(tasks), table.Y.shape[1])
    if settings.batch_size is not None:
        minibatches = draw_minibatches(
            rng, support.counts, settings.batch_size, settings.inner_steps
        )
    return Episode(tasks, support, query if learning else None, places, minibatches)


# -- the tasks of an episode ----------------------------------------------------------


class Adapted(NamedTuple):
    """Means over the tasks of an episode.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The adapted parameters.
    loss : float
        Loss before the last inner step.
    adam : SecondMoment or None
    rate_slope : ndarray of shape (P,) or None
        Gradient of the query loss in the logarithm of each parameter's rate, as a sum.
    """

    theta: np.ndarray
    loss: float
    adam: SecondMoment | None = None
    rate_slope: np.ndarray | None = None


@contextmanager
def way_to_adapt(network, table, state, settings):
    """The function (state, episode) -> `Adapted` that is fastest for the table.

    Threads share the chunks of an episode. The result does not depend on the number of
    threads: neither the chunks nor the order of their sum depends on it.
    """
    if settings.n_jobs == 1:
        in_chunks = partial(adapt_in_chunks, network, table, settings, map)
        yield _always_the_same(network, table, state, settings, in_chunks) or in_chunks
        return
    with ThreadPoolExecutor(settings.n_jobs) as pool:
        in_chunks = partial(adapt_in_chunks, network, table, settings, pool.map)
        yield _always_the_same(network, table, state, settings, in_chunks) or in_chunks


def adapt_in_chunks(network, table, settings, each, state, episode):
    """Adapt to the tasks of an episode, to as many at a time as stay in the cache."""
    counts, most = episode.support.counts, episode.support.index.shape[1]
    limit = inner.n_side_by_side(network, settings, state.start.dtype, most)
    adapt = partial(adapt_chunk, network, table, settings, state)
    # in the metric of the curvature, calls cost more than padding
    together = settings.curved and len(counts) <= limit
    if together or fit_together(counts, most, limit):
        return _mean_over_tasks(adapt(episode), len(counts), state, settings)
    parts = each(adapt, [episode.of(which) for which in chunks(counts, limit)])
    return _mean_over_tasks(reduce(_added, parts), len(counts), state, settings)


def _added(sums, more):
    return tuple(None if a is None else a + b for a, b in zip(sums, more, strict=True))


def _always_the_same(network, table, state, settings, in_chunks):
    """The function if every iteration adapts to all rows of all tasks; else None."""
    everyone = settings.meta_batch_size >= table.n_tasks and not settings.support_size
    if not everyone or settings.max_iter < MIN_ITERATIONS_FOR_MAP:
        return None
    mean = inner.affine_map(network, table, state, settings)
    if mean is None:
        return None

    def adapt(state, episode):
        answer = mean(state.start)
        if answer is None or not np.isfinite(answer[0]).all():
            return in_chunks(state, episode)  # it finds the task that diverges
        theta, loss = answer
        return Adapted(theta.astype(state.start.dtype), float(loss))

    return adapt


def adapt_chunk(network, table, settings, state, episode):
    """Sums over tasks of parameters, loss, second moment and slope of the rates."""
    support = _gather(table, episode, episode.support)
    if settings.curved:
        query = episode.query and _gather(table, episode, episode.query)
        theta, loss, slope = curved.learn(network, state, settings, support, query)
        total = theta.sum(axis=0).astype(state.start.dtype)
        _check_finite(total, lambda: theta, episode.tasks)
        return total, loss.sum(), None, slope
    theta, loss, moment = inner.descend(
        network, state, support, settings, episode.minibatches
    )
    total = theta.sum()
    _check_finite(total, theta.each, episode.tasks)
    slope = None
    if episode.query is not None:
        theta = theta.each()
        move = theta - state.start
        query = _gather(table, episode, episode.query)
        G = inner.query_slope(network, theta, query)
        slope = np.einsum("tp,tp->p", G, move, dtype=np.float64)
    moment = None if moment is None else moment.sum(axis=0)
    return total, loss.sum(), moment, slope


def _check_finite(total, each, tasks):
    """Raise an error that names the tasks whose parameters ``each()`` (T, P) are not.

    ``total`` (P,) is their sum.
    """
    if not np.isfinite(total.dot(total)) and not np.isfinite(total).all():
        diverged = ~np.isfinite(each()).all(axis=1)
        if diverged.any():
            raise NonFiniteTask(tasks[diverged])


def _gather(table, episode, rows):
    batch = gather(table, episode.tasks, rows)
    return batch if episode.places is None else relabel(batch, episode.places)


def _mean_over_tasks(sums, n_tasks, state, settings):
    (theta, loss, moment, slope), adam = sums, None
    if moment is not None:
        n_steps = state.adam.n_steps + settings.inner_steps
        adam = SecondMoment(moment / n_tasks, n_steps)
    mean = theta if n_tasks == 1 else theta / n_tasks
    return Adapted(mean, float(loss) / n_tasks, adam, slope)


class NonFiniteTask(ArithmeticError):
    """The inner loop diverged on the tasks whose numbers are ``args[0]``."""

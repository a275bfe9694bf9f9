"""The Reptile meta-loop as a generator of states (Nichol et al., 2018)."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from skmeta._core.descent import inner
from skmeta._core.descent.loops import AdamState
from skmeta._core.descent.rates import update_rates
from skmeta._core.descent.state import State
from skmeta._core.tasks import (
    Rows,
    chunks,
    draw_minibatches,
    draw_places,
    draw_rows,
    draw_support_size,
    draw_tasks,
    gather,
    relabel,
)

FEW_ITERATIONS = 10  # not worth to prepare for


def interpolate(old, new, epsilon):
    """Move from old towards new by the fraction epsilon."""
    return old + epsilon * (new - old)


def reptile(network, table, state, settings, rng):
    """Yield the state after each meta-iteration.

    phi <- phi + epsilon * (mean over tasks of theta_t - phi), where theta_t is what
    the inner loop makes of phi on task t and epsilon falls linearly to 0
    (Nichol et al., 2018, algorithm 2).
    """
    with way_to_adapt(network, table, state, settings) as adapt_tasks:
        for i in range(settings.max_iter):
            remaining = 1.0 - i / settings.max_iter
            episode = draw_episode(rng, table, settings)
            adapted = adapt_tasks(state, episode)
            epsilon = settings.meta_step * remaining
            state = State(
                start=interpolate(state.start, adapted.theta, epsilon),
                rates=_learn_rates(state.rates, adapted, settings, remaining),
                adam=adapted.adam,
                loss=adapted.loss,
            )
            yield state


def _learn_rates(rates, adapted, settings, remaining):
    if adapted.rate_slope is None:
        return rates
    fraction = remaining * settings.rate_pace
    return update_rates(rates, settings.groups, adapted.rate_slope, fraction)


class Episode(NamedTuple):
    """What is drawn at random in one meta-iteration."""

    tasks: np.ndarray  # (T,)
    support: Rows
    query: Rows | None
    places: np.ndarray | None  # (T, n_way) of own classes among the outputs
    minibatches: np.ndarray | None  # (T, K, b)

    def of(self, which):
        """The part of some of the tasks."""
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
    # rates are judged by rows that the inner loop has not seen
    learning = settings.groups is not None
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
    """Means over the tasks of an episode."""

    theta: np.ndarray  # (P,)
    loss: float  # before the last step
    adam: AdamState | None = None
    rate_slope: np.ndarray | None = None  # (P,) gradient in log rates, per parameter


@contextmanager
def way_to_adapt(network, table, state, settings):
    """The function (state, episode) -> `Adapted` that suits the table.

    Threads share the chunks of an episode. What a chunk is does not depend on their
    number, and sums are taken in the order of the chunks, so neither does the result.
    """
    if settings.n_jobs == 1:
        in_chunks = partial(adapt_in_chunks, network, table, settings, map)
        yield _always_the_same(network, table, state, settings, in_chunks) or in_chunks
        return
    with ThreadPoolExecutor(settings.n_jobs) as pool:
        in_chunks = partial(adapt_in_chunks, network, table, settings, pool.map)
        yield _always_the_same(network, table, state, settings, in_chunks) or in_chunks


def adapt_in_chunks(network, table, settings, each, state, episode):
    """Adapt the tasks of an episode, as many at a time as stay in the cache."""
    counts = episode.support.counts
    limit = inner.n_side_by_side(network, settings, state.start.dtype, counts.max())
    adapt = partial(adapt_chunk, network, table, settings, state)
    parts = each(adapt, [episode.of(which) for which in chunks(counts, limit)])
    return _mean(reduce(_added, parts), len(counts), state, settings)


def _added(sums, more):
    return tuple(None if a is None else a + b for a, b in zip(sums, more, strict=True))


def _always_the_same(network, table, state, settings, in_chunks):
    """How to adapt to all rows of all tasks if every iteration does that; else None."""
    everyone = settings.meta_batch_size >= table.n_tasks and not settings.support_size
    if not everyone or settings.max_iter < FEW_ITERATIONS:
        return None
    mean = inner.affine_map(network, table, state, settings)
    if mean is None:
        return None

    def adapt(state, episode):
        answer = mean(state.start)
        if answer is None or not np.isfinite(answer[0]).all():
            return in_chunks(state, episode)  # which names a task that diverges
        theta, loss = answer
        return Adapted(theta.astype(state.start.dtype), float(loss))

    return adapt


def adapt_chunk(network, table, settings, state, episode):
    """Sums over tasks of parameters, loss, second moment and slope of the rates."""
    support = _gather(table, episode, episode.support)
    theta, loss, moment = inner.train(
        network, state, support, settings, episode.minibatches
    )
    total = theta.sum()
    if not np.isfinite(total).all():
        diverged = ~np.isfinite(theta.each()).all(axis=1)
        if diverged.any():
            raise NonFiniteTask(episode.tasks[diverged])
    slope = None
    if episode.query is not None:
        theta = theta.each()
        move = theta - state.start
        query = _gather(table, episode, episode.query)
        G = inner.query_slope(network, theta, query)
        slope = np.einsum("tp,tp->p", G, move, dtype=np.float64)
    moment = None if moment is None else moment.sum(axis=0)
    return total, loss.sum(), moment, slope


def _gather(table, episode, rows):
    batch = gather(table, episode.tasks, rows)
    return batch if episode.places is None else relabel(batch, episode.places)


def _mean(sums, n_tasks, state, settings):
    (theta, loss, moment, slope), adam = sums, None
    if moment is not None:
        n_steps = state.adam.n_steps + settings.inner_steps
        adam = AdamState(moment / n_tasks, n_steps)
    return Adapted(theta / n_tasks, float(loss) / n_tasks, adam, slope)


class NonFiniteTask(ArithmeticError):
    """The inner loop of some tasks left the finite numbers; args[0] = their numbers."""

"""Query loss of held-out tasks along the adaptation path."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core import inner
from skmeta._core.network import losses
from skmeta._core.plan import tasks_side_by_side
from skmeta._core.tasks import split_rows

SUPPORT_SIZES = (1, 2, 5, 10, 20)
STEPS = (0, 1, 2, 5, 10, 20, 50, 100)


def draw_episodes(rng, table, n_repeats=5):
    """Fixed support and query stacks of held-out tasks, for each support size.

    Returns
    -------
    dict {n_support: list of (support, query)}
        For the sizes that leave some task a row to score.
    """
    episodes = {}
    for n_support in SUPPORT_SIZES:
        tasks = np.flatnonzero(table.sizes > n_support)
        if len(tasks) == 0:
            continue
        part = table.subset(tasks)
        everyone = np.arange(len(tasks))
        episodes[n_support] = [
            split_rows(rng, part, everyone, n_support, keep_one=True)
            for _ in range(n_repeats)
        ]
    return episodes


def query_losses(network, state, episodes, settings, n_steps, rng):
    """Mean query loss after 0, 1, ..., n_steps adaptation steps: (n_steps + 1,)."""
    limit = tasks_side_by_side(network, state.start.dtype)
    total = np.zeros(n_steps + 1)
    for support, query in episodes:
        n_tasks = len(support.X)
        for part in gen_batches(n_tasks, limit):
            known, new = support.of(part), query.of(part)
            start = np.broadcast_to(state.start, (len(known.X), len(state.start)))
            path = inner.path(network, state, start, known, settings, n_steps, rng)
            total += [losses(network, theta, new).sum() / n_tasks for theta in path]
    return total / len(episodes)


def best_steps(network, state, episodes, settings, rng):
    """Number of adaptation steps for each support size: array (n_sizes, 2).

    The smallest number of `STEPS` with the least query loss; 0 = do not adapt.
    """
    table = []
    for n_support, draws in episodes.items():
        curve = query_losses(network, state, draws, settings, STEPS[-1], rng)
        curve = np.nan_to_num(curve[list(STEPS)], nan=np.inf)  # diverged
        table.append((n_support, STEPS[int(np.argmin(curve))]))
    return np.array(table, dtype=np.intp)

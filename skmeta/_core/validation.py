"""Query loss of held-out tasks along the adaptation path."""

import numpy as np

from skmeta._core import inner
from skmeta._core.network import losses
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
    total = np.zeros(n_steps + 1)
    for support, query in episodes:
        start = np.broadcast_to(state.start, (len(support.X), len(state.start)))
        path = inner.path(network, state, start, support, settings, n_steps, rng)
        total += [losses(network, theta, query).mean() for theta in path]
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

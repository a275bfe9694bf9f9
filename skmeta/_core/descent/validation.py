"""Loss of unseen rows of held-out tasks, along the path of adapting."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core.descent import inner
from skmeta._core.descent.plan import tasks_side_by_side
from skmeta._core.network import losses
from skmeta._core.tasks import draw_rows, even_parts, gather

# Numbers of rows to adapt to, and numbers of steps, that are tried.
TRIED_SIZES = (1, 2, 5, 10, 20)
TRIED_STEPS = (0, 1, 2, 5, 10, 20, 50, 100)


def draw_held_out_rows(rng, table, n_repeats=5):
    """Draw rows of held-out tasks to adapt to, and others to score, once for a run.

    Returns
    -------
    dict {n_support: list of (support, query)}
        Two `Batch` each, for the sizes that leave some task a row to score. Tasks of
        very different sizes are in several batches, so that there is little padding.
    """
    episodes = {}
    for n_support in TRIED_SIZES:
        tasks = np.flatnonzero(table.sizes > n_support)
        if len(tasks) == 0:
            continue
        part = table.subset(tasks)
        episodes[n_support] = [
            stacks
            for _ in range(n_repeats)
            for stacks in _draw_in_batches(rng, part, n_support)
        ]
    return episodes


def _draw_in_batches(rng, table, n_support):
    """Yield the support and query of all tasks, in one or several batches."""
    support, query = draw_rows(rng, table.sizes, n_support, keep_one=True)
    parts = even_parts(np.argsort(query.counts, kind="stable"), query.counts)
    parts = parts if len(parts) > 1 else [np.arange(table.n_tasks)]
    for tasks in parts:
        yield tuple(gather(table, tasks, rows.of(tasks)) for rows in (support, query))


def query_losses(network, state, episodes, settings, n_steps, rng):
    """Mean query loss after 0, 1, ..., n_steps adaptation steps: (n_steps + 1,)."""
    limit = tasks_side_by_side(network, state.start.dtype)
    total, n_drawn = np.zeros(n_steps + 1), 0
    for support, query in episodes:
        n_tasks = len(support.X)
        n_drawn += n_tasks
        for part in gen_batches(n_tasks, limit):
            known, new = support.of(part), query.of(part)
            start = np.broadcast_to(state.start, (len(known.X), len(state.start)))
            path = inner.path(network, state, start, known, settings, n_steps, rng)
            total += [losses(network, theta, new).sum() for theta in path]
    return total / n_drawn


def mean_loss(network, episodes, settings, n_steps, rng, state):
    """Mean query loss over support sizes, after that many steps from a state."""
    curves = [
        query_losses(network, state, draws, settings, n_steps, rng)
        for draws in episodes.values()
    ]
    return float(np.mean([curve[-1] for curve in curves]))


def best_steps(network, state, episodes, settings, rng):
    """Number of adaptation steps for each support size: array (n_sizes, 2).

    The smallest number of `TRIED_STEPS` with the least query loss; 0 = do not adapt.
    """
    table = []
    for n_support, draws in episodes.items():
        curve = query_losses(network, state, draws, settings, TRIED_STEPS[-1], rng)
        curve = np.nan_to_num(curve[list(TRIED_STEPS)], nan=np.inf)  # diverged
        table.append((n_support, TRIED_STEPS[int(np.argmin(curve))]))
    return np.array(table, dtype=np.intp)


def steps_for(chosen, n_rows):
    """The steps of the table of `best_steps` whose number of rows is nearest.

    Nearest in ratio: 10 rows are as far from 5 as from 20.
    """
    sizes, steps = chosen.T
    return int(steps[np.argmin(np.abs(np.log(sizes / max(n_rows, 1))))])

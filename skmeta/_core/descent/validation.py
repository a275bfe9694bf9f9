"""Loss of unseen rows of held-out tasks, along the path of adapting."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core.descent import inner
from skmeta._core.tasks import draw_rows, even_parts, gather, split_rows

# Numbers of rows to adapt to, and numbers of steps, that are tried.
TRIED_SIZES = (1, 2, 5, 10, 20)
TRIED_STEPS = (0, 1, 2, 5, 10, 20, 50, 100)
# To compare courses, rows are drawn so often that there are about this many draws for
# each number of rows, but at most so many of a task, with so many rows to score.
ENOUGH_DRAWS, MOST_REPEATS, MOST_SCORED = 200, 5, 20


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


def draw_episodes(rng, table):
    """Draw rows of held-out tasks as `draw_held_out_rows` does, but few, of each task.

    Returns
    -------
    n_tasks : int
    draws : list of list of (tasks, support, query)
        For each number of rows to adapt to, as far as half of the tasks have more.
    """
    sizes = [n for n in TRIED_SIZES if np.mean(table.sizes > n) >= 0.5]
    n_repeats = int(np.clip(ENOUGH_DRAWS / table.n_tasks, 1, MOST_REPEATS))

    def draw(n_support):
        tasks = np.flatnonzero(table.sizes > n_support)
        options = {"max_query": MOST_SCORED, "keep_one": True}
        return tasks, *split_rows(rng, table, tasks, n_support, **options)

    draws = [[draw(n) for _ in range(n_repeats)] for n in sizes or TRIED_SIZES[:1]]
    return table.n_tasks, draws


def losses_of_tasks(network, state, episodes, settings, n_steps, rng):
    """Loss of each held-out task after adapting to rows of it: (n_sizes, T).

    It is a mean over draws of `draw_episodes`, and NaN for a task with too few rows.
    """
    n_tasks, draws = episodes
    found = np.full((len(draws), n_tasks), np.nan)
    limit = inner.n_adapting(network, settings, state.start.dtype)
    for row, of_size in zip(found, draws, strict=True):
        row[of_size[0][0]] = 0.0
        for tasks, support, query in of_size:
            for part in gen_batches(len(tasks), limit):
                known, new = support.of(part), query.of(part)
                start = np.broadcast_to(state.start, (len(known.X), len(state.start)))
                args = network, state, start, known, settings, n_steps, rng
                theta = inner.adapt(*args)
                args = network, state, theta, known, new, settings, n_steps
                loss = inner.unseen_losses(*args)
                row[tasks[part]] += np.nan_to_num(loss, nan=np.inf) / len(of_size)
    return found


def query_losses(network, state, episodes, settings, n_steps, rng):
    """Mean query loss after 0, 1, ..., n_steps adaptation steps: (n_steps + 1,)."""
    limit = inner.n_adapting(network, settings, state.start.dtype)
    total, n_drawn = np.zeros(n_steps + 1), 0
    for support, query in episodes:
        n_tasks = len(support.X)
        n_drawn += n_tasks
        for part in gen_batches(n_tasks, limit):
            known, new = support.of(part), query.of(part)
            start = np.broadcast_to(state.start, (len(known.X), len(state.start)))
            path = inner.path(network, state, start, known, settings, n_steps, rng)
            total += [
                inner.unseen_losses(
                    network, state, theta, known, new, settings, steps
                ).sum()
                for steps, theta in enumerate(path)
            ]
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

"""Query loss of held-out tasks along the adaptation path; what a constant scores."""

import numpy as np
from scipy import sparse
from scipy.special import logit
from sklearn.utils import gen_batches

from skmeta._core.descent import inner
from skmeta._core.descent.plan import tasks_side_by_side
from skmeta._core.network import LOSSES, losses
from skmeta._core.tasks import draw_rows, even_parts, gather

SUPPORT_SIZES = (1, 2, 5, 10, 20)
STEPS = (0, 1, 2, 5, 10, 20, 50, 100)


def draw_episodes(rng, table, n_repeats=5):
    """Fixed support and query stacks of held-out tasks, for each support size.

    Returns
    -------
    dict {n_support: list of (support, query)}
        For the sizes that leave some task a row to score. Ragged tasks are in several
        stacks, so that there is little padding.
    """
    episodes = {}
    for n_support in SUPPORT_SIZES:
        tasks = np.flatnonzero(table.sizes > n_support)
        if len(tasks) == 0:
            continue
        part = table.subset(tasks)
        episodes[n_support] = [
            stacks for _ in range(n_repeats) for stacks in _draw(rng, part, n_support)
        ]
    return episodes


def _draw(rng, table, n_support):
    """Support and query of all tasks, in several stacks where they are ragged."""
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


# -- to compare with -------------------------------------------------------------------


def constant_loss(network, table):
    """Mean loss over all rows of the best constant output, or about that.

    The larger of the weighted mean and the plain one: a draw of a single row meets it
    as often as any other, whatever its weight.
    """
    share = table.weight / table.weight.max()
    share = share / share.sum()
    if table.n_classes is not None:  # labels mean nothing across tasks
        return float(share @ np.log(np.repeat(table.n_classes, table.sizes)))
    mean = share @ table.Y
    if network.loss == "softmax_log_loss":
        output = np.log(np.maximum(mean, np.finfo(float).tiny))
    elif network.loss == "log_loss":
        output = logit(np.clip(mean, 1e-12, 1.0 - 1e-12))
    else:
        output = mean
    value, _ = LOSSES[network.loss](np.broadcast_to(output, table.Y.shape), table.Y)
    return float(max(share @ value, value.mean()))


def column_sizes(X):
    """Root mean square of each column of X, and its largest absolute value."""
    if sparse.issparse(X):
        square = np.bincount(X.indices, X.data.astype(float) ** 2, X.shape[1])
        largest = abs(X).max(axis=0).toarray().ravel()
    else:
        square = np.einsum("nd,nd->d", X, X, dtype=np.float64)
        largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    return np.sqrt(square / X.shape[0]), largest

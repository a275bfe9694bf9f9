"""How well held-out tasks are predicted after a few of their rows."""

import numpy as np
from sklearn.utils import gen_batches

from skmeta._core.prior.search import loss_before
from skmeta._core.prior.stacks import STACK_CELLS, Stack

# At most so many rows of a task are asked for after each draw of rows given.
MAX_ASKED = 50


def log_scores(learned, measured, orders, given):
    """Mean log score of a task's other rows, after some of its rows: (T, sizes).

    Each task is predicted by a prior that was learned without it.

    Parameters
    ----------
    learned : LearnedPrior
    measured : ToMeasure
        The folds, from `learn_and_measure`.
    orders : list of ndarray
        Of each task of the table: see `draw_orders`.
    given : sequence of int
        Numbers of rows to give.

    Returns
    -------
    scores : ndarray of shape (n_tasks, len(given))
        NaN where a task has no other row.
    """
    scores = np.full((len(orders), len(given)), np.nan)
    for column, n_given in enumerate(given):
        if n_given == 0:
            scores[:, column] = _scores_before(learned, measured, len(orders))
            continue
        for fold in measured.folds:
            numbers = fold.held_out.numbers
            some = np.array([orders[t].shape[1] > n_given for t in numbers], dtype=bool)
            tasks, parts = numbers[some], fold.held_out.take(np.flatnonzero(some))
            for batch in _batches(len(fold.prior.mean), n_given, orders, tasks):
                rows = [parts[i] for i in range(batch.start, batch.stop)]
                drawn = [orders[t] for t in tasks[batch]]
                found = _mean_scores(learned, fold.prior, rows, drawn, n_given)
                scores[tasks[batch], column] = found
    return scores


def _scores_before(learned, measured, n_tasks):
    """Scores (T,) without any row given, of what predicts then."""
    losses = np.full(n_tasks, np.nan)
    for fold in measured.folds:
        kept, held_out = (
            learned.model.gather(rows, learned.design)
            for rows in (fold.kept, fold.held_out)
        )
        loss = loss_before(learned.zero_shot, kept, held_out, fold.prior)
        losses[fold.held_out.numbers] = loss
    return learned.model.log_score_before(losses)


def _batches(n_coefficients, n_given, orders, tasks):
    """Slices of the tasks that are treated together."""
    cells = n_coefficients * (n_given + MAX_ASKED + n_coefficients)
    cells *= len(orders[0])
    return gen_batches(len(tasks), max(1, STACK_CELLS // cells))


def _mean_scores(learned, prior, rows, orders, n_given):
    """Scores (T,) of the rows asked for: means over draws."""
    given, asked = [], []
    for part, order in zip(rows, orders, strict=True):
        for drawn in order:
            first, rest = drawn[:n_given], drawn[n_given : n_given + MAX_ASKED]
            given.append([field[first] for field in part])
            asked.append([field[rest] for field in part])
    given, asked = Stack.of(given), Stack.of(asked)
    scores = learned.model.log_score_after(learned, prior, given, asked)
    return scores.reshape(len(rows), -1).mean(axis=1)

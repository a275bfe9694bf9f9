"""Which half-life of rows predicts the next rows of held-out tasks best.

Held-out tasks are cut at some points. What is known at a cut comes from the rows before
it, and the rows right after it are predicted. A half-life is chosen only if it clearly
predicts better than to count all rows alike.
"""

from dataclasses import replace

import numpy as np

from skmeta._core.prior.search import as_good

# Half-lives that are tried if age is counted in rows. Below these, hardly any row of a
# task would be left.
IN_ROWS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
# If age is in units of a column, these shares of the usual time between the first row
# of a task and its last one are tried.
OF_SPAN = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
# A task is cut at most so many times, ...
MAX_CUTS = 10
# ... for the first time after so many rows, and so many rows after a cut are predicted.
FIRST_CUT, N_NEXT = 2, 5
# Only so many rows of a task are looked at.
MAX_TASK_ROWS = 400
# The gain or loss of one task counts as at most so many times that of the median task.
LARGEST_GAIN = 4.0
# A half-life is better than none if the mean gain is so many standard errors.
SURE = 2.0


def choose_half_life(model, design, folds):
    """The `Recency` of a `TaskModel` with the half-life that held-out tasks choose.

    It is infinite unless some half-life predicts clearly better. Of those that do, the
    longest is taken that is as good as the best.
    """
    recency = model.recency
    candidates = [replace(recency, half_life=h) for h in _grid(recency, design, folds)]
    none = replace(recency, half_life=np.inf)
    scores = [
        model.scores_of_next(task, design, fold.prior, cut_points(task), many)
        for fold in folds
        for task in map(_first_rows, fold.held_out)
        for many in ([*candidates, none],)
        if len(task[1]) > FIRST_CUT
    ]
    if not candidates or len(scores) < 2:
        return none
    scores = np.transpose(scores)
    gains = scores[:-1] - scores[-1]
    if model.scores_have_tails:
        gains = _bounded(gains)
    error = gains.std(axis=1) / np.sqrt(gains.shape[1])
    better = np.flatnonzero(gains.mean(axis=1) > SURE * error)
    if len(better) == 0:
        return none
    best = better[gains[better].mean(axis=1).argmax()]
    longest = max(i for i in better if i >= best and as_good(gains[i], gains[best]))
    return candidates[longest]


def _bounded(gains):
    """Gains (H, T) in which no task counts much more than the usual one."""
    usual = np.median(np.abs(gains), axis=1, keepdims=True)
    most = np.where(usual > 0, LARGEST_GAIN * usual, np.inf)
    return np.clip(gains, -most, most)


def _first_rows(task):
    return [field[:MAX_TASK_ROWS] for field in task]


def cut_points(task):
    """Numbers of rows that are known when the next ones are predicted."""
    n = len(task[1])
    n_cuts = min(MAX_CUTS, n - FIRST_CUT)
    return np.linspace(FIRST_CUT, n - 1, n_cuts).round().astype(int)


def _grid(recency, design, folds):
    """Half-lives to try, the shortest first; they are of the kind of the ages."""
    if recency.column is None:
        return IN_ROWS
    times = recency.in_columns(design.n_learned).times
    spans = [np.ptp(times(task[0])) for fold in folds for task in fold.held_out]
    usual = np.median([span for span in spans if span > 0] or [0.0])
    return tuple(share * usual for share in OF_SPAN if usual > 0)

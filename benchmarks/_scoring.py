"""How well a method predicts new tasks from a few rows of each."""

import _task_sets as task_sets
import numpy as np
from scipy.stats import t as student

N_DRAWS = 3
# In standard deviations of y: no error counts more, so that one task that diverges
# does not hide the others.
LARGEST_ERROR = 1e6
COVERAGE, COVERAGE_SHOTS = 0.9, (2, 4, 8)


def few_shot(method, tasks, usable, k, n_draws, seed):
    """Loss, accuracy and coverage of each usable task: means over draws, (n_tasks, 3).

    What a method does not have is NaN.
    """
    scores = []
    for t in usable:
        draws = []
        for draw in range(n_draws):
            given, (X, y) = task_sets.support_and_query(tasks[t], k, (seed, t, draw))
            draws.append(score(method.adapt(*given), X, y, k))
        scores.append(np.mean(draws, axis=0))
    return np.array(scores).reshape(-1, 3)


def score(model, X, y, k):
    if np.issubdtype(y.dtype, np.integer):
        p = model.predict_proba(X)
        loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)).mean()
        return loss, np.mean(p.argmax(axis=1) == y), np.nan
    loss = min(np.sqrt(np.mean((model.predict(X) - y) ** 2)), LARGEST_ERROR)
    covered = np.nan
    if k in COVERAGE_SHOTS and hasattr(model, "predict_interval"):
        lower, upper = model.predict_interval(X, coverage=COVERAGE).T
        covered = np.mean((lower <= y) & (y <= upper))
    return loss, np.nan, covered


def mean_difference(a, b):
    """Mean of a - b over tasks, and half of its 95 % t interval, in % of the mean of b.

    ``a`` and ``b`` are losses of the same tasks.
    """
    d = np.asarray(a) - np.asarray(b)
    half = student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return 100 * np.array([d.mean(), half]) / np.mean(b)

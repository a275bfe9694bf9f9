"""Support and query rows of each task, and scores of models adapted in between."""

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skmeta._guards import check_aligned, encode_tasks, show


def few_shot_scores(
    estimator,
    adapt,
    score,
    X,
    y,
    task,
    *,
    sample_weight=None,
    n_support=5,
    n_repeats=3,
    stratify=False,
    random_state=0,
    n_jobs=None,
):
    """Score a copy adapted to support rows of each task on the task's other rows.

    ``adapt(estimator, X, y[, weight])`` returns the copy and
    ``score(model, X, y[, weight])`` its score. Returns (n_tasks, n_repeats).
    """
    check_aligned(X=X, y=y, sample_weight=sample_weight, task=task)
    check_consistent_length(X, y, sample_weight)
    n_rows = _num_samples(X)
    codes, ids = encode_tasks(task, n_rows)
    seeds = check_random_state(random_state).randint(2**31, size=len(ids))
    y = np.asarray(y)
    weight = None if sample_weight is None else np.asarray(sample_weight)
    splits = []
    for number, name in enumerate(ids):
        rows = np.flatnonzero(codes == number)
        labels = y[rows] if stratify else None
        splits.append(_splits(rows, labels, name, n_support, n_repeats, seeds[number]))

    scores = Parallel(n_jobs=n_jobs)(
        delayed(_score_task)(estimator, adapt, score, X, y, weight, task_splits)
        for task_splits in splits
    )
    return np.array(scores, dtype=float)


def _score_task(estimator, adapt, score, X, y, weight, splits):
    scores = []
    for support, query in splits:
        model = estimator
        if len(support):
            model = adapt(estimator, *_take(support, X, y, weight))
        scores.append(score(model, *_take(query, X, y, weight)))
    return scores


def _take(rows, X, y, weight):
    taken = (_safe_indexing(X, rows), y[rows])
    return taken if weight is None else (*taken, weight[rows])


def _splits(rows, labels, name, n_support, n_repeats, seed):
    """Support and query rows of one task, ``n_repeats`` times."""
    if len(rows) <= n_support:
        raise ValueError(
            f"Task {show(name)} has {len(rows)} rows: n_support={n_support} leaves "
            "none to score. Lower n_support (of make_few_shot_scorer), or leave out "
            "tasks this small. If the task has more rows in all, the splitter cuts "
            "tasks apart: use cv=GroupKFold().set_split_request(groups='task')."
        )
    if n_support == 0:
        return [(rows[:0], rows)] * n_repeats
    splitter = ShuffleSplit if labels is None else StratifiedShuffleSplit
    split = splitter(n_splits=n_repeats, train_size=n_support, random_state=seed).split
    try:
        return [(rows[a], rows[b]) for a, b in split(rows, labels)]
    except ValueError as error:  # a stratified split of too few rows
        raise ValueError(
            f"Task {show(name)} cannot be split with its classes in proportion: "
            f"{error} Change n_support, or pass stratify=False."
        ) from None


def mean_score(scores):
    """Mean over tasks, without the scores that are undefined for a task's few rows."""
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else np.nan

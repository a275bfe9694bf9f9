"""Support and query rows of each task, and scores of models adapted in between."""

import numpy as np
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    check_random_state,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skmeta._guards import check_aligned, encode_tasks, show

BLOCK = 64  # tasks to adapt to at once


def few_shot_scores(
    estimator,
    adapt_each,
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

    ``adapt_each(estimator, parts)`` returns copies adapted to each (X, y[, weight]) of
    a list, and ``score(model, X, y[, weight])`` a score. Returns (n_tasks, n_repeats).
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

    blocks = [splits[i : i + BLOCK] for i in range(0, len(splits), BLOCK)]
    scores = Parallel(n_jobs=n_jobs)(
        delayed(_score_block)(estimator, adapt_each, score, X, y, weight, block)
        for block in blocks
    )
    return np.concatenate(scores).astype(float).reshape(len(splits), n_repeats)


def _score_block(estimator, adapt_each, score, X, y, weight, block):
    """Scores of the tasks of a block, one draw after the other."""
    splits = [split for task_splits in block for split in task_splits]
    models = [estimator] * len(splits)
    if len(splits[0][0]):  # all tasks give as many rows
        parts = [_take(support, X, y, weight) for support, _ in splits]
        models = adapt_each(estimator, parts)
    return [
        score(model, *_take(query, X, y, weight))
        for model, (_, query) in zip(models, splits, strict=True)
    ]


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
    # here, since it takes longer to import than skmeta itself
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

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

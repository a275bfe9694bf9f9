"""Models fitted on the same folds, and scored on the same rows of each task."""

import warnings
from functools import partial
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GroupKFold
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, assert_all_finite

from skmeta._base_model import remembering
from skmeta._comparing.baselines import Baselines
from skmeta._comparing.names import BASELINES, WITHOUT_POOL
from skmeta._compositions import (
    ask_base_once,
    has_own_classes,
    how_targets_change,
    meta_learner,
    original_targets,
    transformed_rows,
    transformed_targets,
    transforms_targets,
)
from skmeta._evaluation import BLOCK
from skmeta._guards import (
    check_aligned,
    check_task_ids,
    encode_tasks,
    naming_the_task,
    show,
)
from skmeta._values import check_target
from skmeta.adaptation import adapt_each

N_FOLDS = 5


class Draw(NamedTuple):
    """Rows of a task in the order in which they are given, and rows that never are."""

    given: np.ndarray
    asked: np.ndarray


class Data(NamedTuple):
    """Rows of all tasks; ``codes`` are the tasks' numbers, ``ids`` their names."""

    X: object
    y: np.ndarray
    task: np.ndarray
    codes: np.ndarray
    ids: np.ndarray

    def rows(self, index):
        return _safe_indexing(self.X, index), self.y[index]


# -- what the user gave ---------------------------------------------------------------


def named(estimator):
    """Estimators by name; one that has none is called after its meta-learner."""
    if isinstance(estimator, dict):
        for model in estimator.values():
            meta_learner(model, "compare_baselines")
        return dict(estimator)
    models = estimator if isinstance(estimator, list) else [estimator]
    by_name = {}
    for model in models:
        kind = type(meta_learner(model, "compare_baselines")).__name__
        name, number = kind, 1
        while name in by_name:
            number += 1
            name = f"{kind} {number}"
        by_name[name] = model
    return by_name


def kind_of(estimators):
    """(classification, own_classes) of estimators that must agree."""
    kinds = {
        name: (is_classifier(model), has_own_classes(model))
        for name, model in estimators.items()
    }
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "Estimators to compare must be of one kind: all regressors, or all "
            "classifiers that agree in task_classes; got "
            + ", ".join(
                f"{name}: {'classifier' if c else 'regressor'}"
                + (" of tasks with classes of their own" if own else "")
                for name, (c, own) in kinds.items()
            )
            + "."
        )
    return next(iter(kinds.values()))


def checked_data(X, y, task, classification):
    check_aligned(X=X, y=y, task=task)
    check_consistent_length(X, y)
    n_rows = _num_samples(X)
    codes, ids = encode_tasks(check_task_ids(task, n_rows), n_rows)
    if len(ids) < 2:
        raise ValueError(
            "There is one task, and comparing needs some to learn from and others to "
            "test. Pass the id of each row's task: task=df['shop']."
        )
    y = column_or_1d(y, warn=True)
    with naming_the_task(task, **{"labels" if classification else "y": y}):
        check_target(y, classification)
        assert_all_finite(y, input_name="y")
    if classification:
        check_classification_targets(y)
    return Data(X, y if classification else y.astype(float), ids[codes], codes, ids)


def checked_sizes(n_support, data, own_classes):
    """Sorted numbers of rows to give."""
    sizes = np.unique(n_support)
    if not np.issubdtype(sizes.dtype, np.integer) or not len(sizes) or sizes[0] < 0:
        raise ValueError(
            f"n_support must be whole numbers of rows from 0 on; got {n_support!r}."
        )
    longest = np.bincount(data.codes).max()
    if sizes[0] >= longest:
        raise ValueError(
            f"No task has more than {longest} rows: n_support={n_support!r} leaves "
            "none to predict. Lower n_support."
        )
    n_way = _most_classes(data) if own_classes else 0
    if own_classes and sizes[0] < n_way:
        raise ValueError(
            f"n_support has {sizes[0]} rows, and a task has up to {n_way} classes of "
            "its own, of which each must be given a row. Give multiples of the "
            f"number of classes, such as n_support=({n_way}, {5 * n_way})."
        )
    return sizes


def checked_baselines(names, own_classes):
    offered = WITHOUT_POOL if own_classes else BASELINES
    unknown = [name for name in (() if names is None else names) if name not in offered]
    if unknown:
        raise ValueError(
            f"baselines={list(names)!r}: {unknown[0]!r} is not one of "
            f"{', '.join(map(repr, offered))}"
            + (", which are those for tasks with classes of their own." * own_classes)
        )
    return list(offered if names is None else dict.fromkeys(names))


def default_scoring(classification, own_classes):
    if not classification:
        return "neg_root_mean_squared_error"
    return "accuracy" if own_classes else "neg_log_loss"


def labels(data, classification, own_classes):
    """All classes, None for numbers, or the most classes that a task has."""
    if not classification:
        return None
    return _most_classes(data) if own_classes else np.unique(data.y)


def _most_classes(data):
    pairs = np.unique(np.unique(data.y, return_inverse=True)[1] + 1j * data.codes)
    return int(np.bincount(pairs.imag.astype(int)).max())


def checked_folds(data, cv, classification, own_classes):
    """Folds as rows to train on and to test, and the numbers of the tested tasks.

    They must not cut tasks apart, nor test a class that cannot be learned.
    """
    if cv is None or isinstance(cv, Integral):
        cv = GroupKFold(min(cv or N_FOLDS, len(data.ids)))
    folds = list(cv.split(np.zeros(len(data.y)), data.y, data.codes))
    tested = np.zeros(len(data.ids), dtype=int)
    for number, (train, test) in enumerate(folds):
        both = np.intersect1d(data.codes[train], data.codes[test])
        if len(both):
            raise ValueError(
                f"cv puts rows of task {show(data.ids[both[0]])} into training and "
                "test: a model would be scored on a task that it was trained on. "
                "Split whole tasks: cv=GroupKFold(5)."
            )
        if classification and not own_classes:
            missing = np.setdiff1d(data.y[test], data.y[train])
            if len(missing):
                raise ValueError(
                    f"Class {show(missing[0])} is in the test tasks of fold {number} "
                    "and in no training task, so no model can know it. Use fewer "
                    "folds, or merge rare classes. If tasks have classes of their own, "
                    "set task_classes='own'."
                )
        tested[np.unique(data.codes[test])] += 1
    if (tested > 1).any():
        twice = data.ids[np.flatnonzero(tested > 1)[0]]
        raise ValueError(
            f"cv tests task {show(twice)} more than once. Use a splitter that tests "
            "each task once, such as GroupKFold, without repeats."
        )
    return folds, np.flatnonzero(tested)


# -- rows to give and to ask ----------------------------------------------------------


def draw_rows(data, sizes, n_repeats, *, shuffle, stratify, seed):
    """Draws of each task. The rows given for a small size are among those of a larger.

    The rows asked are the same for all sizes: those beyond the largest size that leaves
    one.
    """
    draws = []
    seeds = check_random_state(seed).randint(2**31, size=len(data.ids))
    order = np.argsort(data.codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(data.codes))[:-1])
    for rows, task_seed in zip(parts, seeds, strict=True):
        rng = np.random.RandomState(task_seed)
        fitting = [k for k in sizes if k < len(rows)]
        of_task = []
        for _ in range(n_repeats):
            index = rng.permutation(rows) if shuffle else rows
            if stratify:
                index = index[_round_robin(data.y[index])]
            n = max(fitting, default=0)
            of_task.append(Draw(index[:n], index[n:]))
        draws.append(of_task)
    return draws


def _round_robin(labels):
    """Order that takes a row of each class in turn."""
    place = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[own] = np.arange(len(own))
    return np.argsort(place, kind="stable")


# -- fit and score --------------------------------------------------------------------


def baselines_behind(estimators, names):
    """For each estimator the names of its own baselines, by what they are.

    Baselines see y as the meta-learner does. Estimators that transform y in different
    ways cannot share them: those of another than the first are named after it.
    """
    first_of, behind = {}, {}
    for name, model in estimators.items():
        key = how_targets_change(model)
        first = first_of.setdefault(key, name)
        suffix = "" if first == next(iter(estimators)) else f" for {first}"
        behind[name] = {plain: plain + suffix for plain in names}
    return behind


def run(estimators, data, folds, draws, sizes, score, baselines, behind, n_jobs):
    """Scores {name: (n_tasks, n_sizes)}, NaN where rows are too few, and pooled models.

    The pooled models are those chosen in each fold, for the first estimator.
    """
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_run_fold)(
            estimators, data, fold, draws, sizes, score, baselines, behind
        )
        for fold in folds
    )
    scores = {}
    for fold_scores, tasks, _ in parts:
        for name, table in fold_scores.items():
            empty = np.full((len(data.ids), len(sizes)), np.nan)
            scores.setdefault(name, empty)[tasks] = table
    return scores, [pooled for *_, pooled in parts if pooled is not None]


def _run_fold(estimators, data, fold, draws, sizes, score, baselines, behind):
    """Scores of one fold's test tasks, their numbers, and the pooled model chosen."""
    train, test = fold
    fitted = {name: _fit(model, data, train) for name, model in estimators.items()}
    tasks = np.unique(data.codes[test])
    jobs = [
        (place, column, draw.given[:k], draw.asked)
        for place, number in enumerate(tasks)
        for draw in draws[number]
        for column, k in enumerate(sizes)
        if k <= len(draw.given) and len(draw.asked)
    ]
    values = {}
    for name, model in fitted.items():
        rows = _safe_indexing(data.X, np.sort(test))
        with remembering(ask_base_once(model, rows)):
            values[name] = _meta_scores(model, data, jobs, score[name])
    pooled = None
    for name, model in fitted.items():
        names = behind[name]
        if not set(names.values()) - set(values):
            continue  # an earlier estimator has the same
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of baselines that do not converge
            learned, scores = _baseline_scores(
                model, data, fold, jobs, sizes, score[name], baselines
            )
        values |= {names[plain]: scores[plain] for plain in names}
        pooled = pooled or learned.pooled
    shape = len(tasks), len(sizes)
    tables = {name: _table(value, jobs, *shape) for name, value in values.items()}
    return tables, tasks, pooled


def _table(values, jobs, n_tasks, n_sizes):
    """Mean over a task's draws, without those whose score is not defined."""
    total, count = np.zeros((2, n_tasks, n_sizes))
    for value, (place, column, *_) in zip(values, jobs, strict=True):
        if not np.isnan(value):
            total[place, column] += value
            count[place, column] += 1
    with np.errstate(invalid="ignore"):
        return total / count


def _baseline_scores(model, data, fold, jobs, sizes, score, baselines):
    """Baselines that see X and y as a fitted model's meta-learner does, and scores."""
    train, test = fold
    y, back = data.y, None
    if transforms_targets(model):
        y, back = transformed_targets(model, y), partial(original_targets, model)
    # features of the rows, once
    X_train, X_test = (
        transformed_rows(model, _safe_indexing(data.X, index)) for index in fold
    )
    learned = Baselines(**baselines, back=back)
    learned.fit(X_train, y[train], data.codes[train], sizes)
    where = np.zeros(len(y), dtype=int)
    where[test] = np.arange(len(test))
    scores = {name: [] for name in learned.names}
    for _, _, given, asked in jobs:
        X_given, X_asked = (
            _safe_indexing(X_test, where[index]) for index in (given, asked)
        )
        for name, adapted in learned.adapt(X_given, y[given]).items():
            scores[name].append(score(adapted, X_asked, data.y[asked]))
    return learned, scores


def _fit(estimator, data, train):
    with config_context(enable_metadata_routing=True):
        X, y = data.rows(train)
        return clone(estimator).fit(X, y, task=data.task[train])


def _meta_scores(model, data, jobs, score):
    """Scores of a meta-trained model, adapted to the rows of each job."""
    values = []
    for start in range(0, len(jobs), BLOCK):
        block = jobs[start : start + BLOCK]
        some = [number for number, (*_, given, _) in enumerate(block) if len(given)]
        adapted = adapt_each(model, [data.rows(block[i][2]) for i in some])
        models = [model] * len(block)
        for number, one in zip(some, adapted, strict=True):
            models[number] = one
        values += [
            score(one, *data.rows(asked))
            for one, (*_, asked) in zip(models, block, strict=True)
        ]
    return values

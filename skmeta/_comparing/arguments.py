"""What the user gives to a comparison, checked."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold
from sklearn.utils import _safe_indexing, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    assert_all_finite,
)

from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.ids import check_task_ids, encode_tasks
from skmeta._checks.values import (
    check_target,
    check_total_weight,
    plain_weight,
    show,
)
from skmeta._choice_sets import OFFER
from skmeta._comparing.choices import ComparedChoices
from skmeta._comparing.kinds import (
    ComparedLabels,
    ComparedNumbers,
    ComparedOwnLabels,
)
from skmeta._compositions import (
    first_meta_learner,
    has_outside_option,
    innermost,
    takes_choice_sets,
    takes_several_targets,
    targets_of,
)
from skmeta._evaluation import (
    STRATIFIED_UNITS,
    UNITS_OF_CLASSES,
    Table,
    rows_that_tell,
)
from skmeta._units import Units, read_units_and_sets

# The number of folds if the user gives none.
N_COMPARED_FOLDS = 5


class ComparedRows(NamedTuple):
    """Rows of all tasks."""

    X: object
    y: np.ndarray  # of choices, of the kind `OFFER`
    task: np.ndarray  # id of each row's task
    codes: np.ndarray  # number of each row's task
    ids: np.ndarray  # the tasks' ids, by their numbers
    units: Units  # rows that belong together
    sets: Units | None  # choice sets
    drawn: np.ndarray  # numbers of rows that are given and asked, sorted by task
    starts: np.ndarray  # where each task begins therein

    @property
    def table(self):
        """The rows, for `score_block`."""
        y = self.y if self.sets is None else self.y["value"]
        return Table(self.X, y, None, self.sets)

    def rows(self, index):
        """X and y of some rows."""
        return _safe_indexing(self.X, index), self.y[index]


def named_estimators(estimator):
    """Estimators by name; one that has none is called after its meta-learner."""
    if isinstance(estimator, dict):
        for model in estimator.values():
            first_meta_learner(model, "compare_baselines")
        return dict(estimator)
    models = estimator if isinstance(estimator, list) else [estimator]
    by_name = {}
    for model in models:
        first_meta_learner(model, "compare_baselines")
        kind = type(innermost(model)).__name__
        name, number = kind, 1
        while name in by_name:
            number += 1
            name = f"{kind} {number}"
        by_name[name] = model
    return by_name


def kind_of_targets(estimators):
    """The kind of the targets that estimators predict, on which they must agree."""
    kinds = {name: _kind(model) for name, model in estimators.items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "Estimators to compare must be of one kind: all regressors, all "
            "classifiers that agree in task_classes, or all rankers that agree in "
            "outside_option; got "
            + ", ".join(f"{name}: {kind.words}" for name, kind in kinds.items())
            + "."
        )
    return next(iter(kinds.values()))


def _kind(estimator):
    if takes_choice_sets(estimator):
        return ComparedChoices(has_outside_option(estimator))
    if takes_several_targets(estimator):
        raise ValueError(
            f"{type(innermost(estimator)).__name__} predicts several columns of y, "
            "which are compared and predicted one at a time: pass the estimator inside "
            "and a column, y[:, 0]. few_shot_scores takes all at once."
        )
    targets = targets_of(estimator)
    if not targets.are_labels:
        return ComparedNumbers()
    return ComparedOwnLabels() if targets.own_classes else ComparedLabels()


def checked_rows(X, y, task, unit, choice_set, kind):
    """`ComparedRows` of the user's table, whose targets are of some kind."""
    check_aligned(X=X, y=y, task=task, unit=unit, choice_set=choice_set)
    labels = kind.are_labels
    check_consistent_length(X, y)
    n_rows = _num_samples(X)
    codes, ids = encode_tasks(check_task_ids(task, n_rows), n_rows)
    if len(ids) < 2:
        raise ValueError(
            "There is one task, and some are needed to learn from and others to test. "
            "Pass the id of each row's task: task=df['shop']."
        )
    units, sets = read_units_and_sets(unit, choice_set, codes)
    y = column_or_1d(y, warn=True)
    with naming_the_task(task, **{"labels" if labels else "y": y}):
        check_target(y, labels)
        assert_all_finite(y, input_name="y")
    if labels:
        check_classification_targets(y)
    y, drawn = y if labels else y.astype(float), np.argsort(codes, kind="stable")
    if sets is not None:
        y = _offers(y, sets)
        if not kind.outside:
            drawn = drawn[rows_that_tell(y["value"][drawn], sets, drawn)]
    starts = np.r_[0, np.cumsum(np.bincount(codes[drawn], minlength=len(ids)))]
    return ComparedRows(X, y, ids[codes], codes, ids, units, sets, drawn, starts)


def checked_weight(sample_weight, data):
    """Weights of the rows as floats, or None."""
    if sample_weight is None:
        return None
    weight = plain_weight(sample_weight)
    if not np.any(weight != 0):
        raise ValueError("All sample weights are zero: nothing is left to learn.")
    options = {"dtype": np.float64, "ensure_non_negative": True}
    weight = _check_sample_weight(weight, data.y, **options)
    check_total_weight(weight)
    return weight


def _offers(y, sets):
    offers = np.empty(len(y), OFFER)
    offers["value"], offers["set"], offers["named"] = y, sets.codes, True
    return offers


def checked_sizes(n_support, data, n_way):
    """Sorted numbers of units to give; ``n_way`` is the smallest that makes sense."""
    word = data.units.word
    sizes = np.unique(n_support)
    if not np.issubdtype(sizes.dtype, np.integer) or not len(sizes) or sizes[0] < 0:
        raise ValueError(
            f"n_support must be whole numbers of {word}s from 0 on; got {n_support!r}."
        )
    longest = data.units.counts(data.drawn, data.starts).max()
    if sizes[0] >= longest:
        raise ValueError(
            f"No task has more than {longest} {word}s: n_support={n_support!r} leaves "
            "none to predict. Lower n_support."
        )
    if sizes[0] < n_way:
        raise ValueError(
            f"n_support has {sizes[0]} rows, and a task has up to {n_way} classes of "
            "its own, of which each must be given a row. Give multiples of the "
            f"number of classes, such as n_support=({n_way}, {5 * n_way})."
        )
    return sizes


def checked_stratify(stratify, units, kind):
    """Whether given rows take the task's classes in turn, which units do not."""
    stratify = kind.own_classes if stratify is None else stratify
    if stratify and units.codes is not None:
        raise ValueError(UNITS_OF_CLASSES if kind.own_classes else STRATIFIED_UNITS)
    return stratify


def checked_baselines(names, kind):
    """Names of the baselines to compare with, each once."""
    offered = kind.baselines
    if names is None:
        return list(offered)
    unknown = [name for name in names if name not in offered]
    if unknown:
        why = ", which are those for tasks with classes of their own"
        raise ValueError(
            f"baselines={list(names)!r}: {unknown[0]!r} is not one of "
            f"{', '.join(map(repr, offered))}{why if kind.own_classes else ''}."
        )
    return list(dict.fromkeys(names))


def checked_folds(data, cv, kind):
    """Folds as rows to train on and to test, and the numbers of the tested tasks.

    They must not cut tasks apart, nor test a class that cannot be learned.
    """
    if cv is None or isinstance(cv, Integral):
        cv = GroupKFold(min(cv or N_COMPARED_FOLDS, len(data.ids)))
    folds = list(cv.split(np.zeros(len(data.y)), data.table.y, data.codes))
    tested = np.zeros(len(data.ids), dtype=int)
    for number, (train, test) in enumerate(folds):
        both = np.intersect1d(data.codes[train], data.codes[test])
        if len(both):
            raise ValueError(
                f"cv puts rows of task {show(data.ids[both[0]])} into training and "
                "test: a model would be scored on a task that it was trained on. "
                "Split whole tasks: cv=GroupKFold(5)."
            )
        kind.check_fold(data.y[train], data.y[test], number)
        tested[np.unique(data.codes[test])] += 1
    if (tested > 1).any():
        twice = data.ids[np.flatnonzero(tested > 1)[0]]
        raise ValueError(
            f"cv tests task {show(twice)} more than once. Use a splitter that tests "
            "each task once, such as GroupKFold, without repeats."
        )
    return folds, np.flatnonzero(tested)


def check_in_time(data, rows, times):
    """Refuse rows of a task whose order is not that of their ``times`` (n_rows,)."""
    if times is None:
        return
    order = np.argsort(data.codes[rows], kind="stable")
    codes, times = data.codes[rows][order], np.asarray(times)[order]
    earlier = np.flatnonzero((np.diff(times) < 0) & (np.diff(codes) == 0))
    if len(earlier):
        raise ValueError(
            f"The rows of task {show(data.ids[codes[earlier[0]]])} are not in order of "
            "time_column, and a comparison gives the first rows and asks for later "
            "ones. Sort the rows by their times."
        )

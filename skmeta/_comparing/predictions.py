"""Predictions for all rows, by models that are adapted to other rows of their task."""

from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skmeta._base import BaseMetaLearner
from skmeta._base_model import remembering
from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._checks.values import is_missing, show
from skmeta._comparing.arguments import (
    ComparedRows,
    checked_folds,
    checked_rows,
    checked_weight,
    kind_of_targets,
)
from skmeta._comparing.folds import meta_trained
from skmeta._compositions import (
    ask_base_once,
    first_meta_learner,
    has_outside_option,
    innermost,
    rows_in_time,
    times_given,
    transformed_rows,
)
from skmeta._evaluation import UNITS_OF_CLASSES
from skmeta._many_tasks import columns_among, options_of_rows, put
from skmeta._units import tells
from skmeta._warn import warn
from skmeta.adaptation import adapt_predict

# About this many given rows are handed to `adapt_predict` at a time.
GIVEN_AT_ONCE = 2**18

OWN_CLASSES_IN_TIME = (
    "row_order='time' predicts each row from earlier ones, and the first row of a task "
    "has none: where each task has its own classes, a model without rows knows no "
    "class. Set row_order='random'."
)


WITHOUT_ROWS = (
    "n_support=0 predicts before any row of a task is given, and where each task has "
    "its own classes, a model without rows knows no class. Give 1 or more."
)
NO_CLASS = (
    "Task {} has a row with no other to give, and where each task has its own classes, "
    "a model without rows knows no class. Leave this task out."
)


class Plan(NamedTuple):
    """What is asked of the models of all folds.

    Attributes
    ----------
    data : ComparedRows
    weight : ndarray of shape (n_rows,) or None
    usable : ndarray of bool of shape (n_rows,)
        Which rows may be given.
    parting : Parting
    seeds : ndarray of int of shape (n_tasks,)
    method : str
    options : dict
        Arguments of the method.
    """

    data: ComparedRows
    weight: np.ndarray | None
    usable: np.ndarray
    parting: "Parting"
    seeds: np.ndarray
    method: str
    options: dict


def few_shot_predictions(
    estimator,
    X,
    y,
    task,
    *,
    sample_weight,
    unit,
    choice_set,
    cv,
    n_support,
    n_query,
    method,
    in_time,
    random_state,
    n_jobs,
    options,
):
    """`few_shot_predict`, with ``in_time`` for the order of rows."""
    first_meta_learner(estimator, "few_shot_predict")
    inner = innermost(estimator)
    if isinstance(inner, BaseMetaLearner):  # others refuse it after they are fitted
        inner._check_method(method, options)
    kind = kind_of_targets({"estimator": estimator})
    y = _with_targets(y, sample_weight)
    check_aligned(X=X, **columns_among(options))
    data = checked_rows(X, y, task, unit, choice_set, kind)
    kind = kind.of(data.y, data.codes)
    weight = checked_weight(sample_weight, data)
    if kind.own_classes and unit is not None:
        raise ValueError(UNITS_OF_CLASSES)
    if kind.own_classes and in_time:
        raise ValueError(OWN_CLASSES_IN_TIME)
    if kind.own_classes and n_support == 0:
        raise ValueError(WITHOUT_ROWS)
    folds, tested = checked_folds(data, cv, kind)
    if len(tested) < len(data.ids):
        left = np.setdiff1d(np.arange(len(data.ids)), tested)
        raise ValueError(
            f"cv tests {len(tested)} of {len(data.ids)} tasks, and not task "
            f"{show(data.ids[left[0]])}: every row is to be predicted. Take a splitter "
            "that tests each task once, such as GroupKFold(5)."
        )
    in_order = rows_in_time(estimator)
    parting = Parting(n_support, n_query, in_time, in_order, kind.own_classes)
    seeds = check_random_state(random_state).randint(2**31, size=len(data.ids))
    usable = _usable(data, weight, has_outside_option(estimator))
    for number, (train, test) in enumerate(folds if weight is not None else ()):
        labels = (data.y[rows[usable[rows]]] for rows in (train, test))
        kind.check_fold(*labels, number)  # rows of weight 0 show no class
    plan = Plan(data, weight, usable, parting, seeds, method, options)
    found = Parallel(n_jobs=n_jobs)(
        delayed(_of_fold)(estimator, plan, *fold) for fold in folds
    )
    answer, few = None, []
    for (_, test), (predicted, short) in zip(folds, found, strict=True):
        answer = put(predicted, test, answer, len(data.y))
        few += short
    _tell(few, data, parting)
    return answer


def _with_targets(y, sample_weight):
    """Targets in which rows of weight 0, which need none, have that of another row."""
    if sample_weight is None or np.shape(y) != np.shape(sample_weight):
        return y
    targets = np.asarray(y)
    none = is_missing(targets)
    open_rows = none & (np.asarray(sample_weight) == 0)
    if not open_rows.any() or none.all():
        return y
    targets = targets.copy()
    targets[open_rows] = targets[np.argmin(none)]
    return np.array(targets.tolist()) if targets.dtype.kind == "O" else targets


def _usable(data, weight, outside):
    """Which rows say something: those of positive weight, and of sets that tell."""
    usable = np.ones(len(data.y), dtype=bool) if weight is None else weight > 0
    if data.sets is None or outside:
        return usable
    rows = np.flatnonzero(usable)
    usable[rows] = tells(data.y["value"][rows], data.sets.codes[rows])
    return usable


# -- one fold -------------------------------------------------------------------------


class Part(NamedTuple):
    """Some rows of a task to predict, and those to adapt to."""

    given: np.ndarray
    asked: np.ndarray
    n_given: int  # how many units these are


def _of_fold(estimator, plan, train, test):
    """Predictions for the test rows of a fold, and tasks that give fewer rows.

    These are pairs of the number of a task and the number of rows that were predicted
    from fewer units than were wanted.
    """
    data = plan.data
    kept = train if plan.weight is None else train[plan.weight[train] > 0]
    model = meta_trained(estimator, data, kept, plan.weight)
    order = test[np.argsort(data.codes[test], kind="stable")]
    tasks, sizes = np.unique(data.codes[order], return_counts=True)
    starts = np.r_[0, np.cumsum(sizes)]
    times = times_given(model, data.X)
    if plan.parting.in_time or times is not None:
        order = data.units.in_time(order, starts, data.ids[tasks], times)
    parts, few = [], []
    for number, (a, b) in zip(tasks, pairwise(starts), strict=True):
        parts_of_task = plan.parting.of_task(
            data.units.of(order[a:b]), plan, np.random.RandomState(plan.seeds[number])
        )
        parts += parts_of_task
        if short := plan.parting.n_short(parts_of_task, data.y):
            few.append((number, short))
        if plan.parting.own_classes and not all(len(p.given) for p in parts_of_task):
            raise ValueError(NO_CLASS.format(show(data.ids[number])))
    rows = np.sort(test)
    answer = None
    with remembering(ask_base_once(model, _safe_indexing(data.X, rows))):
        for block in _blocks(parts):
            predicted, asked = _predict_parts(model, plan, block)
            answer = put(predicted, asked, answer, len(data.y))
    return _taken(answer, test), few


def _taken(answer, rows):
    """Some rows of what a method has returned."""
    if isinstance(answer, tuple):
        return tuple(part[rows] for part in answer)
    return answer[rows]


def _blocks(parts):
    """Parts to predict together, which give no more than a certain number of rows."""
    begun, total = 0, 0
    for i, part in enumerate(parts):
        if total and total + len(part.given) > GIVEN_AT_ONCE:
            yield parts[begun:i]
            begun, total = i, 0
        total += len(part.given)
    yield parts[begun:]


def _predict_parts(model, plan, parts):
    """What the method says of the rows asked, and the numbers of these rows."""
    data, extra = plan.data, 0
    if not any(len(part.given) for part in parts):
        # Some task must have rows in `adapt_predict`, even if no other adapts.
        some = np.flatnonzero(data.codes == data.codes[np.argmax(plan.usable)])
        some = data.units.of(some[plan.usable[some]]).take(slice(0, 1))
        parts, extra = [*parts, Part(some, some, 1)], len(some)
    given, asked = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("given", "asked")
    )
    copies = np.arange(len(parts))
    labels = {
        "task": np.repeat(copies, [len(part.given) for part in parts]),
        "task_new": np.repeat(copies, [len(part.asked) for part in parts]),
    }
    if data.sets is not None:
        labels["choice_set"] = data.sets.codes[given]
        if plan.method != "predict":
            labels["choice_set_new"] = data.sets.codes[asked]
    X, y, *_ = data.table.take(given)
    weight = None if plan.weight is None else plan.weight[given]
    options = options_of_rows(plan.options, asked, len(data.y))
    X_new = _safe_indexing(data.X, asked)
    with scoring_on_purpose(), _naming_the_users_row(model, data):
        predicted = adapt_predict(
            model, X, y, X_new, weight, **labels, method=plan.method, **options
        )
    asked = asked[: len(asked) - extra]
    return _taken(predicted, slice(0, len(asked))), asked


@contextmanager
def _naming_the_users_row(model, data):
    """Errors within this block name the user's task, and not the number of a copy."""
    try:
        yield
    except ValueError as error:
        said, named, _ = str(error).partition("\n\nThe first such row is")
        if not named:
            raise
        with naming_the_task(data.task, transformed_rows(model, data.X)):
            raise type(error)(said) from None


# -- one task -------------------------------------------------------------------------


class Parting:
    """How a task's rows are parted, and from which others each part is predicted.

    Parameters
    ----------
    n_support : int or None
        How many units are given; None for all others.
    n_query : int or None
        The most units to predict from the same ones.
    in_time : bool
        Whether rows are given that come before those asked.
    in_order : bool
        Whether given rows keep their order.
    own_classes : bool
        Whether ``n_support`` rows of each class are given.
    """

    def __init__(self, n_support, n_query, in_time, in_order, own_classes):
        self.wanted = np.inf if n_support is None else n_support
        self.n_query, self.in_time = n_query, in_time
        self.in_order, self.own_classes = in_order, own_classes

    def of_task(self, units, plan, rng):
        """List of `Part` that ask for each row of a task once."""
        places, usable = np.arange(len(units)), units.any(plan.usable)
        if self.wanted == 0:
            pairs = [(places[:0], places)]
        elif self.in_time:
            pairs = self._blocks_in_time(places, usable)
        else:
            kinds = np.zeros(len(places), dtype=int)
            if self.own_classes:
                labels = plan.data.y[units.rows]
                kinds = np.unique(labels, return_inverse=True)[1]
            pairs = self._random_parts(places, usable, kinds, rng)
        parts = []
        for given, asked in pairs:
            rows = units.take(given)
            rows = rows[plan.usable[rows]]
            parts.append(Part(rows, units.take(asked), len(given)))
        return parts

    def _blocks_in_time(self, places, usable):
        """Given and asked places: the next ones from those before them."""
        step = self.n_query or 1
        for begin in range(0, len(places), step):
            before = places[:begin][usable[:begin]]
            first = max(0, len(before) - self.wanted)
            yield before[int(first) :], places[begin : begin + step]

    def _random_parts(self, places, usable, kinds, rng):
        """Given and asked places, drawn at random within each of some kinds."""
        n_parts, begun = self._n_parts(usable, kinds), 0
        part = np.empty(len(places), dtype=int)
        places_of_kinds = [places[kinds == kind] for kind in np.unique(kinds)]
        for those in places_of_kinds:
            order = rng.permutation(those)
            order = order[np.argsort(~usable[order], kind="stable")]
            part[order] = (begun + np.arange(len(order))) % n_parts
            begun += len(order)
        for number in range(n_parts):
            asked = places[part == number]
            if not len(asked):
                continue
            given = []
            for those in places_of_kinds:
                others = those[usable[those] & (part[those] != number)]
                others = rng.permutation(others)
                given.append(others[: min(self.wanted, len(others))])
            given = np.concatenate(given)
            yield np.sort(given) if self.in_order else given, asked

    def _n_parts(self, usable, kinds):
        """The fewest parts that leave enough units of each kind for the others."""
        n_parts = 2 if self.n_query is None else -(-len(kinds) // self.n_query)
        for size in np.bincount(kinds[usable]):
            largest = size - min(self.wanted, size - 1)  # that a part may have
            if size > 1:
                n_parts = max(n_parts, -(-size // int(largest)))
        return max(1, min(n_parts, len(kinds)))

    def n_short(self, parts, y):
        """How many rows of a task are predicted from less than is wanted.

        Where each task has its own classes, these are rows whose class no other row
        shows; ``y`` (n_rows,) are the labels.
        """
        if self.own_classes:
            return sum(
                np.count_nonzero(~np.isin(y[part.asked], y[part.given]))
                for part in parts
            )
        if self.in_time or not np.isfinite(self.wanted):
            return 0
        return sum(len(part.asked) for part in parts if part.n_given < self.wanted)


def _tell(few, data, parting):
    """Warn of rows that are predicted from less than is wanted.

    ``few`` are pairs of the number of a task and the number of such rows in it.
    """
    if not few:
        return
    n_rows, first = sum(n for _, n in few), show(data.ids[min(few)[0]])
    if parting.own_classes:
        warn(
            f"{n_rows} rows, of {len(few)} of {len(data.ids)} tasks such as {first}, "
            "are the only row of their class in their task. They are predicted from "
            "rows of other classes, so that the prediction is wrong for sure. Leave "
            "them out of your score."
        )
        return
    word = data.units.word
    warn(
        f"{len(few)} of {len(data.ids)} tasks, such as {first}, have no more than "
        f"n_support={parting.wanted} {word}s to give. Their {n_rows} rows are "
        "predicted from fewer: from all others of the task. Lower n_support, or leave "
        "these tasks out of your score."
    )

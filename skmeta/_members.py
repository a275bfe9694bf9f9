"""The verbs of `adaptation` on estimators that combine several models.

Each takes the verb itself, ``adapt`` for instance, and calls it for every member that
holds a meta-learner. The estimator, rebuilt around the adapted members, predicts.
"""

from functools import partial

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import encode_new_tasks
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._checks.values import plain_weight, show
from skmeta._compositions import meta_learners
from skmeta._copies import all_restored_on_error, shallow_copy
from skmeta._many_tasks import put

# This many tasks are adapted to at once.
BLOCK = 64
METHODS = ("predict", "predict_proba", "decision_function")


def adapted(ensemble, estimator, part, adapt):
    """A copy of an ensemble that is adapted to (X, y, sample_weight)."""
    X, y, weight = part
    check_aligned(X=X, y=y, sample_weight=weight)
    members = [
        adapt(member, *_learned(ensemble, estimator, number, X, y), weight)
        if meta_learners(member)
        else shallow_copy(member)
        for number, member in enumerate(ensemble.members(estimator))
    ]
    return ensemble.rebuild(shallow_copy(estimator), members)


def adapted_in_place(ensemble, estimator, part, partial_adapt):
    """The same ensemble after its members have adapted; as it was if one cannot."""
    X, y, weight = part
    check_aligned(X=X, y=y, sample_weight=weight)
    inner = meta_learners(estimator)
    with all_restored_on_error(*inner):
        for number, member in enumerate(ensemble.members(estimator)):
            if meta_learners(member):
                learned = _learned(ensemble, estimator, number, X, y)
                partial_adapt(member, *learned, weight)
    return estimator


def each_adapted(ensemble, estimator, parts, adapt_each):
    """Copies that are adapted to each of a list of (X, y) or (X, y, sample_weight)."""
    columns = []
    for number, member in enumerate(ensemble.members(estimator)):
        if meta_learners(member):
            learned = [
                (*_learned(ensemble, estimator, number, X, y), *weight)
                for X, y, *weight in parts
            ]
            columns.append(adapt_each(member, learned))
        else:
            columns.append([member] * len(parts))
    return [
        ensemble.rebuild(estimator, list(members))
        for members in zip(*columns, strict=True)
    ]


def _learned(ensemble, estimator, number, X, y):
    """Rows and targets as one of the members learns them."""
    if not _num_samples(X):  # scikit-learn's checks want rows
        y = np.asarray(y)
        return np.empty((0, 0)), y if y.ndim == 1 else y[:, 0]
    return (
        ensemble.rows_of(estimator, number, X, y),
        ensemble.targets_of(estimator, number, y),
    )


def predicted(estimator, known, new, method, options, verbs):
    """`adapt_predict` of an ensemble, for some tasks at a time.

    ``known`` are (X, y, sample_weight, task), and ``new`` are (X, task). ``verbs`` are
    the functions predicts_each, predict_each and adapt_each.
    """
    predicts_each, predict_each, adapt_each = verbs
    _check_method(estimator, method, options)
    (X, y, weight, task), (X_new, task_new) = known, new
    check_aligned(X=X, y=y, sample_weight=weight, task=task)
    check_aligned(X_new=X_new, task_new=task_new)
    n, n_new = _num_samples(X), _num_samples(X_new)
    codes, codes_new, ids = encode_new_tasks(task, n, task_new, n_new)
    if weight is not None:
        weight = np.asarray(plain_weight(weight))
    known, new = (X, y, weight, codes), (X_new, codes_new)
    with scoring_on_purpose():
        if not predicts_each(estimator):
            return _one_by_one(estimator, known, new, ids, method, adapt_each)
        try:
            return predict_each(estimator, known, new, len(ids), method)
        except ValueError:  # the other way names the task
            return _one_by_one(estimator, known, new, ids, method, adapt_each)


def predicted_together(ensemble, estimator, known, new, n_tasks, method, predict_each):
    """`predict_each` of an ensemble: its members are asked about all rows at once."""
    X, y, *others = known

    def say(number, member, how):
        learned = _learned(ensemble, estimator, number, X, y)
        return predict_each(member, (*learned, *others), new, n_tasks, how)

    return combined(ensemble, estimator, new[0], method, say)


def combined(ensemble, estimator, X, method, say):
    """What an ensemble makes of ``say(number, member, how)``, about all rows X.

    This is what the method ``how`` of a member returns. Members without a meta-learner
    are asked themselves.
    """
    # Imported here because it takes longer to import than skmeta itself.
    from skmeta._together import StandInClassifier, StandInRegressor

    stand_ins = []
    for number, member in enumerate(ensemble.members(estimator)):
        kind = StandInClassifier if is_classifier(member) else StandInRegressor
        answers = _Answers(member, X, partial(say, number))
        stand_ins.append(kind(answers, member, None))
    rebuilt = ensemble.rebuild(estimator, stand_ins)
    return getattr(rebuilt, method)(np.arange(_num_samples(X)))


class _Answers:
    """What a member says of all rows, which are known by their numbers."""

    def __init__(self, member, X, say):
        self._member, self._X, self._say = member, X, say

    def say(self, method):
        if meta_learners(self._member):
            return self._say(self._member, method)
        return getattr(self._member, method)(self._X)


def can_be_together(ensemble, estimator, predicts_each):
    """Whether `predicted_together` gives what adapted copies predict."""
    members = ensemble.members(estimator)
    return ensemble._hands_rows_on and all(
        predicts_each(member) for member in members if meta_learners(member)
    )


def _one_by_one(estimator, known, new, ids, method, adapt_each):
    """`adapt_predict` of tasks that have numbers, by copies that are adapted."""
    (X, y, weight, codes), (X_new, codes_new) = known, new
    rows = np.arange(len(codes)) if weight is None else np.flatnonzero(weight)
    given = _rows_of_tasks(codes, rows, len(ids))
    asked = _rows_of_tasks(codes_new, np.arange(len(codes_new)), len(ids))
    tasks = [t for t in range(len(ids)) if len(asked[t])]
    answer = None
    for start in range(0, len(tasks), BLOCK):
        some = tasks[start : start + BLOCK]
        told = [t for t in some if len(given[t])]
        parts = [_part(X, y, weight, given[t]) for t in told]
        copies = _naming(ids[told], parts, estimator, adapt_each)
        models = dict(zip(told, copies, strict=True))
        for t in some:
            model = models.get(t, estimator)
            found = getattr(model, method)(_safe_indexing(X_new, asked[t]))
            answer = put(found, asked[t], answer, len(codes_new))
    return answer


def _rows_of_tasks(codes, rows, n_tasks):
    """Those of some rows that belong to each task."""
    rows = rows[np.argsort(codes[rows], kind="stable")]
    return np.split(rows, np.searchsorted(codes[rows], np.arange(1, n_tasks)))


def _part(X, y, weight, rows):
    part = (_safe_indexing(X, rows), _safe_indexing(y, rows))
    return part if weight is None else (*part, weight[rows])


def _naming(ids, parts, estimator, adapt_each):
    """Copies adapted to each part; an error names the task that it comes from."""
    if not parts:
        return []
    try:
        return adapt_each(estimator, parts)
    except ValueError:
        for name, part in zip(ids, parts, strict=True):
            try:
                adapt_each(estimator, [part])
            except ValueError as error:
                raise type(error)(f"Task {show(name)}: {error}") from None
        raise


def _check_method(estimator, method, options):
    name = type(estimator).__name__
    methods = [verb for verb in METHODS if hasattr(estimator, verb)]
    if hasattr(estimator, "estimators_") and isinstance(
        getattr(estimator, "classes_", None), list
    ):
        methods = ["predict"]  # a list of tables, one for each output
    if method not in methods:
        raise ValueError(
            f"method={method!r} cannot be called for many tasks at once with {name}. "
            f"Take one of {methods}, or pass one of the models inside."
        )
    if options:
        raise TypeError(
            f"adapt_predict got an unexpected argument {next(iter(options))!r}: "
            f"{method} of {name} takes no further argument."
        )

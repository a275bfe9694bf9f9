"""The verbs of `adaptation` on estimators that combine several models.

Each takes the verb itself, ``adapt`` for instance, and calls it for every member that
holds a meta-learner. The estimator, rebuilt around the adapted members, predicts.
"""

import numpy as np
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


def predicted(estimator, known, new, method, options, adapt_each):
    """`adapt_predict` of an ensemble, for some tasks at a time.

    ``known`` are (X, y, sample_weight, task), and ``new`` are (X, task).
    """
    _check_method(estimator, method, options)
    (X, y, weight, task), (X_new, task_new) = known, new
    check_aligned(X=X, y=y, sample_weight=weight, task=task)
    check_aligned(X_new=X_new, task_new=task_new)
    n_new = _num_samples(X_new)
    codes, codes_new, ids = encode_new_tasks(task, _num_samples(X), task_new, n_new)
    rows = np.arange(len(codes))
    if weight is not None:
        weight = np.asarray(plain_weight(weight))
        rows = rows[weight != 0]
    rows = rows[np.argsort(codes[rows], kind="stable")]
    given = np.split(rows, np.searchsorted(codes[rows], np.arange(1, len(ids))))
    order = np.argsort(codes_new, kind="stable")
    asked = np.split(order, np.searchsorted(codes_new[order], np.arange(1, len(ids))))
    tasks = [t for t in range(len(ids)) if len(asked[t])]
    answer = None
    with scoring_on_purpose():
        for start in range(0, len(tasks), BLOCK):
            some = tasks[start : start + BLOCK]
            told = [t for t in some if len(given[t])]
            parts = [_part(X, y, weight, given[t]) for t in told]
            copies = _naming(ids[told], parts, estimator, adapt_each)
            models = dict(zip(told, copies, strict=True))
            for t in some:
                model = models.get(t, estimator)
                found = getattr(model, method)(_safe_indexing(X_new, asked[t]))
                answer = put(found, asked[t], answer, n_new)
    return answer


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

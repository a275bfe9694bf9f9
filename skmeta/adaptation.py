"""The verbs of a meta-learner on any scikit-learn composition.

A Pipeline has no ``adapt``. These functions reach the meta-learner inside a
composition: what stands in front of it (scalers, encoders) was fitted in
meta-training and stays as it is, and only the meta-learner adapts. A composition of
another package is made known to all of them by :func:`register_composition`.
"""

from functools import singledispatch

from sklearn import config_context
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import _num_samples, assert_all_finite

from skmeta import _members
from skmeta._base import BaseMetaLearner
from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.ids import check_task_ids, tasks_one_by_one
from skmeta._checks.keywords import check_takes_weights, with_hint_to_many
from skmeta._checks.task_lists import read_tasks
from skmeta._checks.values import check_target
from skmeta._compositions import (
    Composition,
    around_plain_model,
    changes_rows,
    check_restorable,
    checked_composition,
    checked_ensemble,
    composition_of,
    ensemble_of,
    first_meta_learner,
    innermost,
    register_composition,
    restored,
    rows_and_targets_inside,
    takes_several_targets,
)
from skmeta._copies import all_restored_on_error, shallow_copy
from skmeta._ensembles import Ensemble
from skmeta._export import PlainModel
from skmeta._many_tasks import of_part
from skmeta._samplers import fit_with_samplers, has_samplers
from skmeta.task_statistics import TaskStatistics

__all__ = [
    "Composition",
    "Ensemble",
    "adapt",
    "adapt_predict",
    "meta_fit",
    "partial_adapt",
    "register_composition",
    "to_sklearn",
]


# -- meta_fit -------------------------------------------------------------------------


@with_hint_to_many
@singledispatch
def meta_fit(
    estimator,
    tasks=None,
    y=None,
    sample_weight=None,
    *,
    X=None,
    task=None,
    choice_set=None,
    unit=None,
):
    """Meta-train a meta-learner, or a composition that ends in one, on tasks.

    It takes a collection of tasks, ``meta_fit(estimator, tasks)``, or one table of the
    rows of all tasks with their ids, ``meta_fit(estimator, X, y, task=ids)``.

    Parameters
    ----------
    estimator : estimator
        A meta-learner of skmeta; a :class:`~sklearn.pipeline.Pipeline`, a search such
        as :class:`~sklearn.model_selection.GridSearchCV`, or a
        :class:`~sklearn.compose.TransformedTargetRegressor` with one inside.
    tasks : dict {id: (X, y)} or iterable of (X, y)
        One member per task; a third item is its sample weights, and for an
        :class:`EmpiricalBayesRanker` a fourth one its choice sets. Or, with y and
        ``task``, the rows of all tasks: an {array-like, sparse matrix, dataframe} of
        shape (n_samples, n_features), which may also be given as ``X``.
    y : array-like of shape (n_samples,), default=None
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features), \
            default=None
        Rows of all tasks, in the place of ``tasks``.
    task : array-like of shape (n_samples,), default=None
        Which task each row belongs to.
    choice_set : array-like of shape (n_samples,), default=None
        Which choice set each row belongs to; only of an :class:`EmpiricalBayesRanker`.
    unit : array-like of shape (n_samples,), default=None
        What each row belongs to within its task, such as its basket, for the few-shot
        scorer of a search.

    Returns
    -------
    estimator : estimator
        The same object, fitted.

    Raises
    ------
    TypeError
        If there is no meta-learner inside, or if rows come without y or without ids.

    Notes
    -----
    The same as ``estimator.fit(X, y, task=ids)`` on the rows of all tasks, with
    metadata routing switched on for the call. The steps in front of the meta-learner
    are fitted on the pooled rows. A splitter that asks for ``groups``, such as the
    ``cv=GroupKFold(5)`` of a search, gets the ids of tasks, and so splits whole tasks.
    If there are sample weights, scikit-learn demands that every step of a Pipeline that
    could take them says whether it does, the meta-learner too:
    ``StandardScaler().set_fit_request(sample_weight=False)`` and
    ``EmpiricalBayesRegressor().set_fit_request(sample_weight=True)``. Steps can say so
    after ``sklearn.set_config(enable_metadata_routing=True)``.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import ReptileRegressor, adapt, meta_fit
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), ReptileRegressor(random_state=0))
    >>> adapted = adapt(meta_fit(pipe, tasks), X[:5], y[:5])
    >>> adapted.predict(X[5:]).shape
    (15,)

    The same from one table with a column of ids:

    >>> import numpy as np
    >>> rows, targets = (np.concatenate(part) for part in zip(*tasks))
    >>> shop = np.repeat(np.arange(29), 20)
    >>> meta_fit(pipe, rows, targets, task=shop)[-1].n_tasks_
    29
    """
    given = _beside(sample_weight=sample_weight, choice_set=choice_set, unit=unit)
    if given or any(part is not None for part in (X, y, task)):
        X = _flat_rows(tasks, X, y, task)
        check_aligned(X=X, y=y, task=task, **given)
        return _fit_with_ids(estimator, X, y, task, given)
    if isinstance(estimator, BaseMetaLearner):
        return estimator.meta_fit(tasks)
    inner = _checked_inside(estimator)
    if isinstance(tasks, TaskStatistics):
        raise TypeError(_CHANGES_ROWS.format(type(estimator).__name__))
    several = takes_several_targets(estimator)
    X, y, sample_weight, task, beside = read_tasks(tasks, inner._comes_beside, several)
    given = _beside(sample_weight=sample_weight, **beside)
    with tasks_one_by_one():
        return _fit_with_ids(estimator, X, y, task, given)


def _flat_rows(tasks, X, y, task):
    """The rows of all tasks; an error if it is not clear which task each belongs to."""
    if tasks is not None and X is not None:
        raise TypeError("meta_fit got both tasks and X. Pass one of them.")
    X = tasks if X is None else X
    if isinstance(X, TaskStatistics):
        raise TypeError(
            "meta_fit got statistics, which hold y, the weights and the ids of tasks "
            "already. Leave out what is given beside them."
        )
    if y is None:
        raise TypeError(
            "meta_fit got no y. For one table with a column of ids call "
            "meta_fit(model, X, y, task=ids); with a list of (X, y), or a dict "
            "{id: (X, y)}, nothing is given beside it."
        )
    if task is None:
        raise TypeError(
            "meta_fit got X and y, but no ids of tasks: pass task=ids, one id per row. "
            "Or pass the tasks apart, as a list of (X, y) or a dict {id: (X, y)}."
        )
    return X


def _checked_inside(estimator):
    """The first meta-learner inside what `meta_fit` can be used on."""
    checked_ensemble(innermost(estimator), "meta_fit")
    inner = first_meta_learner(estimator, "meta_fit")
    if composition_of(estimator) is not None:
        checked_composition(estimator, "meta_fit")
    return inner


def _fit_with_ids(estimator, X, y, task, given):
    """Meta-train on the rows of all tasks with metadata routing switched on."""
    inner = _checked_inside(estimator)
    _check_takes(inner, given.keys() - {"sample_weight", "unit"})
    if "sample_weight" in given:
        check_takes_weights(inner)
    if "unit" in given and not _consumes(estimator, "unit"):
        raise TypeError(
            "meta_fit got unit=, and no scorer of a search inside asks for it. Leave "
            "it out: it says which rows are given or scored together, as in "
            "few_shot_scores."
        )
    if estimator is inner:
        return estimator.fit(X, y, task=task, **given)
    labels = inner._targets.are_labels
    # All this comes before the steps in front are fitted and targets are transformed.
    check_task_ids(task, _num_samples(X))
    with naming_the_task(task, **{"labels" if labels else "y": y}):
        check_target(y, labels)
        assert_all_finite(y, input_name="y")
    with all_restored_on_error(estimator), config_context(enable_metadata_routing=True):
        if has_samplers(estimator):
            return fit_with_samplers(estimator, X, y, task, **given)
        if _consumes(estimator, "groups"):  # a splitter of groups
            given = given | {"groups": task}
        try:
            return estimator.fit(X, y, task=task, **given)
        except KeyError as error:
            if error.args == ("groups",):
                raise ValueError(_WANTS_GROUPS) from error
            raise


_WANTS_GROUPS = (
    "A step in front wants groups. TargetEncoder of scikit-learn 1.9 does so while "
    "metadata routing is on: give it a splitter of groups, "
    "TargetEncoder(cv=GroupKFold(5)). meta_fit hands it the ids of tasks, so that the "
    "code of a row is made without its own task."
)


def _consumes(estimator, name):
    """Whether some part of an estimator asks for metadata of this name in `fit`."""
    with config_context(enable_metadata_routing=True):
        return name in get_routing_for_object(estimator).consumes("fit", [name])


_CHANGES_ROWS = (
    "{} may change the rows, and statistics hold only sums of them. Sum the rows of a "
    "model as its last step sees them, and use that step itself: "
    "TaskStatistics.from_rows(pipe[:-1].transform(X), y, task)."
)


def _check_leaves_rows(estimator, composition):
    """Refuse statistics where rows or targets would be changed before they are used."""
    if changes_rows(composition):
        raise TypeError(_CHANGES_ROWS.format(type(estimator).__name__))


# -- adapt ----------------------------------------------------------------------------


@with_hint_to_many
@singledispatch
def adapt(estimator, X, y=None, sample_weight=None, *, choice_set=None):
    """Adapt a copy of a meta-trained model or composition to one task.

    Parameters
    ----------
    estimator : estimator
        Meta-trained: a meta-learner of skmeta, or a Pipeline, a search, a
        FrozenEstimator or a TransformedTargetRegressor with one inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of one task, as they go into ``estimator.predict``. With no rows at all
        the copy is at the learned prior. Or the :class:`TaskStatistics` of its rows,
        without y, if nothing in front of the meta-learner changes them.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    choice_set : array-like of shape (n_samples,), default=None
        Which choice set each row belongs to; only of an :class:`EmpiricalBayesRanker`.

    Returns
    -------
    adapted : estimator
        A copy, adapted from the learned prior; the copy of a search is that of its best
        estimator. The steps in front are not fitted again: a scaler fitted on five rows
        would give the model other units than it has learned with. These steps are
        copies that share the fitted arrays, so ``estimator`` does not change if a step
        of ``adapted`` is fitted or set.

    See Also
    --------
    partial_adapt : The same in place, from the present state.

    Examples
    --------
    >>> from skmeta import ReptileRegressor, adapt
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> model = ReptileRegressor(random_state=0).meta_fit(tasks)
    >>> new_task = adapt(model, X[:5], y[:5])
    >>> bool(new_task.score(X[5:], y[5:]) > 0.8)
    True
    """
    beside = _beside(choice_set=choice_set)
    if isinstance(estimator, BaseMetaLearner):
        _check_takes(estimator, beside)
        return estimator.adapt(X, y, sample_weight, **beside)
    ensemble = checked_ensemble(estimator, "adapt")
    if ensemble is not None:
        _check_rows_of_ensemble(estimator, X, beside)
        part = X, y, sample_weight
        return _members.adapted(ensemble, estimator, part, adapt)
    outer = checked_composition(estimator, "adapt")
    if isinstance(X, TaskStatistics):
        _check_leaves_rows(estimator, outer)
        adapted = adapt(outer.inside(estimator), X, y, sample_weight)
        return outer.rebuild(shallow_copy(estimator), adapted)
    check_aligned(X=X, y=y, sample_weight=sample_weight, **beside)
    X, y = rows_and_targets_inside(outer, estimator, X, y)
    adapted = adapt(outer.inside(estimator), X, y, sample_weight, **beside)
    return outer.rebuild(shallow_copy(estimator), adapted)


def _beside(**given):
    """What comes with the rows, without what was not given."""
    return {name: labels for name, labels in given.items() if labels is not None}


def _check_takes(model, beside):
    """Refuse what comes with the rows if the meta-learner does not know of it."""
    for name in beside:
        if name.removesuffix("_new") not in model._comes_beside:
            raise TypeError(
                f"{type(model).__name__} takes no {name}, which is for models of "
                "choices: EmpiricalBayesRanker. Leave it out."
            )


def _check_rows_of_ensemble(estimator, X, beside):
    """Refuse what the models in an ensemble do not take."""
    name = type(estimator).__name__
    if isinstance(X, TaskStatistics):
        raise TypeError(
            f"{name} hands rows to the models inside, and statistics hold only sums of "
            "them. Pass the rows, or adapt one of the models inside."
        )
    if beside:
        raise TypeError(f"{name} takes no {next(iter(beside))}. Leave it out.")


# -- many tasks -----------------------------------------------------------------------


@singledispatch
def adapt_each(estimator, parts):
    """Copies adapted to each of a list of (X, y) or (X, y, sample_weight).

    Unlike the copies of `adapt`, they share all but the meta-learner with the original.
    """
    if isinstance(estimator, BaseMetaLearner):
        return estimator._adapt_each(parts)
    if adapt.dispatch(type(estimator)) is not adapt.dispatch(object):
        # registered for adapt alone
        return [adapt(estimator, *of_part(p)[0], **of_part(p)[1]) for p in parts]
    ensemble = checked_ensemble(estimator, "adapt")
    if ensemble is not None:
        return _members.each_adapted(ensemble, estimator, parts, adapt_each)
    outer = checked_composition(estimator, "adapt")
    ready = []
    for X, y, *others in parts:
        check_aligned(X=X, y=y)
        X, y = rows_and_targets_inside(outer, estimator, X, y)
        ready.append((X, y, *others))
    adapted = adapt_each(outer.inside(estimator), ready)
    return [outer.rebuild(estimator, inside) for inside in adapted]


@with_hint_to_many
@singledispatch
def adapt_predict(
    estimator,
    X,
    y,
    X_new,
    sample_weight=None,
    *,
    task,
    task_new,
    choice_set=None,
    choice_set_new=None,
    method="predict",
    **options,
):
    """Adapt to many tasks at once, and predict other rows of theirs.

    It gives the same as :func:`adapt` on the rows of each task and ``method`` on its
    new rows, one task after the other, and is many times faster unless each task has
    its own classes.

    Parameters
    ----------
    estimator : estimator
        Meta-trained: a meta-learner of skmeta, or a Pipeline, a search, a
        FrozenEstimator or a TransformedTargetRegressor with one inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows to adapt to, of all tasks, in any order.
    y : array-like of shape (n_samples,)
        Their targets.
    X_new : {array-like, sparse matrix, dataframe} of shape (n_new, n_features)
        Rows of the same tasks to predict. If a task has no row in X, the learned prior
        predicts.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row of X.
    task : array-like of shape (n_samples,)
        Task of each row of X.
    task_new : array-like of shape (n_new,)
        Task of each row of X_new.
    choice_set : array-like of shape (n_samples,), default=None
        Which choice set each row of X belongs to; only of an
        :class:`EmpiricalBayesRanker`.
    choice_set_new : array-like of shape (n_new,), default=None
        The same of the rows of X_new, for probabilities and ranks.
    method : {"predict", "predict_proba", "decision_function", "predict_interval", \
            "rank"}, default="predict"
        What to call on an adapted model; the meta-learner must have this method.
    **options : dict
        Arguments of this method: ``return_std=True`` for "predict" and ``coverage=0.9``
        for "predict_interval", where the meta-learner has them. ``exposure``, of models
        of counts, is one number or one for each new row.

    Returns
    -------
    y_new : ndarray of shape (n_new,), (n_new, n_classes) or (n_new, 2)
        What the method returns, in the order of X_new: predictions, probabilities or
        scores of the classes, or the lower and upper ends of intervals. With
        ``return_std`` it is a tuple of predictions and deviations.

    Notes
    -----
    Inside a TransformedTargetRegressor the ends of intervals are transformed back like
    predictions. They hold the same share of new targets if the transformation rises or
    falls everywhere, which is checked. A deviation cannot be transformed back, so that
    ``return_std`` is refused there.

    Examples
    --------
    >>> import numpy as np
    >>> from skmeta import ReptileRegressor, adapt_predict
    >>> from skmeta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(30, random_state=0)
    >>> model = ReptileRegressor(random_state=0).meta_fit(tasks[:20])
    >>> X, y = (np.concatenate(part) for part in zip(*tasks[20:]))
    >>> shop = np.repeat(np.arange(10), 20)
    >>> known = np.tile(np.arange(20) < 5, 10)  # five rows of each
    >>> y_new = adapt_predict(
    ...     model,
    ...     X[known],
    ...     y[known],
    ...     X[~known],
    ...     task=shop[known],
    ...     task_new=shop[~known],
    ... )
    >>> y_new.shape
    (150,)
    """
    beside = _beside(choice_set=choice_set, choice_set_new=choice_set_new)
    if isinstance(estimator, BaseMetaLearner):
        _check_takes(estimator, beside)
        options |= {"task": task, "task_new": task_new, "method": method, **beside}
        return estimator.adapt_predict(X, y, X_new, sample_weight, **options)
    if checked_ensemble(estimator, "adapt_predict") is not None:
        _check_rows_of_ensemble(estimator, X, beside)
        known, new = (X, y, sample_weight, task), (X_new, task_new)
        verbs = predicts_each, predict_each, adapt_each
        return _members.predicted(estimator, known, new, method, options, verbs)
    options |= {"task": task, "task_new": task_new, "method": method, **beside}
    outer = checked_composition(estimator, "adapt_predict")
    check_restorable(outer, estimator, options)
    check_aligned(
        X=X, y=y, sample_weight=sample_weight, task=task, choice_set=choice_set
    )
    check_aligned(X_new=X_new, task_new=task_new, choice_set_new=choice_set_new)
    X, y = outer.transform_rows(estimator, X), outer.transform_targets(estimator, y)
    X_new = outer.transform_rows(estimator, X_new)
    inside = outer.inside(estimator)
    y_new = adapt_predict(inside, X, y, X_new, sample_weight, **options)
    return restored(outer, estimator, y_new, method)


def predicts_each(estimator):
    """Whether `predict_each` gives what adapted copies of an estimator predict."""
    if isinstance(estimator, BaseMetaLearner):
        return estimator._predicts_numbered
    for verb in (adapt, adapt_each, adapt_predict):
        if verb.dispatch(type(estimator)) is not verb.dispatch(object):
            return False  # somebody's own verb
    ensemble = ensemble_of(estimator)
    if ensemble is not None:
        return _members.can_be_together(ensemble, estimator, predicts_each)
    outer = composition_of(estimator)
    return outer is not None and predicts_each(outer.inside(estimator))


def predict_each(estimator, known, new, n_tasks, method):
    """`adapt_predict` of tasks that have numbers.

    ``known`` are (X, y, weight or None, codes), and ``new`` are (X, codes).
    """
    if isinstance(estimator, BaseMetaLearner):
        return estimator._predict_numbered(known, new, n_tasks, method)
    ensemble = checked_ensemble(estimator, "adapt_predict")
    if ensemble is not None:
        return _members.predicted_together(
            ensemble, estimator, known, new, n_tasks, method, predict_each
        )
    outer = checked_composition(estimator, "adapt_predict")
    X, y, *others = known
    X, y = outer.transform_rows(estimator, X), outer.transform_targets(estimator, y)
    X_new = outer.transform_rows(estimator, new[0])
    inside = outer.inside(estimator)
    y_new = predict_each(inside, (X, y, *others), (X_new, new[1]), n_tasks, method)
    return restored(outer, estimator, y_new, method)


# -- partial_adapt --------------------------------------------------------------------


@with_hint_to_many
@singledispatch
def partial_adapt(estimator, X, y=None, sample_weight=None, *, choice_set=None):
    """Adapt a meta-trained model or composition in place, from its present state.

    Parameters
    ----------
    estimator : estimator
        As for :func:`adapt`, but no FrozenEstimator, which must not change.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of one task, or its :class:`TaskStatistics`, as for :func:`adapt`.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    choice_set : array-like of shape (n_samples,), default=None
        Which choice set each row belongs to; only of an :class:`EmpiricalBayesRanker`.

    Returns
    -------
    estimator : estimator
        The same object.

    See Also
    --------
    adapt : An adapted copy, from the learned prior.

    Examples
    --------
    >>> from skmeta import ReptileRegressor, adapt, partial_adapt
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> shop = adapt(ReptileRegressor(random_state=0).meta_fit(tasks), X[:2], y[:2])
    >>> partial_adapt(shop, X[2:5], y[2:5]).n_adapt_rows_
    5
    """
    beside = _beside(choice_set=choice_set)
    if isinstance(estimator, BaseMetaLearner):
        _check_takes(estimator, beside)
        return estimator.partial_adapt(X, y, sample_weight, **beside)
    ensemble = checked_ensemble(estimator, "partial_adapt")
    if ensemble is not None:
        _check_rows_of_ensemble(estimator, X, beside)
        part = X, y, sample_weight
        return _members.adapted_in_place(ensemble, estimator, part, partial_adapt)
    outer = checked_composition(estimator, "partial_adapt")
    if isinstance(X, TaskStatistics):
        _check_leaves_rows(estimator, outer)
        partial_adapt(outer.inside(estimator), X, y, sample_weight)
        return estimator
    check_aligned(X=X, y=y, sample_weight=sample_weight, **beside)
    X, y = rows_and_targets_inside(outer, estimator, X, y)
    partial_adapt(outer.inside(estimator), X, y, sample_weight, **beside)
    return estimator


# -- to_sklearn -----------------------------------------------------------------------


@singledispatch
def to_sklearn(estimator):
    """Hand out what a model knows of its task as plain estimators of scikit-learn.

    The meta-learner inside is replaced by a linear model of scikit-learn that predicts
    the same. What comes out needs no skmeta, and can be exported, to ONNX or SQL for
    example, by any tool that knows scikit-learn.

    Parameters
    ----------
    estimator : estimator
        Meta-trained, and usually adapted: a meta-learner of skmeta, or a Pipeline, a
        search, a FrozenEstimator, a TransformedTargetRegressor or a few-shot estimator
        with one inside.

    Returns
    -------
    plain : estimator
        A fitted linear model, or the same composition around it; of a search, its best
        estimator.

    See Also
    --------
    EmpiricalBayesRegressor.to_sklearn : Which model it is, and what it cannot do.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit, to_sklearn
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor(random_state=0))
    >>> plain = to_sklearn(adapt(meta_fit(pipe, tasks), X[:5], y[:5]))
    >>> plain[-1]
    LinearRegression()
    >>> plain.predict(X[5:]).shape
    (15,)
    """
    if isinstance(estimator, PlainModel):
        return estimator.to_sklearn()
    if isinstance(estimator, BaseMetaLearner):
        raise TypeError(
            f"{type(estimator).__name__} has no to_sklearn: no model of scikit-learn "
            "is known to predict the same. Save it with joblib."
        )
    outer = checked_composition(estimator, "to_sklearn")
    return around_plain_model(outer, estimator, to_sklearn(outer.inside(estimator)))

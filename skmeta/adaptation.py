"""The verbs of a meta-learner on any scikit-learn composition.

A Pipeline has no ``adapt``. These functions reach the meta-learner inside a
composition: what stands in front of it (scalers, encoders) was fitted in
meta-training and stays as it is, and only the meta-learner adapts. They are
:func:`functools.singledispatch` functions, so another package can register its own
compositions: ``adapt.register(MyComposition)(function)``.
"""

from copy import copy
from functools import singledispatch

import numpy as np
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skmeta._base import BaseMetaLearner
from skmeta._guards import check_aligned, read_tasks

__all__ = ["adapt", "adapt_predict", "meta_fit", "partial_adapt"]


def _no_meta_learner(estimator, verb):
    return TypeError(
        f"{verb} found no meta-learner in {type(estimator).__name__}. It takes a "
        "meta-learner of skmeta, or a Pipeline, a search such as GridSearchCV, a "
        "FrozenEstimator or a TransformedTargetRegressor with one inside."
    )


# -- meta_fit -------------------------------------------------------------------------


@singledispatch
def meta_fit(estimator, tasks):
    """Meta-train a meta-learner, or a composition that ends in one, on tasks.

    Parameters
    ----------
    estimator : estimator
        A meta-learner of skmeta; a :class:`~sklearn.pipeline.Pipeline`, a search such
        as :class:`~sklearn.model_selection.GridSearchCV`, or a
        :class:`~sklearn.compose.TransformedTargetRegressor` with one inside.
    tasks : dict {id: (X, y)} or iterable of (X, y)
        One member per task; a third item is its sample weights.

    Returns
    -------
    estimator : estimator
        The same object, fitted.

    Notes
    -----
    The same as ``estimator.fit(X, y, task=ids)`` on the rows of all tasks, with
    metadata routing switched on for the call. The steps in front of the meta-learner
    are fitted on the pooled rows. Sample weights go through a Pipeline only to steps
    that say whether they want them, as scikit-learn demands of every step that could
    take them: ``StandardScaler().set_fit_request(sample_weight=False)``.

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
    """
    raise _no_meta_learner(estimator, "meta_fit")


@meta_fit.register
def _(estimator: BaseMetaLearner, tasks):
    return estimator.meta_fit(tasks)


@meta_fit.register(Pipeline)
@meta_fit.register(TransformedTargetRegressor)
@meta_fit.register(BaseSearchCV)
def _(estimator, tasks):
    _meta_learner(estimator, "meta_fit")
    X, y, sample_weight, task = read_tasks(tasks)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    with config_context(enable_metadata_routing=True):
        return estimator.fit(X, y, task=task, **weights)


@meta_fit.register
def _(estimator: FrozenEstimator, tasks):
    _meta_learner(estimator, "meta_fit")
    raise TypeError(
        "A FrozenEstimator must not change: call meta_fit on what is inside and freeze "
        "the result, FrozenEstimator(meta_fit(estimator, tasks))."
    )


# -- adapt ----------------------------------------------------------------------------


@singledispatch
def adapt(estimator, X, y, sample_weight=None):
    """Adapt a copy of a meta-trained model or composition to one task.

    Parameters
    ----------
    estimator : estimator
        Meta-trained: a meta-learner of skmeta, or a Pipeline, a search, a
        FrozenEstimator or a TransformedTargetRegressor with one inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of one task, as they go into ``estimator.predict``.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.

    Returns
    -------
    adapted : estimator
        Adapted from the learned prior; of a search, its best estimator. Fitted
        preprocessing is shared with ``estimator``, not refitted: a scaler refitted on
        five rows would feed the model other units than it learned with.

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
    raise _no_meta_learner(estimator, "adapt")


@adapt.register
def _(estimator: BaseMetaLearner, X, y, sample_weight=None):
    return estimator.adapt(X, y, sample_weight)


@adapt.register
def _(estimator: Pipeline, X, y, sample_weight=None):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight)
    adapted = copy(estimator)
    name, last = estimator.steps[-1]
    last = adapt(last, _transformed(estimator, X), y, sample_weight)
    adapted.steps = [*estimator.steps[:-1], (name, last)]
    return adapted


@adapt.register
def _(estimator: BaseSearchCV, X, y, sample_weight=None):
    return adapt(_best(estimator), X, y, sample_weight)


@adapt.register
def _(estimator: FrozenEstimator, X, y, sample_weight=None):
    return FrozenEstimator(adapt(estimator.estimator, X, y, sample_weight))


@adapt.register
def _(estimator: TransformedTargetRegressor, X, y, sample_weight=None):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight)
    adapted = copy(estimator)
    adapted.regressor_ = adapt(
        estimator.regressor_, X, _transformed_target(estimator, y), sample_weight
    )
    return adapted


# -- many tasks -----------------------------------------------------------------------


@singledispatch
def adapt_each(estimator, parts):
    """Copies adapted to each of a list of (X, y) or (X, y, sample_weight)."""
    return [adapt(estimator, *part) for part in parts]


@adapt_each.register
def _(estimator: BaseMetaLearner, parts):
    return estimator._adapt_each(parts)


@adapt_each.register
def _(estimator: Pipeline, parts):
    check_is_fitted(estimator)
    name, last = estimator.steps[-1]
    ready = []
    for X, *rest in parts:
        check_aligned(X=X, y=rest[0])
        ready.append((_transformed(estimator, X), *rest))
    models = []
    for adapted_last in adapt_each(last, ready):
        adapted = copy(estimator)
        adapted.steps = [*estimator.steps[:-1], (name, adapted_last)]
        models.append(adapted)
    return models


@adapt_each.register
def _(estimator: BaseSearchCV, parts):
    return adapt_each(_best(estimator), parts)


@singledispatch
def adapt_predict(
    estimator, X, y, X_new, sample_weight=None, *, task, task_new, method="predict"
):
    """Adapt to many tasks at once, and predict other rows of theirs.

    The same as :func:`adapt` on the rows of each task and ``method`` on its new rows,
    one task after the other; with a Reptile model inside much faster.

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
        Rows to predict, of the same tasks. For a task without a row in X the learned
        prior predicts.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row of X.
    task : array-like of shape (n_samples,)
        Task of each row of X.
    task_new : array-like of shape (n_new,)
        Task of each row of X_new.
    method : {"predict", "predict_proba", "decision_function"}, default="predict"
        What to call on an adapted model.

    Returns
    -------
    y_new : ndarray of shape (n_new,) or (n_new, n_classes)
        Predictions, in the order of X_new.

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
    raise _no_meta_learner(estimator, "adapt_predict")


@adapt_predict.register
def _(estimator: BaseMetaLearner, *rows, **options):
    return estimator.adapt_predict(*rows, **options)


@adapt_predict.register
def _(estimator: Pipeline, X, y, X_new, sample_weight=None, **options):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight, task=options.get("task"))
    check_aligned(X_new=X_new, task_new=options.get("task_new"))
    last = estimator.steps[-1][1]
    X, X_new = _transformed(estimator, X), _transformed(estimator, X_new)
    return adapt_predict(last, X, y, X_new, sample_weight, **options)


@adapt_predict.register
def _(estimator: BaseSearchCV, *rows, **options):
    return adapt_predict(_best(estimator), *rows, **options)


@adapt_predict.register
def _(estimator: FrozenEstimator, *rows, **options):
    return adapt_predict(estimator.estimator, *rows, **options)


@adapt_predict.register
def _(
    estimator: TransformedTargetRegressor, X, y, X_new, sample_weight=None, **options
):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight, task=options.get("task"))
    target = _transformed_target(estimator, y)
    y_new = adapt_predict(
        estimator.regressor_, X, target, X_new, sample_weight, **options
    )
    if estimator.transformer_ is None:
        return y_new
    return estimator.transformer_.inverse_transform(y_new.reshape(-1, 1)).reshape(-1)


# -- partial_adapt --------------------------------------------------------------------


@singledispatch
def partial_adapt(estimator, X, y, sample_weight=None):
    """Adapt a meta-trained model or composition in place, from its present state.

    Parameters
    ----------
    estimator : estimator
        As for :func:`adapt`, but no FrozenEstimator, which must not change.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows of one task.
    y : array-like of shape (n_samples,)
        Their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.

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
    raise _no_meta_learner(estimator, "partial_adapt")


@partial_adapt.register
def _(estimator: BaseMetaLearner, X, y, sample_weight=None):
    return estimator.partial_adapt(X, y, sample_weight)


@partial_adapt.register
def _(estimator: Pipeline, X, y, sample_weight=None):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight)
    last = estimator.steps[-1][1]
    partial_adapt(last, _transformed(estimator, X), y, sample_weight)
    return estimator


@partial_adapt.register
def _(estimator: BaseSearchCV, X, y, sample_weight=None):
    partial_adapt(_best(estimator), X, y, sample_weight)
    return estimator


@partial_adapt.register
def _(estimator: FrozenEstimator, X, y, sample_weight=None):
    raise TypeError(
        "A FrozenEstimator must not change: use adapt(...), which returns an adapted "
        "copy, or partial_adapt(frozen.estimator, ...)."
    )


@partial_adapt.register
def _(estimator: TransformedTargetRegressor, X, y, sample_weight=None):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight)
    target = _transformed_target(estimator, y)
    partial_adapt(estimator.regressor_, X, target, sample_weight)
    return estimator


# -- inside a composition -------------------------------------------------------------


def _inside(estimator):
    """The estimator that a composition hands its rows to, or None."""
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    if isinstance(estimator, TransformedTargetRegressor):
        return getattr(estimator, "regressor_", estimator.regressor)
    if isinstance(estimator, BaseSearchCV):
        return getattr(estimator, "best_estimator_", estimator.estimator)
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    return None


def _find_meta_learner(estimator):
    """The meta-learner inside a composition, or None."""
    while estimator is not None and not isinstance(estimator, BaseMetaLearner):
        estimator = _inside(estimator)
    return estimator


def _meta_learner(estimator, verb):
    """The meta-learner inside a composition; an error if there is none."""
    inner = _find_meta_learner(estimator)
    if inner is None:
        raise _no_meta_learner(estimator, verb)
    return inner


def has_own_classes(estimator):
    """Whether each task brings its own classes to the meta-learner inside."""
    inner = _find_meta_learner(estimator)
    return inner is not None and inner._n_way is not None


def _transformed(pipeline, X):
    """X after the fitted steps in front of the last."""
    return pipeline[:-1].transform(X) if len(pipeline.steps) > 1 else X


def _transformed_target(estimator, y):
    y = np.asarray(y)
    if estimator.transformer_ is None:
        return y
    column = estimator.transformer_.transform(y.reshape(-1, 1))
    return np.asarray(column).reshape(-1)


def _best(search):
    check_is_fitted(search)
    if not hasattr(search, "best_estimator_"):
        raise TypeError(
            f"{type(search).__name__} has refit=False, so it holds no fitted model to "
            "adapt. Set refit=True."
        )
    return search.best_estimator_

"""The verbs of a meta-learner on any scikit-learn composition.

A Pipeline has no ``adapt``. These functions reach the meta-learner inside a
composition: what stands in front of it (scalers, encoders) was fitted in
meta-training and stays as it is, and only the meta-learner adapts. They are
:func:`functools.singledispatch` functions, so another package can register its own
compositions: ``adapt.register(MyComposition)(function)``.
"""

from functools import singledispatch

from skmeta._base import BaseMetaLearner

__all__ = ["adapt", "adapt_predict", "meta_fit", "partial_adapt"]


def _on_composition(function, verb, estimator, *args, **options):
    """Register scikit-learn's compositions, and try again.

    They are imported with the first one that comes, not with skmeta: that would take
    longer than all the rest.
    """
    from skmeta import _compositions

    found = function.dispatch(type(estimator))
    if found is function.dispatch(object):
        raise _compositions.no_meta_learner(estimator, verb)
    return found(estimator, *args, **options)


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
    return _on_composition(meta_fit, "meta_fit", estimator, tasks)


@meta_fit.register
def _(estimator: BaseMetaLearner, tasks):
    return estimator.meta_fit(tasks)


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
        Adapted from the learned prior; of a search, its best estimator. Preprocessing
        is that of ``estimator``, not refitted: a scaler refitted on five rows would
        feed the model other units than it learned with. Its steps are copies that share
        the fitted arrays, so that ``estimator`` does not notice what is fitted or set
        in ``adapted``.

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
    return _on_composition(adapt, "adapt", estimator, X, y, sample_weight)


@adapt.register
def _(estimator: BaseMetaLearner, X, y, sample_weight=None):
    return estimator.adapt(X, y, sample_weight)


# -- many tasks -----------------------------------------------------------------------


@singledispatch
def adapt_each(estimator, parts):
    """Copies adapted to each of a list of (X, y) or (X, y, sample_weight)."""
    from skmeta import _compositions  # noqa: F401 (registers)

    found = adapt_each.dispatch(type(estimator))
    if found is not adapt_each.dispatch(object):
        return found(estimator, parts)
    return [adapt(estimator, *part) for part in parts]  # of another package


@adapt_each.register
def _(estimator: BaseMetaLearner, parts):
    return estimator._adapt_each(parts)


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
    options = {"task": task, "task_new": task_new, "method": method}
    return _on_composition(
        adapt_predict, "adapt_predict", estimator, X, y, X_new, sample_weight, **options
    )


@adapt_predict.register
def _(estimator: BaseMetaLearner, *rows, **options):
    return estimator.adapt_predict(*rows, **options)


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
    return _on_composition(
        partial_adapt, "partial_adapt", estimator, X, y, sample_weight
    )


@partial_adapt.register
def _(estimator: BaseMetaLearner, X, y, sample_weight=None):
    return estimator.partial_adapt(X, y, sample_weight)

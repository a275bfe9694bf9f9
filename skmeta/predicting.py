"""What an adapted model tells, asked through any scikit-learn composition.

A Pipeline has no ``predict_interval``, and a search takes nothing but rows. These
functions send the rows through the fitted steps in front, ask the meta-learner inside,
and give its answer in the user's units.
"""

import inspect
from functools import singledispatch

from sklearn.utils.validation import check_is_fitted

from skmeta._base import BaseMetaLearner
from skmeta._checks.aligned import check_aligned
from skmeta._checks.id_keys import check_not_a_column
from skmeta._checks.keywords import with_hint_to_many
from skmeta._compositions import (
    check_restorable,
    checked_composition,
    checked_ensemble,
    composition_of,
    ensemble_of,
    meta_learners,
    restored,
)
from skmeta._many_tasks import METHODS, OF_ROWS, columns_among
from skmeta._members import combined

__all__ = ["n_adapt_rows", "predict", "predict_interval", "suggest_queries"]


@with_hint_to_many
def predict(estimator, X, *, task=None, method="predict", **options):
    """Predict with any composition, with all that its meta-learner can be asked.

    ``search.predict`` takes nothing but rows, and a Pipeline has only some methods of
    its last step. Here each method and each argument reaches the meta-learner.

    Parameters
    ----------
    estimator : estimator
        Meta-trained, and adapted or not: a meta-learner of skmeta, or a Pipeline, a
        search, a FrozenEstimator, a TransformedTargetRegressor or a few-shot estimator
        with one inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows as they go into ``estimator.predict``.
    task : id or array-like of shape (n_samples,), default=None
        Tasks of the meta-training that the rows belong to: one id per row, or one for
        all rows. Each row is predicted by what is known of its task, and a row of an
        unknown task by the learned prior.
    method : {"predict", "predict_proba", "decision_function", "predict_interval", \
            "rank"}, default="predict"
        What to ask the meta-learner, which must have this method.
    **options : dict
        Arguments of this method, such as ``return_std=True``, ``coverage=0.9``,
        ``exposure`` or ``choice_set``, where the meta-learner has them.

    Returns
    -------
    y : ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, 2)
        What the method returns. Without ``task`` and options it is what the
        estimator's own method returns, if it has this one.

    Raises
    ------
    TypeError
        If no meta-learner is inside, or if it lacks the method or an argument.
    ValueError
        If deviations are asked of a TransformedTargetRegressor, or if intervals cannot
        be transformed back: see :func:`predict_interval`.

    See Also
    --------
    adapt_predict : Adapts to rows of many tasks and predicts others, in one call.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit, predict
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(12, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor("intercept"))
    >>> adapted = adapt(meta_fit(pipe, tasks), X[:5], y[:5])
    >>> mean, deviation = predict(adapted, X[5:], return_std=True)
    >>> mean.shape, deviation.shape
    ((15,), (15,))

    Known tasks, each by what meta-training has told of it:

    >>> predict(pipe, X[:3], task=[0, 1, 1]).shape
    (3,)
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}; got {method!r}.")
    options = _given(options)
    check_aligned(X=X, task=task, **columns_among(options))
    if task is not None:  # behind a step X may have neither labels nor names
        check_not_a_column(X, task)
        options["task"] = task
    if not options and hasattr(estimator, method):
        return getattr(estimator, method)(X)
    return asked(estimator, X, method, options)


def _given(options):
    """Arguments without those of one value per row that are None."""
    return {
        name: value
        for name, value in options.items()
        if value is not None or name not in OF_ROWS
    }


@with_hint_to_many
def predict_interval(estimator, X, coverage=0.9, *, task=None, **options):
    """Predict intervals that hold a given share of new targets, in the user's units.

    They hold for rows as they were in training: for random rows of a task, or of a
    model with ``row_order="time"`` for the next few rows after those given. Forecasts
    further ahead may be held less often. Measure that on the last known rows.

    Parameters
    ----------
    estimator : estimator
        As for :func:`predict`, with an :class:`EmpiricalBayesRegressor` or an
        :class:`EmpiricalBayesPoissonRegressor` inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows as they go into ``estimator.predict``.
    coverage : float, default=0.9
        Share of new targets that the intervals should hold, over tasks and rows.
    task : id or array-like of shape (n_samples,), default=None
        Tasks of the meta-training that the rows belong to, as for :func:`predict`.
    **options : dict
        Further arguments of the meta-learner's ``predict_interval``, such as
        ``exposure``.

    Returns
    -------
    interval : ndarray of shape (n_samples, 2)
        Lower and upper ends.

    Raises
    ------
    TypeError
        If the meta-learner inside has no intervals, or if there is none.
    ValueError
        If the targets are transformed by what neither rises nor falls everywhere
        between the ends, or cannot transform an end back.

    Notes
    -----
    Inside a TransformedTargetRegressor the ends are transformed back. A share of
    targets is the same in any units as long as the transformation rises everywhere or
    falls everywhere, which is checked.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.compose import TransformedTargetRegressor
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit, predict_interval
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = [(X, np.exp(y)) for X, y in make_linear_tasks(12)]
    >>> model = TransformedTargetRegressor(
    ...     EmpiricalBayesRegressor("intercept"), func=np.log, inverse_func=np.exp
    ... )
    >>> adapted = adapt(meta_fit(model, tasks), X[:5], y[:5])
    >>> low, high = predict_interval(adapted, X[5:], coverage=0.8).T
    >>> bool((0 < low).all() and (low < high).all())
    True
    """
    given = {"coverage": coverage, "method": "predict_interval"}
    return predict(estimator, X, task=task, **given, **options)


def suggest_queries(estimator, pool, n_queries=1, **options):
    """Choose which rows to ask a new task's owner about.

    Parameters
    ----------
    estimator : estimator
        As for :func:`predict`, with a meta-learner inside that has
        ``suggest_queries``: one with a Gaussian prior.
    pool : {array-like, sparse matrix, dataframe} of shape (n_pool, n_features)
        Rows that can be asked about, as they go into ``estimator.predict``.
    n_queries : int, default=1
        Number of rows to choose.
    **options : dict
        Further arguments of the meta-learner's method: ``choice_set``, of an
        :class:`EmpiricalBayesRanker`.

    Returns
    -------
    rows : ndarray of int of shape (n_queries,)
        Row numbers in ``pool``, the most useful row first; the labels of choice sets
        for an :class:`EmpiricalBayesRanker`.

    See Also
    --------
    EmpiricalBayesRegressor.suggest_queries : How they are chosen.

    Notes
    -----
    Inside a TransformedTargetRegressor the uncertainty that the answers lower is that
    of the transformed targets.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import EmpiricalBayesRegressor, meta_fit, suggest_queries
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (pool, _) = make_linear_tasks(12, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor("intercept"))
    >>> suggest_queries(meta_fit(pipe, tasks), pool, 3).shape
    (3,)
    """
    options = _given(options)
    check_aligned(pool=pool, **options)
    return asked(estimator, pool, "suggest_queries", {"n_queries": n_queries} | options)


@singledispatch
def n_adapt_rows(estimator):
    """Tell to how many rows the meta-learner inside a composition is adapted.

    Parameters
    ----------
    estimator : estimator
        As for :func:`predict`.

    Returns
    -------
    n_rows : int
        Number of rows of the task, or 0 at the learned prior.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit, n_adapt_rows
    >>> from skmeta.datasets import make_linear_tasks
    >>> *tasks, (X, y) = make_linear_tasks(12, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor("intercept"))
    >>> n_adapt_rows(adapt(meta_fit(pipe, tasks), X[:5], y[:5]))
    5
    """
    if isinstance(estimator, BaseMetaLearner):
        check_is_fitted(estimator)
        return estimator.n_adapt_rows_
    ensemble = checked_ensemble(estimator, "n_adapt_rows")
    if ensemble is not None:
        members = ensemble.members(estimator)
        return next(n_adapt_rows(model) for model in members if meta_learners(model))
    outer = checked_composition(estimator, "n_adapt_rows")
    return n_adapt_rows(outer.inside(estimator))


@singledispatch
def asked(estimator, X, method, options):
    """What a method of the meta-learner inside returns, in the user's units.

    Register another function for estimators that are no composition, or that hold
    several meta-learners.
    """
    if isinstance(estimator, BaseMetaLearner):
        return _method(estimator, method, options)(X, **options)
    if composition_of(estimator) is None and _is_plain(estimator, method, options):
        return getattr(estimator, method)(X, **options)
    ensemble = ensemble_of(estimator)
    if ensemble is not None and {*options} == {"task"} and ensemble._hands_rows_on:
        checked_ensemble(estimator, method)

        def say(number, member, how):
            return asked(member, X, how, options)

        return combined(ensemble, estimator, X, method, say)
    outer = checked_composition(estimator, method)
    check_restorable(outer, estimator, options)
    X = outer.transform_rows(estimator, X)
    answer = asked(outer.inside(estimator), X, method, options)
    if method not in METHODS:  # it is about rows, and not about targets
        return answer
    return restored(outer, estimator, answer, method)


def _is_plain(estimator, method, options):
    """Whether an ordinary model of scikit-learn can be asked."""
    plain = "task" not in options and hasattr(estimator, method)
    return plain and not meta_learners(estimator)


def _method(model, name, options):
    """A method of a meta-learner; an error if it is not there or takes less."""
    method, kind = getattr(model, name, None), type(model).__name__
    if method is None:
        raise TypeError(f"{kind} has no {name}.{_INSTEAD.get(name, '')}")
    takes = list(inspect.signature(method).parameters)
    for option in options:
        if option not in takes:
            raise TypeError(
                f"{name} of {kind} has no argument {option!r}; it takes {takes}."
                f"{_INSTEAD.get(option, '')}"
            )
    return method


_INSTEAD = {
    "predict_interval": " EmpiricalBayesRegressor and EmpiricalBayesPoissonRegressor "
    "have; a classifier says by predict_proba how sure it is.",
    "suggest_queries": " The models with a Gaussian prior, EmpiricalBayes*, have.",
    "task": " Predict for many tasks with skmeta.adapt_predict, or keep their state in "
    "a skmeta.TaskBank.",
}

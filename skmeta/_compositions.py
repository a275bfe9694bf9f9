"""What the verbs of `adaptation.py` do on scikit-learn's compositions."""

from copy import copy

import numpy as np
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from skmeta._base import BaseMetaLearner
from skmeta._copies import shallow_copy
from skmeta._guards import check_aligned, naming_the_task, read_tasks
from skmeta._ids import tasks_one_by_one
from skmeta._values import check_target, plain_table
from skmeta.adaptation import adapt, adapt_each, adapt_predict, meta_fit, partial_adapt


def no_meta_learner(estimator, verb):
    return TypeError(
        f"{verb} found no meta-learner in {type(estimator).__name__}. It takes a "
        "meta-learner of skmeta, or a Pipeline, a search such as GridSearchCV, a "
        "FrozenEstimator or a TransformedTargetRegressor with one inside."
    )


# -- meta_fit -------------------------------------------------------------------------


@meta_fit.register(Pipeline)
@meta_fit.register(TransformedTargetRegressor)
@meta_fit.register(BaseSearchCV)
def _(estimator, tasks):
    inner = meta_learner(estimator, "meta_fit")
    X, y, sample_weight, task = read_tasks(tasks)
    labels = inner._takes_labels
    with naming_the_task(task, **{"labels" if labels else "y": y}):
        # before the steps in front are fitted again, or a target is transformed
        check_target(y, labels)
        assert_all_finite(y, input_name="y")
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    with config_context(enable_metadata_routing=True), tasks_one_by_one():
        return estimator.fit(X, y, task=task, **weights)


@meta_fit.register
def _(estimator: FrozenEstimator, tasks):
    meta_learner(estimator, "meta_fit")
    raise TypeError(
        "A FrozenEstimator must not change: call meta_fit on what is inside and freeze "
        "the result, FrozenEstimator(meta_fit(estimator, tasks))."
    )


# -- adapt ----------------------------------------------------------------------------


@adapt.register
def _(estimator: Pipeline, X, y, sample_weight=None):
    check_is_fitted(estimator)
    check_aligned(X=X, y=y, sample_weight=sample_weight)
    name, last = estimator.steps[-1]
    last = adapt(last, _transformed(estimator, X), y, sample_weight)
    adapted = shallow_copy(estimator)
    adapted.steps[-1] = (name, last)
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
    target = _transformed_target(estimator, y)
    regressor = adapt(estimator.regressor_, X, target, sample_weight)
    adapted = shallow_copy(estimator)
    adapted.regressor_ = regressor
    return adapted


# -- many tasks -----------------------------------------------------------------------


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


def meta_learner(estimator, verb):
    """The meta-learner inside a composition; an error if there is none."""
    inner = _find_meta_learner(estimator)
    if inner is None:
        raise no_meta_learner(estimator, verb)
    return inner


def with_parameters(estimator, params, verb):
    """A composition whose meta-learner has other parameters; all else is shared.

    Only what leads to the meta-learner is copied: a base model or a vocabulary in front
    can be large.
    """
    if isinstance(estimator, BaseMetaLearner):
        return copy(estimator).set_params(**params)
    meta_learner(estimator, verb)
    if isinstance(estimator, BaseSearchCV):
        return with_parameters(_best(estimator), params, verb)
    inner = with_parameters(_inside(estimator), params, verb)
    if isinstance(estimator, FrozenEstimator):
        return FrozenEstimator(inner)
    copied = copy(estimator)
    if isinstance(estimator, Pipeline):
        copied.steps = [*estimator.steps[:-1], (estimator.steps[-1][0], inner)]
    else:
        copied.regressor_ = inner
    return copied


def has_own_classes(estimator):
    """Whether each task brings its own classes to the meta-learner inside."""
    return most_classes(estimator) is not None


def most_classes(estimator):
    """The most classes that a task may bring, or None where all tasks share them."""
    return getattr(_find_meta_learner(estimator), "_n_way", None)


def transformed_rows(estimator, X):
    """X as it reaches the fitted meta-learner inside a composition."""
    while not isinstance(estimator, BaseMetaLearner):
        if isinstance(estimator, Pipeline):
            X = _transformed(estimator, X)
        estimator = _inside(estimator)
    return X


def target_transformers(estimator):
    """The TransformedTargetRegressors around a meta-learner, the outermost first."""
    found = []
    while estimator is not None and not isinstance(estimator, BaseMetaLearner):
        if isinstance(estimator, TransformedTargetRegressor):
            found.append(estimator)
        estimator = _inside(estimator)
    return found


def transformed_targets(estimator, y):
    """y as it reaches the fitted meta-learner inside a composition."""
    for outer in target_transformers(estimator):
        y = _transformed_target(outer, y)
    return y


def original_targets(estimator, y):
    """Back from what the meta-learner inside predicts to the user's y."""
    for outer in reversed(target_transformers(estimator)):
        if outer.transformer_ is not None:
            y = outer.transformer_.inverse_transform(np.reshape(y, (-1, 1)))
            y = np.asarray(y, dtype=float).reshape(-1)
    return y


def ask_base_once(estimator, X, index):
    """What the base model inside says of these rows, for `remembering`; or None."""
    model = _find_meta_learner(estimator)
    if not hasattr(model, "base_estimator_") or not len(index):
        return None
    X = _safe_indexing(X, np.sort(index))
    rows = model._validate_X(transformed_rows(estimator, X))
    return model._ask_base_once([rows])


def transformed_names(estimator):
    """Names of the features that reach the fitted meta-learner inside, or None."""
    names = None
    while not isinstance(estimator, BaseMetaLearner):
        if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
            try:
                names = estimator[:-1].get_feature_names_out(names)
            except (AttributeError, ValueError):  # a step that gives no names
                names = None
        estimator = _inside(estimator)
    return getattr(estimator, "feature_names_in_", names)


def _transformed(pipeline, X):
    """X after the fitted steps in front of the last."""
    if len(pipeline.steps) == 1:
        return X
    try:
        return pipeline[:-1].transform(X)
    except TypeError:
        if plain_table(X) is X:
            raise
        raise ValueError(_MISSING) from None


_MISSING = (
    "Input X contains NaN or another missing value (None, NA, NaT), which the steps in "
    "front of the meta-learner do not take. Replace it by NaN and put an imputer first."
)


def _transformed_target(estimator, y):
    check_target(y, labels=False)
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

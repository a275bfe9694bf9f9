"""Compositions with a meta-learner inside: a table with one entry for each kind.

The verbs of `adaptation.py`, few-shot scores and comparisons read this table, and so
are written once for all compositions.
"""

import warnings
from abc import ABC, abstractmethod
from copy import copy
from functools import cache, partial

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from skmeta._base import BaseMetaLearner
from skmeta._checks.no_rows import has_no_rows
from skmeta._checks.values import check_target, plain_table
from skmeta._copies import shallow_copy
from skmeta._core.monotone import through_monotone
from skmeta._ensembles import Ensemble, ensemble_of_scikit_learn
from skmeta._linear_part import linear_names, preprocesses
from skmeta._samplers import has_samplers, is_sampler


class Composition(ABC):
    """How a meta-learner is reached inside an estimator of another kind.

    Subclass this, and pass an instance to :func:`register_composition`. Then
    :func:`~skmeta.meta_fit`, :func:`~skmeta.adapt`, :func:`~skmeta.partial_adapt`,
    :func:`~skmeta.adapt_predict`, :func:`~skmeta.to_sklearn`, the few-shot scores,
    :func:`~skmeta.model_selection.compare_baselines` and the displays work on
    estimators of that kind.

    `inside` and `rebuild` must be implemented. The other methods have defaults for a
    composition that changes neither rows nor targets. No method may change its
    arguments.

    Attributes
    ----------
    vanishes : bool
        Whether `rebuild` returns the inside alone, so that an adapted copy is no
        composition any more, as for a search. By default False.

    Notes
    -----
    The methods describe how the estimator itself predicts, which is::

        y = composition.inside(estimator).predict(
            composition.transform_rows(estimator, X)
        )
        y = composition.restore_targets(estimator, y)

    The estimator is meta-trained by its own ``fit(X, y, task=ids)``, which passes the
    ids on to the meta-learner inside.

    Examples
    --------
    An estimator that shifts y by its mean. Its attribute ``__metadata_request__fit``
    lets ``task`` reach it inside a Pipeline or a search, too.

    >>> from copy import copy
    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator, RegressorMixin, clone
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit
    >>> from skmeta.adaptation import Composition, register_composition
    >>> from skmeta.datasets import make_linear_tasks
    >>> class Centred(RegressorMixin, BaseEstimator):
    ...     __metadata_request__fit = {"task": True}
    ...
    ...     def __init__(self, regressor):
    ...         self.regressor = regressor
    ...
    ...     def fit(self, X, y, *, task=None):
    ...         self.mean_ = np.mean(y)
    ...         self.regressor_ = clone(self.regressor).fit(
    ...             X, y - self.mean_, task=task
    ...         )
    ...         return self
    ...
    ...     def predict(self, X):
    ...         return self.regressor_.predict(X) + self.mean_
    >>> class InsideCentred(Composition):
    ...     def inside(self, estimator):
    ...         return getattr(estimator, "regressor_", estimator.regressor)
    ...
    ...     def rebuild(self, estimator, inside):
    ...         rebuilt = copy(estimator)
    ...         rebuilt.regressor_ = inside
    ...         return rebuilt
    ...
    ...     def transform_targets(self, estimator, y):
    ...         return y - estimator.mean_
    ...
    ...     def restore_targets(self, estimator, y):
    ...         return y + estimator.mean_
    >>> register_composition(Centred, InsideCentred())
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> model = meta_fit(Centred(EmpiricalBayesRegressor(random_state=0)), tasks)
    >>> adapt(model, X[:5], y[:5]).predict(X[5:]).shape
    (15,)
    """

    vanishes = False

    @abstractmethod
    def inside(self, estimator):
        """Return the estimator that this one hands its rows to.

        Parameters
        ----------
        estimator : estimator
            The composition.

        Returns
        -------
        inside : estimator
            The fitted one if ``estimator`` is fitted, otherwise the one that its
            ``fit`` would fit.
        """

    @abstractmethod
    def rebuild(self, estimator, inside):
        """Return a copy of a fitted composition around another fitted inside.

        Parameters
        ----------
        estimator : estimator
            The fitted composition.
        inside : estimator
            What the copy shall hand its rows to.

        Returns
        -------
        rebuilt : estimator
            A copy that may share everything else with ``estimator``.
        """

    def transform_rows(self, estimator, X):
        """Return the rows as they reach the inside.

        Parameters
        ----------
        estimator : estimator
            The fitted composition.
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows as they go into ``estimator.predict``.

        Returns
        -------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_inside)
            By default the same rows.
        """
        return X

    def transform_targets(self, estimator, y):
        """Return the targets as the inside learns them.

        Parameters
        ----------
        estimator : estimator
            The fitted composition.
        y : array-like of shape (n_samples,)
            Targets as they go into ``estimator.fit``.

        Returns
        -------
        y : array-like of shape (n_samples,)
            By default the same targets.
        """
        return y

    def restore_targets(self, estimator, y):
        """Return predictions in the user's units: the inverse of `transform_targets`.

        Parameters
        ----------
        estimator : estimator
            The fitted composition.
        y : ndarray of shape (n_samples,)
            Predictions of the inside.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            By default the same predictions.
        """
        return y

    def feature_names(self, estimator, names):
        """Return the names of the columns that `transform_rows` returns.

        Parameters
        ----------
        estimator : estimator
            The fitted composition.
        names : array-like of str or None
            Names of the columns that come in, if they are known.

        Returns
        -------
        names : array-like of str or None
            By default the same names, or None if `transform_rows` is implemented.
        """
        return None if _implements(self, "transform_rows") else names

    def check(self, estimator, verb):  # noqa: B027 (there is nothing to refuse)
        """Raise an error if a verb cannot be used on this estimator.

        By default every verb can be used.

        Parameters
        ----------
        estimator : estimator
            The composition.
        verb : str
            Name of the function that is called, such as "partial_adapt".
        """


def _implements(composition, method):
    """Whether a composition does not use the default of `Composition`."""
    return getattr(type(composition), method) is not getattr(Composition, method)


def changes_rows(composition):
    """Whether rows or targets may change on their way to the inside."""
    return any(
        _implements(composition, method)
        for method in ("transform_rows", "transform_targets")
    )


# -- scikit-learn's compositions ------------------------------------------------------


class _FittedFirst(Composition):
    """A composition that must be meta-trained before all verbs but `meta_fit`."""

    def check(self, estimator, verb):
        if verb != "meta_fit":
            check_is_fitted(estimator)


class InsidePipeline(_FittedFirst):
    """The last step of a Pipeline; the fitted steps in front of it stay as they are."""

    def inside(self, estimator):
        return estimator.steps[-1][1]

    def rebuild(self, estimator, inside):
        rebuilt = copy(estimator)
        name, _ = estimator.steps[-1]
        rebuilt.steps = [*estimator.steps[:-1], (name, inside)]
        return rebuilt

    def transform_rows(self, estimator, X):
        if len(estimator.steps) == 1:
            return X
        try:
            if has_samplers(estimator):
                return _transformed_but_not_sampled(estimator, X)
            return estimator[:-1].transform(X)
        except TypeError:
            if plain_table(X) is X:
                raise
            raise ValueError(_MISSING) from None

    def feature_names(self, estimator, names):
        if len(estimator.steps) == 1:
            return names
        try:
            if has_samplers(estimator):
                return _names_behind(estimator, names)
            return estimator[:-1].get_feature_names_out(names)
        except (AttributeError, ValueError):  # one of the steps gives no names
            return None


def _transformed_but_not_sampled(pipeline, X):
    """X as the last step gets it; samplers act in `fit` alone."""
    for _, step in pipeline.steps[:-1]:
        if step not in (None, "passthrough") and not is_sampler(step):
            X = step.transform(X)
    return X


def _names_behind(pipeline, names):
    for _, step in pipeline.steps[:-1]:
        if step not in (None, "passthrough") and not is_sampler(step):
            names = step.get_feature_names_out(names)
    return names


_MISSING = (
    "Input X contains NaN or another missing value (None, NA, NaT), which the steps in "
    "front of the meta-learner do not take. Replace it by NaN and put an imputer first."
)


class InsideSearch(_FittedFirst):
    """The best estimator of a search. An adapted copy is no search any more."""

    vanishes = True

    def inside(self, estimator):
        return getattr(estimator, "best_estimator_", estimator.estimator)

    def rebuild(self, estimator, inside):
        return inside

    def check(self, estimator, verb):
        super().check(estimator, verb)
        if verb != "meta_fit" and not hasattr(estimator, "best_estimator_"):
            raise TypeError(
                f"{type(estimator).__name__} has refit=False, so it holds no fitted "
                "model to adapt. Set refit=True."
            )


class InsideFrozen(Composition):
    """What a FrozenEstimator holds, which must not change in place."""

    def inside(self, estimator):
        return estimator.estimator

    def rebuild(self, estimator, inside):
        return type(estimator)(inside)

    def check(self, estimator, verb):
        if verb in _MUST_NOT_CHANGE:
            raise TypeError(_MUST_NOT_CHANGE[verb])


_MUST_NOT_CHANGE = {
    "meta_fit": (
        "A FrozenEstimator must not change: call meta_fit on what is inside and freeze "
        "the result, FrozenEstimator(meta_fit(estimator, tasks))."
    ),
    "partial_adapt": (
        "A FrozenEstimator must not change: use adapt(...), which returns an adapted "
        "copy, or partial_adapt(frozen.estimator, ...)."
    ),
}


class InsideTransformedTarget(_FittedFirst):
    """The regressor of a TransformedTargetRegressor, whose transformer stays fitted."""

    def check(self, estimator, verb):
        inner = _unwrapped(estimator.regressor)[1]
        if isinstance(inner, BaseMetaLearner) and not inner._predicts_targets:
            raise TypeError(
                f"{verb}: {type(inner).__name__} predicts utilities, and a "
                "TransformedTargetRegressor would transform them as if they were y. "
                "Use it without."
            )
        super().check(estimator, verb)

    def inside(self, estimator):
        return getattr(estimator, "regressor_", estimator.regressor)

    def rebuild(self, estimator, inside):
        rebuilt = copy(estimator)
        rebuilt.regressor_ = inside
        return rebuilt

    def transform_targets(self, estimator, y):
        check_target(y, labels=False)
        y = np.asarray(y)
        if estimator.transformer_ is None:
            return y
        changed = estimator.transformer_.transform(_columns(y))
        return np.asarray(changed).reshape(y.shape)

    def restore_targets(self, estimator, y):
        if estimator.transformer_ is None:
            return y
        y = np.asarray(y)
        restored = estimator.transformer_.inverse_transform(_columns(y))
        return np.asarray(restored).reshape(y.shape)


def _columns(y):
    """Targets with one column for each output."""
    return y.reshape(len(y), -1) if y.ndim == 2 else y.reshape(-1, 1)


class InsideSelection(_FittedFirst):
    """The estimator that recursive feature elimination fits to the columns it keeps."""

    def inside(self, estimator):
        return getattr(estimator, "estimator_", estimator.estimator)

    def rebuild(self, estimator, inside):
        rebuilt = copy(estimator)
        rebuilt.estimator_ = inside
        return rebuilt

    def transform_rows(self, estimator, X):
        return estimator.transform(X)

    def feature_names(self, estimator, names):
        return estimator.get_feature_names_out(names)


# -- the table ------------------------------------------------------------------------

_TABLE = {}


def register_composition(kind, composition):
    """Let every verb work on estimators of a kind that skmeta does not know.

    Parameters
    ----------
    kind : type
        Class of the estimators. It holds for subclasses, too, unless they have an
        entry of their own.
    composition : Composition or Ensemble
        How the meta-learner inside such an estimator is reached; or an
        :class:`Ensemble`, which says how several are. It replaces an earlier entry for
        the same class.

    See Also
    --------
    Composition : The methods to implement, with an example.
    Ensemble : The same for an estimator that combines several models.

    Notes
    -----
    Call this once, when your package is imported. Processes that joblib starts import
    your package again as they unpickle your estimators.

    Each verb is also a :func:`functools.singledispatch` function. To replace a
    single one for a class, write ``skmeta.adapt.register(MyClass, function)``.
    """
    entry = isinstance(composition, (Composition, Ensemble))
    if not isinstance(kind, type) or not entry:
        raise TypeError(
            "register_composition takes a class and an instance of a subclass of "
            f"Composition or Ensemble; got {kind!r} and {composition!r}."
        )
    _TABLE[kind] = composition


@cache
def _register_scikit_learn():
    """Put scikit-learn's compositions into the table.

    This happens when the first composition comes and not when skmeta is imported,
    because these modules take longer to import than skmeta itself.
    """
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.feature_selection import RFE
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline

    _TABLE.setdefault(Pipeline, InsidePipeline())
    _TABLE.setdefault(BaseSearchCV, _SEARCH)
    _TABLE.setdefault(RFE, InsideSelection())
    _TABLE.setdefault(FrozenEstimator, InsideFrozen())
    _TABLE.setdefault(TransformedTargetRegressor, InsideTransformedTarget())


def _entry_of(estimator):
    """The table's entry for an estimator, or None."""
    _register_scikit_learn()
    for kind in type(estimator).__mro__:
        entry = _TABLE.get(kind) or ensemble_of_scikit_learn(kind)
        if entry is not None:
            return entry
    is_search = type(estimator).__name__.endswith("SearchCV")
    return _SEARCH if is_search and hasattr(estimator, "estimator") else None


_SEARCH = InsideSearch()


def composition_of(estimator):
    """The entry of an estimator around one meta-learner, or None."""
    entry = _entry_of(estimator)
    return entry if isinstance(entry, Composition) else None


def ensemble_of(estimator):
    """The entry of an estimator that combines several models, or None."""
    entry = _entry_of(estimator)
    return entry if isinstance(entry, Ensemble) else None


def _no_meta_learner_error(estimator, verb):
    """The error of a verb that finds no meta-learner inside an estimator."""
    name = type(estimator).__name__
    if ensemble_of(estimator) is not None and meta_learners(estimator):
        return TypeError(
            f"{verb} takes an estimator that predicts what the meta-learner inside "
            f"does, and {name} combines or changes what models predict. adapt, "
            "partial_adapt, adapt_predict and few_shot_scores take it; for "
            f"{verb} pass a single model inside, {_first_member(estimator)}."
        )
    return TypeError(
        f"{verb} found no meta-learner in {name}. It takes a "
        "meta-learner of skmeta, or a Pipeline, a search such as GridSearchCV, a "
        "FrozenEstimator or a TransformedTargetRegressor with one inside. adapt, "
        "partial_adapt, adapt_predict and few_shot_scores also take one in voting, "
        "bagging, calibration, a threshold, several outputs, OneVsRest or RFE. Other "
        "compositions are made known by skmeta.adaptation.register_composition."
    )


def _first_member(estimator):
    members = ensemble_of(estimator).members(estimator)
    model = next(model for model in members if meta_learners(model))
    return f"the {type(model).__name__}"


def checked_composition(estimator, verb):
    """The table's entry for an estimator that a verb can be used on."""
    composition = composition_of(estimator)
    if composition is None:
        raise _no_meta_learner_error(estimator, verb)
    composition.check(estimator, verb)
    return composition


def checked_ensemble(estimator, verb):
    """The entry of an ensemble that a verb can be used on; None if it is none."""
    ensemble = ensemble_of(estimator)
    if ensemble is None:
        return None
    ensemble.check(estimator, verb)
    inner = meta_learners(estimator)
    if not inner:
        raise _no_meta_learner_error(estimator, verb)
    name = type(estimator).__name__
    for model in inner:
        if model._targets.own_classes:
            raise TypeError(
                f"{verb}: the {type(model).__name__} in {name} has task_classes='own', "
                f"and {name} combines predictions of the same classes for all tasks. "
                "Use it without."
            )
        if not model._predicts_targets:
            raise TypeError(
                f"{verb}: {type(model).__name__} predicts utilities, and {name} would "
                "combine them as if they were y. Use it without."
            )
    return ensemble


# -- predictions in the user's units ---------------------------------------------------


def check_restorable(composition, estimator, options):
    """Refuse deviations where the meta-learner inside learns other targets."""
    if options.get("return_std") and _implements(composition, "restore_targets"):
        raise ValueError(
            "return_std=True gives deviations of the targets that the meta-learner in "
            f"{type(estimator).__name__} learns, and those of y do not follow from "
            "them. Ask for intervals, method='predict_interval', which can be "
            "transformed back."
        )


def restored(composition, estimator, y, method):
    """What ``method`` has returned inside a composition, in the user's units."""
    if not _implements(composition, "restore_targets"):
        return y
    if method == "predict_interval":
        return _restored_ends(composition, estimator, y)
    return composition.restore_targets(estimator, y)


def original_answers(estimator, y, method):
    """What ``method`` of the meta-learner inside has returned, in the user's units."""
    for composition, part in reversed(_changing_targets(estimator)):
        y = restored(composition, part, y, method)
    return y


def _restored_ends(composition, estimator, ends):
    """Lower and upper ends (n, 2) of intervals, transformed back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that it does not transform
        found = through_monotone(partial(composition.restore_targets, estimator), ends)
    if found is None:
        raise ValueError(
            f"The transformation of targets in {type(estimator).__name__} does not "
            "rise or fall everywhere between the ends of the intervals, so that "
            "transformed back they would not hold the share asked for. Take a "
            "transformation that does, such as np.log1p with np.expm1."
        )
    return found


# -- from the outside to the meta-learner ---------------------------------------------


def _unwrapped(estimator):
    """The compositions from the outermost inwards, and the estimator inside them all.

    The compositions are a list of (entry of the table, estimator).
    """
    outer = []
    while not isinstance(estimator, BaseMetaLearner):
        composition = composition_of(estimator)
        if composition is None:
            break
        outer.append((composition, estimator))
        estimator = composition.inside(estimator)
    return outer, estimator


def meta_learners(estimator):
    """All meta-learners inside an estimator: none, one, or those of an ensemble."""
    inner = _unwrapped(estimator)[1]
    if isinstance(inner, BaseMetaLearner):
        return [inner]
    ensemble = ensemble_of(inner)
    members = [] if ensemble is None else ensemble.members(inner)
    return [model for member in members for model in meta_learners(member)]


def first_meta_learner(estimator, verb):
    """The first of the meta-learners inside; an error if there is none."""
    inner = meta_learners(estimator)
    if not inner:
        raise _no_meta_learner_error(estimator, verb)
    return inner[0]


def meta_learner(estimator, verb):
    """The meta-learner inside a composition; an error if there is none."""
    _, inner = _unwrapped(estimator)
    if not isinstance(inner, BaseMetaLearner):
        raise _no_meta_learner_error(estimator, verb)
    return inner


def with_parameters(estimator, params, verb):
    """A composition whose meta-learner has other parameters; all else is shared.

    Only what leads to the meta-learner is copied: a base model or a vocabulary in front
    can be large.
    """
    if isinstance(estimator, BaseMetaLearner):
        return copy(estimator).set_params(**params)
    meta_learner(estimator, verb)
    composition = checked_composition(estimator, verb)
    inner = with_parameters(composition.inside(estimator), params, verb)
    return composition.rebuild(estimator, inner)


def around_plain_model(composition, estimator, plain):
    """A composition rebuilt around a plain model, with no meta-learner left in it."""
    rebuilt = composition.rebuild(shallow_copy(estimator), plain)
    if rebuilt is plain:
        return plain
    for name, value in rebuilt.get_params(deep=False).items():
        if meta_learners(value):
            setattr(rebuilt, name, clone(plain))  # what its own `fit` would fit
    return rebuilt


def part_that_adapts(estimator, verb):
    """The part that an adapted copy has, too: of a search, its best estimator."""
    composition = composition_of(estimator)
    if composition is None:
        return estimator
    composition.check(estimator, verb)
    return composition.inside(estimator) if composition.vanishes else estimator


def targets_of(estimator):
    """The `Targets` of the meta-learner inside, or None if no meta-learner is found."""
    inner = meta_learners(estimator)
    return inner[0]._targets if inner else None


def innermost(estimator):
    """The meta-learner inside an estimator, or what else is inside it all."""
    return _unwrapped(estimator)[1]


def takes_choice_sets(estimator):
    """Whether the meta-learner inside learns from the choices among offers of sets."""
    return "choice_set" in getattr(innermost(estimator), "_comes_beside", ())


def takes_several_targets(estimator):
    """Whether y has a column for each of the models inside; None if it may have."""
    inner = innermost(estimator)
    ensemble = ensemble_of(inner)
    return ensemble is not None and ensemble._takes_several_targets(inner)


def has_outside_option(estimator):
    """Whether the meta-learner inside knows that none of the offers may be chosen."""
    return getattr(innermost(estimator), "outside_option", False)


def own_metric(estimator):
    """The metric of predictions that an estimator's own score is; None if unknown."""
    outer, inner = _unwrapped(estimator)
    plain = all(type(part).__module__.startswith("sklearn.") for _, part in outer)
    if not plain or isinstance(inner, BaseMetaLearner):
        return inner._own_metric() if plain else None
    if not type(inner).score.__module__.startswith("sklearn.base"):
        return None
    from sklearn.metrics import accuracy_score, r2_score

    return accuracy_score if is_classifier(inner) else r2_score


def rows_in_time(estimator):
    """Whether the meta-learner inside takes the rows of a task to be in time order."""
    return any(model._rows_in_time for model in meta_learners(estimator))


def steps_in_front(estimator):
    """The fitted steps of Pipelines that rows pass on their way to the meta-learner.

    None if they also pass another composition that changes rows.
    """
    steps, (outer, _) = [], _unwrapped(estimator)
    for composition, part in outer:
        if isinstance(composition, InsidePipeline):
            front = [step for _, step in part.steps[:-1]]
            steps += [step for step in front if not is_sampler(step)]
        elif _implements(composition, "transform_rows"):
            return None
    return steps


def has_steps_in_front(estimator):
    """Whether rows are changed on their way to the meta-learner."""
    steps = steps_in_front(estimator)
    return steps is None or any(step not in (None, "passthrough") for step in steps)


def times_given(estimator, X):
    """Times (n,) of rows, if a column of the fitted meta-learner inside holds them."""
    if not rows_in_time(estimator):
        return None
    X, inner = transformed_rows(estimator, X), innermost(estimator)
    if isinstance(inner, BaseMetaLearner):
        return inner._times_given(X)
    ensemble = ensemble_of(inner)
    for number, member in enumerate(ensemble.members(inner)):
        if rows_in_time(member):
            return times_given(member, ensemble.rows_of(inner, number, X, None))


def transformed_rows(estimator, X):
    """X as it reaches the fitted meta-learner inside a composition."""
    outer, _ = _unwrapped(estimator)
    for composition, part in outer:
        X = composition.transform_rows(part, X)
    return X


def rows_and_targets_inside(composition, estimator, X, y):
    """Rows and targets of a task as they reach the inside, if there are any rows."""
    if has_no_rows(X):  # few transformers take no rows
        if changes_rows(composition):
            X = np.empty((0, innermost(estimator).n_features_in_))
        return X, y
    X = composition.transform_rows(estimator, X)
    return X, composition.transform_targets(estimator, y)


def transforms_targets(estimator):
    """Whether the meta-learner inside learns other targets than the user's."""
    return len(_changing_targets(estimator)) > 0


def _changing_targets(estimator):
    """The compositions that transform targets, as `_unwrapped` gives them."""
    outer, _ = _unwrapped(estimator)
    return [pair for pair in outer if _implements(pair[0], "transform_targets")]


def how_targets_change(estimator):
    """A key that is equal for unfitted estimators which transform targets alike."""
    return tuple(
        (type(part), _settings_without_meta_learner(part))
        for _, part in _changing_targets(estimator)
    )


def _settings_without_meta_learner(estimator):
    """The parameters of a composition but for its meta-learner, as text."""
    params = estimator.get_params(deep=False)
    return tuple(
        (name, repr(value))
        for name, value in params.items()
        if not meta_learners(value)
    )


def transformed_targets(estimator, y):
    """y as it reaches the fitted meta-learner inside a composition."""
    for composition, part in _changing_targets(estimator):
        y = composition.transform_targets(part, y)
    return y


def original_targets(estimator, y):
    """The user's y from what the meta-learner inside predicts."""
    for composition, part in reversed(_changing_targets(estimator)):
        y = np.asarray(composition.restore_targets(part, y), dtype=float)
    return y


def transformed_names(estimator):
    """Names of the columns of the linear part of the fitted meta-learner inside.

    None if they are not known.
    """
    outer, inner = _unwrapped(estimator)
    names = None
    for composition, part in outer:
        names = composition.feature_names(part, names)
    own = linear_names(inner)
    return names if own is None and not preprocesses(inner) else own


def ask_base_once(estimator, X):
    """What the base model inside predicts for rows, for `remembering`; or None."""
    _, model = _unwrapped(estimator)
    if not hasattr(model, "base_estimator_"):
        return None
    return model._ask_base_about(transformed_rows(estimator, X))

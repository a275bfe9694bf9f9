"""The base model that a meta-learner corrects: how it is fitted, and its offsets."""

from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from hashlib import blake2b
from numbers import Integral, Number
from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils import assert_all_finite, get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import has_fit_parameter

from skmeta._checks.bad_rows import first_cell, is_no_number
from skmeta._checks.block import holding
from skmeta._checks.scorers import fitting_another_model
from skmeta._checks.values import is_missing
from skmeta._core.margin import margin_scale
from skmeta._core.scaling import fit_scaling
from skmeta._tables import columns_of, joined, knows_source, numbers_of, table_of
from skmeta._warn import warn

# Out-of-task predictions come from at most this many folds of tasks.
N_FOLDS = 5
# Probabilities are kept this far from 0 and 1, which no correction could change.
FLOOR = 1e-3


# -- fitting --------------------------------------------------------------------------


def fit_base(base, X, y, weight, codes=None, seed=None):
    """A clone of the base model, fitted on these rows.

    Parameters
    ----------
    base : estimator
    X, y, weight : rows, targets and weights
        The base model gets the table behind the rows.
    codes : ndarray of shape (n_rows,) or None
        Task numbers of the rows. A search, or another model with folds inside, gets
        them as groups if its splitter takes groups.
    seed : int or None
        Seed for each ``random_state`` of the base model that is None.
    """
    X = table_of(X)
    if is_classifier(base) and (y == y[0]).all():
        from sklearn.dummy import DummyClassifier

        base = DummyClassifier()  # most classifiers refuse a single class
    try:
        return _fit(seeded(cloned(base), seed), X, y, weight, codes)
    except Exception:
        if not is_classifier(base):
            raise
        labels, places = np.unique(y, return_inverse=True)
        if labels.dtype.kind in "iu" and (labels == np.arange(len(labels))).all():
            raise
        # Some classifiers, such as XGBoost's, need the labels 0, 1, ..., n - 1.
        model = seeded(cloned(base), seed)
        try:
            return OfPlaces(_fit(model, X, places, weight, codes), labels)
        except Exception:  # the labels were not the reason
            pass
        raise


def cloned(estimator):
    """An unfitted copy, also of an estimator that scikit-learn refuses to clone.

    CatBoost's models, for example, make copies of lists that they are given.
    """
    try:
        return clone(estimator, safe=False)
    except RuntimeError:
        return deepcopy(estimator)


def _fit(model, X, y, weight, codes):
    """Fit with the weights and groups that the model can take."""
    names, given = _fit_names(model), {}
    if (weight != 1).any() and "sample_weight" in names:
        given[names["sample_weight"]] = weight
    if codes is not None and "groups" in names:
        given[names["groups"]] = codes
    elif codes is not None and _routes_groups(model):
        if "sample_weight" in given:
            with config_context(enable_metadata_routing=True):
                model.set_fit_request(sample_weight=True)
        given = {name: given[name] for name in given if name == "sample_weight"}
        with config_context(enable_metadata_routing=True), fitting_another_model():
            return model.fit(X, y, groups=codes, **given)
    # The user's routing concerns the meta-learner; the base model makes no requests.
    with config_context(enable_metadata_routing=False), fitting_another_model():
        return model.fit(X, y, **given)


def base_takes_weights(base):
    """Whether weights reach the base model, or the last step of a Pipeline."""
    names = _fit_names(base)
    if names.get("sample_weight") in ("sample_weight", None):
        return "sample_weight" in names
    return "groups" in names or not _routes_groups(base)  # see `_fit`


def _fit_names(model):
    """The names under which `fit` takes "sample_weight" and "groups", if it does."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.pipeline import Pipeline

    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return {key: f"{name}__{value}" for key, value in _fit_names(last).items()}
    if isinstance(model, TransformedTargetRegressor):
        inner = model.regressor
        return (
            {"sample_weight": "sample_weight"} if inner is None else _fit_names(inner)
        )
    if isinstance(model, BaseSearchCV):
        names = _fit_names(model.estimator)
        names.pop("groups", None)  # the search keeps them for its own splitter
        return names | ({"groups": "groups"} if _wants_groups(model.cv) else {})
    return {
        name: name
        for name in ("sample_weight", "groups")
        if hasattr(model, "fit") and has_fit_parameter(model, name)
        if name != "groups" or _wants_groups(getattr(model, "cv", None))
    }


def _wants_groups(cv):
    """Whether a splitter uses groups; other splitters of scikit-learn would warn."""
    from sklearn.model_selection._split import GroupsConsumerMixin

    known = type(cv).__module__.startswith("sklearn.")
    return hasattr(cv, "split") and (isinstance(cv, GroupsConsumerMixin) or not known)


def _routes_groups(model):
    """Whether `fit` passes groups on if metadata routing is switched on."""
    with config_context(enable_metadata_routing=True):
        try:
            consumed = get_routing_for_object(model).consumes("fit", ["groups"])
        except Exception:  # a model that cannot state its routing gets no groups
            return False
    return "groups" in consumed


def seeded(model, seed):
    """The model, with a seed in place of each ``random_state=None``.

    An encoder that must not shuffle refuses a seed.
    """
    if not isinstance(seed, Integral):
        return model
    rng, given = np.random.RandomState(seed), model.get_params(deep=True)
    for name, value in sorted(given.items(), key=lambda p: p[0]):
        owner, _, last = name.rpartition("__")
        if last == "random_state" and value is None:
            if type(given.get(owner, model)).__name__ == "TargetEncoder":
                if given[name.removesuffix(last) + "shuffle"] is False:
                    continue
            model.set_params(**{name: rng.randint(2**31 - 1)})
    return model


def _has(method):
    return available_if(lambda self: hasattr(self.estimator, method))


class OfPlaces(ClassifierMixin, BaseEstimator):
    """A classifier that was fitted to the positions 0, 1, ... of the sorted labels."""

    def __init__(self, estimator, labels):
        self.estimator, self.labels = estimator, labels

    @property
    def classes_(self):
        return self.labels

    def predict(self, X):
        return self.labels[np.asarray(self.estimator.predict(X), dtype=int).ravel()]

    @_has("predict_proba")
    def predict_proba(self, X):
        return self.estimator.predict_proba(X)

    @_has("decision_function")
    def decision_function(self, X):
        return self.estimator.decision_function(X)


@contextmanager
def naming_base(base, what):
    """Add the base model, and what it was doing, to an error that it raises."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError) as error:
        kinds = (ValueError, TypeError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        raise kind(f"{type(base).__name__} {what}: {error}") from error


@contextmanager
def explaining_missing(model, X):
    """Say what to do where X holds what is no number: a missing value, or text.

    A base model may take it, but the correction of the base model does not.
    """
    try:
        yield
    except ValueError as error:
        first, _, rest = str(error).partition("\n")
        missing = first.startswith("Input X contains NaN") and "missing values" in rest
        if not missing and not first.startswith("could not convert"):
            raise
        cell = first_cell(X, is_missing if missing else is_no_number)
        if cell is None:
            raise
        remedy = _remedy(model, missing)
        raise ValueError(f"{first}\nThe first is in {cell}. {remedy}") from None


def _remedy(model, missing):
    """What to do about missing values, or else text, in X."""
    name = type(model).__name__
    base = estimator_or_none(model._parameter("base_estimator"))
    what = "missing values" if missing else "text or categories"
    made = (
        "SimpleImputer(add_indicator=True)"
        if missing
        else "make_column_transformer((OneHotEncoder(handle_unknown='ignore'), "
        "[columns]), remainder='passthrough')"
    )
    if base is not None and (not missing or get_tags(base).input_tags.allow_nan):
        return (
            f"{type(base).__name__}, the base_estimator, may take {what}, "
            f"but the part of {name} that corrects it for each task "
            f"does not. Set linear_preprocessor={made}, which makes numbers for that "
            "part, while the base model gets X as it came."
        )
    own = hasattr(model, "linear_preprocessor")
    return (
        f"{name} takes no {what}. "
        + (f"Set linear_preprocessor={made}, or put it" if own else f"Put {made}")
        + " in front of the model in a Pipeline."
    )


# -- its offsets ----------------------------------------------------------------------


def raw_prediction(fitted, X, classes=None):
    """The prediction of a fitted base model for each row, as an offset on the raw
    margin.

    Parameters
    ----------
    fitted : estimator
    X : {ndarray, CSR matrix, DataFrame} of shape (n_rows, n_features)
        Rows, or the table behind them, which the base model gets in any case.
    classes : ndarray of shape (n_classes,) or None
        None for a regressor.

    Returns
    -------
    offset : ndarray of shape (n_rows, n_outputs)
        Prediction of a regressor, log-odds of the second of two classes, or the
        log-probability of each of several classes.
    """
    X = table_of(X)
    if classes is None:
        offset = np.asarray(fitted.predict(X), dtype=float).reshape(X.shape[0], 1)
    else:
        P = np.zeros((X.shape[0], len(classes)))
        # The base model knows nothing about classes that its rows lacked.
        own = getattr(fitted, "classes_", classes)
        _, here, there = np.intersect1d(classes, own, return_indices=True)
        P[:, here] = _probabilities(fitted, X)[:, there]
        offset = np.log(np.clip(P, FLOOR, 1 - FLOOR))
        if len(classes) == 2:
            offset = offset[:, 1:] - offset[:, :1]
    assert_all_finite(offset, input_name=f"prediction of {type(fitted).__name__}")
    return offset


def _probabilities(fitted, X):
    """Probabilities in the order of the base model's own classes."""
    if hasattr(fitted, "predict_proba"):
        return fitted.predict_proba(X)
    if not hasattr(fitted, "decision_function"):
        return fitted.predict(X)[:, None] == fitted.classes_
    margin = fitted.decision_function(X)
    if margin.ndim == 1:
        return expit(np.column_stack([-margin, margin]))
    return softmax(margin, axis=1)


def out_of_task(base, X, y, weight, codes, classes=None, seed=None):
    """`raw_prediction` of each row by a clone fitted without the row's task.

    A model's errors on the rows that it was fitted on are smaller than those on a new
    task, so they would teach too little correction. ``codes`` are the task numbers.
    """
    n_outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    offset = np.zeros((X.shape[0], n_outputs))
    folds = list(_folds(codes))
    for number, (train, test) in enumerate(folds, start=1):
        n_tasks = len(np.unique(codes[train]))
        where = (
            f"could not be fitted in fold {number} of {len(folds)}, on {len(train)} "
            f"rows of {n_tasks} tasks (a task's error is that of a model without it)"
        )
        # A single task has been cut into folds of rows, so there are no groups.
        groups = codes[train] if len(np.unique(codes)) > 1 else None
        with naming_base(base, where):
            fitted = fit_base(base, X[train], y[train], weight[train], groups, seed)
        with naming_base(base, f"could not predict fold {number} of {len(folds)}"):
            offset[test] = raw_prediction(fitted, X[test], classes)
    return offset


def _folds(codes):
    """Rows to fit on and rows to predict; a single task is split by rows."""
    # This is imported here, since it takes longer to import than skmeta itself.
    from sklearn.model_selection import GroupKFold, KFold

    n_rows, n_tasks = len(codes), len(np.unique(codes))
    if n_tasks > 1:
        return GroupKFold(min(N_FOLDS, n_tasks)).split(codes, groups=codes)
    if n_rows > 1:
        folds = KFold(min(N_FOLDS, n_rows), shuffle=True, random_state=0)
        return folds.split(codes)
    return []


# -- called once ----------------------------------------------------------------------


class Told:
    """The predictions of a base model for many rows, to look up those of a few.

    It is for rows that come in again, as parts of what the user gave: validated rows
    know their `Source`, which is enough within a verb.
    """

    def __init__(self, base, X, offset):
        self.base, self.offset = base, offset
        try:
            self.places = {key: place for place, key in enumerate(_keys(X))}
        except TypeError:  # a cell is a list, for example: nothing is looked up
            self.places = {}

    def of(self, X):
        """The offsets of these rows; None if one of them is not known."""
        if not self.places:
            return None
        places = [self.places.get(key) for key in _keys(X)]
        return None if None in places else self.offset[places]


def _keys(X):
    """A key of each row's values: all of them, or 16 bytes that no chance repeats."""
    if columns_of(X) is not None:
        return _keys_of_table(X)
    if hasattr(X, "indptr"):
        parts = (
            X.indices[a:b].tobytes() + X.data[a:b].tobytes()
            for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)
        )
    elif X.dtype.kind == "O":
        return _keys_of_cells(X.T)
    else:
        parts = (row.tobytes() for row in np.ascontiguousarray(X))
    return [blake2b(part, digest_size=16).digest() for part in parts]


def _keys_of_table(table):
    """The cells of each row of a DataFrame; see `_keys_of_cells`."""
    names = range(table.shape[1])
    if hasattr(table, "iloc"):
        columns = (table.iloc[:, j].to_numpy() for j in names)
    else:
        columns = (table[:, j].to_numpy() for j in names)
    return _keys_of_cells(columns)


def _keys_of_cells(columns):
    """The cells of each row; missing values of one type are equal, NaN to NaN."""
    cells = []
    for column in columns:
        column = np.asarray(column)
        missing, values = is_missing(column), column.tolist()
        for i in np.flatnonzero(missing):
            values[i] = type(values[i])  # encoders tell None from NaN
        cells.append(values)
    return list(zip(*cells, strict=True))


_at_hand = ContextVar("predictions_at_hand", default=())


def remembering(told):
    """Look up predictions of the base model in a `Told`; None changes nothing."""
    before = _at_hand.get()
    return holding(_at_hand, before if told is None else (*before, told))


def remembered(base, X):
    """The remembered offsets of these rows by this base model, or None."""
    for told in _at_hand.get():
        if told.base is base and (offset := told.of(X)) is not None:
            return offset
    return None


# -- the base model of a meta-learner --------------------------------------------------


def estimator_or_none(base):
    """A ``base_estimator`` that is an estimator; None if it is to be chosen."""
    return base if hasattr(base, "fit") else None


def check_base(model, targets, again):
    """Refuse a base model of the wrong kind, or one that is added or dropped.

    ``again`` says whether `fit` continues an earlier fit.
    """
    base = model._parameter("base_estimator")
    fitted = getattr(model, "base_estimator_", None)
    if again:
        _check_same_preprocessor(model)
    to_choose = base is not None and estimator_or_none(base) is None
    as_before = (base is None) == (fitted is None)
    if again and not (hasattr(model, "base_choice_") if to_choose else as_before):
        raise ValueError(
            "warm_start=True continues from an earlier fit, which had "
            f"base_estimator={fitted!r}; now it is {base!r}. Put it back, or set "
            "warm_start=False to begin anew."
        )
    if base is None:
        return
    if again and not to_choose and (given := model._frame.given_base) is not None:
        _check_same_parameters(base, given)
    if not to_choose:
        model._check_base(targets, base)
    if targets.own_classes:
        raise ValueError(
            f"base_estimator={base!r} needs labels that all tasks share, but with "
            "task_classes='own' each task has its own. Set base_estimator=None, or "
            "task_classes='shared' if a label means the same in every task."
        )


def check_kind_of_base(model, targets, base):
    """Refuse a classifier for numbers, or a regressor for labels."""
    right = is_classifier if targets.are_labels else is_regressor
    if not right(base):
        needed = right.__name__.removeprefix("is_")
        raise TypeError(
            f"base_estimator of {type(model).__name__} must be a {needed}, to "
            f"predict what it corrects; got {base!r}. Pass a {needed} of "
            "scikit-learn, or None."
        )


class FittedBase(NamedTuple):
    """A fitted base model, if there is one. It becomes ``base_estimator_``.

    Attributes
    ----------
    estimator : estimator or None
    scale : float or None
        ``base_scale_``: the factor of a classifier's offsets.
    offset : ndarray of shape (n_rows, n_outputs) or None
        Its out-of-task offsets for the rows of meta-training.
    """

    estimator: object = None
    scale: float | None = None
    offset: np.ndarray | None = None


def fit_base_of(model, targets, X, y, weight, codes, known=None):
    """The `FittedBase` of a meta-learner, which is not changed.

    ``known`` are the `BaseOffsets` for these rows, if the choice has left them.
    """
    base = model._parameter("base_estimator")
    if base is None:
        return FittedBase()
    if weight.min() < weight.max() and not base_takes_weights(base):
        warn(
            f"base_estimator {type(base).__name__} takes no sample_weight in fit: "
            "it is fitted to all rows alike, and the weights count in its "
            "correction only. Pass a base model that takes weights, or leave out "
            "rows that should not count."
        )
    if known is None:
        known = base_offsets(model, targets, X, y, weight, codes)
    target, offset = known
    seed = model._parameter("random_state")
    groups = codes if codes[0] < codes[-1] else None  # a single task has no groups
    with naming_base(
        base, f"could not be fitted to all {len(y)} rows, as base_estimator"
    ):
        fitted = fit_base(base, X, target, weight, groups, seed)
    scale = model._scale_of_base(targets, X, y, weight, offset)
    return FittedBase(fitted, scale, offset if scale is None else scale * offset)


class BaseOffsets(NamedTuple):
    """What the base model of a meta-learner is fitted to, and what it predicts.

    Attributes
    ----------
    target : ndarray of shape (n_rows,)
    offset : ndarray of shape (n_rows, n_outputs)
        Its out-of-task predictions, as `raw_prediction` returns them.
    """

    target: np.ndarray
    offset: np.ndarray


def base_offsets(model, targets, X, y, weight, codes, target=None):
    """The `BaseOffsets` of a meta-learner; ``target`` if it is known."""
    if target is None:
        target = model._base_target(X, y, weight, codes)
    base, seed = model._parameter("base_estimator"), model._parameter("random_state")
    offset = out_of_task(base, X, target, weight, codes, targets.classes, seed)
    return BaseOffsets(target, offset)


def scaled_offset(targets, X, y, weight, offset):
    """How far a classifier's out-of-task offsets can be trusted, and them so scaled."""
    scale = scale_of_margin(targets, X, y, weight, offset)
    return scale, offset if scale is None else scale * offset


def scale_of_margin(targets, X, y, weight, offset):
    """How far a classifier's out-of-task offsets can be trusted; None for numbers."""
    if not targets.are_labels or len(targets.classes) == 1:
        return None
    X = numbers_of(X)
    scaled = fit_scaling(X, None, weight).transform_X(X)
    return margin_scale(offset, targets.encode(y).Y, weight, scaled)


def base_offset(model, X):
    """The base model's offsets for validated X (n, d), or None without a base model.

    They are an array (n, o): numbers in the user's units, log-odds, or
    log-probabilities of more than two classes.
    """
    if not hasattr(model, "base_estimator_"):
        return None
    # This is how far the log-odds of a classifier can be trusted.
    return getattr(model, "base_scale_", 1.0) * said_by_base(model, X)


def told_by_base(model, tables):
    """The base model's offsets for the validated rows of all tables, or None."""
    if not hasattr(model, "base_estimator_"):
        return None
    X = joined([table for table in tables if table.shape[0]])
    return Told(model.base_estimator_, table_of(X), said_by_base(model, X))


def said_by_base(model, X):
    """`raw_prediction` (n, o) of the fitted base model for validated X.

    It is asked once about all rows of a source.
    """
    base = model.base_estimator_

    def ask(table):
        told = remembered(base, table)
        if told is not None:
            return told
        with naming_base(base, "could not predict, as base_estimator"):
            return raw_prediction(base, table, model._targets.classes)

    if knows_source(X):
        return X.source.said_by(base, ask)[X.places]
    if model._frame.columns is not None or hasattr(model, "linear_preprocessor_"):
        raise RuntimeError(  # nobody gets predictions of something else
            "These rows have lost the table that the base model knows. Please report "
            "this as a fault of skmeta."
        )
    return ask(X)


# -- the same base model as before ----------------------------------------------------


class GivenBase(NamedTuple):
    """A base model as the user gave it: how it is shown, and its parameters as text."""

    shown: str
    parameters: dict


def given_base(base):
    """The `GivenBase` of an estimator; None gives None."""
    return None if base is None else GivenBase(repr(base), _plain_parameters(base))


def _check_same_preprocessor(model):
    """Refuse a preprocessor that is added, dropped or another than at first."""
    now = model._parameter("linear_preprocessor")
    fitted = getattr(model, "linear_preprocessor_", None)
    before, after = (
        {} if part is None else _plain_parameters(part) for part in (fitted, now)
    )
    changed = _changed(before, after)
    # the first fit has drawn the seeds that were None
    if any(name.rpartition("__")[2] != "random_state" for name in changed):
        raise ValueError(
            "warm_start=True continues from an earlier fit, which had "
            f"linear_preprocessor={fitted!r}; now it is {now!r}. Put it back, or set "
            "warm_start=False to begin anew."
        )


def _check_same_parameters(base, given):
    """Refuse a base model other than that of the fit that `warm_start` continues."""
    now = _plain_parameters(base)
    changed = _changed(given.parameters, now)
    if changed:
        name = changed[0]
        raise ValueError(
            "warm_start=True continues with the base model of the earlier fit, "
            f"base_estimator={given.shown}; now it is {base!r}"
            + (f" ({name}={now.get(name)})" if name else "")
            + ". Put it back, or set warm_start=False to begin anew."
        )


def _changed(before, now):
    """Sorted names of parameters that differ."""
    return sorted(name for name in before | now if before.get(name) != now.get(name))


def _plain_parameters(estimator):
    """Class and parameters of an estimator and of those inside, as comparable text."""
    parameters = {"": type(estimator).__qualname__}
    for name, value in estimator.get_params().items():
        shown = repr(value) if _is_plain(value) else type(value).__qualname__
        parameters[name] = shown
    return parameters


def _is_plain(value):
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, Number, type(None)))

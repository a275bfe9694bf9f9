"""Metrics of scikit-learn on a few rows, in which some classes may be missing."""

from copy import copy
from functools import partial
from inspect import signature

import numpy as np
from sklearn import config_context, metrics
from sklearn.metrics import check_scoring
from sklearn.metrics._scorer import _BaseScorer

from skmeta._warn import warn

# These metrics compare rows of one class with rows of another, or with a model that
# knows only how common the classes are. For rows of one class scikit-learn returns NaN,
# raises an error, or returns minus infinity, depending on the metric and the version.
NEED_TWO_CLASSES = (
    "roc_auc_score",
    "d2_log_loss_score",
    "d2_brier_score",
    "positive_likelihood_ratio",
    "negative_likelihood_ratio",
)
# For one row these metrics are NaN, or 1 for any prediction.
NEED_TWO_ROWS = (
    "r2_score",
    "explained_variance_score",
    "d2_absolute_error_score",
    "d2_pinball_score",
    "d2_tweedie_score",
)


def scorer_for(estimator, scoring, *, weighted=False):
    """The scorer that `scoring` names or is, adjusted to the few rows of a task."""
    given = own_score if scoring is None else check_scoring(estimator, scoring)
    scorer = given
    if isinstance(given, _BaseScorer):
        scorer = partial(score_few_rows, given)
    if weighted and not takes_weights(given):
        warn(
            f"scoring={scoring!r} takes no sample_weight, so the weights count only in "
            "adapting, and all scored rows count alike. Rows of weight 0 are left out."
        )
        scorer = partial(_without_weights, scorer)
    return scorer


def own_score(model, X, y, sample_weight=None):
    """The model's own score; the weights reach it through any composition."""
    if sample_weight is None:
        return model.score(X, y)
    with config_context(enable_metadata_routing=False):
        return model.score(X, y, sample_weight=sample_weight)


def takes_weights(scorer):
    metric = scorer._score_func if isinstance(scorer, _BaseScorer) else scorer
    try:
        parameters = signature(metric).parameters.values()
    except ValueError:  # a compiled function may have no signature
        return True
    return any(p.name == "sample_weight" or p.kind == p.VAR_KEYWORD for p in parameters)


def _without_weights(scorer, model, X, y, sample_weight=None):
    return scorer(model, X, y)


def score_few_rows(scorer, model, X, y, **weights):
    """The score of a scikit-learn scorer, or NaN if its metric is undefined.

    A metric of probabilities or margins takes the classes from y unless it is given
    them, and a few rows may not show all classes.
    """
    metric = getattr(scorer._score_func, "__name__", "")
    if metric in NEED_TWO_ROWS and len(y) < 2:
        return np.nan
    if metric in NEED_TWO_CLASSES and (y == y[0]).all():
        return np.nan
    if scorer._response_method == "predict":
        _check_average(scorer, model)
    elif hasattr(model, "classes_"):
        if len(model.classes_) == 1:  # a single class leaves nothing to predict
            return np.nan
        unknown = np.setdiff1d(y, model.classes_)
        if len(unknown):
            raise ValueError(
                f"Rows to score have labels that the model does not know: "
                f"{unknown.tolist()}; its classes are {model.classes_.tolist()}. So "
                f"{metric} is undefined. Meta-train with tasks that have all labels, "
                "or, if each task has its own, give rows of each class: stratify=None."
            )
        scorer = _told_the_classes(scorer, model.classes_)
    return scorer(model, X, y, **weights)


def _check_average(scorer, model):
    """Refuse a metric of two classes for more, even if the rows show only two."""
    average = signature(scorer._score_func).parameters.get("average")
    if average is None or len(getattr(model, "classes_", ())) <= 2:
        return
    if scorer._kwargs.get("average", average.default) == "binary":
        metric = scorer._score_func.__name__
        raise ValueError(
            f"{metric} with average='binary' is a metric of two classes; the model has "
            f"{len(model.classes_)}: {model.classes_.tolist()}. Choose how to average "
            "over them, such as scoring='f1_macro' for 'f1'."
        )


def _told_the_classes(scorer, classes):
    """A copy of a scorer whose metric knows the model's classes."""
    told = copy(scorer)
    special = _SPECIAL.get(scorer._score_func)
    if special is _average_precision and len(classes) == 2:
        return scorer  # it takes the positive label from the metric's signature
    if special is not None:
        told._score_func = partial(special, scorer._score_func, classes)
        return told
    values = {"labels": classes}
    if len(classes) == 2:
        values["pos_label"] = classes[1]
    parameters = signature(scorer._score_func).parameters
    told._kwargs = scorer._kwargs | {
        name: value
        for name, value in values.items()
        if name in parameters
        and parameters[name].default is None
        and scorer._kwargs.get(name) is None
    }
    return told


# -- metrics that need more than the classes ------------------------------------------


def _roc_auc(metric, classes, y, scores, **options):
    """The average over the classes that y shows, each against the rest."""
    average = options.get("average", "macro")
    if (
        np.ndim(scores) == 1
        or options.get("multi_class") != "ovr"
        or average not in ("macro", "weighted")
        or options.get("max_fpr") is not None
    ):
        return metric(y, scores, **{"labels": classes} | options)
    return _one_against_rest(metric, classes, y, scores, average, options)


def _average_precision(metric, classes, y, scores, **options):
    average = options.get("average", "macro")
    if average not in ("macro", "weighted"):
        return metric(y, scores, **options)
    return _one_against_rest(metric, classes, y, scores, average, options)


def _one_against_rest(metric, classes, y, scores, average, options):
    """Average of a metric of two classes over the classes that y shows."""
    weight = options.get("sample_weight")
    parts = [
        (
            metric(y == label, scores[:, column], sample_weight=weight),
            np.average(y == label, weights=weight),
        )
        for column, label in enumerate(classes)
        if (y == label).any()
    ]
    values, shares = zip(*parts, strict=True)
    return np.average(values, weights=shares if average == "weighted" else None)


def _hinge(metric, classes, y, margin, **options):
    """Match two classes by name: scikit-learn takes a single one for the first."""
    if len(classes) > 2:
        return metric(y, margin, **{"labels": classes} | options)
    sign = np.where(y == classes[1], 1, -1)
    losses = np.maximum(0, 1 - sign * margin)
    return np.average(losses, weights=options.get("sample_weight"))


def _brier(metric, classes, y, p, **options):
    """Several classes, although scikit-learn before 1.7 supports only two."""
    if np.ndim(p) == 1:
        return metric(y, p, **{"pos_label": classes[1]} | options)
    if "labels" in signature(metric).parameters:
        return metric(y, p, **{"labels": classes} | options)
    losses = ((p - (y[:, None] == classes)) ** 2).sum(axis=1)
    return np.average(losses, weights=options.get("sample_weight"))


_SPECIAL = {
    metrics.roc_auc_score: _roc_auc,
    metrics.average_precision_score: _average_precision,
    metrics.hinge_loss: _hinge,
    metrics.brier_score_loss: _brier,
}

"""Base models of a ranker: regressors, classifiers and rankers that say utilities."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import has_fit_parameter

from skmeta._base_model import fit_base, raw_prediction
from skmeta._core.margin import DEVIATION, LARGEST
from skmeta._core.tasks import ABSENT
from skmeta._warn import warn

# Arguments of `fit` by which rankers are told which offers belong together.
OF_SETS = ("choice_set", "qid", "group")
# The factor of utilities by itself, in their deviations, has a prior of this deviation.
WIDE = 10.0


class PredictsUtility(BaseEstimator):
    """A classifier or ranker whose prediction is a utility.

    It is fitted to targets of the kind `_choice_sets.OFFER`. A classifier learns which
    offers are preferred to some other of their set, and its log-odds are the utility.
    A ranker learns the order of the offers of each set.

    Parameters
    ----------
    estimator : estimator
    outside : bool
        Whether offers compete with an outside option.
    """

    def __init__(self, estimator, outside=False):
        self.estimator = estimator
        self.outside = outside

    def fit(self, X, y, sample_weight=None):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        grades = _grades(y, self.outside)
        if is_classifier(self.estimator):
            labels = (grades > 0).astype(int)
            self.estimator_ = fit_base(self.estimator, X, labels, weight)
            return self
        order = np.argsort(y["set"], kind="stable")
        sets, given = y["set"][order], {}
        name = argument_of_sets(self.estimator)
        new = np.append(True, np.diff(sets) != 0)
        given[name] = sets
        if name.endswith("group"):
            given[name] = np.diff(np.append(np.flatnonzero(new), len(sets)))
        elif name.endswith("qid"):
            given[name] = np.cumsum(new) - 1
        if (weight != weight[0]).any():
            given |= self._weights(weight[order], new, name)
        X = _safe_indexing(X, order)
        self.estimator_ = clone(self.estimator).fit(X, grades[order], **given)
        return self

    def _weights(self, weight, new, name):
        """The argument with weights; XGBoost takes one for each set."""
        last, prefix = _last(self.estimator)
        if not has_fit_parameter(last, "sample_weight"):
            warn(
                f"base_estimator {type(last).__name__} takes no sample_weight in fit: "
                "it is fitted to all sets alike, and the weights count in its "
                "correction only. Pass a base model that takes weights, or leave out "
                "rows that should not count."
            )
            return {}
        of_sets = name.endswith("qid")
        return {prefix + "sample_weight": weight[new] if of_sets else weight}

    def predict(self, X):
        if is_classifier(self.estimator):
            known = self.estimator_.classes_
            if len(known) == 1:
                return np.zeros(X.shape[0])
            return raw_prediction(self.estimator_, X, np.array([0, 1]))[:, 0]
        return np.asarray(self.estimator_.predict(X), dtype=float)

    def __sklearn_tags__(self):
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _last(estimator):
    """The last step of a Pipeline, and the prefix of its arguments."""
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        return last, f"{name}__"
    return estimator, ""


def argument_of_sets(estimator):
    """The argument of `fit` that tells a ranker of the sets, or None."""
    last, prefix = _last(estimator)
    for name in OF_SETS:
        if hasattr(last, "fit") and has_fit_parameter(last, name):
            return prefix + name
    return None


def _grades(offers, outside):
    """Whole numbers (n,) in the order of the y of each set; 0 is the lowest."""
    value = np.maximum(offers["value"], 0.0) if outside else offers["value"]
    order = np.lexsort((value, offers["set"]))
    value, sets = value[order], offers["set"][order]
    new_set = np.append(True, np.diff(sets) != 0)
    step = np.append(False, np.diff(value) != 0) & ~new_set
    if outside:
        step |= new_set & (value > 0)
    total = np.cumsum(step)
    starts = np.flatnonzero(new_set)
    before = total[starts] - step[starts]
    grades = np.empty(len(offers), dtype=int)
    grades[order] = total - np.repeat(before, np.diff(np.append(starts, len(sets))))
    return grades


def as_base(estimator, outside):
    """What is fitted in place of a base model of the user."""
    if estimator is None or isinstance(estimator, PredictsUtility):
        return estimator
    if is_classifier(estimator) or argument_of_sets(estimator) is not None:
        return PredictsUtility(estimator, outside)
    return estimator


def check_base_of_choices(model, base):
    """Refuse a base model that predicts no utility."""
    if isinstance(base, PredictsUtility) or is_regressor(base):
        return
    raise TypeError(
        f"base_estimator of {type(model).__name__} must be a regressor of y, a "
        "classifier, or a ranker whose fit takes choice_set, qid or group; got "
        f"{base!r}. Pass one of these, or None."
    )


def utility_scale(table, outside):
    """The factor of a base model's utilities that best predicts choices.

    It is the factor that fits best by itself, times one from 0 to `LARGEST` beside a
    linear model, which may say the same: see `_core.margin`.

    Parameters
    ----------
    table : TaskTable
        Events, whose offsets are out-of-task utilities.
    outside : bool
        Whether the first alternative is none of the offers.
    """
    here = table.offset > 0.5 * ABSENT
    n_here = here.sum(axis=1, keepdims=True)
    utility = np.where(here, table.offset, 0.0)
    mean = utility.sum(axis=1, keepdims=True) / n_here
    utility = np.where(here, utility - mean, 0.0)
    size = np.sqrt((table.weight @ utility**2).sum() / (table.weight @ here).sum())
    if size == 0.0:
        return 1.0
    X = table.X
    if outside:
        is_offer = np.ones((*here.shape, 1))
        is_offer[:, 0] = 0.0
        X = np.concatenate([X, is_offer], axis=2)
    own = utility[..., None] / size
    level = X[..., X.shape[2] - outside :]
    alone = _fitted(table, here, np.concatenate([own, level], axis=2), 0.0, WIDE)
    beside = np.concatenate([alone * own, X], axis=2)
    share = _fitted(table, here, beside, 1.0, DEVIATION) if alone > 0 else 0.0
    return float(min(share, LARGEST) * alone / size)


def _fitted(table, here, columns, start, deviation):
    """The first coefficient, at least 0, of a conditional logit of columns (E, J, k).

    Its prior has a mean of ``start``; the others have a deviation of 1.
    """
    weight, Y = table.weight, table.Y
    centre = np.append(start, np.zeros(columns.shape[2] - 1))
    precision = np.append(deviation**-2, np.ones(len(centre) - 1))

    def objective(x):
        log_p = log_softmax(np.where(here, columns @ x, ABSENT), axis=1)
        slope = weight[:, None] * (np.exp(log_p) - Y)
        apart = precision * (x - centre)
        loss = 0.5 * apart @ (x - centre) - weight @ (Y * log_p).sum(axis=1)
        return loss, np.einsum("ej,ejk->k", slope, columns) + apart

    bounds = [(0.0, None)] + [(None, None)] * (len(centre) - 1)
    return minimize(objective, centre, jac=True, bounds=bounds).x[0]

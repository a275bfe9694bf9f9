"""Scores of rankers: metrics of whole choice sets, by name or as a scorer."""

from inspect import signature

import numpy as np
from sklearn.metrics._scorer import _BaseScorer
from sklearn.utils import _safe_indexing

from skmeta._checks.scorers import scoring_on_purpose
from skmeta._compositions import innermost, transformed_rows
from skmeta._many_tasks import is_ours
from skmeta.adaptation import adapt, adapt_each, adapt_predict
from skmeta.metrics import choice_log_loss, hit_rate

# For each name the metric, its arguments, the method that it judges, and its sign.
NAMED = {
    "neg_choice_log_loss": (choice_log_loss, {}, "predict_proba", -1),
    "hit_rate": (hit_rate, {}, "predict", 1),
} | {f"hit_rate_at_{k}": (hit_rate, {"k": k}, "predict", 1) for k in range(2, 11)}


class ChoiceScore:
    """Scores a ranker, which may be adapted to no task on purpose, on whole sets.

    Parameters
    ----------
    scoring : str, callable or None
        A name of `NAMED`; a scorer of scikit-learn whose metric takes ``choice_set``;
        ``scoring(model, X, y, choice_set=...)``, which may take ``sample_weight``; or
        None for the model's own score.
    """

    def __init__(self, scoring):
        self._score = _score_of(scoring)

    def __call__(self, model, X, y, sample_weight=None, choice_set=None):
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        with scoring_on_purpose():
            return self._score(model, X, y, choice_set=choice_set, **weights)

    def together(self, estimator):
        """A function that scores many adapted copies at once; None if that cannot be.

        See `Together`. It also takes the `Units` that are choice sets.
        """
        verbs = "adapt", "adapt_predict", "_adapt_each", "_adapt_in_place"
        if not isinstance(self._score, _Metric) or not is_ours(
            innermost(estimator), *verbs
        ):
            return None
        for verb in (adapt, adapt_each, adapt_predict):
            if verb.dispatch(type(estimator)) is not verb.dispatch(object):
                return None  # somebody's own verb
        return self._score.of_many


def _score_of(scoring):
    if scoring is None:
        return _own_score
    if isinstance(scoring, str) and scoring in NAMED:
        return _Metric(*NAMED[scoring])
    if isinstance(scoring, _BaseScorer) and _takes_sets(scoring._score_func):
        method = scoring._response_method
        method = method if isinstance(method, str) else method[0]
        return _Metric(scoring._score_func, scoring._kwargs, method, scoring._sign)
    if isinstance(scoring, str | _BaseScorer) or not _takes_sets(scoring):
        raise ValueError(
            f"scoring={scoring!r} judges single rows, and a ranker chooses from whole "
            "sets. Take 'neg_choice_log_loss', 'hit_rate', 'hit_rate_at_3', None for "
            "the share of the deviance that is explained, a scorer made by "
            "make_scorer of a metric that takes choice_set, or a function "
            "(model, X, y, choice_set)."
        )
    return scoring


def _takes_sets(function):
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # a compiled function may have no signature
        return False
    return any(p.name == "choice_set" or p.kind == p.VAR_KEYWORD for p in parameters)


class _Metric:
    """A metric of what a method of a model says of offers."""

    def __init__(self, metric, options, method, sign):
        self._metric, self._options = metric, options
        self._method, self._sign = method, sign

    def __call__(self, model, X, y, choice_set, sample_weight=None):
        said = self._said(model, X, choice_set)
        return self._of(y, said, choice_set, sample_weight)

    def of_many(self, estimator, X, y, weight, splits, sets):
        """Scores of ``estimator`` adapted to the first rows of each pair of rows."""
        given, asked = zip(*splits, strict=True)
        sizes = [list(map(len, rows)) for rows in (given, asked)]
        task, task_new = (np.repeat(np.arange(len(n)), n) for n in sizes)
        given, asked = np.concatenate(given), np.concatenate(asked)
        # the same set may be asked of several copies
        shelves = task_new * len(sets.labels) + sets.codes[asked]
        X_new = _safe_indexing(X, asked)
        with scoring_on_purpose():
            if len(given):
                w = None if weight is None else weight[given]
                known = _safe_indexing(X, given), y[given], X_new, w
                said = self._said_by_copies(
                    estimator,
                    known,
                    task=task,
                    task_new=task_new,
                    choice_set=sets.codes[given],
                    choice_set_new=shelves,
                )
            else:
                said = self._said(estimator, X_new, shelves)
            ends = np.cumsum(sizes[1])[:-1]
            parts = [y[asked], said, sets.codes[asked]]
            if weight is not None:
                parts.append(weight[asked])
            columns = (np.split(part, ends) for part in parts)
            return [self._of(*part) for part in zip(*columns, strict=True)]

    def _said_by_copies(self, estimator, known, **labels):
        try:
            return adapt_predict(estimator, *known, **labels, method=self._method)
        except ValueError as error:  # the number of a copy is no task of the user's
            said, named, _ = str(error).partition("\n\nThe first such row is")
            raise type(error)(said) from None if named else error

    def _said(self, model, X, choice_set):
        ranker, X = innermost(model), transformed_rows(model, X)
        sets = {} if self._method == "predict" else {"choice_set": choice_set}
        return getattr(ranker, self._method)(X, **sets)

    def _of(self, y, said, choice_set, sample_weight=None):
        options = {"choice_set": choice_set, **self._options}
        if sample_weight is not None:
            options["sample_weight"] = sample_weight
        return self._sign * self._metric(y, said, **options)


def _own_score(model, X, y, choice_set, sample_weight=None):
    X = transformed_rows(model, X)
    return innermost(model)._score_as_it_is(X, y, sample_weight, choice_set)

"""Scores of rankers: metrics of whole choice sets, by name or as a scorer."""

from inspect import signature

from sklearn.metrics._scorer import _BaseScorer

from skmeta._checks.scorers import scoring_on_purpose
from skmeta._compositions import innermost, transformed_rows
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
        """None: rankers are adapted one after the other."""
        return None


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

    def __call__(self, model, X, y, choice_set, **weights):
        ranker, X = innermost(model), transformed_rows(model, X)
        sets = {} if self._method == "predict" else {"choice_set": choice_set}
        said = getattr(ranker, self._method)(X, **sets)
        options = {"choice_set": choice_set, **weights, **self._options}
        return self._sign * self._metric(y, said, **options)


def _own_score(model, X, y, choice_set, sample_weight=None):
    X = transformed_rows(model, X)
    return innermost(model)._score_as_it_is(X, y, sample_weight, choice_set)

"""Scores of models that are adapted to many tasks at once, without making the models.

A scorer asks a model for predictions and hands them to a metric. Here the predictions
of many adapted models are made in one go. Common metrics are then computed for all of
them in one pass, and any other scorer of scikit-learn asks a stand-in for each model.
"""

from functools import partial

import numpy as np
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import available_if

from skmeta._checks.scorers import scoring_on_purpose

# Targets vary only by rounding if their variance is below this share of their squares.
SAME = 1e-20


class Together:
    """Scores adapted models on the rows asked of each task.

    Parameters
    ----------
    predict_each : callable
        ``predict_each(estimator, known, new, n_tasks, method)``, with known rows as (X,
        y, weight, codes) and new rows as (X, codes), returns predictions of new rows.
    score : callable
        ``score(model, X, y[, weight])`` of a single model. It hands X to the model's
        methods and does nothing else with it.
    metric : callable
        The same for many tasks: see `metric_of`.
    are_labels : bool
        Whether the targets are labels.
    own : callable or None
        The metric that is a model's own score, if it is asked for.
    """

    def __init__(self, predict_each, score, metric, are_labels, own=None):
        self._predict_each, self._score = predict_each, score
        self._metric, self._are_labels, self._own = metric, are_labels, own

    def __call__(self, estimator, X, y, weight, splits):
        """Scores of ``estimator``, adapted to the first rows of each pair of rows.

        ``splits`` are pairs of row numbers, given and asked. Either rows are given in
        all of them or in none.
        """
        given, asked = zip(*splits, strict=True)
        asked = Asked(
            self._answering(estimator, X, y, weight, given, asked), y, weight, asked
        )
        kind = StandInClassifier if self._are_labels else StandInRegressor
        stand_in = kind(asked, estimator, self._own)
        scores, left = self._metric(asked)
        for place in np.flatnonzero(left):
            scores[place] = self._score(stand_in, *asked.rows(place))
        return scores.tolist()

    def _answering(self, estimator, X, y, weight, given, asked):
        """A function that returns what a method says of the rows asked."""
        sizes = [list(map(len, rows)) for rows in (given, asked)]
        given, asked = np.concatenate(given), np.concatenate(asked)
        X_asked = _safe_indexing(X, asked)
        if not len(given):
            return lambda method: getattr(estimator, method)(X_asked)
        codes, codes_asked = (np.repeat(np.arange(len(n)), n) for n in sizes)
        w = None if weight is None else weight[given]
        known = _safe_indexing(X, given), y[given], w, codes
        new = X_asked, codes_asked
        return partial(self._predict_each, estimator, known, new, len(sizes[0]))


class Asked:
    """The rows asked of each of T tasks, and what adapted models say of them.

    Attributes
    ----------
    y : ndarray of shape (n,)
        Their targets, task after task.
    weight : ndarray of shape (n,) or None
    starts : ndarray of int of shape (T,)
    sizes : ndarray of int of shape (T,)
        How many rows each task has; at least one.
    """

    def __init__(self, answering, y, weight, asked):
        rows = np.concatenate(asked)
        self.y, self.weight = y[rows], None if weight is None else weight[rows]
        self.sizes = np.array(list(map(len, asked)))
        self.starts = np.cumsum(self.sizes) - self.sizes
        self._answering, self._answers = answering, {}

    def say(self, method):
        """What a method of the adapted models returns, for the rows of all tasks."""
        if method not in self._answers:
            with scoring_on_purpose():
                self._answers[method] = self._answering(method)
        return self._answers[method]

    def rows(self, place):
        """Numbers, targets, and if there are any weights, of the rows of a task."""
        some = slice(self.starts[place], self.starts[place] + self.sizes[place])
        rows = (np.arange(some.start, some.stop), self.y[some])
        return rows if self.weight is None else (*rows, self.weight[some])

    def mean(self, of_rows):
        """The weighted mean (T,) of numbers of rows (n,), over those of each task."""
        if self.weight is None:
            return np.add.reduceat(of_rows, self.starts) / self.sizes
        total = np.add.reduceat(self.weight, self.starts)
        return np.add.reduceat(self.weight * of_rows, self.starts) / total


def _can(method):
    return available_if(lambda self: hasattr(self.estimator, method))


def own_score(model, X, y, sample_weight=None):
    """The own score of a model."""
    return model.score(X, y, sample_weight)


def _own_metric(self, X, y, sample_weight=None):
    return self.own(y, self.predict(X), sample_weight=sample_weight)


class StandIn(BaseEstimator):
    """Answers like a model that is adapted to a task. Its rows are given by number."""

    def __init__(self, asked, estimator, own):
        self.asked, self.estimator, self.own = asked, estimator, own

    def fit(self, X, y):
        """Do nothing; scikit-learn knows an estimator by this method."""
        return self

    def __sklearn_is_fitted__(self):
        return True

    @property
    def classes_(self):
        return self.estimator.classes_

    @_can("predict")
    def predict(self, X):
        return self.asked.say("predict")[X]

    @_can("predict_proba")
    def predict_proba(self, X):
        return self.asked.say("predict_proba")[X]

    @_can("decision_function")
    def decision_function(self, X):
        return self.asked.say("decision_function")[X]


class StandInRegressor(RegressorMixin, StandIn):
    """That of a regressor."""

    score = _own_metric


class StandInClassifier(ClassifierMixin, StandIn):
    """That of a classifier."""

    score = _own_metric


# -- metrics of many tasks ------------------------------------------------------------


def metric_of(function, sign=1, classes=None):
    """A function that gives scores (T,) of `Asked` rows by a metric of scikit-learn.

    The second thing that it returns says where the scores are left open: single rows,
    for instance, of which the metric itself must say what is undefined. It leaves all
    of them open if targets or predictions are not plain. None if the metric is unknown.
    """
    if function is metrics.log_loss and classes is not None:
        return partial(_log_loss, sign, classes)
    if function is metrics.accuracy_score:
        return partial(_accuracy, sign)
    if function in _OF_NUMBERS:
        return partial(_of_numbers, _OF_NUMBERS[function], sign)
    return None


def _of_numbers(metric, sign, asked):
    y, predicted = asked.y, np.asarray(asked.say("predict"))
    double = np.float64 in (y.dtype, predicted.dtype)
    plain = y.dtype.kind in "fiub" and predicted.dtype.kind == "f" and double
    plain = plain and predicted.shape == y.shape
    if not plain or not (np.isfinite(predicted).all() and np.isfinite(y).all()):
        return all_left(asked)
    scores, left = metric(asked, y.astype(np.float64), predicted)
    return sign * scores, left


def all_left(asked):
    """A metric of many tasks that leaves all scores open."""
    return np.zeros(len(asked.sizes)), np.ones(len(asked.sizes), dtype=bool)


def _none_left(scores):
    return scores, np.zeros(len(scores), dtype=bool)


def _squared(asked, y, predicted):
    return _none_left(asked.mean((y - predicted) ** 2))


def _root_squared(asked, y, predicted):
    return _none_left(np.sqrt(asked.mean((y - predicted) ** 2)))


def _absolute(asked, y, predicted):
    return _none_left(asked.mean(np.abs(y - predicted)))


def _r2(asked, y, predicted):
    # single rows, and rows that are the same but for rounding, are left open
    apart = asked.mean((y - np.repeat(asked.mean(y), asked.sizes)) ** 2)
    left = (asked.sizes < 2) | (apart <= SAME * asked.mean(y**2))
    unexplained = asked.mean((y - predicted) ** 2)
    return 1.0 - unexplained / np.where(left, 1.0, apart), left


_OF_NUMBERS = {
    metrics.mean_squared_error: _squared,
    metrics.root_mean_squared_error: _root_squared,
    metrics.mean_absolute_error: _absolute,
    metrics.r2_score: _r2,
}


def _accuracy(sign, asked):
    y, predicted = asked.y, np.asarray(asked.say("predict"))
    if not (_are_labels(y) and _are_labels(predicted) and y.shape == predicted.shape):
        return all_left(asked)
    if (y.dtype.kind in "iub") != (predicted.dtype.kind in "iub"):
        return all_left(asked)
    return _none_left(sign * asked.mean((y == predicted) * 1.0))


def _are_labels(y):
    """Whether these are whole numbers or texts, and nothing else."""
    return y.dtype.kind in "iubU" or (
        y.dtype.kind == "O" and set(map(type, y)) <= {str}
    )


def _log_loss(sign, classes, asked):
    y, P = asked.y, np.asarray(asked.say("predict_proba"))
    plain = (
        len(classes) > 1 and P.dtype == np.float64 and P.ndim == 2 and _are_labels(y)
    )
    if not plain or P.shape != (len(y), len(classes)) or not np.isfinite(P).all():
        return all_left(asked)
    places = np.searchsorted(classes, y)
    known = classes[np.minimum(places, len(classes) - 1)] == y
    eps = np.finfo(np.float64).eps
    sure = np.abs(P.sum(axis=1) - 1.0).max() <= np.sqrt(eps)
    if not (known.all() and sure and P.min() >= 0 and P.max() <= 1):
        return all_left(asked)
    if len(classes) == 2:  # scikit-learn hands on the second column alone
        p = np.where(places == 1, P[:, 1], 1.0 - P[:, 1])
    else:
        p = P[np.arange(len(y)), places]
    losses = -np.log(np.clip(p, eps, 1.0 - eps))
    return _none_left(sign * asked.mean(losses))

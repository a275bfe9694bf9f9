"""Kinds of targets that are compared: numbers, shared labels, a task's own labels.

The baselines work on codes of the targets: standardised numbers, or places of labels
among the classes. Their raw predictions have one column of numbers, or one column per
class with the logarithms of probabilities.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from skmeta._checks.values import show
from skmeta._comparing.names import BASELINES, WITHOUT_POOL

# Smaller probabilities count as this one before their logarithm is taken.
SMALLEST_P = 1e-6


class ComparedTargets(ABC):
    """One kind of targets. An object is never changed: `of` and `scaled` make others.

    Attributes
    ----------
    are_labels : bool
        Whether the targets are labels; otherwise they are numbers.
    are_choices : bool
        Whether they are choices among the offers of sets.
    own_classes : bool
        Whether each task has its own labels.
    words : str
        What an estimator of such targets is called in messages.
    scoring : str
        The metric if the user names none.
    baselines : tuple of str
        Names of the baselines that make sense.
    classes : ndarray of shape (n_classes,) or None
        Codes of the classes, after `of`. None of numbers.
    n_way : int
        Number of rows that must be given at least: one of each class of the task, where
        each task has its own labels, after `of`. Otherwise 0.
    """

    are_labels = True
    are_choices = False
    own_classes = False
    baselines = BASELINES
    classes = None
    n_way = 0

    @abstractmethod
    def of(self, y, tasks):
        """The same kind, knowing the targets of all rows and numbers of their tasks."""

    def scaled(self, y):
        """The same kind in the units of these targets, which are those of training."""
        return self

    def check_fold(self, y_train, y_test, number):  # noqa: B027 (any fold can be learned)
        """Refuse a fold whose test targets cannot be learned."""

    @abstractmethod
    def encode(self, y, tasks=None):
        """Codes of targets; without numbers of tasks, of the rows of a single task."""

    @abstractmethod
    def columns(self, codes):
        """Codes as the columns of a linear model: numbers, or indicators of classes."""

    @abstractmethod
    def overall(self, codes):
        """Mean of the columns; of labels, no class has probability zero."""

    @abstractmethod
    def raw(self, mean):
        """Raw predictions from means of the columns."""

    @abstractmethod
    def raw_of_base(self, raw):
        """Raw predictions from what `raw_prediction` says of a scikit-learn model."""

    @abstractmethod
    def loss(self, raw, codes):
        """Mean squared error of numbers, log loss of labels."""

    def losses(self, raws, codes):
        """The `loss` of each of several raw predictions of the same rows."""
        return [self.loss(raw, codes) for raw in raws]

    @abstractmethod
    def adapted(self, y, raw, back):
        """What a baseline says of a task as an estimator that a scorer takes.

        ``y`` are the targets of the task's given rows, ``raw(X)`` gives raw
        predictions, and ``back`` undoes a transformation of the target, or is None.
        """


@dataclass(frozen=True)
class ComparedNumbers(ComparedTargets):
    """Numbers, standardised by their mean and deviation in training."""

    mean: float = 0.0
    scale: float = 1.0
    low: float = -np.inf
    high: float = np.inf

    are_labels = False
    words = "regressor"
    scoring = "neg_root_mean_squared_error"

    def of(self, y, tasks):
        return self

    def scaled(self, y):
        return replace(
            self, mean=np.mean(y), scale=np.std(y) or 1.0, low=np.min(y), high=np.max(y)
        )

    def encode(self, y, tasks=None):
        return (np.asarray(y, dtype=float) - self.mean) / self.scale

    def columns(self, codes):
        return codes[:, None]

    def overall(self, codes):
        return self.columns(codes).sum(axis=0) / len(codes)

    def raw(self, mean):
        return mean

    def raw_of_base(self, raw):
        return raw

    def loss(self, raw, codes):
        return np.mean((raw[:, 0] - codes) ** 2)

    def adapted(self, y, raw, back):
        return AdaptedRegressor(partial(self._decode, back), raw)

    def _decode(self, back, raw):
        """Predictions in the user's units, which an exponential can carry far away."""
        y = self.mean + self.scale * raw
        if back is None:
            return y
        low, high = 2 * self.low - self.high, 2 * self.high - self.low
        with np.errstate(all="ignore"):
            y = back(np.clip(y, low, high))
        return np.where(np.isfinite(y), y, back(np.array([self.mean])))


@dataclass(frozen=True)
class ComparedLabels(ComparedTargets):
    """Labels that mean the same in all tasks."""

    labels: np.ndarray | None = None

    words = "classifier"
    scoring = "neg_log_loss"

    @property
    def classes(self):
        return np.arange(len(self.labels))

    def of(self, y, tasks):
        return replace(self, labels=np.unique(y))

    def check_fold(self, y_train, y_test, number):
        missing = np.setdiff1d(y_test, y_train)
        if len(missing):
            raise ValueError(
                f"Class {show(missing[0])} is in the test tasks of fold {number} "
                "and in no training task, so no model can know it. Use fewer "
                "folds, or merge rare classes. If tasks have classes of their own, "
                "set task_classes='own'."
            )

    def encode(self, y, tasks=None):
        return np.searchsorted(self.labels, y)

    def columns(self, codes):
        return (codes[:, None] == self.classes).astype(float)

    def overall(self, codes):
        total = self.columns(codes).sum(axis=0) + 1
        return total / total.sum()

    def raw(self, mean):
        return np.log(np.maximum(mean, SMALLEST_P))

    def raw_of_base(self, raw):
        if len(self.classes) != 2:
            return raw
        # With two classes, `raw` has one column: the log-odds of the second class.
        return log_softmax(np.hstack([np.zeros_like(raw), raw]), axis=1)

    def loss(self, raw, codes):
        return -log_softmax(raw, axis=1)[np.arange(len(codes)), codes].mean()

    def adapted(self, y, raw, back):
        return AdaptedClassifier(self.labels, raw)


@dataclass(frozen=True)
class ComparedOwnLabels(ComparedLabels):
    """Labels of each task's own. The code of a label is its place within the task."""

    n_way: int = 0

    own_classes = True
    words = "classifier of tasks with classes of their own"
    scoring = "accuracy"
    baselines = WITHOUT_POOL

    @property
    def classes(self):
        return np.arange(self.n_way)

    def of(self, y, tasks):
        return replace(self, n_way=int(self.encode(y, tasks).max()) + 1)

    def check_fold(self, y_train, y_test, number):
        """Labels of test tasks are never those of training."""

    def encode(self, y, tasks=None):
        if tasks is None:
            return np.unique(y, return_inverse=True)[1]
        places = np.zeros(len(y), dtype=int)
        for task in np.unique(tasks):
            rows = tasks == task
            places[rows] = self.encode(y[rows])
        return places

    def adapted(self, y, raw, back):
        return AdaptedClassifier(np.unique(y), raw)


class AdaptedRegressor(RegressorMixin, BaseEstimator):
    """What a baseline says of a task, as an estimator that a scorer takes."""

    def __init__(self, decode, raw):
        self.decode, self.raw = decode, raw

    def predict(self, X):
        return self.decode(self.raw(X)[:, 0])


class AdaptedClassifier(ClassifierMixin, BaseEstimator):
    """What a baseline says of a task, as an estimator that a scorer takes."""

    def __init__(self, labels, raw):
        self.labels, self.raw = labels, raw
        self.classes_ = labels

    def predict_proba(self, X):
        return softmax(self.raw(X)[:, : len(self.classes_)], axis=1)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

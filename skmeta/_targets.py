"""What a model predicts: numbers, labels that all tasks share, or labels of their own.

A model has one of these objects, in its `Frame`. It turns the user's targets into the
core's columns, and outputs of the core back into predictions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils.multiclass import check_classification_targets

from skmeta._checks.class_weight import weights_of_classes
from skmeta._checks.values import show
from skmeta._core.scaling import fit_scaling


class Coded(NamedTuple):
    """Targets of rows as the core takes them.

    Attributes
    ----------
    Y : ndarray of shape (n_rows, n_outputs)
    classes : ndarray of shape (n_classes,) or None
        The labels that the model now has, for ``classes_``. None for numbers, and for
        several tasks with their own labels.
    n_classes : ndarray of int of shape (n_tasks,) or None
        How many of the columns each task uses, if each has its own labels.
    """

    Y: np.ndarray
    classes: np.ndarray | None = None
    n_classes: np.ndarray | None = None


class Targets(ABC):
    """The targets of a model. An object is never changed: `fit` returns another.

    Attributes
    ----------
    are_labels : bool
        Whether the targets are labels; otherwise they are numbers.
    own_classes : bool
        Whether each task has its own labels.
    n_way : int, float or None
        The most labels that a task may have, if each has its own; infinity if there is
        no limit, or before `fit`. None for all other targets.
    classes : ndarray of shape (n_classes,) or None
        The labels that all tasks share, once fitted. None for all other targets.
    positive_only : bool
        Whether targets below zero are refused, for the tag of scikit-learn.
    """

    are_labels = False
    own_classes = False
    n_way = None
    classes = None
    positive_only = False

    def check(self, y, task=None):  # noqa: B027 (most values are possible)
        """Refuse validated values (n_rows,) that cannot be targets.

        ``task`` (n_rows,) are the ids of the rows' tasks, for the message.
        """

    def check_given(self, y):  # noqa: B027 (scikit-learn says the rest)
        """Refuse targets as the user gives them, before they become numbers."""

    def with_beside(self, y, weight, codes, ids):
        """Validated y (n_rows,) together with what came beside the rows.

        That comes as further arguments. ``codes`` (n_rows,) are the numbers of the
        rows' tasks, and ``ids`` their ids, or None for the rows of one task.
        """
        return y

    def values(self, y):
        """The targets (n_rows,) as the user gave them, without what came with them."""
        return y

    def learn_weights(self, y, weight):
        """Fitted targets that know how much a row of each class counts in training.

        ``y`` (n_rows,) are the targets that `fit` was given, and ``weight`` (n_rows,)
        their weights, which are positive.
        """
        return self

    def weighted(self, y, weight):
        """Weights (n_rows,) times those of the classes of the rows."""
        return weight

    @abstractmethod
    def order_key(self, y, codes):
        """Values (n_rows,) by which rows are sorted first.

        ``codes`` (n_rows,) are the numbers of the rows' tasks.
        """

    @abstractmethod
    def fit(self, y, starts, before=None):
        """Learn from the targets of all tasks, those of task t at starts[t:t + 2].

        ``before`` are the fitted targets that ``warm_start`` continues with, or None.
        Returns the fitted targets and `Coded`.
        """

    @abstractmethod
    def encode(self, y, present=None):
        """`Coded` targets of new rows.

        ``present`` (n_classes,) are the labels of the task that the model is adapted
        to, if each task has its own, and None if it is adapted to no task.
        """

    @abstractmethod
    def correct(self, Y, base):
        """What the model has to learn: targets and an offset (n_rows, o), or None.

        ``base`` (n_rows, o) is a base model's prediction for each row, or None.
        """

    @abstractmethod
    def scaling(self, X, Y, weight):
        """The `Scaling` of validated rows X (n_rows, d) and corrected targets Y."""

    @abstractmethod
    def decode(self, Z, base, scaling, classes=None, method="predict", average=None):
        """Predictions from outputs Z (n_rows, o) of the core.

        ``base`` is a base model's prediction, or None; ``classes`` are the labels that
        the model now has; ``method`` is a method of scikit-learn that predicts.
        ``average`` turns logits (n_rows, o) into those of probabilities that are
        averaged over what a model does not know; None leaves them alone.
        """


@dataclass(frozen=True)
class Numbers(Targets):
    """Targets of a regressor: one column of numbers, standardised.

    With ``robust`` the scale is that of the quartiles, which outliers do not change.
    """

    robust: bool = False

    def order_key(self, y, codes):
        return y

    def fit(self, y, starts, before=None):
        return self if before is None else before, self.encode(y)

    def encode(self, y, present=None):
        return Coded(y[:, None])

    def correct(self, Y, base):
        return (Y if base is None else Y - base), None

    def scaling(self, X, Y, weight):
        return fit_scaling(X, Y[:, 0], weight, robust_y=self.robust)

    def decode(self, Z, base, scaling, classes=None, method="predict", average=None):
        Z, far = Z[:, 0], abs(scaling.y_mean)
        if base is not None:
            far = max(far, np.abs(base).max(initial=0.0))
        if not scaling.single_suffices(far):
            Z = Z.astype(np.float64)
        y = scaling.inverse_y(Z)
        return y if base is None else y + base[:, 0].astype(y.dtype)


class Labels(Targets):
    """Targets of classifiers: their outputs are logits, and are not scaled."""

    are_labels = True

    def correct(self, Y, base):
        return Y, base

    def scaling(self, X, Y, weight):
        return fit_scaling(X, None, weight)

    def decode(self, Z, base, scaling, classes=None, method="predict", average=None):
        if base is not None:
            Z = Z + base.astype(Z.dtype)
        if average is not None:
            Z = average(Z)
        if self.own_classes:  # the columns that this task does not use are left out
            Z = Z[:, : len(classes)]
        if method == "predict_proba":
            return _class_probabilities(Z, len(classes))
        scores = _class_scores(Z, len(classes))
        if method == "decision_function":
            return scores
        return most_probable(scores, classes)


def most_probable(scores, classes):
    """The label (n,) of each row, by what a ``decision_function`` returns."""
    index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
    return classes[index]


def _class_probabilities(Z, n_classes):
    if Z.shape[1] == 1 and n_classes == 2:
        p = expit(Z[:, 0])
        return np.column_stack([1 - p, p])
    return softmax(Z, axis=1)


def _class_scores(Z, n_classes):
    """Log-odds (n,) of the second of two classes, or logits (n, n_classes)."""
    if Z.shape[1] == 2:
        return Z[:, 1] - Z[:, 0]
    return Z[:, 0] if n_classes == 2 else Z


@dataclass(frozen=True)
class SharedLabels(Labels):
    """Labels that mean the same in all tasks, as seen in `fit`.

    Two classes have one column of 0 and 1; more classes have one column each.
    ``class_weight`` is the parameter of that name, and ``of_classes`` (n_classes,) are
    the weights that it has come to in meta-training; None if all rows count alike.
    """

    classes: np.ndarray | None = None
    class_weight: object = None
    of_classes: np.ndarray | None = None

    def learn_weights(self, y, weight):
        if self.class_weight is None or self.of_classes is not None:
            return self
        of_classes = weights_of_classes(self.class_weight, self.classes, y, weight)
        return replace(self, of_classes=of_classes)

    def weighted(self, y, weight):
        if self.of_classes is None:
            return weight
        return weight * self.of_classes[np.searchsorted(self.classes, y)]

    def order_key(self, y, codes):
        check_classification_targets(y)
        return np.unique(y, return_inverse=True)[1]

    def fit(self, y, starts, before=None):
        _check_same_task_classes(self, before)
        check_classification_targets(y)
        fitted = before
        if before is None:
            fitted = replace(self, classes=np.unique(y))
        # The public attribute `classes_` gets a copy, since users may write into it.
        return fitted, fitted.encode(y)._replace(classes=fitted.classes.copy())

    def encode(self, y, present=None):
        n_classes = len(self.classes)
        unknown = np.setdiff1d(y, self.classes)
        if len(unknown):
            raise ValueError(
                f"y has labels not seen in meta-training: {unknown.tolist()}. The "
                f"labels seen are {self.classes.tolist()}. Check their type and "
                "spelling, meta-train with tasks that have all labels, or set "
                "task_classes='own' if each task has its own."
            )
        codes = np.searchsorted(self.classes, y)
        if n_classes == 2:
            return Coded(codes[:, None].astype(float))
        return Coded(np.eye(n_classes)[codes])


class TaskLabels(Labels):
    """Targets if each task has its own labels."""

    own_classes = True

    def order_key(self, y, codes):
        """Numbers of the labels within their task.

        The names of labels may contain that of the task, so they cannot decide.
        """
        check_classification_targets(y)
        classes, number = np.unique(y, return_inverse=True)
        pairs, number = np.unique(codes * len(classes) + number, return_inverse=True)
        first = np.searchsorted(pairs, np.arange(codes.max() + 1) * len(classes))
        return number - first[codes]

    @staticmethod
    def _check(y):
        # Values other than floats are always accepted as labels.
        if y.dtype.kind == "f":
            check_classification_targets(y)


OWN_CLASSES_WITHOUT_WEIGHTS = (
    "class_weight={!r} is about classes that all tasks share, and with "
    "task_classes='own' each task has its own. Set class_weight=None, and weigh rows "
    "by sample_weight."
)


@dataclass(frozen=True)
class OwnLabels(TaskLabels):
    """Labels that belong to one task, which use the first of ``n_way`` columns.

    There are as many columns as the largest task of the meta-training has labels.
    """

    n_way: int | float = np.inf
    class_weight: object = None

    def fit(self, y, starts, before=None):
        if self.class_weight is not None:
            raise ValueError(OWN_CLASSES_WITHOUT_WEIGHTS.format(self.class_weight))
        _check_same_task_classes(self, before)
        check_classification_targets(y)
        parts = [np.unique(y[a:b], return_inverse=True) for a, b in pairwise(starts)]
        n_classes = np.array([len(classes) for classes, _ in parts])
        n_way = int(n_classes.max())
        if before is not None and n_way > before.n_way:
            raise ValueError(
                f"warm_start=True continues with outputs for {before.n_way} classes "
                f"per task, but a task has {n_way}. Set warm_start=False to begin anew."
            )
        fitted = replace(self, n_way=n_way) if before is None else before
        codes = np.concatenate([codes for _, codes in parts])
        return fitted, Coded(np.eye(fitted.n_way)[codes], n_classes=n_classes)

    def encode(self, y, present=None):
        self._check(y)
        classes = np.unique(y)
        if present is not None:
            classes = np.union1d(present, classes)
            if len(classes) > len(present):
                raise ValueError(
                    "This model is adapted to a task with the classes "
                    f"{present.tolist()}; y holds others: {classes.tolist()}. "
                    "Adapt afresh, with rows of all classes: adapt(X, y)."
                )
        if len(classes) > self.n_way:
            raise ValueError(
                f"y has {len(classes)} classes: {classes.tolist()}. This model was "
                f"meta-trained on tasks of at most {self.n_way} classes each. Leave "
                "out rows of the other classes, or meta-train on tasks with as many."
            )
        Y = np.eye(self.n_way)[np.searchsorted(classes, y)]
        return Coded(Y, classes, np.array([len(classes)]))


@dataclass(frozen=True)
class OpenLabels(TaskLabels):
    """Labels that belong to one task; any number of them, and more may come later.

    One column holds the number of each row's label: counted over all tasks in `fit`,
    and among the labels that the model now has in `encode`.
    """

    n_way = np.inf

    def fit(self, y, starts, before=None):
        check_classification_targets(y)
        codes, n_classes = np.empty(len(y)), 0
        for a, b in pairwise(starts):
            classes, within = np.unique(y[a:b], return_inverse=True)
            codes[a:b] = n_classes + within
            n_classes += len(classes)
        return self, Coded(codes[:, None], classes if len(starts) == 2 else None)

    def encode(self, y, present=None):
        self._check(y)
        labels = np.unique(y)
        if present is not None:
            _check_alike(present, labels)
            labels = np.union1d(present, labels)
        return Coded(np.searchsorted(labels, y)[:, None], labels)


def _check_alike(classes, labels):
    """Refuse to add text to numbers, since NumPy would turn the numbers into text."""
    if isinstance(classes[0], str) != isinstance(labels[0], str):
        raise ValueError(
            f"y has labels such as {show(labels[0])}, and the model has classes such "
            f"as {show(classes[0])}: text and numbers do not mix. Give labels of the "
            "same type, or adapt afresh: adapt(X, y)."
        )


def _check_same_task_classes(targets, before):
    if before is not None and before.own_classes != targets.own_classes:
        names = {False: "shared", True: "own"}
        raise ValueError(
            "warm_start=True continues from an earlier fit, which had "
            f"task_classes={names[before.own_classes]!r}; now it is "
            f"{names[targets.own_classes]!r}. Put it back, or set warm_start=False to "
            "begin anew."
        )

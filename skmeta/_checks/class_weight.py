"""The parameter ``class_weight``: how much a row of each class counts."""

from numbers import Real

import numpy as np

from skmeta._checks.values import show
from skmeta._warn import warn


def weights_of_classes(class_weight, classes, y, weight):
    """The weight (n_classes,) of each class.

    Parameters
    ----------
    class_weight : dict or "balanced"
        "balanced" gives all classes the same weight in sum, which is that of all rows
        divided by the number of classes.
    classes : ndarray of shape (n_classes,)
        The sorted labels.
    y : ndarray of shape (n_rows,)
        Labels of rows; each class has some.
    weight : ndarray of shape (n_rows,)
        Their weights.
    """
    if isinstance(class_weight, str):
        of_classes = np.bincount(np.searchsorted(classes, y), weight)
        return of_classes.sum() / (len(classes) * of_classes)
    check_class_weight(class_weight)
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and not set(labels) <= set(class_weight):
        raise ValueError(
            f"class_weight has the label {show(unknown[0])}, which no row of the "
            f"meta-training has: the labels are {labels}. Check its type and spelling."
        )
    return np.array([float(class_weight.get(label, 1.0)) for label in labels])


def check_class_weight(class_weight):
    """Refuse weights of classes, {label: weight}, that are no positive numbers."""
    for label, weight in class_weight.items():
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not (is_number and 0 < weight < np.inf):
            raise ValueError(
                f"class_weight gives the label {show(label)} the weight "
                f"{show(weight)}. A weight is a positive number; to leave out the rows "
                "of a class give them sample_weight 0."
            )


def check_labels_of_tasks(class_weight, y):
    """Check weights of classes, {label: weight}, that no two tasks need to share.

    Labels ``y`` (n,) are those of all tasks of the meta-training. Other tasks may have
    others, so that a dict with none of them gives a warning, unless it cannot be right.
    """
    if not isinstance(class_weight, dict) or not class_weight:
        return
    labels = np.unique(y)
    log_weights(class_weight, labels)
    if not set(class_weight) & set(labels.tolist()):
        warn(
            f"class_weight has the label {show(next(iter(class_weight)))}, and none of "
            "its labels is one of the meta-training, which has labels such as "
            f"{show(labels[0])}: it changes nothing but the probabilities of new tasks "
            "that have such labels. Check type and spelling."
        )


def log_weights(class_weight, labels):
    """Logarithms (n,) of the weights of labels, which need not have one.

    With None or "balanced" all classes weigh the same.
    """
    if not isinstance(class_weight, dict):
        return np.zeros(len(labels))
    check_class_weight(class_weight)
    is_text = [isinstance(label, str) for label in labels.tolist()]
    for label in class_weight:
        if len(labels) and isinstance(label, str) not in is_text:
            raise ValueError(
                f"class_weight has the label {show(label)}, and the task has labels "
                f"such as {show(labels[0])}: text and numbers are never equal. Give "
                "labels of the same type."
            )
    return np.log([float(class_weight.get(label, 1.0)) for label in labels.tolist()])

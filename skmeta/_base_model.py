"""The base model that a meta-learner corrects: how it is fitted, and what it says."""

import numpy as np
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import has_fit_parameter

N_FOLDS = 5
FLOOR = 1e-3  # of a probability: 0 and 1 would leave nothing to correct


def fit_base(base, X, y, weight):
    """A clone of the base model, fitted on these rows."""
    if is_classifier(base) and (y == y[0]).all():
        from sklearn.dummy import DummyClassifier

        base = DummyClassifier()  # most classifiers refuse a single class
    weighted = (weight != 1).any() and has_fit_parameter(base, "sample_weight")
    metadata = {"sample_weight": weight} if weighted else {}
    # The user's routing is about the model around: the base has no requests to state.
    with config_context(enable_metadata_routing=False):
        return clone(base).fit(X, y, **metadata)


def raw_prediction(fitted, X, classes=None):
    """What a fitted base model says of each row, as an offset on the raw margin.

    Parameters
    ----------
    fitted : estimator
    X : {ndarray, CSR matrix} of shape (n_rows, n_features)
    classes : ndarray of shape (n_classes,) or None
        None for a regressor.

    Returns
    -------
    offset : ndarray of shape (n_rows, n_outputs)
        Prediction of a regressor; log-odds of the second of two classes, else the
        log-probability of each class.
    """
    if classes is None:
        offset = np.asarray(fitted.predict(X), dtype=float).reshape(X.shape[0], 1)
    else:
        P = np.zeros((X.shape[0], len(classes)))
        # of classes that its rows had lacked, the base model knows nothing
        _, here, there = np.intersect1d(classes, fitted.classes_, return_indices=True)
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


def out_of_task(base, X, y, weight, codes, classes=None):
    """`raw_prediction` of each row by a clone fitted without the row's task.

    A model's errors on the rows that it was fitted on are smaller than those on a new
    task, so they would teach too little correction. ``codes`` are the tasks' numbers.
    """
    n_outputs = 1 if classes is None or len(classes) == 2 else len(classes)
    offset = np.zeros((X.shape[0], n_outputs))
    for train, test in _folds(codes):
        fitted = fit_base(base, X[train], y[train], weight[train])
        offset[test] = raw_prediction(fitted, X[test], classes)
    return offset


def _folds(codes):
    """Rows to fit on and rows to predict; of a single task, rows and no tasks."""
    # here, since it takes longer to import than skmeta itself
    from sklearn.model_selection import GroupKFold, KFold

    n_rows, n_tasks = len(codes), len(np.unique(codes))
    if n_tasks > 1:
        return GroupKFold(min(N_FOLDS, n_tasks)).split(codes, groups=codes)
    if n_rows > 1:
        folds = KFold(min(N_FOLDS, n_rows), shuffle=True, random_state=0)
        return folds.split(codes)
    return []

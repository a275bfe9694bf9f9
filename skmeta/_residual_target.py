"""What tasks leave for a base model to explain, once each has its own linear model."""

import numpy as np
from sklearn.base import clone

from skmeta._checks.scorers import scoring_on_purpose
from skmeta._task_input import far_values_are_known


def residuals(model, X, y, weight, codes):
    """The errors (n,) of copies of a prior without a base model, adapted to each task.

    Parameters
    ----------
    model : EmpiricalBayesRegressor
    X, y, weight : validated numbers, targets and weights
    codes : ndarray of int of shape (n,)
        The number of each row's task.

    Returns
    -------
    target : ndarray of shape (n,)
        The targets themselves if a single task leaves nothing to compare with, or if
        most rows are alone in their task: a single row leaves nothing once a prior has
        been adapted to it.
    """
    n_tasks, sizes = codes.max() + 1, np.bincount(codes)
    mostly_single = sizes[sizes > 1].sum() < len(y) / 2
    if n_tasks == 1 or mostly_single:
        return y
    without = dict.fromkeys(
        ("base_estimator", "linear_preprocessor", "features", "half_life")
    )
    given = model.get_params(deep=False) | without | {"row_order": "random"}
    given["keep_tasks"] = False
    first = type(model)(**{name: clone(v, safe=False) for name, v in given.items()})
    varying = model._named_columns(X.shape[1])
    if varying is not None:  # X has no names any more
        first.set_params(varying=varying)
    with far_values_are_known():
        first.fit(X, y, weight, task=codes)
    with scoring_on_purpose():
        return y - first.adapt_predict(X, y, X, weight, task=codes, task_new=codes)

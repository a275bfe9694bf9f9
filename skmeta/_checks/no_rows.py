"""No rows at all of a task: what nothing is learned from."""

import numpy as np
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _num_samples,
)

from skmeta._checks.aligned import check_aligned


def has_no_rows(X):
    """Whether a table has no row, which an empty list has neither."""
    shape = getattr(X, "shape", None)
    if shape is None:
        return isinstance(X, (list, tuple)) and len(X) == 0
    return len(shape) > 0 and shape[0] == 0


def check_no_rows(X, model=None, **columns):
    """Refuse columns beside a table without rows that do have entries.

    If the table has columns, they must be those that a fitted ``model`` knows.
    """
    check_aligned(X=X, **columns)
    for name, values in columns.items():
        n = 0 if values is None else _num_samples(values)
        if n > 0:
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: [0, {n}]."
                f" X has no rows, and {name} has {n}."
            )
    shape = np.shape(X)
    if len(shape) > 2:
        raise ValueError(f"Found array with dim {len(shape)}. X must have two.")
    if model is not None and len(shape) == 2 and shape[1] > 0:
        if hasattr(X, "columns"):
            _check_feature_names(model, X, reset=False)
        _check_n_features(model, X, reset=False)

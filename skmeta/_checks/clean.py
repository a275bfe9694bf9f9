"""Rows that need no conversion, which makes adapting to a few of them fast."""

import numpy as np
from scipy import sparse


def is_clean(estimator, X, dtype, y=None):
    """Whether X and y are the numbers to learn from, just as they are.

    Adapting to a handful of rows takes less time than that check. Anything that is not
    clearly right goes to scikit-learn, which converts it or says what is wrong.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype == dtype
        and X.shape[1] == estimator.n_features_in_
        and X.shape[0] > 0
        and not hasattr(estimator, "feature_names_in_")
        and not hasattr(estimator, "linear_preprocessor_")  # it changes all rows
        and bool(np.isfinite(X).all())
        and (y is None or _is_clean_target(y, X.shape[0]))
    )


def _is_clean_target(y, n_rows):
    return (
        type(y) is np.ndarray
        and y.shape == (n_rows,)
        and y.dtype.kind in "fiub"
        and bool(np.isfinite(y).all())
    )


def sum_duplicates(X):
    """X itself, or a copy of a sparse X in which each cell is stored only once."""
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X

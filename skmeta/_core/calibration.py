"""How large errors on unseen tasks are, in units of the predicted deviation."""

import numpy as np
from scipy.stats import norm

from skmeta._core.gaussian_prior import condition

N_LEVELS = 201
MAX_SUPPORT = 20
MAX_QUERY = 50
MIN_ERRORS = 100  # to read a quantile off


def normal_levels():
    """Absolute errors of a standard normal at N_LEVELS equally spaced levels."""
    levels = np.linspace(0.0, 1.0, N_LEVELS)
    levels[-1] = 1.0 - 1e-9  # a normal error has no largest size
    return norm.ppf(0.5 + 0.5 * levels)


def interval_levels(parts, folds, rng):
    """Quantiles of the absolute standardised errors, (N_LEVELS,).

    Each held-out task is conditioned on some of its rows, and its others are predicted.
    With too few errors to tell, they are those of a normal.
    """
    errors = [
        _errors(fold.prior, *parts[task][:3], rng)
        for fold in folds
        for task in fold.held_out
        if len(parts[task][0]) > 1
    ]
    errors = np.concatenate(errors) if errors else np.empty(0)
    if len(errors) < MIN_ERRORS:
        return normal_levels()
    return np.quantile(errors, np.linspace(0.0, 1.0, N_LEVELS))


def _errors(prior, X, Y, weight, rng):
    n_support = rng.randint(1, min(MAX_SUPPORT, len(X) - 1) + 1)
    support, query = np.split(rng.permutation(len(X)), [n_support])
    query = query[:MAX_QUERY]
    mean, factor = condition(
        prior.mean,
        prior.factor,
        prior.noise,
        X[support],
        Y[support, 0],
        weight[support],
    )
    deviation = np.sqrt(((X[query] @ factor) ** 2).sum(axis=1) + prior.noise)
    return np.abs(Y[query, 0] - X[query] @ mean) / deviation

"""How large errors on unseen tasks are, in units of the predicted deviation."""

from itertools import pairwise

import numpy as np
from scipy.stats import norm

from skmeta._core.gaussian_prior import condition

N_LEVELS = 201
SUPPORT_EDGES = (1, 2, 4, 7, 12, 21)  # numbers of rows given that are taken together
MAX_QUERY = 50
MIN_ERRORS = 100  # to read a quantile off
MIN_OF_SIZE = 1000  # to do so for some numbers of rows by themselves


def normal_levels():
    """Absolute errors of a standard normal at N_LEVELS equally spaced levels."""
    levels = np.linspace(0.0, 1.0, N_LEVELS)
    levels[-1] = 1.0 - 1e-9  # a normal error has no largest size
    return norm.ppf(0.5 + 0.5 * levels)


def interval_levels(held_out, rng):
    """Quantiles of the absolute standardised errors, (sizes, N_LEVELS).

    ``held_out`` are pairs of a prior and the rows (X, Y, weight) of a task that it has
    not seen. Each task is conditioned on some of its rows, and its others are
    predicted, for each range of `SUPPORT_EDGES`. A model may be surer than it should be
    when it knows little, and less sure when it knows much; with too few errors to tell,
    they are taken together, or are those of a normal.
    """
    errors = [
        [
            _errors(prior, *rows[:3], low, high, rng)
            for prior, rows in held_out
            if len(rows[0]) > low
        ]
        for low, high in pairwise(SUPPORT_EDGES)
    ]
    errors = [np.concatenate(of_size or [np.empty(0)]) for of_size in errors]
    together = np.concatenate(errors)
    levels = normal_levels()
    if len(together) >= MIN_ERRORS:
        levels = _quantiles(together)
    return np.array(
        [_quantiles(e) if len(e) >= MIN_OF_SIZE else levels for e in errors]
    )


def _quantiles(errors):
    return np.quantile(errors, np.linspace(0.0, 1.0, N_LEVELS))


def width(levels, coverage, n_rows):
    """Half the width of an interval, in deviations, of a task with so many rows."""
    size = np.searchsorted(SUPPORT_EDGES[1:-1], n_rows, side="right")
    return np.interp(coverage, np.linspace(0, 1, N_LEVELS), levels[size])


def _errors(prior, X, Y, weight, low, high, rng):
    n_support = rng.randint(low, min(high, len(X)))
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

"""Rows of a held-out task that are given, and others that they predict."""

import numpy as np

# A held-out task is predicted from one of these numbers of its rows, drawn at random.
GIVEN_SIZES = (1, 2, 4, 8, 16)
# The prediction is scored on at most this many of the other rows.
MAX_SCORED_ROWS = 50


def random_split(part, rng, recency=None):
    """A few rows of a task at random, none if it has a single row; and the others.

    If rows are in order of time, the first ones are given and the next ones asked for.
    """
    n = len(part[0])
    n_support = min(rng.choice(GIVEN_SIZES), n - 1)
    if recency is not None:
        return cut_in_time(part, n_support, n_support + MAX_SCORED_ROWS, recency)
    order = rng.permutation(n)
    support, query = order[:n_support], order[n_support:][:MAX_SCORED_ROWS]
    return [field[support] for field in part], [field[query] for field in part]


def cut_in_time(part, n_given, end, recency):
    """The first rows of a task, as they count by then, and the next rows."""
    X, Y, weight, offset = (field[:n_given] for field in part)
    if n_given:
        weight = recency.given(X, weight, np.array([n_given]))
    return [X, Y, weight, offset], [field[n_given:end] for field in part]

"""The pool of rows that a new task's owner can be asked about, and shelves."""

from numbers import Integral

from skmeta._core.scaling import farthest

# Questions are refused about a row that is so many deviations away from the others.
FARTHEST = 1e50


def check_pool(pool, n_queries, scaling, n_pool=None, what="rows"):
    """Refuse a number of questions that the validated pool cannot give, or far rows."""
    n_pool = pool.shape[0] if n_pool is None else n_pool
    if not isinstance(n_queries, Integral) or not 1 <= n_queries <= n_pool:
        raise ValueError(
            f"n_queries must be a whole number from 1 to {n_pool}, the {what} of the "
            f"pool; got {n_queries!r}."
        )
    check_not_far(pool, scaling)


def check_not_far(rows, scaling, name="pool"):
    """Refuse validated rows of which one is so far away that no other matters."""
    column, distance = farthest(rows, scaling)
    if distance > FARTHEST:
        raise ValueError(
            f"{name} has a row that is {distance:.2g} deviations of column {column} "
            "away from the rows of the meta-training; next to it no other row "
            "matters. Correct such rows, or leave them out."
        )


def check_n_draws(n):
    """Refuse a number of draws that is no whole number of at least 1."""
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n, the number of draws, must be at least 1; got {n!r}.")

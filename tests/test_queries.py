"""Which rows are asked about, against every row tried in turn."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skmeta._core.queries import greedy_queries


def pool(n=12, o=1, r=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, o, r))


def posterior(J, rows):
    """Covariance of the unknowns after observing rows, written out."""
    precision = np.eye(J.shape[2])
    for row in rows:
        precision = precision + J[row].T @ J[row]
    return np.linalg.inv(precision)


def total_variance(J, rows):
    """Variance of all outputs of the pool, summed, after observing rows."""
    V = posterior(J, rows)
    return sum(np.trace(j @ V @ j.T) for j in J)


def by_hand(J, n_queries):
    """The row after which the variance is lowest, then the next one, ..."""
    rows = []
    for _ in range(n_queries):
        left = [row for row in range(len(J)) if row not in rows]
        rows.append(min(left, key=lambda row: total_variance(J, [*rows, row])))
    return rows


@pytest.mark.parametrize("o", [1, 3], ids=["one output", "three outputs"])
@pytest.mark.parametrize("seed", range(5))
def test_each_query_leaves_the_least_variance_over_the_pool(seed, o):
    J = pool(o=o, seed=seed)
    assert_array_equal(greedy_queries(J, 6), by_hand(J, 6))


def test_no_row_is_asked_about_twice_even_if_it_is_the_best_again():
    J = pool(n=5)
    J[2] *= 100  # so uncertain that a second answer would help most
    rows = greedy_queries(J, 5)
    assert rows[0] == 2
    assert sorted(rows) == list(range(5))


def test_fewer_queries_are_the_first_of_more():
    J = pool()
    assert_array_equal(greedy_queries(J, 3), greedy_queries(J, 7)[:3])


def test_of_two_equal_directions_one_is_asked_about():
    J = np.zeros((3, 1, 2))
    J[0, 0] = J[1, 0] = [2.0, 0.0]
    J[2, 0] = [0.0, 1.9]
    assert set(greedy_queries(J, 2)) == {0, 2}


def test_where_all_is_known_any_row_will_do():
    assert_array_equal(greedy_queries(np.zeros((3, 1, 2)), 2), [0, 1])


def test_the_given_array_is_left_as_it_was():
    J = pool()
    before = J.copy()
    rows = greedy_queries(J, 3)
    assert rows.dtype == np.intp
    assert_array_equal(J, before)

"""The order of rows and tasks depends on their content alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from skmeta._core.canonical import canonical_order, row_ranks


@st.composite
def tables(draw):
    """Small numbers, so that many rows and tasks are equal."""
    n = draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    X = rng.integers(-1, 2, size=(n, draw(st.integers(1, 4)))).astype(float)
    target = rng.integers(0, 2, size=n)
    weight = rng.integers(1, draw(st.integers(1, 3)) + 1, size=n).astype(float)
    codes = np.unique(rng.integers(0, n, size=n), return_inverse=True)[1]
    return X, target, weight, codes, rng


def ordered(X, target, weight, codes):
    """The table as a list of tasks, each a list of rows."""
    order, tasks = canonical_order(X, target, weight, codes)
    assert_array_equal(np.sort(order), np.arange(len(order)))
    assert_array_equal(codes[order], np.repeat(tasks, np.bincount(codes)[tasks]))
    dense = X.toarray() if sparse.issparse(X) else X
    rows = np.column_stack([dense, target, weight])[order]
    return np.split(rows, np.cumsum(np.bincount(codes)[tasks])[:-1])


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_array_equal(a, b)


@settings(max_examples=150, deadline=None)
@given(tables())
def test_ranks_are_those_of_sorted_tuples_dense_or_sparse(table):
    X, target, *_ = table
    rows = [tuple(row) for row in np.column_stack([target, X])]
    number = {row: rank for rank, row in enumerate(sorted(set(rows)))}
    expected = [number[row] for row in rows]
    assert_array_equal(row_ranks(X, target), expected)
    assert_array_equal(row_ranks(sparse.csr_array(X), target), expected)


@settings(max_examples=150, deadline=None)
@given(tables())
def test_neither_the_order_of_rows_nor_the_names_of_tasks_change_the_table(table):
    *table, rng = table
    shuffled = rng.permutation(len(table[0]))
    X, target, weight, codes = (column[shuffled] for column in table)
    renamed = rng.permutation(codes.max() + 1)[codes]
    assert_same(ordered(X, target, weight, renamed), ordered(*table))


@settings(max_examples=100, deadline=None)
@given(tables())
def test_units_do_not_change_the_order_nor_do_zeros_left_out(table):
    X, target, weight, codes, rng = table
    order, tasks = canonical_order(X, target, weight, codes)
    scale = 10.0 ** rng.integers(-9, 9, size=X.shape[1])
    others = (
        (X * scale, 1e-3 * target),
        (X * scale + 1e3 * scale, 7.0 + 1e6 * target),
        (sparse.csr_matrix(X * scale), target),
        (X.astype(np.float32), target.astype(np.float32)),
    )
    for rows, numbers in others:
        found = canonical_order(rows, numbers, weight, codes)
        assert_array_equal(found[0], order)
        assert_array_equal(found[1], tasks)


@settings(max_examples=100, deadline=None)
@given(tables())
def test_a_row_that_is_there_twice_orders_tasks_like_one_of_weight_two(table):
    X, target, weight, codes, _ = table
    twice = np.repeat(np.arange(len(X)), weight.astype(int))
    _, tasks = canonical_order(X, target, weight, codes)
    _, again = canonical_order(
        X[twice], target[twice], np.ones(len(twice)), codes[twice]
    )

    def content(task):
        rows = np.column_stack([X, target])[twice][codes[twice] == task]
        return sorted(map(tuple, rows))

    assert [content(t) for t in tasks] == [content(t) for t in again]


def test_rows_of_a_task_do_not_rise_with_the_target():
    y = np.arange(1000.0)
    order, _ = canonical_order(y[:, None], y, np.ones(1000), np.zeros(1000, dtype=int))
    assert abs(np.corrcoef(order, y)[0, 1]) < 0.1


@pytest.mark.parametrize("rows", [np.zeros((4, 2)), np.ones((4, 2))])
def test_rows_that_are_all_equal_stay_as_they_are(rows):
    for table in (rows, sparse.csr_matrix(rows)):
        order, tasks = canonical_order(
            table, np.zeros(4), np.ones(4), np.zeros(4, dtype=int)
        )
        assert_array_equal(order, np.arange(4))
        assert_array_equal(tasks, [0])

"""Sums over the rows of tasks: from rows, merged, taken apart, mapped, as triangles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.prior import statistics
from skmeta._core.prior.statistics import (
    ImpossibleRemoval,
    joined,
    mapped,
    merged,
    no_sums,
    removed,
    scaled,
    sums_of,
    triangles,
    unpacked,
)

K = 4
SIZES = [3, 1, 0, 12, 5, 200, 1, 2, 7, 0]


def starts_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)])


def some_rows(sizes=SIZES, seed=0, offset=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    n = int(np.sum(sizes))
    Z = offset + scale * rng.normal(size=(n, K))
    return Z, rng.uniform(0.1, 3.0, size=n), starts_of(sizes)


def by_loop(Z, weight, starts):
    """The same sums, one task and one row after the other."""
    T = len(starts) - 1
    sums = no_sums(T, K)
    for t in range(T):
        rows = slice(starts[t], starts[t + 1])
        z, w = Z[rows].astype(np.longdouble), weight[rows].astype(np.longdouble)
        sums.n_rows[t] = (w > 0).sum()
        sums.weight[t] = w.sum()
        if w.sum() > 0:
            mean = (w[:, None] * z).sum(axis=0) / w.sum()
            sums.mean[t] = mean
            S = (w[:, None] * (z - mean)).T @ (z - mean)
            sums.scatter[t] = S[np.tril_indices(K)]
    return sums


def assert_alike(a, b, rtol=1e-10):
    """Products of two columns are compared relative to the spreads of both."""
    assert_array_equal(a.n_rows, b.n_rows)
    assert_allclose(a.weight, b.weight, rtol=rtol)
    assert_allclose(a.mean, b.mean, rtol=rtol, atol=rtol * np.abs(b.mean).max())
    one, other = unpacked(a.scatter), unpacked(b.scatter)
    squares = np.diagonal(other, axis1=1, axis2=2)
    spread = np.sqrt(squares.sum(axis=0) / b.weight.sum())
    root = np.sqrt(np.maximum(b.weight, 1.0))
    size = root[:, None] * np.where(spread > 0, spread, 1.0)
    size = size[:, :, None] * size[:, None]
    assert_allclose(one / size, other / size, rtol=0, atol=rtol)


@pytest.mark.parametrize("block", [4, 64, 2**12])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_sums_are_those_of_a_plain_loop(monkeypatch, block, offset):
    monkeypatch.setattr(statistics, "BLOCK_ROWS", block)
    Z, weight, starts = some_rows(offset=offset)
    weight[[0, 5, 40]] = 0.0
    assert_alike(sums_of(Z, weight, starts), by_loop(Z, weight, starts))


def test_rows_may_come_from_a_function_and_without_weights_that_differ():
    Z, _, starts = some_rows()
    weight = np.full(len(Z), 2.0)
    found = sums_of(lambda rows: Z[rows], weight, starts)
    assert_alike(found, by_loop(Z, weight, starts))


def test_a_column_that_does_not_vary_in_a_task_has_no_scatter_at_all():
    Z, weight, starts = some_rows()
    Z[:, 1] = np.repeat(0.1 + np.arange(len(SIZES)), SIZES)
    sums = sums_of(Z, weight, starts)
    scatter = unpacked(sums.scatter)
    assert not scatter[:, 1].any()
    assert not triangles(sums)[:, 2].any()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("seed", range(3))
def test_any_split_and_order_of_merging_gives_the_same(offset, seed):
    Z, weight, starts = some_rows(offset=offset)
    rng = np.random.default_rng(seed)
    part = rng.integers(4, size=len(Z))
    code = np.repeat(np.arange(len(SIZES)), SIZES)
    parts = [
        sums_of(
            Z[part == i],
            weight[part == i],
            starts_of(np.bincount(code[part == i], minlength=len(SIZES))),
        )
        for i in rng.permutation(4)
    ]
    one_by_one = merged(merged(merged(parts[0], parts[1]), parts[2]), parts[3])
    pairs = merged(merged(parts[3], parts[1]), merged(parts[0], parts[2]))
    whole = sums_of(Z, weight, starts)
    # the values of few rows far from zero are themselves rounded by as much
    rtol = 1e-10 if offset == 0.0 else 1e-9
    assert_alike(one_by_one, pairs, rtol)
    assert_alike(one_by_one, whole, rtol)


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_eight_rows_less_three_are_five_rows(offset, scale):
    T = 50
    rng = np.random.default_rng(0)
    Z = scale * (offset + rng.normal(size=(T, 8, K)))
    five = np.ascontiguousarray(Z[:, :5]).reshape(-1, K)
    three = np.ascontiguousarray(Z[:, 5:]).reshape(-1, K)
    weight = rng.uniform(0.5, 2.0, size=(T, 8))
    every = sums_of(Z.reshape(-1, K), weight.ravel(), 8 * np.arange(T + 1))
    some = sums_of(three, weight[:, 5:].ravel(), 3 * np.arange(T + 1))
    left = removed(every, some)
    right = sums_of(five, weight[:, :5].ravel(), 5 * np.arange(T + 1))
    assert_alike(left, right, 1e-8)
    assert_allclose(triangles(left), triangles(right), rtol=1e-7, atol=1e-7 * scale)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_without_all_its_rows_a_task_has_none_and_without_all_but_one_no_scatter(
    offset,
):
    Z, weight, starts = some_rows(offset=offset)
    sums = sums_of(Z, weight, starts)
    nothing = removed(sums, sums)
    for left, none in zip(nothing, no_sums(len(SIZES), K), strict=True):
        assert_array_equal(left, none)
    rest = sums_of(Z[1:], weight[1:], np.maximum(starts - 1, 0))
    first = removed(sums, rest).take([0])
    assert first.n_rows == 1 and not first.scatter.any()
    assert_allclose(first.mean[0], Z[0], rtol=1e-12)


def test_taking_away_rows_that_were_not_there_is_refused_and_names_the_task():
    Z, weight, starts = some_rows([6, 6, 6])
    sums = sums_of(Z, weight, starts)
    for wrong in (
        sums_of(Z[:7], weight[:7], [0, 0, 7, 7]),  # more rows than there are
        sums_of(Z[:3], 100 * weight[:3], [0, 0, 3, 3]),  # of more weight
        sums_of(5 * Z[6:9], weight[6:9], [0, 0, 3, 3]),  # spread further
        sums_of(3 + Z[6:12], weight[6:12], [0, 0, 6, 6]),  # all rows, but others
    ):
        with pytest.raises(ImpossibleRemoval) as caught:
            removed(sums, wrong)
        assert caught.value.task == 1


def test_to_other_columns_and_back():
    Z, weight, starts = some_rows(offset=10.0)
    sums, rng = sums_of(Z, weight, starts), np.random.default_rng(1)
    A, b = rng.normal(size=(3, K)), rng.normal(size=3)
    found = mapped(sums, A, b)
    there = sums.weight > 0
    assert_allclose(found.mean[there], sums.mean[there] @ A.T + b)
    right = sums_of(np.hstack([Z @ A.T + b, Z[:, :1]]), weight, starts)
    assert_allclose(found.scatter, right.scatter[:, :6], rtol=1e-9, atol=1e-9)
    scale, shift = rng.uniform(0.1, 10.0, size=K), rng.normal(size=K)
    there_and_back = mapped(mapped(sums, scale, shift), 1 / scale, -shift / scale)
    assert_alike(there_and_back, sums)


def test_rows_that_count_twice_are_two_rows():
    Z, weight, starts = some_rows()
    sums = sums_of(Z, weight, starts)
    twice = scaled(sums, 2.0)
    assert_alike(twice._replace(n_rows=2 * sums.n_rows), merged(sums, sums))


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("units", [1.0, np.array([1e-6, 1.0, 1e6, 1e3])])
def test_triangles_are_those_of_qr(offset, units):
    sizes = [8, 5, 40, 6]
    Z, weight, starts = some_rows(sizes, offset=offset)
    Z = Z * units
    found = triangles(sums_of(Z, weight, starts))
    for R, a, b in zip(found, starts[:-1], starts[1:], strict=True):
        root = np.sqrt(weight[a:b])[:, None]
        mean = np.average(Z[a:b], axis=0, weights=weight[a:b])
        # QR of rows far from zero would lose more than the sums do
        rows = root * np.hstack([np.ones((b - a, 1)), Z[a:b] - mean])
        right = np.linalg.qr(rows, mode="r")
        right *= np.sign(np.diag(right))[:, None]
        right[0, 1:] += right[0, 0] * mean
        tol = 1e-11 if offset == 0.0 else 1e-8
        assert_allclose(R[1:, 1:] / units, right[1:, 1:] / units, rtol=0, atol=tol)
        assert_allclose(R[0], right[0], rtol=1e-12)


def test_triangles_of_few_rows_and_of_columns_that_depend_on_others():
    Z, weight, starts = some_rows([1, 2, 3, 0, 9])
    Z[:, 2] = Z[:, 0] - 3 * Z[:, 1]
    sums = sums_of(Z, weight, starts)
    R = triangles(sums)
    assert_array_equal((R != 0).any(axis=2).sum(axis=1), [1, 2, 3, 0, 4])
    assert not R[:, 3].any()
    full = np.einsum("tki,tkj->tij", R, R)[:, 1:, 1:]
    squares = sums.weight[:, None, None] * sums.mean[:, :, None] * sums.mean[:, None]
    assert_allclose(full, unpacked(sums.scatter) + squares, atol=1e-12)


def test_tasks_joined_and_taken():
    Z, weight, starts = some_rows()
    sums = sums_of(Z, weight, starts)
    assert_alike(joined([sums.take(slice(0, 4)), sums.take(slice(4, None))]), sums)
    assert sums.take([3, 1]).n_tasks == 2 and sums.n_columns == K

"""Pooled standardisation against scikit-learn's."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
)
from skmeta._core.scaling import far_values, fit_scaling, identity_scaling


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal([0, 100, -3], [1, 20, 0.01], size=(50, 3))
    X[rng.random(X.shape) < 0.3] = 0.0
    return X, rng.normal(7, 3, size=50), rng.uniform(0.2, 3, size=50)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_columns_get_the_weighted_moments_of_standard_scaler(rows, dtype):
    X, y, weight = rows
    X = X.astype(dtype)
    scaling = fit_scaling(X, y, weight)
    reference = StandardScaler().fit(X.astype(float), sample_weight=weight)

    assert_allclose(scaling.x_mean, reference.mean_, rtol=1e-6, atol=1e-9)
    assert_allclose(scaling.x_scale, reference.scale_, rtol=1e-6)
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    assert_allclose(
        scaling.transform_X(X), reference.transform(X), rtol=tolerance, atol=tolerance
    )


def test_scaled_rows_have_mean_zero_and_deviation_one(rows):
    X, y, weight = rows
    scaling = fit_scaling(X, y, weight)
    for scaled in (scaling.transform_X(X), scaling.transform_y(y)[:, None]):
        mean = np.average(scaled, axis=0, weights=weight)
        assert_allclose(mean, 0, atol=1e-12)
        assert_allclose(np.average((scaled - mean) ** 2, axis=0, weights=weight), 1)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6])
def test_sparse_columns_get_the_moments_of_dense_ones(rows, kind, dtype, shift):
    X, y, weight = rows
    X = (X + shift).astype(dtype)
    S, dense = kind(X), fit_scaling(X, y, weight)
    scaling = fit_scaling(S, y, weight)
    assert_allclose(scaling.x_mean, dense.x_mean, rtol=1e-13)
    assert_allclose(scaling.x_scale, dense.x_scale, rtol=1e-9)
    scaled = dense.transform_X(S)
    assert scaled.dtype == dtype
    assert_array_equal(scaled.toarray(), dense.transform_X(X))
    assert_array_equal(scaled[[3, 1]].toarray(), dense.transform_X(X)[[3, 1]])
    assert_array_equal(scaled[5:9].toarray(), dense.transform_X(X)[5:9])


def test_a_sparse_product_is_the_dense_one_near_zero_and_far_from_it(rows):
    X, y, weight = rows
    X = np.column_stack([X, X[:, 0] + 1e8])
    W = np.random.default_rng(1).normal(size=(4, 2))
    scaling = fit_scaling(X, y, weight)
    product = scaling.transform_X(sparse.csr_array(X)) @ W
    assert_allclose(product, scaling.transform_X(X) @ W, rtol=1e-10, atol=1e-12)
    V = np.random.default_rng(2).normal(size=(50, 2))
    turned = scaling.transform_X(sparse.csr_array(X)).T @ V
    assert_allclose(turned, scaling.transform_X(X).T @ V, rtol=1e-9, atol=1e-12)


def test_scaling_sparse_rows_leaves_them_as_they_were(rows):
    X = sparse.csr_matrix(rows[0])
    before = X.toarray()
    fit_scaling(X, *rows[1:]).transform_X(X)
    assert_array_equal(X.toarray(), before)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")  # such as the root of a negative variance
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e6, 1e6 / 3])
def test_a_constant_column_is_scaled_by_its_size(value, dtype, kind):
    X = kind(np.full((1000, 1), value, dtype=dtype))
    scaling = fit_scaling(X, np.full(1000, value), np.full(1000, 0.3))
    assert_allclose(scaling.x_scale, value or 1, rtol=1e-6)
    assert scaling.y_scale == 1
    assert_allclose(scaling.y_mean, value, rtol=1e-12)


def test_one_row_is_a_constant():
    scaling = fit_scaling(np.array([[3.0, -2.0]]), np.array([5.0]), np.ones(1))
    assert_array_equal(scaling.x_scale, [3, 2])
    assert_array_equal(scaling.transform_X(np.array([[3.0, -2.0]])), 0)
    assert scaling.y_scale == 1
    assert scaling.transform_y(5.0) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_small_spread_about_a_large_mean_is_not_constant(dtype):
    # such as a year or an account number among many rows
    rng = np.random.default_rng(0)
    X = (2000 + 3 * rng.standard_normal((20_000, 1))).astype(dtype)
    scaling = fit_scaling(X, None, np.ones(len(X)))
    assert_allclose(scaling.x_scale, X.astype(float).std(axis=0), rtol=1e-5)


def test_weight_two_is_the_row_twice(rows):
    X, y, _ = rows
    weight = np.random.default_rng(1).integers(1, 4, size=50)
    twice = np.repeat(np.arange(50), weight)
    for kind in (np.asarray, sparse.csr_matrix):
        for robust in (False, True):
            a = fit_scaling(kind(X), y, weight.astype(float), robust_y=robust)
            b = fit_scaling(
                kind(X[twice]), y[twice], np.ones(len(twice)), robust_y=robust
            )
            for name in ("x_mean", "x_scale", "y_mean", "y_scale"):
                assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12)


def test_robust_targets_are_scaled_by_median_and_quartiles(rows):
    X, y, _ = rows
    scaling = fit_scaling(X, y, np.ones(50), robust_y=True)
    low, median, high = np.quantile(y, [0.25, 0.5, 0.75], method="inverted_cdf")
    assert scaling.y_mean == median
    assert_allclose(scaling.y_scale, (high - low) / 1.349)


def test_the_robust_scale_of_normal_targets_is_their_deviation():
    y = np.random.default_rng(0).normal(3, 2, size=20_000)
    scaling = fit_scaling(y[:, None], y, np.ones(len(y)), robust_y=True)
    assert_allclose(scaling.y_scale, 2, rtol=0.02)


def test_outliers_hardly_move_the_robust_scale(rows):
    X, y, weight = rows
    wild = y.copy()
    wild[:3] = 1e6
    clean = fit_scaling(X, y, weight, robust_y=True)
    robust = fit_scaling(X, wild, weight, robust_y=True)
    assert abs(robust.y_mean - clean.y_mean) < clean.y_scale
    assert robust.y_scale < 2 * clean.y_scale


def test_targets_mostly_equal_fall_back_on_their_deviation():
    y = np.array([0.0] * 9 + [10.0])
    scaling = fit_scaling(y[:, None], y, np.ones(10), robust_y=True)
    assert scaling.y_mean == 0
    assert_allclose(scaling.y_scale, y.std())


def test_inverse_y_undoes_transform_y(rows):
    X, y, weight = rows
    for robust in (False, True):
        scaling = fit_scaling(X, y, weight, robust_y=robust)
        assert_allclose(scaling.inverse_y(scaling.transform_y(y)), y, rtol=1e-13)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("unit", [1e-299, 1e-200, 1e-120, 1e140])
def test_deviations_whose_squares_vanish_or_are_huge_are_those_of_other_units(
    rows, kind, unit
):
    X, _, weight = rows
    plain = fit_scaling(kind(X), None, weight)
    scaled = fit_scaling(kind(X * unit), None, weight * 1e300)
    expected = np.where(plain.x_scale * unit > 1e-300, plain.x_scale * unit, 1.0)
    assert_allclose(scaled.x_scale, expected, rtol=1e-9)


def test_class_labels_are_not_scaled(rows):
    X, _, weight = rows
    scaling = fit_scaling(X, None, weight)
    Y = np.eye(3)[[0, 2, 1]]
    assert_array_equal(scaling.transform_y(Y), Y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_keep_their_precision(rows, dtype):
    X, y, weight = rows
    X = X.astype(dtype)
    assert fit_scaling(X, y, weight).transform_X(X).dtype == dtype


def test_identity_scaling_leaves_everything_as_it_is(rows):
    X, y, _ = rows
    scaling = identity_scaling(3)
    assert_array_equal(scaling.transform_X(X), X)
    assert_array_equal(scaling.transform_y(y), y)
    assert_array_equal(scaling.inverse_y(y), y)


def test_a_sparse_table_of_many_rows_is_summed_in_blocks():
    ones = np.arange(0, 50_000, 100)
    X = sparse.csr_array((np.ones(500), (ones, np.zeros(500, int))), (50_000, 2))
    scaling = fit_scaling(X, None, np.ones(50_000))
    assert_allclose(scaling.x_mean, [0.01, 0.0])
    assert_allclose(scaling.x_scale, [np.sqrt(0.01 * 0.99), 1.0])


# -- values that hide all others ------------------------------------------------------


def usual(n=200, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, np.float32])
@pytest.mark.parametrize("n", [30, 200, 5000])
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_value_that_hides_its_column_is_found(kind, n, unit):
    X = usual(n)
    X[17, 1] = -1e4
    X = kind(X * unit + (7.0 * unit if kind is np.asarray else 0.0))
    (far,) = far_values(X)
    assert (far.column, far.row) == (1, 17)
    assert far.value < -9e3 * unit
    assert far.high - far.low < 2 * unit


def test_codes_for_missing_values_are_found_and_the_worst_comes_first():
    X = usual(5000)
    X[::9, 2] = -9999
    X[40, 0] = 1e8
    assert [far.column for far in far_values(X)] == [0, 2]


@pytest.mark.parametrize(
    "column",
    [
        lambda rng, n: np.eye(n)[0],
        lambda rng, n: np.where(np.arange(n) < 3, 1.0, 0.0),
        lambda rng, n: rng.poisson(0.02, n) * 50.0,
        lambda rng, n: rng.poisson(3.0, n).astype(float),
        lambda rng, n: rng.standard_t(2, n),
        lambda rng, n: rng.lognormal(0, 1.5, n),
        lambda rng, n: rng.integers(2010, 2026, n).astype(float),
        lambda rng, n: np.full(n, 5.0),
        lambda rng, n: rng.gamma(0.3, size=n),
    ],
)
@pytest.mark.parametrize("n", [12, 200, 3000])
def test_rare_categories_counts_and_heavy_tails_are_ordinary(column, n):
    X = column(np.random.default_rng(1), n)[:, None]
    assert far_values(X) == []
    assert far_values(sparse.csr_array(X)) == []


@pytest.mark.parametrize(
    "cls",
    [
        EmpiricalBayesRegressor,
        EmpiricalBayesClassifier,
        ReptileRegressor,
        ReptileClassifier,
        PrototypicalClassifier,
    ],
)
def test_every_meta_learner_names_the_column_and_the_row(cls):
    X, task = usual(100), np.repeat(list("abcde"), 20)
    y = (X[:, 0] > 0).astype(int)
    settings = {"max_iter": 3, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "Column")
        cls(**settings).fit(X, y, task=task)
    X[37, 1] = 1e4
    with pytest.warns(UserWarning, match=r"Column 1 .* in row 37 \(task b\)"):
        cls(**settings).fit(X, y, task=task)


def test_rows_of_weight_zero_do_not_warn():
    X = usual(100)
    X[37, 1] = 1e4
    weight = np.where(np.arange(100) == 37, 0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmpiricalBayesRegressor().fit(X, X[:, 0], weight)


def test_a_far_value_is_named_once_with_a_base_model():
    X, task = usual(100), np.repeat(np.arange(5), 20)
    X[37, 1] = 1e4
    model = EmpiricalBayesRegressor(base_estimator=Ridge(), random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(pd.DataFrame(X, columns=["a", "b", "c"]), X[:, 0], task=task)
    (one,) = (w for w in caught if "Column" in str(w.message))
    assert "Column 'b' has the value 10000 in row 37" in str(one.message)

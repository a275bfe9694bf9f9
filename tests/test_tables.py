"""The same rows give the same model: sparse or dense, in any order, layout and unit."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    adapt_predict,
    meta_fit,
)
from skmeta.model_selection import few_shot_scores

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Learned features need"),
    pytest.mark.filterwarnings("ignore:.*was fitted to one task"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
]

LEARNERS = [
    EmpiricalBayesRegressor("diagonal", random_state=0),
    EmpiricalBayesClassifier("intercept", random_state=0),
    ReptileRegressor(max_iter=20, random_state=0),
    ReptileClassifier(max_iter=20, random_state=0),
    PrototypicalClassifier(random_state=0),
    EmpiricalBayesRegressor(
        "intercept",
        features=LearnedFeatures(2, n_components=2, max_iter=3),
        random_state=0,
    ),
    ReptileRegressor(4, max_iter=20, random_state=0),
    ReptileClassifier(4, max_iter=20, batch_size=3, random_state=0),
    ReptileClassifier(4, task_classes="own", max_iter=20, random_state=0),
    PrototypicalClassifier(4, max_iter=20, random_state=0),
]


def hidden_of(model):
    """Hidden layers of a model; None if it is linear."""
    settings = getattr(model, "features", model)
    return getattr(settings, "hidden_layer_sizes", None)


EACH = pytest.mark.parametrize(
    "model", LEARNERS, ids=lambda m: f"{type(m).__name__}-{hidden_of(m)}"
)


def columns(seed=0, n_tasks=10, n_rows=9):
    """Rows X in which half the numbers are zero, targets or labels, and ids."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = np.round(rng.normal(size=(len(task), 3)), 3)
    X[rng.random(X.shape) < 0.5] = 0.0
    slopes = rng.normal([1.0, -1.0, 0.5], 0.3, size=(n_tasks, 3))
    y = (X * slopes[task]).sum(axis=1) + rng.normal(size=n_tasks)[task]
    return X, y + 0.2 * rng.normal(size=len(y)), task


def fitted(model, X, y, task, **fit_params):
    """A fitted clone; a classifier gets labels."""
    y = (y > 0).astype(int) if model._targets.are_labels else y
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return clone(model).fit(X, y, task=task, **fit_params), y


def outputs(model, X):
    return model.predict_proba(X) if model._targets.are_labels else model.predict(X)


@EACH
def test_a_sparse_table_does_not_differ_from_the_dense_one(model):
    X, y, task = columns()
    ratio = 1e4  # of an origin to deviations
    X = X + ratio * np.array([0.0, 1.0, 1.0])
    S = sparse.csr_matrix(X)
    dense, y = fitted(model, X, y, task)
    thin, _ = fitted(model, S, y - 0.5 if model._targets.are_labels else y, task)
    tolerance = {"rtol": 1e-7, "atol": 1e-13 * ratio + 1e-9}
    expected = outputs(dense.adapt(X[:6], y[:6]), X)
    for start, known in ((thin, S[:6]), (thin, X[:6]), (dense, S[:6])):
        adapted = start.adapt(known, y[:6])
        assert_allclose(outputs(adapted, X), expected, **tolerance)
        assert_allclose(outputs(adapted, S), expected, **tolerance)
    for name in ("coef_", "intercept_", "prior_covariance_", "covariance_"):
        if not hidden_of(model) and hasattr(dense, name):
            scale = np.abs(getattr(dense, name)).max()
            assert_allclose(
                getattr(thin, name), getattr(dense, name), rtol=1e-6, atol=1e-8 * scale
            )
    for a, b in ((thin, S), (dense, X)) if not dense._targets.own_classes else ():
        assert_array_equal(
            np.round(few_shot_scores(a, b, y, task=task, n_repeats=1), 6),
            np.round(few_shot_scores(dense, X, y, task=task, n_repeats=1), 6),
        )
    predicted = [
        adapt_predict(m, T, y, T, task=task, task_new=task)
        for m, T in ((dense, X), (thin, S))
    ]
    assert_allclose(*predicted, **tolerance)


@pytest.mark.parametrize("cls", [EmpiricalBayesRegressor, ReptileRegressor])
def test_single_precision_sparse_is_single_precision_dense(cls):
    X, y, task = columns()
    X = (X + [0.0, 2000.0, 0.0]).astype(np.float32)
    dense, thin = (
        cls(random_state=0).fit(T, y, task=task) for T in (X, sparse.csr_array(X))
    )
    assert_allclose(thin.predict(X), dense.predict(X), rtol=1e-5, atol=1e-5)
    assert_allclose(thin.coef_, dense.coef_, rtol=1e-4)


def test_intervals_of_sparse_rows_are_those_of_dense_ones():
    X, y, task = columns()
    X[:, 1] += 2015.0
    S = sparse.csr_array(X)
    dense, thin = (
        EmpiricalBayesRegressor("diagonal", random_state=0).fit(T, y, task=task)
        for T in (X, S)
    )
    assert_allclose(thin.predict_interval(S), dense.predict_interval(X), rtol=1e-6)
    assert_array_equal(thin.suggest_queries(S, 3), dense.suggest_queries(X, 3))


def test_without_an_intercept_sparse_rows_keep_their_origin():
    X, y, task = columns()
    models = [
        EmpiricalBayesRegressor("diagonal", fit_intercept=False, random_state=0).fit(
            T, y, task=task
        )
        for T in (X + 5.0, sparse.csr_array(X + 5.0))
    ]
    for model in models:
        assert_allclose(model.predict(np.zeros((1, 3))), 0.0, atol=1e-12)
    assert_allclose(models[0].predict(X), models[1].predict(X), rtol=1e-9)


def test_a_column_transformer_that_returns_csr_loses_no_slope():
    X, y, task = columns(n_tasks=20)
    brands = np.array(list("abcdefgh"))[np.arange(len(y)) % 8]
    table = pd.DataFrame({"year": 2015 + 5 * X[:, 0], "age": X[:, 1], "brand": brands})
    models = []
    for options in ({"sparse_threshold": 1.0}, {"sparse_threshold": 0.0}):
        encode = make_column_transformer(
            (OneHotEncoder(), ["brand"]), remainder="passthrough", **options
        )
        pipe = make_pipeline(encode, EmpiricalBayesRegressor("intercept"))
        tasks = {t: (table[task == t], y[task == t]) for t in range(20)}
        models.append(meta_fit(pipe, tasks)[-1])
    assert_allclose(models[0].coef_, models[1].coef_, rtol=1e-4, atol=1e-6)


def test_entries_that_are_there_twice_are_summed_and_left_to_the_user():
    X, y, task = columns()
    S = sparse.csr_matrix(X)
    halves = sparse.csr_matrix(
        (np.repeat(S.data / 2, 2), np.repeat(S.indices, 2), 2 * S.indptr), shape=S.shape
    )
    for model in LEARNERS[:5]:
        dense, labels = fitted(model, X, y, task)
        twice, _ = fitted(model, halves, y, task)
        assert_allclose(
            outputs(twice.adapt(halves[:4], labels[:4]), halves),
            outputs(dense.adapt(X[:4], labels[:4]), X),
            rtol=1e-7,
        )
    assert halves.nnz == 2 * S.nnz


@EACH
def test_names_of_tasks_and_positions_of_rows_do_not_change_a_model(model):
    X, y, task = columns(n_tasks=15)
    rng = np.random.default_rng(1)
    few = rng.random(len(y)) < 0.6  # ragged
    X, y, task = X[few], y[few], task[few]
    X, y, task = (np.concatenate([part, part[:4]]) for part in (X, y, task))
    order = rng.permutation(len(y))
    names = np.array([f"shop {n}" for n in rng.permutation(15)])[task]
    for ids, other in ((task, names[order]), (None, None)):
        a, labels = fitted(model, X, y, ids)
        b, _ = fitted(model, X[order], y[order], other)
        a, b = (m.adapt(X[:3], labels[:3]) for m in (a, b))
        assert_allclose(outputs(b, X), outputs(a, X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", LEARNERS[:5], ids=lambda m: type(m).__name__)
def test_positive_factors_do_not_change_a_model(model):
    X, y, task = columns()
    factor = np.array([1e-6, 3.0, 1e5])
    a, labels = fitted(model, X, y, task)
    b, _ = fitted(model, X * factor, y, task)
    a, b = a.adapt(X[:4], labels[:4]), b.adapt(X[:4] * factor, labels[:4])
    assert_allclose(outputs(b, X * factor), outputs(a, X), rtol=1e-6, atol=1e-9)


def test_an_error_names_the_task_by_its_own_id():
    X, y, task = columns()
    names = np.array([f"S{n:02d}" for n in range(12)])[task]
    X[task == 7] *= 1e90
    model = ReptileRegressor(
        standardize=False, learn_rates=None, alpha=0, max_iter=5, random_state=0
    )
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="S07"):
        model.fit(X, y, task=names)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "reversed": lambda X: X[::-1][::-1],
    "read-only": lambda X: _locked(X.copy()),
    "integers": lambda X: X.astype(np.int16),
    "half": lambda X: X.astype(np.float16),
    "frame": lambda X: pd.DataFrame(X).astype("Int64").to_numpy(dtype=object),
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "dia": sparse.dia_matrix,
    "bsr": sparse.bsr_array,
    "long indices": lambda X: _long(sparse.csr_array(X)),
}


def _locked(X):
    X.flags.writeable = False
    return X


def _long(S):
    S.indices, S.indptr = S.indices.astype(np.int64), S.indptr.astype(np.int64)
    return S


@pytest.mark.parametrize(
    "model", [LEARNERS[i] for i in (0, 3, 4)], ids=lambda m: type(m).__name__
)
def test_layouts_do_not_change_a_model(model):
    X, y, task = columns(n_tasks=8)
    X = np.round(4 * X) + [0.0, 50.0, 0.0]
    plain, labels = fitted(model, X, y, task)
    expected = outputs(plain.adapt(X[:4], labels[:4]), X)
    for name, layout in LAYOUTS.items():
        table = layout(X)
        found, _ = fitted(model, table, y, task)
        found = outputs(found.adapt(X[:4], labels[:4]), table)
        assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("model", LEARNERS[:5], ids=lambda m: type(m).__name__)
def test_numbers_too_large_to_square_are_refused_with_their_column(model, kind):
    X, y, task = columns()
    good, labels = fitted(model, X, y, task)
    good = good.adapt(X[:9], labels[:9])
    X[5, 1] = 1e200
    table = kind(X)
    message = "X holds 1e\\+200 in column 1"
    with pytest.raises(ValueError, match=message):
        fitted(model, table, y, task)
    for call in (good.predict, lambda T: good.adapt(T, labels)):
        with pytest.raises(ValueError, match=message):
            call(table)
    if not model._targets.are_labels:
        with pytest.raises(ValueError, match="y holds 1e\\+170"):
            fitted(model, X[:5], np.full(5, 1e170), task[:5])


@pytest.mark.parametrize(
    "model", [LEARNERS[i] for i in (0, 1, 2, 4)], ids=lambda m: type(m).__name__
)
def test_a_column_in_a_tiny_or_huge_unit_loses_no_slope(model):
    X, y, task = columns(n_tasks=8)
    plain, labels = fitted(model, X, y, task)
    expected = outputs(plain.adapt(X[:4], labels[:4]), X)
    for unit in (1e-290, 1e90):
        scaled = X * [1.0, unit, 1.0]
        for kind in (np.asarray, sparse.csr_array):
            found, _ = fitted(model, kind(scaled), y, task)
            found = outputs(found.adapt(scaled[:4], labels[:4]), scaled)
            assert_allclose(found, expected, rtol=1e-5, atol=1e-7, err_msg=f"{unit}")


def test_a_column_of_rounding_is_a_constant():
    X, y, task = columns()
    plain, _ = fitted(LEARNERS[0], X[:, :2], y, task)
    for noise in (1e-320, 0.0):
        rows = X * [1.0, 1.0, noise]
        model, _ = fitted(LEARNERS[0], rows, y, task)
        assert model._scaling.x_scale[2] == 1.0
        assert_allclose(model.predict(rows), plain.predict(X[:, :2]), rtol=1e-3)


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        # known tasks are kept beside
        (EmpiricalBayesRegressor("isotropic", keep_tasks=False, random_state=0), 2.5),
        (PrototypicalClassifier(random_state=0), 3.0),
        (ReptileRegressor(max_iter=20, random_state=0), 3.0),
    ],
    ids=lambda given: type(given).__name__,
)
def test_one_long_task_does_not_make_the_others_as_long(model, bound):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 60))
    task = np.append(np.zeros(4000, int), np.arange(1, 2001))
    y = X[:, 0] + rng.normal(size=6000)
    fitted(model, X[:60], y[:60], task[-60:] // 6)  # so that imports are not measured
    tracemalloc.start()
    try:
        model, y = fitted(model, X, y, task)
        fit = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        adapt_predict(model, X, y, X[:5], task=task, task_new=task[:5])
        many = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # padded to the longest task they would take thousands of times as much
    assert max(fit, many) < bound * X.nbytes

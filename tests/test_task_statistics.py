"""Statistics of tasks: from rows and from SQL, added up, taken apart, learned from."""

import sqlite3

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesRegressor,
    LearnedFeatures,
    ReptileRegressor,
    TaskStatistics,
    adapt,
    meta_fit,
    statistics_query,
)
from skmeta._core import tasks as tasks_module

COLUMNS = ["unit price", "grade"]


def make_rows(n=400, n_tasks=12, seed=0):
    """Rows X, y, weight and ids; one column is far from zero, one holds few values."""
    rng = np.random.default_rng(seed)
    task = rng.integers(n_tasks, size=n)
    X = np.column_stack([1e6 + rng.normal(size=n), rng.integers(1, 6, size=n)])
    own = rng.normal(size=(n_tasks, 2))
    y = (own[task] * (X - [1e6, 3])).sum(axis=1) + rng.normal(size=n)
    return X, y, rng.integers(0, 4, size=n).astype(float), task


def assert_close(found, expected, rtol=1e-9):
    assert list(found) == list(expected)
    for one, other in zip(found._sums, expected._sums, strict=True):
        size = np.abs(other).max(axis=0)
        assert_allclose(one / size, other / size, rtol=0, atol=rtol)


# -- from rows ------------------------------------------------------------------------


def test_from_rows_sums_the_rows_of_each_task():
    X, y, weight, task = make_rows()
    found = TaskStatistics.from_rows(X, y, task, weight)
    assert found.n_features_in_ == 2 and not hasattr(found, "feature_names_in_")
    for place, one in enumerate(found):
        rows = (task == one) & (weight > 0)
        Z = np.column_stack([X, y])[rows]
        assert found.n_rows[place] == rows.sum()
        assert found.weight[place] == weight[rows].sum()
        cov = np.cov(Z.T, aweights=weight[rows], ddof=0) * weight[rows].sum()
        assert_allclose(found._sums.scatter[place], cov[np.tril_indices(3)], rtol=1e-8)


@pytest.mark.parametrize("kind", ["text", "objects", "dates", "pandas", "polars"])
def test_ids_may_be_of_any_type_that_fit_takes(kind):
    X, y, _, task = make_rows(100)
    if kind == "text":
        ids = task.astype(str)
    elif kind == "objects":
        ids = task.astype(str).astype(object)
    elif kind == "dates":
        ids = np.datetime64("2026-01-01") + task
    else:
        ids = pytest.importorskip(kind).Series(task)
    found = TaskStatistics.from_rows(X, y, ids)
    assert_array_equal(np.sort(found.n_rows), np.sort(np.bincount(task)))
    first = found.ids[0]
    assert first in found and "no such task" not in found
    assert list(found.select([first])) == [next(iter(found))]
    assert len(found + found) == len(found)


def test_sparse_rows_and_single_precision_are_summed_like_dense_ones():
    X, y, weight, task = make_rows()
    dense = TaskStatistics.from_rows(X, y, task, weight)
    assert_close(TaskStatistics.from_rows(sparse.csr_array(X), y, task, weight), dense)
    single = X.astype(np.float32)
    rounded = TaskStatistics.from_rows(single.astype(float), y, task, weight)
    assert_close(TaskStatistics.from_rows(single, y, task, weight), rounded)


def test_bad_rows_are_refused_with_the_name_of_the_task():
    X, y, _, task = make_rows()
    ids = np.array([f"shop {i}" for i in task])
    y_bad = y.copy()
    y_bad[7] = np.nan
    with pytest.raises(ValueError, match=f"of task '{ids[7]}'"):
        TaskStatistics.from_rows(X, y_bad, ids)
    with pytest.raises(ValueError, match="task is None"):
        TaskStatistics.from_rows(X, y, None)
    with pytest.raises(ValueError, match="399 ids"):
        TaskStatistics.from_rows(X, y, task[1:])
    with pytest.raises(ValueError, match="varies by only"):
        TaskStatistics.from_rows(1e-150 * (X - [1e6, 0]), y, task)
    with pytest.raises(TypeError, match="from_rows"):
        TaskStatistics()


# -- arithmetic -----------------------------------------------------------------------


def test_any_parts_in_any_order_add_up_to_the_whole():
    X, y, weight, task = make_rows()
    whole = TaskStatistics.from_rows(X, y, task, weight)
    part = np.random.default_rng(1).integers(5, size=len(y))
    parts = [
        TaskStatistics.from_rows(*(a[part == i] for a in (X, y, task, weight)))
        for i in range(5)
    ]
    assert_close(sum(parts), whole, 1e-10)
    assert_close(sum(parts[::-1]), whole, 1e-10)
    assert_close(
        (parts[3] + parts[0]) + (parts[4] + (parts[1] + parts[2])), whole, 1e-10
    )


def test_what_was_added_can_be_subtracted_and_tasks_without_rows_vanish():
    X, y, weight, task = make_rows()
    first = np.arange(len(y)) < 300
    rows = X, y, task, weight
    some, others = (
        TaskStatistics.from_rows(*(a[kept] for a in rows)) for kept in (first, ~first)
    )
    assert_close((some + others) - others, some, 1e-8)
    one = some.select([3])
    assert 3 not in some - one and len(some - one) == len(some) - 1
    assert len(some - some) == 0


def test_what_cannot_be_left_over_is_refused_with_the_name_of_the_task():
    X, y, _, task = make_rows()
    some = TaskStatistics.from_rows(X, y, task)
    with pytest.raises(ValueError, match="Task 99 cannot be subtracted"):
        some - TaskStatistics.from_rows(X[:3], y[:3], np.full(3, 99))
    with pytest.raises(ValueError, match="Task 4: what would be left is impossible"):
        some - TaskStatistics.from_rows(X[:3], y[:3] + 100, np.full(3, 4))
    with pytest.raises(ValueError, match="Task 4: 400 rows"):
        some - TaskStatistics.from_rows(X, y, np.full(400, 4))


def test_other_columns_or_kinds_of_ids_are_not_added():
    X, y, _, task = make_rows()
    some = TaskStatistics.from_rows(X, y, task)
    with pytest.raises(ValueError, match="of 2 columns and of 1"):
        some + TaskStatistics.from_rows(X[:, :1], y, task)
    with pytest.raises(ValueError, match="different kinds"):
        some + TaskStatistics.from_rows(X, y, task.astype(str))
    pd = pytest.importorskip("pandas")
    named = TaskStatistics.from_rows(pd.DataFrame(X, columns=COLUMNS), y, task)
    with pytest.raises(ValueError, match="different columns"):
        some + named
    with pytest.raises(TypeError):
        some + 1


def test_discounted_rows_count_less():
    X, y, weight, task = make_rows()
    some = TaskStatistics.from_rows(X, y, task, weight)
    lighter = TaskStatistics.from_rows(X, y, task, 0.25 * weight)
    assert_close(some.discount(0.25), lighter, 1e-12)
    for wrong in (0.0, 1.5, -1, "half", None):
        with pytest.raises(ValueError, match="factor must be"):
            some.discount(wrong)


def test_tasks_are_selected_by_their_ids():
    X, y, _, task = make_rows()
    some = TaskStatistics.from_rows(X, y, task)
    assert list(some.select([5, 2])) == [2, 5]
    assert 2 in some and 99 not in some and [2] not in some and len(some) == 12
    with pytest.raises(ValueError, match="Task 99 cannot be selected"):
        some.select([2, 99])
    with pytest.raises(ValueError, match="list of ids"):
        some.select("2")


def test_statistics_survive_a_file(tmp_path):
    X, y, _, task = make_rows()
    some = TaskStatistics.from_rows(X, y, task)
    assert 3 in some
    joblib.dump(some, tmp_path / "some.joblib")
    again = joblib.load(tmp_path / "some.joblib")
    assert_close(again, some, 0.0)
    assert repr(again) == "TaskStatistics(n_tasks=12, n_rows=400, n_features=2)"


# -- tables and SQL -------------------------------------------------------------------


def as_table(named=True):
    pd = pytest.importorskip("pandas")
    X, y, weight, task = make_rows()
    table = pd.DataFrame(X, columns=COLUMNS)
    return table.assign(y=y, w=weight, order=[f"o{i}" for i in task])


def of_table(table, weighted):
    weight = table["w"] if weighted else None
    return TaskStatistics.from_rows(table[COLUMNS], table["y"], table["order"], weight)


def test_a_frame_and_back():
    table = as_table()
    some = of_table(table, weighted=True)
    again = TaskStatistics.from_frame(some.to_frame())
    assert_close(again, some, 1e-15)
    assert_array_equal(again.feature_names_in_, COLUMNS)
    columns = {name: values.to_numpy() for name, values in some.to_frame().items()}
    assert_close(TaskStatistics.from_frame(columns), some, 1e-15)
    X, y, _, task = make_rows()
    unnamed = TaskStatistics.from_frame(TaskStatistics.from_rows(X, y, task).to_frame())
    assert not hasattr(unnamed, "feature_names_in_")


def test_a_frame_of_parts_with_the_same_ids_is_their_sum():
    pd = pytest.importorskip("pandas")
    table = as_table()
    parts = [of_table(table[i::3], weighted=False).to_frame() for i in range(3)]
    found = TaskStatistics.from_frame(pd.concat(parts))
    assert_close(found, of_table(table, weighted=False), 1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_sqlite_gives_what_the_rows_give(weighted):
    table = as_table()
    database = sqlite3.connect(":memory:")
    table.to_sql("sales data", database, index=False)
    query = statistics_query(
        "sales data", COLUMNS, "y", "order", "w" if weighted else None
    )
    result = database.execute(query)
    names = [column[0] for column in result.description]
    columns = dict(zip(names, map(np.array, zip(*result, strict=True)), strict=True))
    database.close()
    found = TaskStatistics.from_frame(columns)
    assert_close(found, of_table(table, weighted), 1e-9)
    assert_array_equal(found.feature_names_in_, COLUMNS)


@pytest.mark.parametrize("weighted", [False, True])
def test_duckdb_gives_what_the_rows_give(weighted):
    duckdb = pytest.importorskip("duckdb")
    table = as_table()
    table.loc[5, "y"] = None
    database = duckdb.connect()
    database.register("sales", table.astype({"w": int, "grade": int}))
    weight = "w" if weighted else None
    query = statistics_query("sales", COLUMNS, "y", "order", weight)
    found = TaskStatistics.from_frame(database.sql(query).df())
    assert_close(found, of_table(table.drop(index=5), weighted), 1e-9)


def test_names_in_a_query_cannot_be_anything_else():
    query = statistics_query(
        ("my schema", 'a"; DROP TABLE users; --'), ["x"], "y", "user"
    )
    assert 'FROM "my schema"."a""; DROP TABLE users; --" AS t' in query
    spark = statistics_query("t", ["a`b"], "y", "user", quote_character="`")
    assert "t.`a``b`" in spark and '"' not in spark
    for wrong in ("", "a\0b", 3, None):
        with pytest.raises(ValueError, match="cannot be a name"):
            statistics_query("t", [wrong], "y", "user")
    with pytest.raises(ValueError, match="named twice"):
        statistics_query("t", ["x", "y"], "y", "user")
    with pytest.raises(ValueError, match="list of names"):
        statistics_query("t", "x", "y", "user")
    with pytest.raises(ValueError, match="would have the name"):
        statistics_query("t", ["x", "X"], "y", "user")
    with pytest.raises(ValueError, match="quote_character"):
        statistics_query("t", ["x"], "y", "user", quote_character="[")


def test_a_column_that_is_not_there_is_an_error_in_sqlite():
    # unqualified names in double quotes may be taken for text
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (x, y, user)")
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        database.execute(statistics_query("t", ["price"], "y", "user"))
    database.close()


def test_a_frame_that_holds_no_statistics_is_refused():
    frame = dict(of_table(as_table(), weighted=True).to_frame())
    for column, value, message in (
        ("n_rows", 2.5, "whole number"),
        ("weight", 0.0, "must be positive"),
        ("mean_grade", np.nan, "no value, or NaN for task 'o0'"),
        ("scatter_y_y", np.inf, "infinity for task 'o0'"),
        ("scatter_grade_grade", -1.0, "below zero"),
        ("scatter_y_grade", 1e9, "that no rows can have"),
    ):
        wrong = frame | {column: frame[column].astype(float)}
        wrong[column] = wrong[column].to_numpy().copy()
        wrong[column][0] = value
        with pytest.raises(ValueError, match=message):
            TaskStatistics.from_frame(wrong)
    with pytest.raises(ValueError, match="lacks 1 columns"):
        TaskStatistics.from_frame(
            {k: v for k, v in frame.items() if k != "scatter_y_y"}
        )
    with pytest.raises(ValueError, match="one column of ids"):
        TaskStatistics.from_frame(frame | {"shop": frame["task"]})
    two = TaskStatistics.from_frame(frame | {"shop": frame["task"]}, task="shop")
    assert len(two) == 12
    with pytest.raises(ValueError, match="no column 'store'"):
        TaskStatistics.from_frame(frame, task="store")
    with pytest.raises(ValueError, match="has no statistics"):
        TaskStatistics.from_frame({"task": [1]})
    with pytest.raises(TypeError, match="DataFrame"):
        TaskStatistics.from_frame([1, 2])
    with pytest.raises(ValueError, match="weight -1"):
        TaskStatistics.from_frame(frame | {"least_weight": [-1.0] * 12})


# -- learning from statistics ---------------------------------------------------------

LEARNED = (
    *("prior_coef_", "prior_intercept_", "prior_covariance_", "covariance_"),
    *("noise_variance_", "log_marginal_likelihood_"),
)


def make_tasks(n_tasks=24, offset=0.0, units=1.0, seed=0):
    """Ragged tasks whose slopes and noise differ; one column is constant in each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, size=n_tasks)
    task = np.repeat(np.arange(n_tasks), sizes)
    X = rng.normal(size=(len(task), 3))
    X[:, 1] = rng.normal(size=n_tasks)[task]
    own = rng.normal(size=(n_tasks, 3)) * [1.0, 0.0, 0.3] + [1.0, 2.0, 0.0]
    noise = np.exp(0.5 * rng.normal(size=n_tasks))[task]
    y = (X * own[task]).sum(axis=1) + rng.normal(size=len(task)) * noise
    order = rng.permutation(len(task))
    X, y = offset + units * X[order], offset + 3 * y[order]
    return X, y, rng.uniform(0.5, 2.0, size=len(y)), task[order]


def assert_same_model(model, other, rtol=1e-8):
    for name in ("prior_structure_", "zero_shot_", "n_tasks_", "n_features_in_"):
        assert getattr(model, name) == getattr(other, name)
    for name in LEARNED:
        found, expected = getattr(model, name), getattr(other, name)
        atol = rtol * np.abs(expected).max() + 1e-12 * other.noise_variance_
        assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("options", "offset"),
    [
        ({}, 1e6),
        ({"prior": "full", "noise": "task", "varying": "all"}, 0.0),
        ({"prior": "diagonal", "noise": "shared", "standardize": False}, 1e6),
        ({"prior": "isotropic", "noise": "shared", "fit_intercept": False}, 0.0),
    ],
    ids=str,
)
def test_statistics_give_the_model_that_the_rows_give(options, offset):
    X, y, weight, task = make_tasks(offset=offset)
    rows = EmpiricalBayesRegressor(random_state=0, **options)
    rows.fit(X, y, weight, task=task)
    statistics = TaskStatistics.from_rows(X, y, task, weight)
    model = clone(rows).meta_fit(statistics)
    assert_same_model(model, rows)
    one = task == task[0]
    adapted = rows.adapt(X[one], y[one], weight[one])
    of_one = statistics.select([task[0]])
    for other in (model.adapt(of_one), rows.adapt(of_one)):
        assert other.n_adapt_rows_ == one.sum()
        assert_allclose(other.coef_, adapted.coef_, rtol=1e-8)
        assert_allclose(other.covariance_, adapted.covariance_, rtol=1e-6)
    mixed = model.adapt(X[:2], y[:2]).partial_adapt(of_one)
    rows = model.adapt(X[:2], y[:2]).partial_adapt(X[one], y[one], weight[one])
    assert_allclose(mixed.predict(X), rows.predict(X), rtol=1e-8)


def test_neither_units_nor_ids_nor_parts_change_what_is_learned():
    X, y, weight, task = make_tasks()
    units = np.array([1e-6, 1.0, 1e5])
    model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
    first = clone(model).meta_fit(TaskStatistics.from_rows(X, y, task, weight))
    names = np.random.default_rng(0).permutation(24).astype(str)[task]
    rows = X * units, 7 * y, names, weight
    parts = [TaskStatistics.from_rows(*(part[i::2] for part in rows)) for i in (0, 1)]
    other = clone(model).meta_fit(parts[1] + parts[0])
    assert other.prior_structure_ == first.prior_structure_
    assert_allclose(other.predict(X * units), 7 * first.predict(X), rtol=1e-8)
    assert_allclose(other.noise_variance_, 49 * first.noise_variance_, rtol=1e-8)


@pytest.mark.parametrize("n_tasks", [1, 250])
def test_many_tasks_and_one_task(n_tasks, monkeypatch):
    monkeypatch.setattr(tasks_module, "MANY_TASKS", 200)  # so many are packed
    X, y, _, task = make_tasks(max(n_tasks, 3))
    task = task % n_tasks
    rows = EmpiricalBayesRegressor("intercept", noise="shared", random_state=0)
    rows.fit(X, y, task=task)
    model = clone(rows).meta_fit(TaskStatistics.from_rows(X, y, task))
    assert_same_model(model, rows)


def test_names_of_columns_are_those_of_the_statistics():
    table = as_table()
    statistics = of_table(table, weighted=False)
    model = EmpiricalBayesRegressor("intercept", noise="shared", varying=["grade"])
    model.meta_fit(statistics)
    assert_array_equal(model.feature_names_in_, COLUMNS)
    assert_array_equal(model.varying_, [False, True])
    others = statistics.to_frame()
    others.columns = others.columns.str.replace("gra", "Gra")
    with pytest.raises(ValueError, match="fitted to"):
        model.adapt(TaskStatistics.from_frame(others).select(["o1"]))
    X, y, _, task = make_rows()
    again = clone(model).set_params(varying="auto")
    again.fit(table[COLUMNS], table["y"], task=table["order"])
    again.meta_fit(TaskStatistics.from_rows(X, y, task))
    assert not hasattr(again, "feature_names_in_")


def test_what_needs_rows_is_refused():
    X, y, _, task = make_tasks()
    statistics = TaskStatistics.from_rows(X, y, task)
    for options in (
        {"base_estimator": Ridge()},
        {"features": LearnedFeatures()},
        {"half_life": "auto"},
        {"row_order": "time"},
        {"time_column": 0},
    ):
        with pytest.raises(ValueError, match="needs the rows"):
            EmpiricalBayesRegressor(**options).meta_fit(statistics)
    with pytest.raises(TypeError, match="learns from rows"):
        ReptileRegressor().meta_fit(statistics)
    pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor())
    with pytest.raises(TypeError, match="as its last step sees them"):
        meta_fit(pipe, statistics)
    with pytest.raises(TypeError, match="as its last step sees them"):
        adapt(pipe.fit(X, y), statistics.select([0]))
    model = meta_fit(EmpiricalBayesRegressor("intercept", noise="shared"), statistics)
    frozen = adapt(FrozenEstimator(model), statistics.select([0]))
    right = model.adapt(statistics.select([0]))
    assert_array_equal(frozen.estimator.coef_, right.coef_)
    before = model.prior_coef_
    with pytest.raises(ValueError, match="of one task"):
        model.adapt(statistics)
    with pytest.raises(ValueError, match="leave out y"):
        model.adapt(statistics.select([0]), y)
    with pytest.raises(ValueError, match="target y is None"):
        model.adapt(X)
    with pytest.raises(ValueError, match="of 2 columns"):
        model.partial_adapt(TaskStatistics.from_rows(X[:3, :2], y[:3], task[:3] * 0))
    with pytest.raises(ValueError, match="no task"):
        model.meta_fit(statistics - statistics)
    assert model.n_adapt_rows_ == 0 and model.prior_coef_ is not before
    assert_array_equal(model.prior_coef_, before)


def test_intervals_are_not_measured_and_a_warning_says_so():
    X, y, _, task = make_tasks(20)
    statistics = TaskStatistics.from_rows(X, y, task)
    model = EmpiricalBayesRegressor("intercept", noise="shared", random_state=0)
    adapted = model.meta_fit(statistics).adapt(statistics.select([3]))
    with pytest.warns(UserWarning, match="coverage is not measured"):
        low, high = adapted.predict_interval(X[task != 3]).T
    mean, deviation = adapted.predict(X[task != 3], return_std=True)
    assert (low < mean).all() and ((high - low) < 2 * 1.8 * deviation).all()

"""A hint where rows are in order of time, and are drawn at random all the same."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmeta import (
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    ReptileRegressor,
    meta_fit,
)
from skmeta._checks.row_order import rising_column
from skmeta.exceptions import RowOrderWarning
from skmeta.model_selection import (
    compare_baselines,
    few_shot_predict,
    few_shot_scores,
    make_few_shot_scorer,
)

pytestmark = pytest.mark.filterwarnings("error")

N_TASKS, N_ROWS = 12, 6
rng = np.random.default_rng(0)
shop = np.repeat([f"shop {t}" for t in range(N_TASKS)], N_ROWS)
codes = np.repeat(np.arange(N_TASKS), N_ROWS)
week = np.tile(np.arange(N_ROWS), N_TASKS) + 3.0 * codes
table = pd.DataFrame({"price": rng.normal(size=len(week)), "week": week})
y = table["price"].to_numpy() + rng.normal(size=N_TASKS)[codes]
y = y + 0.2 * rng.normal(size=len(y))
MODEL = ReptileRegressor(max_iter=3, random_state=0)
ON = "Column 'week' rises from row to row within 100 % of 12 tasks"
few = {"n_support": 2}

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RowOrderWarning)
    FITTED = EmpiricalBayesRegressor("intercept", random_state=0)
    FITTED = FrozenEstimator(FITTED.fit(table, y, task=shop))

CALLS = {
    "fit": lambda X, **o: EmpiricalBayesRegressor("intercept", random_state=0, **o).fit(
        X, y, task=shop
    ),
    "few_shot_scores": lambda X, **o: few_shot_scores(FITTED, X, y, shop, **few, **o),
    "scorer": lambda X, **o: make_few_shot_scorer(**few, **o)(FITTED, X, y, task=shop),
    "few_shot_predict": lambda X, **o: few_shot_predict(
        FITTED, X, y, task=shop, **few, **o
    ),
    "compare_baselines": lambda X, **o: compare_baselines(
        MODEL,
        X,
        y,
        task=shop,
        cv=2,
        baselines=["support mean"],
        **few,
        **o,
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_user_is_told_once_that_rows_seem_to_be_in_order(call):
    with pytest.warns(RowOrderWarning, match=f"{ON}.*row_order='time'") as told:
        call(table)
    assert len(told) == 1


@pytest.mark.parametrize("name", [name for name in CALLS if name != "fit"])
@pytest.mark.parametrize("row_order", ["time", "random"])
def test_whoever_says_the_order_is_not_told(name, row_order):
    CALLS[name](table, row_order=row_order)


@pytest.mark.parametrize("options", [{"row_order": "time"}, {"half_life": 3}])
def test_a_model_of_rows_in_time_is_not_told(options):
    model = EmpiricalBayesRegressor("intercept", random_state=0, **options)
    few_shot_scores(model.fit(table, y, task=shop), table, y, shop, n_support=2)


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_rows_raise_no_alarm(seed):
    order = np.random.default_rng(seed).permutation(len(y))
    few_shot_scores(FITTED, table.iloc[order], y[order], shop[order], n_support=2)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_newest_rows_first_are_told_in_any_order(call):
    reverse = table.assign(week=-week)
    falls = "Column 'week' falls from row to row within 100 % of 12 tasks"
    with pytest.warns(RowOrderWarning, match=f"{falls}.*sort the rows") as told:
        call(reverse)
    assert len(told) == 1
    with pytest.warns(RowOrderWarning, match=f"{falls}.*the past would be") as told:
        call(reverse, row_order="time")
    assert len(told) == 1


def test_a_countdown_beside_a_date_and_a_column_of_times_are_in_order():
    call = CALLS["few_shot_scores"]
    X_both = table.assign(price=-week)
    call(X_both, row_order="time")
    EmpiricalBayesRegressor(
        "intercept", row_order="time", time_column="week", random_state=0
    ).fit(table.assign(week=-week), y, task=shop)


def test_tasks_may_come_in_any_order_and_interleaved():
    order = np.argsort(week, kind="stable")
    with pytest.warns(RowOrderWarning, match=ON):
        few_shot_scores(FITTED, table.iloc[order], y[order], shop[order], **few)


def test_what_is_in_front_of_the_model_hides_nothing():
    dated = table.assign(date=pd.Timestamp("2024-01-01") + pd.to_timedelta(week, "W"))
    drop = FunctionTransformer(lambda X: X[["price"]])
    tasks = {t: (dated[shop == t], y[shop == t]) for t in np.unique(shop)}
    model = meta_fit(make_pipeline(drop, MODEL), tasks)
    with pytest.warns(RowOrderWarning, match="Column 'date' rises"):
        few_shot_scores(model, dated[["price", "date"]], y, shop, **few)


def test_other_learners_are_told_by_the_score():
    model = ReptileRegressor(max_iter=3, random_state=0).fit(table, y, task=shop)
    with pytest.warns(RowOrderWarning, match=ON):
        few_shot_scores(model, table, y, shop, **few)


BASES = {
    "regressor": (EmpiricalBayesRegressor, y, {"row_order": "time"}),
    "half_life": (EmpiricalBayesRegressor, y, {"half_life": 3}),
    "times": (
        EmpiricalBayesRegressor,
        y,
        {"half_life": "auto", "time_column": "week"},
    ),
    "counts": (EmpiricalBayesPoissonRegressor, y > 0, {"row_order": "time"}),
}


@pytest.mark.parametrize("kind, target, options", BASES.values(), ids=BASES)
def test_a_base_model_of_rows_in_time_is_told_once(kind, target, options):
    """It is judged on other tasks at the same times, and inner fits say nothing."""
    model = kind("intercept", base_estimator=DummyRegressor(), **options)
    match = "base_estimator is judged on other tasks at the same times.*last known rows"
    with pytest.warns(RowOrderWarning, match=match) as told:
        model.fit(table, target, task=shop)
    assert len(told) == 1
    few_shot_scores(model, table, target, shop, n_support=2)


def test_a_search_tells_of_a_base_model_once():
    model = EmpiricalBayesRegressor(
        "intercept", base_estimator=DummyRegressor(), row_order="time"
    )
    search = GridSearchCV(
        model,
        {"base_target": ["y"]},
        cv=GroupKFold(2),
        scoring=make_few_shot_scorer(n_support=2),
    )
    with pytest.warns(RowOrderWarning, match="other tasks at the same times") as told:
        meta_fit(search, table, y, task=shop)
    assert len(told) == 1


@pytest.mark.parametrize(
    "options", [{"row_order": "time"}, {"base_estimator": DummyRegressor()}]
)
def test_a_base_model_or_an_order_alone_is_not_told_of_the_calendar(options):
    model = EmpiricalBayesRegressor("intercept", **options)
    model.fit(table[["price"]], y, task=shop)


# -- which columns rise ---------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, list, pd.DataFrame])
def test_any_table_will_do(kind):
    rows = np.column_stack([rng.normal(size=len(week)), week + 1])
    found = rising_column(rows.tolist() if kind is list else kind(rows), codes)
    assert found.name == 1 and found.share == 1 and found.n_tasks == N_TASKS


def test_a_few_tasks_may_be_out_of_order_and_ties_are_in_order():
    late = week.copy()
    late[0] = 100
    assert rising_column(late[:, None], codes).share == pytest.approx(11 / 12)
    late[[6, 12]] = 100
    assert rising_column(late[:, None], codes) is None
    assert rising_column((week // 2)[:, None], codes) is not None


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(len(week)),  # constant
        codes.astype(float),  # constant within tasks
        -week,  # it falls
        rng.integers(2, size=len(week)),
        np.where(week % 3 == 0, np.nan, week),
    ],
)
def test_other_columns_do_not_rise(column):
    assert rising_column(np.asarray(column, dtype=float)[:, None], codes) is None


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("levels", [2, 3, 5])
def test_a_table_sorted_by_a_category_is_not_in_order_of_time(levels, falling):
    """As by the items of a questionnaire, of two moods, in 24 rows for each person."""
    tasks = np.repeat(np.arange(60), 24)
    level = np.tile(np.sort(np.arange(24) % levels), 60).astype(float)
    dummies = level[:, None] == np.arange(levels)
    for X in (dummies.astype(float), level[:, None]):
        assert rising_column(X, tasks, falling) is None
        assert rising_column(-X, tasks, falling) is None


def test_a_dummy_of_sorted_rows_raises_no_alarm():
    late = (week - 3 * codes >= 3).astype(int)
    few_shot_scores(FITTED, table.assign(week=late), y, shop, **few)


@pytest.mark.parametrize(
    "times",
    [
        1990 + np.arange(4) // 2 * 5 + np.arange(4) % 2,  # years
        np.repeat(np.arange(1, 13), 11),  # months, with 11 rows for each
        1.7e9 + np.cumsum(rng.exponential(1e5, size=5)),  # seconds
        np.repeat(np.datetime64("2024-01-01") + np.arange(3), 9),  # days
    ],
    ids=["years", "months", "seconds", "days"],
)
def test_times_are_told_though_some_come_twice(times):
    tasks = np.repeat(np.arange(30), len(times))
    X = pd.DataFrame({"when": np.tile(times, 30)})
    assert rising_column(X, tasks).name == "when"
    assert rising_column(X[::-1], tasks, falling=True).name == "when"


def test_short_tasks_rise_by_chance():
    """Of three rows, one order in six rises."""
    few = np.repeat(np.arange(3), 3)
    column = np.tile([0.0, 1.0, 2.0], 3)[:, None]
    assert rising_column(column, few) is None
    many = np.repeat(np.arange(60), 3)
    assert rising_column(np.tile([0.0, 1.0, 2.0], 60)[:, None], many) is not None
    for seed in range(20):
        values = np.random.default_rng(seed).integers(3, size=(180, 30))
        assert rising_column(values, many) is None

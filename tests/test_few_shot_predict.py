"""Predictions of all rows, each by a model adapted to other rows of its task."""

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileRegressor,
    adapt,
    meta_fit,
)
from skmeta.model_selection import few_shot_predict, make_few_shot_scorer

# Every warning that a test does not expect is an error, also the zero-shot warning.
pytestmark = pytest.mark.filterwarnings("error")

N_TASKS, N_ROWS = 9, 8
rng = np.random.default_rng(0)
ids = np.repeat([f"shop {t}" for t in range(N_TASKS)], N_ROWS)
X = rng.normal(size=(len(ids), 2))
level = np.repeat(rng.normal(size=N_TASKS), N_ROWS)
y = X[:, 0] + 2 * level + 0.3 * rng.normal(size=len(ids))
labels = np.where(y > 0, "yes", "no")
MODEL = EmpiricalBayesRegressor("intercept", random_state=0)
FITTED = FrozenEstimator(clone(MODEL).fit(X, y, task=ids))
QUICK = ReptileRegressor(max_iter=5, random_state=0)  # where folds are fitted
upper = X[:, 0] > np.repeat(np.median(X[:, 0].reshape(N_TASKS, N_ROWS), axis=1), N_ROWS)
OPTIONS = {"task": ids, "cv": 3}


def plain_forecasts(model, n_support, horizon=1):
    """Forecasts of each row from those before it, with no function but `adapt`."""
    found = np.full(len(y), np.nan)
    for train, test in GroupKFold(3).split(X, y, ids):
        tasks = [
            (X[train][ids[train] == i], y[train][ids[train] == i])
            for i in np.unique(ids[train])
        ]
        fitted = meta_fit(model, tasks)
        for name in np.unique(ids[test]):
            (rows,) = np.nonzero(ids == name)
            for begin in range(0, N_ROWS, horizon):
                before = rows[max(0, begin - n_support) : begin]
                one = adapt(fitted, X[before], y[before]) if begin else fitted
                asked = rows[begin : begin + horizon]
                found[asked] = one.predict(X[asked])
    return found


def test_a_user_gets_a_prediction_for_each_row_of_a_table():
    table = pd.DataFrame(X, columns=["price", "week"])
    order = np.random.default_rng(1).permutation(len(y))
    mixed = few_shot_predict(
        MODEL, table.iloc[order], pd.Series(y)[order], task=pd.Series(ids)[order], cv=2
    )
    assert mixed.shape == (len(y),)
    assert np.mean((mixed - y[order]) ** 2) < 0.1 * np.var(y)


@pytest.mark.parametrize(("n_support", "n_query"), [(20, None), (3, 4)])
def test_forecasts_are_those_of_a_plain_loop(n_support, n_query):
    found = few_shot_predict(
        QUICK, X, y, n_support=n_support, n_query=n_query, row_order="time", **OPTIONS
    )
    expected = plain_forecasts(QUICK, n_support, n_query or 1)
    assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("n_support", "n_query"), [(1, None), (3, 2), (5, None), (7, 1)]
)
def test_a_row_is_predicted_from_as_many_others_of_its_task(n_support, n_query):
    def predicted(y):
        options = {"n_support": n_support, "n_query": n_query}
        return few_shot_predict(FITTED, X, y, **options, **OPTIONS)

    before, of_task = predicted(y), ids == ids[0]
    depends = []
    for row in np.flatnonzero(of_task):
        other = y.copy()
        other[row] += 1
        depends.append(predicted(other) != before)
    depends = np.array(depends)
    assert not depends[:, ~of_task].any()
    assert_array_equal(depends[:, of_task].sum(axis=0), n_support)
    assert not depends[:, of_task].diagonal().any()


def test_a_task_is_held_out_of_meta_training():
    other = np.where(ids == ids[0], 1e3 * y, y)
    same = ids != ids[0]
    tests = [test for _, test in GroupKFold(3).split(X, y, ids)]
    (fold,) = [test for test in tests if 0 in test]
    beside = np.isin(np.arange(len(y)), fold) & same
    before, after = (few_shot_predict(QUICK, X, v, **OPTIONS) for v in (y, other))
    assert_array_equal(before[beside], after[beside])


def test_no_row_given_is_the_learned_start():
    found = few_shot_predict(FITTED, X, y, n_support=0, **OPTIONS)
    assert_allclose(found, FITTED.estimator.predict(X), rtol=1e-12)


def test_draws_depend_on_the_seed_alone():
    def predicted(seed, n_jobs):
        options = {"random_state": seed, "n_jobs": n_jobs, **OPTIONS}
        with joblib.parallel_config("threading"):
            return few_shot_predict(FITTED, X, y, **options)

    first = predicted(0, None)
    assert_array_equal(first, predicted(0, 2))
    assert (first != predicted(1, None)).mean() > 0.8


# -- what is predicted ----------------------------------------------------------------


def test_intervals_and_deviations_of_all_rows():
    found = few_shot_predict(FITTED, X, y, return_std=True, **OPTIONS)
    assert [part.shape for part in found] == [(len(y),)] * 2
    low, high = few_shot_predict(
        FITTED, X, y, method="predict_interval", coverage=0.8, **OPTIONS
    ).T
    assert 0.7 < np.mean((low <= y) & (y <= high)) < 0.95
    assert_allclose(0.5 * (low + high), found[0], rtol=1e-6)


@pytest.mark.parametrize("texts", [True, False])
def test_probabilities_of_shared_classes(texts):
    target = labels if texts else (labels == "yes")
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    model = FrozenEstimator(model.fit(X, target, task=ids))
    p = few_shot_predict(model, X, target, method="predict_proba", **OPTIONS)
    assert p.shape == (len(y), 2)
    found = few_shot_predict(model, X, target, **OPTIONS)
    assert_array_equal(found, np.unique(target)[p.argmax(axis=1)])
    assert np.mean(found == target) > 0.8


def test_counts_with_an_exposure_for_each_row():
    exposure = rng.uniform(1, 5, size=len(y))
    counts = rng.poisson(exposure * np.exp(level))
    model = EmpiricalBayesPoissonRegressor("intercept", random_state=0)
    model = FrozenEstimator(model.fit(X, counts / exposure, exposure, task=ids))
    low, high = few_shot_predict(
        model,
        X,
        counts / exposure,
        sample_weight=exposure,
        method="predict_interval",
        exposure=exposure,
        **OPTIONS,
    ).T
    assert 0.8 < np.mean((low <= counts) & (counts <= high))


@pytest.mark.parametrize("in_time", [True, False])
def test_choices_are_predicted_in_whole_sets(in_time):
    sets = np.arange(len(y)) // 2
    chosen = np.zeros(len(y))
    chosen[2 * np.arange(len(y) // 2) + (y[1::2] > y[::2])] = 1
    model = EmpiricalBayesRanker("isotropic", random_state=0)
    model = FrozenEstimator(model.fit(X, chosen, task=ids, choice_set=sets))
    options = {"choice_set": sets, "row_order": "time" if in_time else None}
    p = few_shot_predict(
        model, X, chosen, n_support=2, method="predict_proba", **options, **OPTIONS
    )
    assert_allclose(p[::2] + p[1::2], 1)
    ranks = few_shot_predict(
        model, X, chosen, n_support=2, method="rank", **options, **OPTIONS
    )
    assert set(ranks) == {1, 2}
    assert np.mean(chosen[ranks == 1]) > 0.8


def test_tasks_with_classes_of_their_own_give_rows_of_each_class():
    own = np.char.add(np.where(upper, "a", "b"), ids)
    found = few_shot_predict(PrototypicalClassifier(), X, own, n_support=2, **OPTIONS)
    assert np.mean(found == own) > 0.7
    with pytest.raises(ValueError, match=r"Take one of \['predict'\]"):
        few_shot_predict(
            PrototypicalClassifier(), X, own, method="predict_proba", **OPTIONS
        )
    with pytest.raises(ValueError, match="the first row of a task has none"):
        few_shot_predict(PrototypicalClassifier(), X, own, row_order="time", **OPTIONS)
    with pytest.raises(ValueError, match="n_support=0 predicts before"):
        few_shot_predict(PrototypicalClassifier(), X, own, n_support=0, **OPTIONS)


def test_a_class_of_one_row_is_told():
    own = np.where(upper, "a", "b")
    own[3] = "c"
    with pytest.warns(UserWarning, match="1 rows, of 1 of 9 tasks such as 'shop 0'"):
        found = few_shot_predict(PrototypicalClassifier(), X, own, **OPTIONS)
    assert found[3] != "c"
    one = np.r_[np.arange(N_ROWS, len(y)), 0]
    with pytest.raises(ValueError, match="Task 'shop 0' has a row with no other"):
        few_shot_predict(PrototypicalClassifier(), X[one], own[one], task=ids[one])


# -- compositions ---------------------------------------------------------------------


def test_any_composition_will_do():
    log_y = np.exp(y)
    plain = few_shot_predict(QUICK, X, y, **OPTIONS)
    around = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), QUICK), func=np.log, inverse_func=np.exp
    )
    found = few_shot_predict(around, X, log_y, **OPTIONS)
    assert_allclose(found, np.exp(plain), rtol=1e-5)


def test_the_best_estimator_of_a_search_is_found_without_the_task():
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            QUICK,
            {"adapt_steps": [10]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer(n_support=3),
        )
    found = few_shot_predict(search, X, y, **OPTIONS)
    assert_allclose(found, few_shot_predict(QUICK, X, y, **OPTIONS), rtol=1e-6)


def test_sparse_rows_and_a_base_model():
    model = clone(QUICK).set_params(base_estimator=LinearRegression())
    model = FrozenEstimator(model.fit(X, y, task=ids))
    dense = few_shot_predict(model, X, y, **OPTIONS)
    found = few_shot_predict(model, sparse.csr_array(X), y, **OPTIONS)
    assert_allclose(found, dense, rtol=1e-6)


def test_intervals_are_transformed_back():
    around = TransformedTargetRegressor(MODEL, func=np.log, inverse_func=np.exp)
    model = FrozenEstimator(meta_fit(around, X, np.exp(y), task=ids))
    found = few_shot_predict(model, X, np.exp(y), **OPTIONS)
    low, high = few_shot_predict(
        model, X, np.exp(y), method="predict_interval", **OPTIONS
    ).T
    assert ((low < found) & (found < high)).all()


def test_old_rows_count_less_in_their_order():
    model = EmpiricalBayesRegressor("intercept", half_life=2, random_state=0)
    frozen = FrozenEstimator(clone(model).fit(X, y, task=ids))
    found = few_shot_predict(frozen, X, y, n_support=4, **OPTIONS)
    for row in (0, 3, 7):
        before = slice(max(0, row - 4), row)
        one = frozen.estimator.adapt(X[before], y[before]) if row else frozen
        assert_allclose(found[row], one.predict(X[[row]])[0])
    # a column of times gives the order, whatever that of the rows
    timed = np.column_stack([X, np.tile(np.arange(N_ROWS), N_TASKS)])
    model.set_params(time_column=2, varying=[0])
    order = np.random.default_rng(0).permutation(len(y))
    frozen = FrozenEstimator(model.fit(timed, y, task=ids))
    found = few_shot_predict(frozen, timed, y, task=ids)
    mixed = few_shot_predict(frozen, timed[order], y[order], task=ids[order])
    assert_allclose(mixed, found[order], rtol=1e-6)


# -- units and weights ----------------------------------------------------------------


def test_units_are_given_or_predicted_as_a_whole():
    baskets = np.arange(len(y)) // 2

    def predicted(y):
        options = {"unit": baskets, "n_support": 2, **OPTIONS}
        return few_shot_predict(FITTED, X, y, **options)

    before = predicted(y)
    depends = []
    for row in range(N_ROWS):
        other = y.copy()
        other[row] += 1
        depends.append((predicted(other) != before)[:N_ROWS])
    depends = np.array(depends)
    assert_array_equal(depends[::2], depends[1::2])
    assert_array_equal(depends.sum(axis=0), 4)  # two baskets of two rows
    assert not depends.diagonal().any()


def test_a_row_of_weight_zero_is_predicted_and_never_given():
    weight = np.ones(len(y))
    weight[[0, 1, N_ROWS]] = 0
    other = np.where(weight > 0, y, 1e3)
    one, two = (
        few_shot_predict(FITTED, X, v, sample_weight=weight, **OPTIONS)
        for v in (y, other)
    )
    assert_array_equal(one, two)
    for missing in (np.where(weight > 0, y, np.nan), pd.Series(y).where(weight > 0)):
        found = few_shot_predict(FITTED, X, missing, sample_weight=weight, **OPTIONS)
        assert_array_equal(found, one)
    # weights count in adapting: a row of weight 2 is there twice
    options = {"n_support": None, "row_order": "time", **OPTIONS}
    heavy = few_shot_predict(FITTED, X, y, sample_weight=weight + 1, **options)
    rows = [0, 1]
    twice = FITTED.estimator.adapt(X[rows], y[rows], weight[rows] + 1).predict(X[[2]])
    assert_allclose(heavy[2], twice[0])


# -- what is refused, and what is told ------------------------------------------------


def test_short_tasks_are_told():
    kept = np.r_[0:3, N_ROWS : len(y)]
    with pytest.warns(
        UserWarning, match="1 of 9 tasks, such as 'shop 0'.* Their 3 rows"
    ):
        found = few_shot_predict(FITTED, X[kept], y[kept], task=ids[kept])
    assert np.isfinite(found).all()


class GroupedWrongly:
    def split(self, X, y, groups):
        return KFold(2, shuffle=True, random_state=0).split(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": GroupedWrongly()}, "Split whole tasks"),
        ({"task": np.zeros(len(y))}, "There is one task"),
        ({"task": None}, "pass the ids"),
        ({"method": "predict_proba"}, "Take one of"),
        ({"method": "score"}, "method"),
        ({"n_support": -1}, "n_support"),
        ({"choice_set": ids}, "takes no choice_set"),
        ({"sample_weight": np.zeros(len(y))}, "All sample weights are zero"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        few_shot_predict(MODEL, X, y, **(OPTIONS | options))


def test_a_splitter_that_leaves_tasks_out_is_refused():
    only = [(np.arange(N_ROWS, len(y)), np.arange(N_ROWS))]

    class OneFold:
        def split(self, X, y, groups):
            return iter(only)

    with pytest.raises(ValueError, match="tests 1 of 9 tasks, and not task 'shop 1'"):
        few_shot_predict(MODEL, X, y, task=ids, cv=OneFold())


@pytest.mark.parametrize("row", [0, 20, 70])
def test_an_error_names_the_users_row_and_task(row):
    bad = X.copy()
    bad[row, 1] = np.nan
    with pytest.raises(ValueError, match=f"row is row {row}, of task '{ids[row]}'"):
        few_shot_predict(MODEL, bad, y, **OPTIONS)

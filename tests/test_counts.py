"""Counts: a Poisson model whose log rates have a prior learned from the tasks."""

import io
import warnings
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import gammaln, logsumexp
from scipy.stats import poisson
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, PoissonRegressor
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from skmeta import EmpiricalBayesPoissonRegressor, LearnedFeatures, TaskBank
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import compare_baselines, make_few_shot_scorer

COEF = np.array([0.5, -0.3])


def draw_task(rng, n=8, level=0.7, slope=0.0, exposure=None):
    """Rates per unit of exposure of one task, whose log rate has a level of its own."""
    X = rng.normal(size=(n, 2))
    coef = COEF + slope * rng.normal(size=2)
    eta = X @ coef + 1.0 + level * rng.normal()
    e = np.ones(n) if exposure is None else exposure
    return X, rng.poisson(e * np.exp(eta)) / e


def draw_tasks(n_tasks=60, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [draw_task(rng, **options) for _ in range(n_tasks)]


def flat(tasks):
    X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
    return X, y, np.repeat(np.arange(len(tasks)), [len(y) for _, y in tasks])


@pytest.fixture(scope="module")
def tasks():
    return draw_tasks()


@pytest.fixture(scope="module")
def model(tasks):
    return EmpiricalBayesPoissonRegressor("intercept", random_state=0).meta_fit(tasks)


@pytest.fixture(scope="module")
def new_task():
    return draw_task(np.random.default_rng(99), n=60)


def integral(X, y, prior, n_nodes=120):
    """A grid of intercepts, and their posterior of a task, by plain summation."""
    intercept, slopes, deviation = prior
    z = np.linspace(-8, 8, n_nodes)
    eta = (X @ slopes)[:, None] + intercept + deviation * z
    height = (y[:, None] * eta - np.exp(eta) - gammaln(y + 1)[:, None]).sum(axis=0)
    log = height - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(z[1] - z[0])
    return intercept + deviation * z, log


def learned(model):
    return (
        model.prior_intercept_,
        model.prior_coef_,
        np.sqrt(model.prior_covariance_[-1, -1]),
    )


# -- against exact integrals ----------------------------------------------------------


def test_the_spread_of_levels_is_that_of_exact_maximum_likelihood(tasks, model):
    from scipy.optimize import minimize

    def minus(parameters):
        prior = parameters[0], parameters[1:3], np.exp(parameters[3])
        return -sum(logsumexp(integral(X, y, prior)[1]) for X, y in tasks)

    intercept, slopes, deviation = learned(model)
    exact = minimize(minus, [intercept, *slopes, np.log(deviation)], tol=1e-3).x
    assert_allclose(deviation, np.exp(exact[3]), rtol=0.01)
    assert_allclose([intercept, *slopes], exact[:3], atol=0.01)


def test_the_log_marginal_likelihood_is_the_log_probability_of_all_counts(tasks, model):
    exact = sum(logsumexp(integral(X, y, learned(model))[1]) for X, y in tasks)
    assert_allclose(model.log_marginal_likelihood_, exact, atol=0.1)


@pytest.mark.parametrize("n", [1, 3, 10])
def test_an_adapted_model_predicts_nearly_the_exact_posterior_mean(model, new_task, n):
    X, y = new_task
    levels, log = integral(X[:n], y[:n], learned(model))
    share = np.exp(log - logsumexp(log))
    exact = np.exp(X[n:] @ model.prior_coef_) * (share @ np.exp(levels))
    assert_allclose(model.adapt(X[:n], y[:n]).predict(X[n:]), exact, rtol=0.05)


# -- limits ---------------------------------------------------------------------------


def test_one_task_without_ids_is_a_penalised_poisson_regression():
    X, y = draw_task(np.random.default_rng(1), n=400, level=0.0)
    model = EmpiricalBayesPoissonRegressor().fit(X, y)
    expected = PoissonRegressor(alpha=1e-6).fit(X, y)
    assert_allclose(model.coef_, expected.coef_, atol=0.02)
    assert_allclose(model.intercept_, expected.intercept_, atol=0.02)
    assert_allclose(model.predict(X), expected.predict(X), rtol=0.05)


def test_with_many_rows_a_task_is_fitted_as_by_itself():
    tasks = draw_tasks(40, slope=0.5)
    X, y = draw_task(np.random.default_rng(5), n=3000, slope=0.5)
    model = EmpiricalBayesPoissonRegressor("diagonal").meta_fit(tasks).adapt(X, y)
    expected = PoissonRegressor(alpha=0.0, tol=1e-8).fit(X, y)
    assert_allclose(model.coef_, expected.coef_, atol=0.01)
    assert_allclose(model.intercept_, expected.intercept_, atol=0.01)


def test_a_task_of_zeros_is_drawn_down_and_stays_above_zero(model, new_task):
    X, _ = new_task
    before = model.predict(X)
    after = [model.adapt(X[:n], np.zeros(n)).predict(X) for n in (1, 5, 50)]
    for larger, smaller in zip([before, *after], after, strict=False):
        assert (0 < smaller).all() and (smaller < larger).all()


def test_the_prediction_is_the_mean_of_the_counts_and_not_that_of_their_logs(
    model, new_task
):
    few = model.adapt(new_task[0][:3], new_task[1][:3])
    log_mean = few.intercept_ + few.moderation_ * few.covariance_[-1, -1] / 2
    assert_allclose(few.predict(np.zeros((1, 2)))[0], np.exp(log_mean), rtol=1e-2)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_counts_may_be_huge_and_rates_tiny(scale):
    exposure = np.full(6, 1 / scale if scale < 1 else 1.0)
    rng = np.random.default_rng(3)
    tasks = []
    for _ in range(10):
        X = rng.normal(size=(6, 2))
        rate = scale * np.exp(X @ COEF + rng.normal())
        tasks.append((X, rng.poisson(exposure * rate) / exposure, exposure))
    model = EmpiricalBayesPoissonRegressor().meta_fit(tasks)
    X, y, weight = tasks[0]
    adapted = model.adapt(X[:4], y[:4], weight[:4])
    assert np.isfinite(model.predict(X)).all()
    assert 0.1 < adapted.predict(X[4:]).sum() / y[4:].sum() < 10


# -- exposure -------------------------------------------------------------------------


def test_a_rate_with_a_whole_exposure_is_as_many_rows_of_that_rate(tasks, model):
    X, y = tasks[0]
    thrice = model.adapt(X, y, np.full(len(y), 3.0))
    rows = model.adapt(np.tile(X, (3, 1)), np.tile(y, 3))
    assert_allclose(thrice.predict(X), rows.predict(X), rtol=1e-9)


def test_only_the_sum_of_counts_and_exposures_of_equal_rows_matters(model):
    x = np.ones((1, 2))
    apart = model.adapt(np.tile(x, (3, 1)), [2.0, 0.0, 7.0])
    together = model.adapt(x, [3.0], [3.0])
    assert_allclose(apart.predict(x), together.predict(x), rtol=1e-9)


def test_rates_per_hour_and_per_day_give_the_same_model():
    rng = np.random.default_rng(0)
    exposure = [rng.uniform(0.5, 4.0, size=8) for _ in range(30)]
    tasks = [(*draw_task(rng, exposure=e), e) for e in exposure]
    per_day = [(X, 24 * y, e / 24) for X, y, e in tasks]
    model, other = (
        EmpiricalBayesPoissonRegressor("diagonal", random_state=0).meta_fit(rows)
        for rows in (tasks, per_day)
    )
    assert_allclose(other.prior_coef_, model.prior_coef_, rtol=1e-5)
    assert_allclose(other.prior_intercept_, model.prior_intercept_ + np.log(24))
    adapted = model.adapt(*tasks[0]), other.adapt(*per_day[0])
    X = tasks[1][0]
    assert_allclose(adapted[1].predict(X), 24 * adapted[0].predict(X), rtol=1e-4)


def test_small_exposures_are_not_warned_of():
    rng = np.random.default_rng(0)
    tasks = [(*draw_task(rng), np.full(8, 0.01)) for _ in range(10)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmpiricalBayesPoissonRegressor("intercept").meta_fit(tasks)


def test_a_row_without_exposure_is_no_row(tasks, model):
    X, y = tasks[0]
    weight = np.array([1.0, 1, 1, 0, 0, 0, 0, 0])
    assert_array_equal(
        model.adapt(X, y, weight).predict(X), model.adapt(X[:3], y[:3]).predict(X)
    )


# -- the verbs ------------------------------------------------------------------------


def test_rows_one_by_one_in_any_order_are_rows_all_at_once(tasks, model):
    X, y = tasks[0]
    at_once, one_by_one = model.adapt(X, y), clone(model).meta_fit(tasks)
    for row in np.random.default_rng(0).permutation(len(y)):
        one_by_one.partial_adapt(X[[row]], y[[row]])
    assert_allclose(one_by_one.predict(X), at_once.predict(X), rtol=1e-9)
    assert one_by_one.n_adapt_rows_ == len(y)
    assert_array_equal(one_by_one.reset_adaptation().predict(X), model.predict(X))


def test_columns_in_other_units_give_the_same_predictions(tasks):
    scale, shift = np.array([1e3, 1e-2]), np.array([5.0, -7.0])
    tasks = tasks[:12]
    other = [(X * scale + shift, y) for X, y in tasks]
    predicted = [
        EmpiricalBayesPoissonRegressor(random_state=0)
        .meta_fit(rows)
        .adapt(*rows[0])
        .predict(rows[0][0])
        for rows in (tasks, other)
    ]
    assert_allclose(*predicted, rtol=1e-5)


def test_questions_are_asked_where_counts_are_large():
    tasks = draw_tasks(40, slope=0.5)
    model = EmpiricalBayesPoissonRegressor("isotropic").meta_fit(tasks)
    pool = np.array([[3.0, -3.0], [0.0, 0.0], [-3.0, 3.0]])
    assert model.suggest_queries(pool, 1) == [0]  # the rate is largest there
    assert len(set(model.suggest_queries(pool, 3))) == 3


def test_without_an_intercept_the_rate_at_the_origin_is_one(tasks):
    model = EmpiricalBayesPoissonRegressor(fit_intercept=False).meta_fit(tasks)
    assert model.intercept_ == 0.0
    assert_allclose(model.predict(np.zeros((1, 2))), 1.0)


def test_tasks_of_one_row_are_enough_to_learn_from():
    tasks = draw_tasks(300, n=1)
    model = EmpiricalBayesPoissonRegressor("intercept").meta_fit(tasks)
    assert_allclose(np.sqrt(model.prior_covariance_[-1, -1]), 0.7, atol=0.2)


@pytest.mark.parametrize("scale", [3.0, 1000.0])
def test_features_may_be_learned_of_counts_of_any_size(scale):
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(15):
        X, shift = rng.uniform(-3, 3, size=(12, 1)), rng.uniform(0, 1.5)
        tasks.append((X, rng.poisson(scale * np.exp(np.sin(X[:, 0] + shift)))))
    features = LearnedFeatures((8,), n_components=4, max_iter=30)
    model = EmpiricalBayesPoissonRegressor(
        "intercept", features=features, max_iter=60, random_state=0
    ).meta_fit(tasks)
    X, y = tasks[0]
    assert np.isfinite(model.adapt(X[:5], y[:5]).predict(X)).all()
    assert model.n_feature_iter_ >= 0


# -- intervals ------------------------------------------------------------------------


def test_intervals_hold_about_their_share_of_new_counts(model):
    rng = np.random.default_rng(7)
    for n in (0, 2, 8):
        held = []
        for _ in range(80):
            X, y = draw_task(rng, n=n + 10)
            adapted = model.adapt(X[:n], y[:n]) if n else model
            low, high = adapted.predict_interval(X[n:], coverage=0.8).T
            held.append((low <= y[n:]) & (y[n:] <= high))
        # whole counts hold a little more than asked for
        assert 0.76 < np.mean(held) < 0.92


def test_an_interval_ends_in_whole_counts_and_grows_with_coverage(model, new_task):
    X, _ = new_task
    narrow, wide = (model.predict_interval(X, coverage) for coverage in (0.5, 0.95))
    for ends in (narrow, wide):
        assert_array_equal(ends, np.round(ends))
        assert (ends[:, 0] >= 0).all()
    assert (wide[:, 0] <= narrow[:, 0]).all() and (narrow[:, 1] <= wide[:, 1]).all()


def test_a_task_that_is_known_has_the_interval_of_a_poisson_distribution(model):
    X = np.tile([[0.3, -0.2]], (2000, 1))
    y = np.random.default_rng(0).poisson(5.0, size=2000)
    adapted = model.adapt(X, y)
    rate = adapted.predict(X[:1])[0]
    expected = poisson.ppf([0.05, 0.95], rate)
    assert_array_equal(adapted.predict_interval(X[:1], 0.9)[0], expected)


def test_the_interval_of_an_exposure_is_about_its_count(model, new_task):
    X, y = new_task
    adapted = model.adapt(X, y)
    low, high = adapted.predict_interval(X[:5], 0.9, exposure=[1, 1, 1, 1, 1000]).T
    rate = adapted.predict(X[:5])
    assert low[4] < 1000 * rate[4] < high[4]
    assert_array_equal(
        np.column_stack([low, high])[:4], adapted.predict_interval(X[:4], 0.9)
    )


def test_a_coverage_or_exposure_that_is_none_is_refused(model, new_task):
    X, _ = new_task
    with pytest.raises(ValueError, match="coverage must be a number between"):
        model.predict_interval(X, 90)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        model.predict_interval(X, exposure=-1.0)


@pytest.mark.parametrize("n_more", [-1, 1])
def test_exposures_of_more_or_fewer_rows_are_refused(model, new_task, n_more):
    X, y = new_task
    exposure, bank = np.ones(len(X) + n_more), TaskBank(model)
    bank.update(X, y, task=0)
    ids = np.zeros(len(X))
    many = {"task": ids, "task_new": ids, "method": "predict_interval"}
    for asked in (
        partial(model.predict_interval, task=0),
        partial(bank.predict_interval, task=0),
        partial(bank.predict_interval, task=7),
        lambda X, exposure: model.adapt_predict(X, y, X, exposure=exposure, **many),
    ):
        with pytest.raises(ValueError, match=r"exposure has|sample_weight\.shape"):
            asked(X, exposure=exposure)


def test_exposures_of_other_rows_are_refused(model, new_task):
    X = pd.DataFrame(new_task[0])
    exposure = pd.Series(np.ones(len(X)), index=X.index[::-1])
    for given in ({}, {"task": 0}):
        with pytest.raises(ValueError, match="X and exposure have different row label"):
            model.predict_interval(X, exposure=exposure, **given)


def test_intervals_allow_for_counts_that_vary_more_than_a_poisson_distribution():
    rng = np.random.default_rng(0)

    def task(n):
        X = rng.normal(size=(n, 2))
        eta = X @ COEF + 1.0 + 0.7 * rng.normal() + 0.6 * rng.normal(size=n)
        return X, rng.poisson(np.exp(eta))

    model = EmpiricalBayesPoissonRegressor("intercept", random_state=0)
    model.meta_fit([task(10) for _ in range(60)])
    assert 0.2 < model.overdispersion_ < 0.6  # 0.36 in truth
    held = []
    for _ in range(60):
        X, y = task(30)
        low, high = model.adapt(X[:8], y[:8]).predict_interval(X[8:], 0.8).T
        held.append((low <= y[8:]) & (y[8:] <= high))
    assert 0.76 < np.mean(held) < 0.92


def test_poisson_counts_have_hardly_any_overdispersion(model):
    assert model.overdispersion_ < 0.03


# -- the score ------------------------------------------------------------------------


def test_the_score_is_the_share_of_deviance_explained(model, new_task):
    X, y = new_task
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    adapted = model.adapt(X[:10], y[:10])
    expected = d2_tweedie_score(
        y[10:], adapted.predict(X[10:]), sample_weight=weight[10:], power=1
    )
    assert_allclose(adapted.score(X[10:], y[10:], weight[10:]), expected)


def test_the_score_of_equal_counts_is_a_number(model):
    X = np.zeros((4, 2))
    with pytest.warns(ZeroShotWarning):
        assert model.score(X, np.zeros(4)) == 0.0


def test_the_score_with_ids_is_that_after_a_few_rows(model):
    X, y, ids = flat(draw_tasks(20, seed=5, n=15))
    with pytest.warns(ZeroShotWarning):
        before = model.score(X, y)
    assert before < model.score(X, y, task=ids) < 1.0


# -- the base model -------------------------------------------------------------------


def curve(X):
    return np.exp(2.0 + np.sin(3 * X[:, 0]))


def test_a_base_model_gives_the_shape_and_tasks_their_factor():
    rng = np.random.default_rng(0)
    tasks = []
    for _ in range(60):
        X = rng.uniform(-2, 2, size=(15, 1))
        tasks.append((X, rng.poisson(curve(X) * np.exp(0.5 * rng.normal()))))
    base = make_pipeline(SplineTransformer(8), PoissonRegressor(alpha=1e-3))
    model = EmpiricalBayesPoissonRegressor("intercept", base_estimator=base)
    model.meta_fit(tasks[:50])
    ratio = model.predict(X) / model.base_estimator_.predict(X)
    scores = [model.adapt(X[:5], y[:5]).score(X[5:], y[5:]) for X, y in tasks[50:]]
    assert np.median(scores) > 0.4
    adapted = model.adapt(X[:5], 10 * curve(X[:5]))
    assert (adapted.predict(X) > 2 * model.predict(X)).all()
    assert_allclose(ratio.std() / ratio.mean(), 0.0, atol=0.2)


def test_a_base_model_that_predicts_no_rate_is_raised_above_zero_with_a_warning(tasks):
    # A line through counts falls below zero where they are small.
    what = "The base_estimator predicts a rate of -"
    model = EmpiricalBayesPoissonRegressor(
        "intercept", base_estimator=LinearRegression()
    )
    with pytest.warns(UserWarning, match=what):
        model.meta_fit(tasks)
    with pytest.warns(UserWarning, match=what):
        assert (model.predict([[-9.0, 9.0]]) > 0).all()


# -- what is refused ------------------------------------------------------------------


def test_a_negative_count_is_refused_by_the_name_of_its_task(tasks, model):
    X, y, ids = flat(tasks)
    y = y.copy()
    y[17] = -2.0
    names = np.array([f"shop {i}" for i in ids])
    with pytest.raises(ValueError, match=r"-2 in row 17 of task .shop 2.") as error:
        EmpiricalBayesPoissonRegressor().fit(X, y, task=names)
    assert "EmpiricalBayesRegressor" in str(error.value)
    with pytest.raises(ValueError, match="-1"):
        model.adapt(X[:2], [3.0, -1.0])


def test_counts_that_are_all_zero_are_refused(tasks):
    X, y, ids = flat(tasks)
    with pytest.raises(ValueError, match="zero"):
        EmpiricalBayesPoissonRegressor().fit(X, np.zeros_like(y), task=ids)


# -- in company -----------------------------------------------------------------------


def test_a_model_comes_back_from_a_file_as_it_was(model, new_task):
    X, y = new_task
    adapted = model.adapt(X[:5], y[:5])
    file = io.BytesIO()
    joblib.dump(adapted, file)
    loaded = joblib.load(file)
    assert_array_equal(loaded.predict(X), adapted.predict(X))
    assert_array_equal(loaded.predict_interval(X), adapted.predict_interval(X))


def test_a_model_comes_back_from_skops_trusting_our_names_only(model, new_task):
    skops = pytest.importorskip("skops.io")
    X, y = new_task
    adapted = model.adapt(X[:5], y[:5])
    data = skops.dumps(adapted)
    unknown = skops.get_untrusted_types(data=data)
    assert all(name.startswith("skmeta.") for name in unknown)
    loaded = skops.loads(data, trusted=unknown)
    assert_array_equal(loaded.predict(X), adapted.predict(X))
    assert_array_equal(
        loaded.partial_adapt(X[5:9], y[5:9]).predict(X),
        adapted.partial_adapt(X[5:9], y[5:9]).predict(X),
    )


def test_a_grid_is_searched_by_the_deviance_after_a_few_rows(tasks):
    X, y, ids = flat(tasks[:12])
    pipe = make_pipeline(StandardScaler(), EmpiricalBayesPoissonRegressor())
    name = "empiricalbayespoissonregressor__prior"
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            pipe,
            {name: ["intercept", "isotropic"]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("neg_mean_poisson_deviance", n_support=3),
        ).fit(X, y, task=ids)
    assert search.best_score_ < 0
    assert set(search.cv_results_["rank_test_score"]) <= {1, 2}


def test_it_is_compared_with_the_usual_baselines(tasks):
    X, y, ids = flat(tasks[:25])
    model = EmpiricalBayesPoissonRegressor("intercept", random_state=0)
    result = compare_baselines(
        model,
        X,
        y,
        task=ids,
        n_support=[2],
        n_repeats=1,
        cv=2,
        baselines=["pooled + offset"],
    )
    assert "EmpiricalBayesPoissonRegressor" in str(result)


def test_it_says_that_targets_are_never_negative():
    tags = EmpiricalBayesPoissonRegressor().__sklearn_tags__()
    assert tags.target_tags.positive_only
    assert tags.estimator_type == "regressor"

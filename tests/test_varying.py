"""Columns whose slopes are the same for all tasks, beside those that vary."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn import config_context
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    adapt,
    meta_fit,
)
from skmeta._core.prior import laplace
from skmeta._core.prior.fit import first_fit
from skmeta._core.prior.gaussian import GaussianTasks
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import of_labels
from skmeta._core.prior.noise import NoiseTasks
from skmeta._core.prior.stacks import Stack
from skmeta._core.prior.structures import NONE, Diagonal, place
from skmeta.model_selection import few_shot_scores, make_few_shot_scorer

STRUCTURES = ["intercept", "isotropic", "diagonal", "low_rank", "full"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Intervals are calibrated on fewer draws of rows."""
    monkeypatch.setattr("skmeta._core.prior.calibration.N_GIVEN_DRAWS", 50)
    monkeypatch.setattr("skmeta._core.prior.laplace.SPLITS_IN_ALL", 50)


# -- the core -------------------------------------------------------------------------

P, SIZES = 6, [1, 3, 12, 20, 2, 8]
MASKS = [[0, 1, 5], [5], [0, 4, 5], [1, 4, 5], []]


def mask_of(columns):
    mask = np.zeros(P, dtype=bool)
    mask[columns] = True
    return mask


def rows_of(n_outputs=None):
    """Rows with a column that is constant within tasks, and one that depends on it."""
    rng = np.random.default_rng(0)
    parts = []
    for n in SIZES:
        X = rng.normal(size=(n, P))
        X[:, 2], X[:, 4], X[:, -1] = rng.normal(), 2 * X[:, 1], 1.0
        weight = rng.uniform(0.5, 2.0, n)
        if n_outputs is None:
            parts.append((X, rng.normal(size=n), weight))
        else:
            Y = np.eye(max(n_outputs, 2))[rng.integers(max(n_outputs, 2), size=n)]
            Y = Y[:, :n_outputs]
            parts.append((X, Y, weight, 0.1 * rng.normal(size=Y.shape)))
    return parts


def spread_of(mask, seed=1):
    return np.random.default_rng(seed).normal(size=(len(mask), 4)) * mask[:, None]


@pytest.mark.parametrize("columns", MASKS)
@pytest.mark.parametrize("some", [slice(None), [0, 2, 3, 5]])
def test_to_know_what_is_shared_does_not_change_the_evidence_of_numbers(columns, some):
    mask, some = mask_of(columns), np.arange(len(SIZES))[some]
    L = spread_of(mask)
    known = GaussianTasks.gather(rows_of(), True, varying=mask).subset(some)
    plain = GaussianTasks.gather(rows_of(), True).subset(some)
    found, expected = known.evidence(L), plain.evidence(L)
    for name in ("value", "mean", "noise", "precision"):
        assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)
    assert_allclose((found.D @ L)[mask], (expected.D @ L)[mask], atol=1e-10)
    assert_allclose(
        known.mean_covariance(found), plain.mean_covariance(expected), atol=1e-10
    )


def test_to_know_what_is_shared_does_not_change_the_evidence_of_a_noise_per_task():
    mask, factors = mask_of([0, 5]), (0.5, 1.0, 4.0)
    L, shares = spread_of(mask), np.random.default_rng(3).dirichlet(np.ones(3), 6)
    found, expected = (
        NoiseTasks.of(
            GaussianTasks.gather(rows_of(), True, varying=known), factors, shares
        ).evidence(L)
        for known in (mask, None)
    )
    for name in ("value", "mean", "noise", "precision"):
        assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)
    assert_allclose((found.D @ L)[mask], (expected.D @ L)[mask], atol=1e-10)


@pytest.mark.parametrize("columns", MASKS[:-1])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_to_know_what_is_shared_does_not_change_the_evidence_of_labels(
    columns, n_outputs
):
    likelihood, parts = of_labels(n_outputs), rows_of(n_outputs)
    mask = mask_of(columns)
    every = np.tile(mask, n_outputs)
    L, mean = spread_of(every), np.random.default_rng(2).normal(size=len(every))
    found = LaplaceTasks.gather(parts, likelihood, True, mask).evidence(L, mean)
    expected = LaplaceTasks.gather(parts, likelihood, True).evidence(L, mean)
    for name in ("value", "mean_slope", "precision"):
        assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)
    assert_allclose((found.D @ L)[every], (expected.D @ L)[every], atol=1e-10)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_posterior_in_the_space_of_few_rows_is_that_of_many_unknowns(
    n_outputs, monkeypatch
):
    monkeypatch.setattr(laplace, "MANY_UNKNOWNS", np.inf)
    rng = np.random.default_rng(0)
    stack = Stack.of([tuple(part) for part in rows_of(n_outputs)[:2]])
    mean = rng.normal(size=n_outputs * P)
    factor = 0.3 * rng.normal(size=(n_outputs * P, 30))
    likelihood = of_labels(n_outputs)
    theta, half = laplace._condition_by_rows(likelihood, mean, factor, stack)
    expected, plain = laplace.condition(likelihood, mean, factor, stack)
    assert_allclose(theta, expected, atol=1e-9)
    covariance = plain @ plain.swapaxes(1, 2)
    assert_allclose(half @ half.swapaxes(1, 2), covariance, atol=1e-9)


# -- data -----------------------------------------------------------------------------

CONTEXT_SLOPES = np.array([2.0, -1.0])


def draw(n_tasks=30, n_rows=8, seed=0):
    """Rows with columns x and u, and columns a and b that are known of each task."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    context = rng.normal([10.0, 0.0], [3.0, 0.5], (n_tasks, 2))
    rows = rng.normal([0.0, 5.0], [1.0, 2.0], (len(task), 2))
    X = pd.DataFrame(rows, columns=["x", "u"])
    X["a"], X["b"] = context[task].T
    slopes = 1.0 + 0.7 * rng.normal(size=n_tasks)
    levels = context @ CONTEXT_SLOPES + 0.5 * rng.normal(size=n_tasks)
    y = slopes[task] * X["x"] + 0.4 * X["u"] + levels[task]
    return X, (y + 0.3 * rng.normal(size=len(task))).to_numpy(), task


@pytest.fixture(scope="module")
def data():
    return draw()


def regressor(data, prior="isotropic", **options):
    X, y, task = data
    model = EmpiricalBayesRegressor(prior, random_state=0, **options)
    return model.fit(X, y, task=task)


def same(model, other, X, **tolerance):
    assert_allclose(model.predict(X), other.predict(X), **tolerance)
    assert_allclose(
        model.predict(X, return_std=True)[1],
        other.predict(X, return_std=True)[1],
        **tolerance,
    )


# -- what the model is ----------------------------------------------------------------


def test_it_is_the_mixed_model_of_greatest_likelihood():
    """y ~ x + u + a + b + (1 + x | task), written out and maximised by SciPy."""
    X, y, task = draw(25, 6)
    columns = np.column_stack([X, np.ones(len(y))])
    own = columns[:, [4, 0]]

    def minus_log_likelihood(numbers):
        L = np.array([[numbers[0], 0.0], numbers[1:3]])
        noise = np.exp(numbers[3])
        V = own @ L @ L.T @ own.T * (task[:, None] == task) + noise * np.eye(len(y))
        inverse = np.linalg.inv(V)
        mean = np.linalg.solve(columns.T @ inverse @ columns, columns.T @ inverse @ y)
        return -multivariate_normal(columns @ mean, V).logpdf(y)

    best = minimize(minus_log_likelihood, [0.5, 0.0, 0.7, -2.0], method="BFGS")
    # a direction beside a diagonal is any covariance of two coefficients
    model = regressor((X, y, task), "low_rank", varying=["x"], tol=1e-6)
    assert_allclose(model.log_marginal_likelihood_, -best.fun, atol=1e-4)
    L = np.array([[best.x[0], 0.0], best.x[1:3]])
    assert_allclose(
        model.prior_covariance_[np.ix_([4, 0], [4, 0])], L @ L.T, rtol=5e-3, atol=1e-3
    )
    assert_allclose(model.noise_variance_, np.exp(best.x[3]), rtol=2e-3)


def test_a_shared_column_is_one_whose_spread_is_left_out(data):
    X, y, task = data
    model = regressor(data, varying=["x"], noise="shared")
    Z = np.column_stack([(X - X.mean()) / X.std(ddof=0), np.ones(len(y))])
    target = (y - y.mean()) / y.std()
    parts = [(Z[task == t], target[task == t], np.ones(8)) for t in range(30)]
    tasks = GaussianTasks.gather(parts, True)
    structure = Diagonal(np.array([0, NONE, NONE, NONE, 1]))
    prior = first_fit(tasks, place(structure, tasks), tol=1e-6)
    expected = prior.log_evidence - len(y) * np.log(y.std())
    assert_allclose(model.log_marginal_likelihood_, expected, atol=1e-6)
    spread = np.sqrt(np.diag(prior.covariance))[:4] * y.std() / X.std(ddof=0)
    found = np.sqrt(np.diag(model.prior_covariance_))[:4]
    assert_allclose(found, spread, rtol=1e-3)


@pytest.mark.parametrize(
    ("prior", "standardize"), [*((one, True) for one in STRUCTURES), ("full", False)]
)
def test_shared_columns_have_no_spread_in_any_structure(data, prior, standardize):
    model = regressor(data, prior, varying=["x", "u"], standardize=standardize)
    covariance = model.prior_covariance_
    shared = [2, 3]
    assert not covariance[shared].any()
    assert not covariance[:, shared].any()
    assert covariance[-1, -1] > 0.01
    assert model.prior_structure_ == prior
    assert_array_equal(model.varying_, [True, True, False, False])


def test_isotropic_is_one_spread_of_the_columns_that_vary(data):
    X, _, _ = data
    model = regressor(data, "isotropic", varying=["x", "u"])
    spread = np.sqrt(np.diag(model.prior_covariance_))[:2] * X.std(ddof=0)[:2]
    assert_allclose(spread.iloc[0], spread.iloc[1], rtol=1e-9)


def test_without_any_column_that_varies_only_intercepts_differ(data):
    X, _, _ = data
    model, other = regressor(data, "auto", varying=[]), regressor(data, "intercept")
    assert model.prior_structure_ == "intercept"
    same(model.adapt(*few(data)), other.adapt(*few(data)), X, rtol=1e-3)


def few(data, task=3, n=3):
    X, y, ids = data
    rows = np.flatnonzero(ids == task)[:n]
    return X.iloc[rows], y[rows]


# -- how it is said -------------------------------------------------------------------


def test_names_numbers_and_masks_say_the_same(data):
    X, _, _ = data
    first = regressor(data, varying=["u", "x"])
    for varying in ([0, 1], np.array([True, True, False, False]), X.columns[:2]):
        model = regressor(data, varying=varying)
        assert_array_equal(model.varying_, first.varying_)
        assert_array_equal(model.predict(X), first.predict(X))


def test_auto_shares_the_columns_that_are_constant_within_every_task(data):
    X, y, task = data
    X = X.assign(c=1.0)
    model = regressor((X, y, task), varying="auto")
    assert_array_equal(model.varying_, [True, True, False, False, False])
    same(model, regressor((X, y, task), varying=["x", "u"]), X)


def test_rounding_does_not_make_a_column_vary(data):
    X, y, task = data
    X = X.assign(a=X["a"] * (1 + 1e-16 * np.arange(len(X))), b=X["b"] + 1e6)
    assert_array_equal(
        regressor((X, y, task), varying="auto").varying_, [True, True, False, False]
    )


@pytest.mark.filterwarnings("ignore")
def test_auto_counts_tasks_of_one_row_only_where_there_are_longer_ones(data):
    X, y, task = draw(12, 6)
    one_each = np.arange(len(y))
    model = EmpiricalBayesClassifier("isotropic", varying="auto", random_state=0)
    assert model.fit(X, y > y.mean(), task=one_each).varying_.all()
    long = np.where(task == 0, 0, one_each + 1)
    assert_array_equal(
        regressor((X, y, long), varying="auto").varying_, [True, True, False, False]
    )


def test_without_an_intercept_a_column_of_ones_takes_its_place(data):
    X, y, task = data
    model = regressor((X.assign(c=1.0), y, task), varying="auto", fit_intercept=False)
    assert_array_equal(model.varying_, [True, True, False, False, True])


def test_with_a_single_task_nothing_could_differ(data):
    X, y, _ = data
    model = EmpiricalBayesRegressor(varying=["x"]).fit(X, y)
    assert not hasattr(model, "varying_")
    assert_array_equal(model.predict(X), EmpiricalBayesRegressor().fit(X, y).predict(X))


def test_an_earlier_fit_leaves_nothing_behind(data):
    X, y, task = data
    model = regressor(data, varying=["x"]).set_params(varying="all")
    assert not hasattr(model.fit(X, y, task=task), "varying_")


@pytest.mark.parametrize(
    ("varying", "message"),
    [
        (["x", "price"], r"name 'price', which is no column of X.*\['x', 'u', 'a'"),
        ([0, 4], r"column 4, but X has 4 columns.*from 0 to 3"),
        ([-1], r"column -1, but X has 4 columns"),
        ([True, False], r"mask of 2 columns, but X has 4"),
        (["x", 1], r"all of one kind; got \['x', 1\]"),
        ([0.5], r"all of one kind; got \[0.5\]"),
        ("x", r"must be a str among .* or an array-like. Got 'x'"),
    ],
)
def test_what_is_not_there_cannot_vary(data, varying, message):
    with pytest.raises(ValueError, match=message):
        regressor(data, varying=varying)


def test_names_need_a_table_that_has_them(data):
    X, y, task = data
    with pytest.raises(ValueError, match=r"\['x'\] are names, but X has no names"):
        regressor((X.to_numpy(), y, task), varying=["x"])


def test_something_must_be_able_to_differ(data):
    with pytest.raises(ValueError, match=r"nothing could differ between tasks"):
        regressor(data, "auto", varying=[], fit_intercept=False)


# -- what it is worth -----------------------------------------------------------------


def test_a_new_task_is_predicted_from_what_is_known_of_it(data):
    """Before any row, as well as by one who knows the slopes of the context."""
    X, y, task = draw(200, seed=1)
    model = regressor(draw(200, seed=2), varying="auto")
    oracle = X["x"] + 0.4 * X["u"] + X[["a", "b"]] @ CONTEXT_SLOPES
    found, best = (np.mean((y - guess) ** 2) for guess in (model.predict(X), oracle))
    assert found < 1.03 * best
    without = regressor((X[["x", "u"]], y, task))
    assert best < 0.1 * np.mean((y - without.predict(X[["x", "u"]])) ** 2)


def test_deviations_before_any_row_hold_the_error_of_shared_slopes():
    """With few tasks the slopes of the context are not well known."""
    ratios = []
    for seed in range(10):
        model = regressor(draw(8, 5, seed=100 + seed), "diagonal", varying="auto")
        X, y, _ = draw(8, 5, seed=200 + seed)
        mean, deviation = model.predict(X, return_std=True)
        ratios.append(np.mean((y - mean) ** 2 / deviation**2))
    assert 0.5 < np.median(ratios) < 1.6


def test_questions_are_not_asked_to_learn_shared_slopes(data):
    model = regressor(data, varying=["x"])
    X, _, _ = data
    pool = pd.DataFrame([X.mean()] * 3)
    pool.loc[0, "u"] += 4 * X["u"].std()
    pool.loc[1, "x"] += X["x"].std()
    pool.loc[2, "a"] += 4 * X["a"].std()
    assert model.suggest_queries(pool, 1)[0] == 1


# -- what does not matter -------------------------------------------------------------


@pytest.mark.parametrize("prior", ["diagonal", "full"])
def test_the_order_of_columns_does_not_matter(data, prior):
    X, y, task = data
    order = ["b", "x", "a", "u"]
    model = regressor(data, prior, varying=["x", "b"])
    other = regressor((X[order], y, task), prior, varying=["x", "b"])
    adapted, again = model.adapt(*few(data)), other.adapt(few(data)[0][order], y[24:27])
    assert_allclose(again.predict(X[order]), adapted.predict(X), rtol=1e-4)
    assert_allclose(other.prior_coef_[[1, 3, 2, 0]], model.prior_coef_, rtol=1e-4)


def test_units_do_not_matter(data):
    X, y, task = data
    units = np.array([1e3, 1e-4, 7.0, 1e-2])
    model = regressor(data, varying="auto")
    other = regressor((X * units, 5.0 * y, task), varying="auto")
    assert_allclose(other.predict(X * units), 5.0 * model.predict(X), rtol=1e-6)
    assert_allclose(other.prior_coef_ * units, 5.0 * model.prior_coef_, rtol=1e-5)


def test_the_order_of_rows_and_portions_does_not_matter(data):
    X, y, task = data
    order = np.random.default_rng(0).permutation(len(y))
    model = regressor(data, varying=["x"])
    other = regressor((X.iloc[order], y[order], task[order]), varying=["x"])
    assert_array_equal(other.predict(X), model.predict(X))
    portions = model.adapt(X[4:7], y[4:7]).partial_adapt(X[:4], y[:4])
    same(portions, model.adapt(X[:7], y[:7]), X, rtol=1e-9)


def test_a_sparse_table_is_the_same_table(data):
    X, y, task = data
    model = regressor((X.to_numpy(), y, task), varying="auto")
    other = regressor((sparse.csr_matrix(X), y, task), varying="auto")
    assert_array_equal(model.varying_, other.varying_)
    assert_allclose(model.prior_coef_, other.prior_coef_, rtol=1e-8)


# -- beside other options -------------------------------------------------------------


def test_a_base_model_may_stand_beneath(data):
    X, _, _ = data
    tree = DecisionTreeRegressor(max_depth=3, random_state=0)
    for target in ("residual", "y"):
        model = regressor(data, varying=["x"], base_estimator=tree, base_target=target)
        assert_array_equal(model.varying_, [True, False, False, False])
        assert np.isfinite(model.adapt(*few(data)).predict(X)).all()


@pytest.mark.parametrize(
    "kind", [EmpiricalBayesRegressor, EmpiricalBayesClassifier], ids=["numbers", "two"]
)
def test_learned_features_vary_and_shared_columns_still_do_not(kind):
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(40), 15)
    X = np.column_stack([rng.uniform(-3, 3, len(task)), rng.normal(size=40)[task]])
    y = rng.normal(size=40)[task] * 5 * np.sin(2 * X[:, 0]) + 3 * X[:, 1]
    if kind is EmpiricalBayesClassifier:
        y = y + rng.logistic(size=len(y)) > 0
    else:
        y = y + 0.1 * rng.normal(size=len(y))
    features = LearnedFeatures((16,), n_components=4, learning_rate=1e-2, max_iter=40)
    model = kind("isotropic", varying="auto", features=features, random_state=0)
    model.fit(X, y, task=task)
    learned = model._learned
    assert model.n_feature_iter_ > 0
    assert_array_equal(learned.design.varying, [True] * 5 + [False, True])
    assert not learned.spread[5].any()
    assert learned.factor[5].any()
    assert np.isfinite(model.adapt(X[:10], y[:10]).predict(X)).all()


def test_labels_have_shared_columns_too():
    X, y, task = draw(20)
    labels = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    model = EmpiricalBayesClassifier("isotropic", varying="auto", random_state=0)
    model.fit(X, labels, task=task)
    variances = np.diag(model.prior_covariance_).reshape(-1, 5)
    assert_array_equal(model.varying_, [True, True, False, False])
    assert not variances[:, 2:4].any()
    portions = model.adapt(X[4:7], labels[4:7]).partial_adapt(X[:4], labels[:4])
    together = model.adapt(X[:7], labels[:7])
    assert_allclose(
        portions.predict_proba(X), together.predict_proba(X), rtol=1e-6, atol=1e-9
    )
    without = EmpiricalBayesClassifier("intercept", random_state=0)
    without.fit(X[["x", "u"]], labels, task=task)
    assert np.mean(model.predict(X) == labels) > 0.1 + np.mean(
        without.predict(X[["x", "u"]]) == labels
    )


def test_names_reach_through_a_pipeline(data):
    X, y, task = data
    transformer = make_column_transformer(
        (StandardScaler(), ["x", "u"]),
        (PolynomialFeatures(include_bias=False), ["a", "b"]),
        verbose_feature_names_out=False,
    )
    pipe = make_pipeline(
        transformer, EmpiricalBayesRegressor(varying=["x"], random_state=0)
    ).set_output(transform="pandas")
    meta_fit(pipe, {t: (X[task == t], y[task == t]) for t in range(30)})
    assert list(pipe[-1].feature_names_in_[pipe[-1].varying_]) == ["x"]
    adapted = adapt(pipe, *few(data))
    assert adapted.score(X[task == 3], y[task == 3]) > 0.5


def test_a_grid_may_choose_what_varies(data):
    X, y, task = draw(8, 4)
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            EmpiricalBayesRegressor("isotropic", random_state=0),
            {"varying": ["all", "auto"]},
            cv=GroupKFold(2).set_split_request(groups="task"),
            scoring=make_few_shot_scorer("r2", n_support=2),
        ).fit(X, y, task=task)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scores = few_shot_scores(search.best_estimator_, X, y, task=task, n_support=2)
    assert np.isfinite(scores).all()


def test_a_model_on_disk_knows_what_varies(data):
    X, _, _ = data
    model = regressor(data, varying=["x"])
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.varying_, model.varying_)
    same(again.adapt(*few(data)), model.adapt(*few(data)), X)


def test_shared_slopes_of_equal_rows_are_those_of_least_squares():
    """If tasks do not differ, the mean is that of all rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=300)
    model = regressor((X, y, np.arange(300) % 30), varying=[])
    expected = LinearRegression().fit(X, y).coef_
    assert_allclose(model.prior_coef_, expected, atol=0.02)

"""What a fit finds, against exact maximum likelihood, in any units and sizes."""

import warnings
from functools import cache, partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import OneHotEncoder

from skmeta import EmpiricalBayesClassifier as Classifier
from skmeta import EmpiricalBayesRegressor

# The references have one noise for all tasks.
Regressor = partial(EmpiricalBayesRegressor, noise="shared")

pytestmark = pytest.mark.filterwarnings("error")

BOTH_SETTINGS = pytest.mark.parametrize("standardize", [True, False])


def random_intercepts(sizes, spread, seed=0, d=1, noise=1.0):
    """Rows X (n, d), targets and ids of tasks that differ in their level."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(ids), d))
    levels = spread * rng.normal(size=len(sizes))[ids]
    return X, 5 + 2 * X[:, 0] + levels + noise * rng.normal(size=len(ids)), ids


def exact_maximum(X, y, ids):
    """Log likelihood, spread and noise variance at the maximum, by a plain search."""
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(y))])
    unit = y.std()
    z = (y - y.mean()) / unit
    n_of = np.bincount(ids)
    columns = np.column_stack([X, z])
    sums = np.stack([np.bincount(ids, c) for c in columns.T], axis=1)

    def profile(log_ratio):
        ratio = np.exp(log_ratio)  # the ratio of the variances of spread and noise
        share = ratio / (1 + ratio * n_of)
        M = columns.T @ columns - (sums * share[:, None]).T @ sums
        mean = np.linalg.lstsq(M[:-1, :-1], M[:-1, -1], rcond=None)[0]
        noise = (M[-1, -1] - M[:-1, -1] @ mean) / len(y)
        log_det = np.log1p(ratio * n_of).sum()
        value = -0.5 * (len(y) * (np.log(2 * np.pi * noise * unit**2) + 1) + log_det)
        return value, ratio, noise * unit**2

    starts = np.linspace(-14, 14, 57)
    best = max(starts, key=lambda start: profile(start)[0])
    found = minimize_scalar(
        lambda x: -profile(x)[0], bounds=(best - 0.6, best + 0.6), method="bounded"
    )
    value, ratio, noise = profile(found.x)
    return value, np.sqrt(ratio * noise), noise


def spread_of(model):
    return np.sqrt(model.prior_covariance_[-1, -1])


# -- the maximum ----------------------------------------------------------------------


def test_many_tasks_of_one_row_do_not_dilute_what_a_few_long_ones_say():
    table = random_intercepts(np.r_[np.ones(3000, int), np.full(10, 20)], 2.0)
    X, y, ids = table
    value, spread, noise = exact_maximum(*table)
    for prior in ("intercept", "auto"):
        model = Regressor(prior, random_state=0).fit(X, y, task=ids)
        assert model.log_marginal_likelihood_ > value - 0.01
        assert model.n_iter_ > 1
    assert_allclose(spread_of(model), spread, rtol=1e-3)
    assert_allclose(model.noise_variance_, noise, rtol=1e-3)


def test_a_richer_structure_is_never_below_the_simpler_one_in_it():
    X, y, ids = random_intercepts(np.full(2010, 3), 1.0, d=2)
    found = [
        Regressor(prior, random_state=0).fit(X, y, task=ids).log_marginal_likelihood_
        for prior in ("intercept", "isotropic", "diagonal")
    ]
    assert found[0] >= exact_maximum(X, y, ids)[0] - 0.01
    assert (np.diff(found) > -1e-3).all()
    # "full" shrinks correlations, and "low_rank" shares its directions
    for prior in ("low_rank", "full"):
        model = Regressor(prior, random_state=0).fit(X, y, task=ids)
        assert model.log_marginal_likelihood_ >= found[2] - 1e-2


@pytest.mark.parametrize("seed", range(8))
def test_the_evidence_is_that_of_exact_maximum_likelihood_in_odd_units(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, rng.choice([4, 9, 20]), size=rng.integers(8, 40)) + 1
    spread = rng.choice([0.0, 0.1, 0.5, 3.0, 1000.0])
    X, y, ids = random_intercepts(sizes, spread, seed, d=2)
    X = X * 10 ** rng.uniform(-9, 9, size=2)
    X += X.std(axis=0) * 10 ** rng.uniform(-2, 5, size=2)
    y = (y + y.std() * 10 ** rng.uniform(-2, 6)) * 10 ** rng.uniform(-12, 12)
    model = Regressor("intercept", standardize=seed % 2 == 0).fit(X, y, task=ids)
    found = model.log_marginal_likelihood_
    assert_allclose(found, exact_maximum(X, y, ids)[0], atol=1e-3)


def test_a_search_that_ends_early_says_so():
    X, y, ids = random_intercepts(np.full(50, 5), 2.0, d=3)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        Regressor("full", max_iter=1, random_state=0).fit(X, y, task=ids)


# -- units ----------------------------------------------------------------------------


@cache
def model_in_plain_units(standardize):
    """A model that no test may change, and its rows."""
    table = X, y, ids = random_intercepts(np.full(25, 8), 1.0, d=2)
    model = Regressor(standardize=standardize, random_state=0)
    return model.fit(X, y, task=ids), table


@BOTH_SETTINGS
@pytest.mark.parametrize(
    ("unit", "origin"), [(1e-9, 0.0), (1e-6, 1e3), (1e6, 0.0), (1e12, 1.0), (1.0, 1e10)]
)
def test_units_and_origin_of_the_targets_do_not_matter(unit, origin, standardize):
    one, (X, y, ids) = model_in_plain_units(standardize)
    other = Regressor(standardize=standardize, random_state=0)
    other.fit(X, (y + origin) * unit, task=ids)
    assert one.prior_structure_ == other.prior_structure_
    assert_allclose(other.prior_coef_ / unit, one.prior_coef_, rtol=1e-4)
    assert_allclose(other.noise_variance_ / unit**2, one.noise_variance_, rtol=1e-4)
    assert_allclose(spread_of(other) / unit, spread_of(one), rtol=1e-4)
    low, high = (
        (model.adapt(X[:3], t[:3]).predict(X) - shift) / scale
        for model, t, shift, scale in (
            (one, y, 0.0, 1.0),
            (other, (y + origin) * unit, origin * unit, unit),
        )
    )
    assert_allclose(low, high, atol=1e-4)


@pytest.mark.parametrize("cls", [Regressor, Classifier])
@pytest.mark.parametrize(
    ("unit", "origin"),
    [((3e4, 1.0), (0.0, 0.0)), ((1e-3, 1e3), (0.0, 0.0)), ((5.0, 1.0), (2000.0, 0.0))],
)
def test_units_of_pooled_columns_do_not_matter_without_standardize(cls, unit, origin):
    X, y, ids = random_intercepts(np.full(21, 8), 1.0, d=2)
    if cls is Classifier:
        y = (y > np.median(y)).astype(int)
    told = [
        cls("intercept", standardize=standardize, random_state=0).fit(
            X * unit + origin, y, task=ids
        )
        for standardize in (True, False)
    ]
    plain = cls("intercept", random_state=0).fit(X, y, task=ids)
    for model in told:
        assert_allclose(
            np.ravel(model.prior_coef_) * unit, np.ravel(plain.prior_coef_), rtol=1e-4
        )
        assert_allclose(spread_of(model), spread_of(plain), rtol=1e-3)
        assert_allclose(
            model.log_marginal_likelihood_, plain.log_marginal_likelihood_, atol=1e-3
        )


def test_without_standardize_one_spread_is_that_of_slopes_in_the_users_units():
    rng = np.random.default_rng(0)
    unit = np.array([1.0, 100.0])
    ids = np.repeat(np.arange(200), 12)
    X = rng.normal(size=(2400, 2)) * unit + 50.0
    slopes = 0.3 * rng.normal(size=(200, 2))  # equal spreads in the user's units
    y = (X * slopes[ids]).sum(axis=1) + rng.normal(size=2400)
    model = Regressor("isotropic", standardize=False, random_state=0)
    model.fit(X, y, task=ids)
    deviation = np.sqrt(np.diag(model.prior_covariance_))
    assert_allclose(deviation[0], deviation[1], rtol=1e-6)
    assert_allclose(deviation[:2], 0.3, rtol=0.15)


@BOTH_SETTINGS
@pytest.mark.parametrize("ratio", [400.0, 1e6])
def test_a_column_far_from_zero_is_right_without_an_intercept(ratio, standardize):
    X, y, ids = random_intercepts(np.full(60, 8), 0.0)
    far = np.column_stack([np.ones(len(y)), ratio + X[:, 0]])
    model = Regressor(
        "isotropic", fit_intercept=False, standardize=standardize, random_state=0
    ).fit(far, y, task=ids)
    expected = np.polyfit(X[:, 0], y, 1)[0]
    assert_allclose(model.prior_coef_[1], expected, rtol=1e-3)


# -- what the rows tell ---------------------------------------------------------------


@pytest.mark.parametrize("prior", ["auto", "intercept", "isotropic", "full"])
@pytest.mark.parametrize("spread", [0.0, 5.0])
def test_tasks_of_one_row_do_not_show_a_spread_and_none_is_invented(prior, spread):
    X, y, ids = random_intercepts(np.ones(60, int), spread)
    with pytest.warns(UserWarning, match="No task has more than one row"):
        model = Regressor(prior, random_state=0).fit(X, y, task=ids)
    if prior == "intercept":
        assert spread_of(model) < 1e-3 * np.sqrt(model.noise_variance_)


@pytest.mark.parametrize("prior", ["isotropic", "diagonal", "full"])
def test_two_rows_per_task_do_not_show_a_spread_of_slopes(prior):
    rng = np.random.default_rng(0)
    X = np.tile([[0.0], [1.0]], (100, 1))
    y = X[:, 0] + rng.normal(size=100).repeat(2) + 0.3 * rng.normal(size=200)
    with pytest.warns(UserWarning, match="No task has more than 2 rows"):
        Regressor(prior, random_state=0).fit(X, y, task=np.arange(100).repeat(2))


@pytest.mark.parametrize("ratio", [1e3, 1e6])
def test_a_spread_a_million_times_the_noise_is_found(ratio):
    X, y, ids = random_intercepts(np.full(100, 10), ratio)
    levels = np.bincount(ids, y) / np.bincount(ids)  # the levels are practically known
    model = Regressor("intercept", random_state=0).fit(X, y, task=ids)
    assert_allclose(spread_of(model), levels.std(), rtol=1e-2)
    assert_allclose(np.sqrt(model.noise_variance_), 1.0, rtol=0.1)
    assert_allclose(model.prior_coef_, 2.0, atol=0.2)


def test_levels_without_noise_end_on_a_bound_with_a_warning():
    X, y, ids = random_intercepts(np.full(30, 6), 1.0, noise=0.0)
    with pytest.warns(UserWarning, match="largest that rounding allows"):
        model = Regressor("intercept", random_state=0).fit(X, y, task=ids)
    adapted = model.adapt(X[:1], y[:1])
    mean, deviation = adapted.predict(X[:6], return_std=True)
    assert_allclose(mean, y[:6], atol=1e-5)
    assert (deviation < 1e-3).all()


def test_order_of_rows_and_units_do_not_move_a_model():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 10, size=rng.integers(3, 20))
        X, y, ids = random_intercepts(sizes, rng.choice([0.0, 1.0, 5.0]), seed, d=3)
        # a collinear or constant column
        X[:, 2] = [2 * X[:, 0] + 1, 3.0, X[:, 1]][seed % 3]
        turned = np.lexsort((-np.arange(len(y)), ids))
        unit = 10 ** rng.uniform(-6, 6, size=3)
        variants = [(X, y, ids), (X[turned], y[turned], ids[turned])]
        variants.append((X * unit, 1e5 * y, ids))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            models = [
                Regressor("diagonal", random_state=0).fit(X, y, task=ids)
                for X, y, ids in variants
            ]
        expected = models[0].adapt(X[:2], y[:2]).predict(X)
        found = models[1].adapt(X[:2], y[:2]).predict(X)
        in_units = models[2].adapt(X[:2] * unit, 1e5 * y[:2]).predict(X * unit)
        assert_allclose(found, expected, atol=1e-6 * y.std())
        assert_allclose(in_units / 1e5, expected, atol=1e-6 * y.std())


# -- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Regressor, Classifier])
def test_weights_far_below_one_warn_once(cls):
    X, y, ids = random_intercepts(np.full(60, 8), 1.0)
    if cls is Classifier:
        y = (y > np.median(y)).astype(int)
    with pytest.warns(UserWarning, match="mean sample weight of a row is 0.0021") as w:
        cls("intercept", random_state=0).fit(X, y, np.full(480, 1 / 480), task=ids)
    assert len(w) == 1


def test_weights_that_sum_to_one_do_not_draw_slopes_to_zero():
    X, y, ids = random_intercepts(np.full(60, 8), 0.0)
    with pytest.warns(UserWarning, match="mean sample weight"):
        model = Regressor("intercept").fit(X, y, np.full(480, 1 / 480), task=ids)
    assert_allclose(model.prior_coef_, np.polyfit(X[:, 0], y, 1)[0], rtol=1e-3)


@pytest.mark.parametrize("weight", [1e50, 1.7e308])
def test_weights_with_sums_that_are_too_large_are_refused(weight):
    X, y, ids = random_intercepts(np.full(20, 5), 1.0)
    with pytest.raises(ValueError, match="by their mean"):
        Regressor().fit(X, y, np.full(100, weight), task=ids)


def test_weights_of_ten_thousand_million_are_as_many_rows():
    X, y, ids = random_intercepts(np.full(40, 12), 1.0)
    model = Regressor("intercept").fit(X, y, np.full(480, 1e10), task=ids)
    assert_allclose(spread_of(model), 1.0, rtol=0.35)
    assert_allclose(model.prior_coef_, 2.0, rtol=0.1)


def test_numbers_whose_squares_cannot_be_summed_are_refused():
    X, y, ids = random_intercepts(np.full(20, 5), 1.0)
    with pytest.raises(ValueError, match="X holds"):
        Regressor().fit(X * 1e200, y, task=ids)
    with pytest.raises(ValueError, match="y holds"):
        Regressor().fit(X, y * 1e200, task=ids)


def test_numbers_whose_squares_underflow_still_count():
    X, y, ids = random_intercepts(np.full(20, 5), 1.0)
    plain = Regressor("intercept").fit(X, y, task=ids)
    tiny = Regressor("intercept").fit(X * 1e-200, y * 1e-200, task=ids)
    assert_allclose(tiny.predict(X * 1e-200) / 1e-200, plain.predict(X), rtol=1e-7)


# -- directions that no row looked at -------------------------------------------------


def categories(n_tasks=30, n_rows=20):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(n_tasks), n_rows)
    kind = rng.integers(0, 3, size=len(ids))
    y = rng.normal(0, 2, size=n_tasks)[ids] + kind + rng.normal(size=len(ids))
    return kind[:, None], y, ids


@pytest.mark.parametrize("prior", ["auto", "intercept", "diagonal"])
def test_an_unseen_category_is_as_uncertain_as_targets_are_spread(prior):
    kind, y, ids = categories()
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(kind)
    X = encoder.transform(kind)
    model = Regressor(prior, random_state=0).fit(X, y, task=ids)
    unseen = np.zeros((5, 3))
    for each in (model, model.adapt(X[:5], y[:5])):
        deviation = each.predict(unseen[:1], return_std=True)[1]
        assert 0.5 * y.std() < deviation < 3 * y.std()
    known = np.tile([[0.0, 1.0, 0.0]], (5, 1))
    before = model.predict(known[:1])
    moved = model.adapt(unseen, np.full(5, before + 10)).predict(known[:1]) - before
    assert 1.0 < moved < 10.0


@pytest.mark.parametrize("value", [0.0, 1.0, 7.0])
def test_a_column_constant_in_training_is_as_uncertain_as_targets_are_spread(value):
    X, y, ids = random_intercepts(np.full(40, 10), 1.0)
    X = np.column_stack([X, np.full(len(y), value)])
    model = Regressor(random_state=0).fit(X, y, task=ids)
    new = np.array([[0.0, value + 1.0]])
    deviation = model.predict(new, return_std=True)[1]
    assert 0.3 * y.std() < deviation < 3 * y.std()


def test_a_direction_that_rows_cover_is_not_pulled_by_the_prior():
    X, y, ids = random_intercepts(np.full(40, 10), 1.0)
    model = Regressor("intercept", random_state=0).fit(X, y, task=ids)
    covariance = spread_of(model) ** 2 * (ids[:, None] == ids)
    covariance += model.noise_variance_ * np.eye(len(y))
    design = np.column_stack([X, np.ones(len(y))])
    weighted = np.linalg.solve(covariance, design)
    slope, level = np.linalg.solve(weighted.T @ design, weighted.T @ y)
    assert_allclose(model.prior_coef_, slope, rtol=1e-8)
    assert_allclose(model.prior_intercept_, level, rtol=1e-8)


def test_slopes_pulled_to_zero_because_of_few_rows_warn():
    rng = np.random.default_rng(0)
    X, y, ids = rng.normal(size=(14, 4)), rng.normal(size=14), np.arange(14) // 3
    with pytest.warns(UserWarning, match="14 rows for 5 coefficients"):
        Regressor("intercept").fit(X, y, task=ids)


# -- noise that short tasks cannot show -----------------------------------------------


def quickly_fitted(tasks):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # of a spread on its bound
        return EmpiricalBayesRegressor(max_iter=60, random_state=0).meta_fit(tasks)


def test_rounded_targets_of_short_tasks_are_not_taken_for_exact_ones():
    """13 columns and 5 rows of each task: a rich prior explains all without noise."""
    rng = np.random.default_rng(1)
    profiles = rng.choice([-1.0, 1.0], size=(20, 13))

    def rated(n_rows):
        X = profiles[rng.permutation(20)[:n_rows]]
        level = 5 + 2 * rng.normal()
        worth = np.r_[1.0, 0.5, np.zeros(11)] + 0.6 * rng.normal(size=13)
        return X, np.clip(np.round(level + X @ worth + rng.normal(size=n_rows)), 0, 10)

    tasks, new = [rated(5) for _ in range(50)], [rated(20) for _ in range(20)]
    model = quickly_fitted(tasks)
    assert model.noise_variance_ > 0.1
    errors = [model.adapt(X[:8], y[:8]).predict(X[8:]) - y[8:] for X, y in new]
    assert np.sqrt(np.mean(np.square(errors))) < 2.5


def test_exact_targets_of_short_tasks_are_found_exact_where_tasks_show_it():
    rng = np.random.default_rng(0)
    direction = rng.normal(size=6)

    def exact(n_rows):
        X = rng.normal(size=(n_rows, 6))
        return X, X @ (1 + rng.normal() * direction)

    tasks, (X, y) = [exact(6) for _ in range(30)], exact(12)
    model = quickly_fitted(tasks)
    few = model.adapt(X[:4], y[:4])
    assert model.prior_structure_ == "low_rank"
    assert_allclose(few.predict(X[4:]), y[4:], atol=1e-2 * np.std(y))

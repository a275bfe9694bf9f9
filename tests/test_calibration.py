"""Widths of prediction intervals, against the share of targets that they hold."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm
from scipy.stats import t as student

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor
from skmeta._core.prior.calibration import (
    N_LEVELS,
    HeldOut,
    interval_levels,
    known_variances,
    predictive_variances,
    start_variance,
    width,
)
from skmeta._core.prior.gaussian import GaussianTasks, condition
from skmeta._core.prior.search import StructureSearch

NOISES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy-tailed": lambda rng, n: rng.standard_t(3, size=n),
}


def draw(n_tasks, n, noise, rng):
    """Tasks (X, Y, weight, offset) of a slope and an intercept."""
    parts = []
    for _ in range(n_tasks):
        X = np.column_stack([rng.normal(size=n), np.ones(n)])
        y = X @ rng.normal([1.0, 0.0], 0.7) + noise(rng, n)
        parts.append((X, y[:, None], np.ones(n), np.zeros((n, 1))))
    return parts


def search(parts):
    tasks = GaussianTasks.gather(
        [(X, Y[:, 0], weight) for X, Y, weight, _ in parts], True
    )
    return StructureSearch(
        tasks, (1, 1, True), np.random.RandomState(0), tol=1e-5, max_iter=500
    )


def gathered(parts):
    return GaussianTasks.gather(
        [(X, Y[:, 0], weight) for X, Y, weight, _ in parts], True
    )


def unseen(parts, folds):
    """Held-out tasks, with the prior learned from the others."""
    return [
        HeldOut(
            fold.prior,
            fold.prior.mean,
            known_variances(
                gathered([parts[t] for t in fold.kept]),
                fold.prior.factor,
                fold.prior.noise,
            )[0],
            [parts[t] for t in fold.held_out],
        )
        for fold in folds
    ]


def measured(parts, folds, seed=0, variance=None):
    rng = np.random.RandomState(seed)
    return interval_levels(unseen(parts, folds), variance, rng)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("kind", NOISES)
def test_intervals_hold_the_share_of_new_targets_that_is_asked_for(kind, coverage):
    rng = np.random.default_rng(0)
    parts = draw(150, 15, NOISES[kind], rng)
    chosen = search(parts).run("isotropic")
    levels, worth = measured(parts, chosen.folds)
    held, prior = [], chosen.prior
    for X, Y, weight, _ in draw(400, 25, NOISES[kind], rng):
        mean, factor = condition(
            prior.mean, prior.factor, prior.noise, X[:5], Y[:5, 0], weight[:5]
        )
        deviation = np.sqrt(((X[5:] @ factor) ** 2).sum(axis=1) + prior.noise)
        error = np.abs(Y[5:, 0] - X[5:] @ mean)
        held.append(error < width(levels, worth, coverage, 5, 1e6) * deviation)
    assert abs(np.mean(held) - coverage) < 0.025


def test_heavy_tails_narrow_the_middle_and_widen_the_ends():
    parts = draw(150, 15, NOISES["heavy-tailed"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    levels, worth = measured(parts, folds)
    assert width(levels, worth, 0.5, 5, 1e6) < 0.9 * norm.ppf(0.75)
    assert width(levels, worth, 0.99, 5, 1e6) > 1.1 * norm.ppf(0.995)


def test_levels_grow_and_are_not_negative():
    parts = draw(20, 15, NOISES["normal"], np.random.default_rng(0))
    levels, worth = measured(parts, search(parts).run("isotropic").folds)
    assert levels.shape == (len(worth), N_LEVELS)
    assert (np.diff(levels) >= 0).all() and (levels[:, 0] >= 0).all()
    assert np.isfinite(levels).all()
    assert (worth > 0).all()


@pytest.mark.parametrize("freedom", [1.0, 3.5, 1e9])
def test_with_no_errors_widths_are_those_of_students_t(freedom):
    levels, worth = interval_levels([], None, np.random.RandomState(0))
    assert not worth.any()
    for coverage in (0.5, 0.9, 0.99):
        expected = student.ppf(0.5 + coverage / 2, freedom)
        for n_rows in (0, 3, 30):
            found = width(levels, worth, coverage, n_rows, freedom)
            assert_allclose(found, expected)


def test_the_more_tasks_are_seen_the_more_measured_errors_count():
    rng = np.random.default_rng(0)
    weights = []
    for n_tasks in (5, 20, 100):
        parts = draw(n_tasks, 8, NOISES["normal"], rng)
        weights.append(measured(parts, search(parts).run("isotropic").folds)[1])
    assert (np.diff(weights, axis=0) > 0).all()
    # before any row is given, a task shows little more than one error
    assert (np.array(weights)[:, 0] < np.array(weights)[:, 1:].min(axis=1)).all()


def test_the_same_seed_gives_the_same_levels():
    parts = draw(20, 15, NOISES["normal"], np.random.default_rng(0))
    folds = search(parts).run("isotropic").folds
    one, same, other = (measured(parts, folds, seed)[0] for seed in (0, 0, 1))
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


def test_a_number_of_rows_that_no_task_has_takes_the_errors_after_any_number():
    parts = draw(60, 7, NOISES["normal"], np.random.default_rng(0))
    levels, _ = measured(parts, search(parts).run("isotropic").folds)
    # no task has seven rows to give and one more to predict
    assert_array_equal(levels[4], levels[5])
    assert np.abs(levels[1] - levels[4]).max() > 0


def test_the_width_is_that_of_the_number_of_rows_given():
    levels, worth = np.arange(6.0)[:, None] * np.ones(N_LEVELS), np.full(6, 1e12)
    sizes = {0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 6: 3, 7: 4, 11: 4, 12: 5, 20: 5, 500: 5}
    for n_rows, size in sizes.items():
        assert_allclose(width(levels, worth, 0.5, n_rows, 9.0), size, atol=1e-6)


# -- what maximum likelihood takes away -----------------------------------------------


def test_degrees_of_freedom_are_the_classical_ones_of_equal_groups():
    rng = np.random.default_rng(0)
    T, m = 6, 5
    one = np.ones((m, 1))
    parts = [(one, rng.normal(size=m), np.ones(m)) for _ in range(T)]
    tasks = GaussianTasks.gather(parts, True)
    for spread in (0.3, 1.0, 30.0):
        factor = np.array([[spread]])
        scales, (between, within) = known_variances(tasks, factor, 1.0)
        shrinkage = m * spread**2 / (1 + m * spread**2)
        assert_allclose(scales[0], T / (T - 1), rtol=1e-6)
        assert_allclose(between, (T - 1) * shrinkage, rtol=1e-6)
        assert_allclose(between + within, T * m - 1, rtol=1e-6)
    assert_allclose(within, T * (m - 1), rtol=1e-2)


def test_the_noise_of_a_regression_is_divided_by_rows_less_coefficients():
    X = np.column_stack([np.random.default_rng(0).normal(size=(40, 3)), np.ones(40)])
    tasks = GaussianTasks.gather([(X, X[:, 0], np.ones(40))], True)
    scales, freedom = known_variances(tasks, np.zeros((4, 4)), 1.0)
    assert_allclose(scales, [1.0, 40 / 36])
    assert_allclose(freedom, [0.0, 36.0], atol=1e-6)


def test_the_two_parts_of_a_variance_are_its_slopes_in_spread_and_noise():
    rng = np.random.default_rng(0)
    factor = np.linalg.qr(rng.normal(size=(3, 3)))[0] * [2.0, 0.5, 1.0]
    X, new = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))

    def posterior(log_spread=0.0, log_noise=0.0):
        known = np.zeros(3), factor * np.exp(log_spread / 2), 0.7 * np.exp(log_noise)
        return condition(*known, X, X[:, 0], np.ones(4))[1], known[-1]

    def variance(**changes):
        G, noise = posterior(**changes)
        return ((new @ G) ** 2).sum(axis=1) + noise

    G, noise = posterior()
    found = predictive_variances(factor, noise, G, new @ G)
    step = 1e-5
    for part, name in zip(found, ("log_spread", "log_noise"), strict=True):
        up, down = variance(**{name: step}), variance(**{name: -step})
        assert_allclose(part, (up - down) / (2 * step), rtol=1e-5)
    assert_allclose(sum(found), variance())


def test_variance_before_adapting_is_found_in_spread_and_noise():
    rng = np.random.default_rng(0)
    parts = draw(300, 10, NOISES["normal"], rng)
    prior = search(parts).run("isotropic").prior
    held_out = [HeldOut(prior, prior.mean, np.ones(2), parts)]
    of_spread, of_noise = start_variance(held_out)
    assert abs(of_spread - 1) < 0.3 and abs(of_noise - 1) < 0.3
    far = prior.mean + [0.0, 5.0]  # a start with the same error everywhere
    of_spread, of_noise = start_variance([HeldOut(prior, far, np.ones(2), parts)])
    assert of_noise * prior.noise > 20


# -- worlds ---------------------------------------------------------------------------


def within_and_between(rng, n):
    """The slope within groups has another sign than the slope between them."""
    centre = 10 * rng.normal()
    x = centre + rng.normal(size=n)
    y = 3 * centre + 9 * rng.normal() - 2 * (x - centre) + rng.normal(size=n)
    return x[:, None], y


def two_kinds(rng, n):
    X, sign = rng.normal(size=(n, 1)), rng.choice([-3, 3])
    return X, sign * (X[:, 0] + 1) + rng.normal(size=n)


def heavy(rng, n):
    X = rng.normal(size=(n, 1))
    return X, X[:, 0] + rng.standard_t(3) + 0.7 * rng.standard_t(3, size=n)


def wide(rng, n):
    X = rng.normal(size=(n, 1))
    return X, 5 * X[:, 0] + 300 * rng.normal() + rng.normal(size=n)


def ordinary(rng, n):
    X = rng.normal(size=(n, 1))
    return X, X[:, 0] + rng.normal() + rng.normal(size=n)


WORLDS = [within_and_between, two_kinds, heavy, wide]


def held(model, world, rng, n_support, n_tasks=120):
    """Share of targets of new tasks in intervals, and their errors in deviations."""
    shares, errors = [], []
    for _ in range(n_tasks):
        X, y = world(rng, 20)
        adapted = model.adapt(X[:n_support], y[:n_support]) if n_support else model
        low, high = adapted.predict_interval(X[10:]).T
        mean, deviation = adapted.predict(X[10:], return_std=True)
        shares.append((low < y[10:]) & (y[10:] < high))
        errors.append((y[10:] - mean) / deviation)
    return np.mean(shares), np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("world", WORLDS)
def test_nine_of_ten_new_targets_are_held_before_and_after_adapting(world):
    rng = np.random.default_rng(1)
    tasks = [world(rng, 10) for _ in range(150)]
    model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    share, error = held(model, world, rng, 0)
    assert 0.85 <= share <= 0.95
    assert 0.85 <= error <= 1.15
    share, _ = held(model, world, rng, 3)
    assert 0.85 <= share <= 0.95


@pytest.mark.parametrize("zero_shot", ["prior", "pooled", "constant"])
def test_before_adapting_errors_are_as_large_as_stated(zero_shot, monkeypatch):
    monkeypatch.setattr("skmeta._core.prior.learn.zero_shot", lambda folds: zero_shot)
    rng = np.random.default_rng(0)
    tasks = [two_kinds(rng, 10) for _ in range(100)]
    model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    assert model.zero_shot_ == zero_shot
    share, error = held(model, two_kinds, rng, 0)
    assert 0.85 <= share <= 0.95
    assert 0.85 <= error <= 1.15


def test_many_groups_of_one_row_do_not_hide_what_larger_groups_show():
    shares = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        n_rows = [1] * 1000 + [12] * 100
        tasks = [heavy(rng, n) for n in n_rows]
        model = EmpiricalBayesRegressor(noise="shared", random_state=seed).meta_fit(
            tasks
        )
        shares.append([held(model, heavy, rng, n, 100)[0] for n in (0, 3)])
    assert np.abs(np.array(shares) - 0.9).max() < 0.06


@pytest.mark.parametrize(("n_tasks", "least"), [(2, 0.78), (5, 0.84)])
def test_few_tasks_widen_intervals(n_tasks, least):
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        tasks = [ordinary(rng, 5) for _ in range(n_tasks)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
            shares.append([held(model, ordinary, rng, n, 10)[0] for n in (0, 3)])
    assert (np.mean(shares, axis=0) > least).all()


def test_few_rows_of_one_table_widen_intervals():
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, Z = rng.normal(size=(6, 1)), rng.normal(size=(50, 1))
        y, z = (rows[:, 0] + rng.normal(size=len(rows)) for rows in (X, Z))
        low, high = EmpiricalBayesRegressor().fit(X, y).predict_interval(Z).T
        shares.append(np.mean((low < z) & (z < high)))
    assert np.mean(shares) > 0.75


def test_with_few_rows_per_coefficient_deviations_are_as_large_as_errors():
    rng = np.random.default_rng(0)
    n, d = 78, 60
    X, task = rng.normal(size=(n, d)), np.arange(n) % 8
    coef, level = rng.normal(size=d) / 2, rng.normal(size=8)
    y = X @ coef + level[task] + rng.normal(size=n)
    model = EmpiricalBayesRegressor(random_state=0).fit(X, y, task=task)
    Z = rng.normal(size=(300, d))
    mean, deviation = model.predict(Z, return_std=True)
    errors = Z @ coef + rng.normal(size=300) * np.sqrt(2) - mean
    assert 0.6 < np.sqrt(np.mean((errors / deviation) ** 2)) < 1.4


def test_the_seed_moves_widths_by_little():
    rng = np.random.default_rng(0)
    tasks = [heavy(rng, 10) for _ in range(250)]
    X, y = heavy(rng, 20)
    widths = []
    for seed in range(3):
        model = EmpiricalBayesRegressor("diagonal", random_state=seed).meta_fit(tasks)
        few = model.adapt(X[:3], y[:3])
        widths.append([np.diff(m.predict_interval(X)).mean() for m in (model, few)])
    assert (np.std(widths, axis=0) / np.mean(widths, axis=0) < 0.03).all()


# -- what cannot be known is said -----------------------------------------------------


def warned(call, *args, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize(
    "cls",
    [EmpiricalBayesRegressor, EmpiricalBayesClassifier],
    ids=["numbers", "labels"],
)
def test_a_model_of_one_task_warns_that_it_cannot_know_how_much_tasks_differ(cls):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    y = X[:, 0] + rng.normal(size=40)
    y = y if cls is EmpiricalBayesRegressor else y > 0
    model = cls().fit(X[:30], y[:30])
    with pytest.warns(UserWarning, match="fitted to one task"):
        model.adapt(X[30:], y[30:])
    with pytest.warns(UserWarning, match="fitted to one task"):
        model.adapt_predict(X[30:], y[30:], X[:4], task=[7] * 10, task_new=[7] * 4)
    assert not warned(lambda: model.partial_adapt(X[30:], y[30:]).predict(X))


def test_deviations_from_a_few_tasks_come_with_a_warning():
    rng = np.random.default_rng(0)
    for n_tasks, n_warnings in ((1, 0), (2, 1), (4, 1), (5, 0)):
        tasks = [ordinary(rng, 20) for _ in range(n_tasks)]
        model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
        X = tasks[0][0]
        assert not warned(model.predict, X)
        for found in (
            warned(model.predict_interval, X),
            warned(model.predict, X, return_std=True),
        ):
            assert len(found) == n_warnings
            assert all(f"rest on {n_tasks} tasks" in message for message in found)


def test_a_table_with_as_many_coefficients_as_rows_does_not_show_the_noise():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 5))
    model = EmpiricalBayesRegressor().fit(X, X.sum(axis=1) + rng.normal(size=6))
    with pytest.warns(UserWarning, match="cannot show the size of the noise"):
        model.predict_interval(X)
    X = rng.normal(size=(30, 5))
    model = EmpiricalBayesRegressor().fit(X, X.sum(axis=1) + rng.normal(size=30))
    assert not warned(model.predict_interval, X)

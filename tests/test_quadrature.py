"""Tasks whose logits move along one line, against quadrature written out."""

import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import expit, log_expit, softmax
from scipy.stats import norm
from sklearn.metrics import log_loss

from skmeta import EmpiricalBayesClassifier
from skmeta._core.prior import quadrature
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import Bernoulli, of_labels
from skmeta._core.prior.quadrature import Lines, integrate


def gather(parts, fit_intercept):
    """`LaplaceTasks` of labels."""
    likelihood = of_labels(parts[0][1].shape[1])
    return LaplaceTasks.gather(parts, likelihood, fit_intercept)


def log_integral(b, a, y, weight):
    """The log of the integral over z ~ N(0, 1), by SciPy's adaptive rule."""

    def f(z):
        eta = b + a * z
        return weight @ log_expit(np.where(y > 0.5, eta, -eta)) - 0.5 * z**2

    # the integrand is steep where the logit of a row is zero
    points = np.sort(np.clip(np.r_[-b / a, -b / a + 8 / a, -b / a - 8 / a, 0], -9, 9))
    top = max(f(z) for z in np.linspace(-9, 9, 2001))
    edges = np.unique(np.r_[-9, points, 9])
    total = sum(
        quad(lambda z: np.exp(f(z) - top), low, high, epsabs=1e-13)[0]
        for low, high in pairwise(edges)
    )
    return top + np.log(total / np.sqrt(2 * np.pi))


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("spread", [0.1, 2.0, 20.0])
def test_the_integral_is_that_of_scipy_at_any_spread(n, spread):
    rng = np.random.default_rng(n)
    b, a = 4 * rng.normal(size=(20, n)), spread * rng.uniform(0.5, 1.5, size=(20, n))
    Y = (rng.random((20, n)) < 0.5) * 1.0
    Y[:4], Y[4:8] = 0.0, 1.0
    weight = rng.uniform(0.2, 2.0, size=(20, n))
    expected = [log_integral(*line) for line in zip(b, a, Y, weight, strict=True)]
    found = integrate(Bernoulli(), Lines(b, a, Y, weight)).value
    assert_allclose(found, expected, atol=2e-5 if spread > 10 else 1e-7)


def test_the_integral_is_right_for_a_very_unlikely_label():
    far = np.array([[1e3], [-1e3], [1e6], [0.0]])
    for spread in (1e-8, 1.0, 500.0, 1e6):
        lines = Lines(far, np.full((4, 1), spread), np.zeros((4, 1)), np.ones((4, 1)))
        found = integrate(Bernoulli(), lines)
        assert np.isfinite(found.value).all()
        assert_allclose(found.share.sum(axis=1), 1.0)
    # next to such a spread a logistic step is like a normal one
    assert_allclose(found.value, norm.logcdf(-far[:, 0] / spread), atol=1e-4)


def one_row_tasks(n_tasks, rng, n_columns=3):
    X = np.column_stack(
        [rng.normal(size=(n_tasks, n_columns - 1)), np.ones((n_tasks, 1))]
    )
    Y = (rng.random((n_tasks, 1)) < expit(X.sum(axis=1, keepdims=True))) * 1.0
    weight = rng.uniform(0.5, 2.0, size=n_tasks)
    offset = 0.3 * rng.normal(size=(n_tasks, 1))
    return [(X[[t]], Y[[t]], weight[[t]], offset[[t]]) for t in range(n_tasks)]


def differences(function, x, h=1e-5):
    out = np.zeros(x.shape)
    for cell in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[cell] = h
        out[cell] = (function(x + step) - function(x - step)) / (2 * h)
    return out


@pytest.mark.parametrize("kind", ["one row", "rows that repeat", "one coefficient"])
def test_slopes_of_the_integral_are_those_of_finite_differences(kind):
    rng = np.random.default_rng(0)
    parts, L = one_row_tasks(8, rng), rng.normal(size=(3, 3))
    if kind == "rows that repeat":
        parts = [tuple(np.repeat(f, 3, axis=0) for f in part) for part in parts]
        for part in parts:
            part[1][0] = 1.0 - part[1][1]
    if kind == "one coefficient":
        four = [parts[:4], parts[4:]]
        parts = [tuple(np.concatenate(f) for f in zip(*p, strict=True)) for p in four]
        L = np.array([[0.0], [0.0], [1.7]])
    tasks, mean = gather(parts, True), rng.normal(size=3)
    found = tasks.evidence(L, mean)
    in_mean = differences(lambda m: tasks.evidence(L, m).value, mean)
    assert_allclose(found.mean_slope, in_mean, atol=1e-6)
    in_L = differences(lambda L: tasks.evidence(L, mean).value, L)
    assert_allclose(found.D @ L, in_L, atol=1e-6)
    curvature = -differences(lambda m: tasks.evidence(L, m).mean_slope[0], mean)
    assert_allclose(found.precision[0], curvature, atol=1e-6)


def test_the_value_of_a_task_of_one_row_is_its_integral_under_any_spread():
    rng = np.random.default_rng(1)
    parts, L, mean = one_row_tasks(5, rng), rng.normal(size=(3, 3)), rng.normal(size=3)
    expected = 0.0
    for X, Y, weight, offset in parts:
        b, a = X @ mean + offset[:, 0], np.linalg.norm(X @ L, axis=1)
        expected += log_integral(b, a, Y[:, 0], weight)
    tasks = gather(parts, True)
    weak = 0.5 * mean @ tasks._weak @ mean
    assert_allclose(tasks.evidence(L, mean).value, expected - weak, atol=1e-6)


# -- the spread that is learned -------------------------------------------------------


def groups_of(sizes, rng, spread=2.0):
    g = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=len(g))
    eta = x + spread * rng.normal(size=len(sizes))[g]
    return x[:, None], (rng.random(len(g)) < expit(eta)).astype(int), g


def maximum_likelihood(X, y, g):
    """Slope, intercept and spread by a rule of 101 equal steps, for a weak prior."""
    z = np.linspace(-7, 7, 101)
    starts = np.flatnonzero(np.r_[1, np.diff(g)])
    x = (X[:, 0] - X.mean()) / X.std()

    def loss(v):
        eta = v[0] * x[:, None] + v[1] + v[2] * z
        each = np.where(y[:, None] > 0, log_expit(eta), log_expit(-eta))
        f = np.add.reduceat(each, starts) - 0.5 * z**2
        value = np.log(np.exp(f).sum(axis=1) * (z[1] - z[0])).sum()
        return 0.5 * ((v[:2] / 2.5) ** 2).sum() - value

    v = minimize(loss, [0.9, 0.0, 1.5], tol=1e-4).x
    return np.array([v[0] / X.std(), abs(v[2])])


def learned(model):
    return np.array([model.prior_coef_[0, 0], model.prior_covariance_[-1, -1] ** 0.5])


@pytest.mark.parametrize(
    "sizes",
    [np.r_[np.ones(400, int), np.full(25, 15)], np.full(200, 2), np.full(60, 5)],
    ids=["one-row tasks beside others", "two rows", "five rows"],
)
def test_the_spread_of_small_tasks_is_that_of_maximum_likelihood(sizes):
    X, y, g = groups_of(sizes, np.random.default_rng(3))
    model = EmpiricalBayesClassifier("intercept", tol=1e-6, random_state=0)
    found = learned(model.fit(X, y, task=g))
    assert_allclose(found, maximum_likelihood(X, y, g), rtol=2e-3)


@pytest.mark.parametrize("prior", ["isotropic", "auto"])
def test_more_tasks_of_one_row_do_not_make_predictions_for_new_tasks_worse(prior):
    rng = np.random.default_rng(1)
    new = [groups_of([30], rng)[:2] for _ in range(40)]
    X, y, g = groups_of(np.r_[np.ones(400, int), np.full(30, 20)], rng)

    def loss_and_spread(rows):
        model = EmpiricalBayesClassifier(prior, random_state=0)
        model.fit(X[rows], y[rows], task=g[rows])
        losses = [
            log_loss(y[3:], model.adapt(X[:3], y[:3]).predict_proba(X[3:])[:, 1])
            for X, y in new
            if 0 < y[3:].mean() < 1
        ]
        return np.mean(losses), learned(model)[1]

    without, spread = loss_and_spread(g >= 400)
    with_them, spread_too = loss_and_spread(g >= 0)
    assert with_them < without + 0.005
    assert abs(spread_too / spread - 1) < 0.25


@pytest.mark.parametrize("prior", ["intercept", "isotropic"])
def test_a_task_of_one_row_twice_is_a_task_of_one_row_of_weight_two(prior):
    X, y, g = groups_of(
        np.r_[np.ones(40, int), np.full(8, 6)], np.random.default_rng(5)
    )
    times = np.where(g < 40, 2, 1)
    model = EmpiricalBayesClassifier(prior, tol=1e-7, random_state=0)
    one = learned(model.fit(X, y, times * 1.0, task=g))
    two = learned(
        model.fit(
            *(np.repeat(v, times, axis=0) for v in (X, y)), task=np.repeat(g, times)
        )
    )
    assert_allclose(one, two, rtol=1e-4)


# -- more than two classes ------------------------------------------------------------


def many_class_rows(sizes, rng, o=3):
    parts = []
    for n in sizes:
        X = np.repeat([[rng.normal(), 1.0]], n, axis=0)
        Y = np.eye(o)[rng.integers(o, size=n)]
        weight = rng.uniform(0.4, 1.4, size=n)
        parts.append((X, Y, weight, 0.3 * rng.normal(size=(n, o))))
    return parts


@pytest.mark.parametrize("spread", [1e-3, 1.0, 5.0])
def test_slopes_of_the_average_over_points_are_those_of_finite_differences(spread):
    rng = np.random.default_rng(0)
    tasks = gather(many_class_rows([1, 1, 1, 2], rng), True)
    L, mean = spread * rng.normal(size=(6, 6)), rng.normal(size=6)
    found = tasks.evidence(L, mean)
    in_mean = differences(lambda m: tasks.evidence(L, m).value, mean)
    assert_allclose(found.mean_slope, in_mean, atol=1e-6)
    in_L = differences(lambda L: tasks.evidence(L, mean).value, L, 1e-5 * spread)
    assert_allclose(found.D @ L, in_L, atol=1e-5)
    curvature = -differences(lambda m: tasks.evidence(L, m).mean_slope[0], mean)
    assert_allclose(found.precision[0], curvature, atol=1e-6)


def test_the_average_over_points_is_near_that_over_many_draws():
    rng = np.random.default_rng(0)
    parts, L, mean = many_class_rows([1] * 6, rng), rng.normal(size=(6, 6)), np.ones(6)
    theta = mean + rng.normal(size=(50_000, 6)) @ L.T
    expected = 0.0
    for X, Y, weight, offset in parts:
        eta = theta.reshape(-1, 3, 2) @ X[0] + offset
        p = softmax(eta, axis=1) @ Y[0]
        expected += np.log(np.mean(p ** weight[0]))
    tasks = gather(parts, True)
    weak = 0.5 * mean @ tasks._weak @ mean
    assert_allclose(tasks.evidence(L, mean).value + weak, expected, atol=0.05)


def test_one_row_tasks_of_three_classes_do_not_draw_the_spread_to_zero():
    rng = np.random.default_rng(1)
    sizes = np.r_[np.full(30, 10), np.ones(90, int)]
    g = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(g), 1))
    eta = [-1, 0, 1] * X + 1.7 * rng.normal(size=(len(sizes), 3))[g]
    y = (eta + rng.gumbel(size=eta.shape)).argmax(axis=1)

    def spread_of_differences(rows):
        model = EmpiricalBayesClassifier("intercept", random_state=0)
        covariance = model.fit(X[rows], y[rows], task=g[rows]).prior_covariance_
        return np.sqrt(np.trace(covariance) / 3)

    without, with_them = map(spread_of_differences, (g < 30, g >= 0))
    assert abs(with_them / without - 1) < 0.25


# -- numbers beyond what can be solved ------------------------------------------------


@pytest.mark.parametrize("prior", ["intercept", "isotropic"])
@pytest.mark.parametrize("weight", [1e-10, 1e10])
def test_weights_of_any_size_give_probabilities_without_a_warning_of_numpy(
    prior, weight
):
    X, y, g = groups_of(np.full(8, 4), np.random.default_rng(0))
    model = EmpiricalBayesClassifier(prior, max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        model.fit(X, y, np.full(len(y), weight), task=g)
        p = model.adapt(X[:3], y[:3], np.full(3, weight)).predict_proba(X)
    assert np.isfinite(p).all()


@pytest.mark.parametrize("verb", ["fit", "adapt"])
def test_weights_and_columns_whose_squares_overflow_are_refused(verb):
    X, y, g = groups_of(np.full(12, 5), np.random.default_rng(0))
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    if verb == "adapt":
        model.fit(X, y, task=g)
    call = getattr(model, verb)
    with pytest.raises(ValueError, match="sample weights add up"):
        call(X, y, np.full(len(y), 1e308))
    with pytest.raises(ValueError, match="X holds"):
        call(X * 1e200, y)


def test_a_long_task_is_integrated_a_block_of_rows_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(5000, 3)), np.ones((5000, 1))])
    Y = (rng.random((5000, 1)) < expit(X[:, :1])) * 1.0
    parts = [(X, Y, rng.uniform(0.5, 2.0, size=5000), 0.3 * rng.normal(size=Y.shape))]
    tasks = gather(parts, True)
    L, mean = 0.5 * np.eye(4)[:, -1:], 0.2 * rng.normal(size=4)
    monkeypatch.setattr(quadrature, "LINE_ROWS", 5000)
    whole = tasks.evidence(L, mean)
    monkeypatch.setattr(quadrature, "LINE_ROWS", 130)
    tracemalloc.start()
    try:
        found = tasks.evidence(L, mean)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for name in ("value", "D", "mean_slope", "precision"):
        expected = getattr(whole, name)
        size = np.abs(expected).max()
        assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-9 * size)
    # all nodes of all rows at once would take several times as much
    assert peak < 2 * quadrature.N_NODES * X[:, 0].nbytes

"""Laplace evidence of logistic tasks, against brute force, sampling and quadrature."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

from skmeta._core.prior.laplace import LaplaceTasks, condition, find_mode
from skmeta._core.prior.likelihoods import Likelihood, of_labels
from skmeta._core.prior.moderation import MODERATIONS
from skmeta._core.prior.stacks import Stack

D = 2  # number of columns; the last one is the intercept's
OUTPUTS = pytest.mark.parametrize("o", [1, 3], ids=["two classes", "three classes"])
SIZES = [1, 2, 5, 5, 12, 40]


def gather(parts, fit_intercept):
    """`LaplaceTasks` of labels."""
    likelihood = of_labels(parts[0][1].shape[1])
    return LaplaceTasks.gather(parts, likelihood, fit_intercept)


def rows_of(o, sizes=SIZES, seed=0):
    """Tasks (X, Y, weight, offset) with coefficients of their own."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in sizes:
        X = np.column_stack([rng.normal(size=(n, D - 1)), np.ones(n)])
        offset = 0.5 * rng.normal(size=(n, o))
        eta = X @ rng.normal(size=(D, o)) + offset
        if o == 1:
            Y = (rng.random((n, 1)) < expit(eta)).astype(float)
        else:
            Y = np.stack([rng.multinomial(1, p) for p in softmax(eta, axis=1)]) * 1.0
        parts.append((X, Y, rng.uniform(0.3, 2.0, size=n), offset))
    return parts


def likelihood(theta, X, Y, weight, offset):
    """Log-likelihood of a task, written out."""
    eta = X @ theta.reshape(Y.shape[1], -1).T + offset
    if Y.shape[1] == 1:
        return weight @ log_expit(np.where(Y > 0.5, eta, -eta))[:, 0]
    return weight @ (Y * log_softmax(eta, axis=1)).sum(axis=1)


def differences(function, x, h=1e-4):
    """Gradient of a function of an array by central differences."""
    out = np.zeros(x.shape + np.shape(function(x)))
    for cell in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[cell] = h
        out[cell] = (function(x + step) - function(x - step)) / (2 * h)
    return out


def brute_force(part, mean, covariance):
    """Mode, minus second derivative of the log-likelihood there, Laplace evidence."""
    precision = np.linalg.inv(covariance)

    def loss(theta):
        apart = theta - mean
        return 0.5 * apart @ precision @ apart - likelihood(theta, *part)

    mode = minimize(loss, mean, jac=lambda x: differences(loss, x), tol=1e-9).x
    H = -differences(
        lambda x: differences(lambda x: likelihood(x, *part), x, 1e-3), mode, 1e-3
    )
    sign, log_det = np.linalg.slogdet(np.eye(len(mean)) + covariance @ H)
    assert sign > 0
    return mode, H, -loss(mode) - 0.5 * log_det


def mean_and_factor(o, seed=3):
    rng = np.random.default_rng(seed)
    return 0.5 * rng.normal(size=o * D), rng.normal(size=(o * D, o * D))


def weak(mean):
    """The weak prior of the mean that stands in the evidence."""
    return -0.5 * mean @ (mean / weak_variance(len(mean) // D))


def weak_variance(o):
    """Variances of the slopes and, last, the intercept of each of o outputs."""
    widest = Likelihood.mean_deviation
    slope = min(widest, Likelihood.slopes_deviation / np.sqrt(D))
    return np.tile([slope**2] * (D - 1) + [widest**2], o)


@pytest.fixture
def to_the_last_digit(monkeypatch):
    """Modes as exact as differences of evidences need them."""
    monkeypatch.setattr("skmeta._core.prior.modes.MODE_TOL", 1e-20)
    monkeypatch.setattr("skmeta._core.prior.modes.MAX_NEWTON", 12)


# -- evidence -------------------------------------------------------------------------


@OUTPUTS
def test_the_evidence_is_that_of_brute_force(o):
    parts, (mean, L) = rows_of(o), mean_and_factor(o)
    alone = [brute_force(part, mean, L @ L.T)[2] for part in parts]
    tasks = gather(parts, True)
    # treat no task of one row as an integral
    tasks = replace(tasks, on_line=[False] * len(tasks.stacks))
    assert_allclose(tasks.evidence(L, mean).value, sum(alone) + weak(mean), rtol=1e-5)


@OUTPUTS
def test_the_gradient_in_the_mean_is_that_of_finite_differences(o, to_the_last_digit):
    tasks, (mean, L) = gather(rows_of(o), True), mean_and_factor(o)
    expected = differences(lambda m: tasks.evidence(L, m).value, mean)
    assert_allclose(tasks.evidence(L, mean).mean_slope, expected, atol=1e-5)


@OUTPUTS
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_gradient_in_the_spread_is_that_of_finite_differences(
    o, rank, to_the_last_digit
):
    tasks, (mean, L) = gather(rows_of(o), True), mean_and_factor(o)
    L = L[:, :rank]
    expected = differences(lambda L: tasks.evidence(L, mean).value, L)
    assert_allclose(tasks.evidence(L, mean).D @ L, expected, atol=1e-5)


@OUTPUTS
def test_a_search_may_start_from_the_modes_of_the_last_one(o):
    tasks, (mean, L) = gather(rows_of(o), True), mean_and_factor(o)
    state = tasks.evidence(1.1 * L, mean - 0.1).state
    one, other = tasks.evidence(L, mean, state), tasks.evidence(L, mean)
    assert_allclose(one.value, other.value, rtol=1e-6)
    assert_allclose(one.D, other.D, atol=1e-4)


@OUTPUTS
def test_tasks_of_different_sizes_are_each_as_if_alone(o):
    parts, (mean, L) = rows_of(o), mean_and_factor(o)
    prior = SimpleNamespace(mean=mean, factor=L, noise=1.0)
    together = gather(parts, True)
    assert len(together.stacks) > 1 and max(map(len, together.order)) > 1
    alone = [gather([part], True) for part in parts]
    evidence = [task.evidence(L, mean).value - weak(mean) for task in alone]
    assert_allclose(
        together.evidence(L, mean).value - weak(mean), sum(evidence), rtol=1e-6
    )
    expected = [task.prior_loss(prior)[0] for task in alone]
    assert_allclose(together.prior_loss(prior), expected)
    assert_allclose(together.loss(mean), [task.loss(mean)[0] for task in alone])


@OUTPUTS
def test_a_task_need_not_fit_into_the_stack_of_its_bucket(o, monkeypatch):
    parts, (mean, L) = rows_of(o, [5] * 7), mean_and_factor(o)
    expected = gather(parts, True).evidence(L, mean)
    monkeypatch.setattr("skmeta._core.prior.stacks.STACK_CELLS", 30)
    monkeypatch.setattr("skmeta._core.prior.stacks.MORE_OF_SEVERAL", 1)
    split = gather(parts, True)
    assert len(split.stacks) > 2
    assert_allclose(split.evidence(L, mean).value, expected.value, rtol=1e-6)
    assert_allclose(split.evidence(L, mean).D, expected.D, atol=1e-5)


@OUTPUTS
def test_a_subset_has_the_chosen_tasks_in_their_order(o):
    tasks, (mean, _) = gather(rows_of(o), True), mean_and_factor(o)
    chosen = np.array([4, 0, 2])
    assert_allclose(tasks.subset(chosen).loss(mean), tasks.loss(mean)[chosen])


@OUTPUTS
def test_a_weight_of_k_is_a_row_k_times(o):
    mean, L = mean_and_factor(o)
    weighted, repeated = [], []
    for X, Y, _, offset in rows_of(o):
        times = np.arange(len(X)) % 3 + 1
        weighted.append((X, Y, times * 1.0, offset))
        rows = np.repeat(np.arange(len(X)), times)
        repeated.append((X[rows], Y[rows], np.ones(len(rows)), offset[rows]))
    one, other = (
        gather(parts, True).evidence(L, mean) for parts in (weighted, repeated)
    )
    assert_allclose(one.value, other.value)
    assert_allclose(one.D, other.D, atol=1e-8)


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0])
def test_the_evidence_is_close_to_the_integral_over_a_coefficient(deviation):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(15, 1))
    Y = (rng.random((15, 1)) < expit(1.5 * X)).astype(float)
    part = (X, Y, np.ones(15), np.zeros((15, 1)))
    mean, L = np.array([0.4]), np.array([[deviation]])

    def integrand(u):
        return np.exp(likelihood(mean + deviation * u, *part) - 0.5 * u**2)

    exact = np.log(quad(integrand, -9, 9)[0] / np.sqrt(2 * np.pi))
    weak_prior = -0.5 * (mean[0] / Likelihood.mean_deviation) ** 2
    found = gather([part], False).evidence(L, mean).value - weak_prior
    assert_allclose(found, exact, atol=0.03)


def test_two_classes_are_a_softmax_with_one_logit_held_at_zero():
    X, Y, weight, offset = rows_of(1, [12])[0]
    two = np.hstack([1 - Y, Y])
    mean, L = mean_and_factor(1)
    still = np.zeros_like(mean)
    one = gather([(X, Y, weight, offset)], True)
    other = gather([(X, two, weight, np.hstack([0 * offset, offset]))], True)
    assert_allclose(
        one.evidence(L, mean).value,
        other.evidence(np.vstack([0 * L, L]), np.concatenate([still, mean])).value,
    )


# -- modes ----------------------------------------------------------------------------


def stacked(part):
    return Stack(*(field[None] for field in part))


@OUTPUTS
@pytest.mark.parametrize("n", [1, 12])
def test_the_mode_is_that_of_brute_force(o, n):
    part, (mean, L) = rows_of(o, [n])[0], mean_and_factor(o)
    mode, H, _ = brute_force(part, mean, L @ L.T)
    _, factor = condition(of_labels(o), mean, L, stacked(part))
    found = find_mode(of_labels(o), stacked(part), mean, L)
    assert_allclose(found.theta[0], mode, atol=1e-5)
    expected = np.linalg.inv(np.linalg.inv(L @ L.T) + H)
    assert_allclose(factor[0] @ factor[0].T, expected, atol=1e-4)


def separable(o, scale):
    """Rows whose classes are separated by a line far from the origin."""
    X = np.column_stack([scale * np.arange(-3.0, 4.0, 2.0), np.ones(4)])
    codes = np.array([0, 0, 1, 1])
    Y = codes[:, None] * 1.0 if o == 1 else np.eye(3)[codes]
    return X, Y, np.ones(4), np.zeros((4, o))


def single_class(o, n):
    X = np.column_stack([np.linspace(-1, 1, n), np.ones(n)])
    Y = np.ones((n, 1)) if o == 1 else np.eye(3)[np.full(n, 2)]
    return X, Y, np.ones(n), np.zeros((n, o))


def surprising(o):
    """A row far on the wrong side: there the likelihood has no curvature."""
    Y = np.zeros((1, 1)) if o == 1 else np.eye(3)[[1]]
    offset = np.full((1, 1), 40.0) if o == 1 else np.array([[40.0, 0.0, 0.0]])
    return np.ones((1, D)), Y, np.ones(1), offset


@OUTPUTS
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0, 500.0])
@pytest.mark.parametrize(
    "kind",
    [
        lambda o: separable(o, 1.0),
        lambda o: separable(o, 100.0),
        lambda o: single_class(o, 1),
        lambda o: single_class(o, 50),
        surprising,
    ],
    ids=["separable", "far apart", "one row", "single class", "surprising"],
)
def test_at_the_mode_nothing_pulls_even_where_the_likelihood_has_no_maximum(
    kind, spread, o
):
    part, L = kind(o), spread * np.eye(o * D)
    mean = np.full(o * D, 0.1)
    mode = find_mode(of_labels(o), stacked(part), mean, L)
    assert np.isfinite(mode.value).all()
    slope = mode.score[0] @ L - mode.u[0]
    # twice the gain of the step that was not taken
    gain = slope @ np.linalg.solve(mode.B[0], slope)
    assert gain < 1e-9 * (1 + abs(mode.value[0]))
    assert_allclose(
        mode.value[0], likelihood(mode.theta[0], *part) - 0.5 * mode.u[0] @ mode.u[0]
    )


def test_pooled_is_the_mode_under_the_weak_prior_and_constant_the_frequencies():
    parts = [(X, Y, w, 0 * offset) for X, Y, w, offset in rows_of(1)]
    X, Y, weight, offset = map(np.concatenate, zip(*parts, strict=True))
    tasks = gather(parts, True)
    expected, _, _ = brute_force(
        (X, Y, weight, offset), np.zeros(D), np.diag(weak_variance(1))
    )
    assert_allclose(tasks.pooled(), expected, atol=1e-5)
    constant = tasks.constant()
    assert_allclose(constant[0], 0.0, atol=1e-6)
    # equal except for the weak prior
    assert_allclose(expit(constant[1]), np.average(Y[:, 0], weights=weight), atol=0.01)


def test_the_loss_is_the_mean_log_loss_of_a_task():
    parts = rows_of(3)
    theta, _ = mean_and_factor(3)
    expected = [-likelihood(theta, *part) / part[2].sum() for part in parts]
    assert_allclose(gather(parts, True).loss(theta), expected)


# -- held-out tasks -------------------------------------------------------------------


@OUTPUTS
@pytest.mark.parametrize("n", [1, 2], ids=["one row", "a row twice"])
def test_the_score_of_a_held_out_task_is_the_log_probability_of_its_other_rows(o, n):
    """All rows are the same, so the draw does not matter; a single row is predicted."""
    mean, L = mean_and_factor(o)
    rows = [[field[:1] for field in part] for part in rows_of(o, [3] * 4)]
    parts = [[np.repeat(field, n, axis=0) for field in part] for part in rows]
    prior = SimpleNamespace(mean=mean, factor=L)
    score = gather(parts, True).held_out_score(prior, 0)
    assert score.shape == (len(MODERATIONS), 4)
    for task, (X, Y, weight, offset) in enumerate(rows):
        theta, factor = mean[None], L[None]
        if n > 1:
            theta, factor = condition(
                of_labels(o), mean, L, stacked((X, Y, weight, offset))
            )
        eta = X @ theta[0].reshape(o, D).T + offset
        J = np.einsum("nd,odr->nor", X, factor[0].reshape(o, D, -1))
        for option, moderation in enumerate(MODERATIONS):
            share = moderation if n > 1 else 1.0  # the prior is always used in full
            p = of_labels(o).predictive(eta, np.sqrt(share) * J)[0]
            p = (p if Y[0, 0] else 1 - p) if o == 1 else p @ Y[0]
            assert_allclose(score[option, task], np.log(p), rtol=1e-5)


@OUTPUTS
def test_the_score_of_a_held_out_task_is_reproducible(o):
    mean, L = mean_and_factor(o)
    tasks, prior = gather(rows_of(o), True), SimpleNamespace(mean=mean, factor=L)
    one, same, other = (tasks.held_out_score(prior, seed) for seed in (0, 0, 1))
    assert_allclose(one, same, rtol=0)
    assert np.abs(one - other).max() > 0

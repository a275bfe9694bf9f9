"""Every likelihood of the table, against finite differences and sampling."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, logsumexp, softmax

from skmeta._core.prior.gaussian import GaussianTasks
from skmeta._core.prior.laplace import LaplaceTasks, condition, find_mode
from skmeta._core.prior.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    Gaussian,
    OneOutput,
    of_labels,
)
from skmeta._core.prior.quadrature import Lines, integrate
from skmeta._core.prior.stacks import Stack

# The arguments of each likelihood; one that is not listed here has no arguments.
SETTINGS = {"categorical": {"n_outputs": 3}, "gaussian": {"noise": 0.7}}
EXAMPLES = {name: kind(**SETTINGS.get(name, {})) for name, kind in LIKELIHOODS.items()}
EVERY = pytest.mark.parametrize("likelihood", EXAMPLES.values(), ids=EXAMPLES)
OF_ONE_OUTPUT = pytest.mark.parametrize(
    "likelihood",
    [one for one in EXAMPLES.values() if isinstance(one, OneOutput)],
    ids=[name for name, one in EXAMPLES.items() if isinstance(one, OneOutput)],
)
D = 2  # number of columns; the last one is the intercept's
N_ALTERNATIVES = 3  # of a row that has a design for each of them


def width(likelihood):
    """Number of linear predictors of a row."""
    return N_ALTERNATIVES if likelihood.own_designs else likelihood.n_outputs


def rows(likelihood, n=40, seed=0, size=1.0):
    """Linear predictors (n, o), and targets that are drawn from them."""
    rng = np.random.default_rng(seed)
    eta = size * rng.normal(size=(n, width(likelihood)))
    return eta, likelihood.draw(eta, rng)


def differences(function, x, h=1e-5):
    """Derivatives of a function of an array, its cells last, by central differences."""
    out = np.zeros(np.shape(function(x)) + x.shape)
    for cell in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[cell] = h
        out[(..., *cell)] = (function(x + step) - function(x - step)) / (2 * h)
    return out


def curvature_matrix(likelihood, mu):
    o = width(likelihood)
    entries = [[likelihood.curvature(mu, a, b) for b in range(o)] for a in range(o)]
    return np.moveaxis(np.array(entries), (0, 1), (-2, -1))


# -- a row ----------------------------------------------------------------------------


@EVERY
def test_slope_and_curvature_are_those_of_finite_differences(likelihood):
    for eta, y in zip(*rows(likelihood), strict=True):
        mu = likelihood.mean(eta)
        assert mu.shape == eta.shape
        expected = differences(lambda e, y=y: likelihood.log_density(e, y), eta)
        assert_allclose(likelihood.slope(mu, y), expected, atol=1e-7)
        bend = -differences(lambda e, y=y: likelihood.slope(likelihood.mean(e), y), eta)
        assert_allclose(curvature_matrix(likelihood, mu), bend, atol=1e-7)


@EVERY
def test_the_slope_of_the_curvature_is_that_of_finite_differences(likelihood):
    o = width(likelihood)
    root = np.random.default_rng(1).normal(size=(o, o))
    Q = root @ root.T

    def half_trace(eta):
        W = curvature_matrix(likelihood, likelihood.mean(eta))
        return 0.5 * np.trace(Q @ W)

    for eta, _ in zip(*rows(likelihood), strict=True):
        found = likelihood.curvature_slope(likelihood.mean(eta), Q)
        assert_allclose(found, differences(half_trace, eta), atol=1e-7)


@EVERY
def test_the_root_of_the_curvature_is_a_root_of_it(likelihood):
    mu = likelihood.mean(rows(likelihood)[0])
    A = likelihood.root_curvature(mu)
    expected = curvature_matrix(likelihood, mu)
    assert_allclose(A.swapaxes(-1, -2) @ A, expected, atol=1e-12)


@EVERY
@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState])
def test_draws_have_the_mean_and_the_variance_of_a_target(likelihood, source):
    n = 200_000
    for eta in rows(likelihood, 3)[0]:
        Y = likelihood.draw(np.broadcast_to(eta, (n, len(eta))), source(0))
        assert Y.shape == (n, len(eta))
        mu = likelihood.mean(eta)
        W = curvature_matrix(likelihood, mu)
        # in an exponential family with a dispersion the variance of the slope is W
        slope = likelihood.slope(mu, Y)
        deviation = np.sqrt(np.diag(W))
        assert_allclose(slope.mean(axis=0) / deviation, 0.0, atol=0.02)
        assert_allclose(np.cov(slope.T, bias=True).reshape(W.shape), W, rtol=0.03)


@EVERY
@pytest.mark.parametrize("size", [50.0, 800.0, 1e5])
def test_everything_is_finite_at_any_size_of_the_linear_predictors(likelihood, size):
    _, Y = rows(likelihood)
    eta = size * np.where(Y - Y.mean(axis=0) > 0, -1.0, 1.0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        mu = likelihood.mean(eta)
        parts = [
            likelihood.log_density(eta, Y),
            likelihood.slope(mu, Y),
            curvature_matrix(likelihood, mu),
            likelihood.root_curvature(mu),
        ]
    assert all(np.isfinite(part).all() for part in parts)


# -- averages over what is not known --------------------------------------------------


def unknown(likelihood, deviation, n=4):
    """Linear predictors, a factor of what is not known of them, and draws of both."""
    rng = np.random.default_rng(2)
    o = width(likelihood)
    eta = rng.normal(size=(n, o))
    factor = deviation * rng.normal(size=(n, o, 2)) / np.sqrt(2)
    u = rng.normal(size=(20_000, 2))
    u = np.concatenate([u, -u])
    return eta, factor, eta + np.einsum("tor,kr->kto", factor, u)


@EVERY
@pytest.mark.parametrize("deviation", [0.2, 1.0])
def test_the_predictive_is_the_average_over_draws(likelihood, deviation):
    eta, factor, drawn = unknown(likelihood, deviation)
    expected = likelihood.mean(drawn).mean(axis=0)
    found = likelihood.predictive(eta, factor)
    assert_allclose(found, expected, rtol=0.03, atol=0.01)


@EVERY
def test_without_uncertainty_the_predictive_is_the_mean(likelihood):
    eta, _ = rows(likelihood)
    factor = np.zeros((*eta.shape, 2))
    assert_allclose(likelihood.predictive(eta, factor), likelihood.mean(eta))


@EVERY
@pytest.mark.parametrize("deviation", [0.2, 1.0])
def test_held_out_targets_are_scored_by_their_averaged_density(likelihood, deviation):
    """Or else by the density at their averaged mean."""
    eta, factor, drawn = unknown(likelihood, deviation)
    Y = likelihood.draw(eta, np.random.default_rng(0))
    log_density = likelihood.log_density(drawn, Y)
    averaged = logsumexp(log_density, axis=0) - np.log(len(drawn))
    at_mean = likelihood.log_density(likelihood.predictive_scores(eta, factor), Y)
    found = likelihood.log_predictive(eta, factor, Y, np.ones(len(eta)))
    off = [np.abs(found - expected).max() for expected in (averaged, at_mean)]
    assert min(off) < 0.03


@EVERY
def test_the_score_of_rows_without_weight_is_none(likelihood):
    eta, factor, _ = unknown(likelihood, 1.0)
    Y = np.zeros_like(eta)
    found = likelihood.log_predictive(eta, factor, Y, np.zeros(len(eta)))
    assert_allclose(found, 0.0, atol=1e-6)


@OF_ONE_OUTPUT
@pytest.mark.parametrize("spread", [0.1, 2.0, 20.0])
def test_the_integral_over_a_line_is_that_of_many_equal_steps(likelihood, spread):
    rng = np.random.default_rng(0)
    b, a = rng.normal(size=(6, 3)), spread * rng.uniform(0.5, 1.5, size=(6, 3))
    Y = likelihood.draw((b + 0.3 * a)[..., None], rng)[..., 0]
    weight = rng.uniform(0.2, 2.0, size=(6, 3))
    z, expected = np.linspace(-9, 9, 200_001)[:, None], []
    for line in zip(b, a, Y, weight, strict=True):
        density = likelihood.log_density(
            (line[0] + line[1] * z)[..., None], line[2][:, None]
        )
        f = density @ line[3] - 0.5 * z[:, 0] ** 2
        expected.append(logsumexp(f))
    expected += np.log((z[1] - z[0]) / np.sqrt(2 * np.pi))
    for start in (None, np.full(6, 3.0)):
        found = integrate(likelihood, Lines(b, a, Y, weight), start)
        assert_allclose(found.value, expected, atol=2e-5 if spread > 10 else 1e-6)


# -- the evidence of tasks ------------------------------------------------------------


def utilities(X, coef):
    """Linear predictors (..., n, o) of rows with coefficients (..., D, o)."""
    if X.ndim == 2:
        return X @ coef
    return np.einsum("njd,...dc->...nj", X, coef)  # c is 1


def tasks_of(likelihood, sizes=(1, 2, 5, 5, 12, 40), seed=0):
    """Tasks (X, Y, weight, offset) with coefficients of their own."""
    rng, o = np.random.default_rng(seed), width(likelihood)
    parts = []
    for n in sizes:
        X = np.column_stack([rng.normal(size=(n, D - 1)), np.ones(n)])
        if likelihood.own_designs:
            X = rng.normal(size=(n, o, D))
        offset = 0.5 * rng.normal(size=(n, o))
        eta = utilities(X, 0.7 * rng.normal(size=(D, likelihood.n_outputs))) + offset
        weight = rng.uniform(0.3, 2.0, size=n)
        parts.append((X, likelihood.draw(eta, rng), weight, offset))
    return parts


def mean_and_factor(likelihood, seed=3):
    rng, P = np.random.default_rng(seed), likelihood.n_outputs * D
    return 0.5 * rng.normal(size=P), rng.normal(size=(P, P))


@pytest.fixture
def to_the_last_digit(monkeypatch):
    """Modes as exact as differences of evidences need them."""
    monkeypatch.setattr("skmeta._core.prior.modes.MODE_TOL", 1e-20)
    monkeypatch.setattr("skmeta._core.prior.modes.MAX_NEWTON", 20)


@EVERY
@pytest.mark.parametrize("rank", [1, 2, None])
def test_the_gradient_of_the_evidence_is_that_of_finite_differences(
    likelihood, rank, to_the_last_digit
):
    tasks = LaplaceTasks.gather(tasks_of(likelihood), likelihood, True)
    mean, L = mean_and_factor(likelihood)
    L = L[:, :rank]
    found = tasks.evidence(L, mean)
    expected = differences(lambda m: tasks.evidence(L, m).value, mean)
    assert_allclose(found.mean_slope, expected, rtol=1e-5, atol=1e-5)
    expected = differences(lambda L: tasks.evidence(L, mean).value, L)
    assert_allclose(found.D @ L, expected, rtol=1e-5, atol=1e-5)


@EVERY
def test_the_evidence_is_near_the_average_over_many_draws(likelihood):
    parts = tasks_of(likelihood, (1, 2, 5, 5))
    mean, L = mean_and_factor(likelihood)
    L = 0.4 * L
    rng = np.random.default_rng(0)
    theta = mean + rng.normal(size=(100_000, len(mean))) @ L.T
    expected = 0.0
    for X, Y, weight, offset in parts:
        coef = theta.reshape(-1, likelihood.n_outputs, D).swapaxes(1, 2)
        total = likelihood.log_density(utilities(X, coef) + offset, Y) @ weight
        expected += logsumexp(total) - np.log(len(theta))
    tasks = LaplaceTasks.gather(parts, likelihood, True)
    apart = mean - tasks._centre
    weak = 0.5 * apart @ tasks._weak @ apart
    assert_allclose(tasks.evidence(L, mean).value + weak, expected, atol=0.2)


@EVERY
def test_the_search_ends_at_the_same_modes_wherever_it_begins(likelihood):
    tasks = LaplaceTasks.gather(tasks_of(likelihood), likelihood, True)
    mean, L = mean_and_factor(likelihood)
    one = tasks.evidence(L, mean)
    far = [None if u is None else u + 8.0 for u in one.state]
    for state in (tasks.evidence(30 * L, mean).state, far):
        other = tasks.evidence(L, mean, state)
        assert_allclose(other.value, one.value, rtol=1e-6)
        assert_allclose(other.D, one.D, rtol=1e-4, atol=1e-4)


@EVERY
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e4])
def test_evidence_and_posteriors_are_finite_at_any_spread(likelihood, spread):
    parts = tasks_of(likelihood)
    tasks = LaplaceTasks.gather(parts, likelihood, True)
    mean, L = mean_and_factor(likelihood)
    found = tasks.evidence(spread * L, mean)
    for number in (found.value, found.D, found.mean_slope, found.precision):
        assert np.isfinite(number).all()
    stack = Stack.of(parts)
    theta, factor = condition(likelihood, mean, spread * L, stack)
    assert np.isfinite(theta).all() and np.isfinite(factor).all()
    theta = find_mode(likelihood, stack, mean, spread * L).theta
    slope = likelihood.slope(likelihood.mean(stack.eta(theta)), stack.Y)
    pull = stack.gradient(slope * stack.weight[..., None])
    u = np.linalg.solve(spread * L, (theta - mean).T).T
    curvature = np.sqrt((factor**2).sum(axis=1))
    assert np.abs((spread * L.T @ pull.T).T - u).max() < 1e-3 * (1 + np.abs(u).max())
    assert (curvature > 0).all()


class CentredBernoulli(Bernoulli):
    centre_is_mean = True


@pytest.mark.parametrize("n", [4, 20])
def test_a_posterior_may_stand_about_its_mean(n):
    X, Y, weight, offset = tasks_of(Bernoulli(), [n], seed=1)[0]
    mean, L = np.zeros(D), np.eye(D)
    grid = np.linspace(-6, 6, 401)
    theta = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, D)
    eta = theta @ X.T + offset[:, 0]
    log = Bernoulli().log_density(eta[..., None], Y) @ weight
    log -= 0.5 * (theta**2).sum(axis=1)
    exact = np.exp(log - logsumexp(log)) @ theta
    stack = Stack.of([(X, Y, weight, offset)])
    mode, _ = condition(Bernoulli(), mean, L, stack)
    centre, _ = condition(CentredBernoulli(), mean, L, stack)
    assert np.abs(centre[0] - exact).max() < 0.25 * np.abs(mode[0] - exact).max()


@EVERY
def test_all_rows_pooled_predict_them_better_than_a_constant(likelihood):
    tasks = LaplaceTasks.gather(tasks_of(likelihood, [60]), likelihood, True)
    Y, weight = tasks.stacks[0].Y, tasks.stacks[0].weight
    constant = tasks.constant()
    means = likelihood.mean(tasks.stacks[0].eta(constant[None]))
    if likelihood.own_designs:  # there is no intercept that would make them equal
        assert tasks.loss(tasks.pooled())[0] <= tasks.loss(constant)[0]
        return
    # equal except for the weak prior
    share = np.average(means[0], axis=0, weights=weight[0])
    expected = np.average(Y[0], axis=0, weights=weight[0])
    assert_allclose(share, expected, rtol=0.05, atol=0.05)
    assert tasks.loss(tasks.pooled())[0] <= tasks.loss(constant)[0]


@EVERY
def test_held_out_tasks_have_a_score_for_each_moderation(likelihood):
    tasks = LaplaceTasks.gather(tasks_of(likelihood), likelihood, True)
    mean, L = mean_and_factor(likelihood)
    prior = SimpleNamespace(mean=mean, factor=0.5 * L)
    score = tasks.held_out_score(prior, 0)
    assert score.shape == (len(likelihood.moderations), tasks.n_tasks)
    assert np.isfinite(score).all()
    assert_allclose(tasks.held_out_score(prior, 0), score, rtol=0)
    assert np.isfinite(tasks.prior_loss(prior)).all()


# -- one by one -----------------------------------------------------------------------


def test_of_labels_two_classes_have_one_output():
    assert of_labels(1) == Bernoulli() and of_labels(4) == Categorical(4)
    Y = np.eye(3)[[0, 1, 2]]
    assert Categorical.of_targets(Y, np.ones(3)) == Categorical(3)
    assert Gaussian.of_targets(Y[:, :1], np.ones(3)) == Gaussian()


def test_under_normal_noise_the_evidence_is_the_exact_one():
    likelihood = Gaussian(noise=1.0)
    parts = tasks_of(likelihood)
    rng = np.random.default_rng(0)
    L = 0.6 * rng.normal(size=(D, D))
    without = [(X, Y[:, 0] - offset[:, 0], w) for X, Y, w, offset in parts]
    exact = GaussianTasks.gather(without, True).evidence(L)
    # with the same noise and the best mean for it
    scale = np.sqrt(exact.noise)
    parts = [(X, Y / scale, w, offset / scale) for X, Y, w, offset in parts]
    tasks = LaplaceTasks.gather(parts, likelihood, True)
    mean = exact.mean / scale
    found = tasks.evidence(L, mean)
    n = sum(w.sum() for _, _, w, _ in parts)
    weak = 0.5 * mean @ tasks._weak @ mean
    assert_allclose(found.value + weak - n * np.log(scale), exact.value)
    assert_allclose(found.D, exact.D, atol=1e-8)


def test_a_gaussian_score_is_the_density_of_target_with_noise_and_spread():
    likelihood = Gaussian(noise=0.5)
    eta, factor, weight = np.zeros((3, 1)), np.full((3, 1, 1), 2.0), np.ones(3)
    Y = np.array([[0.0], [3.0], [-50.0]])
    expected = -0.5 * (np.log(2 * np.pi * 4.5) + Y[:, 0] ** 2 / 4.5)
    found = likelihood.log_predictive(eta, factor, Y, weight)
    assert_allclose(found, expected, rtol=1e-6)


def predictive(eta, factor):
    return of_labels(eta.shape[-1]).predictive(eta, factor)


@pytest.mark.parametrize("variance", [0.1, 1.0, 4.0, 25.0])
def test_probabilities_of_two_classes_are_averages_over_the_logit(variance):
    eta = np.linspace(-6, 6, 25)[:, None]
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    expected = expit(eta + np.sqrt(variance) * nodes) @ (weights / weights.sum())
    factor = np.full((25, 1, 1), np.sqrt(variance))
    assert_allclose(predictive(eta, factor)[:, 0], expected, atol=0.02)


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_probabilities_of_many_classes_are_averages_over_the_logits(spread):
    rng = np.random.default_rng(0)
    eta = rng.normal(size=(20, 4))
    factor = spread * rng.normal(size=(20, 4, 3)) / np.sqrt(3)
    draws = rng.normal(size=(20000, 3, 1))
    expected = np.stack(
        [
            softmax(e + (F @ draws)[..., 0], axis=1).mean(axis=0)
            for e, F in zip(eta, factor, strict=True)
        ]
    )
    found = predictive(eta, factor)
    assert_allclose(found.sum(axis=1), np.ones(20))
    assert np.abs(found - expected).mean() < 0.01
    plain = softmax(eta, axis=1)
    assert np.abs(found - expected).mean() < np.abs(plain - expected).mean()


def test_what_moves_all_logits_alike_moves_no_probability():
    rng = np.random.default_rng(0)
    eta, factor = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, 2))
    common = 7.0 * np.ones((5, 3, 1))
    assert_allclose(
        predictive(eta, np.concatenate([factor, common], axis=2)),
        predictive(eta + 100.0, factor),
    )


def test_rounding_of_the_spread_hardly_moves_a_probability():
    """Two directions may be equally spread, so that any others would fit as well."""
    rng = np.random.default_rng(0)
    eta, turned = rng.normal(size=(20, 3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    factor = np.concatenate([rng.normal(size=(10, 3, 3)), np.stack([np.eye(3)] * 10)])
    assert_allclose(predictive(eta, factor @ turned), predictive(eta, factor), 1e-6)


def test_probabilities_stay_probabilities_at_any_size_of_the_logits():
    eta = np.array([[1e3, 0.0, -1e3], [0.0, 0.0, 0.0]])
    for size in (0.0, 1.0, 1e4):
        p = predictive(eta, np.full((2, 3, 3), size) * np.eye(3))
        assert np.isfinite(p).all()
        assert_allclose(p.sum(axis=1), [1.0, 1.0])
        assert_allclose(p[1], np.full(3, 1 / 3), atol=0.02)

"""Evidence and posteriors of linear tasks, against dense normal distributions."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

from skmeta._core.prior.gaussian import GaussianTasks, condition

P = 3
SIZES = [1, 2, 3, 4, 9, 30]


def rows_of(sizes=SIZES, seed=0, weighted=False):
    """Tasks (X, y, weight) with an intercept, their own coefficients and noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in sizes:
        X = np.column_stack([rng.normal(size=(n, P - 1)), np.ones(n)])
        y = X @ rng.normal([1.0, -2.0, 0.5], 0.8) + 0.3 * rng.normal(size=n)
        weight = rng.uniform(0.2, 3.0, size=n) if weighted else np.ones(n)
        parts.append((X, y, weight))
    return parts


def factor(rank=P, seed=1):
    return np.random.default_rng(seed).normal(size=(P, rank))


def dense(X, y, weight, mean, covariance, noise):
    """Log density of a task's rows, written out.

    A row of weight w counts as w rows: a row of noise variance noise / w represents it,
    and the rest of the w rows does not depend on the coefficients.
    """
    normal = multivariate_normal(
        X @ mean, X @ covariance @ X.T + np.diag(noise / weight)
    )
    rest = -0.5 * ((weight - 1) * np.log(2 * np.pi * noise) + np.log(weight))
    return normal.logpdf(y) + rest.sum()


def total(parts, mean, covariance, noise):
    return sum(dense(*part, mean, covariance, noise) for part in parts)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_evidence_is_the_density_of_all_rows(rank, weighted):
    parts, L = rows_of(weighted=weighted), factor(rank)
    found = GaussianTasks.gather(parts, True).evidence(L)
    expected = total(parts, found.mean, found.noise * L @ L.T, found.noise)
    assert_allclose(found.value, expected, rtol=1e-9)


def test_mean_and_noise_are_the_best_ones():
    parts, L = rows_of(), factor()
    found = GaussianTasks.gather(parts, True).evidence(L)

    def value(mean, noise):
        return total(parts, mean, noise * L @ L.T, noise)

    best = value(found.mean, found.noise)
    for step in 1e-3 * np.vstack([np.eye(P), -np.eye(P)]):
        assert value(found.mean + step, found.noise) < best
    for noise in found.noise * np.array([0.99, 1.01]):
        assert value(found.mean, noise) < best


def test_the_gradient_in_the_spread_is_that_of_finite_differences():
    tasks, L, h = GaussianTasks.gather(rows_of(), True), factor(), 1e-5
    expected = np.zeros_like(L)
    for cell in np.ndindex(L.shape):
        step = np.zeros_like(L)
        step[cell] = h
        expected[cell] = (
            tasks.evidence(L + step).value - tasks.evidence(L - step).value
        ) / (2 * h)
    D = tasks.evidence(L).D
    assert_allclose(D, D.T, atol=1e-10)
    assert_allclose(D @ L, expected, atol=1e-6)


def test_the_precision_of_the_mean_is_that_of_generalised_least_squares():
    parts, L = rows_of(), factor()
    expected = sum(
        X.T @ np.linalg.solve(np.eye(len(X)) + X @ L @ L.T @ X.T, X)
        for X, _, _ in parts
    )
    assert_allclose(
        GaussianTasks.gather(parts, True).evidence(L).precision, expected, rtol=1e-6
    )


def test_a_task_keeps_at_most_as_many_rows_as_coefficients():
    parts = rows_of([5000, 2, 700])
    tasks = GaussianTasks.gather(parts, True)
    (block,) = tasks.blocks
    assert block.rows.shape == (3, P, P + 1)
    L = factor()
    (X, y, _), (mean, noise) = parts[0], (np.zeros(P), 0.3)
    # log det(I + Z Z') = log det(I + Z'Z), and likewise for the inverse
    Z = X @ L
    B = np.eye(P) + Z.T @ Z
    squares = y @ y - y @ Z @ np.linalg.solve(B, Z.T @ y)
    expected = -0.5 * (
        5000 * np.log(2 * np.pi * noise) + squares / noise + np.linalg.slogdet(B)[1]
    )
    prior = prior_of(mean, np.sqrt(noise) * L, noise)
    assert_allclose(tasks.held_out_score(prior, 0)[0, 0], expected)


def test_a_weight_of_k_is_a_row_k_times():
    rng = np.random.default_rng(0)
    weighted, repeated = [], []
    for X, y, _ in rows_of():
        times = rng.integers(1, 4, size=len(y))
        weighted.append((X, y, times.astype(float)))
        X, y = X.repeat(times, axis=0), y.repeat(times)
        repeated.append((X, y, np.ones(len(y))))
    one, other = (
        GaussianTasks.gather(parts, True).evidence(factor())
        for parts in (weighted, repeated)
    )
    for field in ("value", "mean", "noise", "D"):
        assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-9)


def prior_of(mean, factor, noise):
    return SimpleNamespace(mean=mean, factor=factor, noise=noise)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_of_a_held_out_task_is_the_log_density_of_its_rows(weighted):
    parts, F, mean = rows_of(weighted=weighted), factor(), np.array([0.5, 1.0, -1.0])
    found = GaussianTasks.gather(parts, True).held_out_score(prior_of(mean, F, 0.3), 0)
    assert_allclose(found, [[dense(*part, mean, F @ F.T, 0.3) for part in parts]])


def test_a_subset_has_the_chosen_tasks_in_their_order():
    parts = rows_of(weighted=True)
    chosen = GaussianTasks.gather(parts, True).subset(np.array([4, 0, 2]))
    alone = GaussianTasks.gather([parts[4], parts[0], parts[2]], True)
    L = factor()
    assert_allclose(chosen.evidence(L).value, alone.evidence(L).value)


def test_without_spread_between_tasks_the_model_is_pooled_regression():
    parts = rows_of()
    X, y = (np.concatenate(part) for part in list(zip(*parts, strict=True))[:2])
    tasks, ols = GaussianTasks.gather(parts, True), np.linalg.lstsq(X, y, rcond=None)[0]
    found = tasks.evidence(np.zeros((P, 1)))
    assert_allclose(found.mean, ols, rtol=1e-6)
    assert_allclose(found.noise, np.mean((y - X @ ols) ** 2), rtol=1e-6)
    assert_allclose(tasks.pooled(), ols, rtol=1e-6)


def test_the_constant_is_the_weighted_mean_of_all_rows():
    parts = rows_of(weighted=True)
    y, weight = (np.concatenate(part) for part in list(zip(*parts, strict=True))[1:])
    expected = [0.0, 0.0, np.average(y, weights=weight)]
    assert_allclose(GaussianTasks.gather(parts, True).constant(), expected, atol=1e-7)


def test_without_an_intercept_the_constant_is_zero():
    parts = [(X[:, :-1], y, weight) for X, y, weight in rows_of()]
    assert_allclose(
        GaussianTasks.gather(parts, False).constant(), [0.0, 0.0], atol=1e-7
    )


def test_pinned_slopes_of_the_mean_are_zero_and_its_intercept_is_the_best():
    parts, L = rows_of(), factor()
    found = GaussianTasks.gather(parts, True).with_pinned_slopes().evidence(L)
    assert_allclose(found.mean[:-1], [0.0, 0.0], atol=1e-6)
    inverse = [np.linalg.inv(np.eye(len(X)) + X @ L @ L.T @ X.T) for X, _, _ in parts]
    top = sum((V @ y).sum() for V, (_, y, _) in zip(inverse, parts, strict=True))
    assert_allclose(found.mean[-1], top / sum(V.sum() for V in inverse), rtol=1e-6)


def test_the_loss_of_a_task_is_its_root_mean_squared_error():
    parts, theta = rows_of(weighted=True), np.array([0.5, 1.0, -1.0])
    expected = [
        np.sqrt(np.average((y - X @ theta) ** 2, weights=weight))
        for X, y, weight in parts
    ]
    tasks = GaussianTasks.gather(parts, True)
    assert_allclose(tasks.loss(theta), expected)
    assert_allclose(tasks.prior_loss(prior_of(theta, None, None)), expected)


# -- posteriors -----------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 20])
def test_conditioning_is_the_best_linear_unbiased_prediction(n, rank):
    (X, y, weight), F = rows_of([n], weighted=True)[0], factor(rank)
    mean, noise, S = np.array([0.5, 1.0, -1.0]), 0.3, F @ F.T
    gain = S @ X.T @ np.linalg.inv(X @ S @ X.T + np.diag(noise / weight))
    found, root = condition(mean, F, noise, X, y, weight)
    assert_allclose(found, mean + gain @ (y - X @ mean))
    assert_allclose(root @ root.T, S - gain @ X @ S, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(8)),
    cuts=st.lists(st.integers(0, 8), max_size=4).map(sorted),
)
def test_rows_in_any_order_and_portions_are_rows_all_at_once(order, cuts):
    X, y, weight = rows_of([8], weighted=True)[0]
    start = np.zeros(P), factor()
    expected = condition(*start, 0.3, X, y, weight)
    found = start
    for rows in np.split(np.array(order), cuts):
        found = condition(*found, 0.3, X[rows], y[rows], weight[rows])
    assert_allclose(found[0], expected[0], rtol=1e-9)
    assert_allclose(found[1] @ found[1].T, expected[1] @ expected[1].T, atol=1e-9)


def test_tasks_along_a_leading_axis_are_conditioned_separately():
    X, y, weight = map(np.stack, zip(*rows_of([4] * 5, weighted=True), strict=True))
    mean, F = np.random.default_rng(0).normal(size=(5, P)), factor()
    F = F * np.arange(1.0, 6.0)[:, None, None]
    found = condition(mean, F, 0.3, X, y, weight)
    for task in range(5):
        alone = condition(mean[task], F[task], 0.3, X[task], y[task], weight[task])
        for one, other in zip(found, alone, strict=True):
            assert_allclose(one[task], other)


def test_rows_of_zero_weight_change_nothing():
    X, y, _ = rows_of([4])[0]
    mean, root = condition(np.ones(P), factor(), 0.3, X, y, np.zeros(4))
    assert_allclose(mean, np.ones(P))
    assert_allclose(root @ root.T, factor() @ factor().T)

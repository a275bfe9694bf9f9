"""Choice sets in the core: rows that have a design for each of their alternatives."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp, softmax

from skmeta._core.prior import laplace
from skmeta._core.prior.choice_model import ChoiceModel, as_sets, differences
from skmeta._core.prior.derivatives import hessian
from skmeta._core.prior.design import Design
from skmeta._core.prior.laplace import LaplaceTasks, condition
from skmeta._core.prior.learn import Options, learn
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.likelihoods import Bernoulli, Choice, of_labels
from skmeta._core.prior.models import LaplaceModel
from skmeta._core.prior.queries import Sets, choose_queries
from skmeta._core.prior.stacks import Stack, with_alternatives
from skmeta._core.tasks import ABSENT, TaskTable

D = 3
CHOICE = Choice()


def sets_of(rng, sizes, d=D, theta=None, outside=False):
    """Sets of so many offers (X, Y, weight, offset), chosen by utilities theta'x."""
    n = sum(sizes)
    X, offset = rng.normal(size=(n, d)), 0.5 * rng.normal(size=n)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    packed = as_sets(X, np.zeros(n), np.ones(len(sizes)), offset, starts, outside)
    theta = rng.normal(size=d) if theta is None else theta
    eta = packed[0] @ theta + packed[3]
    weight = rng.uniform(0.5, 1.5, size=len(sizes))
    return packed[0], CHOICE.draw(eta, rng), weight, packed[3]


def tasks_of(seed=0, sizes=(3, 2, 4, 3), n_tasks=6):
    rng = np.random.default_rng(seed)
    return [sets_of(rng, rng.permutation(sizes)[: 1 + t % 4]) for t in range(n_tasks)]


def mean_and_factor(d=D, seed=3):
    rng = np.random.default_rng(seed)
    return 0.5 * rng.normal(size=d), rng.normal(size=(d, d))


def differences_of(function, x, h=1e-5):
    out = np.zeros(np.shape(function(x)) + x.shape)
    for cell in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[cell] = h
        out[(..., *cell)] = (function(x + step) - function(x - step)) / (2 * h)
    return out


@pytest.fixture
def to_the_last_digit(monkeypatch):
    """Modes as exact as differences of evidences need them."""
    monkeypatch.setattr("skmeta._core.prior.modes.MODE_TOL", 1e-20)
    monkeypatch.setattr("skmeta._core.prior.modes.MAX_NEWTON", 20)


# -- the evidence ---------------------------------------------------------------------


@pytest.mark.parametrize("varying", [[True, True, True], [True, False, True]])
def test_the_derivatives_of_the_evidence_are_those_of_finite_differences(
    varying, to_the_last_digit
):
    varying = np.array(varying)
    tasks = LaplaceTasks.gather(tasks_of(), CHOICE, False, varying)
    mean, L = mean_and_factor()
    L = np.where(varying[:, None], L, 0.0)[:, : varying.sum()]
    found = tasks.evidence(L, mean)
    slope = differences_of(lambda m: tasks.evidence(L, m).value, mean)
    assert_allclose(found.mean_slope, slope, rtol=1e-5, atol=1e-5)
    slope = differences_of(lambda L: tasks.evidence(L, mean).value, L)
    assert_allclose((found.D @ L)[varying], slope[varying], rtol=1e-5, atol=1e-5)


def test_the_precision_of_the_mean_needs_no_spread_to_be_the_curvature():
    tasks = LaplaceTasks.gather(tasks_of(), CHOICE, False)
    mean, L = mean_and_factor()[0], np.zeros((D, 1))
    found = tasks.evidence(L, mean)
    bend = -differences_of(lambda m: tasks.evidence(L, m).mean_slope, mean)
    assert_allclose(found.precision, bend, rtol=1e-6, atol=1e-6)
    some = LaplaceTasks.gather(tasks_of(), CHOICE, False, np.array([True, False, True]))
    assert_allclose(some.evidence(L, mean).precision, bend, rtol=1e-6, atol=1e-6)


def test_a_stack_says_what_a_loop_over_sets_does():
    rng = np.random.default_rng(0)
    parts = tasks_of()
    stack = Stack.of(parts)
    theta = rng.normal(size=(len(parts), D))
    mu = CHOICE.mean(stack.eta(theta))
    H = hessian(CHOICE, stack, mu)
    for t, (X, _, weight, offset) in enumerate(parts):
        expected = 0.0
        for x, w, b in zip(X, weight, offset, strict=True):
            here = b > 0.5 * ABSENT
            p = softmax(x[here] @ theta[t] + b[here])
            W = np.diag(p) - np.outer(p, p)
            expected = expected + w * x[here].T @ W @ x[here]
        assert_allclose(H[t], expected)


def average_over_draws(part, mean, L, n=100_000):
    """The log evidence of a task (X, Y, weight, offset)."""
    X, Y, weight, offset = part
    u = np.random.default_rng(0).normal(size=(n // 2, L.shape[1]))
    theta = mean + np.concatenate([u, -u]) @ L.T
    eta = np.einsum("njd,kd->knj", X, theta) + offset
    return logsumexp(CHOICE.log_density(eta, Y) @ weight) - np.log(n)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_evidence_of_few_sets_is_an_average_over_the_prior(spread):
    parts, (mean, L) = [p for p in tasks_of() if len(p[0]) <= 3], mean_and_factor()
    parts = [(X, Y, np.ones(len(Y)), offset) for X, Y, _, offset in parts]
    tasks = LaplaceTasks.gather(parts, CHOICE, False)
    assert all(tasks.on_line)
    apart = mean @ tasks._weak @ mean
    found = tasks.evidence(spread * L, mean).value + 0.5 * apart
    expected = sum(average_over_draws(part, mean, spread * L) for part in parts)
    assert found == pytest.approx(expected, abs=0.05 * len(parts))


@pytest.mark.parametrize("spread", [1e3, 1e6])
def test_a_search_may_try_huge_spreads_where_sets_are_few(spread):
    tasks = LaplaceTasks.gather(tasks_of(sizes=(9,)), CHOICE, False)
    assert all(tasks.on_line)
    mean, L = mean_and_factor()
    found = tasks.evidence(spread * L, mean)
    assert np.isfinite(found.value) and np.isfinite(found.D).all()


def test_tasks_of_one_set_do_not_make_a_prior_wide():
    """By Laplace's method the mean was five times too large, and so was the spread."""
    rng = np.random.default_rng(0)
    parts = [sets_of(rng, [3], theta=1 + 1.5 * rng.normal(size=D)) for _ in range(400)]
    X, Y, _, offset = map(np.concatenate, zip(*parts, strict=True))
    table = TaskTable(X, Y, np.ones(400), np.arange(401), offset=offset)
    found = learned_from(table, prior="isotropic")
    assert_allclose(found.mean, np.ones(D), atol=0.6)
    assert 0.5 < np.sqrt(np.diag(found.spread @ found.spread.T).mean()) < 3.0


def test_large_sets_are_stacked_apart_from_small_ones():
    rng = np.random.default_rng(0)
    parts = [sets_of(rng, [3, 2, 4, 3, 3]) for _ in range(6)]
    parts.append(sets_of(rng, [200, 3, 3, 2, 2]))
    wide = [with_alternatives(part, 200) for part in parts]
    mean, L = mean_and_factor()
    tasks = LaplaceTasks.gather(wide, CHOICE, False)
    assert sorted(stack.n_outputs for stack in tasks.stacks) == [4, 200]
    alone = [LaplaceTasks.gather([part], CHOICE, False) for part in parts]
    weak = 0.5 * mean @ tasks._weak @ mean
    expected = sum(one.evidence(L, mean).value + weak for one in alone)
    assert_allclose(tasks.evidence(L, mean).value + weak, expected)
    prior = SimpleNamespace(mean=mean, factor=0.5 * L)
    assert np.isfinite(tasks.held_out_score(prior, 0)).all()


def test_very_many_tasks_are_gathered_from_their_table(monkeypatch):
    table = table_of(0, 20, (3, 2, 4, 3))
    found = learned_from(table)
    for module in ("_core.tasks", "_core.prior.fit"):
        monkeypatch.setattr(f"skmeta.{module}.MANY_TASKS", 5)
    same = learned_from(table)
    assert_allclose(same.mean, found.mean, atol=1e-3)
    assert_allclose(same.spread, found.spread, atol=1e-2)


def test_neither_padding_nor_the_order_of_alternatives_changes_anything():
    # the points that fewer sets are averaged over belong to the places of alternatives
    parts = [part for part in tasks_of() if len(part[0]) > 3]
    mean, L = mean_and_factor()
    padded = [with_alternatives(part, 7) for part in parts]
    turned = [[p[:, ::-1] if p.ndim > 1 else p for p in part] for part in padded]
    one, *others = (
        LaplaceTasks.gather(some, CHOICE, False) for some in (parts, padded, turned)
    )
    assert others[0].stacks[0].n_outputs < 7
    expected = one.evidence(L, mean)
    for other in others:
        found = other.evidence(L, mean)
        assert_allclose(found.value, expected.value)
        assert_allclose(found.D, expected.D, atol=1e-10)
        one_task = other.pooled()
        assert_allclose(one_task, one.pooled(), atol=1e-10)
        assert_allclose(other.information(L), one.information(L))


def test_sets_of_two_are_logistic_regressions_of_differences():
    rng = np.random.default_rng(0)
    parts = [sets_of(rng, [2] * n) for n in (1, 3, 6)]
    rows = [differences(*part) for part in parts]
    mean, L = mean_and_factor()
    for stack, other in zip(parts, rows, strict=True):
        mode = laplace.find_mode(CHOICE, Stack.of([stack]), mean, L)
        same = laplace.find_mode(Bernoulli(), Stack.of([other]), mean, L)
        assert_allclose(mode.theta, same.theta, atol=1e-8)
        assert_allclose(mode.hessian, same.hessian, atol=1e-8)
        assert_allclose(mode.value, same.value, atol=1e-8)
    parts = [(X, Y, weight, 0.0 * offset) for X, Y, weight, offset in parts]
    of_sets, of_rows = (
        LaplaceTasks.gather(some, kind, False)
        for some, kind in ((parts, CHOICE), (rows, Bernoulli()))
    )
    assert_allclose(of_sets.information(L), of_rows.information(L))


@pytest.mark.parametrize("n_sets", [1, 4])
def test_the_posterior_is_the_same_in_the_space_of_the_sets(n_sets, monkeypatch):
    rng = np.random.default_rng(0)
    d = 2 * 4 * n_sets + 21
    stack = Stack.of([sets_of(rng, [4, 3, 4, 2][:n_sets], d) for _ in range(3)])
    mean, L = mean_and_factor(d)
    L /= np.sqrt(d)
    theta, factor = condition(CHOICE, mean, L, stack)
    monkeypatch.setattr("skmeta._core.prior.laplace.MANY_UNKNOWNS", 1000)
    expected, half = condition(CHOICE, mean, L, stack)
    assert_allclose(theta, expected, atol=1e-7)
    covariance, V = (A @ A.swapaxes(1, 2) for A in (factor, half))
    assert_allclose(covariance, V, atol=1e-7)


# -- the model ------------------------------------------------------------------------


def table_of(seed=0, n_tasks=12, sizes=(3, 2, 4, 3, 3, 2), outside=False, d=D):
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(n_tasks):
        theta = rng.normal(size=d) + np.arange(d)
        part = sets_of(rng, rng.permutation(sizes), d, theta, outside)
        parts.append(with_alternatives(part, max(sizes) + outside))
    X, Y, weight, offset = map(np.concatenate, zip(*parts, strict=True))
    starts = np.arange(n_tasks + 1) * len(sizes)
    return TaskTable(X, Y, weight, starts, offset=offset)


def learned_from(table, model=None, prior="diagonal", outside=False):
    design = Design(D, fit_intercept=outside)
    model = ChoiceModel(outside=outside) if model is None else model
    return learn(table, model, design, Options(prior), np.random.RandomState(0))


def some_rows(table, rows):
    fields = table.X, table.Y, table.weight, table.offset
    return SeenRows(*(field[rows] for field in fields))


@pytest.fixture(scope="module")
def learned():
    return learned_from(table_of(n_tasks=30))


@pytest.mark.parametrize("adapted", [False, True])
def test_probabilities_of_a_shelf_are_averages_over_what_is_not_known(learned, adapted):
    table = table_of(1, 1, (3, 5, 3, 4, 5, 5))
    present = learned.condition(some_rows(table, slice(0, 3))) if adapted else None
    rows = some_rows(table, slice(3, None))
    found = np.exp(learned.predictive(rows.X, rows.offset, present))
    known = learned.predicting(present)
    share = learned.calibration if adapted else 1.0
    u = np.random.default_rng(0).normal(size=(20_000, known.factor.shape[1]))
    u = np.concatenate([u, -u])
    theta = known.mean + np.sqrt(share) * u @ known.factor.T
    eta = np.einsum("njd,kd->knj", rows.X, theta) + rows.offset
    expected = softmax(eta, axis=-1).mean(axis=0)
    assert_allclose(found, expected, atol=0.01)
    assert_allclose(found.sum(axis=1), np.ones(len(found)))
    assert (found[rows.offset < 0.5 * ABSENT] == 0).all()


def test_permuting_offers_permutes_their_probabilities(learned):
    table = table_of(1, 1)
    present = learned.condition(some_rows(table, slice(0, 3)))
    X, _, _, offset = some_rows(table, slice(3, None))
    expected = np.exp(learned.predictive(X, offset, present))
    order = np.random.default_rng(0).permutation(X.shape[1])
    found = np.exp(learned.predictive(X[:, order], offset[:, order], present))
    assert_allclose(found, expected[:, order], atol=1e-13)
    wide = with_alternatives((X, X[..., 0], None, offset), 9)
    found = np.exp(learned.predictive(wide[0], wide[3], present))
    assert_allclose(found[:, : X.shape[1]], expected, atol=1e-13)


def test_portions_of_sets_of_any_size_are_all_sets_together(learned):
    small, large = table_of(1, 1, (2, 2, 2)), table_of(2, 1, (5, 4, 3))
    rows = [some_rows(table, slice(None)) for table in (small, large)]
    one = learned.condition(rows[1], learned.condition(rows[0]))
    other = learned.condition(rows[0], learned.condition(rows[1]))
    assert_allclose(one.mean, other.mean, atol=1e-7)
    assert_allclose(one.factor @ one.factor.T, other.factor @ other.factor.T, atol=1e-7)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("prior", ["isotropic", "full"])
def test_if_all_sets_are_pairs_they_are_labels_of_two_classes(outside, prior):
    size = 1 if outside else 2
    table = table_of(0, 30, (size,) * 6, outside)
    found = learned_from(table, None, prior, outside)
    X, Y, _, offset = differences(table.X, table.Y, table.weight, table.offset)
    rows = replace(table, X=X, Y=Y, offset=offset)
    expected = learned_from(rows, LaplaceModel(of_labels(1)), prior, outside)
    assert_allclose(found.mean, expected.mean)
    assert_allclose(found.spread, expected.spread)
    assert found.log_evidence == pytest.approx(expected.log_evidence)
    assert found.calibration == pytest.approx(expected.calibration)
    assert found.zero_shot == expected.zero_shot
    present = found.condition(some_rows(table, slice(0, 4)))
    same = expected.condition(some_rows(rows, slice(0, 4)))
    assert_allclose(present.mean, same.mean, atol=1e-9)
    p = np.exp(found.predictive(table.X, table.offset, present))[:, 1]
    odds = expected.predictive(rows.X, rows.offset, same)[:, 0]
    assert_allclose(p, Bernoulli().mean(odds), atol=1e-9)


# -- questions ------------------------------------------------------------------------


def chosen_by_a_loop(X, p, covariance, n_queries):
    """Sets that leave the least total variance tr(W X V X') over the pool."""
    W = [np.diag(one) - np.outer(one, one) for one in p]
    H, asked = [x.T @ w @ x for x, w in zip(X, W, strict=True)], []
    for _ in range(n_queries):
        precision = np.linalg.inv(covariance) + sum((H[i] for i in asked), 0.0)
        left = [
            np.inf
            if i in asked
            else np.trace(np.linalg.solve(precision + H[i], sum(H)))
            for i in range(len(X))
        ]
        asked.append(int(np.argmin(left)))
    return asked


@pytest.mark.parametrize("d", [3, 8])
def test_each_set_asked_about_leaves_the_least_variance_over_the_pool(d):
    rng = np.random.default_rng(0)
    X, _, _, offset = sets_of(rng, [5, 3, 4, 5, 2, 5, 4, 4, 3], d)
    p = softmax(X @ rng.normal(size=d) + offset, axis=1)
    factor = rng.normal(size=(d, d))
    pool = Sets(lambda rows: X[rows], CHOICE.root_curvature(p), factor)
    expected = chosen_by_a_loop(X, p, factor @ factor.T, 4)
    assert choose_queries(pool, 4).tolist() == expected


def test_sets_of_two_are_asked_about_as_rows_of_two_classes_are(learned):
    rng = np.random.default_rng(4)
    sets = sets_of(rng, [2] * 12)
    rows = differences(*sets)
    classes = replace(learned, model=LaplaceModel(of_labels(1)))
    unseen = np.linalg.qr(rng.normal(size=(D, 1)))[0]
    for nowhere in (learned.unseen, unseen):
        found, expected = (
            replace(one, unseen=nowhere).choose_queries(
                lambda some, X=X: X[some], one.information(X, offset), 5
            )
            for one, (X, _, _, offset) in ((learned, sets), (classes, rows))
        )
        assert found.tolist() == expected.tolist()


def test_utilities_of_flat_offers_are_those_in_their_sets():
    table = table_of(0, 20, outside=True)
    learned = learned_from(table, outside=True)
    flat = table.X[:4, 1:].reshape(-1, D)
    present = learned.condition(some_rows(table, slice(0, 4)))
    found = learned.outputs(flat, mean=present.mean)[:, 0]
    sets = learned.outputs(table.X[:4], mean=present.mean)
    assert_allclose(sets[:, 0], 0.0)  # the outside option
    assert_allclose(found, sets[:, 1:].ravel())

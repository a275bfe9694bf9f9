"""The prior without an estimator: learned from rows, asked about rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.prior.design import Design
from skmeta._core.prior.learn import Options, learn
from skmeta._core.prior.learned import SeenRows
from skmeta._core.prior.likelihoods import Bernoulli
from skmeta._core.prior.models import GaussianModel, LaplaceModel
from skmeta._core.tasks import TaskTable

N_TASKS, N_ROWS = 30, 8


def table_of(labels=False, n_tasks=N_TASKS, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_tasks * N_ROWS, 2))
    task = np.repeat(np.arange(n_tasks), N_ROWS)
    slopes, intercepts = rng.normal(size=(n_tasks, 2)) + 1.0, rng.normal(size=n_tasks)
    y = (X * slopes[task]).sum(axis=1) + intercepts[task] + rng.normal(size=len(X))
    Y = (y > 0)[:, None] * 1.0 if labels else y[:, None]
    starts = np.arange(0, len(X) + 1, N_ROWS)
    return TaskTable(X, Y, np.ones(len(X)), starts)


def learned_from(table, model, design=None, **options):
    options = Options(**{"structure": "diagonal"} | options)
    rng = np.random.RandomState(0)
    return learn(table, model, design or Design(2), options, rng)


def rows_of(table, some):
    return SeenRows(table.X[some], table.Y[some], table.weight[some], 0 * table.Y[some])


@pytest.fixture(scope="module")
def numbers():
    return learned_from(table_of(), GaussianModel())


@pytest.fixture(scope="module")
def labels():
    return learned_from(table_of(labels=True), LaplaceModel(Bernoulli()))


def columns(X):
    return np.column_stack([X, np.ones(len(X))])


def test_conditioning_and_predicting_are_the_formulas_of_a_normal_distribution(numbers):
    rows = rows_of(table_of(seed=1), slice(5))
    present = numbers.condition(rows)
    A, S = columns(rows.X), numbers.factor @ numbers.factor.T
    gain = S @ A.T @ np.linalg.inv(A @ S @ A.T + numbers.noise * np.eye(5))
    mean = numbers.mean + gain @ (rows.Y[:, 0] - A @ numbers.mean)
    covariance = S - gain @ A @ S
    assert_allclose(present.mean, mean)
    assert_allclose(present.factor @ present.factor.T, covariance, atol=1e-12)
    X = np.random.default_rng(2).normal(size=(4, 2))
    found, deviation, freedom = numbers.predictive(X, present=present).T
    assert_allclose(found, columns(X) @ mean)
    spread = np.einsum("nd,de,ne->n", columns(X), covariance, columns(X))
    # maximum likelihood finds variances that are too small; these factors mend that
    scales = numbers.calibration.after.scales
    least, most, variance = scales.min(), scales.max(), spread + numbers.noise
    assert (deviation**2 >= least * variance * (1 - 1e-12)).all()
    assert (deviation**2 <= most * variance * (1 + 1e-12)).all()
    assert 1.0 <= least <= most < 1.2 and (freedom > 10).all()


def test_the_prior_is_that_of_the_tasks_as_far_as_they_tell(numbers):
    assert numbers.structure == "diagonal" and numbers.stopped_after is None
    assert_allclose(numbers.mean, [1.0, 1.0, 0.0], atol=0.5)
    assert_allclose(np.diag(numbers.spread @ numbers.spread.T), np.ones(3), atol=0.8)
    assert_allclose(numbers.noise, 1.0, atol=0.3)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_portions_of_rows_in_any_order_are_one_call(kind, request):
    learned = request.getfixturevalue(kind)
    table = table_of(labels=kind == "labels", seed=1)
    whole = learned.condition(rows_of(table, slice(7)))
    part = learned.condition(rows_of(table, slice(4, 7)))
    part = learned.condition(rows_of(table, slice(4)), part)
    assert_allclose(part.mean, whole.mean, rtol=1e-8)
    covariances = (known.factor @ known.factor.T for known in (part, whole))
    assert_allclose(*covariances, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_conditioning_and_predicting_leave_what_was_learned_as_it_is(kind, request):
    learned = request.getfixturevalue(kind)
    table = table_of(labels=kind == "labels", seed=1)
    before = pickle.dumps(learned)
    present = learned.condition(rows_of(table, slice(5)))
    learned.predictive(table.X, present=present)
    learned.information(table.X, present=present)
    assert pickle.dumps(learned) == before


def test_the_mode_of_labels_is_where_the_posterior_is_level(labels):
    rows = rows_of(table_of(labels=True, seed=1), slice(6))
    present = labels.condition(rows)
    A = columns(rows.X)
    p = 1 / (1 + np.exp(-A @ present.mean))
    S = labels.factor @ labels.factor.T
    slope = A.T @ (rows.Y[:, 0] - p) - np.linalg.solve(S, present.mean - labels.mean)
    assert_allclose(slope, np.zeros(3), atol=1e-8)
    precision = np.linalg.inv(S) + (A * (p * (1 - p))[:, None]).T @ A
    found = present.factor @ present.factor.T
    assert_allclose(found, np.linalg.inv(precision), rtol=1e-8)


@pytest.mark.parametrize("adapted", [False, True])
def test_draws_of_numbers_have_the_predicted_mean_and_deviation(numbers, adapted):
    table, rng = table_of(seed=1), np.random.default_rng(0)
    present = numbers.condition(rows_of(table, slice(4))) if adapted else None
    X = table.X[4:8]
    drawn = numbers.draw(X, 20000, rng, present=present)[..., 0]
    mean, deviation, _ = numbers.predictive(X, present=present).T
    assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
    assert_allclose(drawn.std(axis=0), deviation, rtol=0.05)


@pytest.mark.parametrize("adapted", [False, True])
def test_draws_of_labels_are_as_frequent_as_predicted(labels, adapted):
    table, rng = table_of(labels=True, seed=1), np.random.default_rng(0)
    present = labels.condition(rows_of(table, slice(4))) if adapted else None
    X = table.X[4:8]
    drawn = labels.draw(X, 20000, rng, present=present)
    p = 1 / (1 + np.exp(-labels.predictive(X, present=present)))
    assert_allclose(drawn.mean(axis=0), p, atol=0.02)


def test_a_single_task_gives_its_posterior_as_the_prior_of_later_ones():
    table = table_of(n_tasks=1)
    learned = learned_from(table, GaussianModel())
    assert learned.structure == "isotropic" and learned.zero_shot == "prior"
    before = np.linalg.norm(learned.first_factor, axis=1)
    assert (np.linalg.norm(learned.factor, axis=1) < before).all()
    assert_array_equal(learned.start_mean, learned.mean)


def test_what_takes_long_is_announced_before_it_begins():
    calls = []

    def interrupt(tasks, n_tasks):
        calls.append((tasks.n_coefficients, n_tasks))
        raise KeyboardInterrupt

    for n_tasks in (1, 10):
        with pytest.raises(KeyboardInterrupt):
            learn(
                table_of(n_tasks=n_tasks),
                GaussianModel(),
                Design(2),
                Options(),
                np.random.RandomState(0),
                interrupt,
            )
    assert calls == [(3, 1), (3, 10)]


def test_facts_of_a_search_are_returned_and_nothing_is_warned_of(recwarn):
    stopped = learned_from(table_of(), GaussianModel(), max_iter=1)
    assert stopped.stopped_after == 1
    single = table_of(n_tasks=40)
    single = TaskTable(
        single.X[::N_ROWS], single.Y[::N_ROWS], np.ones(40), np.arange(41)
    )
    assert learned_from(single, GaussianModel()).not_told == (1, 3)
    assert not recwarn.list


# -- columns --------------------------------------------------------------------------


def test_a_design_without_intercept_has_the_columns_of_x():
    X = np.random.default_rng(0).normal(size=(5, 2))
    assert_array_equal(Design(2, False)(X), X)
    assert_array_equal(Design(2)(X), columns(X))
    assert Design(2, False).n_columns == 2 and Design(2).n_columns == 3


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_outputs_are_columns_times_coefficients(fit_intercept):
    rng = np.random.default_rng(0)
    design, X = Design(2, fit_intercept), rng.normal(size=(5, 2))
    coef = rng.normal(size=(3, design.n_columns))
    assert_allclose(design.times(X, coef), design(X) @ coef.T)

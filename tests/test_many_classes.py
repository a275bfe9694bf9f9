"""Spreads of classes times columns, and their evidence in contrasts and in rows."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta import EmpiricalBayesClassifier
from skmeta._core.prior import contrasts, laplace, rows
from skmeta._core.prior.fit import Hill, fit_mean, fit_prior
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import Categorical
from skmeta._core.prior.mean_slopes import with_slopes_deviation
from skmeta._core.prior.stacks import Stack, pieces_of
from skmeta._core.prior.structures import Kronecker, place

N_CLASSES, N_COLUMNS = 4, 5
CATEGORICAL = Categorical(N_CLASSES)


def slope_of(function, x, step=1e-5):
    steps = step * np.eye(len(x))
    return np.array([(function(x + h) - function(x - h)) / (2 * step) for h in steps])


def kronecker(columns=range(N_COLUMNS), shrinkage=2.5):
    return Kronecker(N_CLASSES, np.array(columns), N_COLUMNS, True, shrinkage)


def a_stack(rng, n_rows):
    X = rng.normal(size=(3, n_rows, N_COLUMNS))
    Y = np.eye(N_CLASSES)[rng.integers(N_CLASSES, size=(3, n_rows))]
    weight = rng.uniform(0.5, 1.5, size=(3, n_rows))
    weight[0, -1] = 0.0
    return Stack(X, Y, weight, rng.normal(size=Y.shape))


def a_spread(rng, varying):
    """Any covariance of the classes for each column that varies."""
    L = np.zeros((N_CLASSES, N_COLUMNS, N_CLASSES, N_COLUMNS))
    for column in np.flatnonzero(varying):
        L[:, column, :, column] = 0.5 * rng.normal(size=(N_CLASSES, N_CLASSES))
    L = L.reshape(N_CLASSES * N_COLUMNS, -1)
    return L[:, L.any(axis=0)]


def some_parts(rng, n_tasks=6, n_rows=9, n_columns=3, n_classes=3, scale=1.0):
    mean = rng.normal(size=(n_columns, n_classes))
    parts = []
    for _ in range(n_tasks):
        X = rng.normal(size=(n_rows, n_columns))
        X[:, -1] = 1.0
        coef = mean + scale * rng.normal(size=mean.shape)
        label = (X @ coef + rng.gumbel(size=(n_rows, n_classes))).argmax(axis=1)
        Y = np.eye(n_classes)[label]
        parts.append((X, Y, np.ones(n_rows), np.zeros_like(Y)))
    return parts


def as_tasks(parts):
    return [(X[:, :-1], Y.argmax(axis=1)) for X, Y, _, _ in parts]


# -- the structure --------------------------------------------------------------------


@pytest.mark.parametrize("columns", [range(N_COLUMNS), [N_COLUMNS - 1], [1, 4]])
def test_the_gradient_of_a_kronecker_spread_is_that_of_finite_differences(columns):
    rng = np.random.default_rng(0)
    structure = kronecker(columns)
    numbers = 0.5 * rng.normal(size=structure.n_numbers)
    D = rng.normal(size=(N_CLASSES * N_COLUMNS,) * 2)
    D = D + D.T

    def value(numbers):
        L = structure.factor(numbers)
        return 0.5 * np.trace(L.T @ D @ L)

    assert_allclose(structure.gradient(numbers, D), slope_of(value, numbers), atol=1e-6)
    penalty, slope = structure.penalty(numbers)
    assert penalty < 0
    assert_allclose(
        slope, slope_of(lambda v: structure.penalty(v)[0], numbers), atol=1e-6
    )
    assert len(structure.bounds) == structure.n_numbers


def test_a_kronecker_spread_is_a_product_of_classes_and_columns():
    rng = np.random.default_rng(1)
    structure = kronecker()
    numbers = rng.normal(size=structure.n_numbers)
    L = structure.factor(numbers)
    spread = (L @ L.T).reshape(N_CLASSES, N_COLUMNS, N_CLASSES, N_COLUMNS)
    variances = np.sinh(numbers[:N_COLUMNS]) ** 2
    A = spread[:, 0, :, 0] / variances[0]
    assert_allclose(np.linalg.det(A), 1.0)
    for column in range(N_COLUMNS - 1):
        assert_allclose(spread[:, column, :, column], variances[column] * A, rtol=1e-9)
        assert not spread[:, column, :, column + 1].any()


def test_classes_are_alike_in_the_start_that_a_simpler_structure_gives():
    covariance = np.diag(np.tile([4.0, 0.0, 1.0, 9.0, 1.0], N_CLASSES))
    structure = kronecker()
    L = structure.factor(structure.start(covariance, None, boldness=0.0))
    assert_allclose(L @ L.T, covariance, atol=1e-12)


# -- evidence -------------------------------------------------------------------------


@pytest.mark.parametrize("varying", [[1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [0, 0, 0, 1, 1]])
@pytest.mark.parametrize(("n_rows", "full"), [(3, 60), (8, 0)])
def test_contrasts_and_rows_give_the_evidence_of_the_plain_dense_formula(
    varying, n_rows, full, monkeypatch
):
    rng = np.random.default_rng(2)
    varying = np.array(varying, dtype=bool)
    stack, L = a_stack(rng, n_rows), a_spread(rng, varying)
    mean = 0.3 * rng.normal(size=len(L))
    plain = laplace._evidence(CATEGORICAL, stack, mean, L)
    columns = contrasts.columns_of(L, N_CLASSES, np.ones(N_COLUMNS, dtype=bool))
    monkeypatch.setattr(contrasts, "FULL", full)
    blocks = np.zeros((N_CLASSES, N_COLUMNS) * 2, dtype=bool)
    for column in np.flatnonzero(varying):
        blocks[:, column, :, column] = True
    blocks = blocks.reshape(plain.D.shape)
    for found in (
        contrasts.evidence(CATEGORICAL, stack, mean, columns),
        rows.evidence(CATEGORICAL, stack, mean, columns),
    ):
        assert_allclose(found.value, plain.value, rtol=1e-7)
        assert_allclose(found.D[blocks], plain.D[blocks], rtol=1e-5, atol=1e-6)
        assert_allclose(found.mean_slope, plain.mean_slope, rtol=1e-5, atol=1e-6)
        assert_allclose(found.precision(), plain.precision(), rtol=1e-5, atol=1e-6)


def test_a_warm_start_changes_nothing():
    rng = np.random.default_rng(3)
    stack, L = a_stack(rng, 4), a_spread(rng, np.ones(N_COLUMNS, dtype=bool))
    mean = 0.3 * rng.normal(size=len(L))
    for space in (contrasts, rows):
        some = contrasts.columns_of(1.3 * L, N_CLASSES, np.ones(N_COLUMNS, dtype=bool))
        state = space.evidence(CATEGORICAL, stack, -mean, some).u
        columns = contrasts.columns_of(L, N_CLASSES, np.ones(N_COLUMNS, dtype=bool))
        cold = space.evidence(CATEGORICAL, stack, mean, columns)
        warm = space.evidence(CATEGORICAL, stack, mean, columns, state)
        assert_allclose(warm.value, cold.value, rtol=1e-8)
        assert_allclose(warm.D, cold.D, rtol=1e-5, atol=1e-7)


def test_columns_that_vary_together_have_no_such_form():
    L = np.eye(N_CLASSES * N_COLUMNS)
    L[0, 1] = 1.0
    varying = np.ones(N_COLUMNS, dtype=bool)
    assert contrasts.columns_of(L, N_CLASSES, varying) is None


def test_the_slope_of_the_evidence_is_that_of_finite_differences():
    rng = np.random.default_rng(4)
    tasks = LaplaceTasks.gather(some_parts(rng), Categorical(3), True)
    structure = place(Kronecker(3, np.arange(3), 3, True, 3.0), tasks)
    hill = Hill(tasks, structure, None, 0.5 * np.ones(structure.n_numbers))
    x = np.concatenate([0.5 + 0.3 * rng.normal(size=structure.n_numbers), np.zeros(9)])
    assert_allclose(hill.climb(x)[1], slope_of(hill.value, x), rtol=1e-3, atol=1e-4)


def test_a_task_with_many_coefficients_counts_as_pieces_of_a_few_rows():
    rng = np.random.default_rng(5)
    parts = some_parts(rng, n_tasks=2, n_rows=30, n_columns=16, n_classes=4, scale=0.3)
    tasks = LaplaceTasks.gather(parts, CATEGORICAL, True)
    halves = [[field[half] for field in part] for part in parts for half in PIECES]
    pieces = LaplaceTasks.gather(halves, CATEGORICAL, True).whole()
    mean, L = 0.1 * rng.normal(size=64), 0.3 * np.eye(64)
    found = tasks.evidence(L, mean)
    assert_allclose(found.value, pieces.evidence(L, mean).value, rtol=1e-9)
    assert found.value != pytest.approx(tasks.whole().evidence(L, mean).value)
    few = replace(tasks, max_pieces=2)
    first = LaplaceTasks.gather(halves[::2], CATEGORICAL, True)
    assert_allclose(few.evidence(L, mean).value, first.evidence(L, mean).value)
    assert_allclose(few.with_all_pieces().evidence(L, mean).value, found.value)


PIECES = slice(0, 16), slice(16, 30)


def test_a_mean_alone_ends_where_the_whole_search_does_with_the_same_spread():
    rng = np.random.default_rng(6)
    parts = some_parts(rng, n_tasks=12)
    tasks = LaplaceTasks.gather(parts, Categorical(3), True)
    structure = place(Kronecker(3, np.arange(3), 3, True, 3.0), tasks)
    prior = fit_prior(tasks, structure, np.ones(structure.n_numbers), tol=1e-6)
    moved = replace(prior, mean=prior.mean + 0.1)
    again = fit_mean(tasks, structure, moved, n_steps=9)
    E = np.kron(contrasts.basis(3).T, np.eye(3))
    assert_allclose(E @ again.mean, E @ prior.mean, atol=1e-3)


def test_equal_rows_are_in_the_same_piece_as_one_of_their_weight():
    X, Y = np.arange(6.0)[:, None], np.eye(6)
    one = X, Y, np.array([1.0, 2.0, 1.0, 0.0, 3.0, 1.0]), 0 * Y
    rows = np.repeat(np.arange(6), [1, 2, 1, 1, 3, 1])
    several = X[rows], Y[rows], np.array([1.0, 1, 1, 1, 0, 1, 1, 1, 1]), 0 * Y[rows]
    pieces = [[set(p[0][:, 0]) for p in pieces_of(part, 3)] for part in (one, several)]
    assert pieces[0] == pieces[1] == [{0, 1}, {2, 3, 4}, {5}]


def test_a_piece_of_more_equal_rows_than_it_should_hold_is_not_cut_again():
    rng = np.random.default_rng(5)
    parts = some_parts(rng, n_tasks=2, n_rows=4, n_columns=16, n_classes=4)
    parts = [[np.repeat(field, 20, axis=0) for field in part] for part in parts]
    tasks = LaplaceTasks.gather(parts, CATEGORICAL, True)
    assert tasks.work(64) > 0
    assert np.isfinite(tasks.evidence(0.3 * np.eye(64), np.zeros(64)).value)


# -- adapting -------------------------------------------------------------------------


def test_adapting_by_rows_is_adapting_by_coefficients():
    rng = np.random.default_rng(7)
    stack = a_stack(rng, 2)
    P = N_CLASSES * N_COLUMNS
    factor = np.linalg.qr(rng.normal(size=(P, P)))[0] * rng.uniform(0, 1, size=P)
    mean = rng.normal(size=P)
    mode = laplace._condition_by_rows(CATEGORICAL, mean, factor, stack)
    plain = laplace.condition(CATEGORICAL, mean, factor, stack)
    assert_allclose(mode[0], plain[0], atol=1e-7)
    for by_rows, by_coefficients in zip(mode[1], plain[1], strict=True):
        assert_allclose(
            by_rows @ by_rows.T, by_coefficients @ by_coefficients.T, atol=1e-7
        )


# -- the mean -------------------------------------------------------------------------


def test_the_deviation_of_the_means_slopes_is_learned():
    rng = np.random.default_rng(8)
    parts = some_parts(rng, n_tasks=15, n_rows=12, n_columns=6)
    told = LaplaceTasks.gather(parts, Categorical(3), True)
    none = [(rng.normal(size=X.shape), *rest) for X, *rest in parts]
    none = LaplaceTasks.gather(none, Categorical(3), False)
    large = with_slopes_deviation(told, (5, 3, True)).likelihood.slopes_deviation
    small = with_slopes_deviation(none, (6, 3, False)).likelihood.slopes_deviation
    assert small < 0.5 * large


# -- the classifier -------------------------------------------------------------------


def test_the_order_of_the_classes_does_not_matter():
    parts = some_parts(np.random.default_rng(9), n_tasks=10, n_rows=8)
    tasks = as_tasks(parts)
    names = np.array([2, 0, 1])
    named = [(X, names[y]) for X, y in tasks]
    params = {"prior": "kronecker", "random_state": 0}
    model = EmpiricalBayesClassifier(**params).meta_fit(tasks)
    other = EmpiricalBayesClassifier(**params).meta_fit(named)

    def differences(model):
        return model.coef_ - model.coef_.mean(axis=0)

    assert_allclose(differences(other)[names], differences(model), atol=1e-5)
    model, other = (m.adapt(*some[1]) for m, some in ((model, tasks), (other, named)))
    assert_allclose(differences(other)[names], differences(model), atol=1e-5)


@pytest.mark.parametrize("prior", ["kronecker", "intercept", "auto"])
def test_columns_may_be_shared_and_classes_differ(prior):
    tasks = as_tasks(some_parts(np.random.default_rng(10), n_tasks=10, n_columns=4))
    model = EmpiricalBayesClassifier(prior, varying=[0], random_state=0).meta_fit(tasks)
    d = 4
    deviations = np.sqrt(np.diag(model.prior_covariance_)).reshape(3, d)
    assert not deviations[:, 1:3].any()
    assert deviations[:, -1].all()
    assert prior == "auto" or model.prior_structure_ == prior


def test_two_classes_have_no_spread_of_classes():
    tasks = as_tasks(some_parts(np.random.default_rng(11), n_classes=2))
    with pytest.raises(ValueError, match="needs more than two classes"):
        EmpiricalBayesClassifier("kronecker").meta_fit(tasks)

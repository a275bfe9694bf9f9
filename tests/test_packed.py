"""Many Gaussian tasks side by side: the numbers are those of the plain version."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta import EmpiricalBayesRegressor
from skmeta._core import tasks
from skmeta._core.prior import fit, laplace, packed
from skmeta._core.prior.fit import fit_all, fit_prior
from skmeta._core.prior.gaussian import GaussianTasks
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.likelihoods import of_labels
from skmeta._core.prior.noise import FACTORS, NoiseBelief, NoiseTasks, shares_of
from skmeta._core.prior.packed import PackedTasks
from skmeta._core.prior.structures import Diagonal, Full, place
from skmeta._core.tasks import Parts, TaskTable


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def draw_table(n_tasks=60, n_columns=3, rows=(1, 9), offset=0.0, dependent=False):
    rng = np.random.default_rng(0)
    sizes = rng.integers(rows[0], rows[1] + 1, size=n_tasks)
    task = np.repeat(np.arange(n_tasks), sizes)
    X = rng.normal(size=(len(task), n_columns)) + offset
    if dependent:
        X[:, 1] = 2 * X[:, 0]
    theta = rng.normal(size=(n_tasks, n_columns))
    y = (X * theta[task]).sum(axis=1) + rng.normal(size=len(task))
    weight = rng.uniform(0.5, 2.0, size=len(task))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return TaskTable(X, y[:, None], weight, starts)


def gathered(table, varying=None):
    """The same tasks by the plain version and by the fast one."""
    parts = Parts(table, with_ones)
    rows = ((X, Y[:, 0], weight) for X, Y, weight, _ in parts.undesigned())
    P = table.X.shape[1] + 1
    rounding = np.full(P, np.finfo(float).eps)
    varying = None if varying is None else np.array(varying)
    return (
        GaussianTasks.gather(rows, True, parts.sizes, with_ones, rounding, varying),
        PackedTasks.gather(parts, True, rounding, varying),
    )


def assert_same_evidence(one, other, rtol=1e-9):
    assert_allclose(one.value, other.value, rtol=1e-11)
    assert_allclose(one.noise, other.noise, rtol=rtol)
    assert_allclose(one.mean, other.mean, rtol=rtol, atol=rtol)
    for name in ("D", "precision"):
        a, b = getattr(one, name), getattr(other, name)
        assert_allclose(a, b, atol=rtol * np.abs(a).max())


CASES = {
    "ragged tasks": {},
    "offsets": {"offset": 1e3},
    "columns that depend on others": {"dependent": True},
    "more columns than rows": {"n_columns": 40, "rows": (2, 60)},
    "long tasks": {"rows": (100, 300), "n_tasks": 20},
}


@pytest.mark.parametrize("case", CASES)
def test_many_tasks_have_the_evidence_of_the_plain_version(case):
    plain, fast = gathered(draw_table(**CASES[case]))
    P = plain.n_coefficients
    rng = np.random.default_rng(1)
    spreads = rng.normal(size=(P, P)), np.eye(P)[:, -1:], np.zeros((P, P))
    for L in spreads:
        found = plain.evidence(0.5 * L)
        assert_same_evidence(found, fast.evidence(0.5 * L), rtol=1e-7)
    prior = NoiseBelief(found.mean, 0.5 * spreads[0], found.noise, None)
    assert_allclose(fast.log_evidence(prior), plain.log_evidence(prior), rtol=1e-7)
    assert_allclose(fast.loss(found.mean), plain.loss(found.mean), rtol=1e-7)
    assert_allclose(fast.constant(), plain.constant(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [1e3, 1e7])
def test_spreads_of_any_size_have_the_same_evidence(size):
    plain, fast = gathered(draw_table())
    L = size * np.diag([1.0, 0.1, 10.0, 1.0])
    assert_same_evidence(plain.evidence(L), fast.evidence(L), rtol=1e-6)


def test_columns_that_tasks_share_have_the_same_evidence():
    plain, fast = gathered(draw_table(), varying=[True, False, False, True])
    L = np.diag([0.7, 0.0, 0.0, 0.3])
    assert_same_evidence(plain.evidence(L), fast.evidence(L))


@pytest.mark.parametrize("varying", [None, [True, False, True, True]])
def test_noise_that_differs_between_tasks_has_the_same_evidence(varying):
    plain, fast = gathered(draw_table(), varying)
    L = np.diag([0.7, 0.0, 0.5, 0.3])
    belief = NoiseBelief(np.ones(4), L, 0.5, np.full(9, 1 / 9))
    e = [np.column_stack([plain.log_evidence(belief.given(f)) for f in FACTORS])]
    e.append(fast.log_evidences(belief, FACTORS))
    assert_allclose(*e, rtol=1e-10)
    shares = shares_of(e[0], belief.weights)
    shares[:20, 2] = 0.0
    counted = [NoiseTasks.of(one, FACTORS, shares) for one in (plain, fast)]
    assert isinstance(counted[1], PackedTasks)
    assert_same_evidence(*(one.evidence(L) for one in counted))


def test_some_of_many_tasks_are_those_of_the_plain_version(monkeypatch):
    monkeypatch.setattr(packed, "SAMPLE_SIZES", (25, 25))
    plain, fast = gathered(draw_table())
    L, some = 0.5 * np.eye(4), np.array([3, 7, 8, 40])
    expected = plain.subset(some).evidence(L)
    assert_same_evidence(expected, fast.subset(some).evidence(L))
    expected = plain.subset(np.arange(25)).evidence(L)
    assert_same_evidence(expected, fast.sample().evidence(L))


# -- the fit to all of very many tasks ------------------------------------------------


STRUCTURES = {
    "diagonal": Diagonal(np.arange(4)),
    "a spread that is zero": Diagonal(np.arange(4)),
    "full": Full(4, shrinkage=4),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_sample_leads_to_the_optimum_of_all_tasks(name, monkeypatch):
    monkeypatch.setattr(packed, "SAMPLE_SIZES", (100, 100))
    table = draw_table(300, rows=(4, 8))
    if name == "a spread that is zero":
        table.X[:, 1] = np.random.default_rng(3).normal(size=len(table.X))
    _, many = gathered(table)
    structure = place(STRUCTURES[name], many)
    numbers = structure.start(np.eye(4), None)
    expected = fit_prior(many, structure, numbers, tol=1e-5, polish=False)
    evaluated = []
    climb = fit.Hill._climb

    def counting(hill, x):
        evaluated.append(hill.tasks.n_tasks)
        return climb(hill, x)

    monkeypatch.setattr(fit.Hill, "_climb", counting)
    found = fit_all(many, structure, numbers, tol=1e-3, polish=False)
    assert found.converged
    assert_allclose(found.objective, expected.objective, atol=1e-2)
    assert_allclose(found.covariance, expected.covariance, atol=2e-3)
    assert evaluated.count(300) <= 8


def test_a_sample_leads_to_the_optimum_of_all_labels(monkeypatch):
    monkeypatch.setattr(laplace, "SAMPLE", 60)
    table = draw_table(150, 2, rows=(4, 8))
    Y = (table.Y > 0).astype(float)
    parts = Parts(TaskTable(table.X, Y, np.ones(len(Y)), table.starts), with_ones)
    many = LaplaceTasks.gather(parts, of_labels(1), True)
    structure = place(Diagonal(np.arange(3)), many)
    search = partial(fit_prior, polish=False, tol=1e-5)
    numbers = structure.start(np.eye(3), None)
    expected = search(many, structure, numbers)
    found = fit_all(many, structure, numbers, tol=1e-3, polish=False)
    assert_allclose(found.objective, expected.objective, atol=1e-2)
    assert_allclose(found.mean, expected.mean, atol=1e-2)


def test_a_model_of_many_tasks_is_that_of_the_plain_version(monkeypatch):
    table = draw_table(150, rows=(2, 8))
    task = np.repeat(np.arange(150), table.sizes)
    given = table.X, table.Y[:, 0], table.weight
    model = EmpiricalBayesRegressor("diagonal", noise="task", tol=1e-6, random_state=0)
    plain = model.fit(*given, task=task).predict_interval(table.X[:20])
    prior = model.prior_covariance_, model.noise_weights_
    monkeypatch.setattr(tasks, "MANY_TASKS", 100)
    monkeypatch.setattr(packed, "SAMPLE_SIZES", (50, 50))
    fast = model.fit(*given, task=task).predict_interval(table.X[:20])
    assert_allclose(model.prior_covariance_, prior[0], rtol=1e-4, atol=1e-5)
    assert_allclose(model.noise_weights_, prior[1], atol=1e-5)
    assert_allclose(fast, plain, rtol=1e-3)


# -- labels ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_many_labels_are_gathered_side_by_side(n_outputs, monkeypatch):
    table = draw_table(120, 2, rows=(1, 6))
    table.X[:40] = 1.0  # these rows lie on one line
    rng = np.random.default_rng(0)
    Y = np.eye(3)[rng.integers(3, size=len(table.X))][:, :n_outputs]
    offset = rng.normal(size=Y.shape)
    for given in (None, offset):
        labels = TaskTable(table.X, Y, table.weight, table.starts, offset=given)
        given = Parts(labels, with_ones), of_labels(n_outputs), True
        plain = LaplaceTasks.gather(*given)
        with monkeypatch.context() as patch:
            patch.setattr(tasks, "MANY_TASKS", 100)
            many = LaplaceTasks.gather(*given)
        assert any(many.on_line) and not all(many.on_line)
        L, mean = 0.5 * np.eye(3 * n_outputs), np.zeros(3 * n_outputs)
        one, other = (gathered.evidence(L, mean) for gathered in (plain, many))
        assert_allclose(other.value, one.value, rtol=1e-12)
        assert_allclose(other.D, one.D, atol=1e-8 * np.abs(one.D).max())
        some = np.arange(5)
        a, b = (gathered.subset(some).loss(mean) for gathered in (plain, many))
        assert_allclose(a, b)

"""What Laplace's method misses of the evidence of choices."""

import numpy as np
import pytest
from scipy.special import logsumexp

from skmeta._core.prior.choice_model import ChoiceModel, as_sets
from skmeta._core.prior.design import Design
from skmeta._core.prior.laplace import LaplaceTasks
from skmeta._core.prior.learn import Options, learn
from skmeta._core.prior.likelihoods import Choice
from skmeta._core.prior.simulated import missed_by_laplace
from skmeta._core.tasks import TaskTable

CHOICE = Choice()


def tasks_of(n_tasks, *, n_sets=6, J=4, d=2, deviation=2.0):
    rng = np.random.default_rng(0)
    for _ in range(n_tasks):
        X = rng.normal(size=(n_sets * J, d))
        starts = np.arange(n_sets + 1) * J
        packed = as_sets(X, np.zeros(len(X)), np.ones(n_sets), None, starts)
        theta = 1.0 + deviation * rng.normal(size=d)
        Y = CHOICE.draw(packed[0] @ theta + packed[3], rng)
        yield packed[0], Y, packed[2], packed[3]


@pytest.mark.parametrize("shared", [False, True])
def test_with_what_it_misses_the_evidence_is_that_of_draws_from_the_prior(shared):
    parts = list(tasks_of(5))
    mean, L = np.ones(2), np.array([[2.0, 0.0], [0.5, 1.5]])
    if shared:  # the effect of the second column is the same in all tasks
        L = L[:, :1] * [[1.0], [0.0]]
    tasks = LaplaceTasks.gather(parts, CHOICE, False)
    by_laplace = sum(t.value.sum() for t in terms_of(tasks, mean, L))
    theta = mean + np.random.default_rng(0).normal(size=(40_000, L.shape[1])) @ L.T
    expected = 0.0
    for X, Y, _, offset in parts:
        log_p = sum(
            CHOICE.log_density(theta @ x.T + b, np.broadcast_to(y, (len(theta), 4)))
            for x, y, b in zip(X, Y, offset, strict=True)
        )
        expected += logsumexp(log_p) - np.log(len(theta))
    missed = missed_by_laplace(CHOICE, tasks.stacks, mean, L)
    assert missed > 0
    assert by_laplace + missed == pytest.approx(expected, abs=0.05)


def terms_of(tasks, mean, L):
    return [tasks._laplace_terms(stack, mean, L, None) for stack in tasks.stacks]


def test_nothing_is_missed_where_tasks_are_alike():
    tasks = LaplaceTasks.gather(list(tasks_of(3)), CHOICE, False)
    assert missed_by_laplace(CHOICE, tasks.stacks, np.ones(2), np.zeros((2, 1))) == 0.0
    small = 1e-6 * np.eye(2)
    missed = missed_by_laplace(CHOICE, tasks.stacks, np.ones(2), small)
    assert missed == pytest.approx(0.0, abs=1e-6)


def test_a_fit_tells_the_evidence_with_what_laplace_misses():
    parts = list(tasks_of(12))
    X, Y, weight, offset = map(np.concatenate, zip(*parts, strict=True))
    table = TaskTable(X, Y, weight, np.arange(13) * 6, offset=offset)
    design, options = Design(2, fit_intercept=False), Options("full")
    learned = learn(table, ChoiceModel(), design, options, np.random.RandomState(0))
    tasks = LaplaceTasks.gather(parts, CHOICE, False)
    by_laplace = tasks.evidence(learned.spread, learned.mean).value
    symmetric = np.linalg.cholesky(learned.spread @ learned.spread.T)
    missed = missed_by_laplace(CHOICE, tasks.stacks, learned.mean, symmetric)
    assert learned.log_evidence - by_laplace == pytest.approx(missed, abs=0.05)

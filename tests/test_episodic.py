"""Features for a linear head: the loss, its gradient, and learning."""

from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

from skmeta._core.network import Batch
from skmeta._core.prior import episodic, gaussian
from skmeta._core.tasks import TaskTable, split_rows

SETTINGS = episodic.FeatureOptions(
    learning_rate=1e-2, support_size=(1, 6), meta_batch_size=4, max_iter=30
)


def table_of(sizes, d=2, o=1, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    X = rng.normal(size=(n, d))
    Y = np.sin(2 * X[:, :1]) + 0.3 * rng.normal(size=(n, o))
    weight = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    return TaskTable(X, Y, weight, np.concatenate([[0], np.cumsum(sizes)]))


def head(d, o, seed=0):
    rng = np.random.default_rng(seed)
    return episodic.Belief(rng.normal(size=(d, o)), rng.normal(size=(d, d)), 0.4)


def begun(d=2, o=1, hidden=(5,), activation="tanh", layer_norm=False, intercept=True):
    learner, state = episodic.begin_features(
        (d, *hidden, 3),
        activation,
        layer_norm,
        head(d + intercept, o),
        intercept,
        np.random.default_rng(1),
    )
    rng = np.random.default_rng(2)
    numbers = state.numbers + 0.3 * rng.normal(size=state.numbers.shape)
    return learner, episodic.FeatureState(state.theta.astype(float), numbers)


def differences(function, x, h=1e-6):
    return np.array(
        [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(len(x))]
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "relu"},
        {"layer_norm": True},
        {"hidden": (4, 5)},
        {"o": 3},
        {"intercept": False},
    ],
    ids=str,
)
def test_the_gradient_of_the_query_loss_is_that_of_finite_differences(options):
    learner, state = begun(**options)
    table = table_of((9, 4, 12, 2), o=options.get("o", 1), weighted=True)
    support, query = split_rows(
        np.random.default_rng(0), table, np.arange(4), 3, keep_one=True
    )
    _, of_theta, of_numbers = episodic.query_loss(learner, state, support, query)

    def loss(theta, numbers):
        at = episodic.FeatureState(theta, numbers)
        return episodic.query_loss(learner, at, support, query)[0]

    assert_allclose(
        of_theta,
        differences(lambda theta: loss(theta, state.numbers), state.theta),
        atol=2e-8,
    )
    assert_allclose(
        of_numbers,
        differences(lambda numbers: loss(state.theta, numbers), state.numbers),
        atol=2e-8,
    )


def test_the_loss_of_a_batch_is_that_of_its_tasks_one_by_one():
    learner, state = begun()
    table = table_of((9, 4, 12, 2))
    support, query = split_rows(
        np.random.default_rng(0), table, np.arange(4), 3, keep_one=True
    )
    together, gradient, _ = episodic.query_loss(learner, state, support, query)
    losses, gradients = [], []
    for task in range(4):
        one = [
            Batch(*(f if f is None else f[[task]] for f in b)) for b in (support, query)
        ]
        rows = [b.weight[0] > 0 for b in one]  # without padding
        one = [
            b._replace(X=b.X[:, r], Y=b.Y[:, r], weight=b.weight[:, r])
            for b, r in zip(one, rows, strict=True)
        ]
        loss, slope, _ = episodic.query_loss(learner, state, *one)
        losses.append(loss * one[1].total_weight[0])
        gradients.append(slope * one[1].total_weight[0])
    n = query.total_weight.sum()
    assert_allclose(together, sum(losses) / n)
    assert_allclose(gradient, sum(gradients) / n, atol=1e-12)


def test_the_evidence_is_the_density_of_a_multivariate_normal():
    rng = np.random.default_rng(0)
    psi, Y = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6, 1))
    belief = episodic.Belief(rng.normal(size=(4, 1)), rng.normal(size=(4, 3)), 0.5)
    found = episodic.target_density(psi, Y, np.ones((2, 6)), belief).value
    S = psi @ belief.factor @ belief.factor.T @ psi.swapaxes(1, 2) + 0.5 * np.eye(6)
    mean = (psi @ belief.mean)[..., 0]
    expected = [
        multivariate_normal(m, s).logpdf(y[:, 0])
        for m, s, y in zip(mean, S, Y, strict=True)
    ]
    assert_allclose(found, expected)


def test_predictions_are_those_of_conditioning_the_coefficients():
    rng = np.random.default_rng(0)
    given, asked = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 7, 4))
    Y, weight = rng.normal(size=(3, 5, 1)), rng.uniform(0, 2, size=(3, 5))
    belief = episodic.Belief(rng.normal(size=(4, 1)), rng.normal(size=(4, 4)), 0.5)
    mean, variance = episodic.predictive(belief, given, Y, weight, asked)
    for task in range(3):
        theta, factor = gaussian.condition(
            *belief.of_one_output(), given[task], Y[task, :, 0], weight[task]
        )
        assert_allclose(mean[task, :, 0], asked[task] @ theta)
        expected = ((asked[task] @ factor) ** 2).sum(axis=1) + 0.5
        assert_allclose(variance[task], expected)


def test_a_run_begins_with_the_linear_prior_and_small_features():
    prior = head(3, 1)
    learner, state = episodic.begin_features(
        (2, 5, 3), "tanh", False, prior, True, np.random.default_rng(0)
    )
    belief = learner.belief(state)
    assert_array_equal(belief.mean, np.concatenate([np.zeros((3, 1)), prior.mean]))
    assert_array_equal(belief.factor[3:, 3:], prior.factor)
    assert belief.noise == pytest.approx(prior.noise)
    X = np.random.default_rng(1).normal(size=(100, 2))
    psi, _ = learner.design(state.theta, X)
    assert_array_equal(psi[:, 3:], np.column_stack([X, np.ones(100)]))
    assert 0 < np.abs(psi[:, :3]).std() < 0.2


def learned(learner, state, table, n=30, seed=0):
    path = episodic.learn_features(
        learner, state, table, SETTINGS, np.random.default_rng(seed)
    )
    return list(islice(path, n))


def test_learning_lowers_the_loss():
    table = table_of((20,) * 30)
    learner, state = episodic.begin_features(
        (2, 16, 8), "tanh", False, head(3, 1), True, np.random.default_rng(0)
    )
    path = episodic.learn_features(
        learner,
        state,
        table,
        SETTINGS._replace(max_iter=200),
        np.random.default_rng(0),
    )
    losses = [loss for _, loss in path]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.3


def test_the_seed_decides_the_course():
    table = table_of((9, 4, 12, 2))
    learner, state = begun()
    one, same, other = (
        learned(learner, state, table, seed=seed)[-1][0].theta for seed in (0, 0, 1)
    )
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


@pytest.mark.parametrize("layer_norm", [False, True])
def test_without_an_intercept_features_are_odd_and_stay_so(layer_norm):
    learner, state = episodic.begin_features(
        (2, 5, 3), "tanh", layer_norm, head(2, 1), False, np.random.default_rng(0)
    )
    state = learned(learner, state, table_of((9, 4, 12, 2)))[-1][0]
    X = np.random.default_rng(1).normal(size=(10, 2))
    psi, _ = learner.design(state.theta, X)
    mirrored, _ = learner.design(state.theta, -X)
    assert np.abs(psi[:, :3]).max() > 0.01
    assert_allclose(mirrored, -psi, atol=1e-6)


def test_tasks_of_one_row_contribute_nothing():
    learner, state = begun()
    states = learned(learner, state, table_of((1, 1, 1)), n=3)
    assert all(np.isnan(loss) for _, loss in states)
    assert_array_equal(states[-1][0].theta, state.theta)


def test_the_score_is_the_mean_log_density_of_single_rows_and_their_error():
    learner, state = begun()
    table = table_of((9, 4, 12, 2))
    episodes = episodic.held_out_episodes(np.random.default_rng(0), table)
    found = episodic.score_episodes(learner, state, table, episodes)
    belief = learner.belief(state).of_one_output()
    density, error = [[] for _ in range(4)], [[] for _ in range(4)]
    for tasks, support, query in episodes:
        for row, task in enumerate(tasks):
            s, q = support.weight[row] > 0, query.weight[row] > 0
            given, _ = learner.design(state.theta, support.X[row][s])
            asked, _ = learner.design(state.theta, query.X[row][q])
            theta, factor = gaussian.condition(
                *belief, given, support.Y[row][s, 0], np.ones(s.sum())
            )
            e = query.Y[row][q, 0] - asked @ theta
            variance = ((asked @ factor) ** 2).sum(axis=1) + belief.noise
            density[task].append(
                np.mean(-0.5 * (np.log(2 * np.pi * variance) + e**2 / variance))
            )
            error[task].append(np.sqrt(np.mean(e**2)))
    assert_allclose(found[0], [np.mean(d) for d in density])
    assert_allclose(found[1], [np.mean(e) for e in error])


def test_unit_scales_leave_predictions_as_they_are():
    learner, state = begun()
    X = np.random.default_rng(0).normal(size=(10, 2))
    psi, _ = learner.design(state.theta, X)
    scaled, _ = learner.design(learner.with_unit_scales(state), X)
    factor = learner.belief(state).factor
    assert_allclose(psi[:, :3] @ factor[:3, :3], scaled[:, :3])

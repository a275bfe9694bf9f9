"""Learned inner rates: their gradient, their direction, their bounds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.descent import loops
from skmeta._core.descent.inner import last
from skmeta._core.descent.rates import (
    DECAY,
    LOG_RATE_STEP,
    MAX_FACTOR,
    RateState,
    initial_rates,
    update_rates,
)
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Batch, Network, loss_and_gradient, losses

N_TASKS, N_FEATURES = 4, 3


def slope_of(state):
    """The hypergradient that made the first update, from what the update stored."""
    return -np.sign(state.log_factor) * np.sqrt(state.mean_square / (1 - DECAY))


def run(groups, gradient, move, n=1, fraction=1.0):
    """Some updates by the same gradient and move of one task."""
    state = initial_rates(groups.max() + 1)
    for _ in range(n):
        slope = np.multiply(gradient, move)
        state = update_rates(state, groups, slope, fraction)
    return state


def make_problem(loss, hidden, layer_norm):
    rng = np.random.default_rng(0)
    n_outputs = 3 if loss == "softmax_log_loss" else 1
    batches = []
    for n in (5, 8):
        shape = (N_TASKS, n)
        if loss == "softmax_log_loss":
            Y = np.eye(3)[rng.integers(3, size=shape)]
        elif loss == "log_loss":
            Y = rng.integers(2, size=(*shape, 1)).astype(float)
        else:
            Y = rng.normal(size=(*shape, 1))
        X = rng.normal(size=(*shape, N_FEATURES))
        batches.append(Batch(X, Y, np.full(shape, 1 / n), np.full(N_TASKS, float(n))))
    layout = ParamLayout((N_FEATURES, *hidden, n_outputs), layer_norm)
    return Network(layout, "tanh", loss), *batches


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("hidden", "layer_norm"), [((), False), ((4, 3), True)])
@pytest.mark.parametrize("loss", LOSSES)
def test_after_one_step_the_gradient_in_the_log_rates_is_exact(
    loss, hidden, layer_norm, shared
):
    network, support, query = make_problem(loss, hidden, layer_norm)
    layout = network.layout
    groups = layout.groups() if shared else np.arange(layout.n_params)
    start = layout.init(np.random.default_rng(1))
    start = start + np.random.default_rng(2).normal(scale=0.3, size=start.shape)
    start = np.broadcast_to(start, (N_TASKS, layout.n_params))

    def adapted(log_factor):
        rate = 0.3 * np.exp(log_factor)[groups]
        objective = loops.full_batch(network, support)
        return last(loops.sgd(objective, rate, start, 1))[0]

    n_rates = groups.max() + 1
    theta = adapted(np.zeros(n_rates))
    _, G = loss_and_gradient(network, theta, query)
    slope = (G * (theta - start)).sum(axis=0)
    state = update_rates(initial_rates(n_rates), groups, slope, 1.0)

    expected = np.empty(n_rates)
    for g in range(n_rates):
        h = 1e-5 * np.eye(n_rates)[g]
        up, down = (losses(network, adapted(s * h), query).sum() for s in (1, -1))
        expected[g] = (up - down) / 2e-5
    assert_allclose(slope_of(state), expected, rtol=1e-6, atol=1e-9)


def test_a_rate_grows_if_its_parameter_should_have_moved_further():
    # it moved up, and the query loss still falls in that direction
    assert run(np.arange(1), gradient=[-1.0], move=[2.0]).log_factor > 0
    assert run(np.arange(1), gradient=[1.0], move=[-2.0]).log_factor > 0


def test_a_rate_shrinks_if_its_parameter_went_too_far():
    assert run(np.arange(1), gradient=[1.0], move=[2.0]).log_factor < 0
    assert run(np.arange(1), gradient=[-1.0], move=[-2.0]).log_factor < 0


def test_a_parameter_that_does_not_move_leaves_its_rate_alone():
    state = run(np.arange(2), gradient=[1.0, 1.0], move=[0.0, 1.0], n=5)
    assert state.log_factor[0] == 0
    assert np.isfinite(state.log_factor).all()


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_steps_do_not_depend_on_the_size_of_the_loss(size):
    state = run(np.arange(1), gradient=[-size], move=[1.0], n=3)
    assert_allclose(state.log_factor, 3 * LOG_RATE_STEP, rtol=1e-6)


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_rates_stay_within_their_bounds(direction):
    state = run(np.arange(1), gradient=[-direction], move=[1.0], n=500)
    assert_allclose(np.exp(direction * state.log_factor), MAX_FACTOR, rtol=1e-12)


def test_steps_shrink_with_the_fraction():
    whole = run(np.arange(1), gradient=[-1.0], move=[1.0])
    part = run(np.arange(1), gradient=[-1.0], move=[1.0], fraction=0.25)
    assert_allclose(part.log_factor, whole.log_factor / 4)


def test_parameters_of_a_group_share_the_sum_of_their_slopes():
    groups = np.array([0, 1, 0, 1, 1])
    slope = np.random.default_rng(0).normal(size=5)
    state = update_rates(initial_rates(2), groups, slope, 1.0)
    expected = [slope[[0, 2]].sum(), slope[[1, 3, 4]].sum()]
    assert state.log_factor.shape == (2,)
    assert_allclose(slope_of(state), expected)


def test_an_update_leaves_the_earlier_state_alone():
    state = RateState(np.array([0.5]), np.array([2.0]), 3)
    new = update_rates(state, np.arange(1), np.ones(1), 1.0)
    assert_array_equal(state.log_factor, 0.5)
    assert_array_equal(state.mean_square, 2.0)
    assert (state.n_updates, new.n_updates) == (3, 4)


def test_an_overshooting_rate_settles_where_the_query_loss_is_least():
    # one parameter, loss theta^2 / 2 from theta = 1: the best single step has rate 1
    state, groups = initial_rates(1), np.zeros(1, dtype=int)
    for i in range(400):
        rate = 5.0 * np.exp(state.log_factor)
        theta = 1.0 - rate
        state = update_rates(state, groups, theta * (theta - 1.0), 1 - i / 400)
    assert_allclose(5.0 * np.exp(state.log_factor), 1.0, rtol=0.02)

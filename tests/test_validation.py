"""Query loss of held-out tasks along the adaptation path."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.descent.inner import path as adaptation_path
from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.state import ReptileSettings, ReptileState
from skmeta._core.descent.validation import (
    TRIED_SIZES,
    TRIED_STEPS,
    best_steps,
    draw_held_out_rows,
    query_losses,
)
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network, losses
from skmeta._core.tasks import TaskTable

SETTINGS = ReptileSettings(
    solver="sgd",
    learning_rate=0.1,
    inner_steps=10,
    batch_size=None,
    support_size=None,
    meta_step=1.0,
    meta_batch_size=5,
    max_iter=1,
    alpha=0.0,
    safe=True,
    groups=None,
)
NETWORK = Network(ParamLayout((2, 1)), "tanh", "squared_error")
START = ReptileState(np.zeros(3))


def make_table(signal, noise, sizes=(30,) * 20):
    """Tasks y = x w_t + noise, with w_t of standard deviation `signal`."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in sizes]
    y = [x @ (signal * rng.normal(size=2)) + noise * rng.normal(size=len(x)) for x in X]
    return TaskTable(
        X=np.concatenate(X),
        Y=np.concatenate(y)[:, None],
        weight=np.ones(sum(sizes)),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
    )


def choose(table, state=START, settings=SETTINGS):
    episodes = draw_held_out_rows(np.random.default_rng(1), table)
    rng = np.random.default_rng(2)
    return dict(best_steps(NETWORK, state, episodes, settings, rng).tolist())


def test_no_step_is_best_where_tasks_are_pure_noise():
    table = make_table(signal=0, noise=1, sizes=(40,) * 100)
    settings = replace(SETTINGS, learning_rate=0.5)
    assert set(choose(table, settings=settings).values()) == {0}


def test_steps_are_best_where_tasks_differ():
    steps = choose(make_table(signal=1, noise=0.1))
    assert list(steps) == list(TRIED_SIZES)
    assert min(steps.values()) > 0
    assert steps[20] == TRIED_STEPS[-1]


def test_more_rows_allow_more_steps():
    steps = choose(make_table(signal=0.5, noise=1.0, sizes=(40,) * 60))
    assert steps[20] > steps[1]


def test_the_smallest_of_equally_good_numbers_of_steps_is_chosen():
    table = make_table(signal=1, noise=0)
    table.Y[...] = 0.0  # the start is exact: no step changes anything
    assert set(choose(table).values()) == {0}


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_query_losses_are_those_of_each_step_and_begin_unadapted(solver):
    table = make_table(signal=1, noise=0.1)
    episodes = draw_held_out_rows(np.random.default_rng(1), table)[5]
    state = ReptileState(np.ones(3), adam=SecondMoment(np.ones(3), 50))
    settings = replace(SETTINGS, solver=solver)
    curve = query_losses(NETWORK, state, episodes, settings, 7, None)

    start = np.ones((20, 3))
    expected = np.zeros(8)
    for support, query in episodes:
        path = adaptation_path(NETWORK, state, start, support, settings, 7, None)
        expected += [losses(NETWORK, theta, query).mean() for theta in path]
    assert curve.shape == (8,)
    assert_allclose(curve, expected / len(episodes), rtol=1e-12)
    unadapted = [losses(NETWORK, start, query).mean() for _, query in episodes]
    assert_allclose(curve[0], np.mean(unadapted), rtol=1e-12)
    assert curve[-1] < curve[0]


def test_episodes_never_score_the_rows_they_adapt_to():
    table = make_table(signal=1, noise=1, sizes=(3, 30, 8, 21))
    table.X[:, 0] = np.arange(len(table.X))
    episodes = draw_held_out_rows(np.random.default_rng(0), table, n_repeats=4)
    assert list(episodes) == [1, 2, 5, 10, 20]
    n_tasks = {1: 4, 2: 4, 5: 3, 10: 2, 20: 2}  # tasks with a row left to score
    for n_support, draws in episodes.items():
        assert len(draws) == 4
        for support, query in draws:
            assert len(support.X) == len(query.X) == n_tasks[n_support]
            for t in range(n_tasks[n_support]):
                taken = support.X[t, support.weight[t] > 0, 0]
                scored = query.X[t, query.weight[t] > 0, 0]
                assert len(taken) == n_support
                assert len(scored) > 0
                assert not set(taken) & set(scored)


def test_support_sizes_that_leave_no_row_to_score_are_left_out():
    table = make_table(signal=1, noise=1, sizes=(5, 6))
    assert list(draw_held_out_rows(np.random.default_rng(0), table)) == [1, 2, 5]
    single = make_table(signal=1, noise=1, sizes=(1, 1))
    assert draw_held_out_rows(np.random.default_rng(0), single) == {}


def test_choosing_the_steps_leaves_the_state_alone():
    state = ReptileState(np.ones(3))
    choose(make_table(signal=1, noise=0.1), state)
    assert_array_equal(state.start, 1)

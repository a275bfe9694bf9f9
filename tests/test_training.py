"""Meta-training with held-out tasks, as pure functions."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skmeta._core.descent import training, validation
from skmeta._core.descent.inner import last
from skmeta._core.descent.reptile import NonFiniteTask, reptile
from skmeta._core.descent.state import ReptileSettings, ReptileState
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network
from skmeta._core.tasks import TaskTable

SETTINGS = ReptileSettings(
    solver="sgd",
    learning_rate=0.1,
    inner_steps=3,
    batch_size=None,
    support_size=2,
    meta_step=1.0,
    meta_batch_size=2,
    max_iter=20,
    alpha=0.0,
    safe=True,
    groups=None,
)
NOT = training.HoldingOut(
    fraction=0.25, stops_early=False, patience=2, n_steps=3, chooses_steps=False
)
STOPS, CHOOSES = replace(NOT, stops_early=True), replace(NOT, chooses_steps=True)
BOTH = replace(STOPS, chooses_steps=True)
NETWORK = Network(ParamLayout((2, 1)), "tanh", "squared_error")
START = ReptileState(np.zeros(3))


def make_table(sizes=(4,) * 12):
    rng = np.random.default_rng(0)
    n = sum(sizes)
    return TaskTable(
        X=rng.normal(size=(n, 2)),
        Y=rng.normal(size=(n, 1)),
        weight=np.ones(n),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
    )


def never(so_far):
    return False


def train(holding_out, table=None, settings=SETTINGS, after_each=never):
    table = make_table() if table is None else table
    rng = np.random.default_rng(1)
    return training.train(NETWORK, table, START, settings, holding_out, rng, after_each)


def test_without_held_out_tasks_training_is_the_meta_loop():
    trained = train(NOT)
    states = list(
        reptile(NETWORK, make_table(), START, SETTINGS, np.random.default_rng(1))
    )
    assert_array_equal(trained.state.start, states[-1].start)
    assert trained.losses == [state.loss for state in states]
    assert (trained.scores, trained.adapt_steps) == (None, None)


def test_after_choosing_the_steps_a_run_from_the_start_learns_from_all_tasks():
    table, rng = make_table(), np.random.default_rng(1)
    held_out = training.draw_held_out(rng, table, 0.25)
    episodes = validation.draw_held_out_rows(rng, table.subset(held_out))
    kept = table.subset(np.setdiff1d(np.arange(12), held_out))
    first = last(reptile(NETWORK, kept, START, SETTINGS, rng))
    steps = validation.best_steps(NETWORK, first, episodes, SETTINGS, rng)
    second = last(reptile(NETWORK, table, START, SETTINGS, rng))
    trained = train(CHOOSES)
    assert_array_equal(trained.adapt_steps, steps)
    assert_array_equal(trained.state.start, second.start)
    assert len(trained.losses) == 20


@pytest.mark.parametrize(
    ("holding_out", "n_runs"), [(NOT, 1), (STOPS, 1), (CHOOSES, 2), (BOTH, 1)]
)
def test_the_number_of_runs_is_known_before(holding_out, n_runs):
    calls = []
    train(holding_out, after_each=lambda so_far: calls.append(so_far) and False)
    assert holding_out.n_runs(make_table()) == n_runs
    assert len(calls) == 20 * n_runs


@pytest.mark.parametrize("holding_out", [STOPS, CHOOSES, BOTH])
def test_no_task_is_held_out_if_there_are_too_few(holding_out):
    table = make_table((1, 1, 1, 4, 4, 4, 4))  # a task of one row does not count
    trained = train(holding_out, table)
    assert holding_out.n_runs(table) == 1
    assert_array_equal(trained.state.start, train(NOT, table).state.start)


def test_early_stopping_ends_with_the_best_state_that_was_checked():
    seen = []
    trained = train(
        replace(STOPS, patience=3),
        settings=replace(SETTINGS, max_iter=2000, learning_rate=0.5),
        after_each=lambda so_far: seen.append(so_far.state) and False,
    )
    assert len(trained.losses) == len(seen) < 2000
    best = int(np.argmax(trained.scores))
    assert len(trained.scores) == best + 1 + 3
    assert trained.state is seen[10 * (best + 1) - 1]


@pytest.mark.parametrize("holding_out", [NOT, STOPS, CHOOSES, BOTH])
def test_a_run_that_is_asked_to_stop_is_the_last(holding_out):
    trained = train(holding_out, after_each=lambda so_far: len(so_far.losses) == 3)
    assert trained.asked_to_stop
    assert len(trained.losses) == 3
    assert (trained.adapt_steps is None) == (not holding_out.chooses_steps)


@pytest.mark.parametrize("holding_out", [NOT, CHOOSES])
@pytest.mark.parametrize("task", range(12))
def test_a_task_that_diverges_is_numbered_as_in_the_whole_table(task, holding_out):
    table = make_table()
    table.X[4 * task : 4 * (task + 1)] = 1e200
    settings = replace(SETTINGS, safe=False, meta_batch_size=12)
    held_out = training.draw_held_out(np.random.default_rng(1), table, 0.25)
    if holding_out is CHOOSES and task in held_out:
        return
    with pytest.raises(NonFiniteTask) as error:
        train(holding_out, table, settings)
    assert error.value.args[0].tolist() == [task]


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.99])
def test_held_out_tasks_have_a_row_to_validate_on_and_leave_one_task(fraction):
    table = make_table((1, 4, 1, 3, 2, 5, 6))
    for seed in range(5):
        held_out = training.draw_held_out(np.random.default_rng(seed), table, fraction)
        assert set(held_out) <= {1, 3, 4, 5, 6}
        assert 1 <= len(held_out) <= 4
        assert_array_equal(held_out, np.unique(held_out))

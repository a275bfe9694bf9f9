"""The Reptile meta-loop against the paper's algorithm and its theory."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.descent import inner, loops, plan
from skmeta._core.descent import reptile as core
from skmeta._core.descent.inner import last
from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.rates import initial_rates, update_rates
from skmeta._core.descent.reptile import NonFiniteTask, interpolate, reptile
from skmeta._core.descent.state import ReptileSettings, ReptileState
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Batch, Network, loss_and_gradient
from skmeta._core.tasks import TaskTable, draw_minibatches, draw_tasks, split_rows

PAPER = ReptileSettings(
    solver="sgd",
    learning_rate=0.05,
    inner_steps=4,
    batch_size=None,
    support_size=None,
    meta_step=0.7,
    meta_batch_size=3,
    max_iter=6,
    alpha=0.0,
    safe=False,
    groups=None,
)


def make_table(
    n_outputs=1, sizes=(4, 7, 2, 5, 3), seed=0, loss="squared_error", dtype=np.float64
):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    if loss == "log_loss":
        Y = rng.integers(2, size=(n, n_outputs))
    elif loss == "softmax_log_loss":
        Y = np.eye(n_outputs)[rng.integers(n_outputs, size=n)]
    else:
        Y = rng.normal(size=(n, n_outputs))
    return TaskTable(
        X=rng.normal(size=(n, 2)).astype(dtype),
        Y=Y.astype(dtype),
        weight=rng.uniform(0.5, 2.0, size=n),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
    )


def make_network(hidden=(), loss="squared_error", n_outputs=1):
    return Network(ParamLayout((2, *hidden, n_outputs)), "tanh", loss)


def rows_of(table, t):
    """All rows of one task as a batch of one."""
    rows = slice(table.starts[t], table.starts[t + 1])
    weight = table.weight[rows]
    return Batch(
        table.X[None, rows],
        table.Y[None, rows],
        weight[None] / weight.sum(),
        np.array([weight.sum()]),
    )


def run(network, table, settings, state=None, seed=0):
    if state is None:
        state = ReptileState(network.layout.init(np.random.default_rng(1)))
    return list(reptile(network, table, state, settings, np.random.default_rng(seed)))


def algorithm_2(network, table, phi, settings, draws):
    """Algorithm 2 of Nichol et al. (2018), one task and one step after the other."""
    for i, tasks in enumerate(draws):
        epsilon = (1 - i / settings.max_iter) * settings.meta_step
        adapted = []
        for t in tasks:
            theta = phi.copy()
            for _ in range(settings.inner_steps):
                _, (g,) = loss_and_gradient(network, theta[None], rows_of(table, t))
                theta = theta - settings.learning_rate * g
            adapted.append(theta)
        phi = phi + epsilon * np.mean([theta - phi for theta in adapted], axis=0)
        yield phi


# -- algorithm 2 ----------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_meta_loop_is_algorithm_2_of_the_paper(loss, hidden):
    n_outputs = 3 if loss == "softmax_log_loss" else 1
    table = make_table(n_outputs, loss=loss)
    network = make_network(hidden, loss, n_outputs)
    states = run(network, table, PAPER)

    rng = np.random.default_rng(0)  # with all rows as support nothing else is drawn
    draws = [draw_tasks(rng, table, 3) for _ in range(6)]
    assert len({tuple(tasks) for tasks in draws}) > 1
    start = network.layout.init(np.random.default_rng(1))
    expected = list(algorithm_2(network, table, start, PAPER, draws))
    assert len(states) == 6
    for state, phi in zip(states, expected, strict=True):
        assert_allclose(state.start, phi, rtol=1e-10, atol=1e-13)


def test_a_meta_batch_larger_than_the_table_takes_every_task_once():
    network, table = make_network(), make_table()
    settings = replace(PAPER, meta_batch_size=100)
    states = run(network, table, settings)
    expected = algorithm_2(network, table, np.zeros(3), settings, [range(5)] * 6)
    for state, phi in zip(states, expected, strict=True):
        assert_allclose(state.start, phi, rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"alpha": 2.0}, {"safe": True}])
def test_all_rows_of_all_tasks_train_by_one_map_as_by_the_loop(options, monkeypatch):
    network, table = make_network(), make_table()
    settings = replace(PAPER, meta_batch_size=5, max_iter=12, **options)
    by_map = run(network, table, settings)
    monkeypatch.setattr(core, "MIN_ITERATIONS_FOR_MAP", 100)
    monkeypatch.setattr(inner, "affine_map", None)  # it must not be called
    for state, expected in zip(by_map, run(network, table, settings), strict=True):
        assert_allclose(state.start, expected.start, rtol=1e-9, atol=1e-12)
        assert_allclose(state.loss, expected.loss, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_map_that_diverges_names_the_tasks_as_the_loop_does():
    table = make_table()
    table.X[table.starts[3] : table.starts[4]] *= 1e160
    with pytest.raises(NonFiniteTask) as error:
        run(make_network(), table, replace(PAPER, meta_batch_size=5, max_iter=20))
    assert_array_equal(error.value.args[0], [3])


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("ragged", [False, True])
def test_tasks_in_chunks_are_the_tasks_together(ragged, solver, monkeypatch):
    sizes = (4, 7, 2, 5, 3) * 8 if ragged else (5,) * 40
    network, table = make_network((4,)), make_table(sizes=sizes)
    settings = replace(
        PAPER,
        solver=solver,
        support_size=3,
        meta_batch_size=40,
        groups=None if solver == "adam" else network.layout.groups(),
    )
    rates = None if solver == "adam" else initial_rates(4)
    start = network.layout.init(np.random.default_rng(1))
    state = ReptileState(start, rates, SecondMoment(np.zeros_like(start)))
    together = run(network, table, settings, state)[-1]
    monkeypatch.setattr(plan, "CHUNK_BYTES", 8 * network.layout.n_params * 7)
    assert inner.n_side_by_side(network, settings, np.float64, 3) == 7
    in_chunks = run(network, table, settings, state)[-1]
    threaded = run(network, table, replace(settings, n_jobs=2), state)[-1]
    assert_allclose(in_chunks.start, together.start, rtol=1e-9, atol=1e-12)
    assert_allclose(in_chunks.loss, together.loss, rtol=1e-9)
    assert_array_equal(threaded.start, in_chunks.start)
    if solver == "adam":
        assert_allclose(
            in_chunks.adam.mean_square, together.adam.mean_square, rtol=1e-9
        )
    else:
        assert_allclose(in_chunks.rates.log_factor, together.rates.log_factor)


def test_the_meta_step_falls_linearly_to_zero():
    # a loss without curvature: every task moves by the same known amount
    network = Network(ParamLayout((1, 1)), "tanh", "huber")
    table = TaskTable(
        np.zeros((2, 1)), np.full((2, 1), 1e6), np.ones(2), np.array([0, 1, 2])
    )
    settings = replace(PAPER, inner_steps=1, learning_rate=1.0, max_iter=5)
    bias = [0.0] + [state.start[1] for state in run(network, table, settings)]
    expected = [(1 - i / 5) * 0.7 for i in range(5)]
    assert_allclose(np.diff(bias) / np.diff(bias)[0] * 0.7, expected, rtol=1e-9)


def test_interpolation_goes_from_the_old_to_the_new():
    assert_array_equal(interpolate(np.array([1.0]), np.array([3.0]), 0.0), 1.0)
    assert_array_equal(interpolate(np.array([1.0]), np.array([3.0]), 0.25), 1.5)
    assert_array_equal(interpolate(np.array([1.0]), np.array([3.0]), 1.0), 3.0)


def test_the_reported_loss_is_the_mean_before_the_last_inner_step():
    network, table = make_network(), make_table()
    settings = replace(PAPER, meta_batch_size=5, max_iter=1)
    (state,) = run(network, table, settings)
    values = []
    for t in range(5):
        theta = np.zeros((1, 3))
        for _ in range(settings.inner_steps):
            value, G = loss_and_gradient(network, theta, rows_of(table, t))
            theta = theta - settings.learning_rate * G
        values.append(value[0])
    assert_allclose(state.loss, np.mean(values), rtol=1e-12)


def test_a_run_leaves_the_first_state_alone():
    network, table = make_network((4,)), make_table()
    state = ReptileState(network.layout.init(np.random.default_rng(1)))
    before = state.start.copy()
    run(network, table, PAPER, state)
    assert_array_equal(state.start, before)


# -- theory: section 5 ----------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_with_one_inner_step_reptile_is_joint_training(hidden):
    network, table = make_network(hidden), make_table()
    settings = replace(PAPER, inner_steps=1, meta_batch_size=5)
    states = run(network, table, settings)

    # SGD on the mean over tasks of their losses, as one objective over all rows
    weight = np.concatenate([rows_of(table, t).weight[0] for t in range(5)]) / 5
    joint = Batch(table.X[None], table.Y[None], weight[None], np.array([1.0]))
    theta = network.layout.init(np.random.default_rng(1))[None]
    for i, state in enumerate(states):
        _, G = loss_and_gradient(network, theta, joint)
        rate = settings.learning_rate * settings.meta_step * (1 - i / 6)
        theta = theta - rate * G
        assert_allclose(state.start, theta[0], rtol=1e-10, atol=1e-13)


class GivenOrder:
    """A generator whose one permutation is known."""

    def __init__(self, order):
        self.order = np.array(order)

    def permutation(self, n):
        assert n == len(self.order)
        return self.order


def minibatches(network, batch, rng, size, n_steps):
    rows = draw_minibatches(rng, [batch.X.shape[1]], size, n_steps)
    return loops.minibatches(network, batch, rows)


def test_two_steps_follow_the_mean_gradient_less_its_inner_product_term():
    # E[g1 + g2] = 2 AvgGrad - lr AvgGradInner (section 5.1), exact for quadratics
    network, lr = make_network(), 0.3
    batch = rows_of(make_table(sizes=(6,)), 0)._replace(weight=np.full((1, 6), 1 / 6))
    phi = np.random.default_rng(2).normal(size=3)
    halves = [[0, 3, 4], [5, 1, 2]]

    gradient_sums = []
    for first, second in (halves, halves[::-1]):
        rng = GivenOrder([*first, *second])
        objective = minibatches(network, batch, rng, 3, 2)
        theta, _ = last(loops.sgd(objective, lr, phi[None], 2))
        gradient_sums.append((phi - theta[0]) / lr)

    A = np.column_stack([batch.X[0], np.ones(6)])
    g = [A[b].T @ (A[b] @ phi - batch.Y[0, b, 0]) / 3 for b in halves]
    H = [A[b].T @ A[b] / 3 for b in halves]
    avg_grad = (g[0] + g[1]) / 2
    avg_grad_inner = (H[1] @ g[0] + H[0] @ g[1]) / 2  # mean over both orders
    expected = 2 * avg_grad - lr * avg_grad_inner
    assert_allclose(np.mean(gradient_sums, axis=0), expected, rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("k", [2, 3])
def test_k_steps_follow_the_papers_expansion_up_to_second_order(k, hidden):
    # E[sum g] = k AvgGrad - k (k - 1) / 2 lr AvgGradInner + O(lr^2), eq. 6 and 7
    network = make_network(hidden)
    batch = rows_of(make_table(sizes=(k,), seed=3), 0)
    batch = batch._replace(weight=np.full((1, k), 1 / k))
    phi = network.layout.init(np.random.default_rng(2)) + 0.3
    orders = list(permutations(range(k)))
    rows = [
        batch._replace(X=batch.X[:, [i]], Y=batch.Y[:, [i]], weight=np.ones((1, 1)))
        for i in range(k)
    ]

    def gradient(theta, i):
        return loss_and_gradient(network, theta[None], rows[i])[1][0]

    g = [gradient(phi, i) for i in range(k)]
    h = 1e-6  # Hessian-vector products by central differences
    inner = np.mean(
        [
            (gradient(phi + h * g[i], j) - gradient(phi - h * g[i], j)) / (2 * h)
            for i in range(k)
            for j in range(k)
            if i != j
        ],
        axis=0,
    )

    def remainder(lr):
        total = 0.0
        for order in orders:
            objective = minibatches(network, batch, GivenOrder(order), 1, k)
            theta, _ = last(loops.sgd(objective, lr, phi[None], k))
            total = total + (phi - theta[0]) / lr / len(orders)
        expansion = k * np.mean(g, axis=0) - k * (k - 1) / 2 * lr * inner
        return np.abs(total - expansion).max()

    linear_in_two = not hidden and k == 2
    if linear_in_two:  # a quadratic has no further term
        assert remainder(1e-2) < 1e-8
    else:
        assert_allclose(remainder(2e-2) / remainder(1e-2), 4, rtol=0.2)


def test_the_fixed_point_of_converged_ridge_adaptation_is_its_closed_form():
    # theta_t = phi + M_t (w_t - phi), M_t = (A'A + alpha)^-1 A'A, and mean theta = phi
    network = make_network()
    table = make_table(sizes=(6, 7, 8))
    settings = replace(
        PAPER,
        alpha=1.0,
        learning_rate=0.3,
        inner_steps=200,
        meta_batch_size=3,
        meta_step=1.0,
        max_iter=60,
    )
    state = run(network, table, settings)[-1]

    left, right = np.zeros((3, 3)), np.zeros(3)
    for t in range(3):
        batch = rows_of(table, t)
        A = np.column_stack([batch.X[0], np.ones(table.sizes[t])])
        weighted = A.T * (batch.weight[0] * batch.total_weight[0])
        inverse = np.linalg.inv(weighted @ A + np.eye(3))
        left += inverse @ weighted @ A
        right += inverse @ weighted @ batch.Y[0, :, 0]
    assert_allclose(state.start, np.linalg.solve(left, right), rtol=1e-6, atol=1e-8)


# -- adam -----------------------------------------------------------------------------


def test_adams_second_moment_goes_from_iteration_to_iteration():
    network, table = make_network(), make_table()
    settings = replace(PAPER, solver="adam", max_iter=5)
    start = ReptileState(np.zeros(3), None, SecondMoment(np.zeros(3)))
    states = run(network, table, settings, start)
    moments = np.array([state.adam.mean_square for state in states])
    assert [state.adam.n_steps for state in states] == [4, 8, 12, 16, 20]
    # beta_2 = 0.999: whatever the new gradients, little of the old is forgotten
    assert (moments[1:] >= 0.999**4 * moments[:-1] * (1 - 1e-12)).all()


def test_sgd_has_no_adam_state():
    assert run(make_network(), make_table(), PAPER)[-1].adam is None


# -- learned rates, safety, labels ----------------------------------------------------


def test_learned_rates_separate_what_varies_between_tasks_from_what_does_not():
    rng = np.random.default_rng(0)
    n_tasks, n = 60, 12
    X = rng.normal(size=(n_tasks, n, 2))
    w = np.column_stack([rng.normal(size=n_tasks), np.full(n_tasks, 2.0)])
    y = np.einsum("tnd,td->tn", X, w) + rng.normal(size=(n_tasks, n))
    table = TaskTable(
        X.reshape(-1, 2), y.reshape(-1, 1), np.ones(n_tasks * n), n * np.arange(61)
    )
    settings = replace(
        PAPER,
        groups=np.arange(3),
        support_size=6,
        meta_batch_size=20,
        max_iter=300,
        meta_step=1.0,
    )
    state = ReptileState(np.zeros(3), initial_rates(3))
    factor = run(make_network(), table, settings, state)[-1].rate_factor(np.arange(3))
    varying, common, intercept = factor
    assert varying > 3 * common
    assert varying > 3 * intercept


def test_rates_follow_the_query_gradient_times_the_way_from_the_start():
    network, table = make_network(), make_table()
    groups = np.arange(3)
    settings = replace(
        PAPER, groups=groups, support_size=2, meta_batch_size=5, max_iter=4
    )
    state = ReptileState(np.array([1.0, -2.0, 3.0]), initial_rates(3))
    states = run(network, table, settings, state)

    rng = np.random.default_rng(0)
    for i, new in enumerate(states):
        support, query = split_rows(rng, table, np.arange(5), 2, keep_one=True)
        theta = np.tile(state.start, (5, 1))
        rate = settings.learning_rate * np.exp(state.rates.log_factor)
        for _ in range(settings.inner_steps):
            theta = theta - rate * loss_and_gradient(network, theta, support)[1]
        _, G = loss_and_gradient(network, theta, query)
        # so short a run learns its rates three times as fast as one of 500 iterations
        fraction = 3 * (1 - i / 4)
        slope = (G * (theta - state.start)).sum(axis=0)
        expected = update_rates(state.rates, groups, slope, fraction)
        assert_allclose(new.rates.log_factor, expected.log_factor, rtol=1e-9)
        assert_allclose(new.rates.mean_square, expected.mean_square, rtol=1e-9)
        state = new


def test_rates_do_not_change_without_query_rows():
    settings = replace(PAPER, groups=np.arange(3), support_size=None)
    state = ReptileState(np.zeros(3), initial_rates(3))
    end = run(make_network(), make_table(), settings, state)[-1]
    assert_array_equal(end.rates.log_factor, 0)
    assert not np.allclose(end.start, 0)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_learned_rates_and_the_pull_keep_single_precision(learned, safe):
    table = make_table(dtype=np.float32)
    network = make_network((4,))
    settings = replace(
        PAPER,
        support_size=2,
        groups=network.layout.groups() if learned else None,
        learning_rate=0.05,
        meta_step=0.7,
        alpha=2.0,
        safe=safe,
        batch_size=2,
    )
    start = network.layout.init(np.random.default_rng(0), np.float32)
    state = ReptileState(start, initial_rates(4) if learned else None)
    for new in run(network, table, settings, state):
        assert new.start.dtype == np.float32


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_task_that_diverges_is_reported_by_its_number():
    table = make_table()
    table.X[table.starts[3] : table.starts[4]] *= 1e160
    settings = replace(PAPER, meta_batch_size=5)
    with pytest.raises(NonFiniteTask) as error:
        run(make_network(), table, settings)
    assert_array_equal(error.value.args[0], [3])


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_safe_descent_stays_finite_at_any_rate(hidden):
    network, table = make_network(hidden), make_table()
    settings = replace(PAPER, safe=True, learning_rate=1e3, max_iter=20, alpha=3.0)
    assert np.isfinite(run(network, table, settings)[-1].start).all()


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    network, table = make_network((4,)), make_table()
    settings = replace(PAPER, support_size=(1, 3), batch_size=2)
    a, b, c = (run(network, table, settings, seed=s)[-1].start for s in (0, 0, 1))
    assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_support_size_of_none_trains_on_all_rows():
    # one of the 5 rows is far away, so leaving it out would change the result
    network = make_network()
    table = make_table(sizes=(5,))
    table.Y[2] = 1e3
    a, b = (run(network, table, PAPER, seed=s)[-1].start for s in (0, 1))
    assert_array_equal(a, b)
    draws = [[0]] * 6
    expected = list(algorithm_2(network, table, np.zeros(3), PAPER, draws))[-1]
    assert_allclose(a, expected, rtol=1e-10)


def label_table(n_classes):
    """Tasks without an informative feature: only the shares of the classes differ."""
    Y = np.eye(3)[[0, 0, 0, 1] * 4]
    return TaskTable(
        X=np.zeros((16, 2)),
        Y=Y,
        weight=np.ones(16),
        starts=4 * np.arange(5),
        n_classes=n_classes,
    )


def test_tasks_with_classes_of_their_own_are_relabelled_at_every_iteration():
    network = make_network((), "softmax_log_loss", 3)
    settings = replace(PAPER, meta_batch_size=1, inner_steps=1, max_iter=300)
    table = label_table(np.array([2, 2, 2, 2]))
    moves = np.diff(
        [state.start[-3:] for state in run(network, table, settings)], axis=0
    )
    frequent = np.bincount(moves.argmax(axis=1), minlength=3) / len(moves)
    assert_allclose(frequent, 1 / 3, atol=0.1)

    shared = run(network, label_table(None), settings)
    assert (
        np.diff([state.start[-3:] for state in shared], axis=0).argmax(1) == 0
    ).all()


def test_classes_that_a_task_lacks_do_not_move():
    network = make_network((), "softmax_log_loss", 3)
    settings = replace(PAPER, meta_batch_size=1, inner_steps=1, max_iter=1)
    (state,) = run(network, label_table(np.array([2, 2, 2, 2])), settings)
    assert np.count_nonzero(state.start[-3:]) == 2

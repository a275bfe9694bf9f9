"""Inner loops against their formulas and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from skmeta._core.descent import loops
from skmeta._core.descent.inner import last
from skmeta._core.descent.inner import path as adaptation_path
from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.rates import RateState
from skmeta._core.descent.state import ReptileSettings, ReptileState
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Batch, Network, loss_and_gradient, losses
from skmeta._core.tasks import draw_minibatches

PAPER = ReptileSettings(
    solver="sgd",
    learning_rate=0.1,
    inner_steps=10,
    batch_size=None,
    support_size=None,
    meta_step=1.0,
    meta_batch_size=1,
    max_iter=1,
    alpha=0.0,
    safe=False,
    groups=None,
)


class Quadratics:
    """Tasks with loss (theta - c)' H (theta - c) / 2; counts its own calls."""

    def __init__(self, n_tasks=3, n_params=4, dtype=np.float64):
        rng = np.random.default_rng(0)
        root = rng.normal(size=(n_tasks, n_params, n_params))
        self.H = (root @ root.swapaxes(1, 2)).astype(dtype)
        self.c = rng.normal(size=(n_tasks, n_params)).astype(dtype)
        self.start = np.zeros((n_tasks, n_params), dtype=dtype)
        self.steps = []

    def __call__(self, theta, step):
        self.steps.append(step)
        away = theta - self.c
        G = np.einsum("tij,tj->ti", self.H, away)
        return 0.5 * (away * G).sum(axis=1), G


def make_batch(loss, n_rows=(12, 7, 3), n_features=3, seed=0, dtype=np.float64):
    """Padded rows of ragged tasks with unequal weights."""
    rng = np.random.default_rng(seed)
    shape = (len(n_rows), max(n_rows))
    n_outputs = 3 if loss == "softmax_log_loss" else 1
    if loss == "softmax_log_loss":
        Y = np.eye(3)[rng.integers(3, size=shape)]
    elif loss == "log_loss":
        Y = rng.integers(2, size=(*shape, 1))
    else:
        Y = rng.normal(scale=3.0, size=(*shape, 1))
    weight = rng.uniform(0.5, 2.0, size=shape)
    weight *= np.arange(shape[1]) < np.array(n_rows)[:, None]
    total = weight.sum(axis=1)
    X = rng.normal(size=(*shape, n_features)) * np.array([0.5, 1.0, 2.0])[:n_features]
    batch = Batch(
        X=X.astype(dtype),
        Y=Y.astype(dtype),
        weight=(weight / total[:, None]).astype(dtype),
        total_weight=total,
    )
    return batch, n_outputs


def make_problem(loss, hidden=(), activation="tanh", layer_norm=False, **kwargs):
    batch, n_outputs = make_batch(loss, **kwargs)
    layout = ParamLayout((batch.X.shape[2], *hidden, n_outputs), layer_norm)
    return Network(layout, activation, loss), batch


def minibatches(network, batch, rng, size, n_steps):
    counts = np.count_nonzero(batch.weight, axis=1)
    rows = draw_minibatches(rng, counts, size, n_steps)
    return loops.minibatches(network, batch, rows)


# -- sgd ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.02, np.array([0.01, 0.02, 0.0, 0.03])])
def test_sgd_follows_its_formula_and_reports_the_loss_before_each_step(rate):
    tasks = Quadratics()
    path = list(loops.sgd(tasks, rate, tasks.start, 5))
    theta = tasks.start
    assert len(path) == 5
    for k, (new, value) in enumerate(path):
        expected_value, G = tasks(theta, k)
        theta = theta - rate * G
        assert_allclose(new, theta, rtol=1e-13)
        assert_allclose(value, expected_value, rtol=1e-13)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_objective_gets_the_number_of_the_step(solver):
    tasks = Quadratics()
    if solver == "sgd":
        list(loops.sgd(tasks, 0.1, tasks.start, 3))
    else:
        list(loops.adam(tasks, 0.1, tasks.start, 3, SecondMoment(np.zeros(4))))
    assert tasks.steps == [0, 1, 2]


def test_descent_leaves_the_starting_point_as_it_was():
    tasks = Quadratics()
    before = tasks.start.copy()
    list(loops.sgd(tasks, 0.1, tasks.start, 3, clip=1.0))
    list(loops.adam(tasks, 0.1, tasks.start, 3, SecondMoment(np.zeros(4))))
    list(loops.backtracking(tasks, 0.1, tasks.start, 3))
    assert_array_equal(tasks.start, before)


def test_clipping_shortens_long_gradients_and_keeps_their_direction():
    G = np.array([[3.0, 4.0], [0.3, -0.4], [0.0, 0.0], [-6.0, 8.0]])
    (path,) = loops.sgd(lambda *_: (np.zeros(4), G), 1.0, 0 * G, 1, clip=2.0)
    expected = [[1.2, 1.6], [0.3, -0.4], [0, 0], [-1.2, 1.6]]
    assert_allclose(-path[0], expected, rtol=1e-13)


def test_clipped_sgd_never_moves_further_than_rate_times_limit():
    tasks = Quadratics()
    tasks.c *= 1000
    before = tasks.start
    for theta, _ in loops.sgd(tasks, 0.1, tasks.start, 5, clip=2.0):
        assert_allclose(np.linalg.norm(theta - before, axis=1), 0.2)
        before = theta


# -- adam -----------------------------------------------------------------------------


def tensorflow_adam(gradient, theta, v, t, lr, n_steps):
    """TensorFlow 1's AdamOptimizer(lr, beta1=0) on one task, written out."""
    beta1, beta2, epsilon = 0.0, 0.999, 1e-8
    m = np.zeros_like(theta)
    for _ in range(n_steps):
        g = gradient(theta)
        t += 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        lr_t = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        theta = theta - lr_t * m / (np.sqrt(v) + epsilon)
    return theta, v, t


def test_adam_is_tensorflows_and_carries_its_moment_from_task_to_task():
    tasks = Quadratics(n_tasks=4)
    state, v, t = SecondMoment(np.zeros(4)), np.zeros(4), 0
    for i in range(4):  # one task at a time, as in the original code
        H, c = tasks.H[i], tasks.c[i]

        def one(theta, step, H=H, c=c):
            G = (theta - c) @ H
            return 0.5 * ((theta - c) * G).sum(axis=1), G

        path = loops.adam(one, 0.05, tasks.start[:1], 6, state)
        theta, _, state = last(path)
        expected, v, t = tensorflow_adam(
            lambda w, H=H, c=c: H @ (w - c), tasks.start[0], v, t, 0.05, 6
        )
        assert_allclose(theta[0], expected, rtol=1e-12)
        assert_allclose(state.mean_square, v, rtol=1e-12)
        assert state.n_steps == t == 6 * (i + 1)


def test_adam_runs_side_by_side_tasks_from_the_same_moment_and_keeps_their_mean():
    tasks = Quadratics(n_tasks=3)
    moment = np.random.default_rng(1).uniform(size=4)
    theta, _, state = last(
        loops.adam(tasks, 0.05, tasks.start, 6, SecondMoment(moment, 10))
    )
    moments = []
    for t in range(3):
        expected, v, n_steps = tensorflow_adam(
            lambda w, t=t: tasks.H[t] @ (w - tasks.c[t]),
            tasks.start[t],
            moment,
            10,
            0.05,
            6,
        )
        assert_allclose(theta[t], expected, rtol=1e-12)
        moments.append(v)
    assert_allclose(state.mean_square, np.mean(moments, axis=0), rtol=1e-12)
    assert state.n_steps == n_steps == 16


def test_adam_has_no_momentum():
    gradients = iter([1.0, -1e-3])

    def objective(theta, step):
        return np.zeros(1), np.full((1, 1), next(gradients))

    (one, *_), (two, *_) = loops.adam(
        objective, 0.1, np.zeros((1, 1)), 2, SecondMoment(np.zeros(1))
    )
    assert one < 0  # the step goes against the first gradient
    assert two > one  # the small second one already turns the step around


@pytest.mark.parametrize("solver", ["sgd", "clipped sgd", "adam", "backtracking"])
def test_single_precision_stays_single(solver):
    tasks = Quadratics(dtype=np.float32)
    rate = np.full(4, 0.01, dtype=np.float32)
    if solver == "sgd":
        theta, _ = last(loops.sgd(tasks, rate, tasks.start, 3))
    elif solver == "clipped sgd":
        theta, _ = last(loops.sgd(tasks, rate, tasks.start, 3, clip=0.5))
    elif solver == "adam":
        state = SecondMoment(np.zeros(4, dtype=np.float32))
        theta, _, state = last(loops.adam(tasks, rate, tasks.start, 3, state))
        assert state.mean_square.dtype == np.float32
    else:
        theta = last(loops.backtracking(tasks, rate, tasks.start, 3))
    assert theta.dtype == np.float32


# -- backtracking ---------------------------------------------------------------------


def test_backtracking_yields_the_start_and_then_each_step():
    tasks = Quadratics()
    path = list(loops.backtracking(tasks, 1e-4, tasks.start, 4))
    assert len(path) == 5
    assert_array_equal(path[0], tasks.start)
    theta = tasks.start
    for k in range(4):  # every step is accepted: it grows by 1.2 from one to the next
        theta = theta - 1e-4 * 1.2**k * tasks(theta, None)[1]
        assert_allclose(path[k + 1], theta, rtol=1e-12)


def test_a_refused_step_is_halved_and_tried_again_from_the_same_point():
    def objective(theta, step):  # theta^2 / 2 from theta = 1: rates above 2 overshoot
        return 0.5 * theta[:, 0] ** 2, theta

    path = np.array(list(loops.backtracking(objective, 5.0, np.ones((1, 1)), 4)))
    # rates tried: 5, 2.5 (refused), 1.25 (accepted), 1.5 (accepted)
    assert_allclose(path[:, 0, 0], [1, 1, 1, -0.25, 0.125])


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3, 1e9])
def test_the_loss_of_a_quadratic_never_rises_at_any_rate(factor):
    tasks = Quadratics(n_tasks=20)
    stable = 1 / np.linalg.eigvalsh(tasks.H).max()
    path = loops.backtracking(tasks, factor * stable, tasks.start, 60)
    values = np.array([tasks(theta, None)[0] for theta in path])
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) <= 0).all()
    assert (values[-1] < values[0]).all()


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 8)])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_network_never_rises_at_a_rate_1000_times_too_large(
    loss, hidden, activation, layer_norm
):
    network, batch = make_problem(loss, hidden, activation, layer_norm)
    start = network.layout.init(np.random.default_rng(0))
    settings = replace(PAPER, learning_rate=100.0, safe=True)
    theta = np.broadcast_to(start, (3, len(start)))
    state = ReptileState(start)
    path = adaptation_path(network, state, theta, batch, settings, 40, None)
    values = np.array([losses(network, theta, batch) for theta in path])
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=0) <= 0).all()
    assert (values[-1] < values[0]).all()


def test_a_step_to_a_loss_that_is_not_a_number_is_refused():
    def objective(theta, step):  # -log(theta) + theta has its minimum at 1
        with np.errstate(invalid="ignore", divide="ignore"):
            return (theta - np.log(theta))[:, 0], 1 - 1 / theta

    theta = last(loops.backtracking(objective, 30.0, np.full((1, 1), 3.0), 60))
    assert_allclose(theta, 1, rtol=1e-3)


def test_each_task_backtracks_by_itself():
    tasks = Quadratics(n_tasks=3)
    tasks.H[1] *= 1000
    together = last(loops.backtracking(tasks, 0.1, tasks.start, 30))
    for t in range(3):
        alone = Quadratics(n_tasks=3)
        alone.H, alone.c = tasks.H[t : t + 1], tasks.c[t : t + 1]
        theta = last(loops.backtracking(alone, 0.1, tasks.start[:1], 30))
        assert_allclose(together[t], theta[0], rtol=1e-12)


# -- minibatches and the pull towards the start ---------------------------------------


def test_the_steps_of_minibatches_see_each_row_once_per_epoch():
    network, batch = make_problem("squared_error", n_rows=(6, 6))
    batch = batch._replace(weight=np.full((2, 6), 1 / 6))
    theta = np.random.default_rng(0).normal(size=(2, network.layout.n_params))
    objective = minibatches(network, batch, np.random.default_rng(0), 2, 3)
    parts = [objective(theta, k) for k in range(3)]
    value, G = loss_and_gradient(network, theta, batch)
    assert_allclose(np.mean([v for v, _ in parts], axis=0), value, rtol=1e-12)
    assert_allclose(np.mean([g for _, g in parts], axis=0), G, rtol=1e-11)
    assert not np.allclose(parts[0][0], parts[1][0])


def test_minibatches_of_ragged_tasks_never_see_padding():
    network, batch = make_problem("squared_error", n_rows=(7, 2, 1))
    padding = batch.weight == 0
    batch.X[padding] = np.nan
    batch.Y[padding] = np.nan
    theta = np.ones((3, network.layout.n_params))
    objective = minibatches(network, batch, np.random.default_rng(0), 3, 20)
    for k in range(20):
        value, G = objective(theta, k)
        assert np.isfinite(value).all()
        assert np.isfinite(G).all()


def test_a_minibatch_of_all_rows_is_the_full_batch():
    network, batch = make_problem("squared_error", n_rows=(5, 5))
    theta = np.random.default_rng(0).normal(size=(2, network.layout.n_params))
    objective = minibatches(network, batch, np.random.default_rng(0), 5, 2)
    for k in range(2):
        for a, b in zip(
            objective(theta, k),
            loops.full_batch(network, batch)(theta, k),
            strict=True,
        ):
            assert_allclose(a, b, rtol=1e-11)


def test_minibatches_take_the_offsets_of_their_rows():
    network, batch = make_problem("squared_error", n_rows=(4,))
    offset = np.arange(4.0)[None, :, None]
    theta = np.ones((1, network.layout.n_params))
    moved = batch._replace(Y=batch.Y - offset)  # an offset acts as a shift of y
    a, b = (
        minibatches(network, part, np.random.default_rng(0), 2, 1)(theta, 0)
        for part in (batch._replace(offset=offset), moved)
    )
    assert_allclose(a[0], b[0])
    assert_allclose(a[1], b[1])


@pytest.mark.parametrize("per_parameter", [False, True])
def test_the_pull_adds_its_penalty_and_the_gradient_of_it(per_parameter):
    tasks, rng = Quadratics(), np.random.default_rng(0)
    strength = rng.uniform(size=(3, 4 if per_parameter else 1))
    start, theta = rng.normal(size=4), rng.normal(size=(3, 4))
    pulled = loops.pulled(tasks, start, strength)

    value, G = pulled(theta, 0)
    penalty = (strength * (theta - start) ** 2).sum(axis=1) / 2
    assert_allclose(value, tasks(theta, 0)[0] + penalty, rtol=1e-13)
    for j in range(4):
        h = 1e-5 * np.eye(4)[j]
        slope = (pulled(theta + h, 0)[0] - pulled(theta - h, 0)[0]) / 2e-5
        assert_allclose(G[:, j], slope, rtol=1e-6)


def test_without_a_strength_there_is_no_pull():
    tasks = Quadratics()
    assert loops.pulled(tasks, tasks.start, None) is tasks


# -- the step bound of linear models --------------------------------------------------


def hessian(network, theta, batch, h=1e-5):
    """Second derivative (T, P, P) of the losses, from differences of the gradient."""
    columns = []
    for j in range(theta.shape[1]):
        step = h * np.eye(theta.shape[1])[j]
        up = loss_and_gradient(network, theta + step, batch)[1]
        down = loss_and_gradient(network, theta - step, batch)[1]
        columns.append((up - down) / (2 * h))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 50.0])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", LOSSES)
def test_bounded_descent_of_a_linear_model_is_a_contraction(loss, seed, alpha):
    network, batch = make_problem(loss, seed=seed)
    rng = np.random.default_rng(seed)
    n_params = network.layout.n_params
    learning_rate, factor = 3.0, np.exp(rng.uniform(-3, 3, size=n_params))
    pull = alpha / batch.total_weight[:, None]
    rate = learning_rate * factor
    safe = rate * loops.stable_fraction(network, batch, rate, learning_rate * pull)

    for scale in (0.0, 0.1, 1.0):  # the losses have their largest curvature near zero
        theta = scale * rng.normal(size=(3, n_params))
        H = hessian(network, theta, batch)
        for t in range(3):
            total = H[t] + np.diag(pull[t] / factor)
            root = np.sqrt(safe[t])
            eigenvalues = np.linalg.eigvalsh(root[:, None] * total * root)
            assert eigenvalues.min() > -1e-6
            assert eigenvalues.max() <= 1 + 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_the_bound_is_reached_by_one_feature_without_an_intercept(loss):
    # the trace is the eigenvalue here, and these points have the largest curvature
    network, batch = make_problem(loss, n_rows=(4,), n_features=1)
    rate = np.full(network.layout.n_params, 1e3)
    for layer in network.layout.layers(rate[None]):
        layer.bias[...] = 0.0
    safe = rate * loops.stable_fraction(network, batch, rate, 0.0)
    X = batch.X[0, :, 0]
    curvature = loops.MAX_CURVATURE[loss] * (batch.weight[0] @ X**2)
    assert_allclose(safe.max() * curvature, 1, rtol=1e-12)
    # its bound assumes two classes with probability one half each
    if loss != "softmax_log_loss":
        theta = np.zeros((1, network.layout.n_params))
        if loss == "huber":
            batch.Y[...] *= 0.01
        H = hessian(network, theta, batch)[0]
        assert_allclose(H[0, 0], curvature, rtol=1e-6)


def test_a_rate_that_is_stable_is_left_alone():
    network, batch = make_problem("squared_error")
    rate = np.full(network.layout.n_params, 1e-3)
    fraction = loops.stable_fraction(network, batch, rate, np.zeros((3, 1)))
    assert_array_equal(fraction, np.ones((3, 1)))


def test_a_network_is_bounded_by_the_pull_alone():
    network, batch = make_problem("squared_error", (4,))
    rate = np.full(network.layout.n_params, 1e3)
    pull = np.array([[0.1], [1.0], [4.0]])
    fraction = loops.stable_fraction(network, batch, rate, pull)
    assert_allclose(fraction, [[1.0], [1.0], [0.25]])


def test_the_bound_keeps_single_precision():
    network, batch = make_problem("squared_error", dtype=np.float32)
    rate = np.ones(network.layout.n_params, dtype=np.float32)
    pull = 3.0 / batch.total_weight[:, None]
    assert loops.stable_fraction(network, batch, rate, pull).dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_safe_sgd_of_a_linear_model_does_not_diverge_at_any_rate(loss):
    network, batch = make_problem(loss)
    rate = np.full(network.layout.n_params, 1e4)
    rate = rate * loops.stable_fraction(network, batch, rate, np.zeros((3, 1)))
    theta = np.zeros((3, network.layout.n_params))
    objective = loops.full_batch(network, batch)
    values = np.array([v for _, v in loops.sgd(objective, rate, theta, 200)])
    assert (np.diff(values, axis=0) <= 1e-12).all()


# -- where adaptation ends ------------------------------------------------------------


def ridge_to_start(batch, t, phi, factor, alpha):
    """argmin sum_i w_i (y_i - x_i' theta)^2 + alpha sum_j (theta_j - phi_j)^2 / f_j."""
    weight = batch.weight[t] * batch.total_weight[t]
    A = np.column_stack([batch.X[t], np.ones(len(weight))])
    root = np.sqrt(factor)
    ridge = Ridge(alpha=alpha, fit_intercept=False, solver="cholesky")
    ridge.fit(A * root, batch.Y[t, :, 0] - A @ phi, sample_weight=weight)
    return phi + root * ridge.coef_


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_adaptation_of_a_linear_model_ends_in_the_ridge_towards_the_start(
    alpha, learned
):
    # one alpha for tasks of 2 to 40 rows: a fixed penalty on the sum over rows
    network, batch = make_problem("squared_error", n_rows=(40, 12, 2))
    rng = np.random.default_rng(0)
    n_params = network.layout.n_params
    phi, log_factor = rng.normal(size=n_params), rng.uniform(-1, 1, size=n_params)
    rates = RateState(log_factor, np.zeros(n_params)) if learned else None
    factor = np.exp(log_factor) if learned else np.ones(n_params)
    settings = replace(PAPER, alpha=alpha, safe=True, groups=np.arange(n_params))
    path = adaptation_path(
        network,
        ReptileState(phi, rates),
        np.broadcast_to(phi, (3, n_params)),
        batch,
        settings,
        600,
        None,
    )
    theta = last(path)
    for t in range(3):
        expected = ridge_to_start(batch, t, phi, factor, alpha)
        assert_allclose(theta[t], expected, rtol=1e-5, atol=1e-6)


def test_without_alpha_adaptation_ends_in_least_squares():
    network, batch = make_problem("squared_error", n_rows=(40, 12))
    n_params = network.layout.n_params
    start = np.zeros(n_params)
    path = adaptation_path(
        network,
        ReptileState(start),
        np.zeros((2, n_params)),
        batch,
        PAPER,
        1000,
        None,
    )
    theta = last(path)
    for t in range(2):
        root = np.sqrt(batch.weight[t])
        A = np.column_stack([batch.X[t], np.ones(len(root))])
        expected = np.linalg.lstsq(
            A * root[:, None], batch.Y[t, :, 0] * root, rcond=None
        )[0]
        assert_allclose(theta[t], expected, rtol=1e-5, atol=1e-6)


def test_the_pull_is_towards_the_start_even_from_elsewhere():
    network, batch = make_problem("squared_error", n_rows=(10,))
    n_params = network.layout.n_params
    phi = np.random.default_rng(0).normal(size=n_params)
    elsewhere = phi[None] + 5.0
    settings = replace(PAPER, alpha=2.0)
    state = ReptileState(phi)
    path = adaptation_path(network, state, elsewhere, batch, settings, 600, None)
    expected = ridge_to_start(batch, 0, phi, np.ones(n_params), 2.0)
    assert_allclose(last(path)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_task_without_rows_stays_at_the_start():
    network, batch = make_problem("squared_error", n_rows=(5, 3))
    weight = batch.weight.copy()
    weight[1] = 0
    batch = batch._replace(weight=weight, total_weight=batch.total_weight * [1, 0])
    start = np.random.default_rng(0).normal(size=network.layout.n_params)
    settings = replace(PAPER, alpha=2.0, safe=True)
    theta = np.broadcast_to(start, (2, len(start)))
    state = ReptileState(start)
    path = adaptation_path(network, state, theta, batch, settings, 5, None)
    adapted = last(path)
    assert_array_equal(adapted[1], start)
    assert not np.allclose(adapted[0], start)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_adaptation_yields_the_parameters_after_every_number_of_steps(solver):
    network, batch = make_problem("squared_error")
    n_params = network.layout.n_params
    state = ReptileState(np.zeros(n_params), adam=SecondMoment(np.ones(n_params), 100))
    settings = replace(PAPER, solver=solver, batch_size=2)
    theta = np.zeros((3, n_params))
    full, short = (
        list(
            adaptation_path(
                network, state, theta, batch, settings, n, np.random.default_rng(0)
            )
        )
        for n in (6, 0)
    )
    assert len(full) == 7
    assert_array_equal(full[0], theta)
    assert len(short) == 1
    assert_array_equal(short[0], theta)

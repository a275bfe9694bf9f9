"""The fast ways to descend take the steps of the plain loops."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skmeta._core.descent import dual, inner, linear, loops, planned
from skmeta._core.descent.loops import SecondMoment
from skmeta._core.descent.plan import workspace
from skmeta._core.descent.rates import RateState
from skmeta._core.descent.state import ReptileSettings, ReptileState
from skmeta._core.layout import ParamLayout
from skmeta._core.network import ACTIVATIONS, LOSSES, Batch, Network, loss_and_gradient
from skmeta._core.tasks import draw_minibatches

SETTINGS = ReptileSettings(
    solver="sgd",
    learning_rate=0.1,
    inner_steps=7,
    batch_size=None,
    support_size=None,
    meta_step=1.0,
    meta_batch_size=1,
    max_iter=1,
    alpha=0.0,
    safe=False,
    groups=None,
)
PLAIN, GUARDED = {}, {"safe": True, "alpha": 3.0}


def make_problem(
    loss,
    hidden=(),
    activation="tanh",
    counts=(5, 5, 5),
    n_features=4,
    offset=False,
    dtype=np.float64,
    seed=0,
    layer_norm=False,
):
    """A network, and ragged tasks of weighted rows."""
    rng = np.random.default_rng(seed)
    counts = np.array(counts)
    shape = (len(counts), counts.max())
    n_outputs = 3 if loss == "softmax_log_loss" else 1
    if loss == "softmax_log_loss":
        Y = np.eye(3)[rng.integers(3, size=shape)]
    elif loss == "log_loss":
        Y = rng.integers(2, size=(*shape, 1))
    else:
        Y = rng.normal(scale=2.0, size=(*shape, 1))
    weight = rng.uniform(0.5, 2.0, size=shape)
    weight *= np.arange(shape[1]) < counts[:, None]
    total = weight.sum(axis=1)
    batch = Batch(
        X=rng.normal(size=(*shape, n_features)).astype(dtype),
        Y=Y.astype(dtype),
        weight=(weight / total[:, None]).astype(dtype),
        total_weight=total,
        offset=rng.normal(size=Y.shape).astype(dtype) if offset else None,
    )
    layout = ParamLayout((n_features, *hidden, n_outputs), layer_norm)
    return Network(layout, activation, loss), batch


def make_state(network, sharing=None, dtype=np.float64):
    """A start, learned rates, and Adam's moment; the groups of the rates."""
    rng = np.random.default_rng(1)
    layout = network.layout
    start = layout.init(rng, dtype) + rng.normal(scale=0.1, size=layout.n_params)
    groups, rates = None, None
    if sharing is not None:
        per_layer = sharing == "layer"
        groups = layout.groups() if per_layer else np.arange(layout.n_params)
        log_factor = rng.uniform(-1, 1, size=groups.max() + 1)
        rates = RateState(log_factor, np.zeros_like(log_factor))
    adam = SecondMoment(rng.uniform(size=layout.n_params).astype(dtype), 3)
    return ReptileState(start.astype(dtype), rates, adam), groups


def minibatch_rows(batch, size, n_steps):
    counts = np.count_nonzero(batch.weight, axis=1)
    return draw_minibatches(np.random.default_rng(2), counts, size, n_steps)


def plain_train(network, state, given, settings):
    """`inner.descend` by the loops of `loops.py`."""
    theta = np.broadcast_to(state.start, (len(given.batch.X), len(state.start)))
    objective = inner.objective(network, given)
    args = objective, given.rate, theta, settings.inner_steps
    if settings.solver == "adam":
        theta, loss, adam = inner.last(loops.adam(*args, state.adam))
        # `loops.adam` keeps the mean over tasks only
        return theta, loss, np.broadcast_to(adam.mean_square, theta.shape)
    return *inner.last(loops.sgd(*args, given.clip)), None


def both_ways(network, state, batch, settings, fast, minibatches=None):
    given = inner.problem_of(network, state, batch, settings, minibatches)
    theta, loss, *_ = plain_train(network, state, given, settings)
    fast_theta, fast_loss = fast(given)
    if isinstance(fast_theta, dual.Descended):
        assert_allclose(fast_theta.sum(), theta.sum(axis=0), rtol=1e-9, atol=1e-12)
        fast_theta = fast_theta.each()
    return (theta, loss), (fast_theta, fast_loss)


def assert_same(plain, fast, rtol=1e-9):
    for a, b in zip(plain, fast, strict=True):
        assert_allclose(b, a, rtol=rtol, atol=1e-12)


# -- the planned gradient -------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("counts", [(5,), (5, 3, 1)])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_planned_gradient_is_the_plain_one(
    loss, activation, hidden, counts, offset, layer_norm
):
    network, batch = make_problem(
        loss,
        hidden,
        activation,
        counts=counts,
        offset=offset,
        layer_norm=layer_norm,
    )
    theta = np.random.default_rng(3).normal(size=(len(counts), network.layout.n_params))
    plan = workspace(network, np.float64).plan(*batch.weight.shape)
    for part in (batch, batch._replace(offset=None), batch):  # plans are used again
        plan.theta[...] = theta
        plan.load(part.X, part.Y, part.weight, part.offset)
        G = plan.gradient()
        value, expected = loss_and_gradient(network, theta, part)
        assert_allclose(G, expected, rtol=1e-10, atol=1e-13)
        assert_allclose(plan.value(), value, rtol=1e-12)


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_a_plan_gives_the_derivative_in_the_rows_if_asked(n_tasks):
    network, batch = make_problem("squared_error", (6,), counts=(4,) * n_tasks)
    theta = np.random.default_rng(3).normal(size=(n_tasks, network.layout.n_params))
    plan = workspace(network, np.float64).plan(n_tasks, 4, input_gradient=True)
    plan.theta[...] = theta
    plan.load(batch.X, batch.Y, batch.weight)
    plan.gradient()
    for i, j in ((0, 0), (3, 2)):
        h = np.zeros_like(batch.X)
        h[:, i, j] = 1e-6
        up, down = (
            loss_and_gradient(network, theta, batch._replace(X=batch.X + s * h))[0]
            for s in (1, -1)
        )
        assert_allclose(plan.D[:, i, j], (up - down) / 2e-6, rtol=1e-6, atol=1e-10)


def test_a_workspace_that_grows_keeps_its_plans_right():
    network, small = make_problem("squared_error", (6,), counts=(4, 4))
    _, large = make_problem("squared_error", (6,), counts=(4,) * 9)
    room = workspace(network, np.float64)
    for batch in (small, large, small):
        theta = np.full((len(batch.X), network.layout.n_params), 0.3)
        plan = room.plan(*batch.weight.shape)
        plan.theta[...] = theta
        plan.load(batch.X, batch.Y, batch.weight)
        _, expected = loss_and_gradient(network, theta, batch)
        assert_allclose(plan.gradient(), expected, rtol=1e-10, atol=1e-14)


# -- training -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("sharing", [None, "layer", "parameter"])
@pytest.mark.parametrize("options", [PLAIN, GUARDED])
@pytest.mark.parametrize(
    ("hidden", "layer_norm"), [((), False), ((6, 5), False), ((6, 5), True)]
)
@pytest.mark.parametrize("loss", LOSSES)
def test_planned_sgd_is_sgd(loss, hidden, layer_norm, options, sharing, size):
    network, batch = make_problem(
        loss, hidden, counts=(5, 3, 4), offset=True, layer_norm=layer_norm
    )
    state, groups = make_state(network, sharing)
    settings = replace(SETTINGS, groups=groups, **options)
    rows = None if size is None else minibatch_rows(batch, size, 7)

    def fast(given):
        shape = (3, batch.X.shape[1] if size is None else size)
        plan = workspace(network, np.float64).plan(*shape)
        return planned.sgd(plan, given, state.start, 7)

    assert_same(*both_ways(network, state, batch, settings, fast, rows))


@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("n_tasks", [1, 3])
def test_planned_adam_is_adam(n_tasks, size, alpha):
    network, batch = make_problem("squared_error", (6,), counts=(5,) * n_tasks)
    state, _ = make_state(network)
    settings = replace(SETTINGS, solver="adam", alpha=alpha)
    rows = None if size is None else minibatch_rows(batch, size, 7)
    given = inner.problem_of(network, state, batch, settings, rows)
    plain = plain_train(network, state, given, settings)
    fast = inner.descend(network, state, batch, settings, rows)
    assert_same(plain[:2], (fast[0].each(), fast[1]))
    assert_allclose(fast[2].mean(axis=0), plain[2].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_planned_adam_may_begin_anew_with_the_growth_of_gradients(alpha, monkeypatch):
    monkeypatch.setattr(planned, "STEPS_OF_GROWTH", 3)
    test_planned_adam_is_adam(3, None, alpha)
    test_planned_adam_is_adam(3, 2, alpha)


@pytest.mark.parametrize("size", [None, 2, 4])
@pytest.mark.parametrize("sharing", [None, "layer"])
@pytest.mark.parametrize("options", [PLAIN, GUARDED])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_dual_form_of_the_first_layer_is_descent(
    loss, activation, options, sharing, size
):
    network, batch = make_problem(
        loss, (6, 5), activation, counts=(5, 3, 4), n_features=30, offset=True
    )
    # large targets make gradients clip
    batch = batch._replace(Y=batch.Y * (10 if loss == "squared_error" else 1))
    state, groups = make_state(network, sharing)
    settings = replace(SETTINGS, groups=groups, **options)
    rows = None if size is None else minibatch_rows(batch, size, 7)
    assert_same(
        *both_ways(
            network,
            state,
            batch,
            settings,
            lambda given: dual.sgd(network, given, 7),
            rows,
        )
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("hidden", "n_features"), [((), 3), ((), 60), ((4,), 3), ((4,), 60)]
)
def test_every_way_keeps_the_precision(hidden, n_features, solver, dtype):
    network, batch = make_problem(
        "squared_error", hidden, n_features=n_features, dtype=dtype
    )
    state, groups = make_state(network, "layer" if hidden else "parameter", dtype)
    settings = replace(SETTINGS, solver=solver, groups=groups, **GUARDED)
    theta, _, moment = inner.descend(network, state, batch, settings)
    theta = theta.each()
    assert theta.dtype == dtype
    assert moment is None or moment.dtype == dtype
    given = inner.problem_of(network, state, batch, settings)
    expected = plain_train(network, state, given, settings)[0]
    close = {np.float32: 2e-4, np.float64: 1e-9}[dtype]
    assert_allclose(theta, expected, rtol=close, atol=close)


# -- all tasks, all rows, every iteration ---------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("sharing", [None, "parameter"])
@pytest.mark.parametrize("options", [PLAIN, GUARDED])
@pytest.mark.parametrize("n_features", [2, 9])
def test_the_affine_map_is_the_mean_of_adapted_tasks(
    n_features, options, sharing, n_steps
):
    network, batch = make_problem(
        "squared_error", counts=(5, 3, 4), n_features=n_features, offset=True
    )
    state, groups = make_state(network, sharing)
    settings = replace(SETTINGS, groups=groups, inner_steps=n_steps, **options)
    given = inner.problem_of(network, state, batch, settings)
    given = given._replace(clip=given.clip and 1e6)
    mean = linear.AffineMap([given], n_steps)
    for seed in range(3):
        phi = np.random.default_rng(seed).normal(size=len(state.start))
        moved = replace(state, start=phi)
        problem = inner.problem_of(network, moved, batch, settings)
        problem = problem._replace(clip=given.clip)
        theta, loss, _ = plain_train(network, moved, problem, settings)
        assert_same((theta.mean(axis=0), loss.mean()), mean(phi))


@pytest.mark.parametrize("sharing", [None, "parameter"])
def test_the_affine_map_is_not_used_if_a_gradient_could_be_clipped(sharing):
    network, batch = make_problem("squared_error", counts=(5, 3, 4), n_features=2)
    state, groups = make_state(network, sharing)
    settings = replace(SETTINGS, groups=groups, **GUARDED)
    given = inner.problem_of(network, state, batch, settings)
    answered = 0
    for length in (0.3, 3.0, 10.0, 100.0):
        mean = linear.AffineMap([given._replace(clip=length)], 7)
        for scale in (0.0, 1.0, 10.0):
            rng = np.random.default_rng(int(scale))
            moved = replace(state, start=scale * rng.normal(size=3))
            answer = mean(moved.start)
            if answer is not None:
                answered += 1
                problem = inner.problem_of(network, moved, batch, settings)
                problem = problem._replace(clip=length)
                theta, _, _ = plain_train(network, moved, problem, settings)
                assert_allclose(answer[0], theta.mean(axis=0), rtol=1e-9)
    assert 0 < answered < 12


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 11])
def test_power_sums_are_sums_of_powers(n):
    M = np.random.default_rng(0).normal(scale=0.4, size=(2, 3, 3))
    powers = [np.linalg.matrix_power(M, j) for j in range(n)]
    short, full = linear.power_sums(M, n)
    assert_allclose(full, sum(powers), rtol=1e-12)
    assert_allclose(short, sum(powers[:-1], np.zeros_like(M)), rtol=1e-12, atol=1e-15)


# -- adaptation -----------------------------------------------------------------------


@pytest.mark.parametrize("n_tasks", [1, 4])
@pytest.mark.parametrize("rate", [0.05, 30.0])
@pytest.mark.parametrize("hidden", [(), (6, 5)])
@pytest.mark.parametrize("loss", LOSSES)
def test_planned_backtracking_is_backtracking(loss, hidden, rate, n_tasks):
    counts = (5, 3, 4, 2)[:n_tasks]
    network, batch = make_problem(loss, hidden, counts=counts, offset=True)
    state, groups = make_state(network, "parameter")
    settings = replace(SETTINGS, groups=groups, learning_rate=rate, **GUARDED)
    theta = np.tile(state.start + 0.1, (n_tasks, 1))
    given = inner.problem_of(network, state, batch, settings)
    plain = loops.backtracking(inner.objective(network, given), given.rate, theta, 12)
    fast = inner.path(network, state, theta, batch, settings, 12, None)
    for a, b in zip(plain, fast, strict=True):
        assert_allclose(b, a, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("n_steps", [0, 5])
@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_adapting_is_the_end_of_the_path(layer_norm, safe, solver, size, n_steps):
    network, batch = make_problem("squared_error", (6,), counts=(5, 3))
    layout = ParamLayout(network.layout.sizes, layer_norm)
    network = Network(layout, "tanh", "squared_error")
    state, _ = make_state(network)
    settings = replace(SETTINGS, solver=solver, safe=safe, batch_size=size, alpha=1.0)
    theta = np.tile(state.start, (2, 1)) + 0.1
    args = network, state, theta, batch, settings, n_steps
    adapted = inner.adapt(*args, np.random.default_rng(0)).copy()
    end = inner.last(inner.path(*args, np.random.default_rng(0)))
    assert_allclose(adapted, end, rtol=1e-9, atol=1e-12)
    if n_steps:
        assert not np.allclose(adapted, theta)

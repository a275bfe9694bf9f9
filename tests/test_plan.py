"""The buffers of a thread keep little memory after use, and no rows."""

import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta import ReptileClassifier, ReptileRegressor
from skmeta._core.descent import plan
from skmeta._core.descent.state import InnerLoop
from skmeta._core.layout import ParamLayout
from skmeta._core.network import LOSSES, Batch, Network, loss_and_gradient

SETTINGS = [
    {},
    {"hidden_layer_sizes": (8,)},
    {"hidden_layer_sizes": (8, 4), "activation": "relu", "layer_norm": True},
    {"hidden_layer_sizes": (4,), "solver": "adam"},
    {"hidden_layer_sizes": (4,), "batch_size": 3},
]


def everything_kept():
    """All arrays of this thread's plans, from wherever their calls refer to them."""
    arrays = []
    for room in plan._local.workspaces.values():
        arrays += room._flat
        for made in room._plans.values():
            calls = made._forward + made._loss + made._backward
            arrays += [a for _, given in calls for a in given]
            arrays += [a for f, _ in calls for a in getattr(f, "keywords", {}).values()]
            arrays += [made._Y, made._weight, *made._inputs, *made._data]
    return [a for a in arrays if isinstance(a, np.ndarray) and a.size]


def tasks_of(cls, n_tasks=12, n_rows=9, n_features=40, seed=0):
    rng = np.random.default_rng(seed)
    X = 7.0 + rng.normal(size=(n_tasks, n_rows, n_features))
    y = X[..., 0] - 7.0 + rng.normal(size=(n_tasks, n_rows))
    y = (y > 0).astype(float) if cls is ReptileClassifier else 100.0 + y
    return list(zip(X, y, strict=True))


@pytest.mark.parametrize("cls", [ReptileRegressor, ReptileClassifier])
@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_buffers_keep_no_row_and_no_parameter_of_a_task(cls, params):
    plan._local.__dict__.clear()
    tasks = tasks_of(cls)
    model = cls(max_iter=3, random_state=0, **params).meta_fit(tasks)
    X, y = tasks[0]
    model.adapt(X, y).partial_adapt(X[:2], y[:2])
    ids = np.arange(len(X)) % 2
    model.adapt_predict(X, y, X, task=ids, task_new=ids)
    model.score(X, y, task=np.zeros(len(X)))
    with pytest.raises(ValueError, match="not finite"):
        model.set_params(learning_rate=1e308, alpha=0.0, solver="adam")
        model._learned = replace(
            model._learned,
            inner_loop=InnerLoop("adam", False, None),
            log_factor=None,
            second_moment=np.zeros_like(model._learned.start),
        )
        model.adapt(X, y)
    # constants are 0, 1, 20 and the like, and never depend on rows
    kept = np.unique(np.concatenate([np.unique(a) for a in everything_kept()]))
    assert len(kept) < 12
    assert set(np.round(kept, 6)) <= {
        *np.round([0, 1, 20, 0.5, 1.35, -1.35, 1e-5, 1 / 8, 1 / 4, 1 / 8], 6)
    }


def test_a_wiped_plan_works_as_a_new_one_does():
    network = Network(ParamLayout((3, 5, 4, 1), True), "relu", "huber")
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6, 1))
    theta = rng.normal(size=(2, network.layout.n_params))
    results = []
    for _ in range(2):
        made = plan.workspace(network, np.float64).plan(2, 6)
        made.theta[...] = theta
        made.load(X, Y, np.full((2, 6), 1 / 6), offset=np.ones((2, 6, 1)))
        results.append((made.gradient().copy(), made.value()))
        made.clear()
    for first, second in zip(*results, strict=True):
        assert_array_equal(first, second)


@pytest.mark.parametrize("n_tasks", [1, 2])
@pytest.mark.parametrize("sizes", [(3, 1), (3, 5, 1), (2, 6, 4, 3)], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_by_blas_are_those_of_the_plain_loop(loss, activation, sizes, n_tasks):
    network = Network(ParamLayout(sizes), activation, loss)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n_tasks, 6, 3))[..., : sizes[0]], np.full(sizes[-1], 0.3)
    batch = Batch(
        X,
        Y=rng.dirichlet(Y, size=(n_tasks, 6)),
        weight=rng.uniform(0, 0.02, size=(n_tasks, 6)),
        total_weight=np.ones(n_tasks),
        offset=rng.normal(size=(n_tasks, 6, sizes[-1])),
    )
    theta = 0.5 * rng.normal(size=(n_tasks, network.layout.n_params))
    made = plan.Workspace(network, np.float64).plan(n_tasks, 6)
    for given in (batch, batch._replace(offset=None), batch):
        made.theta[...] = expected = theta
        made.load(given.X, given.Y, given.weight, given.offset)
        made.descend(7)
        assert made._blas is not None
        assert made.nbytes == sum(array.nbytes for array in made._data[5:])
        for _ in range(7):
            expected = expected - loss_and_gradient(network, expected, given)[1]
        assert_allclose(made.theta, expected, rtol=1e-12, atol=1e-14)
        made.clear()  # what is kept of it must not show in the next use


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_all_arrays_of_a_plan_begin_at_the_width_of_vector_registers(n_tasks):
    network = Network(ParamLayout((3, 5, 4, 1)), "tanh", "squared_error")
    made = plan.Workspace(network, np.float32).plan(n_tasks, 7)
    made.descend(3)
    arrays = [*made._inputs, *made._slopes, made.theta, made.G, *made.spare]
    assert not any(array.ctypes.data % plan.ALIGNMENT for array in arrays)


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_little_memory_is_kept_after_large_tasks(hidden):
    plan._local.__dict__.clear()
    model = ReptileRegressor(hidden, max_iter=2, adapt_steps=1, random_state=0)
    model.meta_fit(tasks_of(ReptileRegressor))
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n_rows in range(8000, 8010):  # 2.6 MB of rows, each time in another shape
            X = rng.normal(size=(n_rows, 40))
            model.adapt(X, X[:, 0])
        del X
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    rooms = getattr(plan._local, "workspaces", {})  # some linear models need none
    kept = sum(room.nbytes for room in rooms.values())
    assert kept <= plan.KEPT_BYTES
    assert held < 1.5 * plan.KEPT_BYTES


def test_a_thread_has_its_own_buffers_which_end_with_it():
    network, seen = Network(ParamLayout((3, 1)), "tanh", "squared_error"), []

    def use():
        seen.append(id(plan.workspace(network, np.float64)))

    here = plan.workspace(network, np.float64)
    for _ in range(2):
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert id(here) not in seen


def test_threads_adapt_side_by_side_as_one_after_the_other(regressor):
    tasks = [(X[:, :3], y) for X, y in tasks_of(ReptileRegressor, n_tasks=8)]
    expected = [regressor.adapt(X, y).predict(X) for X, y in tasks]
    failures = []

    def work(k):
        for _ in range(20):
            X, y = tasks[k]
            if not np.array_equal(regressor.adapt(X, y).predict(X), expected[k]):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# -- ragged tasks ---------------------------------------------------------------------


@pytest.mark.parametrize("support_size", [(1, 20), None], ids=str)
def test_one_long_task_does_not_take_memory_as_if_all_were_long(support_size):
    rng = np.random.default_rng(0)
    n_long, n_short = 4000, 1000
    task = np.r_[np.zeros(n_long, int), np.arange(1, n_short + 1)]
    X = rng.normal(size=(n_long + n_short, 20))
    y = X[:, 0] + rng.normal(size=len(X))
    model = ReptileRegressor(max_iter=3, support_size=support_size, random_state=0)
    if support_size is None:
        model.set_params(meta_batch_size=len(X))
    calls = [
        lambda: model.fit(X, y, task=task),
        lambda: model.adapt_predict(X, y, X, task=task, task_new=task),
        lambda: model.set_params(adapt_steps="auto", early_stopping=True).fit(
            X, y, task=np.where(task > n_short // 2, task // 2, task)
        ),
    ]
    for call in calls:
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # if all tasks were as long, it would be 800 times as much
        assert peak < 8 * X.nbytes

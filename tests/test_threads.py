"""Calls from several threads: BLAS keeps its threads, and a model keeps its rows."""

import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import threadpoolctl
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRegressor,
    PrototypicalClassifier,
    ReptileRegressor,
)
from skmeta._threads import lock_of, on_one_blas_thread, one_blas_thread


def blas_threads():
    return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]


def let_any_thread_set_it():
    """From threadpoolctl 3.8 on the first thread to set a number is in charge."""
    library = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()


@pytest.fixture
def two_blas_threads():
    earlier = threadpool_limits(2, user_api="blas")
    let_any_thread_set_it()
    before = blas_threads()
    if not before or max(before) == 1:
        pytest.skip("this BLAS has one thread only")
    yield before
    earlier.restore_original_limits()
    let_any_thread_set_it()


def test_blocks_that_overlap_leave_blas_the_threads_it_had(two_blas_threads):
    first_is_inside, second_is_inside = threading.Event(), threading.Event()
    first_is_out = threading.Event()
    seen = []

    def first():
        with one_blas_thread():
            first_is_inside.set()
            second_is_inside.wait(10)
        first_is_out.set()

    @on_one_blas_thread
    def second():
        second_is_inside.set()
        first_is_out.wait(10)
        seen.append(blas_threads())

    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(first)
        first_is_inside.wait(10)
        pool.submit(second).result()
        done.result()
    assert set(seen[0]) == {1}
    assert blas_threads() == two_blas_threads


def test_a_block_that_fails_leaves_blas_the_threads_it_had(two_blas_threads):
    with pytest.raises(KeyError), one_blas_thread(), one_blas_thread():
        raise KeyError
    assert blas_threads() == two_blas_threads


@pytest.mark.parametrize(
    "kind",
    [EmpiricalBayesRegressor, PrototypicalClassifier, ReptileRegressor],
)
def test_fits_that_overlap_leave_blas_the_threads_it_had(
    kind, label_tasks, two_blas_threads, monkeypatch
):
    """The second fit begins within the first and ends after it."""
    first_is_inside, second_is_inside = threading.Event(), threading.Event()
    futures = []

    def waiting(seed):
        if not first_is_inside.is_set():
            first_is_inside.set()
            second_is_inside.wait(10)
        elif not second_is_inside.is_set():
            second_is_inside.set()
            futures[0].result(10)
        return check_random_state(seed)

    monkeypatch.setattr(sys.modules[kind.__module__], "check_random_state", waiting)
    with ThreadPoolExecutor(2) as pool:
        futures.append(pool.submit(kind().meta_fit, label_tasks))
        first_is_inside.wait(10)
        pool.submit(kind().meta_fit, label_tasks).result(20)
    assert blas_threads() == two_blas_threads


# -- one model, several threads -------------------------------------------------------

N_ROWS = 60


@pytest.fixture
def often():
    """Threads switch so often that one may run between two steps of an update."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    "model",
    [
        EmpiricalBayesRegressor("isotropic"),
        EmpiricalBayesClassifier("isotropic"),
        PrototypicalClassifier(),
    ],
    ids=str,
)
def test_rows_given_by_several_threads_are_those_of_one_call(model, label_tasks, often):
    model.meta_fit(label_tasks)
    X, y = (np.concatenate(part)[:N_ROWS] for part in zip(*label_tasks, strict=True))
    if isinstance(model, PrototypicalClassifier):
        model.reset_adaptation()
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(model.partial_adapt, X[[i]], y[[i]]) for i in range(N_ROWS)]
        for job in jobs:
            job.result()
    assert model.n_adapt_rows_ == N_ROWS
    expected = model.adapt(X, y)
    assert_allclose(model.predict(X), expected.predict(X), rtol=1e-6)
    if hasattr(model, "predict_proba"):
        assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=1e-5)


def test_a_call_that_fails_takes_back_no_other_threads_rows(label_tasks, often):
    model = EmpiricalBayesRegressor("isotropic").meta_fit(label_tasks)
    X, y = (np.concatenate(part)[:N_ROWS] for part in zip(*label_tasks, strict=True))

    def give(i):
        if i % 2:
            with pytest.raises(ValueError, match="NaN"):
                model.partial_adapt(X[[i]], [np.nan])
        else:
            model.partial_adapt(X[[i]], y[[i]])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(give, range(N_ROWS)))
    assert model.n_adapt_rows_ == N_ROWS // 2
    assert_allclose(model.predict(X), model.adapt(X[::2], y[::2]).predict(X))


def test_reptile_descends_on_one_portion_after_the_other(linear_tasks, often):
    """Copies of one row, whose order makes no difference."""
    model = ReptileRegressor(max_iter=5, random_state=0).meta_fit(linear_tasks)
    X, y = linear_tasks[0]
    serial = model.adapt(X[:1], y[:1])
    for _ in range(29):
        serial.partial_adapt(X[:1], y[:1])
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(model.partial_adapt, X[:1], y[:1]) for _ in range(30)]
        for job in jobs:
            job.result()
    assert model.n_adapt_rows_ == 30
    assert_allclose(model.predict(X), serial.predict(X))


def test_predictions_never_use_a_model_that_a_failed_call_has_emptied(
    label_tasks, often
):
    model = EmpiricalBayesRegressor("isotropic").meta_fit(label_tasks)
    X, _ = label_tasks[0]
    expected, stop = model.predict(X), threading.Event()

    def fail():
        while not stop.is_set():
            with pytest.raises(ValueError, match="NaN"):
                model.partial_adapt(X[:1], [np.nan])

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(fail)
        try:
            for _ in range(200):
                assert_array_equal(model.predict(X), expected)
        finally:
            stop.set()
        failing.result()


def test_a_lock_is_neither_saved_nor_copied(linear_tasks):
    model = ReptileRegressor(max_iter=2).meta_fit(linear_tasks)
    lock, names = lock_of(model), set(vars(model))
    with lock:
        for other in (clone(model), deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert lock_of(other) is not lock
            acquired = ThreadPoolExecutor(1).submit(lock_of(other).acquire, False)
            assert acquired.result()
        X, y = linear_tasks[0]
        ThreadPoolExecutor(1).submit(model.adapt, X, y).result(10)  # needs no lock
    assert lock_of(model) is lock and set(vars(model)) == names

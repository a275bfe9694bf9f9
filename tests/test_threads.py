"""Calls from several threads: BLAS keeps its threads, and a model keeps its rows."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import threadpoolctl
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_info, threadpool_limits

from skmeta import EmpiricalBayesRegressor, PrototypicalClassifier, ReptileRegressor
from skmeta._threads import on_one_blas_thread, one_blas_thread


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

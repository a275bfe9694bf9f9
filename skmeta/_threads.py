"""What threads share: the number of BLAS threads, and a lock for each model."""

import threading
from contextlib import contextmanager
from functools import wraps
from weakref import WeakKeyDictionary

from sklearn.utils.parallel import _get_threadpool_controller


class _Overlap:
    """How many blocks want one BLAS thread now, and what the last of them puts back.

    The number of threads is mostly one of the whole process. Saving it at the start of
    each block and putting it back at the end fails where blocks of several threads
    overlap: the second saves what the first has set, and puts that back last. So the
    first to enter saves, and only the last to leave puts back.
    """

    lock = threading.Lock()
    n_inside = 0
    saved = ()


@contextmanager
def one_blas_thread():
    """One BLAS thread within the block, whatever other threads do meanwhile."""
    libraries = _get_threadpool_controller().lib_controllers
    libraries = [library for library in libraries if library.user_api == "blas"]
    # OpenBLAS on OpenMP has a number for each thread, and then nothing overlaps
    own = [lib for lib in libraries if getattr(lib, "threading_layer", "") == "openmp"]
    shared = [library for library in libraries if library not in own]
    saved = _set_to_one(own)
    with _Overlap.lock:
        if _Overlap.n_inside == 0:
            _Overlap.saved = _set_to_one(shared)
        _Overlap.n_inside += 1
    try:
        yield
    finally:
        _put_back(saved)
        with _Overlap.lock:
            _Overlap.n_inside -= 1
            if _Overlap.n_inside == 0:
                _put_back(_Overlap.saved)


def _set_to_one(libraries):
    """Set the number of threads to 1; returns what that has changed, to put back."""
    before = [(library, library.get_num_threads()) for library in libraries]
    for library in libraries:
        library.set_num_threads(1)
        _release(library)
    # another thread may have the say, in a threadpool_limits of the user's
    return [(lib, n) for lib, n in before if n != 1 and lib.get_num_threads() == 1]


def _put_back(saved):
    for library, n_threads in saved:
        if library.get_num_threads() == 1:
            library.set_num_threads(n_threads)
            _release(library)


def _release(library):
    """Leave no thread in charge: from threadpoolctl 3.8 on only that one can set."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()


def on_one_blas_thread(function):
    """Decorator: `one_blas_thread` within the function."""

    @wraps(function)
    def limited(*args, **kwargs):
        with one_blas_thread():
            return function(*args, **kwargs)

    return limited


# Beside the models and not in them: a lock can be neither pickled nor shared by copies.
_locks = WeakKeyDictionary()
_lock_of_locks = threading.Lock()


def lock_of(model):
    """The lock of a model that is changed in place, one for each object."""
    with _lock_of_locks:
        lock = _locks.get(model)
        if lock is None:
            lock = _locks[model] = threading.RLock()
    return lock

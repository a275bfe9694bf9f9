"""What threads share: the number of BLAS threads, and a lock for each model."""

import threading
from contextlib import contextmanager
from functools import wraps
from weakref import WeakKeyDictionary

from sklearn.utils.parallel import _get_threadpool_controller


class _Overlap:
    """How many blocks need one BLAS thread now, and what the last of them restores.

    The number of threads mostly belongs to the whole process. It does not help to save
    it at the start of each block and to restore it at the end: if blocks of several
    threads overlap, the second block saves what the first has set, and restores that
    last. So the first block to enter saves the number, and only the last to leave
    restores it.
    """

    lock = threading.Lock()
    n_inside = 0
    saved = ()


@contextmanager
def one_blas_thread():
    """Use one BLAS thread within the block, whatever other threads do meanwhile."""
    libraries = _get_threadpool_controller().lib_controllers
    libraries = [library for library in libraries if library.user_api == "blas"]
    # OpenBLAS on OpenMP has its own number for each thread, so nothing overlaps.
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
    """Set the number of threads to 1; return what this changed, to restore it later."""
    before = [(library, library.get_num_threads()) for library in libraries]
    for library in libraries:
        library.set_num_threads(1)
        _release(library)
    # Another thread may be in charge, through a threadpool_limits of the user.
    return [(lib, n) for lib, n in before if n != 1 and lib.get_num_threads() == 1]


def _put_back(saved):
    for library, n_threads in saved:
        if library.get_num_threads() == 1:
            library.set_num_threads(n_threads)
            _release(library)


def _release(library):
    """Leave no thread in charge: in threadpoolctl 3.8 only that one sets numbers."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread()


def on_one_blas_thread(function):
    """Decorator: `one_blas_thread` within the function."""

    @wraps(function)
    def limited(*args, **kwargs):
        with one_blas_thread():
            return function(*args, **kwargs)

    return limited


# Locks are not attributes of models, since a lock can be neither pickled nor shared by
# copies.
_locks = WeakKeyDictionary()
_lock_of_locks = threading.Lock()


def lock_of(model):
    """The lock of a model that is changed in place, one for each object."""
    with _lock_of_locks:
        lock = _locks.get(model)
        if lock is None:
            lock = _locks[model] = threading.RLock()
    return lock

"""A fingerprint of what a model has learned, equal for the same model loaded again."""

from dataclasses import fields, is_dataclass
from hashlib import blake2b

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

# Attributes of estimators that change no prediction.
WITHOUT_EFFECT = frozenset(
    ("n_jobs", "verbose", "callbacks", "random_state", "warm_start", "_sklearn_version")
)


def fingerprint(model):
    """The fingerprint of a fitted estimator, as text.

    It is made from values alone, so that it depends neither on the layout of arrays nor
    on which objects share parts.
    """
    digest = blake2b(digest_size=16)
    _add(digest, model, {})
    return digest.hexdigest()


def _add(digest, value, above):
    """Add a value. ``above`` holds the ids of the objects around it."""
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        value = value.item() if value.dtype.kind in "biufcUS" else np.asarray(value)
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        kind = next(k for k in _PLAIN if isinstance(value, k))
        _say(digest, kind.__name__, repr(kind(value) if value is not None else value))
    elif isinstance(value, np.ndarray):
        _add_array(digest, value, above)
    elif id(value) in above:
        _say(digest, "above", above[id(value)])
    else:
        _add_parts(digest, value, above | {id(value): len(above)})


_PLAIN = (bool, int, float, complex, str, bytes, object)


def _say(digest, *words):
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)


def _add_array(digest, array, above):
    array = np.asarray(array)
    _say(digest, "array", array.shape)
    if array.dtype.names is not None:  # between the fields there may be anything
        for name in array.dtype.names:
            _say(digest, name)
            _add_array(digest, array[name], above)
    elif array.dtype.kind == "O":
        for item in array.ravel().tolist():
            _add(digest, item, above)
    else:
        _say(digest, array.dtype.newbyteorder("<").str)
        _say(digest, array.astype(array.dtype.newbyteorder("<")).tobytes())


def _add_parts(digest, value, above):
    kind = type(value)
    if isinstance(value, (list, tuple)):
        _say(digest, "sequence", len(value))
        for item in value:
            _add(digest, item, above)
    elif isinstance(value, dict):
        _add_named(digest, {repr(name): item for name, item in value.items()}, above)
    elif isinstance(value, (set, frozenset)):
        _say(digest, "set", sorted(map(repr, value)))
    elif sparse.issparse(value):
        table = value.tocsr()
        _add(digest, (table.shape, table.data, table.indices, table.indptr), above)
    elif isinstance(value, (type, np.ufunc)) or hasattr(value, "__qualname__"):
        name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        _say(digest, "named", getattr(value, "__module__", "numpy"), name)
    elif hasattr(value, "get_tree_stats"):  # this tree counts how often it is asked
        _say(digest, kind.__qualname__)
        _add(digest, [np.asarray(array) for array in value.get_arrays()], above)
    elif is_dataclass(value):
        _say(digest, kind.__qualname__)
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        _add_named(digest, named, above)
    elif isinstance(value, BaseEstimator):
        _say(digest, kind.__module__, kind.__qualname__)
        kept = vars(value).items()
        _add_named(digest, {n: v for n, v in kept if n not in WITHOUT_EFFECT}, above)
    else:
        _say(digest, kind.__module__, kind.__qualname__)
        _add_reduced(digest, value, above)


def _add_named(digest, named, above):
    _say(digest, "names", len(named))
    for name in sorted(named):
        _say(digest, name)
        _add(digest, named[name], above)


def _add_reduced(digest, value, above):
    """Add an object of any other type as pickle would: its state and its items."""
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return _say(digest, reduced)
    make, arguments, *more = reduced
    _say(digest, getattr(make, "__qualname__", repr(type(make))))
    # the class itself is among the arguments
    _add(digest, arguments, above)
    for part in more[:3]:
        items = None if part is None else part
        if items is not None and hasattr(items, "__next__"):
            items = list(items)
        _add(digest, items, above)

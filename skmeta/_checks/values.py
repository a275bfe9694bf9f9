"""Values of a column or table: their kinds, and which are missing."""

from datetime import date, datetime, timedelta
from numbers import Number

import numpy as np
from scipy import sparse

# -- single values --------------------------------------------------------------------


def is_missing(values):
    """Where an array (n,) holds no value: NaN, NaT, None or the NA of pandas."""
    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind not in "OT":
        return np.zeros(len(values), dtype=bool)
    return np.array([is_missing_value(i) for i in values], dtype=bool)


def is_missing_value(i):
    try:
        return i is None or bool(i != i)  # NaN and NaT differ from themselves
    except (TypeError, ValueError):
        return type(i).__name__ == "NAType"  # pandas.NA is neither true nor false


def one_of_each_type(ids):
    """The first item of each type in an object array."""
    first = {type(i): i for i in ids[::-1]}
    return [first[kind] for kind in dict.fromkeys(map(type, ids))]


def kind_of(i):
    """In words, the kind of an id; only ids of the same kind can be equal."""
    kind = next((k for types, k in _KINDS if isinstance(i, types)), type(i).__name__)
    aware = kind == "date and time" and getattr(i, "tzinfo", None) is not None
    return f"{kind} with a time zone" if aware else kind


_KINDS = (  # the order matters: np.datetime64 is an np.generic, a datetime is a date
    (str, "text"),
    (bytes, "bytes"),
    ((np.datetime64, datetime), "date and time"),
    (date, "date"),
    ((np.timedelta64, timedelta), "time span"),
    ((Number, np.generic), "number"),
)


def kinds_of(ids):
    """One id of each kind: {kind: id}."""
    some = ids[:1] if ids.dtype.kind != "O" else one_of_each_type(ids)
    if any(isinstance(i, datetime) for i in some):
        some = ids  # moments with and without a time zone have the same type
    first = {}
    for i in some:
        first.setdefault(kind_of(i), i)
    return first


def as_object_array(items):
    """1-D object array, even of tuples, which np.array would make 2-D."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def show(task_id):
    """An id as the user wrote it: NumPy scalars print as 'np.int64(4)' otherwise."""
    if isinstance(task_id, np.datetime64):  # its item may be a count of nanoseconds
        return repr(str(task_id))
    if type(task_id) is tuple:
        return f"({', '.join(map(show, task_id))})"
    return repr(task_id.item() if isinstance(task_id, np.generic) else task_id)


# -- values that a database gives -----------------------------------------------------


def plain_weight(weight, name="sample_weight"):
    """Weights as floats, with NaN for missing ones; an error if one is not a number."""
    if isinstance(weight, Number) and not isinstance(weight, complex):
        return weight  # the same for all rows
    given = np.asarray(weight)
    if given.dtype.kind in "fiub":
        return given.astype(float, copy=False)
    examples = one_of_each_type(given.ravel().astype(object))
    for value in examples:
        if is_missing_value(value):
            value = "NaN or another missing value"
        elif isinstance(value, Number) and not isinstance(value, complex):
            continue
        elif isinstance(value, str):
            raise ValueError(
                f"{name} holds text, such as {value}; weights are numbers. If these "
                "are the ids of tasks, pass them by name: task=ids."
            )
        else:
            value = f"{show(value)}, of the type {type(value).__name__}"
        raise ValueError(f"{name} holds {value}; weights are numbers from 0 on.")
    return given.astype(float)


def plain_table(X, name="X"):
    """X with NaN for each missing value (None, NA, NaT) in a column of objects.

    scikit-learn then raises its error about NaN. Dates are refused: as numbers they
    would be counts of nanoseconds, and a missing date would be -9.2e18.
    """
    if sparse.issparse(X):
        return X
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        return _plain_columns(X, name)
    if type(X) is np.ndarray and X.dtype.kind in "fiub":
        return X
    cells = _as_array(X)
    return _plain_cells(cells, name) if cells.dtype.kind in "OmM" else X


def _as_array(values):
    """The values as a NumPy array; an empty one if they cannot be one."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # scikit-learn refuses ragged values
        return np.empty(0)


def _plain_columns(frame, name):
    """The same for a DataFrame, column by column."""
    plain = frame
    for j, (column, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        values = None
        if getattr(dtype, "kind", "") in ("m", "M") or _is_temporal(dtype):
            raise ValueError(_DATES.format(f"{name} has dates in column {column!r}"))
        if getattr(dtype, "kind", "") == "O" and hasattr(frame, "isetitem"):
            values = frame.iloc[:, j].to_numpy(dtype=object)
        if values is None:
            continue
        cells = _plain_cells(values, f"Column {column!r} of {name}")
        if cells is not values:
            plain = frame.copy(deep=False) if plain is frame else plain
            plain.isetitem(j, cells)
    return plain


def _is_temporal(dtype):
    """Whether a type of polars is one of dates or time spans."""
    return bool(getattr(dtype, "is_temporal", bool)())


def _plain_cells(cells, name):
    """The same for an array; it returns a copy if there is a missing value."""
    if cells.dtype.kind in "mM":
        raise ValueError(_DATES.format(f"{name} holds dates"))
    flat = cells.ravel()
    for value in one_of_each_type(flat):
        is_date = kind_of(value).startswith(("date", "time"))
        if is_date and not is_missing_value(value):
            shown = f"{name} holds dates, such as {show(value)}"
            raise ValueError(_DATES.format(shown))
    missing = is_missing(flat).reshape(cells.shape)
    if not missing.any():
        return cells
    cells = cells.copy()
    cells[missing] = np.nan
    return cells


_DATES = (
    "{}; the columns of X must be numbers. Make numbers of them, such as days since "
    "a certain date, or the day of the week."
)


def check_target(y, labels):
    """Refuse targets with a value that is missing, not a number, or not a label.

    A column of objects passes scikit-learn's own check, and None becomes NaN later.
    """
    if (type(y) is np.ndarray and y.dtype.kind in "fiub") or sparse.issparse(y):
        return
    values = _as_array(y)
    kind = values.dtype.kind
    if kind not in "OTmM":
        return
    missing = np.flatnonzero(is_missing(values.ravel()))
    if len(missing):
        value = values.ravel()[missing[0]]
        raise ValueError(
            f"Input y contains NaN or another missing value: {value!r}. Drop those "
            "rows; a row without its target teaches nothing."
        )
    if labels:
        if kind == "O" and values.ndim == 1:
            check_alike(values)
        return
    if kind == "O":
        _check_finite(values)
    examples = one_of_each_type(values.ravel()) if kind == "O" else values.ravel()[:1]
    for value in examples:
        if not isinstance(value, (str, Number, np.generic)) or kind in "mM":
            raise ValueError(
                f"y holds {show(value)}, of the type {type(value).__name__}; the "
                "targets of a regressor must be numbers. Make numbers of them, such "
                "as days."
            )


def _check_finite(values):
    """Refuse objects that are infinite, or too large for a float."""
    try:
        finite = np.isfinite(values.astype(float)).all()
    except OverflowError:
        finite = False
    except (TypeError, ValueError):  # scikit-learn refuses text and the like
        return
    if not finite:
        raise ValueError(
            "Input y contains infinity or a value too large for dtype('float64')."
        )


def check_alike(values):
    """Refuse mixed kinds of values, such as text among numbers."""
    kinds = kinds_of(as_object_array(values))
    kinds = {k: i for k, i in kinds.items() if not is_missing_value(i)}
    if len(kinds) > 1:
        said = " and ".join(f"{kind} such as {show(i)}" for kind, i in kinds.items())
        raise ValueError(
            f"y mixes values of {len(kinds)} kinds: {said}. Give all the same type."
        )


# -- the sum of weights ---------------------------------------------------------------

# From here on not every whole number is a float.
EXACT_FLOAT = 2.0**53
# Weights must sum to at least this; a smaller sum has no inverse that a float can hold.
LEAST_WEIGHT = 1e-100


def check_total_weight(weight):
    """Refuse weights that would lose a row of weight 1, or that no float inverts."""
    with np.errstate(over="ignore"):
        total = weight.sum()
    if total > EXACT_FLOAT or 0 < total < LEAST_WEIGHT:
        raise ValueError(
            f"The sample weights add up to {total:.3g}, and the largest is "
            f"{weight.max():.3g}: that is too {'much' if total > 1 else 'little'} to "
            "reckon with. A weight of 2 is a row that is there twice; divide all by "
            "their mean."
        )

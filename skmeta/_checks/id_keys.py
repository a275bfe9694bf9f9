"""Ids of tasks as keys: equal where `fit` takes two ids for equal.

Whole numbers are keys as ``int``, whatever type they came in, and other numbers as
``float``. Text is a key as ``str``, so that 1 and "1" are different tasks. Any other id
is a key as a pair of its kind and a value.
"""

from datetime import UTC, date, datetime, timedelta
from numbers import Number
from uuid import UUID

import numpy as np

from skmeta._checks.ids import check_task_ids
from skmeta._checks.values import as_object_array, is_missing_value, kind_of, show

# One of these names all rows at once; anything else is a column of ids.
SINGLE = (str, bytes, Number, np.generic, date, timedelta, UUID)
# How many nanoseconds there are in a unit of NumPy's times.
NANOSECONDS = {
    "W": 604_800_000_000_000,
    "D": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
# SQLite keeps whole numbers below this size as they are.
LARGEST_WHOLE = 2**63
MOMENT, ZONED, DAY = "date and time", "date and time with a time zone", "date"
SPAN, UNIQUE = "time span", "UUID"


# -- from ids to keys and back --------------------------------------------------------


def is_single(task):
    """Whether ``task`` is the id of all rows, and not a column of ids."""
    return isinstance(task, SINGLE) or getattr(task, "ndim", 1) == 0


def check_not_a_column(X, task):
    """Refuse the name of a column of X, which would be the id of one task."""
    if isinstance(task, str) and task in getattr(X, "columns", ()):
        raise ValueError(
            f"task={task!r} is the name of a column of X; pass the column itself, one "
            f"id per row: task=df[{task!r}]."
        )


def column_of_ids(task):
    """Ids that are one per row; None if a single one holds for all rows."""
    return None if is_single(task) else task


def keys_of(task, n_rows, table="X"):
    """Keys (n_rows,) of the rows' tasks, as a list.

    ``task`` is one id per row or a single one for all.
    """
    if is_single(task):
        return [_single_key(task)] * n_rows
    return keys_of_ids(check_task_ids(unmixed(task), n_rows, table=table))


def unmixed(task):
    """Ids in which NumPy would turn no number into text: a list for a tuple."""
    return list(task) if isinstance(task, tuple) else task


def keys_of_some(ids):
    """Keys of a list of ids, or of a single one."""
    if is_single(ids):
        return [_single_key(ids)]
    if not hasattr(ids, "dtype"):
        ids = list(ids)
    return keys_of_ids(check_task_ids(ids, len(ids), "ids", "itself"))


def _single_key(task):
    task = task[()] if isinstance(task, np.ndarray) else task
    if is_missing_value(task):
        raise ValueError(f"task={task!r} is a missing value. Pass the id of the task.")
    return key_of(task)


def keys_of_ids(ids):
    """Keys of an array of ids that `check_task_ids` has passed."""
    kind = ids.dtype.kind
    if kind in "iuUS":
        return ids.tolist()
    if kind == "b":
        return ids.astype(int).tolist()
    if kind == "f" and (ids == np.floor(ids)).all() and (np.abs(ids) < 2**62).all():
        return ids.astype(np.int64).tolist()
    if kind == "O" and set(map(type, ids)) <= {int, str}:
        return ids.tolist()
    return [key_of(i) for i in ids]


def key_of(i):
    """The key of one id."""
    if isinstance(i, (np.datetime64, np.timedelta64)):
        return _time_key(i)
    if isinstance(i, np.generic):
        i = i.item()
    if isinstance(i, str):
        return str.__str__(i)
    if isinstance(i, bytes):
        return bytes(i)
    if isinstance(i, Number) and not isinstance(i, (complex, np.generic)):
        return _number_key(i)
    if isinstance(i, datetime):
        if i.tzinfo is not None:
            return ZONED, i.astimezone(UTC).isoformat()
        return _time_key(getattr(i, "to_datetime64", lambda: np.datetime64(i))())
    if isinstance(i, date):
        return DAY, i.isoformat()
    if isinstance(i, timedelta):
        return _time_key(getattr(i, "to_timedelta64", lambda: np.timedelta64(i))())
    if isinstance(i, UUID):
        return UNIQUE, i.hex
    raise ValueError(
        f"{show(i)} is of the type {type(i).__name__}, of which a bank can keep no id. "
        "An id is a number, text, bytes, a date or a UUID: give text, for instance by "
        "astype(str)."
    )


def _number_key(number):
    """A whole number as an int, and others as a float, if that is the same number."""
    try:
        for kind in (int, float):
            plain = kind(number)
            if plain == number:
                return plain
    except (OverflowError, ValueError, TypeError):  # infinite, or no real number
        if number in (np.inf, -np.inf):
            return float(number)
    raise ValueError(
        f"The id {show(number)} is no float. Give whole numbers or text as ids."
    )


def _time_key(i):
    """Nanoseconds as a whole number of any size, so that equal times are equal."""
    kind = MOMENT if isinstance(i, np.datetime64) else SPAN
    unit, size = np.datetime_data(i.dtype)
    if unit in "YM" and kind == MOMENT:
        i, unit, size = i.astype("datetime64[D]"), "D", 1
    if unit not in NANOSECONDS:
        raise ValueError(
            f"The id {show(i)} is in the unit {unit!r}, which a bank does not keep. "
            "Give times to the nanosecond, or text."
        )
    return kind, int(i.astype(np.int64)) * size * NANOSECONDS[unit]


def id_of(key):
    """An id whose key this is."""
    if not isinstance(key, tuple):
        return key
    kind, value = key
    if kind in (MOMENT, SPAN):
        unit = "ns"
        if not -LARGEST_WHOLE < value < LARGEST_WHOLE:
            value, unit = value // NANOSECONDS["s"], "s"
        return (np.datetime64 if kind == MOMENT else np.timedelta64)(value, unit)
    readers = {ZONED: datetime.fromisoformat, DAY: date.fromisoformat, UNIQUE: UUID}
    return readers[kind](value)


def array_of_ids(keys):
    """Ids as an array: whole numbers and floats as such, all else as objects."""
    ids = [id_of(key) for key in keys]
    if set(map(type, ids)) in ({int}, {float}):
        numbers = np.array(ids)
        if numbers.dtype.kind in "if":
            return numbers
    return as_object_array(ids)


def kind_of_key(key):
    """In words, the kind of a key; only ids of one kind can be equal."""
    return key[0] if isinstance(key, tuple) else kind_of(key)


# -- keys in a store ------------------------------------------------------------------


def to_text(key):
    """A key as text, which `from_text` reads again."""
    if isinstance(key, tuple):
        return f"{key[0]}:{key[1]}"
    if isinstance(key, bytes):
        return f"bytes:{key.hex()}"
    return f"{kind_of(key)}:{key if isinstance(key, str) else repr(key)}"


def from_text(text):
    kind, _, value = text.partition(":")
    if kind == "text":
        return value
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind == "number":
        try:
            return int(value)
        except ValueError:
            return float(value)
    return kind, int(value) if kind in (MOMENT, SPAN) else value


def to_sql(key):
    """A key as a value of SQLite: numbers and text as they are, all else as a blob."""
    if type(key) is str or type(key) is float:
        return key
    if type(key) is int and -LARGEST_WHOLE <= key < LARGEST_WHOLE:
        return key
    return to_text(key).encode()


def from_sql(value):
    return from_text(value.decode()) if isinstance(value, bytes) else value

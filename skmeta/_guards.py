"""Checks of tasks and their ids, with messages that name the task and the remedy."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from numbers import Integral, Number

import numpy as np
from scipy import sparse

from skmeta._warn import warn

# -- ids ------------------------------------------------------------------------------


def check_task_ids(task, n_rows, name="task", table="X"):
    """Validate ids, one per row; returns them as a 1-D array.

    Raises
    ------
    ValueError
        If there are not as many ids as rows, one is missing, or one is no single value.
    """
    if task is None:
        raise ValueError(
            f"{name} is None; pass the ids of the tasks, one per row of {table}."
        )
    if isinstance(task, str):
        raise ValueError(
            f"{name}={task!r} is a name; pass the column of ids itself, one per row: "
            f"{name}=df[{task!r}]."
        )
    ids = _as_object_array(task) if isinstance(task, list) else np.asarray(task)
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        several = " " + _NUMBER_THEM.format(name) if ids.ndim == 2 else ""
        raise ValueError(
            f"{name} must hold one id per row, in one dimension; got shape "
            f"{ids.shape}.{several}"
        )
    if len(ids) != n_rows:
        raise ValueError(
            f"{name} has {len(ids)} ids, but {table} has {n_rows} rows. Pass one id "
            "per row."
        )
    missing = np.flatnonzero(is_missing(ids))
    if len(missing):
        raise ValueError(
            f"{name} has {len(missing)} missing ids, the first in row {missing[0]}. "
            "Drop those rows, or give them the id of their task."
        )
    return _plain_ids(ids, name)


_NUMBER_THEM = (
    "If a task is named by several columns, number their combinations: "
    "{}=df.groupby(['store', 'week']).ngroup()."
)


def _plain_ids(ids, name):
    """Ids in a type of their own, if they have one; an error if one cannot be an id."""
    if ids.dtype.kind not in "OT":
        return ids
    ids = ids.astype(object)
    for i in _one_of_each_type(ids):
        if isinstance(i, (tuple, list, np.ndarray)):
            raise ValueError(
                f"{name} holds {type(i).__name__}s, such as {show(i)}; an id is a "
                f"single number, text or date. {_NUMBER_THEM.format(name)}"
            )
        try:
            hash(i)
        except TypeError:
            raise ValueError(
                f"{name} holds objects of the type {type(i).__name__}, such as "
                f"{show(i)}, that cannot be told apart as ids. An id is a number, text "
                "or a date."
            ) from None
    if set(_kinds(ids)) == {"date and time"}:
        return np.array([_as_datetime64(i) for i in ids])
    return ids


def _as_datetime64(moment):
    convert = getattr(moment, "to_datetime64", None)  # of pandas, to the nanosecond
    return np.datetime64(moment) if convert is None else convert()


def _one_of_each_type(ids):
    """The first item of each type in an object array."""
    first = {type(i): i for i in ids[::-1]}
    return [first[kind] for kind in dict.fromkeys(map(type, ids))]


def _kind(i):
    """In words, what two ids must have in common to be equal at all."""
    kind = next((k for types, k in _KINDS if isinstance(i, types)), type(i).__name__)
    aware = kind == "date and time" and getattr(i, "tzinfo", None) is not None
    return f"{kind} with a time zone" if aware else kind


_KINDS = (  # np.datetime64 is an np.generic, and a datetime is a date: in this order
    (str, "text"),
    (bytes, "bytes"),
    ((np.datetime64, datetime), "date and time"),
    (date, "date"),
    ((np.timedelta64, timedelta), "time span"),
    ((Number, np.generic), "number"),
)


def _kinds(ids):
    """One id of each kind: {kind: id}."""
    some = ids[:1] if ids.dtype.kind != "O" else _one_of_each_type(ids)
    if any(isinstance(i, datetime) for i in some):
        some = ids  # those with and without a time zone are of one type
    first = {}
    for i in some:
        first.setdefault(_kind(i), i)
    return first


def encode_tasks(task, n_rows):
    """Task number of each row (0, 1, ...) and the id behind each number.

    Without ids all rows are one task.
    """
    if task is None:
        return np.zeros(n_rows, dtype=np.intp), np.zeros(1, dtype=np.intp)
    ids = check_task_ids(task, n_rows)
    codes, unique = _group(ids)
    _warn_of_doubtful_ids(ids, unique)
    return codes, unique


def _group(ids):
    """Number of the group of equal ids that each belongs to, and its id."""
    if ids.dtype.kind != "O":
        unique, codes = np.unique(ids, return_inverse=True)
        return codes, unique
    # by hash: sorting would not bring together what is only partly ordered
    names = list(dict.fromkeys(ids))
    try:
        names.sort()
    except TypeError:  # of several types: in the order of appearance
        pass
    number = {name: i for i, name in enumerate(names)}
    codes = np.fromiter((number[i] for i in ids), dtype=np.intp, count=len(ids))
    return codes, _as_object_array(names)


def encode_new_tasks(task, n_rows, task_new, n_new):
    """Task numbers of rows and of new rows, and the id behind each number.

    Raises
    ------
    ValueError
        If ids of rows and of new rows are of different kinds, or none of the new rows
        is of a task with rows.
    """
    known = check_task_ids(task, n_rows)
    new = check_task_ids(task_new, n_new, "task_new", "X_new")
    _check_same_kinds(known, new)
    if known.dtype.kind != new.dtype.kind:  # else whole numbers would become floats
        known, new = known.astype(object), new.astype(object)
    ids = np.concatenate([known, new])
    codes, unique = _group(ids)
    codes, codes_new = codes[:n_rows], codes[n_rows:]
    if n_rows and n_new and not np.isin(codes_new, codes).any():
        raise ValueError(
            f"No id of task_new, such as {show(new[0])}, is among the ids of task, "
            f"such as {show(known[0])}: every new row would be predicted as if nothing "
            "were known of its task. Check spelling, spaces and type of the ids. For "
            "tasks without a row to adapt to call predict."
        )
    _warn_of_doubtful_ids(ids, unique)
    return codes, codes_new, unique


def _check_same_kinds(known, new):
    here, there = _kinds(known), _kinds(new)
    for kind, i in there.items():
        if here and kind not in here:
            other, first = next(iter(here.items()))
            raise ValueError(_TWO_KINDS.format(other, show(first), kind, show(i)))
    for kind, i in here.items():
        if there and kind not in there:
            other, first = next(iter(there.items()))
            raise ValueError(_TWO_KINDS.format(kind, show(i), other, show(first)))


_TWO_KINDS = (
    "task has ids of the kind {0}, such as {1}, and task_new ids of the kind {2}, such "
    "as {3}. These are never equal, so the rows of a task would not be found: give "
    "both the same type, for instance by astype(str)."
)
_one_by_one = ContextVar("one_by_one", default=False)
MANY_ROWS = 100  # from which on one id per row is taken for a mistake
EXACT_FLOAT = 2.0**53  # from here on not every whole number is a float


def _warn_of_doubtful_ids(ids, unique):
    """Warn of ids that are hardly those of tasks, with the counts."""
    kinds = _kinds(ids)
    if len(kinds) > 1:
        counts = Counter(map(_kind, ids))
        said = ", ".join(
            f"{counts[kind]} of the kind {kind} such as {show(i)}"
            for kind, i in kinds.items()
        )
        warn(
            f"The ids of tasks are of {len(kinds)} kinds: {said}. Ids of two kinds are "
            "never equal, so that a task may have been cut in two. Give all the same "
            "type, for instance by astype(str)."
        )
    if "text" in kinds:
        _warn_of_padding(unique)
    if "number" in kinds:
        _warn_of_fractions(unique, len(ids))


def _warn_of_padding(unique):
    text = [i for i in unique.tolist() if isinstance(i, str)]
    padded = set(text) & {i for i in text if i != i.strip()}
    twice = sorted(i for i in padded if i.strip() in set(text))
    if twice:
        warn(
            f"{len(twice)} ids of tasks equal others but for spaces, such as "
            f"{twice[0]!r} and {twice[0].strip()!r}: they count as different tasks. "
            "Strip them, for instance by ids.str.strip()."
        )


def _warn_of_fractions(unique, n_rows):
    if unique.dtype.kind == "f":
        numbers = unique
    elif unique.dtype.kind == "O":
        numbers = np.array([i for i in unique if isinstance(i, (float, np.floating))])
    else:
        return
    broken = numbers[numbers != np.floor(numbers)] if len(numbers) else numbers
    if len(broken):
        warn(
            f"{len(broken)} of {len(unique)} ids of tasks have a fraction, such as "
            f"{show(broken[0])}, in {n_rows} rows. Is this the column of ids, and not "
            "a measurement?"
        )
    elif len(numbers) and np.abs(numbers).max() >= EXACT_FLOAT:
        warn(
            f"Ids of tasks are floats as large as {show(np.abs(numbers).max())}, where "
            "neighbouring whole numbers are the same float: tasks may have been thrown "
            "together. Read the column as whole numbers or as text."
        )


@contextmanager
def tasks_one_by_one():
    """Within this block tasks have been given one by one: no id is a mistake."""
    token = _one_by_one.set(True)
    try:
        yield
    finally:
        _one_by_one.reset(token)


def warn_of_single_rows(codes, ids):
    """Warn if every one of many rows is a task of its own, unless given as a task."""
    if len(ids) == len(codes) >= MANY_ROWS and not _one_by_one.get():
        warn(
            f"Each of the {len(codes)} rows is a task of its own, so nothing shows "
            "what the rows of a task have in common. If the ids are row labels or row "
            "numbers (task=df.index), pass the column that names the task."
        )


def check_aligned(**tables):
    """Refuse pandas objects whose row labels differ: scikit-learn never aligns them.

    Behind a scaler X has no labels any more, but y and the ids still do. What is no
    table or column at all is refused, too, such as the name of one.
    """
    for name, table in tables.items():
        if not name.startswith("task"):
            _check_is_table(name, table)
    labelled = {
        name: table.index
        for name, table in tables.items()
        if hasattr(getattr(table, "index", None), "equals")
    }
    first = next(iter(labelled), None)
    for name, index in labelled.items():
        reference = labelled[first]
        if len(index) == len(reference) and not index.equals(reference):
            raise ValueError(
                f"{first} and {name} have different row labels, so their rows would be "
                f"matched by position only. Use {name}.loc[{first}.index], or "
                f"{name}.to_numpy() if the order is right."
            )


def _check_is_table(name, table):
    if isinstance(table, str):
        raise ValueError(
            f"{name}={table!r} is a name; pass the column itself, one value per row: "
            f"{name}=df[{table!r}]."
        )
    if table is None and name == "y":  # the words that scikit-learn's checks expect
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. Pass "
            "one target per row."
        )
    if table is None and name.startswith("X"):
        raise ValueError(
            f"{name} is None; pass the rows: an array, a sparse matrix or a DataFrame "
            "of shape (n_samples, n_features)."
        )
    single = name != "sample_weight" and isinstance(table, (Number, bool))
    no_table = isinstance(table, (dict, set, Iterator)) and not sparse.issparse(table)
    if single or no_table:
        shown = repr(table) if single else f"a {type(table).__name__}"
        raise ValueError(
            f"{name} must be an array, a DataFrame or the like, with one entry per "
            f"row; got {shown}."
        )
    if name == "y" and sparse.issparse(table):
        raise TypeError(
            "Sparse data was passed for y, but dense data is required. Use "
            "y.toarray().ravel()."
        )
    if name == "y" and isinstance(table, (list, tuple)):
        _check_alike(table)  # NumPy would make text of numbers


def is_missing(values):
    """Where an array (n,) holds no value: NaN, NaT, None or the NA of pandas."""
    if values.dtype.kind in "fc":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind not in "OT":
        return np.zeros(len(values), dtype=bool)
    return np.array([_is_missing_value(i) for i in values], dtype=bool)


def _is_missing_value(i):
    try:
        return i is None or bool(i != i)  # NaN and NaT differ from themselves
    except (TypeError, ValueError):
        return type(i).__name__ == "NAType"  # pandas.NA is neither true nor false


def _as_object_array(items):
    """1-D object array, also of tuples, which np.array would make 2-D."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


# -- tasks as a list or dict ----------------------------------------------------------


def read_tasks(tasks):
    """Check tasks and put their rows under each other.

    Parameters
    ----------
    tasks : dict {id: (X, y)} or iterable of (X, y)
        Each may have a third member, sample_weight.

    Returns
    -------
    X, y, sample_weight, task
        All rows in order; ``sample_weight`` is None if no task has weights.
    """
    named = _named_tasks(tasks)
    parts = [_read_task(name, members) for name, members in named]
    if not parts:
        raise ValueError("tasks is empty: meta-learning needs at least one task.")
    first_name, (first, *_) = named[0][0], parts[0]
    for (name, _), (X, *_) in zip(named, parts, strict=True):
        _check_same_columns(name, X, first_name, first)
    X, y, weights = zip(*parts, strict=True)
    sizes = [len(target) for target in y]
    weight = None
    if any(w is not None for w in weights):
        weight = np.concatenate(
            [
                np.ones(n) if w is None else w
                for w, n in zip(weights, sizes, strict=True)
            ]
        )
    ids = _as_object_array(_plain_names([name for name, _ in named]))
    return stack_rows(X), _stack_targets(y), weight, np.repeat(ids, sizes)


class TaskName(str):
    """The key of a task as text that is shown as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _plain_names(names):
    """Keys that can be ids as they are, or the text of each.

    The keys of a dict are told apart already, whatever they are: the groups of two
    columns come with tuples as names, which no splitter of scikit-learn takes.
    """
    if len(_kinds(_as_object_array(names))) == 1 and isinstance(
        names[0], (str, Number, date, np.generic)
    ):
        return names
    return [TaskName(repr(name)) for name in names]


def _stack_targets(targets):
    """Targets under each other; text and numbers would become text if joined."""
    text = {target.dtype.kind in "USO" for target in targets}
    if len(text) > 1:
        targets = [target.astype(object) for target in targets]
    return np.concatenate(targets)


def _named_tasks(tasks):
    if hasattr(tasks, "shape") or isinstance(tasks, str):
        raise TypeError(_NOT_TASKS.format(type(tasks).__name__))
    if hasattr(tasks, "items"):
        return list(tasks.items())
    try:
        return list(enumerate(tasks))
    except TypeError:
        raise TypeError(_NOT_TASKS.format(type(tasks).__name__)) from None


_NOT_TASKS = (
    "tasks must be a list of (X, y), a dict {{id: (X, y)}}, or another iterable of "
    "(X, y); got {}. For one table with a column of ids use fit(X, y, task=ids)."
)


def _read_task(name, members):
    if not isinstance(members, (tuple, list)) or len(members) not in (2, 3):
        got = type(members).__name__
        if isinstance(members, (tuple, list)):
            got += f" of {len(members)}"
        raise ValueError(
            f"Task {name!r} must be (X, y) or (X, y, sample_weight); got {got}."
        )
    X, y, weight = (*members, None)[:3]
    X = X if hasattr(X, "shape") else np.asarray(X)
    if len(X.shape) != 2:
        message = (
            f"Task {name!r}: X must have two dimensions, (rows, features); got shape "
            f"{tuple(X.shape)}."
        )
        if hasattr(y, "columns"):  # (name, table)
            message += (
                " If these are the groups of a DataFrame, name the columns: {name: "
                "(group[features], group[target]) for name, group in df.groupby(...)}."
            )
        raise ValueError(message)
    if X.shape[0] == 0:
        raise ValueError(
            f"Task {name!r} is empty: X has 0 rows. Leave the task out of tasks."
        )
    check_aligned(X=X, y=y)
    y = np.asarray(y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) != X.shape[0]:
        raise ValueError(
            f"Task {name!r}: X has {X.shape[0]} rows and y has shape {y.shape}. "
            "Pass one target per row."
        )
    if weight is not None:
        weight = plain_weight(weight, f"Task {name!r}: sample_weight")
        if weight.shape != y.shape:
            raise ValueError(
                f"Task {name!r}: X has {X.shape[0]} rows and sample_weight has shape "
                f"{weight.shape}. Pass one weight per row."
            )
        if not (weight >= 0).all():
            wrong = "NaN" if np.isnan(weight).any() else "negative values"
            raise ValueError(
                f"Task {name!r}: sample_weight has {wrong}. Weights must be 0 or more."
            )
    return X, y, weight


def _check_same_columns(name, X, first_name, first):
    if X.shape[1] != first.shape[1]:
        raise ValueError(
            f"Task {name!r} has {X.shape[1]} columns, but task {first_name!r} has "
            f"{first.shape[1]}. All tasks need the same columns."
        )
    columns, first_columns = (
        list(getattr(table, "columns", [])) for table in (X, first)
    )
    if columns != first_columns:
        raise ValueError(
            f"Task {name!r} has the columns {columns}, but task {first_name!r} has "
            f"{first_columns}. Give all tasks the same columns in the same order."
        )


def stack_rows(tables):
    """Tables of one kind under each other: arrays, CSR, pandas or polars frames."""
    library = type(tables[0]).__module__.partition(".")[0]
    if library in ("pandas", "polars"):
        options = {"ignore_index": True} if library == "pandas" else {}
        return sys.modules[library].concat(list(tables), **options)
    if any(sparse.issparse(table) for table in tables):
        return sparse.vstack(tables, format="csr")
    return np.concatenate([np.asarray(table) for table in tables])


# -- rows that fail validation --------------------------------------------------------


@contextmanager
def naming_the_task(task, X=None, y=None, labels=None):
    """Add to a ValueError about values that are no numbers the task they are in.

    ``y`` are targets that are to be numbers, ``labels`` such that need not be.
    """
    try:
        yield
    except ValueError as error:
        row = None if task is None else _first_bad_row(X, y, labels)
        if row is None or row >= len(task):
            raise
        ids = check_task_ids(task, len(task))
        message = (
            f"{error}\n\nThe first such row is row {row}, of task {show(ids[row])}."
        )
        if "could not convert" in str(error):
            message += (
                " Targets are to be numbers; labels want a classifier."
                if X is None or _bad_row(X) is None  # so it is in y
                else " Encode text, for instance by OneHotEncoder in a Pipeline."
            )
        raise type(error)(message) from None


def _first_bad_row(X, y, labels):
    """The first row with a value that is missing, infinite or text, or None."""
    rows = [_bad_row(table) for table in (X, y) if table is not None]
    if labels is not None:
        labels = np.asarray(labels)
        if labels.size == len(labels):
            rows.append(next(iter(np.flatnonzero(is_missing(labels.ravel()))), None))
    return min((row for row in rows if row is not None), default=None)


def _bad_row(table):
    if sparse.issparse(table):
        table = table.tocsr()
        bad = np.flatnonzero(~np.isfinite(table.data))
        rows = np.searchsorted(table.indptr, bad, side="right") - 1
        return next(iter(rows), None)
    table = np.atleast_1d(np.asarray(table))
    return next((i for i, row in enumerate(table) if not _is_finite(row)), None)


def _is_finite(row):
    row = np.asarray(row)
    if row.dtype.kind in "OmM" and is_missing(row.ravel()).any():
        return False
    try:
        return bool(np.isfinite(row.astype(float)).all())
    except (TypeError, ValueError):
        return False


# -- values that a database gives -----------------------------------------------------


def plain_weight(weight, name="sample_weight"):
    """Weights as floats, NaN where one is missing; an error if one is no number."""
    given = np.asarray(weight)
    if given.dtype.kind in "fiub":
        return given.astype(float, copy=False)
    examples = _one_of_each_type(given.ravel().astype(object))
    for value in examples:
        if _is_missing_value(value):
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

    scikit-learn then says what it says of NaN. Dates are refused: as numbers they
    would be counts of nanoseconds, and a missing one of them -9.2e18.
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
    """As NumPy's; an array without entries of what has no such form."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # ragged: scikit-learn says so
        return np.empty(0)


def _plain_columns(frame, name):
    """The same of a DataFrame, column by column."""
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
    """The same of an array; a new one if it holds a missing value."""
    if cells.dtype.kind in "mM":
        raise ValueError(_DATES.format(f"{name} holds dates"))
    flat = cells.ravel()
    for value in _one_of_each_type(flat):
        is_date = _kind(value).startswith(("date", "time"))
        if is_date and not _is_missing_value(value):
            shown = f"{name} holds dates, such as {show(value)}"
            raise ValueError(_DATES.format(shown))
    missing = is_missing(flat).reshape(cells.shape)
    if not missing.any():
        return cells
    cells = cells.copy()
    cells[missing] = np.nan
    return cells


_DATES = (
    "{}; the columns of X are to be numbers. Make numbers of them, such as days since "
    "a certain date, or the day of the week."
)


def check_target(y, labels):
    """Refuse targets with a value that is missing, no number, or no label.

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
            _check_alike(values)
        return
    examples = _one_of_each_type(values.ravel()) if kind == "O" else values.ravel()[:1]
    for value in examples:
        if not isinstance(value, (str, Number, np.generic)) or kind in "mM":
            raise ValueError(
                f"y holds {show(value)}, of the type {type(value).__name__}; the "
                "targets of a regressor are to be numbers. Make numbers of them, such "
                "as days."
            )


def _check_alike(values):
    """Refuse text among numbers and the like."""
    kinds = _kinds(_as_object_array(values))
    kinds = {k: i for k, i in kinds.items() if not _is_missing_value(i)}
    if len(kinds) > 1:
        said = " and ".join(f"{kind} such as {show(i)}" for kind, i in kinds.items())
        raise ValueError(
            f"y mixes values of {len(kinds)} kinds: {said}. Give all the same type."
        )


# -- state ----------------------------------------------------------------------------


@contextmanager
def restored_on_error(estimator):
    """Leave an estimator's attributes as they were if the block fails.

    Enough because the core returns new arrays and never writes into fitted ones.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        now = vars(estimator)
        for name in now.keys() - before.keys():
            del now[name]
        now.update(before)  # never empty: another thread may be predicting
        raise


# -- rows that need no conversion -----------------------------------------------------


def is_clean(estimator, X, dtype, y=None):
    """Whether scikit-learn's `validate_data` would return X and y as they are.

    Adapting to a handful of rows takes less time than that check. Whatever is not
    plainly right goes to scikit-learn, which converts it or says what is wrong.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype == dtype
        and X.shape[1] == estimator.n_features_in_
        and X.shape[0] > 0
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
        and (y is None or _is_clean_target(y, X.shape[0]))
    )


def _is_clean_target(y, n_rows):
    return (
        type(y) is np.ndarray
        and y.shape == (n_rows,)
        and y.dtype.kind in "fiub"
        and bool(np.isfinite(y).all())
    )


# -- zero-shot scoring ----------------------------------------------------------------


# Frames of these modules ask for a zero-shot score on purpose.
_OWN_SCORING = ("skmeta._evaluation", "skmeta.model_selection")
_VALIDATION = "sklearn.model_selection._validation"
_DEPTH = 40  # frames between `predict` and a scorer, through compositions and joblib


def scored_on_purpose():
    """Whether this package's own scoring, which may be zero-shot, is a caller.

    A search in between is another's scoring, even if it is fitted for a comparison.
    """
    for module, _ in _package_callers():
        if module in _OWN_SCORING:
            return True
        if module == _VALIDATION:
            return False
    return False


def called_by_scorer():
    """What scikit-learn wants with `predict`: "score", "predict", or None.

    "score" is a scorer's or search's call, "predict" that of `cross_val_predict`. None
    of them offers a hook that says who calls, and all would silently take the start
    that was learned for the adapted model.
    """
    found = None
    for module, frame in _package_callers():
        name = frame.f_code.co_name
        if module in _OWN_SCORING or (module == "skmeta._base" and name == "score"):
            return None  # the latter has warned already
        if module == _VALIDATION and name in ("_score", "_permutation_test_score"):
            return "score"
        if module == "sklearn.inspection._permutation_importance":
            return "score"
        if module == _VALIDATION and name == "_fit_and_predict":
            found = "predict"
        elif found == "predict" and name == "cross_val_predict":
            return None if _is_part_of_an_estimator(frame) else found
        elif module.startswith("sklearn.metrics."):
            found = "score"  # scorers and displays
    return found


def _is_part_of_an_estimator(frame):
    """Whether `cross_val_predict` serves another estimator, such as a stack of models.

    That learns from predictions for new tasks, and will be given such predictions.
    """
    module = "sklearn.utils._param_validation"  # stands around every function
    while module == "sklearn.utils._param_validation":
        frame = frame.f_back
        module = "" if frame is None else frame.f_globals.get("__name__", "")
    return module.startswith("sklearn.")


def _package_callers():
    """Module and frame of the callers in scikit-learn and skmeta, the nearest first."""
    frame = sys._getframe(2)
    for _ in range(_DEPTH):
        if frame is None:
            return
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("sklearn.", "skmeta.")):
            yield module, frame
        frame = frame.f_back


def show(task_id):
    """An id as the user wrote it: NumPy scalars print as 'np.int64(4)' otherwise."""
    if isinstance(task_id, np.datetime64):  # its item may be a count of nanoseconds
        return repr(str(task_id))
    return repr(task_id.item() if isinstance(task_id, np.generic) else task_id)


# -- parameters -----------------------------------------------------------------------


def check_hidden_layer_sizes(sizes):
    """The units of each hidden layer as a list of int."""
    hidden = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(n, Integral) and n >= 1 for n in hidden):
        raise ValueError(
            "hidden_layer_sizes must be positive whole numbers of units; got "
            f"{sizes!r}."
        )
    return [int(n) for n in hidden]


def check_range(name, value, *, least=1, unit="rows", optional=False):
    """Refuse a pair that is no range (low, high) of whole numbers from ``least`` on."""
    if not isinstance(value, tuple):
        return
    whole = all(isinstance(n, Integral) for n in value)
    if not whole or len(value) != 2 or not least <= value[0] <= value[1]:
        raise ValueError(
            f"{name} must be {'None, ' if optional else ''}a number of {unit}, or a "
            f"range (low, high) with {least} <= low <= high; got {value}."
        )

"""Checks of tasks and their ids, with messages that name the task and the remedy."""

import sys
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from scipy import sparse

# -- ids ------------------------------------------------------------------------------


def check_task_ids(task, n_rows):
    """Validate ids, one per row; returns them as a 1-D array.

    Raises
    ------
    ValueError
        If there are not as many ids as rows, or one is missing.
    """
    if isinstance(task, str):
        raise ValueError(
            f"task={task!r} is a name; pass the column of ids itself, one per row: "
            f"task=df[{task!r}]."
        )
    ids = _as_object_array(task) if isinstance(task, list) else np.asarray(task)
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        raise ValueError(
            f"task must hold one id per row, in one dimension; got shape {ids.shape}."
        )
    if len(ids) != n_rows:
        raise ValueError(
            f"task has {len(ids)} ids, but X has {n_rows} rows. Pass one id per row."
        )
    missing = np.flatnonzero(_is_missing(ids))
    if len(missing):
        raise ValueError(
            f"task has {len(missing)} missing ids, the first in row {missing[0]}. "
            "Drop those rows, or give them the id of their task."
        )
    return ids


def encode_tasks(task, n_rows):
    """Task number of each row (0, 1, ...) and the id behind each number.

    Without ids all rows are one task.
    """
    if task is None:
        return np.zeros(n_rows, dtype=np.intp), np.zeros(1, dtype=np.intp)
    ids = check_task_ids(task, n_rows)
    try:
        unique, codes = np.unique(ids, return_inverse=True)
    except TypeError:  # ids of mixed types cannot be sorted: order of appearance
        number = {name: i for i, name in enumerate(dict.fromkeys(ids))}
        unique = _as_object_array(list(number))
        codes = np.array([number[name] for name in ids], dtype=np.intp)
    return codes, unique


def encode_new_tasks(task, n_rows, task_new, n_new):
    """Task numbers of rows and of new rows, and the id behind each number."""
    known, new = check_task_ids(task, n_rows), check_task_ids(task_new, n_new)
    if known.dtype.kind != new.dtype.kind:  # else 1 and "1" would become the same
        known, new = known.astype(object), new.astype(object)
    codes, ids = encode_tasks(np.concatenate([known, new]), n_rows + n_new)
    return codes[:n_rows], codes[n_rows:], ids


def check_aligned(**tables):
    """Refuse pandas objects whose row labels differ: scikit-learn never aligns them.

    Behind a scaler X has no labels any more, but y and the ids still do. The name of a
    column in place of the column is refused, too.
    """
    for name, table in tables.items():
        if isinstance(table, str) and not name.startswith("task"):
            raise ValueError(
                f"{name}={table!r} is a name; pass the column itself, one value per "
                f"row: {name}=df[{table!r}]."
            )
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


def _is_missing(ids):
    if ids.dtype.kind == "f":
        return np.isnan(ids)
    if ids.dtype.kind in "mM":
        return np.isnat(ids)
    if ids.dtype.kind != "O":
        return np.zeros(len(ids), dtype=bool)
    return np.array([_is_missing_id(i) for i in ids], dtype=bool)


def _is_missing_id(i):
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
    ids = _as_object_array([name for name, _ in named])
    return stack_rows(X), np.concatenate(y), weight, np.repeat(ids, sizes)


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
        weight = np.asarray(weight, dtype=float)
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
def naming_the_task(task, *tables):
    """Add to a ValueError about values that are no numbers the task they are in."""
    try:
        yield
    except ValueError as error:
        row = None if task is None else _first_bad_row(tables)
        if row is None:
            raise
        ids = check_task_ids(task, np.shape(tables[0])[0])
        message = (
            f"{error}\n\nThe first such row is row {row}, of task {show(ids[row])}."
        )
        if "could not convert" in str(error):
            message += (
                " Targets are to be numbers; labels want a classifier."
                if _bad_row(tables[0]) is None  # so it is in y
                else " Encode text, for instance by OneHotEncoder in a Pipeline."
            )
        raise type(error)(message) from None


def _first_bad_row(tables):
    """The first row with a value that is missing, infinite or text, or None."""
    rows = [_bad_row(table) for table in tables]
    return min((row for row in rows if row is not None), default=None)


def _bad_row(table):
    if sparse.issparse(table):
        table = table.tocsr()
        bad = np.flatnonzero(~np.isfinite(table.data))
        rows = np.searchsorted(table.indptr, bad, side="right") - 1
        return next(iter(rows), None)
    return next(
        (i for i, row in enumerate(np.asarray(table)) if not _is_finite(row)), None
    )


def _is_finite(row):
    try:
        return bool(np.isfinite(np.asarray(row, dtype=float)).all())
    except (TypeError, ValueError):
        return False


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
        vars(estimator).clear()
        vars(estimator).update(before)
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

"""Checks of tasks and their ids, with messages that name the task and the remedy."""

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import wraps
from numbers import Integral, Number

import numpy as np
from scipy import sparse

from skmeta._ids import check_task_ids
from skmeta._ids import encode_tasks as encode_tasks
from skmeta._values import (
    as_object_array,
    check_alike,
    is_missing,
    kinds_of,
    plain_weight,
    show,
)

# -- what is given --------------------------------------------------------------------


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
    if type(table) is np.ndarray or (table is None and name == "sample_weight"):
        return
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
    if np.ma.is_masked(table):
        raise ValueError(
            f"{name} contains NaN or another missing value: it is masked in "
            f"{np.count_nonzero(np.ma.getmaskarray(table))} places, and the mask would "
            "be lost. Drop those rows, or fill the values."
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
        check_alike(table)  # NumPy would make text of numbers


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
    ids = as_object_array(_plain_names([name for name, _ in named]))
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
    if len(kinds_of(as_object_array(names))) == 1 and isinstance(
        names[0], (str, Number, date, np.generic)
    ):
        return names
    return [TaskName(show(name)) for name in names]


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


@contextmanager
def _named(name):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Task {name!r}: {error}") from None


def _read_task(name, members):
    if not isinstance(members, (tuple, list)) or len(members) not in (2, 3):
        got = type(members).__name__
        if isinstance(members, (tuple, list)):
            got += f" of {len(members)}"
        raise ValueError(
            f"Task {name!r} must be (X, y) or (X, y, sample_weight); got {got}."
        )
    X, y, weight = (*members, None)[:3]
    with _named(name):
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
    with _named(name):
        check_aligned(X=X, y=y, sample_weight=weight)
    y = np.asarray(y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or len(y) != X.shape[0]:
        raise ValueError(
            f"Task {name!r}: X has {X.shape[0]} rows and y has shape {y.shape}. "
            "Pass one target per row."
        )
    if weight is not None:
        weight = np.asarray(plain_weight(weight, f"Task {name!r}: sample_weight"))
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
    except (OverflowError, TypeError, ValueError):
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
        now = vars(estimator)
        for name in now.keys() - before.keys():
            del now[name]
        now.update(before)  # never empty: another thread may be predicting
        raise


# -- numbers ------------------------------------------------------------------------

LARGEST = {8: 1e100, 4: 1e37}  # by bytes: numbers whose products can be summed


def check_magnitude(estimator, table, name="X"):
    """Refuse finite numbers that are too large to compute with."""
    numbers = table.data if sparse.issparse(table) else table
    limit = LARGEST[numbers.dtype.itemsize]
    if not numbers.size or (numbers.max() <= limit and numbers.min() >= -limit):
        return
    where = ""
    if name == "X":
        table = table.tocsc() if sparse.issparse(table) else table
        low, high = table.min(axis=0), table.max(axis=0)
        if sparse.issparse(low):
            low, high = low.toarray(), high.toarray()
        column = int(np.argmax(np.maximum(np.abs(low), np.abs(high))))
        names = getattr(estimator, "feature_names_in_", range(column + 1))
        where = f" in column {show(names[column])}"
    largest = max(float(numbers.max()), -float(numbers.min()))
    raise ValueError(
        f"{name} holds {largest:.3g}{where}; products of numbers beyond {limit:.0e} "
        "are no numbers. Change the unit, or mend the rows."
    )


@contextmanager
def explaining_singular(weight):
    """Say what makes a matrix singular that has an inverse by right."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The rows are beyond what double precision can solve "
            f"({str(error).lower().rstrip('.')}): their weights are {weight.min():.3g} "
            f"to {weight.max():.3g}, and sum to {weight.sum():.3g}. Divide the weights "
            "by their mean, centre columns that are far from zero, and leave "
            "standardize=True."
        ) from error


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


def sum_duplicates(X):
    """X itself, or a copy of a sparse one in which each cell is stored but once."""
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


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


def called_by_scorer(model):
    """What scikit-learn wants with `predict`: "score", "predict", or None.

    "score" is a scorer's or search's call, "predict" that of `cross_val_predict`. None
    of them offers a hook that says who calls, and all would silently take the start
    that was learned for the adapted model. A model that is asked from inside another
    estimator or metric, of which it is no part, is not what is scored.
    """
    found = None
    for module, frame in _package_callers():
        name = frame.f_code.co_name
        if module in _OWN_SCORING or (module == "skmeta._base" and name == "score"):
            return None  # the latter has warned already
        if found == "predict" and name == "cross_val_predict":
            return None if _is_part_of_an_estimator(frame) else found
        use = _use_of(module, name)
        if use is None or "estimator" not in frame.f_locals:
            continue
        if found is None and not _holds(frame.f_locals["estimator"], model):
            return None
        found = use
        if not module.startswith("sklearn.metrics.") and use == "score":
            return found
    return found


def groups_stay_above():
    """Whether groups were given to a search or validation, and reach its splitter only.

    Another model of this package in between fits what it wants to.
    """
    for module, frame in _package_callers():
        if module.startswith("skmeta.") and frame.f_code.co_name not in _FIT_ITSELF:
            return False
        if module == _VALIDATION or module == "sklearn.model_selection._search":
            given = frame.f_locals
            if "groups" not in given:
                given = given.get("params")
            if isinstance(given, dict) and given.get("groups") is not None:
                return True
    return False


_FIT_ITSELF = ("fit", "checked")  # and the decorator that stands around it


def _use_of(module, name):
    """What a function of scikit-learn wants of the estimator that it is given."""
    if module == _VALIDATION and name == "_fit_and_predict":
        return "predict"
    if module == _VALIDATION and name in ("_score", "_permutation_test_score"):
        return "score"
    if module == "sklearn.inspection._permutation_importance":
        return "score"
    return "score" if module.startswith("sklearn.metrics.") else None  # and displays


def _holds(estimator, model):
    """Whether a model is an estimator, or stands somewhere inside it."""
    seen, waiting = set(), [estimator]
    while waiting:
        part = waiting.pop()
        if part is model:
            return True
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif hasattr(type(part), "fit"):
            waiting.extend(getattr(part, "__dict__", {}).values())
    return False


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


# -- keywords -------------------------------------------------------------------------


def with_hint_to_task(verb):
    """Decorator of a verb: ids under a name that it does not have are explained."""
    known = inspect.signature(verb).parameters

    @wraps(verb)
    def checked(self, *args, **kwargs):
        for name in ("groups", "group", "task"):
            if name in kwargs and name not in known:
                where = f"{type(self).__name__}.{verb.__name__}"
                remedy = _NO_IDS.get(verb.__name__, "Pass the ids as task=ids.")
                if "task" not in known and verb.__name__ == "fit":
                    remedy = _NO_IDS["adapt"]
                raise TypeError(f"{where} has no argument {name!r}. {remedy}")
        return verb(self, *args, **kwargs)

    return checked


_ONE_TASK = (
    "It takes the rows of one task, and so no ids. For many tasks at once call "
    "adapt_predict(X, y, X_new, task=ids, task_new=ids_new) of the meta-learner."
)
_NO_IDS = {
    "adapt": _ONE_TASK,
    "partial_adapt": _ONE_TASK,
    "meta_fit": "Each member of tasks is one task; for flat data call fit(X, y, "
    "task=ids).",
}


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


def check_same_parameters(base, given):
    """Refuse another base model than that of the fit that `warm_start` goes on from."""
    before, now = _plain_parameters(given), _plain_parameters(base)
    changed = sorted(name for name in before | now if before.get(name) != now.get(name))
    if changed:
        name = changed[0]
        raise ValueError(
            "warm_start=True goes on with the base model of the earlier fit, "
            f"base_estimator={given!r}; now it is {base!r}"
            + (f" ({name}={now.get(name)})" if name else "")
            + ". Put it back, or set warm_start=False to begin anew."
        )


def _plain_parameters(estimator):
    """Class and parameters of an estimator and of those inside, as comparable text."""
    parameters = {"": type(estimator).__qualname__}
    for name, value in estimator.get_params().items():
        shown = repr(value) if _is_plain(value) else type(value).__qualname__
        parameters[name] = shown
    return parameters


def _is_plain(value):
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, Number, type(None)))

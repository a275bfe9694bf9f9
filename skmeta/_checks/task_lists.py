"""Tasks as a list or dict of (X, y): read, and put under each other."""

import sys
from contextlib import contextmanager
from datetime import date
from numbers import Number

import numpy as np
from scipy import sparse

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids
from skmeta._checks.values import as_object_array, kinds_of, plain_weight, show


def read_tasks(tasks, beside=(), several_targets=False):
    """Check tasks and put their rows under each other.

    Parameters
    ----------
    tasks : dict {id: (X, y)} or iterable of (X, y)
        Each may have a third member, sample_weight, and then those named by ``beside``.
    beside : tuple of str
        Names of what else may come with the rows.
    several_targets : bool or None
        Whether y has a column for each of several targets. None: it may have.

    Returns
    -------
    X, y, sample_weight, task
        All rows in order; ``sample_weight`` is None if no task has weights.
    beside : dict of {str: ndarray}
        What else came with the rows of some task.
    """
    named = _named_tasks(tasks)
    parts = [
        _read_task(name, members, beside, several_targets) for name, members in named
    ]
    if not parts:
        raise ValueError("tasks is empty: meta-learning needs at least one task.")
    first_name, (first, *_) = named[0][0], parts[0]
    for (name, _), (X, *_) in zip(named, parts, strict=True):
        _check_same_columns(name, X, first_name, first)
    X, y, weights, *others = zip(*parts, strict=True)
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
    found = {
        name: _stack_beside(name, given, named, sizes)
        for name, given in zip(beside, others, strict=True)
        if any(part is not None for part in given)
    }
    return stack_rows(X), _stack_targets(y), weight, np.repeat(ids, sizes), found


def _stack_beside(name, given, named, sizes):
    """What came with the rows of each task, under each other."""
    parts = []
    for part, n, (task, _) in zip(given, sizes, named, strict=True):
        with _named(task):
            if part is None:
                raise ValueError(
                    f"it has no {name}, and other tasks have. Give it one label per "
                    f"row; if its rows are one, the same label {n} times."
                )
            parts.append(check_task_ids(part, n, name))
    return _stack_targets(parts)


class TaskName(str):
    """The key of a task as text that is shown as it is."""

    __slots__ = ()
    __repr__ = str.__str__


def _plain_names(names):
    """Keys that can be ids as they are, or the text of each.

    The keys of a dict always differ, whatever they are. The groups of two columns, for
    example, have tuples as names, which no splitter of scikit-learn takes.
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


_FLAT = (
    "For one table with a column of ids use fit(X, y, task=ids) of a meta-learner, or "
    "skmeta.meta_fit(model, X, y, task=ids) of a Pipeline, a search and the like."
)
_NOT_TASKS = (
    "tasks must be a list of (X, y), a dict {{id: (X, y)}}, or another iterable of "
    f"(X, y); got {{}}. {_FLAT}"
)


@contextmanager
def _named(name):
    try:
        yield
    except ValueError as error:
        raise ValueError(f"Task {name!r}: {error}") from None


def _read_task(name, members, beside=(), several_targets=False):
    known = ("sample_weight", *beside)
    if not isinstance(members, (tuple, list)) or not (
        2 <= len(members) <= 2 + len(known)
    ):
        got = type(members).__name__
        if isinstance(members, (tuple, list)):
            got += f" of {len(members)}"
        raise ValueError(
            f"Task {name!r} must be (X, y) or (X, y, {', '.join(known)}); got {got}."
            + (f" {_FLAT}" if hasattr(members, "shape") else "")
        )
    X, y, weight, *others = (*members, *[None] * len(known))[: 2 + len(known)]
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
        check_aligned(
            X=X, y=y, sample_weight=weight, **dict(zip(beside, others, strict=True))
        )
    y = np.asarray(y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    dimensions = (1, 2) if several_targets is None else (1 + several_targets,)
    if y.ndim not in dimensions or len(y) != X.shape[0]:
        each = "row of targets" if several_targets else "target"
        raise ValueError(
            f"Task {name!r}: X has {X.shape[0]} rows and y has shape {y.shape}. "
            f"Pass one {each} per row."
        )
    if weight is not None:
        weight = np.asarray(plain_weight(weight, f"Task {name!r}: sample_weight"))
        if weight.shape != (len(y),):
            raise ValueError(
                f"Task {name!r}: X has {X.shape[0]} rows and sample_weight has shape "
                f"{weight.shape}. Pass one weight per row."
            )
        if not (weight >= 0).all():
            wrong = "NaN" if np.isnan(weight).any() else "negative values"
            raise ValueError(
                f"Task {name!r}: sample_weight has {wrong}. Weights must be 0 or more."
            )
    return X, y, weight, *others


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
    if library == "pandas":
        return sys.modules["pandas"].concat(_with_all_levels(tables), ignore_index=True)
    if library == "polars":
        return sys.modules["polars"].concat(list(tables))
    if any(sparse.issparse(table) for table in tables):
        return sparse.vstack(tables, format="csr")
    return np.concatenate([np.asarray(table) for table in tables])


def _with_all_levels(frames):
    """DataFrames whose categorical columns know the levels of all of them.

    pandas would make text of columns that know different levels.
    """
    frames, pandas = list(frames), sys.modules["pandas"]
    for j, dtype in enumerate(getattr(frames[0], "dtypes", ())):
        if not isinstance(dtype, pandas.CategoricalDtype):
            continue
        dtypes = [frame.dtypes.iloc[j] for frame in frames]
        if all(other == dtype for other in dtypes) or not all(
            isinstance(other, pandas.CategoricalDtype) for other in dtypes
        ):
            continue
        levels = dict.fromkeys(i for other in dtypes for i in other.categories)
        every = pandas.CategoricalDtype(list(levels))
        for place, frame in enumerate(frames):
            column = frame.iloc[:, j].astype(every)
            frames[place] = frame.copy(deep=False)
            frames[place].isetitem(j, column)
    return frames

"""Ids of tasks: one per row; which are refused, and which are doubtful."""

import sys
from collections import Counter
from collections.abc import Set
from contextvars import ContextVar

import numpy as np

from skmeta._checks.block import holding
from skmeta._checks.values import (
    EXACT_FLOAT,
    as_object_array,
    is_missing,
    kind_of,
    kinds_of,
    one_of_each_type,
    show,
)
from skmeta._warn import warn


def check_task_ids(task, n_rows, name="task", table="X"):
    """Validate ids, one per row; returns them as a 1-D array.

    Raises
    ------
    ValueError
        If there are not as many ids as rows, if one is missing, or if one is not a
        single value.
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
    ids = _as_ids(task)
    if np.ma.is_masked(task):
        ids = np.where(np.ma.getmaskarray(task), None, ids.astype(object))
    if ids.ndim == 2 and ids.shape[1] == 1:
        ids = ids[:, 0]
    if ids.ndim != 1:
        several = " " + _JOIN_THEM.format(name, _what(name)) if ids.ndim == 2 else ""
        raise ValueError(
            f"{name} must hold one id per row, in one dimension; got shape "
            f"{ids.shape}.{several}"
        )
    if len(ids) != n_rows:
        raise ValueError(
            f"{name} has {len(ids)} ids, but {table} has {n_rows} rows. Pass one id "
            f"per row.{_RESAMPLED if 'imblearn' in sys.modules else ''}"
        )
    _check_none_missing(ids, name)
    return _plain_ids(ids, name)


_RESAMPLED = (
    " If a sampler of imbalanced-learn has changed the rows, which its Pipeline does "
    "without the ids: skmeta.meta_fit resamples both; or resample before the Pipeline, "
    "and take ids[sampler.sample_indices_]."
)


def _check_none_missing(ids, name):
    missing = np.flatnonzero(is_missing(ids))
    if len(missing):
        raise ValueError(
            f"{name} has {len(missing)} missing ids, the first in row {missing[0]}. "
            f"Drop those rows, or give them the id of their {_what(name)}."
        )


def _what(name):
    """What ids of this name stand for."""
    return {"unit": "unit", "choice_set": "choice set"}.get(name, "task")


# Numbers of groups are others in the next table, where they would name other tasks.
_JOIN_THEM = (
    "If a {1} is named by several columns, join them to one text, which names the same "
    "{1} in each table: {0}=df['store'].astype('string') + '/' + "
    "df['week'].astype('string'). Within a single table numbers do as well: "
    "{0}=df.groupby(['store', 'week']).ngroup()."
)


def _as_ids(task):
    return as_object_array(task) if isinstance(task, list) else np.asarray(task)


def check_routed_ids(task, parent):
    """Refuse ids by which a splitter cannot group, with a clearer message."""
    if task is None or isinstance(task, str):
        return
    ids = _as_ids(task)
    router = parent if isinstance(parent, str) else type(parent).__name__
    if ids.ndim == 2 and (ids.shape[1] > 1 or router != "Pipeline"):
        raise ValueError(
            "task must hold one id per row, in one dimension, to be routed to a "
            f"splitter; got shape {ids.shape}. Pass a column itself, task=df['store']. "
            + _JOIN_THEM.format("task", "task")
        )
    if ids.ndim == 1 and router != "Pipeline":
        _check_none_missing(ids, "task")
        _check_sortable(_plain_ids(ids, "task"))


def _check_sortable(ids):
    """Refuse ids that a splitter could not sort so that equal ids are neighbours."""
    kinds = kinds_of(ids)
    if len(kinds) > 1 or not _has_an_order(ids, *kinds.values()):
        said = " and ".join(f"{kind} such as {show(i)}" for kind, i in kinds.items())
        raise ValueError(
            f"task holds ids that a splitter cannot sort: {said}. Give all one type, "
            "or number them: task=pd.factorize(ids)[0]."
        )


def _has_an_order(ids, *examples):
    if any(isinstance(i, Set) for i in examples):  # sets have only a partial order
        return False
    try:
        np.sort(ids[:2])
    except TypeError:
        return False
    return True


def _plain_ids(ids, name):
    """Ids in their own type, if they have one; an error if one cannot be an id."""
    if ids.dtype.kind not in "OT":
        return ids
    ids = ids.astype(object)
    for i in one_of_each_type(ids):
        if isinstance(i, (tuple, list, np.ndarray)):
            raise ValueError(
                f"{name} holds {type(i).__name__}s, such as {show(i)}; an id is a "
                f"single number, text or date. {_JOIN_THEM.format(name, _what(name))}"
            )
        try:
            hash(i)
        except TypeError:
            raise ValueError(
                f"{name} holds objects of the type {type(i).__name__}, such as "
                f"{show(i)}, that cannot be told apart as ids. An id is a number, text "
                "or a date."
            ) from None
    if set(kinds_of(ids)) == {"date and time"}:
        return np.array([_as_datetime64(i) for i in ids])
    return ids


def _as_datetime64(moment):
    convert = getattr(moment, "to_datetime64", None)  # pandas keeps nanoseconds
    return np.datetime64(moment) if convert is None else convert()


def encode_tasks(task, n_rows):
    """Task number of each row (0, 1, ...) and the id behind each number.

    Without ids all rows are one task.
    """
    if task is None:
        return np.zeros(n_rows, dtype=np.intp), np.zeros(1, dtype=np.intp)
    ids = check_task_ids(task, n_rows)
    codes, unique = group(ids)
    _warn_of_doubtful_ids(ids, unique)
    return codes, unique


def group(ids):
    """For each id the number of its group of equal ids, and the id of each group."""
    if ids.dtype.kind != "O":
        unique, codes = np.unique(ids, return_inverse=True)
        return codes, unique
    # Group by hash: sorting would not bring together ids that are only partly ordered.
    names = list(dict.fromkeys(ids))
    try:
        names.sort()
    except TypeError:  # ids of several types stay in the order of appearance
        pass
    number = {name: i for i, name in enumerate(names)}
    codes = np.fromiter((number[i] for i in ids), dtype=np.intp, count=len(ids))
    return codes, as_object_array(names)


def encode_new_tasks(task, n_rows, task_new, n_new):
    """Task numbers of rows and of new rows, and the id behind each number.

    Raises
    ------
    ValueError
        If ids of rows and of new rows are of different kinds, or if no new row belongs
        to a task with rows.
    """
    known = check_task_ids(task, n_rows)
    new = check_task_ids(task_new, n_new, "task_new", "X_new")
    _check_same_kinds(known, new)
    if known.dtype.kind != new.dtype.kind:  # keeps whole numbers from becoming floats
        known, new = known.astype(object), new.astype(object)
    ids = np.concatenate([known, new])
    codes, unique = group(ids)
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
    here, there = kinds_of(known), kinds_of(new)
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
# From this many rows on, one id per row is taken for a mistake.
MANY_SINGLE_ROWS = 100


def _warn_of_doubtful_ids(ids, unique):
    """Warn about ids that are probably not those of tasks, with their counts."""
    kinds = kinds_of(ids)
    if len(kinds) > 1:
        counts = Counter(map(kind_of, ids))
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


def tasks_one_by_one():
    """Within this block tasks were given one by one, so no id is a mistake."""
    return holding(_one_by_one)


def warn_of_single_rows(codes, ids):
    """Warn if each of many rows is its own task, unless tasks were given singly."""
    if len(ids) == len(codes) >= MANY_SINGLE_ROWS and not _one_by_one.get():
        warn(
            f"Each of the {len(codes)} rows is a task of its own, so nothing shows "
            "what the rows of a task have in common. If the ids are row labels or row "
            "numbers (task=df.index), pass the column that names the task."
        )

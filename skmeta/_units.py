"""Units: rows of a task that belong together, such as a basket, a visit or a screen.

They are drawn as a whole and counted as one. Where the user names none, each row is a
unit. Units lie within tasks: the same label in two tasks means two units.
"""

import numpy as np

from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.values import show


class Units:
    """The units of all rows.

    Parameters
    ----------
    codes : ndarray of int of shape (n,), default=None
        Number of each row's unit; units of two tasks have different numbers. None says
        that each row is a unit.
    labels : ndarray, default=None
        What the user calls the units, by these numbers.
    word : str, default="row"
        What a unit is called in messages.
    """

    def __init__(self, codes=None, labels=None, word="row"):
        self.codes, self.labels, self.word = codes, labels, word

    def of(self, rows):
        """The `UnitsOfTask` of the rows of one task."""
        codes = None if self.codes is None else self.codes[rows]
        return UnitsOfTask(rows, codes)

    def labels_of(self, rows):
        """What the user calls the units of some rows."""
        return self.labels[self.codes[rows]]

    def some(self, rows):
        """The units of a part of the rows."""
        codes = None if self.codes is None else self.codes[rows]
        return Units(codes, self.labels, self.word)

    def counts(self, order, starts):
        """How many units each task has, whose rows are ``order[starts[t]:...]``."""
        if self.codes is None:
            return np.diff(starts)
        task = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        first = np.unique(self.codes[order], return_index=True)[1]
        return np.bincount(task[first], minlength=len(starts) - 1)

    def in_time(self, order, starts, ids, times=None):
        """Rows in order of time: as they are, or each task sorted by ``times`` (n,).

        Rows of one time keep the order of their units. A unit must be in one piece:
        otherwise a part of it would come after rows that are asked.
        """
        task = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        if times is not None:
            order = order[np.lexsort((self._places(order), times[order], task))]
        if self.codes is not None:
            self._check_whole(order, task, ids)
        return order

    def _places(self, order):
        """For each row the place in ``order`` of the first row of its unit."""
        if self.codes is None:
            return np.arange(len(order))
        _, first, unit = np.unique(
            self.codes[order], return_index=True, return_inverse=True
        )
        return first[unit]

    def _check_whole(self, order, task, ids):
        """Refuse a unit with rows of other units between its own."""
        codes = self.codes[order]
        begun = np.flatnonzero(np.diff(codes, prepend=-1))
        pieces = np.bincount(codes[begun])
        broken = np.flatnonzero(pieces > 1)
        if len(broken):
            unit = broken[0]
            in_task = ids[task[begun[codes[begun] == unit][0]]]
            raise ValueError(
                f"{self.word.capitalize()} {show(self.labels[unit])} of task "
                f"{show(in_task)} is in {pieces[unit]} pieces in order of time, with "
                f"others between them. In order of time whole {self.word}s are given, "
                f"and later ones asked for. Give all rows of a {self.word} the same "
                "time and sort the rows by it, or set row_order='random'."
            )


class UnitsOfTask:
    """The rows of one task, unit after unit.

    Units are in the order in which their first rows come, and the rows of a unit keep
    their order.

    Parameters
    ----------
    rows : ndarray of int of shape (n,)
        Numbers of the rows.
    codes : ndarray of int of shape (n,) or None
        Numbers of their units; None if each row is one.
    """

    def __init__(self, rows, codes):
        self.rows, self._starts = rows, None
        if codes is not None:
            _, first, unit = np.unique(codes, return_index=True, return_inverse=True)
            place = np.argsort(np.argsort(first))[unit]
            self.rows = rows[np.argsort(place, kind="stable")]
            self._starts = np.r_[0, np.cumsum(np.bincount(place))]

    def __len__(self):
        return len(self.rows) if self._starts is None else len(self._starts) - 1

    def take(self, places):
        """Rows of the units at some places, which are an array or a slice."""
        if self._starts is None:
            return self.rows[places]
        if isinstance(places, slice):
            places = np.arange(len(self))[places]
        parts = [self.rows[self._starts[i] : self._starts[i + 1]] for i in places]
        return np.concatenate(parts) if parts else self.rows[:0]

    def any(self, rows):
        """For each unit whether any of its rows is marked in ``rows`` (n_rows,)."""
        marked = rows[self.rows]
        if self._starts is None:
            return marked
        return np.logical_or.reduceat(marked, self._starts[:-1])

    def ends(self, places):
        """How many rows the first k of these units have, for k = 0, 1, ..."""
        if self._starts is None:
            return np.arange(len(places) + 1)
        return np.r_[0, np.cumsum(np.diff(self._starts)[places])]


def read_units_and_sets(unit, choice_set, tasks):
    """The `Units` that are drawn, and those that are choice sets, or None.

    Choice sets are the units. If the user names larger ones, such as visits of several
    screens, each set must lie within one.
    """
    if choice_set is None:
        return read_units(unit, tasks), None
    sets = read_units(choice_set, tasks, "choice_set", "choice set")
    if unit is None:
        return sets, sets
    units = read_units(unit, tasks)
    first = np.zeros(sets.codes.max(initial=0) + 1, dtype=np.intp)
    first[sets.codes] = np.arange(len(tasks))
    cut = np.flatnonzero(units.codes != units.codes[first[sets.codes]])
    if len(cut):
        raise ValueError(
            f"Choice set {show(sets.labels[sets.codes[cut[0]]])} has offers of several "
            f"units, such as {show(units.labels[units.codes[cut[0]]])}. A unit holds "
            "whole choice sets; leave unit out if it is the choice set itself."
        )
    return units, sets


def tells(y, codes):
    """Which rows (n,) are offers of a set, with numbers ``codes``, whose y differ."""
    if not len(y):
        return np.zeros(0, dtype=bool)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    low, high = (f.reduceat(y[order], starts) for f in (np.minimum, np.maximum))
    told = np.empty(len(y), dtype=bool)
    told[order] = np.repeat(low < high, np.diff(np.append(starts, len(y))))
    return told


def read_units(unit, tasks, name="unit", word="unit"):
    """The `Units` of the user's labels, one per row; each row is one if there are none.

    ``tasks`` (n,) number the task of each row.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or if one is missing or no single
        value.
    """
    if unit is None:
        return Units()
    codes, labels = group(check_task_ids(unit, len(tasks), name))
    pairs, codes = np.unique(tasks * len(labels) + codes, return_inverse=True)
    return Units(codes, labels[pairs % len(labels)], word)

"""The choice sets of a task's rows, each with the label that the user gave it."""

from typing import NamedTuple

import numpy as np

from skmeta._checks.id_keys import array_of_ids, from_text, id_of, keys_of_ids, to_text
from skmeta._checks.ids import check_task_ids
from skmeta._checks.values import show


class Sets(NamedTuple):
    """Which rows are offers of one choice set.

    Attributes
    ----------
    number : ndarray of int32 of shape (n_rows,)
        The number of each row's set.
    labels : list of str or None, of length n_sets
        Labels as text of a store. None is the set of an update without labels, and
        equals no other.
    """

    number: np.ndarray
    labels: list

    def take(self, rows):
        """The sets of some rows, numbered as they come."""
        _, first, number = np.unique(
            self.number[rows], return_index=True, return_inverse=True
        )
        place = np.argsort(np.argsort(first))
        first = np.sort(first)
        labels = [self.labels[i] for i in self.number[rows][first]]
        return Sets(place[number.ravel()].astype(np.int32), labels)

    @classmethod
    def joined(cls, parts):
        """The sets of several tables under each other; none of them is in two."""
        sizes = [len(part.labels) for part in parts]
        before = np.cumsum(sizes) - sizes
        number = np.concatenate(
            [part.number + n for part, n in zip(parts, before, strict=True)]
        )
        return cls(
            number.astype(np.int32), [label for part in parts for label in part.labels]
        )

    def repeated(self, other):
        """A label that is in both, or None."""
        both = set(self.labels) & set(other.labels) - {None}
        return from_text(min(both)) if both else None

    def rows(self):
        """The numbers of the rows of each set, as a list of arrays."""
        order = np.argsort(self.number, kind="stable")
        sizes = np.bincount(self.number, minlength=len(self.labels))
        return np.split(order, np.cumsum(sizes)[:-1])

    def newest(self, times, most):
        """The rows of the newest sets that have at most so many; of one set at least.

        A set is as new as its newest row, and of two equal ones the later is newer.
        """
        rows = self.rows()
        moments = [times[some].max() for some in rows]
        kept, n_kept = [], 0
        for i in np.argsort(moments, kind="stable")[::-1]:
            n_kept += len(rows[i])
            if kept and n_kept > most:
                break
            kept.append(rows[i])
        return np.sort(np.concatenate(kept))

    def users_labels(self):
        """The label (n_rows,) of each row; numbers of the sets if one has no label."""
        if None in self.labels:
            return self.number.astype(np.intp)
        return array_of_ids([from_text(label) for label in self.labels])[self.number]


def sets_of(choice_set, number, n_rows):
    """The `Sets` of validated rows, whose sets have been told apart by ``number``."""
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    labels = [None] * len(first)
    if choice_set is not None:
        given = check_task_ids(choice_set, n_rows, "choice_set")
        labels = [to_text(key) for key in keys_of_ids(given[first])]
    return Sets(number.ravel().astype(np.int32), labels)


def check_new_sets(old, more, key):
    """Refuse sets whose labels a task has already."""
    label = old.repeated(more)
    if label is not None:
        raise ValueError(
            f"Task {show(id_of(key))} has a choice set {show(id_of(label))} already. "
            "A set comes with all its offers in one update, and only once; another "
            "choice has another label. Nothing was changed. To correct a set, remove "
            "it first."
        )


def without_sets(rows, less, row_keys):
    """The numbers of rows that are left; None if a set to be removed is not there.

    A set is there if one of the same label has the same rows. Without a label it is any
    set of the same rows.
    """
    keys = row_keys(rows)
    places = {}
    for label, some in zip(rows.sets.labels, rows.sets.rows(), strict=True):
        content = tuple(sorted(keys[i] for i in some))
        places.setdefault((label, content), []).append(some)
    kept = np.ones(len(rows.y), dtype=bool)
    keys = row_keys(less)
    for label, some in zip(less.sets.labels, less.sets.rows(), strict=True):
        content = tuple(sorted(keys[i] for i in some))
        if label is None:
            found = [p for p in places if p[1] == content and places[p]]
            place = found[-1] if found else None
        else:
            place = (label, content)
        if not places.get(place):
            return None
        kept[places[place].pop()] = False
    return np.flatnonzero(kept)

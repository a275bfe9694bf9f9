"""Offers in choice sets: read, checked, put in one order, and packed for the core.

Within a task, rows with the same label of a choice set are offers of one set. A set
tells of *events*: in each, one offer is chosen from itself and all offers of lower y
(Plackett, 1975; Luce, 1959). The core takes an event as one row, (J, d) numbers for its
J alternatives. If there is an outside option, it is the last of them.
"""

from typing import NamedTuple

import numpy as np

from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.values import show
from skmeta._core.canonical import canonical_order, permutation, row_ranks
from skmeta._core.prior.varying import EQUAL, varies_within_tasks
from skmeta._core.tasks import ABSENT, TaskTable
from skmeta._warn import warn

# What is known of an offer besides its columns: its y, the number of its set, and
# whether that set was named, so that all its offers have the set's weight.
OFFER = np.dtype([("value", float), ("set", np.intp), ("named", bool)])
# Weights whose relative difference is less than this are the same.
SAME_WEIGHT = 1e-9
# Choices, padded to one number of offers, are at most so many numbers.
MOST_CELLS = 2**28


# -- labels ---------------------------------------------------------------------------


def with_sets(y, weight, codes, ids, choice_set=None):
    """Targets (n,) as `OFFER`, whose sets are numbered over all tasks.

    Parameters
    ----------
    y, weight : ndarray of shape (n,)
    codes : ndarray of int of shape (n,)
        The number of each row's task.
    ids : ndarray of shape (n_tasks,) or None
        The id behind each number, for messages.
    choice_set : array-like of shape (n,) or None
        Labels, which mean something within a task only. With None the rows of each
        task are one set.
    """
    offers = np.empty(len(y), OFFER)
    offers["value"], offers["set"], offers["named"] = y, codes, choice_set is not None
    if choice_set is None:
        return offers
    labels = check_task_ids(choice_set, len(y), "choice_set")
    number, names = group(labels)
    pairs, offers["set"] = np.unique(codes * len(names) + number, return_inverse=True)
    rows = np.flatnonzero(weight > 0)
    order, starts = _by_set(offers["set"][rows])
    sorted_weight = weight[rows[order]]
    low = np.minimum.reduceat(sorted_weight, starts[:-1])
    high = np.maximum.reduceat(sorted_weight, starts[:-1])
    for place in np.flatnonzero(low * (1.0 + SAME_WEIGHT) < high)[:1]:
        pair = pairs[offers["set"][rows[order[starts[place]]]]]
        raise ValueError(
            f"Choice set {show(names[pair % len(names)])}"
            f"{_of_task(ids, pair // len(names))} has offers of weight {low[place]:g} "
            f"and {high[place]:g}. All offers of a set have one weight, which says how "
            "often the choice counts. Give them the same, or 0 to those that were not "
            "on offer."
        )
    return offers


def _of_task(ids, task):
    return "" if ids is None else f" of task {show(ids[task])}"


def _by_set(sets):
    """Row numbers sorted by set, and the starts (S + 1,) of the sets therein."""
    order = np.argsort(sets, kind="stable")
    new = np.flatnonzero(np.diff(sets[order])) + 1
    return order, np.concatenate([[0], new, [len(sets)]])


# -- sets that say nothing, and doubtful ones -----------------------------------------


def that_tell(offers, weight, codes, ids, outside):
    """Which rows (n,) belong to a set that says something; warns of other sets.

    ``ids`` are those of the tasks, for messages, or None for a single task.
    """
    rows = np.flatnonzero(weight > 0)
    order, starts = _by_set(offers["set"][rows])
    rows = rows[order]
    if outside:  # somebody took an offer, or none
        return weight > 0
    values = offers["value"][rows]
    low = np.minimum.reduceat(values, starts[:-1])
    high = np.maximum.reduceat(values, starts[:-1])
    tells = np.zeros(len(weight), dtype=bool)
    tells[rows] = np.repeat(low < high, np.diff(starts))
    silent = np.flatnonzero(low == high)
    if len(silent):
        first = rows[starts[silent[0]]]
        why = _why_silent(silent, starts, low, offers[first]["named"])
        where = _of_task(ids, codes[first]) or " that was given"
        if len(silent) == len(low):
            raise ValueError(
                f"No choice set says which offer is preferred: {why}, in the first set"
                f"{where}. A choice needs two offers of different y: 1 for the one "
                "chosen, 0 for the others. If none was taken, set outside_option=True."
            )
        warn(
            f"{len(silent)} of {len(low)} choice sets say nothing of what is preferred "
            f"and are left out: {why}, in the first of them{where}. If nothing was "
            "chosen there, set outside_option=True."
        )
    return tells


def _why_silent(silent, starts, value, named):
    n_offers = starts[silent[0] + 1] - starts[silent[0]]
    if n_offers == 1:
        return "there is one offer (n_samples = 1)"
    given = "" if named else ", which are one set without choice_set"
    return f"all {n_offers} offers have y = {value[silent[0]]:g}{given}"


def warn_of_doubtful_sets(offers, weight):
    """Warn of y that look like ranks with 1 the best, or like several sets in one."""
    rows = np.flatnonzero(weight > 0)
    sets, value = offers["set"][rows], offers["value"][rows]
    n_pieces = 1 + np.count_nonzero(np.diff(sets))
    order = np.lexsort((value, sets))
    sets, value = sets[order], value[order]
    starts = np.flatnonzero(np.append(True, sets[1:] != sets[:-1]))
    sizes = np.diff(np.append(starts, len(sets)))
    place = np.arange(len(sets)) - np.repeat(starts, sizes)
    if sizes.max() > 1 and (value == place + 1).all():
        warn(
            "The y of each choice set are 1, 2, ... once each, which look like ranks "
            "with 1 the best. Here the largest y is the best. If 1 is the best, pass "
            "-y."
        )
    if not np.isin(value, (0.0, 1.0)).all():
        return
    n_chosen = np.add.reduceat(value, starts)
    several = (n_chosen > 1).sum()
    if 2 * several <= len(starts):
        return
    most = f"{n_chosen.max():g} of {sizes[n_chosen.argmax()]}"
    if not offers["named"].any():
        warn(
            f"Without choice_set the rows of each task are one choice set, and in "
            f"{several} of {len(starts)} tasks several offers were chosen, as many as "
            f"{most}. If these are several choices, pass the label of the choice that "
            "each row belongs to: choice_set=."
        )
    elif n_pieces >= 2 * len(starts):
        warn(
            f"In {several} of {len(starts)} choice sets several offers were chosen, as "
            f"many as {most}, and the rows of a set lie apart. A label of choice_set "
            "means something within one task only: pass the ids of the tasks as well, "
            "task=, or number the sets over all tasks: "
            "df.groupby(['shopper', 'screen']).ngroup()."
        )


# -- one order ------------------------------------------------------------------------


def first_rows(offers):
    """The number (n,) of the first row of each row's set."""
    order, starts = _by_set(offers["set"])
    first = np.empty(len(offers))
    first[order] = np.repeat(order[starts[:-1]], np.diff(starts))
    return first


def check_times(times, offers, task=None):
    """Refuse a set whose offers have several times (n,); ``task`` (n,) are ids."""
    order, starts = _by_set(offers["set"])
    low, high = (
        ufunc.reduceat(times[order], starts[:-1]) for ufunc in (np.minimum, np.maximum)
    )
    for place in np.flatnonzero(low < high)[:1]:
        row = order[starts[place]]
        where = "" if task is None else f" of task {show(task[row])}"
        raise ValueError(
            f"time_column says when a choice is made, and the offers of a choice set"
            f"{where} have times from {low[place]:g} to {high[place]:g}. Give all "
            "offers of a set one time."
        )


def order_of_offers(X, offers, weight, codes, times=None):
    """Rows by task, by set and within sets, in an order that only depends on content.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n, d)
    offers : ndarray of `OFFER` of shape (n,)
    weight : ndarray of shape (n,), positive
    codes : ndarray of int of shape (n,)
        Task numbers 0 ... n_tasks - 1; each task has a row.
    times : ndarray of shape (n,) or None
        If given, the sets of a task come in order of time: that of their latest row.

    Returns
    -------
    order : ndarray of int of shape (n,)
    starts : ndarray of int of shape (n_tasks + 1,)
    tasks : ndarray of int of shape (n_tasks,)
        The task numbers in the order in which they now come.
    """
    rank = row_ranks(X, offers["value"])
    place = permutation(rank.max() + 1)[rank]
    _, sets = np.unique(offers["set"], return_inverse=True)
    order = np.lexsort((weight, place, sets))
    sizes = np.bincount(sets)
    first = np.cumsum(sizes) - sizes
    content = _ranks_of_sets(rank[order], weight[order], first, sizes)
    of_set = order[first]
    by_task, tasks = canonical_order(
        np.empty((len(sizes), 0)),
        content,
        weight[of_set],
        codes[of_set],
    )
    if times is not None:
        moment = np.maximum.reduceat(times[order], first)
        place = np.argsort(tasks)[codes[of_set[by_task]]]
        by_task = by_task[np.lexsort((moment[by_task], place))]
    order = order[_ranges(first[by_task], sizes[by_task])]
    n_rows = np.bincount(codes)[tasks]
    return order, np.concatenate([[0], np.cumsum(n_rows)]), tasks


def _ranks_of_sets(rank, weight, first, sizes):
    """The rank (S,) of each set among different ones, by the ranks of its offers.

    Its offers begin at ``first`` (S,). Small sets come before large ones.
    """
    found, n_before = np.empty(len(sizes), dtype=np.intp), 0
    for size in np.unique(sizes):
        some = np.flatnonzero(sizes == size)
        rows = first[some][:, None] + np.arange(size)
        content = np.hstack([rank[rows], weight[rows]])
        different, number = np.unique(content, axis=0, return_inverse=True)
        found[some] = n_before + number.ravel()
        n_before += len(different)
    return found


def _ranges(starts, sizes):
    """The numbers start ... start + size - 1 of each pair, one after the other."""
    ends = np.cumsum(sizes)
    if len(ends) == 0:
        return np.zeros(0, dtype=np.intp)
    return np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)


# -- events ---------------------------------------------------------------------------


class Events(NamedTuple):
    """Choices of one alternative from several.

    Attributes
    ----------
    index : ndarray of int of shape (E, J)
        Rows of the alternatives, or -1 for those that are not there. An offer that is
        chosen comes first. The outside option is no row.
    chosen : ndarray of bool of shape (E,)
        Whether an offer is chosen, and not the outside option.
    counts : ndarray of int of shape (E,)
        How many rows there are.
    """

    index: np.ndarray
    chosen: np.ndarray
    counts: np.ndarray


def events_of(offers, outside, n_columns=1):
    """The `Events` of rows sorted by set, in the order of the sets."""
    n, value = len(offers), offers["value"]
    new = np.append(True, np.diff(offers["set"]) != 0)
    sets = np.cumsum(new) - 1
    ends = np.append(np.flatnonzero(new)[1:], n)[sets]  # where the row's set ends
    order = np.lexsort((np.arange(n), -value, sets))
    # below[i] is where offers of lower y begin, in the order of falling y
    falling, of_set = value[order], sets[order]
    differs = np.append((np.diff(falling) != 0) | (np.diff(of_set) != 0), True)
    last = np.flatnonzero(differs)
    below = last[np.searchsorted(last, np.arange(n))] + 1
    is_chosen = falling > 0 if outside else below < ends
    chosen = np.flatnonzero(is_chosen)
    first, counts = below[chosen], ends[chosen] - below[chosen] + 1
    none = np.zeros(0, dtype=np.intp)
    if outside:
        starts = np.flatnonzero(new)
        none = starts[falling[starts] <= 0]
    all_counts = np.concatenate([counts, ends[none] - none])
    check_size(len(all_counts), all_counts.max(initial=1), n_columns)
    index = np.full((len(all_counts), all_counts.max(initial=1)), -1)
    columns = np.arange(index.shape[1])
    index[: len(chosen), 0] = order[chosen]
    rest = (columns > 0) & (columns < counts[:, None])
    index[: len(chosen)][rest] = order[_ranges(first, counts - 1)]
    index[len(chosen) :][columns < all_counts[len(chosen) :, None]] = order[
        _ranges(none, ends[none] - none)
    ]
    is_offer = np.arange(len(index)) < len(chosen)
    by_set = np.argsort(np.concatenate([chosen, none]), kind="stable")
    return Events(index[by_set], is_offer[by_set], all_counts[by_set])


def check_size(n_choices, n_offers, n_columns):
    """Refuse choices whose alternatives need more room than there is.

    Each choice is padded to the number of offers of the largest set.
    """
    cells = n_choices * n_offers * n_columns
    if cells > MOST_CELLS:
        raise ValueError(
            f"There are {n_choices} choices from sets of up to {n_offers} offers with "
            f"{n_columns} columns. They would take {8e-9 * cells:.1f} GB, since all "
            "are padded to the largest set. Leave out offers at random that were not "
            "chosen from the largest sets, which changes no utility on average "
            "(McFadden, 1978). In long rankings give the low ranks one y. Without "
            "choice_set the rows of a task are one set: pass choice_set=."
        )


# -- alternatives ---------------------------------------------------------------------


class Packed(NamedTuple):
    """Alternatives as the core takes them; see `pack`."""

    X: np.ndarray  # (E, J, d)
    offset: np.ndarray  # (E, J), ABSENT for those that are not there


def pack(X, index, within, offset=None, outside=False):
    """The columns of alternatives, and an offset that rules out those not there.

    Parameters
    ----------
    X : ndarray of shape (n, d), standardised
    index : ndarray of int of shape (E, J)
        Rows of the alternatives, -1 for those that are not there.
    within : ndarray of bool of shape (d,)
        Columns that are taken as differences from their mean in the set; that changes
        no choice, and loses no digits far from zero.
    offset : ndarray of shape (n,) or None
        A base model's utilities.
    outside : bool
        Whether there is an outside option: one more alternative, the first one, whose
        columns are zero.
    """
    (E, J), d = index.shape, X.shape[1]
    there = index >= 0
    packed = np.zeros((E, outside + J, d))
    shifts = np.full((E, outside + J), ABSENT)
    rows, offers = X[index[there]], packed[:, outside:]
    offers[there] = rows
    if not outside and within.any():
        mean = offers.sum(axis=1) / there.sum(axis=1)[:, None]
        event = np.nonzero(there)[0]
        offers[there] = rows - np.where(within, mean[event], 0.0)
    shifts[:, outside:][there] = 0.0 if offset is None else offset[index[there]]
    shifts[:, :outside] = 0.0
    return Packed(packed, shifts)


def places(utility, sets):
    """The place (n,) of each offer among those of its set (n,); 1 is the best."""
    order = np.lexsort((np.arange(len(sets)), -utility, sets))
    _, sizes = np.unique(sets, return_counts=True)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(sets), dtype=np.intp)
    place[order] = np.arange(len(sets)) - first + 1
    return place


def shelves_of(sets):
    """Rows (S, J) of each set, padded with -1, by the numbers (n,) of the sets.

    J is at least 2.
    """
    order, starts = _by_set(sets)
    sizes = np.diff(starts)
    index = np.full((len(sizes), sizes.max(initial=2)), -1)
    index[np.arange(index.shape[1]) < sizes[:, None]] = order
    return index


def varies_within_sets(table, design, outside):
    """Which columns (d,) have slopes that can be seen to differ between tasks.

    Without an outside option these are columns that differ within sets. With one, a
    column that is the same for all offers of a task acts like a part of its intercept.
    ``table`` is a `TaskTable` of events.
    """
    here = table.offset > 0.5 * ABSENT
    if outside:
        here[:, 0] = False
        n_rows = here.sum(axis=1)
        starts = np.append(0, np.cumsum(n_rows))[table.starts]
        flat = TaskTable(table.X[here], None, None, starts)
        return varies_within_tasks(flat, design.x_rounding)
    there = here[..., None]
    high = np.where(there, table.X, -np.inf).max(axis=(1))
    low = np.where(there, table.X, np.inf).min(axis=1)
    varies = (high - low > EQUAL * design.x_rounding).any(axis=0)
    return varies if varies.any() else ~varies

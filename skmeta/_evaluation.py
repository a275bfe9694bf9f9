"""Support and query rows of each task, and scores of models adapted in between."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
    check_random_state,
    column_or_1d,
)
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_sample_weight, _num_samples

from skmeta._base_model import remembering
from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import encode_tasks
from skmeta._checks.values import check_alike, is_missing, plain_weight, show
from skmeta._units import Units, read_units_and_sets, tells
from skmeta._warn import warn_once_per_search

# This many tasks are adapted to at once, ...
BLOCK = 64
# ... and this many if no copies are made.
BLOCK_TOGETHER = 1024
# A message names at most this many tasks.
SHOWN = 5

NO_TASK = (
    "few-shot scoring needs the task of each row. Switch routing on, "
    "sklearn.set_config(enable_metadata_routing=True), and pass task=... to fit of the "
    "search, params={'task': ...} to cross_validate, or task=... to score."
)

STRATIFIED_UNITS = (
    "stratify=True draws rows so that classes are in proportion, and unit or "
    "choice_set keeps rows together, whatever their classes. Set stratify=None."
)
UNITS_OF_CLASSES = (
    "Each task has classes of its own, so that rows of each class must be given, and "
    "unit= gives whole units, whatever their classes. Leave unit out, or, if each unit "
    "has rows of all classes, set stratify=False in few_shot_scores or the scorer."
)

WITHOUT_SETS = (
    "A few-shot score of {} gives some choice sets of each task and asks for others, "
    "and without choice_set the rows of a task are one set. Pass the set of each row: "
    "choice_set=df['screen']."
)


def scores_of_tasks(
    estimator,
    adapt_each,
    ask_base_once,
    score,
    X,
    y,
    task,
    *,
    sample_weight=None,
    unit=None,
    choice_set=None,
    outside=False,
    n_support=5,
    n_query=None,
    n_repeats=3,
    stratify=False,
    in_time=False,
    in_order=False,
    times=None,
    n_way=None,
    small_tasks="skip",
    random_state=0,
    n_jobs=None,
    together=None,
    several_targets=False,
):
    """Score a copy adapted to support rows of each task on the task's other rows.

    ``adapt_each(estimator, parts)`` returns copies adapted to each (X, y[, weight]) of
    a list. ``ask_base_once(estimator, X)`` returns the base model's predictions for
    these rows, or None. ``score(model, X, y[, weight])`` returns a score. Models of
    choices get (X, y, weight or None, choice_set) in both, and ``choice_set`` (n_rows,)
    is then needed; ``outside`` says whether they know an outside option. ``n_way`` is
    the most classes that a task may have if each task has its own, and otherwise None.
    ``in_time`` says that the rows of a task are in order of time, and that earlier ones
    are given; with ``in_order`` rows drawn at random are given in their order. If there
    are ``times`` (n_rows,), rows are sorted by them. ``unit`` (n_rows,) labels rows
    that belong together, which ``n_support`` and ``n_query`` then count. ``together``
    adapts to many tasks and scores them without copies; it is None if that is
    impossible. With ``several_targets`` y has a column for each. Returns (n_tasks,
    n_repeats), with NaN for a task that cannot be scored.
    """
    _check_given(X, y, task, stratify, several_targets)
    if stratify and not (unit is None and choice_set is None):
        raise ValueError(STRATIFIED_UNITS if n_way is None else UNITS_OF_CLASSES)
    table, units, order, starts, ids = _checked_rows(
        X, y, task, sample_weight, unit, choice_set, outside, several_targets
    )
    if in_time or times is not None:
        order = units.in_time(order, starts, ids, times)
    seeds = check_random_state(random_state).randint(2**31, size=len(ids))
    draw = Draw(
        n_support, n_repeats, stratify, in_time, in_order, n_way, n_query, units
    )
    sizes = units.counts(order, starts)
    obstacles = draw.obstacles(table.y[order], starts, sizes)
    _tell(ids, sizes, obstacles, draw, small_tasks)
    kept = np.flatnonzero(obstacles == "")
    size = BLOCK if together is None else BLOCK_TOGETHER
    blocks = (  # the rows of a block are drawn when it is scored
        [
            draw(order[starts[t] : starts[t + 1]], table.y, seeds[t])
            for t in kept[i : i + size]
        ]
        for i in range(0, len(kept), size)
    )
    how = adapt_each, score, together
    told = ask_base_once(estimator, _safe_indexing(X, np.sort(order)))
    values = Parallel(n_jobs=n_jobs)(
        delayed(score_block)(estimator, how, table, block, told) for block in blocks
    )
    scores = np.full((len(ids), n_repeats), np.nan)
    scores[kept] = np.reshape(np.concatenate(values), (len(kept), n_repeats))
    _tell_undefined(scores[kept])
    return scores


def _check_given(X, y, task, stratify, several_targets):
    if task is None:
        raise ValueError(NO_TASK)
    if X is None or y is None:
        raise ValueError(
            f"few-shot scoring needs X and y; got {'X' if X is None else 'y'}=None."
        )
    if several_targets:
        _check_several(y, stratify)


class Table(NamedTuple):
    """The user's rows, from which some are taken at a time."""

    X: object
    y: np.ndarray
    weight: np.ndarray | None = None
    sets: Units | None = None  # choice sets

    def take(self, rows):
        """(X, y), with weights if there are any; both and the sets of choices."""
        taken = (_safe_indexing(self.X, rows), self.y[rows])
        weight = None if self.weight is None else self.weight[rows]
        if self.sets is not None:
            return *taken, weight, self.sets.labels_of(rows)
        return taken if weight is None else (*taken, weight)


def _check_several(y, stratify):
    """Refuse targets that are not in columns, and draws by the labels of them all."""
    if np.ndim(y) != 2:
        raise ValueError(
            f"y needs a column for each target of the model; got shape {np.shape(y)}."
        )
    if stratify:
        raise ValueError(
            "stratify=True draws rows so that classes are in proportion, and y has "
            "several columns of labels. Set stratify=None."
        )


def _checked_rows(
    X, y, task, sample_weight, unit, choice_set, outside, several_targets=False
):
    """A `Table`, units, rows sorted by task, starts of tasks, and their ids.

    A weight of 0 removes a row before anything is drawn, and so does a choice set that
    says nothing.
    """
    beside = {"task": task, "unit": unit, "choice_set": choice_set}
    check_aligned(X=X, y=y, sample_weight=sample_weight, **beside)
    check_consistent_length(X, y, sample_weight)
    codes, ids = encode_tasks(task, _num_samples(X))
    units, sets = read_units_and_sets(unit, choice_set, codes)
    y = np.asarray(y) if several_targets else column_or_1d(y, warn=True)
    weight = _checked_weight(sample_weight, y)
    rows = np.arange(len(y)) if weight is None else np.flatnonzero(weight > 0)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    _check_targets(y, rows, codes, ids)
    if sets is not None:
        y = _preferences(y, rows, codes, ids)
    if sets is not None and weight is not None:
        _check_even(weight, sets, rows, codes, ids)
    if sets is not None and not outside:
        rows = rows[rows_that_tell(y[rows], sets, rows)]
    present, sizes = np.unique(codes[rows], return_counts=True)
    starts = np.r_[0, np.cumsum(sizes)]
    return Table(X, y, weight, sets), units, rows, starts, ids[present]


def _preferences(y, rows, codes, ids):
    """The y of offers as numbers; ``rows`` are those that count."""
    try:
        y = y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"y holds {show(y[rows[0]])} in row {rows[0]}, of task "
            f"{show(ids[codes[rows[0]]])}. Of choices it holds numbers: 1 for the "
            "offer of a set that was chosen and 0 for the others, such as (y == 'yes')."
        ) from None
    wrong = rows[~np.isfinite(y[rows])]
    if len(wrong):
        raise ValueError(
            f"y holds {y[wrong[0]]:g} in row {wrong[0]}, of task "
            f"{show(ids[codes[wrong[0]]])}. Drop this choice set, or give it weight 0."
        )
    return y


def _check_even(weight, sets, rows, codes, ids):
    """Refuse different weights in a choice set; ``rows`` are those that count."""
    some = np.empty(sets.codes.max() + 1)
    some[sets.codes[rows]] = weight[rows]
    uneven = rows[weight[rows] != some[sets.codes[rows]]]
    if len(uneven):
        row = uneven[0]
        raise ValueError(
            f"Choice set {show(sets.labels[sets.codes[row]])} of task "
            f"{show(ids[codes[row]])} has offers of weight {weight[row]:g} and "
            f"{some[sets.codes[row]]:g}. All offers of a set have one weight, which "
            "says how often the choice counts; 0 takes an offer off the shelf."
        )


def rows_that_tell(y, sets, rows):
    """Which of some rows belong to choice sets that say what is preferred.

    ``y`` are those of these rows, and ``sets`` the `Units` of all rows.
    """
    codes = sets.codes[rows]
    told = tells(y, codes)
    silent = np.unique(codes[~told])
    if len(silent):
        n_sets = len(np.unique(codes))
        first = show(sets.labels[silent[0]])
        if len(silent) == n_sets:
            raise ValueError(
                f"None of {n_sets} choice sets says which offer is preferred: all y of "
                f"set {first} are the same. Give 1 to the offer chosen and 0 to the "
                "others of its set."
            )
        warn_once_per_search(
            f"{len(silent)} of {n_sets} choice sets, such as {first}, do not say which "
            "offer is preferred, and are neither given nor scored. If none of their "
            "offers was chosen, set outside_option=True."
        )
    return told


def _check_targets(y, rows, codes, ids):
    columns = np.atleast_2d(y[rows].T)
    missing = rows[np.any(list(map(is_missing, columns)), axis=0)]
    if len(missing):
        raise ValueError(
            f"y has {len(missing)} missing values, the first in row {missing.min()}, "
            f"of task {show(ids[codes[missing.min()]])}. Drop these rows, or give them "
            "weight 0."
        )
    if y.dtype.kind == "O":
        for column in columns:
            check_alike(column)


def _checked_weight(sample_weight, y):
    """Weights of the rows as floats, or None."""
    if sample_weight is None:
        return None
    sample_weight = plain_weight(sample_weight)
    if not np.any(sample_weight != 0):
        raise ValueError("All sample weights are zero: nothing is left to score.")
    return _check_sample_weight(
        sample_weight, y, dtype=np.float64, ensure_non_negative=True
    )


def score_block(estimator, how, table, block, told):
    """Scores of the tasks of a block of a `Table`, one draw after the other.

    ``block`` holds the draws of each task, pairs of row numbers, and ``how`` are the
    functions adapt_each, score and together of `scores_of_tasks`.
    """
    adapt_each, score, together = how
    splits = [split for task_splits in block for split in task_splits]
    models = [estimator] * len(splits)
    with remembering(told):
        if together is not None:
            sets = () if table.sets is None else (table.sets,)
            scores = together(estimator, *table[:3], splits, *sets)
            return list(map(_one_number, scores))
        if len(splits[0][0]):  # either all tasks give rows, or none does
            parts = [table.take(support) for support, _ in splits]
            models = adapt_each(estimator, parts)
        return [
            _one_number(score(model, *table.take(query)))
            for model, (_, query) in zip(models, splits, strict=True)
        ]


def _one_number(score):
    if np.ndim(score) or isinstance(score, dict):
        raise ValueError(
            "few-shot scoring takes a metric that gives one number; this one gave "
            f"{score!r}. For several metrics make a few-shot scorer of each: "
            "scoring={name: make_few_shot_scorer(metric), ...}."
        )
    return score


# -- support rows ---------------------------------------------------------------------


class Draw:
    """How the support rows of a task are drawn, and the rows to ask."""

    def __init__(
        self,
        n_support,
        n_repeats,
        stratify,
        in_time,
        in_order,
        n_way,
        n_query=None,
        units=None,
    ):
        self.n_support, self.n_query = n_support, n_query
        self.n_repeats = n_repeats
        self.in_time, self.in_order = in_time, in_order
        self.per_class = stratify and n_way is not None
        self.stratify = stratify and n_way is None and n_support > 0
        self.n_way = np.inf if n_way is None else n_way
        self.units = units or Units()

    def obstacles(self, labels, starts, sizes):
        """The `obstacle` of each task, whose rows begin at ``starts``."""
        tasks = zip(pairwise(starts), sizes, strict=True)
        found = [self.obstacle(labels[a:b], size) for (a, b), size in tasks]
        return np.array(found, dtype=object)

    def obstacle(self, labels, n_units):
        """Why a task cannot be scored, as a key of `_OBSTACLES`; "" if it can.

        ``labels`` are the targets of its rows, which make up ``n_units`` units.
        """
        if self.n_way < np.inf or self.per_class:
            n_classes = len(np.unique(labels))
            if n_classes > self.n_way:
                return "classes"
            if self.per_class and self.n_support:
                return "single" if n_classes == len(labels) else ""
        if n_units <= self.n_support:
            return "small"
        return "proportion" if self.stratify and self._indivisible(labels) else ""

    def _indivisible(self, labels):
        """Whether the labels cannot be split with each class on both sides."""
        counts = np.unique(labels, return_counts=True)[1]
        least = min(self.n_support, len(labels) - self.n_support)
        return counts.min() < 2 or least < len(counts)

    def __call__(self, rows, y, seed):
        """Support and query rows of one task, ``n_repeats`` times."""
        if self.per_class and self.n_support:
            return list(self._of_classes(rows, y, seed))
        units = self.units.of(rows)
        return [
            (units.take(given), units.take(asked[: self.n_query]))
            for given, asked in self._places(units, y[rows], seed)
        ]

    def _of_classes(self, rows, y, seed):
        rng = None if self.in_time else np.random.RandomState(seed)
        for _ in range(self.n_repeats):
            given, asked = self._of_each_class(rows, y, rng)
            yield given, asked[: self.n_query]

    def _places(self, units, labels, seed):
        """Places of the units to give and of those to ask, ``n_repeats`` times."""
        n, size = self.n_support, len(units)
        places = np.arange(size)
        if n == 0 and self.n_query is None:
            yield from [(places[:0], places)] * self.n_repeats
        elif self.in_time:
            for cut in cut_points(n, size, self.n_repeats, self.n_query):
                yield places[cut - n : cut], places[cut:]
        else:
            draw = self._in_proportion if self.stratify else self._at_random
            for given, asked in draw(labels, size, seed):
                yield np.sort(given) if self.in_order else given, asked

    def _in_proportion(self, labels, size, seed):
        # This is imported here, since it takes longer to import than skmeta itself.
        from sklearn.model_selection import StratifiedShuffleSplit

        splitter = StratifiedShuffleSplit(
            n_splits=self.n_repeats, train_size=self.n_support, random_state=seed
        )
        return splitter.split(labels, labels)

    def _at_random(self, labels, size, seed):
        """The draws of scikit-learn's ``ShuffleSplit``, which takes much longer."""
        rng, n_asked = np.random.RandomState(seed), size - self.n_support
        for _ in range(self.n_repeats):
            order = rng.permutation(size)
            yield order[n_asked:], order[:n_asked]

    def _of_each_class(self, rows, y, rng=None):
        """``n_support`` rows of each class; a class keeps one row for the query.

        A class of one row gives that row: the model has to know the class. Without
        ``rng`` the first rows of a class are given.
        """
        rows = rows if rng is None else rng.permutation(rows)
        codes = np.unique(y[rows], return_inverse=True)[1]
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes)
        place = np.empty(len(rows), dtype=np.intp)  # within the row's class
        place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        given = place < np.clip(sizes - 1, 1, self.n_support)[codes]
        return rows[given], rows[~given]


def cut_points(n_given, n_units, n_cuts, n_asked=None):
    """Numbers of units after which a task in order of time is cut: given, then asked.

    The first cut leaves ``n_given`` units before it. The others follow at equal
    distances, and there is a unit after each; if ``n_asked`` units are asked for, there
    are as many after the last cut, too. In a short task some cuts are the same.
    """
    if n_asked is not None:
        last = max(n_given, n_units - n_asked)
        return np.linspace(n_given, last, n_cuts).astype(int)
    return np.linspace(n_given, n_units, n_cuts + 1)[:-1].astype(int)


# -- warnings and errors --------------------------------------------------------------

_OBSTACLES = {
    "small": "no more than n_support={n_support} {word}s, which leaves none to score",
    "single": "one row of each class, which leaves none to score",
    "classes": "more classes than the {n_way} that the model was meta-trained for",
    "proportion": "too few rows to split them with the classes in proportion",
}
_REMEDIES = {
    "small": (
        "Lower n_support (of make_few_shot_scorer). If tasks have more {word}s in all, "
        "they have been cut apart: split whole tasks, "
        "cv=GroupKFold().set_split_request(groups='task'), and give a halving search "
        "another resource than rows, such as resource='max_iter'."
    ),
    "single": "A class needs one row to learn from and one to predict.",
    "classes": "Meta-train with a task of as many classes.",
    "proportion": "Change n_support, or pass stratify=False.",
}


def _tell(ids, sizes, obstacles, draw, small_tasks):
    """Warn about tasks left out; refuse them if requested, or if no task is left."""
    left_out = np.flatnonzero(obstacles != "")
    if not len(left_out):
        return
    word = draw.units.word
    words = {
        reason: text.format(n_support=draw.n_support, n_way=draw.n_way, word=word)
        for reason, text in _OBSTACLES.items()
    }
    remedies = {reason: text.format(word=word) for reason, text in _REMEDIES.items()}
    first, reason = left_out[0], obstacles[left_out[0]]
    if small_tasks == "raise":
        what = f"; it has {words[reason]}"
        if reason == "small":
            what = f": n_support={draw.n_support} leaves none to score"
        raise ValueError(
            f"Task {show(ids[first])} has {sizes[first]} {word}s{what}. "
            f"{remedies[reason]} Or leave such tasks out: small_tasks='skip'."
        )
    found = " ".join(
        f"{np.sum(obstacles == reason)} of {len(ids)} tasks have {words[reason]} "
        f"({_some(ids[obstacles == reason])}). {remedies[reason]}"
        for reason in dict.fromkeys(obstacles[left_out])
    )
    if len(left_out) == len(ids):
        raise ValueError(
            f"No task can be scored; the longest has {sizes.max()} {word}s. {found}"
        )
    warn_once_per_search(f"Tasks are left out of the few-shot score: {found}")


def _some(ids):
    names = [show(name) for name in ids[:SHOWN]]
    return ", ".join([*names, "..."] if len(ids) > SHOWN else names)


def _tell_undefined(values):
    """Warn about scores that are undefined for a task's few query rows."""
    undefined = np.isnan(values)
    if undefined.any():
        warn_once_per_search(
            f"The metric is undefined (NaN) for {undefined.sum()} of {values.size} "
            f"draws of support rows, in {undefined.any(axis=1).sum()} of {len(values)} "
            "tasks: too few rows or classes are left to ask. The mean leaves these "
            "out. Lower n_support, or take a metric that is defined for single rows, "
            "such as an error or the log loss.",
            UndefinedMetricWarning,
        )


def mean_score(scores):
    """Mean over tasks, without the scores that are undefined for a task's few rows."""
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else np.nan

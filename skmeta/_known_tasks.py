"""What a fitted model keeps of the tasks of its meta-training, to predict for them."""

import inspect
from contextvars import ContextVar
from copy import copy
from functools import cached_property, wraps
from itertools import repeat

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.block import holding
from skmeta._checks.id_keys import (
    check_not_a_column,
    column_of_ids,
    is_single,
    key_of,
    keys_of_ids,
    unmixed,
)
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._checks.values import as_object_array, kinds_of, show
from skmeta._copies import set_or_remove
from skmeta._core.prior.statistics import Sums
from skmeta._core.prior.summed import SummedTable, standardised
from skmeta._linear_part import rows_again, to_keep
from skmeta._many_tasks import columns_among, options_of_rows, put
from skmeta._task_input import (
    KnownRows,
    NewRows,
    SortedRows,
    rows_to_name,
    validate_new_rows,
)
from skmeta._task_sums import (
    n_summed,
    numbers_by_sums,
    predicts_as_we_do,
    sums_of_table,
    tells_by_sums,
    width_of_sums,
)
from skmeta._threads import on_one_blas_thread
from skmeta._warn import warn
from skmeta.task_statistics import TaskStatistics

# With keep_tasks="auto" at most so many numbers are kept: 16 MB.
MOST_NUMBERS = 2**21

_forgetting = ContextVar("tasks_are_not_kept", default=False)


def keeping_no_tasks():
    """Within this block fits keep no tasks, since nobody will ask about these."""
    return holding(_forgetting)


class KnownTasks:
    """What a fitted model keeps of the tasks of its meta-training.

    Of each task it has sums over the rows, or the rows themselves. It is never changed.
    ``len`` counts the tasks, ``id in known`` looks for one, and iterating gives the
    ids.

    Attributes
    ----------
    ids : ndarray of shape (n_tasks,)
        The ids of the tasks.
    n_rows : ndarray of int of shape (n_tasks,)
        Numbers of rows of positive weight.
    """

    def __init__(self, ids, kept, order=None, starts=None, said=None):
        # Rows come with the numbers of those of each task, as in `KnownRows`, and with
        # what a base model says of them if its table is not kept.
        self.ids, self._kept, self._said = ids, kept, said
        self._order, self._starts = order, starts

    @classmethod
    def of_rows(cls, kept, task, said=None):
        """From an object with ``X``, ``y`` and ``weight``, and the id of each row.

        ``said`` (n_rows, n_outputs) is that of `to_keep`.
        """
        codes, ids = group(task)
        rows = np.flatnonzero(kept.weight > 0)
        present, codes = np.unique(codes[rows], return_inverse=True)
        order = rows[np.argsort(codes, kind="stable")]
        starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        return cls(ids[present], kept, order, starts, said)

    @property
    def n_rows(self):
        if not self.by_sums:
            return np.diff(self._starts)
        return getattr(self._kept, "_sums", self._kept).n_rows

    @property
    def by_sums(self):
        """Whether these are sums over rows."""
        return isinstance(self._kept, (Sums, TaskStatistics))

    def sums_of(self, places, scaling):
        """The `Sums` of some tasks, standardised."""
        if isinstance(self._kept, Sums):
            return self._kept.take(places)
        return standardised(self._kept._sums.take(places), scaling)

    def rows_of(self, places, model):
        """The rows of some tasks, as the `KnownRows` of a model."""
        first, sizes = self._starts[places], self.n_rows[places]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        rows = self._order[np.repeat(first, sizes) + within]
        kept = self._kept
        said = None if self._said is None else self._said[rows]
        X = rows_again(model, kept.X[rows], said)
        return KnownRows(
            X, kept.y[rows], kept.weight[rows], np.arange(len(rows)), starts
        )

    def places_of(self, ids):
        """The place of each id (n,) among those of the tasks; -1 if it is unknown."""
        keys = map(self._places.get, _keys_of(ids), repeat(-1))
        return np.fromiter(keys, dtype=np.intp, count=len(ids))

    @cached_property
    def _places(self):
        return {key: place for place, key in enumerate(_keys_of(self.ids))}

    def __len__(self):
        return len(self.ids)

    def __contains__(self, id):
        return self.places_of(as_object_array([id]))[0] >= 0

    def __iter__(self):
        return iter(self.ids.tolist())

    def __repr__(self):
        what = "sums" if self.by_sums else "rows"
        n_rows = int(self.n_rows.sum())
        return f"KnownTasks({what} of {len(self):,} tasks with {n_rows:,} rows)"

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_places"}


def _keys_of(ids):
    """Keys of an array of ids, of which equal ids have the same."""
    try:
        return keys_of_ids(ids)
    except ValueError:  # some id is of a type that no store could keep
        return list(map(_key_or_itself, ids.tolist()))


def _key_or_itself(i):
    try:
        return key_of(i)
    except ValueError:
        return i


class KnowsTasks:
    """A learned prior that keeps its tasks; it stands to the left of `BaseMetaLearner`.

    Parameters
    ----------
    keep_tasks : {"auto"} or bool
    """

    parameter_constraints: dict = {"keep_tasks": [StrOptions({"auto"}), "boolean"]}

    # -- what is kept -----------------------------------------------------------------

    def _rows_to_keep(self, rows, named):
        if not named or not self._may_keep(0):
            return None
        d = rows.X.shape[1]
        n_of_rows = _n_numbers(rows.X) + 2 * len(rows.y)
        n_of_sums = len(rows.ids) * width_of_sums(d + 1)
        if self._sums_may_do and n_of_sums <= n_of_rows:
            from_rows = self._parameter("base_estimator") is not None
            return rows if from_rows and self._may_keep(n_of_sums) else None
        return rows if self._may_keep(n_of_rows) else None

    @property
    def _sums_may_do(self):
        """Whether sums will probably do, since old rows count as much as new ones."""
        forgets = self.half_life is not None and self.half_life != np.inf
        return self._keeps_sums and not forgets and predicts_as_we_do(self)

    def _may_keep(self, n_numbers):
        if _forgetting.get():
            return False
        if isinstance(self.keep_tasks, str):
            return n_numbers <= MOST_NUMBERS
        return bool(self.keep_tasks)

    def _keep_tasks(self, made, rows=None, named=True):
        known = None
        if named and self._may_keep(0):
            known = self._known_by_sums(made, rows)
            if known is None and rows is not None:
                known = self._known_by_rows(rows)
        set_or_remove(self, known_tasks_=known)

    def _known_by_sums(self, made, rows):
        """`KnownTasks` by sums of a `TrainingData`, or of `GivenRows`; or None."""
        if not self._keeps_sums or not tells_by_sums(self):
            return None
        width = width_of_sums(n_summed(self._learned.design))
        n_of_sums = made.table.n_tasks * width
        if not self._may_keep(n_of_sums):
            return None
        if rows is None:
            table = made.table
            by_sums = isinstance(table, SummedTable)
            sums = table.sums if by_sums else sums_of_table(self, table)
            codes, ids = group(made.ids)
            return KnownTasks(ids, sums.take(np.argsort(codes)))
        if _n_numbers(rows.X) + 2 * len(rows.y) < n_of_sums:
            return None
        known = self._known_by_rows(rows)
        some = known.rows_of(np.arange(len(known)), self)
        sorted_rows = SortedRows(some.X, some.y, some.weight, some.starts)
        sums = sums_of_table(self, self._new_table(sorted_rows))
        return KnownTasks(known.ids, sums)

    def _known_by_rows(self, rows):
        """`KnownTasks` by copies of `GivenRows`."""
        count = np.flatnonzero(self._which_count(rows))
        order = count[np.argsort(rows.codes[count], kind="stable")]
        X, said = to_keep(self, rows.X[order])
        kept = SortedRows(X, rows.y[order], rows.weight[order], None)
        return KnownTasks.of_rows(kept, rows.ids[rows.codes[order]], said)

    def _which_count(self, rows):
        """Which of `GivenRows` (n,) tell something of their task."""
        return rows.weight > 0

    def _keep_stream(self):
        """Know the tasks by ``stream_``, which `partial_meta_fit` keeps in any case."""
        if not self._may_keep(0):
            return
        stream = self.stream_
        if isinstance(stream, TaskStatistics):
            self.known_tasks_ = KnownTasks(stream.ids, stream)
        else:
            self.known_tasks_ = KnownTasks.of_rows(stream, stream.task)

    # -- predictions ------------------------------------------------------------------

    @on_one_blas_thread
    def _answers_by_task(self, method, X, task, options):
        """What ``method`` returns for rows X, each by what is known of its task."""
        check_is_fitted(self)
        known = self._tasks_known(method)
        check_not_a_column(X, task)
        check_aligned(X=X, task=column_of_ids(task), **columns_among(options))
        ids = _ids_of_rows(task, _num_samples(X))
        with naming_the_task(column_of_ids(task), X=rows_to_name(self, X)):
            X = validate_new_rows(self, X)
        options = self._options_by_task(method, options, ids)
        codes = known.places_of(ids)
        if (codes < 0).any():
            _warn_of_unknown(known, ids, codes)
        if self.n_tasks_ == 1:  # what it learned is the posterior of that task
            codes = np.full(len(codes), -1)
        answer = None
        for rows, answers in (
            (np.flatnonzero(codes >= 0), self._answers_for_known),
            (np.flatnonzero(codes < 0), self._answers_by_prior),
        ):
            if len(rows):
                some = options_of_rows(options, rows, len(codes))
                found = answers(method, known, X[rows], codes[rows], some)
                if len(rows) == len(codes):
                    return found
                answer = put(found, rows, answer, len(codes))
        return answer

    def _options_by_task(self, method, options, ids):
        """Arguments of ``method`` for rows of tasks with these ids (n,)."""
        return options

    def _answers_for_known(self, method, known, X, codes, options):
        asked, codes = np.unique(codes, return_inverse=True)
        if known.by_sums:
            needed, how = self._numbers_for(method, **options)
            sums = known.sums_of(asked, self._scaling)
            numbers = numbers_by_sums(self, sums, X, codes, needed, how)
            return self._answer_from(numbers, X, method, **options)
        order = np.argsort(codes, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        new = NewRows(X, order, starts)
        return self._predict_each(known.rows_of(asked, self), new, method, options)

    def _answers_by_prior(self, method, known, X, codes, options):
        nameless = copy(self)  # the names of columns have been checked
        vars(nameless).pop("feature_names_in_", None)
        with scoring_on_purpose():
            return getattr(nameless, method)(X, **options)

    def _tasks_known(self, method):
        """The `KnownTasks` of the model; an error if it has none, or is adapted."""
        if self.n_adapt_rows_:
            raise ValueError(
                f"{method} got task, but this model is adapted to the "
                f"{self.n_adapt_rows_} rows of one task, and predicts for that task: "
                "leave task out. For known tasks ask the meta-learner itself, from "
                "which adapt made this copy; if this is it, call reset_adaptation() "
                "first."
            )
        known = getattr(self, "known_tasks_", None)
        if known is None:
            raise ValueError(
                f"{method} got task, but this {type(self).__name__} keeps no task that "
                f"it could know: {self._why_none_known()}"
            )
        return known

    def _why_none_known(self):
        if self.n_tasks_ == 1:
            return (
                "it was fitted to rows without ids, as one task. Pass the ids to fit: "
                "fit(X, y, task=ids)."
            )
        instead = (
            "Or give it the known rows again: adapt_predict(X, y, X_new, task=ids, "
            "task_new=ids_new), or a TaskBank, which also keeps tasks in a file."
        )
        if not isinstance(self.keep_tasks, str) and not self.keep_tasks:
            return f"keep_tasks=False. Set keep_tasks=True before fit. {instead}"
        return (
            "either it is a copy that adapt has made, which carries no tasks, or "
            'keep_tasks="auto" found more to keep than '
            f"{8 * MOST_NUMBERS // 2**20} MB. Ask the meta-learner itself, or set "
            f"keep_tasks=True before fit. {instead}"
        )


def by_task(method):
    """Decorator of a method that predicts: with ``task``, each row by its own task.

    The method declares ``task`` for its signature, and never gets it.
    """
    signature = inspect.signature(method)
    takes_sets = "choice_set" in signature.parameters

    @wraps(method)
    def predicting(self, X, *args, task=None, **kwargs):
        ids_by_place = args and not takes_sets and np.ndim(np.asarray(args[0], object))
        if ids_by_place or kwargs.keys() & {"groups", "group"}:
            raise TypeError(
                f"{type(self).__name__}.{method.__name__} takes the ids of known tasks "
                "by the name of task: pass task=ids."
            )
        if task is None:
            return method(self, X, *args, **kwargs)
        try:
            given = signature.bind(self, X, *args, **kwargs).arguments
        except TypeError as error:
            name = f"{type(self).__name__}.{method.__name__}()"
            raise TypeError(f"{name} {error}") from None
        options = {name: given[name] for name in list(given)[2:]}
        return self._answers_by_task(method.__name__, X, task, options)

    return predicting


def _ids_of_rows(task, n_rows):
    """Ids (n_rows,) of one id per row, or of a single one for all rows."""
    if not is_single(task):
        return check_task_ids(unmixed(task), n_rows)
    one = check_task_ids([task[()] if isinstance(task, np.ndarray) else task], 1)
    return np.repeat(one, n_rows)


def _warn_of_unknown(known, ids, codes):
    """Warn if no id is that of a known task, or if some are of another type."""
    unknown = ids[codes < 0]
    ours = kinds_of(known.ids)
    others = {kind: i for kind, i in kinds_of(unknown).items() if kind not in ours}
    if len(unknown) < len(ids) and not others:
        return
    of_kinds = ""
    for kind, i in list(others.items())[:1]:
        of_kinds = (
            f" The ids of fit are of the kind {', '.join(ours)}, and {show(i)} is of "
            f"the kind {kind}. These are never equal: give all the same type, for "
            "instance by astype(str)."
        )
    example = next(iter(others.values()), unknown[0])
    which = f"No id of task, such as {show(example)}, is one"
    if len(unknown) < len(ids):
        which = (
            f"In {len(unknown)} of {len(ids)} rows task, as {show(example)}, is none"
        )
    warn(
        f"{which} of the {len(known)} tasks of fit, such as {show(known.ids[0])}: the "
        f"learned start predicts, as for new tasks without a row.{of_kinds}"
    )


def _n_numbers(X):
    """How many numbers a table of rows is, an array or a sparse matrix."""
    return 2 * X.nnz if hasattr(X, "nnz") else X.size

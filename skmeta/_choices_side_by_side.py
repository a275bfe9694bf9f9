"""A learned prior of choices adapts to many tasks at once."""

import numpy as np

from skmeta._checks.ids import group
from skmeta._checks.magnitude import explaining_singular
from skmeta._choice_sets import order_of_offers, places, shelves_of, that_tell
from skmeta._core.prior.side_by_side import adapt_many
from skmeta._core.prior.stacks import Stack
from skmeta._core.tasks import Rows, padded_blocks
from skmeta._many_tasks import ManyTasks, is_ours
from skmeta._prior_side_by_side import BLOCK_CELLS
from skmeta._threads import on_one_blas_thread

# A subclass that replaces one of these is adapted to one task after the other.
DECIDING = ("_adapt_to", "_adapt_in_place", "_raw_outputs", "_of_shelves", "_decode")


class ChoicesSideBySide:
    """What `BaseMetaLearner` does one task at a time. It stands to the left of it."""

    @on_one_blas_thread
    def _predict_each(self, known, new, method, options):
        if not is_ours(self, method, *DECIDING) or not len(new.order):
            return ManyTasks._predict_each(self, known, new, method, options)
        fresh = self._unadapted_copy()
        vars(fresh).pop("feature_names_in_", None)  # they have been checked
        X_new, order, starts = new
        task = np.empty(len(order), dtype=np.intp)
        task[order] = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        sets = self._shelves_of_tasks(task, options.get("choice_set"))
        unknown = np.ones(len(starts) - 1, dtype=bool)
        answer = np.zeros(len(order))
        offset = self._base_offset(X_new)
        predict = self._probabilities if method == "predict_proba" else self._utilities
        for tasks, adapted in self._adapted_to_choices(known, method):
            predict(adapted, tasks, (X_new, offset, task, sets), answer)
            unknown[tasks] = False
        rows = np.flatnonzero(unknown[task])
        if len(rows):
            given = (sets[rows],) if method == "predict_proba" else ()
            name = "predict_proba" if given else "predict"
            answer[rows] = getattr(fresh, name)(X_new[rows], *given)
        return places(answer, sets) if method == "rank" else answer

    @staticmethod
    def _shelves_of_tasks(task, labels):
        """The number (n,) of each new row's shelf, over all tasks."""
        if labels is None:
            return task
        number, _ = group(labels)
        return np.unique(task * (number.max() + 1) + number, return_inverse=True)[1]

    def _adapted_to_choices(self, known, method):
        """Adapt to tasks by `KnownRows`: yields numbers of tasks, and `AdaptedTasks`.

        Tasks whose sets say nothing are left out.
        """
        X, offers, weight, order, starts = known
        sizes = np.diff(starts)
        code = np.repeat(np.arange(len(sizes)), sizes)
        rows = order[: starts[-1]]
        if not len(rows):
            return
        told = that_tell(offers[rows], weight[rows], code, None, self._targets.outside)
        rows, code = rows[told], code[told]
        present, code = np.unique(code, return_inverse=True)
        times = self._times_of_offers(X, offers, rows)
        given = X[rows], offers[rows], weight[rows], code, times
        place, starts, numbers = order_of_offers(*given)
        rows, present = rows[place], present[numbers]
        offset = self._base_offset(X[rows])
        coded = self._targets.encode(offers[rows])
        table = self._frame.table(X[rows], coded, offset, weight[rows], starts)
        width = table.X.shape[1] * (table.X.shape[2] + 1)
        for block in padded_blocks(table.sizes, width, BLOCK_CELLS):
            index = Rows.between(table.starts, block)
            at, is_row = index.index, index.present
            columns = self._learned.design(table.X[at.ravel()])
            stack = Stack(
                columns.reshape(*at.shape, *columns.shape[1:]),
                table.Y[at],
                np.where(is_row, table.weight[at], 0.0),
                table.offset[at],
            ).trimmed()
            with explaining_singular(table.weight):
                yield (
                    present[block],
                    adapt_many(self._learned, stack, method == "predict_proba"),
                )

    def _utilities(self, adapted, tasks, new, answer):
        """Put the utilities of the tasks' new rows into ``answer``."""
        X, offset, task, _ = new
        for part, rows, is_row in _blocks(task, tasks, self._learned.design.width):
            columns = self._learned.design(self._scaling.transform_X(X[rows.ravel()]))
            columns = columns.reshape(*rows.shape, -1)
            o = None if offset is None else offset[rows]
            found = adapted.part(part).outputs(columns, o)[..., 0]
            answer[rows[is_row]] = found[is_row]

    def _probabilities(self, adapted, tasks, new, answer):
        """Put the probabilities of the tasks' new rows into ``answer``."""
        X, offset, task, sets = new
        index = shelves_of(sets)
        of_set = task[index[:, 0]]
        outside = self._targets.outside
        width = (index.shape[1] + outside) * self._predictive_width
        for part, at, is_set in _blocks(of_set, tasks, width):
            shelf = index[at.ravel()]
            packed, _ = self._packed(X, shelf, offset)
            columns = self._learned.design(packed.X)
            columns = columns.reshape(*at.shape, *columns.shape[1:])
            o = packed.offset.reshape(*at.shape, -1)
            found = adapted.part(part).predictive(columns, o)
            shelf = shelf.reshape(*at.shape, -1)
            there = (shelf >= 0) & is_set[..., None]
            answer[shelf[there]] = np.exp(found[..., outside:][there])


def _blocks(task, tasks, width):
    """Places among ``tasks``, and numbers (T, n) of what belongs to these.

    ``task`` (m,) is the task of each thing, such as a row or a shelf. The third part
    says which of the numbers are no padding. Tasks without a thing are left out.
    """
    order = np.argsort(task, kind="stable")
    sizes = np.bincount(task, minlength=tasks.max() + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    some = np.flatnonzero(sizes[tasks] > 0)
    if not len(some):
        return
    for block in padded_blocks(sizes[tasks[some]], width, BLOCK_CELLS):
        rows = Rows.between(starts, tasks[some[block]])
        yield some[block], order[rows.index], rows.present

"""Many tasks adapted in one go, and the numbers that their predictions are made of."""

from dataclasses import dataclass, replace

import numpy as np

from skmeta._core.prior import many
from skmeta._core.prior.learned import LearnedPrior, SeenRows
from skmeta._core.prior.many import ManyPresent, ManyTargets, ToldRows
from skmeta._core.prior.models import GaussianModel

# Rows of tasks that are longer than this are first rotated into a triangle.
LONG_TASK = 200
# A task with more rows than this is adapted to by itself, a block of rows at a time.
VERY_LONG_TASK = 2**13


@dataclass(frozen=True)
class AdaptedTasks:
    """What is known of T tasks after their rows, and what it says of new rows.

    New rows come as ``columns`` (T, n, d) of the design, padded, with the ``offset``
    (T, n, o) of a base model or None; or as sets of alternatives (T, n, J, d), with J
    in the place of o. The methods return k numbers for each row,
    (T, n, k), as the methods of `LearnedPrior` with these names do for one task.

    Attributes
    ----------
    learned : LearnedPrior
    present : ManyPresent
    n_rows : ndarray of int of shape (T,)
        Numbers of rows that the tasks have given.
    """

    learned: LearnedPrior
    present: ManyPresent
    n_rows: np.ndarray

    def part(self, tasks):
        """The same for some of the tasks."""
        some = (None if field is None else field[tasks] for field in self.present)
        return replace(self, present=ManyPresent(*some), n_rows=self.n_rows[tasks])

    def outputs(self, columns, offset=None):
        """The o outputs at the centre of what is known."""
        coef = self.present.mean
        if columns.ndim == 4:
            Z = (columns @ coef[:, None, :, None])[..., 0]
            return Z if offset is None else Z + offset
        coef = coef.reshape(len(coef), self.learned.n_outputs, -1).swapaxes(1, 2)
        Z = columns @ coef
        return Z if offset is None else Z + offset

    def predictive(self, columns, offset=None):
        """The predictive distribution, as the model describes it."""
        Z = self.outputs(columns, offset)
        if not isinstance(self.learned.model, GaussianModel):
            return self._of_each_row(columns, Z)
        targets = ManyTargets.of(self.learned, columns, self.present)
        return np.stack([Z[..., 0], *targets.deviation_and_freedom()], axis=-1)

    def _of_each_row(self, columns, Z):
        """The predictive distribution of a `LaplaceModel`, for all rows together."""
        (T, n), o, factor = columns.shape[:2], Z.shape[-1], self.present.factor
        if columns.ndim == 4:
            moved = columns @ factor[:, None]
        else:
            blocks = factor.reshape(T, o, columns.shape[2], -1)
            moved = (columns[:, None] @ blocks).swapaxes(1, 2)
        moved = moved.reshape(T * n, o, -1)
        model = self.learned.model
        found = model.predictive(self.learned, Z.reshape(T * n, o), moved, self.present)
        return found.reshape(T, n, -1)

    def interval(self, columns, offset=None, *, coverage):
        """Mean and half the width of intervals, of numbers."""
        targets = ManyTargets.of(self.learned, columns, self.present)
        half = targets.half_width(self.learned, coverage, self.n_rows)
        return np.stack([self.outputs(columns, offset)[..., 0], half], axis=-1)


def adapt_many(learned, stack, with_factor=True):
    """The `AdaptedTasks` of a `Stack` of rows in the columns of the design.

    Each task has given at least one row, and the rows of a task are in the order in
    which they were given. Without factors only outputs can be asked for.
    """
    n_rows = (stack.weight > 0).sum(axis=1)
    stack = _faded(learned, stack)
    model = learned.model
    if isinstance(model, GaussianModel):
        rows = np.concatenate([stack.X, stack.Y], axis=-1)
        rows *= np.sqrt(stack.weight)[..., None]
        if rows.shape[1] > max(LONG_TASK, rows.shape[2]):
            rows = np.linalg.qr(rows, mode="r")
        told = ToldRows(rows, stack.weight.sum(axis=1))
        return AdaptedTasks(
            learned, many.condition_many(learned, told, with_factor), n_rows
        )
    found = model.posteriors(learned.mean, learned.factor, stack)
    return AdaptedTasks(learned, ManyPresent(*found), n_rows)


def adapt_alone(learned, rows):
    """The `AdaptedTasks` of one task with many `SeenRows`, X standardised."""
    found = learned.condition(SeenRows(*rows))
    shares = None if found.shares is None else found.shares[None]
    present = ManyPresent(found.mean[None], found.factor[None], shares)
    return AdaptedTasks(learned, present, np.array([len(rows[1])]))


def _faded(learned, stack):
    """The stack with the weights that rows have by now, if old ones count less."""
    recency = learned.model.recency
    if recency is None or not recency.forgets:
        return stack
    times = recency.in_columns(learned.design.n_learned).times(stack.X)
    is_row = stack.weight > 0
    times = np.broadcast_to(times, is_row.shape)
    latest = np.where(is_row, times, -np.inf).max(axis=1, keepdims=True)
    share = recency.share(np.where(is_row, latest - times, 0.0))
    return stack._replace(weight=stack.weight * share)

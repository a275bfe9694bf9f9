"""What a learned prior of numbers says of tasks, by sums over their rows.

Sums are of the columns of the design without the intercept, and of what is to be
learned. Columns are standardised as the model has it, and targets are what a base model
leaves.
"""

import numpy as np

from skmeta._core.prior.learned import LearnedPrior
from skmeta._core.prior.many import ToldRows, condition_many
from skmeta._core.prior.models import GaussianModel
from skmeta._core.prior.side_by_side import AdaptedTasks
from skmeta._core.prior.statistics import sums_of, triangles
from skmeta._many_tasks import is_ours, put
from skmeta._prior_side_by_side import DECIDING

# Rows are predicted and tasks are conditioned on in blocks of about this many numbers.
CELLS = 2**18


def tells_by_sums(model):
    """Whether sums over the rows of a task are all that a meta-learner needs."""
    learned = getattr(model, "_learned", None)
    if not isinstance(learned, LearnedPrior):
        return False
    if not predicts_as_we_do(model):
        return False
    recency = learned.model.recency
    forgets = recency is not None and recency.forgets
    return isinstance(learned.model, GaussianModel) and not forgets


def predicts_as_we_do(model):
    """Whether no subclass has its own way to predict, which may need the rows."""
    return is_ours(model, "predict", "predict_interval", *DECIDING)


def width_of_sums(n_columns):
    """How many numbers the sums over the rows of a task are, of so many columns."""
    return 2 + n_columns + n_columns * (n_columns + 1) // 2


def n_summed(design):
    """How many columns are summed: those of a `Design` without intercept, and y."""
    return design.n_columns - design.fit_intercept + 1


def sums_of_table(model, table):
    """The `Sums` of the tasks in a `TaskTable`, in the units of a fitted model."""
    design = model._learned.design

    def columns(some):
        if some.start == some.stop:
            return np.zeros((0, n_summed(design)))
        Z = design(table.X[some])
        Z = Z[:, :-1] if design.fit_intercept else Z
        return np.column_stack([Z, table.Y[some]])

    return sums_of(columns, table.weight, table.starts)


def told_by_sums(model, sums):
    """What tasks tell by their `Sums`, as `ToldRows` in the columns of the design."""
    R = triangles(sums)
    if not model._learned.design.fit_intercept:
        return ToldRows(R[..., 1:], sums.weight)
    order = [*range(1, R.shape[2] - 1), 0, -1]
    return ToldRows(R[..., order], sums.weight)


def numbers_by_sums(model, sums, X, codes, needed, how):
    """What a method of `AdaptedTasks` returns for validated rows X of tasks: (n, k).

    Parameters
    ----------
    model : EmpiricalBayesRegressor
    sums : Sums
        Of T tasks.
    X : {ndarray, CSR matrix} of shape (n, d)
    codes : ndarray of int of shape (n,)
        The task of each row.
    needed : str
        The method.
    how : dict
        Its arguments.
    """
    learned, scaling = model._learned, model._scaling
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes, minlength=sums.n_tasks)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    tasks, numbers = np.argsort(sizes, kind="stable"), None
    for some in _blocks(learned, tasks[sizes[tasks] > 0], sizes):
        n = sizes[some].max()
        within = np.arange(n) < sizes[some][:, None]
        rows = order[(starts[some][:, None] + np.arange(n))[within]]
        columns = np.zeros((len(some), n, len(learned.mean)))
        columns[within] = learned.design(scaling.transform_X(X[rows]))
        told = sums.take(some)
        present = condition_many(
            learned, told_by_sums(model, told), with_factor=needed != "outputs"
        )
        adapted = AdaptedTasks(learned, present, told.n_rows)
        found = getattr(adapted, needed)(columns, None, **how)[within]
        numbers = put(found, rows, numbers, len(codes))
    return numbers


def tasks_at_a_time(n_columns):
    """How many tasks are conditioned on at a time, of so many columns summed."""
    return max(1, CELLS // width_of_sums(n_columns))


def _blocks(learned, tasks, sizes):
    """Some of the tasks at a time, whose padded rows are not too many."""
    levels, _ = learned.model.noise_levels(None)
    width = len(learned.mean) + learned.factor.shape[1] * len(levels)
    most, first = tasks_at_a_time(n_summed(learned.design)), 0
    while first < len(tasks):
        largest = sizes[tasks[first : first + most]]
        fits = (np.arange(1, len(largest) + 1) * largest * width) <= 8 * CELLS
        n = max(1, int(fits.sum()))
        yield tasks[first : first + n]
        first += n

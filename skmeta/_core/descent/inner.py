"""The inner loop: what tasks minimise, and the choice of the way to compute it.

`loops.py` has the loops to read. Three other files take the same steps faster:
`planned.py` for any network, `dual.py` for networks whose rows are wide, and
`linear.py` for a whole meta-iteration at once if that is linear. This file decides
which of them can be used; that depends on the shape of the problem only. Whether every
meta-iteration is the same, so that `linear.py` pays, is for `reptile.py` to say.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from skmeta._core.descent import curved, dual, linear, loops, planned
from skmeta._core.descent.plan import CHUNK_BYTES, tasks_side_by_side, workspace
from skmeta._core.network import LOSSES, Batch, losses
from skmeta._core.tasks import (
    LITTLE_ROWS,
    Rows,
    chunks,
    draw_minibatches,
    draw_rows,
    gather,
)

# At most this many tasks are adapted to side by side; more would not be faster.
CHUNK_TASKS = 2**10
# The rows of tasks that are adapted to side by side hold at most this many numbers.
CHUNK_NUMBERS = 2**16
# A guess of the curvature of a row's loss in a parameter. It is at most 1 for numbers
# on standardised data, and less for labels.
ROW_CURVATURE = 0.5


class Problem(NamedTuple):
    """What the tasks of a batch minimise, and how fast.

    The objective is the loss, a mean over n rows, plus a pull towards the start,

        alpha / (2 n) sum_j (theta_j - phi_j)^2 / f_j,

    where f_j is the learned factor of rate j. The penalty on the sum over rows is
    always the same, so its effect fades as rows come in. It is weakest for the
    parameters that have moved far in training. It is the pull of a Gaussian prior whose
    variances are proportional to the f_j.

    Attributes
    ----------
    batch : Batch
    minibatches : ndarray of int of shape (T, K, b) or None
        The rows that each step sees; None: all.
    start : ndarray of shape (P,)
        phi.
    strength : ndarray of shape (T, P) or (T, 1), or None
        Strength of the pull; None: there is none.
    rate : ndarray
        Rates, which broadcast to (T, P).
    clip : float or None
        A longer gradient is shortened to this norm.
    """

    batch: Batch
    minibatches: np.ndarray | None
    start: np.ndarray
    strength: np.ndarray | None
    rate: np.ndarray
    clip: float | None


def problem_of(network, state, batch, settings, minibatches=None):
    """The `Problem` of adapting the tasks of a batch."""
    if settings.safe:
        batch = loops.moderated(batch)
    factor = state.rate_factor(settings.groups)
    if state.seen:
        factor = narrowed(factor, state.seen, settings.alpha, batch.total_weight.item())
    rate = settings.learning_rate * factor
    pull, strength, clip = 0.0, None, None
    if settings.alpha > 0.0:
        weight = batch.total_weight[:, None]
        has_rows = weight > 0  # without rows a task stays at the start
        pull = np.where(has_rows, settings.alpha / np.where(has_rows, weight, 1.0), 0.0)
        if settings.solver == "adam":
            # Adam's steps are equally long however steep the objective is. So a pull
            # alone would do little: one row would move a task as far as a hundred rows.
            rate = (rate / (1.0 + pull)).astype(factor.dtype)
        elif not settings.safe:  # otherwise `stable_fraction` bounds the steps
            pull = np.minimum(pull, 1.0 / settings.learning_rate)
        strength = (pull / factor).astype(factor.dtype)
    if settings.safe and settings.solver == "sgd":
        clip = loops.CLIP_NORM * settings.unit
        rate = rate * loops.stable_fraction(
            network, batch, rate, settings.learning_rate * pull
        )
    return Problem(batch, minibatches, state.start, strength, rate, clip)


def narrowed(factor, seen, alpha, new):
    """The factors of the rates for a task that the model is already adapted to.

    ``seen`` is the weight of the earlier rows, and ``new`` that of the new ones. After
    the earlier rows, a Gaussian prior of variance f / alpha becomes a posterior of
    variance about 1 / (alpha / f + c seen), where c is the curvature of a row's loss.
    So the start is where the task stands, and f becomes f / (1 + c seen f / alpha).
    That makes the pull stronger and the steps shorter, as if the earlier rows were
    still there. Without a pull, the new rows get their share of a step only.
    """
    if alpha == 0.0:
        return factor * factor.dtype.type(new / (new + seen))
    return factor / (1.0 + factor * factor.dtype.type(ROW_CURVATURE * seen / alpha))


def objective(network, problem):
    """The objective of a `Problem`, as the loops of `loops.py` take it."""
    full = loops.full_batch(network, problem.batch)
    if problem.minibatches is not None:
        full = loops.minibatches(network, problem.batch, problem.minibatches)
    return loops.pulled(full, problem.start, problem.strength)


# -- training: from a common start ----------------------------------------------------


def n_side_by_side(network, settings, dtype, n_rows):
    """With how many tasks at once `descend` is fastest."""
    if settings.curved:
        return curved.tasks_at_once(network)
    if _takes_dual(network, settings, n_rows):
        return dual.tasks_at_once(network, dtype)
    return tasks_side_by_side(network, dtype, n_rows)


def n_adapting(network, settings, dtype):
    """How many tasks to adapt to at once."""
    if settings.curved:
        return curved.tasks_at_once(network)
    return tasks_side_by_side(network, dtype)


@np.errstate(over="ignore", invalid="ignore")  # the caller looks for what diverged
def descend(network, state, batch, settings, minibatches=None):
    """Adapt every task of a batch from the common start.

    Returns
    -------
    theta : Stacked or dual.Descended
        The adapted parameters: ``sum()`` is (P,) and ``each()`` is (T, P). They are
        valid until the next call.
    loss : ndarray of shape (T,)
        The loss before the last step.
    moment : ndarray of shape (T, P) or None
        Adam's second moment.
    """
    n_steps = settings.inner_steps
    problem = problem_of(network, state, batch, settings, minibatches)
    if _takes_dual(network, settings, batch.X.shape[1]):
        return *dual.sgd(network, problem, n_steps), None
    plan = workspace(network, state.start.dtype).plan(*_plan_shape(batch, minibatches))
    if settings.solver == "adam":
        theta, *rest = planned.adam(plan, problem, state.start, n_steps, state.adam)
        return Stacked(theta), *rest
    theta, loss = planned.sgd(plan, problem, state.start, n_steps)
    return Stacked(theta), loss, None


class Stacked:
    """The parameters of tasks as one array, a row for each."""

    def __init__(self, theta):
        self._theta = theta

    def sum(self):
        if len(self._theta) == 1:
            return self._theta[0].copy()
        return np.add.reduce(self._theta)

    def each(self):
        return self._theta


def affine_map(network, table, state, settings):
    """The `linear.AffineMap` of all rows of all tasks, or None.

    It is None if steps are not linear, if there is no intercept, or if the map would
    be larger than the data.
    """
    n_params = network.layout.n_params
    fits = network.layout.sizes[0] + 1 <= len(table.Y) and settings.solver == "sgd"
    fits = fits and network.intercept
    # The map holds the rows of a task several times while it is made, so no task may
    # have most of the rows.
    fits = fits and table.sizes.max() <= max(LITTLE_ROWS, 8 * table.sizes.mean())
    if not fits or not linear.is_linear(network) or settings.batch_size is not None:
        return None
    rows, _ = draw_rows(None, table.sizes, None)
    limit = max(1, CHUNK_BYTES // (8 * n_params**2))
    most_rows = max(1, CHUNK_NUMBERS // n_params)
    return linear.AffineMap(
        (
            problem_of(network, state, gather(table, which, rows.of(which)), settings)
            for which in chunks(table.sizes, limit, most_rows)
        ),
        settings.inner_steps,
    )


def _takes_dual(network, settings, n_rows):
    visited = settings.inner_steps * (settings.batch_size or n_rows)
    return (
        settings.solver == "sgd"
        and not network.layout.layer_norm
        and settings.few_rates
        and dual.pays(network, n_rows, visited)
    )


def _plan_shape(batch, minibatches=None):
    n_tasks, n_rows = batch.weight.shape
    return n_tasks, n_rows if minibatches is None else minibatches.shape[2]


def query_slope(network, theta, batch):
    """Gradient (T, P) of the mean loss of rows that adapting has not seen."""
    batch = loops.moderated(batch)  # as in the inner loop: only safe runs learn rates
    plan = workspace(network, theta.dtype).plan(*_plan_shape(batch))
    plan.theta[...] = theta
    plan.load(batch.X, batch.Y, batch.weight, batch.offset)
    return plan.gradient()


# -- adaptation: from wherever a task is ----------------------------------------------


def path(network, state, theta, batch, settings, n_steps, rng):
    """Yield the parameters (T, P) after 0, 1, ..., n_steps steps of adapting.

    The steps backtrack and see all rows. With Adam, or without safeguards, they are
    those of training. What is yielded is valid until the next step.
    """
    if settings.curved:
        return curved.path(network, state, batch, settings, n_steps)
    problem = _adaptation(network, state, batch, settings, n_steps, rng)
    if not settings.backtracks:
        return plain_path(network, state, theta, problem, settings, n_steps)
    plan = workspace(network, theta.dtype).plan(*_plan_shape(batch))
    return planned.backtracking(plan, problem, theta, n_steps)


@np.errstate(over="ignore", invalid="ignore")  # the caller looks for what diverged
def adapt(network, state, theta, batch, settings, n_steps, rng):
    """The last of `path`: the adapted parameters (T, P)."""
    if settings.backtracks or n_steps == 0:
        return last(path(network, state, theta, batch, settings, n_steps, rng))
    problem = _adaptation(network, state, batch, settings, n_steps, rng)
    plan = workspace(network, theta.dtype).plan(
        *_plan_shape(batch, problem.minibatches)
    )
    if settings.solver == "adam":
        return planned.adam(plan, problem, theta, n_steps, state.adam)[0]
    return planned.sgd(plan, problem, theta, n_steps)[0]


def adapt_to_table(network, state, table, settings, steps_for, rng):
    """Adapt to all rows of every task of a table, from the common start.

    ``steps_for`` (n_rows -> steps) is the number of steps to take. Yields the numbers
    (T,) of some of the tasks, and their parameters (T, P), which are valid until the
    next; then their `precision_of`; and `losses_before_and_after`, or None if descent
    backtracks.
    """
    steps = np.array([steps_for(n) for n in table.sizes])
    rows, _ = draw_rows(None, table.sizes, None)
    limit = min(CHUNK_TASKS, n_adapting(network, settings, state.start.dtype))
    most_rows = max(1, CHUNK_NUMBERS // (network.layout.sizes[0] + 1))
    for n_steps in np.unique(steps):
        tasks = np.flatnonzero(steps == n_steps)
        for part in chunks(table.sizes[tasks], limit, most_rows):
            which = tasks[part]
            batch = gather(table, which, rows.of(which))
            start = np.broadcast_to(state.start, (len(which), len(state.start)))
            theta = adapt(network, state, start, batch, settings, int(n_steps), rng)
            precision = precision_of(network, state, theta, batch, settings, n_steps)
            change = None
            if not settings.backtracks:
                change = losses_before_and_after(network, start, theta, batch)
            yield which, theta, precision, change


def precision_of(network, state, theta, batch, settings, n_steps):
    """What is known of tasks after rows that have led to theta (T, P) in so many steps.

    It is `curved.precision_of`, or None where steps are not measured by the curvature.
    With no step the rows have told nothing.
    """
    if not settings.curved:
        return None
    if n_steps == 0:
        batch = batch._replace(total_weight=np.zeros_like(batch.total_weight))
    return curved.precision_of(network, state, theta, batch, settings)


def unseen_losses(network, state, theta, known, new, settings, n_steps):
    """Mean loss (T,) of new rows of tasks at theta (T, P), adapted to known rows.

    They are the losses of what a model would predict.
    """
    if not (settings.curved and network.loss in ("log_loss", "softmax_log_loss")):
        return losses(network, theta, new)
    precision = precision_of(network, state, theta, known, settings, n_steps)
    Z = outputs(network, theta, new.X)
    Z = Z if new.offset is None else Z + new.offset
    part = curved.share(network, state)
    variances = curved.output_variances(network, precision, new.X, part)
    value, _ = LOSSES[network.loss](curved.averaged(Z, variances), new.Y)
    return (new.weight * value).sum(axis=-1)


@np.errstate(over="ignore", invalid="ignore")
def losses_before_and_after(network, before, after, batch):
    """Loss (2, T) of the rows given, before and after adapting to them.

    ``after`` may be what `adapt` has returned, and stays valid.
    """
    plan = workspace(network, after.dtype).plan(*_plan_shape(batch))
    plan.load(batch.X, batch.Y, batch.weight, batch.offset)
    values = []
    for theta in (before, after.copy()):
        plan.theta[...] = theta
        values.append(plan.losses())
    return np.array(values)


def outputs(network, theta, X):
    """Raw outputs (T, n, o) of T networks (T, P) on their rows (T, n, d)."""
    plan = workspace(network, theta.dtype).plan(*X.shape[:2])
    plan.theta[...] = theta
    plan.rows[...] = X
    return plan.outputs()


def outputs_of_tasks(network, theta, precision, share, tasks, starts, rows_at):
    """Yield places of rows (m,), and the raw outputs (m, o) of their tasks for them.

    The third item is the `curved.output_variances` (m, o), if there is a precision;
    otherwise None.

    Parameters
    ----------
    theta : ndarray of shape (T, P)
        Parameters of the ``tasks`` (T,).
    precision : ndarray of shape (T, o, p, p) or None
    share : ndarray of shape (T,)
        The `curved.share` of each task, or 1.
    starts : ndarray of int
        The rows of task t stand at the places ``starts[t]:starts[t + 1]``.
    rows_at : callable (places (m,)) -> ndarray of shape (m, d)
    """
    counts = np.diff(starts)[tasks]
    # Next to one task with many rows, all others would be mostly padding.
    even = counts.max() * len(tasks) <= 2 * counts.sum()
    for part in [slice(None)] if even else np.arange(len(tasks))[:, None]:
        rows = Rows.between(starts, tasks[part])
        X = rows_at(rows.index.ravel()).reshape(*rows.index.shape, -1)
        variances = None
        if precision is not None:
            of_part = share[part, None, None]
            variances = curved.output_variances(network, precision[part], X, of_part)
            variances = variances[rows.present]
        Z = outputs(network, theta[part], X)[rows.present]
        yield rows.index[rows.present], Z, variances


def _adaptation(network, state, batch, settings, n_steps, rng):
    """The `Problem` of adapting to the rows of new tasks."""
    rows = None
    if settings.batch_size is not None and not settings.backtracks:
        counts = np.count_nonzero(batch.weight, axis=1)
        rows = draw_minibatches(rng, counts, settings.batch_size, n_steps)
    return problem_of(network, state, batch, settings, rows)


def plain_path(network, state, theta, problem, settings, n_steps):
    """`path` without backtracking, by the loops of `loops.py`."""
    args = objective(network, problem), problem.rate, theta, n_steps
    yield theta
    if settings.solver == "adam":
        steps = loops.adam(*args, state.adam)
    else:
        steps = loops.sgd(*args)
    yield from (adapted for adapted, *_ in steps)


def last(path):
    """The last item of an iterable."""
    return deque(path, maxlen=1).pop()

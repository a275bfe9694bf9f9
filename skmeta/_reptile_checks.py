"""What Reptile warns about, and what it refuses."""

from contextlib import contextmanager

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skmeta._checks.values import show
from skmeta._core.descent import trouble
from skmeta._core.descent.courses import LONGER
from skmeta._core.descent.reptile import NonFiniteTask
from skmeta._core.descent.state import architecture_of
from skmeta._core.descent.training import MIN_TASKS_TO_HOLD_OUT, may_be_held_out
from skmeta._warn import warn

# Rows of a lower mean weight hardly count, which is rarely what the user wants.
LOW_MEAN_WEIGHT = 0.1


def weights(mean, usual, alpha):
    """Warn if rows hardly count: by their mean weight, and next to the usual one."""
    if mean < LOW_MEAN_WEIGHT * min(1.0, usual):
        warn(
            f"The mean sample weight of a row is {mean:.2g}. A row of weight 2 counts "
            "like a row given twice, so these rows hardly count against the pull "
            f"towards the start, alpha={alpha:.3g}. If only the ratios of the weights "
            "matter, divide them by their mean."
        )


def even_columns(X, plain):
    """Whether the size of each column is about 1; warns if not.

    ``plain`` says that the loops of the paper run, without safeguards.
    """
    columns, sizes = trouble.uneven_columns(X)
    if not len(columns):
        return True
    column, size = columns[0], sizes[columns[0]]
    message = _UNEVEN_FOR_PLAIN_LOOPS if plain else _UNEVEN
    warn(f"{message.format(column, size)} {_EVEN_REMEDY}")
    return False


_UNEVEN = (
    "standardize=False, but column {} of X has the root mean square {:.3g}. Descent on "
    "such columns would not get far, so the data are standardised inside all the same."
)
_UNEVEN_FOR_PLAIN_LOOPS = (
    "With standardize=False, learn_rates=None and alpha=0 the loops of the paper run "
    "on the data as they are, but column {} of X has the root mean square {:.3g}. "
    "These loops diverge or learn little unless the size of each column is about 1."
)
_EVEN_REMEDY = "Set standardize=True, or put a StandardScaler in front."


def training_arrived(losses, learned, standardize):
    """Warn if meta-training has left the tasks worse off than a constant."""
    constant = learned.constant_loss
    loss = trouble.training_failed(losses, constant, learned.inner_loop.safe)
    if loss is not None:
        remedy = "Lower" if standardize else "Set standardize=True, lower"
        warn(
            f"Meta-training ended with a loss of {loss:.3g} on the tasks drawn, where "
            f"a constant prediction has {constant:.3g}. Either it diverged, or it was "
            f"too short. {remedy} learning_rate, or raise max_iter."
        )


def long_enough(trained, course):
    """Warn if the longest course of meta-training was better than all shorter ones."""
    if trained.improving:
        most = course["max_iter"]
        warn(
            "The loss of held-out tasks still fell with the length of meta-training "
            f"at the longest course that is tried, {most} meta-iterations of "
            f"{course['meta_batch_size']} tasks. If accuracy matters more than time, "
            "go further: model.set_params(**model.chosen_params_ | "
            f"{{'max_iter': {LONGER * most}}}).",
            ConvergenceWarning,
        )


def adapting(before, after, constant):
    """Warn if adapting has raised the loss (T,) of the rows that it was given."""
    worse = trouble.raised(before, after, constant)
    if len(worse):
        first = worse[0]
        warn(
            "Adapting raised the loss of the very rows given, from "
            f"{before[first]:.3g} to {after[first]:.3g} (in {len(worse)} of "
            f"{len(after)} tasks): the steps are too long. Lower learning_rate or "
            "adapt_steps. With solver='sgd' and standardize=True, only steps that "
            "lower this loss are taken."
        )


def finite(theta, rows):
    """Refuse the parameters that adapting to some rows has led to."""
    if not np.isfinite(theta).all():
        raise _not_finite(f"Adapting to {rows}")


def has_intercept(fit_intercept, hidden):
    """Refuse a network without an intercept."""
    if hidden and not fit_intercept:
        raise ValueError(
            "fit_intercept=False is for linear models, hidden_layer_sizes=(); got "
            f"hidden_layer_sizes={tuple(hidden)}. Set fit_intercept=True."
        )


def enough_tasks(table):
    """Refuse early stopping if too few tasks can be held out."""
    n_tasks, least = len(may_be_held_out(table)), MIN_TASKS_TO_HOLD_OUT
    if n_tasks < least:
        raise ValueError(
            "early_stopping=True holds out whole tasks of two rows or more and needs "
            f"at least {least}; got {n_tasks}. Set early_stopping=False."
        )


def unchanged(learned, network, inner_loop):
    """Refuse to go on from what was learned with another model."""
    now = architecture_of(network), inner_loop
    if now != (learned.architecture, learned.inner_loop):
        raise ValueError(
            "warm_start=True continues from an earlier fit, but the network, "
            "fit_intercept, solver, standardize or learn_rates have changed since. Put "
            "them back, or set warm_start=False to begin anew."
        )


@contextmanager
def naming_diverged_task(ids):
    """Let the error of an inner loop that diverges name the task."""
    try:
        yield
    except NonFiniteTask as error:
        name = show(ids[error.args[0][0]])
        raise _not_finite(f"The inner loop on task {name}") from None


def _not_finite(what):
    return ValueError(
        f"{what} produced weights that are not finite. Set standardize=True, or lower "
        "learning_rate."
    )
